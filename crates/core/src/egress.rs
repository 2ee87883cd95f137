//! Which hosts the functions of a site may reach, where they may reach any.
//!
//! Must never be taken for the guard against private addresses: a name that is allowed here may
//! still lead there.

use crate::limits;
use serde::{Deserialize, Serialize};

/// Hosts, or suffixes of hosts. None means every public host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EgressHosts(Vec<String>);

/// A host that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHosts {
    /// One is not written as a host.
    #[error(
        "'{0}' is no host: write api.example.com, or *.example.com for all below it, without scheme, \
         port or path"
    )]
    Host(String),
    /// There are too many.
    #[error("name at most {} hosts", limits::EGRESS_HOSTS)]
    TooMany,
}

impl EgressHosts {
    /// Reads hosts as an operator writes them.
    ///
    /// # Errors
    /// [`InvalidHosts`].
    pub fn parse(hosts: &[String]) -> Result<Self, InvalidHosts> {
        if hosts.len() > limits::EGRESS_HOSTS {
            return Err(InvalidHosts::TooMany);
        }
        let mut parsed = Vec::with_capacity(hosts.len());
        for host in hosts {
            let lower = host.trim().trim_end_matches('.').to_ascii_lowercase();
            let name = lower.strip_prefix("*.").unwrap_or(&lower);
            // Brackets and colons for IPv6; a name in another alphabet is written in its xn-- form.
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
            let fits = !name.is_empty() && name.len() <= 253 && name.chars().all(plain);
            let has_port = name.contains(':') && !name.starts_with('[');
            if !fits || has_port || name.starts_with('.') {
                return Err(InvalidHosts::Host(
                    crate::text::prefix(host, 100).to_owned(),
                ));
            }
            parsed.push(lower);
        }
        Ok(Self(parsed))
    }

    /// Whether `host`, in lower case, may be reached.
    pub fn permit(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        let covers = |pattern: &String| match pattern.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => pattern == host,
        };
        self.0.is_empty() || self.0.iter().any(covers)
    }

    /// The hosts; none means every public one.
    pub fn hosts(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Result<EgressHosts, InvalidHosts> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        EgressHosts::parse(&names)
    }

    #[test]
    fn hosts_are_met_whole_or_by_what_stands_above_them() {
        let allowed = hosts(&["API.example.com.", "*.trusted.test", "[2001:db8::1]"]).unwrap();
        for host in [
            "api.example.com",
            "api.example.com.",
            "a.trusted.test",
            "a.b.trusted.test",
        ] {
            assert!(allowed.permit(host), "{host}");
        }
        assert!(allowed.permit("[2001:db8::1]"));
        for host in [
            "example.com",
            "x.api.example.com",
            "trusted.test",
            "nottrusted.test",
            "",
        ] {
            assert!(!allowed.permit(host), "{host}");
        }
        assert!(hosts(&[]).unwrap().permit("anything.test"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in [
            "",
            "*.",
            "https://a.test",
            "a.test/x",
            "a.test:80",
            "*",
            "a*.test",
            "ä.test",
            ".a",
        ] {
            assert!(hosts(&[wrong]).is_err(), "{wrong}");
        }
        assert_eq!(hosts(&["a.test"; 101]), Err(InvalidHosts::TooMany));
    }
}
