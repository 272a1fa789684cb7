//! The servers of the laboratory: one that is right, to compare with, and every kind of wrong one, each with its certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;

use crate::exit::Failure;

const DAY: Duration = Duration::from_secs(86_400);

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Right,
    Expired,
    WrongName,
    Stranger,
    NoStartTls,
    Refuses,
    Masked,
    ClearAfter220,
    Injects,
    BadTlsa,
    StsMismatch,
}

/// In the order of their ports.
pub(super) const KINDS: [Kind; 11] = [
    Kind::Right,
    Kind::Expired,
    Kind::WrongName,
    Kind::Stranger,
    Kind::NoStartTls,
    Kind::Refuses,
    Kind::Masked,
    Kind::ClearAfter220,
    Kind::Injects,
    Kind::BadTlsa,
    Kind::StsMismatch,
];

impl Kind {
    /// The word in reports, and the first label of the host's name.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Expired => "expired",
            Self::WrongName => "wrong-name",
            Self::Stranger => "stranger",
            Self::NoStartTls => "no-starttls",
            Self::Refuses => "refuses",
            Self::Masked => "masked",
            Self::ClearAfter220 => "clear-after-220",
            Self::Injects => "injects",
            Self::BadTlsa => "bad-tlsa",
            Self::StsMismatch => "sts-mismatch",
        }
    }

    /// What it does.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Right => "nothing is wrong: to compare with",
            Self::Expired => "the certificate ended yesterday",
            Self::WrongName => "the certificate is for another name",
            Self::Stranger => "the certificate is of an authority nobody knows",
            Self::NoStartTls => "STARTTLS is not offered",
            Self::Refuses => "STARTTLS is offered, then answered with 454",
            Self::Masked => "the keyword STARTTLS is overwritten",
            Self::ClearAfter220 => "STARTTLS is answered with 220, then clear text follows",
            Self::Injects => "a reply stands behind the 220, before TLS",
            Self::BadTlsa => {
                "the certificate is good; publish the TLSA record shown, which does not match"
            }
            Self::StsMismatch => {
                "the certificate is good; publish the MTA-STS policy shown, which names another host"
            }
        }
    }

    /// Whether STARTTLS stands in the reply to EHLO.
    pub(super) const fn offers(self) -> bool {
        !matches!(self, Self::NoStartTls | Self::Masked)
    }
}

/// The authorities of a laboratory: its own, which clients are told to trust, and one they are not.
pub(super) struct Authorities {
    ours: (CertificateParams, KeyPair, String),
    stranger: (CertificateParams, KeyPair, String),
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::local(format!(
        "cannot make the laboratory's certificates: {error}"
    ))
}

fn authority(name: &str) -> Result<(CertificateParams, KeyPair, String), Failure> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * 90).into();
    let pem = params.self_signed(&key).map_err(failed)?.pem();
    Ok((params, key, pem))
}

impl Authorities {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            ours: authority("Gatepost laboratory")?,
            stranger: authority("Somebody else")?,
        })
    }

    /// The certificate to trust, in PEM.
    pub(super) fn pem(&self) -> &str {
        &self.ours.2
    }

    /// The TLS of a server under this host name.
    pub(super) fn tls(&self, kind: Kind, host: &str) -> Result<Arc<ServerConfig>, Failure> {
        let other = format!("other.{host}");
        let name = if kind == Kind::WrongName {
            &other
        } else {
            host
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        // Not the authority's name: some programs would take it for signed by itself.
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = (now - DAY * 30).into();
        let ends = if kind == Kind::Expired {
            now - DAY
        } else {
            now + DAY * 60
        };
        params.not_after = ends.into();
        let (authority, signer, _) = if kind == Kind::Stranger {
            &self.stranger
        } else {
            &self.ours
        };
        let issuer = Issuer::from_params(authority, signer);
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(failed)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .map_err(failed)?;
        Ok(Arc::new(config))
    }
}
