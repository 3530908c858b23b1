//! Address ranges.

use std::net::IpAddr;

/// An address range (`core.v3.CidrRange`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// `address/prefix`; the prefix is cut to the address's length in bits.
    pub fn new(address: IpAddr, prefix: u8) -> Cidr {
        Cidr { address, prefix: prefix.min(if address.is_ipv4() { 32 } else { 128 }) }
    }

    /// True if `ip` is in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix);
                (u64::from(net.to_bits()) >> shift) == (u64::from(ip.to_bits()) >> shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix);
                shift == 128 || (net.to_bits() >> shift) == (ip.to_bits() >> shift)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_their_addresses_only() {
        let ten = Cidr::new([10, 0, 0, 0].into(), 8);
        assert!(ten.contains([10, 255, 0, 1].into()) && !ten.contains([11, 0, 0, 1].into()));
        assert!(Cidr::new([0, 0, 0, 0].into(), 0).contains([1, 2, 3, 4].into()));
        assert!(Cidr::new("::".parse().expect("an address"), 0).contains("fe80::1".parse().expect("an address")));
        assert!(ten.contains("::ffff:10.1.2.3".parse().expect("an address")));
    }
}
