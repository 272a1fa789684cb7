//! What clients are shown that send no name in their hello, or one the server does not have (RFC 6066 3).
//!
//! For mail between servers a name must not matter: a sender may send none, or the wrong one, and is to be shown a chain all the same
//! (RFC 7672 8.1, RFC 8461 7.1). Elsewhere a name that is unknown should be refused by its own alert (RFC 9325 3.7), and whoever sends none
//! still wants a certificate for the host.

use gatepost_trust::cert;

use super::Bench;
use crate::check::facts::{Named, Seen, certificates};
use crate::finding::{Severity, Status};

const ID: &str = "SNI-001";
/// `unrecognized_name` (RFC 6066 9).
const UNRECOGNIZED: u8 = 112;

struct Told {
    status: Status,
    severity: Severity,
    words: String,
}

pub(super) fn judge(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    if facts.names.is_empty() {
        return;
    }
    if facts.target.server_name().is_none() {
        bench.not_applicable(ID, "asked by its address: there is no name to send");
        return;
    }
    let Some(own) = facts.handshake.known().and_then(|it| it.chain.first()) else {
        let why = "no handshake with the host's own name to compare with";
        bench.inconclusive(ID, why, 1);
        return;
    };
    let mut all = Vec::new();
    for (name, seen) in &facts.names {
        match seen {
            Seen::Known(named) if name == "none" => all.push(without(bench, named, own)),
            Seen::Known(named) => all.push(unknown(bench, named, own)),
            Seen::Unknown { why, missing } => {
                // A fault that is known outweighs what is not.
                if !all.iter().any(|it: &Told| it.status == Status::Fail) {
                    bench.inconclusive(ID, why.clone(), *missing);
                    return;
                }
            }
            Seen::Unasked => {}
        }
    }
    let order = |it: &Told| match it.status {
        Status::Fail => (3, it.severity),
        Status::Warn => (2, it.severity),
        Status::Info => (1, it.severity),
        _ => (0, it.severity),
    };
    let worst = all.iter().max_by_key(|it| order(it));
    let worst = worst.map(|it| (it.status, it.severity));
    let words: Vec<String> = all.into_iter().map(|it| it.words).collect();
    if let Some((status, severity)) = worst {
        bench.add(ID, status, Some(severity), words.join("; "));
    }
}

fn told(status: Status, severity: Severity, words: String) -> Told {
    Told {
        status,
        severity,
        words,
    }
}

/// No name.
fn without(bench: &Bench<'_>, named: &Named, own: &str) -> Told {
    let grave = if bench.is_mx() {
        Severity::Medium
    } else {
        Severity::Low
    };
    match named {
        Named::Refused { how, .. } => {
            let words = format!("who sends no name gets no TLS: {how}");
            told(Status::Fail, grave, words)
        }
        Named::Served { chain } if chain.first().is_some_and(|it| it == own) => told(
            Status::Pass,
            grave,
            "no name: the same certificate".to_owned(),
        ),
        Named::Served { chain } => {
            let (whose, covers) = of_another(bench, chain);
            let words = format!("no name: another certificate, for {whose}");
            match (covers, bench.is_mx()) {
                (true, _) => told(Status::Pass, grave, words),
                // Whoever verifies an exchanger sends a name (RFC 7672 8.1, RFC 8461 7.1).
                (false, true) => told(Status::Info, Severity::Info, words),
                (false, false) => told(Status::Warn, grave, words),
            }
        }
    }
}

/// A name nobody has.
fn unknown(bench: &Bench<'_>, named: &Named, own: &str) -> Told {
    match named {
        Named::Refused { how, .. } if bench.is_mx() => {
            let words = format!("who sends a name that is not known gets no TLS: {how}");
            told(Status::Fail, Severity::Medium, words)
        }
        Named::Refused { alert, how } => {
            let words = format!("a name that is not known is refused: {how}");
            match alert {
                Some(UNRECOGNIZED) => told(Status::Pass, Severity::Low, words),
                _ => told(Status::Info, Severity::Info, words),
            }
        }
        Named::Served { chain } => {
            let words = if chain.first().is_some_and(|it| it == own) {
                "a name that is not known: the same certificate".to_owned()
            } else {
                let (whose, _) = of_another(bench, chain);
                format!("a name that is not known: another certificate, for {whose}")
            };
            told(Status::Pass, Severity::Low, words)
        }
    }
}

/// For whom another certificate is, and whether that is this host, too.
fn of_another(bench: &Bench<'_>, chain: &[String]) -> (String, bool) {
    let chain = certificates(chain);
    let Some(leaf) = chain.first().and_then(|it| cert::describe(it).ok()) else {
        return ("nobody who can be read".to_owned(), false);
    };
    let host = bench.facts.target.server_name().unwrap_or_default();
    let covers = leaf.names.iter().any(|it| covers(it, host));
    (leaf.names.join(", "), covers)
}

/// Whether a name in a certificate is this host's: the same, or a star for its first label (RFC 9525 6.3).
fn covers(name: &str, host: &str) -> bool {
    let is_star = || {
        let rest = name.strip_prefix("*.")?;
        let (_, domain) = host.split_once('.')?;
        Some(domain.eq_ignore_ascii_case(rest))
    };
    name.eq_ignore_ascii_case(host) || is_star() == Some(true)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use gatepost_testkit::pki::Authority;

    use super::*;
    use crate::check::document::Check;
    use crate::check::facts::Facts;
    use crate::check::profile::{DEFAULT, Profile};
    use crate::check::samples;
    use crate::check::target::Role;

    const HOST: &str = "mail.example.org";

    fn chain(name: &str) -> Vec<String> {
        let issued = Authority::root("Root").issue(&[name]);
        vec![BASE64.encode(&issued.certificate)]
    }

    fn service(role: Role, own: &[String]) -> Facts {
        let mut facts = samples::facts().remove(0);
        facts.stopped = None;
        facts.target.role = role;
        facts.names.clear();
        if let Seen::Known(handshake) = &mut facts.handshake {
            handshake.chain = own.to_vec();
        }
        facts
    }

    fn check(facts: &Facts) -> Option<Check> {
        let judged = super::super::judge(facts, &Profile::find(DEFAULT).unwrap());
        judged.checks.into_iter().find(|it| it.rule.id == ID)
    }

    fn refused(alert: Option<u8>) -> Seen<Named> {
        let how = "closed".to_owned();
        Seen::Known(Named::Refused { alert, how })
    }

    #[test]
    fn an_exchanger_must_not_care_for_names_and_others_may() {
        let own = chain(HOST);
        let served = |chain: &[String]| {
            Seen::Known(Named::Served {
                chain: chain.to_vec(),
            })
        };
        let (same, other) = (served(&own), served(&chain("other.test")));
        let wild = served(&chain("*.example.org"));
        let (pass, info) = (
            (Status::Pass, Severity::Low),
            (Status::Info, Severity::Info),
        );
        let fail = |severity| (Status::Fail, severity);
        let (mx, access) = (Role::Mx, Role::Access);
        let (medium, low) = (Severity::Medium, Severity::Low);
        let passed = (Status::Pass, medium);
        for (role, none, unknown, expected) in [
            (mx, &same, &same, passed),
            (access, &same, &same, pass),
            (mx, &same, &refused(Some(UNRECOGNIZED)), fail(medium)),
            (access, &same, &refused(Some(UNRECOGNIZED)), pass),
            (access, &same, &refused(None), info),
            (mx, &refused(Some(40)), &same, fail(medium)),
            (access, &refused(Some(40)), &same, fail(low)),
            (mx, &other, &other, info),
            (access, &other, &other, (Status::Warn, low)),
            (access, &wild, &other, pass),
        ] {
            let mut facts = service(role, &own);
            facts.names.insert("none".to_owned(), none.clone());
            facts.names.insert("unknown".to_owned(), unknown.clone());
            let told = check(&facts).unwrap();
            let words = &told.evidence;
            assert_eq!((told.status, told.severity), expected, "{role:?} {words}");
        }
    }

    #[test]
    fn what_could_not_be_asked_or_compared_is_open_and_an_address_has_no_name() {
        let own = chain(HOST);
        let mut facts = service(Role::Mx, &own);
        assert!(check(&facts).is_none(), "not asked in this tier");
        facts.names.insert("none".to_owned(), Seen::unknown("421"));
        let told = check(&facts).unwrap();
        assert_eq!((told.status, told.missing), (Status::Inconclusive, 1));
        // A fault is a fault, whatever else is not known.
        facts.names.insert("none".to_owned(), refused(Some(40)));
        facts
            .names
            .insert("unknown".to_owned(), Seen::unknown("421"));
        assert_eq!(check(&facts).unwrap().status, Status::Fail);
        facts.handshake = Seen::unknown("no common version");
        assert_eq!(check(&facts).unwrap().status, Status::Inconclusive);
        facts.target.host = "192.0.2.1".to_owned();
        assert_eq!(check(&facts).unwrap().status, Status::NotApplicable);
    }

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(covers("MAIL.example.org", HOST) && covers("*.Example.org", HOST));
        assert!(!covers("*.org", HOST) && !covers("*.mail.example.org", HOST));
    }
}
