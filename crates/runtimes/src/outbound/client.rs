//! The client itself: from a checked address to a reply, read no further than its reader asks.
//!
//! Must never let two sites share a connection, or a TLS session.

use super::dns::{GuardedDns, LookupError};
use super::guard::Reach;
use super::trouble::Trouble;
use super::{HeaderError, OutboundConfig, OutboundError, OutboundStartError, Refusal, tls};
use hyper::body::Bytes;
use parking_lot::Mutex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use rustls::ClientConfig;
use rustls::client::Resumption;
use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tollgate_core::egress::EgressHosts;
use tollgate_core::ids::SiteId;
use tollgate_core::limits;
use tollgate_core::supervise::Supervisor;
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

/// The guarded client. Cheap to clone; clones share connections, sites do not.
#[derive(Clone)]
pub struct Outbound {
    pools: Arc<Mutex<Pools>>,
    dns: Arc<GuardedDns>,
    tls: Arc<ClientConfig>,
    config: Arc<OutboundConfig>,
}

/// The connections of the sites that sent something last.
#[derive(Default)]
struct Pools {
    of: HashMap<SiteId, Pool>,
    /// Counts what was asked for.
    turn: u64,
}

struct Pool {
    client: Client,
    /// The turn of its last use.
    used: u64,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
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

    /// The same if its host is one of those that a site's functions may reach.
    ///
    /// # Errors
    /// [`Refusal::NotListed`].
    pub fn permitted(self, hosts: &EgressHosts) -> Result<Self, Refusal> {
        match hosts.permit(self.host()) {
            true => Ok(self),
            false => Err(Refusal::NotListed),
        }
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
pub struct Reply {
    response: Response,
    https: bool,
}

impl Outbound {
    /// A client with its own connections. `supervisor` watches what goes on in the background.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the file of further authorities holds none.
    pub fn new(
        config: OutboundConfig,
        supervisor: &Supervisor,
    ) -> Result<Self, OutboundStartError> {
        let made = Self {
            pools: Arc::default(),
            dns: Arc::new(GuardedDns::new(&config, supervisor)),
            tls: Arc::new(tls::config(config.ca_file.as_deref())?),
            config: Arc::new(config),
        };
        // What fails, fails now.
        made.connections()?;
        Ok(made)
    }

    /// A client with connections and TLS sessions of its own.
    fn connections(&self) -> reqwest::Result<Client> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.resumption = Resumption::in_memory_sessions(limits::IDLE_CONNECTIONS_PER_HOST);
        Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(Arc::clone(&self.dns))
            .connect_timeout(limits::CONNECT_TIMEOUT)
            .pool_idle_timeout(limits::IDLE_CONNECTION)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS_PER_HOST)
            .http1_max_headers(limits::REPLY_HEADERS)
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .build()
    }

    /// The connections of a site.
    fn of(&self, site: SiteId) -> reqwest::Result<Client> {
        let mut pools = self.pools.lock();
        pools.turn += 1;
        let used = pools.turn;
        if let Some(pool) = pools.of.get_mut(&site) {
            pool.used = used;
            return Ok(pool.client.clone());
        }
        if pools.of.len() >= limits::OUTBOUND_SITES {
            let oldest = pools.of.iter().min_by_key(|(_, pool)| pool.used);
            if let Some(oldest) = oldest.map(|(site, _)| *site) {
                // What is under way has a client of its own and ends.
                pools.of.remove(&oldest);
            }
        }
        let client = self.connections()?;
        let kept = client.clone();
        pools.of.insert(site, Pool { client: kept, used });
        Ok(client)
    }

    /// Whether somebody is known who resolves names. If not, only literal addresses are called.
    pub fn resolves_names(&self) -> bool {
        self.dns.resolves()
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

    /// Sends a request of a site and waits for the head of its reply. Bounds the time of resolving and
    /// connecting; the whole is for the caller to bound, because its body counts as well.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn send(&self, site: SiteId, request: Request) -> Result<Reply, OutboundError> {
        let https = request.target.0.scheme() == "https";
        let client = self.of(site).map_err(|error| failed(error, https))?;
        let sent = client
            .request(request.method, request.target.0)
            .headers(request.headers)
            .body(request.body)
            .send();
        match sent.await {
            Ok(response) => Ok(Reply { response, https }),
            Err(error) => Err(failed(error, https)),
        }
    }
}

impl Reply {
    /// The status. A redirect is a status like any other: nobody follows it.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// What the other side calls the status, or else what it is usually called.
    pub fn reason(&self) -> String {
        let own = self.response.extensions().get::<hyper::ext::ReasonPhrase>();
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
        self.response.headers()
    }

    /// How long the body is, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// What has arrived of the body and was not read yet; none at its end.
    ///
    /// # Errors
    /// [`OutboundError::Trouble`].
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let https = self.https;
        self.response.chunk().await.map_err(|it| failed(it, https))
    }

    /// Reads on until `body` has more than `most` bytes, or the end has come. Whether that has.
    ///
    /// # Errors
    /// [`OutboundError::Trouble`].
    pub(crate) async fn read_into(
        &mut self,
        body: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, OutboundError> {
        while body.len() <= most {
            let Some(chunk) = self.chunk().await? else {
                return Ok(true);
            };
            body.extend_from_slice(&chunk);
        }
        Ok(false)
    }

    /// The first `limit` bytes of the body, and whether that is all of it.
    ///
    /// # Errors
    /// [`OutboundError::Trouble`].
    pub async fn read_up_to(mut self, limit: usize) -> Result<(Vec<u8>, bool), OutboundError> {
        let mut body = Vec::new();
        let whole = self.read_into(&mut body, limit).await?;
        body.truncate(limit);
        Ok((body, whole))
    }
}

/// What kind of failure it is. The client's own text names the address, so that nobody shows it.
fn failed(error: reqwest::Error, https: bool) -> OutboundError {
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
    OutboundError::Trouble(Trouble::of(&error, https))
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
