//! What was recorded of the originals, played to an end of ours.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod sessions;
mod transcripts;
