//! The mail hosts themselves: who may issue certificates for them, what their addresses are called, IPv6.

use super::Case;
use super::live::{Live, live};
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::facts::CaaFacts;
use crate::finding::Severity;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut caa = Tally::new("CAA-001");
    let mut names = Tally::new("PTR-001");
    let mut six = Tally::new("V6-001");
    let facts = case.facts;
    authorities(&facts.domain, &facts.caa, &mut caa);
    for host in facts.exchanges() {
        let Some(known) = facts.host(&host) else {
            continue;
        };
        if host != facts.domain {
            authorities(&host, &known.caa, &mut caa);
        }
        for address in known.addresses() {
            pointer(case, &host, address, &mut names);
        }
    }
    ipv6(case, &mut six);
    if facts.exchanges().is_empty() && !facts.takes_no_mail() {
        names.stuck("the MX records", &facts.mx);
    }
    names.otherwise("no mail host has an address");
    [caa, names, six]
        .into_iter()
        .filter_map(Tally::finish)
        .collect()
}

fn authorities(name: &str, found: &CaaFacts, tally: &mut Tally) {
    let at = found.at.as_deref().unwrap_or(name);
    let publish = format!("{name}. CAA 0 issue \"letsencrypt.org\" (the authority you use)");
    if let Some(why) = found.told.bogus() {
        tally.fail(
            Severity::Medium,
            format!("{at}: bogus: {why}: no authority may issue while the question fails"),
            format!("sign the zone of {at} anew"),
        );
        return;
    }
    if tally.stuck(&format!("CAA of {at}"), &found.told) {
        return;
    }
    if found.told.records.is_empty() {
        tally.warn(
            Severity::Info,
            format!("{name}: any authority may issue certificates"),
            publish,
        );
    } else if found
        .told
        .records
        .iter()
        .any(|it| it.split(' ').nth(1) == Some("issue"))
    {
        tally.pass(format!("{at}: {}", found.told.records.join(", ")));
    } else {
        tally.warn(
            Severity::Info,
            format!(
                "{at}: {}: without issue any authority may issue certificates",
                found.told.records.join(", ")
            ),
            publish,
        );
    }
}

/// The name of an address leads back to the address: receivers ask for it when the host sends.
fn pointer(case: &Case<'_>, host: &str, address: std::net::IpAddr, tally: &mut Tally) {
    let publish = format!("a PTR record of {address} (at whoever gave you the address): {host}.");
    let found = case.facts.host(host).and_then(|it| it.names.get(&address));
    let Some(found) = found else {
        return tally.unknown(format!("{address}: nobody asked"));
    };
    if tally.stuck(&format!("the name of {address}"), &found.told) {
        return;
    }
    if found.told.records.is_empty() {
        return tally.warn(
            Severity::Low,
            format!(
                "{host} ({address}): the address has no name; when it sends, many refuse the mail"
            ),
            publish,
        );
    }
    let back = found
        .forward
        .iter()
        .find(|(_, told)| told.records.contains(&address));
    if let Some((name, _)) = back {
        return tally.pass(format!("{address} is {name}"));
    }
    let names = found.told.records.join(", ");
    match found.forward.iter().find(|(_, told)| !told.is_known()) {
        Some((name, told)) => {
            tally.stuck(&format!("the addresses of {name}"), told);
        }
        None => tally.fail(
            Severity::Low,
            format!("{host} ({address}): its name {names} does not lead back to it"),
            publish,
        ),
    }
}

fn ipv6(case: &Case<'_>, tally: &mut Tally) {
    let mut any = false;
    let hosts = case.facts.exchanges();
    for host in &hosts {
        let Some(known) = case.facts.host(host) else {
            continue;
        };
        if tally.stuck(&format!("AAAA of {host}"), &known.aaaa) {
            continue;
        }
        for address in &known.aaaa.records {
            any = true;
            match case
                .seen(host, 25)
                .find(|it| it.target.address == *address)
                .map(live)
            {
                Some(Live::Closed) => tally.fail(
                    Severity::Low,
                    format!("{host} ({address}): IPv6 is announced, and the port is closed there"),
                    "let the server listen on IPv6, too, or take the AAAA record out",
                ),
                Some(Live::Unknown(why, missing)) => {
                    tally.missing(format!("{host} ({address}): {why}"), missing);
                }
                Some(_) => tally.pass(format!("{host} answers at {address}")),
                None => tally.missing(format!("{host} ({address}) was not looked at"), 1),
            }
        }
    }
    let known = hosts
        .iter()
        .all(|host| case.facts.host(host).is_some_and(|it| it.aaaa.is_known()));
    if !any && known && !hosts.is_empty() {
        tally.warn(
            Severity::Low,
            "no mail host has an IPv6 address",
            format!(
                "{}. AAAA with the server's address",
                hosts.first().map_or("", String::as_str)
            ),
        );
    }
    if hosts.is_empty() && !case.facts.takes_no_mail() {
        tally.stuck("the MX records", &case.facts.mx);
    }
    tally.otherwise("there are no mail hosts");
}
