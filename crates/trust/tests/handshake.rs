//! The client against a server, both in memory: a verdict that is bad ends the handshake with the alert that fits, or is
//! only noted, as the terms say.

mod support;

use gatepost_testkit::pki::{Authority, DAY, now, pem};
use gatepost_trust::identity::{IdentityError, client_key};
use gatepost_trust::pin::{Pin, PinSet, TrustException};
use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
use gatepost_trust::verify::{
    Alpn, ClientTls, Crls, Demand, Outcome, Reason, Reference, RevocationMode, Shares, Terms,
    VerifiedBy, Versions, Way, Ways,
};
use rcgen::{CrlDistributionPoint, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{AlertDescription, CertificateError, Error, HandshakeKind, ProtocolVersion};
use support::{Server, connect, connect_through, handshake, roots, terms};

#[test]
fn a_good_certificate_is_verified() {
    let root = Authority::root("Root");
    let middle = root.authority("Middle");
    let leaf = middle.issue(&["mail.example.org"]);
    let server = Server::new(&leaf).with(&[&middle.certificate]);
    for versions in [Versions::Both, Versions::Only12, Versions::Only13] {
        let terms = Terms {
            versions,
            ..terms("mail.example.org", &root)
        };
        let run = connect(terms, &server, Shares::Hybrid);
        assert_eq!(run.error, None);
        let verdict = run.verdict.unwrap();
        assert_eq!(verdict.outcome, Outcome::Verified(VerifiedBy::Pkix));
        assert_eq!(run.chain.len(), 2);
    }
}

#[test]
fn a_bad_verdict_ends_the_handshake_with_its_alert() {
    // [ID-01] [ID-09] [TLS-STRICT-01]
    let root = Authority::root("Root");
    let cases = [
        (
            root.issue(&["other.example.org"]),
            AlertDescription::BadCertificate,
        ),
        (
            root.issue_with(&["mail.example.org"], |it| {
                it.not_after = (now() - DAY).into();
            }),
            AlertDescription::CertificateExpired,
        ),
        (
            Authority::root("Stranger").issue(&["mail.example.org"]),
            AlertDescription::UnknownCA,
        ),
    ];
    for (leaf, alert) in cases {
        for versions in [Versions::Only12, Versions::Only13] {
            let terms = Terms {
                versions,
                ..terms("mail.example.org", &root)
            };
            let run = connect(terms, &Server::new(&leaf), Shares::Hybrid);
            assert_eq!(run.alert, Some(alert));
            assert_eq!(run.verdict.unwrap().outcome, Outcome::Unverified);
        }
    }
}

#[test]
fn where_encryption_is_all_that_is_demanded_it_goes_on_unverified() {
    // [OS-02]
    let leaf = Authority::root("Stranger").issue(&["other.example.org"]);
    let terms = Terms {
        demand: Demand::Encrypted,
        ..terms("mail.example.org", &Authority::root("Root"))
    };
    let run = connect(terms, &Server::new(&leaf), Shares::Hybrid);
    assert_eq!(run.error, None);
    let verdict = run.verdict.unwrap();
    assert_eq!(verdict.outcome, Outcome::Unverified);
    assert!(matches!(
        verdict.reason(),
        Some(Reason::UnknownIssuer { .. })
    ));
}

#[test]
fn the_hello_is_what_the_profile_says() {
    // [TLS-SNI-01] [PQ-01] [TLS-ALPN-02]
    let root = Authority::root("Root");
    let leaf = root.issue(&["mail.example.org", "192.0.2.1"]);
    let server = Server::new(&leaf);
    let run = connect(terms("mail.example.org", &root), &server, Shares::Hybrid);
    assert_eq!(run.sni.as_deref(), Some("mail.example.org"));
    assert_eq!(run.alpn_offered, None);
    assert!(run.hello.len() > 1200, "both shares: {}", run.hello.len());
    assert_eq!(run.group.as_deref(), Some("X25519MLKEM768"));
    assert_eq!(run.version, Some(ProtocolVersion::TLSv1_3));
    let classic = connect(terms("mail.example.org", &root), &server, Shares::Classic);
    assert!(
        classic.hello.len() < 500,
        "one share: {}",
        classic.hello.len()
    );
    assert_eq!(classic.group.as_deref(), Some("X25519"));
    // The hybrid is still listed: a server that wants it asks for it.
    let strict = Server {
        hybrid_only: true,
        ..server.clone()
    };
    let asked = connect(terms("mail.example.org", &root), &strict, Shares::Classic);
    assert_eq!(asked.group.as_deref(), Some("X25519MLKEM768"));
    let silent = Terms {
        sni: None,
        ..terms("mail.example.org", &root)
    };
    assert_eq!(connect(silent, &server, Shares::Hybrid).sni, None);
    let address = Terms {
        alpn: Alpn::Imap,
        ..Terms::for_host(Reference::host("192.0.2.1").unwrap(), roots(&root))
    };
    let run = connect(address, &server, Shares::Hybrid);
    assert_eq!(run.sni, None, "no SNI for an address");
    assert_eq!(run.alpn_offered, Some(vec![b"imap".to_vec()]));
    assert_eq!(
        run.verdict.unwrap().outcome,
        Outcome::Verified(VerifiedBy::Pkix)
    );
}

#[test]
fn a_downgrade_by_somebody_on_the_way_is_noticed() {
    // [TLS-VER-05] both can speak TLS 1.3; somebody hides that from the server, which marks its answer.
    let root = Authority::root("Root");
    let server = Server::new(&root.issue(&["mail.example.org"]));
    let hide = |hello: &mut Vec<u8>| {
        // supported_versions (43) becomes an extension nobody knows: length, list, 1.3 and 1.2.
        let extension = [0, 43, 0, 5, 4, 3, 4, 3, 3];
        let place = hello.windows(9).position(|it| it == extension).unwrap();
        hello[place] = 0xfa;
    };
    let attempt = ClientTls::new(terms("mail.example.org", &root))
        .attempt(now(), Shares::Hybrid)
        .unwrap();
    let run = connect_through(attempt, &server, hide);
    assert_eq!(run.alert, Some(AlertDescription::IllegalParameter));
    assert!(run.verdict.is_none(), "it ends at the first answer");
}

#[test]
fn broken_hash_functions_are_neither_offered_nor_taken() {
    // [TLS-SIG-01]
    let root = Authority::root("Root");
    let leaf = root.issue(&["mail.example.org"]);
    let run = connect(
        terms("mail.example.org", &root),
        &Server::new(&leaf),
        Shares::Hybrid,
    );
    // signature_algorithms (13): hash functions 1 and 2 are MD5 and SHA-1 (RFC 5246 7.4.1.4.1).
    let place = run.hello.windows(2).enumerate();
    let start = place
        .filter(|(_, it)| *it == [0, 13])
        .map(|(place, _)| place)
        .find(|place| {
            let outer = u16::from_be_bytes([run.hello[place + 2], run.hello[place + 3]]);
            let inner = u16::from_be_bytes([run.hello[place + 4], run.hello[place + 5]]);
            outer == inner + 2
        })
        .unwrap();
    let length = usize::from(run.hello[start + 5]) + 256 * usize::from(run.hello[start + 4]);
    let schemes: Vec<&[u8]> = run.hello[start + 6..start + 6 + length].chunks(2).collect();
    assert!(schemes.contains(&&[4, 3][..]), "ecdsa_secp256r1_sha256");
    assert!(schemes.iter().all(|it| it[0] >= 4), "{schemes:02x?}");
    // A server that signs its key exchange with SHA-1 all the same: the signature is changed in name only.
    let terms = Terms {
        versions: Versions::Only12,
        ..terms("mail.example.org", &root)
    };
    let attempt = ClientTls::new(terms)
        .attempt(now(), Shares::Hybrid)
        .unwrap();
    let rename = |flight: &mut Vec<u8>| {
        // ServerKeyExchange (12): named curve, X25519, 32 octets of key, then the scheme.
        let head = [3, 0, 29, 32];
        let place = flight.windows(4).position(|it| it == head).unwrap() + 4 + 32;
        assert_eq!(flight[place..place + 2], [4, 3]);
        flight[place] = 2;
    };
    let run = handshake(attempt, &Server::new(&leaf), |_| {}, rename);
    assert_eq!(
        run.alert,
        Some(AlertDescription::IllegalParameter),
        "{:?}",
        run.error
    );
}

#[test]
fn sessions_are_not_resumed() {
    // A resumed session would not be judged.
    let root = Authority::root("Root");
    let server = Server::new(&root.issue(&["mail.example.org"]));
    let tls = ClientTls::new(terms("mail.example.org", &root));
    for _ in 0..2 {
        let attempt = tls.attempt(now(), Shares::Hybrid).unwrap();
        let run = connect_through(attempt, &server, |_| {});
        assert_eq!(run.kind, Some(HandshakeKind::Full));
        assert!(run.verdict.is_some());
    }
}

#[test]
fn both_ends_have_the_same_channel_bindings() {
    // [SASL-CB-01] [SASL-CB-02]
    let root = Authority::root("Root");
    let leaf = root.issue(&["mail.example.org"]);
    for versions in [Versions::Only12, Versions::Only13] {
        let terms = Terms {
            versions,
            ..terms("mail.example.org", &root)
        };
        let run = connect(terms, &Server::new(&leaf), Shares::Hybrid);
        assert!(run.exporter_of_server.is_some());
        let captured = run.captured.unwrap();
        let random = run.server_random.unwrap();
        let binding = captured.channel_binding(run.suite.unwrap(), Some(&random));
        assert_eq!(binding, run.exporter_of_server);
        let hash = run.attempt.end_point_hash().unwrap();
        let expected = Pin::of_certificate(&leaf.certificate);
        assert_eq!(Pin::Certificate(hash[..].try_into().unwrap()), expected);
    }
}

#[test]
fn a_certificate_of_our_own_is_shown_only_when_there_is_one() {
    let root = Authority::root("Root");
    let leaf = root.issue(&["mail.example.org"]);
    let own = root.issue_with(&["client.example.org"], |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let asking = Server {
        asks_for: Some(root.certificate.clone()),
        ..Server::new(&leaf)
    };
    let base = terms("mail.example.org", &root);
    let run = connect(base.clone(), &asking, Shares::Hybrid);
    assert_eq!(run.client_chain, None);
    let chain = pem("CERTIFICATE", &own.certificate);
    let client = client_key(chain.as_bytes(), own.key.serialize_pem().as_bytes()).unwrap();
    let terms = Terms {
        client: Some(client),
        ..base
    };
    let run = connect(terms, &asking, Shares::Hybrid);
    assert_eq!(run.client_chain, Some(vec![own.certificate.clone()]));
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(
        client_key(chain.as_bytes(), other.as_bytes()).unwrap_err(),
        IdentityError::KeyMismatch
    );
}

#[test]
fn a_status_still_to_be_fetched_lets_the_handshake_end_and_nothing_more() {
    // [REV-02]
    let root = Authority::root("Root");
    let leaf = root.issue_with(&["mail.example.org"], |it| {
        it.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec!["http://crl.example/root.crl".into()],
        }];
    });
    let terms = Terms {
        revocation: RevocationMode::Hard,
        ..terms("mail.example.org", &root)
    };
    let judged = |list: Vec<u8>| {
        let run = connect(terms.clone(), &Server::new(&leaf), Shares::Hybrid);
        assert_eq!(run.error, None);
        let verdict = run.verdict.unwrap();
        assert_eq!(verdict.outcome, Outcome::Unverified);
        assert!(verdict.waits_for_crls());
        let mut crls = Crls::none();
        crls.add(&list).unwrap();
        let verdict = run.attempt.rejudge(&crls, now()).unwrap();
        assert_eq!(run.attempt.verdict(), Some(verdict.clone()));
        verdict
    };
    assert_eq!(
        judged(root.crl(&[])).outcome,
        Outcome::Verified(VerifiedBy::Pkix)
    );
    let revoked = judged(root.crl(&[&leaf.serial]));
    assert!(matches!(revoked.reason(), Some(Reason::Revoked(_))));
    // Without a place to fetch from, hard is hard.
    let silent = root.issue(&["mail.example.org"]);
    let run = connect(terms.clone(), &Server::new(&silent), Shares::Hybrid);
    assert_eq!(run.alert, Some(AlertDescription::UnknownCA));
}

#[test]
fn pins_records_and_exceptions_decide_inside_the_handshake() {
    // [PIN-01] [PIN-02] [CONF-12]
    let root = Authority::root("Root");
    let stranger = Authority::root("Stranger");
    let leaf = stranger.issue(&["mail.example.org"]);
    let base = terms("mail.example.org", &root);
    let run = |terms: &Terms| connect(terms.clone(), &Server::new(&leaf), Shares::Hybrid);
    let record = Tlsa::for_certificate(&leaf.certificate, 3, 1, 1).unwrap();
    let dane = Terms {
        ways: Ways::Any(vec![Way::Dane(
            TlsaSet::new(&[record], Usages::DaneOnly).into(),
        )]),
        ..base.clone()
    };
    assert_eq!(
        run(&dane).verdict.unwrap().verified(),
        Some(VerifiedBy::Dane)
    );
    let pinned = Terms {
        pins: PinSet::new(vec![Pin::Spki([7; 32])]),
        ..dane
    };
    let refused = run(&pinned);
    assert_eq!(refused.alert, Some(AlertDescription::CertificateUnknown));
    let Pin::Certificate(hash) = Pin::of_certificate(&leaf.certificate) else {
        panic!("a pin of a certificate");
    };
    let excepted = Terms {
        exception: Some(TrustException::danger_for_certificate(hash)),
        ..base
    };
    let run = run(&excepted);
    assert_eq!(run.error, None);
    assert_eq!(run.verdict.unwrap().outcome, Outcome::Unverified);
}

#[test]
fn without_the_extended_master_secret_there_is_no_tls_1_2() {
    // [TLS-EMS-01] [SASL-CB-02]
    let root = Authority::root("Root");
    let server = Server::new(&root.issue(&["mail.example.org"]));
    let terms = Terms {
        versions: Versions::Only12,
        ..terms("mail.example.org", &root)
    };
    let attempt = ClientTls::new(terms)
        .attempt(now(), Shares::Hybrid)
        .unwrap();
    let hide = |hello: &mut Vec<u8>| {
        let place = hello.windows(4).position(|it| it == [0, 23, 0, 0]).unwrap();
        hello[place] = 0xfa;
    };
    let run = connect_through(attempt, &server, hide);
    assert_eq!(run.alert, Some(AlertDescription::HandshakeFailure));
}

#[test]
fn a_protocol_we_did_not_offer_is_not_spoken() {
    // [TLS-ALPN-01]
    let root = Authority::root("Root");
    let server = Server {
        alpn: Some(b"imap".to_vec()),
        ..Server::new(&root.issue(&["mail.example.org"]))
    };
    let attempt = |alpn| {
        let terms = Terms {
            versions: Versions::Only12,
            alpn,
            ..terms("mail.example.org", &root)
        };
        ClientTls::new(terms)
            .attempt(now(), Shares::Hybrid)
            .unwrap()
    };
    assert_eq!(
        connect_through(attempt(Alpn::Imap), &server, |_| {}).error,
        None
    );
    let refused = connect_through(attempt(Alpn::Pop3), &server, |_| {});
    let expected = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(refused.error, Some(expected));
    let rename = |flight: &mut Vec<u8>| {
        let place = flight.windows(4).position(|it| it == b"imap").unwrap();
        flight[place..place + 4].copy_from_slice(b"http");
    };
    let run = handshake(attempt(Alpn::Imap), &server, |_| {}, rename);
    assert_eq!(run.alert, Some(AlertDescription::IllegalParameter));
}

#[test]
fn who_shows_a_certificate_without_having_its_key_is_refused() {
    // [TLS-SIG-01]
    let root = Authority::root("Root");
    let leaf = root.issue(&["mail.example.org"]);
    let thief = KeyPair::generate().unwrap();
    let server = Server::with_key(&leaf.certificate, &thief.serialize_pem());
    for versions in [Versions::Only12, Versions::Only13] {
        for demand in [Demand::Verified, Demand::Encrypted] {
            let terms = Terms {
                versions,
                demand,
                ..terms("mail.example.org", &root)
            };
            let run = connect(terms, &server, Shares::Hybrid);
            let expected = Error::InvalidCertificate(CertificateError::BadSignature);
            assert_eq!(run.error, Some(expected), "{versions:?} {demand:?}");
            assert_eq!(run.alert, Some(AlertDescription::DecryptError));
        }
    }
}
