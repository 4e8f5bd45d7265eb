//! WebSocket frames (RFC 6455, section 5), for either side of a connection whose upgrade is finished.
//!
//! [`Reader`] turns received bytes into messages; [`put_frame`] writes one. Fragments are joined, texts are checked,
//! control frames come out between the fragments of a message. There are no extensions.
//!
//! ```
//! use linkspan_core::websocket::{Incoming, Reader, Side, put_frame};
//! use linkspan_core::{Bytes, Opcode};
//!
//! let mut wire = Vec::new();
//! put_frame(&mut wire, Opcode::Text, &[b"hello"], Some([1, 2, 3, 4]));
//! let mut server = Reader::new(Side::Server, 1024);
//! server.feed(&wire);
//! let hello = Incoming::Message(Opcode::Text, Bytes::from_static(b"hello"));
//! assert_eq!(server.next_incoming(), Ok(Some(hello)));
//! assert_eq!(server.next_incoming(), Ok(None));
//! ```

mod head;
mod reader;
mod writer;

pub use self::reader::{Incoming, Reader};
pub use self::writer::{put_close, put_frame, put_head};

/// The longest header of a frame, with its mask, in bytes.
pub const HEAD_MAX: usize = 14;
/// The longest payload of a control frame, in bytes (section 5.5).
pub const CONTROL_MAX: usize = 125;

/// Which end of the connection this is. A client masks what it sends, a server does not (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that has asked for the upgrade.
    Client,
    /// The end that was asked.
    Server,
}

/// Opcodes on the wire (section 11.8).
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Masks `bytes`, or takes the mask off (section 5.3).
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(old) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(old) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
