//! What an operator decides about the chat dialect.

use core::time::Duration;

use bytes::Bytes;

use super::message;
use crate::hub::{Admission, Badge};
use crate::{Overflow, Push};

/// What happens to a peer whose message cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadMessage {
    /// The connection ends with 1007 "invalid message"; nobody else is concerned.
    #[default]
    Close,
    /// The message is ignored, and counted.
    Ignore,
}

/// What a receiver gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relay {
    /// The sender's bytes, unchanged: what is in them about the sender may be missing or forged.
    #[default]
    Verbatim,
    /// A message of type 2 that names the connection's user as the sender, and holds nothing else of the sender's
    /// message than receiver and content.
    Stamped,
}

/// What one listener's server side of the dialect does. Sizes and all other times are in [`Limits`](crate::Limits).
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What happens to a peer whose message cannot be read. Default: its connection ends.
    pub on_bad_message: OnBadMessage,
    /// What happens to a receiver that is too slow. Default: its connection ends.
    pub on_slow: Overflow,
    /// What happens when a user connects again. Default: the newer connection replaces the older.
    pub on_duplicate: Admission,
    /// What a receiver gets. Default: the sender's bytes.
    pub relay: Relay,
    /// After how much silence of the peer it is sent a ping; `None` sends none. Default 30 s.
    pub ping: Option<Duration>,
    /// After how much silence of the peer the connection ends; `None` never. Default 60 s, which leaves a peer half of
    /// it for its pong.
    pub dead: Option<Duration>,
    /// The event name under which clients of other dialects get chat messages. Default `onChat`.
    pub event: Bytes,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            on_bad_message: OnBadMessage::Close,
            on_slow: Overflow::Close,
            on_duplicate: Admission::NewestWins,
            relay: Relay::Verbatim,
            ping: Some(Duration::from_secs(30)),
            dead: Some(Duration::from_secs(60)),
            event: Bytes::from_static(b"onChat"),
        }
    }
}

impl ServerConfig {
    /// What every connection of the dialect shows to the hub.
    pub fn badge(&self) -> Badge {
        Badge { admission: Some(self.on_duplicate), ..Badge::default() }
    }

    /// A message as a service sends it in the name of `sender`; clients of every dialect get it as if that user had
    /// sent it with [`Relay::Stamped`].
    pub fn message(&self, sender: u64, receiver: u64, content: &str) -> Push {
        self.push(message::encode(message::Kind::Receive, sender, receiver, content))
    }

    /// The push of a message that is a JSON text.
    pub(super) fn push(&self, text: Bytes) -> Push {
        Push::chat(self.event.clone(), text, self.on_slow)
    }
}
