//! The client against a server, both in memory: a verdict that is bad ends the handshake with the alert that fits, or is
//! only noted, as the terms say.

mod support;

use gatepost_testkit::pki::{Authority, DAY, now};
use gatepost_trust::verify::{
    Alpn, Demand, Outcome, Reason, Reference, Shares, Terms, VerifiedBy, Versions,
};
use rustls::{AlertDescription, ProtocolVersion};
use support::{Server, connect, roots, terms};

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
    // [ID-09] [SVC-02]
    let root = Authority::root("Root");
    let cases = [
        (
            root.issue(&["other.example.org"]),
            AlertDescription::BadCertificate,
        ),
        (
            root.issue_with(&["mail.example.org"], |it| {
                it.not_after = (now() - DAY).into()
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
