//! From a verified credential to the scope in which its holder acts: the one place where that is made.
//!
//! Must never take anything that was only asked for, such as a name or a host, for a proof.

use crate::ids::SiteId;
use crate::ports::store::{CredentialOwner, KeyOwner, LoginRecord, Token};
use crate::site::TenantScope;

/// What the site's store gave for a credential that fits.
pub(super) trait Proof {}

/// The account that the credential belongs to, open by now.
impl Proof for CredentialOwner {}
/// The account whose password was typed.
impl Proof for LoginRecord {}
/// The API key that came.
impl Proof for KeyOwner {}
/// The session or refresh token that came, ended or not.
impl Proof for Token {}

/// The scope of `site`, for whoever has proved to belong to it.
pub(super) fn scope(site: SiteId, _: &impl Proof) -> TenantScope {
    TenantScope::of_credential(site)
}
