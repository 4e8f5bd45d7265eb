#![forbid(unsafe_code)]
//! A plain TCP echo on smol: what the runtime and the kernel cost before any protocol.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, future};

fn main() -> io::Result<()> {
    let executor = Arc::new(Executor::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 1..threads {
        let executor = Arc::clone(&executor);
        std::thread::spawn(move || smol::block_on(executor.run(future::pending::<()>())));
    }
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        println!("listening floor {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // An echo ends when its peer does; there is nobody to tell.
            executor.spawn(async move { drop(echo(stream).await) }).detach();
        }
    }))
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
