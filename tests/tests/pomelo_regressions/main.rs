//! What a server of this protocol must survive and keep, one test each, as far as one connection is concerned: K what
//! could stop it, L what could get lost, S security and accounting, T threats, O overload, N faults. All of the last three
//! are in `docs/promises.md`, with where each is shown. What of the others belongs elsewhere:
//!
//! | entry | where |
//! | --- | --- |
//! | K3 concurrent writes, K5 double close | one owner per connection: no such race can be written; `second_handshake…` below, runtime tests |
//! | K4, K7 a blocked or closing handler stops everybody | gateway tests (sessions run in parallel), hub tests (no call waits) |
//! | K8, L12, S6, S8, S11 | clustering: there is none; gateways know of each other's agents, not of each other's users |
//! | L1 payload overwritten by the next read | bodies are shared slices that never change; `two_payloads…` below; sockets: gateway tests |
//! | L13 rate limiter drops packages | there is none that drops; pause of reading: `pomelo_server::queue` |
//! | S4 sessions stay after their end, S5 counters | hub and runtime tests; registrations here: `harness::Station` checks every end |
//! | S7 compression on by default | `pomelo_server::handshake` (off, floor, opt-in); cost: allocation test |
//! | S9 data races | no shared state in the core; `laws::connections_do_not_notice_each_other` |
//! | S10 ids above 2^53 in JavaScript | the gateway's demo gives small numbers |

mod lessons;
mod threats;
