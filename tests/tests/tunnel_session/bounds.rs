//! Bounds of a session that an operator can set, at values of their own.

use super::*;
use linkspan_core::Violation;

#[test]
fn so_many_malformed_announcements_as_the_limit_says() {
    for most in [1, 3] {
        let config = TunnelConfig { may_peer_announce: true, ..TunnelConfig::new(Role::Server) };
        let mut end = End::new(config, Limits { tunnel_malformed: most, ..Limits::default() });
        let malformed = || Event::Received(Opcode::Binary, Bytes::from_static(b"\x02\x00\x08foo"));
        for _ in 0..most {
            end.event(malformed());
            assert_eq!(end.closed, None);
        }
        end.event(malformed());
        assert_eq!(end.closed, Some(Violation::MessageInvalid.into()));
        assert_eq!(end.marks, vec![Mark::BadMessageIgnored; most as usize + 1]);
    }
}

/// No more stream data is in the send queue than a control message may have to wait for, and one piece in any case.
#[test]
fn a_control_message_waits_for_no_more_than_the_window() {
    const PIECE: usize = 32 * 1024;
    for (window, pieces) in [(1, 1), (PIECE as u32, 1), (2 * PIECE as u32, 1), (3 * PIECE as u32, 2)] {
        let limits = Limits { tunnel_window: window, ..Limits::default() };
        let mut end = End::new(TunnelConfig::new(Role::Client), limits);
        let bulk = end.accept(2);
        end.flush_at_once = false;
        let before = end.sent.len();
        end.command(TunnelCommand::Data { stream: bulk, body: Bytes::from(vec![7; 10 * PIECE]) });
        let data = |end: &End| {
            let data = |message: &&Message| matches!(message.content, Content::Data(_));
            end.sent[before..].iter().filter(data).count()
        };
        assert_eq!(data(&end), pieces, "{window} bytes");
        // A refusal goes out at once, behind them.
        end.receive(9, Content::Data(text("for nobody")));
        assert!(matches!(end.sent.last().expect("it answers").content, Content::Error(_)), "{window}");
        // What has left makes room for as much again, to the end.
        for round in 1..=10 {
            let flushed = std::mem::take(&mut end.unflushed);
            end.event(Event::Flushed(flushed));
            assert_eq!(data(&end), (pieces * (round + 1)).min(10), "{window} bytes, round {round}");
        }
    }
}

#[test]
fn a_dial_that_nobody_answers_ends_in_its_time() {
    let limits = Limits { tunnel_dial_timeout: Duration::from_secs(7), ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    end.receive(2, connect());
    end.wait(Duration::from_millis(6_999));
    assert_eq!(ended(&end), Vec::<&StreamEnd>::new());
    end.wait(Duration::from_millis(1));
    assert_eq!((ended(&end), end.errors(2).len(), end.closed), (vec![&StreamEnd::DialTimeout], 1, None));
}

#[test]
fn a_reader_that_holds_back_for_too_long_loses_its_stream() {
    let limits = Limits { tunnel_stall_timeout: Duration::from_secs(9), ..Limits::default() };
    let config = TunnelConfig { is_peer_ours: true, ..TunnelConfig::new(Role::Client) };
    let mut end = End::new(config, limits);
    let stream = end.accept(2);
    end.receive(2, Content::Pause);
    end.command(TunnelCommand::Data { stream, body: text("x") });
    end.wait(Duration::from_millis(8_999));
    assert_eq!(ended(&end), Vec::<&StreamEnd>::new());
    end.wait(Duration::from_millis(1));
    assert_eq!((ended(&end), end.errors(2)), (vec![&StreamEnd::Stalled], vec![text("no progress")]));
}

/// A place for a dial is free again however the dial ends, and only once.
#[test]
fn as_many_dials_are_open_as_may_be_whatever_became_of_others() {
    let limits = Limits { tunnel_dials: 2, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    end.receive(2, connect());
    end.receive(3, connect());
    end.receive(4, connect());
    assert_eq!(end.marks, [Mark::StreamRefused], "two at a time");
    // One is given up by the peer, and then told again.
    end.receive(2, Content::Error(text("never mind")));
    end.receive(2, Content::Error(text("never mind")));
    let third = end.accept(5);
    end.receive(6, connect());
    end.receive(7, connect());
    assert_eq!(end.marks, [Mark::StreamRefused; 2], "one of wire 3, one of wire 6");
    // An open stream that ends gives no place back.
    end.command(TunnelCommand::Dialed(third));
    end.receive(5, Content::Error(text("EOF")));
    end.receive(8, connect());
    assert_eq!((end.marks.len(), end.closed), (3, None));
}

#[test]
fn a_stream_holds_as_much_as_it_may_and_not_a_byte_more() {
    let limits = Limits { tunnel_stream_pause: 1024, tunnel_stream_bytes: 4096, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    // What is unread.
    end.accept(2);
    for _ in 0..4 {
        end.receive(2, Content::Data(Bytes::from(vec![1; 1024])));
    }
    assert_eq!((end.errors(2), end.machine.dialect().held()), (vec![], 4096));
    end.receive(2, Content::Data(text("x")));
    assert_eq!(end.errors(2), [text("receive buffer full")]);
    // What is unsent.
    let stream = end.accept(3);
    end.receive(3, Content::Pause);
    end.command(TunnelCommand::Data { stream, body: Bytes::from(vec![1; 4096]) });
    assert_eq!(end.errors(3), Vec::<Bytes>::new());
    end.command(TunnelCommand::Data { stream, body: text("x") });
    assert_eq!(end.errors(3), [text("write buffer full")]);
    assert_eq!((end.marks.clone(), end.closed), (vec![Mark::StreamOverflow; 2], None));
}

#[test]
fn a_message_above_the_limit_ends_the_session() {
    let message = Message { id: 1, stream: 2, content: connect() }.encode().expect("sayable").into_bytes();
    for (most, closed) in
        [(message.len(), None), (message.len() - 1, Some(Violation::PackageTooLarge.into()))]
    {
        let limits = Limits { tunnel_receive_max: most as u32, ..Limits::default() };
        let mut end = End::new(TunnelConfig::new(Role::Client), limits);
        end.event(Event::Received(Opcode::Binary, message.clone()));
        assert_eq!(end.closed, closed, "{most} bytes");
    }
}

/// What two streams, whose peer reads neither, end with after the application has written these bodies to them.
fn after_writing(limits: &Limits, bodies: &[(usize, usize)]) -> usize {
    let mut end = End::new(TunnelConfig::new(Role::Client), limits.clone());
    let streams = [2, 4].map(|wire| {
        let stream = end.accept(wire);
        end.receive(wire, Content::Pause);
        stream
    });
    for (at, len) in bodies {
        let body = Bytes::from(vec![7; *len]);
        end.command(TunnelCommand::Data { stream: streams[*at], body });
    }
    assert!(ended(&end).iter().all(|end| **end == StreamEnd::Overflow), "{:?}", end.notices);
    ended(&end).len()
}

#[test]
fn a_stream_and_a_session_can_be_filled_to_the_byte() {
    let limits = Limits {
        tunnel_stream_bytes: 100_000,
        tunnel_stream_pause: 100_000,
        tunnel_session_bytes: 150_000,
        ..Limits::default()
    };
    assert_eq!(after_writing(&limits, &[(0, 60_000), (0, 40_000)]), 0);
    assert_eq!(after_writing(&limits, &[(0, 60_000), (0, 40_001)]), 1);
    assert_eq!(after_writing(&limits, &[(0, 100_000), (1, 50_000)]), 0);
    assert_eq!(after_writing(&limits, &[(0, 100_000), (1, 50_001)]), 1);
    // Each body counts something beside its bytes, however small it is.
    let small = 100_001 / (linkspan_core::Frame::COST_MIN as usize + 1);
    assert_eq!(after_writing(&limits, &vec![(0, 1); small]), 0);
    assert_eq!(after_writing(&limits, &vec![(0, 1); small + 1]), 1);

    // The other way, with a peer that does not count: it is over once it sends more than fits.
    let reading = |bodies: &[(i64, usize)]| {
        let mut end = End::new(TunnelConfig::new(Role::Client), limits.clone());
        [2, 4].into_iter().for_each(|wire| _ = end.accept(wire));
        for (wire, len) in bodies {
            end.receive(*wire, Content::Data(Bytes::from(vec![7; *len])));
        }
        let held = |wire| end.errors(wire).is_empty();
        (held(2), held(4))
    };
    assert_eq!(reading(&[(2, 50_000), (2, 50_000)]), (true, true));
    assert_eq!(reading(&[(2, 50_000), (2, 50_001)]), (false, true));
    assert_eq!(reading(&[(2, 50_000), (2, 50_000), (4, 50_000)]), (true, true));
    // The stream of which most is unread makes room.
    assert_eq!(reading(&[(2, 50_000), (2, 50_000), (4, 50_001)]), (false, true));
}

#[test]
fn a_pause_stalls_nothing_where_nothing_waits() {
    let limits = Limits { tunnel_stall_timeout: Duration::from_secs(9), ..Limits::default() };
    let mut end = End::new(TunnelConfig { is_peer_ours: true, ..TunnelConfig::new(Role::Client) }, limits);
    let stream = end.accept(2);
    end.receive(2, Content::Pause);
    end.wait(Duration::from_secs(60));
    assert!(ended(&end).is_empty() && end.errors(2).is_empty());
    end.command(TunnelCommand::Data { stream, body: text("x") });
    end.wait(Duration::from_secs(60));
    assert_eq!(ended(&end), [&StreamEnd::Stalled]);
}

/// A push of the hub has nobody to go to, and an application reports what it has read in steps that the peer can wait for.
#[test]
fn a_push_goes_nowhere_and_reading_is_reported_in_steps() {
    let mut end = End::role(Role::Client);
    let push = linkspan_core::Push::new("onNews", "x", linkspan_core::Overflow::Close);
    end.event(Event::Delivered(linkspan_core::Delivery::Push(push)));
    assert_eq!((end.marks, end.sent.len(), end.closed), (vec![Mark::PushRefused], 0, None));

    let limits = Limits { tunnel_stream_pause: 16_000, ..Limits::default() };
    let plain = TunnelConfig::new(Role::Client);
    let counting = TunnelConfig { peer_window: Some(1), ..plain.clone() };
    assert_eq!(plain.report_step(&limits), 1_000);
    assert_eq!(counting.report_step(&limits), limits.tunnel_first_window() / 4);
    assert_eq!(plain.report_step(&Limits { tunnel_stream_pause: 1, ..limits }), 1);
}
