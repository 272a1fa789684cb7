//! Whom we trust to vouch for others: the system's authorities, files, or nobody.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// The most octets of a file of authorities: far more than any system has.
const LARGEST: u64 = 64 << 20;

/// Trusted authorities.
#[derive(Clone, Default)]
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// The certificates that were named by the user, as they are: a server's own self-signed one may be among them.
    listed: Vec<CertificateDer<'static>>,
}

/// Why authorities could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootsError {
    /// The system has no store of authorities, or it cannot be read.
    NoSystemStore,
    /// A file cannot be read.
    File(PathBuf, std::io::ErrorKind),
    /// A file holds no certificate in PEM.
    Empty(PathBuf),
    /// A file holds something that is not a certificate.
    Damaged(PathBuf),
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSystemStore => f.write_str(
                "the system has no trusted authorities (package ca-certificates); name some with --ca",
            ),
            Self::File(path, kind) => write!(f, "cannot read {}: {kind}", path.display()),
            Self::Empty(path) => write!(f, "{} holds no certificate in PEM form", path.display()),
            Self::Damaged(path) => {
                write!(f, "{} holds something that is not a certificate", path.display())
            }
        }
    }
}

impl std::error::Error for RootsError {}

impl Roots {
    /// Nobody.
    pub fn none() -> Self {
        Self::default()
    }

    /// The system's authorities. The variables `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured. Certificates the system has
    /// but that cannot be read are left out.
    pub fn system() -> Result<Self, RootsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = Self::none();
        for certificate in found.certs {
            // Old authorities that are not quite RFC 5280 are of no use and no reason to stop.
            let _ = roots.add_anchor(&certificate);
        }
        if roots.anchors.is_empty() {
            return Err(RootsError::NoSystemStore);
        }
        Ok(roots)
    }

    /// Adds the certificates of a PEM file. A self-signed certificate of a server may stand here too: it is then trusted
    /// as itself.
    pub fn add_file(&mut self, path: &Path) -> Result<(), RootsError> {
        // A device has no end.
        let mut pem = Vec::new();
        let read = File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut pem))
            .map_err(|error| RootsError::File(path.to_path_buf(), error.kind()))?;
        // Cut off, it would lack authorities, and nobody would know.
        if read as u64 > LARGEST {
            let kind = std::io::ErrorKind::FileTooLarge;
            return Err(RootsError::File(path.to_path_buf(), kind));
        }
        let damaged = || RootsError::Damaged(path.to_path_buf());
        let before = self.listed.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| damaged())?;
            self.add(certificate).ok_or_else(damaged)?;
        }
        if self.listed.len() == before {
            return Err(RootsError::Empty(path.to_path_buf()));
        }
        Ok(())
    }

    /// Adds one certificate. None when it cannot be read.
    pub fn add(&mut self, certificate: CertificateDer<'static>) -> Option<()> {
        self.add_anchor(&certificate)?;
        self.listed.push(certificate);
        Some(())
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    fn add_anchor(&mut self, certificate: &CertificateDer<'_>) -> Option<()> {
        let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?;
        self.anchors.push(anchor.to_owned());
        Some(())
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// Whether an authority of this name (with its SEQUENCE) is among them.
    pub(crate) fn knows_subject(&self, name: &[u8]) -> bool {
        let content = crate::der::Reader::new(name).take(crate::der::SEQUENCE);
        let is_it = |anchor: &TrustAnchor<'_>| Some(anchor.subject.as_ref()) == content;
        self.anchors.iter().any(is_it)
    }

    pub(crate) fn lists(&self, certificate: &CertificateDer<'_>) -> bool {
        self.listed.contains(certificate)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.anchors.len())
    }
}

#[cfg(test)]
mod tests {
    use gatepost_testkit::pki::{Authority, pem};

    use super::*;

    #[test]
    fn files_that_hold_something_else_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let load = |content: &str| {
            std::fs::write(&path, content).unwrap();
            let mut roots = Roots::none();
            roots.add_file(&path).map(|()| roots.len())
        };
        let one = pem("CERTIFICATE", &Authority::root("Root").certificate);
        assert_eq!(load(&one), Ok(1));
        assert_eq!(load(&format!("{one}{one}")), Ok(2));
        assert_eq!(load("hello"), Err(RootsError::Empty(path.clone())));
        let rubbish = pem("CERTIFICATE", &[0x30, 0]);
        assert_eq!(load(&rubbish), Err(RootsError::Damaged(path.clone())));
        let absent = folder.path().join("absent.pem");
        let error = Roots::none().add_file(&absent).unwrap_err();
        assert_eq!(
            error,
            RootsError::File(absent, std::io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn the_systems_authorities_are_found_where_there_are_any() {
        match Roots::system() {
            Ok(roots) => assert!(!roots.is_empty()),
            Err(error) => assert_eq!(error, RootsError::NoSystemStore),
        }
    }
}
