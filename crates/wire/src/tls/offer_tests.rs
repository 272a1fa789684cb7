//! What [`super::Offer`] writes, [`crate::tls::HelloReader`] reads back.

use proptest::prelude::*;

use super::*;
use crate::tls::{ClientHello, HelloReader, Progress};

fn read(bytes: &[u8]) -> ClientHello {
    match HelloReader::default().push(bytes) {
        Progress::Hello(hello) => *hello,
        other => panic!("{other:?}"),
    }
}

fn full() -> Offer {
    Offer {
        suites: vec![0x1301, 0xc02b, 0x5600],
        versions: vec![TLS13, TLS12],
        server_name: Some("mx.example.org".into()),
        alpn: vec![b"smtp".to_vec()],
        key_shares: Some(vec![(0x1d, vec![9; 32])]),
        has_status_request: true,
        has_encrypt_then_mac: true,
        has_ticket: true,
        others: vec![(15, vec![1])],
        ..Offer::new(TLS13, [7; 32])
    }
}

#[test]
fn every_field_comes_back() {
    let hello = read(&full().record());
    assert_eq!(hello.legacy_version, TLS12);
    assert_eq!(hello.random, [7; 32]);
    assert_eq!(hello.cipher_suites, [0x1301, 0xc02b, 0x5600]);
    assert_eq!(hello.supported_versions, [TLS13, TLS12]);
    assert_eq!(hello.sni.as_deref(), Some("mx.example.org"));
    assert_eq!(hello.alpn, [b"smtp"]);
    assert_eq!(hello.groups, COMMON_GROUPS);
    assert_eq!(hello.key_shares, [0x1d]);
    assert_eq!(hello.signature_schemes, ALL_SCHEMES);
    assert!(hello.has_ems && hello.has_renegotiation_info);
    for kind in [5, 15, 22, 35] {
        assert!(hello.extensions.contains(&kind), "{kind}");
    }
}

#[test]
fn ssl3_has_no_extensions() {
    let offer = Offer {
        suites: vec![0x0a],
        ..Offer::new(SSL3, [1; 32])
    };
    let bytes = offer.record();
    assert_eq!(bytes[..5], [22, 3, 0, 0, 45]);
    assert_eq!(read(&bytes).extensions, []);
}

#[test]
fn an_address_is_no_server_name_and_a_last_dot_is_not_sent() {
    for (name, sent) in [
        ("192.0.2.1", None),
        ("::1", None),
        ("MX.example.", Some("mx.example")),
    ] {
        let offer = Offer {
            server_name: Some(name.into()),
            ..full()
        };
        assert_eq!(read(&offer.record()).sni.as_deref(), sent, "{name}");
    }
}

#[test]
fn padding_reaches_the_length_asked_for() {
    for at_least in [0, 300, 512, 1024, 4096, 16000] {
        let offer = Offer { at_least, ..full() };
        assert!(offer.message().len() >= at_least);
        assert_eq!(read(&offer.record()).cipher_suites, offer.suites);
    }
}

#[test]
fn grease_stands_first_everywhere() {
    let hello = read(
        &Offer {
            grease: Some(3),
            ..full()
        }
        .record(),
    );
    assert_eq!(hello.cipher_suites[0], 0x3a3a);
    assert_eq!(hello.groups[0], 0x3a3a);
    assert_eq!(hello.supported_versions[0], 0x3a3a);
    assert_eq!(hello.extensions[0], 0x3a3a);
}

proptest! {
    /// However it is cut into records, it is the same hello.
    #[test]
    fn fragments_are_one_hello(fragment in 1_usize..600) {
        prop_assert_eq!(read(&full().records(fragment)), read(&full().record()));
    }
}
