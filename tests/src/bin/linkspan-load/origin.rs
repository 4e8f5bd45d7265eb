//! A static web server in memory: what downloads are measured from. It serves `/big` (256 MiB) and `/small` (12 bytes).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use clap::Args;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::link::find;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// The length of the big file.
pub(crate) const BIG: u64 = 256 * 1024 * 1024;
/// The small file.
pub(crate) const SMALL: &[u8; 12] = b"hello world\n";
/// How much is written at a time.
const CHUNK: usize = 256 * 1024;

/// The bytes of the big file: a block of an odd length without order in it, again and again, so that a piece that is
/// lost, repeated or moved never looks right.
pub(crate) struct Pattern {
    /// The block and the beginning of the next, so that a piece can be taken anywhere in one go.
    bytes: Vec<u8>,
}

impl Pattern {
    const PERIOD: usize = 1_000_003;

    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes: Vec<u8> = (0..Self::PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        bytes.extend_from_within(..CHUNK);
        Self { bytes }
    }

    /// At most `max` bytes of the file from `offset` on; at least one if `max` is not 0.
    pub(crate) fn piece(&self, offset: u64, max: usize) -> &[u8] {
        let start = usize::try_from(offset % Self::PERIOD as u64).unwrap_or(0);
        &self.bytes[start..start + max.min(CHUNK)]
    }

    /// True if these are the bytes of the file from `offset` on.
    pub(crate) fn is_at(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece(offset, bytes.len());
            if bytes[..piece.len()] != *piece {
                return false;
            }
            bytes = &bytes[piece.len()..];
            offset += piece.len() as u64;
        }
        true
    }
}

/// Serves until the process is ended.
pub(crate) async fn run(options: &Options) -> Result<(Value, bool), String> {
    let listener = TcpListener::bind(options.listen).await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("listening web {address}");
    let pattern = Rc::new(Pattern::new());
    let accept = async {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let pattern = Rc::clone(&pattern);
                tokio::task::spawn_local(async move {
                    // Whoever downloads notices a connection that breaks, and says so.
                    let _ = serve(stream, &pattern).await;
                });
            }
        }
    };
    LocalSet::new().run_until(accept).await
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream, pattern: &Pattern) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(1024);
    loop {
        while let Some(end) = find(&received, b"\r\n\r\n") {
            let path = path(&received[..end]).to_vec();
            received.drain(..end + 4);
            match &*path {
                b"/small" => stream.write_all(&small()).await?,
                b"/big" => big(&mut stream, pattern).await?,
                _ => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?,
            }
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
}

fn path(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

fn small() -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", SMALL.len());
    [head.as_bytes(), SMALL].concat()
}

async fn big(stream: &mut TcpStream, pattern: &Pattern) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut offset = 0;
    while offset < BIG {
        let left = usize::try_from(BIG - offset).unwrap_or(CHUNK);
        let written = stream.write(pattern.piece(offset, left)).await?;
        offset += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_piece_is_known_by_its_place() {
        let pattern = Pattern::new();
        let piece = pattern.piece(999_000, 4096).to_vec();
        assert_eq!(piece.len(), 4096);
        assert!(pattern.is_at(999_000, &piece));
        assert!(pattern.is_at(999_000 + Pattern::PERIOD as u64, &piece));
        assert!(!pattern.is_at(999_001, &piece));
        assert!(!pattern.is_at(999_000 + 65_536, &piece));
    }
}
