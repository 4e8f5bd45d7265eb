//! What the server's end of a pomelo connection does, row by row of its description in `docs/pomelo.md`.

mod closing;
mod handshake;
mod limits;
mod liveness;
mod queue;
mod requests;
mod states;
