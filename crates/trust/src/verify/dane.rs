//! Is the peer whom its TLSA records say (RFC 7671, RFC 7672)?
//!
//! | usage | what must match | what else is looked at |
//! |---|---|---|
//! | 3 DANE-EE | the server's certificate or key | nothing: no name, no dates, no chain [DANE-08]. The key must be strong |
//! | 2 DANE-TA | an authority of the chain, or one the record holds in full | chain, dates, constraints, names [DANE-09] |
//! | 1 PKIX-EE | the server's certificate or key | all that PKIX looks at |
//! | 0 PKIX-TA | an authority of the path | all that PKIX looks at |
//!
//! The usages are tried in the order of the table; the first that holds decides.

use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, Der, TrustAnchor};

use super::path::{self, Found, Path};
use super::reason::{Reason, Whose};
use super::verdict::{Kind, Status};
use crate::der::{self, Reader};
use crate::tlsa::{Tlsa, TlsaSet};
use crate::x509::Certificate;

/// Whether the server's certificate matches a record of usage 3 [DANE-08].
pub(crate) fn matches_end_entity(set: &TlsaSet, chain: &[Certificate]) -> bool {
    let leaf = chain.first();
    leaf.is_some_and(|leaf| set.of_usage(3).any(|record| record.is_of(leaf)))
}

/// Whether a path, found under public authorities, matches a record of usage 1 or 0.
pub(crate) fn matches_pkix(set: &TlsaSet, chain: &[Certificate], path: &Path) -> bool {
    let leaf = chain.first();
    let is_anchor = |it: &&Certificate| it.spki == path.anchor.spki;
    // The trusted end itself may be sent along, or left out; its key is known all the same.
    let sent_along = chain.iter().skip(1).filter(is_anchor);
    let in_path = path.places.iter().skip(1).filter_map(|it| chain.get(*it));
    let authorities: Vec<&Certificate> = in_path.chain(sent_along).collect();
    leaf.is_some_and(|leaf| set.of_usage(1).any(|record| record.is_of(leaf)))
        || set.of_usage(0).any(|record| {
            record.is_of_key(&path.anchor.spki) || authorities.iter().any(|it| record.is_of(it))
        })
}

/// Looks for a path to a trust anchor that a record of usage 2 names [DANE-09]. None when no record names one.
pub(crate) fn find_anchored(
    set: &TlsaSet,
    chain: &[Certificate],
    now: SystemTime,
) -> Option<Found> {
    let named = anchors(set, chain);
    if named.is_empty() {
        return None;
    }
    let trusted: Vec<TrustAnchor<'_>> = named.iter().map(|it| it.trusted.clone()).collect();
    let mut found = path::find(chain, &trusted, false, now);
    let anchor = found.path.as_ref().and_then(|path| {
        let is_end =
            |it: &&Named| der::wrapped(&it.trusted.subject_public_key_info) == path.anchor.spki;
        named.iter().find(is_end)?.certificate.as_ref()
    });
    if let Some((position, certificate)) = anchor {
        let dates = found.checks.iter_mut().find(|it| it.kind == Kind::Dates);
        let ended = path::dates(&[(*position, certificate)], now);
        if let (Some(dates), Err(reason)) = (dates, ended) {
            dates.status = Status::Fail(reason);
        }
    }
    Some(found)
}

/// An anchor a record names, with its certificate where there is one.
struct Named {
    trusted: TrustAnchor<'static>,
    certificate: Option<(usize, Certificate)>,
}

fn anchors(set: &TlsaSet, chain: &[Certificate]) -> Vec<Named> {
    let mut named = Vec::new();
    for record in set.of_usage(2) {
        let in_message = chain.iter().enumerate().skip(1);
        for (position, certificate) in in_message.filter(|(_, it)| record.is_of(it)) {
            named.extend(of_certificate(position, certificate));
        }
        // RFC 7671 5.2.2: a certificate in the record need not be in the message.
        if let Some(certificate) = record.certificate() {
            named.extend(of_certificate(chain.len(), &certificate));
        }
        // RFC 7671 5.2.3: a key in the record; whoever is named as issuer may be its owner, the signature tells.
        if let Some(spki) = record.spki() {
            named.extend(chain.iter().filter_map(|it| of_key(&it.issuer_der, spki)));
        }
    }
    named
}

/// An authority as trust anchor: it must be one, and be for signing certificates.
fn of_certificate(position: usize, certificate: &Certificate) -> Option<Named> {
    let is_authority =
        certificate.is_ca && certificate.key_usage.is_none_or(|usage| usage.cert_sign);
    if !is_authority {
        return None;
    }
    let trusted = webpki::anchor_from_trusted_cert(&certificate.der).ok()?;
    Some(Named {
        trusted: trusted.to_owned(),
        certificate: Some((position, certificate.clone())),
    })
}

fn of_key(name: &[u8], spki: &[u8]) -> Option<Named> {
    let content = |bytes: &[u8]| {
        let content = Reader::new(bytes).take(der::SEQUENCE)?;
        Some(Der::from(content.to_vec()))
    };
    Some(Named {
        trusted: TrustAnchor {
            subject: content(name)?,
            subject_public_key_info: content(spki)?,
            name_constraints: None,
        },
        certificate: None,
    })
}

/// No record matched.
pub(crate) fn no_match(set: &TlsaSet, chain: &[CertificateDer<'_>], leaf: &Certificate) -> Reason {
    let came = chain
        .first()
        .and_then(|it| Tlsa::for_certificate(it, 3, 1, 1))
        .map(|it| it.to_string())
        .unwrap_or_default();
    Reason::NoTlsaMatch {
        whose: Whose::new(0, leaf),
        expected: set.usable().iter().map(ToString::to_string).collect(),
        came,
    }
}
