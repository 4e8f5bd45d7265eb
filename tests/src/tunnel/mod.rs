//! Tunnel sessions in memory and virtual time: one end of ours, and a peer that has the originals' defects; and sessions
//! over real sockets, in which what was recorded of the originals is played to programs of ours.

mod accept;
mod end;
mod go_like;
mod link;
pub mod probes;
pub mod replays;

pub use self::end::End;
pub use self::go_like::GoLike;
pub use self::link::{Heard, Link, Over};
