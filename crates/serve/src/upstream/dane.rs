//! Whom an upstream must be, as its TLSA records say (`tls=dane`): asked at every connection, validated here, kept as long as the
//! zone allows.
//!
//! | answer | connection |
//! |---|---|
//! | usable records under DNSSEC | the certificate must match one of them |
//! | none, or an unsigned zone | none: the operator said that there would be some |
//! | none that can be used | none |
//! | bogus, or no answer | none [DANE-01] |
//!
//! So an upstream of this kind is verified by DANE or not used. Nothing of a client's is sent before.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use gatepost_net::dns::Network;
use gatepost_trust::dane::{self, Dane, Records};
use gatepost_trust::dns::{Anchors, Name, Resolver, Status, Validation};
use gatepost_trust::tlsa::{TlsaSet, Usages};
use gatepost_trust::verify::{HostName, Reference, Terms, Way, Ways};

use super::url::Spec;
use crate::services::Protocol;

/// How many answers are kept.
const KEPT: usize = 64;

/// Why records do not tell whom an upstream must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRecords {
    /// There are none, or the zone is not signed.
    Absent,
    /// There are some, and none that can be used.
    Unusable,
    /// It could not be found out, or somebody changed the answer.
    Broken(Status),
    /// The name has no address.
    NoAddress,
}

impl fmt::Display for NoRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str(
                "tls=dane, and there are no TLSA records for it under DNSSEC; ask its operator to publish some, or verify it in another way",
            ),
            Self::Unusable => {
                f.write_str("tls=dane, and none of its TLSA records can be used; see gatepost tlsa check")
            }
            Self::Broken(status) => write!(
                f,
                "tls=dane, and its TLSA records could not be found out ({status}): the resolver, the zone's signatures, or someone on the path"
            ),
            Self::NoAddress => f.write_str("tls=dane, and its name has no address"),
        }
    }
}

/// Where records are asked for.
pub(super) struct Asker {
    resolver: Resolver<Network>,
    host: Name,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Asker {
    /// # Errors
    /// The trust anchors cannot be read, or the host is no name; in words for the operator.
    pub(super) fn new(spec: &Spec) -> Result<Self, String> {
        let network = match spec.resolver {
            Some(address) => Network::new(vec![address]),
            None => Network::system(),
        };
        let host = spec
            .host
            .parse()
            .map_err(|_| format!("{:?} is no name that DNS knows", spec.host))?;
        let resolver = Resolver::new(network, Validation::Own(anchors()?), KEPT);
        Ok(Self { resolver, host })
    }

    /// The terms of a connection, made from those without records, and the addresses to connect to.
    pub(super) async fn ask(
        &self,
        spec: &Spec,
        terms: &Terms,
    ) -> Result<(Terms, Vec<IpAddr>), NoRecords> {
        let now = SystemTime::now();
        let found = dane::find_service(&self.resolver, None, &self.host, spec.port, now).await;
        // [DANE-01]
        if !found.status.is_known() {
            return Err(NoRecords::Broken(found.status));
        }
        if found.addresses.is_empty() {
            return Err(NoRecords::NoAddress);
        }
        let records = match found.dane {
            Dane::Usable(records) => records,
            Dane::Absent => return Err(NoRecords::Absent),
            Dane::Unusable { .. } => return Err(NoRecords::Unusable),
            Dane::Broken(status) => return Err(NoRecords::Broken(status)),
        };
        let set = usable(spec.protocol, &records).ok_or(NoRecords::Unusable)?;
        let mut terms = terms.clone();
        terms.ways = Ways::Any(vec![Way::Dane(set)]);
        // [DANE-09] [DANE-11]
        terms.references = records.references.iter().filter_map(reference).collect();
        terms.sni = HostName::new(&records.base.to_string()).ok();
        Ok((terms, found.addresses))
    }
}

/// The records that count: between servers usages 0 and 1 do not [DANE-07].
fn usable(protocol: Protocol, records: &Records) -> Option<Arc<TlsaSet>> {
    let set = match protocol {
        Protocol::Smtp => Arc::new(TlsaSet::new(records.set.usable(), Usages::DaneOnly)),
        Protocol::Submission | Protocol::Imap | Protocol::Pop3 => Arc::clone(&records.set),
    };
    (!set.is_empty()).then_some(set)
}

fn reference(name: &Name) -> Option<Reference> {
    HostName::new(&name.to_string()).ok().map(Reference::Dns)
}

/// Reads `ADDRESS` or `ADDRESS:PORT`.
pub(super) fn resolver(text: &str) -> Option<SocketAddr> {
    gatepost_net::dns::Resolvers::parse_address(text)
}

/// The trust anchors: those of the root, or of the file named in the environment.
fn anchors() -> Result<Anchors, String> {
    let Some(path) = std::env::var_os("GATEPOST_TRUST_ANCHORS") else {
        return Ok(Anchors::root());
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "GATEPOST_TRUST_ANCHORS: cannot read {}: {error}",
            path.display()
        )
    })?;
    Anchors::parse(&text).map_err(|error| format!("GATEPOST_TRUST_ANCHORS: {error}"))
}
