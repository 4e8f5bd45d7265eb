//! What happens between the lock of a shard and the mailboxes.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, Weak};

use linkspan_core::hub::{Admission, Badge, PlatformSet};
use linkspan_core::{CloseReason, ConnId, Delivery, Instant, Key, Route};
use linkspan_runtime::{Mail, MailAddress, PushError, Shards, Stats};

/// A mailbox to which another thread always gets a delivery through first: the user goes while the news that it came is
/// on the way.
struct Slow {
    shards: Weak<Shards>,
    user: MailAddress,
    key: Key,
    seen: Mutex<Vec<bool>>,
    overtaken: Mutex<bool>,
}

impl Mail for Slow {
    fn deliver(&self, delivery: Delivery) -> Result<(), PushError> {
        let Delivery::Presence { platforms, .. } = delivery else { return Ok(()) };
        let online = platforms != PlatformSet::EMPTY;
        let first = online && !std::mem::replace(&mut *self.overtaken.lock().unwrap(), online);
        if first {
            let route = Route::Unregister(self.key.clone());
            let shards = self.shards.upgrade().unwrap();
            shards.route(Instant::ORIGIN, Some(self.user.clone()), route, &Stats::default());
        }
        self.seen.lock().unwrap().push(online);
        Ok(())
    }

    fn close(&self, _: CloseReason) {}

    fn abort(&self, _: CloseReason) {}
}

struct Deaf;

impl Mail for Deaf {
    fn deliver(&self, _: Delivery) -> Result<(), PushError> {
        Ok(())
    }

    fn close(&self, _: CloseReason) {}

    fn abort(&self, _: CloseReason) {}
}

/// What a watcher hears last is how it is, in whatever order the threads deliver.
#[test]
fn the_last_presence_is_the_true_one() {
    let count = NonZeroUsize::new(4).unwrap();
    let shards = Arc::new(Shards::new(count, 1, Admission::Many, &Arc::default()));
    let stats = Stats::default();
    let key = Key::new("alice").unwrap();
    let user = MailAddress { conn: ConnId(1), mailbox: Arc::new(Deaf) };
    let watcher = Arc::new(Slow {
        shards: Arc::downgrade(&shards),
        user: user.clone(),
        key: key.clone(),
        seen: Mutex::default(),
        overtaken: Mutex::default(),
    });
    let mailbox: Arc<dyn Mail> = watcher.clone();
    let from = MailAddress { conn: ConnId(2), mailbox };
    shards.route(Instant::ORIGIN, Some(from), Route::Watch(key.clone()), &stats);
    let route = Route::Register { key, badge: Badge::default() };
    shards.route(Instant::ORIGIN, Some(user), route, &stats);
    let seen = watcher.seen.lock().unwrap();
    assert_eq!(seen.last(), Some(&false), "{seen:?}");
    assert_eq!(shards.sessions(), 0);
}
