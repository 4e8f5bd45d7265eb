//! The pomelo dialect, from the command line.

use linkspan_core::pomelo::{Dictionary, ErrorAnswers, ServerConfig};

use super::args::{ErrorsArg, PomeloArgs};
use super::{Exit, Failure};

pub(super) fn config(args: &PomeloArgs) -> Result<ServerConfig, Failure> {
    let dictionary = dictionary(&args.dictionary)?;
    Ok(ServerConfig {
        dictionary,
        strict_boundaries: args.strict_boundaries,
        ack_without_handshake: args.ack_without_handshake,
        errors: match args.errors {
            ErrorsArg::Pitaya => ErrorAnswers::Pitaya,
            ErrorsArg::None => ErrorAnswers::None,
        },
        deflate_above: args.deflate_above,
        ..ServerConfig::default()
    })
}

/// `ROUTE=CODE` has the code it says, every other route that of its place.
fn dictionary(entries: &[String]) -> Result<Dictionary, Failure> {
    let mut routes = Vec::with_capacity(entries.len());
    for (entry, place) in entries.iter().zip(1..=u16::MAX) {
        routes.push(match entry.split_once('=') {
            None => (entry.as_str(), place),
            Some((route, code)) => match code.parse() {
                Ok(code) => (route, code),
                Err(_) => {
                    let text = format!("--dictionary {entry}: the code must be a number from 1 to 65535");
                    return Err(Failure::new(Exit::Usage, text));
                }
            },
        });
    }
    if routes.len() < entries.len() {
        return Err(Failure::new(Exit::Usage, "--dictionary: at most 65535 routes"));
    }
    Dictionary::new(routes).map_err(|error| Failure::new(Exit::Usage, error))
}
