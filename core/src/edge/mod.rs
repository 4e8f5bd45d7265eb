//! What an operator decides about strangers: who may speak for others, which pages may connect, how much may be said.
//!
//! Pure functions of what a connection shows; [`Gate`](crate::gate::Gate) counts.

mod forwarded;
mod network;
mod origin;
mod pace;

pub use self::forwarded::client_of;
pub use self::network::{InvalidNetwork, Network};
pub use self::origin::{InvalidOrigin, Origins};
pub use self::pace::Pace;
