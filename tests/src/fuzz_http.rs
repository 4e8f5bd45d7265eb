//! The bodies of the fuzz targets of HTTP: paths, the route table and the pool; and of JSON.

use std::time::Duration;

use linkspan_core::http::path;
use linkspan_core::http::pool::{Config, Event, Pool, RequestId, Stage, UpstreamId};
use linkspan_core::http::router::{Decision, RegisterError, Router, Style};
use linkspan_core::{Instant, Machine, json};
use serde_json::Value;

use crate::harness::{Checked, Script};
use crate::models::pool::{Key, Model};
use crate::models::router::{METHODS, Plain, Verdict, decide};

/// Any text as a path: cleaned as by a stack of segments, decoded and escaped without a change of meaning.
///
/// # Panics
///
/// If a promise of [`path`] is broken.
pub fn http_path(data: &[u8]) {
    assert_eq!(path::decode(&path::escape(data)).as_deref(), Ok(data), "decoding undoes escaping");
    assert_eq!(path::clean_bytes(&path::clean_bytes(data)), path::clean_bytes(data), "clean is clean");
    let Ok(text) = std::str::from_utf8(data) else { return };
    let clean = path::clean(text);
    assert_eq!(clean, clean_naively(text));
    assert_eq!(path::clean_bytes(data), clean.as_bytes());
    let again = path::escape_again(text);
    assert_eq!(path::escape_again(&again), again);
    assert_eq!(path::is_escaped_well(text), path::decode(text).is_ok());
    if let (Ok(before), Ok(after)) = (path::decode(text), path::decode(&again)) {
        assert_eq!(before, after, "escaping again changes no meaning");
    }
    assert!(path::escape_query(text).bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(text.contains(path::strip_port(text)));
}

/// Cleaning with a stack, segment by segment.
pub fn clean_naively(path: &str) -> String {
    let mut stack: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(stack.pop()),
            name => stack.push(name),
        }
    }
    let is_folder = path.ends_with('/') && !stack.is_empty();
    format!("/{}{}", stack.join("/"), if is_folder { "/" } else { "" })
}

/// A table of patterns, and requests: half of both are of few names and held against the reference, half are any text.
///
/// # Panics
///
/// If the table decides otherwise than the reference, or a redirect leads to another one.
pub fn http_router(data: &[u8]) {
    let mut script = Script::new(data);
    let (mut router, mut plain) = (Router::new(Style::Patterns), Vec::<Plain>::new());
    while !script.is_over() {
        if script.choose(3) == 0 && plain.len() < 12 {
            let new = Plain::new(&pattern(&mut script));
            let old = plain.iter().find(|old| new.conflicts(old)).map(|old| old.text.clone());
            match (router.register(&new.text, plain.len()), old) {
                (Ok(()), None) => plain.push(new),
                (Err(RegisterError::Conflict { old, .. }), Some(expected)) => assert_eq!(*old, *expected),
                (result, expected) => panic!("{}: {result:?}, but the reference: {expected:?}", new.text),
            }
            continue;
        }
        let path: String =
            (0..=script.choose(3)).map(|_| ["/a", "/b", "/z", "/"][script.choose(4)]).collect();
        let path = path::clean(&path).into_owned();
        let (method, host) = (METHODS[script.choose(METHODS.len())], ["", "h", "g"][script.choose(3)]);
        let ours = verdict(&router.route(method, host, &path, None));
        assert_eq!(ours, decide(&plain, method, host, &path), "{method} {host}{path}");
    }
    any_table(data);
}

fn pattern(script: &mut Script<'_>) -> String {
    let mut text = ["", "GET ", "HEAD ", "POST "][script.choose(4)].to_owned();
    text.push_str(["", "", "h"][script.choose(3)]);
    let from = text.len();
    for at in 0..script.choose(3) {
        text.push_str(&["/a".into(), "/b".into(), format!("/{{x{at}}}")][script.choose(3)]);
    }
    let end = ["", "/", "/{$}", "/{r...}"][script.choose(4)];
    text.push_str(if end.is_empty() && text.len() == from { "/" } else { end });
    text
}

/// A decision as the reference would say it.
///
/// # Panics
///
/// If the path is refused: those that are asked about are fine.
pub(crate) fn verdict(decision: &Decision<'_, usize>) -> Verdict {
    match decision {
        Decision::Match(found) => Verdict::Match(found.pattern.into()),
        Decision::Redirect(redirect) => Verdict::Redirect(redirect.pattern.unwrap_or_default().into()),
        Decision::MethodNotAllowed { allow } => {
            Verdict::Methods(allow.split(", ").map(ToOwned::to_owned).collect())
        }
        Decision::NotFound => Verdict::Nothing,
        Decision::BadRequest => panic!("the path is fine"),
    }
}

/// The first line as a request, the others as patterns.
fn any_table(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for style in [Style::Patterns, Style::Classic] {
        let mut router = Router::new(style);
        let mut lines = text.lines().take(16);
        let request = lines.next().unwrap_or_default();
        for (at, line) in lines.enumerate() {
            if let Err(error) = router.register(line, at) {
                assert!(!error.to_string().is_empty());
            }
        }
        let (method, rest) = request.split_once(' ').unwrap_or(("GET", request));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or_default());
        let Decision::Redirect(redirect) = router.route(method, host, path, None) else { continue };
        let location = redirect.location;
        assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{location}");
        let next = router.route(method, host, &location, None);
        assert!(!matches!(next, Decision::Redirect(_)), "{path} leads to {location}, and that on");
    }
}

/// A pool beside its model: any order of events, right and wrong ones.
///
/// # Panics
///
/// If the two differ, or something stays after everything has ended.
pub fn http_pool(data: &[u8]) {
    let mut script = Script::new(data);
    let mut some = |most: usize| (script.choose(2) == 0).then(|| 1 + script.choose(most) as u32);
    let config = Config {
        idle_max: some(3),
        idle_per_key: some(3).unwrap_or(2),
        per_key: some(3),
        total: some(7),
        waiting_per_key: some(5).unwrap_or(3),
        idle_timeout: some(1).map(|_| Duration::from_micros(10)),
        keep_alive: some(8) != Some(8),
    };
    let mut pool = Checked::idle(Pool::<Key>::new(config.clone())).without_digests();
    let mut model = Model::new(config);
    let (mut now, mut next) = (Instant::ORIGIN, 100);
    while !script.is_over() {
        next += 1;
        let (actions, expected) = if script.choose(8) == 0 {
            let until = now + Duration::from_micros([1, 9, 10, 11, 25][script.choose(5)]);
            now = model.deadline().map_or(until, |at| at.min(until));
            (pool.timeout(now), model.timeout(now))
        } else {
            let event = pool_event(&mut script, &model, next);
            (pool.step(now, event.clone()), model.event(now, event))
        };
        assert_eq!(actions, expected);
        assert_eq!(pool.next_timeout(), model.deadline());
        assert_eq!((pool.dials(), pool.idle()), (model.dials.len(), model.idle.len()));
    }
    let mut end = |event: Event<Key>| {
        assert_eq!(pool.step(now, event.clone()), model.event(now, event));
        (model.dials.first().map(|dial| dial.id), model.busy.first().map(|conn| conn.id))
    };
    let mut left = end(Event::CloseIdle);
    while let (Some(_), _) | (_, Some(_)) = left {
        left = match left {
            (Some(dial), _) => end(Event::DialFailed { dial }),
            (_, Some(upstream)) => end(Event::Release { upstream, reusable: false }),
            (None, None) => break,
        };
    }
    end(Event::CloseIdle);
    assert_eq!(pool.keys() + pool.requests() + pool.dials() + pool.upstreams(), 0, "nothing stays");
}

/// Something that fits the state, or names a number that may be wrong.
fn pool_event(script: &mut Script<'_>, model: &Model, next: u64) -> Event<Key> {
    let waiting = model.waiting.iter().map(|one| one.request);
    let requests: Vec<_> = waiting.chain(model.busy.iter().filter_map(|conn| conn.request)).collect();
    let conns: Vec<_> = model.busy.iter().chain(&model.idle).map(|conn| conn.id).collect();
    let request = requests.get(script.choose(requests.len() + 1)).copied().unwrap_or(RequestId(next));
    let upstream = conns.get(script.choose(conns.len() + 1)).copied().unwrap_or(UpstreamId(next));
    let dial = model.dials.get(script.choose(model.dials.len() + 1));
    let dial = dial.map_or(linkspan_core::http::pool::DialId(next), |dial| dial.id);
    let holder = model.busy.iter().find(|conn| conn.id == upstream).and_then(|conn| conn.request);
    match script.choose(12) {
        0..=3 => Event::Acquire { request: RequestId(next), key: script.choose(3) as Key },
        4 | 5 => Event::Dialed { dial, upstream: UpstreamId(next) },
        6 => Event::DialFailed { dial },
        7 | 8 => Event::Release { upstream, reusable: script.choose(4) > 0 },
        9 => Event::Cancel { request },
        10 => [Event::Broken { upstream }, Event::CloseIdle][script.choose(2)].clone(),
        _ => Event::ExchangeFailed {
            request: holder.unwrap_or(request),
            upstream,
            stage: [Stage::NothingWritten, Stage::NoReply, Stage::Partial][script.choose(3)],
            replayable: script.choose(2) == 0,
            rewindable: script.choose(2) == 0,
        },
    }
}

/// Any bytes as JSON: what is taken is what the library takes as an object, member by member.
///
/// # Panics
///
/// If the two differ.
pub fn json_members(data: &[u8]) {
    let mut names = Vec::new();
    let taken = json::members(data, |name, value| {
        let whole: Result<Value, _> = serde_json::from_str(value.as_str());
        let text = value.text().ok().flatten();
        if let (Some(text), Ok(Value::String(expected))) = (&text, &whole) {
            assert_eq!(text, expected);
            let mut written = Vec::new();
            json::push_text(&mut written, text);
            assert_eq!(serde_json::from_slice::<String>(&written).ok().as_deref(), Some(&**text));
        }
        if let (Ok(Some(number)), Ok(Value::Number(expected))) = (value.unsigned(), &whole) {
            assert_eq!(Some(number), expected.as_u64());
        }
        if let (Ok(Some(number)), Ok(Value::Number(expected))) = (value.signed(), &whole) {
            // The library reads -0 as a fraction.
            assert!(Some(number) == expected.as_i64() || value.as_str() == "-0");
        }
        names.push(name.to_owned());
        Ok(())
    });
    match (taken, serde_json::from_slice::<Value>(data)) {
        (Ok(()), Ok(Value::Object(members))) => {
            assert!(names.iter().all(|name| members.contains_key(name)));
            assert!(members.keys().all(|name| names.contains(name)), "all are seen");
        }
        (Ok(()), Ok(Value::Null)) => assert!(names.is_empty()),
        (Ok(()), Ok(other)) => panic!("taken, although it is {other}"),
        // What it cannot hold, a number beyond all bounds or a lone surrogate, is no fault of the text.
        (Ok(()), Err(_)) | (Err(_), _) => {}
    }
}
