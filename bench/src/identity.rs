//! The certificate every server under test presents: gatepost's own when it is there, else one of the same kind made here
//! (a CA and an ECDSA P-256 certificate for `localhost` and 127.0.0.1), so that no server has cheaper cryptography.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::fault::Fault;

/// A certificate, its key and its CA, as files (for peers) and as bytes (for our own ends).
#[derive(Debug)]
pub(crate) struct Identity {
    /// Certificate chain, PEM, leaf first.
    pub(crate) certificate_file: PathBuf,
    /// Private key, PEM.
    pub(crate) key_file: PathBuf,
    /// The CA that signed the leaf.
    pub(crate) authority: CertificateDer<'static>,
    /// The chain.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads `cert.pem`, `key.pem` and `ca.pem` from `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Self, Fault> {
        let authority = CertificateDer::from_pem_file(folder.join("ca.pem"))?;
        Self::read_files(&folder.join("cert.pem"), &folder.join("key.pem"), authority)
    }

    /// Reads the chain and the key from their own files; the last certificate of the chain stands in for the CA.
    pub(crate) fn read_pair(certificate_file: &Path, key_file: &Path) -> Result<Self, Fault> {
        let authority = CertificateDer::from_pem_file(certificate_file)?;
        Self::read_files(certificate_file, key_file, authority)
    }

    fn read_files(
        certificate: &Path,
        key: &Path,
        authority: CertificateDer<'static>,
    ) -> Result<Self, Fault> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            certificate_file: certificate.to_path_buf(),
            key_file: key.to_path_buf(),
            authority,
            chain,
            key: PrivateKeyDer::from_pem_file(key)?,
        })
    }

    /// Makes a CA and a leaf in `folder` and reads them back.
    pub(crate) fn make(folder: &Path) -> Result<Self, Fault> {
        let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority
            .distinguished_name
            .push(DnType::CommonName, "Benchmark CA");
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let names = ["localhost", "mail.gatepost.test", "127.0.0.1", "::1"].map(str::to_owned);
        let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let write = |name: &str, text: String| {
            fs::write(folder.join(name), text)
                .map_err(Fault::at("writing the benchmark's certificate"))
        };
        fs::create_dir_all(folder).map_err(Fault::at("making the certificate folder"))?;
        write("ca.pem", authority_certificate.pem())?;
        write("cert.pem", leaf.pem())?;
        write("key.pem", key.serialize_pem())?;
        Self::read(folder)
    }

    /// A copy of the private key.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn a_made_identity_is_read_back() {
        let folder = tempfile::tempdir().expect("folder");
        let identity = Identity::make(folder.path()).expect("identity");
        assert_eq!(identity.chain.len(), 1);
        assert_ne!(identity.chain[0], identity.authority);
    }
}
