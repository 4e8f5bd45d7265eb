//! The account of every message: what was said, who had to hear it, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::accounts::Accounts;

/// One request that a user has made.
#[derive(Clone, Debug)]
struct Request {
    size: usize,
    at: u64,
    /// Whether the answer has to repeat what was asked.
    is_echo: bool,
}

/// The account. Every message carries its number and its length, so that whoever gets it can tell whether it is whole.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last: u64,
    /// By the end that asked, and by number.
    requests: BTreeMap<(usize, u64), Request>,
    sizes: BTreeMap<u64, usize>,
    /// Numbers that somebody untrustworthy has used, too.
    tainted: BTreeSet<u64>,
    /// Which gateway's end still owes its user which message.
    owed: BTreeSet<(usize, u64)>,
    /// The same for ends that are gone: what they had written may still arrive.
    afloat: BTreeSet<(usize, u64)>,
    /// The last message that one end has brought from another.
    heard: BTreeMap<(usize, usize), u64>,
    /// Whose messages they are.
    senders: BTreeMap<u64, usize>,
    pub(super) streams: Accounts,
    pub(super) counts: Counts,
}

/// What became of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests made.
    pub requests: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests that failed with an error.
    pub failed: u64,
    /// Requests whose connection ended first.
    pub orphaned: u64,
    /// Copies of messages that somebody was to hear.
    pub copies: u64,
    /// Copies that arrived.
    pub arrived: u64,
    /// Copies that were dropped, and counted by a mark or a close reason.
    pub dropped: u64,
    /// Copies that were lost with their connection.
    pub lost: u64,
    /// Requests to gateways as proxies.
    pub fetches: u64,
    /// Of these, those that were answered.
    pub fetched: u64,
    /// Of these, those that failed, were given up, or went with their gateway.
    pub fetches_failed: u64,
}

/// What is younger, in seconds, does not wait yet: its user has only just come back.
pub(super) const FRESH: u64 = 5;

/// Takes out everything that concerns one end.
fn take_of(all: &mut BTreeSet<(usize, u64)>, end: usize) -> Vec<(usize, u64)> {
    let of_end: Vec<_> = all.range((end, 0)..=(end, u64::MAX)).copied().collect();
    of_end.iter().for_each(|one| _ = all.remove(one));
    of_end
}

/// The text of message `id`, about `size` bytes long.
pub(super) fn payload(id: u64, size: u64) -> Vec<u8> {
    let mut text = format!("#{id}#").into_bytes();
    text.resize(text.len() + size as usize, b'x');
    text
}

/// The number in a payload, wherever it stands in `data`, and how much follows it.
pub(super) fn find(data: &[u8]) -> Option<(u64, usize)> {
    if !data.contains(&b'#') {
        return None;
    }
    // Whatever is in front of it may have such a byte, too.
    let mut starts = data.iter().enumerate().filter(|(_, byte)| **byte == b'#').map(|(at, _)| at + 1);
    starts.find_map(|start| {
        let len = data[start..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
        let id = std::str::from_utf8(&data[start..start + len]).ok()?.parse().ok()?;
        let rest = data[start + len..].strip_prefix(b"#")?;
        Some((id, rest.iter().take_while(|byte| **byte == b'x').count()))
    })
}

impl Ledger {
    /// A new message of `size` bytes.
    pub(super) fn write(&mut self, size: u64) -> (u64, Vec<u8>) {
        self.last += 1;
        self.sizes.insert(self.last, size as usize);
        (self.last, payload(self.last, size))
    }

    // Requests.

    pub(super) fn asked(&mut self, now: u64, end: usize, id: u64, is_echo: bool) {
        self.counts.requests += 1;
        let size = self.sizes.get(&id).copied().unwrap_or_default();
        let old = self.requests.insert((end, id), Request { size, at: now, is_echo });
        assert!(old.is_none(), "ledger: request {id} twice");
    }

    /// Whether an end waits for an answer.
    pub(super) fn has_requests(&self, end: usize) -> bool {
        self.requests.range((end, 0)..=(end, u64::MAX)).next().is_some()
    }

    pub(super) fn answered(&mut self, end: usize, id: u64, body: &[u8], is_trusted: bool) {
        self.counts.answered += 1;
        let Some(Request { size, is_echo, .. }) = self.requests.remove(&(end, id)) else {
            panic!("C7: request {id} is answered twice, or to a stranger");
        };
        if is_echo && is_trusted && !self.tainted.contains(&id) {
            assert!(
                find(body) == Some((id, size)),
                "C7: the answer to {id} is not its own: {:?}",
                find(body)
            );
        }
    }

    pub(super) fn failed(&mut self, end: usize, id: u64) {
        self.counts.failed += 1;
        assert!(self.requests.remove(&(end, id)).is_some(), "C7: request {id} ends twice");
    }

    // Messages.

    /// A connection publishes what one of its user's messages says.
    pub(super) fn published(&mut self, from: usize, data: &[u8], is_trusted: bool) {
        let Some((id, _)) = find(data) else { return };
        let first = *self.senders.entry(id).or_insert(from);
        let is_strange = first != from && first != Self::NOBODY;
        if !is_trusted || is_strange {
            self.taint(id);
        }
    }

    /// What somebody untrustworthy says may come twice, or spoilt.
    pub(super) fn distrust(&mut self, data: &[u8]) {
        if let Some((id, _)) = find(data) {
            self.taint(id);
        }
    }

    fn taint(&mut self, id: u64) {
        if self.tainted.insert(id) {
            let before = self.owed.len() + self.afloat.len();
            self.owed.retain(|(_, owed)| *owed != id);
            self.afloat.retain(|(_, owed)| *owed != id);
            self.counts.lost += (before - self.owed.len() - self.afloat.len()) as u64;
        }
    }

    /// A message that a backend takes its time with may come in another order than it was sent.
    pub(super) fn is_unordered(&mut self, data: &[u8]) {
        if let Some((id, _)) = find(data) {
            self.senders.insert(id, Self::NOBODY);
        }
    }

    /// Whose messages have no order.
    const NOBODY: usize = usize::MAX;

    /// The hub has found somebody who is to hear it.
    pub(super) fn owe(&mut self, to: usize, data: &[u8]) {
        let Some((id, _)) = find(data).filter(|(id, _)| !self.tainted.contains(id)) else { return };
        self.counts.copies += 1;
        assert!(self.owed.insert((to, id)), "G2: message {id} goes twice to end {to}");
    }

    /// Something that is counted by a mark or a reason has kept it from its user.
    pub(super) fn dropped(&mut self, to: usize, data: &[u8]) {
        if let Some((id, _)) = find(data)
            && self.owed.remove(&(to, id))
        {
            self.counts.dropped += 1;
        }
    }

    /// The user behind the gateway's end `to` got it.
    pub(super) fn arrived(&mut self, to: usize, data: &[u8], is_forged: bool) {
        let Some((id, size)) = find(data).filter(|(id, _)| !self.tainted.contains(id)) else { return };
        if is_forged {
            // Who knows who has said it: it is owed until its line is gone.
            return;
        }
        let was_due = self.owed.remove(&(to, id)) || self.afloat.remove(&(to, id));
        assert!(was_due, "G2: message {id} reaches end {to} twice, or is not for it");
        self.counts.arrived += 1;
        assert_eq!(self.sizes.get(&id), Some(&size), "D1: message {id} is not whole");
        if let Some(from) = self.senders.get(&id).filter(|from| **from != Self::NOBODY) {
            let last = self.heard.insert((*from, to), id);
            assert!(last.is_none_or(|last| last < id), "C8: message {id} overtakes {last:?} at end {to}");
        }
    }

    // Ends.

    /// A user's end is over: what it has asked for ends with it, and nothing more reaches it.
    pub(super) fn user_gone(&mut self, end: usize, gateway_end: usize) {
        while let Some((asked, _)) = self.requests.range((end, 0)..=(end, u64::MAX)).next() {
            let asked = *asked;
            self.requests.remove(&asked);
            self.counts.orphaned += 1;
        }
        self.forget(gateway_end);
    }

    /// A gateway's end is over: what is on its way may still arrive.
    pub(super) fn gateway_gone(&mut self, end: usize) {
        let owed = take_of(&mut self.owed, end);
        self.afloat.extend(owed);
    }

    /// Nothing of this end will arrive any more.
    pub(super) fn forget(&mut self, end: usize) {
        let lost = take_of(&mut self.owed, end).len() + take_of(&mut self.afloat, end).len();
        self.counts.lost += lost as u64;
    }

    // The balance.

    /// What is still open, one line each.
    pub(super) fn open(&self, now: u64) -> String {
        let mut open = String::new();
        for ((end, id), request) in &self.requests {
            let age = (now - request.at) / 1_000_000;
            if age < FRESH {
                continue;
            }
            // Writing to a string does not fail.
            let _ = writeln!(open, "request {id} of end {end} waits since {age} s");
        }
        for (to, id) in &self.owed {
            let _ = writeln!(open, "message {id} is still owed by end {to}");
        }
        for (id, end) in self.streams.open_ones() {
            let _ = writeln!(open, "stream {id} of end {end} has no end");
        }
        open
    }

    /// Whether everything that came in went somewhere.
    pub(super) fn check_balance(&self) {
        let Counts { requests, answered, failed, orphaned, copies, arrived, dropped, lost, .. } = self.counts;
        let open = self.requests.len() as u64;
        assert_eq!(requests, answered + failed + orphaned + open, "ledger: requests do not add up");
        let afloat = (self.owed.len() + self.afloat.len()) as u64;
        assert_eq!(copies, arrived + dropped + lost + afloat, "ledger: messages do not add up");
    }
}

#[test]
fn a_payload_says_what_it_is() {
    assert_eq!(find(&payload(17, 3)), Some((17, 3)));
    assert_eq!(find(br##"{"content":"#4#xx"}"##), Some((4, 2)));
    assert_eq!(find(b"\x04\x00\x04#\x06#5#xxx"), Some((5, 3)));
    assert_eq!(find(b"nothing # at #all#"), None);
}
