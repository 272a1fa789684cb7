//! What is told: checks by target and by domain, as one document.
//!
//! ```json
//! {"schema": "gatepost-check-1", "profile": "strict", "tier": "default", "at": 1764196000, "exit": 1,
//!  "domains": [{"domain": "example.org", "checks": []}],
//!  "targets": [{"host": "mail.example.org", "address": "192.0.2.1", "port": 25, "protocol": "smtp", "start": "starttls", "role": "mx",
//!               "connections": 11,
//!               "checks": [{"id": "STLS-001", "status": "pass", "severity": "high", "evidence": "250-STARTTLS", "fix": null}]}]}
//! ```

use serde_json::{Value, json};

use super::target::Target;
use crate::finding::{Severity, Status};
use crate::rules::{self, Rule};

/// Goes up when a field changes its meaning or goes away.
pub const SCHEMA: &str = "gatepost-check-1";

/// One question about a target, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The rule: its id, text, source and, when it is the same for all, fix.
    pub rule: &'static Rule,
    /// How it ended.
    pub status: Status,
    /// How bad it is, or would be if it failed; by role, not always the rule's own.
    pub severity: Severity,
    /// What was seen, or why it could not be told.
    pub evidence: String,
    /// What to do.
    pub fix: Option<String>,
    /// How many connections it takes to tell; 0 when it was told.
    pub missing: u32,
}

impl Check {
    /// A check with this rule's own severity. None when there is no such rule, which a test forbids.
    #[must_use]
    pub fn new(id: &str, status: Status, evidence: impl Into<String>) -> Option<Self> {
        let rule = rules::find(id)?;
        let fix = match status {
            Status::Fail | Status::Warn => rule.fix.map(str::to_owned),
            _ => None,
        };
        Some(Self {
            rule,
            status,
            severity: rule.severity,
            evidence: evidence.into(),
            fix,
            missing: 0,
        })
    }

    /// The same with another severity.
    #[must_use]
    pub fn graded(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Whether it counts against the target: failed or to be warned of.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        matches!(self.status, Status::Fail | Status::Warn)
    }

    /// For programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let mut object = json!({
            "id": self.rule.id, "status": self.status.word(), "severity": self.severity.word(),
            "evidence": self.evidence, "fix": self.fix,
        });
        if self.status == Status::Inconclusive
            && let Some(fields) = object.as_object_mut()
        {
            fields.insert("missing_connections".to_owned(), json!(self.missing));
        }
        object
    }
}

/// A service, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What was examined.
    pub target: Target,
    /// How many connections it took.
    pub connections: u32,
    /// What was asked, in the catalogue's order.
    pub checks: Vec<Check>,
}

/// A domain, judged: what DNS and its policies say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedDomain {
    /// The domain.
    pub domain: String,
    /// What was asked.
    pub checks: Vec<Check>,
}

/// Everything of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The profile it was judged by.
    pub profile: String,
    /// How deep it was looked.
    pub tier: String,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
    /// Domains.
    pub domains: Vec<JudgedDomain>,
    /// Services.
    pub targets: Vec<Judged>,
}

impl Report {
    /// What was looked at, by name, with its checks: domains, then services.
    pub fn subjects(&self) -> impl Iterator<Item = (String, &[Check])> {
        let domains = self.domains.iter();
        let domains = domains.map(|it| (it.domain.clone(), it.checks.as_slice()));
        let targets = self.targets.iter();
        domains.chain(targets.map(|it| (it.target.to_string(), it.checks.as_slice())))
    }

    /// Every check with the name of what it is about.
    pub fn checks(&self) -> impl Iterator<Item = (String, &Check)> {
        self.subjects()
            .flat_map(|(name, checks)| checks.iter().map(move |check| (name.clone(), check)))
    }

    /// 1 when something failed at or above the threshold; 3 when nothing did and something could not be told; else 0.
    #[must_use]
    pub fn exit_code(&self, fail_on: Severity) -> u8 {
        let has = |wanted: &dyn Fn(&Check) -> bool| self.checks().any(|(_, check)| wanted(check));
        if has(&|check| check.is_finding() && check.severity >= fail_on) {
            1
        } else if has(&|check| check.status == Status::Inconclusive && check.severity >= fail_on) {
            3
        } else {
            0
        }
    }

    /// For programs.
    #[must_use]
    pub fn as_json(&self, fail_on: Severity) -> Value {
        let checks = |checks: &[Check]| checks.iter().map(Check::as_json).collect::<Vec<_>>();
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|it| {
                json!({
                    "host": it.target.host, "address": it.target.address, "port": it.target.port,
                    "protocol": it.target.protocol, "start": it.target.start, "role": it.target.role,
                    "connections": it.connections, "checks": checks(&it.checks),
                })
            })
            .collect();
        let domains: Vec<Value> = self
            .domains
            .iter()
            .map(|it| json!({ "domain": it.domain, "checks": checks(&it.checks) }))
            .collect();
        json!({
            "schema": SCHEMA, "profile": self.profile, "tier": self.tier, "at": self.at,
            "fail_on": fail_on.word(), "exit": self.exit_code(fail_on),
            "domains": domains, "targets": targets,
        })
    }
}
