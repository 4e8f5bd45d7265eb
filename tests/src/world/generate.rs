//! Plans from seeds: every seed draws which kinds of users, of deeds and of faults there are at all, and how often.

use super::plan::{Fault, Harm, Kind, Op, Plan, Settings, Size, UserPlan, Verb, salted};
use crate::harness::{Random, Script};

const SECOND: u64 = 1_000_000;

/// Where the choices of a plan come from: a seed, or the bytes of a fuzzer.
trait Source {
    /// A number below `end`; 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize;

    /// True once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

impl Source for Random {
    fn below(&mut self, end: usize) -> usize {
        Self::below(self, end)
    }
}

impl Source for Script<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.choose(end)
    }
}

impl Plan {
    /// The world of a seed.
    pub fn from_seed(seed: u64, size: Size) -> Self {
        let mut topology = Random::new(salted(seed, 1));
        let mut settings = any_settings(&mut topology, size);
        let users = any_users(&mut topology, &settings, size);
        settings.foreign = any_foreign(&mut topology);
        let ops = any_ops(&mut Random::new(salted(seed, 2)), &settings, &users, size);
        let faults = any_faults(&mut Random::new(salted(seed, 3)), &settings, users.len(), size);
        Self { seed, size, settings, users, ops, faults }
    }

    /// The small world, or the small mesh, that bytes stand for: when they run out every choice is the first one.
    pub fn from_bytes(data: &[u8]) -> Self {
        let mut choices = Script::new(data);
        let size = if choices.choose(4) == 0 { Size::Cluster } else { Size::Lite };
        let seed = choices.choose(1 << 16) as u64;
        let mut settings = any_settings(&mut choices, size);
        settings.gateways = settings.gateways.min(2);
        // The rest is as large as a small world, so that many can live in a second.
        let users = any_users(&mut choices, &settings, Size::Lite);
        let ops = any_ops(&mut choices, &settings, &users, Size::Lite);
        let faults = any_faults(&mut choices, &settings, users.len(), Size::Lite);
        settings.foreign = any_foreign(&mut choices);
        Self { seed, size, settings, users, ops, faults }
    }
}

fn one_of<T: Copy>(random: &mut impl Source, choices: &[T]) -> T {
    choices[random.below(choices.len())]
}

/// Mostly 0, else one of `choices`.
fn seldom(random: &mut impl Source, times: usize, choices: &[u64]) -> u64 {
    if random.once_in(times) { one_of(random, choices) } else { 0 }
}

fn any_settings(random: &mut impl Source, size: Size) -> Settings {
    let gateways = if size == Size::Cluster { 2 + random.below(3) as u64 } else { 1 };
    let latency = one_of(random, &[10, 1_000, 5_000, 40_000, 300_000]);
    // A narrow window on a long way would take longer for what is said than anybody waits.
    let windows: &[u64] = if latency > 10_000 { &[65_536, 16_384] } else { &[65_536, 8_192, 1_024, 200] };
    Settings {
        gateways,
        shards: one_of(random, &[1, 1, 2, 4]),
        heal: match size {
            Size::Long => 7 * 86_400 * SECOND,
            Size::Crowd => (2 + random.below(5) as u64) * SECOND,
            Size::Lite | Size::Cluster => (3 + random.below(40) as u64) * SECOND,
        },
        late: one_of(random, &[0, 0, 10, 2_000, 50_000]),
        busy: one_of(random, &[0, 0, 0, 20, 5_000]),
        latency,
        jitter: one_of(random, &[0, 100, 5_000, 30_000]),
        window: one_of(random, windows),
        cuts: one_of(random, &[0, 1, 1, 2]),
        bounds: if size == Size::Crowd { 0 } else { one_of(random, &[0, 1, 1, 2]) },
        admission: random.below(7) as u64,
        duplicate: one_of(random, &[1, 1, 0, 2, 3]),
        slow: random.below(4) as u64,
        stamped: random.below(2) as u64,
        lenient: seldom(random, 3, &[1]),
        deflate: seldom(random, 4, &[1, 64]),
        dictionary: random.below(2) as u64,
        passive: seldom(random, 4, &[1]),
        service: one_of(random, &[0, 1_000, 100_000, 3_000_000]),
        silent: seldom(random, 4, &[2, 10]),
        tardy: seldom(random, 4, &[2, 10]),
        bulky: seldom(random, 8, &[2, 10]),
        early: seldom(random, 4, &[1]),
        refuse: seldom(random, 8, &[2, 5]),
        auth: seldom(random, 2, &[1, 2, 3]),
        addresses: if size == Size::Crowd { 200 } else { one_of(random, &[200, 200, 3, 1]) },
        patience: one_of(random, &[0, 0, 1_000_000, 20_000_000]),
        ours: one_of(random, &[1, 1, 0]),
        // What came later is drawn behind the rest, so that no choice has another meaning than it had.
        foreign: 0,
    }
}

fn any_foreign(random: &mut impl Source) -> u64 {
    seldom(random, 8, &[5, 2])
}

fn any_users(random: &mut impl Source, settings: &Settings, size: Size) -> Vec<UserPlan> {
    let count = match size {
        Size::Lite => 1 + random.below(8),
        Size::Cluster => 6 + random.below(24),
        Size::Crowd => 1_000 + random.below(9_000),
        Size::Long => 2,
    };
    // Each seed has only some of the kinds.
    let mut kinds: Vec<Kind> =
        Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Peer && random.once_in(2)).collect();
    if kinds.is_empty() {
        kinds.push(one_of(random, &Kind::ALL[..7]));
    }
    let (names, has_mesh) = (one_of(random, &[2, 4, 64]), random.once_in(2));
    let user = |index: usize| UserPlan {
        kind: one_of(random, &kinds),
        name: 1 + if random.once_in(4) { index } else { random.below(names) } as u64,
        home: random.below(settings.gateways as usize),
        at: random.below(2_000_000) as u64,
    };
    let mut users: Vec<UserPlan> = (0..count).map(user).collect();
    // A mesh, as often as not: each gateway has a link to each other one.
    let gateways = settings.gateways as usize;
    if gateways > 1 && has_mesh {
        let pairs = (0..gateways).flat_map(|own| (0..gateways).map(move |home| (own, home)));
        // Now and then somebody has listed a gateway among its own peers.
        let is_careless = random.once_in(4);
        users.extend(pairs.filter(|(own, home)| own != home || is_careless).map(|(own, home)| UserPlan {
            kind: Kind::Peer,
            name: own as u64,
            home,
            at: 1_000 * (own * gateways + home) as u64,
        }));
    }
    users
}

fn any_size(random: &mut impl Source) -> u64 {
    one_of(random, &[0, 1, 10, 100, 126, 300, 1_000, 4_000, 20_000])
}

fn any_ops(random: &mut impl Source, settings: &Settings, users: &[UserPlan], size: Size) -> Vec<Op> {
    let most = if size == Size::Lite { 60 } else { 400 };
    let count = random.below(most);
    let verbs: Vec<Verb> = Verb::ALL.iter().copied().filter(|_| !random.once_in(3)).collect();
    let mut ops = Vec::with_capacity(count);
    for _ in 0..if verbs.is_empty() { 0 } else { count } {
        let verb = one_of(random, &verbs);
        let (a, b) = match verb {
            Verb::Request => (any_size(random), random.below(8) as u64),
            Verb::Notify => (any_size(random), 0),
            Verb::Fetch => (random.below(1_000) as u64, random.below(8) as u64),
            Verb::Reach => (users[random.below(users.len())].name, random.below(72) as u64),
            Verb::Send => (users[random.below(users.len())].name, any_size(random)),
            Verb::Join | Verb::Leave | Verb::Clear => (random.below(3) as u64, 0),
            Verb::Cast => (random.below(3) as u64, any_size(random)),
            Verb::Flood => (10 + random.below(60) as u64, one_of(random, &[1, 100, 1_000])),
            Verb::HangUp => (one_of(random, &[0, 1, 500, 5_000]), 0),
            Verb::Push => (any_size(random), random.below(4) as u64),
            Verb::Bind | Verb::Unbind => (1 + random.below(6) as u64, 0),
            Verb::Dial | Verb::DialBack => {
                (one_of(random, &[0, 1, 1_000, 40_000, 300_000]), random.below(8) as u64)
            }
            Verb::Kick | Verb::Logout | Verb::Move | Verb::Mute => (0, 0),
        };
        // Removing people all the time would leave nobody to do anything.
        if matches!(verb, Verb::Kick | Verb::Clear | Verb::HangUp | Verb::Logout | Verb::Move | Verb::Mute)
            && !random.once_in(3)
        {
            continue;
        }
        let at = random.below(settings.heal as usize) as u64;
        ops.push(Op { at, user: random.below(users.len()), verb, a, b });
    }
    ops.sort_by_key(|op| op.at);
    ops
}

fn any_faults(random: &mut impl Source, settings: &Settings, users: usize, size: Size) -> Vec<Fault> {
    let most = if size == Size::Lite { 6 } else { 24 };
    let count = random.below(most);
    let harms: Vec<Harm> = Harm::ALL.iter().copied().filter(|_| random.once_in(2)).collect();
    let mut faults = Vec::with_capacity(count);
    // Half of the gateways know remote nodes from the beginning.
    for whom in 0..settings.gateways as usize {
        for node in 1..=random.below(4) as u64 {
            if random.once_in(2) {
                faults.push(Fault { at: node, harm: Harm::NodeUp, whom, span: 0, extra: node });
            }
        }
    }
    for _ in 0..if harms.is_empty() { 0 } else { count } {
        let harm = one_of(random, &harms);
        let span = one_of(random, &[SECOND / 10, SECOND, 5 * SECOND, 12 * SECOND, 40 * SECOND, 200 * SECOND]);
        let gateways = settings.gateways as usize;
        let (whom, span, extra) = match harm {
            Harm::Cut => (random.below(users), 0, 0),
            Harm::Half => (random.below(users), 0, 1 + random.below(3) as u64),
            Harm::Stall | Harm::Deaf | Harm::Nap => (random.below(users), span, 0),
            Harm::Slow => (random.below(users), span, one_of(random, &[10, 1_000, 1_000_000])),
            Harm::Spoil | Harm::Forge => (random.below(users), 0, one_of(random, &[1, 3, 10, 40])),
            Harm::Lie => (random.below(users), 0, one_of(random, &[1, 8, 30])),
            Harm::Upstream => (random.below(gateways), span.min(12 * SECOND), random.below(3) as u64),
            Harm::Split => (random.below(gateways), span, 1 + random.below(3) as u64),
            Harm::Freeze => (random.below(gateways), span, 0),
            Harm::Crash => (random.below(gateways), span.min(12 * SECOND), random.below(2) as u64),
            Harm::Roll => (random.below(gateways), span.min(12 * SECOND), 0),
            Harm::Skew => (random.below(gateways), span, random.below(2) as u64),
            Harm::Exhaust => (random.below(gateways), span.min(5 * SECOND), 0),
            Harm::NodeUp | Harm::NodeDown => (random.below(gateways), 0, 1 + random.below(3) as u64),
            Harm::Partition => (random.below(gateways), span, random.below(2) as u64),
        };
        faults.push(Fault { at: random.below(settings.heal as usize) as u64, harm, whom, span, extra });
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}
