//! Recorded sessions of the field's servers: what their clients sent, what they got, and what they get from us.
//!
//! [`cases`] reads the recordings; [`Script`] is what a client does and [`Case::expected`] what it must get from ours:
//! the recorded server's answers, but where the list of differences lists another outcome with its reason. Both are plain data,
//! so the same cases run against the core in memory and against a whole gateway over sockets.

mod demo;
mod differences;
mod read;
mod replay;

use std::time::Duration;

use bytes::Bytes;
use linkspan_core::pomelo::Dictionary;

pub use self::differences::{DIFFERENCES, Difference};
pub use self::read::cases;
pub use self::replay::replay;
use crate::vectors;

/// One thing in a recorded connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client sends these bytes in one piece (or one WebSocket message).
    Send(Bytes),
    /// The client gets one package; its masked form.
    Hear(String),
    /// The client gets nothing until here.
    Silence,
    /// The server ends the connection.
    Ended,
    /// The client ends the connection.
    Close,
}

/// A recorded connection: what happened, and when after its start.
pub type Script = Vec<(Duration, Step)>;

/// One recorded case.
#[derive(Clone, Debug)]
pub struct Case {
    /// File or file/case, such as `nano_tcp_edge_cases/second_ack`.
    pub name: String,
    /// Whether each piece is a WebSocket message.
    pub websocket: bool,
    /// The heartbeat interval the server was given.
    pub heartbeat: Duration,
    /// The route dictionary the server was given.
    pub dictionary: Dictionary,
    /// Whether the server's validator refuses clients of version `old`.
    pub rejects_old: bool,
    /// The connections, the first one first.
    pub connections: Vec<Script>,
}

/// What one connection gets: masked packages, and `end` if the server ends it.
pub type Heard = Vec<String>;

impl Case {
    /// What the recorded server did.
    pub fn recorded(&self) -> Vec<Heard> {
        let heard = |script: &Script| {
            let steps = script.iter().filter_map(|(_, step)| match step {
                Step::Hear(package) => Some(package.clone()),
                Step::Ended => Some("end".to_owned()),
                _ => None,
            });
            steps.collect()
        };
        self.connections.iter().map(heard).collect()
    }

    /// What ours must do: as recorded, unless a difference is listed.
    pub fn expected(&self) -> Vec<Heard> {
        let mut heard = self.recorded();
        if let Some(difference) = self.difference() {
            if difference.ordered {
                order_answers(&mut heard[0]);
            }
            for (at, count, ours) in difference.splices.iter().rev() {
                heard[0].splice(at..&(at + count), ours.iter().map(|line| (*line).to_owned()));
            }
        }
        heard
    }

    /// The listed difference, if there is one.
    pub fn difference(&self) -> Option<&'static Difference> {
        DIFFERENCES.iter().find(|difference| difference.cases.contains(&self.name.as_str()))
    }
}

/// Brings the answers, and only them, into the order of their ids.
fn order_answers(heard: &mut Heard) {
    let id = |line: &String| {
        let hex = line.strip_prefix("response ")?.split(' ').next()?;
        Some(vectors::hex(hex).iter().rev().fold(0_u64, |id, byte| id << 7 | u64::from(byte & 0x7f)))
    };
    let mut answers: Vec<_> = heard.iter().filter(|line| id(line).is_some()).cloned().collect();
    answers.sort_by_key(|line| id(line));
    let places = heard.iter_mut().filter(|line| id(line).is_some());
    places.zip(answers).for_each(|(place, answer)| *place = answer);
}

/// One package that a server sent, without what varies from run to run.
///
/// - a handshake keeps code, heartbeat and dictionary; the time, the serializer and the order of keys are masked,
/// - a message keeps its id bytes, its route (as text) and its inflated body,
/// - an error keeps its code; its text is ours,
/// - the session's own number and address in `Echo.Info` are masked.
///
/// # Panics
///
/// If it is not one whole package of a server.
pub fn mask(package: &[u8], dictionary: &Dictionary) -> String {
    read::mask(package, dictionary)
}
