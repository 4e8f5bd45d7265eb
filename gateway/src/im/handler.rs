//! Rust functions as functions of the IM dialect.

use std::future::Future;

use linkspan_core::im::Answer;

use super::{Call, FromCall, IntoAnswer};
use crate::services::BoxFuture;

/// A Rust function that clients may call.
///
/// Implemented for `async` functions of up to four [`FromCall`] arguments that return something [`IntoAnswer`]. `Args`
/// only tells the shapes apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called by IM clients",
    note = "it must be an `async fn` of up to four arguments (`Caller`, `Json<T>`, `String`, `Call`) that returns `()`, text, \
            `Json<T>`, `Answer` or a `Result` of these with an error that becomes an `Answer`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// Starts the function.
    ///
    /// # Errors
    ///
    /// What the client is answered if an argument is not there.
    fn start(&self, call: &Call) -> Result<BoxFuture<Answer>, Answer>;
}

macro_rules! handlers {
    ($($arg:ident),*) => {
        impl<F, Fut, $($arg,)*> Handler<(Fut, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoAnswer,
            $($arg: FromCall,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "arguments are named after their types")]
            fn start(&self, call: &Call) -> Result<BoxFuture<Answer>, Answer> {
                $(let $arg = $arg::from_call(call)?;)*
                let future = self($($arg),*);
                Ok(Box::pin(async move { future.await.into_answer() }))
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
handlers!(A, B, C, D);

/// A handler with its arguments forgotten.
pub(super) type Erased = Box<dyn Fn(&Call) -> Result<BoxFuture<Answer>, Answer> + Send + Sync>;

pub(super) fn erase<Args: 'static>(handler: impl Handler<Args>) -> Erased {
    Box::new(move |call| handler.start(call))
}
