//! Known answers and properties of [`super::TlsStream`].

use proptest::prelude::*;

use super::*;
use crate::tls::Offer;
use crate::tls::bytes::put_vec;

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 3, 3];
    put_vec(&mut out, 2, payload);
    out
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    put_vec(&mut out, 3, body);
    out
}

fn server_hello(suite: u16, random: [u8; 32], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(random);
    body.push(0);
    body.extend(suite.to_be_bytes());
    body.push(0);
    let mut all = Vec::new();
    for (kind, data) in extensions {
        all.extend(kind.to_be_bytes());
        put_vec(&mut all, 2, data);
    }
    put_vec(&mut body, 2, &all);
    message(2, &body)
}

fn chain() -> Vec<u8> {
    let mut list = Vec::new();
    put_vec(&mut list, 3, &[0x30; 700]);
    put_vec(&mut list, 3, &[0x31; 900]);
    let mut body = Vec::new();
    put_vec(&mut body, 3, &list);
    message(11, &body)
}

/// A TLS 1.2 server's first words and what follows them.
fn tls12_flight() -> Vec<u8> {
    let mut exchange = vec![3, 0, 29, 32];
    exchange.extend([9; 32]);
    exchange.extend([8, 4, 0, 2, 1, 1]);
    let mut messages = server_hello(
        0xc02f,
        [5; 32],
        &[
            (0xff01, &[0]),
            (23, &[]),
            (35, &[]),
            (16, b"\0\x05\x04smtp"),
        ],
    );
    messages.extend(chain());
    messages.extend(message(12, &exchange));
    messages.extend(message(13, &[1, 1, 0, 0, 0, 0]));
    messages.extend(message(14, &[]));
    let mut out: Vec<u8> = messages.chunks(500).flat_map(|it| record(22, it)).collect();
    out.extend(record(22, &message(4, &[0, 0, 28, 32, 0, 1, 7])));
    out.extend(record(20, &[1]));
    out.extend(record(22, &[0xaa; 40]));
    out.extend(record(23, &[0xbb; 90]));
    out.extend(record(21, &[0xcc; 26]));
    out
}

fn read(pieces: &[&[u8]]) -> Vec<Piece> {
    let mut stream = TlsStream::default();
    let mut seen = Vec::new();
    for octets in pieces {
        stream.push(octets);
        seen.extend(std::iter::from_fn(|| stream.next()));
    }
    seen
}

#[test]
fn a_tls_1_2_server_is_read_to_its_encrypted_records() {
    let seen = read(&[&tls12_flight()]);
    let Piece::ServerHello(hello) = &seen[0] else {
        panic!("{seen:?}")
    };
    assert_eq!((hello.version(), hello.suite), (0x0303, 0xc02f));
    assert!(
        hello.has_ems && hello.has_renegotiation_info && hello.has_ticket && !hello.has_heartbeat
    );
    assert_eq!(hello.alpn.as_deref(), Some(&b"smtp"[..]));
    let rest = [
        Piece::Certificate(vec![vec![0x30; 700], vec![0x31; 900]]),
        Piece::KeyExchange(KeyExchange::Ec {
            group: 29,
            scheme: Some(0x0804),
        }),
        Piece::CertificateRequest,
        Piece::ServerHelloDone,
        Piece::Ticket { lifetime: 7200 },
        Piece::ChangeCipherSpec,
        Piece::Encrypted {
            kind: 22,
            length: 40,
        },
        Piece::Encrypted {
            kind: 23,
            length: 90,
        },
        Piece::Encrypted {
            kind: 21,
            length: 26,
        },
    ];
    assert_eq!(seen[1..], rest);
}

#[test]
fn a_retry_names_the_group_and_the_second_hellos_are_seen() {
    let retry_random = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
        0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8,
        0x33, 0x9c,
    ];
    let mut server = record(
        22,
        &server_hello(0x1301, retry_random, &[(43, &[3, 4]), (51, &[0x11, 0xec])]),
    );
    server.extend(record(20, &[1]));
    server.extend(record(
        22,
        &server_hello(
            0x1301,
            [4; 32],
            &[(43, &[3, 4]), (51, &[0x11, 0xec, 0, 1, 9])],
        ),
    ));
    server.extend(record(23, &[1; 60]));
    let seen = read(&[&server]);
    let Piece::HelloRetryRequest(retry) = &seen[0] else {
        panic!("{seen:?}")
    };
    assert_eq!((retry.version(), retry.group), (0x0304, Some(0x11ec)));
    assert_eq!(seen[1], Piece::ChangeCipherSpec);
    assert!(matches!(&seen[2], Piece::ServerHello(hello) if hello.version() == 0x0304));
    assert_eq!(
        seen[3],
        Piece::Encrypted {
            kind: 23,
            length: 60
        }
    );

    let hello = Offer {
        suites: vec![0x1301],
        ..Offer::new(0x0304, [1; 32])
    }
    .record();
    let client = [&hello[..], &record(20, &[1]), &hello, &record(23, &[2; 50])].concat();
    let kinds: Vec<_> = read(&[&client])
        .iter()
        .map(std::mem::discriminant)
        .collect();
    assert_eq!(kinds.len(), 4);
    assert_eq!(kinds[0], kinds[2]);
}

#[test]
fn alerts_in_clear_are_told_and_encrypted_ones_are_not() {
    assert_eq!(
        read(&[&record(21, &[2, 70])]),
        [Piece::Alert {
            level: 2,
            description: 70
        }]
    );
    assert_eq!(read(&[&record(21, &[2])]), [Piece::Malformed]);
    let after = [record(20, &[1]), record(21, &[2, 70])].concat();
    assert_eq!(
        read(&[&after])[1],
        Piece::Encrypted {
            kind: 21,
            length: 2
        }
    );
}

#[test]
fn clear_text_is_told_from_the_first_octet() {
    for text in [&b"4"[..], b"220 mx", b"* OK", b"\x80\x2e", b"\x16\x02"] {
        assert_eq!(read(&[text]), [Piece::NotTls], "{text:?}");
    }
    let later = [record(22, &message(14, &[])), b"oops".to_vec()].concat();
    assert_eq!(read(&[&later]), [Piece::ServerHelloDone, Piece::Malformed]);
}

#[test]
fn what_cannot_be_ends_the_reading() {
    let half = record(22, &chain()[..50]);
    for other in [record(21, &[2, 40]), record(20, &[1]), record(23, &[0; 9])] {
        assert_eq!(read(&[&half, &other]), [Piece::Malformed]);
    }
    assert_eq!(read(&[&record(22, &[])]), [Piece::Malformed]);
    assert_eq!(
        read(&[&record(22, &message(2, &[3, 3]))]),
        [Piece::Malformed]
    );
    assert_eq!(
        read(&[&record(22, &message(11, &[0, 0, 5, 0, 0, 9]))]),
        [Piece::Malformed]
    );
    assert_eq!(read(&[&[22, 3, 1, 0xff, 0xff]]), [Piece::Malformed]);
    let twice = server_hello(0xc02f, [5; 32], &[(23, &[]), (23, &[])]);
    assert_eq!(read(&[&record(22, &twice)]), [Piece::Malformed]);
}

#[test]
fn memory_is_bounded() {
    let mut stream = TlsStream::with_limit(1000);
    stream.push(&record(22, &[11, 0, 3, 0xe9]));
    assert_eq!(stream.next(), Some(Piece::TooLarge));
    stream.push(&[0; 4096]);
    assert_eq!((stream.next(), stream.pending()), (None, 0));

    let mut stream = TlsStream::default();
    for _ in 0..1000 {
        stream.push(&record(23, &[0; 16384]));
        assert!(matches!(stream.next(), Some(Piece::Encrypted { .. })));
        assert_eq!(stream.pending(), 0);
    }
    assert!(stream.raw.capacity() < 64 * 1024);
}

#[test]
fn cut_at_every_octet_it_is_the_same() {
    let whole = tls12_flight();
    let expected = read(&[&whole]);
    for cut in 0..=whole.len() {
        assert_eq!(read(&[&whole[..cut], &whole[cut..]]), expected, "{cut}");
    }
    let single: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(read(&single), expected);
}

proptest! {
    /// Changed octets and noise never panic, and any cut tells the same.
    #[test]
    fn noise_is_the_same_in_any_cut(at in 0_usize..4000, to: u8, size in 1_usize..900, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut octets = tls12_flight();
        let at = at % octets.len();
        octets[at] = to;
        for octets in [octets, noise] {
            let cut: Vec<&[u8]> = octets.chunks(size).collect();
            prop_assert_eq!(read(&cut), read(&[&octets]));
        }
    }
}
