//! One user's session over several connections.

use std::collections::BTreeSet;
use std::time::Duration;

use linkspan_core::hub::Platform;
use linkspan_core::im::{
    Answer, Audience, Call, Check, Deliver, Fault, Request, ServerConfig, SessionId, Ticket, User,
    UserAction, UserEvent,
};
use linkspan_core::{ConnId, Limits};
use linkspan_tests::laws;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::world::{World, key, reply};

const WEB: &str = "sendID=u1&platformID=5&token=tok-u1";
const IOS: &str = "sendID=u1&platformID=1&token=tok-u1";

fn world() -> World {
    World::new(ServerConfig::default())
}

fn status(world: &mut World, conn: u64) -> Value {
    world.call(conn, "GetLoginStatus", "status", "");
    world.hear(conn).pop().unwrap()
}

fn online() -> Value {
    reply("GetLoginStatus", 0, "", "101", "status")
}

fn no_login() -> Value {
    reply("Login", 1003, "No Login, first Login", "", "status")
}

/// What is looked at from outside is what has happened inside.
#[test]
fn a_user_says_who_is_there_and_whether_it_is_in() {
    let mut world = world();
    let conn = world.connect(WEB).unwrap();
    let look = |world: &World| {
        world.user("u1").map(|user| (user.connections(), user.session().is_some(), user.is_idle()))
    };
    assert_eq!(look(&world), Some((1, false, false)));
    world.login(conn);
    assert_eq!(look(&world), Some((1, true, false)));
    let other = world.connect(IOS).unwrap();
    assert_eq!(look(&world), Some((2, true, false)));
    world.close(other);
    assert_eq!(look(&world), Some((1, true, false)));
    world.close(conn);
    assert_eq!(look(&world).map(|(connections, ..)| connections).unwrap_or_default(), 0);
}

#[test]
fn a_failed_login_leaves_nothing_behind() {
    let mut world = world();
    let conn = world.connect(WEB).unwrap();
    world.login_answer = Answer::failure(701, "token is timed out, please log in again");
    world.login(conn);
    let failed = reply("Login", 701, "token is timed out, please log in again", "", "login");
    assert_eq!(world.hear(conn), [failed]);
    assert_eq!(status(&mut world, conn), no_login());
    world.login_answer = Answer::success("");
    world.login(conn);
    assert_eq!(world.hear(conn), [reply("Login", 0, "", "", "login")]);
    assert_eq!(status(&mut world, conn), online());
}

#[test]
fn a_login_without_an_answer_ends_in_time() {
    let mut world = world();
    world.login_delay = Duration::from_secs(60);
    let conn = world.connect(WEB).unwrap();
    world.login(conn);
    world.wait(Duration::from_secs(29));
    assert_eq!(world.hear(conn), [] as [Value; 0]);
    world.wait(Duration::from_secs(1));
    let late = reply("Login", 1004, "resource loading is not completed", "", "login");
    assert_eq!(world.hear(conn), [late]);
    assert_eq!(world.ended.len(), 1, "the backend forgets the session");
    world.wait(Duration::from_secs(31));
    assert_eq!(status(&mut world, conn), no_login(), "the late answer is for nobody");
}

#[test]
fn bad_arguments_of_a_login_are_told_as_the_original_tells_them() {
    let mut world = world();
    let conn = world.connect(WEB).unwrap();
    for (data, text) in [
        ("", "unmarshal failed"),
        ("[]", "unmarshal failed"),
        ("{}", "key not in"),
        (r#"{"userID":"u1"}"#, "key not in"),
        (r#"{"userID":"u1","Token":"x"}"#, "key not in"),
        (r#"{"userID":"u1","token":7}"#, "Request Parameter Error"),
        (r#"{"userID":null,"token":"x"}"#, "Request Parameter Error"),
        (r#"{"userID":"u2","token":"tok-u2"}"#, "Request Parameter Error"),
    ] {
        world.call(conn, "Login", "op", data);
        assert_eq!(world.hear(conn), [reply("Login", 1001, text, "", "op")], "{data}");
    }
    world.login(conn);
    assert_eq!(world.hear(conn).len(), 1, "none of them has left anything");
}

#[test]
fn a_session_lives_until_the_last_connection_of_any_platform() {
    let mut world = world();
    let [web, ios] = [WEB, IOS].map(|query| world.connect(query).unwrap());
    world.login(web);
    assert_eq!(world.hear(ios), [reply("Login", 0, "", "", "login")], "all platforms hear");
    world.close(web);
    assert_eq!(status(&mut world, ios), online());
    let newcomer = world.connect(WEB).unwrap();
    assert_eq!(status(&mut world, newcomer), online(), "who comes later joins");
    world.close(ios);
    world.close(newcomer);
    assert_eq!(world.ended.len(), 1);
    assert!(world.user("u1").is_none());
    assert_eq!((world.hub.sessions(), world.hub.reserved()), (0, 0));
}

#[test]
fn logging_out_detaches_one_connection() {
    let mut world = world();
    let [web, ios] = [WEB, IOS].map(|query| world.connect(query).unwrap());
    world.login(web);
    world.hear(web);
    world.hear(ios);
    world.call(web, "Logout", "bye", "");
    assert_eq!(world.hear(web), [reply("Logout", 0, "", "", "bye")]);
    assert_eq!(world.hear(ios), [] as [Value; 0], "nobody else is concerned");
    assert_eq!(status(&mut world, ios), online());
    assert_eq!(world.hear(web), [] as [Value; 0], "it hears the others no longer");
    assert_eq!(status(&mut world, web), no_login());
    world.login(web);
    assert_eq!(world.hear(web), [reply("Login", 0, "ok", "", "login")]);
    assert_eq!(status(&mut world, web), online());
    world.call(web, "Logout", "bye", "");
    world.call(ios, "Logout", "bye", "");
    assert_eq!(world.ended.len(), 1, "nobody takes part any more");
    world.hear(ios);
    assert_eq!(status(&mut world, ios), no_login());
}

#[test]
fn whoever_asked_for_a_login_may_be_gone_when_it_succeeds() {
    let mut world = world();
    world.login_delay = Duration::from_secs(1);
    let [web, ios] = [WEB, IOS].map(|query| world.connect(query).unwrap());
    world.login(web);
    world.close(web);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.hear(ios), [reply("Login", 0, "", "", "login")]);
    assert_eq!(status(&mut world, ios), online());
}

#[test]
fn an_expelled_user_has_to_log_in_again() {
    let mut world = world();
    let conn = world.connect(WEB).unwrap();
    world.login(conn);
    world.hear(conn);
    world.expel("u1");
    assert_eq!(world.ended.len(), 1);
    assert_eq!(status(&mut world, conn), no_login());
}

#[test]
fn an_old_session_s_answer_is_not_the_new_one_s() {
    let mut world = world();
    world.login_delay = Duration::from_secs(10);
    let conn = world.connect(WEB).unwrap();
    world.login(conn);
    world.close(conn);
    let conn = world.connect(WEB).unwrap();
    world.wait(Duration::from_secs(5));
    world.login(conn);
    world.wait(Duration::from_secs(5));
    assert_eq!(world.hear(conn), [] as [Value; 0], "the first login's answer came for nobody");
    world.wait(Duration::from_secs(5));
    assert_eq!(world.hear(conn), [reply("Login", 0, "", "", "login")]);
}

#[test]
fn four_hundred_users_log_in_at_once() {
    let mut world = world();
    world.login_delay = Duration::from_millis(10);
    let conns: Vec<u64> = (0..400)
        .map(|user| world.connect(&format!("sendID=u{user}&platformID=5&token=tok-u{user}")).unwrap())
        .collect();
    for conn in &conns {
        world.login(*conn);
    }
    world.wait(Duration::from_millis(10));
    for conn in conns {
        assert_eq!(world.hear(conn), [reply("Login", 0, "", "", "login")]);
        world.close(conn);
    }
    assert_eq!(world.ended.len(), 400);
    assert_eq!(world.hub.sessions(), 0);
}

/// Some tickets, as connections give them.
fn tickets() -> Vec<Ticket> {
    let mut bytes = arbitrary::Unstructured::new(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    (0..3).map(|_| bytes.arbitrary().unwrap()).collect()
}

fn event() -> impl Strategy<Value = UserEvent> {
    let conn = (0..3_u64).prop_map(ConnId);
    let ticket = (0..3_usize).prop_map(|at| tickets()[at]);
    let login = prop_oneof![Just(Ok("t".into())), Just(Err(Fault::KeyMissing)), Just(Err(Fault::Parameter))];
    let login = (login, any::<bool>()).prop_map(|(token, batch)| Call::Login { token, batch });
    let check = prop_oneof![
        Just(Check::Passed),
        Just(Check::Unknown),
        Just(Check::Types),
        Just(Check::Shape(Fault::KeyMissing))
    ];
    let name = prop_oneof![Just("Logout"), Just("GetLoginStatus"), Just("SendMessage")];
    let function = (name, check).prop_map(|(name, check)| Call::Function {
        name: name.into(),
        data: String::new(),
        check,
    });
    let call = prop_oneof![login, function];
    prop_oneof![
        3 => (conn.clone(), prop_oneof![Just(Platform::WEB), Just(Platform::IOS)])
            .prop_map(|(conn, platform)| UserEvent::Opened { conn, platform }),
        2 => conn.clone().prop_map(UserEvent::Closed),
        6 => (conn.clone(), ticket.clone(), call).prop_map(|(conn, ticket, call)| {
            UserEvent::Requested { conn, ticket, request: Request { operation: "op".into(), call } }
        }),
        2 => (conn, ticket, any::<bool>()).prop_map(|(conn, ticket, good)| {
            let answer = if good { Answer::success("") } else { Answer::failure(701, "") };
            UserEvent::LoggedIn { session: SessionId { conn, ticket }, answer }
        }),
        1 => Just(UserEvent::Expelled),
    ]
}

/// What a failed login does: its answer, to the asker or to the others.
fn is_failure(action: &UserAction) -> bool {
    matches!(action, UserAction::Answer { .. } | UserAction::Route(_))
}

proptest! {
    /// The laws; each request has one outcome at once; calls run in a session that has begun and not ended; at most one
    /// session is there at a time.
    #[test]
    fn sessions_begin_and_end_once(
        steps in vec((0_u64..20_000_000, event()), 0..60),
        web_only in any::<bool>(),
    ) {
        let deliver = if web_only { Deliver::ServerPlatform(Platform::WEB) } else { Deliver::AllPlatforms };
        let steps: Vec<_> =
            steps.into_iter().map(|(span, event)| (Duration::from_micros(span), event)).collect();
        let make = || User::new(key("u1"), deliver, &Limits::default());
        let history = laws::check(make, &steps);
        let mut conns = BTreeSet::new();
        let (mut session, mut is_in) = (None, false);
        for ((_, event), actions) in steps.iter().zip(&history) {
            let mut outcomes = 0;
            let mut logins = 0;
            match event {
                UserEvent::Opened { conn, .. } => _ = conns.insert(conn.0),
                UserEvent::Closed(conn) => _ = conns.remove(&conn.0),
                UserEvent::LoggedIn { session: of, answer } if session == Some(*of) && !is_in => {
                    is_in = answer.code == 0;
                    // A failure leaves nothing that could end.
                    session = session.filter(|_| is_in || !actions.iter().all(is_failure));
                }
                _ => {}
            }
            for action in actions {
                match action {
                    UserAction::Call { session: of, .. } => {
                        prop_assert_eq!(session, Some(*of), "runs in no session");
                        outcomes += 1;
                    }
                    UserAction::Login { session: of, .. } => {
                        (session, is_in) = (Some(*of), false);
                        outcomes += 1;
                        logins += 1;
                    }
                    UserAction::Ended(of) => {
                        prop_assert_eq!(session.take(), Some(*of), "ended twice, or never begun");
                    }
                    UserAction::Answer { answer, audience, .. } => {
                        outcomes += 1;
                        prop_assert!(*audience == Audience::User || answer.code == 0);
                    }
                    UserAction::Refuse { .. } => outcomes += 1,
                    UserAction::SetMode { .. } | UserAction::Route(_) => {}
                }
            }
            if let UserEvent::Requested { conn, .. } = event {
                // A login that had no answer may have expired just before.
                let expected = usize::from(conns.contains(&conn.0));
                prop_assert!(outcomes == expected || outcomes == expected + 1, "{} outcomes", outcomes);
            }
            prop_assert!(logins <= 1);
            if conns.is_empty() {
                prop_assert_eq!(session, None, "outlives its connections");
            }
        }
    }
}
