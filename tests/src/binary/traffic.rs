//! Ordinary traffic, much of it.

use super::wire::CARRIERS;
use super::{Carrier, Client, Got, Process, eventually};

/// Every answer must be the next one, and the right one.
fn in_flight(program: &str, carrier: Carrier) {
    let mut gateway = Process::serve(program, &[]);
    let address = gateway.address(carrier);
    for (depth, total) in [(1, 300), (16, 2_000), (64, 4_000), (1_024, 8_192)] {
        let mut client = Client::connect(address, carrier).expect("the gateway serves");
        let text = |id: u64| format!("{id}:{}", "x".repeat(id as usize % 100));
        for id in 1..=depth {
            client.request(id, "Echo.Raw", text(id)).expect("there is room");
        }
        for id in 1..=total {
            assert_eq!(
                client.next().expect("an answer"),
                Got::Answer(id, text(id).into()),
                "{depth} in flight"
            );
            if id + depth <= total {
                client.request(id + depth, "Echo.Raw", text(id + depth)).expect("there is room");
            }
        }
        client.wire.hang_up();
        assert_eq!(client.next().expect("the end"), Got::End, "nothing more comes");
    }
    gateway.stop();
}

/// 1, 16, 64 and 1,024 requests in flight on one TCP connection: nothing wrong, nothing lost, nothing out of order.
pub fn answers_in_flight_over_tcp(program: &str) {
    in_flight(program, Carrier::Tcp);
}

/// The same over WebSocket.
pub fn answers_in_flight_over_websocket(program: &str) {
    in_flight(program, Carrier::WebSocket);
}

/// Clients come, ask and go; what they leave behind is nothing.
pub fn cycles_leave_nothing(program: &str) {
    let mut gateway = Process::serve(program, &[]);
    let addresses = CARRIERS.map(|carrier| (gateway.address(carrier), carrier));
    let cycles = |count: u64| {
        for id in 0..count {
            let (address, carrier) = addresses[id as usize % 2];
            let mut client = Client::connect(address, carrier).expect("the gateway serves");
            client.echo(id + 1).expect("the right answer");
            // Every third one just vanishes.
            if !id.is_multiple_of(3) {
                client.wire.hang_up();
                assert_eq!(client.next().expect("the end"), Got::End);
            }
        }
    };
    let listeners = gateway.sockets();
    cycles(1_000);
    eventually("all sockets of the warm-up are closed", || gateway.sockets() == listeners);
    let files = gateway.files();
    let memory = gateway.memory();
    cycles(2_500);
    eventually("all files are closed", || gateway.files() <= files);
    let grown = gateway.memory().saturating_sub(memory);
    assert!(grown < 1_024, "{grown} KiB more than after the warm-up, which was {memory} KiB");
    gateway.stop();
    let said = gateway.stderr.line("stopping");
    assert!(said.contains("connections=0"), "{said}");
}
