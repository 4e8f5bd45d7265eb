//! A pomelo client on any [`Runtime`], over TCP or WebSocket.
//!
//! ```no_run
//! # use linkspan_gateway::client::{Dialer, Target};
//! # async fn run<R: linkspan_runtime::Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Dialer::new(runtime).connect(&Target::resolve("ws://127.0.0.1:3251")?).await?;
//! let answer = client.request("Echo.JSON", r#"{"a":1}"#).await?;
//! client.notify("Echo.PushMe", "hello")?;
//! let push = client.next_push().await;
//! client.close().await;
//! # Ok(()) }
//! ```

mod state;
mod target;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::{client_async_with_config, tungstenite};
use bytes::Bytes;
use futures_lite::FutureExt;
use linkspan_core::pomelo::{Client as Dialect, ClientCommand, ClientConfig, ErrorBody, RequestError};
use linkspan_core::{CloseReason, Limits};
use linkspan_runtime::{
    Host, HostConfig, Mailbox, PushError, Runtime, SocketTransport, StreamTransport, Transport,
};
use linkspan_runtime::{mailbox, spawn};

use self::state::{Ears, Room, State, Waiting};
pub use self::target::{Carrier, Target, TargetError};

/// Makes connections to servers; all connections of one dialer share their bounds and counters.
#[derive(Clone)]
pub struct Dialer<R> {
    runtime: R,
    host: Arc<Host>,
    config: Arc<ClientConfig>,
    room: Room,
    timeout: Duration,
}

impl<R: Runtime> Dialer<R> {
    /// A dialer with a client's bounds: bodies of any size the wire can carry, and as many requests in flight as one
    /// likes.
    pub fn new(runtime: R) -> Self {
        let limits = Limits {
            receive_max: Limits::BODY_MAX,
            inflate_max: Limits::BODY_MAX,
            send_queue_bytes: 64 * 1024 * 1024,
            pending_requests: 65_536,
            mailbox: 65_536,
            connections: u32::MAX,
            connections_per_address: u32::MAX,
            connects_per_second: 0,
            ..Limits::default()
        };
        Self::with_limits(runtime, limits)
    }

    /// A dialer with bounds of your own. Those of the gate, such as connections per address, count too; but for
    /// [`messages_per_second`](Limits::messages_per_second), which is about clients.
    pub fn with_limits(runtime: R, limits: Limits) -> Self {
        let host = Host::new(HostConfig { limits: Arc::new(limits), ..HostConfig::default() });
        let room = Room { pushes: 65_536, bytes: 64 * 1024 * 1024 };
        Self { runtime, host, config: Arc::default(), room, timeout: Duration::from_secs(10) }
    }

    /// What the connections say first, and how they keep alive.
    #[must_use]
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// How many messages of the server may wait to be taken before it is no longer read. Default 65,536;
    /// [`push_bytes_max`](Self::push_bytes_max) counts too.
    #[must_use]
    pub fn pushes_max(mut self, pushes: usize) -> Self {
        self.room.pushes = pushes.max(1);
        self
    }

    /// How many bytes of routes and bodies may wait in such messages before the server is no longer read. What one read
    /// has brought by then still comes in whole, inflated. Default 64 MiB.
    #[must_use]
    pub fn push_bytes_max(mut self, bytes: usize) -> Self {
        self.room.bytes = bytes.max(1);
        self
    }

    /// How long a connection may take until its handshake is finished. Default 10 s. It stands in for a
    /// [`handshake_timeout`](Limits::handshake_timeout) that is shorter.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The counters of this dialer's connections.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Connects, and finishes the handshake.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(&self, to: &Target) -> Result<Client, ConnectError> {
        let late = async {
            self.runtime.sleep_until(Instant::now() + self.timeout).await;
            Err(ConnectError::TimedOut)
        };
        self.try_connect(to).or(late).await
    }

    async fn try_connect(&self, to: &Target) -> Result<Client, ConnectError> {
        let stream = self.runtime.connect(to.address).await?;
        let client = match to.carrier {
            Carrier::Tcp => self.run(to, StreamTransport::new(stream))?,
            Carrier::WebSocket => {
                let request = to.to_string().into_client_request()?;
                let config = SocketTransport::<R::Stream>::config(self.host.limits());
                let (socket, _) = Box::pin(client_async_with_config(
                    request,
                    linkspan_runtime::Metered::new(stream),
                    Some(config),
                ))
                .await?;
                self.run(to, SocketTransport::over(socket))?
            }
        };
        client.0.state.connected().await?;
        Ok(client)
    }

    fn run<T: Transport + 'static>(&self, to: &Target, transport: T) -> Result<Client, ConnectError> {
        let permit = self.host.admit(to.address).map_err(ConnectError::Closed)?.unpaced();
        let permit = if permit.limits().handshake_timeout < self.timeout {
            let limits = Limits { handshake_timeout: self.timeout, ..Limits::clone(permit.limits()) };
            permit.with_limits(Arc::new(limits))
        } else {
            permit
        };
        let (mailbox, inbox) = mailbox(self.host.limits().mailbox);
        let state = Arc::new(State::new(self.room));
        let dialect = Dialect::new(Arc::clone(&self.config));
        let ears = Ears(Arc::clone(&state));
        spawn(&self.runtime, permit, transport, dialect, inbox, ears);
        Ok(Client(Arc::new(Handle { mailbox, state })))
    }
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event name.
    pub route: Bytes,
    /// The payload.
    pub body: Bytes,
}

impl Message {
    /// How much of [`push_bytes_max`](Dialer::push_bytes_max) it takes.
    fn len(&self) -> usize {
        self.route.len() + self.body.len()
    }
}

/// A connection to a server. Clones are the same connection; it is closed with the last of them.
#[derive(Clone)]
pub struct Client(Arc<Handle>);

struct Handle {
    mailbox: Mailbox<ClientCommand>,
    state: Arc<State>,
}

impl Handle {
    /// Ends the connection behind what is in its mailbox, which may have no room for a command.
    fn close(&self) {
        if self.mailbox.command(ClientCommand::Close) == Err(PushError::Full) {
            self.mailbox.close(CloseReason::Finished);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Client {
    /// Asks. The request is on its way when this returns, not only when the answer is waited for.
    pub fn request(&self, route: impl Into<Bytes>, body: impl Into<Bytes>) -> PendingAnswer {
        let waiting = Waiting::new(&self.0.state);
        let command =
            ClientCommand::Request { request: waiting.request, route: route.into(), body: body.into() };
        let refused = self.0.mailbox.command(command).err();
        PendingAnswer { waiting, refused }
    }

    /// Tells.
    ///
    /// # Errors
    ///
    /// [`PushError`].
    pub fn notify(&self, route: impl Into<Bytes>, body: impl Into<Bytes>) -> Result<(), PushError> {
        self.0.mailbox.command(ClientCommand::Notify { route: route.into(), body: body.into() })
    }

    /// The next message that the server sent unasked; `None` once all are taken and the connection has ended.
    pub async fn next_push(&self) -> Option<Message> {
        self.0.state.next_push().await
    }

    /// The next message that the server sent unasked, if it is here already.
    pub fn try_next_push(&self) -> Option<Message> {
        self.0.state.try_next_push()
    }

    /// How many messages wait to be taken.
    pub fn pushes(&self) -> usize {
        self.0.state.pushes()
    }

    /// The server's answer to the handshake, JSON.
    pub async fn hello(&self) -> Option<Bytes> {
        self.0.state.connected().await.ok()
    }

    /// What the server said when it removed this client, JSON; `None` if it did not.
    pub fn kicked(&self) -> Option<Bytes> {
        self.0.state.kicked()
    }

    /// Why the connection has ended; `None` while it has not.
    pub fn closed(&self) -> Option<CloseReason> {
        self.0.state.closed()
    }

    /// Waits for the end of the connection. What was queued before it may still be on its way to the server then:
    /// [`close`](Self::close) waits for that, too.
    pub async fn ended(&self) -> CloseReason {
        self.0.state.ended().await
    }

    /// Ends the connection, and waits until what is queued is written and the server has hung up too. It waits for a
    /// server that does not read for [`close_grace`](Limits::close_grace), and for one that does not hang up for a second;
    /// after that the program may exit. Why the connection has ended: it may have done so before.
    pub async fn close(&self) -> CloseReason {
        self.0.close();
        self.0.state.over().await
    }
}

/// The answer to one request, as a future; dropping it gives the answer up.
#[must_use = "the answer comes only to who waits for it"]
pub struct PendingAnswer {
    waiting: Waiting,
    refused: Option<PushError>,
}

impl Future for PendingAnswer {
    type Output = Result<Bytes, FailedRequest>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.refused {
            Some(PushError::Full) => Poll::Ready(Err(FailedRequest::Full)),
            _ => self.waiting.poll_answer(cx),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The socket failed.
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
    /// The WebSocket's opening handshake failed.
    #[error("cannot open the WebSocket: {0}")]
    WebSocket(#[source] Box<tungstenite::Error>),
    /// The server refused the handshake.
    #[error("refused by the server with code {code}: {}", .body.escape_ascii())]
    Refused {
        /// 400, 500, 501, or what else the server said.
        code: i64,
        /// The whole answer, JSON.
        body: Bytes,
    },
    /// The connection ended before the handshake was finished.
    #[error("closed before the handshake was finished: {0}")]
    Closed(CloseReason),
    /// The server took too long.
    #[error("the server took too long")]
    TimedOut,
}

impl From<tungstenite::Error> for ConnectError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FailedRequest {
    /// The server answered with an error.
    #[error("{}", .0.escape_ascii())]
    Server(Bytes),
    /// The client itself gave up.
    #[error(transparent)]
    Request(RequestError),
    /// Too much waits to be sent.
    #[error("too much waits to be sent")]
    Full,
    /// The connection has ended.
    #[error("the connection has ended: {0}")]
    Closed(CloseReason),
}

impl FailedRequest {
    /// The server's error in pitaya's form, if it is one.
    pub fn error_body(&self) -> Option<ErrorBody> {
        match self {
            Self::Server(body) => serde_json::from_slice(body).ok(),
            _ => None,
        }
    }
}

impl From<RequestError> for FailedRequest {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Server(body) => Self::Server(body),
            other => Self::Request(other),
        }
    }
}
