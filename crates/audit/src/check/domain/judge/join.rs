//! What several services, or a service and a promise, say together.

use std::collections::BTreeMap;

use gatepost_trust::cert::describe;
use gatepost_trust::dns::Name;
use gatepost_trust::mta_sts::Mode;

use super::Case;
use super::dane;
use super::live::{Live, live};
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::facts::Fetch;
use crate::check::facts::{Facts, HelloAnswer, Seen};
use crate::finding::Severity;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut kept = Tally::new("STRIP-002");
    promises(case, &mut kept);
    let mut same = Tally::new("NET-002");
    for ((host, port), group) in grouped(case) {
        addresses(&host, port, &group, &mut same);
    }
    for host in case.facts.exchanges() {
        if let Some(known) = case.facts.host(&host) {
            same.stuck_addresses(&host, known);
            let more = known.unexamined();
            if more > 0 {
                let more = u32::try_from(more).unwrap_or(u32::MAX);
                same.missing(
                    format!("{host}: {more} more addresses were not looked at"),
                    more,
                );
            }
        }
    }
    same.otherwise("no service was looked at");
    [kept, same].into_iter().filter_map(Tally::finish).collect()
}

/// The services by host and port.
fn grouped<'a>(case: &Case<'a>) -> BTreeMap<(String, u16), Vec<&'a Facts>> {
    let mut groups: BTreeMap<(String, u16), Vec<&Facts>> = BTreeMap::new();
    for service in case.services {
        let key = (
            service.target.host.to_ascii_lowercase(),
            service.target.port,
        );
        groups.entry(key).or_default().push(service);
    }
    groups
}

/// DNS says that there is TLS on port 25. Is there?
fn promises(case: &Case<'_>, tally: &mut Tally) {
    let policy = case.policy().filter(|policy| policy.mode == Mode::Enforce);
    let enforced = |host: &str| {
        let name = host.parse::<Name>();
        name.is_ok_and(|name| policy.as_ref().is_some_and(|it| it.lists(&name)))
    };
    for host in case.facts.exchanges() {
        let found = case.facts.host(&host).and_then(|it| it.tlsa.get(&25));
        let by = match found {
            Some(found) if !dane::usable(found).is_empty() => "TLSA records",
            _ if enforced(&host) => "the policy (MTA-STS, enforce)",
            Some(found) if !found.told.is_known() => {
                tally.stuck(&found.owner, &found.told);
                continue;
            }
            _ => continue,
        };
        let services: Vec<&Facts> = case.seen(&host, 25).collect();
        let known = case.facts.host(&host);
        let stuck = known.is_some_and(|it| tally.stuck_addresses(&host, it));
        if services.is_empty() && !stuck {
            tally.missing(format!("{host} was not looked at"), 1);
        }
        for service in services {
            let place = service.target.to_string();
            match live(service) {
                Live::Tls(_) => tally.pass(format!("{place}: TLS, as {by} promise")),
                Live::NoTls(why) => tally.fail(
                    Severity::Critical,
                    format!("{place}: {why}, although {by} promise TLS: either the server lost it, or something on the path took it out"),
                    "look from another network; there too: offer STARTTLS again. Only here: find the box on the path (SMTP inspection of a firewall)",
                ),
                Live::Closed => tally.missing(format!("{place}: the port is closed"), 1),
                Live::Unknown(why, missing) => tally.missing(format!("{place}: {why}"), missing),
            }
        }
    }
    if policy.is_none()
        && let Fetch::Unknown { why } = &case.facts.sts.policy.fetch
    {
        tally.missing(format!("{}: {why}", case.facts.sts.policy.url), 1);
    }
    tally.otherwise("neither TLSA records nor a policy promise TLS");
}

/// The same host answers the same way wherever it is reached.
fn addresses(host: &str, port: u16, group: &[&Facts], tally: &mut Tally) {
    let seen: Vec<(&Facts, Live<'_>)> = group.iter().map(|it| (*it, live(it))).collect();
    let (told, open): (Vec<_>, Vec<_>) = seen
        .into_iter()
        .partition(|(_, it)| matches!(it, Live::Tls(_) | Live::NoTls(_)));
    if group.len() < 2 {
        return tally.moot(format!("{host}:{port} has one address"));
    }
    for (service, _) in &open {
        tally.missing(format!("{}: not seen", service.target), 1);
    }
    let Some(((first, one), rest)) = told.split_first() else {
        return;
    };
    let mut alike = true;
    for (service, other) in rest {
        for (severity, what) in differences((first, one), (service, other)) {
            alike = false;
            tally.fail(
                severity,
                format!("{host}:{port}: {what} at {} and {} differ", first.target.address, service.target.address),
                "one configuration for all addresses of the host; a proxy in front of one of them is often forgotten",
            );
        }
    }
    if alike && open.is_empty() {
        tally.pass(format!(
            "{host}:{port}: the same at {} addresses",
            told.len()
        ));
    }
}

fn differences(
    one: (&Facts, &Live<'_>),
    other: (&Facts, &Live<'_>),
) -> Vec<(Severity, &'static str)> {
    let mut found = Vec::new();
    match (one.1, other.1) {
        (Live::Tls(left), Live::Tls(right)) => {
            if left.version != right.version {
                found.push((Severity::Medium, "the versions of TLS"));
            }
            if left.verified.is_some() != right.verified.is_some() {
                found.push((Severity::High, "whether the certificates are vouched for"));
            } else if names(one.0) != names(other.0) {
                found.push((Severity::Medium, "the names in the certificates"));
            }
        }
        (Live::Tls(_), _) | (_, Live::Tls(_)) => {
            found.push((Severity::High, "whether there is TLS"));
        }
        _ => (),
    }
    let taken = |facts: &Facts, name: &str| match facts.hellos.get(name) {
        Some(Seen::Known(answer)) => Some(HelloAnswer::is_taken(answer)),
        _ => None,
    };
    let differ = one.0.hellos.keys().any(|name| {
        let (left, right) = (taken(one.0, name), taken(other.0, name));
        left.is_some() && right.is_some() && left != right
    });
    if differ {
        found.push((Severity::High, "the old versions and weak suites taken"));
    }
    found
}

/// The names in the certificate of the full handshake.
fn names(facts: &Facts) -> Vec<String> {
    let chain = facts.chains().into_iter().next().unwrap_or_default();
    let read = chain.first().and_then(|leaf| describe(leaf).ok());
    let mut names = read.map(|it| it.names).unwrap_or_default();
    names.sort();
    names
}
