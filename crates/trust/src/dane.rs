//! What DNS says about the hosts of a destination: the lookups of DANE for SMTP (RFC 7672 2.1, 2.2), and for services found by
//! SRV (RFC 7673).
//!
//! 1. [`find_route`] asks for the MX records. An error or a bogus answer delays all mail of the domain.
//! 2. [`find_host`] is called for one host at a time, in the order of preference, when its turn comes:
//!    - addresses first; an insecure address means that TLSA is not asked for;
//!    - then TLSA, at the name the CNAMEs of the addresses led to, else at the name itself, never at one between;
//!    - if the CNAMEs led into an unsigned zone, at the name itself alone, if its own CNAME is signed.
//!
//! What came out is a [`Dane`]; what follows from it is decided in [`crate::policy`]:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::SystemTime;
//!
//! use gatepost_trust::dane::{Route, find_host, find_route};
//! use gatepost_trust::dns::{Lookup, Name, Status};
//! use gatepost_trust::policy::{Asked, Decision, DaneFact, Facts, Role, StsFact, decide_for};
//! use gatepost_trust::verify::{Roots, Terms};
//!
//! /// The terms for the best host of a domain; none if mail has to wait, or goes out in clear.
//! async fn plan(resolver: &impl Lookup, domain: &Name, roots: Arc<Roots>) -> Option<Terms> {
//!     let now = SystemTime::now();
//!     let Route::Hosts(route) = find_route(resolver, domain, now, 0).await else {
//!         return None;
//!     };
//!     let host = find_host(resolver, &route, &route.hosts.first()?.exchange, 25, now).await;
//!     let facts = Facts {
//!         role: Role::Relay,
//!         asked: Asked::Default,
//!         dane: DaneFact::Absent, // `decide_for` puts in what was found
//!         sts: StsFact::Absent,
//!         name_is_trusted: route.status == Status::Secure,
//!         pinned: false,
//!         did_tls: false,
//!     };
//!     match decide_for(&host, facts) {
//!         Decision::Connect(connect) => connect.terms(&host, roots).ok()?,
//!         Decision::Later(_) | Decision::Skip(_) => None,
//!     }
//! }
//! ```

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use crate::dns::{Answer, Denial, Indeterminate, Lookup, Mx, Name, NameError, Rtype, Status};
use crate::tlsa::{TlsaSet, Usages};

/// Where the mail of a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To these hosts.
    Hosts(Exchanges),
    /// The domain takes no mail (RFC 7505): refuse for good.
    NullMx(Status),
    /// There is no such domain: refuse for good.
    NoSuchDomain(Status),
    /// It could not be found out: later [DANE-01].
    Later(Status),
}

/// The hosts for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanges {
    /// Secure or insecure: the way from the domain to these names. When it is insecure, DANE may still protect the way to a host,
    /// but not the choice of the host [DANE-05].
    pub status: Status,
    /// The domain, then the name its CNAME led to, if it has one.
    pub domain: Vec<Name>,
    /// Whether there was no MX, so the domain itself is the host (RFC 5321 5.1).
    pub implicit: bool,
    /// The hosts, best first. Whether one is better protected never changes this order [DANE-06].
    pub hosts: Vec<Mx>,
}

/// What is known about one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The host, as the MX or SRV record or the user named it.
    pub name: Name,
    /// Its addresses. None: go on to the next host.
    pub addresses: Vec<IpAddr>,
    /// What is known about the addresses. Neither secure nor insecure: go on to the next host, and if there is none, later
    /// [DANE-01].
    pub status: Status,
    /// What is known about its certificate.
    pub dane: Dane,
}

/// What TLSA records say about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// Nothing, and that is known: no records, or an unsigned zone.
    Absent,
    /// The certificate must match these [DANE-04].
    Usable(Records),
    /// There are records, none of which can be used: TLS is there, but the certificate cannot be known by them [DANE-04].
    Unusable {
        /// The TLSA base domain.
        base: Name,
    },
    /// It could not be found out, or was tampered with: do not connect [DANE-01].
    Broken(Status),
}

/// Usable TLSA records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The TLSA base domain: the name in SNI, and the first name a certificate may have with usage 2 [DANE-11].
    pub base: Name,
    /// The records that count.
    pub set: Arc<TlsaSet>,
    /// The names a certificate may have with usage 2, the base first [DANE-09]. Usage 3 looks at no name.
    pub references: Vec<Name>,
}

/// Looks up where the mail of a domain goes. `draw` decides the order among hosts of the same preference (RFC 5321 5.1): any number,
/// another each time.
pub async fn find_route(lookup: &impl Lookup, domain: &Name, now: SystemTime, draw: u64) -> Route {
    let answer = lookup.mx(domain, now).await;
    if !answer.status.is_known() {
        return Route::Later(answer.status);
    }
    let mut names = vec![domain.clone()];
    names.extend(answer.aliases.last().cloned());
    let implicit = match answer.denial {
        Some(Denial::NoName) => return Route::NoSuchDomain(answer.status),
        Some(Denial::NoData) => true,
        None => false,
    };
    let mut hosts = if implicit {
        vec![Mx {
            preference: 0,
            exchange: domain.clone(),
        }]
    } else {
        answer.records
    };
    // One root among others is a mistake; alone it says that there is no mail (RFC 7505 3).
    hosts.retain(|mx| !mx.exchange.is_root());
    if hosts.is_empty() {
        return Route::NullMx(answer.status);
    }
    order(&mut hosts, draw);
    Route::Hosts(Exchanges {
        status: answer.status,
        domain: names,
        implicit,
        hosts,
    })
}

fn order(hosts: &mut [Mx], draw: u64) {
    hosts.sort();
    let mut state = draw;
    let mut keyed: Vec<(u16, u64, Mx)> = hosts
        .iter()
        .map(|mx| (mx.preference, scramble(&mut state), mx.clone()))
        .collect();
    keyed.sort();
    for (place, (_, _, mx)) in hosts.iter_mut().zip(keyed) {
        *place = mx;
    }
}

/// A step of `SplitMix64`: spreads numbers evenly; nobody's secret depends on it.
pub(crate) fn scramble(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Looks up one host of a route, port and all [DANE-03].
pub async fn find_host(
    lookup: &impl Lookup,
    route: &Exchanges,
    host: &Name,
    port: u16,
    now: SystemTime,
) -> Host {
    let mut host = find_target(lookup, host, port, Usages::DaneOnly, now).await;
    // [DANE-09] the domain's own names count only if nobody could have changed the way from them to this host
    if let Dane::Usable(records) = &mut host.dane
        && route.status == Status::Secure
    {
        for name in &route.domain {
            push_new(&mut records.references, name);
        }
    }
    host
}

/// Looks up a host that a service record named (RFC 7673), or that the user named. `by` is the domain whose SRV record named it,
/// with the status of that record: unless it is secure, TLSA records say nothing (RFC 7673 3.1), and if it is broken, nothing is
/// done [SRV-06].
pub async fn find_service(
    lookup: &impl Lookup,
    by: Option<(&Name, Status)>,
    target: &Name,
    port: u16,
    now: SystemTime,
) -> Host {
    let mut host = match by {
        Some((_, status)) if !status.is_known() => {
            return Host {
                name: target.clone(),
                addresses: Vec::new(),
                status,
                dane: Dane::Broken(status),
            };
        }
        Some((_, Status::Insecure)) => addresses_only(lookup, target, now).await.0,
        _ => find_target(lookup, target, port, Usages::All, now).await,
    };
    if let (Dane::Usable(records), Some((domain, _))) = (&mut host.dane, by) {
        push_new(&mut records.references, domain);
    }
    host
}

fn push_new(names: &mut Vec<Name>, name: &Name) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

/// The addresses of a host alone: [`Host::dane`] says nothing then.
pub async fn find_addresses(lookup: &impl Lookup, name: &Name, now: SystemTime) -> Host {
    addresses_only(lookup, name, now).await.0
}

/// The addresses of a host, with nothing known about its certificate, and the name that owns them, if a CNAME led to it.
async fn addresses_only(
    lookup: &impl Lookup,
    name: &Name,
    now: SystemTime,
) -> (Host, Option<Name>) {
    // At the same time: one round trip, not two.
    let (six, four) = both(
        lookup.addresses(name, Rtype::AAAA, now),
        lookup.addresses(name, Rtype::A, now),
    )
    .await;
    let alias = [&four, &six]
        .into_iter()
        .find_map(|answer| answer.aliases.last().cloned());
    let status = status_of(&six, &four);
    let mut addresses = six.records;
    addresses.extend(four.records);
    let host = Host {
        name: name.clone(),
        addresses,
        status,
        dane: Dane::Absent,
    };
    (host, alias)
}

/// Waits for two things at the same time, without a runtime.
async fn both<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    poll_fn(|context| {
        if one.is_none()
            && let Poll::Ready(done) = first.as_mut().poll(context)
        {
            one = Some(done);
        }
        if other.is_none()
            && let Poll::Ready(done) = second.as_mut().poll(context)
        {
            other = Some(done);
        }
        match (one.take(), other.take()) {
            (Some(one), Some(other)) => Poll::Ready((one, other)),
            unfinished => {
                (one, other) = unfinished;
                Poll::Pending
            }
        }
    })
    .await
}

/// One family that fails does not spoil the other; but what is used is only as good as its weakest part. Where nothing is left, a
/// failure outweighs a denial.
fn status_of(six: &Answer<IpAddr>, four: &Answer<IpAddr>) -> Status {
    match (six.records.is_empty(), four.records.is_empty()) {
        (true, false) if !six.status.is_known() => four.status,
        (false, true) if !four.status.is_known() => six.status,
        _ => six.status.and(four.status),
    }
}

async fn find_target(
    lookup: &impl Lookup,
    name: &Name,
    port: u16,
    usages: Usages,
    now: SystemTime,
) -> Host {
    let (mut host, alias) = addresses_only(lookup, name, now).await;
    if host.addresses.is_empty() {
        // Nothing to connect to: TLSA does not matter.
        return host;
    }
    let bases = match bases(lookup, name, alias, host.status, now).await {
        Ok(bases) => bases,
        Err(status) => {
            host.dane = Dane::Broken(status);
            return host;
        }
    };
    for base in bases {
        let found = ask_tlsa(lookup, &base, name, (port, usages), now).await;
        if found != Dane::Absent {
            host.dane = found;
            break;
        }
    }
    host
}

/// The names TLSA is asked for at, the best first [DANE-02].
async fn bases(
    lookup: &impl Lookup,
    name: &Name,
    alias: Option<Name>,
    status: Status,
    now: SystemTime,
) -> Result<Vec<Name>, Status> {
    match (status, alias) {
        (Status::Secure, None) => Ok(vec![name.clone()]),
        // [DANE-02] the end of the chain, then its beginning, never a name between
        (Status::Secure, Some(end)) => Ok(vec![end, name.clone()]),
        (Status::Insecure, None) => Ok(Vec::new()),
        (Status::Insecure, Some(_)) => {
            // The chain left signed zones somewhere: was it signed where it began?
            let first = lookup.cname(name, now).await;
            match first.status {
                Status::Secure if !first.records.is_empty() => Ok(vec![name.clone()]),
                Status::Secure | Status::Insecure => Ok(Vec::new()),
                broken => Err(broken),
            }
        }
        (broken, _) => Err(broken),
    }
}

async fn ask_tlsa(
    lookup: &impl Lookup,
    base: &Name,
    host: &Name,
    (port, usages): (u16, Usages),
    now: SystemTime,
) -> Dane {
    // A name too long for the labels before it can have no records there.
    let Ok(owner) = tlsa_owner(base, port) else {
        return Dane::Absent;
    };
    let answer = lookup.tlsa(&owner, now).await;
    match answer.status {
        Status::Secure if answer.records.is_empty() => Dane::Absent,
        Status::Secure => {
            let set = TlsaSet::new(&answer.records, usages);
            if set.is_empty() {
                return Dane::Unusable { base: base.clone() };
            }
            let mut references = vec![base.clone()];
            push_new(&mut references, host);
            Dane::Usable(Records {
                base: base.clone(),
                set: Arc::new(set),
                references,
            })
        }
        Status::Insecure => Dane::Absent,
        broken => Dane::Broken(broken),
    }
}

/// Where the TLSA records of a service stand: `_25._tcp.mx.example` [DANE-03].
pub fn tlsa_owner(base: &Name, port: u16) -> Result<Name, NameError> {
    base.below(&format!("_{port}._tcp"))
}

impl Host {
    /// Whether the host can be connected to.
    pub fn is_reachable(&self) -> bool {
        self.status.is_known() && !self.addresses.is_empty()
    }

    /// A host the user gave by address: no name, nothing to look up.
    pub fn by_address(name: Name, address: IpAddr) -> Self {
        Self {
            name,
            addresses: vec![address],
            status: Status::Insecure,
            dane: Dane::Absent,
        }
    }
}

impl Dane {
    /// No answer in time: what a caller says who gave up waiting.
    pub const UNREACHABLE: Self = Self::Broken(Status::Indeterminate(Indeterminate::Unreachable));
}

#[cfg(test)]
mod tests;
