//! What was seen of one domain: what DNS said, what its web hosts sent. Facts only: whether something is good is not said here.
//!
//! They are kept as JSON (schema `gatepost-domain-1`) and judged again later. An answer that did not come, or that DNSSEC does not let
//! count, carries no records and says so in its [`Standing`]: it is never taken for "there is none".

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::check::facts::Seen;

/// The schema of kept facts.
pub const SCHEMA: &str = "gatepost-domain-1";

/// What is known about an answer: the four states of RFC 4035 4.3, and that nobody asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is", content = "why")]
pub enum Standing {
    /// Nobody asked.
    #[default]
    Unasked,
    /// Signed from a trust anchor down.
    Secure,
    /// Proven to stand in an unsigned zone.
    Insecure,
    /// It should be signed and is not, or not rightly.
    Bogus(String),
    /// It could not be found out: no answer, a failure, a refusal.
    Unknown(String),
}

/// How an answer says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Denied {
    /// The name exists, records of this type do not.
    NoData,
    /// The name does not exist.
    NoName,
}

/// What DNS said to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told<T> {
    /// What is known about all of it.
    pub standing: Standing,
    /// The records; none unless secure or insecure.
    pub records: Vec<T>,
    /// How it said no, if it did.
    pub denied: Option<Denied>,
    /// Where CNAMEs led, in their order; the last owns the records.
    pub aliases: Vec<String>,
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self {
            standing: Standing::Unasked,
            records: Vec::new(),
            denied: None,
            aliases: Vec::new(),
        }
    }
}

impl<T> Told<T> {
    /// An answer that did not come.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self {
            standing: Standing::Unknown(why.into()),
            ..Self::default()
        }
    }

    /// Whether there is an answer, signed or not.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.standing, Standing::Secure | Standing::Insecure)
    }

    /// Whether it is signed from a trust anchor down.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.standing == Standing::Secure
    }

    /// Whether it is known that there is none.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.is_known() && self.records.is_empty()
    }

    /// Why it is bogus, if it is.
    #[must_use]
    pub fn bogus(&self) -> Option<&str> {
        match &self.standing {
            Standing::Bogus(why) => Some(why),
            _ => None,
        }
    }

    /// Why nothing is known, where that is so and it is not bogus.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        match &self.standing {
            Standing::Unknown(why) => Some(why),
            Standing::Unasked => Some("nobody asked"),
            _ => None,
        }
    }
}

/// A mail exchange.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exchange {
    /// Lower comes first.
    pub preference: u16,
    /// The host; `.` alone says that the domain takes no mail (RFC 7505).
    pub host: String,
}

/// A service location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Lower comes first.
    pub priority: u16,
    /// Among equals, the chance to come first.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` says that the service is not offered.
    pub host: String,
}

/// TLSA records of one port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TlsaFacts {
    /// The name they stand at: `_25._tcp.mx.example.org`.
    pub owner: String,
    /// The TLSA base domain (RFC 7672 2.2.3).
    pub base: String,
    /// The records as zone files write them.
    pub told: Told<String>,
}

/// One host: an MX host, or one of the domain's services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// A records.
    pub a: Told<IpAddr>,
    /// AAAA records.
    pub aaaa: Told<IpAddr>,
    /// TLSA records by port.
    pub tlsa: BTreeMap<u16, TlsaFacts>,
    /// A records at the owner of its TLSA records on port 25, where none are to be expected: whether the zone can deny.
    pub denial: Told<String>,
    /// Which authorities may issue for it.
    pub caa: CaaFacts,
    /// Names of its addresses.
    pub names: BTreeMap<IpAddr, PtrFacts>,
}

/// The most addresses of a kind looked at.
const MAX_ADDRESSES: usize = 8;

impl HostFacts {
    /// Its addresses, IPv6 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.aaaa.records.iter().chain(&self.a.records).copied()
    }

    /// Those that are looked at: no domain's owner has us look at thousands.
    pub fn examined(&self) -> impl Iterator<Item = IpAddr> {
        let some = |it: &'_ Told<IpAddr>| it.records.iter().copied().take(MAX_ADDRESSES).collect();
        let (six, four): (Vec<_>, Vec<_>) = (some(&self.aaaa), some(&self.a));
        six.into_iter().chain(four)
    }

    /// How many are not.
    #[must_use]
    pub fn unexamined(&self) -> usize {
        self.addresses().count() - self.examined().count()
    }

    /// Whether it is known that it has no address.
    #[must_use]
    pub fn has_no_address(&self) -> bool {
        self.a.is_absent() && self.aaaa.is_absent()
    }

    /// Where its CNAME led, if it has one.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        self.a
            .aliases
            .last()
            .or(self.aaaa.aliases.last())
            .map(String::as_str)
    }
}

/// The name of an address, and whether the name leads back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PtrFacts {
    /// PTR records.
    pub told: Told<String>,
    /// The addresses of each name.
    pub forward: BTreeMap<String, Told<IpAddr>>,
}

/// CAA records, looked for from a name upwards (RFC 8659 3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaaFacts {
    /// Where they were found, or where the question failed.
    pub at: Option<String>,
    /// The records as zone files write them: `0 issue "letsencrypt.org"`.
    pub told: Told<String>,
}

/// How a fetch by HTTPS went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Fetch {
    /// Nobody asked.
    #[default]
    Unasked,
    /// It came, over a verified channel, with status 200.
    Came {
        /// The media type it was sent with.
        media: Option<String>,
        /// The text.
        body: String,
    },
    /// It did not come, and that is the host's doing: a certificate that is no good, another status, a closed port, no such name.
    Failed {
        /// A stable label, such as `E-HTTP-STATUS`.
        label: String,
        /// The reason, in a sentence.
        why: String,
    },
    /// It could not be told: no answer in time, a connection that broke.
    Unknown {
        /// The reason, in a sentence.
        why: String,
    },
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fetched {
    /// From where.
    pub url: String,
    /// What came.
    pub fetch: Fetch,
}

/// MTA-STS (RFC 8461).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StsFacts {
    /// Texts at `_mta-sts`.
    pub record: Told<String>,
    /// The policy.
    pub policy: Fetched,
    /// What was seen at an earlier run.
    pub earlier: Option<EarlierSts>,
}

/// A policy that was seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierSts {
    /// Its id.
    pub id: String,
    /// Its text.
    pub body: String,
}

/// TLS reporting (RFC 8460).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReportFacts {
    /// Texts at `_smtp._tls`.
    pub record: Told<String>,
    /// For the domain of each address reports go to: where mail for it goes, or where the web host is.
    pub places: BTreeMap<String, Told<String>>,
}

/// One question the evaluation of SPF asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpfLookup {
    /// The domain whose record asks it; empty for the domain itself.
    pub by: String,
    /// The term that asks it, such as `include:_spf.example.net`; empty for the domain itself.
    pub term: String,
    /// The name asked for; empty where it depends on the message.
    pub name: String,
    /// The answer: texts for `include` and `redirect`, else addresses or hosts.
    pub told: Told<String>,
}

/// DKIM (RFC 6376).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DkimFacts {
    /// Whether anything stands below `_domainkey`: the answer to a question for the name itself.
    pub below: Told<String>,
    /// Texts at the selectors that were named.
    pub selectors: BTreeMap<String, Told<String>>,
}

/// One step of the walk up the tree (RFC 9989).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DmarcLookup {
    /// The domain, without `_dmarc`.
    pub domain: String,
    /// Texts at `_dmarc` below it.
    pub told: Told<String>,
}

/// The locations of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// The service without underscore: `imaps`.
    pub service: String,
    /// SRV records.
    pub told: Told<Location>,
}

/// The name servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServerFacts {
    /// The zone; where nothing is known of it, the name that was asked for.
    #[serde(default)]
    pub zone: String,
    /// NS records of the zone.
    pub told: Told<String>,
    /// AAAA records of each, the first eight.
    pub six: BTreeMap<String, Told<IpAddr>>,
    /// Whether an answer came from there, for those addresses that were asked.
    #[serde(default)]
    pub answers: BTreeMap<IpAddr, Seen<bool>>,
}

/// Everything about one domain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DomainFacts {
    /// The domain, A-labels, no final dot.
    pub domain: String,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
    /// MX records, as they came.
    pub mx: Told<Exchange>,
    /// The name servers of the domain's zone, and their IPv6 addresses.
    #[serde(default)]
    pub servers: ServerFacts,
    /// The name servers of the zones of MX hosts, where those are other zones.
    #[serde(default)]
    pub exchange_servers: Vec<ServerFacts>,
    /// MX hosts and hosts of services, by name.
    pub hosts: BTreeMap<String, HostFacts>,
    /// MTA-STS.
    pub sts: StsFacts,
    /// TLS reporting.
    pub reports: ReportFacts,
    /// SPF: the domain's own texts first, then what its record asks.
    pub spf: Vec<SpfLookup>,
    /// DKIM.
    pub dkim: DkimFacts,
    /// DMARC: the domain first, then its parents.
    pub dmarc: Vec<DmarcLookup>,
    /// CAA of the domain itself.
    pub caa: CaaFacts,
    /// SRV records.
    pub services: Vec<ServiceFacts>,
    /// Files for mail programs, in the order they are looked for.
    pub autoconfig: Vec<Fetched>,
    /// Usual names of services that were looked up because the domain names none.
    pub guesses: Vec<String>,
}

impl DomainFacts {
    /// Whether the domain says that it takes no mail (RFC 7505): the root as its only exchange.
    #[must_use]
    pub fn takes_no_mail(&self) -> bool {
        matches!(self.mx.records.as_slice(), [only] if only.host == ".")
    }

    /// The hosts mail is brought to, best first: those of the MX records, without them the domain itself (RFC 5321 5.1).
    #[must_use]
    pub fn exchanges(&self) -> Vec<String> {
        if self.mx.is_absent() && self.mx.denied == Some(Denied::NoData) {
            return vec![self.domain.clone()];
        }
        let mut sorted = self.mx.records.clone();
        sorted.sort();
        let mut hosts: Vec<String> = Vec::new();
        for exchange in sorted {
            if exchange.host != "." && !hosts.contains(&exchange.host) {
                hosts.push(exchange.host);
            }
        }
        hosts
    }

    /// What is known about a host.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&HostFacts> {
        self.hosts.get(name)
    }

    /// Takes over what an earlier run saw of the policy, so that a change can be judged.
    pub fn remember(&mut self, earlier: &Self) {
        let id = super::sts::id(&earlier.sts.record);
        self.sts.earlier = match (id, &earlier.sts.policy.fetch) {
            (Some(id), Fetch::Came { body, .. }) => Some(EarlierSts {
                id,
                body: body.clone(),
            }),
            // What could not be fetched then says nothing; what was known before it does.
            _ => earlier.sts.earlier.clone(),
        };
    }
}
