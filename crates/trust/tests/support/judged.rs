//! Chains put before the judge, and his word in short.

use std::sync::Arc;

use gatepost_testkit::pki::{Authority, Issued, now};
use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
use gatepost_trust::verify::{
    Crls, Evidence, Outcome, Reason, RevocationMode, Terms, Verdict, Way, Ways, judge,
};
use rcgen::{CertificateParams, CrlDistributionPoint};
use rustls_pki_types::CertificateDer;

use super::terms;

pub(crate) const HOST: &str = "mail.example.org";

pub(crate) fn evidence(chain: &[&CertificateDer<'static>]) -> Evidence {
    Evidence {
        chain: chain.iter().map(|it| (*it).clone()).collect(),
        staple: Vec::new(),
    }
}

pub(crate) fn verdict_of(leaf: &Issued, others: &[&Authority], terms: &Terms) -> Verdict {
    let mut chain = vec![&leaf.certificate];
    chain.extend(others.iter().map(|it| &it.certificate));
    judge(&evidence(&chain), terms, now())
}

/// The label of the reason, or by what it is verified.
pub(crate) fn word(verdict: &Verdict) -> &'static str {
    match verdict.outcome {
        Outcome::Verified(by) => by.label(),
        Outcome::Unverified => verdict.reason().map_or("nothing", Reason::label),
    }
}

/// A leaf under an authority under a root, with where their lists are.
pub(crate) struct Family {
    pub(crate) root: Authority,
    pub(crate) middle: Authority,
    pub(crate) leaf: Issued,
}

impl Family {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = Authority::root("Root");
        let middle = root.authority_with("Middle", |it| {
            it.crl_distribution_points = vec![point("http://crl.example/root.crl")];
        });
        let leaf = middle.issue_with(&[HOST], |it| {
            it.crl_distribution_points = vec![point("http://crl.example/middle.crl")];
            change(it);
        });
        Self { root, middle, leaf }
    }

    pub(crate) fn judged(&self, mode: RevocationMode, lists: &[Vec<u8>]) -> Verdict {
        let mut crls = Crls::none();
        for list in lists {
            crls.add(list).unwrap();
        }
        let terms = Terms {
            revocation: mode,
            crls,
            ..terms(HOST, &self.root)
        };
        verdict_of(&self.leaf, &[&self.middle], &terms)
    }
}

pub(crate) fn point(url: &str) -> CrlDistributionPoint {
    CrlDistributionPoint {
        uris: vec![url.to_owned()],
    }
}

/// A verdict by one TLSA record for a chain.
pub(crate) fn by_record(
    record: &Tlsa,
    chain: &[&CertificateDer<'static>],
    terms: &Terms,
) -> &'static str {
    let set = TlsaSet::new(std::slice::from_ref(record), Usages::All);
    let terms = Terms {
        ways: Ways::Any(vec![Way::Dane(Arc::new(set))]),
        ..terms.clone()
    };
    word(&judge(&evidence(chain), &terms, now()))
}
