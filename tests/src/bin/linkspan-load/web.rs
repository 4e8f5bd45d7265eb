//! Just enough of HTTP/1.1 to download what the origin serves, and to know whether it is what was asked for.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::link::find;

/// Where to download from.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    /// What goes before every path: empty, or with a slash at its beginning only.
    pub(crate) prefix: String,
}

impl FromStr for Web {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_at(text.find('/').unwrap_or(text.len()));
        let address = address.parse().map_err(|_| format!("`{address}` is no address"))?;
        Ok(Self { address, prefix: prefix.trim_end_matches('/').to_owned() })
    }
}

impl Web {
    /// A request for `path`, on a connection that stays.
    pub(crate) fn request(&self, path: &str) -> Vec<u8> {
        format!("GET {}{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.prefix, self.address).into_bytes()
    }
}

/// The longest head of an answer.
const HEAD_MAX: usize = 8 * 1024;

/// The head of a good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// How many bytes the head takes.
    pub(crate) size: usize,
    /// How many bytes of body follow it.
    pub(crate) body: u64,
}

/// Reads the head at the start of `received`, if all of it is there. Anything but a 200 with a stated length is an error.
pub(crate) fn head(received: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = find(received, b"\r\n\r\n") else {
        return if received.len() < HEAD_MAX {
            Ok(None)
        } else {
            Err(io::Error::other("a head without end"))
        };
    };
    let text = String::from_utf8_lossy(&received[..end]);
    let unfit = || io::Error::other(format!("not an answer with a stated length: {text:.300}"));
    let mut lines = text.split("\r\n");
    if !lines.next().is_some_and(|line| line.starts_with("HTTP/1.1 200")) {
        return Err(unfit());
    }
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok(Some(Head { size: end + 4, body: length.ok_or_else(unfit)? }))
}

#[cfg(test)]
mod tests {
    use super::{Head, Web, head};

    #[test]
    fn an_address_may_have_a_path_behind_it() {
        let web: Web = "127.0.0.1:80/client/foo/http/127.0.0.1:9000/".parse().unwrap();
        let expected = b"GET /client/foo/http/127.0.0.1:9000/big HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n";
        assert_eq!(web.request("/big"), expected);
        assert_eq!("127.0.0.1:80".parse::<Web>().unwrap().prefix, "");
        assert!("localhost".parse::<Web>().is_err());
    }

    #[test]
    fn heads_are_read_when_they_are_whole() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n").unwrap(), None);
        let whole = b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 12\r\n\r\nhello";
        assert_eq!(head(whole).unwrap(), Some(Head { size: whole.len() - 5, body: 12 }));
        assert!(head(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
