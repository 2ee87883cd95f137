//! The one HTTP client that sends what users ask for: webhooks, and requests of functions.
//!
//! Must never connect to an address that [`guard`] has not let through, follow a redirect, take a
//! proxy from the environment, or put an address or a header into a message: both may hold secrets.
//! Where a request may go is decided twice: [`Outbound::check`] looks at what is written, so that a
//! form shows the mistake, and every connection looks at what a name means at that moment.

mod client;
mod dns;
pub(crate) mod egress;
mod guard;
mod guard_tests;
pub(crate) mod reply;
mod tls;
mod trouble;

pub use client::{Outbound, Reply, Request, Target, header_map};
pub use guard::Reach;
pub use trouble::Trouble;

use std::net::SocketAddr;
use std::path::PathBuf;

/// What an operator may set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundConfig {
    /// Whether the operator's own network and machine may be reached.
    pub allow_private: bool,
    /// Ports that may be reached; empty means every port.
    pub ports: Vec<u16>,
    /// Who resolves names; the system's servers (`/etc/resolv.conf`) when unset. The system's search
    /// domains are never used, and its table of hosts only with `allow_private`.
    pub dns_server: Option<SocketAddr>,
    /// Certificates of authorities, in PEM, that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why an address is not called. Says what to do and names neither the address nor a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no address with a host.
    #[error("it is not an address; write https:// (or http://), a host, and a path")]
    Malformed,
    /// Another scheme.
    #[error("it must begin with https:// or http://")]
    Scheme,
    /// A user name or password is part of it.
    #[error("it must hold no user name or password; send credentials in a header")]
    Userinfo,
    /// A port that is not allowed.
    #[error(
        "its port is not one of those that may be called; the operator sets them in [outbound] ports"
    )]
    Port,
    /// It leads into a network that is not the public internet.
    #[error(
        "it leads to an address that is not public; use a public one, or ask the operator for \
         [outbound] allow_private"
    )]
    NotPublic,
    /// The site's functions may not reach that host.
    #[error(
        "this site's functions may not reach that host; the operator allows it with `tollgate admin \
         egress`"
    )]
    NotListed,
    /// It leads nowhere that anybody should call, whatever the operator allows.
    #[error(
        "it leads to an address that is never called, such as a link-local, multicast or \
         translated one; use a public one"
    )]
    Never,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address is not called.
    #[error("{0}")]
    Refused(#[source] Refusal),
    /// The name means nothing.
    #[error("has a host name that could not be resolved; check how it is spelt")]
    Unresolved,
    /// No connection came about, or it ended before its time.
    #[error("{0}")]
    Trouble(Trouble),
}

/// A header that a request may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// HTTP forbids it.
    #[error("The header `{0}` has a name or value that HTTP forbids")]
    Malformed(String),
    /// It belongs to the connection.
    #[error("The header `{0}` belongs to the connection; leave it out")]
    Reserved(String),
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OutboundStartError {
    /// The client itself.
    #[error("the client for outbound requests cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
    /// TLS, for example where the system has no certificates.
    #[error("TLS for outbound requests cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The file of further authorities.
    #[error("[outbound] ca_file = {path:?}: {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
