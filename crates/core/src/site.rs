//! Sites (tenants) and the proof that code may act inside one.
//!
//! A [`TenantScope`] is the only key to tenant-owned data, and only two things make one: verified
//! credentials (see [`crate::auth`]) and the [`Authority`] of the program that embeds the engine.

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

/// Proof that the holder may act inside one site. Cannot be made outside this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantScope {
    site_id: SiteId,
}

impl TenantScope {
    /// Only for this crate's verification code.
    pub(crate) const fn verified(site_id: SiteId) -> Self {
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
        TenantScope::verified(site)
    }
}
