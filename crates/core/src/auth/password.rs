//! Passwords: hashing and checking, off the async threads, only a few at once and in turn.
//!
//! Must never log, show or store a password, and never take less time for an account that does not
//! exist than for one that does.

use super::lanes::{Full, Lanes, Source};
use super::password_rules::PasswordRules;
use crate::entropy::Entropy;
use crate::error::Error;
use crate::limits;
use crate::text::nfkc;
use crate::users::Profile;
use crate::validation::FieldError;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::PasswordVerifier as _;
use argon2::{Algorithm, Argon2, Params, Version};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Memory of one hash in KiB, passes and lanes: OWASP's first choice for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// When to come again after too many others have been before.
const CROWDED: Duration = Duration::from_secs(1);

/// A password as typed. It shows itself to nobody.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Takes a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The spelling that is hashed: keyboards send the same letters in several.
    pub(super) fn normal(&self) -> String {
        nfkc(&self.0)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether a password is the one behind a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    No,
    Yes,
    /// Yes, and the hash is of the spelling that was typed: it dates from before they were normalised.
    AsTyped,
}

/// Hashes and checks passwords.
pub struct Passwords {
    entropy: Arc<dyn Entropy>,
    rules: PasswordRules,
    lanes: Arc<Lanes>,
    /// What a sign-in to an account without password is compared with.
    nobody: Arc<OnceLock<String>>,
}

impl Passwords {
    /// A hasher that takes its salts from `entropy`.
    pub fn new(entropy: Arc<dyn Entropy>, rules: PasswordRules) -> Self {
        Self {
            entropy,
            rules,
            lanes: Lanes::new(limits::PASSWORD_HASHES_AT_ONCE),
            nobody: Arc::default(),
        }
    }

    /// What is wrong with it as a new password of this account; empty means nothing.
    pub fn check(&self, password: &Password, account: &Profile) -> Vec<FieldError> {
        self.rules.check(password, account)
    }

    /// The hash to store, for a caller whose credential was verified.
    ///
    /// # Errors
    /// [`Error::Internal`] when the hash could not be computed.
    pub async fn hash(&self, password: Password) -> Result<String, Error> {
        let salt = self.salt();
        let source = Source::Known([0; 16]);
        self.compute(source, move || hash(&password.normal(), &salt))
            .await?
    }

    /// Whether `password` is the one behind `stored`. Without a stored hash the answer is no, after
    /// the same work.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when too many wait already; [`Error::Internal`].
    pub(super) async fn verify(
        &self,
        password: Password,
        stored: Option<String>,
        source: Source,
    ) -> Result<Fit, Error> {
        if password.0.len() > limits::PASSWORD_CHARS_MAX * 4 {
            return Ok(Fit::No);
        }
        let salt = self.salt();
        let nobody = Arc::clone(&self.nobody);
        self.compute(source, move || match stored {
            Some(stored) => fit(&password, &stored),
            None => {
                let made_up = nobody.get_or_init(|| hash("nobody's", &salt).unwrap_or_default());
                // Compared for its cost alone.
                let _ = fit(&password, made_up);
                Fit::No
            }
        })
        .await
    }

    fn salt(&self) -> [u8; 16] {
        let mut salt = [0_u8; 16];
        self.entropy.fill(&mut salt);
        salt
    }

    async fn compute<T: Send + 'static>(
        &self,
        source: Source,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.lanes.enter(source).await;
        let place = place.map_err(|Full| Error::RateLimited(CROWDED))?;
        let work = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also when the caller has gone meanwhile.
            let _place = place;
            work()
        });
        work.await
            .map_err(|error| Error::failed(HASHING_FAILED, error))
    }
}

const HASHING_FAILED: &str = "password hashing failed";

fn argon2id() -> Result<Argon2<'static>, argon2::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str, salt: &[u8]) -> Result<String, Error> {
    let hasher = argon2id().map_err(|error| Error::failed(HASHING_FAILED, error))?;
    let hash = hasher
        .hash_password_with_salt(password.as_bytes(), salt)
        .map_err(|error| Error::failed(HASHING_FAILED, error))?;
    Ok(hash.to_string())
}

/// Twice the work for a password that is not in its normal form, whoever asks.
fn fit(password: &Password, stored: &str) -> Fit {
    let normal = password.normal();
    if verify(&normal, stored) {
        Fit::Yes
    } else if normal != password.0 && verify(&password.0, stored) {
        Fit::AsTyped
    } else {
        Fit::No
    }
}

/// The cost is the stored hash's own; the comparison takes constant time.
fn verify(password: &str, stored: &str) -> bool {
    argon2id().is_ok_and(|hasher| hasher.verify_password(password.as_bytes(), stored).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_argon2id_with_the_stated_cost_and_fits_its_password_only() {
        let stored = hash("correct horse", &[7; 16]).unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(verify("correct horse", &stored));
        assert!(!verify("correct horse ", &stored));
        assert!(!verify("", &stored));
        assert!(!verify("correct horse", "not a hash"));
    }

    #[test]
    fn a_password_fits_in_every_spelling_and_an_old_hash_in_its_own() {
        let (composed, decomposed) = ("caf\u{e9}-\u{fb01}sch", "cafe\u{301}-fisch");
        let new = hash(&Password::new(decomposed).normal(), &[7; 16]).unwrap();
        for typed in [composed, decomposed, "ｃafé-fisch"] {
            assert_eq!(fit(&Password::new(typed), &new), Fit::Yes, "{typed}");
        }
        let old = hash(composed, &[7; 16]).unwrap();
        assert_eq!(fit(&Password::new(composed), &old), Fit::AsTyped);
        assert_eq!(fit(&Password::new("cafe-fisch"), &old), Fit::No);
    }

    #[test]
    fn a_password_shows_itself_to_nobody() {
        assert_eq!(format!("{:?}", Password::new("hunter2")), "Password(…)");
    }
}
