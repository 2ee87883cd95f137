//! The first start: a site, a superuser, and a key with which the command line on this machine
//! reaches the server.

use crate::config::Config;
use crate::keys::write_private;
use crate::random::OsEntropy;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tollgate_core::auth::{DEFAULT_SITE, Password};
use tollgate_core::entropy::Entropy;
use tollgate_core::error::Error;
use tollgate_core::platform::Platform;
use tollgate_core::services::Strength;
use tollgate_core::site::{Authority, Site};

/// The name of the superuser's key that the command line uses.
const KEY_NAME: &str = "tollgate command line";

/// What the first start made.
pub(crate) struct FirstStart {
    /// The superuser's address.
    pub(crate) email: String,
    /// The password, if it was made here and must be shown.
    pub(crate) password: Option<String>,
}

/// A password of 20 letters and digits: 100 bits.
pub(crate) fn made_password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567892";
    let mut bytes = [0_u8; 20];
    OsEntropy.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}

/// Creates the default site and its superuser, unless an earlier start has done so.
pub(crate) async fn first_start(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
) -> Result<Option<FirstStart>, Error> {
    let admin = &platform.admin;
    let site = match site(platform, authority, DEFAULT_SITE).await {
        Ok(site) if is_complete(platform, authority, config, &site).await? => return Ok(None),
        Err(Error::NotFound(_)) => {
            admin
                .create_site(authority, DEFAULT_SITE, Vec::new())
                .await?
        }
        unfinished => unfinished?,
    };
    let given = config.admin_password.reveal();
    let password = given.map_or_else(made_password, str::to_owned);
    let email = config.admin_email.clone();
    let typed = Password::new(password.clone());
    admin
        .create_superuser(authority, &site, &email, typed, Strength::AsGiven)
        .await?;
    Ok(Some(FirstStart {
        email,
        password: given.is_none().then_some(password),
    }))
}

/// Whether a start got as far as the superuser: one that refused its password or address did not.
async fn is_complete(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
    site: &Site,
) -> Result<bool, Error> {
    if local_access(&config.data_dir).is_some() {
        return Ok(true);
    }
    match platform
        .admin
        .act_as(authority, site, &config.admin_email)
        .await
    {
        Err(Error::NotFound(_)) => Ok(false),
        found => found.map(|_| true),
    }
}

/// The site with this slug.
pub(crate) async fn site(
    platform: &Platform,
    authority: &Authority,
    slug: &str,
) -> Result<Site, Error> {
    let sites = platform.admin.sites(authority).await?;
    let found = sites.into_iter().find(|site| site.slug == slug);
    found.ok_or_else(|| Error::NotFound(format!("Site '{slug}'")))
}

/// Where the command line finds the server that uses a data folder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LocalAccess {
    /// Where the server listens.
    pub(crate) url: String,
    /// A key of the superuser.
    pub(crate) api_key: String,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("cli.json")
}

/// Reads it; none when no server has started in the folder.
pub(crate) fn local_access(data_dir: &Path) -> Option<LocalAccess> {
    serde_json::from_slice(&std::fs::read(path(data_dir)).ok()?).ok()
}

/// Keeps the address up to date, and makes a key at the first start.
pub(crate) async fn keep_local_access(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
    listening: SocketAddr,
) -> Result<(), Error> {
    let url = format!("http://{listening}");
    let api_key = match local_access(&config.data_dir) {
        Some(access) => access.api_key,
        None => {
            let site = site(platform, authority, DEFAULT_SITE).await?;
            let owner = match platform
                .admin
                .act_as(authority, &site, &config.admin_email)
                .await
            {
                // The superuser has another address by now: then there is no key to make.
                Err(Error::NotFound(_)) => return Ok(()),
                owner => owner?,
            };
            platform
                .auth
                .create_api_key(&owner, KEY_NAME, None, None)
                .await?
                .key
        }
    };
    let text = serde_json::to_vec_pretty(&LocalAccess { url, api_key }).map_err(io::Error::from);
    text.and_then(|text| write_private(&path(&config.data_dir), &text))
        .map_err(|error| {
            Error::Unavailable(format!(
                "cannot write {}: {error}",
                path(&config.data_dir).display()
            ))
        })
}
