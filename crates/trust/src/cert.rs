//! Certificates for people: what one says of itself, and what is wrong with a chain as its operator would put it on a server.
//!
//! [`describe`] and [`lint`] return data; how it looks is the program's. The lints know what public authorities may issue
//! (RFC 5280, the Baseline Requirements of the CA/Browser Forum with ballot SC-081v3) and what mail clients look at. They do
//! not ask anybody: whether the chain is trusted from here is the judge's ([`crate::verify::judge`]).

mod lint;

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub use lint::{Finding, LintTerms, Rule, Severity, lint};

use crate::der;
use crate::pin::Pin;
use crate::tlsa::Tlsa;
use crate::verify::{PublicKeyKind, Reference, SignatureKind};
use crate::x509::Certificate;
pub use crate::x509::Timestamp;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one statement of the certificate, made or not"
)]
pub struct Description {
    /// The subject, in words.
    pub subject: String,
    /// The issuer, in words.
    pub issuer: String,
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// The subject alternative names mail looks at: DNS names, addresses, `_service.domain`.
    pub names: Vec<String>,
    /// Common names of the subject; they do not count as names.
    pub common_names: Vec<String>,
    /// The first second it is good.
    pub not_before: SystemTime,
    /// The last second it is good.
    pub not_after: SystemTime,
    /// Its key.
    pub key: PublicKeyKind,
    /// What it is signed with.
    pub signature: SignatureKind,
    /// Whether it is that of an authority.
    pub is_authority: bool,
    /// Whether subject and issuer are the same.
    pub is_self_issued: bool,
    /// Whether it may be used by TLS servers.
    pub for_servers: bool,
    /// Whether it must come with an OCSP answer (RFC 7633).
    pub must_staple: bool,
    /// The pin of its key.
    pub key_pin: Pin,
    /// The pin of the whole certificate.
    pub certificate_pin: Pin,
    /// The TLSA record `3 1 1` for it.
    pub tlsa: Tlsa,
    /// Where lists of what its issuer has revoked are.
    pub crl_urls: Vec<String>,
    /// Where its issuer answers OCSP.
    pub ocsp_urls: Vec<String>,
    /// Where its issuer's certificate is.
    pub issuer_urls: Vec<String>,
    /// The signed certificate timestamps it holds (RFC 6962 3.3). [CT-01]
    pub timestamps: Vec<Timestamp>,
}

/// Some bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this is not a certificate")
    }
}

impl std::error::Error for Unreadable {}

/// Reads certificates from the content of a file: PEM (all there are), or one in DER.
pub fn read_chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unreadable> {
    if bytes.first() == Some(&der::SEQUENCE) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| Unreadable)?;
    if chain.is_empty() {
        return Err(Unreadable);
    }
    Ok(chain)
}

impl Description {
    /// The common name that is this host's, where none of the names that count is: why the certificate is refused, and what to order anew.
    /// [CONF-04]
    pub fn hidden_name(&self, host: &Reference) -> Option<&str> {
        let counts = |it: &String| host.is_common_name(it);
        if self.names.iter().any(counts) {
            return None;
        }
        let mut hidden = self.common_names.iter();
        hidden.find(|it| counts(it)).map(String::as_str)
    }
}

/// Describes a certificate.
pub fn describe(certificate: &CertificateDer<'_>) -> Result<Description, Unreadable> {
    let tlsa = Tlsa::for_certificate(certificate, 3, 1, 1).ok_or(Unreadable)?;
    let read = Certificate::read(certificate).map_err(|_| Unreadable)?;
    let is_self_issued = read.is_self_issued();
    let serial = read.serial.iter().map(|octet| format!("{octet:02x}"));
    Ok(Description {
        serial: serial.collect(),
        names: read.names.to_list(),
        not_before: read.not_before,
        not_after: read.not_after,
        key: read.key,
        signature: read.signature,
        is_authority: read.is_ca,
        is_self_issued,
        for_servers: read.purposes.is_none_or(|it| it.server),
        must_staple: read.must_staple,
        key_pin: Pin::Spki(read.spki_hash()),
        certificate_pin: Pin::Certificate(read.hash()),
        tlsa,
        timestamps: read.timestamps,
        subject: read.subject,
        issuer: read.issuer,
        common_names: read.common_names,
        crl_urls: read.crl_urls,
        ocsp_urls: read.ocsp_urls,
        issuer_urls: read.issuer_urls,
    })
}

#[cfg(test)]
#[path = "cert/tests.rs"]
mod tests;
