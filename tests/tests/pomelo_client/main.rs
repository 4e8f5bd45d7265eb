//! What the client's end of a pomelo connection does.

mod alone;
mod pair;
