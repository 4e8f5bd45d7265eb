//! The IM listener, from the command line.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use linkspan_core::Limits;
use linkspan_core::hub::{Admission, DevicePolicy, Platform};
use linkspan_core::im::{self, ChecksConfig};
use linkspan_runtime::Runtime;

use super::args::ImArgs;
use super::units::parse_duration;
use super::{Exit, Failure};
use crate::im::{Config, Hs256, ImService, TokenCheck, TokenList, TokenServer, backend};

/// How tokens are checked, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum TokenSource {
    None,
    List(PathBuf),
    Hs256(PathBuf),
    Server(String),
}

impl FromStr for TokenSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            Some(("static", file)) if !file.is_empty() => Ok(Self::List(file.into())),
            Some(("hs256", file)) if !file.is_empty() => Ok(Self::Hs256(file.into())),
            // As a whole, or with a word before it.
            Some(("http", url)) if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Self::Server(url.into()))
            }
            Some(("http" | "https", rest)) if rest.starts_with("//") => Ok(Self::Server(text.into())),
            _ => Err("write none, static:FILE, hs256:FILE or http:URL"),
        }
    }
}

/// What clients can call, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Backend {
    None,
    Memory,
    Echo(Duration),
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.split_once(':')) {
            ("none", _) => Ok(Self::None),
            ("memory", _) => Ok(Self::Memory),
            ("echo", _) => Ok(Self::Echo(Duration::ZERO)),
            (_, Some(("echo", delay))) => parse_duration(delay).map(Self::Echo),
            _ => Err("write memory, echo, echo:TIME or none".into()),
        }
    }
}

/// A device policy by its number.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Policy(DevicePolicy);

impl FromStr for Policy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok();
        number.and_then(DevicePolicy::from_number).map(Self).ok_or("write 0, 1, 4 or 5")
    }
}

/// Who hears replies.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Deliver(im::Deliver);

impl FromStr for Deliver {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self(im::Deliver::AllPlatforms));
        }
        let platform = text.parse().ok().and_then(Platform::new);
        platform
            .map(|platform| Self(im::Deliver::ServerPlatform(platform)))
            .ok_or("write all, or a platform by its number: 5 is Web")
    }
}

/// `None` if no listener was asked for.
pub(super) fn config(args: &ImArgs) -> Result<Option<Config>, Failure> {
    let Some(listen) = args.im else { return Ok(None) };
    let Some(source) = &args.im_token else {
        let text = "--im needs --im-token: none, static:FILE, hs256:FILE or http:URL";
        return Err(Failure::new(Exit::Usage, text));
    };
    let unless_zero = |span: Duration| (!span.is_zero()).then_some(span);
    Ok(Some(Config {
        token: token(source, args.im_token_leeway)?,
        checks: ChecksConfig {
            timeout: args.im_token_timeout,
            waiting: args.im_token_waiting,
            remember: args.im_token_remember,
            ..ChecksConfig::default()
        },
        admission: Admission::Devices(args.im_policy.0),
        deliver: args.im_deliver.0,
        connections: args.im_connections,
        ping: unless_zero(args.im_ping),
        silence: unless_zero(args.im_silence),
        receive_max: args.im_receive_max,
        ..Config::new(listen)
    }))
}

/// The limits that are the hub's.
pub(super) fn limits(args: &ImArgs, limits: &mut Limits) {
    limits.sessions_per_platform = args.im_per_platform;
    limits.sessions_per_key = args.im_per_user.unwrap_or(limits.sessions_per_key);
}

/// The functions.
pub(super) fn service<R: Runtime>(args: &ImArgs, runtime: &R) -> ImService {
    match args.im_backend {
        Backend::None => ImService::new(),
        Backend::Memory => backend::functions(backend::Memory::default()),
        Backend::Echo(delay) => backend::echo(runtime, delay),
    }
}

fn token(source: &TokenSource, leeway: Duration) -> Result<TokenCheck, Failure> {
    let failure = |text: String| Failure::new(Exit::Usage, format!("--im-token: {text}"));
    let read = |file: &PathBuf| {
        fs::read(file).map_err(|error| failure(format!("cannot read {}: {error}", file.display())))
    };
    Ok(match source {
        TokenSource::None => TokenCheck::None,
        TokenSource::List(file) => {
            let text = read(file)?;
            let text =
                String::from_utf8(text).map_err(|_| failure(format!("{} is not UTF-8", file.display())))?;
            let list = TokenList::parse(&text);
            TokenCheck::List(list.map_err(|error| failure(format!("{}, {error}", file.display())))?)
        }
        TokenSource::Hs256(file) => {
            let secret = read(file)?;
            let secret = secret.trim_ascii_end();
            if secret.is_empty() {
                return Err(failure(format!("{} is empty: put the secret into it", file.display())));
            }
            if secret.len() < 32 {
                tracing::warn!(
                    bytes = secret.len(),
                    "the secret of tokens is shorter than 32 bytes: it can be guessed"
                );
            }
            TokenCheck::Hs256(Hs256::new(secret, leeway))
        }
        TokenSource::Server(url) => {
            TokenCheck::Server(TokenServer::parse(url).map_err(|error| failure(error.to_string()))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, source) in [
            ("none", TokenSource::None),
            ("static:/a:b", TokenSource::List("/a:b".into())),
            ("hs256:secret", TokenSource::Hs256("secret".into())),
            ("http://h/p", TokenSource::Server("http://h/p".into())),
            ("http:http://h:1/p", TokenSource::Server("http://h:1/p".into())),
        ] {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
        assert_eq!("http:https://h/".parse(), Ok(TokenSource::Server("https://h/".into())));
        for text in ["", "static:", "hs256", "http:", "http:h", "none:"] {
            assert!(text.parse::<TokenSource>().is_err(), "{text}");
        }
        assert_eq!("echo:1200ms".parse(), Ok(Backend::Echo(Duration::from_millis(1200))));
        assert!("echo:".parse::<Backend>().is_err() && "x".parse::<Backend>().is_err());
        assert!("2".parse::<Policy>().is_err() && "5".parse::<Policy>().is_ok());
        assert!("5".parse::<Deliver>().is_ok() && "32".parse::<Deliver>().is_err());
    }
}
