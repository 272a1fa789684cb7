//! Stapled OCSP answers (RFC 6960, RFC 6066 8).
//!
//! An answer counts when it is about this certificate (issuer's name and key by hash, serial number), is signed by the issuer
//! or by somebody the issuer has certified for exactly this, directly, and now lies between its dates [REV-03]. An answer that
//! is there and does not count is as bad as `revoked`: the server had no reason to send it.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;

use super::crl::CLOCK_SKEW;
use crate::der::{self, Reader, Signed};
use crate::profile::provider;
use crate::x509::Certificate;

/// How long an answer without an end of its own is taken.
const NO_END: Duration = Duration::from_secs(24 * 3600);

/// `id-pkix-ocsp-basic`, `1.3.6.1.5.5.7.48.1.1`.
const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const SHA1: [u8; 5] = [0x2b, 0x0e, 3, 2, 0x1a];
const SHA256: [u8; 9] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: [u8; 9] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: [u8; 9] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
const UNKNOWN: u8 = 0x82;

/// Why a stapled answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StapleProblem {
    /// It is not an OCSP answer.
    Malformed,
    /// The responder could not answer; the server should have waited for a better one.
    NoAnswer,
    /// It is about other certificates.
    OtherCertificate,
    /// It is signed neither by the issuer nor by whom the issuer has named for it.
    NotAuthorised,
    /// Its end has passed.
    Outdated,
    /// It begins in the future.
    NotYetValid,
    /// The responder does not know the certificate.
    UnknownToResponder,
}

impl fmt::Display for StapleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it cannot be read",
            Self::NoAnswer => "it says that there was no answer",
            Self::OtherCertificate => "it is about another certificate",
            Self::NotAuthorised => {
                "it is signed neither by the issuer nor by a responder the issuer has named"
            }
            Self::Outdated => "its end has passed",
            Self::NotYetValid => "it begins in the future",
            Self::UnknownToResponder => "it says that the issuer does not know the certificate",
        })
    }
}

/// What a stapled answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stapled {
    Good,
    Revoked,
    Bad(StapleProblem),
}

/// The issuer of the certificate asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Issuer<'a> {
    /// Its subject with its SEQUENCE.
    pub(crate) name: &'a [u8],
    /// Its `SubjectPublicKeyInfo` with its SEQUENCE.
    pub(crate) spki: &'a [u8],
}

/// Judges a stapled answer for a certificate.
pub(crate) fn judge(
    staple: &[u8],
    certificate: &Certificate,
    issuer: Issuer<'_>,
    now: SystemTime,
) -> Stapled {
    let answer = match Answer::read(staple) {
        Ok(answer) => answer,
        Err(problem) => return Stapled::Bad(problem),
    };
    if !answer.is_authorised(issuer, now) {
        return Stapled::Bad(StapleProblem::NotAuthorised);
    }
    let Some(single) = answer.about(certificate, issuer) else {
        return Stapled::Bad(StapleProblem::OtherCertificate);
    };
    if single.this_update > now + CLOCK_SKEW {
        return Stapled::Bad(StapleProblem::NotYetValid);
    }
    let end = single.next_update.unwrap_or(single.this_update + NO_END);
    match single.status {
        // Whatever its age.
        REVOKED => Stapled::Revoked,
        _ if end <= now => Stapled::Bad(StapleProblem::Outdated),
        GOOD => Stapled::Good,
        _ => Stapled::Bad(StapleProblem::UnknownToResponder),
    }
}

/// A basic OCSP response.
struct Answer<'a> {
    signed: Signed<'a>,
    responder: (u8, &'a [u8]),
    singles: Vec<Single<'a>>,
    certificates: Vec<Certificate>,
}

/// What it says of one certificate.
struct Single<'a> {
    hash: &'a [u8],
    name_hash: &'a [u8],
    key_hash: &'a [u8],
    serial: &'a [u8],
    status: u8,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

impl<'a> Answer<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, StapleProblem> {
        const BAD: StapleProblem = StapleProblem::Malformed;
        let mut outer = Reader::new(bytes);
        let mut response = Reader::new(outer.take(der::SEQUENCE).ok_or(BAD)?);
        if !outer.is_empty() {
            return Err(BAD);
        }
        if response.take(der::ENUMERATED).ok_or(BAD)? != [0] {
            return Err(StapleProblem::NoAnswer);
        }
        Self::read_basic(response).ok_or(BAD)
    }

    fn read_basic(mut response: Reader<'a>) -> Option<Self> {
        let mut typed =
            Reader::new(Reader::new(response.take(der::CONTEXT_0)?).take(der::SEQUENCE)?);
        if typed.take(der::OBJECT_ID)? != BASIC {
            return None;
        }
        let mut basic = Reader::new(typed.take(der::OCTET_STRING)?);
        let mut parts = Reader::new(basic.take(der::SEQUENCE)?);
        let signed = Signed::take(&mut parts)?;
        let mut certificates = Vec::new();
        if let Some(list) = parts.take_if(der::CONTEXT_0) {
            let mut list = Reader::new(Reader::new(list).take(der::SEQUENCE)?);
            while !list.is_empty() {
                let (_, der) = list.take_whole()?;
                // One that cannot be read signs nothing.
                certificates.extend(Certificate::read(&CertificateDer::from(der)));
            }
        }
        let mut data = Reader::new(Reader::new(signed.data).take(der::SEQUENCE)?);
        if let Some(version) = data.take_if(der::CONTEXT_0)
            && version != [der::INTEGER, 1, 0]
        {
            return None;
        }
        let tag = data.peek()?;
        let responder = (tag, data.take(tag)?);
        data.take(der::GENERALIZED_TIME)?;
        let mut list = Reader::new(data.take(der::SEQUENCE)?);
        let mut singles = Vec::new();
        while !list.is_empty() {
            singles.push(Single::read(Reader::new(list.take(der::SEQUENCE)?))?);
        }
        if has_critical(data.take_if(der::CONTEXT_1))? {
            return None;
        }
        (basic.is_empty() && parts.is_empty() && data.is_empty()).then_some(Self {
            signed,
            responder,
            singles,
            certificates,
        })
    }

    /// Signed by the issuer, or by somebody it has certified for this, directly (RFC 6960 4.2.2.2).
    fn is_authorised(&self, issuer: Issuer<'_>, now: SystemTime) -> bool {
        let algorithms = provider().signature_verification_algorithms.all;
        if self.is_named(issuer.name, issuer.spki) && self.signed.is_by(issuer.spki, algorithms) {
            return true;
        }
        self.certificates.iter().any(|it| {
            let certified = Reader::new(&it.der)
                .take(der::SEQUENCE)
                .and_then(|content| Signed::take(&mut Reader::new(content)))
                .is_some_and(|signed| signed.is_by(issuer.spki, algorithms));
            certified
                && it.issuer_der == issuer.name
                && it.purposes.is_some_and(|it| it.ocsp_signing)
                && it.not_before <= now
                && now <= it.not_after
                && self.is_named(&it.subject_der, &it.spki)
                && self.signed.is_by(&it.spki, algorithms)
        })
    }

    /// Whether the answer names this key's owner as its responder.
    fn is_named(&self, name: &[u8], spki: &[u8]) -> bool {
        match self.responder {
            (der::CONTEXT_1, by_name) => by_name == name,
            (der::CONTEXT_2, by_key) => {
                let hash = Reader::new(by_key).take(der::OCTET_STRING);
                hash.is_some()
                    && hash == hash_of(&SHA1, der::key_parts(spki).map(|it| it.1)).as_deref()
            }
            _ => false,
        }
    }

    fn about(&self, certificate: &Certificate, issuer: Issuer<'_>) -> Option<&Single<'a>> {
        self.singles.iter().find(|it| {
            it.serial == certificate.serial
                && hash_of(it.hash, Some(issuer.name)).as_deref() == Some(it.name_hash)
                && hash_of(it.hash, der::key_parts(issuer.spki).map(|it| it.1)).as_deref()
                    == Some(it.key_hash)
        })
    }
}

impl<'a> Single<'a> {
    fn read(mut fields: Reader<'a>) -> Option<Self> {
        let mut id = Reader::new(fields.take(der::SEQUENCE)?);
        let hash = Reader::new(id.take(der::SEQUENCE)?).take(der::OBJECT_ID)?;
        let name_hash = id.take(der::OCTET_STRING)?;
        let key_hash = id.take(der::OCTET_STRING)?;
        let serial = id.take(der::INTEGER)?;
        let (status @ (GOOD | REVOKED | UNKNOWN), _) = fields.take_whole()? else {
            return None;
        };
        let this_update = der::take_time(&mut fields)?;
        let next_update = match fields.take_if(der::CONTEXT_0) {
            Some(time) => Some(der::take_time(&mut Reader::new(time))?),
            None => None,
        };
        if has_critical(fields.take_if(der::CONTEXT_1))? {
            return None;
        }
        fields.is_empty().then_some(Self {
            hash,
            name_hash,
            key_hash,
            serial,
            status,
            this_update,
            next_update,
        })
    }
}

/// Whether some extensions have one that must be understood: we understand none.
fn has_critical(extensions: Option<&[u8]>) -> Option<bool> {
    let Some(extensions) = extensions else {
        return Some(false);
    };
    let mut list = Reader::new(Reader::new(extensions).take(der::SEQUENCE)?);
    let mut critical = false;
    while !list.is_empty() {
        let mut extension = Reader::new(list.take(der::SEQUENCE)?);
        extension.take(der::OBJECT_ID)?;
        critical |= extension
            .take_if(der::BOOLEAN)
            .is_some_and(|value| value != [0]);
    }
    Some(critical)
}

/// A hash by its OID. SHA-1 only finds the issuer here; nothing rests on it.
fn hash_of(algorithm: &[u8], bytes: Option<&[u8]>) -> Option<Vec<u8>> {
    let algorithm = match algorithm {
        it if it == SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        it if it == SHA256 => &digest::SHA256,
        it if it == SHA384 => &digest::SHA384,
        it if it == SHA512 => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, bytes?).as_ref().to_vec())
}
