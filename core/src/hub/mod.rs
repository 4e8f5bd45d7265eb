//! One shard of registry and routing: sessions by key, groups, publish.
//!
//! The shard that owns a name is a pure function of name and seed ([`Route::shard`]), and no operation needs two
//! shards, so shards never talk to each other. A driver keeps each behind its own lock, hands it one event, lets go of
//! the lock, and then performs the actions.
//!
//! ```
//! use linkspan_core::hub::{Action, Address, Config, Event, Hub, Recipients};
//! use linkspan_core::{Actions, ConnId, Delivery, Instant, Key, Machine, Route};
//!
//! let mut hub = Hub::new(Config::default());
//! let mut actions = Actions::new();
//! let alice = Address { conn: ConnId(1), mailbox: "mailbox of connection 1" };
//! let key = Key::new("alice").expect("not empty");
//!
//! let route = Route::Register(key.clone());
//! hub.handle_event(Instant::ORIGIN, Event::Routed { from: Some(alice.clone()), route }, &mut actions);
//! let admitted = Action::Deliver { to: Recipients::One(alice), delivery: Delivery::Admitted(key) };
//! assert_eq!(actions.as_slice(), [admitted]);
//! ```

mod admission;
mod event;
mod roster;
mod table;

use alloc::sync::Arc;
use core::fmt;

pub use self::admission::Admission;
use self::admission::Verdict;
pub use self::event::{Action, Address, Event, Recipients};
use self::table::{Table, member_bytes_max};
use crate::{
    Actions, CloseReason, Delivery, GroupId, Instant, Key, Limits, Machine, Mark, Overflow, Push, Route, To,
};

/// What a hub is built from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Keys the hash tables, whose names are chosen by peers: take it from the system's randomness at start-up.
    pub seed: u64,
    /// Which session may have a key.
    pub admission: Admission,
    /// The bounds; [`group_members`](Limits::group_members) is kept here.
    pub limits: Arc<Limits>,
}

/// One shard: who is registered under which key and who is in which group.
///
/// `M` is whatever the driver posts mail to.
pub struct Hub<M> {
    admission: Admission,
    limits: Arc<Limits>,
    sessions: Table<Key, M>,
    groups: Table<GroupId, M>,
}

impl<M: Clone> Hub<M> {
    /// A shard where nobody is registered; it owns no memory yet.
    pub fn new(config: Config) -> Self {
        let Config { seed, admission, limits } = config;
        // The tables differ in their seed from each other and from the choice of the shard.
        let sessions = Table::new(seed ^ 0x7365_7373_696f_6e73);
        let groups = Table::new(seed ^ 0x6772_6f75_7073);
        Self { admission, limits, sessions, groups }
    }

    /// How many sessions are registered, under all keys together.
    pub fn sessions(&self) -> usize {
        self.sessions.members()
    }

    /// How many keys have a session.
    pub fn keys(&self) -> usize {
        self.sessions.len()
    }

    /// How many sessions are registered under `key`.
    pub fn sessions_of(&self, key: &Key) -> usize {
        self.sessions.members_of(key)
    }

    /// How many groups have a member.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many members `group` has.
    pub fn members(&self, group: &GroupId) -> usize {
        self.groups.members_of(group)
    }

    /// Bytes on the heap that this shard owns; at most [`footprint_max`](Self::footprint_max).
    pub fn footprint(&self) -> usize {
        self.sessions.footprint() + self.groups.footprint()
    }

    /// The most that so many registrations and memberships can make a shard own, in bytes, names of the greatest
    /// length included. A process has at most [`connections`](Limits::connections) times
    /// ([`keys_per_connection`](Limits::keys_per_connection) plus
    /// [`groups_per_connection`](Limits::groups_per_connection)) of them, over all shards.
    pub const fn footprint_max(registrations: usize) -> usize {
        // Both tables start with room for a few.
        (registrations + 8).saturating_mul(member_bytes_max::<Key, M>())
    }

    fn register(&mut self, from: Address<M>, key: Key, actions: &mut Actions<Action<M>>) {
        if self.sessions.contains(&key, from.conn) {
            return admitted(from, key, actions);
        }
        match self.admission.decide(self.sessions.members_of(&key)) {
            Verdict::Admit => {}
            Verdict::ReplaceOldest => self.replace_oldest(&key, actions),
            Verdict::Reject => {
                actions.push(Action::Mark(Mark::KeyRejected));
                let to = Recipients::One(from);
                return actions.push(Action::Deliver { to, delivery: Delivery::Rejected(key) });
            }
        }
        self.sessions.push(key.clone(), from.clone());
        admitted(from, key, actions);
    }

    /// Takes the key from the session that has it longest, which from now on gets nothing that is for the key.
    fn replace_oldest(&mut self, key: &Key, actions: &mut Actions<Action<M>>) {
        let oldest = self.sessions.oldest(key);
        if let Some(loser) = oldest.and_then(|conn| self.sessions.remove(key.clone(), conn)) {
            actions.push(Action::Mark(Mark::KeyReplaced));
            actions.push(Action::Close { to: Recipients::One(loser), reason: CloseReason::Replaced });
        }
    }

    fn join(&mut self, from: Address<M>, group: GroupId, actions: &mut Actions<Action<M>>) {
        if self.groups.contains(&group, from.conn) {
            return;
        }
        if self.groups.members_of(&group) >= self.limits.group_members as usize {
            return actions.push(Action::Mark(Mark::GroupFull));
        }
        self.groups.push(group, from);
    }

    fn publish(&mut self, to: &To, push: Push, actions: &mut Actions<Action<M>>) {
        let recipients = match to {
            To::Key(key) => self.sessions.recipients(key),
            To::Group(group) => self.groups.recipients(group),
        };
        actions.push(match recipients {
            Some(to) => Action::Deliver { to, delivery: Delivery::Push(push) },
            None => Action::Mark(Mark::Undeliverable),
        });
    }

    /// Ends everyone under a name. They lose the name at once: nothing that is for it reaches them while they close,
    /// and a new session may have it.
    fn close(&mut self, to: &To, reason: CloseReason, actions: &mut Actions<Action<M>>) {
        let recipients = match to {
            To::Key(key) => self.sessions.take(key),
            To::Group(group) => self.groups.take(group),
        };
        if let Some(to) = recipients {
            actions.push(Action::Close { to, reason });
        }
    }

    fn routed(&mut self, from: Option<Address<M>>, route: Route, actions: &mut Actions<Action<M>>) {
        match (route, from) {
            (Route::Register(key), Some(from)) => self.register(from, key, actions),
            (Route::Unregister(key), Some(from)) => {
                self.sessions.remove(key, from.conn);
            }
            (Route::Join(group), Some(from)) => self.join(from, group, actions),
            (Route::Leave(group), Some(from)) => {
                self.groups.remove(group, from.conn);
            }
            (Route::Register(_) | Route::Unregister(_) | Route::Join(_) | Route::Leave(_), None) => {}
            (Route::Publish { to, push }, _) => self.publish(&to, push, actions),
            (Route::Close { to, reason }, _) => self.close(&to, reason, actions),
        }
    }
}

fn admitted<M>(to: Address<M>, key: Key, actions: &mut Actions<Action<M>>) {
    actions.push(Action::Deliver { to: Recipients::One(to), delivery: Delivery::Admitted(key) });
}

impl<M: Clone> Machine for Hub<M> {
    type Event = Event<M>;
    type Action = Action<M>;

    fn handle_event(&mut self, _now: Instant, event: Event<M>, actions: &mut Actions<Action<M>>) {
        match event {
            Event::Routed { from, route } => self.routed(from, route, actions),
            Event::Refused { to, overflow } => {
                actions.push(Action::Mark(Mark::MailboxFull));
                if overflow == Overflow::Close {
                    let to = Recipients::One(to);
                    actions.push(Action::Close { to, reason: CloseReason::SlowConsumer });
                }
            }
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _actions: &mut Actions<Action<M>>) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

impl<M: Clone> fmt::Debug for Hub<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("admission", &self.admission)
            .field("keys", &self.keys())
            .field("sessions", &self.sessions())
            .field("groups", &self.groups())
            .finish_non_exhaustive()
    }
}
