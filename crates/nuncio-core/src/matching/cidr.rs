//! Address ranges.

use std::{fmt, net::IpAddr};

/// An address range (`core.v3.CidrRange`): the addresses that share the first `bits` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

impl Cidr {
    /// The range of `bits` bits around `address`; more bits than the family has mean all of them.
    pub fn new(address: IpAddr, bits: u8) -> Cidr {
        let bits = bits.min(if address.is_ipv4() { 32 } else { 128 });
        Cidr { first: masked(address, bits), bits }
    }

    /// How many leading bits are fixed.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether it holds IPv4 addresses.
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Whether `address` lies in the range; never for the other family. An IPv4 address written as IPv6
    /// (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.first.is_ipv4() == address.is_ipv4() && masked(address, self.bits) == self.first
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_own_family_only() {
        let ten = Cidr::new([10, 1, 2, 3].into(), 8);
        assert_eq!(ten.to_string(), "10.0.0.0/8");
        assert!(ten.contains([10, 255, 0, 1].into()) && ten.contains("::ffff:10.1.2.3".parse().expect("mapped")));
        assert!(Cidr::new("::".parse().expect("v6"), 0).contains("fe80::1".parse().expect("v6")));
        assert!(!ten.contains([11, 0, 0, 1].into()));
        assert!(!ten.contains("::1".parse().expect("v6")));
        let all = Cidr::new([1, 2, 3, 4].into(), 0);
        assert!(all.contains([255, 255, 255, 255].into()));
        let six = Cidr::new("2001:db8::1".parse().expect("v6"), 200);
        assert_eq!(six.bits(), 128);
    }
}
