//! The reverse proxy, from the command line.

use linkspan_core::http::pool::Config as PoolConfig;

use super::args::{CompatArg, ProxyArgs};
use crate::proxy::ProxyConfig;

/// `None` if nothing is to be proxied: neither a route nor, with `tunnels`, what is behind agents.
pub(super) fn config(args: &ProxyArgs, tunnels: bool) -> Option<ProxyConfig> {
    if args.route.is_empty() && !tunnels {
        return None;
    }
    let default = ProxyConfig::default();
    Some(ProxyConfig {
        clients: tunnels,
        routes: args.route.clone(),
        compat: args.compat == Some(CompatArg::Remotedialer),
        strict_health: args.strict_health,
        pool: PoolConfig {
            per_key: Some(args.proxy_connections_per_upstream),
            total: Some(args.proxy_connections),
            waiting_per_key: args.proxy_waiting,
            idle_per_key: args.proxy_idle_per_upstream,
            idle_max: Some(args.proxy_connections),
            idle_timeout: Some(args.proxy_idle_timeout),
            ..default.pool
        },
        dial_timeout: args.proxy_dial_timeout,
        client_timeout: args.proxy_timeout.unwrap_or(default.client_timeout),
        route_timeout: args.proxy_timeout.unwrap_or(default.route_timeout),
        wait: (!args.proxy_await.is_zero()).then_some(args.proxy_await),
        authorities: args.proxy_ca.clone(),
        unverified: args.proxy_insecure,
    })
}
