//! Logging that can neither block nor end the process.
//!
//! Lines go through a bounded queue to a thread that writes them to standard error. If nobody reads them they are
//! dropped and counted; if standard error is closed they are dropped. An event is one line, whatever a peer's text in it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::args::LogFormat;

/// How many lines may wait.
const WAITING_MAX: usize = 8 * 1024;
/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

enum Entry {
    Line(Vec<u8>),
    /// Everything before this is written.
    Flush(SyncSender<()>),
}

/// The way to standard error.
#[derive(Clone)]
pub(super) struct Log {
    lines: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
    /// Whether the formatter writes in colours.
    is_coloured: bool,
}

/// The one log of the process, for whoever must end it at once.
static LOG: LazyLock<Mutex<Option<Log>>> = LazyLock::new(Mutex::default);

/// Starts logging: `RUST_LOG` says what (default: `level` and above), `format` says how.
pub(super) fn start(format: LogFormat, level: Level) -> Log {
    let (lines, waiting) = sync_channel(WAITING_MAX);
    let terminal = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let is_coloured = terminal && matches!(format, LogFormat::Text);
    let log = Log { lines, dropped: Arc::default(), is_coloured };
    let dropped = Arc::clone(&log.dropped);
    // Without the thread nothing is logged, and the gateway runs all the same.
    let _ = thread::Builder::new().name("linkspan-log".into()).spawn(move || write(&waiting, &dropped));
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
    let _ = match format {
        LogFormat::Text => builder.with_ansi(is_coloured).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // The standard hook writes to standard error itself, and waits for whoever does not read it.
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, text, "panic");
    }));
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(log.clone());
    log
}

/// Ends the process at once, after the last lines.
pub(super) fn exit(code: u8) -> ! {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(log) = log {
        log.finish();
    }
    std::process::exit(i32::from(code))
}

fn write(waiting: &Receiver<Entry>, dropped: &AtomicU64) {
    let mut stderr = io::stderr();
    while let Ok(entry) = waiting.recv() {
        match entry {
            Entry::Line(line) => {
                let _ = stderr.write_all(&line);
            }
            Entry::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(stderr, "{lost} log lines were dropped because nobody read them");
        }
    }
}

impl Log {
    /// A line for people, whatever the filter says.
    pub(super) fn say(&self, text: &str) {
        self.put(text.as_bytes().to_vec());
    }

    fn put(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Entry::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a little until everything is written.
    pub(super) fn finish(&self) {
        let (done, written) = sync_channel(1);
        if self.lines.try_send(Entry::Flush(done)).is_ok() {
            let _ = written.recv_timeout(PATIENCE);
        }
    }
}

/// One line on its way.
pub(super) struct Line<'l>(&'l Log, Vec<u8>);

impl Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.0.put(one_line(&self.1, self.0.is_coloured));
    }
}

/// The styles that the formatter uses: none, bold, dim, italic, and the colours of the levels. Not what hides a text.
const STYLES: [&str; 10] = ["0", "1", "2", "3", "31", "32", "33", "34", "35", "36"];

/// The same line with its control characters escaped, as JSON does it, but for colours if there are any: what a peer has
/// said must not look like an event of ours, nor do anything to a terminal. The formatter escapes texts, and lets through
/// what displays itself.
fn one_line(line: &[u8], is_coloured: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let event = text.strip_suffix('\n').unwrap_or(&text);
    let mut tame = String::with_capacity(line.len());
    for (at, one) in event.char_indices() {
        if one.is_control() && !(is_coloured && is_style(&event[at..])) {
            // Writing to a string cannot fail.
            let _ = write!(tame, "\\u{:04x}", u32::from(one));
        } else {
            tame.push(one);
        }
    }
    tame.push_str(&text[event.len()..]);
    tame.into_bytes()
}

/// Whether the text begins with what sets a style of the formatter's.
fn is_style(text: &str) -> bool {
    let style = text.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m'));
    style.is_some_and(|(style, _)| STYLES.contains(&style))
}

impl<'l> MakeWriter<'l> for Log {
    type Writer = Line<'l>;

    fn make_writer(&'l self) -> Line<'l> {
        Line(self, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_stops_costs_lines_and_nothing_else() {
        let (lines, _waiting) = sync_channel(2);
        let log = Log { lines, dropped: Arc::default(), is_coloured: false };
        for _ in 0..5 {
            writeln!(log.make_writer(), "line").expect("never fails");
        }
        assert_eq!(log.dropped.load(Ordering::Relaxed), 3);
    }

    /// What the gateway's events show of a peer, as a text and as it displays itself.
    const SAID: &str =
        "x\n2026-01-01 INFO forged\r\u{b}\t\0 \x1b[8m\x1b[1;5m\x1b[2J\x1b]0;title\x07\x08\x7f\u{9b}1A";

    fn logged(ansi: bool, json: bool) -> String {
        let (lines, waiting) = sync_channel(8);
        let log = Log { lines, dropped: Arc::default(), is_coloured: ansi };
        let builder = tracing_subscriber::fmt().with_writer(log).with_ansi(ansi);
        let event = || tracing::error!(text = SAID, shown = %SAID, "said {SAID}");
        match json {
            true => tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), event),
            false => tracing::subscriber::with_default(builder.finish(), event),
        }
        let Ok(Entry::Line(line)) = waiting.try_recv() else { panic!("no line") };
        assert!(waiting.try_recv().is_err(), "one event, one line");
        let line = String::from_utf8(line).expect("it is text");
        line.strip_suffix('\n').expect("it ends as a line").to_owned()
    }

    #[test]
    fn what_a_peer_says_is_no_event_and_no_colour() {
        let plain = logged(false, false);
        assert!(plain.contains("forged") && !plain.contains(char::is_control), "{plain:?}");
        let coloured = logged(true, false);
        let colours = coloured.split('\x1b').skip(1);
        assert!(colours.clone().count() > 4, "{coloured:?}");
        assert!(colours.clone().all(|part| is_style(&format!("\x1b{part}"))), "{coloured:?}");
        assert!(!coloured.replace('\x1b', "").contains(char::is_control), "{coloured:?}");
        let json = logged(false, true);
        assert!(!json.contains(char::is_control), "{json:?}");
        let event: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!([&event["text"], &event["shown"]], [SAID; 2]);
    }
}
