//! Panics of a world, kept quiet: who lets it live is told what they say, and where they began.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Where the last panic began, while a world lives on this thread.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What was said, and where: `core/src/outbox.rs:12`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) text: String,
    pub(super) place: String,
}

/// Lets something live that may panic. Only the hook is told where a panic begins, so that is where it is noted.
pub(super) fn caught(life: impl FnOnce()) -> Option<Words> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !note(panic.location()) {
                usual(panic);
            }
        }));
    });
    PLACE.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(life));
    let place = PLACE.take().unwrap_or_default();
    let panic = outcome.err()?;
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    Some(Words { text: text.to_owned(), place })
}

/// Notes where a panic of a world begins; false if none lives on this thread.
fn note(location: Option<&Location<'_>>) -> bool {
    PLACE.with_borrow_mut(|place| {
        let Some(place) = place else { return false };
        *place = location.map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        true
    })
}

#[test]
fn a_panic_says_where_it_began() {
    let (none, line) = (Vec::<u8>::new(), line!());
    let words = caught(|| _ = none[std::hint::black_box(3)]).expect("it panics");
    assert_eq!(words.text, "index out of bounds: the len is 0 but the index is 3");
    assert_eq!(words.place, format!("{}:{}", file!(), line + 1));
    assert_eq!(caught(|| ()), None);
    assert!(!note(None), "other panics are told as usual");
}
