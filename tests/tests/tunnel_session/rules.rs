//! Rule by rule.

use super::*;
use linkspan_core::Violation;
use linkspan_core::tunnel::ClientSession;

#[test]
fn a_server_dials_from_two_and_a_client_below_zero() {
    let [mut server, mut client] = [Role::Server, Role::Client].map(End::role);
    for end in [&mut server, &mut client] {
        end.dial();
        end.dial();
    }
    let wires = |end: &End| end.sent.iter().map(|message| message.stream).collect::<Vec<_>>();
    assert_eq!((wires(&server), wires(&client)), (vec![2, 3], vec![-1, -2]));
}

#[test]
fn an_error_is_echoed_once_and_data_comes_before_the_end() {
    let mut end = End::role(Role::Client);
    end.accept(2);
    end.receive(2, Content::Data(text("hello")));
    for error in ["reset", "EOF", "again"] {
        end.receive(2, Content::Error(text(error)));
    }
    assert_eq!(end.errors(2), [text("reset")]);
    assert!(matches!(&end.notices[1], TunnelNotice::Data { body, .. } if body == "hello"));
    assert_eq!(ended(&end), [&StreamEnd::Error(text("reset"))]);
}

#[test]
fn a_close_sends_what_waits_and_one_error() {
    let mut end = End::role(Role::Client);
    let stream = end.accept(2);
    end.receive(2, Content::Pause);
    end.command(TunnelCommand::Data { stream, body: text("bye") });
    end.command(TunnelCommand::Close(stream));
    assert!(end.sent.is_empty());
    end.receive(2, Content::Resume);
    let contents: Vec<_> = end.sent.iter().map(|message| &message.content).collect();
    assert_eq!(
        contents,
        [&Content::Resume, &Content::Data(text("bye")), &Content::Error(text("EOF"))],
        "the resume wakes an original's writer"
    );
    end.receive(2, Content::Data(text("late")));
    end.receive(2, Content::Error(text("EOF")));
    assert_eq!((end.sent.len(), ended(&end).len()), (3, 1));
}

/// It takes our asking as leave to send, and sends whatever it has until it is told otherwise.
#[test]
fn an_original_that_was_asked_to_go_on_is_paused_like_any_other() {
    let limits = Limits { tunnel_stream_pause: 4096, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    let stream = end.accept(2);
    let body = Bytes::from_static(&[0; 8192]);
    let said = |end: &End, content| end.sent.iter().filter(|message| message.content == content).count();
    end.receive(2, Content::Pause);
    end.receive(2, Content::Data(body.clone()));
    assert_eq!(said(&end, Content::Pause), 0, "it holds back itself");
    end.command(TunnelCommand::Read { stream, cost: linkspan_core::tunnel::data_cost(&body) });
    assert_eq!(said(&end, Content::Resume), 0);
    end.wait(Duration::from_millis(6));
    assert_eq!(said(&end, Content::Resume), 1);
    end.receive(2, Content::Data(body.clone()));
    assert_eq!(said(&end, Content::Pause), 1);
    end.receive(2, Content::Data(body));
    assert_eq!(said(&end, Content::Pause), 1);
}

/// Its flag was cleared by a resume of ours that was on its way when it paused: it does not know that it has paused us.
#[test]
fn an_original_that_writes_on_behind_its_own_pause_is_paused() {
    let limits = Limits { tunnel_stream_pause: 4096, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    end.accept(2);
    for (at, paused) in [(0, 0), (1, 1), (2, 1)] {
        if at == 0 {
            end.receive(2, Content::Pause);
        }
        end.receive(2, Content::Data(Bytes::from_static(&[0; 8192])));
        let said = end.sent.iter().filter(|message| message.content == Content::Pause).count();
        assert_eq!(said, paused, "after message {at}");
    }
}

#[test]
fn data_for_nobody_is_answered_once() {
    let mut end = End::role(Role::Client);
    for _ in 0..3 {
        end.receive(5, Content::Data(text("x")));
        end.receive(6, Content::Error(text("x")));
        end.receive(7, Content::Pause);
        end.receive(7, Content::Resume);
    }
    assert_eq!(end.sent.len(), 1);
    assert_eq!(end.errors(5), [text("connection not found client/0/5")]);
}

#[test]
fn a_number_that_is_taken_is_refused_and_its_stream_lives() {
    let mut end = End::role(Role::Client);
    end.accept(2);
    end.receive(2, connect());
    assert_eq!(end.marks, [Mark::StreamRefused]);
    end.receive(2, Content::Data(text("x")));
    assert!(end.errors(2).is_empty());
    assert!(matches!(end.notices.last(), Some(TunnelNotice::Data { .. })));
}

#[test]
fn refusals_end_the_stream_and_not_the_session() {
    let mut server = End::role(Role::Server);
    server.receive(1, connect());
    assert_eq!(server.errors(1), [text("connect not allowed")]);
    let mut client = End::new(
        TunnelConfig::new(Role::Client),
        Limits { tunnel_streams: 3, tunnel_dials: 2, ..Limits::default() },
    );
    for wire in 2..5 {
        client.receive(wire, connect());
    }
    assert_eq!(client.errors(4), [text("too many pending dials")]);
    let Some(TunnelNotice::DialRequested { stream, .. }) = client.notices.first().cloned() else { panic!() };
    client.command(TunnelCommand::DialFailed { stream, error: text("refused") });
    assert_eq!(client.errors(2), [text("refused")]);
    client.wait(Duration::from_secs(61));
    assert_eq!(client.errors(3), [text("dial timeout")]);
    assert_eq!(ended(&client), [&StreamEnd::Finished, &StreamEnd::DialTimeout]);
    assert_eq!((server.closed, client.closed, client.machine.dialect().streams()), (None, None, 0));
}

#[test]
fn a_stale_stream_goes_with_a_list_and_a_young_one_stays() {
    let mut server = End::role(Role::Server);
    server.dial();
    server.receive(0, Content::sync([].into_iter()));
    server.receive(0, Content::sync([].into_iter()));
    assert!(ended(&server).is_empty(), "too young");
    server.wait(Duration::from_secs(11));
    server.receive(0, Content::sync([9, 2, 5].into_iter()));
    assert!(ended(&server).is_empty(), "listed, in any order");
    server.receive(2, Content::Data(text("x")));
    server.receive(0, Content::sync([].into_iter()));
    assert!(ended(&server).is_empty(), "heard from just now");
    server.receive(0, Content::sync([].into_iter()));
    assert_eq!(ended(&server), [&StreamEnd::Stale]);
    assert_eq!(server.errors(2), [text("missing in your list")]);
    server.receive(2, Content::Data(text("late")));
    assert_eq!(server.errors(2).len(), 1, "it was told");
}

/// The peer was frozen: its list is from before our dial, and comes long after it. Unless it is told, it dials, and keeps
/// for ever what nobody here knows.
#[test]
fn a_dial_that_comes_behind_the_list_that_ended_it_leaves_nothing_at_the_peer() {
    for writes in [false, true] {
        let [mut server, mut client] = [Role::Server, Role::Client].map(End::role);
        let stream = server.dial();
        if writes {
            server.command(TunnelCommand::Data { stream, body: text("hello") });
        }
        server.wait(Duration::from_secs(11));
        server.receive(0, Content::sync([].into_iter()));
        assert_eq!(ended(&server), [&StreamEnd::Stale]);
        for message in std::mem::take(&mut server.sent) {
            client.receive(message.stream, message.content);
        }
        assert_eq!(ended(&client), [&StreamEnd::Error(text("missing in your list"))]);
        if let Some(TunnelNotice::Data { stream, body }) = client.notices.get(1).cloned() {
            let cost = linkspan_core::tunnel::data_cost(&body);
            client.command(TunnelCommand::Read { stream, cost });
        }
        assert_eq!((client.machine.dialect().streams(), client.machine.dialect().held()), (0, 0));
        // What it sends before it hears of the end is answered by nothing more, and so is the end.
        server.receive(2, Content::Data(text("late")));
        for message in std::mem::take(&mut client.sent) {
            server.receive(message.stream, message.content);
        }
        assert_eq!((server.sent.len(), server.closed, client.closed), (0, None, None));
    }
}

#[test]
fn the_recorded_lists_end_what_they_ended_there() {
    let cases = linkspan_tests::vectors::load("tunnel/sync-diff.json");
    for case in cases["vectors"].as_array().expect("a list") {
        let ids = |field: &str| -> Vec<i64> {
            case[field].as_array().expect("ids").iter().map(|id| id.as_i64().expect("an id")).collect()
        };
        let mut end = End::role(Role::Client);
        for wire in ids("Server") {
            end.accept(wire);
        }
        end.wait(Duration::from_secs(11));
        end.receive(0, Content::sync(ids("Client").into_iter()));
        // The original merges as if both were sorted; ours takes any order.
        let is_sorted = ids("Client").is_sorted();
        let expected = if is_sorted { ids("Closed").len() } else { 0 };
        assert_eq!(ended(&end).len(), expected, "{case}");
    }
}

#[test]
fn the_client_lists_its_streams_and_pings() {
    let mut client = End::role(Role::Client);
    client.accept(5);
    client.dial();
    client.sent.clear();
    client.wait(Duration::from_secs(60));
    let lists: Vec<_> = client.sent.iter().map(|message| message.content.clone()).collect();
    assert_eq!(lists, [Content::sync([-1, 5].into_iter())]);
    assert_eq!(client.pings, 12);
    let mut server = End::role(Role::Server);
    server.receive(3, Content::Unknown(9));
    server.pass(Duration::from_secs(59));
    server.receive(3, Content::Unknown(9));
    server.pass(Duration::from_secs(1));
    assert_eq!(server.closed, Some(CloseReason::HeartbeatTimeout), "messages are no sign of life");
    assert_eq!((server.pings, server.marks[0]), (0, Mark::MessageIgnored));
}

#[test]
fn announcements_go_up_and_malformed_ones_are_counted() {
    let config = TunnelConfig { may_peer_announce: true, ..TunnelConfig::new(Role::Server) };
    let mut end = End::new(config, Limits::default());
    let session = ClientSession { client: text("foo"), session: 5 };
    end.receive(0, Content::add_client(&session).expect("sayable"));
    end.receive(0, Content::remove_client(&session).expect("sayable"));
    assert_eq!(
        end.notices,
        [TunnelNotice::ClientAdded(session.clone()), TunnelNotice::ClientRemoved(session)]
    );
    end.event(Event::Received(Opcode::Binary, Bytes::from_static(b"\x02\x00\x08foo")));
    assert_eq!((&end.marks[..], end.closed), (&[Mark::BadMessageIgnored][..], None));
}

#[test]
fn what_cannot_be_read_ends_the_session() {
    let inputs = [(Opcode::Binary, &b""[..]), (Opcode::Binary, b"\x02"), (Opcode::Text, b"hello")];
    for (opcode, data) in inputs {
        let mut end = End::role(Role::Server);
        end.event(Event::Received(opcode, Bytes::from_static(data)));
        assert_eq!(end.closed, Some(Violation::MessageInvalid.into()), "{data:?}");
    }
}

#[test]
fn a_reader_that_never_reads_pauses_its_peer_and_loses_only_its_stream() {
    let mut end = End::role(Role::Client);
    end.accept(2);
    end.accept(3);
    let body = Bytes::from(vec![1; 32 * 1024]);
    for _ in 0..2100 {
        end.receive(2, Content::Data(body.clone()));
    }
    let pauses = end.sent.iter().filter(|message| message.content == Content::Pause).count();
    assert_eq!((pauses, end.errors(2)), (1, vec![text("receive buffer full")]));
    assert_eq!(end.marks, [Mark::StreamOverflow]);
    end.receive(3, Content::Data(body));
    assert_eq!(
        (end.closed, end.machine.dialect().streams(), end.machine.dialect().held()),
        (None, 1, 32 * 1024)
    );
}

#[test]
fn a_pause_for_ever_ends_the_stream() {
    let mut config = TunnelConfig::new(Role::Client);
    config.is_peer_ours = true;
    let mut end = End::new(config, Limits::default());
    let stream = end.accept(2);
    end.receive(2, Content::Pause);
    end.command(TunnelCommand::Data { stream, body: text("x") });
    end.wait(Duration::from_secs(601));
    assert_eq!((end.errors(2), ended(&end)), (vec![text("no progress")], vec![&StreamEnd::Stalled]));
}

/// A pause holds nothing back as long as nothing is written: who was quiet for long gets as long as everybody else.
#[test]
fn a_pause_counts_from_when_something_waits_for_its_end() {
    let config = TunnelConfig { is_peer_ours: true, ..TunnelConfig::new(Role::Client) };
    let mut end = End::new(config, Limits::default());
    let stream = end.accept(2);
    end.receive(2, Content::Pause);
    end.wait(Duration::from_secs(601));
    end.command(TunnelCommand::Data { stream, body: text("x") });
    end.wait(Duration::from_secs(599));
    assert!(ended(&end).is_empty());
    end.wait(Duration::from_secs(1));
    assert_eq!(ended(&end), [&StreamEnd::Stalled]);
}

#[test]
fn streams_share_the_connection_and_control_goes_first() {
    let mut end = End::role(Role::Client);
    end.flush_at_once = false;
    let streams = [2, 3, 4].map(|wire| end.accept(wire));
    for stream in streams {
        end.command(TunnelCommand::Data { stream, body: vec![0; 1 << 20].into() });
    }
    end.receive(9, Content::Data(text("x")));
    assert!(
        end.sent.len() <= 5 && end.sent.last().is_some_and(|last| last.stream == 9),
        "{}",
        end.sent.len()
    );
    for _ in 0..20 {
        let flushed = std::mem::take(&mut end.unflushed);
        end.event(Event::Flushed(flushed));
    }
    for wire in 2..5 {
        let bodies = end.sent.iter().filter(|message| message.stream == wire).count();
        assert!((20..=32).contains(&bodies), "stream {wire} sent {bodies}");
    }
}
