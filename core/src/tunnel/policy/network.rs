//! Networks, and those in which nothing is dialled by chance.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of addresses; IPv4 ones are never in their IPv6 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// This machine.
    pub(super) const LOOPBACK: [Self; 2] = [Self::v4([127, 0, 0, 0], 8), Self::v6([0; 4], [0, 0, 0, 1], 128)];

    /// `None` if the prefix is too long, or there are bits behind it.
    pub(super) fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let network = Self { address, prefix };
        (prefix <= bits && mask(address, prefix) == address_bits(address)).then_some(network)
    }

    const fn v4(address: [u8; 4], prefix: u8) -> Self {
        let [a, b, c, d] = address;
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(high: [u16; 4], low: [u16; 4], prefix: u8) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (high, low);
        Self { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
    }

    /// One address.
    pub(super) const fn one(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && mask(address, self.prefix) == address_bits(self.address)
    }

    pub(super) const fn is_loopback(self) -> bool {
        self.address.is_loopback()
    }

    /// Whether all of it is special: who writes this means it.
    pub(super) fn is_special(self) -> bool {
        let within = |special: &Self| special.prefix <= self.prefix && special.contains(self.address);
        SPECIAL.iter().any(within)
    }
}

fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(address: IpAddr, prefix: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
    address_bits(address) & mask
}

/// Whether the address is one that no service has, or that stands for another one.
pub(super) fn is_special(address: IpAddr) -> bool {
    !address.is_loopback() && SPECIAL.iter().any(|network| network.contains(address))
}

const SPECIAL: [Network; 19] = [
    // This network (RFC 791), link-local (RFC 3927), protocol assignments (RFC 6890), multicast, reserved, broadcast.
    Network::v4([0, 0, 0, 0], 8),
    Network::v4([169, 254, 0, 0], 16),
    Network::v4([192, 0, 0, 0], 24),
    Network::v4([224, 0, 0, 0], 4),
    Network::v4([240, 0, 0, 0], 4),
    // Where clouds answer their guests: Alibaba, Azure; on IPv6 AWS, Google.
    Network::v4([100, 100, 100, 200], 32),
    Network::v4([168, 63, 129, 16], 32),
    Network::v6([0xfd00, 0xec2, 0, 0], [0, 0, 0, 0x254], 128),
    Network::v6([0xfd20, 0xce, 0, 0], [0, 0, 0, 0x254], 128),
    // Unspecified and IPv4-compatible (RFC 4291), mapped, NAT64 (RFC 6052, 8215), Teredo (RFC 4380), 6to4 (RFC 3056).
    Network::v6([0; 4], [0; 4], 96),
    Network::v6([0; 4], [0, 0xffff, 0, 0], 96),
    Network::v6([0; 4], [0xffff, 0, 0, 0], 96),
    Network::v6([0x64, 0xff9b, 0, 0], [0; 4], 96),
    Network::v6([0x64, 0xff9b, 1, 0], [0; 4], 48),
    Network::v6([0x2001, 0, 0, 0], [0; 4], 32),
    Network::v6([0x2002, 0, 0, 0], [0; 4], 16),
    // Link-local, site-local, multicast.
    Network::v6([0xfe80, 0, 0, 0], [0; 4], 10),
    Network::v6([0xfec0, 0, 0, 0], [0; 4], 10),
    Network::v6([0xff00, 0, 0, 0], [0; 4], 8),
];
