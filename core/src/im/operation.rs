//! Operation ids for requests that come without one.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::random::SplitMix;

/// Makes operation ids: the wall time in nanoseconds, and a random number behind it, in decimal digits.
#[derive(Clone, Debug)]
pub struct OperationIds(SplitMix);

impl OperationIds {
    /// Ids that follow from `seed`, which the driver draws at random for every connection.
    pub const fn new(seed: u64) -> Self {
        Self(SplitMix::new(seed))
    }

    /// The next id, at the time `unix` since 1970.
    pub fn next_id(&mut self, unix: Duration) -> String {
        let mut id = Vec::with_capacity(40);
        Self::push_decimal(&mut id, u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX));
        Self::push_decimal(&mut id, self.0.next_u64() % 10_000_000_000);
        id.into_iter().map(char::from).collect()
    }

    /// Appends the decimal digits of `number`.
    pub(super) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
        let from = out.len();
        loop {
            out.push(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                break out[from..].reverse();
            }
        }
    }
}
