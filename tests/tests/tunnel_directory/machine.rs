//! The directory as a state machine beside the lists of [`model`](super::model), with those who wait for a client and
//! those who listen: every action is compared.

use linkspan_core::CloseReason;
use linkspan_core::Mark;
use linkspan_core::hub::directory::{Change, SeekError};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::model::{CLIENTS, Model, PEERS, Step, any_step, config, event};
use super::*;

/// Who waits for a client.
#[derive(Clone, Debug)]
struct Waiting {
    ticket: u64,
    client: usize,
    is_local: bool,
    until: Instant,
}

/// Who listens, and what it was told.
#[derive(Clone, Debug)]
struct Listener {
    conn: u64,
    told: Vec<(usize, u64)>,
    is_ready: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    model: Model,
    now: Instant,
    ticket: u64,
    waiting: Vec<Waiting>,
    listeners: Vec<Listener>,
    said: Vec<Action<u64>>,
}

#[derive(Clone, Debug)]
enum Move {
    Step(Step),
    /// So many milliseconds pass.
    Pass(u64),
}

impl State {
    /// What there is to be told.
    fn present(&self) -> Vec<(usize, u64)> {
        self.model.sessions.iter().map(|(conn, client, _)| (*client, *conn)).collect()
    }

    fn announce(&mut self, at: usize, mut news: Vec<(usize, u64, bool)>, is_first: bool) {
        // At first by client, and of each in the order in which they came; then by number.
        news.sort_by_key(|(client, conn, _)| (CLIENTS[*client], if is_first { 0 } else { *conn }));
        let present = self.present();
        let listener = &mut self.listeners[at];
        listener.told = present;
        listener.is_ready = news.is_empty();
        if news.is_empty() {
            return;
        }
        let change = |(client, conn, is_added): (usize, u64, bool)| Change {
            session: session(CLIENTS[client], conn as i64),
            is_added,
        };
        let changes = news.into_iter().map(change).collect();
        self.said.push(Action::Announce { to: address(self.listeners[at].conn), changes });
    }

    /// Tells a listener all that has changed since it was told.
    fn tell(&mut self, at: usize) {
        let (present, told) = (self.present(), &self.listeners[at].told);
        let came = present.iter().filter(|one| !told.contains(one)).map(|one| (one.0, one.1, true));
        let went = told.iter().filter(|one| !present.contains(one)).map(|one| (one.0, one.1, false));
        let news = came.chain(went).collect();
        self.announce(at, news, false);
    }

    /// Whoever is ready hears of it, by the number of its connection.
    fn tell_all(&mut self) {
        self.listeners.sort_by_key(|listener| listener.conn);
        for at in 0..self.listeners.len() {
            if self.listeners[at].is_ready {
                self.tell(at);
            }
        }
    }

    fn found(&mut self, ticket: u64, client: usize, is_local: bool) -> bool {
        let (via, is_peer) = match self.model.find(client, is_local) {
            Answer::Here(conn) => (conn, false),
            Answer::Peer(conn) => (conn, true),
            Answer::Nowhere | Answer::Waits => return false,
        };
        self.said.push(Action::Found { ticket, via: address(via), is_peer });
        true
    }

    fn not_found(&mut self, ticket: u64, client: usize) {
        self.said.push(Action::NotFound { ticket, why: SeekError::Unknown(key(CLIENTS[client])) });
    }

    /// A client has come, here or to a peer.
    fn answer(&mut self, client: usize, is_here: bool) {
        let is_meant = |one: &Waiting| one.client == client && (is_here || !one.is_local);
        let mut answered: Vec<_> = self.waiting.iter().filter(|one| is_meant(one)).cloned().collect();
        self.waiting.retain(|one| !is_meant(one));
        answered.sort_by_key(|one| one.ticket);
        for one in answered {
            assert!(self.found(one.ticket, client, is_here), "it has come");
        }
    }

    fn seek(&mut self, client: usize, is_local: bool, wait: Option<u64>) {
        self.ticket += 1;
        let ticket = self.ticket;
        if self.found(ticket, client, is_local) {
            return;
        }
        let Some(millis) = wait.filter(|millis| *millis > 0) else { return self.not_found(ticket, client) };
        if self.waiting.len() >= 3 {
            self.said.push(Action::Mark(Mark::SeekRefused));
            return self.said.push(Action::NotFound { ticket, why: SeekError::TooMany });
        }
        let until = self.now + Duration::from_millis(millis);
        self.waiting.push(Waiting { ticket, client, is_local, until });
    }

    fn refuse(&mut self, mark: Mark, conn: u64, reason: CloseReason) {
        self.said.push(Action::Mark(mark));
        self.said.push(Action::Close { to: address(conn), reason });
    }

    fn step(&mut self, step: Step) {
        let was_known = |state: &Self, conn| state.model.is_known(conn);
        match step {
            Step::Add(conn, client) if !was_known(self, conn) => {
                self.model.step(step);
                if !self.model.is_known(conn) {
                    return self.refuse(Mark::KeyFull, conn, CloseReason::Overloaded);
                }
                self.tell_all();
                self.answer(client, true);
            }
            Step::Link(conn, peer) if !was_known(self, conn) => {
                let older = self.model.links.iter().find(|link| link.peer == peer).map(|link| link.conn);
                self.model.step(step);
                if !self.model.is_known(conn) {
                    self.refuse(Mark::LinkRefused, conn, CloseReason::HandshakeRefused);
                } else if let Some(older) = older {
                    self.refuse(Mark::LinkReplaced, older, CloseReason::Replaced);
                }
            }
            Step::Listen(conn) if !was_known(self, conn) => {
                self.model.step(step);
                self.listeners.push(Listener { conn, told: Vec::new(), is_ready: false });
                let all = self.present().into_iter().map(|(client, conn)| (client, conn, true)).collect();
                self.announce(self.listeners.len() - 1, all, true);
            }
            Step::Ready(conn) => {
                if let Some(at) = self.listeners.iter().position(|listener| listener.conn == conn) {
                    self.tell(at);
                }
            }
            Step::Gone(conn) => {
                self.listeners.retain(|listener| listener.conn != conn);
                self.model.step(step);
                self.tell_all();
            }
            Step::Announced(conn, client, number) => self.announced(conn, client, number),
            Step::Seek(client, is_local, wait) => self.seek(client, is_local, wait),
            Step::Forgo(ticket) => self.waiting.retain(|one| one.ticket != ticket),
            _ => self.model.step(step),
        }
    }

    fn announced(&mut self, conn: u64, client: usize, number: i64) {
        let link = self.model.links.iter().find(|link| link.conn == conn);
        let Some(announced) = link.map(|link| link.announced.clone()) else { return };
        let is_server = CLIENTS[client] == PEERS[1] && self.model.links.iter().any(|link| link.peer == 1);
        if is_server || announced.len() >= 4 {
            return self.said.push(Action::Mark(Mark::AnnouncementRefused));
        }
        self.model.step(Step::Announced(conn, client, number));
        if !announced.contains(&(client, number)) {
            self.answer(client, false);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        let now = self.now;
        self.waiting.sort_by_key(|one| (one.until, one.ticket));
        let over: Vec<_> = self.waiting.iter().filter(|one| one.until <= now).cloned().collect();
        self.waiting.retain(|one| one.until > now);
        for one in over {
            self.not_found(one.ticket, one.client);
        }
    }
}

struct Play;

impl ReferenceStateMachine for Play {
    type State = State;
    type Transition = Move;

    fn init_state() -> BoxedStrategy<State> {
        Just(State::default()).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Move> {
        let listeners: Vec<_> = state.listeners.iter().map(|listener| listener.conn).chain([1]).collect();
        prop_oneof![
            20 => any_step().prop_map(Move::Step),
            2 => prop::sample::select(listeners).prop_map(|conn| Move::Step(Step::Ready(conn))),
            2 => prop::sample::select(vec![1, 1000, 5000]).prop_map(Move::Pass),
        ]
        .boxed()
    }

    fn apply(mut state: State, step: &Move) -> State {
        state.said.clear();
        match step {
            Move::Step(step) => state.step(*step),
            Move::Pass(millis) => state.pass(*millis),
        }
        state
    }
}

struct DirectoryTest;

impl StateMachineTest for DirectoryTest {
    type SystemUnderTest = Desk;
    type Reference = Play;

    fn init_test(_: &State) -> Desk {
        Desk::new(config())
    }

    fn apply(mut desk: Desk, state: &State, step: Move) -> Desk {
        let said = match step {
            Move::Step(step) => desk.event(event(step, state.ticket, desk.now)),
            Move::Pass(millis) => desk.pass(Duration::from_millis(millis)),
        };
        assert_eq!(said, state.said);
        desk
    }

    fn check_invariants(desk: &Desk, state: &State) {
        let (directory, model) = (&desk.directory, &state.model);
        let announced = model.links.iter().map(|link| link.announced.len()).sum();
        let known = [directory.sessions(), directory.announced(), directory.waiting()];
        assert_eq!(known, [model.sessions.len(), announced, state.waiting.len()]);
        assert_eq!(directory.next_timeout(), state.waiting.iter().map(|one| one.until).min());
        for (client, name) in CLIENTS.iter().enumerate() {
            let sessions = model.sessions.iter().filter(|session| session.1 == client).count();
            assert_eq!(directory.can_add(&key(name)), sessions < 2);
        }
    }

    fn teardown(mut desk: Desk, _: State) {
        desk.pass(Duration::from_secs(10));
        (1..9).for_each(|conn| _ = desk.gone(conn));
        assert_eq!(desk.directory.footprint(), Desk::new(config()).directory.footprint(), "nothing stays");
    }
}

prop_state_machine! {
    #[test]
    fn the_directory_is_its_model(sequential 1..120 => DirectoryTest);
}
