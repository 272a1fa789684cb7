//! What is asked of DNS and of web hosts, in which order.
//!
//! The MX records first and alone: their answer warms the chain of trust for everything below the domain. Then all at once what does not
//! depend on another answer; last the hosts that SRV records and files name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_trust::dane::tlsa_owner;
use gatepost_trust::dns::srv::Service;
use gatepost_trust::dns::{Name, Rtype, together};
use gatepost_trust::mta_sts;

use super::ask::Asker;
use super::facts::{
    CaaFacts, Denied, DkimFacts, DmarcLookup, DomainFacts, Fetch, Fetched, HostFacts, PtrFacts,
    ReportFacts, ServiceFacts, SpfLookup, StsFacts, TlsaFacts, Told,
};
use super::fetch::fetch;
use super::{Means, autoconfig, servers, spf, sts, tags, targets};

/// All services, best first.
pub(super) const SERVICES: [Service; 7] = [
    Service::Submissions,
    Service::Submission,
    Service::Imaps,
    Service::Imap,
    Service::Pop3s,
    Service::Pop3,
    Service::Sieve,
];

/// The most MX hosts looked at; more are told, not asked.
const MAX_HOSTS: usize = 20;
/// The most lookups of SPF followed: far more than the ten that count.
const MAX_SPF: usize = 40;
/// The most names of an address looked at.
const MAX_NAMES: usize = 5;
/// The most labels of a name that is walked up for DMARC (RFC 9989 4.10).
const MAX_LABELS: usize = 8;

/// Asks everything about a domain. Never fails: what could not be found out says why.
pub async fn examine(domain: &str, means: &Means) -> DomainFacts {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut facts = DomainFacts {
        domain: domain.trim_end_matches('.').to_ascii_lowercase(),
        at: now.unwrap_or_default().as_secs(),
        ..DomainFacts::default()
    };
    let Ok(name) = facts.domain.parse::<Name>() else {
        facts.mx = Told::unknown("this is no name that DNS knows");
        return facts;
    };
    let asker = Asker::new(means);
    facts.mx = asker.exchanges(&name).await;
    let hosts: Vec<String> = facts.exchanges().into_iter().take(MAX_HOSTS).collect();
    let mail = together(hosts.iter().map(|host| exchange(&asker, host)));
    let (mail, policies, senders, found, servers) = Box::pin(async {
        tokio::join!(
            Box::pin(mail),
            Box::pin(policies(&asker, &name)),
            Box::pin(senders(&asker, &name)),
            Box::pin(services(&asker, &name)),
            Box::pin(servers::examine(&asker, &name, &hosts)),
        )
    })
    .await;
    facts.hosts = hosts.iter().cloned().zip(mail).collect();
    (facts.sts, facts.reports, facts.caa) = policies;
    (facts.spf, facts.dkim, facts.dmarc) = senders;
    (facts.services, facts.autoconfig) = found;
    (facts.servers, facts.exchange_servers) = servers;
    more_hosts(&asker, &mut facts).await;
    facts
}

/// The hosts of services, those that are no MX hosts; and usual names where the domain names none.
async fn more_hosts(asker: &Asker<'_>, facts: &mut DomainFacts) {
    let mut wanted: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for place in targets::announced(facts) {
        wanted.entry(place.host).or_default().insert(place.port);
    }
    if wanted.is_empty() && !facts.takes_no_mail() {
        for (host, services) in targets::usual(&facts.domain) {
            let ports = services.iter().map(|service| service.port());
            wanted.entry(host.clone()).or_default().extend(ports);
            facts.guesses.push(host);
        }
    }
    let looks = wanted.iter().map(|(host, ports)| async {
        let mut seen = match facts.hosts.get(host) {
            Some(seen) => seen.clone(),
            None if facts.guesses.contains(host) => guess(asker, host).await,
            None => addresses(asker, host).await,
        };
        // Most usual names do not exist, and then nobody looks for records below them.
        if seen.has_no_address() && facts.guesses.contains(host) {
            return (host.clone(), seen);
        }
        let ports: Vec<u16> = ports.iter().copied().collect();
        let tlsa = together(ports.iter().map(|port| tlsa(asker, host, *port, &seen))).await;
        seen.tlsa.extend(ports.into_iter().zip(tlsa));
        (host.clone(), seen)
    });
    let found = together(looks).await;
    facts.hosts.extend(found);
    // Nobody promised the usual names: those that do not exist are left out.
    let (hosts, guesses) = (&mut facts.hosts, &mut facts.guesses);
    let exchanges: BTreeSet<String> = facts.mx.records.iter().map(|it| it.host.clone()).collect();
    guesses.retain(|host| {
        let there = hosts.get(host).is_some_and(|seen| !seen.has_no_address());
        if !there && !exchanges.contains(host) && *host != facts.domain {
            hosts.remove(host);
        }
        there
    });
}

/// An MX host.
async fn exchange(asker: &Asker<'_>, host: &str) -> HostFacts {
    let mut seen = addresses(asker, host).await;
    let Ok(name) = host.parse::<Name>() else {
        return seen;
    };
    let denial = async {
        match tlsa_owner(&name, 25) {
            Ok(owner) => as_text(asker.addresses(&owner, Rtype::A).await, ToString::to_string),
            Err(_) => Told::unknown("the name is too long"),
        }
    };
    let all: Vec<IpAddr> = seen.examined().collect();
    let (tlsa, denial, caa, names) = tokio::join!(
        Box::pin(tlsa(asker, host, 25, &seen)),
        Box::pin(denial),
        Box::pin(authorities(asker, name.clone())),
        Box::pin(together(
            all.iter().map(|address| pointers(asker, *address))
        )),
    );
    seen.tlsa.insert(25, tlsa);
    seen.denial = denial;
    seen.caa = caa;
    seen.names = all.into_iter().zip(names).collect();
    seen
}

async fn addresses(asker: &Asker<'_>, host: &str) -> HostFacts {
    let Ok(name) = host.parse::<Name>() else {
        return HostFacts {
            a: Told::unknown("this is no name that DNS knows"),
            aaaa: Told::unknown("this is no name that DNS knows"),
            ..HostFacts::default()
        };
    };
    let (aaaa, a) = tokio::join!(
        Box::pin(asker.addresses(&name, Rtype::AAAA)),
        Box::pin(asker.addresses(&name, Rtype::A)),
    );
    HostFacts {
        a,
        aaaa,
        ..HostFacts::default()
    }
}

/// The addresses of a usual name. One that does not exist has none of either kind, so only the first kind is asked for (RFC 8020 2); A, as
/// there are old servers that deny the whole name when asked for AAAA (RFC 4074 4.2).
async fn guess(asker: &Asker<'_>, host: &str) -> HostFacts {
    let Ok(name) = host.parse::<Name>() else {
        return addresses(asker, host).await;
    };
    let a = asker.addresses(&name, Rtype::A).await;
    let aaaa = if a.denied == Some(Denied::NoName) && a.is_absent() {
        a.clone()
    } else {
        asker.addresses(&name, Rtype::AAAA).await
    };
    HostFacts {
        a,
        aaaa,
        ..HostFacts::default()
    }
}

/// The TLSA records of a port, at the base a sender would take [DANE-02]. Other than a sender we also ask where the addresses are not
/// signed: records nobody can use are worth telling.
async fn tlsa(asker: &Asker<'_>, host: &str, port: u16, seen: &HostFacts) -> TlsaFacts {
    let mut bases: Vec<String> = Vec::new();
    if seen.a.is_secure() || seen.aaaa.is_secure() {
        bases.extend(seen.alias().map(str::to_owned));
    }
    bases.push(host.to_owned());
    let mut found = TlsaFacts::default();
    for base in bases {
        let owner = base.parse().and_then(|base: Name| tlsa_owner(&base, port));
        let Ok(owner) = owner else {
            found.told = Told::unknown("the name is too long");
            continue;
        };
        found = TlsaFacts {
            owner: owner.to_string(),
            base,
            told: asker.tlsa(&owner).await,
        };
        if !found.told.is_absent() {
            break;
        }
    }
    found
}

async fn pointers(asker: &Asker<'_>, address: IpAddr) -> PtrFacts {
    let told = asker.names(address).await;
    let rtype = if address.is_ipv4() {
        Rtype::A
    } else {
        Rtype::AAAA
    };
    let names: Vec<String> = told.records.iter().take(MAX_NAMES).cloned().collect();
    let forward = names.iter().map(|text| async move {
        match text.parse() {
            Ok(name) => asker.addresses(&name, rtype).await,
            Err(_) => Told::unknown("this is no name that DNS knows"),
        }
    });
    let forward = together(forward).await;
    PtrFacts {
        told,
        forward: names.into_iter().zip(forward).collect(),
    }
}

/// Who may issue: the records at the name, else at the next above that has some (RFC 8659 3).
async fn authorities(asker: &Asker<'_>, name: Name) -> CaaFacts {
    let mut at = name;
    loop {
        let told = asker.authorities(&at).await;
        if !told.is_absent() {
            return CaaFacts {
                at: Some(at.to_string()),
                told,
            };
        }
        match at.parent() {
            Some(above) if !above.is_root() => at = above,
            _ => return CaaFacts { at: None, told },
        }
    }
}

/// What the domain says to those who send to it.
async fn policies(asker: &Asker<'_>, domain: &Name) -> (StsFacts, ReportFacts, CaaFacts) {
    tokio::join!(
        Box::pin(policy(asker, domain)),
        Box::pin(reports(asker, domain)),
        Box::pin(authorities(asker, domain.clone())),
    )
}

async fn texts(asker: &Asker<'_>, domain: &Name, below: &str) -> Told<String> {
    match domain.below(below) {
        Ok(name) => asker.texts(&name).await,
        Err(_) => Told::unknown("the name is too long"),
    }
}

async fn policy(asker: &Asker<'_>, domain: &Name) -> StsFacts {
    let record = texts(asker, domain, "_mta-sts").await;
    let mut facts = StsFacts {
        record,
        ..StsFacts::default()
    };
    // Without a record that counts no sender fetches a policy.
    if sts::id(&facts.record).is_some() {
        let host = format!("mta-sts.{domain}");
        facts.policy = fetch(asker.means(), &host, mta_sts::PATH).await;
    }
    facts
}

async fn reports(asker: &Asker<'_>, domain: &Name) -> ReportFacts {
    let record = texts(asker, domain, "_smtp._tls").await;
    let mut places: BTreeSet<(String, bool)> = BTreeSet::new();
    for text in &record.records {
        let read = tags::read(text).unwrap_or_default();
        let uris = tags::value(&read, "rua").unwrap_or_default().split(',');
        places.extend(uris.filter_map(|uri| report_place(uri.trim())));
    }
    let looks = places.iter().map(|(place, mail)| async move {
        let Ok(name) = place.parse::<Name>() else {
            return Told::unknown("this is no name that DNS knows");
        };
        if *mail {
            let found = asker.exchanges(&name).await;
            if !found.is_absent() {
                return as_text(found, |it| it.host.clone());
            }
        }
        let (four, six) = (
            asker.addresses(&name, Rtype::A).await,
            asker.addresses(&name, Rtype::AAAA).await,
        );
        as_text(
            if four.is_absent() { six } else { four },
            ToString::to_string,
        )
    });
    let told = together(looks).await;
    let names = places.iter().map(|(place, _)| place.clone());
    ReportFacts {
        places: names.zip(told).collect(),
        record,
    }
}

/// The domain of an address for reports, and whether it is one of mail.
pub(super) fn report_place(uri: &str) -> Option<(String, bool)> {
    let lower = uri.to_ascii_lowercase();
    if let Some(address) = lower.strip_prefix("mailto:") {
        let address = address.split(['?', '!']).next()?;
        let (_, domain) = address.rsplit_once('@')?;
        return Some((domain.to_owned(), true));
    }
    let rest = lower.strip_prefix("https://")?;
    let host = rest.split(['/', ':', '?']).next()?;
    (!host.is_empty()).then(|| (host.to_owned(), false))
}

fn as_text<T>(told: Told<T>, text: impl Fn(&T) -> String) -> Told<String> {
    Told {
        records: told.records.iter().map(text).collect(),
        standing: told.standing,
        denied: told.denied,
        aliases: told.aliases,
    }
}

/// What the domain says to those who receive from it.
async fn senders(
    asker: &Asker<'_>,
    domain: &Name,
) -> (Vec<SpfLookup>, DkimFacts, Vec<DmarcLookup>) {
    tokio::join!(
        Box::pin(spf_walk(asker, domain)),
        Box::pin(keys(asker, domain)),
        Box::pin(dmarc_walk(asker, domain)),
    )
}

/// The texts of the domain and what its SPF record asks, level by level. A circle ends with the bound.
async fn spf_walk(asker: &Asker<'_>, domain: &Name) -> Vec<SpfLookup> {
    let first = SpfLookup {
        name: domain.to_string(),
        told: asker.texts(domain).await,
        ..SpfLookup::default()
    };
    let mut level = next_lookups(&first);
    let mut walk = vec![first];
    while !level.is_empty() && walk.len() <= MAX_SPF {
        level.truncate(MAX_SPF + 1 - walk.len());
        let told = together(
            level
                .into_iter()
                .map(|(lookup, ask)| answer(asker, lookup, ask)),
        );
        let told = told.await;
        level = told
            .iter()
            .filter(|(_, ask)| *ask == spf::Ask::Record)
            .flat_map(|(lookup, _)| next_lookups(lookup))
            .collect();
        walk.extend(told.into_iter().map(|(lookup, _)| lookup));
    }
    walk
}

fn next_lookups(lookup: &SpfLookup) -> Vec<(SpfLookup, spf::Ask)> {
    let mut records = lookup
        .told
        .records
        .iter()
        .filter(|text| spf::is_record(text));
    let (Some(text), None) = (records.next(), records.next()) else {
        return Vec::new();
    };
    let Ok(record) = spf::read(text, &lookup.name) else {
        return Vec::new();
    };
    let lookups = record.terms.into_iter().map(|term| {
        let next = SpfLookup {
            by: lookup.name.clone(),
            term: term.text,
            name: term.name.unwrap_or_default(),
            told: Told::default(),
        };
        (next, term.ask)
    });
    lookups.collect()
}

async fn answer(asker: &Asker<'_>, mut lookup: SpfLookup, ask: spf::Ask) -> (SpfLookup, spf::Ask) {
    if lookup.name.is_empty() || ask == spf::Ask::Names {
        return (lookup, ask);
    }
    let Ok(name) = lookup.name.parse::<Name>() else {
        lookup.told = Told::unknown("this is no name that DNS knows");
        return (lookup, ask);
    };
    lookup.told = match ask {
        spf::Ask::Record => asker.texts(&name).await,
        spf::Ask::Exchanges => as_text(asker.exchanges(&name).await, |it| it.host.clone()),
        spf::Ask::Addresses | spf::Ask::Names => {
            let four = asker.addresses(&name, Rtype::A).await;
            let found = if four.is_absent() {
                asker.addresses(&name, Rtype::AAAA).await
            } else {
                four
            };
            as_text(found, ToString::to_string)
        }
    };
    (lookup, ask)
}

async fn keys(asker: &Asker<'_>, domain: &Name) -> DkimFacts {
    let selectors = &asker.means().selectors;
    let named = selectors.iter().map(|selector| async move {
        texts(asker, domain, &format!("{selector}._domainkey")).await
    });
    let (below, named) = tokio::join!(
        Box::pin(texts(asker, domain, "_domainkey")),
        Box::pin(together(named)),
    );
    DkimFacts {
        below,
        selectors: selectors.iter().cloned().zip(named).collect(),
    }
}

async fn dmarc_walk(asker: &Asker<'_>, domain: &Name) -> Vec<DmarcLookup> {
    let mut domains = vec![domain.clone()];
    let above = (1..domain.depth().min(MAX_LABELS)).rev();
    domains.extend(above.map(|labels| domain.last(labels)));
    let told = together(domains.iter().map(|it| texts(asker, it, "_dmarc"))).await;
    let names = domains.iter().map(ToString::to_string);
    let walk = names.zip(told);
    walk.map(|(domain, told)| DmarcLookup { domain, told })
        .collect()
}

/// Where the domain says its services are.
async fn services(asker: &Asker<'_>, domain: &Name) -> (Vec<ServiceFacts>, Vec<Fetched>) {
    let records = SERVICES.iter().map(|service| async move {
        let told = match service.owner(domain) {
            Ok(owner) => asker.locations(&owner).await,
            Err(_) => Told::unknown("the name is too long"),
        };
        ServiceFacts {
            service: service.label().to_owned(),
            told,
        }
    });
    tokio::join!(
        Box::pin(together(records)),
        Box::pin(described(asker, domain)),
    )
}

/// The first file that comes ends the search.
async fn described(asker: &Asker<'_>, domain: &Name) -> Vec<Fetched> {
    let mut tried = Vec::new();
    for (host, path) in autoconfig::places(&domain.to_string()) {
        let fetched = fetch(asker.means(), &host, path).await;
        let came = matches!(fetched.fetch, Fetch::Came { .. });
        tried.push(fetched);
        if came {
            break;
        }
    }
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_go_to_domains_by_mail_or_to_web_hosts() {
        let place = |uri| report_place(uri);
        assert_eq!(
            place("mailto:tls@Example.org?x=1"),
            Some(("example.org".to_owned(), true))
        );
        assert_eq!(
            place("https://report.example.org:8443/v1"),
            Some(("report.example.org".to_owned(), false))
        );
        for other in [
            "http://a.test/",
            "tls@a.test",
            "mailto:nobody",
            "https:///x",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
