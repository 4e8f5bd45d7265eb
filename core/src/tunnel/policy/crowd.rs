//! How many dials go to one place at a time.

use alloc::collections::BTreeMap;

use super::Destination;
use crate::Mark;

/// Counts the dials of an agent that are not finished, by where they go: a server, or all of them together, cannot
/// have it flood one target.
///
/// Its entries are dials on their way, whose number [`Limits::tunnel_dials`](crate::Limits::tunnel_dials) bounds for
/// each session. Names are counted as the address that is dialled, so no spelling gets around it.
///
/// ```
/// use linkspan_core::Mark;
/// use linkspan_core::tunnel::policy::{Crowd, Destination};
///
/// let mut crowd = Crowd::new(1);
/// let [one, same] = ["127.0.0.1:80", "0x7f.1:80"].map(|text| Destination::parse(b"tcp", text.as_bytes()).unwrap());
/// assert_eq!(crowd.enter(&one), Ok(()));
/// assert_eq!(crowd.enter(&same), Err(Mark::TargetFull));
/// crowd.leave(&one);
/// assert_eq!(crowd.enter(&same), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct Crowd {
    most: u32,
    dialling: BTreeMap<Destination, u32>,
}

impl Crowd {
    /// Nobody is dialling; at most `most` may dial one place
    /// ([`Limits::tunnel_dials_per_target`](crate::Limits::tunnel_dials_per_target)).
    pub const fn new(most: u32) -> Self {
        Self { most, dialling: BTreeMap::new() }
    }

    /// Counts a dial to `destination`; each that was counted [leaves](Self::leave) once.
    ///
    /// # Errors
    ///
    /// What to count where as many go there as may.
    pub fn enter(&mut self, destination: &Destination) -> Result<(), Mark> {
        match self.dialling.get_mut(destination) {
            Some(count) if *count >= self.most => return Err(Mark::TargetFull),
            Some(count) => *count += 1,
            None => _ = self.dialling.insert(destination.clone(), 1),
        }
        Ok(())
    }

    /// A dial has succeeded, failed, or was given up.
    pub fn leave(&mut self, destination: &Destination) {
        if let Some(count) = self.dialling.get_mut(destination) {
            *count -= 1;
            if *count == 0 {
                self.dialling.remove(destination);
            }
        }
    }

    /// To how many places dials are on their way.
    pub fn targets(&self) -> usize {
        self.dialling.len()
    }
}
