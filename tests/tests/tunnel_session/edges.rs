//! Values met exactly, and what nothing else comes by.

use super::*;
use linkspan_core::tunnel::DialError;

const RESUME: Content = Content::Resume;

fn resumes(end: &End) -> usize {
    end.sent.iter().filter(|message| message.content == RESUME).count()
}

#[test]
fn an_application_may_close_what_it_was_asked_to_dial() {
    let mut end = End::role(Role::Client);
    end.receive(2, connect());
    let Some(TunnelNotice::DialRequested { stream, .. }) = end.notices.last().cloned() else { panic!() };
    end.command(TunnelCommand::Close(stream));
    assert_eq!((end.errors(2), ended(&end)), (vec![text("EOF")], vec![&StreamEnd::Finished]));
    assert_eq!(end.machine.dialect().streams(), 0);
    // The place is free.
    end.command(TunnelCommand::Dialed(stream));
    end.wait(Duration::from_secs(61));
    assert_eq!((end.errors(2).len(), ended(&end).len()), (1, 1));
}

#[test]
fn a_session_that_drains_opens_nothing_more() {
    let mut end = End::role(Role::Server);
    end.flush_at_once = false;
    let stream = end.dial();
    end.command(TunnelCommand::Data { stream, body: Bytes::from(vec![7; 1 << 20]) });
    end.event(Event::Drain(CloseReason::Stopping));
    let (proto, address) = (text("tcp"), text("127.0.0.1:80"));
    end.command(TunnelCommand::Dial { request: 8, proto, address });
    let refused = TunnelNotice::DialRefused { request: 8, error: DialError::Ending };
    assert_eq!((end.notices.last(), end.closed), (Some(&refused), None));
}

/// An original takes our asking as leave to send: while a stream is full to the mark nobody asks.
#[test]
fn a_probe_waits_for_a_byte_of_room() {
    let limits = Limits { tunnel_stream_pause: 4096, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    let stream = end.accept(2);
    end.receive(2, Content::Data(Bytes::from_static(&[0; 4096])));
    end.receive(2, Content::Pause);
    end.command(TunnelCommand::Data { stream, body: text("waits") });
    end.wait(Duration::from_secs(2));
    assert_eq!(resumes(&end), 0, "full to the mark");
    end.command(TunnelCommand::Read { stream, cost: 1 });
    end.wait(Duration::from_secs(2));
    assert_ne!(resumes(&end), 0, "a byte less");
}

/// A pause that answers our asking makes the next one wait twice as long, unless something came in between.
#[test]
fn asking_is_repeated_sooner_where_it_helps() {
    for (is_fruitful, waits) in [(false, [5, 10, 20, 40]), (true, [5, 5, 5, 5])] {
        let mut end = End::role(Role::Client);
        let stream = end.accept(2);
        end.receive(2, Content::Pause);
        end.command(TunnelCommand::Data { stream, body: text("waits") });
        let mut asked = resumes(&end);
        let mut waited = Vec::new();
        for _ in 0..4 {
            let start = end.now;
            while resumes(&end) == asked {
                end.wait(Duration::from_millis(1));
            }
            waited.push((end.now - start).as_millis());
            asked = resumes(&end);
            end.wait(Duration::from_micros(500));
            if is_fruitful {
                end.receive(2, Content::Data(text("x")));
                end.wait(Duration::from_micros(500));
            }
            end.receive(2, Content::Pause);
        }
        assert_eq!(waited, waits, "{is_fruitful}");
    }
}

/// As many ends as there may be streams are remembered, and a number that is used again is none of them.
#[test]
fn the_oldest_end_is_forgotten_first() {
    let mut end =
        End::new(TunnelConfig::new(Role::Client), Limits { tunnel_streams: 2, ..Limits::default() });
    let data = || Content::Data(text("for nobody"));
    end.receive(10, data());
    end.receive(11, data());
    end.receive(10, data());
    end.accept(10);
    end.receive(10, Content::Error(text("EOF")));
    end.receive(12, data());
    end.receive(11, data());
    assert_eq!(
        [10, 11, 12].map(|wire| end.errors(wire).len()),
        [2, 1, 1],
        "told once each; 10 echoes its end"
    );
    end.receive(13, data());
    end.receive(11, data());
    assert_eq!((end.errors(11).len(), end.errors(13).len()), (2, 1), "13 made room");
}

#[test]
fn what_waits_is_counted_with_the_places_it_takes() {
    let mut end = End::role(Role::Client);
    let stream = end.accept(2);
    end.receive(2, Content::Pause);
    let before = end.machine.footprint();
    for _ in 0..1000 {
        end.command(TunnelCommand::Data { stream, body: text("x") });
    }
    let grown = end.machine.footprint() - before;
    assert!(grown >= 1000 * (1 + size_of::<Bytes>()), "{grown} bytes for 1,000 bodies");
}
