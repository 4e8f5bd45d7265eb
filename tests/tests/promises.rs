//! What tunnels, the proxy before them and their agents must survive, and which tests show it: T threats, O overload,
//! N faults. Each entry is a test that exists; those of the programs run on both runtimes.

use linkspan_tests::vectors;

/// One threat: its number, what it is, and the tests: a file of this crate and a function.
struct Threat(&'static str, &'static str, &'static [(&'static str, &'static str)]);

const THREATS: &[Threat] = &[
    Threat(
        "T1",
        "heads, handshakes and messages that come drop by drop",
        &[
            ("tests/gateway/http.rs", "a_slow_head"),
            ("src/binary/hostile.rs", "half_a_handshake_is_ended"),
            ("tests/runtime/cases.rs", "ends_unfinished_handshakes"),
        ],
    ),
    Threat(
        "T2",
        "lengths that nothing follows, and what is larger than it may be",
        &[
            ("src/binary/proxy/raw.rs", "heads_have_bounds"),
            ("tests/gateway/http.rs", "too_much_head"),
            ("tests/runtime/websocket.rs", "refuses_oversize"),
            ("src/binary/tunnel/flags.rs", "wrong_limits_are_told"),
        ],
    ),
    Threat(
        "T9",
        "numbers of streams that are in use, zero, negative or huge",
        &[
            ("tests/tunnel_session/rules.rs", "a_number_that_is_taken_is_refused_and_its_stream_lives"),
            ("tests/tunnel_e2e/hostile.rs", "numbers_used_twice"),
            ("src/binary/tunnel/recorded.rs", "probes_of_an_agent"),
        ],
    ),
    Threat(
        "T10",
        "pauses for ever, and pauses and resumes for nothing",
        &[
            ("tests/tunnel_session/rules.rs", "a_pause_for_ever_ends_the_stream"),
            ("tests/tunnel_session/limits.rs", "flapping_costs_the_stream_and_not_the_session"),
            ("tests/tunnel_e2e/streams.rs", "a_stalled_reader_harms_nobody"),
            ("tests/tunnel_e2e/originals.rs", "full_duplex_with_an_original_agent"),
        ],
    ),
    Threat(
        "T11",
        "data behind an end, and two ends that answer each other's errors",
        &[
            ("tests/tunnel_session/rules.rs", "data_for_nobody_is_answered_once"),
            ("tests/tunnel_session/rules.rs", "an_error_is_echoed_once_and_data_comes_before_the_end"),
            ("tests/tunnel_e2e/hostile.rs", "numbers_used_twice"),
        ],
    ),
    Threat(
        "T12",
        "floods of dials, in all and to one target",
        &[
            ("tests/tunnel_session/limits.rs", "dials_that_come_too_fast_are_refused_one_by_one"),
            ("tests/tunnel_policy.rs", "so_many_dial_one_address_at_a_time"),
            ("tests/tunnel_e2e/hostile.rs", "a_flood_of_dials"),
        ],
    ),
    Threat(
        "T13",
        "servers that have an agent dial what it should not",
        &[
            ("tests/tunnel_policy.rs", "every_spelling_of_an_address_is_that_address"),
            ("tests/tunnel_policy.rs", "what_two_readers_could_understand_differently_is_not_dialled"),
            ("tests/tunnel_policy.rs", "names_do_not_lead_to_where_no_name_should"),
            ("tests/tunnel_policy.rs", "an_answer_of_a_name_server_opens_nothing"),
            ("tests/tunnel_e2e/targets.rs", "what_is_not_allowed"),
        ],
    ),
    Threat("T14", "redirects that lead elsewhere", &[("src/binary/proxy/redirects.rs", "hostile_redirects")]),
    Threat(
        "T15",
        "request lines and heads within paths and hosts",
        &[
            ("src/binary/proxy/smuggling.rs", "doubtful_requests_are_refused"),
            ("tests/http_path.rs", "locations_hold_nothing_that_leads_elsewhere"),
            ("src/binary/proxy/agents.rs", "requests_go_through_an_agent"),
        ],
    ),
    Threat(
        "T16",
        "requests that two servers cut differently",
        &[
            ("src/binary/proxy/smuggling.rs", "doubtful_requests_are_refused"),
            ("src/binary/proxy/smuggling.rs", "clear_requests_are_made_plain"),
            ("../core/src/http/framing.rs", "what_comes_before_does_not_hide_it"),
            ("../gateway/src/http/heads.rs", "doubtful_heads_are_refused"),
            ("src/binary/proxy/raw.rs", "recorded_requests"),
        ],
    ),
    Threat(
        "T17",
        "upstreams that answer nonsense, without end, or half",
        &[
            ("src/binary/proxy/mod.rs", "bad_upstreams_are_told"),
            ("src/binary/tunnel/killed.rs", "an_agent_under_load"),
        ],
    ),
    Threat(
        "T21",
        "the name of a peer with a wrong token",
        &[("tests/tunnel_e2e/mesh.rs", "a_wrong_token_is_no_peer")],
    ),
    Threat(
        "T24",
        "tables that grow with what callers ask for",
        &[
            ("src/binary/tunnel/silent.rs", "ids_and_times_cost_nothing"),
            ("tests/http_pool/rules.rs", "beyond_the_total_an_idle_one_goes_or_the_request_fails"),
            ("tests/gateway/proxy.rs", "more_than_may_be_is_refused_and_counted"),
            ("src/binary/tunnel/flags.rs", "lost_datagrams_are_counted"),
        ],
    ),
    Threat(
        "T27",
        "proxies that lie about whom they speak for",
        &[
            ("src/binary/edge.rs", "addresses_behind_proxies_are_limited"),
            ("src/binary/edge.rs", "proxy_headers_name_the_client"),
            ("src/binary/proxy/mod.rs", "heads_are_passed_on"),
        ],
    ),
    Threat(
        "O1",
        "floods of connections",
        &[
            ("src/binary/edge.rs", "too_many_are_told"),
            ("tests/small_machines/gate.rs", "a_flood_from_ever_new_addresses_does_not_fill_the_memory"),
            ("src/binary/tunnel/flags.rs", "too_many_sessions_of_one_agent"),
        ],
    ),
    Threat(
        "O2",
        "no files left, for connections and for dials",
        &[
            ("src/binary/hostile.rs", "few_open_files"),
            ("tests/runtime/faults.rs", "survives_without_file_descriptors"),
            ("src/binary/tunnel/killed.rs", "an_agent_with_few_files"),
        ],
    ),
    Threat(
        "N2",
        "lines that are dead and not closed",
        &[
            ("tests/tunnel_session/limits.rs", "a_peer_that_falls_silent_is_told_of_and_so_is_its_return"),
            (
                "tests/tunnel_directory/rules.rs",
                "a_client_here_goes_before_one_at_a_peer_whatever_the_peer_says",
            ),
            ("src/binary/tunnel/silent.rs", "a_dead_line_is_noticed"),
        ],
    ),
    Threat(
        "N3",
        "resets anywhere, sessions that are lost",
        &[
            ("tests/tunnel_pair/main.rs", "two_of_ours"),
            ("tests/tunnel_e2e/targets.rs", "a_target_that_resets"),
            ("tests/tunnel_e2e/agents.rs", "restarted_under_load"),
            ("src/binary/tunnel/killed.rs", "an_agent_under_load"),
        ],
    ),
    Threat(
        "N4",
        "peers that are cut off, one way or another",
        &[
            (
                "tests/tunnel_directory/rules.rs",
                "a_lost_link_takes_all_that_was_learnt_on_it_and_nothing_else",
            ),
            ("tests/tunnel_directory/mesh.rs", "any_mesh_converges_and_forwards_once"),
            ("tests/tunnel_e2e/mesh.rs", "no_request_goes_in_circles"),
            ("src/binary/tunnel/secure.rs", "secured_doors"),
        ],
    ),
    Threat(
        "N5",
        "peers that lie about clients",
        &[
            ("tests/tunnel_directory/mesh.rs", "a_liar_is_asked_only_for_what_nobody_has"),
            ("tests/tunnel_directory/rules.rs", "a_peer_announces_so_many_and_a_client_connects_so_often"),
            (
                "tests/tunnel_session/limits.rs",
                "only_who_may_announce_does_and_a_hundred_malformed_ones_are_enough",
            ),
            ("tests/tunnel_e2e/hostile.rs", "lies_about_clients"),
        ],
    ),
    Threat(
        "N6",
        "meshes with loops, links to oneself, two links to one peer",
        &[
            ("tests/tunnel_directory/rules.rs", "a_peer_has_one_link_and_nobody_is_his_own_peer"),
            ("tests/tunnel_directory/mesh.rs", "any_mesh_converges_and_forwards_once"),
            ("tests/tunnel_e2e/mesh.rs", "no_request_goes_in_circles"),
        ],
    ),
    Threat(
        "N11",
        "a stop by signal",
        &[
            ("src/binary/tunnel/silent.rs", "a_stop_is_told"),
            ("tests/tunnel_e2e/agents.rs", "streams_end_before_the_server"),
            ("src/binary/proxy/mod.rs", "upgrades_pass"),
            ("src/binary/ending.rs", "a_second_signal_ends_at_once"),
            ("tests/gateway/stop.rs", "probes_hear_of_it_first"),
        ],
    ),
];

#[test]
fn every_threat_has_tests_that_exist() {
    let numbers = "T1 T2 T9 T10 T11 T12 T13 T14 T15 T16 T17 T21 T24 T27 O1 O2 N2 N3 N4 N5 N6 N11";
    assert!(numbers.split(' ').eq(THREATS.iter().map(|threat| threat.0)));
    let mut missing = Vec::new();
    for Threat(number, about, tests) in THREATS {
        assert!(!tests.is_empty(), "{number}: {about}");
        for (file, test) in *tests {
            let text = std::fs::read_to_string(vectors::path(file)).unwrap_or_default();
            if !text.contains(&format!("fn {test}(")) && !text.contains(&format!("fn {test}<")) {
                missing.push(format!("{number}, {about}: {file} has no {test}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What a program's case does is done only if the program's tests name it.
#[test]
fn every_case_of_the_programs_is_run() {
    let list = std::fs::read_to_string(vectors::path("src/binary/mod.rs")).expect("the list");
    let suites = std::fs::read_to_string(vectors::path("tests/tunnel_e2e.rs")).expect("the suite");
    for Threat(number, _, tests) in THREATS {
        for (file, test) in *tests {
            let is_run = match file {
                file if file.starts_with("src/binary/") => list.contains(&format!("::{test},")),
                file if file.starts_with("tests/tunnel_e2e/") => suites.contains(&format!("::{test},")),
                _ => true,
            };
            assert!(is_run, "{number}: {file} has {test}, and nobody runs it");
        }
    }
}
