//! One check over many hosts, records and addresses: what was said of each, and the one word for all.
//!
//! A finding outweighs what could not be told, and that outweighs what is good: nothing is passed because a part of it was not seen.

use crate::check::document::Check;
use crate::check::domain::facts::{HostFacts, Told};
use crate::finding::{Severity, Status};
use crate::rules;

struct Said {
    status: Status,
    severity: Severity,
    evidence: String,
    fix: Option<String>,
    missing: u32,
}

/// What is said for one id.
pub(in crate::check::domain) struct Tally {
    id: &'static str,
    usual: Severity,
    said: Vec<Said>,
}

impl Tally {
    pub(in crate::check::domain) fn new(id: &'static str) -> Self {
        Self {
            id,
            usual: rules::find(id).map_or(Severity::Info, |rule| rule.severity),
            said: Vec::new(),
        }
    }

    fn say(&mut self, status: Status, evidence: impl Into<String>) -> &mut Said {
        self.said.push(Said {
            status,
            severity: self.usual,
            evidence: evidence.into(),
            fix: None,
            missing: 0,
        });
        let last = self.said.len() - 1;
        // It was just put there.
        #[expect(
            clippy::indexing_slicing,
            reason = "the last of a list that is not empty"
        )]
        &mut self.said[last]
    }

    pub(in crate::check::domain) fn pass(&mut self, evidence: impl Into<String>) {
        self.say(Status::Pass, evidence);
    }

    pub(in crate::check::domain) fn info(&mut self, evidence: impl Into<String>) {
        self.say(Status::Info, evidence);
    }

    /// The question does not arise.
    pub(in crate::check::domain) fn moot(&mut self, evidence: impl Into<String>) {
        self.say(Status::NotApplicable, evidence);
    }

    /// Could not be told; a new question to DNS tells it, no connection.
    pub(in crate::check::domain) fn unknown(&mut self, evidence: impl Into<String>) {
        self.say(Status::Inconclusive, evidence);
    }

    /// Could not be told; it takes so many connections.
    pub(in crate::check::domain) fn missing(
        &mut self,
        evidence: impl Into<String>,
        connections: u32,
    ) {
        self.say(Status::Inconclusive, evidence).missing = connections;
    }

    pub(in crate::check::domain) fn fail(
        &mut self,
        severity: Severity,
        evidence: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let said = self.say(Status::Fail, evidence);
        said.severity = severity;
        said.fix = Some(fix.into());
    }

    pub(in crate::check::domain) fn warn(
        &mut self,
        severity: Severity,
        evidence: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let said = self.say(Status::Warn, evidence);
        said.severity = severity;
        said.fix = Some(fix.into());
    }

    /// Notes what keeps an answer from being judged. True when there is such a thing: then it is not "there is none".
    pub(in crate::check::domain) fn stuck<T>(&mut self, what: &str, told: &Told<T>) -> bool {
        match (told.bogus(), told.trouble()) {
            (Some(why), _) => self.unknown(format!("{what}: bogus: {why}")),
            (None, Some(why)) => self.unknown(format!("{what}: {why}")),
            (None, None) => return false,
        }
        true
    }

    /// Notes each family of a host's addresses that is not known: whatever listens there was not looked at. True when there is one.
    pub(in crate::check::domain) fn stuck_addresses(
        &mut self,
        host: &str,
        known: &HostFacts,
    ) -> bool {
        let four = self.stuck(&format!("the addresses of {host} (A)"), &known.a);
        let six = self.stuck(&format!("the addresses of {host} (AAAA)"), &known.aaaa);
        four || six
    }

    /// The question does not arise, where nothing was said before.
    pub(in crate::check::domain) fn otherwise(&mut self, evidence: &str) {
        if self.said.is_empty() {
            self.moot(evidence);
        }
    }

    /// Good, where nothing was said before.
    pub(in crate::check::domain) fn otherwise_pass(&mut self, evidence: impl Into<String>) {
        if self.said.is_empty() {
            self.pass(evidence);
        }
    }

    /// The one word for all. None when there is no such rule, which a test forbids.
    pub(in crate::check::domain) fn finish(self) -> Option<Check> {
        let rank = |said: &Said| match said.status {
            Status::Fail => (5, said.severity, 1),
            Status::Warn => (5, said.severity, 0),
            Status::Inconclusive => (4, said.severity, 0),
            Status::Pass => (3, said.severity, 0),
            Status::Info => (2, said.severity, 0),
            Status::NotApplicable => (1, said.severity, 0),
        };
        let Some(worst) = self.said.iter().max_by_key(|said| rank(said)) else {
            return Check::new(
                self.id,
                Status::NotApplicable,
                "there is nothing to look at",
            );
        };
        let (level, severity, _) = rank(worst);
        let same = self.said.iter().filter(|said| rank(said).0 == level);
        let mut fixes: Vec<&str> = Vec::new();
        let mut evidence: Vec<&str> = Vec::new();
        for said in same.clone() {
            if !evidence.contains(&said.evidence.as_str()) {
                evidence.push(&said.evidence);
            }
            if let Some(fix) = &said.fix
                && !fix.is_empty()
                && !fixes.contains(&fix.as_str())
            {
                fixes.push(fix);
            }
        }
        // What costs nothing is told, not counted.
        let status = match worst.status {
            Status::Fail | Status::Warn if severity == Severity::Info => Status::Info,
            other => other,
        };
        let mut check = Check::new(self.id, status, evidence.join("; "))?.graded(severity);
        if !fixes.is_empty() {
            check.fix = Some(fixes.join("\n"));
        }
        check.missing = same.map(|said| said.missing).sum();
        Some(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_decides_and_what_was_not_seen_is_no_pass() {
        let word = |say: &dyn Fn(&mut Tally)| {
            let mut tally = Tally::new("MX-001");
            say(&mut tally);
            let check = tally.finish().unwrap();
            (check.status, check.severity, check.missing)
        };
        assert_eq!(word(&|_| ()).0, Status::NotApplicable);
        assert_eq!(
            word(&|it| {
                it.pass("a");
                it.missing("b", 2);
                it.missing("c", 1);
            }),
            (Status::Inconclusive, Severity::Critical, 3)
        );
        assert_eq!(
            word(&|it| {
                it.missing("b", 2);
                it.warn(Severity::High, "w", "");
                it.fail(Severity::Low, "f", "");
            }),
            (Status::Warn, Severity::High, 0)
        );
        assert_eq!(
            word(&|it| {
                it.warn(Severity::Low, "w", "");
                it.fail(Severity::Low, "f", "");
            })
            .0,
            Status::Fail
        );
    }
}
