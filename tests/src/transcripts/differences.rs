//! Where ours does something else than the recorded server, and why.

/// Cases in which ours differs in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The cases.
    pub cases: &'static [&'static str],
    /// What of the first connection's packages is replaced: position, how many, and what ours says instead.
    pub splices: &'static [(usize, usize, &'static [&'static str])],
    /// Whether the recorded server mixed up its answers; ours keeps the order of the requests, whose ids ascend.
    pub ordered: bool,
    /// Why.
    pub why: &'static str,
}

/// All of them; each must still be one.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        cases: &[
            "nano_tcp_edge_cases/ack_without_handshake_then_request",
            "pitaya_tcp_edge_cases/ack_without_handshake_then_request",
        ],
        splices: &[(0, 1, &["end"])],
        ordered: false,
        why: "a session begins with its handshake, so that the validator always runs",
    },
    Difference {
        cases: &[
            "nano_tcp_edge_cases/heartbeat_before_handshake",
            "pitaya_tcp_edge_cases/heartbeat_before_handshake",
        ],
        splices: &[(0, 1, &["end"])],
        ordered: false,
        why: "nothing comes before the handshake",
    },
    Difference {
        cases: &[
            "nano_tcp_edge_cases/kick_from_client",
            "pitaya_tcp_edge_cases/kick_from_client",
            "nano_tcp_edge_cases/second_ack",
            "pitaya_tcp_edge_cases/second_ack",
        ],
        splices: &[(1, 1, &["end"])],
        ordered: false,
        why: "a package that does not fit the state ends the connection",
    },
    Difference {
        cases: &[
            "nano_tcp_edge_cases/second_handshake_then_request",
            "pitaya_tcp_edge_cases/second_handshake_then_request",
            "nano_tcp_edge_cases/second_handshake_and_ack_then_request",
            "pitaya_tcp_edge_cases/second_handshake_and_ack_then_request",
        ],
        splices: &[(1, 2, &["end"])],
        ordered: false,
        why: "one handshake per connection",
    },
    Difference {
        cases: &["nano_tcp_edge_cases/request_unknown_route"],
        splices: &[(1, 0, &["response 01 error PIT-404"])],
        ordered: false,
        why: "every request is answered",
    },
    Difference {
        cases: &[
            "nano_tcp_edge_cases/request_route_without_dot",
            "nano_tcp_edge_cases/request_empty_route",
            "nano_tcp_edge_cases/request_bad_json",
        ],
        splices: &[(1, 0, &["response 01 error PIT-400"])],
        ordered: false,
        why: "every request is answered",
    },
    Difference {
        cases: &["nano_tcp_edge_cases/request_handler_error"],
        splices: &[(1, 0, &["response 01 error ECHO-1"])],
        ordered: false,
        why: "every request is answered",
    },
    Difference {
        cases: &["nano_tcp_edge_cases/request_handler_panic"],
        splices: &[(1, 0, &["response 01 error PIT-000"])],
        ordered: false,
        why: "every request is answered, and a panic costs that request only",
    },
    Difference {
        cases: &["nano_tcp_edge_cases/handshake_not_json"],
        splices: &[(0, 2, &["handshake 400 every 30", "end"])],
        ordered: false,
        why: "a handshake that cannot be read is refused, as pitaya does",
    },
    Difference {
        cases: &["nano_tcp_edge_cases/handshake_rejected"],
        splices: &[(0, 0, &["handshake 400 every 30"])],
        ordered: false,
        why: "a refused client is told so before the end",
    },
    Difference {
        cases: &["nano_tcp_edge_cases/gzip_flag_from_client_0x10_zlib_body"],
        splices: &[(1, 1, &["response 03 hello hello hello"])],
        ordered: false,
        why: "deflated bodies are inflated, as pitaya does",
    },
    Difference {
        cases: &["nano_tcp_edge_cases/gzip_flag_from_client_0x10_plain_body"],
        splices: &[(1, 1, &["end"])],
        ordered: false,
        why: "a body that claims to be deflated and is not ends the connection, as with pitaya",
    },
    Difference {
        cases: &["nano_tcp_heartbeat_timeout", "pitaya_tcp_heartbeat_timeout"],
        splices: &[(3, 0, &[r#"kick {"reason":"heartbeat timeout"}"#])],
        ordered: false,
        why: "a silent client is told why, if it reads; and it is gone after 2.5 intervals, not at the third tick",
    },
    Difference {
        cases: &["pitaya_tcp_edge_cases/client_sends_response"],
        splices: &[(1, 1, &[])],
        ordered: false,
        why: "a message that only servers send is ignored, as nano does, and counted",
    },
    Difference {
        cases: &["pitaya_tcp_edge_cases/handshake_empty_body"],
        splices: &[(0, 2, &["handshake 200 every 30", "response 63 still alive"])],
        ordered: false,
        why: "nano's Go client sends no body",
    },
    Difference {
        cases: &["pitaya_tcp_edge_cases/package_of_65537"],
        splices: &[(1, 1, &["end"])],
        ordered: false,
        why: "the default limit is nano's 65,536 bytes; pitaya's is 16 MiB and ours is an option",
    },
    Difference {
        cases: &["pitaya_tcp_edge_cases/many_packages_in_one_segment"],
        splices: &[],
        ordered: true,
        why: "answers of one session keep the order of its requests",
    },
    Difference {
        cases: &["nano_tcp_life", "nano_ws_life"],
        splices: &[(16, 1, &[])],
        ordered: false,
        why: "the demo services have no Echo.Close; how ours closes is tested by itself",
    },
    Difference {
        cases: &["pitaya_tcp_life_and_kick"],
        splices: &[
            (2, 1, &["response 02 error PIT-404"]),
            (5, 1, &["response 05 error PIT-404"]),
            (8, 1, &["response 08 error PIT-404"]),
            (9, 1, &["response 09 error PIT-404"]),
            (11, 1, &[r#"response 0a {"uid":"u1"}"#]),
            (14, 1, &[r#"kick {"reason":"asked to be kicked"}"#]),
        ],
        ordered: false,
        why: "a route is Service.Method, without a server's type; PlainFail, Nil and Note are not among the demo \
              services; Bind answers with what it was given; a kick always says why",
    },
    Difference {
        cases: &["js_jsclient_vs_nano_ws"],
        splices: &[(1, 1, &["response 01 {\"seq\":1,\"text\":\"h\u{e9}llo \u{1f600}\"}"])],
        ordered: false,
        why: "text beyond the basic plane comes as two surrogates from JavaScript clients; ours reads it",
    },
    Difference {
        cases: &["js_jsclient_vs_pitaya_ws_kick"],
        splices: &[
            (1, 1, &["response 01 {\"seq\":1,\"text\":\"h\u{e9}llo \u{1f600}\"}"]),
            (204, 1, &[r#"kick {"reason":"asked to be kicked"}"#, "end"]),
        ],
        ordered: true,
        why: "as above; an empty kick makes these clients throw; and thirty answers came out of order",
    },
];
