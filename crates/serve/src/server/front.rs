//! A server in front that says by XCLIENT who its client is [XCL-02].

use std::net::SocketAddr;

use gatepost_net::listen::Place;
use gatepost_wire::smtp::ask::Refusal;
use gatepost_wire::smtp::xclient::Introduced;

use crate::mailbox::Summary;

/// The server in front, and the place its connection has: limits count the client, never the server in front.
#[derive(Debug)]
pub struct Front {
    own: Visit,
    place: Place,
}

/// From where to where somebody connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// The client's end.
    pub client: SocketAddr,
    /// The end it connected to, if that is known.
    pub local: Option<SocketAddr>,
}

impl Front {
    /// A server in front that has connected so.
    pub(crate) fn new(own: Visit, place: Place) -> Self {
        Self { own, place }
    }

    /// Lets the client it names in, and takes note of it: the server in front itself, where it knows none.
    ///
    /// # Errors
    /// The client has as many connections as one may have.
    pub(crate) fn introduces(
        &mut self,
        said: &Introduced,
        summary: &mut Summary,
    ) -> Result<Visit, Refusal> {
        let end = |address, port: Option<u16>| SocketAddr::new(address, port.unwrap_or(0));
        let visit = match said.address {
            None => self.own,
            Some(address) => Visit {
                client: end(address, said.port),
                local: said.local_address.map(|it| end(it, said.local_port)),
            },
        };
        if let Err(refused) = self.place.give_to(visit.client.ip()) {
            summary.limit(refused.label());
            return Err(Refusal::TooManyConnections);
        }
        summary.introduced = Some(Box::new(visit.client));
        Ok(visit)
    }

    /// It speaks for itself again: what was said in clear is forgotten.
    pub(crate) fn forgets(&mut self, summary: &mut Summary) -> Visit {
        summary.introduced = None;
        // Those in front are not counted one by one, so there is a place; without one, the client's does as well.
        let _ = self.place.give_to(self.own.client.ip());
        self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_net::listen::{Door, DoorLimits};
    use gatepost_net::network::Network;

    fn said(address: Option<[u8; 4]>) -> Introduced {
        Introduced {
            address: address.map(Into::into),
            port: Some(4711),
            local_address: Some([198, 51, 100, 1].into()),
            local_port: None,
        }
    }

    // [XCL-02]
    #[test]
    fn limits_count_the_client_and_its_log_line_names_it() {
        let door = Door::new(DoorLimits {
            total: 2,
            per_address: 1,
            exempt: vec![Network::parse("127.0.0.1/32").unwrap()],
        });
        let own = Visit {
            client: ([127, 0, 0, 1], 1).into(),
            local: Some(([127, 0, 0, 1], 25).into()),
        };
        let mut fronts = [1, 2].map(|_| Front::new(own, door.enter(own.client.ip()).unwrap()));
        let mut summaries = [Summary::default(), Summary::default()];
        let visit = fronts[0].introduces(&said(Some([192, 0, 2, 7])), &mut summaries[0]);
        let client: SocketAddr = ([192, 0, 2, 7], 4711).into();
        let local = Some(([198, 51, 100, 1], 0).into());
        assert_eq!(visit, Ok(Visit { client, local }));
        assert_eq!(summaries[0].introduced.as_deref(), Some(&client));
        // A second one of the same client: a reply, and an event.
        let refused = fronts[1].introduces(&said(Some([192, 0, 2, 7])), &mut summaries[1]);
        assert_eq!(refused, Err(Refusal::TooManyConnections));
        assert_eq!(summaries[1].limits(), ["too_many_from_address"]);
        assert_eq!(summaries[1].introduced, None);
        // Who is not known is the server in front, where it connected to.
        assert_eq!(
            fronts[1].introduces(&said(None), &mut summaries[1]),
            Ok(own)
        );
        // Forgotten, the client's place is free for its next connection.
        assert_eq!(fronts[0].forgets(&mut summaries[0]), own);
        assert_eq!(summaries[0].introduced, None);
        let again = fronts[1].introduces(&said(Some([192, 0, 2, 7])), &mut summaries[1]);
        assert!(again.is_ok());
    }
}
