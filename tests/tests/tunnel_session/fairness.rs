//! Fairness: whoever has data gets its turn, whatever the others have, and control messages wait for no data of streams.

use std::collections::BTreeSet;

use super::*;
use linkspan_core::tunnel::StreamId;
use proptest::prelude::*;

/// Messages that each stream has to say.
const PIECES: usize = 6;

/// Streams with data of their sizes, and nothing of it flushed that has left.
struct Line {
    end: End,
    streams: Vec<StreamId>,
    /// How much had been sent when all of them had data.
    from: usize,
}

impl Line {
    fn new(sizes: &[usize], window: u32, is_counting: bool) -> Self {
        let peer_window = is_counting.then_some(4 << 20);
        let config =
            TunnelConfig { is_peer_ours: is_counting, peer_window, ..TunnelConfig::new(Role::Client) };
        let mut end = End::new(config, Limits { tunnel_window: window, ..Limits::default() });
        let streams: Vec<StreamId> = (2..).zip(sizes).map(|(wire, _)| end.accept(wire)).collect();
        end.flush_at_once = false;
        for (stream, size) in streams.iter().zip(sizes) {
            for _ in 0..PIECES {
                end.command(TunnelCommand::Data { stream: *stream, body: vec![1; *size].into() });
            }
        }
        let from = end.sent.len();
        Self { end, streams, from }
    }

    /// Everything that has left is flushed, once; false if there was nothing.
    fn flush(&mut self) -> bool {
        let flushed = std::mem::take(&mut self.end.unflushed);
        self.end.event(Event::Flushed(flushed));
        flushed.cost > 0
    }

    /// Which stream each message of data was for since all had some, and how long it was.
    fn turns(&self) -> Vec<(usize, usize)> {
        let data = self.end.sent[self.from..].iter().filter_map(|message| match &message.content {
            Content::Data(body) => Some((message.stream as usize - 2, body.len())),
            _ => None,
        });
        data.collect()
    }
}

/// Between two turns of a stream everybody else who has something to say then has one turn, and nobody has two.
fn check_turns(turns: &[(usize, usize)], streams: usize) -> Result<(), TestCaseError> {
    let mut last = vec![0; streams];
    turns.iter().enumerate().for_each(|(at, (stream, _))| last[*stream] = at);
    for (at, (stream, _)) in turns.iter().enumerate() {
        let Some(next) = turns[at + 1..].iter().position(|(other, _)| other == stream) else { continue };
        let between = &turns[at + 1..at + 1 + next];
        for other in (0..streams).filter(|other| other != stream) {
            let count = between.iter().filter(|(turn, _)| *turn == other).count();
            let has_more = last[other] > at + 1 + next;
            prop_assert!(count <= 1, "stream {} overtakes stream {} at {}", other, stream, at);
            prop_assert!(count == 1 || !has_more, "stream {} is left out at {}", other, at);
        }
    }
    Ok(())
}

/// Up to the end of the first stream that has said everything, each that waited then has at least half of its share.
fn check_shares(turns: &[(usize, usize)]) -> Result<(), TestCaseError> {
    let waiting: BTreeSet<usize> = turns.iter().map(|(stream, _)| *stream).collect();
    let ends = waiting.iter().filter_map(|stream| turns.iter().rposition(|(other, _)| other == stream));
    let Some(end) = ends.min() else { return Ok(()) };
    let bytes = |wanted: Option<usize>| -> usize {
        let of = turns[..=end].iter().filter(|(stream, _)| wanted.is_none_or(|wanted| *stream == wanted));
        of.map(|(_, len)| *len).sum()
    };
    // Of a single round there is no share yet.
    let has_rounds = turns[..=end].iter().filter(|(stream, _)| *stream == turns[end].0).count() > 1;
    for stream in waiting.iter().filter(|_| has_rounds) {
        let (own, all) = (bytes(Some(*stream)), bytes(None));
        prop_assert!(2 * waiting.len() * own >= all, "stream {} gets {} of {} bytes", stream, own, all);
    }
    Ok(())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![Just(1_usize), Just(255), Just(256), Just(257), 1..2_000_usize, 1..20_000_usize];
    prop::collection::vec(size, 2..14)
}

fn windows() -> impl Strategy<Value = u32> {
    prop_oneof![Just(32 << 10), Just(40 << 10), Just(160 << 10), (32_u32 << 10)..(300 << 10)]
}

/// Their lives are long.
fn some_cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(2), ..usual }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn streams_take_turns(sizes in sizes(), window in windows(), is_counting in any::<bool>()) {
        let mut line = Line::new(&sizes, window, is_counting);
        while line.flush() {}
        let turns = line.turns();
        check_turns(&turns, sizes.len())?;
        let sent: usize = line.end.sent.iter().filter(|one| matches!(one.content, Content::Data(_))).count();
        prop_assert_eq!(sent, sizes.len() * PIECES, "everything has left");
    }

    #[test]
    fn each_gets_its_share(count in 2..14_usize, size in 1..20_000_usize, window in windows()) {
        let mut line = Line::new(&vec![size; count], window, false);
        while line.flush() {}
        check_shares(&line.turns())?;
    }

    #[test]
    fn who_may_not_send_holds_nobody_up(sizes in sizes(), window in windows(), which in any::<prop::sample::Index>()) {
        let mut line = Line::new(&sizes, window, false);
        let paused = which.index(sizes.len());
        line.end.receive(2 + paused as i64, Content::Pause);
        line.from = line.end.sent.len();
        while line.flush() {}
        let turns = line.turns();
        check_turns(&turns, sizes.len())?;
        prop_assert!(turns.iter().all(|(stream, _)| *stream != paused), "it was told to wait");
        for (at, size) in sizes.iter().enumerate().filter(|(at, _)| *at != paused) {
            let sent = line.end.sent.iter().filter(|one| {
                one.stream == 2 + at as i64 && matches!(one.content, Content::Data(_))
            });
            prop_assert_eq!(sent.count(), PIECES, "stream {} of {} bytes", at, size);
        }
        line.end.receive(2 + paused as i64, Content::Resume);
        while line.flush() {}
        let all = line.end.sent.iter().filter(|one| matches!(one.content, Content::Data(_))).count();
        prop_assert_eq!(all, sizes.len() * PIECES, "its turn has come");
    }

    /// What waits in streams is not what a control message waits for: it goes behind what has left at most.
    #[test]
    fn control_waits_for_what_has_left_alone(sizes in sizes(), window in windows(), rounds in 0..6_usize) {
        let mut line = Line::new(&sizes, window, false);
        for _ in 0..rounds {
            line.flush();
        }
        let unflushed = line.end.unflushed.cost;
        line.end.dial();
        prop_assert!(unflushed <= window + 1024, "{} wait in front", unflushed);
        let is_next = matches!(line.end.sent.last().map(|one| &one.content), Some(Content::Connect(_)));
        prop_assert!(is_next, "it is the next to go");
        line.end.command(TunnelCommand::Abort { stream: line.streams[0], error: text("enough") });
        let last = line.end.sent.last().map(|one| &one.content);
        prop_assert!(matches!(last, Some(Content::Error(_))), "so is the end of a stream");
    }
}
