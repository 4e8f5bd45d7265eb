//! Playing a recorded case over real sockets, in real time.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_core::pomelo::Dictionary;

use super::{Carrier, PATIENCE, Wire};
use crate::transcripts::{Case, Heard, Script, Step, mask};

/// For how long ours may say less than the recorded server before the client goes on.
const PAUSE: Duration = Duration::from_millis(600);
/// Several clients of one case do one thing after the other, each after what came of the one before.
const SETTLE: Duration = Duration::from_millis(40);
/// For how long nothing more may come than was expected.
const QUIET: Duration = Duration::from_millis(60);

/// What the readers have got so far.
#[derive(Default)]
struct Board {
    heard: Mutex<Vec<Heard>>,
    changed: Condvar,
}

impl Board {
    /// What was heard, after a change or some time.
    fn wait(&self, before: &[usize], time: Duration) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |heard: &mut Vec<Heard>| heard.iter().map(Vec::len).eq(before.iter().copied());
        let heard = self.changed.wait_timeout_while(heard, time, same);
        heard.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn put(&self, at: usize, line: String) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)[at].push(line);
        self.changed.notify_all();
    }

    fn read(&self, at: usize, mut wire: Wire, dictionary: &Dictionary) {
        loop {
            match wire.receive() {
                Ok(Some(package)) => self.put(at, mask(&package, dictionary)),
                Ok(None) => return self.put(at, "end".to_owned()),
                Err(error) => return self.put(at, format!("error: {error}")),
            }
        }
    }
}

/// One client of a case.
struct Part {
    wire: Wire,
    script: Script,
    /// What of the script was got, what there is to get, and what there will be.
    passed: usize,
    heard: usize,
    due: usize,
    ended: bool,
    hung_up: bool,
}

impl Part {
    /// Passes what happens without this client's doing; whether there was any.
    fn listen(&mut self, elapsed: Duration) -> bool {
        let before = self.script.len();
        while let Some((at, step)) = self.script.last() {
            match step {
                _ if self.ended => {}
                Step::Hear(_) | Step::Ended if self.heard > self.passed => self.passed += 1,
                Step::Silence if elapsed >= *at => {}
                _ => break,
            }
            self.script.pop();
        }
        self.script.len() < before
    }

    /// Whether this client is to do something now.
    fn is_to_act(&self, elapsed: Duration) -> bool {
        match self.script.last() {
            Some((at, Step::Send(_))) => elapsed >= *at,
            // What it is owed comes first, although the recorded server may have said less.
            Some((at, Step::Close)) => elapsed >= *at && self.heard >= self.due,
            _ => false,
        }
    }

    fn act(&mut self) {
        match self.script.pop() {
            // One that was ended meanwhile says so to the reader.
            Some((_, Step::Send(bytes))) => drop(self.wire.send(&bytes)),
            Some((_, Step::Close)) => {
                self.wire.hang_up();
                self.hung_up = true;
            }
            _ => {}
        }
    }
}

/// What the clients of `case` get from the gateway at `address`; they wait for what is `expected` and a little longer.
pub(super) fn play(case: &Case, expected: &[Heard], address: SocketAddr, carrier: Carrier) -> Vec<Heard> {
    let board = Arc::new(Board::default());
    *board.heard.lock().unwrap_or_else(PoisonError::into_inner) = vec![Heard::new(); case.connections.len()];
    let mut parts = Vec::new();
    let mut readers = Vec::new();
    for (at, script) in case.connections.iter().enumerate() {
        let wire = Wire::open(address, carrier).expect("the gateway accepts");
        let script = script.iter().rev().cloned().collect();
        let sender = wire.sender();
        let due = expected[at].iter().filter(|line| *line != "end").count();
        parts.push(Part { wire: sender, script, passed: 0, heard: 0, due, ended: false, hung_up: false });
        let (board, dictionary) = (Arc::clone(&board), case.dictionary.clone());
        readers.push(thread::spawn(move || board.read(at, wire, &dictionary)));
    }
    perform(&mut parts, &board);
    let heard = settle(&parts, &board, expected);
    parts.iter().for_each(|part| part.wire.cut());
    for reader in readers {
        // A panic there has been told there, and what is missing is told here.
        let _ = reader.join();
    }
    heard
}

/// Plays all scripts to their ends.
fn perform(parts: &mut [Part], board: &Board) {
    let started = Instant::now();
    let mut progress = Duration::ZERO;
    let count = parts.len();
    while let Some(earliest) = parts.iter().filter_map(|part| Some(part.script.last()?.0)).min() {
        let elapsed = started.elapsed();
        let mut listened = false;
        for part in parts.iter_mut() {
            listened |= part.listen(elapsed);
        }
        let ready = parts.iter_mut().filter(|part| part.is_to_act(elapsed));
        let first = ready.min_by_key(|part| part.script.last().map(|(at, _)| *at));
        let acts = count == 1 || elapsed - progress > SETTLE;
        if let (Some(part), true) = (first, acts && !listened) {
            part.act();
            progress = elapsed;
            continue;
        }
        if listened {
            progress = elapsed;
            continue;
        }
        let due = earliest.max(progress) + PAUSE;
        if elapsed > due {
            // Ours says less than the recorded server: what is next does not depend on it.
            let mut parts = parts.iter_mut();
            parts
                .find(|part| part.script.last().is_some_and(|(at, _)| *at == earliest))
                .map(|part| part.script.pop());
            progress = elapsed;
            continue;
        }
        let next = earliest.checked_sub(elapsed).filter(|time| !time.is_zero()).unwrap_or(due - elapsed);
        let before: Vec<_> = parts.iter().map(|part| part.heard).collect();
        let next = if count == 1 { next.min(PAUSE) } else { SETTLE / 2 };
        let heard = board.wait(&before, next.max(Duration::from_millis(1)));
        for (part, heard) in parts.iter_mut().zip(heard) {
            if heard.len() > part.heard {
                progress = started.elapsed();
            }
            part.ended = heard.last().is_some_and(|line| line == "end");
            part.heard = heard.len();
        }
    }
}

/// Waits for the rest, and a little longer for what must not come.
fn settle(parts: &[Part], board: &Board, expected: &[Heard]) -> Vec<Heard> {
    let started = Instant::now();
    loop {
        let mut heard = board.wait(&[], Duration::ZERO);
        for ((heard, part), expected) in heard.iter_mut().zip(parts).zip(expected) {
            // A server answers an end by an end; the recordings do not show that.
            let told = expected.last().is_some_and(|line| line == "end");
            if part.hung_up && !told && heard.last().is_some_and(|line| line == "end") {
                heard.pop();
            }
        }
        let (got, due) = (heard.iter().flatten().count(), expected.iter().flatten().count());
        let complete = heard == expected && started.elapsed() > QUIET;
        if complete || got > due || started.elapsed() > PATIENCE / 2 {
            return heard;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
