//! What the hub does with users, said as plainly as possible: lists, searched from end to end.

use std::time::Duration;

use linkspan_core::hub::{
    Action, Admission, Badge, Device, DevicePolicy, Event, Platform, PlatformSet, Refusal,
};
use linkspan_core::{CloseReason, Delivery, GroupId, Instant, Key, Limits, Mark, Overflow, Push, Route, To};

use super::common::{Mailbox, Said, close, deliver, recipients, refused};

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) conn: u64,
    pub(super) device: Device,
    token: u64,
    /// Otherwise it is a place that is held.
    pub(super) live: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) admission: Admission,
    pub(super) limits: Limits,
    pub(super) entries: Vec<Entry>,
    pub(super) watches: Vec<(Key, u64)>,
    replaced: Vec<(Key, Instant)>,
    pub(super) members: Vec<(GroupId, u64)>,
    /// Sessions for which too much waits.
    congested: Vec<(Key, u64)>,
    /// Senders that wait for them.
    pub(super) waiting: Vec<(Key, u64)>,
}

/// OpenIM's classes, by its numbers of platforms.
fn class_name(platform: Platform) -> String {
    match platform.number() {
        1 | 2 => "Mobile".into(),
        3 | 4 | 7 => "PC".into(),
        8 | 9 => "Pad".into(),
        own => own.to_string(),
    }
}

/// OpenIM's policies, by its numbers.
pub(super) fn displaces(policy: DevicePolicy, new: Platform, old: Platform) -> bool {
    match policy.number() {
        0 => false,
        1 => new == old,
        4 => class_name(new) == class_name(old),
        5 => class_name(new) != "PC" && class_name(old) != "PC",
        other => panic!("policy {other} is new"),
    }
}

impl Model {
    pub(super) fn new(admission: Admission, limits: Limits) -> Self {
        Self {
            admission,
            limits,
            entries: Vec::new(),
            watches: Vec::new(),
            replaced: Vec::new(),
            members: Vec::new(),
            congested: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn live(&self, key: &Key) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.live && entry.key == *key).cloned().collect()
    }

    fn has(&self, key: &Key, conn: u64, live: bool) -> bool {
        self.entries.iter().any(|entry| entry.key == *key && entry.conn == conn && entry.live == live)
    }

    fn platforms(&self, key: &Key) -> PlatformSet {
        self.live(key).iter().map(|entry| entry.device.platform).collect()
    }

    fn remove(&mut self, key: &Key, conn: u64) {
        self.entries.retain(|entry| entry.key != *key || entry.conn != conn);
    }

    /// What the watchers of `key` are told after something changed.
    fn told(&self, key: &Key, before: PlatformSet) -> Said {
        let watchers: Vec<_> =
            self.watches.iter().filter(|(of, _)| of == key).map(|(_, conn)| *conn).collect();
        let platforms = self.platforms(key);
        if platforms == before || watchers.is_empty() {
            return Vec::new();
        }
        vec![deliver(&watchers, Delivery::Presence { key: key.clone(), platforms })]
    }

    fn room(&self, key: &Key, platform: Platform, losers: &[Entry]) -> Result<(), Refusal> {
        let gone = |entry: &Entry| losers.iter().any(|one| one.conn == entry.conn && one.key == entry.key);
        let stay: Vec<_> = self.entries.iter().filter(|entry| !gone(entry)).collect();
        let of_key: Vec<_> = stay.iter().filter(|entry| entry.key == *key).collect();
        let on_platform = of_key.iter().filter(|entry| entry.device.platform == platform).count();
        if platform.number() != 0 && on_platform + 1 > self.limits.sessions_per_platform as usize {
            return Err(Refusal::PlatformFull);
        }
        if of_key.len() + 1 > self.limits.sessions_per_key as usize {
            return Err(Refusal::Full);
        }
        if stay.len() + 1 > self.limits.sessions_per_shard as usize {
            return Err(Refusal::HubFull);
        }
        Ok(())
    }

    /// Only the first may come: nobody of its kind is there, or has a place.
    fn first(&self, key: &Key, badge: Badge) -> Result<(), Refusal> {
        let only_first = badge.admission.unwrap_or(self.admission) == Admission::RejectNew;
        let is_rival = |old: &Entry| {
            old.key == *key && (old.device.platform.number() == 0) == (badge.device.platform.number() == 0)
        };
        if only_first && self.entries.iter().any(is_rival) { Err(Refusal::Taken) } else { Ok(()) }
    }

    fn losers(&self, key: &Key, badge: Badge) -> Result<Vec<Entry>, Refusal> {
        // Who states a platform and who states none are no rivals.
        let is_rival =
            |old: &Entry| (old.device.platform.number() == 0) == (badge.device.platform.number() == 0);
        let live: Vec<_> = self.live(key).into_iter().filter(is_rival).collect();
        Ok(match badge.admission.unwrap_or(self.admission) {
            Admission::Many => Vec::new(),
            Admission::NewestWins => live,
            Admission::RejectNew if live.is_empty() => live,
            Admission::RejectNew => return Err(Refusal::Taken),
            Admission::AtMost(0) => return Err(Refusal::Full),
            Admission::AtMost(most) => {
                let stay = live.len().min(most as usize - 1);
                live[..live.len() - stay].to_vec()
            }
            Admission::Devices(policy) => {
                let goes = |old: &Entry| {
                    let returns = old.token != 0 && old.token == badge.token;
                    !returns && displaces(policy, badge.device.platform, old.device.platform)
                };
                live.into_iter().filter(goes).collect()
            }
            other => panic!("{other:?} is new"),
        })
    }

    fn storm(&self, now: Instant, key: &Key) -> Option<Duration> {
        let window = self.limits.replacement_window;
        let most = self.limits.replacements as usize;
        let recent: Vec<_> =
            self.replaced.iter().filter(|(of, at)| of == key && *at + window > now).collect();
        (most > 0 && recent.len() >= most).then(|| recent[recent.len() - most].1 + window - now)
    }

    fn register(&mut self, now: Instant, conn: u64, key: &Key, badge: Badge) -> Said {
        let admitted = deliver(&[conn], Delivery::Admitted(key.clone()));
        if self.has(key, conn, true) {
            return vec![admitted];
        }
        let held = self.has(key, conn, false);
        self.remove(key, conn);
        let first = if held { Ok(()) } else { self.first(key, badge) };
        let losers = first.and_then(|()| self.losers(key, badge)).and_then(|losers| {
            self.room(key, badge.device.platform, &losers)?;
            match self.storm(now, key).filter(|_| !losers.is_empty()) {
                Some(retry_after) => Err(Refusal::Storm { retry_after }),
                None => Ok(losers),
            }
        });
        let losers = match losers {
            Ok(losers) => losers,
            Err(why) => return refused(conn, key.clone(), why),
        };
        let before = self.platforms(key);
        let mut said = Vec::new();
        if !losers.is_empty() {
            let reason = match badge.admission.unwrap_or(self.admission) {
                Admission::Devices(_) => CloseReason::DeviceReplaced,
                _ => CloseReason::Replaced,
            };
            let conns: Vec<_> = losers.iter().map(|loser| loser.conn).collect();
            conns.iter().for_each(|conn| self.remove(key, *conn));
            self.replaced.push((key.clone(), now));
            said.extend([Action::Mark(Mark::KeyReplaced), close(&conns, reason)]);
            said.extend(self.relieve(key));
        }
        let Badge { device, token, .. } = badge;
        self.entries.push(Entry { key: key.clone(), conn, device, token, live: true });
        said.push(admitted);
        said.extend(self.told(key, before));
        said
    }

    fn reserve(&mut self, conn: u64, key: &Key, badge: Badge) -> Said {
        if !self.has(key, conn, true) && !self.has(key, conn, false) {
            let Badge { device, .. } = badge;
            let room = self.first(key, badge).and_then(|()| self.room(key, device.platform, &[]));
            if let Err(why) = room {
                return refused(conn, key.clone(), why);
            }
            self.entries.push(Entry { key: key.clone(), conn, device, token: 0, live: false });
        }
        vec![deliver(&[conn], Delivery::Reserved(key.clone()))]
    }

    fn watch(&mut self, conn: u64, key: &Key) -> Said {
        let watch = (key.clone(), conn);
        if !self.watches.contains(&watch) {
            let watchers = self.watches.iter().filter(|(of, _)| of == key).count();
            if watchers >= self.limits.watchers_per_key as usize {
                let refusal = deliver(&[conn], Delivery::WatchRefused(key.clone()));
                return vec![Action::Mark(Mark::WatchersFull), refusal];
            }
            self.watches.push(watch);
        }
        vec![deliver(&[conn], Delivery::Presence { key: key.clone(), platforms: self.platforms(key) })]
    }

    fn is_congested(&self, key: &Key) -> bool {
        self.congested.iter().any(|(of, _)| of == key)
    }

    /// Who waits for `key` waits no more once nobody there is congested.
    fn relieve(&mut self, key: &Key) -> Said {
        let (was, live) = (self.is_congested(key), self.live(key));
        self.congested.retain(|(of, conn)| of != key || live.iter().any(|entry| entry.conn == *conn));
        self.relieved(key, was)
    }

    fn relieved(&mut self, key: &Key, was: bool) -> Said {
        if !was || self.is_congested(key) {
            return Vec::new();
        }
        let waiting: Vec<_> =
            self.waiting.iter().filter(|(of, _)| of == key).map(|(_, conn)| *conn).collect();
        self.waiting.retain(|(of, _)| of != key);
        let said = recipients(&waiting);
        said.map(|to| Action::Deliver { to, delivery: Delivery::Relieved(key.clone()) }).into_iter().collect()
    }

    fn wait(&mut self, conn: u64, key: &Key) -> Said {
        if !self.is_congested(key) {
            return vec![deliver(&[conn], Delivery::Relieved(key.clone()))];
        }
        if !self.waiting.contains(&(key.clone(), conn)) {
            self.waiting.push((key.clone(), conn));
        }
        Vec::new()
    }

    fn join(&mut self, conn: u64, group: &GroupId) -> Said {
        if self.members.contains(&(group.clone(), conn)) {
            return Vec::new();
        }
        if self.members.iter().filter(|(of, _)| of == group).count() >= self.limits.group_members as usize {
            return vec![Action::Mark(Mark::GroupFull)];
        }
        self.members.push((group.clone(), conn));
        Vec::new()
    }

    /// Whom a message is for.
    fn chosen(&self, to: &To) -> Vec<u64> {
        let (key, platforms) = match to {
            To::Key(key) => (key, PlatformSet::ALL),
            To::Devices { key, platforms } => (key, *platforms),
            To::Group(group) => {
                return self.members.iter().filter(|(of, _)| of == group).map(|(_, conn)| *conn).collect();
            }
            other => panic!("{other:?} is new"),
        };
        let there = self.live(key).into_iter().filter(|entry| platforms.contains(entry.device.platform));
        there.map(|entry| entry.conn).collect()
    }

    fn publish(&mut self, from: Option<u64>, to: &To, push: &Push) -> Said {
        let mut said = Vec::new();
        if let (Some(conn), To::Key(key) | To::Devices { key, .. }) = (from, to)
            && push.overflow() == Overflow::Backpressure
            && self.is_congested(key)
            && !self.waiting.contains(&(key.clone(), conn))
        {
            said.push(deliver(&[conn], Delivery::Congested(key.clone())));
        }
        said.push(match recipients(&self.chosen(to)) {
            Some(to) => Action::Deliver { to, delivery: Delivery::Push(push.clone()) },
            None => Action::Mark(Mark::Undeliverable),
        });
        said
    }

    fn close(&mut self, to: &To, reason: CloseReason) -> Said {
        let conns = self.chosen(to);
        let closed = recipients(&conns).map(|to| Action::Close { to, reason });
        let key = match to {
            To::Key(key) | To::Devices { key, .. } => key,
            To::Group(group) => {
                self.members.retain(|(of, _)| of != group);
                return closed.into_iter().collect();
            }
            other => panic!("{other:?} is new"),
        };
        let before = self.platforms(key);
        let gone = |entry: &Entry| entry.live && entry.key == *key && conns.contains(&entry.conn);
        self.entries.retain(|entry| !gone(entry));
        let relieved = self.relieve(key);
        closed.into_iter().chain(relieved).chain(self.told(key, before)).collect()
    }

    pub(super) fn apply(&mut self, now: Instant, event: &Event<Mailbox>) -> Said {
        let (from, route) = match event {
            Event::Routed { from, route } => (from.as_ref().map(|from| from.conn.0), route),
            Event::Refused { to, overflow: Overflow::Close } => {
                return vec![Action::Mark(Mark::MailboxFull), close(&[to.conn.0], CloseReason::SlowConsumer)];
            }
            _ => return vec![Action::Mark(Mark::MailboxFull)],
        };
        match (route, from) {
            (Route::Publish { to, push }, from) => self.publish(from, to, push),
            (Route::Close { to, reason }, _) => self.close(to, *reason),
            (Route::Register { key, badge }, Some(conn)) => self.register(now, conn, key, *badge),
            (Route::Reserve { key, badge }, Some(conn)) => self.reserve(conn, key, *badge),
            (Route::Unregister(key), Some(conn)) => {
                let before = self.platforms(key);
                self.remove(key, conn);
                let relieved = self.relieve(key);
                relieved.into_iter().chain(self.told(key, before)).collect()
            }
            (Route::Congested(key), Some(conn)) => {
                let slow = (key.clone(), conn);
                if self.has(key, conn, true) && !self.congested.contains(&slow) {
                    self.congested.push(slow);
                }
                Vec::new()
            }
            (Route::Relieved(key), Some(conn)) => {
                let was = self.congested.contains(&(key.clone(), conn));
                self.congested.retain(|slow| *slow != (key.clone(), conn));
                self.relieved(key, was)
            }
            (Route::Wait(key), Some(conn)) => self.wait(conn, key),
            (Route::Unwait(key), Some(conn)) => {
                self.waiting.retain(|wait| *wait != (key.clone(), conn));
                Vec::new()
            }
            (Route::Join(group), Some(conn)) => self.join(conn, group),
            (Route::Leave(group), Some(conn)) => {
                self.members.retain(|member| *member != (group.clone(), conn));
                Vec::new()
            }
            (Route::Watch(key), Some(conn)) => self.watch(conn, key),
            (Route::Unwatch(key), Some(conn)) => {
                self.watches.retain(|watch| *watch != (key.clone(), conn));
                Vec::new()
            }
            (_, None) => Vec::new(),
            (other, _) => panic!("{other:?} is not played here"),
        }
    }
}
