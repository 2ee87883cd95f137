//! Where the server listens, and how it is reached there.

use rustix::net::sockopt::ipv6_v6only;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use tokio::net::{TcpListener, lookup_host};

/// An address or a host name, with a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Listen {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// `:8000`: every address of this machine.
    Every,
    Address(IpAddr),
    Name(String),
}

/// Why a text is no place to listen at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "use ADDRESS:PORT or NAME:PORT, for example 127.0.0.1:8000, localhost:8000, [::1]:8000, or :8000 for every address{0}"
)]
pub(crate) struct NoListen(&'static str);

impl FromStr for Listen {
    type Err = NoListen;

    fn from_str(text: &str) -> Result<Self, NoListen> {
        if text.contains("://") {
            return Err(NoListen("; without a scheme"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(NoListen("; the port is missing"));
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits);
        let port = port.ok_or(NoListen("; a port is a number up to 65535"))?;
        let host = match host {
            "" | "*" => Host::Every,
            host if host.starts_with('[') => {
                let address = host
                    .strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'));
                let address = address.and_then(|address| address.parse::<Ipv6Addr>().ok());
                Host::Address(address.ok_or(NoListen(""))?.into())
            }
            host if host.contains(':') => {
                return Err(NoListen("; an IPv6 address stands in brackets"));
            }
            host => match host.parse::<Ipv4Addr>() {
                Ok(address) => Host::Address(address.into()),
                Err(_) if is_name(host) => Host::Name(host.to_owned()),
                Err(_) => return Err(NoListen("")),
            },
        };
        Ok(Self { host, port })
    }
}

/// A host name has letters somewhere in its last label, else it is a mistyped address.
fn is_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let last = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    host.len() <= 253
        && host.bytes().all(allowed)
        && host.split('.').all(|label| label.len() <= 63)
        && !host.starts_with('.')
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Every => write!(f, ":{}", self.port),
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = NoListen;

    fn try_from(text: String) -> Result<Self, NoListen> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl Listen {
    /// Listens there. Of a name's addresses the first that works, IPv4 before IPv6: what is said to listen on
    /// `localhost` answers on 127.0.0.1.
    pub(crate) async fn bind(&self) -> io::Result<TcpListener> {
        let addresses = match &self.host {
            // Takes IPv4 as well, unless this system separates the two.
            Host::Every => vec![
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.port),
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port),
            ],
            Host::Address(address) => vec![SocketAddr::new(*address, self.port)],
            Host::Name(name) => {
                let mut found: Vec<_> = lookup_host((name.as_str(), self.port)).await?.collect();
                found.sort_by_key(SocketAddr::is_ipv6);
                found
            }
        };
        let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut failed = nothing();
        for address in addresses {
            match TcpListener::bind(address).await {
                Ok(listener) => return Ok(listener),
                // A port that is taken on one is not to be shared with whoever has it on the other.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// An address at which a listener can be reached from this machine: never the one that means all of them.
pub(crate) fn reachable(listener: &TcpListener) -> io::Result<SocketAddr> {
    let mut address = listener.local_addr()?;
    if address.ip().to_canonical().is_unspecified() {
        let only_six = address.is_ipv6() && ipv6_v6only(listener).unwrap_or(true);
        let loopback = if only_six {
            IpAddr::from(Ipv6Addr::LOCALHOST)
        } else {
            IpAddr::from(Ipv4Addr::LOCALHOST)
        };
        address = SocketAddr::new(loopback, address.port());
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_read() {
        for (text, shown) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("localhost:8000", "localhost:8000"),
            (":8000", ":8000"),
            ("*:8000", ":8000"),
            ("[::1]:8000", "[::1]:8000"),
            ("[::]:0", "[::]:0"),
            ("my-host.example.com:80", "my-host.example.com:80"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, says) in [
            ("nowhere", "the port is missing"),
            ("8000", "the port is missing"),
            ("", "the port is missing"),
            ("localhost:", "a port is a number"),
            ("localhost:http", "a port is a number"),
            ("localhost:+80", "a port is a number"),
            ("localhost:70000", "up to 65535"),
            ("http://localhost:8000", "without a scheme"),
            ("::1:8000", "in brackets"),
            ("300.0.0.1:80", "127.0.0.1:8000"),
            ("1.2.3:80", "127.0.0.1:8000"),
            ("a b:80", "127.0.0.1:8000"),
            ("[::1:80", "127.0.0.1:8000"),
        ] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_printed_can_be_reached() {
        for text in [":0", "0.0.0.0:0", "localhost:0", "127.0.0.1:0"] {
            let listener = text.parse::<Listen>().unwrap().bind().await.unwrap();
            let address = reachable(&listener).unwrap();
            assert!(address.ip().is_loopback(), "{text}: {address}");
            tokio::net::TcpStream::connect(address).await.unwrap();
        }
    }
}
