#![forbid(unsafe_code)]
//! What the tests share: recorded vectors and the bodies of the fuzz targets.

pub mod fuzz;
pub mod fuzz_connection;
pub mod harness;
pub mod laws;
pub mod pair;
pub mod vectors;
