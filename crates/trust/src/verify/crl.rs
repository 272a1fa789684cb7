//! Lists of revoked certificates (RFC 5280 5, 6.3), as far as the web's authorities make them: whole lists, signed by the
//! issuer of the certificates in them. Delta lists, indirect lists and lists of some reasons only settle nothing here.
//!
//! A list counts for a certificate when it is by its issuer (name and signature), the issuer may sign lists, its scope has the
//! certificate in it, and now lies between its dates. One exception, on the side of refusing: what an outdated list calls
//! revoked is revoked.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use webpki::BorrowedCertRevocationList;
use webpki::CertRevocationList;

use crate::der::{self, Reader, Signed};
use crate::profile::provider;
use crate::x509::Certificate;

/// How far a list or answer may seem to come from the future: clocks differ.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// `onlyContainsUserCerts`, `onlyContainsCACerts` and the distribution point of an issuing distribution point.
const ONLY_USERS: u8 = 0x81;
const ONLY_AUTHORITIES: u8 = 0x82;
const URI: u8 = 0x86;

/// Lists of revoked certificates.
#[derive(Debug, Clone, Default)]
pub struct Crls {
    lists: Vec<Arc<[u8]>>,
}

/// Some bytes are no list that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCrl;

impl fmt::Display for BadCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not a list of revoked certificates that can be used (RFC 5280 5)")
    }
}

impl std::error::Error for BadCrl {}

/// Why a list does not settle the status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrlProblem {
    /// There is no list of this issuer.
    Missing,
    /// It speaks of other certificates of the issuer.
    OutOfScope,
    /// Its signature is not the issuer's.
    BadSignature,
    /// The issuer may not sign lists.
    NotSigner,
    /// A newer one should be there by now.
    Outdated,
    /// It begins in the future.
    NotYetValid,
    /// An entry cannot be read.
    Malformed,
}

impl fmt::Display for CrlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no list of its issuer at hand",
            Self::OutOfScope => "the list of its issuer speaks of other certificates",
            Self::BadSignature => "the list is not signed by its issuer",
            Self::NotSigner => "its issuer may not sign lists",
            Self::Outdated => "the list is outdated",
            Self::NotYetValid => "the list begins in the future",
            Self::Malformed => "the list cannot be read",
        })
    }
}

/// What the lists say of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    Good,
    Revoked,
    Unknown(CrlProblem),
}

/// A certificate's issuer, as far as a list is concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IssuerKey<'a> {
    pub(crate) spki: &'a [u8],
    pub(crate) may_sign_lists: bool,
}

impl Crls {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a list, in DER or PEM (then all of the file).
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), BadCrl> {
        if bytes.first() == Some(&der::SEQUENCE) {
            return self.add_der(bytes);
        }
        let before = self.lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(bytes) {
            self.add_der(&list.map_err(|_| BadCrl)?)?;
        }
        if self.lists.len() == before {
            return Err(BadCrl);
        }
        Ok(())
    }

    fn add_der(&mut self, bytes: &[u8]) -> Result<(), BadCrl> {
        BorrowedCertRevocationList::from_der(bytes).map_err(|_| BadCrl)?;
        dates(bytes).ok_or(BadCrl)?;
        self.lists.push(bytes.into());
        Ok(())
    }

    /// Adds all lists of another set.
    pub fn extend(&mut self, other: &Self) {
        self.lists.extend(other.lists.iter().cloned());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// What the lists say of one certificate. Several of one issuer may be there: any that calls it revoked has its way, then
    /// any that counts and does not.
    pub(crate) fn status(
        &self,
        certificate: &Certificate,
        issuer: IssuerKey<'_>,
        now: SystemTime,
    ) -> Listed {
        let mut best = Listed::Unknown(CrlProblem::Missing);
        for list in &self.lists {
            match judge(list, certificate, issuer, now) {
                Listed::Revoked => return Listed::Revoked,
                Listed::Good => best = Listed::Good,
                Listed::Unknown(CrlProblem::Missing) => {}
                unknown @ Listed::Unknown(_) if best != Listed::Good => best = unknown,
                Listed::Unknown(_) => {}
            }
        }
        best
    }
}

fn judge(list: &[u8], certificate: &Certificate, issuer: IssuerKey<'_>, now: SystemTime) -> Listed {
    let unknown = Listed::Unknown;
    let Ok(crl) = BorrowedCertRevocationList::from_der(list) else {
        return unknown(CrlProblem::Malformed);
    };
    let crl = CertRevocationList::from(crl);
    if der::wrapped(crl.issuer()) != certificate.issuer_der {
        return unknown(CrlProblem::Missing);
    }
    if !in_scope(crl.issuing_distribution_point(), certificate) {
        return unknown(CrlProblem::OutOfScope);
    }
    if !issuer.may_sign_lists {
        return unknown(CrlProblem::NotSigner);
    }
    let algorithms = provider().signature_verification_algorithms.all;
    let signed = Reader::new(list)
        .take(der::SEQUENCE)
        .and_then(|content| Signed::take(&mut Reader::new(content)));
    if !signed.is_some_and(|it| it.is_by(issuer.spki, algorithms)) {
        return unknown(CrlProblem::BadSignature);
    }
    match crl.find_serial(&certificate.serial) {
        Err(_) => return unknown(CrlProblem::Malformed),
        Ok(Some(_)) => return Listed::Revoked,
        Ok(None) => {}
    }
    match dates(list) {
        Some((this_update, _)) if this_update > now + CLOCK_SKEW => {
            unknown(CrlProblem::NotYetValid)
        }
        Some((_, next_update)) if next_update <= now => unknown(CrlProblem::Outdated),
        Some(_) => Listed::Good,
        None => unknown(CrlProblem::Malformed),
    }
}

/// Whether a list of a part of the issuer's certificates has this one in it.
fn in_scope(point: Option<&[u8]>, certificate: &Certificate) -> bool {
    let Some(point) = point else {
        return true;
    };
    let Some(scope) = Scope::read(point) else {
        return false;
    };
    if scope.only_users && certificate.is_ca || scope.only_authorities && !certificate.is_ca {
        return false;
    }
    // A certificate that says where its list is must find itself on a list that says the same.
    let urls = &certificate.crl_urls;
    urls.is_empty() || urls.iter().any(|url| scope.urls.contains(&url.as_bytes()))
}

/// An issuing distribution point (RFC 5280 5.2.5). That it has nothing we cannot use was seen when the list was added.
#[derive(Default)]
struct Scope<'a> {
    only_users: bool,
    only_authorities: bool,
    urls: Vec<&'a [u8]>,
}

impl<'a> Scope<'a> {
    fn read(point: &'a [u8]) -> Option<Self> {
        let mut fields = Reader::new(Reader::new(point).take(der::SEQUENCE)?);
        let mut scope = Self::default();
        while let Some(tag) = fields.peek() {
            let content = fields.take(tag)?;
            match tag {
                ONLY_USERS => scope.only_users = content != [0],
                ONLY_AUTHORITIES => scope.only_authorities = content != [0],
                der::CONTEXT_0 => {
                    let mut names = Reader::new(Reader::new(content).take(der::CONTEXT_0)?);
                    while let Some(tag) = names.peek() {
                        let name = names.take(tag)?;
                        if tag == URI {
                            scope.urls.push(name);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(scope)
    }
}

/// thisUpdate and nextUpdate.
fn dates(list: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let mut outer = Reader::new(Reader::new(list).take(der::SEQUENCE)?);
    let mut fields = Reader::new(outer.take(der::SEQUENCE)?);
    fields.take_if(der::INTEGER);
    fields.take(der::SEQUENCE)?;
    fields.take(der::SEQUENCE)?;
    Some((der::take_time(&mut fields)?, der::take_time(&mut fields)?))
}
