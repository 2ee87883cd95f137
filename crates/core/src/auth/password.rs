//! Passwords: hashing and checking, off the async threads and only a few at once.
//!
//! Must never log, show or store a password, and never take less time for an account that does not
//! exist than for one that does.

use crate::entropy::Entropy;
use crate::error::Error;
use crate::limits;
use crate::users::FieldError;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::PasswordVerifier as _;
use argon2::{Algorithm, Argon2, Params, Version};
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Memory of one hash in KiB, passes and lanes: OWASP's first choice for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A password as typed. It shows itself to nobody.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Takes a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// What is wrong with it as a new password; empty means nothing.
    pub fn check(&self) -> Vec<FieldError> {
        let chars = self.0.chars().count();
        let problem = if chars < limits::PASSWORD_CHARS_MIN {
            format!("Use at least {} characters", limits::PASSWORD_CHARS_MIN)
        } else if chars > limits::PASSWORD_CHARS_MAX {
            format!("Use at most {} characters", limits::PASSWORD_CHARS_MAX)
        } else if self.0.chars().all(|c| c.is_ascii_digit()) {
            "Use more than digits".to_owned()
        } else {
            return Vec::new();
        };
        vec![FieldError::new("password", problem)]
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Hashes and checks passwords.
pub struct Passwords {
    entropy: Arc<dyn Entropy>,
    places: Arc<Semaphore>,
    /// What a sign-in to an account without password is compared with.
    nobody: Arc<OnceLock<String>>,
}

impl Passwords {
    /// A hasher that takes its salts from `entropy`.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            entropy,
            places: Arc::new(Semaphore::new(limits::PASSWORD_HASHES_AT_ONCE)),
            nobody: Arc::default(),
        }
    }

    /// The hash to store.
    ///
    /// # Errors
    /// [`Error::Internal`] when the hash could not be computed.
    pub async fn hash(&self, password: Password) -> Result<String, Error> {
        let salt = self.salt();
        self.compute(move || hash(&password, &salt)).await?
    }

    /// Whether `password` is the one behind `stored`. Without a stored hash the answer is no, after
    /// the same work.
    ///
    /// # Errors
    /// [`Error::Internal`] when it could not be computed.
    pub async fn verify(&self, password: Password, stored: Option<String>) -> Result<bool, Error> {
        if password.0.len() > limits::PASSWORD_CHARS_MAX * 4 {
            return Ok(false);
        }
        let salt = self.salt();
        let nobody = Arc::clone(&self.nobody);
        self.compute(move || match stored {
            Some(stored) => verify(&password, &stored),
            None => {
                let made_up = nobody
                    .get_or_init(|| hash(&Password::new("nobody's"), &salt).unwrap_or_default());
                // Compared for its cost alone.
                let _ = verify(&password, made_up);
                false
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
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let stopped = |_| Error::Internal("password hashing has stopped".to_owned());
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(stopped)?;
        let work = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also when the caller has gone meanwhile.
            let _place = place;
            work()
        });
        work.await
            .map_err(|error| Error::Internal(format!("password hashing failed: {error}")))
    }
}

fn argon2id() -> Result<Argon2<'static>, argon2::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &Password, salt: &[u8]) -> Result<String, Error> {
    let failed = |error: String| Error::Internal(format!("password hashing failed: {error}"));
    let hasher = argon2id().map_err(|error| failed(error.to_string()))?;
    let hash = hasher
        .hash_password_with_salt(password.0.as_bytes(), salt)
        .map_err(|error| failed(error.to_string()))?;
    Ok(hash.to_string())
}

/// The cost is the stored hash's own; the comparison takes constant time.
fn verify(password: &Password, stored: &str) -> bool {
    argon2id().is_ok_and(|hasher| {
        hasher
            .verify_password(password.0.as_bytes(), stored)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_argon2id_with_the_stated_cost_and_fits_its_password_only() {
        let stored = hash(&Password::new("correct horse"), &[7; 16]).unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(verify(&Password::new("correct horse"), &stored));
        assert!(!verify(&Password::new("correct horse "), &stored));
        assert!(!verify(&Password::new(""), &stored));
        assert!(!verify(&Password::new("correct horse"), "not a hash"));
    }

    #[test]
    fn a_password_shows_itself_to_nobody() {
        assert_eq!(format!("{:?}", Password::new("hunter2")), "Password(…)");
    }

    #[test]
    fn new_passwords_have_a_length_and_more_than_digits() {
        assert!(Password::new("long enough").check().is_empty());
        for weak in ["", "1234567", "123456789012", &"x".repeat(1025)] {
            assert_eq!(Password::new(weak).check().len(), 1, "{weak}");
        }
    }
}
