//! The hellos of SSL 2.0, so that a server can be asked whether it still speaks it (RFC 6176 forbids it to).
//!
//! A record has a header of two octets with the top bit set. Only the two messages that are asked and answered in clear are known here.

use super::bytes::{Bytes, put_vec};

/// Every kind of cipher, three octets each.
const KINDS: [[u8; 3]; 7] = [
    [1, 0, 0x80],
    [2, 0, 0x80],
    [3, 0, 0x80],
    [4, 0, 0x80],
    [5, 0, 0x80],
    [6, 0, 0x40],
    [7, 0, 0xc0],
];

/// A CLIENT-HELLO with every kind of cipher.
pub fn client_hello(challenge: [u8; 16]) -> Vec<u8> {
    let mut body = vec![1, 0, 2, 0, 21, 0, 0, 0, 16];
    body.extend(KINDS.as_flattened());
    body.extend(challenge);
    let mut record = Vec::new();
    put_vec(&mut record, 2, &body);
    if let Some(first) = record.first_mut() {
        *first |= 0x80;
    }
    record
}

/// What a SERVER-HELLO says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The certificate, in DER; empty when none came.
    pub certificate: Vec<u8>,
    /// The kinds of cipher both sides have.
    pub kinds: Vec<[u8; 3]>,
}

/// What has been read as an answer to a hello of SSL 2.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// More octets are needed.
    NeedMore,
    /// A SERVER-HELLO: the server speaks SSL 2.
    Hello(ServerHello),
    /// Something else, such as an alert of TLS: the server does not.
    Other,
}

/// Reads the first octets of the answer.
pub fn read(octets: &[u8]) -> Progress {
    let [high, low, ..] = *octets else {
        return Progress::NeedMore;
    };
    if high & 0x80 == 0 {
        return Progress::Other;
    }
    let length = usize::from(high & 0x7f) << 8 | usize::from(low);
    match octets.get(2) {
        Some(4) => {}
        Some(_) => return Progress::Other,
        None => return Progress::NeedMore,
    }
    match octets.get(2..2 + length) {
        Some(body) => server_hello(body).map_or(Progress::Other, Progress::Hello),
        None => Progress::NeedMore,
    }
}

fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut body = Bytes(body);
    let _kind_hit_type = body.take(3)?;
    if body.u16()? != 2 {
        return None;
    }
    let certificate = usize::from(body.u16()?);
    let kinds = usize::from(body.u16()?);
    let _connection_id = body.u16()?;
    Some(ServerHello {
        certificate: body.take(certificate)?.to_vec(),
        kinds: body.take(kinds)?.as_chunks().0.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut body = vec![4, 0, 1, 0, 2, 0, 2, 0, 3, 0, 4, 0x30, 0, 1, 0, 0x80];
        body.extend([7; 4]);
        let mut record = vec![0x80, u8::try_from(body.len()).unwrap()];
        record.extend(body);
        record
    }

    #[test]
    fn the_hello_has_the_lengths_it_says() {
        let hello = client_hello([5; 16]);
        assert_eq!(hello[..2], [0x80, 46]);
        assert_eq!(hello.len(), 48);
        assert_eq!(hello[2..5], [1, 0, 2]);
    }

    #[test]
    fn an_answer_is_read_whole_and_not_before() {
        let whole = answer();
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Progress::NeedMore, "{cut}");
        }
        let hello = ServerHello {
            certificate: vec![0x30, 0],
            kinds: vec![[1, 0, 0x80]],
        };
        assert_eq!(read(&whole), Progress::Hello(hello));
    }

    #[test]
    fn an_alert_is_something_else() {
        assert_eq!(read(&[21, 3, 1, 0, 2, 2, 70]), Progress::Other);
        assert_eq!(read(b"454 no"), Progress::Other);
        assert_eq!(read(&[0x80, 3, 0, 0, 1]), Progress::Other);
        assert_eq!(read(&[0x80, 3, 4, 0, 1]), Progress::Other);
    }
}
