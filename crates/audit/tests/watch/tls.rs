//! Real handshakes, recorded in memory and put into captures.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use gatepost_testkit::capture::{Call, Capture, Speaker};
use gatepost_testkit::pki::{self, Authority};
use gatepost_trust::verify::Roots;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};

use super::support::{Told, play, watch, watch_file, watcher_with};

type Flight = (Speaker, Vec<u8>);

/// Takes any certificate, or none.
#[derive(Debug)]
struct Opinion(bool);

impl ServerCertVerifier for Opinion {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

struct Handshake {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    version: &'static SupportedProtocolVersion,
    name: &'static str,
    is_trusted: bool,
}

impl Handshake {
    /// A handshake with what follows it, as both sides sent it.
    fn record(self) -> Vec<Flight> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Opinion(self.is_trusted)))
            .with_no_client_auth();
        let name = ServerName::try_from(self.name).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        let mut flights = Vec::new();
        client.writer().write_all(b"a secret word").unwrap();
        loop {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            let _ = server.read_tls(&mut sent.as_slice());
            let _ = server.process_new_packets();
            let mut answered = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answered).unwrap();
            }
            let _ = client.read_tls(&mut answered.as_slice());
            let _ = client.process_new_packets();
            let mut word = [0; 64];
            let _ = server.reader().read(&mut word);
            if sent.is_empty() && answered.is_empty() {
                return flights;
            }
            flights.extend([(Speaker::Client, sent), (Speaker::Server, answered)]);
            flights.retain(|it| !it.1.is_empty());
        }
    }
}

fn authority() -> Authority {
    Authority::root("Root")
}

fn handshake(authority: &Authority, version: &'static SupportedProtocolVersion) -> Handshake {
    let issued = authority.issue(&["mx.example.org"]);
    Handshake {
        key: issued.private_key(),
        chain: vec![issued.certificate],
        version,
        name: "mx.example.org",
        is_trusted: true,
    }
}

fn roots(authority: &Authority) -> Roots {
    let mut roots = Roots::none();
    roots.add(authority.certificate.clone()).unwrap();
    roots
}

const UPGRADE: &str = "
    S: 220 mx.example.org ESMTP
    C: EHLO client.example.net
    S: 250-mx.example.org
    + 250 STARTTLS
    C: STARTTLS
    S: 220 go";

fn put(capture: &mut Capture, call: &mut Call, flights: &[Flight]) {
    for (speaker, octets) in flights {
        for part in octets.chunks(1448) {
            capture.say(call, *speaker, part);
        }
    }
}

fn upgraded(flights: &[Flight]) -> Capture {
    let mut capture = Capture::new();
    let mut call = capture.call(25);
    play(&mut capture, &mut call, UPGRADE);
    put(&mut capture, &mut call, flights);
    capture.close(&mut call);
    capture
}

fn judged(authority: &Authority, handshake: Handshake) -> Told {
    watch_file(
        &upgraded(&handshake.record()).to_pcap(),
        watcher_with(roots(authority)),
    )
}

#[test]
fn a_good_session_is_left_in_peace() {
    let authority = authority();
    let told = judged(&authority, handshake(&authority, &rustls::version::TLS12));
    assert_eq!(told.ids(), Vec::<&str>::new(), "{:?}", told.findings);
    assert_eq!(told.outcome(), "upgraded");
    let told = judged(&authority, handshake(&authority, &rustls::version::TLS13));
    assert_eq!(told.ids(), ["W510"]);
    let tls = told.sessions[0].tls.as_ref().unwrap();
    assert_eq!(
        (tls.version, tls.sni.as_deref()),
        (Some(0x0304), Some("mx.example.org"))
    );
    assert!(tls.ja4.as_deref().unwrap().starts_with("t13d"));
}

#[test]
fn tls_at_once() {
    let authority = authority();
    let flights = handshake(&authority, &rustls::version::TLS13).record();
    for (port, ids, outcome) in [
        (465, &["W510"][..], "Encrypted"),
        (25, &["W403", "W510"], "Encrypted"),
        (443, &[], "none"),
    ] {
        let mut capture = Capture::new();
        let mut call = capture.call(port);
        put(&mut capture, &mut call, &flights);
        capture.close(&mut call);
        let told = watch(&capture);
        assert_eq!(
            (told.ids().as_slice(), told.outcome()),
            (ids, outcome),
            "{port}"
        );
    }
}

#[test]
fn certificates_that_are_not_good() {
    let authority = authority();
    let expired = authority.issue_with(&["mx.example.org"], |it| {
        it.not_after = (pki::now() - pki::DAY).into();
    });
    let soon = authority.issue_with(&["mx.example.org"], |it| {
        it.not_after = (pki::now() + Duration::from_secs(86_400)).into();
    });
    let early = authority.issue_with(&["mx.example.org"], |it| {
        it.not_before = (pki::now() + pki::DAY).into();
    });
    let other = authority.issue(&["other.example"]);
    let stranger = Authority::root("Stranger").issue(&["mx.example.org"]);
    for (issued, id, word) in [
        (expired, "W504", "had ended"),
        (soon, "W504", "within 14 days"),
        (early, "W504", "not good yet"),
        (other, "W506", "other names"),
        (stranger, "W505", "nobody trusted"),
    ] {
        let handshake = Handshake {
            key: issued.private_key(),
            chain: vec![issued.certificate],
            ..handshake(&authority, &rustls::version::TLS12)
        };
        let told = judged(&authority, handshake);
        assert_eq!(told.ids(), [id], "{:?}", told.findings);
        assert!(told.find(id).evidence.contains(word), "{:?}", told.findings);
    }
}

#[test]
fn a_certificate_signed_by_itself() {
    let authority = authority();
    let itself = Authority::root_with("mx.example.org", |it| {
        it.is_ca = rcgen_no_ca();
    });
    let handshake = Handshake {
        key: PrivateKeyDer::try_from(itself.key().serialize_der()).unwrap(),
        chain: vec![itself.certificate.clone()],
        ..handshake(&authority, &rustls::version::TLS12)
    };
    let told = judged(&authority, handshake);
    assert!(told.ids().contains(&"W505"), "{:?}", told.findings);
}

fn rcgen_no_ca() -> rcgen::IsCa {
    rcgen::IsCa::ExplicitNoCa
}

#[test]
fn a_client_that_does_not_trust() {
    let authority = authority();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let handshake = Handshake {
            is_trusted: false,
            ..handshake(&authority, version)
        };
        let told = judged(&authority, handshake);
        assert!(told.ids().contains(&"W303"), "{:?}", told.findings);
        assert_eq!(
            (told.find("W303").side, told.outcome()),
            ("client", "failed")
        );
    }
}

#[test]
fn a_handshake_that_is_broken_off() {
    let authority = authority();
    let flights = handshake(&authority, &rustls::version::TLS12).record();
    let told = watch(&upgraded(&flights[..2]));
    assert!(told.ids().contains(&"W303"));
    assert_eq!(told.outcome(), "failed");
}

#[test]
fn words_behind_the_reply_and_tls_all_the_same() {
    let authority = authority();
    let flights = handshake(&authority, &rustls::version::TLS13).record();
    let mut capture = Capture::new();
    let mut call = capture.call(25);
    play(&mut capture, &mut call, &format!("{UPGRADE}\n+ 250 put in"));
    put(&mut capture, &mut call, &flights);
    capture.close(&mut call);
    let told = watch(&capture);
    assert_eq!(told.ids(), ["W305", "W510"]);
    assert_eq!(told.outcome(), "upgraded");
}

#[test]
fn commands_behind_starttls_and_tls_all_the_same() {
    let authority = authority();
    let flights = handshake(&authority, &rustls::version::TLS13).record();
    let mut capture = Capture::new();
    let mut call = capture.call(25);
    play(
        &mut capture,
        &mut call,
        &UPGRADE.replace("C: STARTTLS", "C: STARTTLS\n+ MAIL FROM:<x@example.net>"),
    );
    put(&mut capture, &mut call, &flights);
    capture.close(&mut call);
    let told = watch(&capture);
    assert!(told.ids().contains(&"W304"), "{:?}", told.ids());
    assert_eq!(told.outcome(), "upgraded");
}

#[test]
fn a_hello_before_the_reply_is_no_attack() {
    let authority = authority();
    let flights = handshake(&authority, &rustls::version::TLS13).record();
    let mut capture = Capture::new();
    let mut call = capture.call(25);
    play(
        &mut capture,
        &mut call,
        UPGRADE.trim_end().strip_suffix("S: 220 go").unwrap(),
    );
    put(&mut capture, &mut call, &flights[..1]);
    play(&mut capture, &mut call, "S: 220 go");
    put(&mut capture, &mut call, &flights[1..]);
    capture.close(&mut call);
    let told = watch(&capture);
    assert_eq!(told.ids(), ["W510"], "{:?}", told.findings);
    assert_eq!(told.outcome(), "upgraded");
}

#[test]
fn old_versions_and_weak_suites() {
    for (version, suite, ids) in [
        (0x0301_u16, 0x0005_u16, &["W501", "W502", "W508"][..]),
        (0x0303, 0x000a, &["W502", "W508"]),
        (0x0303, 0xc02f, &["W508"]),
        (0x0300, 0x0005, &["W501", "W502", "W508"]),
    ] {
        let hello = gatepost_wire::tls::Offer {
            suites: vec![suite],
            ..gatepost_wire::tls::Offer::new(version, [1; 32])
        };
        let [high, low] = version.to_be_bytes();
        let [first, second] = suite.to_be_bytes();
        let mut answer = vec![22, high, low, 0, 42, 2, 0, 0, 38, high, low];
        answer.extend([5; 32]);
        answer.extend([0, first, second, 0]);
        let flights = [(Speaker::Client, hello.record()), (Speaker::Server, answer)];
        let mut capture = upgraded(&flights);
        // Nothing is said of the end.
        capture.packets.truncate(capture.packets.len() - 2);
        assert_eq!(watch(&capture).ids(), ids, "{version:04x} {suite:04x}");
    }
}

#[test]
fn a_version_that_was_pressed_down() {
    let hello = gatepost_wire::tls::Offer {
        suites: vec![0x1301, 0xc02f],
        versions: vec![0x0304, 0x0303],
        ..gatepost_wire::tls::Offer::new(0x0304, [1; 32])
    };
    let mut answer = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    answer.extend([5; 24]);
    answer.extend(b"DOWNGRD\x01");
    answer.extend([0, 0xc0, 0x2f, 0]);
    let flights = [(Speaker::Client, hello.record()), (Speaker::Server, answer)];
    assert!(watch(&upgraded(&flights)).ids().contains(&"W503"));
}
