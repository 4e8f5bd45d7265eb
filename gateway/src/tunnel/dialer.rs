//! Opens the WebSocket to a server.

use std::io;
use std::net::SocketAddr;

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::{client_async_with_config, tungstenite};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use linkspan_core::Limits;
use linkspan_core::tunnel::{HEADER, Hello};
use linkspan_runtime::{Metered, Runtime, SocketTransport};

use super::carrier::Carrier;
use super::door::Door;
use crate::resolve::resolve;
use crate::tls::{Tls, TrustError};

/// An open WebSocket to a server.
pub(super) struct Opened<S> {
    pub(super) transport: SocketTransport<Carrier<S>>,
    pub(super) peer: SocketAddr,
    /// What the server said if it is one of ours.
    pub(super) hello: Option<Hello>,
}

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("cannot trust anybody: {0}")]
    Trust(#[from] TrustError),
    #[error("the secured connection failed: {0}")]
    Tls(io::Error),
    /// The server's words are not to be trusted.
    #[error("refused with status {status}: {}", .text.escape_ascii())]
    Refused { status: StatusCode, text: Vec<u8> },
    #[error("cannot open the WebSocket: {0}")]
    WebSocket(Box<tungstenite::Error>),
}

impl From<tungstenite::Error> for OpenError {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(answer) => {
                let (parts, body) = answer.into_parts();
                let mut text = body.unwrap_or_default();
                text.truncate(200);
                Self::Refused { status: parts.status, text }
            }
            error => Self::WebSocket(Box::new(error)),
        }
    }
}

/// What is said beside the handshake.
pub(super) type Headers = [(HeaderName, HeaderValue)];

/// How either end of a handshake says that it is one of ours.
pub(super) fn hello(limits: &Limits) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(&Hello::new(limits).to_string()).ok()?;
    Some((HeaderName::from_static(HEADER), value))
}

/// Opens a WebSocket to the server behind `door`.
pub(super) async fn open<R: Runtime>(
    runtime: &R,
    door: &Door,
    headers: &Headers,
    tls: Option<&Tls>,
    limits: &Limits,
) -> Result<Opened<R::Stream>, OpenError> {
    let (stream, peer) = connect(runtime, door).await?;
    let stream = match (door.is_secure, tls) {
        (false, _) => Carrier::Plain(stream),
        (true, Some(tls)) => secure(tls, door, stream).await?,
        (true, None) => secure(&Tls::new(None)?, door, stream).await?,
    };
    // The scheme counts for nothing here, but for the `Host`.
    let mut request = door.to_string().into_client_request()?;
    request.headers_mut().extend(hello(limits));
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    let config = SocketTransport::<Carrier<R::Stream>>::config(limits);
    let stream = Metered::new(stream);
    let (socket, answer) = Box::pin(client_async_with_config(request, stream, Some(config))).await?;
    let hello = answer.headers().get(HEADER).map(|value| Hello::parse(value.as_bytes()));
    Ok(Opened { transport: SocketTransport::over(socket).bulk(), peer, hello })
}

async fn secure<S>(tls: &Tls, door: &Door, stream: S) -> Result<Carrier<S>, OpenError>
where
    S: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin,
{
    let stream = tls.connect(&door.host, stream).await.map_err(OpenError::Tls)?;
    Ok(Carrier::Secure(Box::new(stream)))
}

/// The first of the server's addresses that takes a connection.
async fn connect<R: Runtime>(runtime: &R, door: &Door) -> io::Result<(R::Stream, SocketAddr)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(&door.host, door.port).await? {
        match runtime.connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}
