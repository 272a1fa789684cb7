//! The `openssl` command as a second opinion, and as a maker of what our other tools do not make: OCSP answers, weak keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gatepost_testkit::pki::pem;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A folder for files, and the command.
pub(crate) struct OpenSsl {
    folder: tempfile::TempDir,
}

impl OpenSsl {
    /// None, said aloud, where there is no such command.
    pub(crate) fn find() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: there is no openssl command");
            return None;
        }
        Some(Self {
            folder: tempfile::tempdir().unwrap(),
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn write_certificates(
        &self,
        name: &str,
        certificates: &[CertificateDer<'_>],
    ) -> PathBuf {
        let text: String = certificates
            .iter()
            .map(|it| pem("CERTIFICATE", it))
            .collect();
        self.write(name, text)
    }

    pub(crate) fn read_certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// Runs `openssl` in the folder, arguments cut at spaces.
    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.run_list(&arguments.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn run_list(&self, arguments: &[&str]) -> Output {
        Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// The same, and it must succeed.
    pub(crate) fn must(&self, arguments: &str) {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "openssl {arguments}: {text}");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
