//! The client itself: from a checked address to a reply, read no further than its reader asks.

use super::dns::{GuardedDns, LookupError};
use super::guard::Reach;
use super::{HeaderError, OutboundConfig, OutboundError, OutboundStartError, Refusal};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use tollgate_core::limits;
use url::{Host, Url};

/// Headers that say how the connection is used. The client alone sets them.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The guarded client. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: Client,
    config: Arc<OutboundConfig>,
    resolves: bool,
}

/// An address whose written form was let through. Only [`Outbound::check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// The host as written, in lower case; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address.
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

/// One request, complete and unsent. Its headers come from [`header_map`] or the server itself.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Where.
    pub target: Target,
    /// With these headers.
    pub headers: HeaderMap,
    /// And this body.
    pub body: Vec<u8>,
}

/// The head of a reply, and its body as far as somebody reads it.
pub struct Reply(Response);

impl Outbound {
    /// A client with its own connections.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: OutboundConfig) -> Result<Self, OutboundStartError> {
        let dns = GuardedDns::new(&config);
        let resolves = dns.resolves();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(Arc::new(dns))
            .connect_timeout(limits::CONNECT_TIMEOUT)
            .pool_idle_timeout(limits::IDLE_CONNECTION)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS_PER_HOST)
            .http1_max_headers(limits::REPLY_HEADERS)
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            config: Arc::new(config),
            resolves,
        })
    }

    /// Whether somebody is known who resolves names. If not, only literal addresses are called.
    pub const fn resolves_names(&self) -> bool {
        self.resolves
    }

    /// Looks at an address as it is written, without resolving a name.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, address: &str) -> Result<Target, Refusal> {
        let url = Url::parse(address).map_err(|_| Refusal::Malformed)?;
        self.check_url(url)
    }

    /// The same for an address that is parsed already, for example a redirect's.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_url(&self, url: Url) -> Result<Target, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Userinfo);
        }
        // The parser reads every spelling of an IPv4 address, 0x7f.1 and 2130706433 among them.
        let literal = match url.host().ok_or(Refusal::Malformed)? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        if let Some(address) = literal {
            Reach::of(address).permit(self.config.allow_private)?;
        }
        let port = url.port_or_known_default().ok_or(Refusal::Port)?;
        if !self.config.ports.is_empty() && !self.config.ports.contains(&port) {
            return Err(Refusal::Port);
        }
        Ok(Target(url))
    }

    /// Sends a request and waits for the head of its reply. Bounds the time of resolving and
    /// connecting; the whole is for the caller to bound, because its body counts as well.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn send(&self, request: Request) -> Result<Reply, OutboundError> {
        let sent = self
            .client
            .request(request.method, request.target.0)
            .headers(request.headers)
            .body(request.body)
            .send();
        sent.await.map(Reply).map_err(failed)
    }
}

impl Reply {
    /// The status. A redirect is a status like any other: nobody follows it.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// What the other side calls the status, or else what it is usually called.
    pub fn reason(&self) -> String {
        let own = self.0.extensions().get::<hyper::ext::ReasonPhrase>();
        let own = own.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        let usual = || {
            self.status()
                .canonical_reason()
                .unwrap_or_default()
                .to_owned()
        };
        own.unwrap_or_else(usual)
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The first `limit` bytes of the body, and whether that is all of it.
    ///
    /// # Errors
    /// [`OutboundError::Broken`].
    pub async fn read_up_to(mut self, limit: usize) -> Result<(Vec<u8>, bool), OutboundError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.0.chunk().await.map_err(failed)? {
            let room = limit - body.len();
            if chunk.len() > room {
                body.extend_from_slice(&chunk[..room]);
                return Ok((body, false));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, true))
    }
}

/// What kind of failure it is. The client's own text names the address, so that nobody shows it.
fn failed(error: reqwest::Error) -> OutboundError {
    let error = error.without_url();
    tracing::debug!(%error, "outbound.failed");
    let mut cause = error.source();
    while let Some(inner) = cause {
        match inner.downcast_ref::<LookupError>() {
            Some(LookupError::Refused(refusal)) => return OutboundError::Refused(*refusal),
            Some(LookupError::Unresolved) => return OutboundError::Unresolved,
            None => cause = inner.source(),
        }
    }
    if error.is_connect() {
        OutboundError::Unreachable(error)
    } else {
        OutboundError::Broken(error)
    }
}

/// Headers of a request as a user gives them.
///
/// # Errors
/// [`HeaderError`] for the first that a request may not have.
pub fn header_map<'a>(
    headers: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<HeaderMap, HeaderError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let (Ok(key), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            return Err(HeaderError::Malformed(name.clone()));
        };
        if RESERVED.contains(&key.as_str()) {
            return Err(HeaderError::Reserved(name.clone()));
        }
        map.insert(key, value);
    }
    Ok(map)
}
