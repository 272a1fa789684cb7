//! Which TLSA records count, and what they match (RFC 6698 2.1, RFC 7671).
//!
//! - A record is usable when its three numbers are known and its data has the length they ask for. In SMTP, usages 0 and 1 are
//!   not usable: there is no set of authorities both sides agree on (RFC 7672 3.1.3) [DANE-07].
//! - Of several digests of one usage and selector only the strongest counts, and the data in full beside it (RFC 7671 9)
//!   [DANE-10].

use std::fmt;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;

use super::Tlsa;
use crate::der::{self, Reader};
use crate::x509::Certificate;

/// Which usages a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usages {
    /// DANE-TA and DANE-EE: SMTP between servers (RFC 7672).
    DaneOnly,
    /// All four (RFC 7671), for services found by SRV (RFC 7673).
    All,
}

/// Why a record does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// Usage above 3.
    Usage,
    /// Usage 0 or 1, which SMTP does not take.
    PkixUsage,
    /// Selector above 1.
    Selector,
    /// Matching type above 2.
    Matching,
    /// The data is too short or too long for its digest, or is not what the selector asks for.
    Data,
    /// A record of the same usage and selector has a stronger digest.
    Weaker,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usage => "its usage is not known; there are 0 to 3",
            Self::PkixUsage => "usages 0 and 1 do not count for SMTP; publish 3 1 1",
            Self::Selector => "its selector is not known; there are 0 and 1",
            Self::Matching => "its matching type is not known; there are 0, 1 and 2",
            Self::Data => "its data is not what its selector and matching type ask for",
            Self::Weaker => "a record of the same usage and selector has a stronger digest",
        })
    }
}

/// The records that count for a service. They were secure in DNS; that is the maker's to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsaSet {
    usable: Vec<Tlsa>,
    usages: Usages,
}

/// One record, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordReport {
    /// The record.
    pub record: Tlsa,
    /// Why it does not count, if it does not.
    pub unusable: Option<Unusable>,
    /// The first certificate of the chain it matches: 0 is the server's. Usages 1 and 3 look at that one only, usages 0 and 2
    /// at the others only.
    pub matches: Option<usize>,
}

impl TlsaSet {
    /// Takes what counts of these records.
    pub fn new(records: &[Tlsa], usages: Usages) -> Self {
        let usable = records
            .iter()
            .filter(|it| unusable(it, records, usages).is_none())
            .cloned()
            .collect();
        Self { usable, usages }
    }

    /// The records that count. When there are none, though there were records, the peer cannot be known by them: a client that
    /// may go on encrypts and does not verify (RFC 7672 2.2).
    pub fn usable(&self) -> &[Tlsa] {
        &self.usable
    }

    /// Whether no record counts.
    pub fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }

    /// Which usages were taken.
    pub fn usages(&self) -> Usages {
        self.usages
    }

    pub(crate) fn of_usage(&self, usage: u8) -> impl Iterator<Item = &Tlsa> {
        self.usable.iter().filter(move |it| it.usage == usage)
    }
}

/// Holds records against a chain, one by one.
pub fn check(records: &[Tlsa], chain: &[CertificateDer<'_>], usages: Usages) -> Vec<RecordReport> {
    let read: Vec<Option<Certificate>> =
        chain.iter().map(|it| Certificate::read(it).ok()).collect();
    let report = |record: &Tlsa| {
        let looks_at = |place: usize| (place == 0) == matches!(record.usage, 1 | 3);
        let matches = read
            .iter()
            .enumerate()
            .find(|(place, it)| looks_at(*place) && it.as_ref().is_some_and(|it| record.is_of(it)));
        RecordReport {
            record: record.clone(),
            unusable: unusable(record, records, usages),
            matches: matches.map(|(place, _)| place),
        }
    };
    records.iter().map(report).collect()
}

/// Why a record among others does not count.
fn unusable(record: &Tlsa, among: &[Tlsa], usages: Usages) -> Option<Unusable> {
    if let Some(reason) = unusable_alone(record, usages) {
        return Some(reason);
    }
    let outdone = |other: &Tlsa| {
        other.usage == record.usage
            && other.selector == record.selector
            && other.matching > record.matching
            && unusable_alone(other, usages).is_none()
    };
    // The data in full has no strength to compare: it always counts.
    (record.matching != 0 && among.iter().any(outdone)).then_some(Unusable::Weaker)
}

fn unusable_alone(record: &Tlsa, usages: Usages) -> Option<Unusable> {
    match record.usage {
        0 | 1 if usages == Usages::DaneOnly => return Some(Unusable::PkixUsage),
        0..=3 => {}
        _ => return Some(Unusable::Usage),
    }
    if record.selector > 1 {
        return Some(Unusable::Selector);
    }
    let good = match record.matching {
        0 if record.selector == 0 => record.certificate().is_some(),
        0 => record.spki().is_some(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => return Some(Unusable::Matching),
    };
    (!good).then_some(Unusable::Data)
}

impl Tlsa {
    /// The record for a certificate [DANE-13]. None for numbers that mean nothing, or a certificate that cannot be read.
    pub fn for_certificate(
        certificate: &CertificateDer<'_>,
        usage: u8,
        selector: u8,
        matching: u8,
    ) -> Option<Self> {
        let certificate = Certificate::read(certificate).ok()?;
        Some(Self {
            usage: (usage <= 3).then_some(usage)?,
            selector,
            matching,
            data: association(&certificate, selector, matching)?,
        })
    }

    /// Whether the data is that of this certificate.
    pub(crate) fn is_of(&self, certificate: &Certificate) -> bool {
        let data = association(certificate, self.selector, self.matching);
        data.is_some_and(|data| data == self.data)
    }

    /// The certificate the data is, when it is one in full.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        (self.selector == 0 && self.matching == 0).then_some(())?;
        Certificate::read(&CertificateDer::from(self.data.as_slice())).ok()
    }

    /// The `SubjectPublicKeyInfo` the data is, when it is one in full.
    pub(crate) fn spki(&self) -> Option<&[u8]> {
        (self.selector == 1 && self.matching == 0).then_some(())?;
        let mut outer = Reader::new(&self.data);
        let mut fields = Reader::new(outer.take(der::SEQUENCE)?);
        fields.take(der::SEQUENCE)?;
        fields.take(der::BIT_STRING)?;
        (outer.is_empty() && fields.is_empty()).then_some(self.data.as_slice())
    }

    /// Whether the data is that of a bare key.
    pub(crate) fn is_of_key(&self, spki: &[u8]) -> bool {
        self.selector == 1 && matched(spki, self.matching).is_some_and(|data| data == self.data)
    }
}

fn association(certificate: &Certificate, selector: u8, matching: u8) -> Option<Vec<u8>> {
    match selector {
        0 => matched(&certificate.der, matching),
        1 => matched(&certificate.spki, matching),
        _ => None,
    }
}

fn matched(bytes: &[u8], matching: u8) -> Option<Vec<u8>> {
    let algorithm = match matching {
        0 => return Some(bytes.to_vec()),
        1 => &digest::SHA256,
        2 => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, bytes).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use gatepost_testkit::pki::Authority;

    use super::*;

    fn record(certificate: &CertificateDer<'_>, numbers: (u8, u8, u8)) -> Tlsa {
        Tlsa::for_certificate(certificate, numbers.0, numbers.1, numbers.2).unwrap()
    }

    #[test]
    fn what_is_made_of_a_certificate_matches_it_and_no_other() {
        // [DANE-07]
        let root = Authority::root("Root");
        let (one, other) = (root.issue(&["a.example"]), root.issue(&["a.example"]));
        for selector in 0..=1 {
            for matching in 0..=2 {
                let made = record(&one.certificate, (3, selector, matching));
                assert!(made.is_of(&Certificate::read(&one.certificate).unwrap()));
                assert!(!made.is_of(&Certificate::read(&other.certificate).unwrap()));
                let set = TlsaSet::new(std::slice::from_ref(&made), Usages::All);
                assert_eq!(set.usable(), [made]);
            }
        }
        assert_eq!(Tlsa::for_certificate(&one.certificate, 4, 0, 1), None);
        assert_eq!(Tlsa::for_certificate(&one.certificate, 3, 2, 1), None);
        assert_eq!(Tlsa::for_certificate(&one.certificate, 3, 1, 3), None);
    }

    #[test]
    fn what_cannot_be_understood_does_not_count() {
        // [DANE-07]
        let leaf = Authority::root("Root").issue(&["a.example"]);
        let good = record(&leaf.certificate, (3, 1, 1));
        let why = |change: fn(&mut Tlsa)| {
            let mut record = good.clone();
            change(&mut record);
            unusable(&record, &[], Usages::DaneOnly)
        };
        assert_eq!(why(|_| {}), None);
        assert_eq!(why(|it| it.usage = 4), Some(Unusable::Usage));
        assert_eq!(why(|it| it.usage = 0), Some(Unusable::PkixUsage));
        assert_eq!(why(|it| it.usage = 1), Some(Unusable::PkixUsage));
        assert_eq!(why(|it| it.selector = 2), Some(Unusable::Selector));
        assert_eq!(why(|it| it.matching = 3), Some(Unusable::Matching));
        assert_eq!(why(|it| it.matching = 2), Some(Unusable::Data));
        assert_eq!(why(|it| it.matching = 0), Some(Unusable::Data));
        assert_eq!(why(|it| it.data.push(0)), Some(Unusable::Data));
        assert_eq!(why(|it| it.data.clear()), Some(Unusable::Data));
        let mut pkix = good.clone();
        pkix.usage = 1;
        assert_eq!(unusable(&pkix, &[], Usages::All), None);
    }

    #[test]
    fn only_the_strongest_digest_of_a_kind_counts_and_the_full_data() {
        // [DANE-10]
        let leaf = Authority::root("Root").issue(&["a.example"]);
        let of = |numbers| record(&leaf.certificate, numbers);
        let all = [
            of((3, 1, 0)),
            of((3, 1, 1)),
            of((3, 1, 2)),
            of((3, 0, 1)),
            of((2, 1, 1)),
        ];
        let set = TlsaSet::new(&all, Usages::DaneOnly);
        let kept: Vec<_> = set
            .usable()
            .iter()
            .map(|it| (it.usage, it.selector, it.matching))
            .collect();
        assert_eq!(kept, [(3, 1, 0), (3, 1, 2), (3, 0, 1), (2, 1, 1)]);
        // A broken SHA-512 record outdoes nothing.
        let mut broken = of((3, 1, 2));
        broken.data.pop();
        let set = TlsaSet::new(&[of((3, 1, 1)), broken], Usages::DaneOnly);
        assert_eq!(set.usable(), [of((3, 1, 1))]);
    }

    #[test]
    fn a_check_says_for_each_record_what_it_matches() {
        let root = Authority::root("Root");
        let leaf = root.issue(&["a.example"]);
        let chain = [leaf.certificate.clone(), root.certificate.clone()];
        let records = [
            record(&leaf.certificate, (3, 1, 1)),
            record(&root.certificate, (2, 0, 1)),
            record(&leaf.certificate, (2, 0, 1)),
            record(&root.certificate, (3, 1, 1)),
        ];
        let matches: Vec<_> = check(&records, &chain, Usages::DaneOnly)
            .into_iter()
            .map(|it| it.matches)
            .collect();
        assert_eq!(matches, [Some(0), Some(1), None, None]);
    }
}
