//! Seals what lies in the database and must not be read there: secrets of apps and webhooks.
//!
//! Must never show a key or a value, in an error or anywhere else, and never open what was sealed
//! for another site, purpose or row.

use crate::entropy::Entropy;
use crate::error::Error;
use crate::ids::SiteId;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::fmt;
use zeroize::Zeroizing;

/// The first byte of what is sealed: says how, and with which key, once there is more than one.
const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The key of a [`Vault`], 32 bytes. Shows itself to nobody, and leaves memory when dropped.
#[derive(Clone)]
pub struct VaultKey(Zeroizing<[u8; KEY_BYTES]>);

impl VaultKey {
    /// A new key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        entropy.fill(&mut *key);
        Self(key)
    }

    /// Reads 64 hexadecimal digits, with white space around them. None for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = 16 * digit(pair[0])? + digit(pair[1])?;
        }
        Some(Self(key))
    }

    /// As [`Self::from_hex`] reads it.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(crate::text::hex(&*self.0))
    }
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

impl From<[u8; KEY_BYTES]> for VaultKey {
    fn from(key: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey(…)")
    }
}

/// What a sealed value is for. The number is part of the seal: never change or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Tells whether the key is the one that the database was sealed with.
    Check = 1,
    /// A secret of an app.
    Secret = 2,
    /// What signs a proxy function's webhooks.
    Webhook = 3,
}

/// Where a sealed value lies. It opens at this place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The site; 0 for what belongs to none.
    pub site: SiteId,
    /// What it is for.
    pub purpose: Purpose,
    /// The row within site and purpose, by what never changes of it.
    pub row: &'a str,
}

impl Place<'_> {
    /// What is authenticated with the value. Only the last part varies in length, so no two places
    /// give the same bytes.
    fn bound(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(10 + self.row.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.site.0.to_be_bytes());
        bytes.push(self.purpose as u8);
        bytes.extend_from_slice(self.row.as_bytes());
        bytes
    }
}

/// A sealed value as it is stored: version, nonce, ciphertext with tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

/// An opened value. Shows itself to nobody, and leaves memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(Zeroizing<Vec<u8>>);

impl Revealed {
    /// A value that is to leave memory when dropped.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed(…)")
    }
}

/// Why a value was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Another program wrote it.
    #[error("the value was sealed by a newer version of tollgate")]
    Version,
    /// Wrong key, wrong place or changed bytes: they cannot be told apart.
    #[error("the value does not open with this server's key")]
    Sealed,
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        Self::Internal(format!(
            "a sealed value could not be used: {error}; restore `secrets.key` or the database"
        ))
    }
}

/// Seals and opens values with XChaCha20-Poly1305.
pub struct Vault {
    cipher: XChaCha20Poly1305,
}

impl Vault {
    /// A vault with this key.
    pub fn new(key: &VaultKey) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new((&*key.0).into()),
        }
    }

    /// Seals `plain` for `place`. The same value gives other bytes each time.
    ///
    /// # Panics
    /// For more than 256 GiB, which no bound of the engine lets through.
    pub fn seal(&self, entropy: &dyn Entropy, place: &Place<'_>, plain: &[u8]) -> Sealed {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let aad = &place.bound();
        let payload = Payload { msg: plain, aad };
        let cipher = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let cipher = cipher.expect("values are far smaller than the cipher's bound");
        let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + cipher.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&cipher);
        Sealed(sealed)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`VaultError`], which tells nothing of the value.
    pub fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Revealed, VaultError> {
        let (version, rest) = sealed.0.split_first().ok_or(VaultError::Sealed)?;
        if *version != VERSION {
            return Err(VaultError::Version);
        }
        let (nonce, msg) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(VaultError::Sealed)?;
        let aad = &place.bound();
        let plain = self
            .cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg, aad });
        plain.map(Revealed::new).map_err(|_| VaultError::Sealed)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts up, so that no two fills are alike.
    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn entropy() -> Counting {
        Counting(1.into())
    }

    const HERE: Place<'_> = Place {
        site: SiteId(7),
        purpose: Purpose::Secret,
        row: "3/stripe",
    };

    #[test]
    fn what_is_sealed_opens_and_shows_nothing() {
        let vault = Vault::new(&VaultKey::generate(&entropy()));
        let entropy = entropy();
        let first = vault.seal(&entropy, &HERE, b"canary-value");
        let second = vault.seal(&entropy, &HERE, b"canary-value");
        assert_ne!(first, second);
        assert_eq!(first.0.len(), 1 + 24 + 12 + 16);
        assert!(!first.0.windows(6).any(|bytes| bytes == b"canary"));
        let opened = vault.open(&HERE, &first).unwrap();
        assert_eq!(opened.text(), Some("canary-value"));
        let shown = format!("{vault:?} {opened:?} {:?}", VaultKey::from([1; 32]));
        assert_eq!(shown, "Vault(…) Revealed(…) VaultKey(…)");
    }

    #[test]
    fn a_value_opens_at_its_own_place_only() {
        let vault = Vault::new(&VaultKey::from([1; 32]));
        let sealed = vault.seal(&entropy(), &HERE, b"x");
        for there in [
            Place {
                site: SiteId(8),
                ..HERE
            },
            Place {
                purpose: Purpose::Webhook,
                ..HERE
            },
            Place {
                row: "4/stripe",
                ..HERE
            },
            Place { row: "", ..HERE },
        ] {
            assert_eq!(vault.open(&there, &sealed), Err(VaultError::Sealed));
        }
        let other = Vault::new(&VaultKey::from([2; 32]));
        assert_eq!(other.open(&HERE, &sealed), Err(VaultError::Sealed));
    }

    #[test]
    fn changed_bytes_do_not_open() {
        let vault = Vault::new(&VaultKey::from([1; 32]));
        let sealed = vault.seal(&entropy(), &HERE, b"value");
        for at in 1..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert_eq!(vault.open(&HERE, &changed), Err(VaultError::Sealed));
        }
        for length in 0..sealed.0.len() {
            let short = Sealed(sealed.0[..length].to_vec());
            assert_eq!(vault.open(&HERE, &short), Err(VaultError::Sealed));
        }
        let mut newer = sealed;
        newer.0[0] = 2;
        assert_eq!(vault.open(&HERE, &newer), Err(VaultError::Version));
    }

    #[test]
    fn keys_are_sixty_four_digits() {
        let key = VaultKey::from([0xa5; 32]);
        let text = key.to_hex();
        let read = VaultKey::from_hex(&format!(" {}\n", *text)).unwrap();
        assert_eq!(*read.to_hex(), *text);
        assert!(VaultKey::from_hex(&text.to_uppercase()).is_some());
        for wrong in ["", "a5", &text[1..], &format!("{}g", &text[1..])] {
            assert!(VaultKey::from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
