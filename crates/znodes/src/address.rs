//! Internet addresses as the scheme `ip` has them.

use std::net::Ipv6Addr;

/// The bytes of an address: four, or sixteen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Vec<u8>);

/// An address, or a network such as `10.1.0.0/16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: Address,
    bits: usize,
}

/// Four decimal numbers up to 255, or an IPv6 address.
pub(crate) fn address(text: &str) -> Option<Address> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(|address| Address(address.octets().to_vec()));
    }
    let bytes: Option<Vec<u8>> = text.split('.').map(|part| number(part)?.try_into().ok()).collect();
    bytes.filter(|bytes| bytes.len() == 4).map(Address)
}

/// Digits alone; a sign or a space is nobody's address.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Network> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (address(base)?, Some(number(bits)? as usize)),
            None => (address(text)?, None),
        };
        let most = base.0.len() * 8;
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address: base, bits })
    }

    pub(crate) fn contains(&self, address: &Address) -> bool {
        let bit = |of: &Address, at: usize| of.0[at / 8] >> (7 - at % 8) & 1;
        self.address.0.len() == address.0.len()
            && (0..self.bits).all(|at| bit(&self.address, at) == bit(address, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_shares_their_bits() {
        let contains =
            |network: &str, who: &str| Network::parse(network).unwrap().contains(&address(who).unwrap());
        assert!(contains("0.0.0.0/0", "9.9.9.9"));
        assert!(contains("192.168.1.128/25", "192.168.1.200"));
        assert!(!contains("192.168.1.128/25", "192.168.1.100"));
        assert!(contains("1.2.3.4", "1.2.3.4") && !contains("1.2.3.4", "1.2.3.5"));
        assert!(contains("fe80::/10", "febf::1") && !contains("fe80::/10", "fec0::1"));
        assert!(!contains("0.0.0.0/0", "::1"));
        for bad in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.x",
            "1.2.3.4/",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            ":::",
            "::/129",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
