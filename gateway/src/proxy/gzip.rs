//! Unpacking a gzip body on its way (RFC 1952), as the original's client does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use crate::http::BoxError;

/// How much is unpacked at once, in bytes.
const CHUNK: usize = 16 * 1024;
/// Longest head of a member that is taken, in bytes.
const HEAD_MAX: usize = 4 * 1024;

/// A body that was packed with gzip, unpacked piece by piece.
pub(super) struct Gunzip<B> {
    body: B,
    input: Bytes,
    is_input_over: bool,
    stage: Stage,
}

enum Stage {
    /// What has come of a member's head.
    Head(Vec<u8>),
    /// Its data, and how much was unpacked.
    Data(Box<InflateState>, u32),
    /// What has come of its tail; how much was unpacked.
    Tail(Vec<u8>, u32),
    /// It has failed.
    Failed,
}

impl<B> Gunzip<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, input: Bytes::new(), is_input_over: false, stage: Stage::Head(Vec::new()) }
    }

    /// Unpacks what there is. `None` if more input is needed.
    fn advance(&mut self) -> Result<Option<Bytes>, &'static str> {
        loop {
            match &mut self.stage {
                Stage::Head(head) => {
                    let Some(byte) = take_byte(&mut self.input) else { return Ok(None) };
                    head.push(byte);
                    if is_whole_head(head)? {
                        self.stage = Stage::Data(InflateState::new_boxed(DataFormat::Raw), 0);
                    }
                }
                Stage::Data(state, total) => {
                    let mut output = vec![0; CHUNK];
                    let done = inflate(state, &self.input, &mut output, MZFlush::None);
                    self.input.advance(done.bytes_consumed);
                    *total = total.wrapping_add(done.bytes_written as u32);
                    let total = *total;
                    match done.status {
                        Ok(MZStatus::StreamEnd) => self.stage = Stage::Tail(Vec::new(), total),
                        Ok(_) if done.bytes_written == 0 && self.input.is_empty() => return Ok(None),
                        Ok(_) => {}
                        Err(MZError::Buf) if done.bytes_written == 0 => return Ok(None),
                        Err(_) => return Err("the gzip data is corrupt"),
                    }
                    if done.bytes_written > 0 {
                        output.truncate(done.bytes_written);
                        return Ok(Some(output.into()));
                    }
                }
                Stage::Tail(tail, total) => {
                    let Some(byte) = take_byte(&mut self.input) else { return Ok(None) };
                    tail.push(byte);
                    if let [_, _, _, _, length @ ..] = tail.as_slice()
                        && let Ok(length) = <[u8; 4]>::try_from(length)
                    {
                        if u32::from_le_bytes(length) != *total {
                            return Err("the gzip data has another length than it says");
                        }
                        self.stage = Stage::Head(Vec::new());
                    }
                }
                Stage::Failed => return Err("the gzip data is corrupt"),
            }
        }
    }

    /// Whether the input may end here: between two members.
    fn may_end(&self) -> bool {
        matches!(&self.stage, Stage::Head(head) if head.is_empty())
    }
}

fn take_byte(input: &mut Bytes) -> Option<u8> {
    let byte = *input.first()?;
    input.advance(1);
    Some(byte)
}

/// Whether the head of a member is complete.
fn is_whole_head(head: &[u8]) -> Result<bool, &'static str> {
    const MAGIC: &[u8] = &[0x1f, 0x8b, 8];
    if head.len() > HEAD_MAX || !head.iter().zip(MAGIC).all(|(byte, magic)| byte == magic) {
        return Err("the body is not gzip");
    }
    let Some((fixed, mut rest)) = head.split_at_checked(10) else { return Ok(false) };
    let flags = fixed[3];
    if flags & 4 != 0 {
        let Some((length, after)) = rest.split_at_checked(2) else { return Ok(false) };
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let Some((_, after)) = after.split_at_checked(length) else { return Ok(false) };
        rest = after;
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Ok(false) };
            rest = &rest[end + 1..];
        }
    }
    Ok(flags & 2 == 0 || rest.len() >= 2)
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Gunzip<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.advance() {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(None) => {}
                Err(why) => {
                    self.stage = Stage::Failed;
                    return Poll::Ready(Some(Err(why.into())));
                }
            }
            if self.is_input_over {
                let cut = (!self.may_end()).then(|| Err("the gzip data is cut".into()));
                self.stage = Stage::Head(Vec::new());
                return Poll::Ready(cut);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // The original drops trailers.
                Some(Ok(frame)) => self.input = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.is_input_over = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use http_body_util::{BodyExt as _, Full};

    /// `hello gzip`, packed.
    const HELLO: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 87, 72, 175, 202, 44, 0, 0, 25, 106, 210,
        223, 10, 0, 0, 0,
    ];

    fn unpack(packed: &[u8]) -> Result<Bytes, String> {
        let body = Full::new(Bytes::copy_from_slice(packed)).map_err(BoxError::from);
        let whole = block_on(Gunzip::new(body).collect()).map_err(|error| error.to_string())?;
        Ok(whole.to_bytes())
    }

    #[test]
    fn members_are_unpacked_one_after_the_other() {
        assert_eq!(unpack(HELLO).expect("it is whole"), "hello gzip");
        assert_eq!(unpack(&[HELLO, HELLO].concat()).expect("both are whole"), "hello gziphello gzip");
        assert_eq!(unpack(&[]).expect("nothing is packed"), "");
    }

    #[test]
    fn what_is_cut_or_corrupt_is_an_error() {
        for end in 1..HELLO.len() {
            assert!(unpack(&HELLO[..end]).is_err(), "{end}");
        }
        assert!(unpack(b"plain").is_err());
        let mut longer = HELLO.to_vec();
        longer[HELLO.len() - 4] = 11;
        assert!(unpack(&longer).is_err());
    }
}
