//! Addresses as users write them, in every spelling that the parser of URLs understands, and the
//! guard that says where they lead. What the standard library knows to be no public address must
//! never pass for one, and what is written in another way must lead to the same place.
#![no_main]

#[path = "../../crates/runtimes/src/outbound/guard.rs"]
mod guard;

use guard::Reach;
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// What the guard answers with; its own stands beside the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotPublic,
    Never,
}

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = data.first_chunk() {
        looked_at(IpAddr::V4(Ipv4Addr::from_octets(*bytes)));
    }
    if let Some(bytes) = data.first_chunk() {
        looked_at(IpAddr::V6(Ipv6Addr::from_octets(*bytes)));
    }
    let parsed = std::str::from_utf8(data)
        .ok()
        .and_then(|text| Url::parse(text).ok());
    // Others are refused by their scheme, before anybody looks at the host.
    let Some(url) = parsed.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return;
    };
    let again = Url::parse(url.as_str()).expect("an address can be read as it is written");
    assert_eq!(again.host(), url.host(), "and means the same host");
    match url.host() {
        Some(Host::Ipv4(address)) => looked_at(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => looked_at(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            let address = name.parse::<IpAddr>();
            assert!(
                address.is_err(),
                "{name} is an address and is not looked at"
            );
        }
        None => panic!("{url} has no host"),
    }
});

fn looked_at(address: IpAddr) {
    let reach = Reach::of(address);
    assert!(reach != Reach::Public || !is_special(address), "{address}");
    assert_eq!(reach.permit(false).is_ok(), reach == Reach::Public);
    assert_eq!(reach.permit(true).is_ok(), reach != Reach::Never);
}

/// What the standard library can tell.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            it.is_unspecified()
                || it.is_loopback()
                || it.is_private()
                || it.is_link_local()
                || it.is_multicast()
                || it.is_broadcast()
                || it.is_documentation()
        }
        IpAddr::V6(it) => {
            it.is_unspecified()
                || it.is_loopback()
                || it.is_unique_local()
                || it.is_unicast_link_local()
                || it.is_multicast()
                || it.to_ipv4().is_some()
        }
    }
}
