//! What code has while it is loaded: its files, its environment variables, and the secrets of its app.
//!
//! Must never give a value to anything but the runtime that loads it, nor before redaction knows it.

use super::access::OwnApp;
use super::service::SecretService;
use crate::engine::{Engine, NobodysHost};
use crate::error::Error;
use crate::functions::{BundleRef, Executable, Variables, field_of_variable};
use crate::ids::AppId;
use crate::limits;
use crate::ports::runtime::{HostCalls, HostError, LoadedVariables, Loading};
use crate::rights::Actor;
use crate::site::TenantScope;
use crate::tasks::{Failure, FailureKind};
use crate::validation::FieldError;
use async_trait::async_trait;
use serde_json::value::RawValue;
use std::sync::{Arc, Weak};
use zeroize::Zeroizing;

/// The engine's answer to runtimes.
pub(crate) struct OfEngine(Weak<Engine>);

impl OfEngine {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self(Arc::downgrade(engine))
    }
}

#[async_trait]
impl Loading for OfEngine {
    async fn variables(&self, executable: &Executable) -> Result<LoadedVariables, Failure> {
        let Variables { env, secret_env } = &executable.in_force.variables;
        let plain = env.iter();
        let plain = plain.map(|(name, value)| (name.clone(), Zeroizing::new(value.clone())));
        let mut variables: LoadedVariables = plain.collect();
        if secret_env.is_empty() {
            return Ok(variables);
        }
        let engine = self.0.upgrade().ok_or_else(stopping)?;
        let own = engine.own_app(&Actor::nobody(executable), executable);
        let secrets = SecretService::new(engine);
        let mut bytes = 0;
        for (name, key) in secret_env {
            let value = secret(&secrets, &own, name, key).await?;
            bytes += value.len();
            if bytes > limits::ENV_SECRET_BYTES {
                let most = limits::ENV_SECRET_BYTES >> 20;
                let message = format!(
                    "The secrets of its variables are more than {most} MiB together; read large ones with \
                     sdk_client.secrets"
                );
                return Err(Failure::new(FailureKind::Load, message));
            }
            variables.insert(name.clone(), value);
        }
        Ok(variables)
    }

    async fn files(&self, executable: &Executable, bundle: &BundleRef) -> Result<Vec<u8>, Failure> {
        let unavailable = |why: String| {
            let message = format!("The function's files could not be read: {why}");
            Failure::new(FailureKind::Unavailable, message)
        };
        let engine = self.0.upgrade().ok_or_else(stopping)?;
        let digest = &bundle.digest;
        match engine.queue().bundle_of(executable.site_id, digest).await {
            Ok(Some(encoded)) => Ok(encoded),
            Ok(None) => Err(unavailable(format!("there is no bundle {digest}"))),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    fn host(&self, executable: &Executable) -> Arc<dyn HostCalls> {
        let host = self.0.upgrade().map(|engine| {
            let nobody = Actor::nobody(executable);
            engine.host_of(nobody, executable)
        });
        Arc::new(OnlySecrets(host.unwrap_or_else(|| Arc::new(NobodysHost))))
    }
}

/// The text of a variable: that of its secret, or the JSON of an object.
async fn secret(
    secrets: &SecretService,
    own: &OwnApp,
    name: &str,
    key: &str,
) -> Result<Zeroizing<String>, Failure> {
    let unloadable = |message: String| Failure::new(FailureKind::Load, message);
    let found = secrets.get_own(own, key, &[]).await;
    let found = found.map_err(|error| match error {
        Error::NotFound(_) => unloadable(format!("Variable {name}: {}", no_secret(key))),
        error => Failure::new(
            FailureKind::Unavailable,
            format!("Variable {name}: secret '{key}' cannot be read: {error}"),
        ),
    })?;
    let value = found.value.map(|value| value.text());
    let value = value.ok_or_else(|| unloadable(format!("Variable {name}: {}", no_secret(key))))?;
    if value.contains('\0') {
        return Err(unloadable(format!(
            "Variable {name}: secret '{key}' holds a NUL character, which no variable does; read it with \
             sdk_client.secrets"
        )));
    }
    Ok(value)
}

fn no_secret(key: &str) -> String {
    format!("there is no secret '{key}' in this app or its site; create it first")
}

fn stopping() -> Failure {
    Failure::new(FailureKind::Unavailable, "The server is stopping")
}

/// The platform as the top level of a module has it, which nobody has called.
struct OnlySecrets(Arc<dyn HostCalls>);

#[async_trait]
impl HostCalls for OnlySecrets {
    async fn call(&self, method: &str, args: &RawValue) -> Result<Box<RawValue>, HostError> {
        if method.starts_with("secrets.") {
            return self.0.call(method, args).await;
        }
        Err(HostError::forbidden(
            "The top level of a module has the secrets of sdk_client, and nothing else of it; ask for the \
             rest in main",
        ))
    }
}

impl Engine {
    /// Adds variables whose secret is not there for functions of `app` to read, or of an app that is new.
    pub(crate) async fn check_secrets(
        &self,
        scope: TenantScope,
        app: Option<AppId>,
        variables: &Variables,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Error> {
        if variables.secret_env.len() > limits::ENV_SECRETS {
            return Ok(());
        }
        let store = self.scoped(scope);
        for (name, key) in &variables.secret_env {
            let own = match app {
                Some(_) => store.secret(app, key).await?,
                None => None,
            };
            if own.is_none() && store.secret(None, key).await?.is_none() {
                errors.push(field_of_variable(
                    "secret_env",
                    name,
                    sentence(&no_secret(key)),
                ));
            }
        }
        Ok(())
    }
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}
