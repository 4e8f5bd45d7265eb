//! The send queue: policies, conservation, back-pressure.

use linkspan_core::pomelo::ServerCommand;
use linkspan_core::{CloseReason, Limits, Mark, Overflow, Push};
use linkspan_tests::harness::bench::{Bench, DATA, HEARTBEAT, request, response};
use linkspan_tests::harness::{Random, package};
use std::time::Duration;

/// Room for four small frames.
fn small() -> Bench {
    Bench::new(Default::default(), Limits { send_queue_bytes: 1024, ..Limits::default() }).working()
}

#[test]
fn close_ends_a_slow_consumer() {
    let mut bench = small();
    for _ in 0..4 {
        bench.push("a", "x", Overflow::Close);
    }
    assert_eq!(bench.closed(), None);
    bench.push("a", "x", Overflow::Close);
    assert_eq!(bench.closed(), Some(CloseReason::SlowConsumer));
    assert_eq!(bench.hear().len(), 4, "what is queued still goes");
}

#[test]
fn drop_newest_keeps_what_waits() {
    let mut bench = small();
    for body in ["1", "2", "3", "4", "5", "6"] {
        bench.push("a", body, Overflow::DropNewest);
    }
    let bodies: Vec<_> = bench.hear().into_iter().map(|(_, body)| body[body.len() - 1]).collect();
    assert_eq!(bodies, b"1234");
    assert_eq!(bench.marked(Mark::PushDropped), 2);
}

#[test]
fn drop_oldest_keeps_what_is_new() {
    let mut bench = small();
    for body in ["1", "2", "3", "4", "5", "6"] {
        bench.push("a", body, Overflow::DropOldest);
    }
    let bodies: Vec<_> = bench.hear().into_iter().map(|(_, body)| body[body.len() - 1]).collect();
    assert_eq!(bodies, b"3456");
    assert_eq!(bench.marked(Mark::OldestDropped), 2);
}

#[test]
fn what_must_not_be_dropped_is_never_dropped() {
    let mut bench = small();
    for body in ["1", "2", "3", "4"] {
        bench.push("a", body, Overflow::Close);
    }
    bench.push("a", "new", Overflow::DropOldest);
    assert_eq!(bench.marked(Mark::PushDropped), 1, "nothing may make room");
    let bodies: Vec<_> = bench.hear().into_iter().map(|(_, body)| body[body.len() - 1]).collect();
    assert_eq!(bodies, b"1234");
}

#[test]
fn an_answer_is_never_dropped_silently() {
    let mut bench = small();
    let ticket = bench.request(&[1], "a", b"");
    for _ in 0..4 {
        bench.push("a", "x", Overflow::DropOldest);
    }
    bench.reply(ticket, b"answer");
    assert_eq!(bench.closed(), Some(CloseReason::SlowConsumer));
}

/// Large messages for small ones: the queue keeps its bound in bytes (the harness checks it after every step).
#[test]
fn drop_oldest_keeps_the_bound_in_bytes() {
    let limits = Limits { send_queue_bytes: 16 * 1024, send_max: 100_000, ..Limits::default() };
    let mut bench = Bench::new(Default::default(), limits).working();
    for _ in 0..64 {
        bench.push("a", "x", Overflow::DropOldest);
    }
    for _ in 0..64 {
        bench.push("a", vec![0; 90_000], Overflow::DropOldest);
    }
    assert!(bench.marked(Mark::PushDropped) > 50);
    assert_eq!(bench.closed(), None);
}

/// Pushes to a slow peer may be dropped; its heartbeats must not end it, and must not pile up without bound either.
#[test]
fn a_heartbeat_behind_a_full_queue_does_not_end_a_connection_that_drops() {
    let limits = Limits {
        send_queue_bytes: 1024,
        send_max: 1000,
        write_timeout: Duration::from_secs(1000),
        ..Limits::default()
    };
    let mut bench = Bench::new(Default::default(), limits).working();
    for _ in 0..10 {
        bench.push("a", "x", Overflow::DropNewest);
    }
    for _ in 0..30 {
        bench.wait(Duration::from_secs(30));
        bench.say(HEARTBEAT, b"");
    }
    assert_eq!(bench.closed(), None);
    let heartbeats = bench.hear().iter().filter(|(kind, _)| *kind == HEARTBEAT).count();
    assert!((1..=4).contains(&heartbeats), "{heartbeats}");
}

#[test]
fn reading_stops_at_half_of_the_queue_and_goes_on_below() {
    let mut bench = small();
    bench.push("a", "x", Overflow::Close);
    assert!(bench.station.connection().wants_read());
    bench.push("a", "x", Overflow::Close);
    assert!(!bench.station.connection().wants_read());
    assert!(!bench.station.connection().has_room());
    assert_eq!(bench.marked(Mark::ReadPaused), 1);
    bench.push("a", "x", Overflow::Close);
    assert_eq!(bench.marked(Mark::ReadPaused), 1, "one pause");
    bench.station.flush(bench.now, 2);
    assert!(bench.station.connection().wants_read());
}

/// Whatever the policies and the pace: enqueued = sent + dropped + waiting, every loss is counted, and what arrives is
/// in order (C8).
#[test]
fn the_books_of_the_queue_balance() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut bench = small();
        let (mut offered, mut got, mut last) = (0_u64, 0_u64, -1_i64);
        for number in 0..500_i64 {
            let overflow = [Overflow::DropNewest, Overflow::DropOldest][random.below(2)];
            bench.deliver(Push::new("n", number.to_be_bytes().to_vec(), overflow));
            offered += 1;
            if random.once_in(3) {
                let count = random.below(6);
                for frame in bench.station.flush(bench.now, count) {
                    let body = frame.into_bytes();
                    let number = i64::from_be_bytes(body[body.len() - 8..].try_into().expect("eight bytes"));
                    assert!(number > last, "out of order");
                    last = number;
                    got += 1;
                }
            }
        }
        let waiting = bench.station.waiting() as u64;
        assert_eq!(bench.station.enqueued, bench.station.sent + bench.station.dropped + waiting);
        assert_eq!(bench.station.dropped, bench.marked(Mark::OldestDropped));
        assert_eq!(
            offered,
            got + waiting + bench.marked(Mark::OldestDropped) + bench.marked(Mark::PushDropped)
        );
        assert_eq!(bench.closed(), None);
    }
}

/// One piece of input can bring many requests: those beyond the limit wait unread, and none is lost.
#[test]
fn requests_beyond_the_limit_wait_and_keep_their_order() {
    let limits = Limits { pending_requests: 2, ..Limits::default() };
    let mut bench = Bench::new(Default::default(), limits).working();
    let all: Vec<u8> = (1..=50).flat_map(|id| package(DATA, &request(&[id], "a", &[id]))).collect();
    bench.bytes(all);
    let mut answered = Vec::new();
    while answered.len() < 50 {
        let notices = bench.station.notices();
        assert!(notices.len() <= 2, "never more than the limit wait");
        assert!(!notices.is_empty());
        for notice in notices {
            let linkspan_core::pomelo::ServerNotice::Request { ticket, body, .. } = notice else {
                panic!("{notice:?}")
            };
            answered.push(body[0]);
            bench.command(ServerCommand::Answer { ticket, body });
        }
    }
    assert_eq!(answered, (1..=50).collect::<Vec<u8>>());
    let heard = bench.hear();
    assert_eq!(heard.len(), 50);
    assert_eq!(heard[49], (DATA, response(&[50], &[50]).into()));
    assert!(bench.station.connection().wants_read());
}
