//! A local UDP port that leads to what an agent reaches: one stream for each sender.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_lite::future::yield_now;
use linkspan_core::Mark;
use linkspan_runtime::{Datagrams, Host, Runtime};

use super::datagrams::{End, carry, poll_datagram};
use super::forward::Way;

/// What one sender has sent and its stream has not taken.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    datagrams: VecDeque<Bytes>,
    waker: Option<Waker>,
    is_over: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a datagram, which is lost if too many wait; false if nobody takes them any more.
    fn push(&self, datagram: Bytes, host: &Host) -> bool {
        let waker = {
            let mut queue = self.lock();
            if queue.is_over {
                return false;
            }
            if queue.datagrams.len() < host.limits().tunnel_datagrams_waiting as usize {
                queue.datagrams.push_back(datagram);
            } else {
                host.stats().mark(Mark::DatagramDropped);
            }
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// Hands each sender's datagrams to a stream of its own, until the process stops.
pub(super) async fn serve_udp<R: Runtime>(runtime: R, way: Arc<Way<R>>, socket: UdpSocket) {
    let socket = match runtime.datagrams(socket).await {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(listen = %way.forward.listen, %error, "no datagrams"),
    };
    let host = Arc::clone(way.tunnels.registry().host());
    let most = host.limits().tunnel_datagram_senders as usize;
    let mut senders: HashMap<SocketAddr, Waiting> = HashMap::new();
    let mut in_a_row = 0_u32;
    loop {
        // A flood must not keep the thread from serving the others.
        in_a_row = in_a_row.wrapping_add(1);
        if in_a_row.is_multiple_of(32) {
            yield_now().await;
        }
        let receive = poll_fn(|cx| poll_datagram(&*socket, cx));
        let Some(received) = host.closed_door().unless_raised(receive).await else { return };
        // An error is about a datagram that was sent.
        let Ok((datagram, from)) = received else { continue };
        if senders.get(&from).is_some_and(|waiting| waiting.push(datagram.clone(), &host)) {
            continue;
        }
        if senders.len() >= most {
            senders.retain(|_, waiting| !waiting.lock().is_over);
        }
        if senders.len() >= most {
            // Who is new waits until somebody is done.
            host.stats().mark(Mark::SendersFull);
            continue;
        }
        let waiting = Waiting::default();
        waiting.push(datagram, &host);
        senders.insert(from, waiting.clone());
        let sender = Sender { socket: Arc::clone(&socket), from, waiting };
        runtime.spawn(serve_sender(runtime.clone(), Arc::clone(&way), sender));
    }
}

async fn serve_sender<R: Runtime>(runtime: R, way: Arc<Way<R>>, sender: Sender<R::Datagrams>) {
    if let Some(stream) = way.dial().await {
        carry(&runtime, way.tunnels.registry().host(), stream, sender).await;
    }
}

/// One sender.
struct Sender<D> {
    socket: Arc<D>,
    from: SocketAddr,
    waiting: Waiting,
}

impl<D: Datagrams> End for Sender<D> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut queue = self.waiting.lock();
        match queue.datagrams.pop_front() {
            Some(datagram) => Poll::Ready(Ok(datagram)),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> io::Result<bool> {
        Ok(matches!(self.socket.poll_send(cx, datagram, Some(self.from)), Poll::Ready(Ok(_))))
    }
}

impl<D> Drop for Sender<D> {
    fn drop(&mut self) {
        let mut queue = self.waiting.lock();
        queue.is_over = true;
        queue.datagrams = VecDeque::new();
    }
}
