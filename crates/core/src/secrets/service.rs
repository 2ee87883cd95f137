//! Operations on secrets: for people with a right, and for functions on those of their own app.

use super::access::{OwnApp, TierAccess};
use super::input::{CreateSecret, UpdateSecret, check_key, check_tags, check_type, check_value};
use super::model::{
    NewSecret, SealedSecret, Secret, SecretChange, SecretQuery, SecretValue, Shown,
};
use crate::apps::app;
use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::Error;
use crate::idempotency::Remember;
use crate::ids::{AppId, SiteId};
use crate::ports::store::{Conflict, Page, PageRequest, StoreError, to_the_end};
use crate::rights::{Principal, Right, right};
use crate::site::TenantScope;
use crate::time::Timestamp;
use crate::validation::{FieldError, check_damaged, check_text};
use crate::vault::{Place, Purpose, Sealed};
use crate::{limits, text};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// Operations on secrets.
#[derive(Clone)]
pub struct SecretService {
    engine: Arc<Engine>,
}

impl SecretService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Finds the app, if one is named, and checks the right `R` in it, or in the whole site.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the app, then [`Error::Forbidden`].
    pub async fn enter<R: Right>(
        &self,
        principal: Principal,
        app_slug: Option<&str>,
    ) -> Result<TierAccess<R>, Error> {
        let app = match app_slug {
            None => None,
            Some(slug) => Some(app(&self.engine, &principal, slug).await?),
        };
        TierAccess::check(principal, app)
    }

    /// Creates a secret of the app, or of the site.
    ///
    /// # Errors
    /// Values that cannot be stored; a key that is taken; more secrets than there may be.
    pub async fn create(
        &self,
        access: &TierAccess<right::SecretsManage>,
        draft: Draft<CreateSecret>,
        remember: Option<Remember<Secret>>,
    ) -> Result<Secret, Error> {
        let (mut errors, look) = (Vec::new(), draft.look());
        check_key(&look.key, &mut errors);
        check_value(&look.value, &mut errors);
        check_facts(
            &look.description,
            &look.tags,
            &look.secret_type,
            &mut errors,
        );
        let input = draft.checked(errors)?;
        let scope = access.principal().scope();
        let (store, app) = (self.engine.scoped(scope), access.app());
        let owner = app.map(|app| app.id);
        if store.secrets(owner).await?.len() >= limits::SECRETS_PER_APP {
            let message = format!(
                "There are {} secrets already, which is the limit; delete one first",
                limits::SECRETS_PER_APP
            );
            return Err(Error::Validation(vec![FieldError::new("key", message)]));
        }
        let now = self.engine.clock.now();
        let sealed = self.seal(scope.site_id(), owner, &input.key, &input.value);
        let secret = Secret {
            app: owner,
            app_slug: app.map(|app| app.slug.clone()),
            key: input.key,
            description: input.description,
            tags: input.tags,
            secret_type: input.secret_type,
            created_at: now,
            updated_at: now,
            damaged: Vec::new(),
        };
        let new = NewSecret {
            secret,
            sealed,
            remember,
        };
        let key = new.secret.key.clone();
        let written = async move { store.insert_secret(new).await };
        self.write(scope, owner, key, written).await
    }

    /// Writes a secret, and has functions that have its value in a variable get the new one.
    async fn write<T: Send + 'static>(
        &self,
        scope: TenantScope,
        owner: Option<AppId>,
        key: String,
        writing: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(&self.engine);
        let written = to_the_end(&self.engine.supervisor, async move {
            let written = writing.await?;
            let found = engine
                .scoped(scope)
                .functions_with_secret(owner, &key)
                .await;
            match found {
                Ok(functions) if functions.is_empty() => {}
                Ok(functions) => engine.variables_changed(scope, &functions).await,
                // It is written all the same; the next call looks anew.
                Err(error) => {
                    tracing::warn!(%error, "workers were left as they are");
                    engine.functions_changed(scope.site_id());
                }
            }
            Ok(written)
        });
        Ok(written.await?)
    }

    /// What is known of a secret of the app, or of the site, for whoever may change it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn known(
        &self,
        access: &TierAccess<right::SecretsManage>,
        key: &str,
    ) -> Result<Secret, Error> {
        let store = self.engine.scoped(access.principal().scope());
        let found = store.secret(access.app().map(|app| app.id), key).await?;
        Ok(found.ok_or_else(|| missing(key))?.secret)
    }

    /// Changes a secret of the app, or of the site; an app's request never touches the site's.
    ///
    /// # Errors
    /// [`Error::NotFound`]; values that cannot be stored; a change by somebody else meanwhile.
    pub async fn update(
        &self,
        access: &TierAccess<right::SecretsManage>,
        key: &str,
        draft: Draft<UpdateSecret>,
    ) -> Result<Secret, Error> {
        let input = draft.look().clone();
        let scope = access.principal().scope();
        let (store, owner) = (self.engine.scoped(scope), access.app().map(|app| app.id));
        let found = store
            .secret(owner, key)
            .await?
            .ok_or_else(|| missing(key))?;
        if input
            .expected
            .is_some_and(|at| at != found.secret.updated_at)
        {
            return Err(Conflict::Changed.into());
        }
        let value = match input.value {
            Some(value) if input.merges => {
                // One that cannot be read is replaced.
                let old = self.open(scope.site_id(), found.clone()).value;
                Some(old.map_or_else(|| value.clone(), |old| value.merged_into(&old)))
            }
            value => value,
        };
        let before = found.secret;
        let secret = Secret {
            description: input.description.unwrap_or(before.description),
            tags: input.tags.unwrap_or(before.tags),
            secret_type: input.secret_type.unwrap_or(before.secret_type),
            ..before
        };
        let (mut errors, look) = (Vec::new(), draft.look());
        let fields = [
            ("description", look.description.is_some()),
            ("tags", look.tags.is_some()),
            ("secret_type", look.secret_type.is_some()),
        ];
        check_damaged(&secret.damaged, &fields, &mut errors);
        if let Some(value) = &value {
            check_value(value, &mut errors);
        }
        check_facts(
            &secret.description,
            &secret.tags,
            &secret.secret_type,
            &mut errors,
        );
        draft.checked(errors)?;
        let value = value.as_ref();
        let sealed = value.map(|value| self.seal(scope.site_id(), owner, key, value));
        let at = self.engine.clock.now().after(secret.updated_at);
        let change = SecretChange { secret, sealed, at };
        let written = async move { store.update_secret(change).await };
        self.write(scope, owner, key.to_owned(), written).await
    }

    /// Deletes a secret of the app, or of the site.
    ///
    /// # Errors
    /// [`Error::NotFound`]; a secret that was last changed at another time than `expected`.
    pub async fn delete(
        &self,
        access: &TierAccess<right::SecretsManage>,
        key: &str,
        expected: Option<Timestamp>,
    ) -> Result<(), Error> {
        let scope = access.principal().scope();
        let (store, owner) = (self.engine.scoped(scope), access.app().map(|app| app.id));
        let of = key.to_owned();
        let deleting = async move { store.delete_secret(owner, &of, expected).await };
        match self.write(scope, owner, key.to_owned(), deleting).await? {
            true => Ok(()),
            false => Err(missing(key)),
        }
    }

    /// One secret with its value: the app's own, else the site's. `tags` it must have.
    ///
    /// # Errors
    /// [`Error::NotFound`]; a key of the vault that is not this database's.
    pub async fn get(
        &self,
        access: &TierAccess<right::SecretsRead>,
        key: &str,
        tags: &[String],
    ) -> Result<Shown, Error> {
        let app = access.app().map(|app| app.id);
        self.find(access.principal().scope(), app, key, tags).await
    }

    /// Secrets by key: the app's own and those of the site that they do not hide. Without values,
    /// unless keys are named.
    ///
    /// # Errors
    /// Too many keys.
    pub async fn list(
        &self,
        access: &TierAccess<right::SecretsRead>,
        query: &SecretQuery,
        page: PageRequest,
    ) -> Result<Page<Shown>, Error> {
        let app = access.app().map(|app| app.id);
        self.find_all(access.principal().scope(), app, query, page)
            .await
    }

    /// As [`Self::get`], for a running function.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_own(&self, own: &OwnApp, key: &str, tags: &[String]) -> Result<Shown, Error> {
        let shown = self.find(own.scope(), Some(own.app()), key, tags).await?;
        readable(std::slice::from_ref(&shown))?;
        own.tell(std::slice::from_ref(&shown)).await;
        Ok(shown)
    }

    /// As [`Self::list`], for a running function.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_own(
        &self,
        own: &OwnApp,
        query: &SecretQuery,
        page: PageRequest,
    ) -> Result<Page<Shown>, Error> {
        let app = Some(own.app());
        let shown = self.find_all(own.scope(), app, query, page).await?;
        readable(&shown.items)?;
        own.tell(&shown.items).await;
        Ok(shown)
    }

    async fn find(
        &self,
        scope: TenantScope,
        app: Option<AppId>,
        key: &str,
        tags: &[String],
    ) -> Result<Shown, Error> {
        let store = self.engine.scoped(scope);
        let found = match store.secret(app, key).await? {
            None if app.is_some() => store.secret(None, key).await?,
            found => found,
        };
        let found = found.filter(|found| found.secret.has(tags));
        Ok(self.open(scope.site_id(), found.ok_or_else(|| missing(key))?))
    }

    async fn find_all(
        &self,
        scope: TenantScope,
        app: Option<AppId>,
        query: &SecretQuery,
        page: PageRequest,
    ) -> Result<Page<Shown>, Error> {
        if query.keys.len() > limits::SECRETS_AT_ONCE {
            let message = format!("Name at most {} at once", limits::SECRETS_AT_ONCE);
            return Err(Error::Validation(vec![FieldError::new("keys", message)]));
        }
        let store = self.engine.scoped(scope);
        // Both tiers are bounded, so they are merged here.
        let mut by_key = BTreeMap::new();
        for owner in std::iter::once(None).chain(app.map(Some)) {
            let secrets = store.secrets(owner).await?.into_iter();
            by_key.extend(secrets.map(|secret| (secret.key.clone(), secret)));
        }
        let matching = by_key.into_values().filter(|secret| query.matches(secret));
        let matching: Vec<Secret> = matching.collect();
        let total = matching.len() as u64;
        let (from, most) = (usize::try_from(page.offset), usize::try_from(page.limit));
        let (from, most) = (from.unwrap_or(usize::MAX), most.unwrap_or(usize::MAX));
        let mut items = Vec::new();
        for secret in matching.into_iter().skip(from).take(most) {
            if query.keys.is_empty() {
                items.push(Shown {
                    secret,
                    value: None,
                });
            // None: it was deleted a moment ago.
            } else if let Some(found) = store.secret(secret.app, &secret.key).await? {
                items.push(self.open(scope.site_id(), found));
            }
        }
        Ok(Page { items, total })
    }

    fn seal(&self, site: SiteId, app: Option<AppId>, key: &str, value: &SecretValue) -> Sealed {
        let Engine { vault, entropy, .. } = &*self.engine;
        let row = row(app, key);
        vault.seal(&**entropy, &place(site, &row), value.json().as_bytes())
    }

    /// With its value; without it, and named as damaged, if it cannot be read.
    fn open(&self, site: SiteId, found: SealedSecret) -> Shown {
        let SealedSecret { mut secret, sealed } = found;
        let row = row(secret.app, &secret.key);
        let opened = self.engine.vault.open(&place(site, &row), &sealed);
        let value = opened.ok().and_then(SecretValue::of);
        if value.is_none() {
            tracing::error!(site.id = %site, secret.key = secret.key, "a secret's value cannot be read");
            secret.damaged.push("value");
        }
        Shown { secret, value }
    }
}

/// The row's part of the seal: 0 is the site, as in the store.
fn row(app: Option<AppId>, key: &str) -> String {
    format!("{}/{key}", app.map_or(0, |app| app.0))
}

fn place(site: SiteId, row: &str) -> Place<'_> {
    Place {
        site,
        purpose: Purpose::Secret,
        row,
    }
}

/// A function is not given a secret without the value that it asked for.
fn readable(shown: &[Shown]) -> Result<(), Error> {
    match shown.iter().find(|it| it.secret.damaged.contains(&"value")) {
        None => Ok(()),
        Some(damaged) => Err(Error::Unavailable(format!(
            "The stored value of secret '{}' is damaged; set it anew",
            damaged.secret.key
        ))),
    }
}

fn missing(key: &str) -> Error {
    Error::NotFound(format!("Secret '{}'", text::prefix(key, 64)))
}

fn check_facts(
    description: &str,
    tags: &[String],
    secret_type: &str,
    errors: &mut Vec<FieldError>,
) {
    let most = limits::DESCRIPTION_CHARS;
    check_text("description", description, most, errors);
    check_tags(tags, errors);
    check_type(secret_type, errors);
}
