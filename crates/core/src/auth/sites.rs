//! Which site a request is for, by its host name.
//!
//! Must never guess between sites: a host leads to one site or to none. The list is read again when the bus tells of a
//! change, when it is old, and before an unknown host is refused.

use crate::error::Error;
use crate::limits;
use crate::ports::bus::{Bus, Listener, News};
use crate::ports::store::{Reason, Store};
use crate::site::Site;
use crate::text;
use crate::time::Clock;
use parking_lot::RwLock;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The list is read at most this often, unless it is known to have changed.
const RELOAD_AFTER: Duration = Duration::from_secs(1);
/// So much of a host name is repeated in an answer.
const HOST_SHOWN_BYTES: usize = 253;
/// The site of every host when no base domain is configured.
pub const DEFAULT_SITE: &str = "default";

/// The list of sites, kept in memory.
pub struct SiteDirectory {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    base_domain: Option<String>,
    known: RwLock<Known>,
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    by_domain: HashMap<String, Arc<Site>>,
    by_slug: HashMap<String, Arc<Site>>,
    /// None before the first time.
    loaded_at: Option<Instant>,
    /// When it was last tried to read it; none when it has changed since.
    tried_at: Option<Instant>,
}

impl SiteDirectory {
    /// A directory that loads its list when it is first asked. With a `base_domain`, sites are its
    /// sub-domains; without one, every host that is no site's domain is the site `default`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        bus: &dyn Bus,
        base_domain: Option<&str>,
    ) -> Arc<Self> {
        let base_domain = base_domain.map(|domain| host_name(domain).into_owned());
        let directory = Arc::new(Self {
            store,
            clock,
            base_domain,
            known: RwLock::default(),
            loading: Default::default(),
        });
        let listener: Weak<Self> = Arc::downgrade(&directory);
        bus.listen(listener);
        directory
    }

    /// The site of `host`, which may carry a port.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no site has this host.
    pub async fn site(&self, host: &str) -> Result<Arc<Site>, Error> {
        let name = host_name(host);
        if self.is_current()
            && let Some(site) = self.exact(&name)
        {
            return Ok(site);
        }
        if self.may_reload() {
            self.reload().await?;
        }
        self.exact(&name)
            .or_else(|| self.fallback())
            .ok_or_else(|| Error::NotFound(named(&name)))
    }

    async fn reload(&self) -> Result<(), Error> {
        let _loading = self.loading.lock().await;
        if !self.may_reload() {
            // Somebody else has just done it.
            return Ok(());
        }
        // Before it is read: of a change from here on there will be news.
        let now = Some(self.clock.monotonic());
        self.known.write().tried_at = now;
        let sites = match self.store.system(Reason::Authenticate).sites().await {
            Ok(sites) => sites,
            Err(error) if self.known.read().loaded_at.is_some() => {
                tracing::warn!(%error, "the list of sites could not be read again; the old one is used");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut known = Known {
            loaded_at: now,
            ..Known::default()
        };
        for site in sites.into_iter().map(Arc::new) {
            for domain in &site.domains {
                known
                    .by_domain
                    .insert(host_name(domain).into_owned(), Arc::clone(&site));
            }
            known.by_slug.insert(site.slug.clone(), site);
        }
        let mut kept = self.known.write();
        known.tried_at = kept.tried_at;
        *kept = known;
        Ok(())
    }

    fn exact(&self, name: &str) -> Option<Arc<Site>> {
        let known = self.known.read();
        if let Some(site) = known.by_domain.get(name) {
            return Some(Arc::clone(site));
        }
        let slug = sub_domain(name, self.base_domain.as_deref()?)?;
        known.by_slug.get(slug).map(Arc::clone)
    }

    fn fallback(&self) -> Option<Arc<Site>> {
        if self.base_domain.is_some() {
            return None;
        }
        self.known.read().by_slug.get(DEFAULT_SITE).map(Arc::clone)
    }

    /// Whether the list is as new as it has to be for a host that is in it.
    fn is_current(&self) -> bool {
        let known = self.known.read();
        known.tried_at.is_some()
            && known
                .loaded_at
                .is_some_and(|at| self.since(at) < limits::MEMORY_AGE)
    }

    fn may_reload(&self) -> bool {
        let tried_at = self.known.read().tried_at;
        tried_at.is_none_or(|at| self.since(at) >= RELOAD_AFTER)
    }

    fn since(&self, then: Instant) -> Duration {
        self.clock.monotonic().saturating_duration_since(then)
    }
}

impl Listener for SiteDirectory {
    fn hear(&self, news: &News) {
        if matches!(news, News::SitesChanged) {
            self.known.write().tried_at = None;
        }
    }
}

/// A host that leads nowhere, for whoever asked for it.
fn named(host: &str) -> String {
    let plain = |letter: char| !letter.is_control();
    match text::prefix(host, HOST_SHOWN_BYTES) {
        "" => "A site (the request names no host)".to_owned(),
        host => format!(
            "A site with the host name '{}'",
            host.chars().filter(|it| plain(*it)).collect::<String>()
        ),
    }
}

/// The host name without port and final dot, in lower case.
fn host_name(host: &str) -> Cow<'_, str> {
    let host = host.trim();
    let name = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or(host)
    } else {
        host.split(':').next().unwrap_or(host)
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// `"acme"` of `"acme.example.com"` under `"example.com"`; one label only.
fn sub_domain<'a>(name: &'a str, base: &str) -> Option<&'a str> {
    let label = name.strip_suffix(base)?.strip_suffix('.')?;
    (!label.is_empty() && !label.contains('.')).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_lose_port_case_and_final_dot() {
        for (host, name) in [
            ("Example.COM:8000", "example.com"),
            ("example.com.", "example.com"),
            ("localhost", "localhost"),
            ("[::1]:8000", "[::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn a_sub_domain_is_one_label_before_the_base() {
        assert_eq!(sub_domain("acme.example.com", "example.com"), Some("acme"));
        for other in [
            "example.com",
            "a.b.example.com",
            "acmeexample.com",
            ".example.com",
            "x.org",
        ] {
            assert_eq!(sub_domain(other, "example.com"), None, "{other}");
        }
    }
}
