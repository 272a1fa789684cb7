//! Names to addresses for the dialler, by a validating resolver instead of the system's.

use std::sync::Arc;
use std::time::SystemTime;

use gatepost_trust::dane::find_addresses;
use gatepost_trust::dns::{Lookup, Name};

use crate::client::dial::{Resolve, ResolveFailure, Resolving};

/// A [`Lookup`] for the dialler. Bogus addresses are no addresses: they count as a failure that may pass.
#[derive(Debug, Clone)]
pub struct Names<L>(pub Arc<L>);

impl<L: Lookup + Send> Resolve for Names<L> {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let name: Name = host.parse().map_err(|_| ResolveFailure::NoName)?;
            let host = find_addresses(&*self.0, &name, SystemTime::now()).await;
            if host.is_reachable() {
                Ok(host.addresses)
            } else if host.status.is_known() {
                Err(ResolveFailure::NoName)
            } else {
                Err(ResolveFailure::Temporary)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use gatepost_trust::dns::{Answer, Bogus, Data, Denial, Rtype, Status};

    use super::*;

    /// `good` has an address, `bad` a forged one, anything else none.
    struct Table;

    impl Lookup for Table {
        async fn lookup(&self, name: &Name, rtype: Rtype, _: SystemTime) -> Answer<Data> {
            let mut answer = Answer::unknown(Status::Secure);
            answer.ttl = Duration::from_secs(60);
            match (name.to_string().as_str(), rtype) {
                ("good", Rtype::A) => answer.records.push(Data::A(Ipv4Addr::LOCALHOST)),
                ("bad", _) => answer.status = Status::Bogus(Bogus::SignatureInvalid),
                _ => answer.denial = Some(Denial::NoName),
            }
            answer
        }
    }

    #[tokio::test]
    async fn bogus_addresses_are_no_addresses() {
        let names = Names(Arc::new(Table));
        let own = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        assert_eq!(names.resolve("good").await, Ok(own));
        assert_eq!(names.resolve("none").await, Err(ResolveFailure::NoName));
        assert_eq!(names.resolve("bad").await, Err(ResolveFailure::Temporary));
        assert_eq!(names.resolve("a b").await, Err(ResolveFailure::NoName));
    }
}
