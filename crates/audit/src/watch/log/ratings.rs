//! Versions and suites as logs name them, and what is wrong with them. A log names few, line after line: each is read and judged once.

use std::sync::Arc;

use super::{Logged, Teller};
use crate::finding::Severity;
use crate::watch::event::Outcome;
use crate::watch::notes::Upgrade;
use crate::watch::tls::TlsFacts;

/// The most that are kept. What a log names beyond these is judged each time.
const MOST: usize = 64;

/// TLS as a log tells it, judged.
#[derive(Debug)]
pub(super) struct Rating {
    facts: Arc<TlsFacts>,
    faults: Vec<(&'static str, Severity, String)>,
}

/// What was judged, by the words it stands for.
#[derive(Debug, Default)]
pub(super) struct Ratings(Vec<(Box<str>, Box<str>, Arc<Rating>)>);

impl Ratings {
    /// `TLSv1.3`, and a suite as OpenSSL names it.
    pub(super) fn rate(&mut self, version: &str, suite: &str) -> Arc<Rating> {
        let known = self
            .0
            .iter()
            .find(|it| &*it.1 == suite && &*it.0 == version);
        if let Some((_, _, rating)) = known {
            return Arc::clone(rating);
        }
        let rating = Arc::new(judge(facts(version, suite)));
        if self.0.len() < MOST && version.len() + suite.len() < 256 {
            self.0
                .push((version.into(), suite.into(), Arc::clone(&rating)));
        }
        rating
    }
}

impl Logged {
    /// TLS was up, at once or after STARTTLS.
    pub(super) fn encrypted(&mut self, outcome: Outcome, rating: &Rating) {
        self.outcome = outcome;
        if outcome == Outcome::Upgraded {
            self.upgrade = Upgrade::Accepted;
        }
        self.tls = Some(Arc::clone(&rating.facts));
    }
}

impl Teller {
    /// Tells of versions and suites that should not be.
    pub(super) fn faults(&mut self, session: &Logged, rating: &Rating) {
        for (id, severity, evidence) in &rating.faults {
            self.tell(id, Some(*severity), session, evidence.clone(), None);
        }
    }
}

fn facts(version: &str, suite: &str) -> TlsFacts {
    let number = match version {
        "TLSv1.3" | "TLS1.3" => Some(0x0304),
        "TLSv1.2" | "TLS1.2" => Some(0x0303),
        "TLSv1.1" | "TLS1.1" => Some(0x0302),
        "TLSv1" | "TLSv1.0" | "TLS1" | "TLS1.0" => Some(0x0301),
        "SSLv3" | "SSL3" => Some(0x0300),
        _ => None,
    };
    let is_name = suite.len() <= 64
        && suite
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'));
    TlsFacts {
        version: number,
        suite_name: is_name.then(|| suite.to_owned()),
        is_established: true,
        ..TlsFacts::default()
    }
}

fn judge(facts: TlsFacts) -> Rating {
    let mut faults = Vec::new();
    let old = match facts.version {
        Some(0x0300) => Some((Severity::High, "SSL 3.0")),
        Some(0x0301) => Some((Severity::Medium, "TLS 1.0")),
        Some(0x0302) => Some((Severity::Medium, "TLS 1.1")),
        _ => None,
    };
    if let Some((severity, name)) = old {
        faults.push(("W501", severity, name.to_owned()));
    }
    let name = facts.suite_name.as_deref().unwrap_or_default();
    let has = |words: &[&str]| words.iter().any(|it| name.contains(it));
    if has(&["DES-CBC3", "3DES"]) {
        faults.push(("W502", Severity::Medium, name.to_owned()));
    } else if has(&[
        "RC4", "NULL", "EXP-", "EXPORT", "ADH-", "AECDH-", "_anon_", "DES-CBC-", "DES_CBC_",
    ]) {
        faults.push(("W502", Severity::High, name.to_owned()));
    }
    Rating {
        facts: Arc::new(facts),
        faults,
    }
}
