//! The send queue beside a list of bytes: nothing is lost, repeated or moved, and the books balance.

use bytes::Bytes;
use linkspan_core::{Class, Flushed, Frame, Opcode, Outbox};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push {
        head: usize,
        body: usize,
        is_lossy: bool,
    },
    /// The socket takes so many bytes, or all there are.
    Write(usize),
    DropOldest,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..30_usize, 0..400_usize, any::<bool>())
            .prop_map(|(head, body, is_lossy)| Step::Push { head, body, is_lossy }),
        6 => (0..500_usize).prop_map(Step::Write),
        3 => Just(Step::DropOldest),
        1 => Just(Step::Clear),
    ]
}

/// A frame whose bytes tell which one it is.
fn frame(number: u8, head: usize, body: usize, is_lossy: bool) -> Frame {
    let head = vec![number; head.min(Frame::HEAD_MAX)];
    let frame = Frame::with_head(Opcode::Binary, &[&head], Bytes::from(vec![!number; body]));
    if is_lossy { frame.lossy() } else { frame }
}

/// Frames that wait, and how much of the first one is written.
#[derive(Default)]
struct Model {
    frames: Vec<Frame>,
    written: usize,
}

impl Model {
    /// The bytes that a socket gets, and the frames that are through with them.
    fn write(&mut self, most: usize) -> (Vec<u8>, Flushed) {
        let (mut bytes, mut flushed) = (Vec::new(), Flushed::default());
        while let Some(first) = self.frames.first() {
            let left = first.clone().into_bytes().slice(self.written..);
            let taken = left.len().min(most - bytes.len());
            bytes.extend_from_slice(&left[..taken]);
            if taken < left.len() {
                self.written += taken;
                break;
            }
            flushed.add(first);
            self.frames.remove(0);
            self.written = 0;
        }
        (bytes, flushed)
    }

    fn drop_oldest(&mut self) -> Option<Frame> {
        let from = usize::from(self.written > 0);
        let at = self.frames.iter().skip(from).position(|frame| frame.class == Class::Lossy)?;
        Some(self.frames.remove(from + at))
    }

    fn bytes(&self) -> usize {
        self.frames.iter().map(Frame::len).sum()
    }
}

/// Writes as a driver does: part after part, as far as the socket takes them.
fn write(outbox: &mut Outbox, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(parts) = outbox.front() {
        let all = parts.concat();
        let taken = all.len().min(most - bytes.len());
        bytes.extend_from_slice(&all[..taken]);
        outbox.advance(taken);
        if taken < all.len() {
            break;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn the_outbox_is_a_list_of_bytes(steps in vec(step(), 0..60)) {
        let (mut outbox, mut model) = (Outbox::default(), Model::default());
        let mut sent = (0, 0, 0);
        for (number, step) in (0_u8..).zip(steps) {
            match step {
                Step::Push { head, body, is_lossy } => {
                    let frame = frame(number, head, body, is_lossy);
                    outbox.push(frame.clone());
                    model.frames.push(frame);
                }
                Step::Write(most) => {
                    let before = model.frames.len();
                    let lengths: Vec<usize> = model.frames.iter().map(Frame::len).collect();
                    let (bytes, flushed) = model.write(most);
                    prop_assert_eq!(write(&mut outbox, most), bytes.clone());
                    let progress = !bytes.is_empty() || flushed.cost > 0;
                    prop_assert_eq!(outbox.take_flushed(), progress.then_some(flushed));
                    prop_assert_eq!(outbox.take_flushed(), None, "told once");
                    sent.0 += (before - model.frames.len()) as u64;
                    sent.2 += lengths[..before - model.frames.len()].iter().sum::<usize>() as u64;
                }
                Step::DropOldest => {
                    outbox.drop_oldest();
                    let mut dropped = Flushed::default();
                    model.drop_oldest().iter().for_each(|frame| dropped.add(frame));
                    prop_assert_eq!(outbox.take_dropped(), (dropped.cost > 0).then_some(dropped));
                    sent.1 += u64::from(dropped.cost > 0);
                }
                Step::Clear => {
                    outbox.clear();
                    model = Model::default();
                }
            }
            prop_assert_eq!(outbox.is_empty(), model.frames.is_empty());
            prop_assert_eq!(outbox.bytes(), model.bytes());
            let (frames, written) = outbox.frames();
            prop_assert_eq!((frames.count(), written), (model.frames.len(), model.written));
        }
        let told = outbox.take_sent();
        prop_assert_eq!(told.frames, sent.0, "dropped frames were not sent: {}", sent.1);
        prop_assert_eq!(told.bytes, sent.2);
        prop_assert_eq!(outbox.take_sent().frames, 0, "told once");
    }

    /// What is taken out whole counts as flushed once it has gone out, and not before.
    #[test]
    fn whole_frames_are_flushed_when_they_have_gone(count in 1..20_u8) {
        let mut outbox = Outbox::default();
        let mut expected = Flushed::default();
        for number in 0..count {
            let frame = frame(number, 4, usize::from(number) * 60, number % 2 == 0);
            expected.add(&frame);
            outbox.push(frame);
        }
        let mut popped = 0;
        while let Some(frame) = outbox.pop() {
            prop_assert_eq!(frame.head(), vec![popped; 4]);
            popped += 1;
            prop_assert_eq!(outbox.take_flushed(), None);
        }
        prop_assert_eq!(popped, count);
        outbox.progress();
        prop_assert_eq!(outbox.take_flushed(), Some(Flushed::default()), "a part has gone");
        outbox.settle();
        prop_assert_eq!(outbox.take_flushed(), Some(expected));
        outbox.settle();
        prop_assert_eq!(outbox.take_flushed(), None);
        prop_assert_eq!(outbox.take_sent().frames, u64::from(count));
    }
}

#[test]
fn a_frame_is_empty_without_head_and_body() {
    for (head, body, len) in [(0, 0, 0), (3, 0, 3), (0, 4, 4), (3, 4, 7)] {
        let frame = frame(1, head, body, false);
        assert_eq!((frame.len(), frame.is_empty()), (len, len == 0));
    }
}

/// The references above add with the same function, so this one says the numbers.
#[test]
fn what_has_left_is_added_up() {
    let mut flushed = Flushed::default();
    let mut sums = Vec::new();
    for (body, is_lossy) in [(1000, true), (2000, false), (3000, true), (1000, true)] {
        flushed.add(&frame(1, 0, body, is_lossy));
        sums.push((flushed.cost, flushed.lossy));
    }
    assert_eq!(sums, [(1000, 1), (3000, 1), (6000, 2), (7000, 3)]);
}
