//! Streams that a gateway ties together: one of a peer's link, and one of an agent.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use linkspan_core::Key;
use linkspan_core::tunnel::{StreamEnd, StreamId, TunnelCommand, data_cost, split_forwarded};

use super::end::{Desk, Orders, Said};
use super::mesh::Errand;
use super::tunnel::Flow;

/// One half of two streams that are tied together.
#[derive(Debug, Default)]
struct Half {
    /// The stream's number in the ledger, as its address says.
    id: u64,
    /// The other half's end and stream, once it is there.
    other: Option<(usize, StreamId)>,
    /// What came before the other half was there.
    early: Vec<Bytes>,
    /// It has ended before the other half was there.
    is_over: bool,
    /// What was written for the other half and not sent: bytes, and what they count for there.
    owed: VecDeque<(u32, u32)>,
    /// Bytes of the first of these that are sent.
    sent: u32,
}

/// Every such stream of one tunnel.
#[derive(Debug, Default)]
pub(super) struct Relays {
    halves: BTreeMap<StreamId, Half>,
    /// What was asked for and is not open: by request, for whom, and its number in the ledger.
    dials: BTreeMap<u64, ((usize, StreamId), u64)>,
}

/// The stream that an address is of, as the target at its end reads it.
fn ledger_id(address: &[u8]) -> u64 {
    Flow::requested(address).id
}

type Commands = Orders<TunnelCommand>;

impl Relays {
    pub(super) fn has(&self, stream: StreamId) -> bool {
        self.halves.contains_key(&stream)
    }

    /// A peer asks for a stream to a client of this gateway.
    pub(super) fn requested(&mut self, stream: StreamId, proto: &Bytes, address: Bytes, desk: &mut Desk<'_>) {
        let client = split_forwarded(proto).and_then(|(client, _)| Key::new(client).ok());
        assert!(client.is_some() || !desk.is_trusted, "E5: a dial over a peer's link names no client");
        let id = ledger_id(&address);
        if !desk.is_trusted {
            // Which stream it is may be a lie, too.
            desk.ledger.streams.taint(id);
        }
        self.halves.insert(stream, Half { id, ..Half::default() });
        desk.said.push(match client {
            Some(client) => Said::Forwarded(client, stream, address),
            None => Said::Errand(desk.end, Errand::Refuse { stream }),
        });
    }

    /// Asks for the other half of a peer's stream.
    pub(super) fn dial(
        &mut self,
        other: (usize, StreamId),
        address: Bytes,
        orders: &mut Commands,
        desk: &mut Desk<'_>,
    ) {
        let request = desk.ledger.streams.next_id();
        self.dials.insert(request, (other, ledger_id(&address)));
        orders.give(TunnelCommand::Dial { request, proto: Bytes::from_static(b"tcp"), address });
    }

    /// The other half is open; false if nobody here asked for it.
    pub(super) fn opened(&mut self, request: u64, stream: StreamId, desk: &mut Desk<'_>) -> bool {
        let Some((other, id)) = self.dials.remove(&request) else { return false };
        self.halves.insert(stream, Half { id, other: Some(other), ..Half::default() });
        let here = (desk.end, stream);
        desk.said.push(Said::Errand(other.0, Errand::Tie { stream: other.1, other: here }));
        true
    }

    /// There is no other half; false if nobody here asked for it.
    pub(super) fn refused(&mut self, request: u64, desk: &mut Desk<'_>) -> bool {
        let Some((other, _)) = self.dials.remove(&request) else { return false };
        desk.said.push(Said::Errand(other.0, Errand::Refuse { stream: other.1 }));
        true
    }

    /// The other half of a peer's stream is there.
    pub(super) fn tie(
        &mut self,
        stream: StreamId,
        other: (usize, StreamId),
        orders: &mut Commands,
        desk: &mut Desk<'_>,
    ) {
        let Some(half) = self.halves.get_mut(&stream) else {
            let error = Bytes::from_static(b"given up");
            return pass(other.0, TunnelCommand::Abort { stream: other.1, error }, desk);
        };
        half.other = Some(other);
        orders.give(TunnelCommand::Dialed(stream));
        for body in std::mem::take(&mut half.early) {
            let cost = data_cost(&body);
            desk.said.push(Said::Errand(other.0, Errand::Data { stream: other.1, body, cost }));
        }
        if half.is_over {
            self.halves.remove(&stream);
            pass(other.0, TunnelCommand::Close(other.1), desk);
        }
    }

    /// Bytes that came in on this half.
    pub(super) fn data(&mut self, stream: StreamId, body: &Bytes, desk: &mut Desk<'_>) {
        let Some(half) = self.halves.get_mut(&stream) else { return };
        if !desk.is_trusted {
            desk.ledger.streams.taint(half.id);
        }
        let (body, cost) = (body.clone(), data_cost(body));
        match half.other {
            Some((end, stream)) => desk.said.push(Said::Errand(end, Errand::Data { stream, body, cost })),
            None => half.early.push(body),
        }
    }

    /// Bytes that came in on the other half.
    pub(super) fn write(
        &mut self,
        stream: StreamId,
        body: Bytes,
        cost: u32,
        orders: &mut Commands,
        desk: &mut Desk<'_>,
    ) {
        // If it is gone, the other half is told so, and with it go the bytes.
        let Some(half) = self.halves.get_mut(&stream) else { return };
        if !desk.is_trusted {
            desk.ledger.streams.taint(half.id);
        }
        half.owed.push_back((body.len() as u32, cost));
        orders.give(TunnelCommand::Data { stream, body });
    }

    /// Bytes have left: the other half may let more come.
    pub(super) fn sent(&mut self, stream: StreamId, bytes: u32, desk: &mut Desk<'_>) {
        let Some(half) = self.halves.get_mut(&stream) else { return };
        let Some((end, stream)) = half.other else { return };
        half.sent += bytes;
        while let Some((bytes, cost)) = half.owed.front().copied().filter(|(bytes, _)| *bytes <= half.sent) {
            half.sent -= bytes;
            half.owed.pop_front();
            pass(end, TunnelCommand::Read { stream, cost }, desk);
        }
    }

    /// This half has ended, and so does the other one.
    pub(super) fn ended(&mut self, stream: StreamId, end: &StreamEnd, desk: &mut Desk<'_>) {
        let Some(half) = self.halves.get_mut(&stream) else { return };
        if !desk.is_trusted {
            desk.ledger.streams.taint(half.id);
        }
        if half.other.is_none() && *end == StreamEnd::Eof {
            half.is_over = true;
            return;
        }
        let Some(half) = self.halves.remove(&stream) else { return };
        let Some((id, stream)) = half.other else { return };
        for (_, cost) in half.owed {
            pass(id, TunnelCommand::Read { stream, cost }, desk);
        }
        let error = Bytes::from_static(b"the other half has ended");
        pass(
            id,
            match end {
                StreamEnd::Eof => TunnelCommand::Close(stream),
                _ => TunnelCommand::Abort { stream, error },
            },
            desk,
        );
    }

    /// The tunnel is over.
    pub(super) fn closed(&mut self, desk: &mut Desk<'_>) {
        for (_, half) in std::mem::take(&mut self.halves) {
            if let Some((end, stream)) = half.other {
                let error = Bytes::from_static(b"the other half is gone");
                pass(end, TunnelCommand::Abort { stream, error }, desk);
            }
        }
        for (_, ((end, stream), _)) in std::mem::take(&mut self.dials) {
            desk.said.push(Said::Errand(end, Errand::Refuse { stream }));
        }
    }

    /// What is tied and not over.
    pub(super) fn open_ones(&self) -> usize {
        self.halves.len()
    }
}

fn pass(end: usize, command: TunnelCommand, desk: &mut Desk<'_>) {
    desk.said.push(Said::Errand(end, Errand::Pass(command)));
}
