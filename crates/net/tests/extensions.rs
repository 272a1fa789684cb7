//! The extensions an endpoint of TLS 1.3 must know, in both roles [TLS-MTI-01] (RFC 9846 9.2).
//!
//! The server that gives a cookie is scripted, for those of other engines at hand (`openssl s_server -stateless`) end the connection behind it.
//!
//! `signature_algorithms_cert` is not sent: our policy is the same for certificates as for handshakes, and then it may be left out
//! (RFC 9846 4.2.3).

mod support;

use std::io::{Read as _, Write as _};
use std::time::SystemTime;

use gatepost_trust::verify::{ClientTls, Shares};
use gatepost_wire::tls::{
    ClientHello, HelloReader, Offer, Piece, Progress, TLS12, TLS13, TlsStream,
};
use rustls::ClientConnection;
use support::caller::terms;
use support::client::connect;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;
const COOKIE: u16 = 44;
const SIGNATURE_ALGORITHMS_CERT: u16 = 50;
const KEY_SHARE: u16 = 51;
/// secp256r1, which is in no first hello of ours.
const P256: u16 = 0x0017;
const MISSING_EXTENSION: u8 = 109;

/// Our client, with its engine.
fn client(shares: Shares) -> ClientConnection {
    let attempt = ClientTls::new(terms()).attempt(SystemTime::now(), shares);
    let attempt = attempt.unwrap();
    ClientConnection::new(attempt.config, attempt.name).unwrap()
}

fn written(client: &mut ClientConnection) -> Vec<u8> {
    let mut octets = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut octets).unwrap();
    }
    octets
}

fn read(octets: &[u8]) -> ClientHello {
    match HelloReader::default().push(octets) {
        Progress::Hello(hello) => *hello,
        other => panic!("{other:?}"),
    }
}

fn vector(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&length.to_be_bytes(), data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(data)].concat()
}

/// A server that keeps no state asks for another group, and gives a cookie along.
fn retry(hello: &[u8], cookie: &[u8]) -> Vec<u8> {
    // The record's header 5, the message's 4, version 2, random 32; then the session id.
    let session_id = &hello[43..=43 + usize::from(hello[43])];
    // The SHA-256 of "HelloRetryRequest" (RFC 9846 4.1.3).
    let random = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
        0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8,
        0x33, 0x9c,
    ];
    let extensions = [
        extension(SUPPORTED_VERSIONS, &TLS13.to_be_bytes()),
        extension(KEY_SHARE, &P256.to_be_bytes()),
        extension(COOKIE, &vector(cookie)),
    ];
    let body = [
        &[3, 3][..],
        &random,
        session_id,
        // TLS_AES_128_GCM_SHA256, no compression.
        &[0x13, 0x01, 0],
        &vector(&extensions.concat()),
    ];
    let message = [&[2, 0][..], &vector(&body.concat())].concat();
    [&[22, 3, 3][..], &vector(&message)].concat()
}

#[test]
fn our_hello_has_the_extensions_of_tls_1_3() {
    // [TLS-MTI-01]
    for shares in [Shares::Hybrid, Shares::Classic] {
        let hello = read(&written(&mut client(shares)));
        for kind in [
            SERVER_NAME,
            SUPPORTED_GROUPS,
            SIGNATURE_ALGORITHMS,
            SUPPORTED_VERSIONS,
            KEY_SHARE,
        ] {
            assert!(hello.extensions.contains(&kind), "{kind}: {hello:?}");
        }
        assert!(hello.supported_versions.contains(&TLS13));
        assert_eq!(hello.sni.as_deref(), Some("mail.example"));
        assert!(hello.groups.contains(&P256) && !hello.key_shares.contains(&P256));
        assert!(!hello.key_shares.is_empty() && !hello.signature_schemes.is_empty());
        // None was given.
        assert!(!hello.extensions.contains(&COOKIE));
    }
}

#[test]
fn our_client_brings_a_cookie_back() {
    // [TLS-MTI-01] RFC 9846 4.1.4, 4.2.2
    let mut client = client(Shares::Hybrid);
    let first = written(&mut client);
    let cookie: Vec<u8> = (0..=255).collect();
    client.read_tls(&mut &retry(&first, &cookie)[..]).unwrap();
    client.process_new_packets().unwrap();
    let second = written(&mut client);
    // Before its second hello stands a record that says nothing (RFC 9846 D.4).
    let second = second.strip_prefix(&[20, 3, 3, 0, 1, 1]).unwrap_or(&second);
    let hello = read(second);
    assert_eq!(hello.key_shares, [P256]);
    let brought = extension(COOKIE, &vector(&cookie));
    assert!(second.windows(brought.len()).any(|it| it == brought));
    // What was said before is said again (RFC 9846 4.1.2).
    let before = read(&first);
    assert_eq!(hello.random, before.random);
    assert_eq!(hello.signature_schemes, before.signature_schemes);
    assert_eq!(hello.supported_versions, before.supported_versions);
    assert_eq!((hello.sni, hello.groups), (before.sni, before.groups));
}

#[test]
fn our_client_takes_no_second_request() {
    // [TLS-MTI-01] RFC 9846 4.1.4: unexpected_message
    let mut client = client(Shares::Hybrid);
    let first = written(&mut client);
    let retry = retry(&first, b"cookie");
    client.read_tls(&mut &retry[..]).unwrap();
    client.process_new_packets().unwrap();
    written(&mut client);
    client.read_tls(&mut &retry[..]).unwrap();
    assert!(client.process_new_packets().is_err());
    let last = written(&mut client);
    assert_eq!(last[..7], [21, 3, 3, 0, 2, 2, 10]);
}

/// A hello of TLS 1.3 with everything it must have, and no key share.
fn whole() -> Offer {
    Offer {
        suites: vec![0x1301],
        server_name: Some("mail.example".into()),
        // For certificates: ecdsa_secp256r1_sha256.
        others: vec![(SIGNATURE_ALGORITHMS_CERT, vec![0, 2, 4, 3])],
        ..Offer::new(TLS13, [7; 32])
    }
}

/// The first record of our server's answer.
fn answer(offer: &Offer) -> Vec<u8> {
    let server = support::implicit();
    let mut stream = connect(&server);
    stream.write_all(&offer.record()).unwrap();
    let mut record = vec![0; 5];
    stream.read_exact(&mut record).unwrap();
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..]).unwrap();
    record
}

#[test]
fn our_server_reads_them_and_asks_for_a_share() {
    // [TLS-MTI-01]
    let mut pieces = TlsStream::default();
    let answer = answer(&whole());
    pieces.push(&answer);
    let Some(Piece::HelloRetryRequest(hello)) = pieces.next() else {
        panic!("{answer:02x?}")
    };
    assert!(hello.is_retry());
    assert_eq!(hello.version(), TLS13);
    assert_eq!(hello.extensions, [KEY_SHARE, SUPPORTED_VERSIONS]);
    // Of another name there is no certificate: the name was read, too.
    let stranger = Offer {
        server_name: Some("stranger.example".into()),
        ..whole()
    };
    assert_eq!(alert(&stranger), 112);
}

/// The alert our server ends it with.
fn alert(offer: &Offer) -> u8 {
    let answer = answer(offer);
    assert_eq!(answer[..6], [21, 3, 3, 0, 2, 2], "{answer:02x?}");
    answer[6]
}

#[test]
fn our_server_misses_what_a_hello_must_have() {
    // [TLS-MTI-01] RFC 9846 9.2: missing_extension
    let without_schemes = Offer {
        signature_schemes: Vec::new(),
        ..whole()
    };
    let without_groups = Offer {
        groups: Vec::new(),
        ..whole()
    };
    let without_shares = Offer {
        key_shares: None,
        ..whole()
    };
    for offer in [without_schemes, without_groups, without_shares] {
        assert_eq!(alert(&offer), MISSING_EXTENSION, "{offer:?}");
        // One that offers TLS 1.2 too is no better: TLS 1.3 is what it would get.
        let both = Offer {
            versions: vec![TLS13, TLS12],
            suites: vec![0x1301, 0xc02b],
            ..offer
        };
        assert_eq!(alert(&both), MISSING_EXTENSION, "{both:?}");
    }
    // In TLS 1.2 there are no key shares.
    let old = Offer {
        suites: vec![0xc02b],
        server_name: Some("mail.example".into()),
        ..Offer::new(TLS12, [7; 32])
    };
    let answer = answer(&old);
    assert_eq!(answer[..3], [22, 3, 3], "{answer:02x?}");
}
