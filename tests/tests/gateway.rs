//! The gateway over real sockets: services, sessions, hooks, HTTP, stop; the same cases on both runtimes.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/edge.rs"]
mod edge;
#[path = "gateway/harness.rs"]
mod harness;
#[path = "gateway/hooks.rs"]
mod hooks;
#[path = "gateway/http.rs"]
mod http;
#[path = "gateway/im.rs"]
mod im;
#[path = "gateway/proxy.rs"]
mod proxy;
#[path = "gateway/requests.rs"]
mod requests;
#[path = "gateway/sessions.rs"]
mod sessions;
#[path = "gateway/stop.rs"]
mod stop;

macro_rules! on_both {
    ($($module:ident :: $case:ident,)*) => {
        mod tokio {
            $(#[test] fn $case() { crate::harness::run::<linkspan_tokio::Tokio>(|world| {
                Box::pin(crate::$module::$case(world))
            }); })*
        }
        mod smol {
            $(#[test] fn $case() { crate::harness::run::<linkspan_smol::Smol>(|world| {
                Box::pin(crate::$module::$case(world))
            }); })*
        }
    };
}

on_both! {
    requests::answers_keep_the_order_of_requests,
    requests::sessions_run_in_parallel,
    requests::many_in_flight_lose_nothing,
    requests::what_cannot_be_served_is_told,
    requests::a_panic_costs_one_request,
    requests::a_slow_handler_is_given_up,
    requests::what_has_expired_is_not_worked_on,
    requests::a_late_turn_begins_nothing_that_has_expired,
    requests::a_flood_of_notifications_is_pushed_back,
    requests::pushes_of_any_number_arrive,
    requests::characters_beyond_the_basic_plane,
    client::a_client_is_not_paced,
    client::a_client_ends_with_its_handle_though_its_mailbox_is_full,
    client::a_client_waits_for_its_server_as_long_as_it_was_told,
    client::a_client_that_is_closed_has_written_everything,
    client::a_client_closes_though_its_server_does_not_read,
    sessions::nothing_is_lost_at_the_end,
    sessions::a_kick_comes_last,
    sessions::the_newest_of_a_uid_stays,
    sessions::the_oldest_of_a_uid_stays,
    sessions::groups_hear_everything_until_they_leave,
    sessions::the_switchboard_reaches_users_and_groups,
    sessions::values_are_kept,
    sessions::the_chat_room,
    hooks::refused_handshakes_are_told_why,
    hooks::accepted_handshakes_bring_something,
    hooks::middleware_changes_and_refuses,
    hooks::sessions_open_and_close_once,
    http::pages_and_probes,
    http::what_a_websocket_needs,
    http::too_much_head,
    http::a_slow_head,
    http::sockets_leave_nothing_of_http,
    proxy::more_than_may_be_is_refused_and_counted,
    im::functions_of_ones_own,
    im::a_group_of_two_dialects,
    im::logins_kicks_and_ends,
    edge::pages_of_other_hosts_are_counted,
    edge::what_is_no_proxy_header_is_counted,
    edge::a_flood_of_messages_is_counted,
    edge::refusals_without_a_word_are_counted,
    edge::wrong_tokens_are_counted,
    edge::a_token_server_proves_who_it_is,
    stop::requests_in_flight_are_answered,
    stop::probes_hear_of_it_first,
    stop::idle_pages_do_not_hold_it_up,
}

#[test]
fn im_functions_that_cannot_be() {
    im::names_that_are_taken();
}

#[test]
fn services_that_cannot_be() {
    requests::services_that_cannot_be();
}
