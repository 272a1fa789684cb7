//! Certificates of clients: which signatures the server asks for, and which it takes [TLS-SIG-02].
//!
//! In TLS 1.3 the request is encrypted, so it is read by a client: by our engine, whose signer is shown the list, and by openssl.

mod support;

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use gatepost_trust::client_ca::ClientCa;
use gatepost_trust::profile::{Mode, Service, provider};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_RSA_SHA256,
};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, Error, SignatureAlgorithm, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::client::{alert_of, ask, hear, implicit};
use support::{Server, Setup, pki};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// Hash functions 1 and 2 are MD5 and SHA-1 (RFC 5246 7.4.1.4.1); in TLS 1.3 they keep their numbers (RFC 9846 4.2.3).
fn is_broken(scheme: SignatureScheme) -> bool {
    matches!(u16::from(scheme) >> 8, 0..=2)
}

/// A client's certificate and key, and a server that asks for it.
struct World {
    server: Server,
    folder: tempfile::TempDir,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
}

/// With a key of RSA: of the schemes with MD5 and SHA-1 most are for such.
fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut params = CertificateParams::new(["ann@mail.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), issuer.pem()).unwrap();
    std::fs::write(path("client.pem"), certificate.pem() + &key.serialize_pem()).unwrap();
    let server = Setup {
        clients: Some(ClientCa::read(&path("ca.pem"), None).unwrap()),
        ..Setup::new(Service::Imap, Mode::Implicit)
    };
    World {
        server: server.start(),
        chain: vec![certificate.der().clone()],
        key: provider().key_provider.load_private_key(der).unwrap(),
        folder,
    }
}

impl World {
    /// A client that says its signature is of this scheme, if it is to lie; and the list it will be shown.
    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        lie: Option<SignatureScheme>,
    ) -> (Arc<ClientConfig>, Arc<Mutex<Vec<SignatureScheme>>>) {
        let asked = Arc::default();
        let key = Arc::new(Key {
            honest: Arc::clone(&self.key),
            lie,
            asked: Arc::clone(&asked),
        });
        let shown = SingleCertAndKey::from(CertifiedKey::new(self.chain.clone(), key));
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(Arc::clone(&pki::shared().roots))
            .with_client_cert_resolver(Arc::new(shown));
        (Arc::new(config), asked)
    }

    /// What openssl reads in the request; none where there is no openssl.
    fn openssl(&self, version: &str) -> Option<String> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &self.server.address.to_string()]);
        command.args([version, "-cipher", "ALL:@SECLEVEL=0", "-cert"]);
        command.arg(self.folder.path().join("client.pem"));
        let output = command.stdin(Stdio::null()).output();
        let output = output.inspect_err(|_| println!("skipped: openssl is not there"));
        Some(String::from_utf8_lossy(&output.ok()?.stdout).into_owned())
    }
}

/// A key that keeps the list it was shown, and can give its signature another name.
#[derive(Debug)]
struct Key {
    honest: Arc<dyn SigningKey>,
    lie: Option<SignatureScheme>,
    asked: Arc<Mutex<Vec<SignatureScheme>>>,
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        *self.asked.lock().unwrap() = offered.to_vec();
        let honest = self.honest.choose_scheme(offered)?;
        let scheme = self.lie.unwrap_or(honest.scheme());
        Some(Box::new(Named { honest, scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.honest.algorithm()
    }
}

#[derive(Debug)]
struct Named {
    honest: Box<dyn Signer>,
    scheme: SignatureScheme,
}

impl Signer for Named {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.honest.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

#[test]
fn clients_are_asked_for_no_signature_with_a_broken_hash_function() {
    // [TLS-SIG-02] RFC 9155 2
    let world = world();
    for version in VERSIONS {
        let (config, asked) = world.client(version, None);
        let mut tls = implicit(&world.server, &config, "mail.example").unwrap();
        assert_eq!(hear(&mut tls), "220 inside\r\n");
        let asked = asked.lock().unwrap().clone();
        assert!(asked.contains(&SignatureScheme::RSA_PSS_SHA256));
        assert!(!asked.iter().any(|it| is_broken(*it)), "{asked:?}");
    }
    for version in ["-tls1_3", "-tls1_2"] {
        let Some(told) = world.openssl(version) else {
            return;
        };
        let asked = told
            .lines()
            .find(|line| line.starts_with("Requested Signature Algorithms: "))
            .unwrap_or_else(|| panic!("{version}: {told}"));
        assert!(asked.contains("RSA-PSS+SHA256"), "{asked}");
        assert!(!asked.contains("SHA1") && !asked.contains("MD5"), "{asked}");
        // The types of keys, of which TLS 1.2 tells by itself, are asked for without a hash.
        assert!(!told.contains("+SHA1") && !told.contains("+MD5"), "{told}");
    }
}

#[test]
fn a_client_that_signs_with_a_broken_hash_function_is_refused() {
    // [TLS-SIG-02] RFC 9155 3: MD5 and SHA-1; the last is one our engine has no name for.
    let world = world();
    for version in VERSIONS {
        for scheme in [
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::Unknown(0x0101),
        ] {
            let (config, _) = world.client(version, Some(scheme));
            // In TLS 1.3 the client is done before the server has judged.
            let error = implicit(&world.server, &config, "mail.example")
                .and_then(|mut tls| support::client::rest(&mut tls))
                .unwrap_err();
            // Not decrypt_error: the signature itself is good, it is refused by its name.
            assert_eq!(
                alert_of(&error),
                Some(AlertDescription::IllegalParameter),
                "{scheme:?}: {error}"
            );
        }
        let (config, _) = world.client(version, None);
        let mut tls = implicit(&world.server, &config, "mail.example").unwrap();
        assert_eq!(hear(&mut tls), "220 inside\r\n");
        assert_eq!(ask(&mut tls, "QUIT"), "221 bye\r\n");
    }
}
