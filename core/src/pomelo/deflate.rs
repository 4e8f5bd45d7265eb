//! Compressed bodies: zlib out; zlib or gzip in, with a hard bound.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use miniz_oxide::DataFormat;
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::Violation;

/// How hard [`deflate`] tries: the usual middle between size and time.
const LEVEL: u8 = 6;

/// What the first output buffer is at most, in bytes; it then grows with what really comes out.
const BUFFER_FIRST: usize = 16 * 1024;

/// How many deflate blocks any stream may have …
const BLOCKS_FREE: usize = 64;

/// … and how many bytes of input buy one more. Each block may bring code tables of its own, which cost far more work
/// than the twelve bytes they can be said in; real compressors make a block of some thousand symbols.
const BYTES_PER_BLOCK: usize = 128;

/// Inflates a zlib stream (RFC 1950) or one gzip member (RFC 1952), told apart by their first bytes.
///
/// Memory follows the bytes that come out, up to `max`. Work is bounded by the bytes of `data` and of the output: a stream
/// of many near-empty blocks is refused. Checksums are verified and nothing may follow the stream.
///
/// # Errors
///
/// [`Violation::InflatedTooLarge`] as soon as more than `max` bytes come out, [`Violation::Deflate`] for everything else.
pub fn inflate(data: &[u8], max: u32) -> Result<Bytes, Violation> {
    let out = if data.starts_with(&GZIP_MAGIC) { inflate_gzip(data, max)? } else { inflate_zlib(data, max)? };
    // Without the spare room: a body may be kept for as long as a request takes.
    Ok(Bytes::from(out.into_boxed_slice()))
}

/// Compresses `data` as a zlib stream; `None` if that does not make it smaller.
pub fn deflate(data: &[u8]) -> Option<Bytes> {
    // The room for the output says "smaller": when it runs out there is no point in going on.
    let mut out = vec![0; data.len().saturating_sub(1)];
    let mut compressor = Box::<CompressorOxide>::default();
    compressor.set_format_and_level(DataFormat::Zlib, LEVEL);
    let (status, _, written) = compress(&mut compressor, data, &mut out, TDEFLFlush::Finish);
    if status != TDEFLStatus::Done {
        return None;
    }
    out.truncate(written);
    Some(Bytes::from(out.into_boxed_slice()))
}

fn inflate_zlib(data: &[u8], max: u32) -> Result<Vec<u8>, Violation> {
    let (out, used) = inflate_stream(data, max, TINFL_FLAG_PARSE_ZLIB_HEADER)?;
    if used == data.len() { Ok(out) } else { Err(Violation::Deflate) }
}

fn inflate_gzip(data: &[u8], max: u32) -> Result<Vec<u8>, Violation> {
    let start = gzip_head(data).ok_or(Violation::Deflate)?;
    let (out, used) = inflate_stream(&data[start..], max, 0)?;
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc32(&out).to_le_bytes());
    trailer[4..].copy_from_slice(&(out.len() as u32).to_le_bytes());
    if data[start + used..] == trailer { Ok(out) } else { Err(Violation::Deflate) }
}

/// Inflates one stream at the start of `data`; gives the output and how many bytes of `data` it took.
fn inflate_stream(data: &[u8], max: u32, flags: u32) -> Result<(Vec<u8>, usize), Violation> {
    let max = max as usize;
    let mut state = Box::<DecompressorOxide>::default();
    let mut out = vec![0; data.len().saturating_mul(2).min(BUFFER_FIRST).min(max)];
    let (mut used, mut written) = (0, 0);
    let flags = flags | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
    let mut blocks = BLOCKS_FREE + data.len() / BYTES_PER_BLOCK;
    // Each round ends a block or doubles the buffer.
    loop {
        let (status, took, gave) = decompress(&mut state, &data[used..], &mut out, written, flags);
        used += took;
        written += gave;
        match status {
            TINFLStatus::Done => {
                out.truncate(written);
                return Ok((out, used));
            }
            TINFLStatus::BlockBoundary if blocks > 0 => blocks -= 1,
            TINFLStatus::HasMoreOutput if out.len() >= max => return Err(Violation::InflatedTooLarge),
            TINFLStatus::HasMoreOutput => {
                let more = out.len().max(1).min(max - out.len());
                out.reserve_exact(more);
                out.resize(out.len() + more, 0);
            }
            _ => return Err(Violation::Deflate),
        }
    }
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const GZIP_DEFLATE: u8 = 8;
const GZIP_HEAD_CRC: u8 = 0x02;
const GZIP_EXTRA: u8 = 0x04;
const GZIP_NAME: u8 = 0x08;
const GZIP_COMMENT: u8 = 0x10;
const GZIP_RESERVED: u8 = 0xe0;

/// How long the gzip header at the start of `data` is; `None` if it is none.
fn gzip_head(data: &[u8]) -> Option<usize> {
    let &[_, _, method, flags, ..] = data else { return None };
    if method != GZIP_DEFLATE || flags & GZIP_RESERVED != 0 {
        return None;
    }
    // Magic, method, flags; then the time of the file, a hint and the system, which mean nothing here.
    let mut at = 10;
    if flags & GZIP_EXTRA != 0 {
        let len = data.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for text in [GZIP_NAME, GZIP_COMMENT] {
        if flags & text != 0 {
            at += data.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & GZIP_HEAD_CRC != 0 {
        let crc = (crc32(data.get(..at)?) as u16).to_le_bytes();
        if data.get(at..at + 2)? != crc {
            return None;
        }
        at += 2;
    }
    data.get(at..).map(|_| at)
}

/// The checksum of gzip: CRC-32 with the reflected polynomial 0xedb88320 (RFC 1952 §8).
fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ CRC_TABLE[usize::from(crc as u8 ^ byte)];
    !data.iter().fold(!0, step)
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};
