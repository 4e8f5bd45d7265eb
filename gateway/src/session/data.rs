//! Values that an application keeps with a session.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Session;

/// Nothing until the first value: most sessions of most applications have none.
pub(super) type Data = Option<Box<BTreeMap<Box<str>, Arc<dyn Any + Send + Sync>>>>;

impl Session {
    /// Keeps `value` under `name`, in place of what was there.
    pub fn set<T: Send + Sync + 'static>(&self, name: &str, value: T) {
        let old = self.state().data.get_or_insert_default().insert(name.into(), Arc::new(value));
        // Dropped after the lock was let go: it may be anything.
        drop(old);
    }

    /// What is kept under `name`; `None` if there is nothing, or something of another type.
    pub fn get<T: Send + Sync + 'static>(&self, name: &str) -> Option<Arc<T>> {
        let value = self.state().data.as_ref()?.get(name).cloned()?;
        value.downcast().ok()
    }

    /// Forgets what is kept under `name`; whether there was something.
    pub fn remove(&self, name: &str) -> bool {
        let old = self.state().data.as_mut().and_then(|data| data.remove(name));
        old.is_some()
    }
}
