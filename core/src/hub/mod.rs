//! One shard of registry and routing: sessions by key, their devices and presence, groups, publish.
//!
//! The shard that owns a name is a pure function of name and seed ([`Route::shard`]), and no operation needs two
//! shards, so shards never talk to each other. A driver keeps each behind its own lock, hands it one event, lets go of
//! the lock, and then performs the actions.
//!
//! ```
//! use linkspan_core::hub::{Action, Address, Badge, Config, Event, Hub, Recipients};
//! use linkspan_core::{Actions, ConnId, Delivery, Instant, Key, Machine, Route};
//!
//! let mut hub = Hub::new(Config::default());
//! let mut actions = Actions::new();
//! let alice = Address { conn: ConnId(1), mailbox: "mailbox of connection 1" };
//! let key = Key::new("alice").expect("not empty");
//!
//! let route = Route::Register { key: key.clone(), badge: Badge::default() };
//! hub.handle_event(Instant::ORIGIN, Event::Routed { from: Some(alice.clone()), route }, &mut actions);
//! let admitted = Action::Deliver { to: Recipients::One(alice), delivery: Delivery::Admitted(key) };
//! assert_eq!(actions.as_slice(), [admitted]);
//! ```

mod admission;
mod congestion;
mod device;
pub mod directory;
mod event;
mod presence;
mod roster;
mod session;
mod storm;
mod table;

use alloc::sync::Arc;
use core::fmt;

pub use self::admission::{Admission, Refusal};
pub use self::device::{Badge, Device, DeviceClass, DevicePolicy, Platform, PlatformSet};
pub use self::event::{Action, Address, Event, Recipients};
use self::session::Session;
use self::storm::Storms;
use self::table::{Table, member_bytes_max};
use crate::{
    Actions, CloseReason, Delivery, GroupId, Instant, Key, Limits, Machine, Mark, Overflow, Push, Route, To,
};

/// What a hub is built from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Keys the hash tables, whose names are chosen by peers: take it from the system's randomness at start-up.
    pub seed: u64,
    /// Which session may have a key, where its [`Badge`] does not say it.
    pub admission: Admission,
    /// The bounds; those of sessions, groups, watchers and replacements are kept here.
    pub limits: Arc<Limits>,
}

/// One shard: who is registered under which key, who watches it, and who is in which group.
///
/// `M` is whatever the driver posts mail to.
pub struct Hub<M: Clone> {
    admission: Admission,
    limits: Arc<Limits>,
    /// The latest time seen; time never goes backwards.
    now: Instant,
    sessions: Table<Key, Session<M>>,
    /// Places held for sessions that are still being checked: they count for the limits and for nothing else.
    reserved: Table<Key, Session<M>>,
    watchers: Table<Key, Address<M>>,
    groups: Table<GroupId, Address<M>>,
    /// The sessions for which too much waits, and those who wait for them.
    congested: Table<Key, Address<M>>,
    waiting: Table<Key, Address<M>>,
    storms: Storms,
}

impl<M: Clone> Hub<M> {
    /// A shard where nobody is registered; it owns no memory yet.
    pub fn new(config: Config) -> Self {
        let Config { seed, admission, limits } = config;
        // The tables differ in their seed from each other and from the choice of the shard.
        Self {
            admission,
            limits,
            now: Instant::ORIGIN,
            sessions: Table::new(seed ^ 0x7365_7373_696f_6e73),
            reserved: Table::new(seed ^ 0x7265_7365_7276_6564),
            watchers: Table::new(seed ^ 0x7761_7463_6865_7273),
            groups: Table::new(seed ^ 0x6772_6f75_7073),
            congested: Table::new(seed ^ 0x636f_6e67_6573_7469),
            waiting: Table::new(seed ^ 0x77_6169_7469_6e67),
            storms: Storms::new(seed ^ 0x7374_6f72_6d73),
        }
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

    /// How many places are held for sessions that are still being checked.
    pub fn reserved(&self) -> usize {
        self.reserved.members()
    }

    /// On what the user behind `key` is online.
    pub fn platforms_of(&self, key: &Key) -> PlatformSet {
        self.sessions.platforms(key)
    }

    /// How many watches there are, of all keys together.
    pub fn watchers(&self) -> usize {
        self.watchers.members()
    }

    /// How many connections wait because somebody is too slow, for all keys together.
    pub fn waiting(&self) -> usize {
        self.waiting.members()
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
        let tables = self.sessions.footprint() + self.reserved.footprint();
        let others = self.watchers.footprint() + self.groups.footprint() + self.storms.footprint();
        tables + others + self.congested.footprint() + self.waiting.footprint()
    }

    /// The most that so many registrations – sessions, those of them that are congested, reservations, watches, waits
    /// and memberships – can make a shard own, in bytes, names of the greatest length included. A process has at most
    /// [`connections`](Limits::connections) times (three times
    /// [`keys_per_connection`](Limits::keys_per_connection) plus
    /// [`watches_per_connection`](Limits::watches_per_connection) plus
    /// [`groups_per_connection`](Limits::groups_per_connection)) of them, over all shards.
    pub const fn footprint_max(registrations: usize, limits: &Limits) -> usize {
        // All tables start with room for a few.
        (registrations + 24)
            .saturating_mul(member_bytes_max::<Key, Session<M>>())
            .saturating_add(Storms::footprint_max(limits.replacements_remembered as usize))
    }

    /// Forgets every replacement that no longer counts. Registrations do this bit by bit; a driver may call it now and
    /// then so that memory comes back when nobody comes.
    pub fn sweep(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.storms.sweep(self.now, self.limits.replacement_window, usize::MAX);
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

    fn publish(&mut self, from: Option<&Address<M>>, to: &To, push: Push, actions: &mut Actions<Action<M>>) {
        if push.overflow() == Overflow::Backpressure {
            self.tell_of_congestion(from.cloned(), to, actions);
        }
        let recipients = match to {
            To::Key(key) => self.sessions.recipients(key),
            To::Devices { key, platforms } => self.sessions.recipients_on(key, *platforms),
            To::Group(group) => self.groups.recipients(group),
        };
        // Most users have one connection, which has its answers before the hub hears of them.
        let is_told = |to: &Recipients<M>| {
            let own = from.map(|from| from.conn);
            push.is_answered() && matches!(to, Recipients::One(one) if Some(one.conn) == own)
        };
        actions.push(match recipients {
            Some(to) if is_told(&to) => return,
            Some(to) => Action::Deliver { to, delivery: Delivery::Push(push) },
            None => Action::Mark(Mark::Undeliverable),
        });
    }

    /// Ends everyone under a name. They lose the name at once: nothing that is for it reaches them while they close,
    /// and a new session may have it.
    fn close(&mut self, to: To, reason: CloseReason, actions: &mut Actions<Action<M>>) {
        let (key, platforms) = match to {
            To::Key(key) => (key, PlatformSet::ALL),
            To::Devices { key, platforms } => (key, platforms),
            To::Group(group) => {
                let members = self.groups.take(&group);
                return members.into_iter().for_each(|to| actions.push(Action::Close { to, reason }));
            }
        };
        let before = self.sessions.platforms(&key);
        if let Some(to) = self.take(&key, platforms) {
            actions.push(Action::Close { to, reason });
            self.relieve_lost(&key, actions);
            self.announce(key, before, actions);
        }
    }

    fn routed(&mut self, from: Option<Address<M>>, route: Route, actions: &mut Actions<Action<M>>) {
        match (route, from) {
            (Route::Publish { to, push }, from) => self.publish(from.as_ref(), &to, push, actions),
            (Route::Close { to, reason }, _) => self.close(to, reason, actions),
            // Everything else is about the connection that asks.
            (route, Some(from)) => self.asked(from, route, actions),
            (_, None) => {}
        }
    }

    fn asked(&mut self, from: Address<M>, route: Route, actions: &mut Actions<Action<M>>) {
        match route {
            Route::Reserve { key, badge } => self.reserve(from, key, badge, actions),
            Route::Register { key, badge } => self.register(from, key, badge, actions),
            Route::Unregister(key) => self.unregister(key, from.conn, actions),
            Route::Watch(key) => self.watch(from, key, actions),
            Route::Unwatch(key) => _ = self.watchers.remove(key, from.conn),
            Route::Congested(key) => self.congest(from, key),
            Route::Relieved(key) => self.relieve(&key, from.conn, actions),
            Route::Wait(key) => self.wait(from, key, actions),
            Route::Unwait(key) => _ = self.waiting.remove(key, from.conn),
            Route::Join(group) => self.join(from, group, actions),
            Route::Leave(group) => _ = self.groups.remove(group, from.conn),
            Route::Publish { .. } | Route::Close { .. } => {}
        }
    }
}

impl<M: Clone> Machine for Hub<M> {
    type Event = Event<M>;
    type Action = Action<M>;

    fn handle_event(&mut self, now: Instant, event: Event<M>, actions: &mut Actions<Action<M>>) {
        self.now = self.now.max(now);
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
            .field("reserved", &self.reserved())
            .field("watchers", &self.watchers())
            .field("groups", &self.groups())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
