//! Data and the two directions of flow control.

use bytes::Bytes;

use super::brake::Brake;
use super::session::{Cx, Tunnel};
use super::stream::{BODY_MAX, BODY_MAX_OURS, Paused, State};
use super::{ClientSession, Content, EOF, StreamEnd, StreamId, TunnelNotice, data_cost};
use crate::{Frame, Limits, Mark};

impl Tunnel {
    pub(super) fn write(&mut self, id: StreamId, body: Bytes, cx: &mut Cx<'_>) {
        let (stream_max, session_max) = (cx.limits().tunnel_stream_bytes, cx.limits().tunnel_session_bytes);
        let total = self.table.queued;
        let Some(stream) = self.table.get(id) else { return };
        if stream.state != State::Open || body.is_empty() {
            return;
        }
        let entries = (stream.queue.len() as u64 + 1) * u64::from(Frame::COST_MIN);
        let len = body.len() as u64;
        let is_over =
            u64::from(stream.queued) + len.max(entries) > u64::from(stream_max) || total + len > session_max;
        if is_over {
            return self.end(id, StreamEnd::Overflow, Some(Bytes::from_static(b"write buffer full")), cx);
        }
        self.table.push(id, body);
        self.table.enlist(id);
        self.reschedule(id, cx);
    }

    /// Moves data into the connection's send queue, one message of each stream in turn, and no more than control
    /// messages may have to wait for.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        // Half of the send queue is for what must be said beside the data.
        let window = u64::from(cx.limits().tunnel_window.min(cx.limits().send_queue_bytes / 2));
        let body_max = if self.config.peer_window.is_some() { BODY_MAX_OURS } else { BODY_MAX };
        while cx.unsent() == 0 || u64::from(cx.unsent()) + body_max as u64 <= window {
            let Some(id) = self.table.next_in_line() else { return };
            let Some(stream) = self.table.get(id) else { return };
            let wire = stream.wire;
            let Some(body) = stream.take() else {
                self.end(id, StreamEnd::Finished, Some(Bytes::from_static(EOF)), cx);
                continue;
            };
            let bytes = body.len() as u32;
            self.table.queued -= u64::from(bytes);
            if let Some(frame) = self.frame(wire, Content::Data(body)) {
                cx.send(frame);
            }
            cx.notify(TunnelNotice::Sent { stream: id, bytes });
            self.table.enlist(id);
            self.reschedule(id, cx);
        }
    }

    pub(super) fn handle_data(&mut self, wire: i64, body: Bytes, cx: &mut Cx<'_>) {
        let Some(id) = self.table.find(wire) else { return self.answer_unknown(wire, cx) };
        let now = cx.now();
        let Some(stream) = self.table.get(id) else { return };
        (stream.heard_at, stream.was_missing) = (now, false);
        if body.is_empty() {
            return;
        }
        let cost = data_cost(&body);
        let full = || Some(Bytes::from_static(b"receive buffer full"));
        let is_over = match &mut stream.credit {
            Some(credit) => !credit.take_in(cost),
            None => u64::from(stream.held) + u64::from(cost) > u64::from(cx.limits().tunnel_stream_bytes),
        };
        if is_over && stream.state != State::Closing {
            return self.end(id, StreamEnd::Overflow, full(), cx);
        }
        if stream.state == State::Closing {
            // Nobody reads it, and what the peer still has would wait for ever.
            return self.grant(id, cx);
        }
        while self.table.held + u64::from(cost) > cx.limits().tunnel_session_bytes {
            let victim = self.table.largest().unwrap_or(id);
            self.end(victim, StreamEnd::Overflow, full(), cx);
            if victim == id {
                return;
            }
        }
        self.table.held += u64::from(cost);
        cx.notify(TunnelNotice::Data { stream: id, body });
        let mark = self.pause_mark(cx.limits());
        let is_peer_ours = self.config.is_peer_ours;
        let Some(stream) = self.table.get(id) else { return };
        stream.held += cost;
        self.brake(id, cx);
        let Some(stream) = self.table.get(id) else { return };
        // An original that has paused us holds back itself, and would take our pause for its own.
        let holds_back = !is_peer_ours && stream.paused.as_mut().is_some_and(Paused::holds_back);
        let may_pause = !stream.we_paused && stream.credit.is_none() && !holds_back;
        if may_pause && u64::from(stream.held) > mark {
            (stream.we_paused, stream.must_wake) = (true, false);
            stream.give_cause();
            self.control(wire, Content::Pause, cx);
        }
    }

    /// One stream may hold its own share, and a quarter of what is left of the session's. All streams share one
    /// connection: what its buffers bring after a pause comes once, and is set aside.
    pub(super) fn pause_mark(&self, limits: &Limits) -> u64 {
        let late = limits.tunnel_stream_bytes.saturating_sub(limits.tunnel_stream_pause);
        let late = u64::from(late).min(limits.tunnel_session_bytes / 2);
        let left = limits.tunnel_session_bytes.saturating_sub(late).saturating_sub(self.table.held);
        u64::from(limits.tunnel_stream_pause).min(left / 4)
    }

    /// Whatever an original reads lets it write again, although we have paused it: one that sends back what it gets stops
    /// only when it gets nothing. So once a stream holds half of what it may, its two directions are one until our
    /// application has read on, see [`Brake`]. Half is what can still come: what both kernels hold, there and back.
    pub(super) fn brake(&mut self, id: StreamId, cx: &Cx<'_>) {
        let left = cx.limits().tunnel_session_bytes.saturating_sub(self.table.held);
        let most = u64::from(cx.limits().tunnel_stream_bytes).min(left) / 2;
        let is_peer_ours = self.config.is_peer_ours;
        let Some(stream) = self.table.get(id).filter(|_| !is_peer_ours) else { return };
        let was_braked = stream.brake.is_some();
        let is_braked = u64::from(stream.held) > if was_braked { most / 2 } else { most };
        if was_braked != is_braked {
            stream.brake = is_braked.then(|| Brake::new(cx.now(), stream.held));
            self.reschedule(id, cx);
        }
    }

    /// Lets some of what a braked stream writes go, if it is time.
    pub(super) fn loosen(&mut self, id: StreamId, cx: &Cx<'_>) {
        let of_session = cx.limits().tunnel_session_bytes.saturating_sub(self.table.held);
        let stream_max = cx.limits().tunnel_stream_bytes;
        let Some(stream) = self.table.get(id).filter(|stream| !stream.queue.is_empty()) else { return };
        let (held, of_stream) = (stream.held, stream_max.saturating_sub(stream.held));
        if let Some(brake) = &mut stream.brake {
            brake.loosen(cx.now(), held, of_stream, of_session);
        }
    }

    pub(super) fn answer_unknown(&mut self, wire: i64, cx: &mut Cx<'_>) {
        if !self.table.forget(wire, cx.limits().tunnel_streams) {
            let ClientSession { client, session } = &self.config.name;
            let ids = alloc::format!("/{session}/{wire}");
            let text = [&b"connection not found "[..], client, ids.as_bytes()].concat();
            self.control(wire, Content::Error(text.into()), cx);
        }
    }

    pub(super) fn read(&mut self, id: StreamId, cost: u32, cx: &mut Cx<'_>) {
        self.table.release(id, cost);
        self.widen(id, cost, cx);
        self.grant(id, cx);
        self.resume_if_low(id, cx);
        self.brake(id, cx);
        self.table.enlist(id);
    }

    /// A stream of which the application reads much may have more on its way, if that leaves enough for others.
    fn widen(&mut self, id: StreamId, cost: u32, cx: &mut Cx<'_>) {
        let (limit, half) = (cx.limits().tunnel_stream_window, cx.limits().tunnel_session_bytes / 2);
        let room = half.saturating_sub(self.table.grown) / 4;
        let Some(stream) = self.table.get(id).filter(|stream| stream.state != State::Ended) else { return };
        let Some(credit) = stream.credit.as_mut() else { return };
        if let Some(more) = credit.grow(cost, limit, room) {
            let cost = credit.window;
            self.table.grown += u64::from(more);
            cx.notify(TunnelNotice::Window { stream: id, cost });
        }
    }

    /// Lets a peer that counts send as much as was read, once that is worth a message.
    pub(super) fn grant(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(stream) = self.table.get(id).filter(|stream| stream.state != State::Ended) else { return };
        let (wire, held) = (stream.wire, stream.held);
        if let Some(cost) = stream.credit.as_mut().and_then(|credit| credit.grant(held)) {
            self.control(wire, Content::Credit(cost), cx);
        }
    }

    pub(super) fn handle_credit(&mut self, wire: i64, cost: u32, cx: &mut Cx<'_>) {
        if self.config.peer_window.is_none() {
            return cx.mark(Mark::MessageIgnored);
        }
        let Some(id) = self.table.find(wire) else { return };
        let credit = self.table.get(id).and_then(|stream| stream.credit.as_mut());
        if credit.is_some_and(|credit| !credit.earn(cost)) {
            return self.end(id, StreamEnd::Flapping, Some(Bytes::from_static(b"too much credit")), cx);
        }
        self.table.enlist(id);
        self.reschedule(id, cx);
    }

    /// Lets the peer send again once little is left of what it has sent.
    fn resume_if_low(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let low = self.pause_mark(cx.limits()) / 8;
        let Some(stream) = self.table.get(id) else { return };
        let is_low = stream.held == 0 || u64::from(stream.held) < low;
        let is_wanted = stream.we_paused || stream.must_wake;
        if is_low && is_wanted && stream.state != State::Ended {
            (stream.we_paused, stream.must_wake) = (false, false);
            stream.give_cause();
            let wire = stream.wire;
            self.control(wire, Content::Resume, cx);
        }
    }

    /// Counts a pause or a resume of the peer for which there was no cause; says whether there were too many.
    fn flaps(&mut self, id: StreamId, cx: &mut Cx<'_>) -> bool {
        let flips_max = cx.limits().tunnel_flips;
        let Some(stream) = self.table.get(id) else { return true };
        stream.flips += 1;
        let is_over = stream.flips > flips_max;
        if is_over {
            self.end(id, StreamEnd::Flapping, Some(Bytes::from_static(b"too many pauses")), cx);
        }
        is_over
    }

    pub(super) fn handle_pause(&mut self, wire: i64, cx: &mut Cx<'_>) {
        let must_probe = !self.config.is_peer_ours;
        let Some(id) = self.table.find(wire) else { return };
        if self.flaps(id, cx) {
            return;
        }
        if let Some(stream) = self.table.get(id) {
            stream.pause(cx.now(), must_probe);
            self.reschedule(id, cx);
        }
    }

    pub(super) fn handle_resume(&mut self, wire: i64, cx: &mut Cx<'_>) {
        let Some(id) = self.table.find(wire) else { return };
        if self.flaps(id, cx) {
            return;
        }
        let Some(stream) = self.table.get(id) else { return };
        let was_paused = stream.resume();
        if !self.config.is_peer_ours {
            // An original has one flag for both directions: it has resumed itself too, perhaps without waking its
            // writer. A second resume wakes it; where we have paused it that waits until there is room.
            stream.must_wake |= core::mem::take(&mut stream.we_paused);
            if was_paused {
                stream.must_wake = false;
                self.control(wire, Content::Resume, cx);
            }
            self.resume_if_low(id, cx);
        }
        self.table.enlist(id);
        self.reschedule(id, cx);
    }
}
