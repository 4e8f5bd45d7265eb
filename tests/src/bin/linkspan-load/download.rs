//! Big downloads: how fast they are, what a gigabyte costs, and how much memory is held meanwhile.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::link::connect_tcp;
use crate::origin::{BIG, Pattern};
use crate::process::Watched;
use crate::report::Faults;
use crate::web::{self, Web};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many at a time
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// How long is measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Load before the measurement begins
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Ask, and then read nothing
    #[arg(long)]
    never_read: bool,
}

/// How much is read at a time.
const READ_MAX: usize = 128 * 1024;
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the memory of the processes is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What the streams of one run share; all of them live on one thread.
struct Run {
    pattern: Pattern,
    received: Cell<u64>,
    is_over: Cell<bool>,
    faults: RefCell<Faults>,
}

pub(crate) async fn run(options: &Options, web: &Web, server: Watched) -> (Value, bool) {
    LocalSet::new().run_until(measure(options, web, server)).await
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
async fn measure(options: &Options, web: &Web, server: Watched) -> (Value, bool) {
    let run = Rc::new(Run {
        pattern: Pattern::new(),
        received: Cell::new(0),
        is_over: Cell::new(false),
        faults: RefCell::default(),
    });
    let before: Vec<u64> = server.each_resident_kib().collect();
    let mut tasks = Vec::new();
    for index in 0..options.streams {
        let (run, web, never_reads) = (Rc::clone(&run), web.clone(), options.never_read);
        tasks.push(tokio::task::spawn_local(async move {
            if let Err(error) = stream(&run, &web, index, never_reads).await {
                run.faults.borrow_mut().error(&format!("stream {index}: {error}"));
            }
        }));
    }
    sleep(Duration::from_secs_f64(options.warm_up)).await;
    let received = run.received.get();
    let (start, cpu) = (Instant::now(), server.cpu());
    let end = start + Duration::from_secs_f64(options.seconds);
    let mut peak = before.clone();
    while Instant::now() < end {
        sleep(LOOK.min(end.saturating_duration_since(Instant::now()))).await;
        for (peak, now) in peak.iter_mut().zip(server.each_resident_kib()) {
            *peak = now.max(*peak);
        }
    }
    let (time, spent) = (start.elapsed(), server.cpu() - cpu);
    let received = run.received.get() - received;
    run.is_over.set(true);
    for task in tasks {
        if options.never_read {
            task.abort();
        }
        // A task that panicked has told so on the standard error output.
        let _ = task.await;
    }
    let faults = run.faults.borrow();
    let mut report = json!({
        "mode": "download",
        "streams": options.streams,
        "seconds": time.as_secs_f64(),
        "bytes": received,
        "megabytes_per_second": received as f64 / 1e6 / time.as_secs_f64(),
        "server_cpu_s_per_gb": spent.as_secs_f64() * 1e9 / received.max(1) as f64,
        "server_cpu_share": spent.as_secs_f64() / time.as_secs_f64(),
        "first_kib_before": before.first(),
        "first_kib_peak": peak.first(),
        "second_kib_before": before.get(1),
        "second_kib_peak": peak.get(1),
    });
    faults.put(&mut report);
    (report, faults.is_clean() && (received > 0 || options.never_read))
}

/// One download after another, until the run is over.
async fn stream(run: &Run, web: &Web, index: usize, never_reads: bool) -> io::Result<()> {
    let mut stream = connect_tcp(web.address, index).await?;
    let request = web.request("/big");
    let mut buffer = vec![0; READ_MAX];
    loop {
        stream.write_all(&request).await?;
        if never_reads {
            return std::future::pending().await;
        }
        if !download(run, &mut stream, &mut buffer).await? {
            return Ok(());
        }
    }
}

/// Reads one answer and looks at every byte; false if the run was over before its end.
async fn download(run: &Run, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    let head = loop {
        filled += read(stream, &mut buffer[filled..]).await?;
        if let Some(head) = web::head(&buffer[..filled])? {
            break head;
        }
    };
    if head.body != BIG {
        return Err(io::Error::other(format!("{} bytes were announced", head.body)));
    }
    let mut offset = 0;
    let mut body = head.size..filled;
    loop {
        let bytes = &buffer[body];
        if offset + bytes.len() as u64 > BIG || !run.pattern.is_at(offset, bytes) {
            run.faults.borrow_mut().wrong += 1;
            return Err(io::Error::other(format!("other bytes than the file's at {offset}")));
        }
        offset += bytes.len() as u64;
        run.received.set(run.received.get() + bytes.len() as u64);
        if offset == BIG {
            return Ok(!run.is_over.get());
        }
        if run.is_over.get() {
            return Ok(false);
        }
        body = 0..read(stream, buffer).await?;
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match timeout(PATIENCE, stream.read(buffer)).await {
        Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(outcome) => outcome,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
