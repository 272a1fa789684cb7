//! The mail hosts themselves: who may issue certificates for them, what their addresses are called, IPv6.

use super::Case;
use super::live::{Live, live};
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::facts::{CaaFacts, ServerFacts, Standing};
use crate::check::facts::{Reach, Seen};
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
        names.stuck_addresses(&host, known);
        for address in known.examined() {
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

/// [CAA-01] The records found by climbing the tree.
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
    let records: Vec<Caa<'_>> = found.told.records.iter().filter_map(|it| caa(it)).collect();
    let unknown = records
        .iter()
        .find(|it| it.critical && !CAA_TAGS.contains(&it.tag));
    let shown = found.told.records.join(", ");
    if let Some(unknown) = unknown {
        tally.fail(
            Severity::Medium,
            format!(
                "{at}: {shown}: {} is critical, and nobody knows it: no authority may issue",
                unknown.tag
            ),
            format!(
                "take out the record with {} at {at}, or its flag 128",
                unknown.tag
            ),
        );
    } else if records.is_empty() {
        tally.warn(
            Severity::Info,
            format!("{name}: any authority may issue certificates"),
            publish,
        );
    } else if records.iter().any(|it| it.tag == "issue") {
        let bound = records
            .iter()
            .any(|it| it.tag == "issue" && it.value.contains("accounturi"));
        let hint = if bound {
            ""
        } else {
            " (accounturi would keep it to your own account, RFC 8657)"
        };
        tally.pass(format!("{at}: {shown}{hint}"));
    } else {
        tally.warn(
            Severity::Info,
            format!("{at}: {shown}: without issue any authority may issue certificates"),
            publish,
        );
    }
}

/// The tags somebody acts on (the registry of RFC 8659 7.1).
const CAA_TAGS: [&str; 7] = [
    "issue",
    "issuewild",
    "issuemail",
    "issuevmc",
    "iodef",
    "contactemail",
    "contactphone",
];

/// A CAA record.
struct Caa<'a> {
    critical: bool,
    tag: &'a str,
    value: &'a str,
}

fn caa(text: &str) -> Option<Caa<'_>> {
    let (flags, rest) = text.split_once(' ')?;
    let (tag, value) = rest.split_once(' ')?;
    let flags: u8 = flags.parse().ok()?;
    Some(Caa {
        critical: flags & 0x80 != 0,
        tag,
        value,
    })
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
    name_servers(case, tally);
    tally.otherwise("there are no mail hosts");
}

/// Whether a resolver that has IPv6 alone finds the domain and its mail hosts.
fn name_servers(case: &Case<'_>, tally: &mut Tally) {
    let facts = case.facts;
    let zones = || [&facts.servers].into_iter().chain(&facts.exchange_servers);
    let answers = zones().flat_map(|it| it.answers.values());
    let connected = case
        .services
        .iter()
        .any(|it| it.target.address.is_ipv6() && matches!(it.reach, Reach::Connected { .. }));
    let works = connected || answers.into_iter().any(|it| *it == Seen::Known(true));
    for zone in zones() {
        let name = match zone.zone.as_str() {
            "" => &facts.domain,
            name => name,
        };
        enough(name, zone, tally);
        for (server, told) in &zone.six {
            for address in &told.records {
                if let Some(seen) = zone.answers.get(address) {
                    answer(&format!("{server} ({address})"), seen, works, tally);
                }
            }
        }
    }
}

/// Two name servers with IPv6, so that one may be away (RFC 2182 5).
fn enough(zone: &str, servers: &ServerFacts, tally: &mut Tally) {
    let all = &servers.told;
    if all.standing == Standing::Unasked || tally.stuck(&format!("NS of {zone}"), all) {
        return;
    }
    let lacking = servers.six.iter().find(|(_, told)| told.is_absent());
    let with = servers.six.values().filter(|it| !it.records.is_empty());
    let with = with.count();
    let unknown = servers.six.iter().find(|(_, told)| !told.is_known());
    if with >= servers.six.len().min(2) {
        if with > 0 {
            tally.pass(format!("{with} name servers of {zone} have IPv6 addresses"));
        }
    } else if let Some((name, told)) = unknown {
        tally.stuck(&format!("AAAA of {name}"), told);
    } else {
        let evidence = match with {
            0 => format!("no name server of {zone} has an IPv6 address"),
            _ => format!("one name server of {zone} alone has an IPv6 address"),
        };
        let name = lacking.map_or("", |it| it.0.as_str());
        let fix = format!("{name}. AAAA with the name server's address");
        tally.warn(Severity::Low, evidence, fix);
    }
}

/// What came from a name server by IPv6. Silence is its fault only where IPv6 works at all.
fn answer(server: &str, seen: &Seen<bool>, works: bool, tally: &mut Tally) {
    match seen {
        Seen::Known(true) => tally.pass(format!("name server {server} answers")),
        Seen::Known(false) if works => tally.fail(
            Severity::Low,
            format!("name server {server} does not answer by IPv6"),
            format!(
                "let {server} listen on IPv6, too, and let port 53 through, or take the AAAA record out"
            ),
        ),
        Seen::Known(false) => tally.unknown(format!(
            "name server {server}: no answer, and nothing else showed that IPv6 works here"
        )),
        Seen::Unknown { why, .. } => tally.unknown(format!("name server {server}: {why}")),
        Seen::Unasked => {}
    }
}
