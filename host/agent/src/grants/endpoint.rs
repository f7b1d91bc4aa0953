//! Endpoint: a host and port that something is granted for, and the addresses that it may turn out to be.

use std::net::IpAddr;

use url::Host;

use crate::egress::AddressKind;

/// A host, a port, and whether the host may lie inside.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: Host<String>,
    port: u16,
    private: bool,
}

impl Endpoint {
    /// Checks that a grant may name it. `private`: the name may lead to a private or loopback address.
    ///
    /// # Errors
    /// What is wrong with the host.
    pub(crate) fn new(host: Host<String>, port: u16, private: bool) -> Result<Self, &'static str> {
        if matches!(&host, Host::Domain(name) if name.contains('*')) {
            return Err("a host is one name: patterns are not supported");
        }
        let endpoint = Self { host, port, private };
        if endpoint.literal().is_some_and(|address| address.is_unspecified()) {
            return Err("the unspecified address is no destination");
        }
        Ok(endpoint)
    }

    /// The host, as a name or an address.
    pub(crate) fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether both are the same host and port, whatever they may lead to.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.is_at(&other.host, other.port)
    }

    /// Whether it is this host and port.
    pub(crate) fn is_at(&self, host: &Host<String>, port: u16) -> bool {
        self.port == port && self.host == *host
    }

    /// Whether a connection to this address may serve it. A host that is written as an address may be that address
    /// alone, whatever it is; a name may be a public address, and with `private` also one inside. `localhost` needs no
    /// `private` for this machine.
    pub(crate) fn may_reach(&self, address: IpAddr) -> bool {
        if let Some(literal) = self.literal() {
            return literal == address.to_canonical();
        }
        match AddressKind::of(address) {
            AddressKind::Public => true,
            AddressKind::Loopback => {
                self.private || matches!(&self.host, Host::Domain(name) if name == "localhost")
            }
            AddressKind::Private => self.private,
            AddressKind::Forbidden => false,
        }
    }

    /// The address that the host is written as, free of the IPv6 form of an IPv4 address.
    fn literal(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Ipv4(host) => Some(IpAddr::V4(*host)),
            Host::Ipv6(host) => Some(IpAddr::V6(*host).to_canonical()),
            Host::Domain(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str, private: bool) -> Result<Endpoint, &'static str> {
        Endpoint::new(Host::parse(host).unwrap(), 80, private)
    }

    fn reaches(host: &str, private: bool, address: &str) -> bool {
        endpoint(host, private).unwrap().may_reach(address.parse().unwrap())
    }

    #[test]
    fn private_addresses_need_a_literal_host_or_the_word_private() {
        assert!(reaches("a.example", false, "93.184.216.34"));
        for address in ["127.0.0.1", "10.1.2.3", "::ffff:192.168.0.1", "100.64.0.1", "fd00::1", "::1"] {
            assert!(!reaches("a.example", false, address), "{address}");
            assert!(reaches("a.example", true, address), "{address}");
        }
        assert!(reaches("localhost", false, "::1") && reaches("localhost", false, "::ffff:127.0.0.1"));
        assert!(!reaches("localhost", false, "10.0.0.1"));
        assert!(reaches("10.0.0.1", false, "::ffff:10.0.0.1"));
        assert!(!reaches("10.0.0.1", true, "10.0.0.2"));
    }

    #[test]
    fn no_name_leads_where_nothing_has_any_business() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::", "ff02::1"] {
            for host in ["a.example", "localhost"] {
                assert!(!reaches(host, true, address), "{host} at {address}");
            }
        }
    }

    #[test]
    fn the_unspecified_address_cannot_be_granted_in_any_form() {
        for host in ["0.0.0.0", "0", "[::]", "[::ffff:0.0.0.0]"] {
            assert!(endpoint(host, true).is_err_and(|why| why.contains("unspecified")), "{host}");
        }
    }
}
