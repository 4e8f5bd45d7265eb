//! What the built-in functions keep, and where.

use std::future::Future;

use bytes::Bytes;
use serde::Serialize;

/// Where the built-in functions keep users, conversations and messages.
///
/// Every method may wait, and must not block the thread. The one that is built in is [`Memory`](super::Memory).
pub trait Store: Send + Sync + 'static {
    /// A user has logged in.
    fn seen(&self, user: &str, now: u64) -> impl Future<Output = ()> + Send;

    /// What is known about a user, also about one that was never seen.
    fn profile(&self, user: &str) -> impl Future<Output = Profile> + Send;

    /// Keeps a message of one user to another, and calls `deliver` with it once it is kept. Messages of one conversation
    /// are delivered in the order of their sequence numbers.
    fn append(&self, draft: Draft, deliver: impl FnOnce(&Kept) + Send) -> impl Future<Output = Kept> + Send;

    /// All conversations of a user, latest first.
    fn conversations(&self, user: &str) -> impl Future<Output = Vec<Conversation>> + Send;

    /// The last `count` messages between two users before the one with this id, or the last of all, oldest first.
    fn history(
        &self,
        user: &str,
        peer: &str,
        before: Option<&str>,
        count: usize,
    ) -> impl Future<Output = Vec<Kept>> + Send;

    /// A user has read all that the other has sent.
    fn mark_read(&self, user: &str, peer: &str) -> impl Future<Output = ()> + Send;
}

/// What is known about a user, as clients read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Profile {
    /// The user.
    #[serde(rename = "userID")]
    pub user: String,
    /// What others call the user.
    pub nickname: String,
    /// A picture.
    #[serde(rename = "faceURL")]
    pub face: String,
    /// When the user was first seen, in seconds since 1970; 0 is never.
    pub create_time: u64,
}

/// A message before it is kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Draft {
    /// Who sends it.
    pub sender: String,
    /// Who gets it.
    pub receiver: String,
    /// The id that the sender's program gave it.
    pub id: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: u64,
    /// What it says, but for its sequence number: the members of a JSON object, without the braces.
    pub members: String,
}

impl Draft {
    /// The whole message, as clients read it.
    pub fn text(&self, seq: u64) -> Bytes {
        let members = &self.members;
        format!("{{{members},\"seq\":{seq}}}").into()
    }
}

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// The id that the sender's program gave it.
    pub id: String,
    /// Its place in the conversation, from 1.
    pub seq: u64,
    /// The whole message, as clients read it: JSON.
    pub text: Bytes,
    /// Whether it is the first of its conversation.
    pub is_first: bool,
}

/// One user's side of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conversation {
    /// The other user.
    pub peer: String,
    /// How many messages of the other the user has not read.
    pub unread: u64,
    /// The last message: JSON.
    pub latest: Bytes,
    /// When it was sent, in milliseconds since 1970.
    pub latest_sent: u64,
}
