//! Tunnels over real sockets: servers and agents of both runtimes, against each other.
//!
//! Sizes are such that a suite takes seconds; with `LINKSPAN_LONG=1` they are 256 MiB, 30 s and 1,000 agents.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "tunnel_e2e/agents.rs"]
mod agents;
#[path = "tunnel_e2e/doors.rs"]
mod doors;
#[path = "tunnel_e2e/hostile.rs"]
mod hostile;
#[path = "tunnel_e2e/limits.rs"]
mod limits;
#[path = "tunnel_e2e/mesh.rs"]
mod mesh;
#[path = "tunnel_e2e/original.rs"]
mod original;
#[path = "tunnel_e2e/originals.rs"]
mod originals;
#[path = "tunnel_e2e/replays.rs"]
mod replays;
#[path = "tunnel_e2e/site.rs"]
mod site;
#[path = "tunnel_e2e/streams.rs"]
mod streams;
#[path = "tunnel_e2e/targets.rs"]
mod targets;

use self::site::Kind::{Smol, Tokio};

/// Each case with a server and an agent on every pair of runtimes.
macro_rules! on_all {
    ($($module:ident :: $case:ident,)*) => {
        $(mod $case {
            #[test] fn tokio() { crate::$module::$case(crate::Tokio, crate::Tokio); }
            #[test] fn smol() { crate::$module::$case(crate::Smol, crate::Smol); }
            #[test] fn tokio_server_smol_agent() { crate::$module::$case(crate::Tokio, crate::Smol); }
            #[test] fn smol_server_tokio_agent() { crate::$module::$case(crate::Smol, crate::Tokio); }
        })*
    };
}

/// Each case on both runtimes.
macro_rules! on_both {
    ($($module:ident :: $case:ident,)*) => {
        $(mod $case {
            #[test] fn tokio() { crate::$module::$case(crate::Tokio); }
            #[test] fn smol() { crate::$module::$case(crate::Smol); }
        })*
    };
}

on_all! {
    streams::bulk_echo,
    streams::full_duplex,
    streams::a_slow_reader_gets_all,
    streams::sleeping_readers_lose_nothing,
}

on_both! {
    streams::a_stalled_reader_harms_nobody,
    streams::the_tail_waits_for_slow_readers,
    targets::a_refused_target,
    targets::a_target_that_resets,
    targets::a_target_that_closes_in_the_middle,
    targets::a_target_that_closes_one_direction,
    targets::an_answer_to_who_has_said_all,
    targets::a_unix_socket,
    targets::datagrams,
    targets::what_is_not_allowed,
    agents::restarted_under_load,
    agents::whoever_connects_waits_for_the_agent,
    agents::many_idle,
    agents::one_to_two_servers,
    agents::streams_end_before_the_server,
    mesh::an_agent_moves_through_the_mesh,
    mesh::no_request_goes_in_circles,
    mesh::a_wrong_token_is_no_peer,
    doors::who_may_come_in,
    doors::tokens_of_agents,
    doors::a_secured_door,
    hostile::bad_messages_end_their_own_session,
    hostile::numbers_used_twice,
    hostile::a_flood_of_dials,
    hostile::lies_about_clients,
    limits::messages_have_a_size,
    limits::streams_have_windows_and_an_end,
    limits::an_ended_stream_makes_room,
    limits::datagrams_have_bounds,
    replays::our_server,
    replays::our_agent,
    replays::lists_of_streams,
    originals::an_original_agent_with_its_defects,
    originals::full_duplex_with_an_original_agent,
    originals::an_agent_of_ours_at_an_original_server,
    originals::a_target_that_never_reads_is_let_go,
}
