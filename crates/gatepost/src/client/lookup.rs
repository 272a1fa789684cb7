//! What DNS is asked for a connection: TLSA records for DANE, the policy for MTA-STS, SRV records for finding servers. Answers are
//! validated here (DNSSEC); a resolver is only the way to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::SystemTime;

use gatepost_net::dns::Network;
use gatepost_trust::dane::{self, Dane};
use gatepost_trust::dns::{Anchors, Lookup as _, Name, Resolver, Rtype, Status, Validation};
use gatepost_trust::mta_sts;
use gatepost_trust::policy::StsFact;
use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};

use super::network;
use super::reach::needs_records;
use super::settings::{Door, Settings, Way};
use super::url::{Host, Protocol, Url};
use crate::exit::Failure;
use crate::whole;

/// How many answers one run keeps.
const KEPT: usize = 256;

/// The resolver of a run.
pub(crate) fn resolver(settings: &Settings) -> Result<Resolver<Network>, Failure> {
    let network = match settings.dns {
        Some(address) => Network::new(vec![address]),
        None => Network::system(),
    };
    Ok(Resolver::new(network, Validation::Own(anchors()?), KEPT))
}

/// The trust anchors: those of the root, or of the file named in the environment.
pub(crate) fn anchors() -> Result<Anchors, Failure> {
    let Some(path) = std::env::var_os("GATEPOST_TRUST_ANCHORS") else {
        return Ok(Anchors::root());
    };
    let text = whole::read_text(std::path::Path::new(&path)).map_err(|error| {
        Failure::usage(format!(
            "GATEPOST_TRUST_ANCHORS: cannot read {}: {error}",
            path.display()
        ))
    })?;
    Anchors::parse(&text)
        .map_err(|error| Failure::usage(format!("GATEPOST_TRUST_ANCHORS: {error}")))
}

pub(crate) fn name(text: &str) -> Result<Name, Failure> {
    text.parse()
        .map_err(|_| Failure::usage(format!("{text:?} is no name that DNS knows")))
}

/// The records a connection is verified by, where DANE is among the ways.
pub(crate) async fn records(
    settings: &Settings,
    url: &Url,
    door: Door,
) -> Result<Option<Arc<TlsaSet>>, Failure> {
    if !needs_records(settings) {
        return Ok(None);
    }
    let Host::Name(host) = &url.host else {
        return Err(Failure::usage(
            "--verify dane needs a host name: TLSA records are published for names, not for addresses",
        ));
    };
    let resolver = resolver(settings)?;
    let now = SystemTime::now();
    let found = dane::find_service(&resolver, None, &name(host)?, door.port, now).await;
    // [DANE-01] [SRV-06] a name whose addresses are forged has no records that count.
    if !found.status.is_known() {
        return Err(broken(&resolver, host, door.port, found.status).await);
    }
    let alone = settings.verify.all || settings.verify.ways == [Way::Dane];
    match found.dane {
        Dane::Usable(records) if url.protocol == Protocol::Smtp => {
            // Between servers usages 0 and 1 do not count (RFC 7672 section 3.1.3).
            let set = TlsaSet::new(records.set.usable(), Usages::DaneOnly);
            Ok(Some(Arc::new(set)))
        }
        Dane::Usable(records) => Ok(Some(records.set)),
        Dane::Broken(status) => Err(broken(&resolver, host, door.port, status).await),
        Dane::Absent if alone => Err(Failure::finding(format!(
            "E-DANE-NO-RECORD: {host}:{}: expected TLSA records under DNSSEC, and there are none\n  at fault: the operator of the domain, who has \
             published none\n  next: verify by ca, or ask the operator to publish: gatepost tlsa make {host}:{}",
            door.port, door.port
        ))),
        Dane::Unusable { .. } if alone => Err(Failure::finding(format!(
            "E-DANE-UNUSABLE: {host}:{}: there are TLSA records, and none of them can be used\n  at fault: the operator of the domain\n  next: \
             see what is wrong with them: gatepost tlsa check {}",
            door.port,
            url.place(door.port)
        ))),
        // Another way suffices: an empty set matches nothing.
        Dane::Absent | Dane::Unusable { .. } => Ok(Some(Arc::new(TlsaSet::new(&[], Usages::All)))),
    }
}

/// Why an answer that should be signed is no proof against its zone, if it is none: nothing that is signed comes through this resolver.
pub(crate) async fn stripped(resolver: &Resolver<Network>, what: &str) -> Option<Failure> {
    if resolver.hands_on_signatures(SystemTime::now()).await {
        return None;
    }
    Some(Failure::local(format!(
        "E-DNSSEC-STRIPPED: {what}: the resolver hands on no DNSSEC, so that nothing it says can be verified\n  at fault: the resolver, or whoever stands \
         before it\n  next: name one that does: --dns ADDRESS"
    )))
}

/// [DANE-01] What DNSSEC says must not be overheard: no connection.
async fn broken(resolver: &Resolver<Network>, host: &str, port: u16, status: Status) -> Failure {
    if let (Status::Bogus(_), Some(failure)) =
        (status, stripped(resolver, &format!("{host}:{port}")).await)
    {
        return failure;
    }
    let text = format!(
        "E-DNSSEC-{}: {host}:{port}: whether there are TLSA records could not be found out: {status}\n  at fault: the resolver, the \
         domain's signatures, or someone on the path\n  next: try another resolver with --dns",
        status.word().to_uppercase()
    );
    match status {
        Status::Bogus(_) => Failure::finding(text),
        _ => Failure::local(text),
    }
}

/// What the names of this machine stand for.
pub(crate) const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];

/// Whether a name means this machine and no other (RFC 6761 6.3). The system's resolver may ask the network for `x.localhost`, and a
/// password that may stay unencrypted here must not follow the answer.
pub(crate) fn is_local(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The addresses of a server, where a resolver was named or none is needed; none: the system is asked when it is dialled.
pub(crate) async fn addresses(
    settings: &Settings,
    url: &Url,
    port: u16,
) -> Result<Vec<IpAddr>, Failure> {
    let Host::Name(host) = &url.host else {
        return Ok(Vec::new());
    };
    let said = settings
        .resolve
        .iter()
        .any(|it| it.host == *host && it.port == port);
    if said || settings.socks5.is_some() {
        return Ok(Vec::new());
    }
    if is_local(host) {
        return Ok(LOOPBACK.to_vec());
    }
    if settings.dns.is_none() {
        return Ok(Vec::new());
    }
    let (resolver, asked, now) = (resolver(settings)?, name(host)?, SystemTime::now());
    let mut found = Vec::new();
    for rtype in [Rtype::AAAA, Rtype::A] {
        let answer = resolver.addresses(&asked, rtype, now).await;
        if let Status::Bogus(_) = answer.status {
            if let Some(failure) = stripped(&resolver, &url.place(port)).await {
                return Err(failure);
            }
            return Err(Failure::finding(format!(
                "E-DNSSEC-BOGUS: {}: its addresses are not what the domain signed: {}\n  at fault: the resolver, the domain's signatures, or \
                 someone on the path\n  next: try another resolver with --dns",
                url.place(port),
                answer.status
            )));
        }
        found.extend(answer.records);
    }
    if found.is_empty() {
        return Err(Failure::local(format!(
            "E-NO-NAME: {}: the resolver {} knows no address of it\n  at fault: the name, or the resolver\n  next: check the name; try another \
             resolver, or give the address with --resolve",
            url.place(port),
            settings.dns.map(|it| it.to_string()).unwrap_or_default()
        )));
    }
    Ok(found)
}

/// The records at a host's own name and port.
pub(crate) async fn tlsa(
    settings: &Settings,
    host: &str,
    port: u16,
    now: SystemTime,
) -> Result<Vec<Tlsa>, Failure> {
    let resolver = resolver(settings)?;
    let owner = dane::tlsa_owner(&name(host)?, port)
        .map_err(|_| Failure::usage(format!("{host:?} is too long for TLSA records")))?;
    let answer = resolver.tlsa(&owner, now).await;
    match answer.status {
        Status::Bogus(_) | Status::Indeterminate(_) => {
            Err(broken(&resolver, host, port, answer.status).await)
        }
        status if answer.records.is_empty() => Err(Failure::finding(format!(
            "there are no TLSA records at {owner} (DNS: {})\n  next: publish one: gatepost tlsa make {host}:{port}",
            status.word()
        ))),
        Status::Insecure => Err(Failure::finding(format!(
            "there are TLSA records at {owner}, but the zone is not signed, so that nobody may trust them\n  next: sign the zone (DNSSEC)"
        ))),
        Status::Secure => Ok(answer.records),
    }
}

/// Where the policy of a domain must name the host, makes sure that it does. The user asked for it.
pub(crate) async fn require_policy(settings: &Settings, url: &Url) -> Result<(), Failure> {
    let (true, Some(domain)) = (settings.verify.has(Way::Sts), &settings.domain) else {
        return Ok(());
    };
    let Host::Name(host) = &url.host else {
        return Err(Failure::usage(
            "--verify sts needs a host name: policies name hosts, not addresses",
        ));
    };
    let resolver = resolver(settings)?;
    let cache = mta_sts::Cache::new(1);
    let fetch = network::policy_hosts(settings)?;
    let found = mta_sts::find(&resolver, &fetch, &cache, &name(domain)?, SystemTime::now()).await;
    match found.fact(&name(host)?) {
        StsFact::Enforce { listed: true } | StsFact::Testing { listed: true } => Ok(()),
        StsFact::Enforce { listed: false } | StsFact::Testing { listed: false } => {
            Err(Failure::finding(format!(
                "E-STS-HOST: the policy of {domain} does not name {host}\n  at fault: the operator of {domain}, or somebody in the DNS who sends you to \
                 another host\n  next: compare with https://mta-sts.{domain}{}",
                mta_sts::PATH
            )))
        }
        _ => Err(Failure::finding(format!(
            "E-STS-NONE: {domain} has no policy in force{}\n  at fault: the operator of {domain}, or the way to https://mta-sts.{domain}\n  next: \
             verify by ca alone",
            found
                .problem
                .map(|problem| format!(": {problem}"))
                .unwrap_or_default()
        ))),
    }
}
