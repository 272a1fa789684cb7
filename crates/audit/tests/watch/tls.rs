//! Real handshakes, recorded in memory and put into captures.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use gatepost_audit::watch::summary::Summary;
use gatepost_testkit::capture::{Call, Capture, Speaker};
use gatepost_testkit::ocsp::{Answer, State};
use gatepost_testkit::pki::{self, Authority};
use gatepost_trust::verify::Roots;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};

use super::every::Sample;
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
    /// The OCSP answer that goes with the certificate; empty for none.
    staple: Vec<u8>,
}

impl Handshake {
    /// A handshake with what follows it, as both sides sent it.
    fn record(self) -> Vec<Flight> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert_with_ocsp(self.chain, self.key, self.staple)
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
        staple: Vec::new(),
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

/// A capture, and the authority its clients trust.
pub(crate) struct Recorded {
    pub(crate) capture: Capture,
    authority: CertificateDer<'static>,
}

impl Recorded {
    pub(crate) fn watch(&self) -> Told {
        let mut roots = Roots::none();
        roots.add(self.authority.clone()).unwrap();
        watch_file(&self.capture.to_pcap(), watcher_with(roots))
    }
}

fn recorded(authority: &Authority, handshake: Handshake) -> Sample {
    Sample::Handshake(Recorded {
        capture: upgraded(&handshake.record()),
        authority: authority.certificate.clone(),
    })
}

fn stapled(authority: &Authority, state: State) -> Handshake {
    let issued = authority.issue(&["mx.example.org"]);
    let mut answer = Answer::new(authority, &issued.serial);
    answer.state = state;
    Handshake {
        key: issued.private_key(),
        staple: answer.to_der(),
        chain: vec![issued.certificate],
        ..handshake(authority, &rustls::version::TLS12)
    }
}

/// Rules about TLS: rule, found in, not found in.
pub(crate) fn samples() -> Vec<(&'static str, Sample, Sample)> {
    let authority = authority();
    let good = || handshake(&authority, &rustls::version::TLS12);
    let with = |issued: pki::Issued| Handshake {
        key: issued.private_key(),
        chain: vec![issued.certificate],
        ..good()
    };
    let right = || recorded(&authority, good());
    let expired = authority.issue_with(&["mx.example.org"], |it| {
        it.not_after = (pki::now() - pki::DAY).into();
    });
    let modern = || handshake(&authority, &rustls::version::TLS13);
    let at_once = |port: u16| {
        let mut capture = Capture::new();
        let mut call = capture.call(port);
        put(&mut capture, &mut call, &modern().record());
        capture.close(&mut call);
        Sample::Packets(capture)
    };
    let distrusted = Handshake {
        is_trusted: false,
        ..good()
    };
    let stranger = Authority::root("Stranger").issue(&["mx.example.org"]);
    let mut samples = vec![
        ("W303", recorded(&authority, distrusted), right()),
        ("W403", at_once(25), at_once(465)),
        ("W504", recorded(&authority, with(expired)), right()),
        ("W505", recorded(&authority, with(stranger)), right()),
        (
            "W506",
            recorded(&authority, with(authority.issue(&["other.example"]))),
            right(),
        ),
        (
            "W509",
            recorded(&authority, stapled(&authority, State::Revoked)),
            recorded(&authority, stapled(&authority, State::Good)),
        ),
        ("W510", recorded(&authority, modern()), right()),
    ];
    samples.extend(by_hand());
    samples
}

/// A hello, an answer that chooses this, and records behind it.
fn agreed(version: u16, suite: u16, random: [u8; 8], more: &[Flight]) -> Sample {
    let hello = gatepost_wire::tls::Offer {
        suites: vec![0x1301, suite],
        versions: vec![0x0304, 0x0303],
        server_name: Some("mx.example.org".to_owned()),
        ..gatepost_wire::tls::Offer::new(0x0304, [1; 32])
    };
    let mut flights = vec![
        (Speaker::Client, hello.record()),
        (Speaker::Server, server_hello(version, suite, random, 0)),
    ];
    flights.extend_from_slice(more);
    let mut capture = upgraded(&flights);
    // Nothing is said of the end.
    capture.packets.truncate(capture.packets.len() - 2);
    Sample::Packets(capture)
}

fn server_hello(version: u16, suite: u16, random: [u8; 8], compression: u8) -> Vec<u8> {
    let [high, low] = version.to_be_bytes();
    let [first, second] = suite.to_be_bytes();
    let mut answer = vec![22, high, low, 0, 42, 2, 0, 0, 38, high, low];
    answer.extend([5; 24]);
    answer.extend(random);
    answer.extend([0, first, second, compression]);
    answer
}

/// A record with so many octets nobody can read.
fn encrypted(kind: u8, length: u16) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend(length.to_be_bytes());
    record.resize(5 + usize::from(length), 0x5c);
    record
}

/// `ChangeCipherSpec` and Finished of both sides, and what follows.
fn established(more: &[(Speaker, u8, u16)]) -> Vec<Flight> {
    let mut flights = Vec::new();
    for speaker in [Speaker::Client, Speaker::Server] {
        flights.push((speaker, vec![20, 3, 3, 0, 1, 1]));
        flights.push((speaker, encrypted(22, 40)));
    }
    flights.extend(
        more.iter()
            .map(|(speaker, kind, length)| (*speaker, encrypted(*kind, *length))),
    );
    flights
}

/// A server's half of a key exchange by Diffie-Hellman with a prime of so many octets.
fn key_exchange(octets: u16) -> Vec<Flight> {
    let mut body = Vec::new();
    for (length, first) in [(octets, 0xff), (1, 2), (octets, 0x7f)] {
        body.extend(length.to_be_bytes());
        body.push(first);
        body.resize(body.len() + usize::from(length) - 1, 0x55);
    }
    body.extend([4, 1, 0, 4, 1, 2, 3, 4]);
    let length = u16::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 3];
    record.extend((length + 4).to_be_bytes());
    record.extend([12, 0]);
    record.extend(length.to_be_bytes());
    record.extend(body);
    vec![(Speaker::Server, record)]
}

/// What no engine of today does.
fn by_hand() -> Vec<(&'static str, Sample, Sample)> {
    use Speaker::{Client, Server};
    let plain = [5; 8];
    let good = || agreed(0x0303, 0xc02f, plain, &[]);
    let session = |more: &[(Speaker, u8, u16)]| agreed(0x0303, 0xc02f, plain, &established(more));
    let heartbeat = |claimed: u8| {
        vec![(
            Client,
            vec![
                24, 3, 3, 0, 20, 1, 0, claimed, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        )]
    };
    let unnamed = {
        let hello = gatepost_wire::tls::Offer {
            suites: vec![0xc02f],
            ..gatepost_wire::tls::Offer::new(0x0303, [1; 32])
        };
        Sample::Packets(upgraded(&[(Client, hello.record())]))
    };
    vec![
        ("W501", agreed(0x0302, 0xc013, plain, &[]), good()),
        ("W502", agreed(0x0303, 0x000a, plain, &[]), good()),
        ("W503", agreed(0x0303, 0xc02f, *b"DOWNGRD\x01", &[]), good()),
        (
            "W507",
            agreed(0x0303, 0x009e, plain, &key_exchange(128)),
            agreed(0x0303, 0x009e, plain, &key_exchange(256)),
        ),
        ("W508", unnamed, good()),
        (
            "W511",
            session(&[(Server, 22, 40), (Client, 22, 300), (Server, 22, 900)]),
            session(&[(Client, 23, 300), (Server, 23, 900)]),
        ),
        (
            "W511",
            session(&[(Client, 24, 60), (Server, 24, 4000)]),
            session(&[(Client, 23, 60), (Server, 23, 4000)]),
        ),
        (
            "W511",
            agreed(0x0303, 0xc02f, plain, &heartbeat(200)),
            good(),
        ),
        (
            "W512",
            two_sessions(&[0xc02f, 0x1301]),
            two_sessions(&[0xc02f]),
        ),
    ]
}

/// Two sessions of one client, the second with these suites.
fn two_sessions(second: &[u16]) -> Sample {
    let mut capture = Capture::new();
    for suites in [&[0xc02f][..], second] {
        let hello = gatepost_wire::tls::Offer {
            suites: suites.to_vec(),
            server_name: Some("mx.example.org".to_owned()),
            ..gatepost_wire::tls::Offer::new(0x0303, [1; 32])
        };
        let flights = [
            (Speaker::Client, hello.record()),
            (Speaker::Server, server_hello(0x0303, 0xc02f, [5; 8], 0)),
        ];
        let mut call = capture.call(25);
        play(&mut capture, &mut call, UPGRADE);
        put(&mut capture, &mut call, &flights);
        put(
            &mut capture,
            &mut call,
            &established(&[(Speaker::Client, 23, 40)]),
        );
        capture.close(&mut call);
    }
    Sample::Packets(capture)
}

fn severities(sample: &Sample) -> Vec<(&'static str, &'static str)> {
    let Sample::Packets(capture) = sample else {
        return Vec::new();
    };
    let told = watch(capture);
    told.findings
        .iter()
        .map(|it| (it.id, it.severity.word()))
        .collect()
}

#[test]
fn what_comes_once_tls_is_up() {
    use Speaker::{Client, Server};
    let session = |more: &[(Speaker, u8, u16)]| {
        severities(&agreed(0x0303, 0xc02f, [5; 8], &established(more)))
    };
    // Asked for, and not done.
    assert_eq!(session(&[(Server, 22, 40), (Client, 21, 26)]), []);
    assert_eq!(
        session(&[(Server, 22, 40), (Client, 22, 300), (Server, 22, 900)]),
        [("W511", "medium")]
    );
    // One that is answered as it should be.
    assert_eq!(
        session(&[(Client, 24, 60), (Server, 24, 60)]),
        [("W511", "low")]
    );
    assert_eq!(
        session(&[(Client, 24, 60), (Server, 24, 4000)]),
        [("W511", "low"), ("W511", "critical")]
    );
    // Behind the limit nothing is looked at any more.
    let long: Vec<_> = [(Server, 23, 0x4000); 3]
        .into_iter()
        .chain([(Client, 22, 40), (Server, 22, 40)])
        .collect();
    assert_eq!(session(&long), []);
    let compressed = [
        (
            Client,
            gatepost_wire::tls::Offer {
                suites: vec![0xc02f],
                server_name: Some("mx.example.org".to_owned()),
                ..gatepost_wire::tls::Offer::new(0x0303, [1; 32])
            }
            .record(),
        ),
        (Server, server_hello(0x0303, 0xc02f, [5; 8], 1)),
    ];
    let told = watch(&upgraded(&compressed));
    assert!(told.ids().contains(&"W511"), "{:?}", told.findings);
}

#[test]
fn a_stapled_answer_is_believed_to_whom_it_is_due() {
    let authority = authority();
    let told = judged(&authority, stapled(&authority, State::Revoked));
    assert_eq!(told.ids(), ["W509"], "{:?}", told.findings);
    // Somebody else's word, and a later time at which the answer is old: it says the same of a certificate that was revoked.
    let stranger = Authority::root("Stranger");
    let issued = authority.issue(&["mx.example.org"]);
    let mut answer = Answer::new(&stranger, &issued.serial);
    answer.state = State::Revoked;
    let forged = Handshake {
        key: issued.private_key(),
        staple: answer.to_der(),
        chain: vec![issued.certificate],
        ..handshake(&authority, &rustls::version::TLS12)
    };
    assert_eq!(judged(&authority, forged).ids(), [""; 0]);
    // Without trusted authorities the issuer in the chain is who may say so.
    let middle = authority.authority("Middle");
    let issued = middle.issue(&["mx.example.org"]);
    let mut answer = Answer::new(&middle, &issued.serial);
    answer.state = State::Revoked;
    let chained = Handshake {
        key: issued.private_key(),
        staple: answer.to_der(),
        chain: vec![issued.certificate, middle.certificate.clone()],
        ..handshake(&authority, &rustls::version::TLS12)
    };
    assert_eq!(watch(&upgraded(&chained.record())).ids(), ["W509"]);
}

/// TLS from the beginning on a port of no service: mail where the client's hello names it, and nothing else.
#[test]
fn tls_at_once_elsewhere_is_mail_by_its_alpn() {
    let told = |port: u16, alpn: &[&str]| {
        let hello = gatepost_wire::tls::Offer {
            alpn: alpn.iter().map(|it| it.as_bytes().to_vec()).collect(),
            server_name: Some("imap".to_owned()),
            ..gatepost_wire::tls::Offer::new(0x0304, [1; 32])
        };
        let mut capture = Capture::new();
        let mut call = capture.call(port);
        let record = hello.record();
        let (first, second) = record.split_at(60);
        for piece in [first, second] {
            capture.say(&mut call, Speaker::Client, piece);
        }
        let answer = server_hello(0x0303, 0xc02f, [5; 8], 0);
        capture.say(&mut call, Speaker::Server, &answer);
        let told = watch(&capture);
        let protocols: Vec<_> = told.sessions.iter().map(|it| it.protocol.word()).collect();
        (protocols, told.ids().contains(&"W403"))
    };
    assert_eq!(told(50_993, &["imap"]), (vec!["imap"], false));
    assert_eq!(told(50_995, &["pop3"]), (vec!["pop3"], false));
    assert_eq!(told(50_419, &["managesieve"]), (vec!["managesieve"], false));
    for other in [&["h2", "http/1.1"][..], &["imap", "h2"], &[]] {
        assert_eq!(told(50_443, other), (vec![], false), "{other:?}");
    }
    // A port of mail keeps its own.
    assert_eq!(told(143, &["imap"]), (vec!["imap"], true));
    assert_eq!(told(993, &[]), (vec!["imap"], false));
}

/// [PQ-03] By which groups keys were exchanged is counted, so that the share of the hybrid ones is known.
#[test]
fn the_groups_of_key_exchanges_are_counted() {
    let authority = authority();
    let mut summary = Summary::default();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let told = judged(&authority, handshake(&authority, version));
        told.sessions.iter().for_each(|it| summary.add_session(it));
    }
    let counters = gatepost_audit::watch::Counters::default();
    let counted = &summary.as_json(&counters)["tls_groups"];
    let counted = counted.as_object().unwrap();
    let groups: Vec<_> = counted
        .iter()
        .map(|it| (it.0.as_str(), it.1.as_u64()))
        .collect();
    assert_eq!(groups, [("X25519MLKEM768", Some(1)), ("x25519", Some(1))]);
    assert!(
        summary
            .metrics(&counters)
            .contains("{group=\"X25519MLKEM768\"} 1\n")
    );
}
