//! One tunnel session: what others hold of it, and the application in its task.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use linkspan_core::tunnel::{ClientSession, StreamId, Tunnel, TunnelCommand, TunnelConfig, TunnelNotice};
use linkspan_core::{CloseReason, ConnId, Delivery, Limits};
use linkspan_runtime::{App, Host, Inbox, Mail, Mailbox, Permit, PushError, mailbox};

use super::DialFailure;
use super::line::Line;
use super::stream::TunnelStream;
use crate::handoff::{Giver, handoff};

/// What others hold of one session.
pub(super) struct Session {
    pub(super) conn: ConnId,
    pub(super) peer: SocketAddr,
    pub(super) opened_at: Instant,
    duty: Arc<dyn Duty>,
    /// The reads of a new stream are reported in steps of this cost.
    pub(super) report_step: u32,
    /// How much of one stream the core is handed, in bytes.
    pub(super) core_window: usize,
    mailbox: Mailbox<TunnelCommand>,
    inner: Mutex<Inner>,
    limits: Arc<Limits>,
    /// What was written to all streams and not sent, in bytes.
    unsent: AtomicI64,
    /// What came in on all streams and was not reported as read, in cost.
    held: AtomicI64,
    pub(super) traffic: Traffic,
}

/// What one session has carried.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Streams that are open.
    pub(super) streams: AtomicU64,
    /// Streams that were opened, by either end.
    pub(super) opened: AtomicU64,
    /// Payload bytes that came in.
    pub(super) bytes_in: AtomicU64,
    /// Payload bytes that went out.
    pub(super) bytes_out: AtomicU64,
}

#[derive(Default)]
struct Inner {
    /// Streams that want something.
    lines: VecDeque<Arc<Line>>,
    dials: VecDeque<Dial>,
    commands: VecDeque<TunnelCommand>,
    waker: Option<Waker>,
    /// No more streams are opened, and with the last one the session ends.
    leaving: Option<CloseReason>,
    is_closed: bool,
}

/// A dial on its way to the session's task.
struct Dial {
    proto: Bytes,
    address: Bytes,
    answer: Giver<Dialled>,
}

type Dialled = Result<TunnelStream, DialFailure>;

impl Session {
    fn new(
        permit: &Permit,
        config: &TunnelConfig,
        mailbox: Mailbox<TunnelCommand>,
        duty: Arc<dyn Duty>,
    ) -> Arc<Self> {
        let limits = Arc::clone(permit.limits());
        Arc::new(Self {
            conn: permit.conn(),
            peer: permit.peer(),
            opened_at: Instant::now(),
            duty,
            report_step: config.report_step(&limits),
            core_window: (limits.tunnel_write_window.min(limits.tunnel_stream_bytes) as usize / 2).max(1),
            mailbox,
            inner: Mutex::default(),
            limits,
            unsent: AtomicI64::new(0),
            held: AtomicI64::new(0),
            traffic: Traffic::default(),
        })
    }

    /// A session and what its task needs to run it.
    pub(super) fn open(
        permit: &Permit,
        config: &TunnelConfig,
        duty: Arc<dyn Duty>,
    ) -> (Arc<Self>, Inbox<TunnelCommand>, Desk) {
        let (mailbox, inbox) = mailbox(permit.limits().mailbox);
        let session = Self::new(permit, config, mailbox, duty);
        let desk = Desk::new(Arc::clone(&session), Arc::clone(permit.host()));
        (session, inbox, desk)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits for the session's task, and wakes it; `None` after the end.
    fn tell<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> Option<T> {
        let (waker, outcome) = {
            let mut inner = self.lock();
            if inner.is_closed {
                return None;
            }
            let outcome = change(&mut inner);
            (inner.waker.take(), outcome)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(outcome)
    }

    /// A stream wants something.
    pub(super) fn ring(&self, line: Arc<Line>) {
        self.tell(|inner| inner.lines.push_back(line));
    }

    /// Opens a stream to what the far end reaches as `proto` and `address`.
    pub(super) async fn dial(
        self: &Arc<Self>,
        proto: Bytes,
        address: Bytes,
    ) -> Result<TunnelStream, DialFailure> {
        let (answer, outcome) = handoff();
        let most = self.limits.tunnel_streams as usize;
        let entered = self.tell(|inner| {
            if inner.leaving.is_some() {
                return Err(DialFailure::SessionEnded);
            }
            if inner.dials.len() >= most {
                return Err(DialFailure::TooMany);
            }
            inner.dials.push_back(Dial { proto, address, answer });
            Ok(())
        });
        entered.unwrap_or(Err(DialFailure::SessionEnded))?;
        outcome.await.unwrap_or(Err(DialFailure::SessionEnded))
    }

    /// Has the session say something; its duty hears when that [was said](Duty::said).
    pub(super) fn say(&self, commands: impl IntoIterator<Item = TunnelCommand>) {
        self.tell(|inner| inner.commands.extend(commands));
    }

    /// Ends the session gracefully, and the streams with it.
    pub(super) fn end(&self, reason: CloseReason) {
        self.mailbox.close(reason);
    }

    /// Why the session ends now, if it leaves and has no streams.
    fn is_left(&self) -> Option<CloseReason> {
        let inner = self.lock();
        let is_empty = inner.dials.is_empty() && self.traffic.streams.load(Ordering::Relaxed) == 0;
        inner.leaving.filter(|_| is_empty)
    }

    /// How much a stream may have unsent, in bytes. All streams together may use half of what a session may hold; when
    /// they do, each has its share of the other half.
    pub(super) fn window(&self) -> usize {
        let half = self.limits.tunnel_session_bytes / 2;
        let share = half / u64::from(self.limits.tunnel_streams.max(1));
        let limits = &self.limits;
        let wide = (limits.tunnel_write_window.min(limits.tunnel_stream_bytes / 2) as usize).max(1);
        let is_scarce = self.unsent.load(Ordering::Relaxed).max(0) as u64 >= half;
        if is_scarce { wide.min(usize::try_from(share).unwrap_or(wide)).max(1) } else { wide }
    }

    pub(super) fn count_unsent(&self, change: i64) {
        self.unsent.fetch_add(change, Ordering::Relaxed);
    }

    pub(super) fn count_held(&self, change: i64) {
        self.held.fetch_add(change, Ordering::Relaxed);
    }

    /// Whether so much is unread that the core may pause a peer below the usual mark.
    fn is_tight(&self) -> bool {
        let held = self.held.load(Ordering::Relaxed).max(0) as u64;
        held + 5 * u64::from(self.limits.tunnel_stream_pause) > self.limits.tunnel_session_bytes
    }

    /// What came in and was not read, and what was written and not sent, in bytes.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let [held, unsent] = [&self.held, &self.unsent].map(|count| count.load(Ordering::Relaxed).max(0));
        (held as u64, unsent as u64)
    }
}

/// What the process tells a session that it stops: streams may end first.
impl Mail for Session {
    fn deliver(&self, _delivery: Delivery) -> Result<(), PushError> {
        Err(PushError::Closed)
    }

    fn close(&self, reason: CloseReason) {
        if self.tell(|inner| inner.leaving.get_or_insert(reason) == &reason).is_none() {
            return;
        }
        self.duty.leaving(self);
        if let Some(reason) = self.is_left() {
            self.end(reason);
        }
    }

    fn abort(&self, reason: CloseReason) {
        self.mailbox.abort(reason);
    }
}

/// What a session is for: decides what becomes of the peer's wishes. Called in the session's task, but for
/// [`leaving`](Self::leaving); nothing here waits.
pub(super) trait Duty: Send + Sync {
    /// The peer asks for a dial; the stream is to be accepted or aborted.
    fn dial(&self, stream: TunnelStream, _proto: Bytes, _address: Bytes) {
        stream.abort("connect not allowed");
    }

    /// The peer announces a session of a client, or takes it back.
    fn announced(&self, _session: &Session, _client: ClientSession, _is_there: bool) {}

    /// Everything that was to be [said](Session::say) is said.
    fn said(&self, _session: &Session) {}

    /// The peer was silent for long, or was heard again.
    fn heard(&self, _session: &Session, _is_lively: bool) {}

    /// The session opens no more streams, and will end.
    fn leaving(&self, _session: &Session) {}

    /// The session has ended.
    fn ended(&self, _session: &Session, _reason: CloseReason) {}
}

/// The application of one session.
pub(super) struct Desk {
    session: Arc<Session>,
    /// Where the session is still to be entered, in place of the mailbox itself: it lets its streams end first.
    host: Option<Arc<Host>>,
    lines: BTreeMap<StreamId, Arc<Line>>,
    answers: BTreeMap<u64, Giver<Dialled>>,
    last_request: u64,
    commands: VecDeque<TunnelCommand>,
    /// Streams that have more for the core now that it has sent something.
    again: VecDeque<Arc<Line>>,
}

impl Desk {
    fn new(session: Arc<Session>, host: Arc<Host>) -> Self {
        Self {
            session,
            host: Some(host),
            lines: BTreeMap::new(),
            answers: BTreeMap::new(),
            last_request: 0,
            commands: VecDeque::new(),
            again: VecDeque::new(),
        }
    }

    fn open(&mut self, id: StreamId) -> TunnelStream {
        let line = Line::new(Arc::clone(&self.session), id);
        self.lines.insert(id, Arc::clone(&line));
        self.session.traffic.opened.fetch_add(1, Ordering::Relaxed);
        self.session.traffic.streams.fetch_add(1, Ordering::Relaxed);
        TunnelStream::new(line)
    }

    fn end(&mut self) {
        self.session.traffic.streams.store(0, Ordering::Relaxed);
        std::mem::take(&mut self.lines).into_values().for_each(|line| line.end(None));
        std::mem::take(&mut self.answers)
            .into_values()
            .for_each(|answer| answer.give(Err(DialFailure::SessionEnded)));
    }
}

impl App<Tunnel> for Desk {
    fn handle_notice(&mut self, notice: TunnelNotice) {
        match notice {
            TunnelNotice::Data { stream, body } => {
                self.session.traffic.bytes_in.fetch_add(body.len() as u64, Ordering::Relaxed);
                if let Some(line) = self.lines.get(&stream) {
                    line.push(body, self.session.is_tight());
                }
            }
            TunnelNotice::Sent { stream, bytes } => {
                self.session.traffic.bytes_out.fetch_add(u64::from(bytes), Ordering::Relaxed);
                if let Some(line) = self.lines.get(&stream)
                    && line.sent(bytes as usize)
                {
                    self.again.push_back(Arc::clone(line));
                }
            }
            TunnelNotice::Window { stream, cost } => {
                if let Some(line) = self.lines.get(&stream) {
                    line.widen(cost);
                }
            }
            TunnelNotice::Opened { request, stream } => {
                let stream = self.open(stream);
                if let Some(answer) = self.answers.remove(&request) {
                    answer.give(Ok(stream));
                }
            }
            TunnelNotice::DialRefused { request, error } => {
                if let Some(answer) = self.answers.remove(&request) {
                    answer.give(Err(error.into()));
                }
            }
            TunnelNotice::DialRequested { stream, proto, address } => {
                let stream = self.open(stream);
                self.session.duty.dial(stream, proto, address);
            }
            TunnelNotice::Ended { stream, end } => {
                if let Some(line) = self.lines.remove(&stream) {
                    self.session.traffic.streams.fetch_sub(1, Ordering::Relaxed);
                    line.end(Some(end));
                }
                if let Some(reason) = self.session.is_left() {
                    self.session.end(reason);
                }
            }
            TunnelNotice::Quiet => self.session.duty.heard(&self.session, false),
            TunnelNotice::Lively => self.session.duty.heard(&self.session, true),
            TunnelNotice::ClientAdded(client) => self.session.duty.announced(&self.session, client, true),
            TunnelNotice::ClientRemoved(client) => self.session.duty.announced(&self.session, client, false),
            // What the dialect learns to say later.
            _ => {}
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<TunnelCommand> {
        if let Some(host) = self.host.take() {
            host.move_in(self.session.conn, &(Arc::clone(&self.session) as Arc<dyn Mail>));
        }
        // What streams may have unsent is bounded, whether there is room or not; reports make room.
        loop {
            if let Some(command) = self.commands.pop_front() {
                return Poll::Ready(command);
            }
            if let Some(line) = self.again.pop_front() {
                line.take(&mut self.commands);
                continue;
            }
            let mut inner = self.session.lock();
            if let Some(line) = inner.lines.pop_front() {
                drop(inner);
                line.take(&mut self.commands);
            } else if let Some(Dial { proto, address, answer }) = inner.dials.pop_front() {
                drop(inner);
                self.last_request += 1;
                let request = self.last_request;
                self.answers.insert(request, answer);
                return Poll::Ready(TunnelCommand::Dial { request, proto, address });
            } else if has_room && let Some(command) = inner.commands.pop_front() {
                let is_last = inner.commands.is_empty();
                drop(inner);
                if is_last {
                    self.session.duty.said(&self.session);
                }
                return Poll::Ready(command);
            } else {
                inner.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    fn handle_closed(&mut self, reason: CloseReason) {
        let (lines, dials) = {
            let mut inner = self.session.lock();
            inner.is_closed = true;
            inner.commands = VecDeque::new();
            (std::mem::take(&mut inner.lines), std::mem::take(&mut inner.dials))
        };
        drop(lines);
        self.end();
        dials.into_iter().for_each(|dial| dial.answer.give(Err(DialFailure::SessionEnded)));
        self.session.duty.ended(&self.session, reason);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // A task that panicked told nobody.
        if !self.session.lock().is_closed {
            self.handle_closed(CloseReason::ConnectionLost);
        }
    }
}
