//! Places that only a fault, or two things that cross each other, can lead to. Marks count what limits and policies do;
//! these are counted beside them, from outside: by the state of the ends when something happens to them.

use std::fmt;
use std::time::Duration;

use linkspan_core::tunnel::{Content, Message, sync_ids};
use linkspan_core::{Delivery, Instant, Mark};

use super::end::Phase;
use super::plan::words;
use super::sim::Sim;

words! {
    /// What must have been seen to go well, because it goes wrong somewhere some day.
    Branch {
        /// A service removes a user whose handshake is not over.
        KickInHandshake = "kick-in-handshake",
        /// A gateway stops while a user's handshake is not over.
        StopInHandshake = "stop-in-handshake",
        /// A gateway stops while somebody's token is checked at its door.
        StopAtDoor = "stop-at-door",
        /// A connection is told to go that was told so before: replaced while its gateway stops, or the other way round.
        StopTwice = "stop-twice",
        /// A connection is told to go while messages wait to be written.
        StopBehindQueue = "stop-behind-queue",
        /// A connection has ended in order, and its last words are not written when its patience ends.
        GraceRanOut = "grace-ran-out",
        /// A message for a connection that was told to go.
        MailWhileStopping = "mail-while-stopping",
        /// A connection ends with messages in its mailbox: they were published to somebody who has just left.
        MailAtTheEnd = "mail-at-the-end",
        /// An end lets go of its line while bytes of its peer are unread.
        GoneWithUnread = "gone-with-unread",
        /// The peer has ended, and bytes for it still wait.
        EndedWithUnwritten = "ended-with-unwritten",
        /// A line is cut within a frame.
        CutWithinFrame = "cut-within-frame",
        /// A full line has taken a part of a frame.
        BlockedWithinFrame = "blocked-within-frame",
        /// A user comes back before its gateway knows that the old connection is gone.
        BackBeforeGone = "back-before-gone",
        /// A gateway is gone with open streams.
        CrashWithStreams = "crash-with-streams",
        /// A gateway is gone with requests that nobody has answered.
        CrashWithRequests = "crash-with-requests",
        /// A gateway is gone while a user's handshake is not over.
        CrashInHandshake = "crash-in-handshake",
        /// A service is ready with what it was asked for by a connection that has ended.
        AnswerAfterEnd = "answer-after-end",
        /// A node has left while a request waited for it.
        NodeLeftWithRequest = "node-left-with-request",
        /// A token is checked, and whoever had brought it is no longer at the door.
        TokenAfterDoor = "token-after-door",
        /// Nothing is full but by places that are held for somebody.
        FullByReservations = "full-by-reservations",
        /// A dial is answered whose stream has ended.
        DialAfterEnd = "dial-after-end",
        /// A stream was closed while bytes of it waited, and they leave later.
        CloseBehindData = "close-behind-data",
        /// Something for a tunnel that has just ended.
        ErrandAfterEnd = "errand-after-end",
        /// A list of streams was written before the dial of a stream that it does not name.
        ListCrossesDial = "list-crosses-dial",
        /// A pause, or leave to go on, comes for a stream that this end has ended.
        PauseCrossesEnd = "pause-crosses-end",
        /// Data comes for a stream that this end has ended.
        DataCrossesEnd = "data-crosses-end",
        /// Both ends have ended a stream, neither because of the other.
        EndsCross = "ends-cross",
        /// Data comes for a stream that this end has paused.
        DataBehindPause = "data-behind-pause",
        /// A user's end has ended for what somebody said who posed as its gateway.
        ForgeryFound = "forgery-found",
        /// A deadline is more than ten seconds late: the gateway stood still, or its clock has jumped.
        LateDeadline = "late-deadline",
    }
}

/// No timer of a world is so late by itself.
const LATE: Duration = Duration::from_secs(10);

/// More streams are not followed at a time.
const FOLLOWED_MAX: usize = 256;

/// One stream of a tunnel, as its messages tell it: by the side of the link that has said something.
#[derive(Clone, Copy, Debug, Default)]
struct Wire {
    number: i64,
    opener: usize,
    has_ended: [bool; 2],
    has_heard_end: [bool; 2],
    has_paused: [bool; 2],
}

/// The streams of the tunnel that goes over a link.
#[derive(Debug, Default)]
pub(super) struct Wires {
    wires: Vec<Wire>,
}

impl Wires {
    fn find(&mut self, number: i64) -> Option<&mut Wire> {
        self.wires.iter_mut().rev().find(|wire| wire.number == number)
    }

    /// A side writes a message; what it crosses, if it crosses something.
    fn written(&mut self, side: usize, message: &Message) -> Option<Branch> {
        let number = message.stream;
        match &message.content {
            Content::Connect(_) => {
                self.wires.retain(|wire| wire.number != number);
                if self.wires.len() >= FOLLOWED_MAX {
                    self.wires.remove(0);
                }
                self.wires.push(Wire { number, opener: side, ..Wire::default() });
            }
            Content::Error(_) => {
                let wire = self.find(number)?;
                wire.has_ended[side] = true;
                let is_crossing = wire.has_ended == [true; 2] && wire.has_heard_end == [false; 2];
                return is_crossing.then_some(Branch::EndsCross);
            }
            Content::Pause => self.find(number)?.has_paused[side] = true,
            Content::Resume => self.find(number)?.has_paused[side] = false,
            _ => {}
        }
        None
    }

    /// A side reads a message; what that has crossed.
    fn read(&mut self, side: usize, message: &Message) -> Option<Branch> {
        if let Content::Sync(ids) = &message.content {
            let listed = sync_ids(ids)?.collect::<Vec<_>>();
            let is_unlisted = |wire: &Wire| {
                wire.opener == side && wire.has_ended == [false; 2] && !listed.contains(&wire.number)
            };
            return self.wires.iter().any(is_unlisted).then_some(Branch::ListCrossesDial);
        }
        let wire = self.find(message.stream)?;
        let has_ended = wire.has_ended[side];
        match &message.content {
            Content::Error(_) => wire.has_heard_end[side] = true,
            Content::Pause | Content::Resume | Content::Credit(_) if has_ended => {
                return Some(Branch::PauseCrossesEnd);
            }
            Content::Data(_) if has_ended => return Some(Branch::DataCrossesEnd),
            Content::Data(_) if wire.has_paused[side] => return Some(Branch::DataBehindPause),
            _ => {}
        }
        None
    }
}

impl Sim<'_> {
    /// A branch was taken.
    pub(super) fn pass(&mut self, branch: Branch) {
        *self.branches.entry(branch).or_default() += 1;
    }

    pub(super) fn pass_if(&mut self, is_so: bool, branch: Branch) {
        if is_so {
            self.pass(branch);
        }
    }

    /// Whether the user at this end is not through with its handshake.
    fn is_in_handshake(&self, id: usize) -> bool {
        let end = self.ends[id].as_deref().filter(|end| end.phase == Phase::Open && end.side == 0);
        end.is_some_and(|end| {
            let user = &self.users[end.user];
            user.end == Some(end.peer) && !user.is_ready
        })
    }

    /// A service removes a user.
    pub(super) fn notice_kick(&mut self, id: usize) {
        self.pass_if(self.is_in_handshake(id), Branch::KickInHandshake);
    }

    /// A connection is told to go.
    pub(super) fn notice_stop(&mut self, id: usize) {
        let Some(end) = self.ends[id].as_deref().filter(|end| end.phase == Phase::Open) else { return };
        let (was_told, has_queue) = (end.told.is_some(), !end.outbox.is_empty());
        self.pass_if(was_told, Branch::StopTwice);
        self.pass_if(has_queue, Branch::StopBehindQueue);
        self.pass_if(self.is_in_handshake(id), Branch::StopInHandshake);
    }

    /// A gateway stops.
    pub(super) fn notice_roll(&mut self, index: usize) {
        let has_visitors = !self.gateways[index].house.visitors().is_empty();
        self.pass_if(has_visitors, Branch::StopAtDoor);
    }

    /// A gateway is gone, and this end with it.
    pub(super) fn notice_crash(&mut self, id: usize) {
        let Some(peer) = self.ends[id].as_deref().map(|end| end.peer) else { return };
        let has_streams = self.ledger.streams.open_ones().iter().any(|(_, end)| *end == id || *end == peer);
        let has_requests = self.ledger.has_requests(peer);
        self.pass_if(has_streams, Branch::CrashWithStreams);
        self.pass_if(has_requests, Branch::CrashWithRequests);
        self.pass_if(self.is_in_handshake(id), Branch::CrashInHandshake);
    }

    /// A connection ends.
    pub(super) fn notice_close(&mut self, id: usize) {
        let Some(end) = self.ends[id].as_deref() else { return };
        let has_mail = end.mailbox.iter().any(|mail| matches!(mail, Delivery::Push(_)));
        self.pass_if(has_mail, Branch::MailAtTheEnd);
    }

    /// An end lets go of its line.
    pub(super) fn notice_gone(&mut self, link: usize, side: usize) {
        let has_unread = self.links[link].ways[side].has_data();
        self.pass_if(has_unread, Branch::GoneWithUnread);
    }

    /// A user connects again.
    pub(super) fn notice_return(&mut self, user: usize, server: usize) {
        let old = std::mem::replace(&mut self.users[user].server, server);
        let old = self.ends.get(old).and_then(Option::as_deref);
        let is_there = old.is_some_and(|end| end.phase == Phase::Open);
        self.pass_if(is_there, Branch::BackBeforeGone);
    }

    /// A deadline has come, and the machine hears of it now.
    pub(super) fn notice_deadline(&mut self, due: Instant, now: Instant) {
        self.pass_if(now - due > LATE, Branch::LateDeadline);
    }

    /// The hub refuses somebody.
    pub(super) fn notice_refusal(&mut self, index: usize, mark: Mark) {
        if mark == Mark::HubFull {
            let is_held = self.gateways[index].is_full_by_reservations();
            self.pass_if(is_held, Branch::FullByReservations);
        }
    }

    /// A message of a tunnel is written or read at one side of its link.
    pub(super) fn notice_message(&mut self, link: usize, side: usize, is_read: bool, data: &bytes::Bytes) {
        let line = &mut self.links[link];
        let Some(wires) = line.wires.as_mut().filter(|_| line.is_trusted) else { return };
        let Ok(message) = Message::decode(data) else { return };
        let branch = if is_read { wires.read(side, &message) } else { wires.written(side, &message) };
        if let Some(branch) = branch {
            self.pass(branch);
        }
    }
}
