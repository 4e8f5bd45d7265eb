//! The PROXY protocol, versions 1 and 2: a proxy's first bytes say whom it speaks for.

use std::io;
use std::net::SocketAddr;

use futures_io::AsyncRead;
use futures_lite::AsyncReadExt;
use ppp::{v1, v2};

/// The first bytes of version 2.
const SIGNATURE: &[u8] = v2::PROTOCOL_PREFIX;
/// Signature, version, family, length: what version 2 begins with.
const FIXED: usize = 16;
/// Addresses and whatever a proxy likes to tell beside them; more is refused.
const EXTRA_MAX: usize = 2048;
/// The longest line of version 1, as its specification says.
const LINE_MAX: usize = 107;

/// Reads the header, and not one byte more. `None` if it names nobody: the proxy speaks for itself.
///
/// # Errors
///
/// What reading reports; [`io::ErrorKind::InvalidData`] for what is no header, or is longer than one may be.
pub(crate) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(FIXED, 0);
        stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
        let extra = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
        if extra > EXTRA_MAX {
            return Err(invalid("a PROXY header of more than 2 KiB"));
        }
        header.resize(FIXED + extra, 0);
        stream.read_exact(&mut header[FIXED..]).await?;
        return binary(&header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(invalid("no PROXY header"));
    }
    // Behind the line begins what the client says: it is not ours to read.
    while !header.ends_with(b"\r\n") {
        if header.len() >= LINE_MAX {
            return Err(invalid("a PROXY line without an end"));
        }
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        header.push(byte[0]);
    }
    line(&header)
}

fn line(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = v1::Header::try_from(header).map_err(invalid)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
        v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

fn binary(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = v2::Header::try_from(header).map_err(invalid)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(of) => Some((of.source_address, of.source_port).into()),
        v2::Addresses::IPv6(of) => Some((of.source_address, of.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    })
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use futures_lite::io::Cursor;

    use super::*;

    /// What a header says, and what is left behind it.
    fn read(input: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let mut stream = Cursor::new(input);
        let outcome = block_on(read_header(&mut stream));
        let rest = input[stream.position() as usize..].to_vec();
        (outcome, rest)
    }

    fn second(kind: &[u8], addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [SIGNATURE, kind, &length, addresses, b"hello"].concat()
    }

    #[test]
    fn lines() {
        let (client, rest) = read(b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\nhello");
        assert_eq!((client.expect("valid"), rest), (Some(([192, 0, 2, 7], 5000).into()), b"hello".to_vec()));
        let (client, rest) = read(b"PROXY UNKNOWN\r\nhello");
        assert_eq!((client.expect("valid"), rest), (None, b"hello".to_vec()));
        let (client, _) = read(b"PROXY TCP6 2001:db8::1 ::1 5000 80\r\n");
        assert_eq!(client.expect("valid"), Some("[2001:db8::1]:5000".parse().expect("an address")));
    }

    #[test]
    fn binaries() {
        let (client, rest) = read(&second(&[0x21, 0x11], &[192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0x88, 0, 80]));
        assert_eq!((client.expect("valid"), rest), (Some(([192, 0, 2, 7], 5000).into()), b"hello".to_vec()));
        let (client, _) = read(&second(&[0x20, 0x00], &[]));
        assert_eq!(client.expect("valid"), None, "a health check of the proxy itself");
        // A note beside the addresses.
        let noted = [&[192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0x88, 0, 80][..], &[4, 0, 2, 0, 0]].concat();
        let (client, rest) = read(&second(&[0x21, 0x11], &noted));
        assert_eq!((client.expect("valid"), rest), (Some(([192, 0, 2, 7], 5000).into()), b"hello".to_vec()));
    }

    #[test]
    fn what_is_none() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let long = second(&[0x21, 0x11], &[0; 2049]);
        let short = second(&[0x21, 0x11], &[0; 3]);
        for odd in [
            &b""[..],
            b"PROXY",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 1.2.3.4 x 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 99999 2\r\n",
            &endless,
            &long,
            &short,
            &second(&[0x31, 0x11], &[0; 12]),
        ] {
            assert!(read(odd).0.is_err(), "{odd:?}");
        }
    }
}
