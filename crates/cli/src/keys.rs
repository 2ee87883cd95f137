//! Keys kept in the data folder, readable by its owner only.

use crate::config::Config;
use crate::random::OsEntropy;
use std::io;
use std::path::Path;
use tollgate_core::auth::JwtKeys;
use tollgate_core::entropy::Entropy;
use tollgate_core::vault::VaultKey;
use tollgate_store_sqlite::folder::{FolderError, create_private, read_private, write_private};
use zeroize::Zeroizing;

/// Signs access and refresh tokens.
const JWT_KEY: &str = "jwt.key";
/// Did so before the last rotation.
const PREVIOUS_JWT_KEY: &str = "jwt.previous.key";
/// Seals secrets in the database.
pub(crate) const SECRETS_KEY: &str = "secrets.key";
/// All of them.
pub(crate) const FILES: [&str; 3] = [JWT_KEY, PREVIOUS_JWT_KEY, SECRETS_KEY];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{0}")]
    Unusable(String),
}

/// The keys of tokens; one is made at the first call.
pub(crate) fn jwt_keys(data_dir: &Path) -> Result<JwtKeys, KeyError> {
    let path = data_dir.join(JWT_KEY);
    let current = match read(&path)? {
        Some(key) => key,
        None => make(&path)?,
    };
    let previous = read(&data_dir.join(PREVIOUS_JWT_KEY))?;
    Ok(JwtKeys { current, previous })
}

/// Puts a new key in the place of the current one, and that in the place of the previous one.
pub(crate) fn rotate_jwt_key(data_dir: &Path) -> Result<(), KeyError> {
    let JwtKeys { current, .. } = jwt_keys(data_dir)?;
    write_private(&data_dir.join(PREVIOUS_JWT_KEY), &current)?;
    make(&data_dir.join(JWT_KEY)).map(drop)
}

fn read(path: &Path) -> Result<Option<[u8; 32]>, KeyError> {
    let Some(bytes) = read_private(path)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let key = <[u8; 32]>::try_from(bytes.as_slice());
    key.map(Some).map_err(|_| {
        let path = path.display();
        KeyError::Unusable(format!(
            "{path} is not a key of 32 bytes; restore or delete it"
        ))
    })
}

fn make(path: &Path) -> Result<[u8; 32], KeyError> {
    let mut key = [0_u8; 32];
    OsEntropy.fill(&mut key);
    write_private(path, &key)?;
    Ok(key)
}

/// The key that seals secrets: the setting's, else the file's, which is made at the first call.
pub(crate) fn secrets_key(config: &Config) -> Result<VaultKey, KeyError> {
    if let Some(text) = config.secrets_key.reveal() {
        return VaultKey::from_hex(text).ok_or_else(|| {
            let message = "secrets_key (TOLLGATE_SECRETS_KEY) is not a key of 64 hexadecimal digits; \
                           `openssl rand -hex 32` makes one";
            KeyError::Unusable(message.to_owned())
        });
    }
    let path = config.data_dir.join(SECRETS_KEY);
    let Some(bytes) = read_private(&path)?.map(Zeroizing::new) else {
        let key = VaultKey::generate(&OsEntropy);
        write_private(&path, key.to_hex().as_bytes())?;
        return Ok(key);
    };
    let text = std::str::from_utf8(&bytes).ok();
    text.and_then(VaultKey::from_hex).ok_or_else(|| {
        KeyError::Unusable(format!(
            "{} is not a key of 64 hexadecimal digits; restore it, because without it no secret can \
             be read",
            path.display()
        ))
    })
}

/// Copies the keys that are there into a folder that has none, and tells their names.
pub(crate) fn copy_keys(data_dir: &Path, into: &Path) -> Result<Vec<&'static str>, KeyError> {
    let mut copied = Vec::new();
    for name in FILES {
        if let Some(bytes) = read_private(&data_dir.join(name))?.map(Zeroizing::new) {
            let path = into.join(name);
            let mut file = create_private(&path)?;
            let written = io::Write::write_all(&mut file, &bytes).and_then(|()| file.sync_all());
            written.map_err(|source| FolderError::Io { path, source })?;
            copied.push(name);
        }
    }
    Ok(copied)
}
