//! The reader of what stands in clear on a TLS connection: any cut tells the same.

use gatepost_wire::tls::{Offer, Piece, SessionTicket, TlsStream, ssl2};

use crate::Target;
use crate::behaviour;
use crate::input::Input;

/// One direction of a TLS connection in segments.
pub const STREAM: Target = Target {
    name: "tls",
    run: stream,
    seeds,
    words: &[
        "\x16\x03\x03",
        "\x15\x03\x03",
        "\x14\x03\x03\x00\x01\x01",
        "\x02\x00\x00",
        "\x0b\x00",
    ],
};

/// Reads one direction, cut and whole.
///
/// # Panics
/// When the cut changes what is read.
pub fn stream(data: &[u8]) {
    let input = Input::parse(data);
    let whole = read(&[input.clear]);
    let cut = read(&input.segments(input.clear));
    assert_eq!(whole, cut, "the cut changes what is read");
    for piece in &whole {
        behaviour::note(std::mem::discriminant(piece));
    }
    let _ = ssl2::read(input.clear);
    behaviour::note(SessionTicket::all(input.clear).len());
}

fn read(segments: &[&[u8]]) -> Vec<Piece> {
    let mut stream = TlsStream::with_limit(4096);
    let mut seen = Vec::new();
    for segment in segments {
        stream.push(segment);
        seen.extend(std::iter::from_fn(|| stream.next()));
    }
    seen
}

fn seeds() -> Vec<Vec<u8>> {
    let hello = Offer {
        suites: vec![0x1301, 0xc02f],
        server_name: Some("mx.example.org".into()),
        ..Offer::new(0x0304, [1; 32])
    };
    let mut server = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    server.extend([5; 32]);
    server.extend([0, 0xc0, 0x2f, 0]);
    server.extend([22, 3, 3, 0, 13, 11, 0, 0, 9, 0, 0, 6, 0, 0, 3, 0x30, 1, 0]);
    server.extend([22, 3, 3, 0, 14, 12, 0, 0, 10, 3, 0, 29, 1, 4, 8, 4, 0, 1, 1]);
    server.extend([
        22, 3, 3, 0, 4, 14, 0, 0, 0, 20, 3, 3, 0, 1, 1, 22, 3, 3, 0, 2, 7, 7,
    ]);
    vec![
        Input::build(0, &[9, 40], &hello.records(50)),
        Input::build(0, &[6, 6], &server),
        Input::build(0, &[], &[21, 3, 1, 0, 2, 2, 40]),
        Input::build(0, &[], &ssl2::client_hello([7; 16])),
        Input::build(0, &[], b"220 mx.example.org ESMTP\r\n"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_read_as_what_they_are() {
        let seeds = seeds();
        let first = |at: usize| read(&[Input::parse(&seeds[at]).clear]);
        assert!(matches!(first(0)[..], [Piece::ClientHello(_)]));
        let kinds: Vec<_> = first(1);
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        assert!(!kinds.contains(&Piece::Malformed), "{kinds:?}");
        assert!(matches!(first(2)[..], [Piece::Alert { .. }]));
        assert_eq!(first(3), [Piece::NotTls]);
    }
}
