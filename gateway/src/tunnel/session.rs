//! One tunnel session: what others hold of it, and the application in its task.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use linkspan_core::tunnel::{ClientSession, StreamId, Tunnel, TunnelCommand, TunnelNotice};
use linkspan_core::{CloseReason, ConnId, Limits};
use linkspan_runtime::{App, Mailbox};

use super::DialFailure;
use super::dialing::{Answer, Dialing};
use super::line::Line;
use super::stream::TunnelStream;

/// The part of a stream's window that the core may have, in bytes: what is cut into messages and taken in turn.
const CORE_WINDOW: usize = 128 * 1024;
/// How much one stream may have unsent before its writer waits, in bytes.
const WINDOW: usize = 256 * 1024;

/// What others hold of one session.
pub(super) struct Session {
    pub(super) conn: ConnId,
    pub(super) peer: SocketAddr,
    pub(super) opened_at: Instant,
    /// The reads of a stream are reported in steps of this cost.
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
    dials: VecDeque<Dialing>,
    commands: VecDeque<TunnelCommand>,
    waker: Option<Waker>,
    is_closed: bool,
}

impl Session {
    pub(super) fn new(
        conn: ConnId,
        peer: SocketAddr,
        mailbox: Mailbox<TunnelCommand>,
        limits: Arc<Limits>,
    ) -> Arc<Self> {
        Arc::new(Self {
            conn,
            peer,
            opened_at: Instant::now(),
            report_step: (limits.tunnel_stream_pause / 16).max(1),
            core_window: CORE_WINDOW.min(limits.tunnel_stream_bytes as usize / 2).max(1),
            mailbox,
            inner: Mutex::default(),
            limits,
            unsent: AtomicI64::new(0),
            held: AtomicI64::new(0),
            traffic: Traffic::default(),
        })
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
        let (dialing, answer) = Dialing::new(proto, address);
        let most = self.limits.tunnel_streams as usize;
        let entered = self.tell(|inner| {
            let has_room = inner.dials.len() < most;
            has_room.then(|| inner.dials.push_back(dialing))
        });
        match entered {
            Some(Some(())) => answer.outcome().await,
            Some(None) => Err(DialFailure::TooMany),
            None => Err(DialFailure::SessionEnded),
        }
    }

    /// Has the session say something; false after its end.
    pub(super) fn say(&self, commands: impl IntoIterator<Item = TunnelCommand>) -> bool {
        self.tell(|inner| inner.commands.extend(commands)).is_some()
    }

    /// Ends the session gracefully.
    pub(super) fn close(&self, reason: CloseReason) {
        self.mailbox.close(reason);
    }

    /// How much a stream may have unsent, in bytes. All streams together may use half of what a session may hold; when
    /// they do, each has its share of the other half.
    pub(super) fn window(&self) -> usize {
        let half = self.limits.tunnel_session_bytes / 2;
        let share = half / u64::from(self.limits.tunnel_streams.max(1));
        let wide = WINDOW.min(self.limits.tunnel_stream_bytes as usize / 2).max(1);
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

/// What a session is for: decides what becomes of the peer's wishes. Called in the session's task; nothing here waits.
pub(super) trait Duty: Send + Sync {
    /// The peer asks for a dial; the stream is to be accepted or aborted.
    fn dial(&self, stream: TunnelStream, proto: Bytes, address: Bytes);

    /// The peer announces a session of a client, or takes it back.
    fn announced(&self, _session: &Arc<Session>, _client: ClientSession, _is_there: bool) {}

    /// The session has ended.
    fn ended(&self, _session: &Arc<Session>, _reason: CloseReason) {}
}

/// The application of one session.
pub(super) struct Desk {
    session: Arc<Session>,
    duty: Arc<dyn Duty>,
    lines: BTreeMap<StreamId, Arc<Line>>,
    answers: BTreeMap<u64, Answer>,
    last_request: u64,
    commands: VecDeque<TunnelCommand>,
    /// Streams that have more for the core now that it has sent something.
    again: VecDeque<Arc<Line>>,
}

impl Desk {
    pub(super) fn new(session: Arc<Session>, duty: Arc<dyn Duty>) -> Self {
        Self {
            session,
            duty,
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
                self.duty.dial(stream, proto, address);
            }
            TunnelNotice::Ended { stream, end } => {
                if let Some(line) = self.lines.remove(&stream) {
                    self.session.traffic.streams.fetch_sub(1, Ordering::Relaxed);
                    line.end(Some(end));
                }
            }
            TunnelNotice::ClientAdded(client) => self.duty.announced(&self.session, client, true),
            TunnelNotice::ClientRemoved(client) => self.duty.announced(&self.session, client, false),
            // What the dialect learns to say later.
            _ => {}
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>, _has_room: bool) -> Poll<TunnelCommand> {
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
            } else if let Some(dialing) = inner.dials.pop_front() {
                drop(inner);
                self.last_request += 1;
                let (command, answer) = dialing.start(self.last_request);
                self.answers.insert(self.last_request, answer);
                return Poll::Ready(command);
            } else if let Some(command) = inner.commands.pop_front() {
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
        dials.into_iter().for_each(|dialing| dialing.fail(DialFailure::SessionEnded));
        self.duty.ended(&self.session, reason);
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
