//! A list of users and their tokens.

use std::collections::BTreeMap;
use std::fmt;

use linkspan_core::im::Proof;
use ring::hmac;
use subtle::{Choice, ConstantTimeEq};

use super::{Outcome, digest, random_key};

/// Users and their tokens; a user may have several. Kept are keyed digests, so that neither the time of a comparison nor
/// a log tells anything about a token.
#[derive(Clone)]
pub struct TokenList {
    key: hmac::Key,
    users: BTreeMap<Box<str>, Vec<[u8; 32]>>,
    /// What the token of an unknown user is compared with.
    nobody: [u8; 32],
}

/// A line that is not a user and a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: write a user and a token, separated by a blank")]
pub struct TokenListError {
    /// The number of the line, from 1.
    pub line: usize,
}

impl TokenList {
    /// Reads a list: one user and one token per line, separated by blanks; lines that are empty or begin with `#` say
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`TokenListError`].
    pub fn parse(text: &str) -> Result<Self, TokenListError> {
        let key = random_key();
        let mut users: BTreeMap<Box<str>, Vec<_>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(user), Some(token), None) = (words.next(), words.next(), words.next()) else {
                return Err(TokenListError { line: index + 1 });
            };
            users.entry(user.into()).or_default().push(digest(&key, token));
        }
        let nobody = digest(&key, "");
        Ok(Self { key, users, nobody })
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// All tokens of the user are compared, whichever is right, and one where there is none.
    pub(super) fn check(&self, token: &str, user: &str) -> Outcome {
        let own = digest(&self.key, token);
        let (tokens, known) = match self.users.get(user) {
            Some(tokens) => (tokens.as_slice(), Choice::from(1)),
            None => (std::slice::from_ref(&self.nobody), Choice::from(0)),
        };
        let is_one = tokens.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(&own));
        if bool::from(is_one & known) {
            Outcome::Valid(Proof { user: user.to_owned(), platform: None, lifetime: None })
        } else {
            Outcome::Refused
        }
    }
}

impl fmt::Debug for TokenList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenList").field("users", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(list: &TokenList, user: &str, token: &str) -> bool {
        matches!(list.check(token, user), Outcome::Valid(proof) if proof.user == user)
    }

    #[test]
    fn a_token_opens_its_own_user() {
        let list = TokenList::parse("# users\n\nu1 tok-u1\nu1\ttok-other\r\nu2 tok-u2\n").expect("a list");
        assert_eq!(list.len(), 2);
        assert!(
            opens(&list, "u1", "tok-u1") && opens(&list, "u1", "tok-other") && opens(&list, "u2", "tok-u2")
        );
        for (user, token) in [("u1", "tok-u2"), ("u1", ""), ("u3", ""), ("u3", "tok-u1"), ("u1", "tok-u11")] {
            assert!(!opens(&list, user, token), "{user} {token}");
        }
        assert!(!format!("{list:?}").contains("tok"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, line) in [("u1", 1), ("u1 t\nu2 t x", 2)] {
            assert_eq!(TokenList::parse(text).err(), Some(TokenListError { line }));
        }
    }
}
