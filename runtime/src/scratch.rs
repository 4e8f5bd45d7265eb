//! Action lists that belong to threads: a connection borrows one while it is polled, and owns none while it is idle.

use std::any::Any;
use std::cell::RefCell;

use linkspan_core::{Action, Actions};

thread_local! {
    // One per dialect in use; a handful at most, so a list beats a map.
    static LISTS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// A list of this thread, empty.
pub(crate) fn take<N: 'static>() -> Box<Actions<Action<N>>> {
    LISTS
        .with_borrow_mut(|lists| {
            let at = lists.iter().position(|list| list.is::<Actions<Action<N>>>())?;
            lists.swap_remove(at).downcast().ok()
        })
        .unwrap_or_default()
}

/// A list that one large piece of input made grow beyond this many actions is not kept.
const KEEP: usize = 4096;

/// Gives a list back.
pub(crate) fn put<N: 'static>(list: Box<Actions<Action<N>>>) {
    if list.capacity() <= KEEP {
        LISTS.with_borrow_mut(|lists| lists.push(list));
    }
}
