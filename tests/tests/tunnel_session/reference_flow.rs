//! The data of the reference, and the two directions of its flow control.

use linkspan_core::Frame;
use linkspan_core::tunnel::{ClientSession, data_cost};

use super::reference::{Model, id};
use super::reference_stream::{BODY_MAX, Brake, Phase, Stream};
use super::*;

impl Model {
    pub(super) fn write(&mut self, at: usize, body: Bytes) {
        let waits: usize = self.streams.iter().map(Stream::unsent).sum();
        let stream = &mut self.streams[at];
        if stream.phase != Phase::Open || body.is_empty() {
            return;
        }
        let pieces = (stream.waiting.len() + 1) * Frame::COST_MIN as usize;
        let of_stream = stream.unsent() + body.len().max(pieces);
        if of_stream > self.limits.tunnel_stream_bytes as usize
            || (waits + body.len()) as u64 > self.limits.tunnel_session_bytes
        {
            return self.end(at, StreamEnd::Overflow, text("write buffer full"));
        }
        stream.waiting.push_back(body);
        self.enlist(at);
    }

    pub(super) fn enlist(&mut self, at: usize) {
        if self.streams[at].may_send() && !self.line.contains(&at) {
            self.line.push_back(at);
        }
    }

    /// One message of each in turn, while no control message would have to wait for more than the window.
    pub(super) fn pump(&mut self) {
        let body_max = BODY_MAX[usize::from(self.config.peer_window.is_some())] as u64;
        let window = u64::from(self.limits.tunnel_window.min(self.limits.send_queue_bytes / 2));
        while self.closed.is_none() && (self.queue.is_empty() || self.unsent() + body_max <= window) {
            let Some(at) = self.line.pop_front() else { return };
            if !self.streams[at].may_send() {
                continue;
            }
            let Some(body) = self.streams[at].take() else {
                self.end(at, StreamEnd::Finished, text("EOF"));
                continue;
            };
            let bytes = u32::try_from(body.len()).expect("a piece");
            self.send(self.streams[at].wire, Content::Data(body));
            self.notify(TunnelNotice::Sent { stream: id(at + 1), bytes });
            self.enlist(at);
        }
    }

    // What comes in.

    pub(super) fn release(&mut self, at: usize, cost: u32) {
        let stream = &mut self.streams[at];
        stream.held = stream.held.saturating_sub(cost);
        if stream.held == 0 {
            stream.brake = None;
        }
    }

    pub(super) fn read(&mut self, at: usize, cost: u32) {
        self.release(at, cost);
        if self.streams[at].is_live() {
            self.widen(at, cost);
            self.grant(at);
            self.resume_if_low(at);
            self.brake(at);
            self.enlist(at);
        }
    }

    /// Once all of a window is read it is four times as wide, up to a quarter of what is left of half the session.
    pub(super) fn widen(&mut self, at: usize, cost: u32) {
        let first = self.limits.tunnel_first_window();
        let known = self.streams.iter().filter(|stream| stream.exists());
        let grown: u64 = known.filter_map(|one| Some(u64::from(one.credit.as_ref()?.window - first))).sum();
        let room = (self.limits.tunnel_session_bytes / 2).saturating_sub(grown) / 4;
        let most = self.limits.tunnel_stream_window;
        let Some(credit) = &mut self.streams[at].credit else { return };
        credit.read += cost;
        if credit.read < credit.window {
            return;
        }
        credit.read = 0;
        let more = u64::from((credit.window * 4).min(most).saturating_sub(credit.window)).min(room);
        if more > 0 {
            credit.window += u32::try_from(more).expect("within the limit");
            let cost = credit.window;
            self.notify(TunnelNotice::Window { stream: id(at + 1), cost });
        }
    }

    pub(super) fn grant(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        let (wire, held) = (stream.wire, stream.held);
        if let Some(credit) = &mut stream.credit
            && let Some(cost) = credit.owed(held)
        {
            credit.open += cost;
            self.send(wire, Content::Credit(cost));
        }
    }

    pub(super) fn resume_if_low(&mut self, at: usize) {
        let low = self.pause_mark() / 8;
        let stream = &mut self.streams[at];
        let is_low = stream.held == 0 || u64::from(stream.held) < low;
        if is_low && (stream.we_paused || stream.must_wake) {
            self.say_ready(at);
        }
    }

    pub(super) fn say_ready(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        (stream.we_paused, stream.must_wake) = (false, false);
        stream.give_cause();
        let wire = stream.wire;
        self.send(wire, Content::Resume);
    }

    /// Once half of what it may hold is unread, little is written to an original until half of that is read.
    pub(super) fn brake(&mut self, at: usize) {
        let left = self.limits.tunnel_session_bytes - self.held();
        let half = u64::from(self.limits.tunnel_stream_bytes).min(left) / 2;
        let is_original = self.is_original();
        let stream = &mut self.streams[at];
        let most = if stream.brake.is_some() { half / 2 } else { half };
        if !is_original || u64::from(stream.held) <= most {
            stream.brake = None;
        } else if stream.brake.is_none() {
            let wait = Duration::from_secs(1);
            let next = self.now + wait;
            stream.brake = Some(Brake {
                next,
                wait,
                unread: stream.held,
                share: 1,
                allowed: 0,
                gone: 0,
                is_echo: false,
            });
        }
    }

    /// A braked stream may send one message, then two, then four, as long as no more is unread for it; what comes back
    /// for them fits into half of the room that is left. One goes for want of room as well, unless the last came back or
    /// others would have to make room.
    pub(super) fn loosen(&mut self, at: usize) {
        let of_session = self.limits.tunnel_session_bytes - self.held();
        let stream = &mut self.streams[at];
        let of_stream = u64::from(self.limits.tunnel_stream_bytes - stream.held);
        let Some(brake) = stream.brake.as_mut().filter(|brake| brake.next <= self.now) else { return };
        if stream.waiting.is_empty() {
            return;
        }
        if brake.gone > 0 {
            brake.is_echo = stream.held > brake.unread;
            if brake.is_echo {
                (brake.share, brake.wait) = (1, Duration::from_secs(60).min(brake.wait * 2));
            } else {
                (brake.share, brake.wait) = (brake.share * 2, Duration::from_secs(1));
            }
        }
        let [of_session, of_stream] = [of_session, of_stream]
            .map(|room| u32::try_from(room / (2 * BODY_MAX[0] as u64)).expect("within the limits"));
        let of_stream = if brake.is_echo { of_stream } else { of_stream.max(1) };
        let most = of_session.min(of_stream);
        brake.share = brake.share.clamp(1, most.max(1));
        brake.allowed = brake.share.min(most);
        (brake.gone, brake.unread, brake.next) = (0, stream.held, self.now + brake.wait);
    }

    pub(super) fn hear_data(&mut self, wire: i64, body: Bytes) {
        let Some(at) = self.live(wire) else {
            if !self.told(wire) {
                let ClientSession { session, .. } = self.config.name;
                let why = format!("connection not found client/{session}/{wire}");
                self.send(wire, Content::Error(why.into()));
            }
            return;
        };
        let stream = &mut self.streams[at];
        (stream.heard, stream.was_missing) = (self.now, false);
        let cost = data_cost(&body);
        let left = self.limits.tunnel_stream_bytes.saturating_sub(stream.held);
        let may = stream.credit.as_ref().map_or(left, |credit| credit.open);
        if body.is_empty() {
            return;
        }
        if let Some(credit) = stream.credit.as_mut().filter(|_| cost <= may) {
            credit.open -= cost;
        }
        if stream.phase == Phase::Closing {
            return self.grant(at);
        }
        let full = || text("receive buffer full");
        if cost > may {
            return self.end(at, StreamEnd::Overflow, full());
        }
        while self.held() + u64::from(cost) > self.limits.tunnel_session_bytes {
            // Whoever has most unread makes room.
            let live = self.streams.iter().zip(0..).filter(|(one, _)| one.is_live() && one.held > 0);
            let victim =
                live.max_by_key(|(one, number)| (one.held, *number)).map_or(at, |(_, number)| number);
            self.end(victim, StreamEnd::Overflow, full());
            if victim == at {
                return;
            }
        }
        self.streams[at].held += cost;
        self.notify(TunnelNotice::Data { stream: id(at + 1), body });
        self.brake(at);
        let (mark, is_original) = (self.pause_mark(), self.is_original());
        let stream = &mut self.streams[at];
        let holds_back = is_original && stream.holds_back();
        let may_pause = !stream.we_paused && stream.credit.is_none() && !holds_back;
        if may_pause && u64::from(stream.held) > mark {
            (stream.we_paused, stream.must_wake) = (true, false);
            stream.give_cause();
            self.send(wire, Content::Pause);
        }
    }

    /// Counts a pause or a resume; the stream, if it may go on.
    pub(super) fn flip(&mut self, wire: i64) -> Option<usize> {
        let at = self.live(wire)?;
        self.streams[at].flips += 1;
        let is_over = self.streams[at].flips > self.limits.tunnel_flips;
        if is_over {
            self.end(at, StreamEnd::Flapping, text("too many pauses"));
        }
        (!is_over).then_some(at)
    }

    pub(super) fn hear_pause(&mut self, wire: i64) {
        if let Some(at) = self.flip(wire) {
            let is_original = self.is_original();
            self.streams[at].paused(self.now, is_original);
        }
    }

    /// The resume of an original is answered: its writer may sleep.
    pub(super) fn hear_resume(&mut self, wire: i64) {
        let Some(at) = self.flip(wire) else { return };
        let was_paused = self.streams[at].resumed();
        if self.is_original() {
            let stream = &mut self.streams[at];
            stream.must_wake |= std::mem::take(&mut stream.we_paused);
            if was_paused {
                stream.must_wake = false;
                self.send(wire, Content::Resume);
            }
            self.resume_if_low(at);
        }
        self.enlist(at);
    }

    pub(super) fn hear_credit(&mut self, wire: i64, cost: u32) {
        if self.config.peer_window.is_none() {
            return self.mark(Mark::MessageIgnored);
        }
        let Some(at) = self.live(wire) else { return };
        let Some(credit) = &mut self.streams[at].credit else { return };
        match credit.left.checked_add(cost) {
            None => self.end(at, StreamEnd::Flapping, text("too much credit")),
            Some(left) => {
                credit.left = left;
                // What moves now and then does not stall.
                self.streams[at].watch(self.now);
                self.enlist(at);
            }
        }
    }
}
