//! All 137 names that the original knows.

use std::time::Duration;

use linkspan_core::im::{Function, Functions, Input, Kind, ServerConfig, Style};
use linkspan_tests::vectors::{load, name};
use serde_json::{Map, Value, json};

use super::world::{World, reply};

const WRONG: &str = "Request Parameter Error";

fn methods() -> Vec<Value> {
    let methods = load("im/functions.json")["functions"].as_array().unwrap().clone();
    assert_eq!(methods.len(), 137);
    methods
}

fn is_open(method: &Value) -> bool {
    method["callable"] == true && !["InitSDK", "LogoutNoCallback", "Login"].contains(&name(method))
}

/// A value of the type that a table names.
fn value(kind: &str) -> Value {
    match kind {
        "string" => json!("text"),
        "number" => json!(7),
        "bool" => json!(true),
        "any" => json!([]),
        other => panic!("{other}"),
    }
}

/// Every argument with a value of its type.
fn arguments(method: &Value) -> Map<String, Value> {
    let lists = [&method["required_keys"], &method["asserted_but_not_checked"]];
    let pairs = lists.into_iter().filter_map(Value::as_object).flatten();
    pairs.map(|(name, kind)| (name.clone(), value(kind.as_str().unwrap()))).collect()
}

fn online() -> (World, u64) {
    let mut world = World::new(ServerConfig::default());
    let conn = world.connect("sendID=u1&platformID=5&token=tok-u1").unwrap();
    world.login(conn);
    assert_eq!(world.hear(conn), [reply("Login", 0, "", "", "login")]);
    (world, conn)
}

fn ask(world: &mut World, conn: u64, name: &str, data: &str) -> Value {
    world.call(conn, name, "op", data);
    let mut heard = world.hear(conn);
    assert_eq!(heard.len(), 1, "{name}: {heard:?}");
    heard.remove(0)
}

#[test]
fn the_table_is_the_recorded_one() {
    let functions = Functions::default();
    assert_eq!(functions.iter().count(), 123);
    for method in methods() {
        let name = name(&method);
        let Some(function) = functions.get(name).filter(|_| is_open(&method)) else {
            assert!(functions.get(name).is_none() && !is_open(&method), "{name}");
            continue;
        };
        let style = if method["reply"] == "direct" { Style::Direct } else { Style::Callback };
        assert_eq!(function.style, style, "{name}");
        match &function.input {
            Input::Raw => assert_eq!(method["input"], "raw string in data", "{name}"),
            Input::Object { required, .. } => {
                assert_eq!(method["input"], "json object in data", "{name}");
                let kinds = method["required_keys"].as_object().unwrap();
                assert_eq!(required.len(), kinds.len(), "{name}");
                for (argument, kind) in required {
                    let expected = match kinds[&**argument].as_str().unwrap() {
                        "string" => Kind::String,
                        "number" => Kind::Number,
                        "bool" => Kind::Bool,
                        _ => Kind::Any,
                    };
                    assert_eq!(*kind, expected, "{name} {argument}");
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn every_function_checks_its_arguments() {
    let (mut world, conn) = online();
    for method in methods() {
        let name = name(&method);
        if ["Login", "Logout"].contains(&name) {
            continue;
        }
        if !is_open(&method) {
            let got = ask(&mut world, conn, name, "{}");
            assert_eq!(got, reply(name, 1001, WRONG, "", "op"));
            continue;
        }
        let full = arguments(&method);
        let data = Value::Object(full.clone()).to_string();
        let got = ask(&mut world, conn, name, &data);
        assert_eq!((&got["event"], &got["operationID"]), (&json!(name), &json!("op")));
        let is_refused = name == "DeleteFriend";
        assert_eq!(got["errCode"], if is_refused { 1001 } else { 0 }, "{name} {data}");
        if method["input"] != "json object in data" {
            continue;
        }
        for bad in ["", "[]", "7", "\"x\"", "{", "{} x"] {
            let got = ask(&mut world, conn, name, bad);
            assert_eq!(got, reply(name, 1001, "unmarshal failed", "", "op"), "{bad}");
        }
        for argument in full.keys() {
            let mut less = full.clone();
            less.remove(argument);
            let text = match method["required_keys"].get(argument) {
                Some(_) => "key not in",
                None => WRONG,
            };
            let got = ask(&mut world, conn, name, &Value::Object(less.clone()).to_string());
            assert_eq!(got, reply(name, 1001, text, "", "op"), "without {argument}");
            if full[argument] == json!([]) {
                continue;
            }
            for other in [json!([]), json!({}), Value::Null] {
                less.insert(argument.clone(), other);
                let got = ask(&mut world, conn, name, &Value::Object(less.clone()).to_string());
                assert_eq!(got, reply(name, 1001, WRONG, "", "op"), "{argument} of a wrong type");
            }
        }
    }
}

#[test]
fn shape_comes_before_readiness_and_types_after_it() {
    let mut world = World::new(ServerConfig::default());
    world.login_delay = Duration::from_secs(5);
    let conn = world.connect("sendID=u1&platformID=5&token=tok-u1").unwrap();
    world.login(conn);
    let mut ask = |data: &str| ask(&mut world, conn, "SetGlobalRecvMessageOpt", data);
    assert_eq!(ask("x")["errMsg"], "unmarshal failed");
    assert_eq!(ask("{}")["errMsg"], "key not in");
    assert_eq!(ask("null")["errMsg"], "key not in");
    assert_eq!(ask("{\"Opt\":1}")["errMsg"], "key not in", "names of arguments are case-sensitive");
    assert_eq!(ask("{\"opt\":\"wrong\"}")["errCode"], 1004);
    assert_eq!(ask("{\"opt\":1e999}")["errMsg"], "unmarshal failed", "no number can hold it");
}

#[test]
fn a_service_can_add_functions_and_change_them() {
    let mut functions = Functions::default();
    functions.register("Ping", Function::object([("text", Kind::String)]));
    functions.register("GetAtAllTag", Function::object([("x", Kind::Number)]));
    functions.register("Anything", Function::raw());
    let mut world = World::new(ServerConfig { functions, ..ServerConfig::default() });
    let conn = world.connect("sendID=u1&platformID=5&token=tok-u1").unwrap();
    world.login(conn);
    world.hear(conn);
    assert_eq!(ask(&mut world, conn, "Ping", "{\"text\":\"a\",\"text\":\"b\"}")["errCode"], 0);
    assert_eq!(ask(&mut world, conn, "Ping", "{}")["errMsg"], "key not in");
    assert_eq!(ask(&mut world, conn, "GetAtAllTag", "{\"x\":true}")["errMsg"], WRONG);
    assert_eq!(ask(&mut world, conn, "Anything", "\u{0}")["errCode"], 0);
    assert_eq!(ask(&mut world, conn, "anything", "")["errMsg"], WRONG, "names are case-sensitive");
}
