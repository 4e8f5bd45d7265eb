//! Tunnels: an application for either end, which opens streams, is the target of streams, and counts every byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::tunnel::{
    Role, StreamEnd, StreamId, Tunnel, TunnelCommand, TunnelConfig, TunnelNotice, data_cost,
};
use linkspan_core::{CloseReason, Connection};

use super::end::{App, Desk, Orders, Said};
use super::plan::{Op, Settings, Verb};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
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

/// One stream, seen from one of its ends.
#[derive(Debug)]
struct Flow {
    /// Its number in the ledger.
    id: u64,
    mode: Mode,
    /// How many bytes it is about.
    total: u64,
    /// Whether this end has opened it.
    is_opener: bool,
    /// Whether bytes may flow.
    is_open: bool,
    is_closing: bool,
    written: u64,
    sent: u64,
    received: u64,
}

impl Flow {
    /// How many bytes this end has to write, as far as it knows by now.
    fn to_write(&self) -> u64 {
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
    fn is_done(&self) -> bool {
        match (self.mode, self.is_opener) {
            (Mode::Echo, true) => self.received >= self.total,
            (Mode::Sink | Mode::Slow, true) | (Mode::Source, false) => self.written >= self.total,
            (Mode::Early, false) => self.received >= self.total / 2,
            _ => false,
        }
    }
}

/// The byte at `at` of what one end of stream `id` says.
fn byte(id: u64, is_opener: bool, at: u64) -> u8 {
    (id.wrapping_mul(31) ^ at.wrapping_mul(2_654_435_761) >> 7 ^ u64::from(is_opener) << 3) as u8
}

/// The application of one end of a tunnel.
#[derive(Debug, Default)]
pub(super) struct Streams {
    flows: BTreeMap<StreamId, Flow>,
    /// What was asked for and has no outcome.
    dials: BTreeMap<u64, (Mode, u64)>,
    /// What is read later.
    unread: BTreeMap<u64, (StreamId, u32)>,
    tokens: u64,
    is_client: bool,
}

impl Streams {
    pub(super) fn new(role: Role) -> Self {
        Self { is_client: role == Role::Client, ..Self::default() }
    }

    fn dial(&mut self, op: &Op, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        let mode = MODES[op.b as usize % MODES.len()];
        let id = desk.ledger.streams.open(desk.end);
        self.dials.insert(id, (mode, op.a));
        let address = format!("{}:{}:{id}", op.b as usize % MODES.len(), op.a);
        let proto = Bytes::from_static(b"tcp");
        orders.give(TunnelCommand::Dial { request: id, proto, address: address.into() });
    }

    fn requested(
        &mut self,
        stream: StreamId,
        address: &[u8],
        orders: &mut Orders<TunnelCommand>,
        desk: &mut Desk<'_>,
    ) {
        let text = String::from_utf8_lossy(address);
        let mut numbers = text.split(':').map(|number| number.parse::<u64>().unwrap_or(u64::MAX));
        let [mode, total, id] = [0; 3].map(|_| numbers.next().unwrap_or_default());
        let mode = MODES[mode as usize % MODES.len()];
        let flow = Flow {
            id,
            mode,
            total: total.min(1 << 20),
            is_opener: false,
            is_open: false,
            is_closing: false,
            written: 0,
            sent: 0,
            received: 0,
        };
        self.flows.insert(stream, flow);
        match mode {
            Mode::Refuse => {
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
            let most = flow.to_write().min(1 + desk.random.below(8 * 1024) as u64);
            let body: Vec<u8> =
                (flow.written..flow.written + most).map(|at| byte(flow.id, flow.is_opener, at)).collect();
            flow.written += most;
            orders.give(TunnelCommand::Data { stream, body: body.into() });
        }
        if flow.mode == Mode::Abort && flow.is_opener && flow.to_write() == 0 {
            flow.is_closing = true;
            let error = Bytes::from_static(b"given up");
            orders.give(TunnelCommand::Abort { stream, error });
        } else if flow.is_done() {
            flow.is_closing = true;
            desk.ledger.streams.closed(flow.id, flow.is_opener, flow.written);
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
        let flow = self.flows.get_mut(&stream);
        let Some(flow) = flow else { panic!("D1: data after the end of {stream:?} at end {}", desk.end) };
        if desk.is_trusted {
            let expected = (flow.received..).map(|at| byte(flow.id, !flow.is_opener, at));
            let is_right = body.iter().copied().eq(expected.take(body.len()));
            assert!(is_right, "D1: stream {} is not what was written, from byte {}", flow.id, flow.received);
        }
        flow.received += body.len() as u64;
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
        let flow = self.flows.remove(&stream);
        let Some(flow) = flow else { panic!("D2: {stream:?} at end {} ends twice", desk.end) };
        if flow.is_opener {
            desk.ledger.streams.ended(flow.id, desk.end);
        }
        if !desk.is_trusted {
            return;
        }
        match end {
            StreamEnd::Eof => {
                let all = desk.ledger.streams.written(flow.id, !flow.is_opener);
                let is_whole = all.is_none_or(|all| all == flow.received) || flow.is_closing;
                assert!(is_whole, "D1: stream {} ends after {} of {all:?} bytes", flow.id, flow.received);
            }
            StreamEnd::Overflow | StreamEnd::Stalled | StreamEnd::Flapping => {
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
                let asked = self.dials.remove(&request);
                let Some((mode, total)) = asked else { panic!("D2: dial {request} has two outcomes") };
                let flow = Flow {
                    id: request,
                    mode,
                    total,
                    is_opener: true,
                    is_open: true,
                    is_closing: false,
                    written: 0,
                    sent: 0,
                    received: 0,
                };
                self.flows.insert(stream, flow);
                self.pump(stream, orders, desk);
            }
            TunnelNotice::DialRefused { request, .. } => {
                assert!(self.dials.remove(&request).is_some(), "D2: dial {request} has two outcomes");
                desk.ledger.streams.ended(request, desk.end);
            }
            TunnelNotice::DialRequested { stream, address, .. } => {
                self.requested(stream, &address, orders, desk);
            }
            TunnelNotice::Data { stream, body } => self.data(stream, &body, orders, desk),
            TunnelNotice::Sent { stream, bytes } => {
                if let Some(flow) = self.flows.get_mut(&stream) {
                    flow.sent += u64::from(bytes);
                }
                self.pump(stream, orders, desk);
            }
            TunnelNotice::Ended { stream, end } => self.ended(stream, &end, desk),
            _ => {}
        }
    }

    fn wake(&mut self, token: u64, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        if token == 0 && self.is_client {
            desk.said.push(Said::Ready);
        }
        match self.unread.remove(&token) {
            Some((stream, 0)) => {
                orders.give(TunnelCommand::Dialed(stream));
                if let Some(flow) = self.flows.get_mut(&stream) {
                    flow.is_open = true;
                }
                self.pump(stream, orders, desk);
            }
            Some((stream, cost)) => orders.give(TunnelCommand::Read { stream, cost }),
            None => {}
        }
    }

    fn perform(&mut self, op: &Op, orders: &mut Orders<TunnelCommand>, desk: &mut Desk<'_>) {
        match op.verb {
            Verb::Dial | Verb::DialBack => self.dial(op, orders, desk),
            Verb::Flood => {
                for turn in 0..op.a.min(20) {
                    self.dial(&Op { a: op.b, b: turn, ..*op }, orders, desk);
                }
            }
            Verb::HangUp | Verb::Kick => orders.give(TunnelCommand::Finish),
            _ => {}
        }
    }

    fn closed(&mut self, _: CloseReason, desk: &mut Desk<'_>) {
        self.flows.clear();
        self.dials.clear();
        desk.ledger.streams.end_gone(desk.end);
    }

    fn missing(&self, connection: &Connection<Tunnel>) -> Option<String> {
        let streams = connection.dialect().streams();
        (streams > 0).then(|| format!("has {streams} streams: {:?}", self.flows.values()))
    }
}

impl Settings {
    /// The configuration of one end of a tunnel.
    pub(super) fn tunnel(&self, role: Role) -> Arc<TunnelConfig> {
        let is_peer_ours = self.ours > 0;
        // Two ends that take each other for an original would give their streams the same numbers.
        let may_peer_dial = is_peer_ours || role == Role::Client;
        let peer = if role == Role::Server { self.client_limits() } else { self.limits() };
        let peer_window = is_peer_ours.then(|| peer.tunnel_first_window());
        Arc::new(TunnelConfig { is_peer_ours, peer_window, may_peer_dial, ..TunnelConfig::new(role) })
    }
}

/// The account of all streams.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    last: u64,
    /// Who has opened what has not ended.
    live: BTreeMap<u64, usize>,
    /// What was written by an end that has closed its stream: by number and whether it had opened it.
    closed: BTreeMap<(u64, bool), u64>,
}

impl Accounts {
    fn open(&mut self, end: usize) -> u64 {
        self.last += 1;
        self.live.insert(self.last, end);
        self.last
    }

    fn closed(&mut self, id: u64, is_opener: bool, written: u64) {
        self.closed.insert((id, is_opener), written);
    }

    fn written(&self, id: u64, is_opener: bool) -> Option<u64> {
        self.closed.get(&(id, is_opener)).copied()
    }

    fn ended(&mut self, id: u64, end: usize) {
        assert_eq!(self.live.remove(&id), Some(end), "D2: stream {id} has two ends");
    }

    pub(super) fn end_gone(&mut self, end: usize) {
        self.live.retain(|_, opener| *opener != end);
    }

    /// Streams without an end.
    pub(super) fn open_ones(&self) -> Vec<(u64, usize)> {
        self.live.iter().map(|(id, end)| (*id, *end)).collect()
    }
}
