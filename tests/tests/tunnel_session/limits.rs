//! What a peer may not do for ever, and what it is told.

use super::*;
use linkspan_core::tunnel::{ClientSession, StreamEnd, client_key, forward_proto, split_forwarded};
use linkspan_core::{Machine, Violation};

/// Found by reading: a window of data was larger than the whole send queue, and the session ended by its own hand.
#[test]
fn a_small_send_queue_is_not_filled_with_data() {
    for (send_queue_bytes, peer_window) in [(64 << 10, None), (192 << 10, Some(1 << 20))] {
        let limits = Limits { send_queue_bytes, ..Limits::default() };
        let is_peer_ours = peer_window.is_some();
        let config = TunnelConfig { is_peer_ours, peer_window, ..TunnelConfig::new(Role::Client) };
        let mut end = End::new(config, limits);
        let stream = end.accept(2);
        end.flush_at_once = false;
        end.command(TunnelCommand::Data { stream, body: vec![1; 600 << 10].into() });
        end.receive(9, Content::Data(text("for nobody")));
        assert_eq!(end.closed, None);
        let sent = |end: &End| {
            let bodies = end.sent.iter().filter_map(|one| match &one.content {
                Content::Data(body) => Some(body.len()),
                _ => None,
            });
            bodies.sum::<usize>()
        };
        while end.unflushed.cost > 0 {
            let flushed = std::mem::take(&mut end.unflushed);
            end.event(Event::Flushed(flushed));
        }
        assert_eq!((end.closed, sent(&end)), (None, 600 << 10));
    }
}

/// Found by reading: the limit of other dialects' messages is a byte or two short of a whole window.
#[test]
fn a_message_may_be_as_large_as_tunnels_allow() {
    let peer_window = Some(1 << 20);
    let base = TunnelConfig::new(Role::Client);
    let mut end = End::new(TunnelConfig { is_peer_ours: true, peer_window, ..base }, Limits::default());
    end.accept(2);
    end.receive(2, Content::Data(vec![1; 64 << 10].into()));
    assert_eq!(end.closed, None);
}

/// A place in the line is not kept for who is over.
#[test]
fn who_is_over_does_not_stand_in_line() {
    let limits = Limits { tunnel_connects_per_second: 0, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    let bulk = end.accept(2);
    end.flush_at_once = false;
    end.command(TunnelCommand::Data { stream: bulk, body: vec![1; 1 << 20].into() });
    let mut largest = 0;
    for round in 0..2_000 {
        let stream = end.accept(4);
        end.command(TunnelCommand::Data { stream, body: text("x") });
        end.receive(4, Content::Error(text("EOF")));
        if round == 100 {
            largest = end.machine.footprint();
        }
        end.sent.clear();
        end.notices.clear();
    }
    assert_eq!(end.closed, None);
    assert!(end.machine.footprint() < largest + 8192, "{largest} and {}", end.machine.footprint());
}

#[test]
fn a_peer_that_falls_silent_is_told_of_and_so_is_its_return() {
    for role in [Role::Server, Role::Client] {
        let mut end = End::role(role);
        end.pass(Duration::from_secs(14));
        end.event(Event::Received(Opcode::Ping, Bytes::new()));
        let heard = end.now;
        assert_eq!(end.machine.dialect().alive_at(), heard);
        end.pass(Duration::from_millis(14_999));
        assert_eq!(end.machine.dialect().alive_at(), heard);
        assert_eq!(end.notices, []);
        end.pass(Duration::from_millis(1));
        assert_eq!(end.notices, [TunnelNotice::Quiet]);
        end.pass(Duration::from_secs(20));
        assert_eq!(end.notices.len(), 1, "once");
        end.receive(9, Content::Pause);
        assert_eq!(end.notices[1..], [TunnelNotice::Lively]);
        end.pass(Duration::from_secs(15));
        assert_eq!(end.notices[2..], [TunnelNotice::Quiet]);
    }
}

#[test]
fn dials_that_come_too_fast_are_refused_one_by_one() {
    let limits = Limits { tunnel_connects_per_second: 10, tunnel_connects_burst: 5, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    for wire in 2..10 {
        end.receive(wire, connect());
    }
    assert_eq!(end.notices.len(), 5);
    assert_eq!(end.marks, [Mark::StreamRate; 3]);
    assert_eq!(end.errors(9), [text("too many dials per second")]);
    end.pass(Duration::from_millis(100));
    end.receive(10, connect());
    end.receive(11, connect());
    assert_eq!((end.notices.len(), end.closed), (6, None), "ten per second");
}

/// A peer that pauses and resumes for nothing costs its stream; one that answers what we send may do so for ever.
#[test]
fn flapping_costs_the_stream_and_not_the_session() {
    let limits = Limits { tunnel_flips: 20, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    let honest = end.accept(2);
    end.accept(3);
    for _ in 0..100 {
        end.command(TunnelCommand::Data { stream: honest, body: text("x") });
        end.receive(2, Content::Pause);
        end.receive(2, Content::Resume);
    }
    for _ in 0..10 {
        end.receive(3, Content::Pause);
        end.receive(3, Content::Resume);
    }
    assert!(end.errors(3).is_empty() && end.marks.is_empty());
    end.receive(3, Content::Pause);
    assert_eq!(end.errors(3), [text("too many pauses")]);
    assert_eq!(end.marks, [Mark::StreamFlapping]);
    let ended =
        |notice: &TunnelNotice| matches!(notice, TunnelNotice::Ended { end: StreamEnd::Flapping, .. });
    assert_eq!((end.notices.iter().filter(|notice| ended(notice)).count(), end.closed), (1, None));
    assert!(end.errors(2).is_empty(), "the other stream lives");
}

#[test]
fn only_who_may_announce_does_and_a_hundred_malformed_ones_are_enough() {
    let add = |text: &'static [u8]| {
        let body = [b"\x02\x00\x08", text].concat();
        Event::Received(Opcode::Binary, body.into())
    };
    let mut stranger = End::role(Role::Server);
    stranger.event(add(b"foo/5"));
    stranger.event(add(b"foo"));
    assert_eq!((&stranger.notices[..], &stranger.marks[..]), (&[][..], &[Mark::MessageIgnored; 2][..]));

    let config = TunnelConfig { may_peer_announce: true, ..TunnelConfig::new(Role::Server) };
    let mut peer = End::new(config, Limits::default());
    for malformed in [&b"foo"[..], b"/1", b"a::b/1", b"a:/1", b"foo/x", b"foo/1/2"].iter().cycle().take(100) {
        peer.event(add(malformed));
        assert_eq!(peer.closed, None, "{malformed:?}");
    }
    assert_eq!(peer.marks, [Mark::BadMessageIgnored; 100]);
    peer.event(add(b"foo/5"));
    assert_eq!(peer.notices.len(), 1, "the good one counts");
    peer.event(add(b"foo"));
    assert_eq!(peer.closed, Some(Violation::MessageInvalid.into()));
}

#[test]
fn a_client_key_is_what_every_peer_reads_back() {
    let long = "k".repeat(80);
    for good in ["foo", "a:b", ":a", "ä", long.as_str()] {
        let key = client_key(good.as_bytes()).expect(good);
        let session = ClientSession { client: Bytes::copy_from_slice(good.as_bytes()), session: i64::MIN };
        let Ok(Content::AddClient(sent)) = Content::add_client(&session) else { panic!("{good}") };
        assert_eq!(ClientSession::read(&sent), Some(session.clone()));
        let proto = forward_proto(&key, b"tcp");
        assert_eq!(split_forwarded(&proto), Some((session.client, Bytes::from_static(b"tcp"))));
    }
    let longer = "k".repeat(81);
    for bad in ["", "a/b", "a::b", "::", "a:", longer.as_str()] {
        let error = client_key(bad.as_bytes()).expect_err(bad);
        assert!(error.to_string().contains("1 to 80 bytes"), "{error}");
        let session = ClientSession { client: Bytes::copy_from_slice(bad.as_bytes()), session: 1 };
        assert!(Content::add_client(&session).is_err(), "{bad}");
    }
    assert_eq!(split_forwarded(&text("tcp")), None);
    assert_eq!(split_forwarded(&text("a::b::tcp")), Some((text("a"), text("b::tcp"))));
}

/// The line is gone with streams open, being dialled, paused and full: nothing that the application still asks for, nor
/// what comes late, is said, told, waited for, or kept beside what goes with the session.
#[test]
fn a_lost_session_does_nothing_more() {
    for role in [Role::Server, Role::Client] {
        let config = TunnelConfig { may_peer_dial: true, ..TunnelConfig::new(role) };
        let mut end = End::new(config, Limits::default());
        let wires = if role == Role::Server { [-5, -6] } else { [5, 6] };
        let streams = wires.map(|wire| end.accept(wire));
        end.dial();
        end.receive(7, connect());
        end.receive(wires[0], Content::Data(Bytes::from(vec![1; 50_000])));
        end.receive(wires[1], Content::Pause);
        end.command(TunnelCommand::Data { stream: streams[1], body: Bytes::from(vec![1; 50_000]) });
        assert_eq!((end.machine.dialect().streams(), end.machine.dialect().held()), (4, 50_000));
        end.event(Event::Closed(CloseReason::ConnectionLost));
        let all = |end: &End| (end.closed, end.sent.len(), end.notices.len(), end.machine.next_timeout());
        let (after, owned) = (all(&end), end.machine.footprint());
        assert_eq!((after.0, after.3), (Some(CloseReason::ConnectionLost), None));
        for stream in streams {
            end.command(TunnelCommand::Data { stream, body: text("late") });
            end.command(TunnelCommand::Read { stream, cost: 50_000 });
            end.command(TunnelCommand::Close(stream));
        }
        let (proto, address) = (text("tcp"), text("127.0.0.1:80"));
        end.command(TunnelCommand::Dial { request: 8, proto, address });
        end.receive(wires[0], Content::Data(text("late")));
        end.pass(Duration::from_secs(700));
        assert_eq!(all(&end), after);
        assert!(end.machine.footprint() <= owned, "{} of {owned} B", end.machine.footprint());
    }
}
