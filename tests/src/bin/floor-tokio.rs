#![forbid(unsafe_code)]
//! A plain TCP echo on Tokio: what the runtime and the kernel cost before any protocol.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        println!("listening floor {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // An echo ends when its peer does; there is nobody to tell.
            tokio::spawn(async move { drop(echo(stream).await) });
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&chunk[..length]).await?;
    }
}
