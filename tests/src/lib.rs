#![forbid(unsafe_code)]
//! What the tests share: recorded vectors and the bodies of the fuzz targets.

// What lies beside the tests names this crate as they do.
extern crate self as linkspan_tests;

pub mod binary;
pub mod costs;
pub mod fuzz;
pub mod fuzz_chat;
pub mod fuzz_connection;
pub mod fuzz_edge;
pub mod fuzz_framing;
pub mod fuzz_http;
pub mod fuzz_hub;
pub mod fuzz_im;
pub mod fuzz_machines;
pub mod fuzz_tunnel;
pub mod fuzz_world;
pub mod harness;
pub mod laws;
pub mod memory;
pub mod models;
pub mod pair;
#[cfg(feature = "tls")]
pub mod secure;
pub mod transcripts;
pub mod tunnel;
pub mod vectors;
pub mod world;

// The examples of the documentation compile.
#[cfg(all(doctest, feature = "drivers"))]
#[doc = include_str!("../../README.md")]
struct Readme;
#[cfg(all(doctest, feature = "drivers"))]
#[doc = include_str!("../../docs/services.md")]
struct ServicesPage;
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct EmbeddingPage;
