//! Places of a listener, and checks of tokens that somebody else does.

use std::time::Duration;

use linkspan_core::hub::{Platform, Refusal};
use linkspan_core::im::{Checks, ChecksConfig, Places, Proof, Start, platform_by_name};
use linkspan_core::{Instant, Mark};
use linkspan_tests::harness::Random;

fn proof(user: &str) -> Proof {
    Proof { user: user.into(), platform: None, lifetime: None }
}

fn digest(number: u64) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    digest
}

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

fn is_check(start: &Start) -> bool {
    matches!(start, Start::Check { .. })
}

#[test]
fn a_listener_has_so_many_places() {
    let mut places = Places::new(2);
    assert_eq!([places.take(), places.take()], [Ok(()); 2]);
    assert_eq!(places.take(), Err((Refusal::HubFull, Mark::ListenerFull)));
    places.give_back();
    assert_eq!((places.take(), places.taken()), (Ok(()), 2));
    assert_eq!(Places::new(0).take(), Err((Refusal::HubFull, Mark::ListenerFull)));
}

#[test]
fn so_many_checks_wait_and_not_for_ever() {
    let config = ChecksConfig { waiting: 3, ..ChecksConfig::default() };
    let mut checks = Checks::new(config, 1);
    for number in 0..3 {
        assert_eq!(checks.begin(at(1), &digest(number)), Start::Check { until: at(6) });
    }
    assert_eq!(checks.begin(at(1), &digest(9)), Start::Busy(Mark::ChecksFull));
    checks.end(at(2), &digest(0), None);
    assert!(is_check(&checks.begin(at(2), &digest(9))));
    assert_eq!(checks.waiting(), 3);
}

#[test]
fn what_was_found_valid_is_remembered_for_a_while_and_nothing_else_is() {
    let mut checks = Checks::new(ChecksConfig::default(), 1);
    for (number, outcome) in [(1, Some(proof("u1"))), (2, None)] {
        assert!(is_check(&checks.begin(at(0), &digest(number))));
        checks.end(at(1), &digest(number), outcome.as_ref());
    }
    assert_eq!(checks.begin(at(5), &digest(1)), Start::Proven(proof("u1")));
    assert!(is_check(&checks.begin(at(5), &digest(2))), "a refusal is asked for again");
    assert!(is_check(&checks.begin(at(6), &digest(1))), "five seconds are over");
    let short = Proof { lifetime: Some(Duration::from_secs(2)), ..proof("u3") };
    checks.begin(at(6), &digest(3));
    checks.end(at(6), &digest(3), Some(&short));
    assert!(matches!(checks.begin(at(7), &digest(3)), Start::Proven(_)));
    assert!(is_check(&checks.begin(at(8), &digest(3))), "the token itself is over");
}

#[test]
fn nothing_is_remembered_where_that_is_asked_for() {
    for config in [
        ChecksConfig { remember: Duration::ZERO, ..ChecksConfig::default() },
        ChecksConfig { remembered: 0, ..ChecksConfig::default() },
    ] {
        let mut checks = Checks::new(config, 1);
        checks.begin(at(0), &digest(1));
        checks.end(at(0), &digest(1), Some(&proof("u1")));
        assert!(is_check(&checks.begin(at(0), &digest(1))));
        assert_eq!(checks.remembered(), 0);
    }
}

/// Whatever is asked for in whatever order: no more waits and no more is remembered than may be, and what is proven was
/// proven within the time.
#[test]
fn counts_and_memory_stay_bounded() {
    let config = ChecksConfig { waiting: 8, remembered: 32, ..ChecksConfig::default() };
    let (mut checks, mut random) = (Checks::new(config, 7), Random::new(3));
    let (mut open, mut proven) = (Vec::new(), std::collections::BTreeMap::new());
    let (mut now, mut seen) = (at(0), 0);
    for _ in 0..50_000 {
        now = now + Duration::from_millis(random.below(200) as u64);
        let number = random.below(100) as u64;
        if random.below(2) == 0 {
            match checks.begin(now, &digest(number)) {
                Start::Check { until } => {
                    assert_eq!(until, now + config.timeout);
                    open.push(number);
                }
                Start::Proven(found) => {
                    assert_eq!(found, proof(&number.to_string()));
                    assert!(proven[&number] + config.remember > now, "it was proven too long ago");
                }
                Start::Busy(mark) => assert_eq!((mark, open.len()), (Mark::ChecksFull, 8)),
            }
        } else if let Some(number) = open.pop() {
            let found = (number % 3 > 0).then(|| proof(&number.to_string()));
            checks.end(now, &digest(number), found.as_ref());
            if found.is_some() {
                proven.insert(number, now);
            }
        }
        assert_eq!(checks.waiting() as usize, open.len());
        seen = seen.max(checks.remembered());
        assert!(checks.remembered() <= 32 && checks.footprint() <= Checks::footprint_max(32, 255));
    }
    assert!(seen > 16, "{seen}: the bound is far from what was remembered");
}

#[test]
fn a_token_is_not_written_into_logs() {
    let written = format!("{:?}", linkspan_core::im::Token::from("secret"));
    assert!(written.starts_with("Token(") && !written.contains("secret"), "{written}");
}

#[test]
fn platforms_have_the_names_of_the_original() {
    assert_eq!(platform_by_name("Web"), Platform::WEB);
    assert_eq!(platform_by_name("OSX"), Platform::MACOS);
    assert_eq!(platform_by_name("web"), Platform::OTHER);
    let names = "IOS Android Windows OSX Web MiniWeb Linux APad IPad Admin HarmonyOS";
    let numbers = names.split(' ').map(|name| platform_by_name(name).number());
    assert!(numbers.eq(1..=11));
}
