//! Many at once: nothing is lost, nothing is out of order, nothing is left.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Tab, serve};
use crate::binary::{Carrier, Client, Got, Process, eventually};

/// The original died of this in one of three rounds.
///
/// # Panics
///
/// If one of them is not logged in, or anything of them is left.
pub fn four_hundred_logins_at_once(program: &str) {
    const THREADS: usize = 8;
    const EACH: usize = 50;
    let (mut gateway, address) = serve(program, "none", &[]);
    let idle = gateway.sockets();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                let open = |number| {
                    Tab::open(address, &format!("u{thread}-{number}"), 5, "any").expect("there is room")
                };
                let mut tabs: Vec<Tab> = (0..EACH).map(open).collect();
                start.wait();
                tabs.iter_mut().for_each(|tab| tab.ask_login("1"));
                for tab in &mut tabs {
                    let answer = tab.hear();
                    assert_eq!((&answer["event"], &answer["errCode"]), (&json!("Login"), &json!(0)));
                    tab.assert_served();
                }
                tabs.into_iter().for_each(Tab::close);
            });
        }
    });
    assert!(gateway.lives());
    eventually("every socket is closed", || gateway.sockets() == idle);
    gateway.stop();
    assert!(gateway.stderr.line("stopping").contains("connections=0"));
}

/// What a receiver of `count` messages has heard: of each sender, the numbers in their order.
fn listen(tab: &mut Tab, count: usize) -> BTreeMap<String, Vec<usize>> {
    let mut heard: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for _ in 0..count {
        let event = tab.hear_of("OnRecvNewMessage");
        let message: Value = serde_json::from_str(event["data"].as_str().expect("a text")).expect("JSON");
        assert_eq!(message["recvID"], json!(tab.user));
        let number = message["content"].as_str().and_then(|text| text.parse().ok()).expect("a number");
        heard.entry(message["sendID"].as_str().expect("a text").to_owned()).or_default().push(number);
    }
    heard
}

/// Nobody waits for an answer before the next message, and everything arrives at both devices, in the order of each
/// sender.
///
/// # Panics
///
/// If a message is lost or out of order.
pub fn two_thousand_pushes_of_fifty_senders(program: &str) {
    const SENDERS: usize = 50;
    const EACH: usize = 40;
    let (mut gateway, address) = serve(program, "none", &[]);
    let receivers: Vec<Tab> = [5, 1].map(|platform| Tab::login_or_join(address, "ann", platform)).into();
    let start = Barrier::new(SENDERS);
    let heard: Vec<_> = thread::scope(|scope| {
        for sender in 0..SENDERS {
            let start = &start;
            scope.spawn(move || {
                let mut tab = Tab::login(address, &format!("s{sender}"), 5);
                start.wait();
                (0..EACH).for_each(|number| tab.send("ann", number));
                for number in 0..EACH {
                    let answer = tab.hear_of("SendMessage");
                    let outcome = (&answer["errCode"], answer["operationID"].as_str());
                    assert_eq!(outcome, (&json!(0), Some(&*number.to_string())), "answers keep their order");
                }
                tab.close();
            });
        }
        let listening: Vec<_> = receivers
            .into_iter()
            .map(|mut tab| {
                scope.spawn(move || {
                    let heard = listen(&mut tab, SENDERS * EACH);
                    tab.close();
                    heard
                })
            })
            .collect();
        listening.into_iter().map(|one| one.join().expect("nothing is lost")).collect()
    });
    for heard in heard {
        assert_eq!(heard.len(), SENDERS);
        assert!(heard.values().all(|numbers| numbers.iter().copied().eq(0..EACH)), "{heard:?}");
    }
    gateway.stop();
}

impl Tab {
    /// As [`login`](Self::login), for one of several connections of a user: the first logs in, the others join.
    fn login_or_join(address: SocketAddr, user: &str, platform: u8) -> Self {
        let mut tab = Self::open(address, user, platform, "any").expect("it is let in");
        tab.ask_login(&format!("login-{platform}"));
        while tab.hear()["operationID"] != json!(format!("login-{platform}")) {}
        tab
    }
}

/// One user in a browser with OpenIM's protocol and on a phone with pomelo's over TCP, whichever came first: a message to
/// the user reaches both, each in its own form.
///
/// # Panics
///
/// If one of them misses a message or displaces the other.
pub fn one_user_on_two_dialects(program: &str) {
    let flags = ["serve", "--demo-services", "--pomelo-tcp", "127.0.0.1:0", "--im", "127.0.0.1:0"];
    let mut gateway = Process::start(program, &[&flags[..], &["--im-token", "none"]].concat());
    let [tcp, im] = ["pomelo-tcp", "im"].map(|name| gateway.listening(name));
    let phone = || {
        let mut phone = Client::connect(tcp, Carrier::Tcp).expect("it connects");
        phone.request(1, "Echo.Bind", r#"{"uid":"ann"}"#).expect("it takes it");
        assert!(matches!(phone.next().expect("an answer"), Got::Answer(1, _)));
        phone
    };
    for is_phone_first in [true, false] {
        let (mut phone, mut browser) = if is_phone_first {
            let phone = phone();
            (phone, Tab::login(im, "ann", 5))
        } else {
            let browser = Tab::login(im, "ann", 5);
            (phone(), browser)
        };
        let mut sender = Tab::login(im, "bob", 5);
        sender.send("ann", 7);
        let event = browser.hear_of("OnRecvNewMessage");
        let expected = event["data"].as_str().expect("a text").to_owned();
        loop {
            match phone.next().expect("in time") {
                Got::Push(route, body) if &route[..] == b"OnRecvNewMessage" => {
                    assert_eq!(body, Bytes::from(expected));
                    break;
                }
                // That there is a conversation now.
                Got::Push(..) => {}
                other => panic!("{other:?}"),
            }
        }
        phone.request(2, "Echo.Raw", "still there").expect("it takes it");
        // Behind the news that there is a conversation.
        while !matches!(phone.next().expect("in time"), Got::Answer(2, _)) {}
        browser.assert_served();
        phone.wire.cut();
        [sender, browser].into_iter().for_each(Tab::close);
    }
    gateway.stop();
}
