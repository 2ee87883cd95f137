//! Keys kept in the data folder, readable by its owner only.

use crate::config::Config;
use crate::random::OsEntropy;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use tollgate_core::auth::JwtKeys;
use tollgate_core::entropy::Entropy;
use tollgate_core::vault::VaultKey;
use zeroize::Zeroizing;

/// Signs access and refresh tokens.
const JWT_KEY: &str = "jwt.key";
/// Did so before the last rotation.
const PREVIOUS_JWT_KEY: &str = "jwt.previous.key";
/// Seals secrets in the database.
const SECRETS_KEY: &str = "secrets.key";

/// The keys of tokens; one is made at the first call.
pub(crate) fn jwt_keys(data_dir: &Path) -> io::Result<JwtKeys> {
    let path = data_dir.join(JWT_KEY);
    let current = match read(&path)? {
        Some(key) => key,
        None => make(&path)?,
    };
    let previous = read(&data_dir.join(PREVIOUS_JWT_KEY))?;
    Ok(JwtKeys { current, previous })
}

/// Puts a new key in the place of the current one, and that in the place of the previous one.
pub(crate) fn rotate_jwt_key(data_dir: &Path) -> io::Result<()> {
    let JwtKeys { current, .. } = jwt_keys(data_dir)?;
    write_private(&data_dir.join(PREVIOUS_JWT_KEY), &current)?;
    make(&data_dir.join(JWT_KEY)).map(drop)
}

fn read(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map(Some).map_err(|_| {
            let message = format!(
                "{} is not a key of 32 bytes; restore or delete it",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0_u8; 32];
    OsEntropy.fill(&mut key);
    write_private(path, &key)?;
    Ok(key)
}

/// The key that seals secrets: the setting's, else the file's, which is made at the first call.
pub(crate) fn secrets_key(config: &Config) -> io::Result<VaultKey> {
    if let Some(text) = config.secrets_key.reveal() {
        return VaultKey::from_hex(text).ok_or_else(|| {
            let message = "secrets_key (TOLLGATE_SECRETS_KEY) is not a key of 64 hexadecimal digits; \
                           `openssl rand -hex 32` makes one";
            io::Error::new(io::ErrorKind::InvalidData, message)
        });
    }
    let path = config.data_dir.join(SECRETS_KEY);
    match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) => VaultKey::from_hex(&text).ok_or_else(|| {
            let message = format!(
                "{} is not a key of 64 hexadecimal digits; restore it, because without it no secret \
                 can be read",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = VaultKey::generate(&OsEntropy);
            write_private(&path, key.to_hex().as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}
