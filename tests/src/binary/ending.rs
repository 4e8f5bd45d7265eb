//! Signals.

use std::time::Instant;

use super::wire::CARRIERS;
use super::{Client, Got, Process};

/// SIGTERM: the answer, the reason, the end; the program ends well.
pub fn a_request_in_flight_is_answered(program: &str) {
    for signal in ["TERM", "INT"] {
        let mut gateway = Process::serve(program, &[]);
        let connect =
            |carrier| Client::connect(gateway.address(carrier), carrier).expect("the gateway serves");
        let mut clients = CARRIERS.map(connect);
        for client in &mut clients {
            client.echo(1).expect("the right answer");
            client.request(2, "Echo.Slow", r#"{"ms":700}"#).expect("there is room");
            // The answer to this one waits behind the slow one.
            client.request(3, "Echo.Raw", "behind").expect("there is room");
        }
        // They have no answer yet that would say they have arrived.
        std::thread::sleep(std::time::Duration::from_millis(150));
        gateway.signal(signal);
        for (client, carrier) in clients.iter_mut().zip(CARRIERS) {
            let mut next = || client.next().expect("no error");
            assert_eq!(next(), Got::Answer(2, r#"{"ms":700}"#.into()), "{carrier:?}");
            assert_eq!(next(), Got::Answer(3, "behind".into()), "{carrier:?}");
            assert_eq!(next(), Got::Kick(r#"{"reason":"server stopping"}"#.into()), "{carrier:?}");
            assert_eq!(next(), Got::End, "{carrier:?}");
        }
        assert_eq!(clients.map(|client| client.wire.closed_with), [None, Some(1001)]);
        assert_eq!(gateway.wait().code(), Some(0));
        assert!(gateway.stderr.line("stopped").contains("left=0"));
    }
}

/// A second signal does not wait for anybody.
pub fn a_second_signal_ends_at_once(program: &str) {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut gateway = Process::serve(program, &[]);
        let connect =
            |carrier| Client::connect(gateway.address(carrier), carrier).expect("the gateway serves");
        let mut clients = CARRIERS.map(connect);
        for client in &mut clients {
            client.request(1, "Echo.Slow", r#"{"ms":60000}"#).expect("there is room");
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        gateway.signal(signal);
        gateway.stderr.line("stopping");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(gateway.lives(), "it waits for what is due");
        let started = Instant::now();
        gateway.signal(signal);
        assert_eq!(gateway.wait().code(), Some(code), "{signal}");
        assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    }
}

/// Whoever reads that it listens may stop it in the next moment.
pub fn a_signal_right_after_the_start(program: &str) {
    for _ in 0..5 {
        let mut gateway = Process::serve(program, &[]);
        gateway.listening("pomelo-tcp");
        gateway.stop();
    }
}
