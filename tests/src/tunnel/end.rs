//! One end of ours, with an application that is the test.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{
    Content, Message, Role, StreamId, Target, Tunnel, TunnelCommand, TunnelConfig, TunnelNotice,
};
use linkspan_core::{
    Action, Actions, CloseReason, Connection, Event, Flushed, Instant, Limits, Machine, Mark, Opcode,
};

use crate::harness::{CHUNK, Checked};

/// One end under test: what it sends, tells, counts.
#[derive(Debug)]
pub struct End {
    /// The machine, every step of which is checked.
    pub machine: Checked<Connection<Tunnel>>,
    /// The time.
    pub now: Instant,
    /// What it has sent.
    pub sent: Vec<Message>,
    /// How many pings it has sent.
    pub pings: usize,
    /// What was sent and not reported as flushed.
    pub unflushed: Flushed,
    /// What it has told the application.
    pub notices: Vec<TunnelNotice>,
    /// What it has counted.
    pub marks: Vec<Mark>,
    /// Why it has ended.
    pub closed: Option<CloseReason>,
    /// Whether everything it sends leaves its queue at once.
    pub flush_at_once: bool,
}

impl End {
    /// An end with these bounds.
    ///
    /// # Panics
    ///
    /// If the bounds are not valid.
    pub fn new(config: TunnelConfig, limits: Limits) -> Self {
        limits.validate().expect("valid limits");
        let (mut actions, now) = (Actions::new(), Instant::ORIGIN);
        let most = usize::try_from(limits.tunnel_bytes_max(CHUNK)).unwrap_or(usize::MAX);
        let machine = Connection::new(Tunnel::new(Arc::new(config)), Arc::new(limits), now, &mut actions);
        let mut end = Self {
            machine: Checked::new(machine, actions, now, most).without_digests(),
            now,
            sent: Vec::new(),
            pings: 0,
            unflushed: Flushed::default(),
            notices: Vec::new(),
            marks: Vec::new(),
            closed: None,
            flush_at_once: true,
        };
        let begin = end.machine.begin();
        end.perform(begin);
        end
    }

    /// The same, with all of its state compared around each call that must change nothing: for streams with little in them.
    #[must_use]
    pub fn with_digests(mut self) -> Self {
        self.machine = self.machine.with_digests();
        self
    }

    /// An end with all defaults.
    pub fn role(role: Role) -> Self {
        Self::new(TunnelConfig::new(role), Limits::default())
    }

    fn perform(&mut self, actions: Vec<Action<TunnelNotice>>) {
        for action in actions {
            match action {
                Action::Send(frame) => {
                    self.unflushed.add(&frame);
                    match frame.opcode {
                        Opcode::Ping => self.pings += 1,
                        _ => self.sent.push(Message::decode(&frame.into_bytes()).expect("readable")),
                    }
                }
                Action::Notify(notice) => self.notices.push(notice),
                Action::Mark(mark) => self.marks.push(mark),
                Action::Close(reason) => self.closed = Some(reason),
                other => panic!("{other:?}"),
            }
        }
        if self.flush_at_once && self.unflushed.cost > 0 {
            let flushed = std::mem::take(&mut self.unflushed);
            self.event(Event::Flushed(flushed));
        }
    }

    /// Something happens to it.
    ///
    /// # Panics
    ///
    /// If it asks for what a tunnel never needs.
    pub fn event(&mut self, event: Event<TunnelCommand>) {
        let actions = self.machine.step(self.now, event);
        self.perform(actions);
    }

    /// The application asks for something.
    pub fn command(&mut self, command: TunnelCommand) {
        self.event(Event::Command(command));
    }

    /// A message comes from the peer.
    ///
    /// # Panics
    ///
    /// If it cannot be said.
    pub fn receive(&mut self, stream: i64, content: Content) {
        let data = Message { id: 1, stream, content }.encode().expect("sayable").into_bytes();
        self.event(Event::Received(Opcode::Binary, data));
    }

    /// Lets time pass, with a ping of the peer every five seconds.
    pub fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.pass(Duration::from_secs(5).min(end - self.now));
            self.event(Event::Received(Opcode::Ping, Bytes::new()));
        }
    }

    /// Lets time pass, timer by timer.
    ///
    /// # Panics
    ///
    /// If a deadline that was handled is still there.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.machine.next_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let actions = self.machine.timeout(self.now);
            self.perform(actions);
        }
        self.now = end;
    }

    /// Lets time pass, and is woken once whatever was due meanwhile.
    pub fn sleep(&mut self, span: Duration) {
        self.now = self.now + span;
        let actions = self.machine.timeout(self.now);
        self.perform(actions);
    }

    /// The application dials.
    ///
    /// # Panics
    ///
    /// If that is refused.
    pub fn dial(&mut self) -> StreamId {
        let (proto, address) = (Bytes::from_static(b"tcp"), Bytes::from_static(b"127.0.0.1:80"));
        self.command(TunnelCommand::Dial { request: 7, proto, address });
        match self.notices.last() {
            Some(TunnelNotice::Opened { request: 7, stream }) => *stream,
            other => panic!("{other:?}"),
        }
    }

    /// The peer dials `wire`, and the application answers.
    ///
    /// # Panics
    ///
    /// If the application is not asked.
    pub fn accept(&mut self, wire: i64) -> StreamId {
        self.receive(wire, Self::connect());
        let Some(TunnelNotice::DialRequested { stream, .. }) = self.notices.last() else {
            panic!("{:?}", self.notices)
        };
        let stream = *stream;
        self.command(TunnelCommand::Dialed(stream));
        stream
    }

    /// The error texts it has sent for `wire`.
    pub fn errors(&self, wire: i64) -> Vec<Bytes> {
        let errors = self.sent.iter().filter(|message| message.stream == wire);
        errors
            .filter_map(|message| match &message.content {
                Content::Error(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    /// What a peer says to have a stream dialled.
    pub fn connect() -> Content {
        let (proto, address) = (Bytes::from_static(b"tcp"), Bytes::from_static(b"127.0.0.1:80"));
        Content::Connect(Target { proto, address, is_cut: false })
    }
}
