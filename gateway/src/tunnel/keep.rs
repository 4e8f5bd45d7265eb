//! Keeps one session to a server, as long as somebody wants it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::header::{HeaderName, HeaderValue};
use linkspan_core::redial::{Action, Config, Event, Redial};
use linkspan_core::tunnel::{Role, Tunnel, TunnelConfig};
use linkspan_core::{Actions, CloseReason, Limits, Machine};
use linkspan_runtime::{Host, HostConfig, Runtime, drive};

use super::config::Timers;
use super::dialer::{OpenError, Opened, open};
use super::door::Door;
use super::session::{Duty, Session};
use crate::tls::Tls;

/// Who is told of a session that stands.
pub(super) type OnOpened = Box<dyn Fn(&Arc<Session>) + Send + Sync>;

/// One server, and what a session to it is for.
pub(super) struct Errand {
    pub(super) door: Door,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) tls: Option<Tls>,
    pub(super) duty: Arc<dyn Duty>,
    pub(super) limits: Arc<Limits>,
    pub(super) redial: Config,
    pub(super) timers: Timers,
    /// Told of each session once it stands.
    pub(super) opened: OnOpened,
}

/// What the loop does at the moment.
enum Work<S> {
    Nothing,
    Dialling(Pin<Box<dyn Future<Output = Result<Opened<S>, OpenError>> + Send>>),
    Connected(Arc<Session>, Pin<Box<dyn Future<Output = CloseReason> + Send>>),
}

/// What has happened.
enum News<S> {
    Time,
    /// The process stops.
    Stop,
    Dialled(Box<Result<Opened<S>, OpenError>>),
    Ended(CloseReason),
}

/// Keeps a session until the process stops, or for one time if that is all that is wanted. Gives back why the last
/// session ended, if there was one.
pub(super) async fn keep<R: Runtime>(runtime: &R, host: &Arc<Host>, errand: &Errand) -> Option<CloseReason> {
    let config = Config { seed: HostConfig::random_seed(), ..errand.redial.clone() };
    let mut keeper = Keeper {
        runtime,
        host,
        errand,
        redial: Redial::new(config, host.clock().now()),
        work: Work::Nothing,
        last: None,
        is_stopping: false,
    };
    let mut actions = Actions::new();
    loop {
        let news = keeper.next_news().await;
        if keeper.handle(news, &mut actions) {
            return keeper.last;
        }
    }
}

struct Keeper<'a, R: Runtime> {
    runtime: &'a R,
    host: &'a Arc<Host>,
    errand: &'a Errand,
    redial: Redial,
    work: Work<R::Stream>,
    last: Option<CloseReason>,
    is_stopping: bool,
}

impl<R: Runtime> Keeper<'_, R> {
    async fn next_news(&mut self) -> News<R::Stream> {
        let now = self.host.clock().now();
        // Without a deadline there is news of the work, or of the stop.
        let due = self.redial.next_timeout();
        let sleep = due.map(|due| self.runtime.sleep_until(self.host.clock().to_std(due.max(now))));
        let mut sleep = pin!(sleep);
        poll_fn(|cx| {
            if !self.is_stopping && self.host.closed_door().poll_raised(cx).is_ready() {
                return Poll::Ready(News::Stop);
            }
            if let Poll::Ready(news) = self.poll_work(cx) {
                return Poll::Ready(news);
            }
            match sleep.as_mut().as_pin_mut() {
                Some(sleep) => sleep.poll(cx).map(|()| News::Time),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<News<R::Stream>> {
        match &mut self.work {
            Work::Nothing => Poll::Pending,
            Work::Dialling(dialling) => {
                dialling.as_mut().poll(cx).map(|outcome| News::Dialled(Box::new(outcome)))
            }
            Work::Connected(_, session) => session.as_mut().poll(cx).map(News::Ended),
        }
    }

    /// Whether it is over.
    fn handle(&mut self, news: News<R::Stream>, actions: &mut Actions<Action>) -> bool {
        let now = self.host.clock().now();
        let event = match news {
            News::Time => None,
            News::Stop => {
                self.is_stopping = true;
                self.leave();
                Some(Event::Stop)
            }
            News::Dialled(outcome) => Some(match *outcome {
                Ok(opened) => self.start(opened),
                Err(error) => {
                    self.work = Work::Nothing;
                    tracing::warn!(server = %self.errand.door, %error, "no tunnel");
                    Event::Failed
                }
            }),
            News::Ended(reason) => {
                self.work = Work::Nothing;
                self.last = Some(reason);
                tracing::warn!(server = %self.errand.door, %reason, "the tunnel has ended");
                Some(Event::Ended)
            }
        };
        match event {
            Some(event) => self.redial.handle_event(now, event, actions),
            None => self.redial.handle_timeout(now, actions),
        }
        let mut is_over = false;
        for action in actions.drain() {
            match action {
                Action::Dial => self.dial(),
                Action::Abandon => self.work = Work::Nothing,
                Action::Wait(delay) => {
                    let delay_ms = delay.as_millis() as u64;
                    tracing::info!(server = %self.errand.door, delay_ms, "dialling again");
                }
                Action::Finished => is_over = true,
                // What the machine learns to ask for later.
                _ => {}
            }
        }
        is_over
    }

    fn dial(&mut self) {
        let Errand { door, headers, tls, limits, .. } = self.errand;
        let (runtime, door, headers) = (self.runtime.clone(), door.clone(), headers.clone());
        let (tls, limits) = (tls.clone(), Arc::clone(limits));
        self.work =
            Work::Dialling(Box::pin(
                async move { open(&runtime, &door, &headers, tls.as_ref(), &limits).await },
            ));
    }

    /// Makes a session of an open WebSocket.
    fn start(&mut self, opened: Opened<R::Stream>) -> Event {
        let Opened { transport, peer, hello } = opened;
        let permit = match self.host.admit(peer) {
            Ok(permit) => permit.with_limits(Arc::clone(&self.errand.limits)).unpaced(),
            Err(reason) => {
                self.work = Work::Nothing;
                tracing::warn!(server = %self.errand.door, %reason, "no tunnel");
                return Event::Failed;
            }
        };
        let config = TunnelConfig {
            is_peer_ours: hello.is_some(),
            peer_window: hello.and_then(|hello| hello.window),
            ..self.errand.timers.session(Role::Client)
        };
        let (session, inbox, desk) = Session::open(&permit, &config, Arc::clone(&self.errand.duty));
        let conn = permit.conn();
        let running = drive(self.runtime, permit, transport, Tunnel::new(Arc::new(config)), inbox, desk);
        tracing::info!(server = %self.errand.door, conn = conn.0, ours = hello.is_some(), "tunnel open");
        (self.errand.opened)(&session);
        self.work = Work::Connected(session, Box::pin(running));
        Event::Connected
    }

    /// Gives the streams of the session a while to end, then ends it.
    fn leave(&self) {
        let Work::Connected(session, _) = &self.work else { return };
        end_later(self.runtime, self.host, session);
    }
}

/// Ends a session after the time that a closing connection gets; its streams may end before.
fn end_later<R: Runtime>(runtime: &R, host: &Arc<Host>, session: &Arc<Session>) {
    let late = runtime.sleep_until(Instant::now() + host.limits().close_grace);
    let session = Arc::clone(session);
    runtime.spawn(async move {
        late.await;
        session.end(CloseReason::Stopping);
    });
}

/// Where a session goes that was opened to the address of a server.
pub(super) fn header(name: &'static str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_static(name), value))
}
