//! The other end as a test plays it: raw sessions, and an end that has the defects of the originals.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkspan_core::tunnel::{Content, EOF, Message, Target};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::http::HeaderName;
use tungstenite::{Error, WebSocket};

use crate::site::{PATIENCE, Server, dial, fill};

/// A session whose messages a test writes itself.
pub(crate) struct Session {
    pub(crate) socket: WebSocket<TcpStream>,
    last_id: i64,
}

/// A handshake at `/connect` with these headers.
pub(crate) fn handshake(
    to: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<(Session, Response), Box<Error>> {
    let mut request = format!("ws://{to}/connect").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    match tungstenite::client(request, dial(to)) {
        Ok((socket, response)) => Ok((Session::over(socket), response)),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(Box::new(error)),
        Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the stream blocks"),
    }
}

impl Session {
    pub(crate) fn over(socket: WebSocket<TcpStream>) -> Self {
        Self { socket, last_id: 0 }
    }

    /// An agent of that name.
    pub(crate) fn open(server: &Server, id: &str) -> Self {
        handshake(server.http, &[("x-tunnel-id", id)]).unwrap().0
    }

    pub(crate) fn say(&mut self, stream: i64, content: Content) {
        self.last_id += 1;
        let frame = Message { id: self.last_id, stream, content }.encode().unwrap();
        self.socket.send(tungstenite::Message::Binary(frame.into_bytes())).unwrap();
    }

    /// Bytes that need not be a message.
    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        let _ = self.socket.send(tungstenite::Message::Binary(Bytes::copy_from_slice(bytes)));
    }

    /// The next message within `wait`; `Err` at the end.
    pub(crate) fn hear(&mut self, wait: Duration) -> Result<Option<Message>, ()> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.socket.read() {
                Ok(tungstenite::Message::Binary(data)) => return Ok(Some(Message::decode(&data).unwrap())),
                Ok(tungstenite::Message::Close(_)) | Err(Error::ConnectionClosed) => return Err(()),
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    if Instant::now() >= until {
                        return Ok(None);
                    }
                }
                Err(_) => return Err(()),
            }
        }
    }

    /// The next message that `wanted` takes.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Message) -> bool) -> Message {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(message) = self.hear(PATIENCE).expect("the session lives")
                && wanted(&message)
            {
                return message;
            }
        }
        panic!("it never came");
    }

    /// Waits for the end of the session.
    pub(crate) fn until_over(&mut self) {
        let started = Instant::now();
        while self.hear(PATIENCE).is_ok() {
            assert!(started.elapsed() < PATIENCE, "it lives");
        }
    }

    /// What a server asks to dial, and the stream's number.
    pub(crate) fn until_connect(&mut self) -> (i64, Target) {
        let message = self.until(|message| matches!(message.content, Content::Connect(_)));
        match message.content {
            Content::Connect(target) => (message.stream, target),
            _ => unreachable!(),
        }
    }
}

/// What uses a stream of an [`Original`].
enum User {
    /// Sends back what comes.
    Echo,
    /// Sends so many bytes of the test data and checks that they come back.
    Check { total: u64, sent: u64, received: u64 },
    /// Sends the test data without end, and checks that the same comes, neither waiting for the other.
    Duplex { sent: u64, received: u64 },
}

/// One stream as the originals keep it.
struct Stream {
    user: User,
    /// What came in and was not read.
    input: VecDeque<Bytes>,
    unread: usize,
    /// Between the reader and the writer: the buffers of a socket.
    between: VecDeque<Bytes>,
    between_bytes: usize,
    /// The first defect: one flag for "I paused you" and "you paused me".
    is_paused: bool,
    /// The second: a writer that waits is woken only by a message, not by the reader that clears the flag.
    is_asleep: bool,
}

/// An end of a session that keeps streams as the originals do, with their defects; and it never closes the socket.
pub(crate) struct Original {
    pub(crate) session: Session,
    streams: BTreeMap<i64, Stream>,
    /// How often data was held back for good unless the other side did something about it.
    pub(crate) lost_wakes: u32,
    /// Whether whoever dials is served both ways at once, in place of an echo.
    pub(crate) is_duplex: bool,
}

const PAUSE_ABOVE: usize = 2 << 20;
const RESUME_BELOW: usize = PAUSE_ABOVE / 8;
const BETWEEN: usize = 256 * 1024;

impl Original {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, streams: BTreeMap::new(), lost_wakes: 0, is_duplex: false }
    }

    fn add(&mut self, id: i64, user: User) {
        let stream = Stream {
            user,
            input: VecDeque::new(),
            unread: 0,
            between: VecDeque::new(),
            between_bytes: 0,
            is_paused: false,
            is_asleep: false,
        };
        self.streams.insert(id, stream);
    }

    /// Dials, and sends so much to be sent back.
    pub(crate) fn check(&mut self, id: i64, address: SocketAddr, total: u64) {
        let target =
            Target { proto: Bytes::from_static(b"tcp"), address: address.to_string().into(), is_cut: false };
        self.session.say(id, Content::Connect(target));
        self.add(id, User::Check { total, sent: 0, received: 0 });
    }

    /// Whether everything that was to be checked came back.
    pub(crate) fn is_done(&self) -> bool {
        self.streams.values().all(|stream| match stream.user {
            User::Check { total, received, .. } => received == total,
            User::Echo | User::Duplex { .. } => false,
        })
    }

    /// Lets it run until `done`; an echo serves whoever dials.
    pub(crate) fn run(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            let is_busy = self.step();
            let wait = if is_busy { Duration::ZERO } else { Duration::from_millis(1) };
            match self.session.hear(wait) {
                Ok(Some(message)) => self.handle(message),
                Ok(None) => {}
                Err(()) => return,
            }
        }
    }

    fn handle(&mut self, message: Message) {
        let id = message.stream;
        if let Content::Connect(_) = message.content {
            let user = if self.is_duplex { User::Duplex { sent: 0, received: 0 } } else { User::Echo };
            return self.add(id, user);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match message.content {
            Content::Data(body) => {
                stream.unread += body.len();
                stream.input.push_back(body);
                if stream.unread > PAUSE_ABOVE && !stream.is_paused {
                    stream.is_paused = true;
                    self.session.say(id, Content::Pause);
                }
            }
            Content::Error(_) => {
                self.streams.remove(&id);
                self.session.say(id, Content::Error(Bytes::from_static(EOF)));
            }
            Content::Pause => (stream.is_paused, stream.is_asleep) = (true, false),
            Content::Resume => (stream.is_paused, stream.is_asleep) = (false, false),
            _ => {}
        }
    }

    /// One turn of every reader and writer; whether anything moved.
    fn step(&mut self) -> bool {
        let mut moved = false;
        let ids: Vec<_> = self.streams.keys().copied().collect();
        for id in ids {
            moved |= self.read(id) | self.write(id);
        }
        moved
    }

    fn read(&mut self, id: i64) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        if stream.between_bytes >= BETWEEN {
            return false;
        }
        let Some(piece) = stream.input.pop_front() else { return false };
        stream.unread -= piece.len();
        match &mut stream.user {
            User::Echo => {
                stream.between_bytes += piece.len();
                stream.between.push_back(piece);
            }
            User::Check { received, .. } | User::Duplex { received, .. } => {
                let mut expected = vec![0; piece.len()];
                fill(*received, &mut expected);
                assert!(piece == expected, "other bytes from {received} on");
                *received += piece.len() as u64;
            }
        }
        if stream.unread < RESUME_BELOW && stream.is_paused {
            stream.is_paused = false;
            self.lost_wakes += u32::from(stream.is_asleep);
            self.session.say(id, Content::Resume);
        }
        true
    }

    fn write(&mut self, id: i64) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        if stream.is_asleep {
            return false;
        }
        let has_some = match &stream.user {
            User::Echo => !stream.between.is_empty(),
            User::Check { total, sent, .. } => sent < total,
            User::Duplex { .. } => true,
        };
        if !has_some {
            return false;
        }
        if stream.is_paused {
            stream.is_asleep = true;
            return false;
        }
        let piece = match &mut stream.user {
            User::Echo => stream.between.pop_front().unwrap(),
            User::Check { total, sent, .. } => {
                let mut piece = vec![0; (*total - *sent).min(32 * 1024) as usize];
                fill(*sent, &mut piece);
                *sent += piece.len() as u64;
                piece.into()
            }
            User::Duplex { sent, .. } => {
                let mut piece = vec![0; 32 * 1024];
                fill(*sent, &mut piece);
                *sent += piece.len() as u64;
                piece.into()
            }
        };
        stream.between_bytes = stream.between_bytes.saturating_sub(piece.len());
        self.session.say(id, Content::Data(piece));
        true
    }
}
