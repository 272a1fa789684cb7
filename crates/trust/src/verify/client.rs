//! The client's half of TLS: the engine's configuration for one connection, with the judge inside.
//!
//! | what | value | why |
//! |---|---|---|
//! | versions, suites, groups | those of [`crate::profile`] | one profile for both roles |
//! | key shares | X25519MLKEM768 and X25519 together, or X25519 alone with the hybrid still listed | some servers fail on large hellos [PQ-01] |
//! | extended master secret | required on 1.2 | as for the server [TLS-EMS-01] |
//! | early data | never | [TLS-0RTT-01] |
//! | resumption | never | a resumed session is not judged: the engine asks no verifier, and the stapled answer is gone |
//! | OCSP | always asked for | [REV-03] |
//! | SNI | what the terms say; none for addresses | [TLS-SNI-01] |
//!
//! The engine aborts where a server that could speak TLS 1.3 was made to answer with less [TLS-VER-05], and where one picks an
//! application protocol that was not offered [TLS-ALPN-01].
//!
//! Resumption would save a server some 40 µs and us as much, a few times a day; what it costs is that a certificate revoked,
//! a pin changed or a TLSA record withdrawn since is not noticed. Each connection is judged by itself.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, PeerMisbehaved,
    SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};

use super::crl::Crls;
use super::path::unix_time;
use super::reason::Reason;
use super::reference::Reference;
use super::terms::{Demand, Terms, Versions};
use super::verdict::Verdict;
use super::{Evidence, judge};
use crate::der;
use crate::exporter::Tap;
use crate::profile::{ProfileError, provider};

/// Which key shares the first hello carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shares {
    /// X25519MLKEM768 and X25519.
    Hybrid,
    /// X25519 alone; X25519MLKEM768 is still listed, and the server may ask for it. For peers that did not answer a large
    /// hello.
    Classic,
}

/// The client's TLS under certain terms, for any number of connections.
#[derive(Debug, Clone)]
pub struct ClientTls {
    terms: Arc<Terms>,
}

/// One connection's configuration, and what came of it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// For the engine.
    pub config: Arc<ClientConfig>,
    /// The server's name, for the engine: it decides the SNI and nothing else.
    pub name: ServerName<'static>,
    verifier: Arc<Verifier>,
}

impl ClientTls {
    /// TLS under these terms.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms: Arc::new(terms),
        }
    }

    /// The terms.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// A configuration for one connection made now.
    pub fn attempt(&self, now: SystemTime, shares: Shares) -> Result<Attempt, ProfileError> {
        let verifier = Arc::new(Verifier {
            terms: Arc::clone(&self.terms),
            seen: Mutex::new(None),
        });
        let config = client_config(&self.terms, &verifier, now, shares)?;
        Ok(Attempt {
            config: Arc::new(config),
            name: engine_name(&self.terms)?,
            verifier,
        })
    }
}

impl Attempt {
    /// The verdict, when the handshake came as far as the certificate.
    pub fn verdict(&self) -> Option<Verdict> {
        self.verifier.seen().as_ref().map(|it| it.verdict.clone())
    }

    /// What the peer showed of itself.
    pub fn evidence(&self) -> Option<Evidence> {
        self.verifier.seen().as_ref().map(|it| it.evidence.clone())
    }

    /// The certificates the peer sent, its own first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = |evidence: Evidence| evidence.chain;
        self.evidence().map(chain).unwrap_or_default()
    }

    /// Forgets the evidence and the verdict, which an idle connection need not keep.
    pub fn forget(&self) {
        *self.verifier.seen() = None;
    }

    /// Judges the same evidence again with more lists of revoked certificates, after the handshake. The new verdict takes the
    /// place of the old one. None when there was no certificate.
    pub fn rejudge(&self, crls: &Crls, now: SystemTime) -> Option<Verdict> {
        let mut terms = Terms::clone(&self.verifier.terms);
        terms.crls.extend(crls);
        let mut seen = self.verifier.seen();
        let seen = seen.as_mut()?;
        seen.verdict = judge(&seen.evidence, &terms, now);
        Some(seen.verdict.clone())
    }

    /// `tls-server-end-point` (RFC 5929 4.1) of the peer's certificate.
    pub fn end_point_hash(&self) -> Option<Box<[u8]>> {
        let chain = self.chain();
        crate::identity::end_point_hash(chain.first()?)
    }
}

/// What the engine calls the peer: a name it sends as SNI, or an address, for which it sends none [TLS-SNI-01].
fn engine_name(terms: &Terms) -> Result<ServerName<'static>, ProfileError> {
    if let Some(name) = &terms.sni {
        return name.server_name().ok_or(ProfileError);
    }
    let address = terms.references.iter().find_map(|it| match it {
        Reference::Ip(address) => Some(*address),
        _ => None,
    });
    let unspecified = std::net::IpAddr::from([0, 0, 0, 0]);
    Ok(ServerName::from(address.unwrap_or(unspecified)))
}

fn client_config(
    terms: &Terms,
    verifier: &Arc<Verifier>,
    now: SystemTime,
    shares: Shares,
) -> Result<ClientConfig, ProfileError> {
    // [TLS-VER-01] [TLS-VER-02]
    let versions: &[&SupportedProtocolVersion] = match terms.versions {
        Versions::Both => &[&TLS13, &TLS12],
        Versions::Only13 => &[&TLS13],
        Versions::Only12 => &[&TLS12],
    };
    let crypto = match shares {
        Shares::Hybrid => provider(),
        Shares::Classic => classic_first(),
    };
    let builder = ClientConfig::builder_with_details(crypto, Arc::new(FixedTime(unix_time(now))))
        .with_protocol_versions(versions)
        .map_err(|_| ProfileError)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>);
    let mut config = match &terms.client {
        Some(key) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = terms.alpn.id().map(<[u8]>::to_vec).into_iter().collect();
    // [TLS-EMS-01] [SASL-CB-02]
    config.require_ems = true;
    // [TLS-0RTT-01] [CONF-16]
    config.enable_early_data = false;
    // A resumed session would not be judged.
    config.resumption = Resumption::disabled();
    config.key_log = Arc::new(Tap);
    Ok(config)
}

/// The provider with X25519 first: the engine sends a share for the first group, and one for the classic half of a hybrid.
/// [PQ-01]
fn classic_first() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let build = || {
        let mut classic = CryptoProvider::clone(&provider());
        if !classic.kx_groups.is_empty() {
            classic.kx_groups.rotate_left(1);
        }
        Arc::new(classic)
    };
    PROVIDER.get_or_init(build).clone()
}

/// The time the attempt was made at: the judge and the engine agree on it.
#[derive(Debug)]
struct FixedTime(UnixTime);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// What the verifier saw, and what was made of it.
#[derive(Debug)]
struct Seen {
    evidence: Evidence,
    verdict: Verdict,
}

/// The engine's question, put to the judge.
#[derive(Debug)]
struct Verifier {
    terms: Arc<Terms>,
    seen: Mutex<Option<Seen>>,
}

impl Verifier {
    fn seen(&self) -> std::sync::MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn algorithms() -> WebPkiSupportedAlgorithms {
        provider().signature_verification_algorithms
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let evidence = Evidence {
            chain: chain.map(|it| it.clone().into_owned()).collect(),
            staple: ocsp_response.to_vec(),
        };
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
        let verdict = judge(&evidence, &self.terms, now);
        let refusal = refusal(&verdict, self.terms.demand);
        *self.seen() = Some(Seen { evidence, verdict });
        match refusal {
            None => Ok(ServerCertVerified::assertion()),
            Some(error) => Err(Error::InvalidCertificate(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = der::spki_of(cert).ok_or(CertificateError::BadEncoding)?;
        let spki = SubjectPublicKeyInfoDer::from(spki);
        verify_tls13_signature_with_raw_key(message, &spki, dss, &Self::algorithms())
    }

    // [TLS-SIG-01] without SHA-1 and MD5, for the algorithms have none.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::algorithms().supported_schemes()
    }
}

/// Checks the signature of a TLS 1.2 key exchange. Schemes of ECDSA do not name the curve there: any key for the hash will do.
///
/// The engine's own function reads the whole certificate, and refuses what only a chain would need: of version 1, or with
/// extensions it does not know. A peer known by its key, or not to be known, may have such a one [DANE-08] [OS-02].
fn verify_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = Verifier::algorithms();
    let mut mapping = algorithms.mapping.iter();
    // [TLS-SIG-01] illegal_parameter
    let (_, fitting) = mapping
        .find(|(scheme, _)| *scheme == dss.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let spki = der::spki_of(cert).ok_or(CertificateError::BadEncoding)?;
    let is_by = |it: &&dyn SignatureVerificationAlgorithm| {
        der::is_signed(message, dss.signature(), spki, *it)
    };
    if fitting.iter().any(is_by) {
        return Ok(HandshakeSignatureValid::assertion());
    }
    Err(CertificateError::BadSignature.into())
}

/// Whether the handshake must end, and with which alert (RFC 9846 6.2) [ID-09] [TLS-STRICT-01] [IMAP-TLS-15].
fn refusal(verdict: &Verdict, demand: Demand) -> Option<CertificateError> {
    let goes_on = demand == Demand::Encrypted
        || verdict.verified().is_some()
        || verdict.waits_for_crls()
        || verdict.is_excepted();
    if goes_on {
        return None;
    }
    let unknown = || CertificateError::Other(OtherError(Arc::new(Refused)));
    Some(verdict.reason().map_or_else(unknown, alert))
}

/// The engine makes the alert of this.
fn alert(reason: &Reason) -> CertificateError {
    match reason {
        Reason::UnknownIssuer { .. } | Reason::SelfSigned => CertificateError::UnknownIssuer,
        Reason::Expired { .. } => CertificateError::Expired,
        Reason::NotYetValid { .. } => CertificateError::NotValidYet,
        Reason::NotForServers(_) => CertificateError::InvalidPurpose,
        Reason::NameMismatch { .. } | Reason::NoNames => CertificateError::NotValidForName,
        Reason::Revoked(_) => CertificateError::Revoked,
        // [REV-03]
        Reason::Staple(_) | Reason::StapleMissing => CertificateError::InvalidOcspResponse,
        Reason::StatusUnknown { .. } => CertificateError::UnknownRevocationStatus,
        Reason::PinMismatch { .. } | Reason::NoTlsa => {
            CertificateError::Other(OtherError(Arc::new(Refused)))
        }
        // bad_certificate; for weak signatures RFC 9846 4.5.2.4 names it.
        _ => CertificateError::BadEncoding,
    }
}

/// The judge refused, for a reason TLS has no alert for.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate was refused by policy")
    }
}

impl std::error::Error for Refused {}
