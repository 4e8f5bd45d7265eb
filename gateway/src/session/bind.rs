//! Binding a session to a user.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use linkspan_core::pomelo::ServerCommand;
use linkspan_core::{Key, NameError};
use linkspan_runtime::PushError;

use super::Session;

/// How far a session is with its user.
#[derive(Default)]
pub(super) enum Binding {
    /// No user.
    #[default]
    None,
    /// The hub was asked.
    Asked(Key, Option<Waker>),
    /// The hub said no.
    Refused,
    /// The session is the user's.
    Bound(Key),
    /// The connection has ended.
    Closed,
}

/// Why a session is not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// It is bound already, or being bound.
    #[error("session is already bound to an uid")]
    AlreadyBound,
    /// The uid belongs to another session, and the policy lets the older one stay.
    #[error("the uid belongs to another session")]
    Refused,
    /// The uid cannot be a name.
    #[error("invalid uid: {0}")]
    Name(#[from] NameError),
    /// The connection could not be asked.
    #[error(transparent)]
    Push(#[from] PushError),
}

impl Session {
    /// Binds the session to a user, so that it is found by [`push_to`](Session::push_to). What happens to other sessions
    /// of the same user is the gateway's policy.
    ///
    /// # Errors
    ///
    /// [`BindError`]; the session is then bound to whom it was bound before.
    pub async fn bind(&self, uid: impl AsRef<[u8]>) -> Result<(), BindError> {
        let key = Key::new(uid)?;
        {
            let mut state = self.state();
            match state.binding {
                Binding::None | Binding::Refused => {}
                Binding::Asked(..) | Binding::Bound(_) => return Err(BindError::AlreadyBound),
                Binding::Closed => return Err(PushError::Closed.into()),
            }
            self.command(ServerCommand::Bind(key.clone()))?;
            state.binding = Binding::Asked(key, None);
        }
        poll_fn(|cx| match &mut self.state().binding {
            Binding::Asked(_, waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Binding::Bound(_) => Poll::Ready(Ok(())),
            Binding::None | Binding::Refused => Poll::Ready(Err(BindError::Refused)),
            Binding::Closed => Poll::Ready(Err(PushError::Closed.into())),
        })
        .await
    }

    /// Gives the user up; does nothing if there is none.
    ///
    /// # Errors
    ///
    /// As [`push`](Session::push).
    pub fn unbind(&self) -> Result<(), PushError> {
        let mut state = self.state();
        let Binding::Bound(key) = &state.binding else { return Ok(()) };
        self.command(ServerCommand::Unbind(key.clone()))?;
        state.binding = Binding::None;
        Ok(())
    }

    /// The user that the session is bound to.
    pub fn uid(&self) -> Option<Key> {
        match &self.state().binding {
            Binding::Bound(key) => Some(key.clone()),
            _ => None,
        }
    }

    /// The hub has answered, or the connection has ended.
    fn settle(&self, answer: impl FnOnce(Key) -> Binding) {
        let waker = {
            let mut state = self.state();
            let Binding::Asked(key, waker) = &mut state.binding else { return };
            let (key, waker) = (key.clone(), waker.take());
            state.binding = answer(key);
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn handle_bound(&self) {
        self.settle(Binding::Bound);
    }

    pub(crate) fn handle_bind_refused(&self) {
        self.settle(|_| Binding::Refused);
    }

    pub(crate) fn handle_closed(&self) {
        self.settle(|_| Binding::Closed);
    }
}
