//! Servers of the engine's own with CBC: a sound one, ones that tell what is wrong, one that does not look at padding. No package has these
//! holes any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatepost_testkit::pki::Authority;
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, Tls12AeadAlgorithm, UnsupportedOperationError,
};
use rustls::server::ServerConfig;
use rustls::version::TLS12;
use rustls::{CipherSuite, ConnectionTrafficSecrets, Error};

use super::oracle::{self, Flaw};
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::lab::{self, Server};
use crate::check::probes::sessions::cbc::{self, BLOCK, Kind, Sealer};
use crate::check::target::{Protocol, Start};

const SUITE: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA;
const WAIT: Duration = Duration::from_millis(700);

/// What a server does with a record; the sound one has it all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    None,
    /// Wrong padding has an alert of its own.
    TellsPadding,
    /// Padding is not looked at, but for its length (POODLE).
    Blind,
    /// A record without content and with a wrong MAC has an alert of its own (CVE-2019-1559).
    TellsEmpty,
    /// Every third record that is wrong has another alert.
    Moody,
    /// It hears a NOOP in whatever is wrong: as if it spoke unasked.
    HearsAll,
}

#[derive(Debug)]
struct Leaky(Hole);

static NONE: Leaky = Leaky(Hole::None);
static TELLS_PADDING: Leaky = Leaky(Hole::TellsPadding);
static BLIND: Leaky = Leaky(Hole::Blind);
static TELLS_EMPTY: Leaky = Leaky(Hole::TellsEmpty);
static MOODY: Leaky = Leaky(Hole::Moody);
static HEARS_ALL: Leaky = Leaky(Hole::HearsAll);

fn kind() -> Kind {
    Kind::of(SUITE).unwrap()
}

impl Tls12AeadAlgorithm for Leaky {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        kind().encrypter(key, iv, extra)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(LeakyOpener(self.0, kind().sealer(&key, iv)))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        kind().key_block_shape()
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct LeakyOpener(Hole, Sealer);

/// Its alert is not that of a record that cannot be decrypted.
const OTHER: Error = Error::PeerSentOversizedRecord;

impl MessageDecrypter for LeakyOpener {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        static WRONG: AtomicUsize = AtomicUsize::new(0);
        let Self(hole, sealer) = self;
        let (octets, padding) = Sealer::decrypt(sealer, &message.payload).unwrap();
        let content = octets.len().checked_sub(padding + sealer.mac_length());
        let filling = octets.get(octets.len().saturating_sub(padding)..).unwrap();
        let is_padded = filling.iter().all(|it| usize::from(*it) + 1 == padding);
        if *hole == Hole::HearsAll && number > 0 {
            message.payload[..6].copy_from_slice(b"NOOP\r\n");
            message.payload.truncate(6);
            return Ok(message.into_plain_message());
        }
        if *hole == Hole::Moody && content.is_none() {
            let number = WRONG.fetch_add(1, Ordering::SeqCst);
            return Err(if number.is_multiple_of(3) {
                OTHER
            } else {
                Error::DecryptError
            });
        }
        if *hole == Hole::TellsPadding && !is_padded {
            return Err(OTHER);
        }
        let content = content.ok_or(Error::DecryptError)?;
        let mac = sealer.mac(number, message.typ.into(), &octets[..content]);
        if !octets[content..].starts_with(&mac) {
            let tells = *hole == Hole::TellsEmpty && content == 0;
            return Err(if tells { OTHER } else { Error::DecryptError });
        }
        if !is_padded && *hole != Hole::Blind {
            return Err(Error::DecryptError);
        }
        message.payload[..content].copy_from_slice(&octets[..content]);
        message.payload.truncate(content);
        Ok(message.into_plain_message())
    }
}

/// With TLS from the first octet.
fn server(provider: CryptoProvider) -> Server {
    let issued = Authority::root("Root").issue(&[lab::HOST]);
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate.clone()], issued.private_key())
        .unwrap();
    let greeting = "220 mail.example.test ESMTP";
    let script = Arc::new(|_: &str| Some("250 2.0.0 ok\r\n".to_owned()));
    Server::new(Some(Arc::new(config)), greeting, script)
}

async fn ask(leaky: &'static Leaky) -> Seen<Provocation> {
    let provider = CryptoProvider {
        cipher_suites: cbc::suites(&[(SUITE, leaky)]),
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let server = server(provider);
    let errand = lab::errand(server.port, Protocol::Smtp, Start::Implicit);
    oracle::run(&errand, WAIT).await
}

fn proof(seen: Seen<Provocation>) -> String {
    match seen {
        Seen::Known(Provocation::Worked { proof }) => proof,
        other => panic!("no proof: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_to_which_all_faults_are_one_is_sound() {
    let seen = ask(&NONE).await;
    let Seen::Known(Provocation::Refused { how }) = &seen else {
        panic!("{seen:?}");
    };
    assert!(how.contains("alert 20"), "{how}");
}

#[tokio::test]
async fn a_server_that_tells_padding_from_mac_is_found() {
    let proof = proof(ask(&TELLS_PADDING).await);
    assert!(
        proof.contains("wrong MAC: alert 20") && proof.contains("wrong padding: alert 22"),
        "{proof}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_look_at_padding_is_found() {
    let proof = proof(ask(&BLIND).await);
    assert!(proof.contains("wrong padding: carried out"), "{proof}");
    assert!(proof.contains("wrong MAC: alert 20"), "{proof}");
}

#[tokio::test]
async fn a_server_that_tells_empty_records_apart_is_found() {
    let proof = proof(ask(&TELLS_EMPTY).await);
    assert!(
        proof.contains("empty with wrong MAC: alert 22")
            && proof.contains("empty with wrong padding: alert 20"),
        "{proof}"
    );
}

#[tokio::test]
async fn a_moody_server_cannot_be_told() {
    let seen = ask(&MOODY).await;
    assert!(matches!(seen, Seen::Unknown { missing: 1, .. }), "{seen:?}");
}

#[tokio::test]
async fn a_server_that_speaks_whatever_is_sent_cannot_be_told() {
    let seen = ask(&HEARS_ALL).await;
    assert!(matches!(seen, Seen::Unknown { missing: 1, .. }), "{seen:?}");
}

#[tokio::test]
async fn where_there_is_no_cbc_there_is_nothing_to_tell() {
    let server = server(rustls::crypto::aws_lc_rs::default_provider());
    let errand = lab::errand(server.port, Protocol::Smtp, Start::Implicit);
    let seen = oracle::run(&errand, WAIT).await;
    assert!(
        matches!(seen, Seen::Known(Provocation::Absent { .. })),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_spent_budget_and_a_closed_port_are_no_verdict() {
    let server = server(CryptoProvider::clone(&cbc::provider()));
    let mut errand = lab::errand(server.port, Protocol::Smtp, Start::Implicit);
    errand.budget = crate::check::budget::Budget::new(3);
    let seen = oracle::run(&errand, WAIT).await;
    assert!(matches!(seen, Seen::Unknown { .. }), "{seen:?}");
    let errand = lab::errand(1, Protocol::Smtp, Start::Implicit);
    let seen = oracle::run(&errand, WAIT).await;
    assert!(matches!(seen, Seen::Unknown { .. }), "{seen:?}");
}

/// Each suite: a whole handshake and its NOOP, which only both ends' keys together can bring about.
#[tokio::test]
async fn every_suite_comes_to_a_handshake_and_a_verdict() {
    for wanted in cbc::provider().cipher_suites.clone() {
        if format!("{:?}", wanted.suite()).contains("RSA") {
            continue;
        }
        let provider = CryptoProvider {
            cipher_suites: vec![wanted],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let server = server(provider);
        let errand = lab::errand(server.port, Protocol::Smtp, Start::Implicit);
        let seen = oracle::run(&errand, WAIT).await;
        assert!(
            matches!(seen, Seen::Known(Provocation::Refused { .. })),
            "{wanted:?}: {seen:?}"
        );
    }
}

#[test]
fn records_are_wrong_in_the_one_way_they_are_called() {
    let kind = kind();
    let sealer = kind.client(&vec![7; kind.block()]).unwrap();
    for flaw in Flaw::ALL {
        let octets = flaw.octets(&sealer, 1, b"NOOP\r\n");
        assert!(octets.len().is_multiple_of(BLOCK), "{flaw:?}");
        let (back, padding) = sealer
            .decrypt(&sealer.encrypt(octets.clone()).unwrap())
            .unwrap();
        assert_eq!(back, octets, "{flaw:?}");
        let room = octets.len().checked_sub(padding + sealer.mac_length());
        assert_eq!(
            room.is_none(),
            matches!(flaw, Flaw::TooLong | Flaw::NoRoom),
            "{flaw:?}"
        );
        let Some(room) = room else { continue };
        let filling = &octets[octets.len() - padding..];
        let is_padded = filling.iter().all(|it| usize::from(*it) + 1 == padding);
        let is_signed = octets[room..].starts_with(&sealer.mac(1, 23, &octets[..room]));
        let wanted = match flaw {
            Flaw::Mac | Flaw::EmptyMac => (true, false),
            _ => (false, true),
        };
        assert_eq!((is_padded, is_signed), wanted, "{flaw:?}");
        assert_eq!(
            room == 0,
            matches!(flaw, Flaw::EmptyMac | Flaw::EmptyPadding)
        );
    }
}
