//! Randomness without a source: everything follows from a seed that the driver chose.

use core::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, and good enough for jitter; nothing secret depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A span from zero to just below `end`, in microseconds; zero if `end` is.
    pub(crate) fn span_below(&mut self, end: Duration) -> Duration {
        let end = u64::try_from(end.as_micros()).unwrap_or(u64::MAX);
        // The high half of a product maps the whole range evenly enough and needs no division.
        let picked = (u128::from(self.next_u64()) * u128::from(end)) >> 64;
        Duration::from_micros(picked as u64)
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every bit of `value` over all bits of the result.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the published reference program for seed 1234567.
    #[test]
    fn equals_the_reference() {
        let mut random = SplitMix::new(1_234_567);
        let outputs = [(); 3].map(|()| random.next_u64());
        assert_eq!(
            outputs,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
