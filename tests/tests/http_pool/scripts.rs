//! The recorded scripts of Go's client pool, replayed.
//!
//! The events of a step are a set. What is different on purpose is listed with its reason, and a listed difference that
//! does not occur fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use linkspan_core::http::pool::{
    Action, Config, DialId, Event, Failure, Pool, RequestId, Stage, UpstreamId, is_replayable, is_reusable,
};
use linkspan_core::{Instant, Machine};
use linkspan_tests::harness::Checked;
use serde::Deserialize;

#[derive(Deserialize)]
struct Scripts {
    scenarios: Vec<Script>,
}

#[derive(Deserialize)]
struct Script {
    name: String,
    config: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    op: String,
    events: BTreeSet<String>,
}

/// A step that ours answers otherwise: the script, the step, the recorded event, ours, the reason.
struct Difference {
    script: &'static str,
    op: &'static str,
    theirs: &'static str,
    ours: &'static str,
    reason: &'static str,
}

const NEVER_USED: &str = "no exchange has run on a late dial, so it is not reported as reused";

const DIFFERENCES: &[Difference] = &[
    Difference {
        script: "max_conns_2_cancel_waiting_dialer",
        op: "dial_ok C1",
        theirs: "got R2 C1 reused=true was_idle=false",
        ours: "got R2 C1 reused=false was_idle=false",
        reason: NEVER_USED,
    },
    Difference {
        script: "max_conns_2_cancel_waiting_dialer",
        op: "dial_ok C2",
        theirs: "got R3 C2 reused=true was_idle=false",
        ours: "got R3 C2 reused=false was_idle=false",
        reason: NEVER_USED,
    },
];

/// What the client side knows of one request.
#[derive(Default)]
struct Exchange {
    method: String,
    rewindable: bool,
    upstream: Option<UpstreamId>,
    /// How the reply was sent, once it has begun.
    reply: Option<String>,
}

/// The client and the server around the pool.
struct World {
    pool: Checked<Pool<String>>,
    now: Instant,
    gated: bool,
    exchanges: BTreeMap<u64, Exchange>,
    dials: BTreeMap<u64, DialId>,
    names: BTreeMap<DialId, u64>,
    events: BTreeSet<String>,
}

fn number(name: &str) -> u64 {
    name[1..].parse().unwrap()
}

fn span(text: &str) -> Duration {
    Duration::from_millis(text.strip_suffix("ms").unwrap().parse().unwrap())
}

fn config(settings: &BTreeMap<String, String>) -> (Config, bool) {
    // The defaults of the recorded client: 2 idle per host, nothing else bounded, no timeout.
    let mut config = Config { idle_max: None, idle_per_key: 2, idle_timeout: None, ..Config::default() };
    let mut gated = false;
    for (name, value) in settings {
        match name.as_str() {
            "dial" => gated = value == "gated",
            "DisableKeepAlives" => config.keep_alive = value != "true",
            "IdleConnTimeout" => config.idle_timeout = Some(span(value)),
            "MaxConnsPerHost" => config.per_key = Some(value.parse().unwrap()),
            "MaxIdleConns" => config.idle_max = Some(value.parse().unwrap()),
            // A negative number keeps no connection and hands none on: the same as no keep-alive.
            "MaxIdleConnsPerHost" if value.starts_with('-') => config.keep_alive = false,
            "MaxIdleConnsPerHost" => config.idle_per_key = value.parse().unwrap(),
            other => panic!("unknown setting {other}"),
        }
    }
    (config, gated)
}

impl World {
    fn new(settings: &BTreeMap<String, String>) -> Self {
        let (config, gated) = config(settings);
        Self {
            pool: Checked::idle(Pool::new(config)),
            now: Instant::ORIGIN,
            gated,
            exchanges: BTreeMap::new(),
            dials: BTreeMap::new(),
            names: BTreeMap::new(),
            events: BTreeSet::new(),
        }
    }

    fn event(&mut self, event: Event<String>) {
        let actions = self.pool.step(self.now, event);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action<String>>) {
        let mut connected = Vec::new();
        for action in actions {
            match action {
                Action::Dial { dial, key } => {
                    let name = self.dials.len() as u64 + 1;
                    self.dials.insert(name, dial);
                    self.names.insert(dial, name);
                    self.events.insert(format!("dial C{name} key {key}"));
                    connected.push(name);
                }
                Action::AbortDial { dial } => {
                    self.events.insert(format!("dial_cancelled C{}", self.names[&dial]));
                }
                Action::Deliver { request: RequestId(request), upstream, reused, was_idle } => {
                    let name = upstream.0;
                    self.exchanges.get_mut(&request).unwrap().upstream = Some(upstream);
                    self.events.insert(format!("got R{request} C{name} reused={reused} was_idle={was_idle}"));
                    self.events.insert(format!("server_saw R{request} on C{name}"));
                }
                Action::Fail { request: RequestId(request), failure } => {
                    let replied = self.exchanges[&request].reply.as_deref() == Some("partial");
                    self.events.insert(match failure {
                        Failure::Exchange if replied => format!("read_error R{request} unexpected EOF"),
                        Failure::Exchange => format!("error R{request} EOF"),
                        _ => format!("error R{request} dial failed"),
                    });
                }
                Action::Close { upstream: UpstreamId(name), .. } => {
                    self.events.insert(format!("close C{name}"));
                }
                Action::Retry { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for name in connected {
            if !self.gated {
                self.event(Event::Dialed { dial: self.dials[&name], upstream: UpstreamId(name) });
            }
        }
    }

    fn op(&mut self, op: &str) {
        let words: Vec<_> = op.split(' ').collect();
        match words[..] {
            ["start", request, key, ref more @ ..] => self.start(number(request), key, more),
            ["dial_ok", name] => {
                let dial = self.dials[&number(name)];
                self.event(Event::Dialed { dial, upstream: UpstreamId(number(name)) });
            }
            ["dial_err", name] => {
                let dial = self.dials[&number(name)];
                self.event(Event::DialFailed { dial });
            }
            ["respond", request, how] => self.respond(number(request), how),
            ["read", request] => self.read(number(request)),
            // What is left of a reply is read if there is little of it.
            ["close_body", request] => {
                let little = self.exchanges[&number(request)].reply.as_deref() != Some("big");
                self.finish(number(request), little);
            }
            ["cancel", request] => {
                self.event(Event::Cancel { request: RequestId(number(request)) });
                self.events.insert(format!("error {request} context canceled"));
            }
            ["server_close", name] => self.event(Event::Broken { upstream: UpstreamId(number(name)) }),
            ["close_idle"] => self.event(Event::CloseIdle),
            ["wait", time] => self.wait(span(time)),
            _ => panic!("unknown step {op}"),
        }
    }

    fn start(&mut self, request: u64, key: &str, more: &[&str]) {
        let method = more.first().copied().unwrap_or("GET");
        let rewindable = more.get(1).is_none_or(|body| *body == "replayable");
        let exchange = Exchange { method: method.into(), rewindable, ..Exchange::default() };
        self.exchanges.insert(request, exchange);
        self.event(Event::Acquire { request: RequestId(request), key: key.into() });
    }

    fn respond(&mut self, request: u64, how: &str) {
        let exchange = self.exchanges.get_mut(&request).unwrap();
        if matches!(how, "eof" | "rst") {
            let stage = Stage::NoReply;
            return self.fail(request, stage);
        }
        exchange.reply = Some(how.into());
        self.events.insert(format!("response R{request} 200"));
        if how == "empty" {
            self.finish(request, true);
        }
    }

    fn read(&mut self, request: u64) {
        if self.exchanges[&request].reply.as_deref() == Some("partial") {
            self.fail(request, Stage::Partial);
        } else {
            self.finish(request, true);
        }
    }

    fn fail(&mut self, request: u64, stage: Stage) {
        let exchange = &self.exchanges[&request];
        self.event(Event::ExchangeFailed {
            request: RequestId(request),
            upstream: exchange.upstream.unwrap(),
            stage,
            replayable: is_replayable(&exchange.method, false),
            rewindable: exchange.rewindable,
        });
    }

    fn finish(&mut self, request: u64, is_complete: bool) {
        let exchange = &self.exchanges[&request];
        let how = exchange.reply.as_deref().unwrap();
        let reusable = is_reusable(how == "close", how != "http10", 200, &exchange.method, is_complete);
        let upstream = exchange.upstream.unwrap();
        self.event(Event::Release { upstream, reusable });
        if reusable {
            let refused = self.events.contains(&format!("close C{}", upstream.0));
            self.events.insert(format!("put_idle R{request} {}", if refused { "err" } else { "ok" }));
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.pool.next_timeout().filter(|at| *at <= until) {
            self.now = at;
            let actions = self.pool.timeout(at);
            self.perform(actions);
        }
        self.now = until;
    }
}

#[test]
fn scripts_run_as_recorded() {
    let file: Scripts =
        serde_json::from_str(include_str!("../../vectors/http/transport_pool.json")).expect("scripts");
    assert_eq!(file.scenarios.len(), 25, "scripts in the file");
    let (mut used, mut failures) = (BTreeSet::new(), Vec::new());
    for script in &file.scenarios {
        let mut world = World::new(&script.config);
        for step in &script.steps {
            world.op(&step.op);
            let mut theirs = step.events.clone();
            for (at, one) in DIFFERENCES.iter().enumerate() {
                if one.script == script.name && one.op == step.op {
                    assert!(theirs.remove(one.theirs), "{}: {}", one.script, one.theirs);
                    theirs.insert(one.ours.into());
                    used.insert(at);
                }
            }
            let ours = std::mem::take(&mut world.events);
            if ours != theirs {
                failures.push(format!("{}: {}: ours {ours:?} theirs {theirs:?}", script.name, step.op));
            }
        }
    }
    for (at, one) in DIFFERENCES.iter().enumerate() {
        assert!(used.contains(&at), "unused: {} {} ({})", one.script, one.op, one.reason);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
