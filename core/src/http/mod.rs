//! The pure parts of an HTTP front: paths, the route table, the pool of upstream connections.
//!
//! Nothing here reads or writes HTTP; a library in the gateway does. What is decided here is decided as the Go
//! multiplexer and client pool decide it, because that is what operators and agents in the field know: the facts come
//! from running Go 1.19.8 (the classic multiplexer), 1.22.10 (the first with wildcards) and 1.27.3, and the recorded
//! answers are replayed by the tests. What differs on purpose is named where it is decided.
//!
//! - [`path`]: cleaning, decoding and escaping of paths, and the host without its port.
//! - [`router`]: which registered pattern answers a request.
//! - [`patience`]: when a client that is owed an answer has done too little for it.
//! - [`pool`]: which connection carries a request, and which one is kept.
//! - [`upstream`]: where a proxied request goes, and how long it may take.
//! - [`forward`]: what of a message is passed on.
//! - [`framing`]: where requests begin and end, and whether every server would say the same.

pub mod forward;
pub mod framing;
pub mod path;
pub mod patience;
pub mod pool;
pub mod router;
pub mod upstream;
