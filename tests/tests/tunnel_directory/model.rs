//! The directory against a list of what happened, and the laws of every machine.

use std::collections::BTreeSet;

use linkspan_tests::laws;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Add(u64, usize),
    Link(u64, usize),
    Listen(u64),
    Ready(u64),
    Gone(u64),
    Health(u64, bool),
    Announced(u64, usize, i64),
    Withdrawn(u64, usize, i64),
    Seek(usize, bool, Option<u64>),
    Forgo(u64),
}

pub(super) const CLIENTS: [&str; 4] = ["a", "b", "c", "second"];
pub(super) const PEERS: [&str; 3] = ["first", "second", "third"];

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let conn = || 1..9_u64;
    prop_oneof![
        4 => (conn(), 0..4_usize).prop_map(|(conn, client)| Step::Add(conn, client)),
        3 => (conn(), 0..3_usize).prop_map(|(conn, peer)| Step::Link(conn, peer)),
        1 => conn().prop_map(Step::Listen),
        1 => conn().prop_map(Step::Ready),
        3 => conn().prop_map(Step::Gone),
        3 => (conn(), any::<bool>()).prop_map(|(conn, is_lively)| Step::Health(conn, is_lively)),
        6 => (conn(), 0..4_usize, 0..3_i64).prop_map(|(link, client, number)| Step::Announced(link, client, number)),
        2 => (conn(), 0..4_usize, 0..3_i64).prop_map(|(link, client, number)| Step::Withdrawn(link, client, number)),
        6 => (0..4_usize, any::<bool>(), prop::option::of(0..5_000_u64))
            .prop_map(|(client, is_local, wait)| Step::Seek(client, is_local, wait)),
        1 => (1..40_u64).prop_map(Step::Forgo),
    ]
}

#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) conn: u64,
    pub(super) peer: usize,
    is_lively: bool,
    pub(super) announced: BTreeSet<(usize, i64)>,
    /// The clients in the order in which it first had them.
    clients: Vec<(u64, usize)>,
}

/// Everything as lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    steps: u64,
    pub(super) sessions: Vec<(u64, usize, bool)>,
    pub(super) links: Vec<Link>,
    listeners: Vec<u64>,
}

impl Model {
    pub(super) fn is_known(&self, conn: u64) -> bool {
        self.sessions.iter().any(|session| session.0 == conn)
            || self.links.iter().any(|link| link.conn == conn)
            || self.listeners.contains(&conn)
    }

    pub(super) fn step(&mut self, step: Step) {
        self.steps += 1;
        let now = self.steps;
        match step {
            Step::Add(conn, client) if !self.is_known(conn) => {
                let of_client = self.sessions.iter().filter(|session| session.1 == client).count();
                if of_client < 2 {
                    self.sessions.push((conn, client, true));
                }
            }
            Step::Link(conn, peer) if !self.is_known(conn) && peer != 0 => {
                self.links.retain(|link| link.peer != peer);
                self.links.push(Link { conn, peer, is_lively: true, ..Link::default() });
            }
            Step::Listen(conn) if !self.is_known(conn) => self.listeners.push(conn),
            Step::Gone(conn) => {
                self.sessions.retain(|session| session.0 != conn);
                self.links.retain(|link| link.conn != conn);
                self.listeners.retain(|listener| *listener != conn);
            }
            Step::Health(conn, is_lively) => {
                self.sessions.iter_mut().filter(|one| one.0 == conn).for_each(|one| one.2 = is_lively);
                self.links
                    .iter_mut()
                    .filter(|one| one.conn == conn)
                    .for_each(|one| one.is_lively = is_lively);
            }
            Step::Announced(conn, client, number) => {
                // The last client has the name of a peer.
                let is_server = CLIENTS[client] == PEERS[1] && self.links.iter().any(|link| link.peer == 1);
                let link = self.links.iter_mut().find(|link| link.conn == conn && !is_server);
                if let Some(link) = link.filter(|link| link.announced.len() < 4)
                    && link.announced.insert((client, number))
                    && link.clients.iter().all(|known| known.1 != client)
                {
                    link.clients.push((now, client));
                }
            }
            Step::Withdrawn(conn, client, number) => {
                for link in self.links.iter_mut().filter(|link| link.conn == conn) {
                    link.announced.remove(&(client, number));
                    if link.announced.iter().all(|known| known.0 != client) {
                        link.clients.retain(|known| known.1 != client);
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn find(&self, client: usize, is_local: bool) -> Answer {
        let here: Vec<_> = self.sessions.iter().filter(|session| session.1 == client).collect();
        let mut ways: Vec<_> = self.links.iter().filter(|_| !is_local).collect();
        let since = |link: &Link| link.clients.iter().find(|known| known.1 == client).map(|known| known.0);
        ways.retain(|link| since(link).is_some());
        ways.sort_by_key(|link| since(link));
        let lively = ways.iter().find(|link| link.is_lively);
        let own = here.iter().find(|session| session.2);
        if let Some(session) = own.or(here.first().filter(|_| lively.is_none())) {
            return Answer::Here(session.0);
        }
        let way = lively.or(ways.first());
        way.map_or(Answer::Nowhere, |link| Answer::Peer(link.conn))
    }
}

pub(super) fn config() -> Config {
    let limits =
        Limits { tunnel_sessions_per_client: 2, tunnel_announced: 4, tunnel_seeks: 3, ..Limits::default() };
    Config { own: Some(key(PEERS[0])), limits: Arc::new(limits), ..Config::default() }
}

pub(super) fn event(step: Step, ticket: u64, now: Instant) -> Event<u64> {
    match step {
        Step::Add(conn, client) => {
            Event::Add { from: address(conn), client: key(CLIENTS[client]), session: conn as i64 }
        }
        Step::Link(conn, peer) => Event::Link { from: address(conn), peer: key(PEERS[peer]) },
        Step::Listen(conn) => Event::Listen(address(conn)),
        Step::Ready(conn) => Event::Ready(ConnId(conn)),
        Step::Gone(conn) => Event::Gone(ConnId(conn)),
        Step::Health(conn, is_lively) => Event::Health { conn: ConnId(conn), is_lively },
        Step::Announced(link, client, number) => {
            Event::Announced { link: ConnId(link), session: session(CLIENTS[client], number) }
        }
        Step::Withdrawn(link, client, number) => {
            Event::Withdrawn { link: ConnId(link), session: session(CLIENTS[client], number) }
        }
        Step::Seek(client, is_local, wait) => Event::Seek {
            ticket,
            client: key(CLIENTS[client]),
            scope: if is_local { Scope::LocalOnly } else { Scope::Anywhere },
            until: wait.map(|millis| now + Duration::from_millis(millis)),
        },
        Step::Forgo(ticket) => Event::Forgo(ticket),
    }
}

proptest! {
    #[test]
    fn every_answer_is_the_models(steps in prop::collection::vec(any_step(), 0..80)) {
        let (mut desk, mut model) = (Desk::new(config()), Model::default());
        for step in steps {
            model.step(step);
            if let Step::Seek(client, is_local, _) = step {
                let scope = if is_local { Scope::LocalOnly } else { Scope::Anywhere };
                prop_assert_eq!(desk.seek(CLIENTS[client], scope), model.find(client, is_local));
            } else {
                desk.event(event(step, 0, desk.now));
            }
            prop_assert_eq!(desk.directory.sessions(), model.sessions.len());
            let announced: usize = model.links.iter().map(|link| link.announced.len()).sum();
            prop_assert_eq!(desk.directory.announced(), announced);
        }
        for conn in 1..9 {
            desk.gone(conn);
        }
        prop_assert_eq!(desk.directory.footprint(), Desk::new(config()).directory.footprint(), "nothing stays");
    }

    /// Every seek has one answer, or was forgone, at the latest when its time is over.
    #[test]
    fn keeps_the_laws_and_answers_every_seek_once(
        steps in prop::collection::vec((0..1_000_u64, any_step()), 0..80),
    ) {
        let mut now = Instant::ORIGIN;
        let mut asked = Vec::new();
        let timed: Vec<_> = steps.iter().zip(1..).map(|((millis, step), ticket)| {
            let span = Duration::from_millis(*millis);
            now = now + span;
            if matches!(step, Step::Seek(..)) {
                asked.push(ticket);
            }
            (span, event(*step, ticket, now))
        }).chain([(Duration::from_secs(10), Event::Forgo(0))]).collect();
        let history: Vec<_> = laws::check(|| Directory::new(config()), &timed).into_iter().flatten().collect();
        let forgone = |ticket: u64| steps.iter().any(|(_, step)| matches!(step, Step::Forgo(one) if *one == ticket));
        for ticket in asked {
            let answers = history.iter().filter(|action| answer(action, ticket).is_some()).count();
            prop_assert!(answers == 1 || answers == 0 && forgone(ticket), "{} answers", answers);
        }
        let peers = history.iter().filter(|action| matches!(action, Action::Announce { changes, .. } if changes.is_empty()));
        prop_assert_eq!(peers.count(), 0);
    }
}
