//! A store that forgets when the process ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::store::{Conversation, Draft, Kept, Profile, Store};

/// How much a [`Memory`] keeps; beyond it the oldest of all messages goes, and with the last message its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Users. Beyond it new ones are not remembered. Default 100,000.
    pub users: usize,
    /// Messages in all. Default 100,000.
    pub messages: usize,
    /// Messages of one conversation. Default 1,000.
    pub per_conversation: usize,
    /// Bytes of all messages, each counted with 512 more for its place. Default 64 MiB.
    pub bytes: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { users: 100_000, messages: 100_000, per_conversation: 1_000, bytes: 64 * 1024 * 1024 }
    }
}

/// Users, conversations and messages in memory, bounded.
pub struct Memory {
    limits: MemoryLimits,
    state: Mutex<State>,
}

/// Two users, in order.
type Pair = (Arc<str>, Arc<str>);

#[derive(Default)]
struct State {
    users: BTreeMap<Box<str>, u64>,
    talks: BTreeMap<Pair, Talk>,
    /// With whom a user has talked.
    peers: BTreeSet<Pair>,
    /// To which conversation each message belongs, by age.
    ages: BTreeMap<u64, Pair>,
    next_age: u64,
    bytes: usize,
}

#[derive(Default)]
struct Talk {
    messages: VecDeque<Message>,
    seq: u64,
    /// Up to which message each of the two has read, in their order.
    read: [u64; 2],
}

struct Message {
    kept: Kept,
    sent: u64,
    age: u64,
    /// Whether the first of the two has sent it.
    from_first: bool,
}

/// What a message costs beside its text.
const PLACE: usize = 512;

impl Message {
    fn cost(&self) -> usize {
        self.kept.text.len() + self.kept.id.len() + PLACE
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

fn pair(one: &str, other: &str) -> Pair {
    let [first, second] = if one <= other { [one, other] } else { [other, one] };
    (first.into(), second.into())
}

impl Memory {
    /// Nothing is kept yet.
    pub fn new(limits: MemoryLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages are kept, and how many bytes they cost.
    pub fn usage(&self) -> (usize, usize) {
        let state = self.state();
        (state.ages.len(), state.bytes)
    }
}

impl State {
    /// Makes room for one message of this cost in a conversation.
    fn make_room(&mut self, pair: &Pair, cost: usize, limits: &MemoryLimits) {
        if self.talks.get(pair).is_some_and(|talk| talk.messages.len() >= limits.per_conversation.max(1)) {
            self.forget_oldest_of(pair);
        }
        while self.ages.len() >= limits.messages.max(1) || self.bytes + cost > limits.bytes {
            let Some((_, oldest)) = self.ages.first_key_value() else { break };
            let oldest = oldest.clone();
            self.forget_oldest_of(&oldest);
        }
    }

    fn forget_oldest_of(&mut self, pair: &Pair) {
        let Some(talk) = self.talks.get_mut(pair) else { return };
        if let Some(gone) = talk.messages.pop_front() {
            self.bytes -= gone.cost();
            self.ages.remove(&gone.age);
        }
        if talk.messages.is_empty() {
            self.talks.remove(pair);
            let (first, second) = pair.clone();
            self.peers.remove(&(Arc::clone(&second), Arc::clone(&first)));
            self.peers.remove(&(first, second));
        }
    }

    fn append(&mut self, draft: Draft, limits: &MemoryLimits) -> Kept {
        let pair = pair(&draft.sender, &draft.receiver);
        let known = self.talks.get(&pair);
        let (seq, is_first, read) = known.map_or((1, true, [0; 2]), |talk| (talk.seq + 1, false, talk.read));
        let text = draft.text(seq);
        let Draft { sender, id, sent, .. } = draft;
        let kept = Kept { id, seq, text, is_first };
        let (from_first, age) = (*pair.0 == *sender, self.next_age);
        let message = Message { kept: kept.clone(), sent, age, from_first };
        // What is larger than all that may be kept is delivered all the same.
        if message.cost() > limits.bytes {
            return kept;
        }
        self.make_room(&pair, message.cost(), limits);
        self.next_age += 1;
        self.bytes += message.cost();
        self.ages.insert(age, pair.clone());
        let peers = &mut self.peers;
        let talk = self.talks.entry(pair).or_insert_with_key(|pair| {
            peers.insert((Arc::clone(&pair.1), Arc::clone(&pair.0)));
            peers.insert(pair.clone());
            Talk { read, ..Talk::default() }
        });
        talk.seq = seq;
        // Whoever writes has read.
        talk.read[usize::from(!from_first)] = seq;
        talk.messages.push_back(message);
        kept
    }

    fn conversations(&self, user: &str) -> Vec<Conversation> {
        let own: Arc<str> = user.into();
        let from = (Arc::clone(&own), Arc::from(""));
        let peers = self.peers.range(from..).take_while(|(first, _)| *first == own);
        let mut all: Vec<_> = peers
            .filter_map(|(_, peer)| {
                let pair = pair(user, peer);
                let is_first = *pair.0 == *own;
                let talk = self.talks.get(&pair)?;
                let last = talk.messages.back()?;
                let read = talk.read[usize::from(!is_first)];
                let is_new = |one: &&Message| one.kept.seq > read && one.from_first != is_first;
                let unread = talk.messages.iter().rev().filter(is_new).count() as u64;
                let (latest, latest_sent) = (last.kept.text.clone(), last.sent);
                Some(Conversation { peer: peer.to_string(), unread, latest, latest_sent })
            })
            .collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.latest_sent));
        all
    }
}

impl Store for Memory {
    async fn seen(&self, user: &str, now: u64) {
        let mut state = self.state();
        if state.users.len() < self.limits.users && !state.users.contains_key(user) {
            state.users.insert(user.into(), now);
        }
    }

    async fn profile(&self, user: &str) -> Profile {
        let create_time = self.state().users.get(user).copied().unwrap_or_default();
        Profile { user: user.to_owned(), nickname: user.to_owned(), face: String::new(), create_time }
    }

    async fn append(&self, draft: Draft, deliver: impl FnOnce(&Kept) + Send) -> Kept {
        let mut state = self.state();
        let kept = state.append(draft, &self.limits);
        // Under the lock: the next message waits until this one is on its way.
        deliver(&kept);
        kept
    }

    async fn conversations(&self, user: &str) -> Vec<Conversation> {
        self.state().conversations(user)
    }

    async fn history(&self, user: &str, peer: &str, before: Option<&str>, count: usize) -> Vec<Kept> {
        let state = self.state();
        let Some(talk) = state.talks.get(&pair(user, peer)) else { return Vec::new() };
        let end = before
            .and_then(|before| talk.messages.iter().position(|one| one.kept.id == before))
            .unwrap_or(talk.messages.len());
        let from = end.saturating_sub(count);
        talk.messages.range(from..end).map(|one| one.kept.clone()).collect()
    }

    async fn mark_read(&self, user: &str, peer: &str) {
        let pair = pair(user, peer);
        let own = usize::from(*pair.0 != *user);
        if let Some(talk) = self.state().talks.get_mut(&pair) {
            talk.read[own] = talk.seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    fn draft(sender: &str, receiver: &str, id: &str) -> Draft {
        let (sender, receiver, id) = (sender.into(), receiver.into(), id.into());
        let members = format!("\"clientMsgID\":\"{id}\"");
        Draft { sender, receiver, id, sent: 1, members }
    }

    fn ids(kept: &[Kept]) -> Vec<&str> {
        kept.iter().map(|one| &*one.id).collect()
    }

    #[test]
    fn a_conversation_has_two_sides() {
        block_on(async {
            let memory = Memory::default();
            let mut delivered = Vec::new();
            for (sender, receiver, id) in [("a", "b", "1"), ("b", "a", "2"), ("b", "a", "3"), ("c", "a", "4")]
            {
                memory
                    .append(draft(sender, receiver, id), |kept| delivered.push((kept.seq, kept.is_first)))
                    .await;
            }
            assert_eq!(delivered, [(1, true), (2, false), (3, false), (1, true)]);
            assert_eq!(ids(&memory.history("a", "b", None, 10).await), ["1", "2", "3"]);
            assert_eq!(ids(&memory.history("b", "a", Some("3"), 1).await), ["2"]);
            let unread = |all: Vec<Conversation>| {
                let mut all: Vec<_> = all.into_iter().map(|one| (one.peer, one.unread)).collect();
                all.sort();
                all
            };
            assert_eq!(unread(memory.conversations("a").await), [("b".into(), 2), ("c".into(), 1)]);
            assert_eq!(unread(memory.conversations("b").await), [("a".into(), 0)]);
            memory.mark_read("a", "b").await;
            assert_eq!(unread(memory.conversations("a").await), [("b".into(), 0), ("c".into(), 1)]);
            assert_eq!(memory.conversations("nobody").await, []);
        });
    }

    #[test]
    fn the_oldest_goes_first() {
        block_on(async {
            let limits = MemoryLimits { messages: 4, per_conversation: 3, ..MemoryLimits::default() };
            let memory = Memory::new(limits);
            for id in 0..6 {
                memory.append(draft("a", "b", &id.to_string()), |_| ()).await;
            }
            assert_eq!(ids(&memory.history("a", "b", None, 10).await), ["3", "4", "5"]);
            for id in 6..9 {
                memory.append(draft("c", "d", &id.to_string()), |_| ()).await;
            }
            assert_eq!(ids(&memory.history("a", "b", None, 10).await), ["5"]);
            memory.append(draft("e", "f", "9"), |_| ()).await;
            assert_eq!(memory.history("a", "b", None, 10).await, []);
            assert!(memory.conversations("a").await.is_empty() && memory.conversations("b").await.is_empty());
            assert_eq!(memory.usage().0, 4);
        });
    }

    #[test]
    fn bytes_are_bounded_whatever_one_message_has() {
        block_on(async {
            let memory = Memory::new(MemoryLimits { bytes: 4 * 1024, ..MemoryLimits::default() });
            for (id, size) in [100, 3000, 10, 9000, 700].into_iter().enumerate() {
                let mut draft = draft("a", "b", &id.to_string());
                draft.members += &format!(",\"content\":\"{}\"", "x".repeat(size));
                memory.append(draft, |_| ()).await;
                assert!(memory.usage().1 <= 4 * 1024);
            }
            assert_eq!(ids(&memory.history("a", "b", None, 10).await), ["2", "4"]);
        });
    }

    #[test]
    fn users_are_bounded() {
        block_on(async {
            let memory = Memory::new(MemoryLimits { users: 1, ..MemoryLimits::default() });
            memory.seen("a", 5).await;
            memory.seen("a", 6).await;
            memory.seen("b", 7).await;
            assert_eq!(memory.profile("a").await.create_time, 5);
            assert_eq!(
                (memory.profile("b").await.create_time, &*memory.profile("b").await.nickname),
                (0, "b")
            );
        });
    }
}
