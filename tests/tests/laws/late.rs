//! A driver that was away for long – a stopped process, a suspended laptop – wakes a machine once for all that was due
//! meanwhile (A6): it sends one sign of life and not one for each that was missed, and from then on does what a machine
//! does that was woken every time.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use linkspan_core::hub::Badge;
use linkspan_core::im::{self, Visitor};
use linkspan_core::tunnel::{Content, Role, TunnelConfig, TunnelNotice};
use linkspan_core::{Delivery, Event, Instant, Key, Limits, Machine, chat};
use linkspan_tests::harness::{Ready, Station, digest};
use linkspan_tests::tunnel::End;
use proptest::prelude::*;

use super::working;

const BEAT: Duration = Duration::from_secs(30);

proptest! {
    #[test]
    fn late_timers_collapse(periods in 1_u32..1000, extra in 0_u64..30_000_000, stepped in 1_u32..50) {
        collapses(working, periods, extra, stepped);
        collapses(chat_server, periods, extra, stepped);
        let chat_client = |limits| open(chat::Client::new(chat::ClientConfig { user: 7 }), limits);
        collapses(chat_client, periods, extra, stepped);
        collapses(im_server, periods, extra, stepped);
        collapses(|limits| open(im::Client::new("k"), limits), periods, extra, stepped);
    }

    #[test]
    fn late_timers_of_a_tunnel_collapse(
        minutes in 1_u64..1000,
        extra in 0_u64..60_000_000,
        stepped in 1_u64..50,
    ) {
        for role in [Role::Client, Role::Server] {
            tunnel_collapses(role, minutes, extra, stepped);
        }
    }
}

fn open<D: Ready<Notice: Debug + Clone> + Debug>(dialect: D, limits: Limits) -> Station<D> {
    Station::new(dialect, Arc::new(limits), Instant::from_micros(1_000_000))
}

fn chat_server(limits: Limits) -> Station<chat::Server> {
    let config = chat::ServerConfig { dead: None, ..chat::ServerConfig::default() };
    let mut station = open(chat::Server::new(Arc::new(config), 1), limits);
    station.event(station.now(), Event::Delivered(Delivery::Admitted(chat::user_key(1))));
    station
}

fn im_server(limits: Limits) -> Station<im::Server> {
    let user = Key::new("k").expect("a short name");
    let visitor = Visitor { user: user.clone(), badge: Badge::default() };
    let mut station = open(im::Server::new(Arc::default(), visitor, 1), limits);
    station.event(station.now(), Event::Delivered(Delivery::Admitted(user)));
    station
}

/// A connection whose peer is silent and may be: of a jump over `periods` it has one sign of life to give.
fn collapses<D>(make: impl Fn(Limits) -> Station<D>, periods: u32, extra: u64, stepped_over: u32)
where
    D: Ready<Notice: Debug + Clone> + Debug,
{
    let begin = || {
        let mut station = make(Limits { silence: None, ..Limits::default() });
        station.flush(station.now(), usize::MAX);
        station
    };
    let mut station = begin();
    let late = station.now() + BEAT * periods + Duration::from_micros(extra);
    station.timeout(late);
    assert_eq!(station.flush(late, usize::MAX).len(), 1, "one sign of life");
    assert_eq!(station.next_timeout(), Some(late + BEAT));

    // Where it was away for whole periods nobody can tell it from one that was not.
    let (mut jumped, mut stepped) = (begin(), begin());
    let late = jumped.now() + BEAT * stepped_over;
    jumped.timeout(late);
    assert_eq!(jumped.flush(late, usize::MAX).len(), 1, "one sign of life");
    assert_eq!(stepped.run_reading(late).len(), stepped_over as usize);
    assert_eq!(digest(jumped.connection()), digest(stepped.connection()));
    let until = late + 3 * BEAT;
    assert_eq!(jumped.run_reading(until), stepped.run_reading(until));
}

/// A tunnel with one stream, whose peer is silent and may be.
fn tunnel(role: Role) -> End {
    let config = TunnelConfig { silence: Duration::MAX, may_peer_dial: true, ..TunnelConfig::new(role) };
    let mut end = End::new(config, Limits::default());
    end.accept(2);
    end.sent.clear();
    end.notices.clear();
    end
}

/// What it has done since the last look: signs of life, the streams that it has listed, and what it has told.
fn look(end: &mut End) -> (usize, Vec<Content>, Vec<TunnelNotice>) {
    let said = end.sent.drain(..).map(|message| message.content).collect();
    (std::mem::take(&mut end.pings), said, std::mem::take(&mut end.notices))
}

fn tunnel_collapses(role: Role, minutes: u64, extra: u64, stepped_over: u64) {
    let is_client = usize::from(role == Role::Client);
    let span = Duration::from_secs(60 * minutes);
    let stepped_span = Duration::from_secs(60 * stepped_over);
    let list = || vec![Content::sync([2].into_iter()); is_client];

    let mut end = tunnel(role);
    end.sleep(span + Duration::from_micros(extra));
    assert_eq!(look(&mut end), (is_client, list(), vec![TunnelNotice::Quiet]));
    let next = (role == Role::Client).then(|| end.now + Duration::from_secs(5));
    assert_eq!(end.machine.next_timeout(), next);

    let (mut jumped, mut stepped) = (tunnel(role), tunnel(role));
    jumped.sleep(stepped_span);
    stepped.pass(stepped_span);
    assert_eq!(look(&mut jumped), (is_client, list(), vec![TunnelNotice::Quiet]));
    let (pings, lists, notices) = look(&mut stepped);
    let expected = (12 * stepped_over as usize * is_client, stepped_over as usize * is_client);
    assert_eq!((pings, lists.len(), notices), (expected.0, expected.1, vec![TunnelNotice::Quiet]));
    for end in [&mut jumped, &mut stepped] {
        end.pass(Duration::from_secs(200));
    }
    assert_eq!(look(&mut jumped), look(&mut stepped));
    assert_eq!(jumped.machine.next_timeout(), stepped.machine.next_timeout());
}

/// Found by the fuzz target `im_client`, in the harness: it took the time of an early call for the machine's own.
#[test]
fn a_clock_that_goes_back_behind_an_early_call_is_no_spin() {
    let limits = Limits { heartbeat: None, silence: None, ..Limits::default() };
    let mut station = open(im::Client::new("k"), limits);
    let start = station.now();
    station.timeout(start + 3 * BEAT);
    let call = im::ClientCommand::Call { operation: "a".into(), function: "F".into(), data: "{}".into() };
    station.command(start, call);
    station.timeout(start + Duration::from_secs(5));
    assert_eq!(
        station.next_timeout(),
        Some(start + Duration::from_secs(10)),
        "what it says is to leave by then"
    );
}
