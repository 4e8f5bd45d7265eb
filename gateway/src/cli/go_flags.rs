//! Flags as the original programs take them: `-listen :8123`, `-id=first`, `-debug=false`.

use std::ffi::OsString;

/// Flags of the originals that are flags of ours with two dashes.
const SAME: [&str; 4] = ["id", "token", "peers", "connect"];

/// What a command line of the originals means here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// With our flags.
    pub(super) args: Vec<OsString>,
    /// Whether everything shall be logged, if that was said.
    pub(super) debug: Option<bool>,
}

/// Rewrites the flags of the originals behind `serve` and `agent`; everything else stays as it is.
pub(super) fn rewrite(args: impl IntoIterator<Item = OsString>) -> Rewritten {
    let mut args = args.into_iter();
    let mut out: Vec<_> = args.by_ref().take(1).collect();
    let mut debug = None;
    let mut is_ours = true;
    while let Some(arg) = args.next() {
        let text = arg.to_str().unwrap_or_default();
        if text == "--" {
            out.push(arg);
            out.extend(args.by_ref());
            break;
        }
        if is_ours && !text.starts_with('-') {
            is_ours = !matches!(text, "serve" | "agent");
            out.push(arg);
            continue;
        }
        let Some((name, value)) = flag(text).filter(|_| !is_ours) else {
            out.push(arg);
            continue;
        };
        match name {
            "debug" => {
                let is_true = |value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
                debug = Some(value.is_none_or(is_true));
            }
            "listen" => {
                let value = value.map(OsString::from).or_else(|| args.next());
                out.extend(["--tunnel".into(), "--http".into()]);
                out.extend(value.map(|value| listen(&value)));
            }
            name => {
                out.push(format!("--{name}").into());
                out.extend(value.map(OsString::from).or_else(|| args.next()));
            }
        }
    }
    Rewritten { args: out, debug }
}

/// The name of a flag of the originals, and the value behind its `=`. With one dash or two, but ours have two and a
/// value that stands alone.
fn flag(text: &str) -> Option<(&str, Option<&str>)> {
    let is_double = text.starts_with("--");
    let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
    let is_known = match name {
        "listen" | "debug" => true,
        name => !is_double && SAME.contains(&name),
    };
    is_known.then_some((name, value))
}

/// `:8123` is every address of the machine.
fn listen(value: &OsString) -> OsString {
    match value.to_str() {
        Some(port) if port.starts_with(':') => format!("0.0.0.0{port}").into(),
        Some(host) if host.starts_with("localhost:") => host.replacen("localhost", "127.0.0.1", 1).into(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str, debug: Option<bool>) {
        let rewritten = rewrite(line.split(' ').map(OsString::from));
        let args: Vec<_> = rewritten.args.iter().map(|arg| arg.to_str().expect("text")).collect();
        assert_eq!((args.join(" ").as_str(), rewritten.debug), (expected, debug), "{line}");
    }

    #[test]
    fn flags_of_the_originals() {
        check(
            "linkspan serve -listen :8123 -id first -token aaa -peers second:bbb:ws://127.0.0.1:8124/connect",
            "linkspan serve --tunnel --http 0.0.0.0:8123 --id first --token aaa --peers second:bbb:ws://127.0.0.1:8124/connect",
            None,
        );
        check(
            "linkspan serve --listen=127.0.0.1:1 -debug",
            "linkspan serve --tunnel --http 127.0.0.1:1",
            Some(true),
        );
        check(
            "linkspan agent -connect=ws://h/connect -id foo -debug=false",
            "linkspan agent --connect ws://h/connect --id foo",
            Some(false),
        );
        check(
            "linkspan --log-format json agent -id -token",
            "linkspan --log-format json agent --id -token",
            None,
        );
    }

    #[test]
    fn ours_stay() {
        for line in [
            "linkspan",
            "linkspan -h",
            "linkspan demo -id x",
            "linkspan serve --http 127.0.0.1:0 --id first --token=x -h",
            "linkspan agent -- -id x",
            "linkspan connect ws://h -connect x",
            "linkspan agent -idx y",
        ] {
            check(line, line, None);
        }
    }

    #[test]
    fn a_value_may_be_missing() {
        check("linkspan serve -listen", "linkspan serve --tunnel --http", None);
        check("linkspan agent -id", "linkspan agent --id", None);
    }
}
