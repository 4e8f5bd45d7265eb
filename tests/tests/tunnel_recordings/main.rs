//! What was recorded of the originals, played to an end of ours: probes frame by frame, and whole sessions.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod frames;
mod probes;
mod sessions;
mod transcripts;
