//! From facts to checks: pure, and the same for the same facts.
//!
//! | module | judges |
//! |---|---|
//! | `dialogue` | reachability, greeting, STARTTLS, what is offered and taken in clear |
//! | `injection` | what became of commands slipped in |
//! | `client` | whether clients are to show a certificate |
//! | `names` | what those are shown that send no name, or an unknown one |
//! | `ntlm` | what NTLM tells of the network behind the server |
//! | `tls` | versions, suites, key exchange, extensions |
//! | `order` | which suite is taken where there are better and worse ones |
//! | `certificate` | the certificate and its chain |
//! | `sessions` | tickets, early data, second handshakes, what survives the upgrade |
//! | `provoked` | known holes, where consent was given to look for them |
//! | `host` | what the services of a host say about each other |

mod certificate;
mod client;
mod dialogue;
mod host;
mod injection;
mod names;
mod ntlm;
mod order;
mod path;
mod provoked;
mod sessions;
mod tls;

use super::document::{Check, Judged};
use super::facts::{Facts, Reach, Seen};
use super::profile::Profile;
use super::target::{Role, Start};
use crate::finding::{Severity, Status};

pub use host::compare;

/// Judges what was seen of one service.
#[must_use]
pub fn judge(facts: &Facts, profile: &Profile) -> Judged {
    let mut bench = Bench {
        facts,
        profile,
        checks: Vec::new(),
    };
    dialogue::judge(&mut bench);
    ntlm::judge(&mut bench);
    injection::judge(&mut bench);
    tls::judge(&mut bench);
    order::judge(&mut bench);
    sessions::judge(&mut bench);
    provoked::judge(&mut bench);
    certificate::judge(&mut bench);
    client::judge(&mut bench);
    names::judge(&mut bench);
    Judged {
        target: facts.target.clone(),
        connections: facts.connections,
        checks: bench.checks,
    }
}

/// Where checks are put down.
struct Bench<'a> {
    facts: &'a Facts,
    profile: &'a Profile,
    checks: Vec<Check>,
}

impl<'a> Bench<'a> {
    fn role(&self) -> Role {
        self.facts.target.role
    }

    fn is_mx(&self) -> bool {
        self.role() == Role::Mx
    }

    fn is_starttls(&self) -> bool {
        self.facts.target.start == Start::StartTls
    }

    fn add(&mut self, id: &str, status: Status, severity: Option<Severity>, evidence: String) {
        let Some(mut check) = Check::new(id, status, evidence) else {
            debug_assert!(false, "no rule {id}");
            return;
        };
        if let Some(severity) = severity {
            check.severity = severity;
        }
        // What costs nothing is told, not counted.
        if check.severity == Severity::Info && status == Status::Fail {
            check.status = Status::Info;
            check.fix = None;
        }
        self.checks.push(check);
    }

    fn pass(&mut self, id: &str, evidence: impl Into<String>) {
        self.add(id, Status::Pass, None, evidence.into());
    }

    fn fail(&mut self, id: &str, evidence: impl Into<String>) {
        self.add(id, Status::Fail, None, evidence.into());
    }

    fn fail_as(&mut self, id: &str, severity: Severity, evidence: impl Into<String>) {
        self.add(id, Status::Fail, Some(severity), evidence.into());
    }

    fn pass_as(&mut self, id: &str, severity: Severity, evidence: impl Into<String>) {
        self.add(id, Status::Pass, Some(severity), evidence.into());
    }

    fn warn(&mut self, id: &str, evidence: impl Into<String>) {
        self.add(id, Status::Warn, None, evidence.into());
    }

    fn info(&mut self, id: &str, evidence: impl Into<String>) {
        self.add(id, Status::Info, Some(Severity::Info), evidence.into());
    }

    fn not_applicable(&mut self, id: &str, evidence: impl Into<String>) {
        self.add(id, Status::NotApplicable, None, evidence.into());
    }

    fn inconclusive(&mut self, id: &str, why: impl Into<String>, missing: u32) {
        self.add(id, Status::Inconclusive, None, why.into());
        if let Some(check) = self.checks.last_mut() {
            check.missing = missing;
        }
    }

    /// The answer to a question; where there is none, that is put down.
    fn answer<T>(&mut self, id: &str, seen: &'a Seen<T>) -> Option<&'a T> {
        match seen {
            Seen::Known(it) => Some(it),
            Seen::Unknown { why, missing } => {
                self.inconclusive(id, why.clone(), *missing);
                None
            }
            Seen::Unasked => {
                if let Some(why) = self.why_unasked() {
                    self.inconclusive(id, why, 1);
                }
                None
            }
        }
    }

    /// Why questions of this tier stayed unasked, if something kept us from asking.
    fn why_unasked(&self) -> Option<String> {
        let start = self.facts.start_tls.known();
        let has_residue = start.is_some_and(|it| it.residue.is_some());
        let clear = || "words in clear stand where TLS should begin".to_owned();
        self.facts
            .stopped
            .clone()
            .or_else(|| has_residue.then(clear))
    }

    /// The same for one that is as grave as this in the part the service plays.
    fn answer_as<T>(&mut self, id: &str, severity: Severity, seen: &'a Seen<T>) -> Option<&'a T> {
        let before = self.checks.len();
        let answer = self.answer(id, seen);
        for check in self.checks.iter_mut().skip(before) {
            check.severity = severity;
        }
        answer
    }

    /// Pass or fail by a yes or no; the evidence for each.
    fn yes_or_no(&mut self, id: &str, is_bad: bool, bad: &str, good: &str) {
        if is_bad {
            self.fail(id, bad);
        } else {
            self.pass(id, good);
        }
    }
}

/// Whether anybody answered at all.
fn is_connected(facts: &Facts) -> bool {
    matches!(facts.reach, Reach::Connected { .. })
}
