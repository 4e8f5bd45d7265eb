//! The command line: everything a binary does besides naming its runtime.

mod agent;
mod args;
mod chat;
mod connect;
mod edge;
mod go_flags;
mod im;
mod input;
mod limits;
mod logging;
mod memory;
mod output;
mod pomelo;
mod proxy;
mod serve;
mod tunnel;
mod units;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use linkspan_runtime::Runtime;

use self::args::{Cli, Command};

/// The whole program on the runtime `R`: reads the command line, does what it says, and gives the exit code.
pub fn main<R: Runtime>() -> ExitCode {
    memory::keep_swing();
    let rewritten = go_flags::rewrite(std::env::args_os());
    let cli = match command::<R>()
        .try_get_matches_from(rewritten.args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard output is no reason to fail.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Done as u8 });
        }
    };
    // A client's output is for its user: nothing unusual, nothing said.
    let level = match cli.command {
        Command::Connect(_) => tracing::Level::WARN,
        _ if rewritten.debug == Some(true) => tracing::Level::DEBUG,
        Command::Serve(_) | Command::Agent(_) | Command::Demo(_) => tracing::Level::INFO,
    };
    let log = logging::start(cli.log.log_format, level);
    let outcome = match cli.command {
        Command::Serve(args) => serve::serve::<R>(&args),
        Command::Agent(args) => agent::agent::<R>(&args),
        Command::Demo(args) => serve::demo::<R>(&args),
        Command::Connect(args) => connect::connect::<R>(&args),
    };
    let code = match outcome {
        Ok(()) => Exit::Done as u8,
        Err(Failure { exit, text }) => {
            log.say(&format!("error: {text}\n"));
            exit as u8
        }
    };
    log.finish();
    ExitCode::from(code)
}

/// The command line with the name and the version of this binary.
fn command<R: Runtime>() -> clap::Command {
    let own = std::env::args_os().next();
    let own = own.as_deref().and_then(|path| Path::new(path).file_stem()).and_then(|name| name.to_str());
    let name = own.unwrap_or("linkspan").to_owned();
    let version = match option_env!("LINKSPAN_GIT_HASH") {
        Some(hash) => format!("{} ({hash}, {})", env!("CARGO_PKG_VERSION"), R::NAME),
        None => format!("{} ({})", env!("CARGO_PKG_VERSION"), R::NAME),
    };
    // Once per process: clap keeps what it is given for ever.
    let (name, version): (&'static str, &'static str) = (name.leak(), version.leak());
    let command = Cli::command().name(name).version(version);
    if std::env::args_os().any(|arg| arg == "-h") { without_env(command) } else { command }
}

/// The short help fits on one screen: the long one has the environment variables.
fn without_env(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_env(true)).mut_subcommands(without_env)
}

/// Exit codes besides those of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Bind = 3,
}

/// Why a command fails.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn new(exit: Exit, error: impl fmt::Display) -> Self {
        Self { exit, text: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_help_fits_a_terminal() {
        Cli::command().debug_assert();
        let mut command = without_env(Cli::command().name("linkspan").term_width(80));
        command.build();
        let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        assert!(command.render_help().to_string().lines().count() <= 24);
        for name in names {
            let sub = command.find_subcommand_mut(&name).expect("it was listed");
            let help = sub.render_help().to_string();
            assert!(help.lines().count() <= 24, "{help}");
            let long = sub.render_long_help().to_string();
            assert!(long.contains("Example"), "{long}");
        }
    }

    #[test]
    fn no_help_shows_a_token() {
        let command = Cli::command();
        for (name, id) in [
            ("connect", "user"),
            ("serve", "token"),
            ("serve", "peers"),
            ("serve", "agent_token"),
            ("agent", "token"),
        ] {
            let sub = command.find_subcommand(name).expect("it is there");
            let flag = sub.get_arguments().find(|flag| flag.get_id() == id).expect("it is there");
            assert!(flag.is_hide_env_values_set(), "{name} {id}");
        }
    }

    #[test]
    fn every_flag_of_serve_has_an_environment_variable() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").expect("it is there");
        for flag in serve.get_arguments().filter(|flag| flag.get_id() != "help") {
            let env = flag.get_env().and_then(|env| env.to_str()).unwrap_or_default();
            assert!(env.starts_with("LINKSPAN_"), "{}", flag.get_id());
        }
    }
}
