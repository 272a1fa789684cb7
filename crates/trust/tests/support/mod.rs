//! A TLS server in memory, and a client of ours against it.

#![allow(
    dead_code,
    reason = "every test file uses a part of it, and none uses all"
)]

pub(crate) mod judged;
pub(crate) mod openssl;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use gatepost_testkit::pki::{Authority, Issued, now};
use gatepost_trust::exporter::{Captured, capture};
use gatepost_trust::profile::provider;
use gatepost_trust::verify::{Attempt, ClientTls, Reference, Roots, Shares, Terms, Verdict};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConnection, DigitallySignedStruct, DistinguishedName, Error,
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
    SupportedCipherSuite,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

/// What the server shows.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) key: CertifiedKey,
    /// Versions it speaks.
    pub(crate) versions: &'static [&'static rustls::SupportedProtocolVersion],
    /// Whether it takes nothing but X25519MLKEM768.
    pub(crate) hybrid_only: bool,
    /// The authority whose certificates it asks clients for.
    pub(crate) asks_for: Option<CertificateDer<'static>>,
    /// The application protocol it speaks.
    pub(crate) alpn: Option<Vec<u8>>,
}

impl Server {
    /// A server with this certificate alone.
    pub(crate) fn new(leaf: &Issued) -> Self {
        Self::with_key(&leaf.certificate, &leaf.key.serialize_pem())
    }

    /// The same with a key in PEM.
    pub(crate) fn with_key(certificate: &CertificateDer<'static>, key: &str) -> Self {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let signer = provider().key_provider.load_private_key(key).unwrap();
        Self {
            key: CertifiedKey::new(vec![certificate.clone()], signer),
            versions: rustls::ALL_VERSIONS,
            hybrid_only: false,
            asks_for: None,
            alpn: None,
        }
    }

    /// More certificates behind its own.
    pub(crate) fn with(mut self, others: &[&CertificateDer<'static>]) -> Self {
        self.key.cert.extend(others.iter().map(|it| (*it).clone()));
        self
    }

    /// A stapled OCSP answer.
    pub(crate) fn staple(mut self, ocsp: Vec<u8>) -> Self {
        self.key.ocsp = Some(ocsp);
        self
    }
}

/// What came of a handshake.
pub(crate) struct Run {
    pub(crate) attempt: Attempt,
    pub(crate) error: Option<Error>,
    /// The alert the server got.
    pub(crate) alert: Option<AlertDescription>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) hello: Vec<u8>,
    pub(crate) sni: Option<String>,
    pub(crate) alpn_offered: Option<Vec<Vec<u8>>>,
    pub(crate) group: Option<String>,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) captured: Option<Captured>,
    pub(crate) server_random: Option<[u8; 32]>,
    pub(crate) exporter_of_server: Option<[u8; 32]>,
    pub(crate) suite: Option<SupportedCipherSuite>,
    pub(crate) kind: Option<HandshakeKind>,
    pub(crate) client_chain: Option<Vec<CertificateDer<'static>>>,
}

/// Trust in one authority.
pub(crate) fn roots(root: &Authority) -> Arc<Roots> {
    let mut roots = Roots::none();
    roots.add(root.certificate.clone()).unwrap();
    Arc::new(roots)
}

/// Terms for a host under one authority.
pub(crate) fn terms(host: &str, root: &Authority) -> Terms {
    Terms::for_host(Reference::host(host).unwrap(), roots(root))
}

/// SNI and ALPN of a hello.
type Asked = (Option<String>, Option<Vec<Vec<u8>>>);

#[derive(Debug)]
struct Resolver {
    key: Arc<CertifiedKey>,
    seen: Mutex<Asked>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let alpn = hello.alpn().map(|it| it.map(<[u8]>::to_vec).collect());
        *self.seen.lock().unwrap() = (hello.server_name().map(ToOwned::to_owned), alpn);
        Some(Arc::clone(&self.key))
    }
}

/// Runs a handshake to its end, good or bad.
pub(crate) fn connect(terms: Terms, server: &Server, shares: Shares) -> Run {
    connect_at(terms, server, shares, now())
}

/// The same at another time.
pub(crate) fn connect_at(terms: Terms, server: &Server, shares: Shares, now: SystemTime) -> Run {
    let attempt = ClientTls::new(terms).attempt(now, shares).unwrap();
    connect_through(attempt, server, |_| {})
}

/// The same, with somebody on the way who changes the client's first flight.
pub(crate) fn connect_through(
    attempt: Attempt,
    server: &Server,
    meddle: impl FnOnce(&mut Vec<u8>),
) -> Run {
    handshake(attempt, server, meddle, |_| {})
}

/// The same, with somebody on the way who changes the first flights of both.
pub(crate) fn handshake(
    attempt: Attempt,
    server: &Server,
    meddle: impl FnOnce(&mut Vec<u8>),
    meddle_back: impl FnOnce(&mut Vec<u8>),
) -> Run {
    let resolver = Arc::new(Resolver {
        key: Arc::new(server.key.clone()),
        seen: Mutex::default(),
    });
    let mut theirs = ServerConnection::new(Arc::new(server.config_with_alpn(&resolver))).unwrap();
    let mut ours =
        ClientConnection::new(Arc::clone(&attempt.config), attempt.name.clone()).unwrap();
    let mut hello = Vec::new();
    ours.write_tls(&mut hello).unwrap();
    meddle(&mut hello);
    let mut wire = Wire::default();
    wire.carry(&mut ours, &mut theirs, hello.clone(), meddle_back);
    let seen = resolver.seen.lock().unwrap().clone();
    let exporter = theirs
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
        .ok();
    Run {
        error: wire.error,
        alert: wire.alert,
        captured: wire.captured,
        server_random: wire.server_random,
        exporter_of_server: exporter,
        suite: ours.negotiated_cipher_suite(),
        kind: ours.handshake_kind(),
        client_chain: theirs.peer_certificates().map(<[_]>::to_vec),
        verdict: attempt.verdict(),
        chain: attempt.chain(),
        hello,
        sni: seen.0,
        alpn_offered: seen.1,
        group: ours
            .negotiated_key_exchange_group()
            .map(|it| format!("{:?}", it.name())),
        version: ours.protocol_version(),
        attempt,
    }
}

/// What was seen on the way.
#[derive(Default)]
struct Wire {
    error: Option<Error>,
    alert: Option<AlertDescription>,
    captured: Option<Captured>,
    server_random: Option<[u8; 32]>,
}

impl Wire {
    /// Carries bytes until nobody has anything to say.
    fn carry(
        &mut self,
        ours: &mut ClientConnection,
        theirs: &mut ServerConnection,
        first: Vec<u8>,
        meddle_back: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut to_them = first;
        let mut meddle_back = Some(meddle_back);
        for _ in 0..10 {
            theirs.read_tls(&mut &to_them[..]).unwrap();
            if let Err(Error::AlertReceived(it)) = theirs.process_new_packets() {
                self.alert = Some(it);
            }
            let mut to_us = Vec::new();
            while theirs.wants_write() {
                theirs.write_tls(&mut to_us).unwrap();
            }
            if let Some(meddle) = meddle_back.take() {
                meddle(&mut to_us);
            }
            // Record header 5, message header 4, version 2.
            let random = to_us.get(11..43).and_then(|it| it.try_into().ok());
            self.server_random = self.server_random.or(random);
            let mut rest = &to_us[..];
            while !rest.is_empty() && self.error.is_none() {
                ours.read_tls(&mut rest).unwrap();
                let (result, captured) = capture(|| ours.process_new_packets());
                self.error = result.err();
                self.captured = captured.or(self.captured.take());
            }
            to_them = Vec::new();
            while ours.wants_write() {
                ours.write_tls(&mut to_them).unwrap();
            }
            if to_them.is_empty() {
                break;
            }
        }
    }
}

impl Server {
    fn config_with_alpn(&self, resolver: &Arc<Resolver>) -> ServerConfig {
        let mut config = self.config(resolver);
        config.alpn_protocols = self.alpn.iter().cloned().collect();
        config
    }

    fn config(&self, resolver: &Arc<Resolver>) -> ServerConfig {
        let mut crypto = CryptoProvider::clone(&provider());
        if self.hybrid_only {
            crypto.kx_groups.truncate(1);
        }
        let crypto = Arc::new(crypto);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(self.versions)
            .unwrap();
        let resolver = Arc::clone(resolver) as Arc<dyn ResolvesServerCert>;
        let Some(root) = &self.asks_for else {
            return builder.with_no_client_auth().with_cert_resolver(resolver);
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), crypto)
            .allow_unauthenticated()
            .build()
            .unwrap();
        builder
            .with_client_cert_verifier(Arc::new(AnyTime(verifier)))
            .with_cert_resolver(resolver)
    }
}

/// A verifier that lives at the time of the fixtures.
#[derive(Debug)]
struct AnyTime(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyTime {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = UnixTime::since_unix_epoch(since);
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
