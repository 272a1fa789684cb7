//! Domains on the command line: which words are some, what DNS says of them, and the services that follow.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_audit::check::document::JudgedDomain;
use gatepost_audit::check::domain::{self, DomainFacts, Means};
use gatepost_audit::check::examine::Tier;
use gatepost_audit::check::facts::{Facts, Reach};
use gatepost_audit::check::target::Target;
use gatepost_net::dns::Network;
use gatepost_trust::dns::{Lookup as _, Name, Status};

use crate::client::settings::Settings;
use crate::client::terms;
use crate::client::url::Host;
use crate::client::{lookup, network};
use crate::exit::Failure;

/// The domains of one run.
pub(super) struct Domains {
    means: Means,
    found: Vec<DomainFacts>,
    /// Services that nobody named: the usual ports of hosts.
    usual: Vec<Target>,
}

impl Domains {
    /// None asked yet.
    pub(super) fn new(
        settings: &Settings,
        selectors: Vec<String>,
        tier: Tier,
    ) -> Result<Self, Failure> {
        let network = match settings.dns {
            Some(address) => Network::new(vec![address]),
            None => Network::system(),
        };
        let roots = Arc::new(terms::roots(settings)?);
        let dialer = network::dialer(settings)?;
        let mut means = Means::new(network, lookup::anchors()?, dialer, roots);
        means.selectors = selectors;
        // The lightest tier makes the connections an honest sender makes, and asks no name server by itself.
        if tier == Tier::Light {
            means.name_servers = None;
        }
        if let Some(timeout) = settings.timeout {
            means.patience = timeout;
        }
        Ok(Self {
            means,
            found: Vec::new(),
            usual: Vec::new(),
        })
    }

    /// These are the usual ports of a host that was named without one.
    pub(super) fn add_usual(&mut self, targets: &[Target]) {
        self.usual.extend_from_slice(targets);
    }

    /// For many at once, who wait for one another.
    pub(super) fn in_turn(mut self, longest: Duration) -> Self {
        self.means.turn = longest;
        self
    }

    /// The same way to answers, and nothing found yet.
    pub(super) fn fresh(&self) -> Self {
        Self {
            means: self.means.clone(),
            found: Vec::new(),
            usual: Vec::new(),
        }
    }

    /// These, as they were kept.
    pub(super) fn judge_kept(
        found: &[DomainFacts],
        services: &[Facts],
        at: u64,
    ) -> Vec<JudgedDomain> {
        let judge = |facts: &DomainFacts| JudgedDomain {
            domain: facts.domain.clone(),
            checks: domain::judge(facts, services, at),
        };
        found.iter().map(judge).collect()
    }

    /// About how much memory what was found takes, in octets: that of its text, and as much again for its pieces.
    pub(super) fn weight(&self) -> usize {
        let text = |it: &DomainFacts| serde_json::to_string(it).map_or(0, |text| text.len());
        self.found.iter().map(text).sum::<usize>() * 2
    }

    /// What was found.
    pub(super) fn found(self) -> Vec<DomainFacts> {
        self.found
    }

    /// Asks everything about a domain; the services that follow. None when the word is no domain but a server.
    pub(super) async fn examine(
        &mut self,
        text: &str,
        settings: &Settings,
    ) -> Result<Option<Vec<Target>>, Failure> {
        let Some(name) = self.domain(text, settings).await? else {
            return Ok(None);
        };
        let facts = Box::pin(domain::examine(&name, &self.means)).await;
        let targets = resolved(domain::targets(&facts), settings);
        self.found.push(facts);
        Ok(Some(targets))
    }

    /// The domain a word means. `anna@example.org` is always one; a bare name is one when it has MX records, and when it has no address
    /// either, so that there is somebody to say what is wrong.
    async fn domain(&self, text: &str, settings: &Settings) -> Result<Option<String>, Failure> {
        if text.contains("://") {
            return Ok(None);
        }
        if let Some((_, domain)) = text.rsplit_once('@') {
            let Ok(Host::Name(name)) = Host::parse(domain) else {
                return Err(Failure::usage(format!("{text}: no domain behind the @")));
            };
            return Ok(Some(name));
        }
        let Ok(Host::Name(host)) = Host::parse(text) else {
            return Ok(None);
        };
        let said = settings
            .resolve
            .iter()
            .any(|it| it.host.eq_ignore_ascii_case(&host));
        if said || lookup::is_local(&host) {
            return Ok(None);
        }
        let Ok(name) = host.parse::<Name>() else {
            return Ok(None);
        };
        let now = std::time::SystemTime::now();
        let answer = Box::pin(self.means.resolver.mx(&name, now)).await;
        if !answer.records.is_empty() || matches!(answer.status, Status::Bogus(_)) {
            return Ok(Some(host));
        }
        let dialer = network::dialer(settings)?;
        let addresses = dialer.resolver.resolve(&host).await;
        Ok(addresses.map_or(true, |it| it.is_empty()).then_some(host))
    }

    /// Judges the domains by what was seen of their services, and leaves out services at usual names and ports that nobody announced and nobody
    /// runs.
    pub(super) fn judge(&self, services: &mut Vec<Facts>, at: u64) -> Vec<JudgedDomain> {
        let judged = Self::judge_kept(&self.found, services, at);
        services.retain(|it| !self.is_nobody(it));
        leave_out_closed(services, &self.usual);
        judged
    }

    fn is_nobody(&self, service: &Facts) -> bool {
        !matches!(service.reach, Reach::Connected { .. })
            && self
                .found
                .iter()
                .any(|facts| domain::is_guess(facts, &service.target))
    }
}

/// Leaves out closed ports that nobody named, of hosts that answer at another: no host runs all services. Where it runs none, something is wrong.
fn leave_out_closed(services: &mut Vec<Facts>, usual: &[Target]) {
    let here: BTreeSet<String> = services
        .iter()
        .filter(|it| matches!(it.reach, Reach::Connected { .. }))
        .map(|it| it.target.host.clone())
        .collect();
    services.retain(|it| {
        let is_named = !usual.contains(&it.target);
        is_named || it.reach != Reach::Refused || !here.contains(&it.target.host)
    });
}

/// What the user said about a host and port comes before what DNS said.
fn resolved(targets: Vec<Target>, settings: &Settings) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    let mut seen = BTreeSet::new();
    for target in targets {
        let said = settings
            .resolve
            .iter()
            .filter(|it| it.host.eq_ignore_ascii_case(&target.host) && it.port == target.port);
        let mut addresses: Vec<IpAddr> = said.map(|it| it.address).collect();
        if addresses.is_empty() {
            addresses.push(target.address);
        }
        for address in addresses {
            if seen.insert((address, target.port, target.host.clone())) {
                found.push(Target {
                    address,
                    ..target.clone()
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use gatepost_audit::check::target::{Protocol, Role, Start};

    use super::*;

    fn seen(host: &str, port: u16, reach: Reach) -> Facts {
        let target = Target {
            host: host.to_owned(),
            address: IpAddr::from([192, 0, 2, 1]),
            port,
            protocol: Protocol::Smtp,
            start: Start::StartTls,
            role: Role::Mx,
        };
        Facts::new(target, 0, reach)
    }

    #[test]
    fn closed_ports_that_nobody_named_are_no_fault_of_a_host_that_answers() {
        let open = Reach::Connected { milliseconds: 1 };
        let all = [
            seen("runs.test", 25, open),
            seen("runs.test", 143, Reach::Silent),
            seen("runs.test", 4190, Reach::Refused),
            seen("named.test", 4190, Reach::Refused),
            seen("down.test", 25, Reach::Refused),
            seen("down.test", 4190, Reach::Refused),
        ];
        let left = |usual: &[Target]| {
            let mut services = all.to_vec();
            leave_out_closed(&mut services, usual);
            let place = |it: &Facts| format!("{}:{}", it.target.host, it.target.port);
            services.iter().map(place).collect::<Vec<_>>()
        };
        let usual: Vec<Target> = all.iter().map(|it| it.target.clone()).collect();
        assert_eq!(
            left(&usual),
            [
                "runs.test:25",
                "runs.test:143",
                "named.test:4190",
                "down.test:25",
                "down.test:4190"
            ]
        );
        assert_eq!(left(&[]).len(), all.len());
    }
}
