//! Bulk data there and back in virtual time, with an end of ours and with a peer that has the originals' defects.

use super::*;
use std::collections::VecDeque;
use std::sync::OnceLock;

const CHUNK: usize = 32 * 1024;
const TICK: Duration = Duration::from_micros(50);

/// What is echoed: the bytes from `from` on, at most a chunk of them. They begin anew after 16 MiB.
fn pattern(from: usize, len: usize) -> Bytes {
    static PATTERN: OnceLock<Bytes> = OnceLock::new();
    const PERIOD: usize = 16 << 20;
    let byte = |at: usize| (at * 7 + (at >> 8) * 13 + (at >> 16) * 31) as u8;
    let pattern = PATTERN.get_or_init(|| (0..PERIOD + CHUNK).map(|at| byte(at % PERIOD)).collect());
    pattern.slice(from % PERIOD..from % PERIOD + len)
}

/// What echoes at the far end.
trait Peer {
    fn receive(&mut self, message: Message, now: Instant);
    /// The next message it sends, if it does.
    fn send(&mut self, now: Instant) -> Option<Message>;
}

/// The accept side of the original: one flag for both directions, and a writer that its own resume does not wake.
#[derive(Default)]
struct GoLike {
    control: VecDeque<Content>,
    buffer: VecDeque<u8>,
    target: VecDeque<u8>,
    is_paused: bool,
    is_asleep: bool,
    buffer_max: usize,
    is_busy: bool,
}

impl Peer for GoLike {
    fn receive(&mut self, message: Message, _: Instant) {
        match message.content {
            Content::Data(body) => {
                self.buffer.extend(&body);
                self.buffer_max = self.buffer_max.max(self.buffer.len());
                if self.buffer.len() > 2 << 20 && !self.is_paused {
                    self.is_paused = true;
                    self.control.push_back(Content::Pause);
                }
            }
            Content::Pause => (self.is_paused, self.is_asleep) = (true, false),
            Content::Resume => (self.is_paused, self.is_asleep) = (false, false),
            _ => {}
        }
    }

    fn send(&mut self, _: Instant) -> Option<Message> {
        // It takes in twice as fast as it gives out.
        self.is_busy = !self.is_busy;
        if self.is_busy {
            return None;
        }
        // The target takes what its socket buffer has room for.
        if self.target.len() < 2 * CHUNK && !self.buffer.is_empty() {
            let len = self.buffer.len().min(CHUNK);
            self.target.extend(self.buffer.drain(..len));
            if self.buffer.len() < 256 * 1024 && self.is_paused {
                self.is_paused = false;
                self.control.push_back(Content::Resume);
            }
        }
        let content = self.control.pop_front().or_else(|| {
            self.is_asleep |= self.is_paused && !self.target.is_empty();
            if self.is_asleep || self.target.is_empty() {
                return None;
            }
            let len = self.target.len().min(CHUNK);
            Some(Content::Data(self.target.drain(..len).collect()))
        })?;
        Some(Message { id: 1, stream: 2, content })
    }
}

/// The accept side of ours, with an application that echoes.
struct Ours {
    end: End,
    taken: usize,
}

impl Peer for Ours {
    fn receive(&mut self, message: Message, now: Instant) {
        self.end.pass(now - self.end.now);
        let data = message.encode().expect("sayable").into_bytes();
        self.end.event(Event::Received(Opcode::Binary, data));
        for notice in std::mem::take(&mut self.end.notices) {
            match notice {
                TunnelNotice::DialRequested { stream, .. } => self.end.command(TunnelCommand::Dialed(stream)),
                TunnelNotice::Data { stream, body } => {
                    let cost = linkspan_core::tunnel::data_cost(&body);
                    self.end.command(TunnelCommand::Data { stream, body });
                    self.end.command(TunnelCommand::Read { stream, cost });
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, _: Instant) -> Option<Message> {
        let message = self.end.sent.get(self.taken)?.clone();
        self.taken += 1;
        Some(message)
    }
}

/// The end of a session with one of ours that counts.
fn ours(role: Role) -> TunnelConfig {
    let peer_window = Some(Limits::default().tunnel_first_window());
    TunnelConfig { is_peer_ours: true, peer_window, ..TunnelConfig::new(role) }
}

/// Writes `total` bytes, reads them back, and returns how long it took.
fn echo(peer: &mut dyn Peer, config: TunnelConfig, total: usize) -> Duration {
    let mut end = End::new(config, Limits::default());
    end.flush_at_once = false;
    let stream = end.dial();
    let (mut written, mut unsent, mut read, mut taken) = (0, 0, 0, 0);
    // When something was last read: the peer is heard all the time, so that its pings are not missed.
    let mut last = end.now;
    while read < total {
        assert!(end.now < last + Duration::from_secs(5), "stalls after {read} of {total} bytes");
        while written < total && unsent < 8 * CHUNK {
            let len = CHUNK.min(total - written);
            end.command(TunnelCommand::Data { stream, body: pattern(written, len) });
            (written, unsent) = (written + len, unsent + len);
        }
        if taken < end.sent.len() {
            peer.receive(end.sent[taken].clone(), end.now);
            taken += 1;
        }
        if taken == end.sent.len() {
            end.sent.clear();
            taken = 0;
            let flushed = std::mem::take(&mut end.unflushed);
            end.event(Event::Flushed(flushed));
        }
        if let Some(message) = peer.send(end.now) {
            let data = message.encode().expect("sayable").into_bytes();
            end.event(Event::Received(Opcode::Binary, data));
        }
        for notice in std::mem::take(&mut end.notices) {
            match notice {
                TunnelNotice::Data { body, .. } => {
                    assert_eq!(body, pattern(read, body.len()), "at byte {read}");
                    (read, last) = (read + body.len(), end.now);
                    end.event(Event::Received(Opcode::Ping, Bytes::new()));
                    let cost = linkspan_core::tunnel::data_cost(&body);
                    end.command(TunnelCommand::Read { stream, cost });
                }
                TunnelNotice::Sent { bytes, .. } => unsent -= bytes as usize,
                TunnelNotice::Opened { .. }
                | TunnelNotice::Window { .. }
                | TunnelNotice::Quiet
                | TunnelNotice::Lively => {}
                other => panic!("{other:?}"),
            }
        }
        end.pass(TICK);
    }
    end.now - Instant::ORIGIN
}

#[test]
fn bulk_echo_through_a_peer_with_the_originals_defects_finishes() {
    let mut peer = GoLike::default();
    let took = echo(&mut peer, TunnelConfig::new(Role::Server), 256 << 20);
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(peer.buffer_max < 4 << 20, "{} bytes waited at the peer", peer.buffer_max);
}

#[test]
fn bulk_echo_between_two_of_ours_finishes() {
    let mut peer = Ours { end: End::new(ours(Role::Client), Limits::default()), taken: 0 };
    echo(&mut peer, ours(Role::Server), 256 << 20);
}

#[test]
#[should_panic(expected = "stalls after")]
fn without_a_probe_such_a_peer_stalls() {
    let config = TunnelConfig { peer_window: None, ..ours(Role::Server) };
    echo(&mut GoLike::default(), config, 48 << 20);
}

/// An original takes whatever it reads for leave to write, although it was paused. The application that writes to such an
/// echo and reads nothing must not cost the stream its end: what the echo gets is held back, and both sides wait.
#[test]
fn an_echo_that_heeds_no_pause_is_not_fed_while_nobody_reads() {
    const ON_LINK: usize = 16;
    let limits = Limits { tunnel_stream_pause: 64 * 1024, tunnel_stream_bytes: 4 << 20, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    let stream = end.accept(2);
    let (mut written, mut read, mut on_link) = (0, 0, VecDeque::new());
    for round in 0..1_000 {
        if round < 500 {
            end.command(TunnelCommand::Data { stream, body: pattern(written, CHUNK) });
            written += CHUNK;
        }
        on_link.extend(end.sent.drain(..).filter(|message| matches!(message.content, Content::Data(_))));
        let is_reading = round >= 200;
        let left = if is_reading { on_link.len().saturating_sub(8) } else { ON_LINK };
        while on_link.len() > left {
            let echoed = on_link.pop_front().expect("some are there").content;
            end.receive(2, Content::Resume);
            end.receive(2, echoed);
        }
        let held = end.machine.dialect().held();
        assert!(held <= (2 << 20) + ((ON_LINK + 1) * CHUNK) as u64, "{held} bytes wait in round {round}");
        assert_eq!((&end.marks, end.errors(2)), (&vec![], vec![]), "round {round}");
        let heard = if is_reading { std::mem::take(&mut end.notices) } else { Vec::new() };
        for notice in heard {
            let TunnelNotice::Data { body, .. } = notice else { continue };
            assert_eq!(body, pattern(read, body.len()), "at byte {read}");
            read += body.len();
            end.command(TunnelCommand::Read { stream, cost: linkspan_core::tunnel::data_cost(&body) });
        }
    }
    assert_eq!(read, written);
}

/// An end whose stream 2 is braked: more than half of 4 MiB is unread, and 2 MiB wait to be sent.
fn braked() -> (End, linkspan_core::tunnel::StreamId) {
    let limits = Limits { tunnel_stream_pause: 64 * 1024, tunnel_stream_bytes: 4 << 20, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    let stream = end.accept(2);
    for at in 0..80 {
        end.receive(2, Content::Data(pattern(at * CHUNK, CHUNK)));
    }
    end.sent.clear();
    for at in 0..64 {
        end.command(TunnelCommand::Data { stream, body: pattern(at * CHUNK, CHUNK) });
    }
    assert_eq!(end.sent, [], "all of it waits");
    end.notices.clear();
    (end, stream)
}

/// Found by World: of two halves of a relay, both held back what they had for the other, and neither was read on for ever.
/// A target that reads only while somebody takes what it says does the same to one half.
#[test]
fn who_reads_only_what_is_written_on_is_not_held_back_for_ever() {
    let (mut end, stream) = braked();
    let mut sent = 0;
    while sent < 2 << 20 {
        assert!(end.now < Instant::ORIGIN + Duration::from_secs(10), "{sent} bytes in {:?}", end.now);
        end.pass(Duration::from_millis(100));
        for notice in std::mem::take(&mut end.notices) {
            if let TunnelNotice::Sent { bytes, .. } = notice {
                sent += bytes;
                let cost = linkspan_core::tunnel::data_cost(&pattern(0, bytes as usize));
                end.command(TunnelCommand::Read { stream, cost });
            }
        }
        end.event(Event::Received(Opcode::Ping, Bytes::new()));
    }
    assert_eq!(end.errors(2), Vec::<Bytes>::new());
}

/// An echo is asked ever more seldom: a reader that sleeps for ten minutes has not lost its stream for it.
#[test]
fn an_echo_gets_little_while_nobody_reads() {
    let (mut end, _) = braked();
    let mut echoed = 0;
    for _ in 0..600 {
        end.pass(Duration::from_secs(1));
        end.event(Event::Received(Opcode::Ping, Bytes::new()));
        for message in std::mem::take(&mut end.sent) {
            if let Content::Data(body) = message.content {
                echoed += 1;
                end.receive(2, Content::Data(body));
            }
        }
    }
    assert!((10..20).contains(&echoed), "{echoed} messages in ten minutes");
    assert_eq!(end.errors(2), Vec::<Bytes>::new());
}

/// An echo whose reader sleeps gets nothing once what it would send back has no room.
#[test]
fn a_braked_echo_does_not_lose_its_stream_however_small_the_room() {
    let limits =
        Limits { tunnel_stream_pause: 64 * 1024, tunnel_stream_bytes: 256 * 1024, ..Limits::default() };
    let mut end = End::new(TunnelConfig::new(Role::Client), limits);
    let stream = end.accept(2);
    (0..5).for_each(|at| end.receive(2, Content::Data(pattern(at * CHUNK, CHUNK))));
    (0..7).for_each(|at| {
        end.command(TunnelCommand::Data { stream, body: pattern(at * CHUNK, CHUNK) });
    });
    for _ in 0..3_600 {
        end.pass(Duration::from_secs(1));
        end.event(Event::Received(Opcode::Ping, Bytes::new()));
        for message in std::mem::take(&mut end.sent) {
            match message.content {
                Content::Data(body) => end.receive(2, Content::Data(body)),
                Content::Error(text) => panic!("{text:?} after {:?}", end.now),
                _ => {}
            }
        }
    }
}
