//! An authority and certificates, made once per test binary.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use gatepost_trust::identity::Identity;
use gatepost_trust::verify::Roots;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::crypto::CryptoProvider;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;

pub struct Pki {
    pub roots: Arc<RootCertStore>,
    /// The same for our own client.
    pub trusted: Arc<Roots>,
    /// For a server of the engine's own.
    pub server: Arc<ServerConfig>,
    /// The server's certificate and key.
    pub pem: String,
    /// A list of revoked certificates, with nobody on it.
    pub crl: Vec<u8>,
    /// One with the hybrid group alone.
    pub hybrid_server: Arc<ServerConfig>,
    /// For `mail.example` and `other.example`.
    pub identity: Arc<Identity>,
}

pub fn shared() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["mail.example", "other.example"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = (SystemTime::now() + Duration::from_secs(2_000_000)).into();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let (chain, der) = (certificate.pem(), certificate.der().clone());
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = |groups: usize| {
            let mut crypto = CryptoProvider::clone(&gatepost_trust::profile::provider());
            crypto.kx_groups.truncate(groups);
            let config = ServerConfig::builder_with_provider(Arc::new(crypto))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![der.clone()], private.clone_key())
                .unwrap();
            Arc::new(config)
        };
        let key = key.serialize_pem();
        let now = SystemTime::now();
        let (identity, _) =
            Identity::from_pem(chain.as_bytes(), key.as_bytes(), None, now).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let mut trusted = Roots::none();
        trusted.add(issuer.der().clone()).unwrap();
        Pki {
            roots: Arc::new(roots),
            trusted: Arc::new(trusted),
            server: server(4),
            pem: format!("{chain}{key}"),
            crl: crl(&issuer),
            // The first of our groups is X25519MLKEM768.
            hybrid_server: server(1),
            identity: Arc::new(identity),
        }
    })
}

fn crl(issuer: &CertifiedIssuer<'_, KeyPair>) -> Vec<u8> {
    let now = SystemTime::now();
    let params = CertificateRevocationListParams {
        this_update: (now - Duration::from_secs(3600)).into(),
        next_update: (now + Duration::from_secs(3600)).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().der().to_vec()
}
