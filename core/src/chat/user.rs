//! Users are numbers.

use crate::Key;

/// A path does not name a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid user id")]
pub struct InvalidUser;

/// Reads the user out of a path segment, already percent-decoded: digits, perhaps behind a `+`, at most
/// 18446744073709551615. The number is what counts: `007` is user 7.
///
/// # Errors
///
/// [`InvalidUser`] if it is anything else.
///
/// ```
/// use linkspan_core::chat::{InvalidUser, parse_user};
///
/// assert_eq!(parse_user("+007"), Ok(7));
/// assert_eq!(parse_user("-1"), Err(InvalidUser));
/// ```
pub fn parse_user(segment: &str) -> Result<u64, InvalidUser> {
    // The standard parser takes exactly this form.
    segment.parse().map_err(|_| InvalidUser)
}

/// The key that a user's sessions are found under, in whatever dialect: the decimal digits.
pub fn user_key(user: u64) -> Key {
    let mut digits = [0; Digits::MAX];
    Key::new(Digits::write(user, &mut digits)).expect("one to twenty digits")
}

/// Decimal digits without an allocation.
pub(super) struct Digits;

impl Digits {
    /// The digits of `u64::MAX`.
    pub(super) const MAX: usize = 20;

    /// Writes `number` to the end of `space`, and gives the part that it fills.
    pub(super) fn write(mut number: u64, space: &mut [u8; Self::MAX]) -> &[u8] {
        let mut from = Self::MAX;
        loop {
            from -= 1;
            space[from] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &space[from..];
            }
        }
    }
}
