//! Senders that wait for receivers.
//!
//! A session says that too much waits for it; whoever then publishes to its key is told, and answers by waiting. Only
//! that answer counts, and it always has one of its own, at once or when the key is relieved: a word that was on its
//! way for too long cannot make anybody wait for ever.

use super::{Action, Address, Hub, Recipients};
use crate::{Actions, ConnId, Delivery, Key, To};

impl<M: Clone> Hub<M> {
    pub(super) fn congest(&mut self, from: Address<M>, key: Key) {
        if self.sessions.contains(&key, from.conn) && !self.congested.contains(&key, from.conn) {
            self.congested.push(key, from);
        }
    }

    /// A session is no longer congested, or no longer there.
    pub(super) fn relieve(&mut self, key: &Key, conn: ConnId, actions: &mut Actions<Action<M>>) {
        let was_slow = self.congested.remove(key.clone(), conn).is_some();
        if was_slow
            && self.congested.members_of(key) == 0
            && let Some(to) = self.waiting.take(key)
        {
            actions.push(Action::Deliver { to, delivery: Delivery::Relieved(key.clone()) });
        }
    }

    /// Relieves the key of the sessions that have lost it.
    pub(super) fn relieve_lost(&mut self, key: &Key, actions: &mut Actions<Action<M>>) {
        while let Some(lost) = self.find_lost(key) {
            self.relieve(key, lost, actions);
        }
    }

    fn find_lost(&self, key: &Key) -> Option<ConnId> {
        let mut congested = self.congested.iter(key).map(|address| address.conn);
        congested.find(|conn| !self.sessions.contains(key, *conn))
    }

    pub(super) fn wait(&mut self, from: Address<M>, key: Key, actions: &mut Actions<Action<M>>) {
        if self.congested.members_of(&key) == 0 {
            let to = Recipients::One(from);
            actions.push(Action::Deliver { to, delivery: Delivery::Relieved(key) });
        } else if !self.waiting.contains(&key, from.conn) {
            self.waiting.push(key, from);
        }
    }

    /// Tells a sender that somebody whom it sends to is too slow. In a group nobody waits for one member.
    pub(super) fn tell_of_congestion(
        &self,
        from: Option<Address<M>>,
        to: &To,
        actions: &mut Actions<Action<M>>,
    ) {
        if let (Some(from), To::Key(key) | To::Devices { key, .. }) = (from, to)
            && self.congested.members_of(key) > 0
            && !self.waiting.contains(key, from.conn)
        {
            let to = Recipients::One(from);
            actions.push(Action::Deliver { to, delivery: Delivery::Congested(key.clone()) });
        }
    }
}
