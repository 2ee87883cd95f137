//! Which addresses may be called. A pure function of the address.
//!
//! Must never be asked about a name: only addresses are called, and each of them is looked at.

use super::Refusal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The public internet.
    Public,
    /// This machine or the operator's own network: called if the operator allows it.
    Private,
    /// Nowhere that a request should go: metadata services, multicast, translated addresses, and
    /// what is reserved.
    Never,
}

/// This machine, private networks (RFC 1918), shared address space of carriers (RFC 6598).
const PRIVATE_V4: [([u8; 4], u32); 5] = [
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
];

/// The rest of what the IANA's special-purpose registry does not call globally reachable, 6to4's
/// relays, and two addresses outside of these behind which clouds keep their machines' metadata.
const NEVER_V4: [([u8; 4], u32); 13] = [
    ([0, 0, 0, 0], 8),
    ([100, 100, 100, 200], 32),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Of 2000::/3: protocol assignments with Teredo, ORCHID and benchmarking; documentation; 6to4; what
/// was the 6bone; documentation again. What lies outside 2000::/3 is not public to begin with:
/// mapped, compatible and translated (NAT64) IPv4, site-local, multicast.
const NEVER_V6: [([u16; 2], u32); 5] = [
    ([0x2001, 0], 23),
    ([0x2001, 0x0db8], 32),
    ([0x2002, 0], 16),
    ([0x3ffe, 0], 16),
    ([0x3fff, 0], 20),
];

/// Where clouds (Amazon, Google) keep their machines' metadata, within unique local addresses.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254),
];

impl Reach {
    /// Where `address` leads.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let within = |&(prefix, bits): &([u8; 4], u32)| {
            (u32::from(address) ^ u32::from_be_bytes(prefix)) >> (32 - bits) == 0
        };
        // The first list lies partly within the second.
        if NEVER_V4.iter().any(within) {
            Self::Never
        } else if PRIVATE_V4.iter().any(within) {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let first = u32::try_from(address.to_bits() >> 96).unwrap_or_default();
        let within = |&([high, low], bits): &([u16; 2], u32)| {
            (first ^ (u32::from(high) << 16 | u32::from(low))) >> (32 - bits) == 0
        };
        if METADATA_V6.contains(&address) {
            return Self::Never;
        }
        // fc00::/7, unique local addresses.
        if address == Ipv6Addr::LOCALHOST || first >> 25 == 0xfc00_0000 >> 25 {
            Self::Private
        } else if first >> 29 != 0x2000_0000 >> 29 || NEVER_V6.iter().any(within) {
            Self::Never
        } else {
            Self::Public
        }
    }

    /// Whether such an address may be called.
    ///
    /// # Errors
    /// [`Refusal::NotPublic`], [`Refusal::Never`].
    pub const fn permit(self, allow_private: bool) -> Result<(), Refusal> {
        match self {
            Self::Public => Ok(()),
            Self::Private if allow_private => Ok(()),
            Self::Private => Err(Refusal::NotPublic),
            Self::Never => Err(Refusal::Never),
        }
    }
}
