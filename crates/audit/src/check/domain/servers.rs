//! Name servers: which zones have which, and whether they can be reached by IPv6, so that a resolver that has nothing else finds the domain.
//!
//! Addresses are asked of the resolver in use. Whether there is an answer at an address is asked there: one question for the zone's SOA record, by
//! UDP and again where none comes, at eight addresses at most. Where this machine has no way to IPv6 that cannot be told, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use gatepost_net::dns::Network;
use gatepost_trust::dns::{Name, Query, Rtype, Transport as _, together};
use tokio::net::UdpSocket;

use super::Means;
use super::ask::Asker;
use super::facts::{ServerFacts, Told};
use crate::check::facts::Seen;

/// The most zones of MX hosts looked at.
const MAX_ZONES: usize = 4;
/// The most name servers of a zone looked at.
const MAX_SERVERS: usize = 8;
/// The most addresses asked in all.
const MAX_ASKED: usize = 8;
/// How long an address has to answer, first and second time.
const PATIENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(3)];

/// The name servers of the domain's zone, and those of its MX hosts' zones.
pub(super) async fn examine(
    asker: &Asker<'_>,
    domain: &Name,
    hosts: &[String],
) -> (ServerFacts, Vec<ServerFacts>) {
    let parents: BTreeSet<Name> = hosts
        .iter()
        .filter_map(|host| host.parse::<Name>().ok()?.parent())
        .filter(|parent| !parent.is_root() && parent != domain)
        .collect();
    let parents = parents.into_iter().take(MAX_ZONES);
    let (mut own, found) = tokio::join!(
        Box::pin(servers(asker, domain.clone())),
        Box::pin(together(parents.map(|it| servers(asker, it)))),
    );
    let mut others: Vec<ServerFacts> = Vec::new();
    for zone in found {
        let is_known = own.zone == zone.zone || others.iter().any(|it| it.zone == zone.zone);
        if !is_known {
            others.push(zone);
        }
    }
    if let Some(port) = asker.means().name_servers {
        let all = [&mut own].into_iter().chain(&mut others).collect();
        Box::pin(ask(asker.means(), port, all)).await;
    }
    (own, others)
}

/// The name servers of the zone this name stands in, and their addresses.
async fn servers(asker: &Asker<'_>, name: Name) -> ServerFacts {
    let mut at = name;
    let told = loop {
        let told = asker.servers(&at).await;
        match at.parent() {
            Some(above) if told.is_absent() && !above.is_root() => at = above,
            _ => break told,
        }
    };
    let names: Vec<String> = told.records.iter().take(MAX_SERVERS).cloned().collect();
    let looks = names.iter().map(|text| async move {
        match text.parse() {
            Ok(name) => asker.addresses(&name, Rtype::AAAA).await,
            Err(_) => Told::unknown("this is no name that DNS knows"),
        }
    });
    let six = together(looks).await;
    ServerFacts {
        zone: at.to_string(),
        six: names.into_iter().zip(six).collect(),
        told,
        answers: BTreeMap::new(),
    }
}

/// Asks the first address of each.
async fn ask(means: &Means, port: u16, zones: Vec<&mut ServerFacts>) {
    let mut left = MAX_ASKED;
    let mut found: BTreeMap<IpAddr, Seen<bool>> = BTreeMap::new();
    for zone in zones {
        let firsts = zone.six.values().filter_map(|it| it.records.first());
        let firsts: BTreeSet<IpAddr> = firsts.copied().collect();
        let new = firsts.iter().filter(|it| !found.contains_key(it));
        let new: Vec<IpAddr> = new.take(left).copied().collect();
        left -= new.len();
        let looks = new.iter().map(|it| answers(means, &zone.zone, *it, port));
        let seen = together(looks).await;
        found.extend(new.into_iter().zip(seen));
        let known = firsts.iter().filter_map(|it| found.get_key_value(it));
        zone.answers = known.map(|(it, seen)| (*it, seen.clone())).collect();
    }
}

/// Whether anything comes back from this address.
async fn answers(means: &Means, zone: &str, address: IpAddr, port: u16) -> Seen<bool> {
    let place = SocketAddr::new(address, port);
    if let Some(why) = no_way(means, place).await {
        return Seen::Unknown { why, missing: 0 };
    }
    let Ok(name) = zone.parse() else {
        return Seen::unknown("this is no name that DNS knows");
    };
    let query = Query {
        name,
        rtype: Rtype::SOA,
        checking_disabled: false,
    };
    let patience = PATIENCE.map(|it| it.min(means.patience));
    let network = Network::new(vec![place]).with_patience(patience);
    Seen::Known(network.exchange(&query).await.is_ok())
}

/// Why this machine cannot ask there.
async fn no_way(means: &Means, place: SocketAddr) -> Option<String> {
    if means.dialer.socks.is_some() {
        return Some("name servers are not asked through a proxy".to_owned());
    }
    // What a stranger's zone says is not let out as multicast, nor by IPv4 in disguise.
    if let IpAddr::V6(six) = place.ip()
        && (six.is_multicast() || six.is_unspecified() || six.to_ipv4_mapped().is_some())
    {
        return Some("that is no IPv6 address of a host".to_owned());
    }
    let sources = &means.dialer.sources;
    if !sources.is_empty() && !sources.iter().any(IpAddr::is_ipv6) {
        return Some("no IPv6 address of ours is to be used".to_owned());
    }
    // Connecting sends nothing; it finds a route, or none.
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await;
    let way = match socket {
        Ok(socket) => socket.connect(place).await,
        Err(why) => Err(why),
    };
    way.err()
        .map(|why| format!("no way there by IPv6 from here: {why}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gatepost_net::client::dial::Dialer;
    use gatepost_trust::dns::Anchors;
    use gatepost_trust::verify::Roots;

    use super::*;

    #[tokio::test]
    async fn addresses_of_no_host_are_not_asked() {
        let network = Network::new(Vec::new());
        let roots = Arc::new(Roots::none());
        let means = Means::new(network, Anchors::root(), Dialer::default(), roots);
        for text in ["::", "ff0e::1", "ff02::fb", "::ffff:192.0.2.1"] {
            let seen = answers(&means, "example.org", text.parse().unwrap(), 53).await;
            let Seen::Unknown { why, .. } = seen else {
                panic!("{text}: {seen:?}");
            };
            assert!(why.contains("no IPv6 address of a host"), "{text}: {why}");
        }
    }
}
