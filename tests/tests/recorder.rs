//! The flight recorder: lives of any dialect are written down as lines, read, and lived again.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Debug;
use std::sync::Arc;

use linkspan_core::hub::{self, Address, Admission, Badge, Hub};
use linkspan_core::record::{Entry, Recorder, ReplayError, replay};
use linkspan_core::{
    Action, Actions, ConnId, Connection, Dialect, Event, Instant, Limits, Machine, Opcode, Route, To, chat,
    pomelo,
};
use linkspan_tests::harness::{Script, package};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Drives a recorded machine through `steps`, waking it when it wants to be, and gives its log as text and its actions.
fn record<M>(make: impl Fn(Instant) -> M, steps: Vec<(Instant, M::Event)>) -> (Vec<String>, Vec<M::Action>)
where
    M: Machine<Action: Debug, Event: Serialize>,
{
    let (mut lines, mut actions) = (Vec::new(), Actions::new());
    let begun = steps.first().map_or(Instant::ORIGIN, |(now, _)| *now);
    let mut recorder =
        Recorder::new(make, begun, |entry: Entry<&M::Event>| lines.push(entry.to_line().unwrap()));
    for (now, event) in steps {
        recorder.handle_timeout(now, &mut actions);
        recorder.handle_event(now, event, &mut actions);
        assert_eq!(recorder.next_timeout(), recorder.machine().next_timeout());
        // Early calls are free, also of room in the log.
        recorder.handle_timeout(now, &mut actions);
    }
    (lines, actions.into_iter().collect())
}

/// Reads the lines, lives the life again and compares.
fn check<M>(make: impl Fn(Instant) -> M, steps: Vec<(Instant, M::Event)>)
where
    M: Machine<
            Action: Debug + PartialEq + Clone,
            Event: Serialize + DeserializeOwned + Clone + PartialEq + Debug,
        >,
{
    let events: Vec<_> = steps.iter().map(|(_, event)| event.clone()).collect();
    let (lines, actions) = record(&make, steps);
    let log: Vec<Entry<M::Event>> = lines.iter().map(|line| Entry::from_line(line).unwrap()).collect();
    let read = log.iter().filter_map(|entry| match entry {
        Entry::Event(_, event) => Some(event.clone()),
        _ => None,
    });
    assert_eq!(read.collect::<Vec<_>>(), events, "events are read as they were written");
    let mut again = Vec::new();
    replay(&make, log.clone(), |_, action| again.push(action.clone())).unwrap();
    assert_eq!(again, actions);
    // A log that breaks off, as a crash leaves it, is good as far as it goes.
    replay(&make, log[..log.len().div_ceil(2)].iter().cloned(), |_, _| {}).map(|_| ()).unwrap();
    assert_eq!(replay(&make, log.into_iter().skip(1), |_, _| {}).err(), Some(ReplayError::NoBeginning));
}

/// What happens to a connection: packages and noise, what the hub and the application do.
fn life<C>(
    data: &[u8],
    mut input: impl FnMut(&mut Script<'_>) -> Event<C>,
    mut command: impl FnMut(&mut Script<'_>) -> C,
) -> (Limits, Vec<(Instant, Event<C>)>) {
    let mut script = Script::new(data);
    let limits = script.limits();
    let mut steps = Vec::new();
    while !script.is_over() {
        let event = match script.choose(4) {
            0 => script.outside(),
            1 => Event::Command(command(&mut script)),
            _ => input(&mut script),
        };
        steps.push((script.tick(), event));
    }
    (limits, steps)
}

fn connection<D: Dialect>(dialect: D, limits: &Arc<Limits>, now: Instant) -> Connection<D> {
    Connection::new(dialect, limits.clone(), now, &mut Actions::<Action<D::Notice>>::new())
}

fn pomelo_input<C>(script: &mut Script<'_>) -> Event<C> {
    let data = match script.choose(6) {
        0 => package(1, br#"{"sys":{}}"#),
        1 => package(2, b""),
        2 => package(3, b""),
        3 => package(4, &[&b"\x00"[..], &script.id(), b"\x08Echo.Rawx"].concat()),
        4 => package(4, b"\x02\x08Echo.Rawx"),
        _ => script.raw(24),
    };
    Event::Received(Opcode::Stream, data.into())
}

/// Found by reading: the machine's clock stands still where this one jumps back, and what it does then was not written down.
#[test]
fn a_timeout_behind_a_clock_that_jumped_back_is_written_down() {
    let make = |now| connection(pomelo::Server::new(Arc::default()), &Arc::new(Limits::default()), now);
    let (mut log, mut actions) = (Vec::new(), Actions::new());
    let keep = |entry: Entry<&Event<pomelo::ServerCommand>>| log.push(entry.to_line().unwrap());
    let mut recorder = Recorder::new(make, Instant::ORIGIN, keep);
    let nothing = Event::Received(Opcode::Stream, bytes::Bytes::new());
    recorder.handle_event(Instant::from_micros(100_000_000), nothing, &mut actions);
    recorder.handle_timeout(Instant::from_micros(5_000_000), &mut actions);
    let actions: Vec<_> = actions.into_iter().collect();
    assert!(!actions.is_empty(), "its handshake is long due");
    let mut again = Vec::new();
    let log = log.iter().map(|line| Entry::from_line(line).unwrap());
    replay(make, log, |_, action| again.push(action.clone())).unwrap();
    assert_eq!(again, actions);
}

proptest! {
    #[test]
    fn a_pomelo_server_lives_again(data in vec(any::<u8>(), 0..400)) {
        let (limits, steps) = life(&data, pomelo_input, |script| match script.choose(6) {
            0 => pomelo::ServerCommand::Accept { user: None },
            1 => pomelo::ServerCommand::Push {
                route: script.route(),
                body: script.body(),
                overflow: script.overflow(),
            },
            2 => pomelo::ServerCommand::Bind(script.key()),
            3 => pomelo::ServerCommand::Join(script.group()),
            4 => pomelo::ServerCommand::Kick { reason: "x".into() },
            _ => pomelo::ServerCommand::Accept { user: Some("{}".into()) },
        });
        let limits = Arc::new(limits);
        check(|now| connection(pomelo::Server::new(Arc::default()), &limits, now), steps);
    }

    #[test]
    fn a_chat_server_lives_again(data in vec(any::<u8>(), 0..400)) {
        let text = |script: &mut Script<'_>| {
            let text = [&br#"{"type":1,"receiver":2}"#[..], br#"{"type":3}"#, b"{"][script.choose(3)];
            Event::Received([Opcode::Text, Opcode::Ping][script.choose(2)], text.into())
        };
        let (limits, mut steps) = life(&data, text, |script| match script.choose(3) {
            0 => chat::ServerCommand::Join(script.group()),
            1 => chat::ServerCommand::Kick,
            _ => chat::ServerCommand::Close,
        });
        if let Some((now, _)) = steps.first().cloned() {
            let admitted = linkspan_core::Delivery::Admitted(chat::user_key(1));
            steps.insert(0, (now, Event::Delivered(admitted)));
        }
        let limits = Arc::new(limits);
        check(|now| connection(chat::Server::new(Arc::default(), 1), &limits, now), steps);
    }

    #[test]
    fn a_hub_lives_again(data in vec(any::<u8>(), 0..400)) {
        let mut script = Script::new(&data);
        let mut steps = Vec::new();
        while !script.is_over() {
            let conn = script.choose(5) as u64;
            let from = Some(Address { conn: ConnId(conn), mailbox: conn });
            let push = linkspan_core::Push::new(script.route(), script.body(), script.overflow());
            let route = match script.choose(6) {
                0 => Route::Unregister(script.key()),
                1 => Route::Watch(script.key()),
                2 => Route::Join(script.group()),
                3 => Route::Publish { to: To::Group(script.group()), push },
                4 => Route::Publish { to: To::Key(script.key()), push },
                _ => Route::Register { key: script.key(), badge: Badge::default() },
            };
            steps.push((script.tick(), hub::Event::Routed { from, route }));
        }
        let config = || hub::Config { admission: Admission::AtMost(2), ..hub::Config::default() };
        check(|_| Hub::<u64>::new(config()), steps);
    }
}

#[test]
fn another_machine_is_told_from_the_recorded_one() {
    let limits = Arc::new(Limits::default());
    let make = |now| connection(pomelo::Server::new(Arc::default()), &limits, now);
    let at = Instant::from_micros;
    let steps = vec![
        (at(1), Event::Received(Opcode::Stream, package(1, br#"{"sys":{}}"#).into())),
        (at(2), Event::Command(pomelo::ServerCommand::Accept { user: None })),
        (at(3), Event::Received(Opcode::Stream, package(2, b"").into())),
        (at(60_000_000), Event::Received(Opcode::Stream, package(3, b"").into())),
    ];
    let (lines, _) = record(make, steps);
    let log = || lines.iter().map(|line| Entry::from_line(line).unwrap());
    assert!(lines.iter().any(|line| line.starts_with(r#"{"Timeout":"#)), "a heartbeat was due: {lines:?}");
    replay(make, log(), |_, _| {}).unwrap();
    // Another configuration says something else in its handshake.
    let strict = pomelo::ServerConfig {
        dictionary: pomelo::Dictionary::numbered(["a.b"]).unwrap(),
        ..Default::default()
    };
    let strict = Arc::new(strict);
    let other = |now| connection(pomelo::Server::new(strict.clone()), &limits, now);
    assert!(matches!(replay(other, log(), |_, _| {}), Err(ReplayError::Differs { .. })));
    // An event less, and the machine does less than the log says.
    let without = log().enumerate().filter(|(at, _)| *at != 1).map(|(_, entry)| entry);
    assert!(matches!(replay(make, without, |_, _| {}), Err(ReplayError::Differs { said: 1, done: 0, .. })));
    // What it did is not in the log: that is told of the event that it did it for.
    let acted = log().position(|entry| matches!(entry, Entry::Acted { .. })).unwrap();
    let without = log().enumerate().filter(|(at, _)| *at != acted).map(|(_, entry)| entry);
    let Err(ReplayError::Differs { entry, said, done }) = replay(make, without, |_, _| {}) else { panic!() };
    assert_eq!((entry, said), (acted as u64 - 1, 0));
    assert!(done > 0);
    assert!(Entry::<Event<pomelo::ServerCommand>>::from_line("{\"Timeout\":").is_err());
}
