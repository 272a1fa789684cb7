//! What comes after the handshake: tickets, early data, sessions taken up again, second handshakes inside the first.
//!
//! A TLS library keeps all that to itself. So the engine does the first handshake, and then hands its keys over ([`engine`]): what follows is read
//! and written record by record. No record of ours holds more than a NOOP.
//!
//! | module | asks |
//! |---|---|
//! | [`tickets`] | how long tickets hold, whether they allow early data, whether a session is taken up again on another connection |
//! | [`cbc`] | suites the engine does not have, for what is said with them on purpose |
//! | [`again`] | whether a client may begin a second handshake (RFC 5246 7.4.1.1), and without a proof that it had the first (RFC 5746) |

pub(crate) mod again;
pub(crate) mod cbc;
pub(crate) mod engine;
#[cfg(test)]
mod tests;
pub(crate) mod tickets;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The version it is about is not spoken.
    NotSpoken(String),
    /// The server takes none of the suites, groups and signatures that were offered, or refuses for another reason.
    Refused(String),
    /// It could not be told.
    Unknown(String),
}

impl Why {
    /// In words.
    pub(crate) fn text(self) -> String {
        match self {
            Self::NotSpoken(text) | Self::Refused(text) | Self::Unknown(text) => text,
        }
    }
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Self::Unknown(why)
    }
}
