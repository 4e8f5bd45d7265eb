//! Tunnels: an application for either end, which opens streams, is the target of streams, and counts every byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::hub::directory::{Change, Event};
use linkspan_core::tunnel::{
    Role, StreamEnd, StreamId, Tunnel, TunnelCommand, TunnelConfig, TunnelNotice, data_cost, forward_proto,
};
use linkspan_core::{CloseReason, ConnId, Connection, Frame, Key, Limits};

use super::branch::Branch;
use super::dials::Dials;
use super::end::{App, Desk, Orders, Said};
use super::mesh::Errand;
use super::plan::{Kind, Op, Settings, Verb};
use super::relay::Relays;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The target sends back what it gets; who has opened it closes when all is back.
    Echo,
    /// The target takes everything, until the end.
    Sink,
    /// The target sends everything, and closes.
    Source,
    /// The target is refused.
    Refuse,
    /// The target never answers.
    Never,
    /// The target closes in the middle.
    Early,
    /// The target takes its time with each piece.
    Slow,
    /// Who has opened it gives up in the middle.
    Abort,
}

const MODES: [Mode; 8] =
    [Mode::Echo, Mode::Sink, Mode::Source, Mode::Refuse, Mode::Never, Mode::Early, Mode::Slow, Mode::Abort];

/// What a dialler says of the stream that it wants: the target's kind, how many bytes, and its number in the ledger.
pub(super) fn target(mode: u64, bytes: u64, id: u64) -> Bytes {
    format!("{}:{bytes}:{id}", mode as usize % MODES.len()).into()
}

/// One stream, seen from one of its ends.
#[derive(Debug)]
pub(super) struct Flow {
    /// Its number in the ledger.
    pub(super) id: u64,
    pub(super) mode: Mode,
    /// How many bytes it is about.
    total: u64,
    /// Whether this end has opened it.
    pub(super) is_opener: bool,
    /// Whether bytes may flow.
    pub(super) is_open: bool,
    pub(super) is_closing: bool,
    /// When this end closed it.
    closed_at: u64,
    pub(super) written: u64,
    sent: u64,
    pub(super) received: u64,
}

impl Flow {
    /// A stream that this end has opened.
    pub(super) fn opened(id: u64, mode: u64, total: u64) -> Self {
        let mode = MODES[mode as usize % MODES.len()];
        Self {
            id,
            mode,
            total,
            is_opener: true,
            is_open: true,
            is_closing: false,
            closed_at: 0,
            written: 0,
            sent: 0,
            received: 0,
        }
    }

    /// A stream that the other end has asked for.
    pub(super) fn requested(address: &[u8]) -> Self {
        let text = String::from_utf8_lossy(address);
        let mut numbers = text.split(':').map(|number| number.parse::<u64>().unwrap_or(u64::MAX));
        let [mode, total, id] = [0; 3].map(|_| numbers.next().unwrap_or_default());
        Self { is_opener: false, is_open: false, ..Self::opened(id, mode, total.min(1 << 20)) }
    }

    /// The next bytes that this end writes, so many at most.
    pub(super) fn write(&mut self, most: u64) -> Bytes {
        let end = self.written + most.min(self.to_write());
        let body = said(self.id, self.is_opener, self.written, (end - self.written) as usize);
        self.written = end;
        body.into()
    }

    /// Takes in what has come, and checks that it is what the other end wrote.
    pub(super) fn take(&mut self, body: &[u8], desk: &Desk<'_>) {
        if desk.is_trusted && !desk.ledger.streams.is_tainted(self.id) {
            let is_right = said(self.id, !self.is_opener, self.received, body.len()) == body;
            assert!(is_right, "D1: stream {} is not what was written, from byte {}", self.id, self.received);
        }
        self.received += body.len() as u64;
    }

    /// It has ended regularly: everything must be there.
    pub(super) fn check_whole(&self, desk: &Desk<'_>) {
        if desk.is_trusted && !desk.ledger.streams.is_tainted(self.id) {
            let all = desk.ledger.streams.written(self.id, !self.is_opener);
            let is_whole = all.is_none_or(|all| all == self.received) || self.is_closing;
            assert!(is_whole, "D1: stream {} ends after {} of {all:?} bytes", self.id, self.received);
        }
    }

    /// This end closes: what it has written is what the other end must get.
    pub(super) fn close(&mut self, desk: &mut Desk<'_>) {
        self.is_closing = true;
        self.closed_at = desk.time;
        if desk.is_trusted {
            desk.ledger.streams.closed(self.id, self.is_opener, self.written);
        }
    }

    /// How many bytes this end has to write, as far as it knows by now.
    pub(super) fn to_write(&self) -> u64 {
        let goal = match (self.mode, self.is_opener) {
            (Mode::Source, false) => self.total,
            (Mode::Echo, false) => self.received,
            (Mode::Echo | Mode::Sink | Mode::Slow | Mode::Early, true) => self.total,
            (Mode::Abort, true) => self.total / 2,
            _ => 0,
        };
        goal.saturating_sub(self.written)
    }

    /// Whether this end closes now.
    pub(super) fn is_done(&self) -> bool {
        match (self.mode, self.is_opener) {
            (Mode::Echo, true) => self.received >= self.total,
            (Mode::Sink | Mode::Slow, true) | (Mode::Source, false) => self.written >= self.total,
            (Mode::Early, false) => self.received >= self.total / 2,
            _ => false,
        }
    }
}

/// So many bytes, from byte `from` on, of what one end of stream `id` says: every eight of them are a number's.
fn said(id: u64, is_opener: bool, from: u64, len: usize) -> Vec<u8> {
    let salt = id.wrapping_mul(31) ^ u64::from(is_opener) << 3;
    let eight = |at: u64| (salt ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let skipped = (from % 8) as usize;
    let mut text = Vec::with_capacity(skipped + len + 8);
    (from / 8..(from + len as u64).div_ceil(8)).for_each(|at| text.extend_from_slice(&eight(at)));
    text.drain(..skipped);
    text.truncate(len);
    text
}

/// The application of one end of a tunnel.
#[derive(Debug)]
pub(super) struct Streams {
    flows: BTreeMap<StreamId, Flow>,
    /// What was asked for and has no outcome.
    dials: BTreeMap<u64, (u64, u64)>,
    /// What is read later.
    unread: BTreeMap<u64, (StreamId, u32)>,
    tokens: u64,
    is_client: bool,
    /// Whether it is a link between two gateways.
    is_peer: bool,
    relays: Relays,
    /// Dials to its targets.
    incoming: Dials,
}

impl Streams {
    /// The application of an end that has that role, within these bounds.
    pub(super) fn new(role: Role, kind: Kind, limits: &Limits) -> Self {
        Self {
            flows: BTreeMap::new(),
            dials: BTreeMap::new(),
            unread: BTreeMap::new(),
            tokens: 0,
            is_client: role == Role::Client,
            is_peer: kind == Kind::Peer,
            relays: Relays::default(),
            incoming: Dials::new(limits.tunnel_dials_per_target),
        }
    }

    fn dial(
        &mut self,
        client: Option<&Key>,
        bytes: u64,
        mode: u64,
        orders: &mut Orders<TunnelCommand>,
        desk: &mut Desk<'_>,
    ) {
        let id = desk.ledger.streams.open(desk.end);
        self.dials.insert(id, (mode, bytes));
        let proto = client.map_or(Bytes::from_static(b"tcp"), |client| forward_proto(client, b"tcp"));
        orders.give(TunnelCommand::Dial { request: id, proto, address: target(mode, bytes, id) });
    }

    fn requested(
        &mut self,
        stream: StreamId,
        proto: &Bytes,
        address: Bytes,
        orders: &mut Orders<TunnelCommand>,
        desk: &mut Desk<'_>,
    ) {
        if self.is_peer {
            return self.relays.requested(stream, proto, address, desk);
        }
        let flow = Flow::requested(&address);
        let mode = flow.mode;
        self.flows.insert(stream, flow);
        let outcome = self.incoming.begin(stream, mode);
        if let Err(mark) = outcome {
            desk.said.push(Said::Counted(mark));
        }
        match mode {
            _ if outcome.is_err() => {
                let error = Bytes::from_static(b"too many dials to this address");
                orders.give(TunnelCommand::DialFailed { stream, error });
            }
            Mode::Refuse => {
                self.incoming.end(stream);
                let error = Bytes::from_static(b"connection refused");
                orders.give(TunnelCommand::DialFailed { stream, error });
            }
            Mode::Never => {}
            _ => {
                let span = desk.service_time();
                self.later(stream, 0, span, desk);
            }
        }
    }

    fn tell_health(&self, is_lively: bool, desk: &mut Desk<'_>) {
        desk.said.push(Said::Directory(Event::Health { conn: ConnId(desk.end as u64), is_lively }));
    }

    fn later(&mut self, stream: StreamId, cost: u32, span: u64, desk: &mut Desk<'_>) {
        self.tokens += 1;
        self.unread.insert(self.tokens, (stream, cost));
        desk.wake_after(span, self.tokens);
    }

    /// Writes as much as may wait, and closes when that was all.
    fn pump(&mut self, stream: StreamId, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        let window =
            desk.gateway.as_ref().map_or(64 * 1024, |gateway| gateway.limits.tunnel_stream_bytes) / 4;
        let Some(flow) = self.flows.get_mut(&stream).filter(|flow| flow.is_open && !flow.is_closing) else {
            return;
        };
        while flow.to_write() > 0 && flow.written - flow.sent < u64::from(window) {
            let body = flow.write(1 + desk.random.below(8 * 1024) as u64);
            orders.give(TunnelCommand::Data { stream, body });
        }
        if flow.mode == Mode::Abort && flow.is_opener && flow.to_write() == 0 {
            flow.is_closing = true;
            let error = Bytes::from_static(b"given up");
            orders.give(TunnelCommand::Abort { stream, error });
        } else if flow.is_done() {
            flow.close(desk);
            orders.give(TunnelCommand::Close(stream));
        }
    }

    fn data(
        &mut self,
        stream: StreamId,
        body: &Bytes,
        orders: &mut Orders<TunnelCommand>,
        desk: &mut Desk<'_>,
    ) {
        if self.relays.has(stream) {
            return self.relays.data(stream, body, desk);
        }
        let flow = self.flows.get_mut(&stream);
        let Some(flow) = flow else { panic!("D1: data after the end of {stream:?} at end {}", desk.end) };
        flow.take(body, desk);
        let cost = data_cost(body);
        if flow.mode == Mode::Slow && !flow.is_opener && !desk.is_calm {
            let span = desk.random.below(500_000) as u64;
            self.later(stream, cost, span, desk);
        } else {
            orders.give(TunnelCommand::Read { stream, cost });
        }
        self.pump(stream, orders, desk);
    }

    fn ended(&mut self, stream: StreamId, end: &StreamEnd, desk: &mut Desk<'_>) {
        if self.relays.has(stream) {
            return self.relays.ended(stream, end, desk);
        }
        self.incoming.end(stream);
        let flow = self.flows.remove(&stream);
        let Some(flow) = flow else { panic!("D2: {stream:?} at end {} ends twice", desk.end) };
        if flow.is_opener {
            desk.ledger.streams.ended(flow.id, desk.end);
        }
        match end {
            StreamEnd::Eof => flow.check_whole(desk),
            // Users do not wait long for a peer that takes nothing: a line that is dead or held up looks so.
            StreamEnd::Stalled if desk.was_held_up() => {}
            StreamEnd::Overflow | StreamEnd::Stalled | StreamEnd::Flapping if desk.is_trusted => {
                assert!(desk.plan.settings.bounds > 0, "D7: stream {} ends as {end:?}", flow.id);
            }
            _ => {}
        }
    }
}

impl App<Tunnel> for Streams {
    fn hear(&mut self, notice: TunnelNotice, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        match notice {
            TunnelNotice::Opened { request, stream } => {
                if self.relays.opened(request, stream, desk) {
                    return;
                }
                let asked = self.dials.remove(&request);
                let Some((mode, total)) = asked else { panic!("D2: dial {request} has two outcomes") };
                self.flows.insert(stream, Flow::opened(request, mode, total));
                self.pump(stream, orders, desk);
            }
            TunnelNotice::DialRefused { request, .. } if self.relays.refused(request, desk) => {}
            TunnelNotice::DialRefused { request, .. } => {
                assert!(self.dials.remove(&request).is_some(), "D2: dial {request} has two outcomes");
                desk.ledger.streams.ended(request, desk.end);
            }
            TunnelNotice::DialRequested { stream, proto, address } => {
                self.requested(stream, &proto, address, orders, desk);
            }
            TunnelNotice::Data { stream, body } => self.data(stream, &body, orders, desk),
            TunnelNotice::Sent { stream, bytes } => {
                self.relays.sent(stream, bytes, desk);
                if let Some(flow) = self.flows.get_mut(&stream) {
                    flow.sent += u64::from(bytes);
                    if flow.is_closing && flow.closed_at < desk.time {
                        desk.said.push(Said::Passed(Branch::CloseBehindData));
                    }
                }
                self.pump(stream, orders, desk);
            }
            TunnelNotice::Ended { stream, end } => self.ended(stream, &end, desk),
            TunnelNotice::ClientAdded(session) => {
                desk.said.push(Said::Directory(Event::Announced { link: ConnId(desk.end as u64), session }));
            }
            TunnelNotice::ClientRemoved(session) => {
                desk.said.push(Said::Directory(Event::Withdrawn { link: ConnId(desk.end as u64), session }));
            }
            TunnelNotice::Quiet => self.tell_health(false, desk),
            TunnelNotice::Lively => self.tell_health(true, desk),
            _ => {}
        }
    }

    fn wake(&mut self, token: u64, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        if token == 0 && self.is_client {
            desk.said.push(Said::Ready);
        }
        match self.unread.remove(&token) {
            Some((stream, 0)) => {
                self.incoming.end(stream);
                orders.give(TunnelCommand::Dialed(stream));
                match self.flows.get_mut(&stream) {
                    Some(flow) => flow.is_open = true,
                    None => desk.said.push(Said::Passed(Branch::DialAfterEnd)),
                }
                self.pump(stream, orders, desk);
            }
            Some((stream, cost)) => orders.give(TunnelCommand::Read { stream, cost }),
            None => {}
        }
    }

    fn perform(&mut self, op: &Op, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        match op.verb {
            Verb::Dial | Verb::DialBack => self.dial(None, op.a, op.b, orders, desk),
            Verb::Flood => (0..op.a.min(20)).for_each(|turn| self.dial(None, op.b, turn, orders, desk)),
            Verb::HangUp | Verb::Kick => orders.give(TunnelCommand::Finish),
            _ => {}
        }
    }

    fn run(&mut self, errand: Errand, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        match errand {
            Errand::Dial { client, bytes, mode } => self.dial(client.as_ref(), bytes, mode, orders, desk),
            Errand::Relay { other, address } => self.relays.dial(other, address, orders, desk),
            Errand::Tie { stream, other } => self.relays.tie(stream, other, orders, desk),
            Errand::Refuse { stream } => {
                let error = Bytes::from_static(b"failed to find Session for client");
                orders.give(TunnelCommand::DialFailed { stream, error });
            }
            Errand::Data { stream, body, cost } => self.relays.write(stream, body, cost, orders, desk),
            Errand::Pass(command) => orders.give(command),
            Errand::Say(changes) => {
                for Change { session, is_added } in changes {
                    orders.hold(match is_added {
                        true => TunnelCommand::AddClient(session),
                        false => TunnelCommand::RemoveClient(session),
                    });
                }
            }
        }
    }

    fn said(&mut self, desk: &mut Desk<'_>) {
        desk.said.push(Said::Directory(Event::Ready(ConnId(desk.end as u64))));
    }

    fn closed(&mut self, _: CloseReason, desk: &mut Desk<'_>) {
        self.relays.closed(desk);
        self.incoming.end_all();
        self.flows.clear();
        self.dials.clear();
        desk.ledger.streams.end_gone(desk.end);
    }

    fn says_goodbye(&self, reason: CloseReason, last: Option<&Frame>) -> bool {
        // Whoever has streams hears of their end.
        let is_due = self.flows.values().any(|flow| flow.is_open && !flow.is_closing);
        let is_end = last.is_some_and(|frame| frame.body().ends_with(b"tunnel disconnect"));
        assert!(!is_due || is_end || reason != CloseReason::Stopping, "G8: streams end without a word");
        false
    }

    fn missing(&self, connection: &Connection<Tunnel>) -> Option<String> {
        let streams = connection.dialect().streams();
        let relays = self.relays.open_ones();
        (streams > 0).then(|| format!("has {streams} streams, {relays} tied: {:?}", self.flows.values()))
    }
}

impl Settings {
    /// The configuration of one end of a tunnel of that kind of user.
    pub(super) fn tunnel(&self, role: Role, kind: Kind) -> Arc<TunnelConfig> {
        let is_peer_ours = self.ours > 0 && kind != Kind::Original;
        let may_peer_dial = match (kind, role) {
            (_, Role::Client) | (Kind::Original, _) => true,
            (Kind::Peer, _) => false,
            // Two ends that take each other for an original would give their streams the same numbers.
            _ => is_peer_ours,
        };
        let may_peer_announce = kind == Kind::Peer && role == Role::Server;
        let is_peer_a_user = role == Role::Server && kind != Kind::Peer;
        let peer = if is_peer_a_user { self.client_limits() } else { self.limits() };
        let peer_window = is_peer_ours.then(|| peer.tunnel_first_window());
        let own = TunnelConfig::new(role);
        Arc::new(TunnelConfig { is_peer_ours, peer_window, may_peer_dial, may_peer_announce, ..own })
    }
}
