//! TLS settings of both ends.
//!
//! The client offers one key exchange at a time, so that a figure with X25519MLKEM768 is never beside a peer that could
//! only do X25519 without saying so. It offers AES-128-GCM first; servers that follow the client take it too.

use std::sync::Arc;
use std::time::SystemTime;

use gatepost_trust::certificates::{Asked, Options, ServiceTls};
use gatepost_trust::identity as trust;
use gatepost_trust::profile::{Mode, Service};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs as engine};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::fault::Fault;
use crate::identity::Identity;

/// The key exchange of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// Post-quantum hybrid, gatepost's first choice.
    X25519mlkem768,
    /// Classic; all that OpenSSL 3.0 offers.
    X25519,
}

impl Group {
    /// Both, the first choice first.
    pub(crate) const ALL: [Group; 2] = [Group::X25519mlkem768, Group::X25519];

    /// As the standards write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Group::X25519mlkem768 => "X25519MLKEM768",
            Group::X25519 => "X25519",
        }
    }

    /// The engine's implementation.
    pub(crate) fn engine(self) -> &'static dyn SupportedKxGroup {
        match self {
            Group::X25519mlkem768 => engine::kx_group::X25519MLKEM768,
            Group::X25519 => engine::kx_group::X25519,
        }
    }
}

/// The one key exchange asked for and the one cipher suite every figure is about unless it says otherwise.
pub(crate) fn provider(group: Group) -> Arc<CryptoProvider> {
    let provider = engine::default_provider();
    Arc::new(CryptoProvider {
        kx_groups: vec![group.engine()],
        cipher_suites: vec![engine::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..provider
    })
}

/// The engine's own order of cipher suites, AES-256-GCM first: what a server that chooses nothing spends.
pub(crate) fn library_provider(group: Group) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![group.engine()],
        ..engine::default_provider()
    })
}

/// A server as gatepost sets one up: the very configuration its port 25 uses.
pub(crate) fn gatepost_server(identity: &Identity) -> Result<Arc<ServerConfig>, Fault> {
    let (certificate, key) = (&identity.certificate_file, &identity.key_file);
    let (loaded, _) = trust::Identity::load(certificate, key, None, SystemTime::now())?;
    let options = Options::default_for(Service::Smtp, Mode::StartTls);
    let service = ServiceTls::new(options, &[Arc::new(loaded)])?;
    let asked = Asked {
        sni: Some("localhost"),
        signature_schemes: &[u16::from(SignatureScheme::ECDSA_NISTP256_SHA256)],
        certificate_schemes: &[],
        cipher_suites: &[u16::from(CipherSuite::TLS13_AES_128_GCM_SHA256)],
        tls13: true,
    };
    Ok(service
        .select(&asked)
        .map_err(|_| Fault::NoCertificate)?
        .config)
}

/// A server in the engine's own order of suites, one ticket from rotating keys like the other.
pub(crate) fn library_server(
    identity: &Identity,
    group: Group,
) -> Result<Arc<ServerConfig>, Fault> {
    let mut config = ServerConfig::builder_with_provider(library_provider(group))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key())?;
    config.send_tls13_tickets = 1;
    config.ticketer = engine::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// A client that verifies everything against the CA: used once per server before any load.
pub(crate) fn verifying_client(
    identity: &Identity,
    group: Group,
) -> Result<Arc<ClientConfig>, Fault> {
    let provider = provider(group);
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority.clone())?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|_| rustls::Error::General("no trust anchor".to_owned()))?;
    client(provider, verifier)
}

/// The load's client: it compares the certificate with the expected one and leaves the signature unchecked.
/// Half of a client's CPU is verification; spent here it would only make the load generator the bottleneck.
pub(crate) fn load_client(
    identity: &Identity,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ClientConfig>, Fault> {
    let expected = identity
        .chain
        .first()
        .cloned()
        .ok_or(rustls::Error::NoCertificatesPresented)?;
    client(provider, Arc::new(SameCertificate { expected }))
}

fn client(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, Fault> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // Every handshake is a full one.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Accepts one certificate, byte for byte.
#[derive(Debug)]
struct SameCertificate {
    expected: CertificateDer<'static>,
}

impl ServerCertVerifier for SameCertificate {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *presented == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(
            rustls::PeerIncompatible::Tls12NotOffered,
        ))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
