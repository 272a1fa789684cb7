//! Which services of a domain there are to look at.
//!
//! MX hosts on every address, port 25. Then mail programs' services: what SRV records and the file for mail programs say; without either,
//! usual names that exist. Each address, port and host comes once.

use std::collections::BTreeSet;

use gatepost_trust::dns::srv::Service;

use super::super::target::{Protocol, Role, Start, Target};
use super::autoconfig;
use super::examine::SERVICES;
use super::facts::{DomainFacts, Fetch, HostFacts};

/// A service at a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) start: Start,
}

/// The services to look at, MX hosts first.
#[must_use]
pub fn targets(facts: &DomainFacts) -> Vec<Target> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |place: &Place, role: Role, host: &HostFacts| {
        for address in host.examined() {
            if seen.insert((address, place.port, place.host.clone())) {
                found.push(Target {
                    host: place.host.clone(),
                    address,
                    port: place.port,
                    protocol: place.protocol,
                    start: place.start,
                    role,
                });
            }
        }
    };
    for host in facts.exchanges() {
        if let Some(known) = facts.host(&host) {
            let place = Place {
                host,
                port: 25,
                protocol: Protocol::Smtp,
                start: Start::StartTls,
            };
            add(&place, Role::Mx, known);
        }
    }
    for place in announced(facts).into_iter().chain(guessed(facts)) {
        if let Some(known) = facts.host(&place.host) {
            let role = match place.protocol {
                Protocol::Smtp => Role::Submission,
                _ => Role::Access,
            };
            add(&place, role, known);
        }
    }
    found
}

/// Whether nobody announced this service: it stands at a usual name. A closed port is then no fault.
#[must_use]
pub fn is_guess(facts: &DomainFacts, target: &Target) -> bool {
    target.role != Role::Mx && facts.guesses.contains(&target.host)
}

/// What SRV records and the file for mail programs say. A server without TLS is no service to look at.
pub(super) fn announced(facts: &DomainFacts) -> Vec<Place> {
    let described = described(facts).into_iter().filter_map(|it| {
        Some(Place {
            host: it.host,
            port: it.port,
            protocol: it.protocol,
            start: it.start?,
        })
    });
    let mut once = Vec::new();
    for place in by_records(facts).into_iter().chain(described) {
        if !once.contains(&place) {
            once.push(place);
        }
    }
    once
}

fn by_records(facts: &DomainFacts) -> Vec<Place> {
    let mut places = Vec::new();
    for service in SERVICES {
        let told = facts
            .services
            .iter()
            .filter(|it| it.service == service.label());
        let records = told.flat_map(|it| &it.told.records);
        places.extend(
            records
                .filter(|record| record.host != ".")
                .map(|record| place(service, record.host.clone(), record.port)),
        );
    }
    places
}

/// The servers in the file for mail programs, those without TLS too.
pub(super) fn described(facts: &DomainFacts) -> Vec<autoconfig::Described> {
    let came = facts.autoconfig.iter().find_map(|it| match &it.fetch {
        Fetch::Came { body, .. } => autoconfig::read(body, &facts.domain),
        _ => None,
    });
    came.unwrap_or_default()
}

fn guessed(facts: &DomainFacts) -> Vec<Place> {
    let usual = usual(&facts.domain)
        .into_iter()
        .filter(|(host, _)| facts.guesses.contains(host));
    usual
        .flat_map(|(host, services)| {
            let places = services
                .into_iter()
                .map(move |service| place(service, host.clone(), service.port()));
            places.collect::<Vec<_>>()
        })
        .collect()
}

/// Usual names of servers, and what is looked for there.
pub(super) fn usual(domain: &str) -> Vec<(String, Vec<Service>)> {
    use Service::{Imap, Imaps, Pop3, Pop3s, Submission, Submissions};
    vec![
        (format!("mail.{domain}"), SERVICES.to_vec()),
        (format!("smtp.{domain}"), vec![Submissions, Submission]),
        (format!("imap.{domain}"), vec![Imaps, Imap]),
        (format!("pop.{domain}"), vec![Pop3s, Pop3]),
        (format!("pop3.{domain}"), vec![Pop3s, Pop3]),
    ]
}

pub(super) fn place(service: Service, host: String, port: u16) -> Place {
    let protocol = match service {
        Service::Submissions | Service::Submission => Protocol::Smtp,
        Service::Imaps | Service::Imap => Protocol::Imap,
        Service::Pop3s | Service::Pop3 => Protocol::Pop3,
        Service::Sieve => Protocol::Sieve,
    };
    Place {
        host,
        port,
        protocol,
        start: if service.is_implicit() {
            Start::Implicit
        } else {
            Start::StartTls
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Exchange, Location, ServiceFacts, Standing, Told};
    use super::*;

    fn told<T>(records: Vec<T>) -> Told<T> {
        Told {
            standing: Standing::Secure,
            records,
            ..Told::default()
        }
    }

    fn host(addresses: &[&str]) -> HostFacts {
        HostFacts {
            a: told(addresses.iter().map(|it| it.parse().unwrap()).collect()),
            ..HostFacts::default()
        }
    }

    fn shown(facts: &DomainFacts) -> Vec<String> {
        targets(facts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_address_of_every_host_comes_once() {
        let mut facts = DomainFacts {
            domain: "e.test".into(),
            mx: told(vec![
                Exchange {
                    preference: 20,
                    host: "b.e.test".into(),
                },
                Exchange {
                    preference: 10,
                    host: "a.e.test".into(),
                },
                Exchange {
                    preference: 30,
                    host: "a.e.test".into(),
                },
            ]),
            ..DomainFacts::default()
        };
        facts
            .hosts
            .insert("a.e.test".into(), host(&["192.0.2.1", "192.0.2.2"]));
        facts.hosts.insert("b.e.test".into(), host(&["192.0.2.1"]));
        assert_eq!(
            shown(&facts),
            [
                "smtp://a.e.test:25 (192.0.2.1)",
                "smtp://a.e.test:25 (192.0.2.2)",
                "smtp://b.e.test:25 (192.0.2.1)",
            ]
        );
        let location = Location {
            priority: 0,
            weight: 1,
            port: 9993,
            host: "a.e.test".into(),
        };
        let not_here = Location {
            port: 0,
            host: ".".into(),
            ..location.clone()
        };
        facts.services = vec![
            ServiceFacts {
                service: "imaps".into(),
                told: told(vec![location]),
            },
            ServiceFacts {
                service: "pop3s".into(),
                told: told(vec![not_here]),
            },
        ];
        let all = shown(&facts);
        assert_eq!(all.len(), 5);
        assert_eq!(all.last().unwrap(), "imaps://a.e.test:9993 (192.0.2.2)");
    }

    #[test]
    fn a_host_with_a_thousand_addresses_is_not_looked_at_a_thousand_times() {
        let many: Vec<String> = (0..1000)
            .map(|it| format!("192.0.{}.{}", it / 250, it % 250))
            .collect();
        let six = (0..10).map(|it| format!("2001:db8::{it}").parse().unwrap());
        let mut many = host(&many.iter().map(String::as_str).collect::<Vec<_>>());
        many.aaaa = told(six.collect());
        assert_eq!((many.examined().count(), many.unexamined()), (16, 994));
        let mut facts = DomainFacts {
            domain: "e.test".into(),
            mx: told(vec![Exchange {
                preference: 20,
                host: "a.e.test".into(),
            }]),
            ..DomainFacts::default()
        };
        facts.hosts.insert("a.e.test".into(), many);
        assert_eq!(targets(&facts).len(), 16);
        let checks = super::super::judge(&facts, &[], 0);
        let told = checks.iter().find(|it| it.rule.id == "NET-002").unwrap();
        assert!(
            told.evidence.contains("994 more addresses"),
            "{}",
            told.evidence
        );
    }

    #[test]
    fn usual_names_are_guesses() {
        let mut facts = DomainFacts {
            domain: "e.test".into(),
            guesses: vec!["imap.e.test".into()],
            ..DomainFacts::default()
        };
        facts
            .hosts
            .insert("imap.e.test".into(), host(&["192.0.2.1"]));
        let all = targets(&facts);
        assert_eq!(
            shown(&facts),
            [
                "imaps://imap.e.test:993 (192.0.2.1)",
                "imap://imap.e.test:143 (192.0.2.1)"
            ]
        );
        assert!(all.iter().all(|target| is_guess(&facts, target)));
    }

    #[test]
    fn a_domain_without_mail_has_no_hosts() {
        let facts = DomainFacts {
            domain: "e.test".into(),
            mx: told(vec![Exchange {
                preference: 0,
                host: ".".into(),
            }]),
            ..DomainFacts::default()
        };
        assert!(facts.takes_no_mail() && targets(&facts).is_empty());
    }
}
