//! TLSA records: whether they are there, can be used, and match what is shown (RFC 7672, RFC 7671).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_trust::tlsa::{self, Tlsa, TlsaSet, Unusable, Usages};
use gatepost_trust::verify::{self, Demand, Evidence, Reference, Roots, Terms, Way, Ways};
use rustls_pki_types::CertificateDer;

use super::Case;
use super::live::{Live, live};
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::facts::{HostFacts, Standing, TlsaFacts};
use crate::check::facts::Facts;
use crate::finding::Severity;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut there = Tally::new("DANE-001");
    let mut matches = Tally::new("DANE-002");
    let mut usable = Tally::new("DANE-003");
    let mut spare = Tally::new("DANE-004");
    let mut denial = Tally::new("DANE-005");
    let mut others = Tally::new("DANE-006");
    let hosts = case.facts.exchanges();
    if hosts.is_empty() && !case.facts.takes_no_mail() {
        for tally in [
            &mut there,
            &mut matches,
            &mut usable,
            &mut spare,
            &mut denial,
        ] {
            tally.stuck("the MX records", &case.facts.mx);
        }
    }
    presence(case, &hosts, &mut there);
    for host in &hosts {
        let Some(known) = case.facts.host(host) else {
            continue;
        };
        denies(host, known, &mut denial);
        let Some(found) = known.tlsa.get(&25) else {
            continue;
        };
        for tally in [&mut matches, &mut usable, &mut spare] {
            tally.stuck(&found.owner, &found.told);
        }
        let records = counted(found);
        if records.is_empty() {
            continue;
        }
        parameters(found, &records, &mut usable);
        rollover(found, &records, &mut spare);
        held_against(case, host, found, &records, &mut matches);
    }
    for tally in [&mut matches, &mut usable, &mut spare] {
        tally.otherwise("there are no TLSA records under DNSSEC");
    }
    denial.otherwise("no zone of a mail host is signed");
    there.otherwise("the domain takes no mail");
    ports(case, &mut others);
    [there, matches, usable, spare, denial, others]
        .into_iter()
        .filter_map(Tally::finish)
        .collect()
}

/// The records that count in DNS: those of a secure answer.
pub(super) fn counted(found: &TlsaFacts) -> Vec<Tlsa> {
    if !found.told.is_secure() {
        return Vec::new();
    }
    let read = found.told.records.iter().map(|text| text.parse());
    read.filter_map(Result::ok).collect()
}

/// Those of them that count for SMTP.
pub(super) fn usable(found: &TlsaFacts) -> Vec<Tlsa> {
    TlsaSet::new(&counted(found), Usages::DaneOnly)
        .usable()
        .to_vec()
}

fn presence(case: &Case<'_>, hosts: &[String], tally: &mut Tally) {
    let with = |host: &String| {
        let known = case.facts.host(host).and_then(|it| it.tlsa.get(&25));
        known.is_some_and(|it| !counted(it).is_empty())
    };
    let any = hosts.iter().any(with);
    for host in hosts {
        let Some(known) = case.facts.host(host) else {
            continue;
        };
        let Some(found) = known.tlsa.get(&25) else {
            tally.unknown(format!("{host}: nobody asked"));
            continue;
        };
        let owner = &found.owner;
        match &found.told.standing {
            Standing::Bogus(why) => tally.fail(
                Severity::Critical,
                format!("{owner}: bogus: {why}. Senders that know DANE hold the mail back"),
                "sign the zone anew; until then mail from senders that know DANE waits",
            ),
            Standing::Unknown(_) | Standing::Unasked => {
                tally.stuck(owner, &found.told);
            }
            Standing::Insecure if !found.told.records.is_empty() => tally.fail(
                Severity::Medium,
                format!("{owner}: there are TLSA records, but the zone is not signed: nobody may use them"),
                format!("sign the zone of {owner} (DNSSEC), or take the records out"),
            ),
            _ if !found.told.records.is_empty() => tally.pass(format!("{owner}: {} under DNSSEC", count(found.told.records.len()))),
            _ if any => tally.warn(
                Severity::Medium,
                format!("{owner}: no TLSA records, while another mail host has some: an attacker sends mail to this one"),
                publish(case, host, found),
            ),
            Standing::Insecure => tally.warn(
                Severity::Low,
                format!("{owner}: no TLSA records, and the zone is not signed"),
                format!("sign the zone of {host} first (DNSSEC), then {}", publish(case, host, found)),
            ),
            Standing::Secure => tally.warn(
                Severity::Low,
                format!("{owner}: no TLSA records"),
                publish(case, host, found),
            ),
        }
    }
    if any && !case.facts.mx.is_secure() && case.facts.mx.is_known() {
        tally.warn(
            Severity::Low,
            format!(
                "{} is not signed: the way to the mail hosts is protected, their choice is not",
                case.facts.domain
            ),
            format!("sign the zone of {} (DNSSEC)", case.facts.domain),
        );
    }
}

fn count(records: usize) -> String {
    match records {
        1 => "one record".to_owned(),
        more => format!("{more} records"),
    }
}

/// The record to publish: with the key the host shows, where it was seen.
fn publish(case: &Case<'_>, host: &str, found: &TlsaFacts) -> String {
    let seen = case.seen(host, 25).flat_map(Facts::chains).next();
    let record = seen.and_then(|chain| Tlsa::for_certificate(chain.first()?, 3, 1, 1));
    match record {
        Some(record) => format!("{}. TLSA {record}", found.owner),
        None => format!(
            "{}. TLSA 3 1 1 … (gatepost tlsa make {host}:25)",
            found.owner
        ),
    }
}

/// Whether the zone can deny: a sender asks for TLSA records first, and must get an answer that holds.
fn denies(host: &str, known: &HostFacts, tally: &mut Tally) {
    let signed = known.a.is_secure() || known.aaaa.is_secure();
    if !signed {
        if known.a.is_known() || known.aaaa.is_known() {
            tally.moot(format!("{host} is not signed"));
        } else {
            tally.stuck(&format!("the addresses of {host}"), &known.a);
        }
        return;
    }
    let owner = known.tlsa.get(&25).map_or(host, |it| it.owner.as_str());
    let tlsa = known.tlsa.get(&25).and_then(|it| it.told.bogus());
    match (known.denial.bogus().or(tlsa), known.denial.trouble()) {
        (Some(why), _) => tally.fail(
            Severity::Critical,
            format!("{owner}: that there is no such record is not proven: {why}. Senders that know DANE hold the mail back"),
            "let the name server make NSEC or NSEC3 records for every name of the zone; some boxes in front of name servers drop them",
        ),
        (None, Some(why)) => tally.unknown(format!("{owner}: {why}")),
        (None, None) => tally.pass(format!("{owner}: denials are proven")),
    }
}

fn parameters(found: &TlsaFacts, records: &[Tlsa], tally: &mut Tally) {
    let none: [CertificateDer<'_>; 0] = [];
    let reports = tlsa::check(records, &none, Usages::DaneOnly);
    let any = reports.iter().any(|it| it.unusable.is_none());
    for report in reports {
        let numbers = format!(
            "{} {} {}",
            report.record.usage, report.record.selector, report.record.matching
        );
        let said = format!("{}: {numbers}", found.owner);
        let better = format!(
            "{}. TLSA 3 1 1 … in place of {numbers} (gatepost tlsa make {}:25)",
            found.owner, found.base
        );
        match report.unusable {
            // A second digest of the same certificate beside a stronger one does no harm.
            Some(Unusable::Weaker) => tally.pass(format!("{said} beside a stronger digest")),
            Some(why) if any => tally.warn(Severity::Medium, format!("{said}: {why}"), better),
            Some(why) => tally.fail(
                Severity::Medium,
                format!("{said}: {why}; no record counts, so nobody knows the certificate by them"),
                better,
            ),
            None => style(&report.record, said, better, tally),
        }
    }
}

/// [DANE-13] what counts, and is asking for trouble
fn style(record: &Tlsa, said: String, better: String, tally: &mut Tally) {
    match (record.usage, record.selector, record.matching) {
        (_, _, 0) => tally.warn(
            Severity::Low,
            format!("{said}: the whole data in the record makes large answers"),
            better,
        ),
        (3, 0, _) => tally.warn(
            Severity::Low,
            format!("{said}: of the whole certificate, so that each renewal breaks it"),
            better,
        ),
        (3, 1, 1) => tally.pass(said),
        (2, _, _) => tally.pass(format!(
            "{said}: the authority's certificate must be in the chain, and the name must fit"
        )),
        _ => tally.pass(format!("{said}; 3 1 1 is what every sender knows")),
    }
}

/// [DANE-15] a record for the next key beside that of the one in use
fn rollover(found: &TlsaFacts, records: &[Tlsa], tally: &mut Tally) {
    let set = TlsaSet::new(records, Usages::DaneOnly);
    if set.usable().len() > 1 {
        tally.pass(format!("{}: {}", found.owner, count(set.usable().len())));
    } else {
        tally.warn(
            Severity::Info,
            format!("{}: one record that counts; at a change of keys without a second one mail stays away", found.owner),
            format!(
                "make the next key now and publish its record beside: {}. TLSA 3 1 1 … (gatepost config dns DOMAIN --host {} --live --next FILE)",
                found.owner, found.base
            ),
        );
    }
}

/// The records and the chains shown at every address.
fn held_against(
    case: &Case<'_>,
    host: &str,
    found: &TlsaFacts,
    records: &[Tlsa],
    tally: &mut Tally,
) {
    let set = TlsaSet::new(records, Usages::DaneOnly);
    if set.is_empty() {
        tally.moot(format!("{}: no record counts", found.owner));
        return;
    }
    let Some(known) = case.facts.host(host) else {
        return;
    };
    tally.stuck_addresses(host, known);
    for address in known.examined() {
        let seen = case.seen(host, 25).find(|it| it.target.address == address);
        match seen {
            None => tally.missing(format!("{host} ({address}) was not looked at"), 1),
            Some(service) => at_address(case, service, found, &set, tally),
        }
    }
}

fn at_address(
    case: &Case<'_>,
    service: &Facts,
    found: &TlsaFacts,
    set: &TlsaSet,
    tally: &mut Tally,
) {
    let place = service.target.to_string();
    match live(service) {
        Live::Tls(_) => (),
        Live::NoTls(why) => {
            tally.fail(
                Severity::Critical,
                format!("{place}: {why}, although TLSA records promise TLS: senders that know DANE do not deliver"),
                "offer STARTTLS with the certificate the records are for, or take the records out",
            );
            return;
        }
        Live::Closed => return tally.missing(format!("{place}: the port is closed"), 1),
        Live::Unknown(why, missing) => return tally.missing(format!("{place}: {why}"), missing),
    }
    let chains = service.chains();
    if chains.is_empty() {
        tally.missing(format!("{place}: no certificate was seen"), 1);
    }
    for chain in chains {
        match complaint(case, service, found, set, &chain) {
            None => tally.pass(format!("{place}: the certificate matches")),
            Some(why) => {
                let record = chain
                    .first()
                    .and_then(|leaf| Tlsa::for_certificate(leaf, 3, 1, 1));
                let record = record.map(|it| format!("{}. TLSA {it}", found.owner));
                tally.fail(
                    Severity::Critical,
                    format!("{place}: {why}: senders that know DANE do not deliver"),
                    format!(
                        "publish the record of the key in use now: {}; take out what no key fits two TTLs later",
                        record.unwrap_or_else(|| format!("{}. TLSA 3 1 1 …", found.owner))
                    ),
                );
            }
        }
    }
}

/// Why a chain is not whom the records say.
fn complaint(
    case: &Case<'_>,
    service: &Facts,
    found: &TlsaFacts,
    set: &TlsaSet,
    chain: &[CertificateDer<'static>],
) -> Option<String> {
    // [DANE-09] the base, the host, and the domain itself where the way from it is signed
    let mut names = vec![found.base.as_str(), service.target.host.as_str()];
    if case.facts.mx.is_secure() && set.usages() == Usages::DaneOnly {
        names.push(&case.facts.domain);
    }
    let references: Vec<Reference> = names
        .iter()
        .filter_map(|it| Reference::host(it).ok())
        .collect();
    let Some(first) = references.first().cloned() else {
        return Some("the host has no name a certificate could have".into());
    };
    let terms = Terms {
        references,
        demand: Demand::Encrypted,
        ways: Ways::Any(vec![Way::Dane(Arc::new(set.clone()))]),
        ..Terms::for_host(first, Arc::new(Roots::none()))
    };
    let evidence = Evidence {
        chain: chain.to_vec(),
        staple: Vec::new(),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(case.at);
    let verdict = verify::judge(&evidence, &terms, now);
    if verdict.verified().is_some() {
        return None;
    }
    let reason = verdict.reason().map(ToString::to_string);
    Some(reason.unwrap_or_else(|| "no record matches the certificate".into()))
}

/// Records of the ports mail programs use (RFC 7673): told, and held against what is shown there.
fn ports(case: &Case<'_>, tally: &mut Tally) {
    let mut known = false;
    for (host, seen) in &case.facts.hosts {
        for (port, found) in seen.tlsa.iter().filter(|(port, _)| **port != 25) {
            known = true;
            if tally.stuck(&found.owner, &found.told) {
                continue;
            }
            let set = TlsaSet::new(&counted(found), Usages::All);
            if set.is_empty() {
                tally.info(format!("{}: no records", found.owner));
                continue;
            }
            for service in case.seen(host, *port) {
                for chain in service.chains() {
                    // Usages 0 and 1 want an authority besides, which is judged with the service.
                    let reports = tlsa::check(set.usable(), &chain, Usages::All);
                    if reports.iter().any(|it| it.matches.is_some()) {
                        tally.pass(format!("{}: matches", service.target));
                    } else {
                        tally.fail(
                            Severity::Medium,
                            format!("{}: no record matches the certificate", service.target),
                            publish_at(&chain, found),
                        );
                    }
                }
            }
        }
    }
    if !known {
        tally.moot("no services for mail programs are known");
    }
}

fn publish_at(chain: &[CertificateDer<'_>], found: &TlsaFacts) -> String {
    let record = chain
        .first()
        .and_then(|leaf| Tlsa::for_certificate(leaf, 3, 1, 1));
    let data = record.map_or_else(|| "3 1 1 …".to_owned(), |it| it.to_string());
    format!("{}. TLSA {data}", found.owner)
}
