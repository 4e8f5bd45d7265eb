//! One form for every spelling of a host.

use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name, in bytes (RFC 1035).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// A host in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// An address; never an IPv4 one in an IPv6 form.
    Address(IpAddr),
    /// A name in lower case, without the dot at its end. Never what a resolver would take for an address.
    Name(String),
}

impl Host {
    /// Reads a host as a URL or `host:port` has it: IPv6 in brackets, IPv4 in any form that resolvers take, or a name in
    /// ASCII. `None` for everything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_number(last) {
            return parse_ipv4(name).map(|address| Self::Address(IpAddr::V4(address)));
        }
        is_name(name).then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

/// Whether resolvers take a name that ends like this for an address.
fn is_number(label: &str) -> bool {
    let is_hex = label.starts_with("0x") || label.starts_with("0X");
    !label.is_empty() && (is_hex || label.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `inet_aton`: one to four numbers, decimal, octal or hexadecimal, the last of which fills what is left.
fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut bits = 0_u32;
    let parts = text.split('.').count();
    for (index, part) in text.split('.').enumerate() {
        let number = parse_number(part)?;
        let left = 4_u32.checked_sub(index as u32)?;
        if index + 1 < parts {
            if number > 0xff || left == 1 {
                return None;
            }
            bits |= (number as u32) << (8 * (left - 1));
        } else {
            if number >> (8 * left) != 0 {
                return None;
            }
            bits |= number as u32;
        }
    }
    Some(Ipv4Addr::from_bits(bits))
}

fn parse_number(part: &str) -> Option<u64> {
    let (digits, radix) = match part.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&part[2..], 16),
        [b'0', _, ..] => (&part[1..], 8),
        _ => (part, 10),
    };
    // Rust takes a sign here; nobody else does.
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, radix).ok().filter(|_| is_plain)
}

/// Whether this is a host name: letters, digits, hyphens and underscores in labels. Names in other scripts come in their
/// ASCII form.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= NAME_MAX && name.split('.').all(is_label)
}
