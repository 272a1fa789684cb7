//! A session ticket of TLS 1.3 (RFC 9846 4.6.1), for who has decrypted one: how long it is meant to hold, and how much early data it allows.

use super::bytes::Bytes;

/// The extension that says how much early data is taken.
const EARLY_DATA: u16 = 42;

/// What a `NewSessionTicket` says of itself. The ticket is the server's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTicket {
    /// For how many seconds it is meant to hold; 604800 at the most, says the standard.
    pub lifetime: u32,
    /// How many octets may be sent before the handshake is done; none: no early data.
    pub early_data: Option<u32>,
}

impl SessionTicket {
    /// Reads the body of the message. None when a length does not fit.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut body = Bytes(body);
        let lifetime = number(&mut body)?;
        let _age_add = number(&mut body)?;
        body.vec8()?;
        body.vec16()?;
        let mut extensions = body.vec16()?;
        let mut early_data = None;
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let mut data = extensions.vec16()?;
            if kind == EARLY_DATA {
                early_data = Some(number(&mut data)?);
            }
        }
        body.is_empty().then_some(Self {
            lifetime,
            early_data,
        })
    }

    /// Tickets among whole handshake messages, one after the other; what is cut off at the end is left out.
    pub fn all(messages: &[u8]) -> Vec<Self> {
        let mut rest = Bytes(messages);
        let mut found = Vec::new();
        while let (Some(kind), Some(body)) = (rest.u8(), rest.vec24()) {
            if kind == 4 {
                found.extend(Self::parse(body.0));
            }
        }
        found
    }
}

fn number(octets: &mut Bytes<'_>) -> Option<u32> {
    Some(u32::from_be_bytes(octets.take(4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: [u8; 25] = [
        0, 0, 0x1c, 0x20, 1, 2, 3, 4, 1, 9, 0, 2, 7, 7, 0, 8, 0, 42, 0, 4, 0, 0, 0x40, 0, 0,
    ];

    #[test]
    fn lifetime_and_early_data_are_read() {
        let ticket = SessionTicket::parse(&TICKET[..24]).unwrap();
        assert_eq!((ticket.lifetime, ticket.early_data), (7200, Some(16_384)));
        let mut without = TICKET[..16].to_vec();
        without[15] = 0;
        assert_eq!(SessionTicket::parse(&without).unwrap().early_data, None);
    }

    #[test]
    fn lengths_that_do_not_fit_are_none() {
        assert_eq!(SessionTicket::parse(&TICKET), None);
        for cut in 0..24 {
            assert_eq!(SessionTicket::parse(&TICKET[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn tickets_are_found_among_messages() {
        let mut messages = vec![24, 0, 0, 1, 0];
        for _ in 0..2 {
            messages.extend([4, 0, 0, 24]);
            messages.extend(&TICKET[..24]);
        }
        assert_eq!(SessionTicket::all(&messages).len(), 2);
        messages.pop();
        assert_eq!(SessionTicket::all(&messages).len(), 1);
    }
}
