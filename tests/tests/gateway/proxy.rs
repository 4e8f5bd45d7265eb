//! The bounds of the proxy.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use linkspan_core::Mark;
use linkspan_core::http::pool::Config as PoolConfig;
use linkspan_core::http::upstream::Route;
use linkspan_gateway::proxy::ProxyConfig;
use linkspan_gateway::services::Services;
use linkspan_runtime::Runtime;

use crate::harness::World;

const ASK: &str = "GET /o/ HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";

/// An upstream that takes connections and never answers; it tells of each.
fn silent() -> (SocketAddr, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || listener.incoming().map_while(Result::ok).try_for_each(|stream| tell.send(stream)));
    (address, told)
}

fn ask(gateway: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.write_all(ASK.as_bytes()).unwrap();
    stream
}

pub(crate) async fn more_than_may_be_is_refused_and_counted<R: Runtime>(world: World<R>) {
    for (pool, before, mark) in [
        (PoolConfig { total: Some(1), ..PoolConfig::default() }, 1, Mark::UpstreamsFull),
        (
            PoolConfig { per_key: Some(1), waiting_per_key: 1, ..PoolConfig::default() },
            2,
            Mark::UpstreamQueueFull,
        ),
    ] {
        let (upstream, told) = silent();
        let route = Route::parse(&format!("/o/=http://{upstream}")).unwrap();
        let proxy = ProxyConfig { clients: false, routes: vec![route], pool, ..ProxyConfig::default() };
        let gateway = world.start_with(Services::new(), |config| config.proxy = Some(proxy));
        let http = gateway.addresses().http.unwrap();
        let first = ask(http);
        let held = loop {
            match told.try_recv() {
                Ok(held) => break held,
                Err(_) => world.sleep(5).await,
            }
        };
        let others: Vec<_> = (1..before).map(|_| ask(http)).collect();
        world.sleep(100).await;
        let refused = world.raw(http, &[ASK], "").await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
        assert_eq!(gateway.host().stats().marked(mark), 1);
        drop((first, others, held));
        gateway.stop().await;
    }
}
