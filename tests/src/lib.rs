//! What the tests share: recorded vectors and the bodies of the fuzz targets.

pub mod fuzz;
pub mod laws;
pub mod vectors;
