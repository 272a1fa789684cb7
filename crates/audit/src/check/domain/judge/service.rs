//! Where mail programs find the services: SRV records (RFC 6186, RFC 8314 5.1) and the file for mail programs.

use gatepost_trust::dns::Name;
use gatepost_trust::dns::srv::Service;

use super::Case;
use super::live::{Live, complaint, live};
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::autoconfig::{self, Described};
use crate::check::domain::facts::{Fetch, HostFacts, Location, ServiceFacts};
use crate::finding::Severity;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut records = Tally::new("SRV-001");
    srv(case, &mut records);
    let mut file = Tally::new("ACFG-001");
    described(case, &mut file);
    [records, file]
        .into_iter()
        .filter_map(Tally::finish)
        .collect()
}

fn owner(case: &Case<'_>, service: &str) -> String {
    format!("_{service}._tcp.{}", case.facts.domain)
}

fn srv(case: &Case<'_>, tally: &mut Tally) {
    let services = &case.facts.services;
    let mut any = false;
    let mut stuck = false;
    for service in services {
        let owner = owner(case, &service.service);
        if tally.stuck(&owner, &service.told) {
            stuck = true;
            continue;
        }
        let records = &service.told.records;
        any |= !records.is_empty();
        let none = records.iter().any(|it| it.host == ".");
        if none && records.len() > 1 {
            tally.fail(
                Severity::Low,
                format!(
                    "{owner}: one record says that the service is not here (.), others that it is"
                ),
                format!("take out: {owner}. SRV … ."),
            );
        }
        for record in records.iter().filter(|it| it.host != ".") {
            location(case, service, record, tally);
        }
    }
    for (implicit, clear) in [
        (Service::Submissions, Service::Submission),
        (Service::Imaps, Service::Imap),
        (Service::Pop3s, Service::Pop3),
    ] {
        preference(case, implicit, clear, tally);
    }
    if !any && !stuck && !case.facts.takes_no_mail() {
        let domain = &case.facts.domain;
        tally.warn(
            Severity::Low,
            "mail programs have to guess where the servers are",
            format!(
                "_submissions._tcp.{domain}. SRV 0 0 465 mail.{domain}. and _imaps._tcp.{domain}. SRV 0 0 993 mail.{domain}. \
                 (gatepost config dns {domain} --host mail.{domain})"
            ),
        );
    }
    tally.otherwise("no services are announced");
}

fn location(case: &Case<'_>, service: &ServiceFacts, record: &Location, tally: &mut Tally) {
    let owner = owner(case, &service.service);
    let host = &record.host;
    let place = format!("{owner}: {host}:{}", record.port);
    let Some(known) = case.facts.host(host) else {
        return tally.unknown(format!("{place}: the host was not looked up"));
    };
    if known.addresses().next().is_none() {
        let unknown = [&known.a, &known.aaaa]
            .into_iter()
            .find(|it| !it.is_known());
        match unknown {
            Some(told) => {
                tally.stuck(&place, told);
            }
            None => tally.fail(
                Severity::High,
                format!("{place}: the host has no address"),
                format!("{host}. A with the server's address, or: {owner}. SRV 0 0 0 ."),
            ),
        }
        return;
    }
    if let Some(alias) = known.alias() {
        tally.warn(
            Severity::Low,
            format!("{place}: the host is another name (CNAME) of {alias}"),
            format!("{owner}. SRV … {alias}."),
        );
    }
    within(case, service, &place, host, tally);
    answers(case, &place, host, record.port, tally);
}

/// [SRV-03] a host elsewhere, named by records anybody could have changed
fn within(case: &Case<'_>, service: &ServiceFacts, place: &str, host: &str, tally: &mut Tally) {
    let names = (host.parse::<Name>(), case.facts.domain.parse::<Name>());
    let (Ok(host), Ok(domain)) = names else {
        return;
    };
    if !host.is_within(&domain) && !service.told.is_secure() {
        tally.warn(
            Severity::Low,
            format!("{place}: outside of the domain, and not signed: mail programs must ask the user"),
            format!("sign the zone of {domain} (DNSSEC), or a name of the domain's own: mail.{domain}. with the server's addresses"),
        );
    }
}

/// What really answers where it was announced.
fn answers(case: &Case<'_>, place: &str, host: &str, port: u16, tally: &mut Tally) {
    let mut seen = false;
    for service in case.seen(host, port) {
        seen = true;
        let address = service.target.address;
        match live(service) {
            Live::Tls(handshake) if handshake.verified.is_some() => {
                tally.pass(format!("{place} ({address}) answers, and is verified"));
            }
            Live::Tls(handshake) => tally.fail(
                Severity::High,
                format!("{place} ({address}): {}", complaint(handshake)),
                format!("a certificate for {host} from an authority mail programs know"),
            ),
            Live::NoTls(why) => tally.fail(
                Severity::High,
                format!("{place} ({address}): {why}"),
                "offer TLS there, or announce another port",
            ),
            Live::Closed => tally.fail(
                Severity::High,
                format!("{place} ({address}): announced, and the port is closed"),
                "start the service, or take the record out",
            ),
            Live::Unknown(why, missing) => {
                tally.missing(format!("{place} ({address}): {why}"), missing);
            }
        }
    }
    if !seen {
        tally.missing(format!("{place} was not looked at"), 1);
    }
}

/// [SRV-07] implicit TLS before STARTTLS
fn preference(case: &Case<'_>, implicit: Service, clear: Service, tally: &mut Tally) {
    let best = |service: Service| {
        let label = service.label();
        let found = case.facts.services.iter().find(|it| it.service == label)?;
        let offered = found.told.records.iter().filter(|it| it.host != ".");
        offered.map(|it| it.priority).min()
    };
    let known = |service: Service| {
        let label = service.label();
        let found = case.facts.services.iter().find(|it| it.service == label);
        found.is_some_and(|it| it.told.is_known())
    };
    let (first, second) = (owner(case, implicit.label()), owner(case, clear.label()));
    match (best(implicit), best(clear)) {
        (Some(best), Some(other)) if best > other => tally.warn(
            Severity::Low,
            format!("{second} has priority {other}, {first} only {best}: programs that go by it begin in clear"),
            format!("{first}. SRV 0 … and {second}. SRV 10 …"),
        ),
        (None, Some(_)) if known(implicit) => tally.warn(
            Severity::Low,
            format!("{second} is announced, {first} is not"),
            format!("offer TLS from the first octet on port {}, and announce it: {first}. SRV 0 0 {} …", implicit.port(), implicit.port()),
        ),
        _ => (),
    }
}

fn described(case: &Case<'_>, tally: &mut Tally) {
    let domain = &case.facts.domain;
    let make = format!(
        "gatepost config client anyone@{domain} --for autoconfig, served at https://autoconfig.{domain}/mail/config-v1.1.xml"
    );
    for tried in &case.facts.autoconfig {
        match &tried.fetch {
            Fetch::Came { body, .. } => {
                match autoconfig::read(body, domain) {
                    Some(servers) if !servers.is_empty() => {
                        for server in &servers {
                            entry(case, &tried.url, server, tally);
                        }
                    }
                    _ => tally.fail(
                        Severity::Low,
                        format!(
                            "{}: no file for mail programs, or without servers",
                            tried.url
                        ),
                        make,
                    ),
                }
                return;
            }
            Fetch::Unknown { why } => tally.missing(format!("{}: {why}", tried.url), 1),
            Fetch::Failed { .. } | Fetch::Unasked => (),
        }
    }
    if case.facts.takes_no_mail() {
        tally.otherwise("the domain takes no mail");
    } else if case
        .facts
        .autoconfig
        .iter()
        .all(|it| matches!(it.fetch, Fetch::Failed { .. }))
    {
        let why = case.facts.autoconfig.iter().map(|it| match &it.fetch {
            Fetch::Failed { why, .. } => format!("{}: {why}", it.url),
            _ => it.url.clone(),
        });
        tally.warn(
            Severity::Low,
            format!(
                "there is no file for mail programs ({})",
                why.collect::<Vec<_>>().join("; ")
            ),
            make,
        );
    }
}

/// [AUTOC-03] a server the file names
fn entry(case: &Case<'_>, url: &str, server: &Described, tally: &mut Tally) {
    let place = format!(
        "{}://{}:{}",
        server.protocol.label(),
        server.host,
        server.port
    );
    if server.start.is_none() {
        return tally.fail(
            Severity::High,
            format!("{url}: {place} without TLS: programs that follow it send passwords in clear"),
            "<socketType>SSL</socketType> with the port of implicit TLS",
        );
    }
    let mut seen = false;
    for service in case.seen(&server.host, server.port) {
        seen = true;
        let address = service.target.address;
        match live(service) {
            Live::Tls(_) if Some(service.target.start) == server.start => {
                tally.pass(format!("{place} ({address}) is as the file says"));
            }
            Live::Tls(_) => tally.fail(
                Severity::Medium,
                format!("{url}: {place} ({address}) begins TLS another way than the file says"),
                "SSL for TLS from the first octet, STARTTLS for the other",
            ),
            Live::NoTls(why) => tally.fail(
                Severity::High,
                format!("{url}: {place} ({address}): {why}"),
                "offer TLS there",
            ),
            Live::Closed => tally.fail(
                Severity::Medium,
                format!("{url}: {place} ({address}): the port is closed"),
                "correct the file, or start the service",
            ),
            Live::Unknown(why, missing) => {
                tally.missing(format!("{place} ({address}): {why}"), missing);
            }
        }
    }
    if !seen {
        let addresses = case.facts.host(&server.host);
        let nowhere = addresses.is_some_and(HostFacts::has_no_address);
        if nowhere {
            tally.fail(
                Severity::Medium,
                format!("{url}: {} has no address", server.host),
                "correct the host name in the file",
            );
        } else {
            tally.missing(format!("{place} was not looked at"), 1);
        }
    }
}
