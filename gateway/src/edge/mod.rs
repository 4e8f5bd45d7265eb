//! What stands between the listeners and strangers: proxies that speak for others, pages of other hosts, refusals.

mod proxy;
mod refusal;

use linkspan_core::edge::Origins;

pub(crate) use self::proxy::read_header;
pub(crate) use self::refusal::{Refusals, too_many, too_many_failures};

/// What an operator decides about strangers. Who is a trusted proxy is said in
/// [`HostConfig::trusted`](linkspan_runtime::HostConfig::trusted), how much an address may do in the limits.
#[derive(Clone, Debug, Default)]
pub struct EdgeConfig {
    /// The pages that may open a WebSocket. Default: those of the same host.
    pub origins: Origins,
    /// Connections from trusted proxies begin with a PROXY header, version 1 or 2. Default: they do not.
    pub proxy_protocol: bool,
}
