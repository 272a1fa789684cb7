//! Certificates of clients: who vouches for them, and whose they are.
//!
//! - The authorities are the operator's own [SASL-EXT-02]: those of the web vouch for no users.
//! - A client may show no certificate. One that shows one which does not verify gets no connection.
//! - With revocation lists (RFC 5280 5) every certificate of the chain must be spoken of by one that is in force: a certificate that was
//!   revoked verifies no more, and neither does one that no list, or only one whose time is over, speaks of.
//! - The name is the one mail address among the subject alternative names. Without one, or with several, it is nobody's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::profile;
use crate::x509::Certificate;

/// The longest name, as of mail addresses.
const LONGEST: usize = 254;

/// The authorities that vouch for clients, and what they have revoked.
#[derive(Clone)]
pub struct ClientCa {
    authorities: PathBuf,
    revoked: Option<PathBuf>,
    /// Shared by all clones: what is read again counts for all services.
    verifier: Arc<RwLock<Verifier>>,
}

type Verifier = Arc<dyn ClientCertVerifier>;

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCa")
            .field("authorities", &self.authorities)
            .field("revoked", &self.revoked)
            .finish_non_exhaustive()
    }
}

impl ClientCa {
    /// Reads the authorities in a PEM file, and the revocation lists in another one (PEM, or one list in DER).
    ///
    /// # Errors
    /// What is wrong with a file, in words for the operator.
    pub fn read(authorities: &Path, revoked: Option<&Path>) -> Result<Self, String> {
        Ok(Self {
            authorities: authorities.to_owned(),
            revoked: revoked.map(Path::to_owned),
            verifier: Arc::new(RwLock::new(verifier(authorities, revoked)?)),
        })
    }

    /// Reads the files again. Configurations that are made from now on follow them.
    ///
    /// # Errors
    /// The same; what was read before stays.
    pub fn renew(&self) -> Result<(), String> {
        let verifier = verifier(&self.authorities, self.revoked.as_deref())?;
        *self
            .verifier
            .write()
            .unwrap_or_else(PoisonError::into_inner) = verifier;
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.authorities.as_path()).chain(self.revoked.as_deref())
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn verifier(authorities: &Path, revoked: Option<&Path>) -> Result<Verifier, String> {
    let roots = Arc::new(roots(authorities)?);
    // [TLS-SIG-02] The provider's schemes are what is asked for and what is taken: none with MD5 or SHA-1.
    let builder = WebPkiClientVerifier::builder_with_provider(roots, profile::provider());
    let builder = match revoked {
        // [SASL-EXT-02] for the whole chain, and by lists that are in force.
        Some(file) => builder
            .with_crls(lists(file)?)
            .enforce_revocation_expiration(),
        None => builder,
    };
    let built = builder.allow_unauthenticated().build();
    let verifier = built.map_err(|error| {
        let file = revoked.unwrap_or(authorities);
        wrong(file, &format_args!("it cannot be used: {error}"))
    })?;
    Ok(verifier)
}

fn wrong(file: &Path, what: &dyn fmt::Display) -> String {
    format!("{}: {what}", file.display())
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let pem = std::fs::read(file).map_err(|error| wrong(file, &error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| wrong(file, &"it is damaged"))?;
        roots
            .add(certificate)
            .map_err(|_| wrong(file, &"it holds a certificate that is none of an authority"))?;
    }
    if roots.is_empty() {
        return Err(wrong(file, &"it holds no certificate"));
    }
    Ok(roots)
}

/// The lists in a file. None would mean that nothing is looked at, so there must be one.
fn lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let octets = std::fs::read(file).map_err(|error| wrong(file, &error))?;
    // A sequence in DER; no PEM begins so.
    if octets.first() == Some(&0x30) {
        return Ok(vec![octets.into()]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&octets).collect();
    match lists {
        Ok(lists) if lists.is_empty() => Err(wrong(file, &"it holds no revocation list")),
        Ok(lists) => Ok(lists),
        Err(_) => Err(wrong(file, &"it is damaged")),
    }
}

/// What a client's certificate says of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name it gives to its user: its only address.
    pub user: Option<String>,
    /// Its first common name. Told on, never judged by.
    pub common_name: Option<String>,
}

/// What a client's chain says. Whether the chain is good was judged in the handshake.
pub fn read_client(chain: &[CertificateDer<'_>]) -> Option<Shown> {
    let certificate = Certificate::read(chain.first()?).ok()?;
    let is_plain = |it: char| !it.is_control() && !it.is_whitespace();
    let fits = |it: &&String| it.len() <= LONGEST && it.contains('@') && it.chars().all(is_plain);
    let user = match certificate.names.emails.as_slice() {
        [address] => Some(address).filter(fits).cloned(),
        _ => None,
    };
    let common_name = certificate.common_names.into_iter().next();
    Some(Shown { user, common_name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_testkit::pki::{Authority, Issued, now, pem};
    use rustls_pki_types::UnixTime;
    use std::time::{Duration, UNIX_EPOCH};

    fn shown(clients: &ClientCa, issued: &Issued, at: Duration) -> bool {
        let at = UnixTime::since_unix_epoch(at);
        let verifier = clients.verifier();
        verifier
            .verify_client_cert(&issued.certificate, &[], at)
            .is_ok()
    }

    // [SASL-EXT-02]
    #[test]
    fn who_was_revoked_is_refused_and_lists_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (root, other) = (Authority::root("Root"), Authority::root("Other"));
        let (ann, ben) = (client(&root), client(&root));
        let (authorities, revoked) = (folder.path().join("ca.pem"), folder.path().join("crl.pem"));
        let roots = [&root, &other].map(|it| pem("CERTIFICATE", &it.certificate));
        std::fs::write(&authorities, roots.concat()).unwrap();
        std::fs::write(&revoked, pem("X509 CRL", &root.crl(&[]))).unwrap();
        let clients = ClientCa::read(&authorities, Some(&revoked)).unwrap();
        let at = now().duration_since(UNIX_EPOCH).unwrap();
        assert!(shown(&clients, &ann, at) && shown(&clients, &ben, at));
        // No list speaks of it.
        assert!(!shown(&clients, &client(&other), at));
        // The list's time is over.
        assert!(!shown(
            &clients,
            &ann,
            at + Duration::from_secs(10 * 24 * 60 * 60)
        ));
        // In DER, too; another clone sees it.
        std::fs::write(&revoked, root.crl(&[&ann.serial])).unwrap();
        clients.clone().renew().unwrap();
        assert!(!shown(&clients, &ann, at) && shown(&clients, &ben, at));
        // What cannot be read changes nothing.
        std::fs::write(&revoked, "nothing").unwrap();
        assert!(clients.renew().unwrap_err().contains("no revocation list"));
        std::fs::write(&revoked, b"0nothing").unwrap();
        assert!(clients.renew().is_err());
        assert!(!shown(&clients, &ann, at));
        assert!(ClientCa::read(&authorities, Some(&revoked)).is_err());
        let without = ClientCa::read(&authorities, None).unwrap();
        assert!(shown(&without, &ann, at) && without.files().count() == 1);
    }

    fn client(authority: &Authority) -> Issued {
        authority.issue_with(&["client.example"], |it| {
            it.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        })
    }
}
