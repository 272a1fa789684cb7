//! What the certificates seen are worth, at the time of the packet that brought them.
//!
//! The judge is that of the clients (`trust`), so that a report and a connection never disagree. Without trusted authorities nothing is
//! said about the path; without a name that was asked for nothing is said about the name.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_trust::cert::{Description, describe};
use gatepost_trust::verify::{
    Evidence, Kind, PublicKeyKind, Reason, Reference, Roots, SignatureKind, Terms, judge,
};
use rustls_pki_types::CertificateDer;

use crate::finding::Severity;

/// A certificate that ends within this time is told.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// The most certificates of a chain that are looked at.
const MOST: usize = 16;

/// Something wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The rule.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
}

/// Judges chains.
#[derive(Debug, Default, Clone)]
pub struct Judge {
    roots: Option<Arc<Roots>>,
}

impl Judge {
    /// With trusted authorities, or without.
    #[must_use]
    pub fn new(roots: Option<Arc<Roots>>) -> Self {
        Self {
            roots: roots.filter(|it| !it.is_empty()),
        }
    }

    /// What is wrong with a chain, the server's own certificate first, at a time in nanoseconds since 1970.
    #[must_use]
    pub fn judge(&self, chain: &[Vec<u8>], name: Option<&str>, time: u64) -> Vec<Problem> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(time / 1_000_000_000);
        let chain: Vec<CertificateDer<'static>> = chain
            .iter()
            .take(MOST)
            .map(|it| CertificateDer::from(it.clone()))
            .collect();
        let mut problems = Vec::new();
        for (position, certificate) in chain.iter().enumerate() {
            if let Ok(description) = describe(certificate) {
                dates(&description, position, now, &mut problems);
                strength(&description, position, &mut problems);
            }
        }
        self.path_and_name(chain, name, now, &mut problems);
        let mut told: Vec<Problem> = Vec::new();
        problems.retain(|it| {
            let is_new = !told.contains(it);
            told.extend(is_new.then(|| it.clone()));
            is_new
        });
        problems
    }

    /// What the OCSP answer that came along says. Only that a certificate was revoked is told, and only where its issuer says so: an answer that
    /// does not count is the business of the clients.
    #[must_use]
    pub fn status(&self, chain: &[Vec<u8>], staple: &[u8], time: u64) -> Vec<Problem> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(time / 1_000_000_000);
        let chain: Vec<CertificateDer<'static>> = chain
            .iter()
            .take(MOST)
            .map(|it| CertificateDer::from(it.clone()))
            .collect();
        let Ok(somebody) = Reference::host("unknown.invalid") else {
            return Vec::new();
        };
        // Who has issued the certificate need not be trusted to say that it was revoked.
        let mut issuer = Roots::none();
        let added = chain.get(1).and_then(|it| issuer.add(it.clone()));
        let roots = match added {
            Some(()) => Arc::new(issuer),
            None => self
                .roots
                .clone()
                .unwrap_or_else(|| Arc::new(Roots::none())),
        };
        let terms = Terms::for_host(somebody, roots);
        let evidence = Evidence {
            chain,
            staple: staple.to_vec(),
        };
        let checks = judge(&evidence, &terms, now).checks;
        let is_revoked = checks
            .iter()
            .any(|it| matches!(it.status.reason(), Some(Reason::Revoked(_))));
        if !is_revoked {
            return Vec::new();
        }
        vec![Problem {
            id: "W509",
            severity: Severity::High,
            evidence: "the answer that came with it says that the certificate was revoked"
                .to_owned(),
        }]
    }

    fn path_and_name(
        &self,
        chain: Vec<CertificateDer<'static>>,
        name: Option<&str>,
        now: SystemTime,
        problems: &mut Vec<Problem>,
    ) {
        let roots = self
            .roots
            .clone()
            .unwrap_or_else(|| Arc::new(Roots::none()));
        let reference = name.and_then(|it| Reference::host(it).ok());
        let asked = reference.is_some();
        let Ok(somebody) = Reference::host("unknown.invalid") else {
            return;
        };
        let terms = Terms::for_host(reference.unwrap_or(somebody), roots);
        let evidence = Evidence {
            chain,
            staple: Vec::new(),
        };
        for check in judge(&evidence, &terms, now).checks {
            let Some(reason) = check.status.reason() else {
                continue;
            };
            match (check.kind, reason) {
                (Kind::Name, Reason::NameMismatch { .. } | Reason::NoNames) if asked => {
                    problems.push(problem(
                        "W506",
                        "the certificate is for other names than was asked for",
                    ));
                }
                (Kind::Chain, reason) if self.roots.is_some() => {
                    problems.extend(path(reason).map(|it| problem("W505", it)));
                }
                _ => {}
            }
        }
    }
}

fn problem(id: &'static str, evidence: &str) -> Problem {
    Problem {
        id,
        severity: Severity::Medium,
        evidence: evidence.to_owned(),
    }
}

fn path(reason: &Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::SelfSigned => "the certificate is signed by itself",
        Reason::UnknownIssuer { alone: true, .. } => {
            "nobody trusted has issued the certificate; one in between may be missing"
        }
        Reason::UnknownIssuer { .. } => "nobody trusted has issued the chain",
        Reason::BadSignature => "a signature of the chain is not by whom it should be",
        Reason::Malformed { .. } => "a certificate cannot be read",
        Reason::LeafIsAuthority
        | Reason::NotAuthority
        | Reason::PathTooLong
        | Reason::NameConstraints
        | Reason::CriticalExtension
        | Reason::TooComplex => "the chain breaks the rules of chains",
        _ => return None,
    })
}

fn whose(position: usize) -> &'static str {
    if position == 0 {
        "the server's certificate"
    } else {
        "a certificate of the chain"
    }
}

fn dates(it: &Description, position: usize, now: SystemTime, problems: &mut Vec<Problem>) {
    let whose = whose(position);
    let (severity, word) = if it.not_after < now {
        (Severity::High, "had ended")
    } else if it.not_before > now {
        (Severity::High, "was not good yet")
    } else if position == 0
        && it
            .not_after
            .duration_since(now)
            .is_ok_and(|left| left < SOON)
    {
        (Severity::Low, "ends within 14 days")
    } else {
        return;
    };
    problems.push(Problem {
        id: "W504",
        severity,
        evidence: format!("{whose} {word}"),
    });
}

fn strength(it: &Description, position: usize, problems: &mut Vec<Problem>) {
    let whose = whose(position);
    if let PublicKeyKind::Rsa(bits) = it.key
        && bits < 2048
    {
        problems.push(problem(
            "W507",
            &format!("{whose} has an RSA key of {bits} bits"),
        ));
    }
    // The signature of a root says nothing: it is trusted as it is.
    let is_weak = matches!(it.signature, SignatureKind::Sha1 | SignatureKind::Md5);
    if is_weak && !it.is_self_issued {
        problems.push(problem(
            "W507",
            &format!("{whose} is signed with {}", it.signature),
        ));
    }
}
