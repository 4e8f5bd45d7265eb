//! What two ends of ours tell each other in the handshake.

use core::fmt;

use crate::{Frame, Limits};

/// The header by which both ends of a handshake tell that they are Linkspan; originals ignore it. Its value is a
/// [`Hello`].
pub const HEADER: &str = "x-linkspan-tunnel";

/// What one end tells the other in the [header](HEADER): `2; window=65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The credit with which the other end begins each stream, in bytes; `None` from an end that counts none.
    ///
    /// Data is counted only if both ends say a window. Then a piece goes out only while credit is left for it, and
    /// [`Credit`](super::Content::Credit) brings more as the application reads.
    pub window: Option<u32>,
}

impl Hello {
    /// What an end with these bounds says.
    pub fn new(limits: &Limits) -> Self {
        Self { window: Some(limits.tunnel_first_window()) }
    }

    /// Reads the value of the header. What it does not know it passes over: the header alone says that it is one of
    /// ours. A window of less than 256 bytes, in which nothing fits, is none.
    pub fn parse(value: &[u8]) -> Self {
        let parts = core::str::from_utf8(value).unwrap_or_default().split(';');
        let window = parts.filter_map(|part| part.trim().strip_prefix("window=")?.parse().ok()).next();
        Self { window: window.filter(|window| *window >= Frame::COST_MIN) }
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window {
            Some(window) => write!(f, "2; window={window}"),
            None => f.write_str("1"),
        }
    }
}
