//! How the process and the system share memory.

use std::hint::black_box;

/// What buffers that come and go take together while data flows, in bytes.
const SWING: usize = 1024 * 1024;

/// Has the C library keep what is freed for the next buffer, up to a little.
///
/// glibc gives the top of a heap back to the system from 128 KiB on. Tunnels free and take pieces of 64 KiB all the
/// time, so each would be given back, taken, cleared and mapped anew. glibc moves that
/// bound to twice the largest block that it has mapped and freed again (mallopt(3), `M_MMAP_THRESHOLD`), unless its
/// environment variables say otherwise; other libraries do nothing here.
pub(super) fn keep_swing() {
    drop(black_box(Vec::<u8>::with_capacity(SWING)));
}
