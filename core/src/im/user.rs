//! One user's session, whatever connections it has.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::server_api::{Audience, Call, Mode, Request};
use super::{Answer, Check, Deliver, Fault, Functions, Reply, Token};
use crate::hub::Platform;
use crate::pending::Ticket;
use crate::{Actions, ConnId, Instant, Key, Limits, Machine, Push, Route};

/// Names one session of a user: the request that has begun it. Never reused, so an answer of the backend can never
/// reach a later session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Which connection has asked for the login.
    pub conn: ConnId,
    /// Its request.
    pub ticket: Ticket,
}

/// What may happen to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// A connection of the user has opened.
    Opened {
        /// Which one.
        conn: ConnId,
        /// What it runs on.
        platform: Platform,
    },
    /// A connection of the user has ended.
    Closed(ConnId),
    /// A connection of the user asks for something.
    Requested {
        /// Which connection.
        conn: ConnId,
        /// Which request of it.
        ticket: Ticket,
        /// What it asks for.
        request: Request,
    },
    /// The backend has done what [`UserAction::Login`] asks.
    LoggedIn {
        /// The session.
        session: SessionId,
        /// A code of 0 is success.
        answer: Answer,
    },
    /// The session is to end: its token is no longer valid, or an operator says so.
    Expelled,
}

/// What a user asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// Tell the connection ([`ServerCommand::Answer`](super::ServerCommand::Answer)).
    Answer {
        /// Which connection.
        conn: ConnId,
        /// Which request of it.
        ticket: Ticket,
        /// What is said.
        answer: Answer,
        /// To whom.
        audience: Audience,
    },
    /// Tell the connection ([`ServerCommand::Refuse`](super::ServerCommand::Refuse)).
    Refuse {
        /// Which connection.
        conn: ConnId,
        /// Which request of it.
        ticket: Ticket,
        /// What is wrong.
        fault: Fault,
    },
    /// Tell the connection ([`ServerCommand::SetMode`](super::ServerCommand::SetMode)), before anything that follows.
    SetMode {
        /// Which connection.
        conn: ConnId,
        /// What it hears from now on.
        mode: Mode,
    },
    /// Have the backend log the user in, and report it as [`UserEvent::LoggedIn`].
    Login {
        /// The session that this begins.
        session: SessionId,
        /// What the request is known by.
        operation: String,
        /// What the client has sent as its token.
        token: Token,
    },
    /// Have the backend run a function, and give its answer to the connection, for [`Audience::User`].
    Call {
        /// The session in which it runs.
        session: SessionId,
        /// Which connection.
        conn: ConnId,
        /// Which request of it.
        ticket: Ticket,
        /// What the request is known by.
        operation: String,
        /// The function.
        name: String,
        /// Its arguments.
        data: String,
    },
    /// Hand this to the hub shard that owns it.
    Route(Route),
    /// The session is over: the backend forgets it.
    Ended(SessionId),
}

#[derive(Debug)]
struct Attached {
    conn: ConnId,
    platform: Platform,
    /// Whether it takes part in the session: it did not log out.
    is_in: bool,
}

#[derive(Debug)]
enum State {
    /// There is no session.
    Out,
    /// The backend has not answered yet.
    LoggingIn { session: SessionId, operation: String, batch: bool, deadline: Instant },
    /// Functions can be called.
    In { session: SessionId, batch: bool },
}

/// The entry of one user in the router: a session that begins with the first login of any connection and ends with the
/// last connection that takes part in it.
///
/// One owner drives it for all of the user's connections, and drops it when it [is idle](Self::is_idle). No two
/// sessions of a user overlap: whoever comes while a login is under way waits, whoever comes later joins.
#[derive(Debug)]
pub struct User {
    key: Key,
    deliver: Deliver,
    login_timeout: Duration,
    now: Instant,
    attached: Vec<Attached>,
    state: State,
}

impl User {
    /// A user without a connection.
    pub fn new(key: Key, deliver: Deliver, limits: &Limits) -> Self {
        Self {
            key,
            deliver,
            // A little before the request expires: then all of the user's connections hear of it, and not the asker alone.
            login_timeout: limits.request_timeout - limits.request_timeout / 32,
            now: Instant::ORIGIN,
            attached: Vec::new(),
            state: State::Out,
        }
    }

    /// Whether there is nothing left to keep it for.
    pub fn is_idle(&self) -> bool {
        self.attached.is_empty()
    }

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        self.attached.len()
    }

    /// The session in which functions can be called.
    pub fn session(&self) -> Option<SessionId> {
        match &self.state {
            State::In { session, .. } => Some(*session),
            State::Out | State::LoggingIn { .. } => None,
        }
    }

    /// Bytes on the heap that the user owns.
    pub fn footprint(&self) -> usize {
        let operation = match &self.state {
            State::LoggingIn { operation, .. } => operation.capacity(),
            State::Out | State::In { .. } => 0,
        };
        self.attached.capacity() * size_of::<Attached>() + operation
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Attached> {
        self.attached.iter_mut().find(|one| one.conn == conn)
    }

    fn opened(&mut self, conn: ConnId, platform: Platform, actions: &mut Actions<UserAction>) {
        if self.find(conn).is_some() {
            return;
        }
        self.attached.push(Attached { conn, platform, is_in: true });
        if let State::In { batch, .. } = self.state {
            actions.push(UserAction::SetMode { conn, mode: Mode::Online { batch } });
        }
    }

    fn closed(&mut self, conn: ConnId, actions: &mut Actions<UserAction>) {
        if let Some(at) = self.attached.iter().position(|one| one.conn == conn) {
            let gone = self.attached.remove(at);
            if self.attached.is_empty() {
                self.attached = Vec::new();
            }
            self.left(gone.platform, actions);
        }
    }

    /// One connection takes part no longer.
    fn left(&mut self, platform: Platform, actions: &mut Actions<UserAction>) {
        let counts = |one: &&Attached| one.is_in && self.deliver.includes(one.platform);
        let kept = match self.attached.iter().find(counts) {
            Some(_) => true,
            // Those that do not count leave the session to the others of their kind.
            None => !self.deliver.includes(platform) && self.attached.iter().any(|one| one.is_in),
        };
        if !kept {
            self.end(actions);
        }
    }

    fn end(&mut self, actions: &mut Actions<UserAction>) {
        let (State::LoggingIn { session, .. } | State::In { session, .. }) =
            mem::replace(&mut self.state, State::Out)
        else {
            return;
        };
        self.set_modes(Mode::Waiting, actions);
        actions.push(UserAction::Ended(session));
    }

    fn set_modes(&self, mode: Mode, actions: &mut Actions<UserAction>) {
        for one in self.attached.iter().filter(|one| one.is_in) {
            actions.push(UserAction::SetMode { conn: one.conn, mode });
        }
    }

    fn requested(
        &mut self,
        conn: ConnId,
        ticket: Ticket,
        request: Request,
        actions: &mut Actions<UserAction>,
    ) {
        // What crossed with the end of its connection has nobody to be answered.
        let Some(is_in) = self.find(conn).map(|one| one.is_in) else { return };
        match request.call {
            Call::Login { token, batch } => {
                self.join(conn, actions);
                let session = SessionId { conn, ticket };
                self.login(session, request.operation, token, batch, actions);
            }
            Call::Function { name, data, check } => {
                let session = match &self.state {
                    State::In { session, .. } if is_in => Ok(Some(*session)),
                    State::LoggingIn { .. } if is_in => Ok(None),
                    _ => Err(Fault::NotLoggedIn),
                };
                let session = match session {
                    Ok(session) => session,
                    Err(fault) => return actions.push(UserAction::Refuse { conn, ticket, fault }),
                };
                match judge(check, session) {
                    Ok(session) => {
                        let operation = request.operation;
                        let call = UserAction::Call { session, conn, ticket, operation, name, data };
                        self.run(call, actions);
                    }
                    Err((fault, Audience::Asker)) => {
                        actions.push(UserAction::Refuse { conn, ticket, fault });
                    }
                    Err((fault, audience)) => {
                        actions.push(UserAction::Answer { conn, ticket, answer: fault.into(), audience });
                    }
                }
            }
        }
    }

    /// A connection that has logged out takes part again.
    fn join(&mut self, conn: ConnId, actions: &mut Actions<UserAction>) {
        let mode = match self.state {
            State::In { batch, .. } => Mode::Online { batch },
            State::Out | State::LoggingIn { .. } => Mode::Waiting,
        };
        if let Some(one) = self.find(conn)
            && !mem::replace(&mut one.is_in, true)
        {
            actions.push(UserAction::SetMode { conn, mode });
        }
    }

    fn login(
        &mut self,
        session: SessionId,
        operation: String,
        token: Result<Token, Fault>,
        batch: bool,
        actions: &mut Actions<UserAction>,
    ) {
        let SessionId { conn, ticket } = session;
        match (&self.state, token) {
            (State::In { .. }, _) => {
                let answer = Answer { message: "ok".into(), ..Answer::default() };
                actions.push(UserAction::Answer { conn, ticket, answer, audience: Audience::Asker });
            }
            (State::LoggingIn { .. }, _) => {
                actions.push(UserAction::Refuse { conn, ticket, fault: Fault::LoginPending });
            }
            // Wrong types and names are the asker's affair; the rest is the function's own words.
            (State::Out, Err(fault @ Fault::Parameter)) => {
                actions.push(UserAction::Refuse { conn, ticket, fault });
            }
            (State::Out, Err(fault)) => {
                let audience = Audience::User;
                actions.push(UserAction::Answer { conn, ticket, answer: fault.into(), audience });
            }
            (State::Out, Ok(token)) => {
                let deadline = self.now + self.login_timeout;
                self.state = State::LoggingIn { session, operation: operation.clone(), batch, deadline };
                actions.push(UserAction::Login { session, operation, token });
            }
        }
    }

    /// Answers what only the session knows; hands on the rest.
    fn run(&mut self, call: UserAction, actions: &mut Actions<UserAction>) {
        let UserAction::Call { conn, ticket, name, .. } = &call else { return };
        let (conn, ticket) = (*conn, *ticket);
        let data = match &**name {
            "Logout" => return self.logout(conn, ticket, actions),
            "GetLoginStatus" => String::from("101"),
            "GetLoginUser" => String::from_utf8_lossy(self.key.as_bytes()).into_owned(),
            _ => return actions.push(call),
        };
        let (answer, audience) = (Answer::success(data), Audience::User);
        actions.push(UserAction::Answer { conn, ticket, answer, audience });
    }

    fn logout(&mut self, conn: ConnId, ticket: Ticket, actions: &mut Actions<UserAction>) {
        let (answer, audience) = (Answer::success(""), Audience::Asker);
        actions.push(UserAction::Answer { conn, ticket, answer, audience });
        let Some(one) = self.find(conn) else { return };
        one.is_in = false;
        let platform = one.platform;
        actions.push(UserAction::SetMode { conn, mode: Mode::Detached });
        self.left(platform, actions);
    }

    fn logged_in(&mut self, of: SessionId, answer: Answer, actions: &mut Actions<UserAction>) {
        // Late answers: the session has ended, or another one has begun.
        if !matches!(&self.state, State::LoggingIn { session, .. } if *session == of) {
            return;
        }
        let State::LoggingIn { session, operation, batch, .. } = mem::replace(&mut self.state, State::Out)
        else {
            return;
        };
        if answer.code == 0 {
            self.state = State::In { session, batch };
            self.set_modes(Mode::Online { batch }, actions);
        }
        let SessionId { conn, ticket } = session;
        if self.find(conn).is_some() {
            actions.push(UserAction::Answer { conn, ticket, answer, audience: Audience::User });
        } else {
            let push = login_reply(&operation, &answer);
            let to = self.deliver.to(self.key.clone());
            actions.push(UserAction::Route(Route::Publish { to, push }));
        }
    }
}

/// Whether a call may run, by the original's order; `session` is missing while the login is under way.
fn judge(check: Check, session: Option<SessionId>) -> Result<SessionId, (Fault, Audience)> {
    match (check, session) {
        (Check::Unknown, _) => Err((Fault::Parameter, Audience::Asker)),
        (Check::Shape(fault), _) => Err((fault, Audience::User)),
        (Check::Passed | Check::Types, None) => Err((Fault::NotLoaded, Audience::User)),
        (Check::Types, Some(_)) => Err((Fault::Parameter, Audience::Asker)),
        (Check::Passed, Some(session)) => Ok(session),
    }
}

/// The outcome of a login whose asker is gone, for the user's other connections.
fn login_reply(operation: &str, answer: &Answer) -> Push {
    Reply::to_call(Functions::LOGIN, operation, answer).to_push()
}

impl Machine for User {
    type Event = UserEvent;
    type Action = UserAction;

    fn handle_event(&mut self, now: Instant, event: UserEvent, actions: &mut Actions<UserAction>) {
        self.now = self.now.max(now);
        match event {
            UserEvent::Opened { conn, platform } => self.opened(conn, platform, actions),
            UserEvent::Closed(conn) => self.closed(conn, actions),
            UserEvent::Requested { conn, ticket, request } => {
                self.requested(conn, ticket, request, actions);
            }
            UserEvent::LoggedIn { session, answer } => self.logged_in(session, answer, actions),
            UserEvent::Expelled => self.end(actions),
        }
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<UserAction>) {
        let now = self.now.max(now);
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.now = now;
        if let State::LoggingIn { session, .. } = &self.state {
            let session = *session;
            self.logged_in(session, Fault::NotLoaded.into(), actions);
            actions.push(UserAction::Ended(session));
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::LoggingIn { deadline, .. } => Some(*deadline),
            State::Out | State::In { .. } => None,
        }
    }
}
