//! Servers in any mesh: what each knows of its peers becomes what they have, and no request takes a third hop.

use std::collections::{BTreeSet, VecDeque};

use linkspan_core::hub::directory::Change;
use linkspan_tests::harness::Random;
use proptest::prelude::*;

use super::*;

/// A link from the server that opened it to the one that accepted it.
struct Link {
    opener: usize,
    acceptor: usize,
    /// Its connection at the opener, who announces.
    listener: u64,
    /// Its connection at the acceptor, who learns.
    link: u64,
    /// What is on its way.
    wire: VecDeque<Change>,
    /// Whether the opener has told all that it was given to tell.
    owes_ready: bool,
}

struct Mesh {
    servers: Vec<Desk>,
    clients: Vec<(usize, u64)>,
    links: Vec<Link>,
    /// Acceptors that do not know yet that a link is dead.
    half_open: Vec<(usize, u64)>,
    conns: u64,
    random: Random,
}

impl Mesh {
    fn new(servers: usize, seed: u64) -> Self {
        let names: BTreeSet<_> = (0..servers).map(|server| key(&format!("server{server}"))).collect();
        let make = |server: usize| {
            let own = Some(key(&format!("server{server}")));
            Desk::new(Config { own, peers: names.clone(), ..Config::default() })
        };
        Self {
            servers: (0..servers).map(make).collect(),
            clients: Vec::new(),
            links: Vec::new(),
            half_open: Vec::new(),
            conns: 0,
            random: Random::new(seed),
        }
    }

    fn mint(&mut self) -> u64 {
        self.conns += 1;
        self.conns
    }

    fn perform(&mut self, server: usize, actions: Vec<Action<u64>>) {
        for action in actions {
            match action {
                Action::Announce { to, changes } => {
                    let link = self.links.iter_mut().find(|link| link.listener == to.mailbox).expect("open");
                    assert_eq!(link.opener, server);
                    link.wire.extend(changes);
                    link.owes_ready = true;
                }
                Action::Close { to, .. } => self.half_open.retain(|(_, conn)| *conn != to.mailbox),
                Action::Mark(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn connect(&mut self, opener: usize, acceptor: usize) {
        let is_open = self.links.iter().any(|link| (link.opener, link.acceptor) == (opener, acceptor));
        if opener == acceptor || is_open {
            return;
        }
        let (listener, link) = (self.mint(), self.mint());
        self.links.push(Link { opener, acceptor, listener, link, wire: VecDeque::new(), owes_ready: false });
        let actions = self.servers[acceptor].link(link, &format!("server{opener}"));
        self.perform(acceptor, actions);
        let actions = self.servers[opener].event(Event::Listen(address(listener)));
        self.perform(opener, actions);
    }

    fn cut(&mut self, at: usize) {
        let Link { opener, acceptor, listener, link, .. } = self.links.swap_remove(at);
        let actions = self.servers[opener].gone(listener);
        assert_eq!(actions, []);
        if self.random.below(2) == 0 {
            self.half_open.push((acceptor, link));
        } else {
            assert_eq!(self.servers[acceptor].gone(link), []);
        }
    }

    /// One thing arrives, or one listener is ready for more; says whether there was any.
    fn settle_one(&mut self) -> bool {
        let busy: Vec<_> = (0..self.links.len())
            .filter(|at| !self.links[*at].wire.is_empty() || self.links[*at].owes_ready)
            .collect();
        if busy.is_empty() {
            return false;
        }
        let at = busy[self.random.below(busy.len())];
        let link = &mut self.links[at];
        let (opener, acceptor, listener, conn) = (link.opener, link.acceptor, link.listener, link.link);
        let is_ready = link.owes_ready && (link.wire.is_empty() || self.random.below(2) == 0);
        if is_ready {
            link.owes_ready = false;
            let actions = self.servers[opener].event(Event::Ready(ConnId(listener)));
            self.perform(opener, actions);
        } else if let Some(Change { session, is_added }) = link.wire.pop_front() {
            let link = ConnId(conn);
            let event = if is_added {
                Event::Announced { link, session }
            } else {
                Event::Withdrawn { link, session }
            };
            let actions = self.servers[acceptor].event(event);
            self.perform(acceptor, actions);
        }
        true
    }

    fn step(&mut self) {
        let count = self.servers.len();
        let [one, other] = [self.random.below(count), self.random.below(count)];
        match self.random.below(12) {
            0..=2 => {
                let (conn, client) = (self.mint(), format!("client{}", self.random.below(6)));
                self.clients.push((one, conn));
                let actions = self.servers[one].add(conn, &client);
                self.perform(one, actions);
            }
            3 if !self.clients.is_empty() => {
                let at = self.random.below(self.clients.len());
                let (server, conn) = self.clients.swap_remove(at);
                let actions = self.servers[server].gone(conn);
                self.perform(server, actions);
            }
            4 if !self.links.is_empty() => {
                let at = self.random.below(self.links.len());
                self.cut(at);
            }
            5 if !self.half_open.is_empty() => {
                let (server, conn) = self.half_open.swap_remove(0);
                assert_eq!(self.servers[server].gone(conn), []);
            }
            6 | 7 => self.connect(one, other),
            8 => self.request(one),
            _ => _ = self.settle_one(),
        }
    }

    /// A request for a client, or for a server, or for nobody: it visits the server it comes to, and one more at most.
    fn request(&mut self, server: usize) {
        let names = [format!("client{}", self.random.below(7)), format!("server{}", self.random.below(7))];
        let name = &names[self.random.below(2)];
        if let Answer::Peer(link) = self.servers[server].anywhere(name) {
            let Some(link) = self.links.iter().find(|one| one.link == link) else { return };
            let next = self.servers[link.opener].seek(name, Scope::LocalOnly);
            assert!(matches!(next, Answer::Here(_) | Answer::Nowhere), "{next:?} is a third hop");
        }
    }

    /// Everything that is still to be known becomes known, and is what is.
    fn converge(&mut self) {
        let all = 0..self.servers.len();
        for (one, other) in all.clone().flat_map(|one| all.clone().map(move |other| (one, other))) {
            self.connect(one, other);
        }
        for (server, conn) in std::mem::take(&mut self.half_open) {
            assert_eq!(self.servers[server].gone(conn), []);
        }
        let mut steps = 0;
        while self.settle_one() {
            steps += 1;
            assert!(steps < 100_000, "the mesh talks for ever");
        }
        for link in &self.links {
            let real: Vec<_> = self.servers[link.opener]
                .directory
                .clients()
                .map(|(client, number, _)| (client, number))
                .collect();
            let mut learnt: Vec<_> =
                self.servers[link.acceptor].directory.announced_on(ConnId(link.link)).collect();
            learnt.sort_by_key(|(client, number)| ((*client).clone(), *number));
            let mut sorted = real;
            sorted.sort_by_key(|(client, number)| ((*client).clone(), *number));
            assert_eq!(learnt, sorted, "what {} knows of {}", link.acceptor, link.opener);
        }
        let here: usize = self.servers.iter().map(|server| server.directory.sessions()).sum();
        let learnt: usize = self.servers.iter().map(|server| server.directory.announced()).sum();
        assert_eq!(learnt, here * (self.servers.len() - 1));
    }
}

/// A mesh takes hundreds of steps.
fn some_cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(4), ..usual }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn any_mesh_converges_and_forwards_once(servers in 1..6_usize, steps in 0..400_usize, seed in any::<u64>()) {
        let mut mesh = Mesh::new(servers, seed);
        for _ in 0..steps {
            mesh.step();
        }
        mesh.converge();
        for _ in 0..20 {
            let server = mesh.random.below(servers);
            mesh.request(server);
        }
    }
}

/// A peer that announces everything to everybody gains no more than the dials that nobody else could serve.
#[test]
fn a_liar_is_asked_only_for_what_nobody_has() {
    let mut mesh = Mesh::new(3, 7);
    for (opener, acceptor) in [(0, 1), (1, 0), (2, 0)] {
        mesh.connect(opener, acceptor);
    }
    let actions = mesh.servers[0].add(100, "client0");
    mesh.perform(0, actions);
    let liar = mesh.links.iter().find(|link| link.opener == 2).expect("connected").link;
    for name in ["client0", "client1", "server0", "server1", "server2"] {
        mesh.servers[0].announced(liar, name, 1);
    }
    assert_eq!(mesh.servers[0].anywhere("client0"), Answer::Here(100));
    assert_eq!(mesh.servers[0].anywhere("client1"), Answer::Peer(liar));
    for server in ["server0", "server1", "server2"] {
        assert_eq!(mesh.servers[0].anywhere(server), Answer::Nowhere);
    }
}
