//! The route dictionary.

use linkspan_core::Violation;
use linkspan_core::pomelo::{Dictionary, DictionaryError, Message};

#[test]
fn looks_up_both_ways() {
    let dictionary = Dictionary::new([("room.join", 255), ("Echo.Raw", 1), ("max", 65_535)]).expect("good");
    for (route, code) in [("room.join", 255), ("Echo.Raw", 1), ("max", 65_535)] {
        assert_eq!(dictionary.code(route.as_bytes()), Some(code));
        assert_eq!(dictionary.route(code).expect("known"), route);
    }
    for unknown in ["", "room", "room.joi", "room.join2", "echo.raw"] {
        assert_eq!(dictionary.code(unknown.as_bytes()), None);
    }
    for unknown in [0, 2, 254, 256, 65_534] {
        assert_eq!(dictionary.route(unknown), None);
    }
    let sorted: Vec<_> = dictionary.iter().collect();
    assert_eq!(sorted, [(&b"Echo.Raw"[..], 1), (b"max", 65_535), (b"room.join", 255)]);
    assert_eq!(dictionary.len(), 3);
    assert!(!dictionary.is_empty());
}

#[test]
fn may_be_empty() {
    let none: [(&str, u16); 0] = [];
    for dictionary in [Dictionary::default(), Dictionary::new(none).expect("good")] {
        assert!(dictionary.is_empty());
        assert_eq!((dictionary.len(), dictionary.iter().count()), (0, 0));
        assert_eq!(dictionary.code(b""), None);
        for code in [0, 1, 65_535] {
            assert_eq!(dictionary.route(code), None);
            let coded = [&[3][..], &code.to_be_bytes()].concat();
            assert_eq!(Message::decode(coded.into(), &dictionary), Err(Violation::RouteCode));
        }
    }
}

#[test]
fn numbers_from_one_in_the_given_order() {
    let dictionary = Dictionary::numbered(["z", "a", "m"]).expect("good");
    assert_eq!(["z", "a", "m"].map(|route| dictionary.code(route.as_bytes())), [Some(1), Some(2), Some(3)]);
    let most = (0..65_535).map(|number| format!("r{number}"));
    let full = Dictionary::numbered(most).expect("good");
    assert_eq!(full.route(65_535).expect("the last"), "r65534");
    assert_eq!(full.code(b"r65534"), Some(65_535));
    let more = (0..65_536).map(|number| format!("r{number}"));
    assert_eq!(Dictionary::numbered(more), Err(DictionaryError::Full));
}

#[test]
fn refuses_what_no_peer_could_use() {
    let twice = Dictionary::new([("b", 1), ("a", 2), ("b", 3)]);
    assert_eq!(twice, Err(DictionaryError::RouteTwice { route: "b".into() }));
    assert_eq!(Dictionary::new([("b", 7), ("a", 7)]), Err(DictionaryError::CodeTwice { code: 7 }));
    let zero = Dictionary::new([("a", 0)]);
    assert_eq!(zero, Err(DictionaryError::CodeZero { route: "a".into() }));
    assert_eq!(
        zero.expect_err("code 0").to_string(),
        "dictionary: route `a` must not have code 0; codes start at 1"
    );
    assert_eq!(Dictionary::new([("", 9)]), Err(DictionaryError::RouteEmpty { code: 9 }));
    assert!(Dictionary::new([("r".repeat(255), 1)]).is_ok());
    let long = "r".repeat(256);
    assert_eq!(Dictionary::new([(&long, 1)]), Err(DictionaryError::RouteTooLong { route: long.clone() }));
}
