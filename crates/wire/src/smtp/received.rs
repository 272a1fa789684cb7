//! The `Received:` field (RFC 5321 4.4; RFC 3848; RFC 8314 4.3).

use std::net::IpAddr;

/// What a session knows for its `Received:` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The name the client gave in EHLO or HELO, inside TLS if there is TLS.
    pub helo: String,
    /// The client's address.
    pub client: IpAddr,
}
