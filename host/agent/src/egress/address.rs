//! AddressKind: what an IP address leads to, so that a name cannot smuggle an agent into the host's own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads (IANA special-purpose address registries, RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressKind {
    /// The internet.
    Public,
    /// This machine.
    Loopback,
    /// A private network, carrier-grade NAT included.
    Private,
    /// Nowhere that a request has any business: link-local (cloud metadata), multicast, reserved, documentation.
    Forbidden,
}

impl AddressKind {
    /// Looks through addresses that only wrap an IPv4 address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Self::Private,
            [0, ..]
            | [169, 254, ..]
            | [192, 0, 0, _]
            | [192, 0, 2, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..] => Self::Forbidden,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            // Teredo and the other protocol assignments, documentation.
            [0x2001, 0..=0x01ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Self::Forbidden,
            [0x2000..=0x3fff, ..] => Self::Public,
            // Everything else is not global unicast: unspecified, IPv4-compatible, link-local, multicast, reserved.
            _ => Self::Forbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_addresses_are_what_they_wrap() {
        use AddressKind::{Forbidden, Loopback, Private, Public};
        let table = [
            ("1.1.1.1", Public),
            ("127.9.9.9", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("2002:0a00:0001::", Private),
            ("64:ff9b::0101:0101", Public),
            ("172.31.255.255", Private),
            ("172.32.0.1", Public),
            ("100.127.0.1", Private),
            ("fe80::1", Forbidden),
            ("169.254.169.254", Forbidden),
            ("::ffff:169.254.169.254", Forbidden),
            ("::", Forbidden),
            ("0.0.0.0", Forbidden),
            ("::7f00:1", Forbidden),
            ("ff02::1", Forbidden),
            ("239.1.1.1", Forbidden),
            ("255.255.255.255", Forbidden),
            ("2001:db8::1", Forbidden),
            ("2001::1", Forbidden),
            ("fd12::1", Private),
            ("2606:4700::1111", Public),
        ];
        for (address, kind) in table {
            assert_eq!(AddressKind::of(address.parse().unwrap()), kind, "{address}");
        }
    }
}
