//! Has any certificate of the path been revoked [REV-01]? In this order [CONF-13]:
//!
//! 1. A certificate good for ten days at most is not asked about: it ends before a list would help. A list at hand that names it
//!    counts.
//! 2. Lists of revoked certificates at hand, for each certificate of the path but the trusted one [REV-02].
//! 3. The OCSP answer the server stapled, for its own certificate.
//! 4. Nothing is fetched here; where lists could be had is told ([`super::Verdict::wants_crls`]).
//!
//! A stapled answer is judged whenever there is one, and one that does not count refuses the peer [REV-03]. A certificate that
//! must come with one (RFC 7633) and does not is not valid: we always ask for it [REV-06].

use std::time::{Duration, SystemTime};

use super::crl::{CrlProblem, Crls, IssuerKey, Listed};
use super::ocsp::{self, StapleProblem, Stapled};
use super::path::Path;
use super::reason::{Reason, Whose};
use super::terms::RevocationMode;
use super::verdict::{Check, CrlUrl, Kind, Status};
use crate::x509::Certificate;

/// The longest life of a certificate that needs no status [CONF-13].
const SHORT_LIFE: Duration = Duration::from_secs(10 * 24 * 3600);

/// What is looked at.
pub(crate) struct Question<'a> {
    pub(crate) chain: &'a [Certificate],
    pub(crate) path: Option<&'a Path>,
    pub(crate) staple: &'a [u8],
    pub(crate) crls: &'a Crls,
    pub(crate) mode: RevocationMode,
    pub(crate) now: SystemTime,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) checks: Vec<Check>,
    /// Lists that would settle what is open.
    pub(crate) wants: Vec<CrlUrl>,
    /// Whether each open status could be settled by one of them.
    pub(crate) can_be_settled: bool,
}

/// A certificate and its issuer.
struct Link<'a> {
    position: usize,
    certificate: &'a Certificate,
    issuer_name: &'a [u8],
    issuer: IssuerKey<'a>,
}

pub(crate) fn judge(question: &Question<'_>) -> Found {
    let links = links(question);
    let stapled = links
        .first()
        .filter(|_| !question.staple.is_empty())
        .map(|leaf| {
            let issuer = ocsp::Issuer {
                name: leaf.issuer_name,
                spki: leaf.issuer.spki,
            };
            ocsp::judge(question.staple, leaf.certificate, issuer, question.now)
        });
    let mut found = lists(question, &links, stapled);
    found
        .checks
        .push(Check::new(Kind::Staple, staple(question, stapled)));
    found
        .checks
        .push(Check::new(Kind::MustStaple, must_staple(question, stapled)));
    found
}

/// Each certificate of the path with its issuer.
fn links<'a>(question: &Question<'a>) -> Vec<Link<'a>> {
    let Some(path) = question.path else {
        return Vec::new();
    };
    let issuers = path.places.iter().skip(1).map(Some).chain([None]);
    let link = |(position, issuer): (&usize, Option<&usize>)| {
        let (issuer_name, issuer) = match issuer {
            Some(place) => of_authority(question.chain.get(*place)?),
            None => of_anchor(path),
        };
        Some(Link {
            position: *position,
            certificate: question.chain.get(*position)?,
            issuer_name,
            issuer,
        })
    };
    path.places.iter().zip(issuers).filter_map(link).collect()
}

fn of_authority(issuer: &Certificate) -> (&[u8], IssuerKey<'_>) {
    let key = IssuerKey {
        spki: &issuer.spki,
        may_sign_lists: issuer.key_usage.is_none_or(|it| it.crl_sign),
    };
    (&issuer.subject_der, key)
}

fn of_anchor(path: &Path) -> (&[u8], IssuerKey<'_>) {
    let key = IssuerKey {
        spki: &path.anchor.spki,
        may_sign_lists: true,
    };
    (&path.anchor.subject_der, key)
}

/// [CONF-13] [REV-02]
fn lists(question: &Question<'_>, links: &[Link<'_>], stapled: Option<Stapled>) -> Found {
    let mut found = Found {
        checks: Vec::new(),
        wants: Vec::new(),
        can_be_settled: true,
    };
    let mut open: Option<Reason> = None;
    let mut revoked: Option<Reason> = None;
    // Whoever is trusted as it is, nobody else can revoke.
    let is_itself = question.path.is_some_and(|path| path.is_itself);
    for link in links.iter().filter(|_| !is_itself) {
        let Some(problem) = status(question, link, stapled) else {
            continue;
        };
        let whose = Whose::new(link.position, link.certificate);
        match problem {
            Problem::Revoked => revoked = revoked.or(Some(Reason::Revoked(whose))),
            Problem::Open(problem) => {
                open = open.or(Some(Reason::StatusUnknown { whose, problem }));
                let before = found.wants.len();
                found.wants.extend(urls(link));
                found.can_be_settled &= found.wants.len() > before;
            }
        }
    }
    let status = match (question.mode, revoked, open) {
        _ if links.is_empty() => Status::Unknown(Reason::NotTested),
        (RevocationMode::Off, ..) => {
            found.wants.clear();
            Status::NotApplicable
        }
        _ if is_itself => Status::NotApplicable,
        (RevocationMode::Soft, None, Some(reason)) => Status::Unknown(reason),
        (_, Some(reason), _) | (RevocationMode::Hard, None, Some(reason)) => Status::Fail(reason),
        (_, None, None) => Status::Pass,
    };
    found.checks.push(Check::new(Kind::Revocation, status));
    found
}

enum Problem {
    Revoked,
    Open(CrlProblem),
}

fn status(question: &Question<'_>, link: &Link<'_>, stapled: Option<Stapled>) -> Option<Problem> {
    let listed = question
        .crls
        .status(link.certificate, link.issuer, question.now);
    match listed {
        Listed::Revoked => Some(Problem::Revoked),
        // No list is asked for; one that is at hand and names it counts all the same.
        _ if link.certificate.life() <= SHORT_LIFE => None,
        Listed::Good => None,
        Listed::Unknown(_) if link.position == 0 && stapled == Some(Stapled::Good) => None,
        Listed::Unknown(problem) => Some(Problem::Open(problem)),
    }
}

fn urls(link: &Link<'_>) -> impl Iterator<Item = CrlUrl> {
    let http = link.certificate.crl_urls.iter().filter(|url| {
        let scheme = url.get(..7);
        scheme.is_some_and(|it| it.eq_ignore_ascii_case("http://"))
    });
    http.map(|url| CrlUrl {
        url: url.clone(),
        position: link.position,
    })
}

/// [REV-03]
fn staple(question: &Question<'_>, stapled: Option<Stapled>) -> Status {
    let leaf = || question.chain.first().map(|it| Whose::new(0, it));
    match stapled {
        _ if question.staple.is_empty() => Status::NotApplicable,
        None => Status::Unknown(Reason::NotTested),
        Some(Stapled::Good) => Status::Pass,
        Some(Stapled::Revoked) => {
            Status::Fail(leaf().map_or(Reason::NoCertificate, Reason::Revoked))
        }
        // The responder was out of order, and says so. That is as good as no answer.
        Some(Stapled::Bad(StapleProblem::NoAnswer)) => {
            Status::Unknown(Reason::Staple(StapleProblem::NoAnswer))
        }
        Some(Stapled::Bad(problem)) => Status::Fail(Reason::Staple(problem)),
    }
}

/// [REV-06]
fn must_staple(question: &Question<'_>, stapled: Option<Stapled>) -> Status {
    let must = question.chain.first().is_some_and(|it| it.must_staple);
    match stapled {
        _ if !must => Status::NotApplicable,
        Some(Stapled::Good) => Status::Pass,
        _ => Status::Fail(Reason::StapleMissing),
    }
}
