//! What a driver does for one connection: mail, reading, writing, the end.

use linkspan_core::hub::{Action, Address, Recipients};
use linkspan_core::{CloseReason, Delivery, Flushed, Mark, Opcode, Overflow, Route, Violation, drain};

use super::branch::Branch;
use super::end::{End, Phase};
use super::link::Piece;
use super::sim::Sim;
use crate::memory::line::{Effect, Input};

/// How many pieces one turn reads, as the driver of the adapters does.
const READS: usize = 32;

impl Sim<'_> {
    /// One turn of the task of an end.
    pub(super) fn turn(&mut self, id: usize) {
        let Some(end) = self.ends[id].as_mut() else { return };
        end.has_turn = false;
        match end.phase {
            Phase::Open => self.go_round(id),
            Phase::Flushing(_) => self.wind_up(id),
            Phase::Gone => {}
        }
        self.account(id);
        self.arm(id);
    }

    fn go_round(&mut self, id: usize) {
        self.take_mail(id);
        let has_more = self.read(id);
        if let Some(end) = self.open(id)
            && let Some(reason) = end.input_ended
            && end.part.has_room()
        {
            self.step(id, Input::Closed(reason));
        }
        self.write(id);
        let Some(end) = self.open(id) else { return self.wind_up(id) };
        let due = end.part.next_timeout();
        let now = self.ends[id].as_ref().and_then(|end| end.gateway).map_or_else(
            || linkspan_core::Instant::from_micros(self.now),
            |gateway| self.gateways[gateway].clock(self.now),
        );
        if let Some(due) = due.filter(|due| *due <= now) {
            self.notice_deadline(due, now);
            self.with_part(id, |part, now, desk| part.timeout(now, desk));
            return self.wake_end(id);
        }
        let waits = |end: &mut End| !end.mailbox.is_empty() || end.drain.is_some() || end.abort.is_some();
        if has_more || self.open(id).is_some_and(waits) {
            self.wake_end(id);
        }
    }

    /// The end, while its connection is open.
    fn open(&mut self, id: usize) -> Option<&mut End> {
        self.ends[id].as_deref_mut().filter(|end| end.phase == Phase::Open)
    }

    pub(super) fn step(&mut self, id: usize, input: Input) {
        if self.open(id).is_none() {
            return;
        }
        let push = match &input {
            Input::Delivered(Delivery::Push(push)) => Some(push.clone()),
            _ => None,
        };
        self.with_part(id, |part, now, desk| {
            let effects = part.input(now, input, desk);
            if let Some(push) = push {
                account_for(push.body(), &effects, desk);
            }
            effects
        });
    }

    fn take_mail(&mut self, id: usize) {
        let Some(end) = self.open(id) else { return };
        let drain = end.drain.take();
        let abort = end.abort.take();
        for delivery in std::mem::take(&mut end.mailbox) {
            self.step(id, Input::Delivered(delivery));
        }
        if let Some(reason) = drain {
            self.step(id, Input::Drain(reason));
        }
        if let Some(reason) = abort {
            self.step(id, Input::Closed(reason));
            if let Some(end) = self.ends[id].as_mut() {
                end.outbox.clear();
                // With it goes a goodbye, if it was told to go in the same turn.
                self.links[end.link].has_goodbye = false;
            }
        }
    }

    /// Reads what is there, as long as somebody wants it; whether there is more.
    fn read(&mut self, id: usize) -> bool {
        for _ in 0..READS {
            let now = self.now;
            let Some(end) = self.open(id) else { return false };
            if end.input_ended.is_some() || end.deaf_until > now || !end.part.wants_read() {
                return false;
            }
            let (link, side) = (end.link, end.side);
            match self.links[link].ways[side].take(now) {
                Some(Piece::Data(opcode, data)) => {
                    self.make_room(link, side);
                    self.trace.mix_bytes(&data);
                    if opcode == Opcode::Ping {
                        // The transport answers by itself.
                        self.send(link, 1 - side, Piece::Data(Opcode::Pong, data.clone()));
                    }
                    self.tell_bytes(id, "recv", opcode, &data);
                    self.notice_message(link, side, true, &data);
                    self.step(id, Input::Received(opcode, data));
                    self.check_pace(id);
                }
                Some(Piece::Fin) => self.end_input(id, CloseReason::PeerClosed),
                None if self.links[link].reset[side] => self.end_input(id, CloseReason::ConnectionLost),
                None => {
                    self.expect(link, side);
                    return false;
                }
            }
        }
        true
    }

    /// Ends a connection whose address says more than it may.
    fn check_pace(&mut self, id: usize) {
        let now = self.now;
        let Some(end) = self.open(id) else { return };
        let (Some(pace), Some(home)) = (end.pace.clone(), end.gateway) else { return };
        let messages = end.part.take_messages();
        if messages > 0 && !pace.allows(self.gateways[home].clock(now), messages) {
            self.count(Mark::MessageRate);
            self.step(id, Input::Drain(CloseReason::TooManyMessages));
        }
    }

    fn end_input(&mut self, id: usize, reason: CloseReason) {
        if let Some(end) = self.ends[id].as_mut() {
            let is_first = end.input_ended.is_none() && reason == CloseReason::PeerClosed;
            end.input_ended.get_or_insert(reason);
            if is_first && !end.outbox.is_empty() {
                self.pass(Branch::EndedWithUnwritten);
            }
        }
    }

    /// What is read makes room for whoever writes.
    fn make_room(&mut self, link: usize, side: usize) {
        let way = &mut self.links[link].ways[side];
        if way.is_blocked && way.room() > 0 {
            way.is_blocked = false;
            let writer = self.links[link].ends[1 - side];
            self.wake_end(writer);
        }
    }

    pub(super) fn send(&mut self, link: usize, to: usize, piece: Piece) {
        self.links[link].ways[to].send(self.now, piece);
        self.expect(link, to);
    }

    /// Writes as much as the line takes, and reports it.
    fn write(&mut self, id: usize) {
        let Some(end) = self.ends[id].as_mut().filter(|end| !end.outbox.is_empty()) else { return };
        let (link, to) = (end.link, 1 - end.side);
        if self.links[link].reset[end.side] {
            let is_within_frame = end.outbox.is_within_frame();
            end.outbox.clear();
            let reason = end.input_ended.unwrap_or(CloseReason::ConnectionLost);
            end.input_ended = Some(reason);
            if is_within_frame {
                self.pass(Branch::CutWithinFrame);
            }
            self.step(id, Input::Closed(reason));
            return;
        }
        let is_stream = self.links[link].is_stream;
        let mut flushed = Flushed::default();
        let mut progress = false;
        loop {
            let Some(end) = self.ends[id].as_mut() else { return };
            let way = &mut self.links[link].ways[to];
            let Some((bytes, frame)) = end.outbox.front() else { break };
            // A message is written whole as soon as anything of it fits: what it is cut into is the transport's affair.
            let opcode = if is_stream { Opcode::Stream } else { frame.opcode };
            let takes = if is_stream { way.takes(bytes.len()) } else { bytes.len() };
            if way.room() == 0 {
                way.is_blocked = true;
                end.outbox.put_back();
                if end.outbox.is_within_frame() {
                    self.pass(Branch::BlockedWithinFrame);
                }
                break;
            }
            progress = true;
            let Some((written, frame)) = end.outbox.advance(takes) else { break };
            if let Some(frame) = frame {
                flushed.add(&frame);
            }
            self.trace.mix_bytes(&written);
            self.tell_bytes(id, "send", opcode, &written);
            self.notice_message(link, 1 - to, false, &written);
            self.send(link, to, Piece::Data(opcode, written));
        }
        if progress {
            let did_read = self.ends[id].as_ref().is_some_and(|end| end.part.wants_read());
            self.step(id, Input::Flushed(flushed));
            // What has left may make room for more to be written, or to be read.
            let goes_on = |end: &End| {
                !end.outbox.is_empty() || end.input_ended.is_some() || !did_read && end.part.wants_read()
            };
            if self.ends[id].as_deref().is_some_and(goes_on) {
                self.wake_end(id);
            }
        }
    }

    // Effects.

    pub(super) fn perform(&mut self, id: usize, effects: Vec<Effect>) {
        let mut dropped = Flushed::default();
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    self.trace.mix(frame.len() as u64);
                    if let Some(end) = self.ends[id].as_mut() {
                        end.outbox.push(frame);
                    }
                }
                Effect::DropOldest => {
                    let frame = self.ends[id].as_mut().and_then(|end| end.outbox.drop_oldest());
                    if let Some(frame) = frame {
                        dropped.add(&frame);
                        self.ledger.dropped(id, &frame.into_bytes());
                    }
                }
                Effect::Mark(mark) => {
                    self.tell(id, "mark", || mark.name().to_owned());
                    self.count(mark);
                }
                Effect::Route(route) => {
                    self.tell(id, "route", || format!("{route:?}"));
                    self.route(Some(id), &route);
                }
                Effect::Close(reason) => self.close(id, reason),
            }
        }
        if dropped.cost > 0 {
            self.step(id, Input::Dropped(dropped));
        }
    }

    fn close(&mut self, id: usize, reason: CloseReason) {
        // What a forgery leads to shows nothing about gateways.
        let is_misled = |end: &super::end::End| end.side == 1 && self.links[end.link].is_forged();
        if !self.ends[id].as_deref().is_some_and(is_misled) {
            *self.reasons.entry(format!("{reason:?}")).or_default() += 1;
        }
        self.notice_close(id);
        self.tell(id, "close", || reason.to_string());
        self.trace.mix(u64::from(reason.code()));
        let now = self.now;
        let Some(end) = self.ends[id].as_mut() else { return };
        let grace = match end.gateway {
            Some(gateway) => self.gateways[gateway].limits.close_grace,
            None => linkspan_core::Limits::default().close_grace,
        };
        end.phase = Phase::Flushing(now + grace.as_micros() as u64);
        end.reason = Some(reason);
        end.mailbox.clear();
        let (user, peer, side, link) = (end.user, end.peer, end.side, end.link);
        if let Some(gateway) = end.gateway {
            self.delist(gateway, id);
        }
        if let Some(gateway) = self.ends[id].as_ref().and_then(|end| end.gateway).filter(|_| side == 0) {
            self.ledger.gateway_gone(id);
            self.im_closed(gateway, id);
            self.gateways[gateway].check_forgotten(id);
            let told = &mut self.gateways[gateway].told;
            if !told.is_empty() {
                told.retain(|(end, _), _| *end != id);
            }
            if self.users[user].end == Some(peer) {
                self.check_fair(user, link, reason);
                self.users[user].verdict = Some(reason);
            }
        } else {
            self.ledger.user_gone(id, peer);
        }
        self.wake_end(id);
    }

    /// Nobody is thrown out for what it said in order. Bounds that are very tight refuse what is long.
    fn check_fair(&self, user: usize, link: usize, reason: CloseReason) {
        let is_cut = matches!(reason, CloseReason::Violation(Violation::Unfinished | Violation::Truncated));
        let is_tight = self.plan.settings.bounds > 1;
        if let CloseReason::Violation(violation) = reason
            && self.links[link].is_trusted
            && !is_cut
            && !is_tight
        {
            panic!("B: user {user} is thrown out for what it said in order: {violation}");
        }
    }

    /// Writes what is left, and then lets go of the line.
    fn wind_up(&mut self, id: usize) {
        self.write(id);
        let Some(end) = self.ends[id].as_mut() else { return };
        let Phase::Flushing(until) = end.phase else { return };
        let (link, side) = (end.link, end.side);
        let is_lost = end.input_ended == Some(CloseReason::ConnectionLost) || self.links[link].reset[side];
        let end_is_written = end.outbox.is_empty();
        if is_lost || end_is_written || until <= self.now {
            if !is_lost {
                self.send(link, 1 - side, Piece::Fin);
                if !end_is_written {
                    self.links[link].has_goodbye = false;
                    self.pass(Branch::GraceRanOut);
                }
            }
            self.let_go(id);
        }
    }

    /// An end is gone for good.
    pub(super) fn let_go(&mut self, id: usize) {
        let Some(mut end) = self.ends[id].take() else { return };
        end.phase = Phase::Gone;
        self.tell_end(&end, id, "gone");
        let (link, side) = (end.link, end.side);
        self.notice_gone(link, side);
        // Whatever still comes has no reader: it is taken and thrown away, so that the writer is not held up.
        self.links[link].ways[side].clear();
        self.links[link].ways[side].is_ended = true;
        self.make_room(link, side);
        if let Some(index) = end.gateway {
            let gateway = &mut self.gateways[index];
            gateway.ends.remove(&id);
            gateway.buffered -= end.buffered as u64;
            gateway.gate.set_buffered(gateway.buffered);
            if side == 0 {
                gateway.gate.release(end.address);
            }
            gateway.unbind(self.now, id);
            self.tell_drain(index, drain::Event::Closed);
        }
        if side == 1 {
            let is_forged = self.links[link].is_forged();
            let is_mute =
                !is_forged && self.links[link].has_goodbye && end.reason == Some(CloseReason::PeerClosed);
            assert!(!is_mute, "G8: user {} has lost the goodbye of its gateway", end.user);
            self.user_left(end.user, id, end.reason, is_forged);
        }
    }

    /// Tells the process what waits in the outbox now.
    fn account(&mut self, id: usize) {
        let Some(end) = self.ends[id].as_mut() else { return };
        let Some(index) = end.gateway else { return };
        let gateway = &mut self.gateways[index];
        let bytes = end.outbox.bytes();
        if bytes == 0 && end.buffered == 0 {
            return;
        }
        gateway.buffered = gateway.buffered - end.buffered as u64 + bytes as u64;
        end.buffered = bytes;
        gateway.gate.set_buffered(gateway.buffered);
        let is_much = gateway.buffered > gateway.limits.buffered_bytes;
        if end.phase == Phase::Open && gateway.gate.is_excessive(bytes as u64, gateway.buffered) {
            self.order_abort(id);
        }
        if is_much {
            self.check_buffered(index);
        }
    }

    // The hub.

    pub(super) fn route(&mut self, from: Option<usize>, route: &Route) {
        let index = from.and_then(|id| self.ends[id].as_ref()?.gateway).unwrap_or(0);
        self.route_at(index, from, route);
    }

    pub(super) fn route_at(&mut self, index: usize, from: Option<usize>, route: &Route) {
        if let Route::Publish { push, .. } = route {
            let is_trusted =
                from.and_then(|id| self.ends[id].as_ref()).is_none_or(|end| self.links[end.link].is_trusted);
            self.ledger.published(from.unwrap_or(0), push.body(), is_trusted);
        }
        let actions = self.gateways[index].ask(self.now, from, route);
        self.obey_hub(index, actions);
    }

    fn obey_hub(&mut self, index: usize, actions: Vec<Action<usize>>) {
        let mut refused = Vec::new();
        for action in actions {
            match action {
                Action::Close { to, reason } => {
                    to.as_slice().iter().for_each(|to| self.order_drain(to.mailbox, reason));
                }
                Action::Deliver { to, delivery } => self.post(index, &to, &delivery, &mut refused),
                Action::Mark(mark) => {
                    self.notice_refusal(index, mark);
                    self.count(mark);
                }
                other => panic!("hub: {other:?} is new"),
            }
        }
        for (to, overflow) in refused {
            let actions = self.gateways[index].refuse(self.now, to, overflow);
            self.obey_hub(index, actions);
        }
    }

    fn post(
        &mut self,
        index: usize,
        to: &Recipients<usize>,
        delivery: &Delivery,
        refused: &mut Vec<(Address<usize>, Overflow)>,
    ) {
        let overflow = match delivery {
            Delivery::Push(push) => push.overflow(),
            _ => Overflow::Close,
        };
        let capacity = self.gateways[index].limits.mailbox as usize;
        for address in to.as_slice() {
            let id = address.mailbox;
            let Some(end) = self.ends[id].as_mut().filter(|end| end.phase == Phase::Open) else {
                self.post_to_door(index, id, delivery);
                continue;
            };
            if end.mailbox.len() >= capacity {
                refused.push((address.clone(), overflow));
                continue;
            }
            end.mailbox.push_back(delivery.clone());
            if let Delivery::Push(push) = delivery {
                self.ledger.owe(id, push.body());
                if end.told.is_some() {
                    self.pass(Branch::MailWhileStopping);
                }
            }
            self.wake_end(id);
        }
    }
}

/// The marks that say that a message was dropped; no other explains why it is not there.
const DROPPING: [Mark; 3] = [Mark::PushDropped, Mark::PushRefused, Mark::NotReady];

/// What a connection was given must leave it, or be counted as dropped.
fn account_for(body: &bytes::Bytes, effects: &[Effect], desk: &mut super::end::Desk<'_>) {
    let mut is_sent = false;
    let mut is_counted = false;
    for effect in effects {
        match effect {
            Effect::Send(_) => is_sent = true,
            Effect::Mark(mark) => is_counted |= DROPPING.contains(mark),
            Effect::Close(_) => is_counted = true,
            Effect::DropOldest | Effect::Route(_) => {}
        }
    }
    if !is_sent {
        let is_silent = !is_counted && super::ledger::find(body).is_some();
        assert!(!is_silent, "C8: end {} drops a message silently", desk.end);
        desk.ledger.dropped(desk.end, body);
    }
}
