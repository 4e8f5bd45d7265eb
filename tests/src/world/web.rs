//! A gateway as a proxy: a route table, a pool of connections to upstreams, and upstreams that refuse, are slow, or die.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use linkspan_core::http::framing::Framing;
use linkspan_core::http::pool::{
    Action, Config, DialId, Event, Failure, Pool, RequestId, Stage, UpstreamId, is_replayable,
};
use linkspan_core::http::router::{Decision, Router, Style};
use linkspan_core::{Instant, Machine, Mark};

use super::agenda::What;
use super::plan::{Op, Settings};
use super::sim::Sim;
use crate::fuzz_http::verdict;
use crate::harness::Checked;
use crate::models::pool::{Key, Model};
use crate::models::router::{METHODS, Plain, decide, paths};

/// How many upstreams there are.
const UPSTREAMS: usize = 3;
/// How long a dial may take.
const DIAL_TIMEOUT: u64 = 5_000_000;
/// How long an exchange may take.
const EXCHANGE_TIMEOUT: u64 = 15_000_000;

/// The patterns of the table; the number of each decides which upstream it leads to.
const PATTERNS: [&str; 8] =
    ["/", "GET /a", "/a/{x}", "POST /a/b", "/b/", "h/b/{r...}", "GET /a/{x}/b", "h/{$}"];

/// What a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// An answer, after which the connection may be used again.
    Answer,
    /// An answer that ends the connection.
    LastAnswer,
    /// The connection breaks before anything was written.
    Unwritten,
    /// The connection ends without a word.
    Silence,
    /// The answer is cut short.
    Partial,
    /// No answer, for as long as anybody waits.
    Never,
    /// The client does not wait.
    GivenUp,
}

const FATES: [Fate; 8] = [
    Fate::Answer,
    Fate::Answer,
    Fate::LastAnswer,
    Fate::Unwritten,
    Fate::Silence,
    Fate::Partial,
    Fate::Never,
    Fate::GivenUp,
];

/// What happens later.
#[derive(Clone, Copy, Debug)]
enum Later {
    Dialed(DialId, Key),
    DialFailed(DialId),
    Fate(RequestId, UpstreamId, Fate),
    GiveUp(RequestId),
    Idle,
}

/// One request and where it is on its way.
#[derive(Debug)]
struct Exchange {
    key: Key,
    fate: Fate,
    is_replayable: bool,
    on: Option<UpstreamId>,
    tries: u32,
}

/// The table that all gateways have, and its reference.
fn table() -> &'static (Router<usize>, Vec<Plain>) {
    static TABLE: OnceLock<(Router<usize>, Vec<Plain>)> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut router = Router::new(Style::Patterns);
        for (at, pattern) in PATTERNS.iter().enumerate() {
            router.register(pattern, at).expect("a good pattern");
        }
        (router, PATTERNS.iter().map(|pattern| Plain::new(pattern)).collect())
    })
}

/// The paths that are asked for.
fn asked() -> &'static [String] {
    static PATHS: OnceLock<Vec<String>> = OnceLock::new();
    PATHS.get_or_init(paths)
}

/// The proxy of one gateway.
#[derive(Debug)]
pub(super) struct Web {
    pool: Checked<Pool<Key>>,
    model: Model,
    exchanges: BTreeMap<RequestId, Exchange>,
    /// Connections, and whose each is.
    upstreams: BTreeMap<UpstreamId, (Key, Option<RequestId>)>,
    later: BTreeMap<u64, Later>,
    /// Until when each upstream refuses everybody.
    down_until: [u64; UPSTREAMS],
    /// Numbers of requests, connections and things to do; none is used twice, whatever life of the gateway it is.
    last: u64,
    timer: Option<Instant>,
}

impl Web {
    pub(super) fn new(life: u64, settings: &Settings) -> Self {
        let (per_key, total, waiting) = match settings.bounds {
            0 => (None, Some(1_024), 1_024),
            1 => (Some(2), Some(5), 8),
            _ => (Some(1), Some(2), 2),
        };
        let config = Config {
            per_key,
            total,
            waiting_per_key: waiting,
            idle_timeout: Some(Duration::from_secs(20)),
            ..Config::default()
        };
        Self {
            pool: Checked::idle(Pool::new(config.clone())).without_digests(),
            model: Model::new(config),
            exchanges: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            later: BTreeMap::new(),
            down_until: [0; UPSTREAMS],
            last: life << 32,
            timer: None,
        }
    }

    /// Requests without an end.
    pub(super) fn open_ones(&self) -> usize {
        self.exchanges.len()
    }

    fn is_down(&self, key: Key, now: u64) -> bool {
        self.down_until[usize::from(key) % UPSTREAMS] > now
    }
}

impl Sim<'_> {
    /// A visitor asks a gateway for a path.
    pub(super) fn fetch(&mut self, op: Op, home: usize) {
        let (router, plain) = table();
        let (a, paths) = (op.a as usize, asked());
        let (method, host) = (METHODS[a % METHODS.len()], ["", "h"][a / 4 % 2]);
        let path = &paths[a / 8 % paths.len()];
        let decision = router.route(method, host, path, None);
        assert_eq!(verdict(&decision), decide(plain, method, host, path), "G4: {method} {host}{path}");
        self.ledger.counts.fetches += 1;
        if self.is_doubtful(op.a, method, host, path) {
            self.count(Mark::FramingDoubtful);
            self.ledger.counts.fetched += 1;
            return;
        }
        let Decision::Match(found) = decision else {
            self.ledger.counts.fetched += 1;
            return;
        };
        let key = (*found.handler % UPSTREAMS) as Key;
        let fate = FATES[op.b as usize % FATES.len()];
        let web = &mut self.gateways[home].web;
        web.last += 1;
        let request = RequestId(web.last);
        let is_replayable = is_replayable(method, false);
        web.exchanges.insert(request, Exchange { key, fate, is_replayable, on: None, tries: 0 });
        self.tell_pool(home, Event::Acquire { request, key });
        if fate == Fate::GivenUp {
            let span = self.random.below(2_000_000) as u64;
            self.put_off_web(home, span, Later::GiveUp(request));
        }
    }

    /// Whether two servers could cut a visitor's request differently: one in some says twice how long its body is.
    fn is_doubtful(&mut self, number: u64, method: &str, host: &str, path: &str) -> bool {
        let body =
            ["content-length: 0", "transfer-encoding: chunked", "content-length: 5\r\nTransfer-Encoding:\tx"];
        let which = number as usize % 31 % body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{}\r\n\r\n", body[which]);
        let (one, other) = head.as_bytes().split_at(self.random.below(head.len()));
        let mut framing = Framing::new();
        [one, other].into_iter().for_each(|piece| framing.handle_bytes(piece));
        assert_eq!(framing.is_doubtful(1), which == 2, "G4: the framing of {head:?}");
        which == 2
    }

    /// An upstream of a gateway is gone for a while, with every connection to it.
    pub(super) fn drop_upstream(&mut self, home: usize, until: u64, which: u64) {
        let key = (which as usize % UPSTREAMS) as Key;
        let web = &mut self.gateways[home].web;
        web.down_until[usize::from(key)] = until;
        let broken: Vec<_> = web
            .upstreams
            .iter()
            .filter(|(_, (own, _))| *own == key)
            .map(|(id, (_, of))| (*id, *of))
            .collect();
        for (upstream, holder) in broken {
            match holder {
                None => self.tell_pool(home, Event::Broken { upstream }),
                Some(request) => {
                    let stage = [Stage::NothingWritten, Stage::NoReply, Stage::Partial][self.random.below(3)];
                    self.exchange_failed(home, request, upstream, stage);
                }
            }
        }
    }

    /// Every upstream answers again.
    pub(super) fn heal_web(&mut self, home: usize) {
        self.gateways[home].web.down_until = [0; UPSTREAMS];
    }

    fn put_off_web(&mut self, home: usize, span: u64, later: Later) {
        let web = &mut self.gateways[home].web;
        web.last += 1;
        web.later.insert(web.last, later);
        let token = web.last;
        self.agenda.enter(self.now + span, What::Web(home, token));
    }

    /// Time for something that was put off.
    pub(super) fn web(&mut self, home: usize, token: u64) {
        let web = &mut self.gateways[home].web;
        let Some(later) = web.later.remove(&token) else { return };
        match later {
            Later::Dialed(dial, key) if !web.is_down(key, self.now) => {
                web.last += 1;
                let upstream = UpstreamId(web.last);
                web.upstreams.insert(upstream, (key, None));
                self.tell_pool(home, Event::Dialed { dial, upstream });
            }
            Later::Dialed(dial, _) | Later::DialFailed(dial) => {
                self.tell_pool(home, Event::DialFailed { dial });
            }
            Later::Fate(request, upstream, fate) => self.meet(home, request, upstream, fate),
            Later::GiveUp(request) => self.give_up(home, request),
            Later::Idle => self.idle_for_long(home),
        }
    }

    fn idle_for_long(&mut self, home: usize) {
        let gateway = &mut self.gateways[home];
        let now = gateway.clock(self.now);
        gateway.web.timer = None;
        let actions = gateway.web.pool.timeout(now);
        let expected = gateway.web.model.timeout(now);
        self.obey_pool(home, actions, &expected);
    }

    fn give_up(&mut self, home: usize, request: RequestId) {
        let web = &mut self.gateways[home].web;
        if let Some(exchange) = web.exchanges.remove(&request) {
            if let Some((_, holder)) = exchange.on.and_then(|on| web.upstreams.get_mut(&on)) {
                *holder = None;
            }
            self.ledger.counts.fetches_failed += 1;
            self.tell_pool(home, Event::Cancel { request });
        }
    }

    /// What a request meets at its upstream, if it is still there.
    fn meet(&mut self, home: usize, request: RequestId, upstream: UpstreamId, fate: Fate) {
        let web = &mut self.gateways[home].web;
        if web.exchanges.get(&request).is_none_or(|exchange| exchange.on != Some(upstream)) {
            return;
        }
        let stage = match fate {
            Fate::Answer | Fate::LastAnswer | Fate::GivenUp => {
                web.exchanges.remove(&request);
                if let Some((_, holder)) = web.upstreams.get_mut(&upstream) {
                    *holder = None;
                }
                self.ledger.counts.fetched += 1;
                return self.tell_pool(home, Event::Release { upstream, reusable: fate == Fate::Answer });
            }
            Fate::Unwritten => Stage::NothingWritten,
            Fate::Silence => Stage::NoReply,
            Fate::Partial | Fate::Never => Stage::Partial,
        };
        self.exchange_failed(home, request, upstream, stage);
    }

    fn exchange_failed(&mut self, home: usize, request: RequestId, upstream: UpstreamId, stage: Stage) {
        let web = &mut self.gateways[home].web;
        let Some(exchange) = web.exchanges.get_mut(&request) else { return };
        let replayable = exchange.is_replayable;
        exchange.on = None;
        if let Some((_, holder)) = web.upstreams.get_mut(&upstream) {
            *holder = None;
        }
        let rewindable = !request.0.is_multiple_of(5);
        self.tell_pool(home, Event::ExchangeFailed { request, upstream, stage, replayable, rewindable });
    }

    fn tell_pool(&mut self, home: usize, event: Event<Key>) {
        let gateway = &mut self.gateways[home];
        let now = gateway.clock(self.now);
        let actions = gateway.web.pool.step(now, event.clone());
        let expected = gateway.web.model.event(now, event);
        self.obey_pool(home, actions, &expected);
    }

    fn obey_pool(&mut self, home: usize, actions: Vec<Action<Key>>, expected: &[Action<Key>]) {
        assert_eq!(actions, expected, "G6: the pool of gateway {home} and its model differ");
        for action in actions {
            self.trace.tell(self.now, || [format!("g{home}"), "pool".into(), format!("{action:?}")]);
            match action {
                Action::Dial { dial, key } => self.dial_upstream(home, dial, key),
                Action::AbortDial { .. } => {}
                Action::Deliver { request, upstream, .. } => self.delivered(home, request, upstream),
                Action::Fail { request, failure } => {
                    let was_open = self.gateways[home].web.exchanges.remove(&request).is_some();
                    assert!(was_open, "G6: request {request:?} has two outcomes");
                    self.ledger.counts.fetches_failed += 1;
                    match failure {
                        Failure::TooManyUpstreams => self.count(Mark::UpstreamsFull),
                        Failure::TooManyWaiting => self.count(Mark::UpstreamQueueFull),
                        Failure::Dial | Failure::Exchange => {}
                    }
                }
                Action::Close { upstream, .. } => {
                    let closed = self.gateways[home].web.upstreams.remove(&upstream);
                    let is_free = closed.is_none_or(|(_, holder)| holder.is_none());
                    assert!(is_free, "G6: {upstream:?} is closed under its request");
                }
                Action::Retry { request } => {
                    let exchange = self.gateways[home].web.exchanges.get_mut(&request);
                    let Some(exchange) = exchange else { panic!("G6: {request:?} is over and tried again") };
                    exchange.tries += 1;
                    // What kills every connection that it is tried on must come to an end with the first fresh one.
                    assert!(exchange.tries < 100, "G6: {request:?} is tried for ever");
                }
                other => panic!("pool: {other:?} is new"),
            }
        }
        let gateway = &mut self.gateways[home];
        if let Some(due) = gateway.web.pool.next_timeout()
            && gateway.web.timer.is_none_or(|timer| due < timer)
        {
            gateway.web.timer = Some(due);
            // What fell due while nothing ran has its turn in the next moment; that nothing stays due is checked.
            let span = gateway.when(due).saturating_sub(self.now).max(1);
            self.put_off_web(home, span, Later::Idle);
        }
    }

    fn dial_upstream(&mut self, home: usize, dial: DialId, key: Key) {
        let (is_down, is_calm) = (self.gateways[home].web.is_down(key, self.now), self.is_calm());
        let wait = self.random.below(50_000) as u64;
        let (span, later) = match self.random.below(8) {
            _ if is_down => (wait, Later::DialFailed(dial)),
            0 if !is_calm => (wait, Later::DialFailed(dial)),
            1 if !is_calm => (DIAL_TIMEOUT, Later::DialFailed(dial)),
            2 if !is_calm => (20 * wait, Later::Dialed(dial, key)),
            _ => (wait, Later::Dialed(dial, key)),
        };
        self.put_off_web(home, span, later);
    }

    fn delivered(&mut self, home: usize, request: RequestId, upstream: UpstreamId) {
        let is_calm = self.is_calm();
        let web = &mut self.gateways[home].web;
        let Some(exchange) = web.exchanges.get_mut(&request) else {
            panic!("G6: {request:?} has two outcomes");
        };
        let conn = web.upstreams.get_mut(&upstream);
        let Some((key, holder)) = conn else { panic!("G6: {upstream:?} is closed and handed out") };
        assert_eq!(*key, exchange.key, "G6: {request:?} is led elsewhere");
        assert!(holder.replace(request).is_none(), "G6: {upstream:?} carries two requests at once");
        exchange.on = Some(upstream);
        let fate = if is_calm { Fate::Answer } else { exchange.fate };
        let span = match fate {
            Fate::Never => EXCHANGE_TIMEOUT,
            Fate::Unwritten => 0,
            _ => self.random.below(self.plan.settings.service_most(is_calm) + 1) as u64,
        };
        self.put_off_web(home, span, Later::Fate(request, upstream, fate));
    }

    /// A gateway's process is gone, and its requests with it.
    pub(super) fn web_crashed(&mut self, home: usize) {
        self.ledger.counts.fetches_failed += self.gateways[home].web.open_ones() as u64;
    }

    /// Nothing of the pool is left once what is idle is closed.
    pub(super) fn check_web_floor(&mut self) {
        for home in 0..self.gateways.len() {
            self.tell_pool(home, Event::CloseIdle);
            let Web { pool, upstreams, .. } = &self.gateways[home].web;
            let left = [pool.keys(), pool.requests(), pool.dials(), pool.upstreams(), upstreams.len()];
            assert_eq!(left, [0; 5], "A9: gateway {home}: the pool keeps something");
        }
    }
}
