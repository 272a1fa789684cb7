//! Where mail for the domain goes: MX records and the hosts they name (RFC 5321 5.1, RFC 7505).

use super::Case;
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::facts::{Denied, DomainFacts, HostFacts};
use crate::finding::Severity;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut tally = Tally::new("MX-001");
    exchanges(case.facts, &mut tally);
    tally.finish().into_iter().collect()
}

fn exchanges(facts: &DomainFacts, tally: &mut Tally) {
    let domain = &facts.domain;
    if tally.stuck("the MX records", &facts.mx) {
        return;
    }
    if facts.takes_no_mail() {
        tally.pass("the domain says that it takes no mail (0 .)");
        return;
    }
    if facts.mx.denied == Some(Denied::NoName) {
        tally.fail(
            Severity::Critical,
            format!("{domain} does not exist"),
            "register the domain, or correct the name",
        );
        return;
    }
    let implicit = facts.mx.is_absent();
    let hosts = facts.exchanges();
    let reachable = hosts.iter().filter(|host| {
        facts
            .host(host)
            .is_some_and(|it| it.addresses().next().is_some())
    });
    let any = reachable.count() > 0;
    if implicit {
        let publish = format!("{domain}. MX 10 mail.{domain}.");
        if any {
            tally.warn(
                Severity::Low,
                "there is no MX record; mail goes to the domain's own address",
                publish,
            );
        } else if !facts
            .host(domain)
            .is_some_and(|it| host_is_stuck(domain, it, tally))
        {
            tally.fail(
                Severity::Critical,
                "there is no MX record, and the domain has no address: no mail can come",
                format!("{publish}, or if the domain takes no mail: {domain}. MX 0 ."),
            );
        }
        return;
    }
    among_themselves(facts, tally);
    for host in &hosts {
        one_host(facts, host, any, tally);
    }
}

/// Faults of the set.
fn among_themselves(facts: &DomainFacts, tally: &mut Tally) {
    let records = &facts.mx.records;
    if records.iter().any(|it| it.host == ".") {
        tally.fail(
            Severity::Medium,
            "one of the records says that there is no mail (.), the others that there is",
            format!("take out: {}. MX … .", facts.domain),
        );
    }
    let mut twice: Vec<&str> = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let before = records.iter().take(place);
        if before.clone().any(|it| it.host == record.host) && !twice.contains(&record.host.as_str())
        {
            twice.push(&record.host);
        }
    }
    for host in twice {
        tally.warn(
            Severity::Low,
            format!("{host} stands twice"),
            format!("one record for {host}, with the lower preference"),
        );
    }
}

fn one_host(facts: &DomainFacts, host: &str, any: bool, tally: &mut Tally) {
    let domain = &facts.domain;
    if host.parse::<std::net::IpAddr>().is_ok() {
        tally.fail(
            Severity::Critical,
            format!("{host} is an address; MX records name hosts"),
            format!("{domain}. MX 10 mail.{domain}. and mail.{domain}. A {host}"),
        );
        return;
    }
    let Some(known) = facts.host(host) else {
        tally.unknown(format!("{host}: more hosts than are looked at"));
        return;
    };
    if host_is_stuck(host, known, tally) {
        return;
    }
    if known.addresses().next().is_none() {
        let severity = if any {
            Severity::Medium
        } else {
            Severity::Critical
        };
        tally.fail(
            severity,
            format!("{host} has no address"),
            format!(
                "{host}. A and {host}. AAAA with the server's addresses, or take the MX record out"
            ),
        );
    } else if let Some(alias) = known.alias() {
        tally.fail(
            Severity::Medium,
            format!("{host} is another name (CNAME) of {alias}"),
            format!("{domain}. MX 10 {alias}. (a host by its own name, RFC 2181 section 10.3)"),
        );
    } else {
        tally.pass(format!("{host} has addresses"));
    }
}

/// Whether nothing is known about the addresses, and none were found. A family that fails beside one that answers is told, too.
fn host_is_stuck(host: &str, known: &HostFacts, tally: &mut Tally) -> bool {
    tally.stuck_addresses(host, known) && known.addresses().next().is_none()
}
