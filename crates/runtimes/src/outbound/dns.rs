//! Resolves names for the client and lets no address through that [`super::guard`] refuses.
//!
//! Must never answer with a part: of a name that leads to one forbidden address, none is called.

use super::guard::Reach;
use super::{OutboundConfig, Refusal};
use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{RuntimeProvider, Spawn, TokioRuntimeProvider};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::read_system_conf;
use reqwest::dns::{Addrs, Resolve, Resolving};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::limits;
use tollgate_core::supervise::Supervisor;

/// Why a name is not called. Travels through the client as its error's cause.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("{0}")]
    Refused(Refusal),
    #[error("the name could not be resolved")]
    Unresolved,
}

/// The resolver's way to the network. What it leaves running in the background is watched: without it
/// every further name would wait for nothing.
#[derive(Clone)]
struct Provider {
    network: TokioRuntimeProvider,
    background: Background,
}

#[derive(Clone)]
struct Background(Supervisor);

impl Spawn for Background {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let supervisor = self.0.clone();
        let work = async move {
            failpoint::hit(Point::LoopResolver);
            // It ends with its connection.
            tokio::select! {
                () = supervisor.stopped() => {}
                () = future => {}
            }
        };
        self.0.spawn_passing("resolver", work);
    }
}

type Connecting<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl RuntimeProvider for Provider {
    type Handle = Background;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Background {
        self.background.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Connecting<Self::Tcp> {
        self.network.connect_tcp(server, from, timeout)
    }

    fn bind_udp(&self, from: SocketAddr, server: SocketAddr) -> Connecting<Self::Udp> {
        self.network.bind_udp(from, server)
    }
}

/// The resolver that the client asks at every new connection.
pub(super) struct GuardedDns {
    /// None where the system names no server.
    resolver: Option<Resolver<Provider>>,
    allow_private: bool,
}

impl GuardedDns {
    /// Where nobody is known who resolves names, none of them is called, and the rest works.
    pub(super) fn new(config: &OutboundConfig, supervisor: &Supervisor) -> Self {
        let resolver = Self::resolver(config, supervisor);
        if let Err(error) = &resolver {
            tracing::warn!(
                %error,
                "no DNS server is known, so no webhook with a host name is called; name one in \
                 [outbound] dns_server"
            );
        }
        Self {
            resolver: resolver.ok(),
            allow_private: config.allow_private,
        }
    }

    /// Whether names can be resolved at all.
    pub(super) const fn resolves(&self) -> bool {
        self.resolver.is_some()
    }

    fn resolver(
        config: &OutboundConfig,
        supervisor: &Supervisor,
    ) -> Result<Resolver<Provider>, NetError> {
        let servers = match config.dns_server {
            Some(server) => vec![name_server(server)],
            None => read_system_conf()?.0.into_parts().2,
        };
        let servers = ResolverConfig::from_parts(None, Vec::new(), servers);
        let provider = Provider {
            network: TokioRuntimeProvider::default(),
            background: Background(supervisor.clone()),
        };
        let mut builder = Resolver::builder_with_config(servers, provider);
        let options = builder.options_mut();
        options.timeout = limits::DNS_TIMEOUT;
        // Both, because every address of a name is looked at.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.positive_max_ttl = Some(limits::DNS_TTL_MAX);
        options.negative_max_ttl = Some(limits::DNS_NEGATIVE_TTL_MAX);
        options.use_hosts_file = if config.allow_private {
            ResolveHosts::Always
        } else {
            ResolveHosts::Never
        };
        builder.build()
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

/// All of `addresses`, if each may be called.
fn permitted(
    addresses: impl Iterator<Item = IpAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, LookupError> {
    let mut checked = Vec::new();
    for address in addresses {
        Reach::of(address)
            .permit(allow_private)
            .map_err(LookupError::Refused)?;
        // Port 0 means the request's own.
        checked.push(SocketAddr::new(address, 0));
    }
    if checked.is_empty() {
        return Err(LookupError::Unresolved);
    }
    Ok(checked)
}

impl Resolve for GuardedDns {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolver = self.resolver.clone();
        let allow_private = self.allow_private;
        Box::pin(async move {
            let mut full = Name::from_utf8(name.as_str()).map_err(|_| LookupError::Unresolved)?;
            // Complete as it stands: never tried under a search domain.
            full.set_fqdn(true);
            let resolver = resolver.ok_or(LookupError::Unresolved)?;
            let found = resolver.lookup_ip(full).await.map_err(|error| {
                tracing::debug!(%error, "outbound.unresolved");
                LookupError::Unresolved
            })?;
            let addresses = permitted(found.iter(), allow_private)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_forbidden_address_forbids_the_name() {
        let addresses = |texts: &[&str]| {
            let all: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            permitted(all.into_iter(), false)
        };
        assert_eq!(addresses(&["9.9.9.9", "2620:fe::fe"]).unwrap().len(), 2);
        assert!(addresses(&["9.9.9.9", "10.0.0.1"]).is_err());
        assert!(addresses(&["9.9.9.9", "::ffff:9.9.9.9"]).is_err());
        assert!(addresses(&[]).is_err());
    }
}
