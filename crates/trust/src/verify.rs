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
mod crl;
mod dane;
mod judge;
mod ocsp;
mod path;
mod reason;
mod reference;
mod revocation;
mod roots;
mod terms;
mod verdict;

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

use judge::{Judge, Judged, merge};
pub(crate) use path::is_weak;

pub use client::{Attempt, ClientTls, Shares};
pub use crl::{BadCrl, CrlProblem, Crls};
pub use ocsp::StapleProblem;
pub use reason::{Blame, Reason, Whose};
pub use reference::{BadName, HostName, Reference};
pub use roots::{Roots, RootsError};
pub use terms::{Alpn, Demand, RevocationMode, Terms, Versions, Way, Ways};
pub use verdict::{Check, CrlUrl, Kind, Outcome, Status, Verdict, VerifiedBy};

use crate::x509::Certificate;
pub use crate::x509::{PublicKeyKind, SignatureKind};

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
    let (chain, unreadable) = match read_chain(&evidence.chain) {
        Ok(read) => read,
        Err(reason) => return Verdict::unverified(Kind::Chain, reason),
    };
    let judge = Judge {
        evidence,
        chain: &chain,
        unreadable,
        terms,
        now,
    };
    let (ways, all) = match &terms.ways {
        Ways::Any(ways) => (ways, false),
        Ways::All(ways) => (ways, true),
    };
    let judged: Vec<Judged> = ways.iter().map(|way| judge.way(way)).collect();
    let verified = if all {
        let every = judged.iter().all(Judged::is_good);
        judged.first().filter(|_| every)
    } else {
        judged.iter().find(|it| it.is_good())
    };
    match verified {
        Some(way) => Verdict {
            outcome: Outcome::Verified(way.by),
            checks: if all { merge(&judged) } else { way.sorted() },
            wants: judge::wants(&judged),
            waits: false,
            excepted: false,
        },
        None => judge.unverified(&judged, all),
    }
}

/// The certificates, and the place of the first that cannot be read. The server's own must be; another may be one nobody needs.
fn read_chain(chain: &[CertificateDer<'_>]) -> Result<(Vec<Certificate>, Option<usize>), Reason> {
    let (leaf, others) = chain.split_first().ok_or(Reason::NoCertificate)?;
    let leaf = Certificate::read(leaf).map_err(|_| Reason::Malformed { position: 0 })?;
    let (mut read, mut unreadable) = (vec![leaf], None);
    for (position, der) in (1..).zip(others) {
        match Certificate::read(der) {
            Ok(certificate) => read.push(certificate),
            Err(_) => unreadable = unreadable.or(Some(position)),
        }
    }
    Ok((read, unreadable))
}

fn whole_seconds(moment: SystemTime) -> SystemTime {
    let since = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
