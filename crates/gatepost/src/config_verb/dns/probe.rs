//! Whether a host is fit for TLSA records: its zone is signed, and TLS works at every address, with a key that the records name.
//!
//! [DANE-14] Who publishes a TLSA record says that TLS works there, always. A sender that knows DANE delivers by it or not at all
//! (RFC 7672 section 2.2), so one address without STARTTLS, or with another key, costs mail. What could not be found out is no leave.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

use clap::ArgMatches;
use gatepost_trust::dane;
use gatepost_trust::dns::{Lookup as _, Rtype, Status};
use gatepost_trust::tlsa::Tlsa;
use rustls_pki_types::CertificateDer;

use super::Wanted;
use crate::client::lookup;
use crate::client::reach;
use crate::client::settings::{Resolved, Settings};
use crate::exit::Failure;

/// What was tried, and what came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tried {
    /// Where TLS works with a key of the records.
    works: Vec<(u16, IpAddr)>,
    /// What stands in the way.
    obstacles: Vec<Obstacle>,
}

/// A reason not to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Obstacle {
    /// The port; none: all of them.
    port: Option<u16>,
    /// Something is wrong; else it could not be found out.
    is_fault: bool,
    words: String,
}

impl Tried {
    /// Whether the records of this port are to be held back.
    pub(super) fn holds_back(&self, port: u16) -> bool {
        self.obstacles
            .iter()
            .any(|it| it.port.is_none_or(|its| its == port))
    }

    /// What is told about it, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let works = self.works.iter().map(|(port, address)| {
            format!("Tried: port {port} at {address}: TLS works, with a key of these records.")
        });
        let stands = self.obstacles.iter().map(|it| {
            let kind = if it.is_fault {
                "Held back"
            } else {
                "Held back, could not tell"
            };
            format!("{kind}: {}", it.words)
        });
        works.chain(stands).collect()
    }

    /// How the program ends.
    pub(super) fn verdict(&self, host: &str) -> Result<(), Failure> {
        if self.obstacles.is_empty() {
            return Ok(());
        }
        let text = format!("TLSA records for {host} are held back; group 6 says why");
        if self.obstacles.iter().any(|it| it.is_fault) {
            Err(Failure::finding(text))
        } else {
            Err(Failure::local(text))
        }
    }

    fn fault(&mut self, port: Option<u16>, words: String) {
        self.stands(port, true, words);
    }

    fn unclear(&mut self, port: Option<u16>, words: String) {
        self.stands(port, false, words);
    }

    fn stands(&mut self, port: Option<u16>, is_fault: bool, words: String) {
        let obstacle = Obstacle {
            port,
            is_fault,
            words,
        };
        if !self.obstacles.contains(&obstacle) {
            self.obstacles.push(obstacle);
        }
    }
}

/// Tries the host.
pub(super) fn run(wanted: &Wanted, given: &ArgMatches) -> Result<Tried, Failure> {
    if wanted.tlsa.is_empty() {
        return Err(Failure::usage(
            "--probe tries what TLSA records promise, and there are none: give --chain FILE or --live",
        ));
    }
    let mut settings = Settings::read(given)?;
    let said = std::mem::take(&mut settings.resolve);
    reach::block_on(async {
        let mut tried = Tried::default();
        let named = zone(wanted, &settings, &mut tried).await?;
        for port in &wanted.tlsa_ports {
            let said = said
                .iter()
                .filter(|it| it.host == wanted.host && it.port == *port);
            let mut addresses: BTreeSet<IpAddr> = said.map(|it| it.address).collect();
            if addresses.is_empty() {
                addresses.extend(wanted.addresses.iter().chain(&named));
            }
            if addresses.is_empty() {
                let words = format!(
                    "no address of {} is known; name it with --address",
                    wanted.host
                );
                tried.unclear(None, words);
            }
            for address in addresses {
                knock(wanted, &mut settings, (*port, address), &mut tried).await?;
            }
        }
        Ok(tried)
    })
}

/// Whether the zone is signed, and the host's addresses. RFC 7672 section 2.2.2: without signed addresses nobody asks for TLSA.
async fn zone(
    wanted: &Wanted,
    settings: &Settings,
    tried: &mut Tried,
) -> Result<Vec<IpAddr>, Failure> {
    let (resolver, now) = (lookup::resolver(settings)?, SystemTime::now());
    let host = lookup::name(&wanted.host)?;
    let mut found = Vec::new();
    let mut status = Status::Secure;
    for rtype in [Rtype::A, Rtype::AAAA] {
        let answer = resolver.addresses(&host, rtype, now).await;
        status = status.and(answer.status);
        found.extend(answer.records);
    }
    for port in &wanted.tlsa_ports {
        let owner = dane::tlsa_owner(&host, *port).map_err(|_| {
            Failure::usage(format!("{:?} is too long for TLSA records", wanted.host))
        })?;
        status = status.and(resolver.tlsa(&owner, now).await.status);
    }
    let host = &wanted.host;
    match status {
        Status::Secure => {}
        Status::Insecure => tried.fault(
            None,
            format!("the zone of {host} is not signed (DNSSEC), and TLSA counts for nothing there: sign it first."),
        ),
        Status::Bogus(_) if !resolver.hands_on_signatures(now).await => tried.unclear(
            None,
            "the resolver hands on no DNSSEC, so whether the zone is signed could not be found out. Name one that does (--dns).".to_owned(),
        ),
        Status::Bogus(_) => tried.fault(
            None,
            format!("DNSSEC of {host} is broken: {status}. Senders that validate find nothing of it, and with TLSA do not deliver."),
        ),
        Status::Indeterminate(_) => tried.unclear(
            None,
            format!("whether the zone of {host} is signed could not be found out: {status}. Try another resolver (--dns)."),
        ),
    }
    Ok(found)
}

/// Tries one port at one address.
async fn knock(
    wanted: &Wanted,
    settings: &mut Settings,
    (port, address): (u16, IpAddr),
    tried: &mut Tried,
) -> Result<(), Failure> {
    let url = super::service(&wanted.host, port)?;
    settings.resolve = vec![Resolved {
        host: wanted.host.clone(),
        port,
        address,
    }];
    let place = format!("port {port} at {address}");
    match reach::look_in(settings, &url).await {
        Ok(look) if is_named(&look.chain, &wanted.tlsa) => tried.works.push((port, address)),
        Ok(_) => tried.fault(
            Some(port),
            format!("{place} shows a key that none of these records names: senders that know DANE would not deliver."),
        ),
        Err(failure) => {
            // What is at fault, and what to do, is told at length by gatepost check.
            let words = failure.to_string();
            let words = words.lines().next().unwrap_or_default();
            let words = format!("{place}: {words}");
            tried.stands(Some(port), failure.code() == 1, words);
        }
    }
    Ok(())
}

/// Whether a record names the key.
fn is_named(chain: &[CertificateDer<'_>], records: &[Tlsa]) -> bool {
    let leaf = chain.first();
    leaf.and_then(|it| Tlsa::for_certificate(it, 3, 1, 1))
        .is_some_and(|it| records.contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_is_held_back_and_the_other_not_a_zone_holds_all_back() {
        let mut tried = Tried::default();
        assert!(tried.verdict("h.test").is_ok());
        tried.unclear(Some(25), "no connection".into());
        assert!(tried.holds_back(25) && !tried.holds_back(465));
        assert_eq!(tried.verdict("h.test").unwrap_err().code(), 3);
        tried.fault(None, "not signed".into());
        assert!(tried.holds_back(25) && tried.holds_back(465));
        // Something wrong outweighs what could not be told.
        assert_eq!(tried.verdict("h.test").unwrap_err().code(), 1);
        assert!(tried.lines()[0].starts_with("Held back, could not tell"));
    }
}
