//! The dials that an agent has on their way, by where they go.

use std::collections::BTreeMap;

use linkspan_core::Mark;
use linkspan_core::tunnel::StreamId;
use linkspan_core::tunnel::policy::{Crowd, Destination};

use super::tunnel::Mode;

/// Dials of one end of a tunnel that have not ended.
#[derive(Debug)]
pub(super) struct Dials {
    crowd: Crowd,
    under_way: BTreeMap<StreamId, Destination>,
}

impl Dials {
    /// No dial yet; so many may go to one place at a time.
    pub(super) const fn new(most: u32) -> Self {
        Self { crowd: Crowd::new(most), under_way: BTreeMap::new() }
    }

    /// A dial to a target of that kind begins, unless too many are on their way there; targets share two places.
    pub(super) fn begin(&mut self, stream: StreamId, mode: Mode) -> Result<(), Mark> {
        let address = format!("127.0.0.{}:80", 1 + mode as u8 / 4);
        let place = Destination::parse(b"tcp", address.as_bytes()).expect("an address");
        self.crowd.enter(&place)?;
        self.under_way.insert(stream, place);
        Ok(())
    }

    /// A dial has ended, one way or another, if it had not yet.
    pub(super) fn end(&mut self, stream: StreamId) {
        if let Some(place) = self.under_way.remove(&stream) {
            self.crowd.leave(&place);
        }
    }

    /// The tunnel is over, and all its dials are.
    pub(super) fn end_all(&mut self) {
        for (_, place) in std::mem::take(&mut self.under_way) {
            self.crowd.leave(&place);
        }
        assert_eq!(self.crowd.targets(), 0, "A9: a dial is still counted");
    }
}
