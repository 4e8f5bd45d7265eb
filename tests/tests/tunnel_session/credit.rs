//! Credit between two ends of ours: what may be on its way is bounded, and lies cost the liar its stream.

use super::*;
use linkspan_core::Frame;
use linkspan_core::tunnel::{Hello, StreamEnd};

const FIRST: u32 = 64 << 10;

fn counting(limits: Limits) -> End {
    let config =
        TunnelConfig { is_peer_ours: true, peer_window: Some(FIRST), ..TunnelConfig::new(Role::Client) };
    End::new(config, limits)
}

fn data(len: usize) -> Content {
    Content::Data(vec![7; len].into())
}

fn sent_bytes(end: &End) -> usize {
    let bodies = end.sent.iter().map(|message| match &message.content {
        Content::Data(body) => body.len(),
        _ => 0,
    });
    bodies.sum()
}

fn grants(end: &End, wire: i64) -> Vec<u32> {
    let ours = end.sent.iter().filter(|message| message.stream == wire);
    let grant = |content: &Content| if let Content::Credit(cost) = content { Some(*cost) } else { None };
    ours.filter_map(|message| grant(&message.content)).collect()
}

#[test]
fn no_more_goes_out_than_was_granted() {
    let mut end = counting(Limits::default());
    let stream = end.accept(2);
    for _ in 0..20 {
        end.command(TunnelCommand::Data { stream, body: vec![1; 20_000].into() });
    }
    assert_eq!(sent_bytes(&end), 60_000, "three pieces; the fourth does not fit");
    end.receive(2, Content::Credit(100_000));
    assert_eq!(sent_bytes(&end), 160_000);
    // A larger piece is cut where half of the first window is left.
    let mut end = counting(Limits::default());
    let stream = end.accept(2);
    for len in [20_000, 60_000] {
        end.command(TunnelCommand::Data { stream, body: vec![1; len].into() });
    }
    assert_eq!(sent_bytes(&end), 65_536);
    // Of little credit small pieces take their least cost.
    let mut end = counting(Limits::default());
    let stream = end.accept(2);
    for _ in 0..1000 {
        end.command(TunnelCommand::Data { stream, body: text("x") });
    }
    assert_eq!(sent_bytes(&end), (FIRST / Frame::COST_MIN) as usize);
}

#[test]
fn what_waits_for_credit_too_long_ends_its_stream() {
    let mut end = counting(Limits::default());
    let stream = end.accept(2);
    end.command(TunnelCommand::Data { stream, body: vec![1; 100_000].into() });
    end.wait(Duration::from_secs(500));
    end.receive(2, Content::Credit(33_000));
    end.wait(Duration::from_secs(400));
    assert!(ended(&end).is_empty(), "it moves now and then");
    end.wait(Duration::from_secs(600));
    assert_eq!((end.errors(2), ended(&end)), (vec![text("no progress")], vec![&StreamEnd::Stalled]));
}

#[test]
fn data_beyond_the_credit_costs_the_stream_and_nothing_else() {
    let limits = Limits::default();
    assert_eq!(limits.tunnel_first_window(), FIRST);
    let mut end = counting(limits);
    end.accept(2);
    let other = end.accept(3);
    end.receive(2, data(40_000));
    end.receive(2, data(25_536));
    assert!(end.marks.is_empty(), "just as much as it may");
    end.receive(2, data(1));
    assert_eq!((end.errors(2), ended(&end)), (vec![text("receive buffer full")], vec![&StreamEnd::Overflow]));
    assert_eq!((&end.marks[..], end.closed), (&[Mark::StreamOverflow][..], None));
    end.receive(3, data(10));
    assert_eq!(end.machine.dialect().held(), u64::from(Frame::COST_MIN));
    end.command(TunnelCommand::Read { stream: other, cost: Frame::COST_MIN });
}

#[test]
fn credit_for_nothing_costs_the_stream_that_gets_it() {
    let mut end = counting(Limits::default());
    end.accept(2);
    end.receive(2, Content::Credit(u32::MAX - FIRST));
    assert!(end.marks.is_empty());
    end.receive(2, Content::Credit(256));
    assert_eq!((end.errors(2), ended(&end)), (vec![text("too much credit")], vec![&StreamEnd::Flapping]));
    assert_eq!((&end.marks[..], end.closed), (&[Mark::StreamFlapping][..], None));
    end.receive(2, Content::Credit(256));
    assert_eq!(end.marks.len(), 1, "the stream is gone");
}

#[test]
fn credit_that_is_none_is_ignored_and_counted() {
    let mut original = End::role(Role::Client);
    original.accept(2);
    original.receive(2, Content::Credit(5000));
    assert_eq!(original.marks, [Mark::MessageIgnored]);
    let mut end = counting(Limits::default());
    end.accept(2);
    for cut in [&b"\x02\x04\x20"[..], b"\x02\x04\x20\x02", b"\x02\x04\x20\x80", b"\x02\x04\x20\x01"] {
        end.event(Event::Received(Opcode::Binary, Bytes::copy_from_slice(cut)));
    }
    assert_eq!((&end.marks[..], end.closed), (&[Mark::MessageIgnored; 4][..], None));
}

#[test]
fn reads_are_granted_in_few_messages_and_widen_the_window_up_to_its_limit() {
    let mut end = counting(Limits { tunnel_stream_window: 500_000, ..Limits::default() });
    let stream = end.accept(2);
    let (mut sent, mut windows) = (0, Vec::new());
    // A request of 300 bytes and its like cost no message at all.
    for _ in 0..40 {
        end.receive(2, data(300));
        end.command(TunnelCommand::Read { stream, cost: 300 });
    }
    assert!(grants(&end, 2).is_empty());
    for _ in 0..200 {
        end.receive(2, data(30_000));
        sent += 30_000;
        end.command(TunnelCommand::Read { stream, cost: 30_000 });
    }
    for notice in &end.notices {
        if let TunnelNotice::Window { cost, .. } = notice {
            windows.push(*cost);
        }
    }
    assert_eq!(windows, [4 * FIRST, 500_000]);
    let grants = grants(&end, 2);
    assert!(grants.len() < 2 * sent / 125_000, "{} messages for {sent} bytes", grants.len());
    assert!(ended(&end).is_empty() && end.marks.is_empty());
}

/// What was unread when it ended is read as before, but nothing follows its end.
#[test]
fn the_window_of_a_stream_that_is_over_does_not_grow() {
    let mut end = counting(Limits::default());
    let stream = end.accept(2);
    let half = FIRST / 2;
    end.receive(2, data(half as usize));
    end.command(TunnelCommand::Read { stream, cost: half });
    (0..2).for_each(|_| end.receive(2, data(half as usize)));
    end.receive(2, Content::Error(text("EOF")));
    let told = end.notices.len();
    for left in [1, 0] {
        end.command(TunnelCommand::Read { stream, cost: half });
        assert_eq!((&end.notices[told..], end.machine.dialect().streams()), (&[][..], left));
    }
}

/// Whatever honest peers send, the sum of all streams stays within its limit, and no stream is ended for it.
#[test]
fn all_windows_together_stay_within_the_session() {
    let limits = Limits {
        tunnel_streams: 32,
        tunnel_dials: 32,
        tunnel_session_bytes: 4 << 20,
        tunnel_stream_window: 1 << 20,
        ..Limits::default()
    };
    let mut end = counting(limits.clone());
    let streams: Vec<_> = (2..34).map(|wire| (wire, end.accept(wire))).collect();
    let mut credit = vec![i64::from(limits.tunnel_first_window()); streams.len()];
    for is_read in [true, false] {
        for _ in 0..60 {
            for (at, (wire, stream)) in streams.iter().enumerate() {
                while credit[at] >= 16_000 {
                    end.receive(*wire, data(16_000));
                    credit[at] -= 16_000;
                    if is_read {
                        end.command(TunnelCommand::Read { stream: *stream, cost: 16_000 });
                    }
                }
                credit[at] += grants(&end, *wire).iter().map(|cost| i64::from(*cost)).sum::<i64>();
                end.sent.clear();
            }
        }
    }
    let held = end.machine.dialect().held();
    assert!((3 << 20..=4 << 20).contains(&held), "{held} bytes are held");
    assert!(ended(&end).is_empty() && end.marks.is_empty());
}

#[test]
fn what_nobody_reads_any_more_is_granted_again() {
    let mut end = counting(Limits::default());
    let stream = end.accept(2);
    end.command(TunnelCommand::Data { stream, body: vec![1; 100_000].into() });
    end.receive(2, data(50_000));
    end.command(TunnelCommand::Close(stream));
    assert_eq!(grants(&end, 2), [50_000], "what was unread");
    end.receive(2, data(60_000));
    assert_eq!(grants(&end, 2), [50_000, 60_000], "what is thrown away");
    end.receive(2, Content::Credit(50_000));
    assert_eq!((sent_bytes(&end), ended(&end)), (100_000, vec![&StreamEnd::Finished]));
}

#[test]
fn the_header_carries_the_window() {
    let hello = Hello::new(&Limits::default());
    assert_eq!(hello.to_string(), "2; window=65536");
    assert_eq!(Hello::parse(hello.to_string().as_bytes()), hello);
    for none in
        ["1", "", "2; window=", "2; window=255", "2; window=-5", "2; window=99999999999", "2;windows=9"]
    {
        assert_eq!(Hello::parse(none.as_bytes()).window, None, "{none}");
    }
    assert_eq!(Hello::parse(b"3; more=x ;window=70000; else").window, Some(70_000));
    assert_eq!(Hello::parse(b"\xff").window, None);
}
