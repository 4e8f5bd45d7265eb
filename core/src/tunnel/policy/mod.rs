//! What a tunnel may dial: a list of what is allowed.
//!
//! Whoever dials asks twice. What the peer wrote is brought into one form ([`Destination::parse`]) and
//! [checked](DialPolicy::check); if it is a name, every address that it resolves to is
//! [checked again](DialPolicy::check_resolved), and what is dialled is the address that was checked. So no spelling of
//! an address and no answer of a name server leads elsewhere.
//!
//! ```
//! use linkspan_core::tunnel::policy::{Destination, DialPolicy, Rule};
//!
//! let policy = DialPolicy::new(["tcp/10.0.0.0/8:5432".parse::<Rule>().expect("a rule")]);
//! let parse = |address: &'static str| Destination::parse(b"tcp", address.as_bytes()).expect("an address");
//! assert!(policy.check(&parse("10.1.2.3:5432")).is_ok());
//! assert!(policy.check(&parse("0x0a010203:5432")).is_ok(), "the same");
//! assert!(policy.check(&parse("10.1.2.3:22")).is_err());
//! let database = parse("db.internal:5432");
//! assert!(policy.check(&database).is_ok(), "it depends on where it is");
//! assert!(policy.check_resolved(&database, [192, 168, 0, 1].into()).is_err());
//! ```

mod crowd;
mod destination;
mod host;
mod network;
mod rule;

use alloc::vec::Vec;
use core::net::IpAddr;

pub use self::crowd::Crowd;
pub use self::destination::{Destination, DestinationError, Family, Transport};
use self::network::is_special;
use self::rule::{HostPattern, Scope};
pub use self::rule::{Rule, RuleError};

/// What may be dialled. The default is TCP to this machine.
///
/// Never allowed, unless a rule names them or a network within theirs, are addresses that no service has, or that stand
/// for other ones: unspecified, link-local and multicast ones, those where clouds keep their secrets, and IPv6 forms of
/// IPv4 addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPolicy {
    rules: Vec<Rule>,
    allows_any: bool,
}

/// What is to be dialled is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connect not allowed")]
pub struct NotAllowed;

impl Default for DialPolicy {
    fn default() -> Self {
        Self::new(Rule::loopback())
    }
}

impl DialPolicy {
    /// Allows what any of the rules allows, and nothing else.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { rules: rules.into_iter().collect(), allows_any: false }
    }

    /// Allows everything, as the original does.
    pub const fn any() -> Self {
        Self { rules: Vec::new(), allows_any: true }
    }

    /// Whether everything is allowed.
    pub const fn allows_any(&self) -> bool {
        self.allows_any
    }

    /// Whether `destination` may be dialled; for a [`Name`](Destination::Name), whether it may be resolved.
    ///
    /// # Errors
    ///
    /// [`NotAllowed`] if not.
    pub fn check(&self, destination: &Destination) -> Result<(), NotAllowed> {
        let allows = |rule: &Rule| match (&rule.scope, destination) {
            (Scope::Unix(pattern), Destination::Unix { path }) => pattern.covers(path),
            (Scope::Host { host, .. }, Destination::Socket { transport, address }) => {
                rule.covers(*transport, address.port()) && covers_address(host, address.ip())
            }
            (Scope::Host { host, .. }, Destination::Name { transport, host: name, port, .. }) => {
                rule.covers(*transport, *port) && may_lead_to(host, name)
            }
            _ => false,
        };
        self.verdict(allows)
    }

    /// Whether `address`, which a [`Name`](Destination::Name) that was [checked](Self::check) resolved to, may be
    /// dialled for it.
    ///
    /// # Errors
    ///
    /// [`NotAllowed`] if not, and for what is no name.
    pub fn check_resolved(&self, destination: &Destination, address: IpAddr) -> Result<(), NotAllowed> {
        let Destination::Name { transport, family, host: name, port } = destination else {
            return Err(NotAllowed);
        };
        let address = address.to_canonical();
        if family.is_some_and(|family| !family.has(address)) {
            return Err(NotAllowed);
        }
        let allows = |rule: &Rule| match &rule.scope {
            Scope::Host { host, .. } if rule.covers(*transport, *port) => match host {
                HostPattern::Name(one) => one == name && !is_special(address),
                // Who owns one name below the domain shall not reach what listens on this machine alone.
                HostPattern::Below(domain) => {
                    is_below(name, domain) && !is_special(address) && !address.is_loopback()
                }
                HostPattern::Any | HostPattern::Network(_) => {
                    may_lead_to(host, name) && covers_address(host, address)
                }
            },
            _ => false,
        };
        self.verdict(allows)
    }

    fn verdict(&self, allows: impl Fn(&Rule) -> bool) -> Result<(), NotAllowed> {
        if self.allows_any || self.rules.iter().any(allows) { Ok(()) } else { Err(NotAllowed) }
    }
}

fn covers_address(host: &HostPattern, address: IpAddr) -> bool {
    match host {
        HostPattern::Any => !is_special(address),
        HostPattern::Network(network) => {
            network.contains(address) && (!is_special(address) || network.is_special())
        }
        HostPattern::Name(_) | HostPattern::Below(_) => false,
    }
}

/// Whether a rule may allow what the name resolves to.
fn may_lead_to(host: &HostPattern, name: &str) -> bool {
    match host {
        HostPattern::Any => true,
        HostPattern::Name(one) => one == name,
        HostPattern::Below(domain) => is_below(name, domain),
        // Only one name leads to this machine: others need not be asked for.
        HostPattern::Network(network) if network.is_loopback() => {
            name == "localhost" || is_below(name, ".localhost")
        }
        HostPattern::Network(_) => true,
    }
}

/// `domain` begins with its dot.
fn is_below(name: &str, domain: &str) -> bool {
    name.len() > domain.len() && name.ends_with(domain)
}
