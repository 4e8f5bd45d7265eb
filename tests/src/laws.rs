//! The laws of [`Machine`] as one function for any machine.

use std::fmt::Debug;
use std::time::Duration;

use linkspan_core::{Actions, Instant, Machine};

/// Drives two equal machines through `steps`, one just in time, the other with needless early timeouts between, and
/// returns what each step and the timeouts before it gave.
///
/// # Panics
///
/// If the machines differ (*same in, same out*; *early is free*) or a deadline stays (*no spin*).
pub fn check<T>(make: impl Fn() -> T, steps: &[(Duration, T::Event)]) -> Vec<Vec<T::Action>>
where
    T: Machine<Event: Clone, Action: PartialEq + Debug>,
{
    let [mut first, mut second] = [make(), make()];
    let mut now = Instant::ORIGIN;
    let mut history = Vec::new();
    for (span, event) in steps {
        now = now + *span;
        let [mut actions, mut others] = [Actions::new(), Actions::new()];
        advance(&mut first, now, &mut actions);
        early(&mut second, now);
        advance(&mut second, now, &mut others);
        early(&mut second, now);
        first.handle_event(now, event.clone(), &mut actions);
        second.handle_event(now, event.clone(), &mut others);
        assert_eq!(actions, others, "two equal machines differ");
        assert_eq!(first.next_timeout(), second.next_timeout(), "two equal machines differ");
        history.push(actions.into_iter().collect());
    }
    history
}

/// Calls `handle_timeout` at each deadline up to `now`, as a driver that is never late.
///
/// # Panics
///
/// If a deadline that was handled is still there.
pub fn advance<T: Machine>(machine: &mut T, now: Instant, actions: &mut Actions<T::Action>) {
    while let Some(due) = machine.next_timeout().filter(|due| *due <= now) {
        machine.handle_timeout(due, actions);
        assert!(machine.next_timeout().is_none_or(|next| next > due), "the deadline {due:?} stays");
    }
}

/// Calls `handle_timeout` although nothing is due.
fn early<T: Machine<Action: Debug>>(machine: &mut T, now: Instant) {
    let due = machine.next_timeout();
    let before = due.map_or(u64::MAX, Instant::as_micros).saturating_sub(1).min(now.as_micros());
    let mut actions = Actions::new();
    machine.handle_timeout(Instant::from_micros(before), &mut actions);
    assert!(actions.is_empty(), "an early timeout did {:?}", actions.as_slice());
    assert_eq!(machine.next_timeout(), due, "an early timeout moved the deadline");
}
