//! What a certificate says of itself (RFC 5280), and whether we can serve with it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::der_parser::oid::Oid;
use x509_parser::oid_registry as oids;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;

use super::error::{IdentityError, IdentityWarning};
use super::{KeyKind, coverage};

/// Warn when less than this part of the certificate's life is left: lives grow shorter, a number of days would not fit
/// [CERT-02].
const LAST_PART: u32 = 3;
/// The fewest bits of an RSA key [TLS-KEY-01].
const RSA_BITS: usize = 2048;
/// The OID of the TLS feature extension (RFC 7633) `1.3.6.1.5.5.7.1.24`, and the feature `status_request` as its content.
const TLS_FEATURE: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 1, 24];
const STATUS_REQUEST: [u8; 3] = [2, 1, 5];

/// `ecdsa-with-SHA1` (RFC 3279 2.2.3), which the registry crate does not have.
const ECDSA_WITH_SHA1: Oid<'static> = x509_parser::der_parser::oid!(1.2.840.10045.4.1);

/// What a leaf says of itself.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one statement of the certificate, made or not"
)]
pub(super) struct Leaf {
    pub(super) kind: KeyKind,
    pub(super) names: Vec<String>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) end_point_hash: Box<[u8]>,
    is_authority: bool,
    is_self_signed: bool,
    for_servers: bool,
    must_staple: bool,
}

/// Reads the leaf.
pub(super) fn leaf(der: &CertificateDer<'_>) -> Result<Leaf, IdentityError> {
    const BAD: IdentityError = IdentityError::BadCertificate(1);
    let certificate = parse(der).ok_or(BAD)?;
    let usage = certificate.extended_key_usage().map_err(|_| BAD)?;
    Ok(Leaf {
        kind: key_kind(&certificate)?,
        names: names(&certificate).ok_or(BAD)?,
        not_before: moment(certificate.validity().not_before.timestamp()),
        not_after: moment(certificate.validity().not_after.timestamp()),
        end_point_hash: end_point_hash(&certificate, der),
        is_authority: certificate.is_ca(),
        is_self_signed: certificate.issuer().as_raw() == certificate.subject().as_raw(),
        for_servers: usage.is_none_or(|it| it.value.server_auth || it.value.any),
        must_staple: must_staple(&certificate),
    })
}

/// Checks the signatures and the order of all certificates. A self-signed one is trusted or not whatever its signature.
pub(super) fn chain(chain: &[CertificateDer<'_>]) -> Result<Vec<IdentityWarning>, IdentityError> {
    let mut warnings = Vec::new();
    let mut issuer: Option<Vec<u8>> = None;
    for (number, der) in (1..).zip(chain) {
        let certificate = parse(der).ok_or(IdentityError::BadCertificate(number))?;
        let subject = certificate.subject().as_raw();
        if issuer.is_some_and(|issuer| issuer != subject) {
            warnings.push(IdentityWarning::ChainOutOfOrder(number - 1));
        }
        let self_signed = certificate.issuer().as_raw() == subject;
        if !self_signed && weak_signature(&certificate) {
            return Err(IdentityError::WeakSignature(number));
        }
        issuer = Some(certificate.issuer().as_raw().to_vec());
    }
    Ok(warnings)
}

/// Whether we can serve with this leaf, now and under this name.
pub(super) fn judge(
    leaf: &Leaf,
    host: Option<&str>,
    now: SystemTime,
) -> Result<Vec<IdentityWarning>, IdentityError> {
    // What `openssl req -x509` makes is both at once: usable by those who trust exactly it.
    if leaf.is_authority && !leaf.is_self_signed {
        return Err(IdentityError::IsAuthority);
    }
    if !leaf.for_servers {
        return Err(IdentityError::NotForServers);
    }
    if leaf.must_staple {
        return Err(IdentityError::MustStaple);
    }
    if now < leaf.not_before {
        return Err(IdentityError::NotYetValid(leaf.not_before));
    }
    if now > leaf.not_after {
        return Err(IdentityError::Expired(leaf.not_after));
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
    let life = leaf
        .not_after
        .duration_since(leaf.not_before)
        .unwrap_or_default();
    let soon = leaf
        .not_after
        .duration_since(now)
        .is_ok_and(|left| left < life / LAST_PART);
    let mut warnings = Vec::new();
    if leaf.is_authority {
        warnings.push(IdentityWarning::SelfSignedAuthority);
    }
    if soon {
        warnings.push(IdentityWarning::EndsSoon(leaf.not_after));
    }
    Ok(warnings)
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

fn key_kind(certificate: &X509Certificate<'_>) -> Result<KeyKind, IdentityError> {
    let key = certificate.public_key();
    let algorithm = &key.algorithm;
    if algorithm.algorithm == oids::OID_SIG_ED25519 {
        return Ok(KeyKind::Ed25519);
    }
    match key.parsed() {
        // The size counts whole octets of the modulus without its leading zero.
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < RSA_BITS => {
            Err(IdentityError::WeakRsa(rsa.key_size()))
        }
        Ok(PublicKey::RSA(_)) => Ok(KeyKind::Rsa),
        Ok(PublicKey::EC(_)) => {
            let curve = algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok());
            let curves = [
                (oids::OID_EC_P256, KeyKind::EcdsaP256),
                (oids::OID_NIST_EC_P384, KeyKind::EcdsaP384),
                (oids::OID_NIST_EC_P521, KeyKind::EcdsaP521),
            ];
            let known = curves
                .into_iter()
                .find(|(oid, _)| Some(oid) == curve.as_ref());
            known.map(|it| it.1).ok_or(IdentityError::UnsupportedKey)
        }
        _ => Err(IdentityError::UnsupportedKey),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let Some(extension) = certificate.subject_alternative_name().ok()? else {
        return Some(Vec::new());
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => address(octets).map(|it| it.to_string()),
        _ => None,
    };
    Some(
        extension
            .value
            .general_names
            .iter()
            .filter_map(name)
            .collect(),
    )
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

fn must_staple(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|it| {
        it.oid.as_bytes() == TLS_FEATURE && it.value.windows(3).any(|part| part == STATUS_REQUEST)
    })
}

fn weak_signature(certificate: &X509Certificate<'_>) -> bool {
    let weak = [
        oids::OID_PKCS1_MD5WITHRSAENC,
        oids::OID_PKCS1_SHA1WITHRSA,
        oids::OID_SHA1_WITH_RSA,
        ECDSA_WITH_SHA1,
        oids::OID_MD5_WITH_RSA,
    ];
    // RSASSA-PSS names its hash in its parameters.
    let pss = pss_hash(certificate).is_some_and(|hash| hash == oids::OID_HASH_SHA1.as_bytes());
    pss || weak.contains(&certificate.signature_algorithm.algorithm)
}

/// The OID of the hash function of an RSASSA-PSS signature.
fn pss_hash(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    match SignatureAlgorithm::try_from(&certificate.signature_algorithm).ok()? {
        SignatureAlgorithm::RSASSA_PSS(params) => {
            Some(params.hash_algorithm_oid().as_bytes().to_vec())
        }
        _ => None,
    }
}

pub(super) fn end_point_hash_of(der: &CertificateDer<'_>) -> Option<Box<[u8]>> {
    parse(der).map(|it| end_point_hash(&it, der))
}

fn end_point_hash(certificate: &X509Certificate<'_>, der: &CertificateDer<'_>) -> Box<[u8]> {
    let sha384 = [
        oids::OID_PKCS1_SHA384WITHRSA,
        oids::OID_SIG_ECDSA_WITH_SHA384,
        oids::OID_NIST_HASH_SHA384,
    ];
    let sha512 = [
        oids::OID_PKCS1_SHA512WITHRSA,
        oids::OID_SIG_ECDSA_WITH_SHA512,
        oids::OID_NIST_HASH_SHA512,
    ];
    let signature = || {
        certificate
            .signature_algorithm
            .algorithm
            .as_bytes()
            .to_vec()
    };
    let algorithm = pss_hash(certificate).unwrap_or_else(signature);
    let is_one_of = |oids: &[Oid<'_>]| oids.iter().any(|it| it.as_bytes() == algorithm);
    let hash = if is_one_of(&sha384) {
        &digest::SHA384
    } else if is_one_of(&sha512) {
        &digest::SHA512
    } else {
        &digest::SHA256
    };
    digest::digest(hash, der).as_ref().into()
}

/// Seconds since 1970, before it too.
fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}
