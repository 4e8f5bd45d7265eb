//! Which pages may open a WebSocket.

use alloc::string::String;
use alloc::vec::Vec;

use crate::http::path::strip_port;

/// The pages that may open a WebSocket, by the `Origin` header that browsers send and pages cannot forge.
///
/// Who sends none is no browser, and may. The default is the gateway's own host, on any port: the page may be served by
/// one listener and connect to another.
///
/// ```
/// use linkspan_core::edge::Origins;
///
/// let own = Origins::default();
/// assert!(own.allows(None, "gateway:3251"));
/// assert!(own.allows(Some("https://gateway"), "gateway:3251"));
/// assert!(!own.allows(Some("https://elsewhere.example"), "gateway:3251"));
///
/// let listed = Origins::listed(["https://game.example"])?;
/// assert!(listed.allows(Some("https://game.example:443"), "gateway"));
/// assert!(!listed.allows(Some("http://game.example"), "gateway"));
/// # Ok::<(), linkspan_core::edge::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host that the request is for.
    #[default]
    SameHost,
    /// Pages of these origins, and of the host that the request is for.
    Listed(Vec<String>),
    /// All pages.
    Any,
}

impl Origins {
    /// The origins of a list; `*` in it stands for all. Of each only scheme, host and port count.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] for what is no origin.
    pub fn listed<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidOrigin> {
        let mut listed = Vec::new();
        for origin in origins {
            if origin == "*" {
                return Ok(Self::Any);
            }
            let known = parse(origin).ok_or_else(|| InvalidOrigin(origin.into()))?;
            listed.push(known.normal());
        }
        Ok(if listed.is_empty() { Self::SameHost } else { Self::Listed(listed) })
    }

    /// Whether a page of `origin`, as its header says, may connect; `host` is the `Host` header.
    pub fn allows(&self, origin: Option<&str>, host: &str) -> bool {
        let Some(origin) = origin else { return true };
        if *self == Self::Any {
            return true;
        }
        // `null`, of sandboxed pages and files, is nobody's origin.
        let Some(origin) = parse(origin) else { return false };
        let is_listed = match self {
            Self::Listed(listed) => listed.contains(&origin.normal()),
            Self::SameHost | Self::Any => false,
        };
        is_listed || (!host.is_empty() && bare(origin.authority).eq_ignore_ascii_case(bare(host)))
    }
}

/// A text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no origin: write one such as https://game.example or http://localhost:8080, or *")]
pub struct InvalidOrigin(String);

struct Origin<'a> {
    scheme: &'a str,
    authority: &'a str,
}

impl Origin<'_> {
    /// In lower case, without the port that the scheme has anyway.
    fn normal(&self) -> String {
        let scheme = self.scheme.to_ascii_lowercase();
        let port = match &*scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let authority = self.authority.to_ascii_lowercase();
        let bare = authority.strip_suffix(port).unwrap_or(&authority);
        alloc::format!("{scheme}://{bare}")
    }
}

/// The host without its port, and an IPv6 address without its brackets, whether there was a port or not.
fn bare(authority: &str) -> &str {
    let host = strip_port(authority);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn parse(text: &str) -> Option<Origin<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let fits = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let is_origin = fits(scheme, b"+-.") && fits(authority, b".-_:[]") && has_brackets_in_place(authority);
    is_origin.then_some(Origin { scheme, authority })
}

/// Whether brackets are where an address of IPv6 has them, and nowhere else.
fn has_brackets_in_place(authority: &str) -> bool {
    let (address, rest) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or(("", rest)),
        None => (authority, ""),
    };
    !address.is_empty()
        && !address.contains(['[', ']'])
        && !rest.contains(['[', ']'])
        && (rest.is_empty() || rest.starts_with(':'))
}
