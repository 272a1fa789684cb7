//! From the server's certificate to a trusted one (RFC 5280 6.1): signatures, dates, constraints, purposes [ID-08].
//!
//! The path is built by the library rustls uses, which stops at the first thing amiss. To say more than that, a failed search
//! is made again without dates and purposes: "expired, and otherwise good" is another message than "expired, and from an
//! unknown authority". The second search can only add words: what the first refused stays refused.

use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::reason::{Reason, Whose};
use super::verdict::{Check, Kind, Status};
use crate::der;
use crate::profile::provider;
use crate::x509::{Certificate, PublicKeyKind, SignatureKind};

/// The fewest bits of an RSA key [TLS-KEY-01].
const RSA_BITS: usize = 2048;

/// A path that holds: places in the chain, the server's certificate first, and the one trusted beyond them.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) places: Vec<usize>,
    pub(crate) anchor: Anchor,
    /// Whether the server's certificate is the trusted one itself.
    pub(crate) is_itself: bool,
}

/// The trusted end of a path.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// Its subject, a Name with its SEQUENCE.
    pub(crate) subject_der: Vec<u8>,
    /// Its key, a `SubjectPublicKeyInfo` with its SEQUENCE.
    pub(crate) spki: Vec<u8>,
    pub(crate) has_name_constraints: bool,
}

/// What was found out about a chain.
pub(crate) struct Found {
    pub(crate) path: Option<Path>,
    pub(crate) checks: Vec<Check>,
}

/// Looks for a path to one of the anchors, and judges all but names. `itself` says that the server's certificate is trusted
/// as it is.
pub(crate) fn find(
    chain: &[Certificate],
    anchors: &[TrustAnchor<'_>],
    itself: bool,
    now: SystemTime,
) -> Found {
    let Some(leaf) = chain.first() else {
        return Found {
            path: None,
            checks: vec![Check::new(Kind::Chain, Status::Fail(Reason::NoCertificate))],
        };
    };
    let strict = if itself {
        Ok(Path::of_itself(leaf))
    } else {
        search(chain, anchors, now, &Strict)
    };
    let (path, chain_status) = match strict {
        Ok(path) => (Some(path), Status::Pass),
        Err(error) => diagnose(chain, anchors, now, &error),
    };
    let in_path = whose(chain, path.as_ref());
    let mut checks = vec![Check::new(Kind::Chain, chain_status)];
    checks.push(Check::new(
        Kind::Signature,
        Status::of(signatures(&in_path, itself)),
    ));
    checks.push(Check::new(Kind::Key, Status::of(keys(&in_path))));
    checks.push(Check::new(Kind::Dates, Status::of(dates(&in_path, now))));
    checks.push(Check::new(Kind::Usage, Status::of(usages(&in_path))));
    Found { path, checks }
}

impl Path {
    fn of_itself(leaf: &Certificate) -> Self {
        Self {
            places: vec![0],
            anchor: Anchor {
                subject_der: leaf.subject_der.clone(),
                spki: leaf.spki.clone(),
                has_name_constraints: leaf.has_name_constraints,
            },
            is_itself: true,
        }
    }
}

/// The certificates that count: those of the path, or the server's own when there is none.
fn whose<'a>(chain: &'a [Certificate], path: Option<&Path>) -> Vec<(usize, &'a Certificate)> {
    let places = path.map_or(&[0][..], |path| &path.places);
    let at = |place: &usize| chain.get(*place).map(|it| (*place, it));
    places.iter().filter_map(at).collect()
}

/// Why the strict search failed. The second search is lenient about what has a check of its own.
fn diagnose(
    chain: &[Certificate],
    anchors: &[TrustAnchor<'_>],
    now: SystemTime,
    error: &Error,
) -> (Option<Path>, Status) {
    let has_check = matches!(
        error,
        Error::CertExpired { .. }
            | Error::CertNotValidYet { .. }
            | Error::RequiredEkuNotFoundContext(_)
            | Error::EmptyEkuExtension
    );
    if !has_check {
        return (None, refuse(chain, error));
    }
    match search(chain, anchors, within_life(chain, now), &Lenient) {
        Ok(path) => {
            let counted = whose(chain, Some(&path));
            let explained = dates(&counted, now).is_err() || usages(&counted).is_err();
            // What the strict search refused must not pass because we cannot say why.
            let status = if explained {
                Status::Pass
            } else {
                refuse(chain, error)
            };
            (Some(path), status)
        }
        Err(error) => (None, refuse(chain, &error)),
    }
}

/// A moment at which all certificates of the chain are good, if there is one.
fn within_life(chain: &[Certificate], now: SystemTime) -> SystemTime {
    let begin = chain.iter().map(|it| it.not_before).max();
    let end = chain.iter().map(|it| it.not_after).min();
    match (begin, end) {
        (Some(begin), Some(end)) if begin <= end => now.clamp(begin, end),
        _ => now,
    }
}

fn search(
    chain: &[Certificate],
    anchors: &[TrustAnchor<'_>],
    now: SystemTime,
    usage: &dyn Usage,
) -> Result<Path, Error> {
    let ders: Vec<CertificateDer<'_>> = chain.iter().map(|it| it.der.clone()).collect();
    let (leaf, others) = ders.split_first().ok_or(Error::BadDer)?;
    let leaf = EndEntityCert::try_from(leaf)?;
    let found = leaf.verify_for_usage(
        provider().signature_verification_algorithms.all,
        anchors,
        others,
        unix_time(now),
        By(usage),
        None,
        None,
    )?;
    let mut places = vec![0];
    for intermediate in found.intermediate_certificates() {
        let der = intermediate.der();
        let place = ders.iter().position(|it| *it == der).ok_or(Error::BadDer)?;
        places.push(place);
    }
    let anchor = found.anchor();
    Ok(Path {
        places,
        anchor: Anchor {
            subject_der: der::wrapped(&anchor.subject),
            spki: der::wrapped(&anchor.subject_public_key_info),
            has_name_constraints: anchor.name_constraints.is_some(),
        },
        is_itself: false,
    })
}

/// How purposes (extendedKeyUsage) are taken while a path is looked for.
trait Usage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error>;
}

struct Strict;
struct Lenient;
struct By<'a>(&'a dyn Usage);

impl Usage for Strict {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        KeyUsage::server_auth().validate(purposes)
    }
}

impl Usage for Lenient {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        purposes.try_for_each(|it| it.map(|_| ()))
    }
}

impl ExtendedKeyUsageValidator for By<'_> {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        self.0.validate(purposes)
    }
}

fn refuse(chain: &[Certificate], error: &Error) -> Status {
    let weak = chain.iter().any(|it| it.signature != SignatureKind::Strong);
    let reason = match error {
        // The check of signatures, or of keys, says which.
        Error::UnsupportedSignatureAlgorithmContext(_) if weak => {
            return Status::Unknown(Reason::NotTested);
        }
        Error::UnknownIssuer => unknown_issuer(chain),
        Error::CaUsedAsEndEntity if chain.first().is_some_and(Certificate::is_self_issued) => {
            Reason::SelfSigned
        }
        Error::CaUsedAsEndEntity => Reason::LeafIsAuthority,
        Error::EndEntityUsedAsCa => Reason::NotAuthority,
        Error::PathLenConstraintViolated => Reason::PathTooLong,
        Error::NameConstraintViolation
        | Error::MalformedNameConstraint
        | Error::InvalidNetworkMaskConstraint => Reason::NameConstraints,
        Error::UnsupportedCriticalExtension => Reason::CriticalExtension,
        Error::MaximumNameConstraintComparisonsExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded => Reason::TooComplex,
        Error::BadDer
        | Error::BadDerTime
        | Error::ExtensionValueInvalid
        | Error::InvalidCertValidity
        | Error::InvalidSerialNumber
        | Error::MalformedExtensions
        | Error::MalformedDnsIdentifier
        | Error::SignatureAlgorithmMismatch
        | Error::TrailingData(_)
        | Error::UnsupportedCertVersion => Reason::Malformed { position: 0 },
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => Reason::NotTested,
        _ => Reason::BadSignature,
    };
    Status::Fail(reason)
}

fn unknown_issuer(chain: &[Certificate]) -> Reason {
    match chain {
        [leaf] if leaf.is_self_issued() => Reason::SelfSigned,
        [.., last] => Reason::UnknownIssuer {
            issuer: last.issuer.clone(),
            alone: chain.len() == 1,
        },
        [] => Reason::NoCertificate,
    }
}

/// [TLS-SIG-03] A certificate that is trusted as it is needs no signature.
fn signatures(certificates: &[(usize, &Certificate)], itself: bool) -> Result<(), Reason> {
    let weak = certificates
        .iter()
        .find(|(_, it)| it.signature != SignatureKind::Strong && !itself);
    match weak {
        Some((place, it)) => Err(Reason::WeakSignature {
            whose: Whose::new(*place, it),
            signature: it.signature,
        }),
        None => Ok(()),
    }
}

/// [TLS-KEY-01]
pub(crate) fn keys(certificates: &[(usize, &Certificate)]) -> Result<(), Reason> {
    let weak = certificates.iter().find(|(_, it)| is_weak(it.key));
    match weak {
        Some((place, it)) => Err(Reason::WeakKey {
            whose: Whose::new(*place, it),
            key: it.key,
        }),
        None => Ok(()),
    }
}

/// Whether a key is too small, or of a kind that is not taken.
pub(crate) const fn is_weak(key: PublicKeyKind) -> bool {
    match key {
        PublicKeyKind::Rsa(bits) => bits < RSA_BITS,
        PublicKeyKind::OtherCurve(_) | PublicKeyKind::Other => true,
        PublicKeyKind::P256
        | PublicKeyKind::P384
        | PublicKeyKind::P521
        | PublicKeyKind::Ed25519
        | PublicKeyKind::MlDsa => false,
    }
}

pub(crate) fn dates(certificates: &[(usize, &Certificate)], now: SystemTime) -> Result<(), Reason> {
    for (place, it) in certificates {
        let whose = || Whose::new(*place, it);
        if now < it.not_before {
            return Err(Reason::NotYetValid {
                whose: whose(),
                not_before: it.not_before,
                now,
            });
        }
        if now > it.not_after {
            return Err(Reason::Expired {
                whose: whose(),
                not_after: it.not_after,
                now,
            });
        }
    }
    Ok(())
}

fn usages(certificates: &[(usize, &Certificate)]) -> Result<(), Reason> {
    for (place, it) in certificates {
        if it.purposes.is_some_and(|it| !it.server) {
            return Err(Reason::NotForServers(Whose::new(*place, it)));
        }
        // The server signs the handshake, an authority signs certificates (RFC 5280 4.2.1.3).
        let may_sign = it.key_usage.is_none_or(|usage| match place {
            0 => usage.digital_signature,
            _ => usage.cert_sign,
        });
        if !may_sign {
            return Err(Reason::KeyUsage(Whose::new(*place, it)));
        }
    }
    Ok(())
}

pub(crate) fn unix_time(moment: SystemTime) -> UnixTime {
    let since = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    UnixTime::since_unix_epoch(since)
}
