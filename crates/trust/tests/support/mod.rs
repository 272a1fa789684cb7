//! A TLS server in memory, and a client of ours against it.

#![allow(
    dead_code,
    reason = "every test file uses a part of it, and none uses all"
)]

pub(crate) mod openssl;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use gatepost_testkit::pki::{Authority, Issued, now};
use gatepost_trust::profile::provider;
use gatepost_trust::verify::{Attempt, ClientTls, Reference, Roots, Shares, Terms, Verdict};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConnection, Error, ProtocolVersion, ServerConfig, ServerConnection,
};
use rustls_pki_types::CertificateDer;

/// What the server shows.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) key: CertifiedKey,
    /// Versions it speaks.
    pub(crate) versions: &'static [&'static rustls::SupportedProtocolVersion],
    /// Whether it takes nothing but X25519MLKEM768.
    pub(crate) hybrid_only: bool,
}

impl Server {
    /// A server with this certificate alone.
    pub(crate) fn new(leaf: &Issued) -> Self {
        let signer = provider()
            .key_provider
            .load_private_key(leaf.private_key())
            .unwrap();
        Self {
            key: CertifiedKey::new(vec![leaf.certificate.clone()], signer),
            versions: rustls::ALL_VERSIONS,
            hybrid_only: false,
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

#[derive(Debug)]
struct Resolver {
    key: Arc<CertifiedKey>,
    seen: Mutex<(Option<String>, Option<Vec<Vec<u8>>>)>,
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
    let resolver = Arc::new(Resolver {
        key: Arc::new(server.key.clone()),
        seen: Mutex::default(),
    });
    let mut crypto = CryptoProvider::clone(&provider());
    if server.hybrid_only {
        crypto.kx_groups.truncate(1);
    }
    let config = ServerConfig::builder_with_provider(Arc::new(crypto))
        .with_protocol_versions(server.versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesServerCert>);
    let mut theirs = ServerConnection::new(Arc::new(config)).unwrap();
    let mut ours =
        ClientConnection::new(Arc::clone(&attempt.config), attempt.name.clone()).unwrap();
    let mut hello = Vec::new();
    ours.write_tls(&mut hello).unwrap();
    meddle(&mut hello);
    let (error, alert) = run(&mut ours, &mut theirs, hello.clone());
    let seen = resolver.seen.lock().unwrap().clone();
    Run {
        error,
        alert,
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

/// Carries bytes until nobody has anything to say.
fn run(
    ours: &mut ClientConnection,
    theirs: &mut ServerConnection,
    first: Vec<u8>,
) -> (Option<Error>, Option<AlertDescription>) {
    let mut to_them = first;
    let (mut error, mut alert) = (None, None);
    for _ in 0..10 {
        theirs.read_tls(&mut &to_them[..]).unwrap();
        if let Err(Error::AlertReceived(it)) = theirs.process_new_packets() {
            alert = Some(it);
        }
        let mut to_us = Vec::new();
        while theirs.wants_write() {
            theirs.write_tls(&mut to_us).unwrap();
        }
        let mut rest = &to_us[..];
        while !rest.is_empty() && error.is_none() {
            ours.read_tls(&mut rest).unwrap();
            error = ours.process_new_packets().err();
        }
        to_them = Vec::new();
        while ours.wants_write() {
            ours.write_tls(&mut to_them).unwrap();
        }
        if to_them.is_empty() {
            break;
        }
    }
    (error, alert)
}
