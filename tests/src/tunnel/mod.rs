//! Tunnel sessions in memory and virtual time: one end of ours, and a peer that has the originals' defects.

mod end;
mod go_like;

pub use self::end::End;
pub use self::go_like::GoLike;
