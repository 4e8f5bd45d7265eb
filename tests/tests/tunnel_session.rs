//! One end of a tunnel session: what it answers, what it refuses, and that bulk data flows whatever the peer.

#[path = "tunnel_session/echo.rs"]
mod echo;
#[path = "tunnel_session/limits.rs"]
mod limits;
#[path = "tunnel_session/rules.rs"]
mod rules;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_core::tunnel::{
    Content, Message, Role, StreamId, Target, Tunnel, TunnelCommand, TunnelConfig, TunnelNotice,
};
use linkspan_core::{
    Action, Actions, CloseReason, Connection, Event, Flushed, Instant, Limits, Machine, Mark, Opcode,
};

/// One end under test: what it sends, tells, counts.
struct End {
    machine: Connection<Tunnel>,
    now: Instant,
    sent: Vec<Message>,
    pings: usize,
    /// What was sent and not reported as flushed.
    unflushed: Flushed,
    notices: Vec<TunnelNotice>,
    marks: Vec<Mark>,
    closed: Option<CloseReason>,
    flush_at_once: bool,
}

impl End {
    fn new(config: TunnelConfig, limits: Limits) -> Self {
        limits.validate().expect("valid limits");
        let mut actions = Actions::new();
        let machine =
            Connection::new(Tunnel::new(Arc::new(config)), Arc::new(limits), Instant::ORIGIN, &mut actions);
        let mut end = Self {
            machine,
            now: Instant::ORIGIN,
            sent: Vec::new(),
            pings: 0,
            unflushed: Flushed::default(),
            notices: Vec::new(),
            marks: Vec::new(),
            closed: None,
            flush_at_once: true,
        };
        end.perform(actions);
        end
    }

    fn role(role: Role) -> Self {
        Self::new(TunnelConfig::new(role), Limits::default())
    }

    fn perform(&mut self, actions: Actions<Action<TunnelNotice>>) {
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

    fn event(&mut self, event: Event<TunnelCommand>) {
        let mut actions = Actions::new();
        self.machine.handle_event(self.now, event, &mut actions);
        self.perform(actions);
    }

    fn command(&mut self, command: TunnelCommand) {
        self.event(Event::Command(command));
    }

    fn receive(&mut self, stream: i64, content: Content) {
        let data = Message { id: 1, stream, content }.encode().expect("sayable").into_bytes();
        self.event(Event::Received(Opcode::Binary, data));
    }

    /// Lets time pass, with a ping of the peer every five seconds.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.pass(Duration::from_secs(5).min(end - self.now));
            self.event(Event::Received(Opcode::Ping, Bytes::new()));
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.machine.next_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let mut actions = Actions::new();
            self.machine.handle_timeout(self.now, &mut actions);
            self.perform(actions);
            assert!(self.machine.next_timeout().is_none_or(|next| next > due), "the deadline stays");
        }
        self.now = end;
    }

    fn dial(&mut self) -> StreamId {
        let (proto, address) = (Bytes::from_static(b"tcp"), Bytes::from_static(b"127.0.0.1:80"));
        self.command(TunnelCommand::Dial { request: 7, proto, address });
        match self.notices.last() {
            Some(TunnelNotice::Opened { request: 7, stream }) => *stream,
            other => panic!("{other:?}"),
        }
    }

    /// The peer dials `wire`, and the application answers.
    fn accept(&mut self, wire: i64) -> StreamId {
        self.receive(wire, connect());
        let Some(TunnelNotice::DialRequested { stream, .. }) = self.notices.last() else {
            panic!("{:?}", self.notices)
        };
        let stream = *stream;
        self.command(TunnelCommand::Dialed(stream));
        stream
    }

    fn errors(&self, wire: i64) -> Vec<Bytes> {
        let errors = self.sent.iter().filter(|message| message.stream == wire);
        errors
            .filter_map(|message| match &message.content {
                Content::Error(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }
}

fn connect() -> Content {
    let (proto, address) = (Bytes::from_static(b"tcp"), Bytes::from_static(b"127.0.0.1:80"));
    Content::Connect(Target { proto, address, is_cut: false })
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
