//! How a session gets a key: reservations, the limits, and who has to go.

use alloc::vec::Vec;

use super::admission::Verdict;
use super::roster::Member;
use super::storm::Storms;
use super::{Action, Address, Admission, Badge, Device, Hub, Platform, PlatformSet, Recipients, Refusal};
use crate::{Actions, CloseReason, ConnId, Delivery, Key, Mark};

/// A connection under a key.
#[derive(Clone)]
pub(super) struct Session<M> {
    address: Address<M>,
    device: Device,
    token: u64,
}

impl<M: Clone> Member for Session<M> {
    type Mailbox = M;

    fn address(&self) -> &Address<M> {
        &self.address
    }

    fn set_address(&mut self, address: Address<M>) {
        self.address = address;
    }

    fn platform(&self) -> Option<Platform> {
        Some(self.device.platform)
    }
}

/// Those who lose a key to a newcomer.
#[derive(Default)]
struct Losers {
    conns: Vec<ConnId>,
    /// How many of them run on the newcomer's platform.
    on_platform: usize,
    reason: Option<CloseReason>,
}

impl<M: Clone> Hub<M> {
    /// Holds a place for a session that is still being checked.
    pub(super) fn reserve(
        &mut self,
        from: Address<M>,
        key: Key,
        badge: Badge,
        actions: &mut Actions<Action<M>>,
    ) {
        let present = [&self.sessions, &self.reserved].iter().any(|table| table.contains(&key, from.conn));
        if present {
            self.sessions.set_address(&key, from.clone());
            self.reserved.set_address(&key, from.clone());
            return answer(from, Delivery::Reserved(key), actions);
        }
        let Badge { device, .. } = badge;
        let room = self.check_first(&key, badge);
        let room = room.and_then(|()| self.check_limits(&key, device.platform, &Losers::default()));
        if let Err(why) = room {
            return refuse(from, key, why, actions);
        }
        self.reserved.push(key.clone(), Session { address: from.clone(), device, token: 0 });
        answer(from, Delivery::Reserved(key), actions);
    }

    pub(super) fn register(
        &mut self,
        from: Address<M>,
        key: Key,
        badge: Badge,
        actions: &mut Actions<Action<M>>,
    ) {
        self.storms.sweep(self.now, self.limits.replacement_window, Storms::SWEPT_PER_EVENT);
        if self.sessions.contains(&key, from.conn) {
            self.sessions.set_address(&key, from.clone());
            return answer(from, Delivery::Admitted(key), actions);
        }
        // Whatever comes now, the reservation is used up.
        let held = self.reserved.remove(key.clone(), from.conn).is_some();
        // Who has a place was the first; who has none waits behind those that have.
        let first = if held { Ok(()) } else { self.check_first(&key, badge) };
        let losers = match first.and_then(|()| self.decide(&key, badge)) {
            Ok(losers) => losers,
            Err(why) => return refuse(from, key, why, actions),
        };
        let before = self.sessions.platforms(&key);
        self.replace(&key, losers, actions);
        let Badge { device, token, .. } = badge;
        self.sessions.push(key.clone(), Session { address: from.clone(), device, token });
        answer(from, Delivery::Admitted(key.clone()), actions);
        self.announce(key, before, actions);
    }

    /// Where only the first may have a key: whether that can be one with this badge, as far as sessions and places go.
    fn check_first(&self, key: &Key, badge: Badge) -> Result<(), Refusal> {
        if badge.admission.unwrap_or(self.admission) != Admission::RejectNew {
            return Ok(());
        }
        let mut others = [&self.sessions, &self.reserved].into_iter().flat_map(|table| table.iter(key));
        if others.any(|other| is_rival(badge.device, other.device)) { Err(Refusal::Taken) } else { Ok(()) }
    }

    /// Who has to go so that one with this badge may come.
    fn decide(&self, key: &Key, badge: Badge) -> Result<Losers, Refusal> {
        let admission = badge.admission.unwrap_or(self.admission);
        let is_rival = |present: &Session<M>| is_rival(present.device, badge.device);
        let present = match admission {
            // Their verdict does not depend on it, and there may be very many.
            Admission::Many | Admission::Devices(_) => 0,
            _ => self.sessions.iter(key).filter(|session| is_rival(session)).count(),
        };
        let losers = match admission.decide(present) {
            Verdict::Refuse(why) => return Err(why),
            Verdict::Replace(count) => self.losers(key, badge, CloseReason::Replaced, count, is_rival),
            Verdict::Displace(policy) => {
                let goes = |present: &Session<M>| {
                    let returns = badge.token != 0 && badge.token == present.token;
                    is_rival(present) && !returns && policy.takes_place(badge.device, present.device)
                };
                self.losers(key, badge, CloseReason::DeviceReplaced, usize::MAX, goes)
            }
        };
        self.check_limits(key, badge.device.platform, &losers)?;
        if losers.conns.is_empty() {
            return Ok(losers);
        }
        match self.storms.wait(self.now, key, &self.limits) {
            Some(retry_after) => Err(Refusal::Storm { retry_after }),
            None => Ok(losers),
        }
    }

    /// The oldest `most` of those to whom `goes` applies.
    fn losers(
        &self,
        key: &Key,
        badge: Badge,
        reason: CloseReason,
        most: usize,
        goes: impl Fn(&Session<M>) -> bool,
    ) -> Losers {
        let mut losers = Losers { reason: Some(reason), ..Losers::default() };
        for session in self.sessions.iter(key).filter(|session| goes(session)).take(most) {
            losers.conns.push(session.conn());
            losers.on_platform += usize::from(session.device.platform == badge.device.platform);
        }
        losers
    }

    /// Whether there is room for one more once `losers` have gone. What is reserved counts like what is there.
    fn check_limits(&self, key: &Key, platform: Platform, losers: &Losers) -> Result<(), Refusal> {
        let tables = [&self.sessions, &self.reserved];
        let gone = losers.conns.len();
        let on_platform: usize = tables.iter().map(|table| table.count_on(key, platform)).sum();
        let of_key: usize = tables.iter().map(|table| table.members_of(key)).sum();
        let of_all: usize = tables.iter().map(|table| table.members()).sum();
        if platform != Platform::UNSTATED
            && on_platform - losers.on_platform >= self.limits.sessions_per_platform as usize
        {
            Err(Refusal::PlatformFull)
        } else if of_key - gone >= self.limits.sessions_per_key as usize {
            Err(Refusal::Full)
        } else if of_all - gone >= self.limits.sessions_per_shard as usize {
            Err(Refusal::HubFull)
        } else {
            Ok(())
        }
    }

    /// Takes the key from `losers`, who from now on get nothing that is for it.
    fn replace(&mut self, key: &Key, losers: Losers, actions: &mut Actions<Action<M>>) {
        let Losers { conns, reason, .. } = losers;
        let removed = conns.into_iter().filter_map(|conn| self.sessions.remove(key.clone(), conn));
        let to = Recipients::from_vec(removed.map(|session| session.address).collect());
        if let (Some(to), Some(reason)) = (to, reason) {
            self.storms.count(self.now, key, &self.limits);
            actions.push(Action::Mark(Mark::KeyReplaced));
            actions.push(Action::Close { to, reason });
            self.relieve_lost(key, actions);
        }
    }

    /// The connection has left, or was never let in: what it had and what was held for it are free again.
    pub(super) fn unregister(&mut self, key: Key, conn: ConnId, actions: &mut Actions<Action<M>>) {
        self.reserved.remove(key.clone(), conn);
        let before = self.sessions.platforms(&key);
        if self.sessions.remove(key.clone(), conn).is_some() {
            self.relieve(&key, conn, actions);
            self.announce(key, before, actions);
        }
    }

    /// Takes the key from everyone who runs on one of `platforms`.
    pub(super) fn take(&mut self, key: &Key, platforms: PlatformSet) -> Option<Recipients<M>> {
        if platforms.contains_all(self.sessions.platforms(key)) {
            return self.sessions.take(key);
        }
        let runs_there = |session: &&Session<M>| platforms.contains(session.device.platform);
        let conns: Vec<_> = self.sessions.iter(key).filter(runs_there).map(Member::conn).collect();
        let removed = conns.into_iter().filter_map(|conn| self.sessions.remove(key.clone(), conn));
        Recipients::from_vec(removed.map(|session| session.address).collect())
    }
}

/// Who states a platform and who states none are no rivals.
fn is_rival(one: Device, other: Device) -> bool {
    let states = |device: Device| device.platform != Platform::UNSTATED;
    states(one) == states(other)
}

fn answer<M>(to: Address<M>, delivery: Delivery, actions: &mut Actions<Action<M>>) {
    actions.push(Action::Deliver { to: Recipients::One(to), delivery });
}

fn refuse<M>(to: Address<M>, key: Key, why: Refusal, actions: &mut Actions<Action<M>>) {
    actions.push(Action::Mark(match why {
        Refusal::Storm { .. } => Mark::KickStorm,
        Refusal::Taken => Mark::KeyRejected,
        Refusal::Full => Mark::KeyFull,
        Refusal::PlatformFull => Mark::PlatformFull,
        Refusal::HubFull => Mark::HubFull,
    }));
    answer(to, Delivery::Rejected { key, why }, actions);
}
