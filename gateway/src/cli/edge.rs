//! Who may come in, from the command line.

use linkspan_core::edge::Origins;

use super::args::EdgeArgs;
use super::{Exit, Failure};
use crate::server::EdgeConfig;

pub(super) fn config(args: &EdgeArgs) -> Result<EdgeConfig, Failure> {
    let origins = Origins::listed(args.origin.iter().map(String::as_str))
        .map_err(|error| Failure::new(Exit::Usage, format_args!("--origin: {error}")))?;
    Ok(EdgeConfig { origins, proxy_protocol: args.proxy_protocol })
}
