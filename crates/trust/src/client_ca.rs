//! Certificates of clients: who vouches for them, and whose they are.
//!
//! - The authorities are the operator's own [SASL-EXT-02]: those of the web vouch for no users.
//! - A client may show no certificate. One that shows one which does not verify gets no connection.
//! - The name is the one mail address among the subject alternative names. Without one, or with several, it is nobody's.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::profile;
use crate::x509::Certificate;

/// The longest name, as of mail addresses.
const LONGEST: usize = 254;

/// The authorities that vouch for clients.
#[derive(Clone)]
pub struct ClientCa(Arc<dyn ClientCertVerifier>);

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCa").finish_non_exhaustive()
    }
}

impl ClientCa {
    /// Reads the authorities in a PEM file.
    ///
    /// # Errors
    /// What is wrong with the file, in words for the operator.
    pub fn read(file: &Path) -> Result<Self, String> {
        let wrong = |what: &dyn fmt::Display| format!("{}: {what}", file.display());
        let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| wrong(&"it is damaged"))?;
            roots
                .add(certificate)
                .map_err(|_| wrong(&"it holds a certificate that is none of an authority"))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"it holds no certificate"));
        }
        let (roots, provider) = (Arc::new(roots), profile::provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .allow_unauthenticated()
            .build();
        verifier
            .map(Self)
            .map_err(|_| wrong(&"its authorities cannot be used"))
    }

    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0)
    }
}

/// The name a client's chain gives. Whether the chain is good was judged in the handshake.
pub fn client_name(chain: &[CertificateDer<'_>]) -> Option<String> {
    let certificate = Certificate::read(chain.first()?).ok()?;
    let [address] = certificate.names.emails.as_slice() else {
        return None;
    };
    let is_plain = |it: char| !it.is_control() && !it.is_whitespace();
    let fits = address.len() <= LONGEST && address.contains('@') && address.chars().all(is_plain);
    fits.then(|| address.clone())
}
