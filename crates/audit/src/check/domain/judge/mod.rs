//! From facts to checks: pure, one check for each id, over all hosts, records and addresses of the domain.
//!
//! A finding's severity follows the part a service plays and what the domain promised: a certificate nobody knows is a remark on port 25
//! until a policy says `enforce`; then it keeps mail from coming.

mod dane;
mod dnssec;
mod exchange;
mod host;
mod join;
mod live;
mod mail;
mod report;
mod service;
mod sts;
pub(super) mod tally;

use gatepost_trust::mta_sts::Policy;

use super::facts::{DomainFacts, Fetch};
use crate::check::document::Check;
use crate::check::facts::Facts;

/// The ids of the checks made here, in their order.
pub const IDS: [&str; 30] = [
    "MX-001",
    "DNSSEC-001",
    "DNSSEC-002",
    // [NAT-US-01] with STS-001, RPT-001, and STLS-001 and CERT-CHAIN of the services
    "DANE-001",
    "DANE-002",
    "DANE-003",
    "DANE-004",
    "DANE-005",
    "DANE-006",
    "STS-001",
    "STS-002",
    "STS-003",
    "STS-004",
    "STS-005",
    "STS-006",
    "RPT-001",
    "RPT-002",
    "STRIP-002",
    "NET-002",
    "CAA-001",
    "SRV-001",
    "ACFG-001",
    "PTR-001",
    "V6-001",
    "SPF-001",
    "SPF-002",
    "SPF-003",
    "DKIM-001",
    "DMARC-001",
    "DMARC-002",
];

/// What is judged.
pub(super) struct Case<'a> {
    pub(super) facts: &'a DomainFacts,
    pub(super) services: &'a [Facts],
    /// In seconds since 1970-01-01 UTC.
    pub(super) at: u64,
}

impl<'a> Case<'a> {
    /// What was seen of a host's port, address by address.
    pub(super) fn seen(&self, host: &str, port: u16) -> impl Iterator<Item = &'a Facts> {
        let host = host.to_owned();
        self.services
            .iter()
            .filter(move |it| it.target.port == port && same_host(&it.target.host, &host))
    }

    /// The policy of MTA-STS, where there is one senders take.
    pub(super) fn policy(&self) -> Option<Policy> {
        super::sts::id(&self.facts.sts.record)?;
        match &self.facts.sts.policy.fetch {
            Fetch::Came { body, .. } => Policy::parse(body.as_bytes()).ok(),
            _ => None,
        }
    }
}

fn same_host(one: &str, other: &str) -> bool {
    one.trim_end_matches('.')
        .eq_ignore_ascii_case(other.trim_end_matches('.'))
}

/// Judges a domain by what DNS said and what its services did, at a moment given in seconds since 1970-01-01 UTC.
#[must_use]
pub fn judge(facts: &DomainFacts, services: &[Facts], at: u64) -> Vec<Check> {
    let case = Case {
        facts,
        services,
        at,
    };
    let mut checks = Vec::with_capacity(IDS.len());
    checks.extend(exchange::judge(&case));
    checks.extend(dnssec::judge(&case));
    checks.extend(dane::judge(&case));
    checks.extend(sts::judge(&case));
    checks.extend(report::judge(&case));
    checks.extend(join::judge(&case));
    checks.extend(host::judge(&case));
    checks.extend(service::judge(&case));
    checks.extend(mail::judge(&case));
    let place = |check: &Check| IDS.iter().position(|id| *id == check.rule.id);
    checks.sort_by_key(place);
    checks
}
