//! Pings, silence and deadlines.

use super::*;

#[test]
fn a_ping_asks_who_is_silent_and_nobody_else() {
    let mut chat = Chat::standard();
    let [one, two] = [1, 2].map(|user| chat.connect(user));
    for _ in 0..6 {
        chat.gateway.advance(Duration::from_secs(20));
        chat.say(one, "{}");
    }
    assert_eq!(chat.gateway.arrivals(one), [], "who talks is not asked");
    // The other one answered a ping every 30 s.
    let pings = chat.gateway.arrivals(two);
    assert_eq!(pings, vec![Arrival::Frame(Opcode::Ping, Bytes::new()); 4]);
    chat.gateway.advance(Duration::from_secs(30));
    assert_eq!(chat.gateway.arrivals(one).len(), 1, "30 s after its last word");
    assert_eq!(chat.gateway.closed(two), None);
}

#[test]
fn who_answers_no_ping_is_dead_after_a_minute() {
    let mut chat = Chat::standard();
    let one = chat.connect(1);
    chat.gateway.read_with(one, Patience::None);
    chat.gateway.advance(Duration::from_secs(40));
    assert_eq!(chat.gateway.waiting(one), 1, "the ping");
    assert_eq!(chat.gateway.closed(one), Some(CloseReason::WriteTimeout), "it takes nothing");

    let mut chat = Chat::standard();
    let one = chat.connect(1);
    chat.gateway.read_with(one, Patience::Some(9));
    chat.gateway.advance(Duration::from_micros(59_999_999));
    assert_eq!(chat.gateway.closed(one), None);
    chat.gateway.advance(Duration::from_micros(1));
    assert_eq!(chat.gateway.closed(one), Some(CloseReason::HeartbeatTimeout), "it reads, and says nothing");
    assert_eq!(chat.gateway.hub().sessions(), 0);
}

#[test]
fn liveness_can_be_off() {
    let mut chat =
        Chat::new(ServerConfig { ping: None, dead: None, ..ServerConfig::default() }, Limits::default());
    let one = chat.connect(1);
    chat.gateway.advance(Duration::from_secs(86_400));
    assert_eq!((chat.gateway.arrivals(one), chat.gateway.closed(one)), (vec![], None));
}

#[test]
fn a_connection_that_the_hub_never_answers_does_not_stay() {
    let (limits, mut actions) = (Arc::new(Limits::default()), linkspan_core::Actions::new());
    let server = Server::new(Arc::default(), 1);
    let now = Instant::ORIGIN;
    let mut alone = linkspan_core::Connection::new(server, Arc::clone(&limits), now, &mut actions);
    linkspan_core::Machine::handle_timeout(&mut alone, now + limits.handshake_timeout, &mut actions);
    let last = actions.as_slice().last().cloned();
    assert_eq!(last, Some(linkspan_core::Action::Close(CloseReason::HandshakeTimeout)));
}

#[test]
fn no_key_no_connection() {
    let mut chat = Chat::new(ServerConfig::default(), Limits { keys_per_connection: 0, ..Limits::default() });
    let one = chat.connect(1);
    assert_eq!(chat.gateway.closed(one), Some(CloseReason::Overloaded));
    assert_eq!(chat.gateway.marked(Mark::RegistrationRefused), 1);
}

#[test]
fn the_application_ends_connections() {
    let mut chat = Chat::standard();
    let [one, two, three] = [1, 2, 3].map(|user| chat.connect(user));
    chat.gateway.command::<Server>(one, ServerCommand::Kick);
    chat.gateway.command::<Server>(two, ServerCommand::Close);
    chat.gateway.drain(three, CloseReason::Stopping);
    chat.gateway.run();
    assert_eq!(chat.gateway.arrivals(one), closed(4000, "kicked"));
    assert_eq!(chat.gateway.arrivals(two), closed(1000, ""));
    assert_eq!(chat.gateway.arrivals(three), closed(1001, "server stopping"));
    chat.gateway.finish();
}
