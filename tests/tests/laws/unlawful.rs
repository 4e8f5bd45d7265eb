//! The harness itself: machines that break one law each are caught.

use std::time::Duration;

use linkspan_core::{Actions, Instant, Machine};
use linkspan_tests::harness::{Checked, Subject};

/// What this machine does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Spins,
    ActsEarly,
    MovesEarly,
    ChangesEarly,
    EndsTwice,
    EndsTwiceAtOnce,
    ActsBehindItsEnd,
    ActsAfterItsEnd,
    WaitsAfterItsEnd,
    SaysTooMuch,
    OwnsTooMuch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Word,
    End,
}

/// Says a word every second, and ends when it is told anything.
#[derive(Debug)]
struct Clock {
    wrong: Wrong,
    due: Instant,
    calls: u32,
    ends: u32,
}

impl Machine for Clock {
    type Event = ();
    type Action = Act;

    fn handle_event(&mut self, _: Instant, (): (), actions: &mut Actions<Act>) {
        self.ends += 1;
        let words = match self.wrong {
            Wrong::SaysTooMuch => 1_000,
            Wrong::ActsAfterItsEnd if self.ends > 1 => 1,
            _ => 0,
        };
        (0..words).for_each(|_| actions.push(Act::Word));
        if self.ends == 1 || self.wrong == Wrong::EndsTwice {
            actions.push(Act::End);
        }
        if self.wrong == Wrong::EndsTwiceAtOnce {
            actions.push(Act::End);
        }
        if self.wrong == Wrong::ActsBehindItsEnd {
            actions.push(Act::Word);
        }
    }

    fn handle_timeout(&mut self, now: Instant, actions: &mut Actions<Act>) {
        let is_early = self.due > now;
        match self.wrong {
            Wrong::ActsEarly if is_early => actions.push(Act::Word),
            Wrong::MovesEarly if is_early => self.due = self.due + Duration::from_micros(1),
            Wrong::ChangesEarly if is_early => self.calls += 1,
            _ => {}
        }
        if !is_early && self.ends == 0 {
            actions.push(Act::Word);
            self.due = if self.wrong == Wrong::Spins { now } else { now + Duration::from_secs(1) };
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        (self.ends == 0 || self.wrong == Wrong::WaitsAfterItsEnd).then_some(self.due)
    }
}

impl Subject for Clock {
    fn is_end(action: &Act) -> bool {
        *action == Act::End
    }

    fn footprint(&self) -> usize {
        if self.wrong == Wrong::OwnsTooMuch { 101 } else { 100 }
    }
}

fn live(wrong: Wrong) {
    let now = Instant::from_micros(1_000_000);
    let clock = Clock { wrong, due: now, calls: 0, ends: 0 };
    let mut checked = Checked::new(clock, Actions::new(), now, 100);
    assert_eq!(checked.timeout(now), [Act::Word]);
    assert_eq!(checked.step(now, ()), [Act::End]);
    assert_eq!(checked.step(now, ()), []);
}

/// What the harness says of a machine that does this wrong.
fn verdict(wrong: Wrong) -> String {
    let outcome = std::panic::catch_unwind(|| live(wrong));
    outcome
        .err()
        .map(|why| {
            why.downcast_ref::<String>()
                .cloned()
                .or_else(|| why.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_default()
        })
        .unwrap_or_default()
}

#[test]
fn a_machine_that_breaks_a_law_is_caught() {
    for (wrong, says) in [
        (Wrong::Spins, "spins"),
        (Wrong::ActsEarly, "acts before its deadline"),
        (Wrong::MovesEarly, "moves its deadline when asked early"),
        (Wrong::ChangesEarly, "changes when asked early"),
        (Wrong::EndsTwice, "acts after its end"),
        (Wrong::EndsTwiceAtOnce, "ends more than once"),
        (Wrong::ActsBehindItsEnd, "acts behind its end"),
        (Wrong::ActsAfterItsEnd, "acts after its end"),
        (Wrong::WaitsAfterItsEnd, "waits for something after its end"),
        (Wrong::SaysTooMuch, "1001 actions for"),
        (Wrong::OwnsTooMuch, "owns 101 of 100 bytes"),
    ] {
        let verdict = verdict(wrong);
        assert!(verdict.contains(says), "{wrong:?}: {verdict:?}");
    }
    live(Wrong::Nothing);
}
