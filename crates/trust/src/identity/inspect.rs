//! What a certificate says of itself (RFC 5280), and whether we can serve with it.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::error::{IdentityError, IdentityWarning};
use super::{KeyKind, coverage};
use crate::verify::{PublicKeyKind, SignatureKind, is_weak};
use crate::x509::Certificate;

/// Warn when less than this part of the certificate's life is left: lives grow shorter, a number of days would not fit
/// [CERT-02].
const LAST_PART: u32 = 3;

/// What a leaf says of itself.
pub(super) struct Leaf {
    pub(super) kind: KeyKind,
    pub(super) names: Vec<String>,
    certificate: Certificate,
}

impl Leaf {
    pub(super) fn not_after(&self) -> SystemTime {
        self.certificate.not_after
    }

    pub(super) fn end_point_hash(&self) -> Box<[u8]> {
        self.certificate.end_point_hash()
    }
}

/// Reads the leaf.
pub(super) fn leaf(der: &CertificateDer<'_>) -> Result<Leaf, IdentityError> {
    let certificate = Certificate::read(der).map_err(|_| IdentityError::BadCertificate(1))?;
    let addresses = certificate.names.addresses.iter();
    let addresses = addresses.map(ToString::to_string);
    Ok(Leaf {
        kind: key_kind(certificate.key)?,
        names: certificate
            .names
            .dns
            .iter()
            .cloned()
            .chain(addresses)
            .collect(),
        certificate,
    })
}

/// What a chain says of itself.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) warnings: Vec<IdentityWarning>,
    /// By what its certificates are signed, as IANA numbers; none: by what TLS has no name for.
    pub(super) signed_by: Vec<Option<u16>>,
}

/// Checks the signatures and the order of all certificates. A self-signed one is trusted or not whatever its signature.
pub(super) fn chain(chain: &[CertificateDer<'_>]) -> Result<Chain, IdentityError> {
    let mut told = Chain::default();
    let mut issuer: Option<Vec<u8>> = None;
    for (number, der) in (1..).zip(chain) {
        let certificate =
            Certificate::read(der).map_err(|_| IdentityError::BadCertificate(number))?;
        if issuer.is_some_and(|issuer| issuer != certificate.subject_der) {
            let warning = IdentityWarning::ChainOutOfOrder(number - 1);
            told.warnings.push(warning);
        }
        if !certificate.is_self_issued() && certificate.signature != SignatureKind::Strong {
            return Err(IdentityError::WeakSignature(number));
        }
        if !certificate.is_self_issued() {
            told.signed_by.push(certificate.signature_scheme);
        }
        issuer = Some(certificate.issuer_der);
    }
    Ok(told)
}

/// Whether we can serve with this leaf, now and under this name.
pub(super) fn judge(
    leaf: &Leaf,
    host: Option<&str>,
    now: SystemTime,
) -> Result<Vec<IdentityWarning>, IdentityError> {
    let certificate = &leaf.certificate;
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    // What `openssl req -x509` makes is both at once: usable by those who trust exactly it.
    if certificate.is_ca && !certificate.is_self_issued() {
        return Err(IdentityError::IsAuthority);
    }
    let for_servers = certificate.purposes.is_none_or(|it| it.server || it.any);
    if !for_servers {
        return Err(IdentityError::NotForServers);
    }
    if certificate.must_staple {
        return Err(IdentityError::MustStaple);
    }
    if now < not_before {
        return Err(IdentityError::NotYetValid(not_before));
    }
    if now > not_after {
        return Err(IdentityError::Expired(not_after));
    }
    if leaf.names.is_empty() {
        return Err(IdentityError::NoNames);
    }
    if let Some(host) = host {
        let host = host.to_ascii_lowercase();
        if coverage(&leaf.names, &host).is_none() {
            return Err(IdentityError::NotForHost {
                host,
                names: leaf.names.clone(),
            });
        }
    }
    let life = certificate.life();
    let soon = not_after
        .duration_since(now)
        .is_ok_and(|left| left < life / LAST_PART);
    let mut warnings = Vec::new();
    if certificate.is_ca {
        warnings.push(IdentityWarning::SelfSignedAuthority);
    }
    if soon {
        warnings.push(IdentityWarning::EndsSoon(not_after));
    }
    Ok(warnings)
}

/// [TLS-KEY-01]
fn key_kind(key: PublicKeyKind) -> Result<KeyKind, IdentityError> {
    match key {
        PublicKeyKind::Rsa(bits) if is_weak(key) => Err(IdentityError::WeakRsa(bits)),
        PublicKeyKind::Rsa(_) => Ok(KeyKind::Rsa),
        PublicKeyKind::P256 => Ok(KeyKind::EcdsaP256),
        PublicKeyKind::P384 => Ok(KeyKind::EcdsaP384),
        PublicKeyKind::P521 => Ok(KeyKind::EcdsaP521),
        PublicKeyKind::Ed25519 => Ok(KeyKind::Ed25519),
        PublicKeyKind::OtherCurve(_) | PublicKeyKind::MlDsa | PublicKeyKind::Other => {
            Err(IdentityError::UnsupportedKey)
        }
    }
}
