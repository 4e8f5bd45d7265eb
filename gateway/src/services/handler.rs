//! Functions as handlers.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use super::extract::{Call, FromCall, IntoAnswer, Outcome};

/// A future on the heap.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What starting a handler gives.
pub enum Reply {
    /// It is finished already.
    Ready(Outcome),
    /// It finishes later.
    Later(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

/// A function that serves a route.
///
/// Implemented for `async` functions of up to four [`FromCall`] arguments that return something
/// [`IntoAnswer`], and, through [`plain`], for ordinary functions. `Args` only tells the shapes apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot serve a route",
    note = "a handler is an `async fn` of up to four arguments (`Session`, `Json<T>`, `Bytes`, `Call`) that returns `()`, \
            bytes, text, `Json<T>` or a `Result` of these with an error that becomes a `CallError`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// Starts the function.
    fn start(&self, call: &Call) -> Reply;
}

/// An ordinary function as a handler: it must not block, and costs no future.
///
/// ```
/// use linkspan_gateway::services::{Json, Service, plain};
///
/// Service::new("Math").request("Double", plain(|Json(n): Json<i64>| Json(n.saturating_mul(2))));
/// ```
pub fn plain<F>(function: F) -> Plain<F> {
    Plain(function)
}

/// See [`plain`].
#[derive(Clone, Copy, Debug)]
pub struct Plain<F>(F);

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
            fn start(&self, call: &Call) -> Reply {
                $(let $arg = match $arg::from_call(call) {
                    Ok(argument) => argument,
                    Err(error) => return Reply::Ready(Err(error)),
                };)*
                let future = self($($arg),*);
                Reply::Later(Box::pin(async move { future.await.into_answer() }))
            }
        }

        impl<F, Answer, $($arg,)*> Handler<(PhantomData<Answer>, $($arg,)*)> for Plain<F>
        where
            F: Fn($($arg),*) -> Answer + Send + Sync + 'static,
            Answer: IntoAnswer,
            $($arg: FromCall,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "arguments are named after their types")]
            fn start(&self, call: &Call) -> Reply {
                $(let $arg = match $arg::from_call(call) {
                    Ok(argument) => argument,
                    Err(error) => return Reply::Ready(Err(error)),
                };)*
                Reply::Ready((self.0)($($arg),*).into_answer())
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
pub(crate) type Erased = Box<dyn Fn(&Call) -> Reply + Send + Sync>;

pub(crate) fn erase<Args: 'static>(handler: impl Handler<Args>) -> Erased {
    Box::new(move |call| handler.start(call))
}
