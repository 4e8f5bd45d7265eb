//! Requests, notifications, answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future::yield_now;
use linkspan_core::Limits;
use linkspan_gateway::demo;
use linkspan_gateway::services::{Json, Service, Services, plain};
use linkspan_gateway::session::{PushError, Session};
use linkspan_runtime::Runtime;

use crate::harness::{CARRIERS, World, code_of, expect_push};

/// Every third answer takes its time, and one handler pushes before it answers.
pub(crate) async fn answers_keep_the_order_of_requests<R: Runtime>(world: World<R>) {
    let runtime = world.runtime().clone();
    let echo = move |session: Session, body: Bytes| {
        let runtime = runtime.clone();
        async move {
            match body.last().map_or(0, |last| last % 3) {
                0 => runtime.sleep_until(Instant::now() + Duration::from_millis(3)).await,
                1 => yield_now().await,
                _ => {}
            }
            session.push("onEcho", body.clone())?;
            Ok::<_, PushError>(body)
        }
    };
    let gateway = world.start(Services::new().service(Service::new("Echo").request("Mixed", echo)));
    for carrier in CARRIERS {
        let client = world.connect(&gateway, carrier).await;
        let requests: Vec<_> =
            (0..100).map(|n: u32| (n, client.request("Echo.Mixed", n.to_string()))).collect();
        for (n, answer) in requests {
            assert_eq!(answer.await.unwrap(), n.to_string());
            // The push of each request was sent before its answer, those of later ones after it.
            expect_push(&client, "onEcho", &n.to_string()).await;
        }
    }
}

pub(crate) async fn sessions_run_in_parallel<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    let started = Instant::now();
    let mut clients = Vec::new();
    for carrier in CARRIERS.repeat(10) {
        clients.push(world.connect(&gateway, carrier).await);
    }
    let answers: Vec<_> = clients.iter().map(|client| client.request("Echo.Slow", r#"{"ms":300}"#)).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(4), "20 sleeps of 300 ms took {:?}", started.elapsed());
}

pub(crate) async fn many_in_flight_lose_nothing<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    for carrier in CARRIERS {
        let client = world.connect(&gateway, carrier).await;
        let requests: Vec<_> =
            (0..1024).map(|n: u32| (n, client.request("Echo.Raw", n.to_string()))).collect();
        for (n, answer) in requests {
            assert_eq!(answer.await.unwrap(), n.to_string());
        }
    }
}

pub(crate) async fn what_cannot_be_served_is_told<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    for carrier in CARRIERS {
        let client = world.connect(&gateway, carrier).await;
        for (route, body, code) in [
            ("No.Such", "", "PIT-404"),
            ("Echo.NoSuch", "", "PIT-404"),
            ("nodot", "", "PIT-400"),
            (".x", "", "PIT-400"),
            ("", "", "PIT-400"),
            ("Echo.JSON", "{", "PIT-400"),
            ("Echo.PushN", r#"{"n":"many"}"#, "PIT-400"),
            ("Echo.PushMe", "x", "PIT-400"),
            ("Echo.Fail", "", "ECHO-1"),
            ("Echo.Big", r#"{"size":16777215}"#, "PIT-500"),
        ] {
            assert_eq!(code_of(&client, route, body).await, code, "{route} {body}");
        }
        // Notifications that cannot be served, or that nobody wants the answer of, harm nobody.
        for route in ["No.Such", "nodot", "Echo.Raw", "Echo.Fail", "Echo.Panic"] {
            client.notify(route, "x").unwrap();
        }
        let failed = client.request("Echo.Fail", "").await.unwrap_err().error_body().unwrap();
        assert_eq!((failed.message.as_ref(), failed.metadata["k"].as_str()), ("asked to fail", "v"));
        assert_eq!(client.request("Echo.Raw", "still here").await.unwrap(), "still here");
        assert_eq!(client.request("Echo.Empty", "x").await.unwrap(), "");
        assert_eq!(client.request("Echo.Big", r#"{"size":100000}"#).await.unwrap(), "B".repeat(100_000));
    }
}

pub(crate) async fn a_panic_costs_one_request<R: Runtime>(world: World<R>) {
    let plain_panic = plain(|| -> &'static str { panic!("secret of a plain handler") });
    let late_panic = async || -> &'static str {
        yield_now().await;
        panic!("secret of a late handler")
    };
    let service = || Service::new("Bad").request("Plain", plain_panic).request("Late", late_panic);
    let hidden = world.start(demo::services(world.runtime()).service(service()));
    let shown = world.start(Services::new().service(service()).panic_text(true));
    for carrier in CARRIERS {
        let client = world.connect(&hidden, carrier).await;
        for route in ["Bad.Plain", "Bad.Late"] {
            let before = client.request("Echo.Raw", "before");
            let error = client.request(route, "").await.unwrap_err().error_body().unwrap();
            assert_eq!((error.code.as_ref(), error.message.as_ref()), ("PIT-000", "internal error"));
            assert_eq!(before.await.unwrap(), "before");
            assert_eq!(client.request("Echo.Raw", "after").await.unwrap(), "after");
        }
        let client = world.connect(&shown, carrier).await;
        let error = client.request("Bad.Late", "").await.unwrap_err().error_body().unwrap();
        assert_eq!(error.message, "secret of a late handler");
    }
}

pub(crate) async fn a_slow_handler_is_given_up<R: Runtime>(world: World<R>) {
    let gateway = world.start_with(demo::services(world.runtime()), |config| {
        let limits = Limits { request_timeout: Duration::from_millis(200), ..Limits::default() };
        config.host.limits = Arc::new(limits);
    });
    for carrier in CARRIERS {
        let client = world.connect(&gateway, carrier).await;
        let slow = client.request("Echo.Slow", r#"{"ms":60000}"#);
        assert_eq!(slow.await.unwrap_err().error_body().unwrap().code, "PIT-408");
        // The handler is gone, too: the next request has its turn.
        assert_eq!(client.request("Echo.Raw", "next").await.unwrap(), "next");
    }
}

/// Found by reading: a slow handler went on with requests whose callers had their 408, and so every next one was late, too.
pub(crate) async fn what_has_expired_is_not_worked_on<R: Runtime>(world: World<R>) {
    let seen = Arc::new(AtomicU32::new(0));
    let (count, runtime) = (Arc::clone(&seen), world.runtime().clone());
    let slow = move || {
        let (count, runtime) = (Arc::clone(&count), runtime.clone());
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            runtime.sleep_until(Instant::now() + Duration::from_millis(700)).await;
            "done"
        }
    };
    let services = demo::services(world.runtime()).service(Service::new("Late").request("Wait", slow));
    let gateway = world.start_with(services, |config| {
        let limits = Limits { request_timeout: Duration::from_secs(1), ..Limits::default() };
        config.host.limits = Arc::new(limits);
    });
    for carrier in CARRIERS {
        seen.store(0, Ordering::Relaxed);
        let client = world.connect(&gateway, carrier).await;
        let asked: Vec<_> = (0..8).map(|_| client.request("Late.Wait", "")).collect();
        let mut late = 0;
        for answer in asked {
            late +=
                usize::from(answer.await.is_err_and(|error| error.error_body().unwrap().code == "PIT-408"));
        }
        assert!(late >= 6, "{late} of 8 are late");
        assert_eq!(client.request("Echo.Raw", "next").await.unwrap(), "next");
        assert!(seen.load(Ordering::Relaxed) <= 3, "the others were not begun");
    }
}

/// Found by reading: a turn that came late, or that a handler had made long, began with all that was queued before it was
/// told what had expired.
pub(crate) async fn a_late_turn_begins_nothing_that_has_expired<R: Runtime>(world: World<R>) {
    let seen = Arc::new(AtomicU32::new(0));
    let (count, runtime) = (Arc::clone(&seen), world.runtime().clone());
    let slow = move || {
        let (count, runtime) = (Arc::clone(&count), runtime.clone());
        async move {
            if count.fetch_add(1, Ordering::Relaxed) == 0 {
                // All the others come meanwhile.
                runtime.sleep_until(Instant::now() + Duration::from_millis(400)).await;
                // No handler should do that, and some do.
                std::thread::sleep(Duration::from_millis(2_200));
            }
        }
    };
    let services = demo::services(world.runtime()).service(Service::new("Blocks").request("Once", slow));
    let gateway = world.start_with(services, |config| {
        let limits = Limits { request_timeout: Duration::from_secs(2), ..Limits::default() };
        config.host.limits = Arc::new(limits);
    });
    for carrier in CARRIERS {
        seen.store(0, Ordering::Relaxed);
        let client = world.connect(&gateway, carrier).await;
        let asked: Vec<_> = (0..8).map(|_| client.request("Blocks.Once", "")).collect();
        let mut late = 0;
        for answer in asked {
            late += usize::from(answer.await.is_err());
        }
        assert_eq!(client.request("Echo.Raw", "next").await.unwrap(), "next");
        let begun = seen.load(Ordering::Relaxed) as usize;
        assert_eq!(late, 8 - begun, "whoever is late was not begun");
        assert!(begun <= 2, "{begun} of 8 were begun");
    }
}

/// A client that tells a slow handler more than it can take is not read on, and loses nothing.
pub(crate) async fn a_flood_of_notifications_is_pushed_back<R: Runtime>(world: World<R>) {
    let seen = Arc::new(AtomicU32::new(0));
    let (count, runtime) = (Arc::clone(&seen), world.runtime().clone());
    let slow = move || {
        let (count, runtime) = (Arc::clone(&count), runtime.clone());
        async move {
            if count.fetch_add(1, Ordering::Relaxed) == 0 {
                runtime.sleep_until(Instant::now() + Duration::from_millis(300)).await;
            }
        }
    };
    let gateway = world.start(Services::new().service(Service::new("Slow").notify("Down", slow)));
    for carrier in CARRIERS {
        seen.store(0, Ordering::Relaxed);
        let before = gateway.host().stats().traffic().bytes_in;
        let client = world.connect(&gateway, carrier).await;
        let body = Bytes::from(vec![b'x'; 10_000]);
        for _ in 0..3_000 {
            client.notify("Slow.Down", body.clone()).unwrap();
        }
        world.sleep(150).await;
        let read = gateway.host().stats().traffic().bytes_in - before;
        assert!(read < 20_000_000, "30 MB were sent, {read} were read while the handler slept");
        world.until("all were told", || seen.load(Ordering::Relaxed) == 3_000).await;
    }
}

pub(crate) async fn pushes_of_any_number_arrive<R: Runtime>(world: World<R>) {
    let gateway = world.start(demo::services(world.runtime()));
    for carrier in CARRIERS {
        let client = world.connect(&gateway, carrier).await;
        let answer = client.request("Echo.PushN", r#"{"n":20000,"size":200,"route":"onMany"}"#);
        let pad = "x".repeat(200);
        for i in 0..20_000 {
            expect_push(&client, "onMany", &format!(r#"{{"i":{i},"pad":"{pad}"}}"#)).await;
        }
        assert_eq!(answer.await.unwrap(), r#"{"accepted":20000,"asked":20000}"#);
    }
}

/// JavaScript clients write surrogates one by one.
pub(crate) async fn characters_beyond_the_basic_plane<R: Runtime>(world: World<R>) {
    let length = plain(|Json(text): Json<String>| Json(text.chars().count()));
    let gateway =
        world.start(demo::services(world.runtime()).service(Service::new("Text").request("Len", length)));
    let client = world.connect(&gateway, CARRIERS[0]).await;
    let cesu = &b"\"\xed\xa0\xbd\xed\xb8\x80!\""[..];
    assert_eq!(client.request("Text.Len", cesu).await.unwrap(), "2");
    assert_eq!(client.request("Echo.JSON", cesu).await.unwrap(), "\"\u{1f600}!\"");
    // Bytes stay bytes.
    assert_eq!(client.request("Echo.Raw", cesu).await.unwrap(), cesu);
}

pub(crate) fn services_that_cannot_be() {
    use linkspan_core::pomelo::ErrorBody;
    use linkspan_gateway::server::{Config, Gateway, StartError};
    use linkspan_gateway::services::ServicesError;
    use linkspan_runtime::{Placement, Workers};
    use linkspan_tokio::Tokio;

    let _ = ErrorBody::new("X", "");
    let ok = || plain(|| ());
    let cases = [
        (Service::new("").request("a", ok()), "`.` is"),
        (Service::new("a").request("", ok()), "`a.` is"),
        (Service::new("a").request("b.c", ok()), "`a.b.c` is"),
        (Service::new("a").request("x".repeat(255), ok()), "longer than 255"),
        (Service::new("a").request("b", ok()).notify("b", ok()), "`a.b` is there twice"),
    ];
    Tokio::run(Placement::WorkStealing, std::num::NonZeroUsize::MIN, |workers: Workers<Tokio>| async move {
        for (service, text) in cases {
            let started = Gateway::start(&workers, Config::default(), Services::new().service(service));
            let Err(StartError::Services(error)) = started else { panic!("started with {text}") };
            assert!(error.to_string().contains(text), "{error}");
            let _: ServicesError = error;
        }
    })
    .unwrap();
}
