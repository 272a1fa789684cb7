//! From a decision to the terms of a connection: which names, which SNI, what the handshake must bring.

use std::sync::Arc;

use super::{By, Connect, DaneFact, Decision, Facts, Floor, decide};
use crate::dane::{Dane, Host};
use crate::dns::Name;
use crate::verify::{BadName, Demand, HostName, Reference, Roots, Terms, VerifiedBy, Way, Ways};

impl Dane {
    /// What this says, without the records.
    pub fn fact(&self) -> DaneFact {
        match self {
            Self::Absent => DaneFact::Absent,
            Self::Usable(_) => DaneFact::Usable,
            Self::Unusable { .. } => DaneFact::Unusable,
            Self::Broken(_) => DaneFact::Broken,
        }
    }

    /// The TLSA base domain, if there are records.
    pub fn base(&self) -> Option<&Name> {
        match self {
            Self::Usable(records) => Some(&records.base),
            Self::Unusable { base } => Some(base),
            Self::Absent | Self::Broken(_) => None,
        }
    }
}

/// Decides about a host that was looked up: the facts of DANE are taken from it.
pub fn decide_for(host: &Host, facts: Facts) -> Decision {
    decide(Facts {
        dane: host.dane.fact(),
        ..facts
    })
}

impl Connect {
    /// The terms of a connection to a host that was looked up; none if no TLS is to be tried. Pins, revocation and all that is not
    /// this decision's are the caller's to add.
    pub fn terms(&self, host: &Host, roots: Arc<Roots>) -> Result<Option<Terms>, BadName> {
        let demand = match self.floor {
            Floor::Clear => return Ok(None),
            Floor::Verified => Demand::Verified,
            Floor::Encrypted | Floor::Opportunistic(_) => Demand::Encrypted,
        };
        let own = host_name(&host.name)?;
        let mut terms = Terms::for_host(Reference::Dns(own), roots);
        terms.demand = demand;
        // [DANE-11] with TLSA records the name sent is their base
        if let Some(base) = host.dane.base() {
            terms.sni = Some(host_name(base)?);
        }
        terms.ways = Ways::Any(match (self.by, &host.dane) {
            (By::One(VerifiedBy::Dane), Dane::Usable(records)) => {
                terms.references = records
                    .references
                    .iter()
                    .map(|name| host_name(name).map(Reference::Dns))
                    .collect::<Result<_, _>>()?;
                vec![Way::Dane(Arc::clone(&records.set))]
            }
            (By::One(VerifiedBy::Pkix), _) => vec![Way::Pkix],
            (By::One(VerifiedBy::MtaSts), _) => vec![Way::MtaSts],
            (By::StsOrPkix, _) => vec![Way::MtaSts, Way::Pkix],
            // Without a way nobody is verified: a demand for it then fails.
            (By::One(VerifiedBy::Dane | VerifiedBy::Pin) | By::Nothing, _) => Vec::new(),
        });
        Ok(Some(terms))
    }
}

fn host_name(name: &Name) -> Result<HostName, BadName> {
    HostName::new(&name.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::dane::Records;
    use crate::dns::Status;
    use crate::policy::{Asked, Fallback, Role, StsFact};
    use crate::tlsa::{TlsaSet, Usages};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn host(dane: Dane) -> Host {
        Host {
            name: name("mx.example"),
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            status: Status::Secure,
            dane,
        }
    }

    fn usable() -> Dane {
        let record = format!("2 1 1 {}", "00".repeat(32)).parse().unwrap();
        Dane::Usable(Records {
            base: name("end.example"),
            set: Arc::new(TlsaSet::new(&[record], Usages::DaneOnly)),
            references: vec![name("end.example"), name("mx.example"), name("example")],
        })
    }

    fn terms(dane: Dane) -> Option<Terms> {
        let host = host(dane);
        let facts = Facts {
            role: Role::Relay,
            asked: Asked::Default,
            dane: DaneFact::Absent,
            sts: StsFact::Absent,
            name_is_trusted: true,
            pinned: false,
            did_tls: false,
        };
        match decide_for(&host, facts) {
            Decision::Connect(connect) => connect.terms(&host, Arc::new(Roots::none())).unwrap(),
            _ => None,
        }
    }

    // [DANE-09] [DANE-11] the base is the SNI, and the names are those DANE found
    #[test]
    fn dane_brings_its_names() {
        let terms = terms(usable()).unwrap();
        assert_eq!(terms.sni, Some(HostName::new("end.example").unwrap()));
        assert_eq!(terms.demand, Demand::Verified);
        assert!(
            matches!(&terms.ways, Ways::Any(ways) if matches!(ways.as_slice(), [Way::Dane(_)]))
        );
        let names: Vec<String> = terms.references.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["end.example", "mx.example", "example"]);
    }

    #[test]
    fn unusable_records_ask_for_encryption_at_their_base() {
        let base = name("end.example");
        let terms = terms(Dane::Unusable { base }).unwrap();
        assert_eq!(terms.sni, Some(HostName::new("end.example").unwrap()));
        assert_eq!(terms.demand, Demand::Encrypted);
    }

    #[test]
    fn without_records_the_host_is_named() {
        let terms = terms(Dane::Absent).unwrap();
        assert_eq!(terms.sni, Some(HostName::new("mx.example").unwrap()));
        assert_eq!(terms.demand, Demand::Encrypted);
        assert!(self::terms(Dane::UNREACHABLE).is_none());
    }

    // A decision for DANE about a host without records verifies nobody.
    #[test]
    fn a_way_that_is_not_there_is_no_way() {
        let connect = Connect {
            floor: Floor::Verified,
            by: By::One(VerifiedBy::Dane),
            pins: false,
        };
        let terms = connect
            .terms(&host(Dane::Absent), Arc::new(Roots::none()))
            .unwrap()
            .unwrap();
        assert!(matches!(&terms.ways, Ways::Any(ways) if ways.is_empty()));
        assert_eq!(terms.demand, Demand::Verified);
        let clear = Connect {
            floor: Floor::Clear,
            ..connect
        };
        assert!(
            clear
                .terms(&host(usable()), Arc::new(Roots::none()))
                .unwrap()
                .is_none()
        );
        let opportunistic = Connect {
            floor: Floor::Opportunistic(Fallback::Clear),
            by: By::Nothing,
            pins: false,
        };
        let terms = opportunistic
            .terms(&host(Dane::Absent), Arc::new(Roots::none()))
            .unwrap()
            .unwrap();
        assert_eq!(terms.demand, Demand::Encrypted);
    }
}
