//! One case per threat that concerns this dialect; `docs/promises.md` has all of them, and where each is shown.

use std::time::Duration;

use linkspan_core::im::{Arguments, Call, Functions, Rejection, ServerConfig, Token, UpgradeCheck};
use linkspan_core::{Event, Opcode};
use serde_json::{Value, json};

use super::world::{World, reply};

const U1: &str = "sendID=u1&platformID=5&token=tok-u1";
const U2: &str = "sendID=u2&platformID=5&token=tok-u2";

fn two_users() -> (World, u64, u64) {
    let mut world = World::new(ServerConfig::default());
    let [first, second] = [U1, U2].map(|query| world.connect(query).unwrap());
    for conn in [first, second] {
        world.login(conn);
        world.hear(conn);
    }
    (world, first, second)
}

fn assert_alive(world: &mut World, conn: u64) {
    world.call(conn, "GetLoginStatus", "alive", "");
    assert_eq!(world.hear(conn), [reply("GetLoginStatus", 0, "", "101", "alive")]);
}

fn undecodable() -> Value {
    reply("error", 100, "Unmarshal failed", "", "")
}

#[test]
fn t4_tiny_and_empty_frames_get_one_small_answer_each() {
    let (mut world, attacker, bystander) = two_users();
    for _ in 0..500 {
        for text in ["", "x", "{"] {
            world.send(attacker, text);
            assert_eq!(world.hear(attacker), [undecodable()]);
        }
    }
    assert_eq!(world.hear(bystander), [] as [Value; 0]);
    assert_alive(&mut world, attacker);
}

#[test]
fn t5_pings_and_unsolicited_pongs_are_no_work() {
    let (mut world, attacker, bystander) = two_users();
    let now = world.now;
    for number in 0..1000 {
        let opcode = if number % 2 == 0 { Opcode::Ping } else { Opcode::Pong };
        world.station(attacker).event(now, Event::Received(opcode, vec![7; 125].into()));
    }
    // The transport answers pings; nothing is queued for them here.
    assert_eq!(world.station(attacker).waiting(), 0);
    assert_alive(&mut world, bystander);
}

/// Who may come from which origin is the HTTP front's decision; no origin becomes a user here without a token.
#[test]
fn t18_a_foreign_page_without_a_token_is_nobody() {
    let mut world = World::new(ServerConfig::default());
    for query in ["sendID=u1&platformID=5&token=", "sendID=u1&platformID=5&token=guess"] {
        assert_eq!(world.connect(query), Err(Rejection::Unauthorized));
    }
    assert_eq!((world.hub.sessions(), world.hub.reserved()), (0, 0));
}

#[test]
fn t19_unknown_users_and_wrong_tokens_look_the_same() {
    let mut world = World::new(ServerConfig::default());
    world.connect(U1).unwrap();
    let known = world.connect("sendID=u1&platformID=5&token=wrong");
    let unknown = world.connect("sendID=nobody&platformID=5&token=wrong");
    let other = world.knock("sendID=nobody&platformID=5&token=tok-u1", UpgradeCheck::Valid);
    assert_eq!(known, Err(Rejection::Unauthorized));
    assert_eq!((known, known), (unknown, other));
}

#[test]
fn t19_no_log_shows_a_token() {
    let arguments = Arguments::parse("sendID=u1&token=secret");
    let call = Call::Login { token: Ok(Token::from("secret")), batch: false };
    let shown = format!("{arguments:?} {call:?}");
    assert!(shown.contains("u1") && !shown.contains("secret"), "{shown}");
}

#[test]
fn t20_nobody_speaks_for_somebody_else() {
    let (mut world, attacker, victim) = two_users();
    for function in ["Login", "Logout", "GetLoginStatus", "SendMessage", "Nope", ""] {
        for user in ["u2", "", "U1", "u1 "] {
            let data = json!({"userID": user, "token": "tok-u2"}).to_string();
            let request = json!({"reqFuncName": function, "operationID": "x", "userID": user, "data": data});
            world.send(attacker, request.to_string());
            let refused = reply(function, 1001, "Request Parameter Error", "", "x");
            assert_eq!(world.hear(attacker), [refused], "{function} as {user}");
        }
    }
    assert_eq!(world.hear(victim), [] as [Value; 0]);
    assert!(world.calls.is_empty() && world.ended.is_empty());
    assert_alive(&mut world, victim);
    // A token opens its own user only.
    assert_eq!(world.connect("sendID=u2&platformID=5&token=tok-u1"), Err(Rejection::Unauthorized));
}

#[test]
fn t22_json_bombs_are_refused_in_linear_time() {
    let (mut world, attacker, bystander) = two_users();
    let deep = |count: usize| format!("{{\"x\":{}{}}}", "[".repeat(count), "]".repeat(count));
    for bad in [
        deep(64),
        deep(200_000),
        "[".repeat(500_000),
        format!("{{\"batchMsg\":{}}}", "9".repeat(1_000_000)),
        "\u{feff}{}".to_owned(),
        "{\"data\":\"\u{0}\"}".to_owned(),
    ] {
        world.send(attacker, bad);
        assert_eq!(world.hear(attacker), [undecodable()]);
    }
    let many = "\"data\":\"x\",".repeat(80_000);
    world.send(
        attacker,
        format!("{{{many}\"userID\":\"u1\",\"operationID\":\"o\",\"reqFuncName\":\"GetLoginStatus\"}}"),
    );
    assert_eq!(world.hear(attacker), [reply("GetLoginStatus", 0, "", "101", "o")]);
    world.send(attacker, b"{\"userID\":\"\xff\"}".to_vec());
    assert_eq!(world.hear(attacker), [undecodable()]);
    let lone = r#"{"userID":"u1","operationID":"\ud800","reqFuncName":"GetLoginStatus"}"#;
    world.send(attacker, lone);
    assert_eq!(world.hear(attacker), [reply("GetLoginStatus", 0, "", "101", "\u{fffd}")]);
    assert_alive(&mut world, bystander);
}

/// The arguments inside `data` are as hostile as the frame around them.
#[test]
fn t22_the_arguments_have_the_same_bounds() {
    let (mut world, attacker, _) = two_users();
    let deep = format!("{{\"opt\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    for data in [deep.as_str(), "{\"opt\":1} {}", "{\"opt\":1,}", "\u{feff}{\"opt\":1}"] {
        world.call(attacker, "SetGlobalRecvMessageOpt", "o", data);
        let refused = reply("SetGlobalRecvMessageOpt", 1001, "unmarshal failed", "", "o");
        assert_eq!(world.hear(attacker), [refused], "{data}");
    }
    assert!(Functions::default().get("SetGlobalRecvMessageOpt").is_some());
}

#[test]
fn login_floods_cost_one_login() {
    let mut world = World::new(ServerConfig::default());
    world.login_delay = Duration::from_secs(1);
    let conn = world.connect(U1).unwrap();
    let mut sent = 0;
    while world.station(conn).connection().wants_read() {
        world.login(conn);
        sent += 1;
    }
    assert_eq!(sent, 256, "then the flood waits in its own socket");
    let heard = world.hear(conn);
    assert_eq!(heard.len(), 255);
    let pending = reply("Login", 1002, "Login Pending, Try after 5 seconds", "", "login");
    assert!(heard.iter().all(|one| *one == pending));
    world.wait(Duration::from_secs(1));
    assert_eq!(world.hear(conn), [reply("Login", 0, "", "", "login")]);
}
