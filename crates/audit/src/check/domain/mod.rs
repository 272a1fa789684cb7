//! One domain: what DNS and its policies say, and whether the servers do what was said.
//!
//! ```text
//!   domain ──examine──▶ DomainFacts ──targets──▶ services, each examined by itself ──▶ Facts
//!                            └──────────── judge(facts, services) ◀──────────────────────┘
//! ```
//!
//! 1. [`examine`] asks with a validating resolver of our own, many questions at once, each with a deadline. SERVFAIL, silence and what
//!    DNSSEC does not let count are [`Standing::Unknown`](facts::Standing::Unknown) and [`Standing::Bogus`](facts::Standing::Bogus),
//!    never "there is none". What a resolver refuses is asked once more with checking disabled, to tell a broken zone from a broken
//!    resolver.
//! 2. [`targets()`] says which services there are to look at: MX hosts on every address, and what SRV records, a file for mail programs or
//!    the usual names lead to.
//! 3. [`judge()`] is pure. It also holds the two halves together: TLSA records and the chains that were really shown, a policy and the
//!    hosts it names, an announced service and what answers there.

mod ask;
pub mod autoconfig;
mod dkim;
mod examine;
pub mod facts;
mod fetch;
mod judge;
mod servers;
pub mod spf;
mod sts;
mod tags;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use gatepost_net::client::dial::Dialer;
use gatepost_net::dns::{Names, Network};
use gatepost_trust::dns::{Anchors, Resolver, Validation};
use gatepost_trust::verify::Roots;

pub use examine::examine;
pub use facts::DomainFacts;
pub use judge::{IDS, judge};
pub use targets::{is_guess, targets};

/// How long one question may take, asking again included.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many questions are under way at once.
const AT_ONCE: usize = 24;
/// How many answers are kept.
const KEPT: usize = 4096;

/// The way to answers.
#[derive(Debug, Clone)]
pub struct Means {
    /// Asks, and validates.
    pub resolver: Arc<Resolver<Network>>,
    /// Asks with checking disabled, to learn why a resolver refused.
    explaining: Arc<Resolver<Network>>,
    /// The way to web hosts.
    pub dialer: Dialer,
    /// Who vouches for web hosts.
    pub roots: Arc<Roots>,
    /// How long one question may take.
    pub patience: Duration,
    /// How long it may wait for its turn besides: the lines of a list share a resolver, which is asked no more than it can hold.
    pub turn: Duration,
    /// How many questions are under way at once.
    pub at_once: usize,
    /// The port of HTTPS: 443, or another where it is forwarded.
    pub https_port: u16,
    /// The port at which name servers are asked whether they answer by IPv6: 53; none: they are not asked.
    pub name_servers: Option<u16>,
    /// Selectors of DKIM keys to look at.
    pub selectors: Vec<String>,
}

impl Means {
    /// Asks this network, validates from these anchors, and reaches web hosts by this dialer. The dialer's own way to resolve names is
    /// replaced: by the same resolver, so that nothing else is asked than what is judged.
    #[must_use]
    pub fn new(network: Network, anchors: Anchors, dialer: Dialer, roots: Arc<Roots>) -> Self {
        let own = Validation::Own(anchors);
        let resolver = Arc::new(Resolver::new(network.clone(), own.clone(), KEPT));
        let explaining = Resolver::new(network, own, KEPT).danger_checking_disabled();
        Self {
            explaining: Arc::new(explaining),
            dialer: Dialer {
                resolver: Arc::new(Names(Arc::clone(&resolver))),
                ..dialer
            },
            resolver,
            roots,
            patience: PATIENCE,
            turn: Duration::ZERO,
            at_once: AT_ONCE,
            https_port: 443,
            name_servers: Some(53),
            selectors: Vec::new(),
        }
    }
}
