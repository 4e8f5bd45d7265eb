//! The driver of the pool of upstream connections: the core decides, and this dials, hands over and closes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_lite::future::or;
use hyper::client::conn::http1::{self, SendRequest};
use linkspan_core::http::pool::{
    Action, Config, DialId, Event, Failure, Pool as Machine, RequestId, Stage, UpstreamId,
};
use linkspan_core::http::upstream::Upstream;
use linkspan_core::{Actions, Machine as _, Mark};
use linkspan_runtime::{Host, Runtime, Stop};

use super::dial::{DialFault, Dialer, Link};
use crate::handoff::{Giver, Taker, handoff};
use crate::http::{Body, HyperIo};

/// What makes connections interchangeable.
pub(super) type Destination = Arc<Upstream>;

/// How much of a reply's head is taken, in bytes, and how many fields it may have.
const HEAD_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 128;
/// How much is read from an upstream at once, in bytes: a message of a tunnel, and more than the longest head.
const READ_MAX: usize = 72 * 1024;
/// How long a reply that has come may wait for its request to be written to the end.
const SETTLE: Duration = Duration::from_millis(50);

/// The pool of upstream connections of one process. Clones are the same.
pub(super) struct Pool<R: Runtime>(Arc<Shared<R>>);

impl<R: Runtime> Clone for Pool<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<R: Runtime> {
    dialer: Dialer<R>,
    dial_timeout: Duration,
    host: Arc<Host>,
    next: AtomicU64,
    state: Mutex<State<R>>,
}

struct State<R: Runtime> {
    machine: Machine<Destination>,
    actions: Actions<Action<Destination>>,
    waiting: HashMap<RequestId, Giver<Outcome<R>>>,
    upstreams: HashMap<UpstreamId, Connection>,
    dials: HashMap<DialId, Stop>,
    /// A task waits for the machine's next deadline.
    is_timed: bool,
}

/// One connection that the machine knows.
struct Connection {
    /// While nobody has it.
    sender: Option<SendRequest<Body>>,
    received: Arc<AtomicU64>,
    stop: Stop,
    end: Arc<End>,
}

/// How a connection has ended: a request that was not yet sent is not told why.
#[derive(Default)]
struct End {
    is_there: Stop,
    error: Mutex<Option<hyper::Error>>,
}

/// What a request comes to.
enum Outcome<R: Runtime> {
    Delivered(Lease<R>),
    Failed(Failure, Option<DialFault>),
}

/// What is done once the lock is let go.
enum Deed<R: Runtime> {
    Give(Giver<Outcome<R>>, Outcome<R>),
    Dial(DialId, Destination, Stop),
    Close(Connection),
    Abort(Stop),
    Time,
}

/// Why a request has no connection.
#[derive(Debug)]
pub(super) struct NoLease {
    pub(super) failure: Failure,
    /// Why its dial failed.
    pub(super) fault: Option<DialFault>,
}

impl<R: Runtime> Pool<R> {
    pub(super) fn new(dialer: Dialer<R>, config: Config, dial_timeout: Duration, host: Arc<Host>) -> Self {
        let state = State {
            machine: Machine::new(config),
            actions: Actions::new(),
            waiting: HashMap::new(),
            upstreams: HashMap::new(),
            dials: HashMap::new(),
            is_timed: false,
        };
        Self(Arc::new(Shared {
            dialer,
            dial_timeout,
            host,
            next: AtomicU64::new(1),
            state: Mutex::new(state),
        }))
    }

    /// A connection to `key` for one exchange. Dropping the future gives the request up.
    pub(super) async fn acquire(&self, runtime: &R, key: Destination) -> Result<Lease<R>, NoLease> {
        let request = RequestId(self.0.next.fetch_add(1, Ordering::Relaxed));
        self.wait(runtime, request, Event::Acquire { request, key }).await
    }

    /// Tells the machine, and waits for what the request comes to.
    async fn wait(
        &self,
        runtime: &R,
        request: RequestId,
        event: Event<Destination>,
    ) -> Result<Lease<R>, NoLease> {
        let (giver, taker) = handoff();
        self.0.lock().waiting.insert(request, giver);
        self.step(runtime, event, None);
        let mut asking = Asking { pool: self.clone(), runtime, request, taker: Some(taker) };
        let outcome = match &mut asking.taker {
            Some(taker) => taker.await,
            None => None,
        };
        asking.taker = None;
        match outcome {
            Some(Outcome::Delivered(lease)) => Ok(lease),
            Some(Outcome::Failed(failure, fault)) => Err(NoLease { failure, fault }),
            None => Err(NoLease { failure: Failure::Exchange, fault: None }),
        }
    }

    /// Lets the machine know, and does what it says. `fault` is why a dial failed.
    fn step(&self, runtime: &R, event: Event<Destination>, fault: Option<DialFault>) {
        let deeds = {
            let mut state = self.0.lock();
            let now = self.0.host.clock().now();
            let State { machine, actions, .. } = &mut *state;
            machine.handle_event(now, event, actions);
            self.perform(runtime, &mut state, fault)
        };
        self.finish(runtime, deeds);
    }

    fn perform(&self, runtime: &R, state: &mut State<R>, mut fault: Option<DialFault>) -> Vec<Deed<R>> {
        let mut deeds = Vec::new();
        let State { machine, actions, waiting, upstreams, dials, is_timed } = state;
        for action in actions.drain() {
            match action {
                Action::Dial { dial, key } => {
                    let stop = Stop::new();
                    dials.insert(dial, stop.clone());
                    deeds.push(Deed::Dial(dial, key, stop));
                }
                Action::AbortDial { dial } => deeds.extend(dials.remove(&dial).map(Deed::Abort)),
                Action::Deliver { request, upstream, .. } => {
                    let Some(connection) = upstreams.get_mut(&upstream) else { continue };
                    let (Some(sender), Some(giver)) = (connection.sender.take(), waiting.remove(&request))
                    else {
                        continue;
                    };
                    let received = Arc::clone(&connection.received);
                    let end = Arc::clone(&connection.end);
                    let lease = Lease {
                        pool: self.clone(),
                        runtime: runtime.clone(),
                        request,
                        upstream,
                        sender: Some(sender),
                        before: received.load(Ordering::Relaxed),
                        received,
                        end,
                    };
                    deeds.push(Deed::Give(giver, Outcome::Delivered(lease)));
                }
                Action::Fail { request, failure } => {
                    match failure {
                        Failure::TooManyUpstreams => self.0.host.stats().mark(Mark::UpstreamsFull),
                        Failure::TooManyWaiting => self.0.host.stats().mark(Mark::UpstreamQueueFull),
                        _ => {}
                    }
                    if let Some(giver) = waiting.remove(&request) {
                        deeds.push(Deed::Give(giver, Outcome::Failed(failure, fault.take())));
                    }
                }
                Action::Close { upstream, .. } => deeds.extend(upstreams.remove(&upstream).map(Deed::Close)),
                // A delivery or a failure follows.
                _ => {}
            }
        }
        if !*is_timed && machine.next_timeout().is_some() {
            *is_timed = true;
            deeds.push(Deed::Time);
        }
        deeds
    }

    fn finish(&self, runtime: &R, deeds: Vec<Deed<R>>) {
        for deed in deeds {
            match deed {
                Deed::Give(giver, outcome) => giver.give(outcome),
                Deed::Dial(dial, key, stop) => {
                    runtime.spawn(self.clone().dial(runtime.clone(), dial, key, stop));
                }
                Deed::Close(connection) => connection.stop.raise(),
                Deed::Abort(stop) => stop.raise(),
                Deed::Time => runtime.spawn(self.clone().keep_time(runtime.clone())),
            }
        }
    }

    /// One dial, and the life of the connection it makes.
    async fn dial(self, runtime: R, dial: DialId, key: Destination, stop: Stop) {
        let late = async {
            runtime.sleep_until(Instant::now() + self.0.dial_timeout).await;
            Err(DialFault::Late)
        };
        let dialled = stop.unless_raised(or(self.0.dialer.dial(&runtime, &key), late)).await;
        let link = match dialled {
            None => return,
            Some(Err(fault)) => {
                self.0.lock().dials.remove(&dial);
                return self.step(&runtime, Event::DialFailed { dial }, Some(fault));
            }
            Some(Ok(link)) => link,
        };
        let received = link.received();
        let Ok((sender, connection)) = shake_hands(link).await else {
            self.0.lock().dials.remove(&dial);
            return self.step(&runtime, Event::DialFailed { dial }, None);
        };
        let upstream = UpstreamId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let end = Arc::<End>::default();
        {
            let mut state = self.0.lock();
            state.dials.remove(&dial);
            let stop = stop.clone();
            let end = Arc::clone(&end);
            state.upstreams.insert(upstream, Connection { sender: Some(sender), received, stop, end });
        }
        self.step(&runtime, Event::Dialed { dial, upstream }, None);
        let outcome = stop.unless_raised(connection).await;
        if let Some(Err(error)) = outcome {
            tracing::debug!(%key, %error, "upstream connection failed");
            *end.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        end.is_there.raise();
        self.step(&runtime, Event::Broken { upstream }, None);
    }

    /// Closes what is idle for too long, until nothing is idle. Deadlines only ever move on, as all have the same span.
    async fn keep_time(self, runtime: R) {
        loop {
            let next = {
                let mut state = self.0.lock();
                let next = state.machine.next_timeout();
                state.is_timed = next.is_some();
                next
            };
            let Some(at) = next else { return };
            runtime.sleep_until(self.0.host.clock().to_std(at)).await;
            let deeds = {
                let mut state = self.0.lock();
                let now = self.0.host.clock().now();
                let State { machine, actions, .. } = &mut *state;
                machine.handle_timeout(now, actions);
                self.perform(&runtime, &mut state, None)
            };
            self.finish(&runtime, deeds);
        }
    }
}

impl<R: Runtime> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Driving = http1::Connection<HyperIo<Link>, Body>;

/// The two halves of an HTTP/1 connection: who sends requests, and what moves the bytes.
async fn shake_hands(
    link: Link,
) -> hyper::Result<(SendRequest<Body>, impl Future<Output = hyper::Result<()>>)> {
    let mut http = http1::Builder::new();
    http.max_headers(FIELDS_MAX).max_buf_size(READ_MAX).max_header_size(HEAD_MAX).writev(true);
    let (sender, connection): (_, Driving) = http.handshake(HyperIo::new(link)).await?;
    Ok((sender, connection.with_upgrades()))
}

/// A request that waits; one that is given up tells the machine.
struct Asking<'a, R: Runtime> {
    pool: Pool<R>,
    runtime: &'a R,
    request: RequestId,
    /// `None` once it has its outcome.
    taker: Option<Taker<Outcome<R>>>,
}

impl<R: Runtime> Drop for Asking<'_, R> {
    fn drop(&mut self) {
        if self.taker.take().is_some() {
            let giver = self.pool.0.lock().waiting.remove(&self.request);
            drop(giver);
            self.pool.step(self.runtime, Event::Cancel { request: self.request }, None);
        }
    }
}

/// A connection for one exchange. Dropping it gives the exchange up, and closes the connection.
pub(super) struct Lease<R: Runtime> {
    pool: Pool<R>,
    runtime: R,
    request: RequestId,
    upstream: UpstreamId,
    /// `None` once it is given back.
    sender: Option<SendRequest<Body>>,
    received: Arc<AtomicU64>,
    before: u64,
    end: Arc<End>,
}

impl<R: Runtime> Lease<R> {
    /// What sends the request.
    pub(super) fn sender(&mut self) -> Option<&mut SendRequest<Body>> {
        self.sender.as_mut()
    }

    /// Whether a byte of the reply has come.
    pub(super) fn has_reply(&self) -> bool {
        self.received.load(Ordering::Relaxed) > self.before
    }

    /// Why the connection has ended, if it knows; waits for its end.
    pub(super) async fn reason(&self) -> Option<hyper::Error> {
        self.end.is_there.raised().await;
        self.end.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The reply was read to its end, and the connection may be used again, or not.
    pub(super) fn release(mut self, is_reusable: bool) {
        let Some(sender) = self.sender.take() else { return };
        if !is_reusable || sender.is_closed() {
            self.give_back(sender, false);
        } else if sender.is_ready() {
            self.give_back(sender, true);
        } else {
            self.sender = Some(sender);
            let runtime = self.runtime.clone();
            runtime.spawn(self.settle());
        }
    }

    /// Waits for the last bytes of the request to be written.
    async fn settle(mut self) {
        let late = self.runtime.sleep_until(Instant::now() + SETTLE);
        let late = async {
            late.await;
            false
        };
        let Some(mut sender) = self.sender.take() else { return };
        let is_reusable = or(async { sender.ready().await.is_ok() }, late).await;
        self.give_back(sender, is_reusable);
    }

    fn give_back(&self, sender: SendRequest<Body>, reusable: bool) {
        if let Some(connection) = self.pool.0.lock().upstreams.get_mut(&self.upstream) {
            connection.sender = Some(sender);
        }
        self.pool.step(&self.runtime, Event::Release { upstream: self.upstream, reusable }, None);
    }

    /// The exchange has failed: another connection, if it may be tried again.
    pub(super) async fn fail(
        mut self,
        stage: Stage,
        replayable: bool,
        rewindable: bool,
    ) -> Result<Self, NoLease> {
        let (request, upstream) = (self.request, self.upstream);
        self.sender = None;
        let event = Event::ExchangeFailed { request, upstream, stage, replayable, rewindable };
        let (pool, runtime) = (self.pool.clone(), self.runtime.clone());
        pool.wait(&runtime, request, event).await
    }
}

impl<R: Runtime> Drop for Lease<R> {
    fn drop(&mut self) {
        if self.sender.take().is_some() {
            self.pool.step(&self.runtime, Event::Cancel { request: self.request }, None);
        }
    }
}
