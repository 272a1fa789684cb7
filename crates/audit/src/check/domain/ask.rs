//! One question: a bounded time, a place in the line, and an answer that says what it is worth.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use gatepost_trust::dns::{Answer, Data, Denial, Indeterminate, Lookup, Name, Rtype, Status};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Means;
use super::facts::{Denied, Exchange, Location, Standing, Told};

/// Certification Authority Authorization (RFC 8659).
const CAA: Rtype = Rtype(257);
/// What keeps every answer from being judged.
const NO_ROOT: &str = "the resolver hands on no DNSSEC: not even the root's keys can be verified; another is named with --dns ADDRESS";
/// The response code of a resolver that failed; one that validates says it of what is bogus, too.
const SERVFAIL: u16 = 2;

/// Asks questions for one examination.
pub(super) struct Asker<'a> {
    means: &'a Means,
    line: Semaphore,
    now: SystemTime,
}

impl<'a> Asker<'a> {
    pub(super) fn new(means: &'a Means) -> Self {
        Self {
            means,
            line: Semaphore::new(means.at_once.max(1)),
            now: SystemTime::now(),
        }
    }

    pub(super) fn means(&self) -> &'a Means {
        self.means
    }

    /// Addresses of one family.
    pub(super) async fn addresses(&self, name: &Name, rtype: Rtype) -> Told<IpAddr> {
        self.ask(name, rtype, |data| match data {
            Data::A(address) => Some(IpAddr::V4(address)),
            Data::Aaaa(address) => Some(IpAddr::V6(address)),
            _ => None,
        })
        .await
    }

    pub(super) async fn exchanges(&self, name: &Name) -> Told<Exchange> {
        self.ask(name, Rtype::MX, |data| match data {
            Data::Mx(mx) => Some(Exchange {
                preference: mx.preference,
                host: mx.exchange.to_string(),
            }),
            _ => None,
        })
        .await
    }

    pub(super) async fn locations(&self, name: &Name) -> Told<Location> {
        self.ask(name, Rtype::SRV, |data| match data {
            Data::Srv(srv) => Some(Location {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                host: srv.target.to_string(),
            }),
            _ => None,
        })
        .await
    }

    /// Texts, each with its strings joined; octets beyond UTF-8 are replaced, so that no rule for ASCII takes them for something.
    pub(super) async fn texts(&self, name: &Name) -> Told<String> {
        self.ask(name, Rtype::TXT, |data| match data {
            Data::Txt(strings) => Some(String::from_utf8_lossy(&strings.concat()).into_owned()),
            _ => None,
        })
        .await
    }

    pub(super) async fn tlsa(&self, name: &Name) -> Told<String> {
        self.ask(name, Rtype::TLSA, |data| match data {
            Data::Tlsa(tlsa) => Some(tlsa.to_string()),
            _ => None,
        })
        .await
    }

    /// The name servers at this very name.
    pub(super) async fn servers(&self, name: &Name) -> Told<String> {
        self.ask(name, Rtype::NS, host_name).await
    }

    /// The names of an address.
    pub(super) async fn names(&self, address: IpAddr) -> Told<String> {
        let Ok(name) = reverse(address).parse() else {
            return Told::unknown("the address has no place in DNS");
        };
        self.ask(&name, Rtype::PTR, host_name).await
    }

    /// CAA records at this very name.
    pub(super) async fn authorities(&self, name: &Name) -> Told<String> {
        self.ask(name, CAA, |data| match data {
            Data::Other(rdata) => caa(&rdata),
            _ => None,
        })
        .await
    }

    /// Asks, and says what the answer is worth. One record that cannot be read makes the whole unknown.
    async fn ask<T>(
        &self,
        name: &Name,
        rtype: Rtype,
        read: impl Fn(Data) -> Option<T> + Send,
    ) -> Told<T> {
        let Ok(_place) = self.line.acquire().await else {
            return Told::unknown("nobody asks any more");
        };
        let limit = self.limit();
        let asking = Box::pin(self.means.resolver.lookup(name, rtype, self.now));
        let Ok(answer) = timeout(limit, asking).await else {
            return Told::unknown(format!("no answer within {} s", limit.as_secs()));
        };
        if matches!(answer.status, Status::Bogus(_)) && !self.reaches_the_root().await {
            return Told::unknown(NO_ROOT);
        }
        let bogus = match answer.status {
            Status::Indeterminate(Indeterminate::Refused { rcode, .. }) if rcode == SERVFAIL => {
                self.why(name, rtype).await
            }
            _ => None,
        };
        match bogus {
            Some(why) => Told {
                standing: Standing::Bogus(why),
                ..Told::default()
            },
            None => told(answer, read),
        }
    }

    /// How long an answer may take, the wait for its turn included.
    fn limit(&self) -> Duration {
        self.means.patience + self.means.turn
    }

    /// Whether not even the root's keys come as they should: then the zone is not at fault, but whoever stands before the resolver, or the resolver
    /// itself, which takes DNSSEC out.
    async fn reaches_the_root(&self) -> bool {
        let asking = Box::pin(self.means.resolver.hands_on_signatures(self.now));
        timeout(self.limit(), asking).await.unwrap_or(false)
    }

    /// Whether the resolver failed because the answer is bogus: asked with checking disabled, it hands over what it found.
    async fn why(&self, name: &Name, rtype: Rtype) -> Option<String> {
        let asking = Box::pin(self.means.explaining.lookup(name, rtype, self.now));
        match timeout(self.limit(), asking).await.ok()?.status {
            Status::Bogus(why) => Some(why.to_string()),
            _ => None,
        }
    }
}

/// The name a record is.
fn host_name(data: Data) -> Option<String> {
    match data {
        Data::Other(rdata) => Name::read(&rdata, 0).ok().map(|(name, _)| name.to_string()),
        _ => None,
    }
}

fn told<T>(answer: Answer<Data>, read: impl Fn(Data) -> Option<T>) -> Told<T> {
    let standing = match answer.status {
        Status::Secure => Standing::Secure,
        Status::Insecure => Standing::Insecure,
        Status::Bogus(why) => Standing::Bogus(why.to_string()),
        Status::Indeterminate(why) => Standing::Unknown(why.to_string()),
    };
    let records = answer.records.into_iter().map(read).collect();
    let Some(records) = records else {
        return Told::unknown("a record cannot be read");
    };
    Told {
        standing,
        records,
        denied: answer.denial.map(|denial| match denial {
            Denial::NoData => Denied::NoData,
            Denial::NoName => Denied::NoName,
        }),
        aliases: answer.aliases.iter().map(ToString::to_string).collect(),
    }
}

/// The name an address has in DNS (RFC 1035 3.5, RFC 3596 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(six) => {
            let digits = six.octets().into_iter().rev();
            let digits = digits.map(|octet| format!("{:x}.{:x}.", octet & 0xf, octet >> 4));
            digits.collect::<String>() + "ip6.arpa"
        }
    }
}

/// `0 issue "letsencrypt.org"` (RFC 8659 4.1).
fn caa(rdata: &[u8]) -> Option<String> {
    let [flags, length, rest @ ..] = rdata else {
        return None;
    };
    let (tag, value) = rest.split_at_checked(usize::from(*length))?;
    let tag = std::str::from_utf8(tag).ok()?;
    let good = !tag.is_empty() && tag.bytes().all(|octet| octet.is_ascii_alphanumeric());
    let value = String::from_utf8_lossy(value);
    good.then(|| format!("{flags} {} \"{value}\"", tag.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names_of_their_own() {
        assert_eq!(
            reverse("192.0.2.7".parse().unwrap()),
            "7.2.0.192.in-addr.arpa"
        );
        assert_eq!(
            reverse("2001:db8::1".parse().unwrap()),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn caa_is_read_whole_or_not() {
        assert_eq!(
            caa(b"\x80\x05issueca.test").as_deref(),
            Some("128 issue \"ca.test\"")
        );
        assert_eq!(caa(b"\0\x09issue"), None);
        assert_eq!(caa(b"\0\0x"), None);
        assert_eq!(caa(b"\0"), None);
    }
}
