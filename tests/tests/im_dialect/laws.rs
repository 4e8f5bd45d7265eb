//! Random lives of both ends: every step is checked by the harness.

use linkspan_tests::fuzz_im::{im_client, im_life};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    /// Total, bounded, no spin, early is free, close is last, bounded memory; same in, same out.
    #[test]
    fn a_server_keeps_the_laws_of_every_step(data in vec(any::<u8>(), 0..1500)) {
        prop_assert_eq!(im_life(&data), im_life(&data));
    }

    #[test]
    fn a_client_keeps_the_laws_of_every_step(data in vec(any::<u8>(), 0..1500)) {
        im_client(&data);
    }
}
