//! The links that this server opens to its peers.

use std::sync::Arc;

use bytes::Bytes;
use linkspan_core::hub::directory::{Event, Scope};
use linkspan_core::tunnel::split_forwarded;
use linkspan_core::{CloseReason, Key, redial};
use linkspan_runtime::Runtime;

use super::config::{Config, Own, Peer, session_limits};
use super::keep::{Errand, header, keep};
use super::pipe::join;
use super::registry::address;
use super::session::{Duty, Session};
use super::stream::TunnelStream;
use super::targets::unless_failed;
use super::{DialFailure, Tunnels};

/// Opens a link to each peer, and keeps it.
pub(super) fn open_links<R: Runtime>(tunnels: &Tunnels<R>, config: &Config) {
    let Some(own) = &config.own else { return };
    for peer in &config.peers {
        let errand = errand(tunnels, own, peer, config);
        let (runtime, host) = (tunnels.runtime().clone(), Arc::clone(tunnels.registry().host()));
        tunnels.runtime().spawn(async move {
            keep(&runtime, &host, &errand).await;
        });
    }
}

fn errand<R: Runtime>(tunnels: &Tunnels<R>, own: &Own, peer: &Peer, config: &Config) -> Errand {
    let registry = Arc::clone(tunnels.registry());
    let mut headers = Vec::new();
    headers.extend(header("x-api-tunnel-id", &String::from_utf8_lossy(own.id.as_bytes())));
    headers.extend(header("x-api-tunnel-token", own.token.as_str()));
    Errand {
        door: peer.door.clone(),
        headers,
        tls: config.tls.clone(),
        duty: Arc::new(Relay(tunnels.clone())),
        limits: Arc::new(session_limits(registry.host().limits())),
        redial: redial::Config::default(),
        timers: config.timers,
        opened: Box::new(move |session| {
            registry.enter(session);
            registry.handle(Event::Listen(address(session)));
        }),
    }
}

/// Announces this server's clients to a peer, and dials through them what the peer asks for.
struct Relay<R>(Tunnels<R>);

impl<R: Runtime> Duty for Relay<R> {
    fn dial(&self, stream: TunnelStream, proto: Bytes, address: Bytes) {
        self.0.runtime().spawn(relay(self.0.clone(), stream, proto, address));
    }

    fn said(&self, session: &Session) {
        self.0.registry().handle(Event::Ready(session.conn));
    }

    fn leaving(&self, _session: &Session) {
        // It hears of each client that leaves, until it is closed.
    }

    fn ended(&self, session: &Session, _reason: CloseReason) {
        self.0.registry().leave(session.conn);
    }
}

/// Ties a peer's stream to one of a client of ours: of no other server's, or two could send each other in circles.
async fn relay<R: Runtime>(tunnels: Tunnels<R>, stream: TunnelStream, proto: Bytes, address: Bytes) {
    let Some((client, proto)) = split_forwarded(&proto) else {
        return stream.abort([b"invalid clientKey/proto: ", &proto[..]].concat());
    };
    let dialling = async {
        let key = Key::new(&client).map_err(|_| DialFailure::NoSession(client.clone()))?;
        tunnels.dial_in(Scope::LocalOnly, key, proto, address, None).await
    };
    match unless_failed(&stream, dialling).await {
        Some(Ok(other)) => {
            stream.accept();
            join(stream, other).await;
        }
        Some(Err(failure)) => stream.abort(failure.to_string()),
        None => {}
    }
}
