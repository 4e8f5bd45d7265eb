//! The driver over real sockets: the same cases on both runtimes.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "runtime/cases.rs"]
mod cases;
#[path = "runtime/faults.rs"]
mod faults;
#[path = "runtime/harness.rs"]
mod harness;
#[path = "runtime/shards.rs"]
mod shards;
#[path = "runtime/toy.rs"]
mod toy;
#[path = "runtime/websocket.rs"]
mod websocket;

macro_rules! on_both {
    ($($module:ident :: $case:ident,)*) => {
        mod tokio {
            $(#[test] fn $case() { crate::$module::$case::<linkspan_tokio::Tokio>(); })*
        }
        mod smol {
            $(#[test] fn $case() { crate::$module::$case::<linkspan_smol::Smol>(); })*
        }
    };
}

on_both! {
    cases::echoes_any_chunking,
    cases::echoes_any_window,
    cases::echoes_on_every_thread,
    cases::pushes_back_without_loss,
    cases::answers_what_came_before_the_end,
    cases::answers_a_long_queue_before_the_end,
    cases::puts_pushes_before_answers,
    cases::beats_while_idle,
    cases::ends_silent_peers,
    cases::ends_unfinished_handshakes,
    cases::a_slow_reader_stalls_nobody,
    cases::a_stalled_peer_is_cut,
    cases::a_full_mailbox_follows_its_policy,
    faults::resets_leave_nothing_behind,
    faults::a_panic_ends_one_connection,
    faults::stops_within_its_time,
    faults::stops_at_once_when_forced,
    faults::last_words_do_not_outlast_force,
    faults::survives_without_file_descriptors,
    faults::too_much_memory_closes_the_greedy,
    websocket::echoes_fragmented_messages,
    websocket::answers_pings,
    websocket::tells_why_it_closes,
    websocket::refuses_oversize,
    websocket::a_slow_line_is_not_cut,
    websocket::pushes_back_without_loss_too,
}
