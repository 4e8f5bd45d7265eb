//! Who a token is: by a list, by a signature, by asking a server, or not at all.

mod jwt;
mod list;
mod server;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_lite::FutureExt;
use linkspan_core::im::{Checks, ChecksConfig, Proof, Start, Token};
use linkspan_runtime::{Host, Runtime};
use ring::hmac;
use ring::rand::SystemRandom;

pub use self::jwt::Hs256;
pub use self::list::{TokenList, TokenListError};
pub use self::server::{TokenServer, TokenServerError};

/// How tokens are checked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum TokenCheck {
    /// They are not: everybody is whoever they say. For demos.
    #[default]
    None,
    /// Against a list of users and their tokens.
    List(TokenList),
    /// As JSON Web Tokens, signed with a secret that we know.
    Hs256(Hs256),
    /// By asking a server.
    Server(TokenServer),
}

/// What a check comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The token is valid, and proves this.
    Valid(Proof),
    /// It is not.
    Refused,
    /// Nobody can say now.
    Unknown,
}

/// The checks of one listener.
pub(super) struct Tokens {
    check: TokenCheck,
    checks: Mutex<Checks>,
    /// Makes the fingerprints that valid tokens are remembered by.
    key: hmac::Key,
}

/// A key that this process alone has.
fn random_key() -> hmac::Key {
    let random = SystemRandom::new();
    hmac::Key::generate(hmac::HMAC_SHA256, &random).unwrap_or_else(|_| {
        // Only a system without randomness: two seeds of the standard library are better than a constant.
        let seed = [linkspan_runtime::HostConfig::random_seed(), linkspan_runtime::HostConfig::random_seed()];
        hmac::Key::new(hmac::HMAC_SHA256, &seed.map(u64::to_le_bytes).concat())
    })
}

/// The keyed digest of a token.
fn digest(key: &hmac::Key, token: &str) -> [u8; 32] {
    let tag = hmac::sign(key, token.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(tag.as_ref());
    digest
}

impl Tokens {
    pub(super) fn new(check: TokenCheck, config: ChecksConfig, seed: u64) -> Self {
        Self { check, checks: Mutex::new(Checks::new(config, seed)), key: random_key() }
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out whose token this is, for somebody who says to be `user`.
    pub(super) async fn check<R: Runtime>(
        &self,
        runtime: &R,
        host: &Host,
        token: &Token,
        user: &str,
        operation: &str,
    ) -> Outcome {
        match &self.check {
            TokenCheck::None => {
                Outcome::Valid(Proof { user: user.to_owned(), platform: None, lifetime: None })
            }
            TokenCheck::List(list) => list.check(token.as_str(), user),
            TokenCheck::Hs256(secret) => secret.check(token.as_str(), host.clock()),
            TokenCheck::Server(server) => self.ask(runtime, host, server, token, operation).await,
        }
    }

    async fn ask<R: Runtime>(
        &self,
        runtime: &R,
        host: &Host,
        server: &TokenServer,
        token: &Token,
        operation: &str,
    ) -> Outcome {
        let digest = digest(&self.key, token.as_str());
        let start = self.checks().begin(host.clock().now(), &digest);
        let until = match start {
            Start::Proven(proof) => return Outcome::Valid(proof),
            Start::Busy(mark) => {
                host.stats().mark(mark);
                return Outcome::Unknown;
            }
            Start::Check { until } => until,
        };
        let mut ending = Ending { tokens: self, host, digest, proof: None };
        let late = async {
            runtime.sleep_until(host.clock().to_std(until)).await;
            Err(TokenServerError::TimedOut)
        };
        match server.ask(runtime, token.as_str(), operation).or(late).await {
            Ok(Some(proof)) => {
                ending.proof = Some(proof.clone());
                Outcome::Valid(proof)
            }
            Ok(None) => Outcome::Refused,
            Err(error) => {
                tracing::warn!(op = operation, %error, "cannot check a token");
                Outcome::Unknown
            }
        }
    }
}

/// Ends a check, also when nobody waits for it any more.
struct Ending<'a> {
    tokens: &'a Tokens,
    host: &'a Host,
    digest: [u8; 32],
    proof: Option<Proof>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let now = self.host.clock().now();
        self.tokens.checks().end(now, &self.digest, self.proof.as_ref());
    }
}

/// How long a token that ends at `expires`, in seconds since 1970, will be valid yet.
fn lifetime(expires: Option<u64>, now: Duration) -> Option<Duration> {
    expires.map(|expires| Duration::from_secs(expires).saturating_sub(now))
}
