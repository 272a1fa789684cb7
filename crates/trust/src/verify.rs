//! Is the peer whom policy says? From a certificate chain to a verdict.
//!
//! 1. Before connecting, everything is decided and written into [`Terms`]: the names the peer may have, the ways to know it,
//!    whom we trust, what the handshake must bring. Nothing of it comes from the peer.
//! 2. [`ClientTls`] makes an [`Attempt`] of them: the engine's configuration for one connection, with a verifier inside.
//! 3. In the handshake the verifier gives the chain and the stapled OCSP answer to [`judge`], and keeps the [`Verdict`]. With
//!    [`Demand::Verified`] a bad one ends the handshake with the alert that fits.
//! 4. After the handshake, also after a failed one, [`Attempt::verdict`] says what was found. Lists of revoked certificates
//!    can be fetched then, and the judge asked again.
//!
//! [`judge`] is pure: same evidence, terms and time, same verdict. It does no I/O and knows no clock.

mod client;
mod path;
mod reason;
mod reference;
mod roots;
mod terms;
mod verdict;

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

pub use client::{Attempt, ClientTls, Shares};
pub use reason::{Blame, Reason, Whose};
pub use reference::{BadName, HostName, Reference};
pub use roots::{Roots, RootsError};
pub use terms::{Alpn, Demand, RevocationMode, Terms, Versions, Way, Ways};
pub use verdict::{Check, CrlUrl, Kind, Outcome, Status, Verdict, VerifiedBy};

use crate::x509::Certificate;

/// What the peer showed of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The certificates in the order they came, the server's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The stapled OCSP answer; empty when there was none.
    pub staple: Vec<u8>,
}

/// Judges evidence by the terms.
pub fn judge(evidence: &Evidence, terms: &Terms, now: SystemTime) -> Verdict {
    // Certificates count in whole seconds.
    let now = whole_seconds(now);
    let chain = match read_chain(&evidence.chain) {
        Ok(chain) => chain,
        Err(reason) => {
            let check = Check::new(Kind::Chain, Status::Fail(reason));
            return Verdict {
                outcome: Outcome::Unverified,
                checks: vec![check],
                wants: Vec::new(),
                waits: false,
                excepted: false,
            };
        }
    };
    let (ways, all) = match &terms.ways {
        Ways::Any(ways) => (ways, false),
        Ways::All(ways) => (ways, true),
    };
    let judged: Vec<(VerifiedBy, Vec<Check>)> = ways
        .iter()
        .map(|way| (way.by(), judge_way(way, &chain, terms, now)))
        .collect();
    let passed = |checks: &[Check]| checks.iter().all(|it| is_good(it));
    let verified = if all {
        let every = judged.iter().all(|(_, checks)| passed(checks));
        judged.first().filter(|_| every)
    } else {
        judged.iter().find(|(_, checks)| passed(checks))
    };
    let (outcome, checks) = match verified {
        Some((by, checks)) => (Outcome::Verified(*by), checks.clone()),
        None => (Outcome::Unverified, merge(&judged)),
    };
    Verdict {
        outcome,
        checks,
        wants: Vec::new(),
        waits: false,
        excepted: false,
    }
}

fn read_chain(chain: &[CertificateDer<'_>]) -> Result<Vec<Certificate>, Reason> {
    if chain.is_empty() {
        return Err(Reason::NoCertificate);
    }
    let read = |(position, der)| Certificate::read(der).map_err(|_| Reason::Malformed { position });
    chain.iter().enumerate().map(read).collect()
}

fn judge_way(way: &Way, chain: &[Certificate], terms: &Terms, now: SystemTime) -> Vec<Check> {
    match way {
        Way::Pkix | Way::MtaSts => judge_pkix(chain, terms, now),
    }
}

fn judge_pkix(chain: &[Certificate], terms: &Terms, now: SystemTime) -> Vec<Check> {
    let listed = |leaf: &Certificate| leaf.is_self_issued() && terms.roots.lists(&leaf.der);
    let itself = chain.first().is_some_and(listed);
    let found = path::find(chain, terms.roots.anchors(), itself, now);
    let mut checks = found.checks;
    let constrained = found.path.as_ref().is_none_or(|path| {
        let authorities = path.places.iter().skip(1);
        path.anchor.has_name_constraints
            || authorities
                .filter_map(|place| chain.get(*place))
                .any(|it| it.has_name_constraints)
    });
    checks.push(Check::new(
        Kind::Name,
        Status::of(name(chain, &terms.references, !constrained)),
    ));
    checks
}

/// [ID-07] [CONF-04] subject alternative names only.
fn name(chain: &[Certificate], references: &[Reference], services: bool) -> Result<(), Reason> {
    let Some(leaf) = chain.first() else {
        return Err(Reason::NoCertificate);
    };
    let names = &leaf.names;
    if references.iter().any(|it| it.is_presented(names, services)) {
        return Ok(());
    }
    let came = names.to_list();
    if came.is_empty() {
        return Err(Reason::NoNames);
    }
    Err(Reason::NameMismatch {
        expected: references.iter().map(ToString::to_string).collect(),
        came,
    })
}

/// Whether a check does not stand in the way of `Verified`.
fn is_good(check: &Check) -> bool {
    match check.status {
        Status::Pass | Status::NotApplicable => true,
        Status::Fail(_) => false,
        // A status of revocation that nobody can tell is the one thing that may stay open; hard mode makes it a failure.
        Status::Unknown(_) => check.kind == Kind::Revocation,
    }
}

/// The checks of all ways, each kind once: the worst of it.
fn merge(judged: &[(VerifiedBy, Vec<Check>)]) -> Vec<Check> {
    let mut merged: Vec<Check> = Vec::new();
    for check in judged.iter().flat_map(|(_, checks)| checks) {
        match merged.iter_mut().find(|it| it.kind == check.kind) {
            Some(known) if is_good(known) => *known = check.clone(),
            Some(_) => {}
            None => merged.push(check.clone()),
        }
    }
    merged.sort_by_key(|it| it.kind);
    merged
}

fn whole_seconds(moment: SystemTime) -> SystemTime {
    let since = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
