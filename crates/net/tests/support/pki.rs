//! An authority and certificates, made once per test binary.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use gatepost_trust::identity::Identity;
use gatepost_trust::verify::Roots;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;

pub struct Pki {
    pub roots: Arc<RootCertStore>,
    /// The same for our own client.
    pub trusted: Arc<Roots>,
    /// For `mail.example` and `other.example`.
    pub identity: Arc<Identity>,
}

pub fn shared() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["mail.example", "other.example"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = (SystemTime::now() + Duration::from_secs(2_000_000)).into();
        let chain = params.signed_by(&key, &issuer).unwrap().pem();
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
            identity: Arc::new(identity),
        }
    })
}
