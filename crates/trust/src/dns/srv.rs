//! Finding the servers of a user's mail by SRV records (RFC 6186, RFC 8314 5.1), as choices without any lookup of their own.
//!
//! 1. [`Service::owner`] says where to ask.
//! 2. [`order`] puts the records of one service in the order they are to be tried (RFC 2782).
//! 3. [`candidates`] joins several services, best protected first, and leaves out what is below the least protection wanted.
//! 4. [`Candidate::trust`] says which names a certificate may have, and whether the user has to be asked.
//!
//! What was found is shown to the user and kept as configuration: it is not asked for again at each connection [SRV-04].

use super::name::{Name, NameError};
use super::record::Srv;
use super::status::{Answer, Status};
use crate::dane::scramble;

/// A service, as SRV records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Message submission with TLS from the first octet.
    Submissions,
    /// Message submission, STARTTLS.
    Submission,
    /// IMAP with TLS from the first octet.
    Imaps,
    /// IMAP, STARTTLS.
    Imap,
    /// POP3 with TLS from the first octet.
    Pop3s,
    /// POP3, STLS.
    Pop3,
    /// `ManageSieve`, STARTTLS (RFC 5804).
    Sieve,
}

/// What a user wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Send mail.
    Submit,
    /// Read mail by IMAP.
    Imap,
    /// Read mail by POP3. Never taken for IMAP, nor IMAP for it [SRV-04].
    Pop3,
    /// Manage filters.
    Sieve,
}

/// The least protection that will do (RFC 8314 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Least {
    /// TLS by either way. A service for STARTTLS is then used with TLS or not at all.
    Tls,
    /// TLS from the first octet.
    Implicit,
}

impl Purpose {
    /// The services for it, best first [CONF-11].
    pub const fn services(self) -> &'static [Service] {
        match self {
            Self::Submit => &[Service::Submissions, Service::Submission],
            Self::Imap => &[Service::Imaps, Service::Imap],
            Self::Pop3 => &[Service::Pop3s, Service::Pop3],
            Self::Sieve => &[Service::Sieve],
        }
    }
}

impl Service {
    /// The name without its underscore, as in SRV-ID (RFC 4985).
    pub const fn label(self) -> &'static str {
        match self {
            Self::Submissions => "submissions",
            Self::Submission => "submission",
            Self::Imaps => "imaps",
            Self::Imap => "imap",
            Self::Pop3s => "pop3s",
            Self::Pop3 => "pop3",
            Self::Sieve => "sieve",
        }
    }

    /// Whether TLS begins with the first octet.
    pub const fn is_implicit(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps | Self::Pop3s)
    }

    /// The port it has when nobody says another.
    pub const fn port(self) -> u16 {
        match self {
            Self::Submissions => 465,
            Self::Submission => 587,
            Self::Imaps => 993,
            Self::Imap => 143,
            Self::Pop3s => 995,
            Self::Pop3 => 110,
            Self::Sieve => 4190,
        }
    }

    /// Where its records stand for a domain: `_imaps._tcp.example.org` [SRV-01].
    pub fn owner(self, domain: &Name) -> Result<Name, NameError> {
        domain.below(&format!("_{}._tcp", self.label()))
    }

    fn is_enough(self, least: Least) -> bool {
        self.is_implicit() || least == Least::Tls
    }
}

/// A server that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The service it offers.
    pub service: Service,
    /// The host.
    pub host: Name,
    /// The port.
    pub port: u16,
    /// What is known about the way from the domain to this host.
    pub status: Status,
}

/// What a certificate has to say about a candidate, and what the user has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The host's name counts: secure DNS names it, or it stands within the domain the user named.
    Host,
    /// Only the domain's own name, or its SRV-ID, counts, unless the user confirms the host [SRV-03].
    DomainUnlessConfirmed,
}

impl Candidate {
    /// How far the host's name can be trusted, for the domain that was asked [SRV-03].
    pub fn trust(&self, domain: &Name) -> Trust {
        if self.status == Status::Secure || self.host.is_within(domain) {
            Trust::Host
        } else {
            Trust::DomainUnlessConfirmed
        }
    }
}

/// What was found for one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// In the order they are to be tried.
    pub servers: Vec<Candidate>,
    /// Services the domain says it does not offer [SRV-01].
    pub not_offered: Vec<Service>,
    /// Services that are offered, but below the least protection wanted [SRV-02].
    pub too_weak: Vec<Service>,
    /// Services about which nothing is known, and why: their answers are bogus, or did not come.
    pub unknown: Vec<(Service, Status)>,
}

/// Puts the records of one service in the order they are to be tried: by priority, and among equals by a draw that follows their
/// weights (RFC 2782). `draw` is any number, another each time.
pub fn order(mut records: Vec<Srv>, draw: u64) -> Vec<Srv> {
    let mut state = draw;
    records.sort_by_key(|srv| (srv.priority, srv.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let equals = records.iter().take_while(|srv| srv.priority == priority);
        let sum: u64 = equals.map(|srv| u64::from(srv.weight)).sum();
        let mut mark = scramble(&mut state) % (sum + 1);
        let chosen = records
            .iter()
            .take_while(|srv| srv.priority == priority)
            .position(|srv| {
                let weight = u64::from(srv.weight);
                let here = mark <= weight;
                mark = mark.saturating_sub(weight);
                here
            });
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}

/// Joins what was found for the services of one purpose. Better protection comes first, whatever the priorities say [SRV-02].
pub fn candidates(answers: Vec<(Service, Answer<Srv>)>, least: Least, draw: u64) -> Candidates {
    let mut found = Candidates {
        servers: Vec::new(),
        not_offered: Vec::new(),
        too_weak: Vec::new(),
        unknown: Vec::new(),
    };
    let mut answers = answers;
    answers.sort_by_key(|(service, _)| !service.is_implicit());
    for (service, answer) in answers {
        if !answer.status.is_known() {
            found.unknown.push((service, answer.status));
            continue;
        }
        let status = answer.status;
        let offered: Vec<Srv> = answer
            .records
            .iter()
            .filter(|srv| !srv.target.is_root())
            .cloned()
            .collect();
        if offered.is_empty() {
            // [SRV-01] the root as target: decidedly not offered
            if !answer.records.is_empty() {
                found.not_offered.push(service);
            }
        } else if service.is_enough(least) {
            found
                .servers
                .extend(order(offered, draw).into_iter().map(|srv| Candidate {
                    service,
                    host: srv.target,
                    port: srv.port,
                    status,
                }));
        } else {
            found.too_weak.push(service);
        }
    }
    found
}

/// The login names to try for an address, in this order [SRV-05]: the whole address, then what stands before the `@`.
pub fn login_names(address: &str) -> Vec<&str> {
    let local = address.rsplit_once('@').map(|(local, _)| local);
    let local = local.filter(|local| !local.is_empty());
    std::iter::once(address).chain(local).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::dns::Bogus;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight,
            port,
            target: name(target),
        }
    }

    fn answer(status: Status, records: Vec<Srv>) -> Answer<Srv> {
        Answer {
            status,
            records,
            denial: None,
            aliases: Vec::new(),
            ttl: Duration::from_secs(60),
        }
    }

    // [SRV-01] by priority, then weight
    #[test]
    fn records_come_by_priority_and_among_equals_by_weight() {
        let records = || {
            vec![
                srv(20, 0, 1, "last.example"),
                srv(10, 10, 1, "light.example"),
                srv(10, 90, 1, "heavy.example"),
                srv(10, 0, 1, "never.example"),
            ]
        };
        let mut firsts: HashMap<String, u32> = HashMap::new();
        for draw in 0..2000 {
            let ordered = order(records(), draw);
            assert_eq!(ordered.len(), 4);
            assert_eq!(ordered[3].target, name("last.example"));
            *firsts.entry(ordered[0].target.to_string()).or_default() += 1;
        }
        let share = |host: &str| firsts.get(host).copied().unwrap_or(0);
        assert!((1650..1950).contains(&share("heavy.example")), "{firsts:?}");
        assert!((100..320).contains(&share("light.example")), "{firsts:?}");
        assert!((1..60).contains(&share("never.example")), "{firsts:?}");
    }

    // [SRV-04] reading mail by one protocol is never turned into reading it by another
    #[test]
    fn purposes_do_not_mix() {
        let all = [
            Purpose::Submit,
            Purpose::Imap,
            Purpose::Pop3,
            Purpose::Sieve,
        ];
        for (i, one) in all.iter().enumerate() {
            for other in &all[..i] {
                let shared = one
                    .services()
                    .iter()
                    .any(|service| other.services().contains(service));
                assert!(!shared, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn the_names_are_those_of_the_standards() {
        assert_eq!(
            Service::Imaps.owner(&name("example")),
            Ok(name("_imaps._tcp.example"))
        );
        assert_eq!(Purpose::Submit.services()[0].port(), 465);
    }

    // [SRV-02] [CONF-11] implicit TLS comes first, whatever the priorities say; what is too weak is left out
    #[test]
    fn better_protection_outranks_priority() {
        let answers = || {
            vec![
                (
                    Service::Imap,
                    answer(Status::Secure, vec![srv(0, 0, 143, "a.example")]),
                ),
                (
                    Service::Imaps,
                    answer(Status::Secure, vec![srv(10, 0, 993, "b.example")]),
                ),
            ]
        };
        let ports = |found: &Candidates| found.servers.iter().map(|it| it.port).collect::<Vec<_>>();
        assert_eq!(ports(&candidates(answers(), Least::Tls, 0)), [993, 143]);
        let implicit = candidates(answers(), Least::Implicit, 0);
        assert_eq!(ports(&implicit), [993]);
        assert_eq!(implicit.too_weak, [Service::Imap]);
    }

    // [SRV-01] [SRV-06] not offered, and not known, are not the same as not there
    #[test]
    fn services_that_are_not_offered_or_unknown_are_named() {
        let bogus = Status::Bogus(Bogus::SignatureInvalid);
        let found = candidates(
            vec![
                (
                    Service::Pop3s,
                    answer(Status::Secure, vec![srv(0, 0, 0, ".")]),
                ),
                (Service::Pop3, Answer::unknown(bogus)),
            ],
            Least::Tls,
            0,
        );
        assert_eq!(found.servers, []);
        assert_eq!(found.not_offered, [Service::Pop3s]);
        assert_eq!(found.unknown, [(Service::Pop3, bogus)]);
        let nothing = candidates(
            vec![(Service::Imap, answer(Status::Secure, Vec::new()))],
            Least::Tls,
            0,
        );
        assert_eq!((nothing.servers.len(), nothing.not_offered.len()), (0, 0));
    }

    // [SRV-03] [ID-02] a host elsewhere counts only if DNSSEC names it, or the user
    #[test]
    fn hosts_elsewhere_need_secure_dns_or_the_user() {
        let candidate = |host: &str, status| Candidate {
            service: Service::Imaps,
            host: name(host),
            port: 993,
            status,
        };
        let trust = |host, status| candidate(host, status).trust(&name("example"));
        assert_eq!(trust("imap.example", Status::Insecure), Trust::Host);
        assert_eq!(trust("imap.other", Status::Secure), Trust::Host);
        assert_eq!(
            trust("imap.other", Status::Insecure),
            Trust::DomainUnlessConfirmed
        );
        assert_eq!(
            trust("imap.anexample", Status::Insecure),
            Trust::DomainUnlessConfirmed
        );
    }

    // [SRV-05] the address first, then its local part
    #[test]
    fn login_names_are_tried_in_order() {
        assert_eq!(
            login_names("user@example.org"),
            ["user@example.org", "user"]
        );
        assert_eq!(
            login_names("\"a@b\"@example.org"),
            ["\"a@b\"@example.org", "\"a@b\""]
        );
        assert_eq!(login_names("user"), ["user"]);
    }
}
