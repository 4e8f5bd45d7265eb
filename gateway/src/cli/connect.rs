//! `connect`: a small pomelo client for people and scripts.

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::FutureExt;
use linkspan_core::Limits;
use linkspan_core::pomelo::{ClientConfig, decode_text};
use linkspan_runtime::{Placement, Runtime};
use serde_json::value::RawValue;

use super::args::ConnectArgs;
use super::input::Lines;
use super::units::parse_duration;
use super::{Exit, Failure, output};
use crate::client::{Client, Dialer, FailedRequest, Message, Target};

pub(super) fn connect<R: Runtime>(args: &ConnectArgs) -> Result<(), Failure> {
    let target = Target::resolve(&args.url).map_err(|error| Failure::new(Exit::Usage, error))?;
    let config = ClientConfig { handshake: hello(args.user.as_deref())?, ..ClientConfig::default() };
    let limits = Limits {
        request_timeout: args.timeout,
        receive_max: Limits::BODY_MAX,
        inflate_max: Limits::BODY_MAX,
        ..Limits::default()
    };
    limits.validate().map_err(|error| Failure::new(Exit::Usage, error))?;
    let done = R::run(Placement::WorkStealing, NonZeroUsize::MIN, |workers| async move {
        let runtime = workers.first().clone();
        let dialer = Dialer::with_limits(runtime.clone(), limits).config(config).timeout(args.timeout);
        let client = dialer.connect(&target).await.map_err(|error| Failure::new(Exit::Failed, error))?;
        let hello = client.hello().await.unwrap_or_default();
        eprint_line(&format!("connected to {target}: {}", decode_text(&hello)));
        talk(&runtime, &client, args.linger, args.json).await
    });
    done.map_err(|error| Failure::new(Exit::Failed, error))?
}

/// The handshake's body, with the application's part in it.
fn hello(user: Option<&str>) -> Result<Bytes, Failure> {
    let plain = ClientConfig::default().handshake;
    let Some(user) = user else { return Ok(plain) };
    let user: Box<RawValue> = serde_json::from_str(user)
        .map_err(|error| Failure::new(Exit::Usage, format_args!("--user is not JSON: {error}")))?;
    let mut body = plain.to_vec();
    // The default body is an object: its last brace makes room for one more member.
    body.pop();
    body.extend_from_slice(br#","user":"#);
    body.extend_from_slice(user.get().as_bytes());
    body.push(b'}');
    Ok(body.into())
}

/// A message for people; a closed standard error is no reason to fail.
fn eprint_line(text: &str) {
    use io::Write;
    let _ = writeln!(io::stderr(), "{text}");
}

async fn talk<R: Runtime>(runtime: &R, client: &Client, linger: Duration, json: bool) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        eprint_line("request ROUTE [BODY] · notify ROUTE [BODY] · wait TIME · quit");
    }
    let failed = AtomicBool::new(false);
    let watch = async {
        while let Some(Message { route, body }) = client.next_push().await {
            print("push", &route, &body, json);
        }
        let reason = client.ended().await;
        // An answer that came before the end is printed before it.
        futures_lite::future::yield_now().await;
        Some(reason)
    };
    let work = async {
        let lines = Lines::of_stdin().map_err(|error| Failure::new(Exit::Failed, error))?;
        while let Some(line) = lines.next().await {
            match perform(runtime, client, &line, json).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(()) => failed.store(true, Ordering::Relaxed),
            }
        }
        runtime.sleep_until(Instant::now() + linger).await;
        Ok::<_, Failure>(None)
    };
    let closed = async { Ok(watch.await) }.or(work).await?;
    if let Some(reason) = closed {
        let told = client.kicked().map(|body| format!(" {}", decode_text(&body))).unwrap_or_default();
        return Err(Failure::new(
            Exit::Failed,
            format_args!("the server ended the connection: {reason}{told}"),
        ));
    }
    client.close().await;
    print_pushes(client, json);
    if failed.load(Ordering::Relaxed) { Err(Failure::new(Exit::Failed, "a request failed")) } else { Ok(()) }
}

/// Does what one line says; whether to go on, or an error that was told already.
async fn perform<R: Runtime>(runtime: &R, client: &Client, line: &str, json: bool) -> Result<bool, ()> {
    let mut words = line.trim().splitn(3, char::is_whitespace);
    let (verb, what, body) = (words.next().unwrap_or(""), words.next(), words.next().unwrap_or("").trim());
    match (verb, what) {
        ("" | "#", _) => {}
        ("quit" | "exit", _) => return Ok(false),
        ("request", Some(route)) => {
            let answer = client.request(route.to_owned(), body.to_owned()).await;
            // What came before the answer is printed before it.
            print_pushes(client, json);
            match answer {
                Ok(answer) => print("answer", route.as_bytes(), &answer, json),
                Err(FailedRequest::Server(error)) => {
                    print("error", route.as_bytes(), &error, json);
                    return Err(());
                }
                Err(error) => {
                    eprint_line(&format!("{route}: {error}"));
                    return Err(());
                }
            }
        }
        ("notify", Some(route)) => {
            if let Err(error) = client.notify(route.to_owned(), body.to_owned()) {
                eprint_line(&format!("{route}: {error}"));
                return Err(());
            }
        }
        ("wait", Some(time)) => match parse_duration(time) {
            Ok(time) => runtime.sleep_until(Instant::now() + time).await,
            Err(error) => {
                eprint_line(&error);
                return Err(());
            }
        },
        _ => {
            eprint_line(&format!("not understood: {line}"));
            return Err(());
        }
    }
    Ok(true)
}

fn print_pushes(client: &Client, json: bool) {
    while let Some(Message { route, body }) = client.try_next_push() {
        print("push", &route, &body, json);
    }
}

fn print(kind: &str, route: &[u8], body: &[u8], json: bool) {
    let (route, text) = (decode_text(route), decode_text(body));
    if !json {
        return output::line(format!("{kind} {route} {text}").trim_end());
    }
    let value = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) => value,
        Err(_) => serde_json::Value::from(text.as_ref()),
    };
    output::line(&serde_json::json!({ "kind": kind, "route": route, "body": value }).to_string());
}
