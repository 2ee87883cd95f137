//! The guard's table: what is let through, what only an operator's word lets through, and what never.
#![cfg(test)]

use super::guard::Reach;
use super::{Outbound, OutboundConfig, Refusal};
use tollgate_core::supervise::Supervisor;

fn client(allow_private: bool) -> Outbound {
    let config = OutboundConfig {
        allow_private,
        ports: vec![80, 443],
        dns_server: Some(([127, 0, 0, 1], 53).into()),
        ca_file: None,
    };
    Outbound::new(config, &Supervisor::default()).unwrap()
}

#[test]
fn every_range_is_known_at_both_of_its_ends() {
    for (reach, addresses) in [
        (
            Reach::Private,
            "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.0 127.255.255.255 172.16.0.0 \
             172.31.255.255 192.168.0.0 192.168.255.255 ::1 fc00:: \
             fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fd00:ec2::253 100.100.100.199",
        ),
        (
            Reach::Never,
            "0.0.0.0 0.255.255.255 100.100.100.200 fd00:ec2::254 fd20:ce::254 168.63.129.16 169.254.0.0 169.254.169.254 169.254.255.255 \
             192.0.0.0 192.0.0.255 192.0.2.0 192.0.2.255 192.52.193.1 192.88.99.1 198.18.0.0 \
             198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 224.0.0.0 \
             239.255.255.255 240.0.0.0 255.255.255.255 :: ::2 ::127.0.0.1 ::ffff:0:0 \
             ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::808:808 \
             64:ff9b:1::1 100::1 1fff:ffff::1 2001:: 2001:0:7f00:1:: 2001:10::1 2001:20::1 2001:2::1 \
             2001:1ff:ffff::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3ffe::1 3fff::1 3fff:fff::1 \
             4000:: 5f00::1 fe80:: fe80::1 febf::1 fec0::1 ff02::1 \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
        (
            Reach::Public,
            "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
             128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 \
             172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 \
             198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 2000:: \
             2001:200:: 2001:db7:ffff::1 2001:db9::1 2003::1 2606:4700::1111 2a00:1450:4001::1 \
             3ffd::1 3fff:1000::1",
        ),
    ] {
        for address in addresses.split_whitespace() {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }
}

#[test]
fn an_operator_allows_the_private_ones_and_no_others() {
    assert_eq!(Reach::Private.permit(true), Ok(()));
    assert_eq!(Reach::Private.permit(false), Err(Refusal::NotPublic));
    assert_eq!(Reach::Never.permit(true), Err(Refusal::Never));
    assert_eq!(Reach::Public.permit(false), Ok(()));
}

/// Spellings of this machine's address that clients in the wild understand.
const LOOPBACKS: &str = "http://127.0.0.1/ http://127.0.0.1./ http://127.1/ http://127.0.1/ \
    http://0x7f.1/ http://0x7f000001/ http://0X7F.0.0.0x1/ http://2130706433/ http://017700000001/ \
    http://0177.0.0.1/ http://0177.0x0.1/ http://%31%32%37.0.0.1/ http://127%2e0%2e0%2e1/ \
    http://[::1]/ http://[0:0:0:0:0:0:0:1]/ http://[0000::0001]/ \
    http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/ http://127\u{3002}0\u{3002}0\u{3002}1/ \
    http:127.0.0.1/ http:\\\\127.0.0.1\\ HTTP://127.0.0.1/";

#[test]
fn every_spelling_of_an_address_is_that_address() {
    for address in LOOPBACKS.split_whitespace() {
        assert_eq!(
            client(false).check(address),
            Err(Refusal::NotPublic),
            "{address}"
        );
        assert!(client(true).check(address).is_ok(), "{address}");
    }
    for address in "http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[::127.0.0.1]/ \
        http://[64:ff9b::127.0.0.1]/ http://[64:ff9b:1::7f00:1]/ http://[2002:7f00:1::]/ http://0/ \
        http://0.0.0.0/ http://169.254.169.254/latest/meta-data/ http://0xa9fea9fe/ http://[::]/ \
        http://2852039166/ http://[fe80::1]/ http://255.255.255.255/"
        .split_whitespace()
    {
        assert_eq!(
            client(true).check(address),
            Err(Refusal::Never),
            "{address}"
        );
    }
}

#[test]
fn what_is_no_plain_web_address_is_refused() {
    for (address, refusal) in [
        ("", Refusal::Malformed),
        ("example.com", Refusal::Malformed),
        ("http://", Refusal::Malformed),
        ("http://exa mple.com/", Refusal::Malformed),
        ("http://[::1", Refusal::Malformed),
        ("http://[fe80::1%25eth0]/", Refusal::Malformed),
        ("http://1.2.3.4.5/", Refusal::Malformed),
        ("http://256.0.0.1/", Refusal::Malformed),
        ("ftp://example.com/", Refusal::Scheme),
        ("file:///etc/passwd", Refusal::Scheme),
        ("gopher://example.com/", Refusal::Scheme),
        ("unix:/run/docker.sock", Refusal::Scheme),
        ("https://user@example.com/", Refusal::Userinfo),
        ("https://:secret@example.com/", Refusal::Userinfo),
        ("https://example.com@127.0.0.1/", Refusal::Userinfo),
        ("https://example.com:22/", Refusal::Port),
        ("http://example.com:0/", Refusal::Port),
    ] {
        assert_eq!(client(true).check(address), Err(refusal), "{address}");
    }
    for address in [
        "https://example.com/hook?x=1",
        "http://example.com:443/",
        "http://localhost/",
        "https://b\u{fc}cher.example/",
    ] {
        assert!(client(false).check(address).is_ok(), "{address}");
    }
}

#[test]
fn headers_of_the_connection_are_refused() {
    for name in [
        "Host",
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "bad name",
    ] {
        let headers = [(name.to_owned(), "x".to_owned())];
        let refused = super::header_map(headers.iter().map(|(name, value)| (name, value)));
        assert!(refused.unwrap_err().to_string().contains(name));
    }
    let headers = [("X-Team".to_owned(), "a\nb".to_owned())];
    assert!(super::header_map(headers.iter().map(|(name, value)| (name, value))).is_err());
}
