//! What a proxy passes on: which headers end at it, and how it marks what it passes.
//!
//! Facts: RFC 9110 §7.6 (message forwarding), RFC 9112 §3.2.2 and §6.1; `X-Forwarded-*` as every proxy in the field
//! writes it.

/// Whether a header is about one connection only, and so is never passed on. The name in lower case.
///
/// `Trailer` stays: it announces fields that are passed on.
pub fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name)
}

/// The elements of a header that is a list of tokens, such as `Connection`.
pub fn tokens(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|one| one.trim_matches([' ', '\t'])).filter(|one| !one.is_empty())
}

/// Whether a list of tokens has this one; case does not count.
pub fn has_token(value: &str, token: &str) -> bool {
    tokens(value).any(|one| one.eq_ignore_ascii_case(token))
}

/// The name under which this proxy stands in `Via`.
pub const PSEUDONYM: &str = "linkspan";

/// How often a request may pass this kind of proxy before it is taken for a loop.
pub const PASSES_MAX: usize = 8;

/// How often a request with this `Via` header has passed a proxy of this name.
pub fn passes(via: &str) -> usize {
    tokens(via).filter(|one| one.split([' ', '\t']).nth(1) == Some(PSEUDONYM)).count()
}

/// Whether the value of one `Content-Length` is a plain number: no sign, no blank, no list.
pub fn is_length(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit)
}
