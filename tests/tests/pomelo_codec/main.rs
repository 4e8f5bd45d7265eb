//! The pomelo codec: recorded vectors, laws, hostile input.

mod deflate;
mod dictionary;
mod difference;
mod js;
mod messages;
mod packages;
mod properties;
