//! The hub of a process: shards, each behind a lock that is held for one event.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use linkspan_core::hub::{Action, Address, Admission, Config, Event, Hub, PlatformSet, Recipients};
use linkspan_core::{Actions, CloseReason, Delivery, Instant, Key, Limits, Machine, Overflow, Route};

use crate::{Mail, PushError, Stats, lock};

/// What the hub hands a delivery to.
pub type MailAddress = Address<Arc<dyn Mail>>;

type HubActions = Actions<Action<Arc<dyn Mail>>>;

thread_local! {
    static ACTIONS: Cell<HubActions> = const { Cell::new(Actions::new()) };
    static CROWDED: Cell<Option<Arc<dyn Mail>>> = const { Cell::new(None) };
}

type Shard = Mutex<Hub<Arc<dyn Mail>>>;

/// All shards of one process.
pub struct Shards {
    shards: Box<[Shard]>,
    seed: u64,
}

impl Shards {
    /// `count` empty shards; `seed` comes from the system's randomness.
    pub fn new(count: NonZeroUsize, seed: u64, admission: Admission, limits: &Arc<Limits>) -> Self {
        let config = Config { seed, admission, limits: Arc::clone(limits) };
        let shards = (0..count.get()).map(|_| Mutex::new(Hub::new(config.clone()))).collect();
        Self { shards, seed }
    }

    /// Hands `route` to the shard that owns it, and performs what the shard asks for after its lock was released.
    pub fn route(&self, now: Instant, from: Option<MailAddress>, route: Route, stats: &Stats) {
        let shard = &self.shards[route.shard(self.shards.len(), self.seed)];
        let mut actions = ACTIONS.take();
        lock(shard).handle_event(now, Event::Routed { from, route }, &mut actions);
        let mut refused = Vec::new();
        loop {
            for action in actions.drain() {
                if let Action::Deliver { to, delivery: Delivery::Presence { key, platforms } } = action {
                    tell(shard, &to, &key, platforms, &mut refused);
                } else {
                    perform(action, &mut refused, stats);
                }
            }
            if refused.is_empty() {
                break;
            }
            // Mailboxes were full: the shard knows what that means for their connections.
            let mut shard = lock(shard);
            for (to, overflow) in refused.drain(..) {
                shard.handle_event(now, Event::Refused { to, overflow }, &mut actions);
            }
        }
        ACTIONS.set(actions);
    }

    /// How many sessions are registered.
    pub fn sessions(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).sessions()).sum()
    }

    /// How many groups have a member.
    pub fn groups(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).groups()).sum()
    }

    /// Bytes on the heap that the registry owns.
    pub fn footprint(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).footprint()).sum()
    }
}

type Refused = Vec<(MailAddress, Overflow)>;

/// A mailbox that this thread has [crowded](Mail::is_crowded) since it was last asked: whoever runs here should send no
/// more until it is not.
pub(crate) fn take_crowded() -> Option<Arc<dyn Mail>> {
    CROWDED.take()
}

/// Tells on what a user is online. The lock is free meanwhile, so another thread's newer news may have arrived first:
/// what was told is compared with what is, until they agree. So the last that a watcher hears is true, whoever tells it.
fn tell(
    shard: &Shard,
    to: &Recipients<Arc<dyn Mail>>,
    key: &Key,
    mut platforms: PlatformSet,
    refused: &mut Refused,
) {
    loop {
        for one in to.as_slice() {
            deliver(one, Delivery::Presence { key: key.clone(), platforms }, refused);
        }
        let now = lock(shard).platforms_of(key);
        if now == platforms {
            return;
        }
        platforms = now;
    }
}

fn perform(action: Action<Arc<dyn Mail>>, refused: &mut Refused, stats: &Stats) {
    match action {
        Action::Close { to, reason } => close(&to, reason),
        Action::Deliver { to: Recipients::One(to), delivery } => deliver(&to, delivery, refused),
        Action::Deliver { to: Recipients::Many(all), delivery } => {
            for to in all.iter() {
                deliver(to, delivery.clone(), refused);
            }
        }
        Action::Mark(mark) => stats.mark(mark),
        // The hub learns more with later versions; a driver that does not know an action yet ignores it.
        _ => {}
    }
}

fn close(to: &Recipients<Arc<dyn Mail>>, reason: CloseReason) {
    match to {
        Recipients::One(one) => one.mailbox.close(reason),
        Recipients::Many(all) => all.iter().for_each(|one| one.mailbox.close(reason)),
    }
}

fn deliver(to: &MailAddress, delivery: Delivery, refused: &mut Refused) {
    let overflow = match &delivery {
        Delivery::Push(push) => push.overflow(),
        _ => Overflow::Close,
    };
    // A closed mailbox belongs to a connection that is just about to leave the hub.
    match to.mailbox.deliver(delivery) {
        Err(PushError::Full) => refused.push((to.clone(), overflow)),
        Ok(()) if to.mailbox.is_crowded() => CROWDED.set(Some(Arc::clone(&to.mailbox))),
        Ok(()) | Err(PushError::Closed) => {}
    }
}
