//! What a tunnelled stream and the task of its session share.
//!
//! The session's task hands over what came in and takes what shall go out; neither waits for the other. What is not
//! yet read counts in the session's core until it is reported, and what is not yet sent is bounded here.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use linkspan_core::tunnel::{StreamEnd, StreamId, TunnelCommand, data_cost};

use super::session::Session;
use super::stream::StreamError;

/// Small writes are packed into pieces of up to this many bytes.
const PACK: usize = 32 * 1024;
/// After so many pieces that the core has not sent, small ones are packed here until it has.
const PIECES: u32 = 256;
/// As many pieces may wait here, however small.
const PIECES_WAITING: usize = 1024;

/// One stream, between the task of its session and whoever uses it.
pub(super) struct Line {
    pub(super) session: Arc<Session>,
    pub(super) id: StreamId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What came in, with what it counts for.
    input: VecDeque<(Bytes, u32)>,
    end: Option<StreamEnd>,
    /// The session has ended, and the stream with it.
    is_cut: bool,
    reader: Option<Waker>,
    /// Waits for the end alone.
    watcher: Option<Waker>,
    /// What was read and not yet reported.
    read: u32,
    /// It is reported in steps of this cost; 0 is the session's.
    report_step: u32,
    /// Report at once: the peer may be paused with little unread.
    is_eager: bool,
    output: VecDeque<Bytes>,
    tail: BytesMut,
    /// What was written and has not left the core.
    unsent: usize,
    /// The part of it that the core has.
    in_core: usize,
    /// Pieces handed to the core since it had nothing.
    pieces: u32,
    writer: Option<Waker>,
    /// The peer is to be told that its dial succeeded.
    is_accepted: bool,
    wish: Wish,
    /// Nobody is left to read.
    is_abandoned: bool,
    /// Stands in the session's line of those who want something.
    is_queued: bool,
}

/// What the user wants beyond data.
#[derive(Default, PartialEq, Eq)]
enum Wish {
    #[default]
    Nothing,
    /// End once all is sent.
    Close,
    /// End at once.
    Abort(Bytes),
    /// It was said.
    Over,
}

impl State {
    fn is_over(&self) -> bool {
        self.end.is_some() || self.is_cut
    }

    fn error(&self) -> Option<StreamError> {
        match &self.end {
            Some(end) => StreamError::of(end),
            None => self.is_cut.then_some(StreamError::Disconnected),
        }
    }

    fn has_output(&self) -> bool {
        !self.output.is_empty() || !self.tail.is_empty()
    }

    fn next_output(&mut self) -> Option<Bytes> {
        if self.pieces >= PIECES && self.in_core > 0 {
            return None;
        }
        let is_tail = self.output.is_empty() && !self.tail.is_empty();
        if is_tail { Some(self.tail.split().freeze()) } else { self.output.pop_front() }
    }

    fn forget_output(&mut self) {
        self.output = VecDeque::new();
        self.tail = BytesMut::new();
    }
}

impl Line {
    pub(super) fn new(session: Arc<Session>, id: StreamId) -> Arc<Self> {
        Arc::new(Self { session, id, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the session's task that there is something to take.
    fn ring(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.is_queued, true) {
            drop(state);
            self.session.ring(Arc::clone(self));
        }
    }

    // The user's side.

    /// The next piece that came in; `None` at the normal end.
    pub(super) fn poll_read(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        let mut state = self.lock();
        let Some((piece, cost)) = state.input.pop_front() else {
            if state.is_over() {
                return Poll::Ready(state.error().map_or(Ok(None), Err));
            }
            set(&mut state.reader, cx);
            return Poll::Pending;
        };
        state.read = state.read.saturating_add(cost);
        if state.read >= state.report_step.max(self.session.report_step)
            || state.is_eager && state.input.is_empty()
        {
            self.ring(state);
        }
        Poll::Ready(Ok(Some(piece)))
    }

    /// How many bytes may be written now; never 0.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.is_over() || state.wish != Wish::Nothing {
            let error = state.error().unwrap_or(StreamError::Ended);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, error)));
        }
        let window = self.session.window();
        if state.unsent >= window || state.output.len() >= PIECES_WAITING {
            set(&mut state.writer, cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(window - state.unsent))
    }

    /// Appends to what is to be sent; small writes are packed together.
    pub(super) fn write(self: &Arc<Self>, data: &[u8]) {
        let mut state = self.lock();
        if state.tail.len() + data.len() > PACK && !state.tail.is_empty() {
            let tail = state.tail.split().freeze();
            state.output.push_back(tail);
        }
        state.tail.extend_from_slice(data);
        self.written(state, data.len());
    }

    /// Appends a piece, which stays one unless it is larger than a message.
    pub(super) fn write_piece(self: &Arc<Self>, piece: Bytes) {
        let mut state = self.lock();
        if !state.tail.is_empty() {
            let tail = state.tail.split().freeze();
            state.output.push_back(tail);
        }
        let len = piece.len();
        state.output.push_back(piece);
        self.written(state, len);
    }

    fn written(self: &Arc<Self>, mut state: MutexGuard<'_, State>, len: usize) {
        if state.is_over() {
            return state.forget_output();
        }
        state.unsent += len;
        self.session.count_unsent(len as i64);
        if state.in_core < self.session.core_window {
            self.ring(state);
        }
    }

    fn wish(self: &Arc<Self>, wish: Wish) {
        let mut state = self.lock();
        // An end at once overtakes an end that waits.
        if state.wish == Wish::Nothing || state.wish == Wish::Close && matches!(wish, Wish::Abort(_)) {
            state.wish = wish;
            self.ring(state);
        }
    }

    /// What the peer asked for is dialled.
    pub(super) fn accept(self: &Arc<Self>) {
        let mut state = self.lock();
        state.is_accepted = true;
        self.ring(state);
    }

    /// Ends the stream once all that was written is sent.
    pub(super) fn close(self: &Arc<Self>) {
        self.wish(Wish::Close);
    }

    /// Ends the stream at once; the peer is told the text.
    pub(super) fn abort(self: &Arc<Self>, text: Bytes) {
        self.wish(Wish::Abort(text));
    }

    /// Ready when the peer, or the session, has ended the stream other than normally. A normal end wakes whoever waits,
    /// too.
    pub(super) fn poll_failed(&self, cx: &mut Context<'_>) -> Poll<StreamError> {
        let mut state = self.lock();
        if let Some(error) = state.error() {
            return Poll::Ready(error);
        }
        set(&mut state.watcher, cx);
        Poll::Pending
    }

    // The session's side.

    /// Bytes came in.
    pub(super) fn push(&self, body: Bytes, is_eager: bool) {
        let cost = data_cost(&body);
        let reader = {
            let mut state = self.lock();
            if state.is_abandoned {
                return;
            }
            self.session.count_held(i64::from(cost));
            state.input.push_back((body, cost));
            state.is_eager |= is_eager;
            state.reader.take()
        };
        wake(reader);
    }

    /// So much may be unread.
    pub(super) fn widen(&self, cost: u32) {
        self.lock().report_step = cost / 4;
    }

    /// So much has left the core; whether there is more for it.
    pub(super) fn sent(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        let bytes = bytes.min(state.in_core);
        state.in_core -= bytes;
        state.unsent -= bytes;
        if state.in_core == 0 {
            state.pieces = 0;
        }
        self.session.count_unsent(-(bytes as i64));
        // Half a window at a time: who writes is woken once for several messages.
        let is_roomy = state.unsent * 2 <= self.session.window();
        let writer = if is_roomy { state.writer.take() } else { None };
        let is_half_empty = state.in_core * 2 <= self.session.core_window;
        let has_more = (state.has_output() || state.wish == Wish::Close) && is_half_empty;
        let is_wanted = has_more && !std::mem::replace(&mut state.is_queued, true);
        drop(state);
        wake(writer);
        is_wanted
    }

    /// The stream is over, by itself or with its session.
    pub(super) fn end(self: &Arc<Self>, end: Option<StreamEnd>) {
        let mut state = self.lock();
        if state.is_over() {
            return;
        }
        state.is_cut = end.is_none();
        state.end = end;
        state.forget_output();
        self.session.count_unsent(-(state.unsent as i64));
        (state.unsent, state.in_core) = (0, 0);
        let wakers = [state.reader.take(), state.writer.take(), state.watcher.take()];
        // The wish waited for output that is gone now. The core must hear it all the same: it keeps what has ended
        // until it knows that nobody reads on.
        if state.wish == Wish::Close {
            self.ring(state);
        } else {
            drop(state);
        }
        wakers.into_iter().for_each(wake);
    }

    /// What the session's core shall be told.
    pub(super) fn take(&self, commands: &mut VecDeque<TunnelCommand>) {
        let mut state = self.lock();
        state.is_queued = false;
        let stream = self.id;
        if std::mem::take(&mut state.is_accepted) {
            commands.push_back(TunnelCommand::Dialed(stream));
        }
        let cost = std::mem::take(&mut state.read);
        if cost > 0 {
            self.session.count_held(-i64::from(cost));
            commands.push_back(TunnelCommand::Read { stream, cost });
        }
        if let Wish::Abort(error) = &mut state.wish {
            let error = std::mem::take(error);
            commands.push_back(TunnelCommand::Abort { stream, error });
            state.wish = Wish::Over;
            state.forget_output();
        }
        while state.in_core < self.session.core_window
            && let Some(body) = state.next_output()
        {
            state.in_core += body.len();
            state.pieces += 1;
            commands.push_back(TunnelCommand::Data { stream, body });
        }
        if state.wish == Wish::Close && !state.has_output() {
            state.wish = Wish::Over;
            commands.push_back(TunnelCommand::Close(stream));
        }
    }

    /// Nobody is left to read: what came in is forgotten, and the stream ends if it has not.
    pub(super) fn abandon(self: &Arc<Self>) {
        let mut state = self.lock();
        state.is_abandoned = true;
        let unread: i64 = state.input.drain(..).map(|(_, cost)| i64::from(cost)).sum();
        let read = i64::from(std::mem::take(&mut state.read));
        self.session.count_held(-unread - read);
        if state.wish == Wish::Nothing {
            // With either the session's core forgets what was not read.
            let text = Bytes::from_static(b"connection closed");
            state.wish = if state.is_over() { Wish::Close } else { Wish::Abort(text) };
            self.ring(state);
        }
    }
}

fn set(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
