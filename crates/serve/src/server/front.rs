//! A server in front that says by XCLIENT who its client is [XCL-02].

use std::net::SocketAddr;

use gatepost_net::listen::Place;
use gatepost_wire::smtp::ask::Refusal;
use gatepost_wire::smtp::xclient::Introduced;

/// The server in front, and the place its connection has: limits count the client, never the server in front.
#[derive(Debug)]
pub struct Front {
    own: SocketAddr,
    place: Place,
}

/// Whom a session has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client: the server in front while none is known.
    pub address: SocketAddr,
    /// Where it connected to, if that was said.
    pub local: Option<SocketAddr>,
}

impl Front {
    /// A server in front with this address.
    pub(crate) fn new(own: SocketAddr, place: Place) -> Self {
        Self { own, place }
    }

    /// Takes the client it names into its place.
    ///
    /// # Errors
    /// The client has as many connections as one may have.
    pub(crate) fn introduces(&mut self, said: &Introduced) -> Result<Client, Refusal> {
        let address = said
            .address
            .map_or(self.own, |it| SocketAddr::new(it, said.port.unwrap_or(0)));
        self.place
            .give_to(address.ip())
            .map_err(|_| Refusal::TooManyConnections)?;
        let local = said
            .local_address
            .map(|it| SocketAddr::new(it, said.local_port.unwrap_or(0)));
        Ok(Client { address, local })
    }

    /// It speaks for itself again: what was said in clear is forgotten.
    pub(crate) fn forgets(&mut self) -> SocketAddr {
        // It had a place before; should there be none left, the present one serves as well.
        let _ = self.place.give_to(self.own.ip());
        self.own
    }
}
