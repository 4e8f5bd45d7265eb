//! Naive references: what a machine does, said as plainly as possible. Slow, and obviously right.

pub mod pool;
pub mod router;
