//! The judge at work: each way the terms allow, looked at by itself, and what follows from all of them.

use std::time::SystemTime;

use super::Evidence;
use super::dane;
use super::path::{self, Path};
use super::reason::Reason;
use super::reference::Reference;
use super::revocation::{self, Question};
use super::terms::{RevocationMode, Terms, Way};
use super::verdict::{Check, CrlUrl, Kind, Outcome, Status, Verdict, VerifiedBy};
use crate::pin::{Pin, PinSet};
use crate::tlsa::TlsaSet;
use crate::x509::Certificate;

/// What is judged, by what, and when.
pub(super) struct Judge<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) chain: &'a [Certificate],
    /// The place of a certificate that was sent and cannot be read.
    pub(super) unreadable: Option<usize>,
    pub(super) terms: &'a Terms,
    pub(super) now: SystemTime,
}

/// What came of one way.
pub(super) struct Judged {
    pub(super) by: VerifiedBy,
    checks: Vec<Check>,
    wants: Vec<CrlUrl>,
    can_be_settled: bool,
}

impl Judged {
    fn new(by: VerifiedBy, checks: Vec<Check>) -> Self {
        Self {
            by,
            checks,
            wants: Vec::new(),
            can_be_settled: false,
        }
    }

    pub(super) fn is_good(&self) -> bool {
        // Nothing looked at is nothing known.
        !self.checks.is_empty() && self.checks.iter().all(Check::is_good)
    }

    pub(super) fn sorted(&self) -> Vec<Check> {
        let mut checks = self.checks.clone();
        checks.sort_by_key(|it| it.kind);
        checks
    }

    /// Whether a status of revocation is all that is missing, and lists could settle it.
    fn waits(&self) -> bool {
        let mut bad = self.checks.iter().filter(|it| !it.is_good());
        let only = bad.all(|it| {
            it.kind == Kind::Revocation
                && matches!(it.status, Status::Fail(Reason::StatusUnknown { .. }))
        });
        only && !self.wants.is_empty() && self.can_be_settled
    }
}

impl Judge<'_> {
    pub(super) fn way(&self, way: &Way) -> Judged {
        match way {
            Way::Pkix | Way::MtaSts => {
                let (mut judged, path) = self.pkix(way.by());
                self.add_pins(&mut judged, path.as_ref());
                judged
            }
            Way::Dane(set) => self.dane(set),
            Way::Pin(pins) => self.pin(pins),
        }
    }

    /// A trusted authority vouches for one of the names [ID-08].
    fn pkix(&self, by: VerifiedBy) -> (Judged, Option<Path>) {
        let roots = &self.terms.roots;
        let listed = |leaf: &Certificate| leaf.is_self_issued() && roots.lists(&leaf.der);
        let itself = self.chain.first().is_some_and(listed);
        let found = path::find(self.chain, roots.anchors(), itself, self.now);
        self.chained(by, found)
    }

    /// What every way that rests on a path looks at besides.
    fn chained(&self, by: VerifiedBy, found: path::Found) -> (Judged, Option<Path>) {
        let mut judged = Judged::new(by, found.checks);
        let lost = self.unreadable.filter(|_| found.path.is_none());
        if let Some((position, chain)) = lost.zip(judged.checks.first_mut()) {
            chain.status = Status::Fail(Reason::Malformed { position });
        }
        let services = !self.is_constrained(found.path.as_ref());
        let name = Status::of(self.name(services));
        judged.checks.push(Check::new(Kind::Name, name));
        let revocation = revocation::judge(&Question {
            chain: self.chain,
            path: found.path.as_ref(),
            staple: &self.evidence.staple,
            crls: &self.terms.crls,
            mode: self.terms.revocation,
            now: self.now,
        });
        judged.checks.extend(revocation.checks);
        judged.wants = revocation.wants;
        judged.can_be_settled = revocation.can_be_settled;
        (judged, found.path)
    }

    /// Whether an authority of the path is held to certain names [ID-11].
    fn is_constrained(&self, path: Option<&Path>) -> bool {
        path.is_none_or(|path| {
            let authorities = path.places.iter().skip(1);
            let mut authorities = authorities.filter_map(|place| self.chain.get(*place));
            path.anchor.has_name_constraints || authorities.any(|it| it.has_name_constraints)
        })
    }

    /// [ID-07] [CONF-04] subject alternative names only.
    fn name(&self, services: bool) -> Result<(), Reason> {
        let Some(leaf) = self.chain.first() else {
            return Err(Reason::NoCertificate);
        };
        let references = &self.terms.references;
        let presented = |it: &Reference| it.is_presented(&leaf.names, services);
        if references.iter().any(presented) {
            return Ok(());
        }
        let came = leaf.names.to_list();
        if came.is_empty() {
            return Err(Reason::NoNames);
        }
        Err(Reason::NameMismatch {
            expected: references.iter().map(ToString::to_string).collect(),
            came,
        })
    }

    fn dane(&self, set: &TlsaSet) -> Judged {
        let by = VerifiedBy::Dane;
        let matched = || Check::new(Kind::Dane, Status::Pass);
        if set.is_empty() {
            return Judged::new(
                by,
                vec![Check::new(Kind::Dane, Status::Fail(Reason::NoTlsa))],
            );
        }
        // [DANE-08]
        if dane::matches_end_entity(set, self.chain) {
            let mut judged = Judged::new(by, vec![self.leaf_key(), matched()]);
            self.add_pins(&mut judged, None);
            return judged;
        }
        // [DANE-09]
        let anchored = dane::find_anchored(set, self.chain, self.now).map(|found| {
            let (mut judged, path) = self.chained(by, found);
            judged.checks.push(matched());
            self.add_pins(&mut judged, path.as_ref());
            judged
        });
        let failed = match anchored {
            Some(judged) if judged.is_good() => return judged,
            other => other,
        };
        self.dane_with_pkix(set).or(failed).unwrap_or_else(|| {
            let reason = self.chain.first().map_or(Reason::NoCertificate, |leaf| {
                dane::no_match(set, &self.evidence.chain, leaf)
            });
            Judged::new(by, vec![Check::new(Kind::Dane, Status::Fail(reason))])
        })
    }

    /// Usages 0 and 1: a public authority vouches, and a record matches. None when none does.
    fn dane_with_pkix(&self, set: &TlsaSet) -> Option<Judged> {
        let (mut judged, path) = self.pkix(VerifiedBy::Dane);
        let path = path?;
        if !dane::matches_pkix(set, self.chain, &path) {
            return None;
        }
        judged.checks.push(Check::new(Kind::Dane, Status::Pass));
        self.add_pins(&mut judged, Some(&path));
        Some(judged)
    }

    /// Pins alone. They name the server's own key or certificate.
    fn pin(&self, pins: &PinSet) -> Judged {
        let leaf = self.chain.first();
        let matches = leaf.is_some_and(|leaf| pins.pins().iter().any(|it| it.is_of(leaf)));
        let status = if matches {
            Status::Pass
        } else {
            let covered = self.pkix(VerifiedBy::Pkix).0.is_good();
            Status::Fail(self.mismatch(pins, covered.then_some(VerifiedBy::Pkix)))
        };
        let mut judged = Judged::new(
            VerifiedBy::Pin,
            vec![self.leaf_key(), Check::new(Kind::Pins, status)],
        );
        if matches {
            self.add_pins(&mut judged, None);
        }
        judged
    }

    fn leaf_key(&self) -> Check {
        let leaf: Vec<(usize, &Certificate)> =
            self.chain.first().map(|it| (0, it)).into_iter().collect();
        Check::new(Kind::Key, Status::of(path::keys(&leaf)))
    }

    /// Pins as a further condition [PIN-02] [CONF-12]: they may name any certificate of the path, and the trusted key.
    fn add_pins(&self, judged: &mut Judged, path: Option<&Path>) {
        let Some(pins) = &self.terms.pins else {
            return;
        };
        let places = path.map_or(&[0][..], |path| &path.places);
        let certificates: Vec<&Certificate> =
            places.iter().filter_map(|it| self.chain.get(*it)).collect();
        let matches = |pin: &Pin| {
            let anchor =
                path.is_some_and(|path| *pin == Pin::Spki(crate::x509::sha256(&path.anchor.spki)));
            anchor || certificates.iter().any(|it| pin.is_of(it))
        };
        let status = if pins.pins().iter().any(matches) {
            Status::Pass
        } else {
            let covered = judged.is_good().then_some(judged.by);
            let reason = self.mismatch(pins, covered);
            if pins.report_only {
                Status::Unknown(reason)
            } else {
                Status::Fail(reason)
            }
        };
        judged.checks.push(Check::new(Kind::Pins, status));
    }

    fn mismatch(&self, pins: &PinSet, covered: Option<VerifiedBy>) -> Reason {
        let Some(leaf) = self.chain.first() else {
            return Reason::NoCertificate;
        };
        Reason::PinMismatch {
            expected: pins.pins().to_vec(),
            came: Pin::Spki(leaf.spki_hash()),
            covered,
        }
    }

    /// What follows when no way leads to `Verified`.
    pub(super) fn unverified(&self, judged: &[Judged], all: bool) -> Verdict {
        if judged.is_empty() {
            // Nothing was asked; what an authority would say is told all the same.
            let checks = self.way(&Way::Pkix).sorted();
            return Verdict {
                checks,
                ..Verdict::unverified(Kind::Chain, Reason::NotTested)
            };
        }
        let waits = self.terms.revocation == RevocationMode::Hard
            && if all {
                judged.iter().all(|it| it.is_good() || it.waits())
                    && judged.iter().any(Judged::waits)
            } else {
                judged.iter().any(Judged::waits)
            };
        let checks = merge(judged);
        let excepted = self.is_excepted(&checks);
        Verdict {
            outcome: Outcome::Unverified,
            checks,
            wants: wants(judged),
            waits,
            excepted,
        }
    }

    /// The user's exception stands for an authority, no more: it excuses who has issued the certificate, for whom and until
    /// when. A revoked certificate, a weak key or a pin that does not match is not excused.
    /// [PIN-01] [CONF-12]
    fn is_excepted(&self, checks: &[Check]) -> bool {
        let exception = self.terms.exception.as_ref();
        let made = exception.zip(self.chain.first());
        let excused = |it: &Check| {
            matches!(
                it.kind,
                Kind::Chain | Kind::Signature | Kind::Dates | Kind::Usage | Kind::Name
            )
        };
        made.is_some_and(|(exception, leaf)| exception.is_for(leaf))
            && checks.iter().all(|it| it.is_good() || excused(it))
    }
}

pub(super) fn wants(judged: &[Judged]) -> Vec<CrlUrl> {
    let mut wants: Vec<CrlUrl> = Vec::new();
    for want in judged.iter().flat_map(|it| &it.wants) {
        if !wants.contains(want) {
            wants.push(want.clone());
        }
    }
    wants
}

/// The checks of all ways, each kind once: the worst of it.
pub(super) fn merge(judged: &[Judged]) -> Vec<Check> {
    let mut merged: Vec<Check> = Vec::new();
    for check in judged.iter().flat_map(|it| &it.checks) {
        match merged.iter_mut().find(|it| it.kind == check.kind) {
            Some(known) if known.is_good() && !check.is_good() => *known = check.clone(),
            Some(_) => {}
            None => merged.push(check.clone()),
        }
    }
    merged.sort_by_key(|it| it.kind);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_looked_at_is_nothing_known() {
        assert!(!Judged::new(VerifiedBy::Pkix, Vec::new()).is_good());
    }
}
