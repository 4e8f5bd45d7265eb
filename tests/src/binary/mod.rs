//! Tests of a whole program: a real process, real sockets, real signals.
//!
//! Each runtime's crate calls them with the path of its own program through [`binary_tests!`](crate::binary_tests). Every
//! wait is bounded, every process ends with its guard, every port is chosen by the system.

pub mod chat;
mod client;
pub mod edge;
pub mod ending;
pub mod hostile;
pub mod im;
mod player;
mod process;
pub mod proxy;
pub mod replays;
pub mod starting;
pub mod traffic;
pub mod tunnel;
mod web;
mod wire;

use std::time::Duration;

use self::client::{Client, Got};
use self::process::Process;
use self::wire::{Carrier, Wire};

/// How long anything may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done` holds.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One test per case, for the program at the path.
#[macro_export]
macro_rules! binary_tests {
    ($program:expr) => {
        $crate::binary_tests! { $program;
            replays::recordings_over_tcp,
            replays::recordings_over_websocket,
            replays::every_exclusion_is_one,
            traffic::answers_in_flight_over_tcp,
            traffic::answers_in_flight_over_websocket,
            traffic::cycles_leave_nothing,
            hostile::malformed_vectors_end_their_own_connection,
            hostile::mutated_inputs_end_their_own_connection,
            hostile::half_a_handshake_is_ended,
            hostile::few_open_files,
            im::vectors::recorded_handshakes,
            im::vectors::recorded_scripts,
            im::crowd::four_hundred_logins_at_once,
            im::crowd::two_thousand_pushes_of_fifty_senders,
            im::crowd::one_user_on_two_dialects,
            im::tokens::signed_tokens,
            im::tokens::guesses_are_slowed_down,
            im::tokens::a_token_server,
            im::hostile::bad_frames_have_documented_answers,
            im::hostile::a_flood_of_logins_concerns_nobody_else,
            chat::every_script_does_what_is_expected,
            chat::every_request_is_answered,
            chat::hostile_messages_end_their_own_connection,
            chat::floods_concern_nobody_else,
            chat::fifty_senders_and_one_receiver,
            chat::of_two_in_the_same_instant_one_is_refused,
            chat::policies_are_flags,
            edge::pages_of_other_hosts_are_refused,
            edge::addresses_behind_proxies_are_limited,
            edge::proxy_headers_name_the_client,
            edge::what_is_counted_is_for_the_machine_itself,
            edge::a_listener_for_both_families_knows_the_machine_itself,
            edge::too_many_are_told,
            edge::wrong_settings_are_told,
            starting::lines_with_real_ports,
            starting::demo_says_what_next,
            starting::connect_from_a_pipe,
            starting::wrong_usage,
            starting::taken_addresses,
            starting::nobody_reads_the_output,
            ending::a_request_in_flight_is_answered,
            ending::a_second_signal_ends_at_once,
            ending::a_signal_right_after_the_start,
            proxy::heads_are_passed_on,
            proxy::absolute_targets_name_their_host,
            proxy::bodies_stream_both_ways,
            proxy::a_slow_reader_is_waited_for,
            proxy::bad_upstreams_are_told,
            proxy::a_client_that_leaves_cancels,
            proxy::upgrades_pass,
            proxy::stale_connections_are_retried,
            proxy::many_at_once_share_connections,
            proxy::wrong_routes,
            proxy::recorded_requests,
            proxy::heads_have_bounds,
            proxy::requests_go_through_an_agent,
            proxy::recorded_demo_requests,
            proxy::doubtful_requests_are_refused,
            proxy::clear_requests_are_made_plain,
            proxy::hostile_redirects,
            tunnel::recorded::probes_of_a_server,
            tunnel::recorded::probes_of_an_agent,
            tunnel::recorded::sessions_of_a_server,
            tunnel::recorded::sessions_of_an_agent,
            tunnel::recorded::lists_of_streams,
            tunnel::flags::the_order_of_sessions,
            tunnel::flags::an_agent_for_once,
            tunnel::flags::tokens_from_files,
            tunnel::flags::mistyped_peers_keep_their_tokens,
            tunnel::flags::too_many_sessions_of_one_agent,
            tunnel::flags::wrong_limits_are_told,
            tunnel::flags::lost_datagrams_are_counted,
            tunnel::flags::counters_are_shown,
            tunnel::killed::an_agent_under_load,
            tunnel::killed::an_agent_with_few_files,
            tunnel::silent::a_dead_line_is_noticed,
            tunnel::silent::a_stop_is_told,
            tunnel::silent::ids_and_times_cost_nothing,
            tunnel::secure::https_upstreams,
            tunnel::secure::secured_doors,
        }
    };
    ($program:expr; $($($module:ident)::+,)*) => {
        $($crate::binary_tests! { @one $program; [] $($module)::+ })*
    };
    (@one $program:expr; [$($path:ident)*] $case:ident) => {
        #[test]
        fn $case() {
            $crate::binary::$($path::)*$case($program);
        }
    };
    (@one $program:expr; [$($path:ident)*] $module:ident :: $($rest:ident)::+) => {
        $crate::binary_tests! { @one $program; [$($path)* $module] $($rest)::+ }
    };
}
