//! What a machine says it holds against what the allocator gave it: a cap on memory is worth what the count is worth.
//!
//! The counters are the whole process's, so everything here is one test.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use linkspan_core::gate::Gate;
use linkspan_core::hub::directory::{self, Directory, Scope};
use linkspan_core::hub::{self, Address, Admission, Badge, Device, Hub, Platform};
use linkspan_core::pomelo::{Server, ServerCommand};
use linkspan_core::services::{self, NodeId, Services};
use linkspan_core::tunnel::{ClientSession, Role, TunnelCommand, TunnelConfig};
use linkspan_core::wheel::Wheel;
use linkspan_core::{
    Actions, Bytes, ConnId, Connection, Event, GroupId, Instant, Key, Limits, Machine, Opcode, Overflow,
    Push, Route, ServiceName, To,
};
use linkspan_tests::tunnel::End;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is left on the heap of `build`, and what `count` says of it.
fn weigh<T>(build: impl FnOnce() -> T, count: impl FnOnce(&T) -> usize) -> (usize, usize) {
    let region = Region::new(ALLOCATOR);
    let built = build();
    let change = region.change();
    (change.bytes_allocated - change.bytes_deallocated, count(&built))
}

/// A name whose bytes, with the head of their allocation, leave no gap before the next one.
fn name(number: u64) -> String {
    format!("{number:048}")
}

fn key(number: u64) -> Key {
    Key::new(name(number)).unwrap()
}

fn address(conn: u64) -> Address<u64> {
    Address { conn: ConnId(conn), mailbox: conn }
}

fn a_hub(
    limits: &Arc<Limits>,
    admission: Admission,
    routes: impl FnOnce(&mut dyn FnMut(u64, Route)),
) -> Hub<u64> {
    let mut hub = Hub::new(hub::Config { seed: 7, admission, limits: Arc::clone(limits) });
    let mut actions = Actions::new();
    routes(&mut |conn, route| {
        let event = hub::Event::Routed { from: Some(address(conn)), route };
        hub.handle_event(Instant::ORIGIN, event, &mut actions);
        drop(actions.drain());
    });
    hub
}

/// Tells a hub what it is asked.
type Script<'a> = &'a dyn Fn(&mut dyn FnMut(u64, Route));
/// Gives a directory its events.
type Story<'a> = &'a dyn Fn(&mut dyn FnMut(directory::Event<u64>));

fn hubs() -> Vec<(&'static str, (usize, usize))> {
    let limits = Arc::new(Limits { sessions_per_platform: 1_000, ..Limits::default() });
    let badge = |platform| Badge { device: Device::of(platform), token: 1, admission: None };
    let many = Admission::Many;
    let weigh = |routes: Script<'_>, admission| weigh(|| a_hub(&limits, admission, routes), Hub::footprint);
    let one_each = |tell: &mut dyn FnMut(u64, Route)| {
        (0..500).for_each(|conn| tell(conn, Route::Register { key: key(conn), badge: badge(Platform::WEB) }));
    };
    let several = |tell: &mut dyn FnMut(u64, Route)| {
        for conn in 0..500 {
            let platform = if conn % 2 == 0 { Platform::WEB } else { Platform::IOS };
            tell(conn, Route::Register { key: key(conn % 3), badge: badge(platform) });
        }
        // A message to all of them leaves a list of them behind.
        let push = Push::new(&b"onTest"[..], &b"hello"[..], Overflow::Close);
        tell(0, Route::Publish { to: To::Key(key(0)), push });
    };
    let left = |tell: &mut dyn FnMut(u64, Route)| {
        for conn in 0..500 {
            tell(conn, Route::Register { key: key(conn % 3), badge: badge(Platform::WEB) });
            tell(conn, Route::Join(GroupId::new(name(conn % 5)).unwrap()));
        }
        for conn in (0..500).filter(|conn| conn % 7 > 0) {
            tell(conn, Route::Unregister(key(conn % 3)));
            tell(conn, Route::Leave(GroupId::new(name(conn % 5)).unwrap()));
        }
    };
    let other_tables = |tell: &mut dyn FnMut(u64, Route)| {
        for conn in 0..300 {
            tell(conn, Route::Reserve { key: key(conn), badge: badge(Platform::WEB) });
            tell(conn, Route::Watch(key(conn % 40)));
            tell(conn, Route::Join(GroupId::new(name(conn % 20)).unwrap()));
        }
    };
    let storm = |tell: &mut dyn FnMut(u64, Route)| {
        for conn in 0..900 {
            tell(conn, Route::Register { key: key(conn % 300), badge: badge(Platform::WEB) });
        }
    };
    vec![
        ("keys with one session", weigh(&one_each, many)),
        ("keys with many sessions", weigh(&several, many)),
        ("those that are left of many", weigh(&left, many)),
        ("places, watchers and groups", weigh(&other_tables, many)),
        ("keys that were taken", weigh(&storm, Admission::NewestWins)),
    ]
}

fn a_server() -> (usize, usize) {
    let (limits, config) = (Arc::new(Limits::default()), Arc::default());
    // The names of groups are shared with the hub, and counted there.
    let groups: Vec<GroupId> = (0..100).map(|group| GroupId::new(name(group)).unwrap()).collect();
    let build = || {
        let mut actions = Actions::new();
        let mut server = Connection::new(Server::new(config), limits, Instant::ORIGIN, &mut actions);
        let mut give = |event| {
            server.handle_event(Instant::ORIGIN, event, &mut actions);
            drop(actions.drain());
        };
        let piece = |text: &'static [u8]| Event::Received(Opcode::Stream, Bytes::from_static(text));
        give(piece(b"\x01\0\0\x02{}"));
        give(Event::Command(ServerCommand::Accept { user: None }));
        give(piece(b"\x02\0\0\0"));
        for request in 1..100_u8 {
            let text = [&[4, 0, 0, 7, 0, request, 4][..], b"R.Do"].concat();
            give(Event::Received(Opcode::Stream, text.into()));
        }
        for group in &groups {
            give(Event::Command(ServerCommand::Join(group.clone())));
        }
        // The beginning of a package of 4 KiB.
        give(Event::Received(Opcode::Stream, [&[4, 0, 0x10, 0][..], &[0; 3000]].concat().into()));
        server
    };
    weigh(build, Connection::footprint)
}

fn a_tunnel() -> (usize, usize) {
    let build = || {
        let mut end = End::new(TunnelConfig::new(Role::Client), Limits::default());
        end.flush_at_once = false;
        for wire in 0..50 {
            let stream = end.accept(wire * 2 + 2);
            for _ in 0..4 {
                end.command(TunnelCommand::Data { stream, body: Bytes::from(vec![0; 32 * 1024]) });
            }
        }
        (end.sent, end.notices) = (Vec::new(), Vec::new());
        end.sent.shrink_to_fit();
        end
    };
    weigh(build, |end| end.machine.footprint())
}

fn directories() -> Vec<(&'static str, (usize, usize))> {
    let weigh = |give: Story<'_>| {
        let limits = Arc::new(Limits::default());
        let build = || {
            let mut directory = Directory::new(directory::Config { limits, ..directory::Config::default() });
            let mut actions = Actions::new();
            give(&mut |event| {
                directory.handle_event(Instant::ORIGIN, event, &mut actions);
                drop(actions.drain());
            });
            directory
        };
        weigh(build, Directory::footprint)
    };
    let sessions = |give: &mut dyn FnMut(directory::Event<u64>)| {
        for conn in 0..300 {
            give(directory::Event::Add { from: address(conn), client: key(conn), session: conn as i64 });
        }
    };
    let announcements = |give: &mut dyn FnMut(directory::Event<u64>)| {
        for link in 1_000..1_010 {
            give(directory::Event::Link { from: address(link), peer: key(link) });
            for number in 0..100 {
                let client = Bytes::from(name(5_000 + number).into_bytes());
                let session = ClientSession { client, session: link as i64 };
                give(directory::Event::Announced { link: ConnId(link), session });
            }
        }
    };
    let seeks = |give: &mut dyn FnMut(directory::Event<u64>)| {
        for ticket in 0..200 {
            let (client, until) = (key(9_000 + ticket), Some(Instant::from_micros(1_000_000)));
            give(directory::Event::Seek { ticket, client, scope: Scope::Anywhere, until });
        }
    };
    // Listeners that never come back for what has changed since.
    let changes = |give: &mut dyn FnMut(directory::Event<u64>)| {
        (900..940).for_each(|conn| give(directory::Event::Listen(address(conn))));
        for conn in 0..50 {
            give(directory::Event::Add { from: address(conn), client: key(conn), session: conn as i64 });
        }
    };
    // What was to be told is no longer so: the memory of it is counted as long as it is kept.
    let no_changes = |give: &mut dyn FnMut(directory::Event<u64>)| {
        changes(give);
        (0..50).for_each(|conn| give(directory::Event::Gone(ConnId(conn))));
    };
    vec![
        ("sessions of clients", weigh(&sessions)),
        ("announcements of peers", weigh(&announcements)),
        ("requests that wait for clients", weigh(&seeks)),
        ("changes that nobody has asked for", weigh(&changes)),
        ("changes that were taken back", weigh(&no_changes)),
    ]
}

fn some_services() -> (usize, usize) {
    let build = || {
        let mut services = Services::new(services::Config::default());
        let mut actions = Actions::new();
        for node in 0..50 {
            let names = (0..20).map(|one| ServiceName::new(format!("{:0200}", node * 10 + one)).unwrap());
            let event = services::Event::NodeUp { node: NodeId(node), services: names.collect() };
            services.handle_event(Instant::ORIGIN, event, &mut actions);
        }
        for conn in 0..500 {
            services.resolve(ConnId(conn), format!("{:0200}.Do", conn % 300).as_bytes());
        }
        services
    };
    weigh(build, Services::footprint)
}

fn a_wheel() -> (usize, usize) {
    let build = || {
        let mut wheel = Wheel::new(1);
        (0..5_000_u64).for_each(|key| wheel.schedule(key, Instant::from_micros(1 + key * 7_919)));
        wheel
    };
    weigh(build, Wheel::footprint)
}

fn a_gate() -> (usize, usize) {
    let limits = Arc::new(Limits { connections_per_address: 8, ..Limits::default() });
    let build = || {
        let mut gate = Gate::new(limits, 3);
        for number in 0..2_000 {
            let from = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
            gate.admit(Instant::ORIGIN, from).unwrap();
            if number % 2 == 0 {
                gate.pace(from);
            } else {
                gate.release(from);
            }
        }
        gate
    };
    weigh(build, Gate::footprint)
}

#[test]
fn what_is_counted_is_what_is_held() {
    // Tables and lists are counted to the byte; a tree's nodes are counted as if half of each were empty.
    let exact = 102;
    // What the first run of all allocates once and for ever is nobody's.
    drop(hubs());
    let mut cases: Vec<_> = hubs().into_iter().map(|(what, weights)| (what, weights, exact)).collect();
    cases.push(("a wheel", a_wheel(), exact));
    cases.push(("a server that is asked much", a_server(), exact));
    cases.push(("a tunnel whose peer does not read", a_tunnel(), exact));
    cases.push(("a gate", a_gate(), 125));
    cases.extend(directories().into_iter().map(|(what, weights)| (what, weights, 300)));
    cases.push(("services", some_services(), 300));
    let mut faults = Vec::new();
    for (what, (held, counted), percent) in cases {
        println!("{what}: {held} bytes held, {counted} counted");
        if counted * 100 < held * 99 || counted * 100 > held * percent {
            faults.push(format!("{what}: {held} bytes held, {counted} counted, at most {percent} % allowed"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
