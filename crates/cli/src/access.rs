//! Where the command line finds the server that uses a data folder, and the key with which it comes in: `cli.json`.

use crate::config::Config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tollgate_core::auth::DEFAULT_SITE;
use tollgate_core::site::Site;
use tollgate_store_sqlite::folder::{FolderError, read_private, write_private};

/// The way in, of each site that was asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LocalAccess {
    /// Where the server listens, as this machine reaches it.
    pub(crate) url: String,
    /// A key of a superuser of the site `default`.
    pub(crate) api_key: String,
    /// The host name that leads to the site `default`, if not every name does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// Other sites.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sites: BTreeMap<String, SiteAccess>,
}

/// The way into one site.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SiteAccess {
    /// A key of a superuser.
    pub(crate) api_key: String,
    /// The host name that leads to it; none where every name does.
    pub(crate) host: Option<String>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{} is damaged ({}); restart the server, which writes it anew", .0.display(), .1)]
    Damaged(PathBuf, serde_json::Error),
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("cli.json")
}

impl LocalAccess {
    /// Reads it; none when no server has started in the folder.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Self>, AccessError> {
        let path = path(data_dir);
        let Some(text) = read_private(&path)? else {
            return Ok(None);
        };
        let access = serde_json::from_slice(&text);
        access
            .map(Some)
            .map_err(|error| AccessError::Damaged(path, error))
    }

    /// Writes it.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), FolderError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_private(&path(data_dir), &text)
    }

    /// The way into a site, if it is known.
    pub(crate) fn site(&self, slug: &str) -> Option<SiteAccess> {
        if slug == DEFAULT_SITE {
            let (api_key, host) = (self.api_key.clone(), self.host.clone());
            return Some(SiteAccess { api_key, host });
        }
        self.sites.get(slug).cloned()
    }

    /// Keeps the way into a site.
    pub(crate) fn keep(&mut self, slug: &str, access: SiteAccess) {
        if slug == DEFAULT_SITE {
            (self.api_key, self.host) = (access.api_key, access.host);
        } else {
            self.sites.insert(slug.to_owned(), access);
        }
    }
}

/// A host name that leads to a site; none where every unknown name does.
///
/// # Errors
/// When no name leads to it.
pub(crate) fn host_of(config: &Config, site: &Site) -> Result<Option<String>, String> {
    let slug = &site.slug;
    if !config.base_domain.is_empty() {
        let base = config.base_domain.trim_end_matches('.');
        return Ok(Some(format!("{slug}.{base}")));
    }
    if slug == DEFAULT_SITE {
        return Ok(None);
    }
    let first = site.domains.first().cloned();
    let message = || {
        format!(
            "no host name leads to the site {slug}; `tollgate site add-domain {slug} HOST` adds one"
        )
    };
    first.map(Some).ok_or_else(message)
}
