//! Who is online, for those who asked to be told.

use super::{Action, Address, Hub, PlatformSet, Recipients};
use crate::{Actions, Delivery, Key, Mark};

impl<M: Clone> Hub<M> {
    /// Tells `from` on what the user is online now, and from now on whenever that changes.
    pub(super) fn watch(&mut self, from: Address<M>, key: Key, actions: &mut Actions<Action<M>>) {
        if self.watchers.contains(&key, from.conn) {
            self.watchers.set_address(&key, from.clone());
        } else if self.watchers.members_of(&key) < self.limits.watchers_per_key as usize {
            self.watchers.push(key.clone(), from.clone());
        } else {
            actions.push(Action::Mark(Mark::WatchersFull));
            let to = Recipients::One(from);
            return actions.push(Action::Deliver { to, delivery: Delivery::WatchRefused(key) });
        }
        let platforms = self.sessions.platforms(&key);
        let delivery = Delivery::Presence { key, platforms };
        actions.push(Action::Deliver { to: Recipients::One(from), delivery });
    }

    /// Tells the watchers of `key`, if the user is now online on something else than `before`.
    pub(super) fn announce(&mut self, key: Key, before: PlatformSet, actions: &mut Actions<Action<M>>) {
        if self.watchers.len() == 0 {
            return;
        }
        let platforms = self.sessions.platforms(&key);
        if platforms == before {
            return;
        }
        if let Some(to) = self.watchers.recipients(&key) {
            actions.push(Action::Deliver { to, delivery: Delivery::Presence { key, platforms } });
        }
    }
}
