//! Sites (tenants) and the proof that code may act inside one.
//!
//! A [`TenantScope`] is the only key to tenant-owned data, and few things make one: verified
//! credentials (`auth::scopes`), the [`Authority`] of the program that embeds the engine, a run of the site
//! (`rights::Actor`), and, for what is open to everybody, the host name that led to the site. `xtask` holds each of them to
//! its place.

use crate::ids::SiteId;
use crate::time::Timestamp;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its number.
    pub id: SiteId,
    /// Its name in sub-domains and token audiences.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Full host names that lead to it, lower case.
    pub domains: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Columns that cannot be read: placeholders stand for them.
    pub damaged: Vec<&'static str>,
}

/// Whether a lower-case text is a host name: labels of letters, digits, dashes and underscores.
pub fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Proof that the holder may act inside one site. Cannot be made outside this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantScope {
    site_id: SiteId,
}

impl TenantScope {
    /// Whose credential was verified. Only for `auth::scopes`.
    #[cfg(feature = "accounts")]
    pub(crate) const fn of_credential(site_id: SiteId) -> Self {
        Self { site_id }
    }

    /// In which a run acts: it was born in this site, under a scope of it. Only for `rights::Actor`.
    pub(crate) const fn of_run(site_id: SiteId) -> Self {
        Self { site_id }
    }

    /// In which a stranger is served, who has shown nothing: the host name led to the site. Only for what
    /// anybody may ask of it: a public function, and the news of a sign-in that failed.
    pub(crate) const fn of_stranger(site_id: SiteId) -> Self {
        Self { site_id }
    }

    /// The site.
    pub const fn site_id(self) -> SiteId {
        self.site_id
    }
}

/// The right of the program itself: command line, worker loop, embedding application.
///
/// Whoever holds one may act in every site, so it is made once, where the program is put together,
/// and never handed to request handlers.
#[derive(Debug)]
pub struct Authority(());

impl Authority {
    /// Takes the program's own right. Call it in `main` or in an embedding application only.
    #[must_use]
    pub const fn of_this_program() -> Self {
        Self(())
    }

    /// The scope of `site`.
    #[must_use]
    pub const fn scope(&self, site: SiteId) -> TenantScope {
        TenantScope { site_id: site }
    }
}
