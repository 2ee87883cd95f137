//! What webhooks are signed with (Standard Webhooks), and how one that fails is left alone.
//!
//! Must never show a secret but in the answer that makes it.

use crate::entropy::Entropy;
use crate::error::Error;
use crate::functions::Executable;
use crate::ids::{AppId, SiteId};
use crate::ports::store::{Reason, Store};
use crate::time::{Clock, Timestamp};
use crate::vault::{Place, Purpose, Sealed, Vault};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a new secret; the specification wants 24 to 64.
const SECRET_BYTES: usize = 32;

/// A function's signing secret. Shows itself to nobody, and leaves memory when dropped.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// A new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES]);
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// From its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// `whsec_` and the bytes in Base64, as receivers' libraries take it.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(&*self.0)))
    }

    /// `v1,` and the HMAC-SHA256 of `id.timestamp.body` in Base64.
    fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mut mac = mac.expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }

    /// The secret, sealed for the row of its function.
    pub(crate) fn sealed(
        &self,
        vault: &Vault,
        entropy: &dyn Entropy,
        function: &FunctionRow,
    ) -> Sealed {
        vault.seal(entropy, &function.place(), &self.0)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// The value of `webhook-signature`: one signature for each secret in force, newest first.
/// `seconds` is `webhook-timestamp`, in seconds since 1970.
pub fn signature(secrets: &[SigningSecret], id: &str, seconds: i64, body: &[u8]) -> String {
    let signatures: Vec<_> = secrets
        .iter()
        .map(|secret| secret.sign(id, seconds, body))
        .collect();
    signatures.join(" ")
}

/// The row that a secret is sealed for. A function's number is not known before it is written; its
/// app and slug are, and never change.
pub(crate) struct FunctionRow {
    site: SiteId,
    row: String,
}

impl FunctionRow {
    pub(crate) fn new(site: SiteId, app: AppId, slug: &str) -> Self {
        Self {
            site,
            row: format!("{}/{slug}", app.0),
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            site: self.site,
            purpose: Purpose::Webhook,
            row: &self.row,
        }
    }
}

/// A function's secrets as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecrets {
    /// The one in force.
    pub current: Sealed,
    /// The one before it, and until when it signs as well.
    pub previous: Option<(Sealed, Timestamp)>,
}

/// Finds the secrets that sign a function's webhooks. Is asked at every call, so that a new secret
/// signs at once.
#[async_trait]
pub trait FindSecrets: Send + Sync {
    /// The secrets in force, newest first; none for a function that was made before there were any.
    ///
    /// # Errors
    /// When the store fails, or what it holds does not open with this server's key.
    async fn of(&self, executable: &Executable) -> Result<Vec<SigningSecret>, Error>;
}

/// Finds them in the store.
pub struct SigningKeys {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl SigningKeys {
    /// Over this store.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            vault,
            clock,
        }
    }
}

#[async_trait]
impl FindSecrets for SigningKeys {
    async fn of(&self, executable: &Executable) -> Result<Vec<SigningSecret>, Error> {
        let (site, function) = (executable.site_id, executable.function_id);
        let system = self.store.system(Reason::Execute);
        let Some(stored) = system.webhook_secrets(site, function).await? else {
            return Ok(Vec::new());
        };
        let now = self.clock.now();
        let row = FunctionRow::new(site, executable.app_id, &executable.function_slug);
        let opened = self.vault.open(&row.place(), &stored.current)?;
        let mut secrets = vec![SigningSecret::from_bytes(opened.bytes())];
        if let Some((sealed, _)) = stored.previous.filter(|(_, until)| *until > now) {
            match self.vault.open(&row.place(), &sealed) {
                Ok(opened) => secrets.push(SigningSecret::from_bytes(opened.bytes())),
                // A rotation is what mends a current one that does not open, so it has to help.
                Err(error) => tracing::warn!(%error, function.id = %executable.function_id,
                    "the signing secret before the last rotation cannot be used"),
            }
        }
        Ok(secrets)
    }
}

/// Whether a webhook is called, in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// It is.
    Closed,
    /// It failed too often in a row and is left alone until then.
    Open {
        /// When it is tried again.
        until: Timestamp,
    },
    /// One call finds out whether it works again.
    HalfOpen,
}

/// How a webhook does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookState {
    /// Whether it is called.
    pub circuit: Circuit,
    /// Calls in a row that found it in trouble.
    pub failures: u32,
}

impl Circuit {
    /// All words.
    pub const WORDS: [&str; 3] = ["closed", "open", "half_open"];

    /// The word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn signs_as_the_specification_does() {
        let bytes = BASE64_STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let secret = SigningSecret::from_bytes(&bytes);
        assert_eq!(*secret.to_text(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = signature(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
        let other = SigningSecret::from_bytes(&[1; 32]);
        let both = signature(&[secret, other], "x", 1, b"");
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(signature(&[], "x", 1, b""), "");
    }
}
