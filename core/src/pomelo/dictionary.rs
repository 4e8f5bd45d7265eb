//! The route dictionary: two-byte codes for routes that both sides know.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::message::ROUTE_MAX;

/// Routes and their codes, both ways. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary(Option<Arc<Tables>>);

#[derive(Debug, PartialEq, Eq)]
struct Tables {
    /// By route. Sorted slices, not hash tables: nothing that a peer sends can make a look-up slow.
    codes: Vec<(Bytes, u16)>,
    /// By code: where in `codes`.
    routes: Vec<(u16, u16)>,
}

impl Dictionary {
    /// A dictionary of `entries`. Codes start at 1: clients take 0 for no code.
    ///
    /// # Errors
    ///
    /// [`DictionaryError`], with the first entry that cannot be.
    pub fn new<R: AsRef<[u8]>>(entries: impl IntoIterator<Item = (R, u16)>) -> Result<Self, DictionaryError> {
        let mut codes = Vec::new();
        for (route, code) in entries {
            let route = route.as_ref();
            if route.is_empty() {
                return Err(DictionaryError::RouteEmpty { code });
            }
            if route.len() > ROUTE_MAX {
                return Err(DictionaryError::RouteTooLong { route: lossy(route) });
            }
            if code == 0 {
                return Err(DictionaryError::CodeZero { route: lossy(route) });
            }
            codes.push((Bytes::copy_from_slice(route), code));
        }
        Self::from_codes(codes)
    }

    /// A dictionary that gives `routes` the codes 1, 2, 3 … in their order.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`DictionaryError::Full`] for more than 65,535 routes.
    pub fn numbered<R: AsRef<[u8]>>(routes: impl IntoIterator<Item = R>) -> Result<Self, DictionaryError> {
        let mut entries = Vec::new();
        for route in routes {
            let code = u16::try_from(entries.len() + 1).map_err(|_| DictionaryError::Full)?;
            entries.push((route, code));
        }
        Self::new(entries)
    }

    /// The code of `route`.
    pub fn code(&self, route: &[u8]) -> Option<u16> {
        let tables = self.0.as_deref()?;
        let at = tables.codes.binary_search_by(|(known, _)| known.as_ref().cmp(route)).ok()?;
        Some(tables.codes[at].1)
    }

    /// The route that `code` stands for.
    pub fn route(&self, code: u16) -> Option<&Bytes> {
        let tables = self.0.as_deref()?;
        let at = tables.routes.binary_search_by_key(&code, |entry| entry.0).ok()?;
        Some(&tables.codes[usize::from(tables.routes[at].1)].0)
    }

    /// Whether there is no route in it.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.0.as_deref().map_or(0, |tables| tables.codes.len())
    }

    /// All routes with their codes, sorted by route.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u16)> {
        let codes = self.0.as_deref().map_or(&[][..], |tables| &tables.codes);
        codes.iter().map(|(route, code)| (route.as_ref(), *code))
    }

    fn from_codes(mut codes: Vec<(Bytes, u16)>) -> Result<Self, DictionaryError> {
        if codes.is_empty() {
            return Ok(Self::default());
        }
        codes.sort_unstable();
        if let Some(pair) = codes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(DictionaryError::RouteTwice { route: lossy(&pair[0].0) });
        }
        // Codes are unique and not 0, so there are at most 65,535 of them and each position fits.
        let mut routes: Vec<(u16, usize)> =
            codes.iter().enumerate().map(|(at, entry)| (entry.1, at)).collect();
        routes.sort_unstable();
        if let Some(pair) = routes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(DictionaryError::CodeTwice { code: pair[0].0 });
        }
        let routes = routes.into_iter().map(|(code, at)| (code, at as u16)).collect();
        Ok(Self(Some(Arc::new(Tables { codes, routes }))))
    }
}

/// A route as an operator can read it.
fn lossy(route: &[u8]) -> String {
    String::from_utf8_lossy(route).into_owned()
}

/// What is wrong with a dictionary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DictionaryError {
    /// A route without a name.
    #[error("dictionary: code {code} has an empty route")]
    RouteEmpty {
        /// Its code.
        code: u16,
    },
    /// A route that no message can carry.
    #[error("dictionary: route `{route}` is longer than 255 bytes")]
    RouteTooLong {
        /// The route.
        route: String,
    },
    /// One route with two codes.
    #[error("dictionary: route `{route}` is there twice")]
    RouteTwice {
        /// The route.
        route: String,
    },
    /// Code 0, which clients take for no code.
    #[error("dictionary: route `{route}` must not have code 0; codes start at 1")]
    CodeZero {
        /// The route.
        route: String,
    },
    /// One code for two routes.
    #[error("dictionary: code {code} is there twice")]
    CodeTwice {
        /// The code.
        code: u16,
    },
    /// More routes than there are codes.
    #[error("dictionary: more than 65535 routes")]
    Full,
}
