//! What NTLM tells a stranger of the network behind a server.

use super::{Bench, is_connected};
use crate::check::facts::{Challenge, Ntlm, Seen};
use crate::check::probes::ntlm::is_offered;
use crate::check::target::{Protocol, Start};

const ID: &str = "AUTH-004";

pub(super) fn judge(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let is_spoken = matches!(
        facts.target.protocol,
        Protocol::Smtp | Protocol::Imap | Protocol::Pop3
    );
    if !is_spoken || !is_connected(facts) {
        return;
    }
    let mut told: Vec<String> = Vec::new();
    let mut silent: Vec<String> = Vec::new();
    let mut open = None;
    for (place, seen) in &facts.ntlm {
        let words = match place.as_str() {
            "clear" => "in clear",
            _ => "inside TLS",
        };
        match seen {
            Seen::Known(Ntlm::Challenge(it)) => match secrets(it, &facts.target.host) {
                list if list.is_empty() => silent.push(format!("{words}: no names of its own")),
                list => told.push(format!("{words}: {}", list.join(", "))),
            },
            Seen::Known(Ntlm::Refused { how }) => silent.push(format!("{words}: {how}")),
            Seen::Unknown { why, missing } => open = Some((format!("{words}: {why}"), *missing)),
            Seen::Unasked => {}
        }
    }
    if !told.is_empty() {
        bench.fail(ID, told.join("; "));
    } else if let Some((why, missing)) = open {
        bench.inconclusive(ID, why, missing);
    } else if !silent.is_empty() {
        bench.pass(ID, silent.join("; "));
    } else {
        absent(bench);
    }
}

/// Where nobody asked: because it is not offered, or because the tier does not go so far.
fn absent(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let mut places = Vec::new();
    if facts.target.start == Start::StartTls {
        places.push(&facts.clear);
    }
    let goes_on = facts
        .start_tls
        .known()
        .is_none_or(|it| it.accepted == Some(true));
    if goes_on {
        places.push(&facts.encrypted);
    }
    for seen in places {
        let Some(list) = bench.answer(ID, seen) else {
            return;
        };
        if is_offered(list, facts.target.protocol) {
            return;
        }
    }
    bench.pass(ID, "NTLM is not offered");
}

/// What a stranger does not know already: the host's own name, its first label, and what stands above it are no secret.
fn secrets(challenge: &Challenge, host: &str) -> Vec<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_public = |name: &str| {
        let name = name.to_ascii_lowercase();
        host == name || host.ends_with(&format!(".{name}")) || host.starts_with(&format!("{name}."))
    };
    let rows = [
        ("computer", &challenge.computer),
        ("domain", &challenge.domain),
        ("computer in DNS", &challenge.dns_computer),
        ("domain in DNS", &challenge.dns_domain),
        ("forest", &challenge.dns_forest),
        ("target", &challenge.target),
    ];
    let mut told: Vec<String> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (what, name) in rows {
        let Some(name) = name.as_deref().filter(|it| !is_public(it)) else {
            continue;
        };
        if !names.contains(&name) {
            names.push(name);
            told.push(format!("{what} {name}"));
        }
    }
    told.extend(challenge.version.iter().map(|it| format!("version {it}")));
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::document::Check;
    use crate::check::facts::{Capabilities, Facts, Reach, StartTls};
    use crate::check::profile::{DEFAULT, Profile};
    use crate::check::samples;
    use crate::finding::{Severity, Status};

    fn service(clear: &str, inside: &str) -> Facts {
        let words = |text: &str| {
            Seen::Known(Capabilities {
                words: vec![text.to_owned()],
                ..Capabilities::default()
            })
        };
        let reach = Reach::Connected { milliseconds: 1 };
        let mut facts = Facts::new(samples::target("mail.example.org", 25), 1, reach);
        facts.clear = words(clear);
        facts.encrypted = words(inside);
        facts.start_tls = Seen::Known(StartTls {
            accepted: Some(true),
            ..StartTls::default()
        });
        facts
    }

    fn told(facts: &Facts) -> Option<Check> {
        let judged = super::super::judge(facts, &Profile::find(DEFAULT).unwrap());
        judged.checks.into_iter().find(|it| it.rule.id == ID)
    }

    fn status(facts: &Facts) -> Option<Status> {
        told(facts).map(|it| it.status)
    }

    fn challenge(computer: &str, dns: &str, version: Option<&str>) -> Seen<Ntlm> {
        Seen::Known(Ntlm::Challenge(Challenge {
            target: Some("EXAMPLE".to_owned()),
            computer: Some(computer.to_owned()),
            dns_computer: Some(dns.to_owned()),
            version: version.map(str::to_owned),
            ..Challenge::default()
        }))
    }

    #[test]
    fn names_nobody_outside_knows_are_a_finding_and_public_ones_are_none() {
        let mut facts = service("STARTTLS", "AUTH NTLM");
        let public = challenge("MAIL", "Mail.Example.org", None);
        facts.ntlm.insert("tls".to_owned(), public);
        // The target is no part of the host's name.
        let check = told(&facts).unwrap();
        assert_eq!(
            (check.status, check.severity),
            (Status::Fail, Severity::Low)
        );
        assert_eq!(check.evidence, "inside TLS: target EXAMPLE");
        facts.target.host = "mail.example".to_owned();
        assert_eq!(status(&facts), Some(Status::Fail));
        facts
            .ntlm
            .insert("tls".to_owned(), challenge("MAIL", "mail.example", None));
        assert_eq!(status(&facts), Some(Status::Pass));
        let inner = challenge("EX01", "ex01.corp.local", Some("10.0.20348"));
        facts.ntlm.insert("clear".to_owned(), inner);
        let evidence = told(&facts).unwrap().evidence;
        assert_eq!(
            evidence,
            "in clear: computer EX01, computer in DNS ex01.corp.local, version 10.0.20348"
        );
    }

    #[test]
    fn refused_unreadable_and_not_offered_are_three_things() {
        assert_eq!(
            status(&service("STARTTLS", "AUTH PLAIN")),
            Some(Status::Pass)
        );
        // The tier did not go so far.
        assert_eq!(status(&service("STARTTLS", "AUTH NTLM")), None);
        assert_eq!(status(&service("AUTH=NTLM", "AUTH PLAIN")), None);
        let mut facts = service("STARTTLS", "AUTH NTLM");
        let how = "504 5.5.4 no".to_owned();
        facts
            .ntlm
            .insert("tls".to_owned(), Seen::Known(Ntlm::Refused { how }));
        assert_eq!(status(&facts), Some(Status::Pass));
        facts
            .ntlm
            .insert("clear".to_owned(), Seen::unknown("silent"));
        let check = told(&facts).unwrap();
        assert_eq!((check.status, check.missing), (Status::Inconclusive, 1));
        let mut facts = service("STARTTLS", "");
        facts.encrypted = Seen::unknown("closed");
        assert_eq!(status(&facts), Some(Status::Inconclusive));
        // No TLS to look into.
        facts.start_tls = Seen::Known(StartTls {
            accepted: Some(false),
            ..StartTls::default()
        });
        assert_eq!(status(&facts), Some(Status::Pass));
    }
}
