//! One end of a session as a state machine beside its [reference](super::reference): what is drawn is what can happen
//! in the reference's state, and now and then what cannot. A ledger of its own holds what both could get wrong alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use linkspan_core::Flushed;
use linkspan_core::tunnel::StreamId;
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::reference::{Model, Said, id};
use super::reference_stream::{Phase, Stream};
use super::*;

/// What the peer says of one stream, or of no one in particular.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Connect,
    Data(usize),
    Error(&'static str),
    Pause,
    Resume,
    Credit(u32),
    List(Vec<i64>),
    Unknown,
}

/// Streams are named by the order in which they were opened, from 1 on.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Dial,
    Dialed(usize),
    DialFailed(usize),
    Write(usize, usize),
    Read(usize, u32),
    Close(usize),
    Abort(usize),
    Finish,
    Hear(i64, Word),
    /// So many frames leave the send queue.
    Flush(usize),
    /// So many milliseconds pass.
    Pass(u64),
}

#[derive(Clone, Debug)]
pub(super) struct State {
    model: Model,
    /// Whether everything leaves the send queue behind each step.
    is_eager: bool,
    steps: usize,
    flushed: Flushed,
}

/// What is written or heard in one step: other bytes in each.
fn body(step: usize, len: usize) -> Bytes {
    static BYTES: LazyLock<Bytes> =
        LazyLock::new(|| (0..200_000_usize).map(|at| (at * 7 + (at >> 8) * 13) as u8).collect());
    BYTES.slice(step * 101..step * 101 + len)
}

impl Word {
    /// As the end reads it.
    fn content(self, step: usize) -> Content {
        let content = match self {
            Self::Connect => connect(),
            Self::Data(len) => Content::Data(body(step, len)),
            Self::Error(why) => Content::Error(text(why)),
            Self::Pause => Content::Pause,
            Self::Resume => Content::Resume,
            Self::Credit(cost) => Content::Credit(cost),
            Self::List(wires) => Content::sync(wires.into_iter()),
            Self::Unknown => Content::Unknown(9),
        };
        let frame = Message { id: 1, stream: 0, content }.encode().expect("sayable");
        Message::decode(&frame.into_bytes()).expect("readable").content
    }
}

const WHY: &str =
    "a reason of more than the hundred bytes that a receiver reads of the text of an error, whatever it says";

struct Play;

fn limits() -> impl Strategy<Value = Limits> {
    let counts = (2..6_u32, 1..4_u32, select(vec![1000, 2]));
    let unread = (select(vec![1000, 4096]), select(vec![4096, 10_000, 100_000]));
    let session = (select(vec![20_000, 6_000, 400_000]), select(vec![4096, 1024, 20_000]));
    let queue = (select(vec![33_500, 1, 67_000]), select(vec![1 << 20, 2560]));
    (counts, unread, session, queue).prop_map(|(counts, unread, session, queue)| Limits {
        tunnel_streams: counts.0,
        tunnel_dials: counts.1,
        tunnel_flips: counts.2,
        tunnel_stream_pause: unread.0,
        tunnel_stream_bytes: unread.1,
        tunnel_session_bytes: session.0,
        tunnel_stream_window: session.1,
        tunnel_window: queue.0,
        send_queue_bytes: queue.1,
        tunnel_connects_per_second: 0,
        tunnel_dial_timeout: Duration::from_secs(7),
        tunnel_stall_timeout: Duration::from_secs(20),
        write_timeout: DAY,
        ..Limits::default()
    })
}

/// No world lives so long: pings and silence have tests of their own.
const DAY: Duration = Duration::from_secs(24 * 3600);

fn config() -> impl Strategy<Value = TunnelConfig> {
    let role = select(vec![Role::Client, Role::Server]);
    // An original, one of ours that pauses, and ours that count.
    let counts = select(vec![4000, 256, 1024]).prop_map(|window| (true, Some(window)));
    let peer = prop_oneof![3 => Just((false, None)), 1 => Just((true, None)), 2 => counts];
    (role, peer, prop::bool::weighted(0.9)).prop_map(|(role, (is_peer_ours, peer_window), may_peer_dial)| {
        let base = TunnelConfig::new(role);
        TunnelConfig {
            is_peer_ours,
            peer_window,
            may_peer_dial,
            ping: DAY,
            silence: DAY * 9,
            quiet: DAY,
            ..base
        }
    })
}

/// What the application may do with its streams.
fn commands(model: &Model) -> Vec<(u32, BoxedStrategy<Step>)> {
    let mut steps = vec![(2, Just(Step::Dial).boxed())];
    let all: Vec<_> = (1..=model.streams.len()).collect();
    let live: Vec<_> = all.iter().copied().filter(|number| model.streams[number - 1].is_live()).collect();
    for (weight, numbers) in [(1_u32, all.clone()), (9, live)] {
        if numbers.is_empty() {
            continue;
        }
        let number = || select(numbers.clone());
        let len = select(vec![1, 300, 0, 256, 257, 1000, 3000, 40_000, 70_000]);
        steps.push((weight, (number(), len).prop_map(|(number, len)| Step::Write(number, len)).boxed()));
        let rare = prop_oneof![
            4 => number().prop_map(Step::Dialed),
            1 => number().prop_map(Step::DialFailed),
            1 => number().prop_map(Step::Close),
            1 => number().prop_map(Step::Abort),
        ];
        steps.push((weight.div_ceil(3), rare.boxed()));
    }
    let unread: Vec<_> = all.into_iter().filter(|number| model.streams[number - 1].held > 0).collect();
    if !unread.is_empty() {
        let held: Vec<_> = unread.iter().map(|number| (*number, model.streams[number - 1].held)).collect();
        let read = (select(held), select(vec![1, 2, 0]));
        let read = read.prop_map(|((number, held), part)| {
            Step::Read(number, held.checked_div(part).unwrap_or(256.min(held)))
        });
        steps.push((7, read.boxed()));
    }
    steps
}

/// What the peer may say.
fn words(model: &Model) -> impl Strategy<Value = Step> + use<> {
    let live: Vec<_> = model.streams.iter().filter(|one| one.is_live()).map(|one| one.wire).collect();
    let known: Vec<_> = model.streams.iter().map(|one| one.wire).chain([1, 2]).collect();
    let any = || prop_oneof![6 => select(known.clone()), 1 => -3..9_i64];
    let wire = if live.is_empty() {
        any().boxed()
    } else {
        prop_oneof![9 => select(live.clone()), 1 => any()].boxed()
    };
    let data = select(vec![1, 300, 256, 257, 0, 1000, 1024, 3000]).prop_map(Word::Data);
    let credit = select(vec![256, 300, 1024, 4000, u32::MAX - 1024, u32::MAX]).prop_map(Word::Credit);
    let error = select(vec!["EOF", "reset", WHY]).prop_map(Word::Error);
    let told = prop_oneof![
        12 => data,
        4 => Just(Word::Pause),
        4 => Just(Word::Resume),
        4 => credit,
        1 => error,
        1 => Just(Word::Unknown),
    ];
    // Some of what there is, in any order, and some of what is not.
    let list = prop::sample::subsequence(live.clone(), 0..=live.len());
    let list = (list.prop_shuffle(), prop::option::of(any())).prop_map(|(mut list, other)| {
        list.extend(other);
        Step::Hear(0, Word::List(list))
    });
    prop_oneof![
        12 => (wire, told).prop_map(|(wire, word)| Step::Hear(wire, word)),
        3 => prop_oneof![1 => any(), 3 => 2..9_i64].prop_map(|wire| Step::Hear(wire, Word::Connect)),
        1 => list,
    ]
}

impl ReferenceStateMachine for Play {
    type State = State;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<State> {
        let state = |(config, limits, is_eager)| {
            let model = Model::new(config, limits);
            State { model, is_eager, steps: 0, flushed: Flushed::default() }
        };
        (config(), limits(), any::<bool>()).prop_map(state).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Step> {
        let commands = proptest::strategy::Union::new_weighted(commands(&state.model));
        let millis = select(vec![5, 1, 2, 3, 4, 11, 100, 1000, 5000, 10_000, 21_000]);
        let flushes = if state.is_eager { 1 } else { 8 };
        prop_oneof![
            100 => commands,
            100 => words(&state.model),
            10 * flushes => (1..5_usize).prop_map(Step::Flush),
            25 => millis.prop_map(Step::Pass),
            1 => Just(Step::Finish),
        ]
        .boxed()
    }

    /// Nobody reads what is not there.
    fn preconditions(state: &State, step: &Step) -> bool {
        let stream = |number: &usize| state.model.streams.get(number.wrapping_sub(1));
        match step {
            Step::Read(number, cost) => stream(number).is_some_and(|stream| stream.held >= *cost),
            Step::Dialed(number) | Step::DialFailed(number) | Step::Write(number, _) => {
                stream(number).is_some()
            }
            Step::Close(number) | Step::Abort(number) => stream(number).is_some(),
            _ => true,
        }
    }

    fn apply(mut state: State, step: &Step) -> State {
        state.steps += 1;
        let model = &mut state.model;
        model.said = Said::default();
        if model.closed.is_some() {
            return state;
        }
        match step.clone() {
            Step::Dial => model.dial(7),
            Step::Dialed(number) => model.dialed(number - 1),
            Step::DialFailed(number) | Step::Abort(number) => model.abort(number - 1, text(WHY)),
            Step::Write(number, len) => model.write(number - 1, body(state.steps, len)),
            Step::Read(number, cost) => model.read(number - 1, cost),
            Step::Close(number) => model.close(number - 1),
            Step::Finish => model.finish(),
            Step::Hear(wire, word) => model.hear(wire, word.content(state.steps)),
            Step::Flush(frames) => state.flushed = model.flush(frames),
            Step::Pass(millis) => model.pass(Duration::from_millis(millis)),
        }
        if !matches!(step, Step::Pass(_)) {
            model.settle();
        }
        while state.is_eager && !model.queue.is_empty() && model.closed.is_none() {
            model.flush(usize::MAX);
            model.settle();
        }
        state
    }
}

/// What was written and sent, and who is over.
#[derive(Debug, Default)]
struct Ledger {
    live: BTreeMap<i64, StreamId>,
    over: BTreeSet<StreamId>,
    /// What each stream that is open was given, and how much of it has gone out.
    written: BTreeMap<StreamId, (Vec<u8>, usize)>,
    /// Those whose writers have ended in order, and nobody has broken off since: all that was written must go out.
    closed: BTreeSet<StreamId>,
}

impl Ledger {
    /// What the application wants, and what became of it in the reference.
    fn order(&mut self, step: &Step, state: &State) {
        match step {
            Step::Write(number, len) if state.model.streams[number - 1].phase == Phase::Open => {
                if let Some((written, _)) = self.written.get_mut(&id(*number)) {
                    written.extend_from_slice(&body(state.steps, *len));
                }
            }
            Step::Close(number) => _ = self.closed.insert(id(*number)),
            Step::Abort(number) | Step::DialFailed(number) => _ = self.closed.remove(&id(*number)),
            _ => {}
        }
    }

    /// How much of each stream that is open waits to go out.
    fn unsent(&self) -> impl Iterator<Item = usize> {
        let live = self.live.values().filter_map(|stream| self.written.get(stream));
        live.map(|(written, sent)| written.len() - sent)
    }

    /// Every byte in its place, one error and one end for each stream, and nothing behind the end.
    fn post(&mut self, step: &Step, said: &Said, is_closed: bool) {
        for notice in &said.notices {
            let wire = match (notice, step) {
                (TunnelNotice::Opened { .. }, _) => said.sent.first().map(|message| message.stream),
                (TunnelNotice::DialRequested { .. }, Step::Hear(wire, _)) => Some(*wire),
                _ => None,
            };
            match notice {
                TunnelNotice::Opened { stream, .. } | TunnelNotice::DialRequested { stream, .. } => {
                    let older = self.live.insert(wire.expect("a number"), *stream);
                    assert_eq!(older, None, "the number is in use");
                    self.written.insert(*stream, <_>::default());
                }
                TunnelNotice::Data { stream, .. }
                | TunnelNotice::Sent { stream, .. }
                | TunnelNotice::Window { stream, .. } => assert!(!self.over.contains(stream), "{notice:?}"),
                TunnelNotice::Ended { stream, .. } => {
                    assert!(self.over.insert(*stream), "it has ended");
                }
                _ => {}
            }
        }
        for message in &said.sent {
            if let Content::Data(body) = &message.content {
                let stream = self.live.get(&message.stream).expect("data of a live stream");
                let (written, sent) = self.written.get_mut(stream).expect("it was opened");
                assert_eq!(written.get(*sent..*sent + body.len()), Some(&body[..]), "in order");
                *sent += body.len();
            }
        }
        for notice in &said.notices {
            if let TunnelNotice::Ended { stream, end: StreamEnd::Finished } = notice
                && self.closed.contains(stream)
            {
                let (written, sent) = &self.written[stream];
                assert_eq!(written.len(), *sent, "all of {stream:?} goes out before its end");
            }
        }
        let over = &self.over;
        self.live.retain(|wire, stream| {
            let errors = said
                .sent
                .iter()
                .filter(|one| one.stream == *wire && matches!(one.content, Content::Error(_)));
            let is_over = over.contains(stream);
            // A session that ends says goodbye to whoever has not ended, and tells its application once for all.
            let (errors, due) = (errors.count(), usize::from(is_over));
            assert!(errors == due || is_closed && errors <= 1, "{errors} errors of stream {wire}");
            !is_over
        });
    }
}

struct Real {
    end: End,
    ledger: Ledger,
}

impl Real {
    fn flush(&mut self) {
        while self.end.unflushed.cost > 0 && self.end.closed.is_none() {
            let flushed = std::mem::take(&mut self.end.unflushed);
            self.end.event(Event::Flushed(flushed));
        }
    }

    fn step(&mut self, state: &State, step: &Step) {
        let end = &mut self.end;
        let address = Bytes::from_static(b"127.0.0.1:80");
        match step.clone() {
            Step::Dial => end.command(TunnelCommand::Dial { request: 7, proto: text("tcp"), address }),
            Step::Dialed(number) => end.command(TunnelCommand::Dialed(id(number))),
            Step::DialFailed(number) => {
                end.command(TunnelCommand::DialFailed { stream: id(number), error: text(WHY) });
            }
            Step::Abort(number) => end.command(TunnelCommand::Abort { stream: id(number), error: text(WHY) }),
            Step::Write(number, len) => {
                let body = body(state.steps, len);
                end.command(TunnelCommand::Data { stream: id(number), body });
            }
            Step::Read(number, cost) => end.command(TunnelCommand::Read { stream: id(number), cost }),
            Step::Close(number) => end.command(TunnelCommand::Close(id(number))),
            Step::Finish => end.command(TunnelCommand::Finish),
            Step::Hear(wire, word) => end.receive(wire, word.content(state.steps)),
            Step::Flush(_) => end.event(Event::Flushed(state.flushed)),
            Step::Pass(millis) => end.pass(Duration::from_millis(millis)),
        }
    }
}

struct StreamTest;

impl StateMachineTest for StreamTest {
    type SystemUnderTest = Real;
    type Reference = Play;

    fn init_test(state: &State) -> Real {
        let mut end = End::new(state.model.config.clone(), state.model.limits.clone()).with_digests();
        end.flush_at_once = false;
        Real { end, ledger: Ledger::default() }
    }

    fn apply(mut real: Real, state: &State, step: Step) -> Real {
        if real.end.closed.is_some() {
            return real;
        }
        real.ledger.order(&step, state);
        real.step(state, &step);
        if state.is_eager {
            real.flush();
        }
        let end = &mut real.end;
        let (sent, notices) = (std::mem::take(&mut end.sent), std::mem::take(&mut end.notices));
        let said = Said { sent, notices, marks: std::mem::take(&mut end.marks) };
        assert_eq!((&said, end.closed), (&state.model.said, state.model.closed));
        real.ledger.post(&step, &said, end.closed.is_some());
        real
    }

    fn check_invariants(real: &Real, state: &State) {
        let (tunnel, model) = (real.end.machine.dialect(), &state.model);
        if model.closed.is_none() {
            assert_eq!((tunnel.streams(), tunnel.held()), (model.existing(), model.held()));
        }
        let most = model.limits.tunnel_session_bytes;
        assert!(model.held() <= most);
        if model.closed.is_none() {
            let (unsent, of_stream) = (real.ledger.unsent(), model.limits.tunnel_stream_bytes as usize);
            assert!(real.ledger.unsent().all(|unsent| unsent <= of_stream), "of a stream");
            assert!(unsent.sum::<usize>() as u64 <= most, "of all streams");
        }
        let is_within = |one: &Stream| {
            let most = one.credit.as_ref().map_or(model.limits.tunnel_stream_bytes, |credit| credit.window);
            one.held <= most && one.unsent() <= model.limits.tunnel_stream_bytes as usize
        };
        assert!(model.streams.iter().all(is_within));
    }

    fn teardown(mut real: Real, state: State) {
        for number in 1..=state.model.streams.len() {
            real.flush();
            real.end.command(TunnelCommand::Abort { stream: id(number), error: text("over") });
        }
        if real.end.closed.is_none() {
            let tunnel = real.end.machine.dialect();
            assert_eq!((tunnel.streams(), tunnel.held()), (0, 0));
            let footprint = real.end.machine.footprint();
            assert!(footprint < 8192, "{footprint} bytes of streams that are over");
        }
    }
}

prop_state_machine! {
    #[test]
    fn one_end_is_its_model(sequential 1..120 => StreamTest);
}
