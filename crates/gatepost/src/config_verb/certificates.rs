//! The certificates and keys a configuration names, where they can be looked at: do they fit, are they in date, do they cover the server's
//! name, who may read the key. [CERT-03]
//!
//! A file that is not there, or that may not be read, is no finding: the configuration may be that of another machine.

use std::path::Path;
use std::time::SystemTime;

use gatepost_audit::config::{Outcome, Pair};
use gatepost_audit::finding::Finding;
use gatepost_audit::rules;
use gatepost_trust::identity::{Identity, IdentityError};

use super::files::LARGEST;

/// Adds what is wrong with them to the findings.
pub(super) fn judge(outcome: &mut Outcome) {
    for pair in std::mem::take(&mut outcome.pairs) {
        if !is_readable(&pair.chain) || !is_readable(&pair.key) {
            continue;
        }
        let paths = (Path::new(&pair.chain), Path::new(&pair.key));
        match Identity::load(paths.0, paths.1, pair.host.as_deref(), SystemTime::now()) {
            Err(IdentityError::Unreadable(..)) => {}
            Err(error) => outcome
                .findings
                .extend(finding("CF-CERT", &pair, &error.to_string())),
            Ok((_, warnings)) => {
                for warning in warnings {
                    outcome
                        .findings
                        .extend(finding("CF-CERT-WARN", &pair, &warning.to_string()));
                }
            }
        }
    }
    outcome.sort();
}

/// A plain file of a size that certificates have; a pipe would make us wait.
fn is_readable(path: &str) -> bool {
    let kind = std::fs::metadata(path);
    kind.is_ok_and(|it| it.is_file() && it.len() <= LARGEST) && std::fs::File::open(path).is_ok()
}

fn finding(id: &str, pair: &Pair, why: &str) -> Option<Finding> {
    Some(Finding {
        rule: rules::find(id)?,
        evidence: format!("{}: {why}", pair.evidence),
        fix: None,
        place: pair.place.clone(),
    })
}
