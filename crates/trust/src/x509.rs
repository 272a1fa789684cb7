//! What a certificate says of itself (RFC 5280), read once into plain values.
//!
//! Nothing here judges: the judge, the lints and the descriptions work on these values. A certificate that cannot be read
//! whole (an extension that is not DER, an extension said twice) is [`Malformed`], and then nothing of it is believed.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::oid_registry as oids;
use x509_parser::prelude::{FromDer, X509Certificate, X509Extension};
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;

use crate::der;

/// The OID of the TLS feature extension (RFC 7633), `1.3.6.1.5.5.7.1.24`.
const TLS_FEATURE: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 1, 24];
/// The TLS extension `status_request` (RFC 6066 8), as a TLS feature.
const STATUS_REQUEST: u8 = 5;
/// `id-on-dnsSRV` (RFC 4985), `1.3.6.1.5.5.7.8.7`.
const DNS_SRV: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 8, 7];
/// What the OIDs of ML-DSA keys begin with: `2.16.840.1.101.3.4.3`, and 17, 18 or 19.
const ML_DSA: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03];
/// `ecdsa-with-SHA1` (RFC 3279 2.2.3), which the registry crate does not have.
const ECDSA_WITH_SHA1: Oid<'static> = x509_parser::der_parser::oid!(1.2.840.10045.4.1);

/// A certificate cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A certificate, read.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) subject_der: Vec<u8>,
    pub(crate) issuer_der: Vec<u8>,
    /// The serial number, the octets of the INTEGER as they are.
    pub(crate) serial: Vec<u8>,
    /// `SubjectPublicKeyInfo` with its SEQUENCE: what pins and TLSA records hash.
    pub(crate) spki: Vec<u8>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) names: Names,
    pub(crate) common_names: Vec<String>,
    pub(crate) key: PublicKeyKind,
    pub(crate) signature: SignatureKind,
    /// The IANA number of the signature's scheme, if TLS has one for it; of ECDSA by the hash function alone.
    pub(crate) signature_scheme: Option<u16>,
    /// The hash function of its `tls-server-end-point` (RFC 5929 4.1).
    end_point_digest: &'static digest::Algorithm,
    pub(crate) is_ca: bool,
    /// Flags of keyUsage; none when the extension is absent.
    pub(crate) key_usage: Option<KeyUsage>,
    /// Purposes of extendedKeyUsage; none when the extension is absent.
    pub(crate) purposes: Option<Purposes>,
    pub(crate) must_staple: bool,
    pub(crate) has_name_constraints: bool,
    /// cRLDistributionPoints: the URIs.
    pub(crate) crl_urls: Vec<String>,
    /// authorityInfoAccess: the OCSP responders.
    pub(crate) ocsp_urls: Vec<String>,
    /// authorityInfoAccess: where the issuer's certificate is.
    pub(crate) issuer_urls: Vec<String>,
    /// Signed certificate timestamps in the certificate itself (RFC 6962).
    pub(crate) timestamps: Vec<Timestamp>,
}

/// The promise of a public log to hold a certificate (RFC 6962 3.2). Whose signature it bears is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// The log: SHA-256 of its key.
    pub log: [u8; 32],
    /// When, in milliseconds since 1970-01-01 UTC.
    pub milliseconds: u64,
}

/// The subject alternative names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// DNS names in lower case, wildcards as they are.
    pub(crate) dns: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Mail addresses in lower case; they count among the others too.
    pub(crate) emails: Vec<String>,
    /// SRV names in lower case: service without its underscore, and domain.
    pub(crate) services: Vec<(String, String)>,
    /// Names of forms that mail does not use.
    pub(crate) others: usize,
}

/// What of keyUsage counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyUsage {
    pub(crate) digital_signature: bool,
    pub(crate) cert_sign: bool,
    pub(crate) crl_sign: bool,
}

/// What of extendedKeyUsage counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purposes {
    pub(crate) server: bool,
    pub(crate) any: bool,
    pub(crate) ocsp_signing: bool,
}

/// The kind and size of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicKeyKind {
    /// RSA, with the bits of the modulus.
    Rsa(usize),
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// ECDSA on another curve; the bits of a coordinate, in whole octets.
    OtherCurve(usize),
    /// Ed25519.
    Ed25519,
    /// ML-DSA (FIPS 204).
    MlDsa,
    /// Anything else.
    Other,
}

/// What a certificate is signed with, as far as it decides whether it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureKind {
    /// A hash function of 256 bits or more, or an algorithm without one of its own.
    Strong,
    /// SHA-1.
    Sha1,
    /// MD5 or older.
    Md5,
}

impl fmt::Display for PublicKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::OtherCurve(bits) => write!(f, "ECDSA on an unknown curve of {bits} bits"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::MlDsa => f.write_str("ML-DSA"),
            Self::Other => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strong => "a strong hash function",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
        })
    }
}

impl Certificate {
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, Malformed> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| Malformed)?;
        if !rest.is_empty() {
            return Err(Malformed);
        }
        let mut certificate = Self::without_extensions(der, &parsed);
        parsed.extensions_map().map_err(|_| Malformed)?;
        for extension in parsed.extensions() {
            certificate.take_extension(extension)?;
        }
        Ok(certificate)
    }

    fn without_extensions(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> Self {
        let common_names = parsed.subject().iter_common_name();
        Self {
            der: der.clone().into_owned(),
            subject: printable(&parsed.subject().to_string()),
            issuer: printable(&parsed.issuer().to_string()),
            subject_der: parsed.subject().as_raw().to_vec(),
            issuer_der: parsed.issuer().as_raw().to_vec(),
            serial: parsed.raw_serial().to_vec(),
            spki: parsed.public_key().raw.to_vec(),
            not_before: moment(parsed.validity().not_before.timestamp()),
            not_after: moment(parsed.validity().not_after.timestamp()),
            names: Names::default(),
            common_names: common_names
                .filter_map(|it| it.as_str().ok().map(printable))
                .collect(),
            key: key_kind(parsed),
            signature: signature_kind(parsed),
            signature_scheme: signature_scheme(parsed),
            end_point_digest: end_point_digest(parsed),
            is_ca: false,
            key_usage: None,
            purposes: None,
            must_staple: false,
            has_name_constraints: false,
            crl_urls: Vec::new(),
            ocsp_urls: Vec::new(),
            issuer_urls: Vec::new(),
            timestamps: Vec::new(),
        }
    }

    fn take_extension(&mut self, extension: &X509Extension<'_>) -> Result<(), Malformed> {
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Err(Malformed),
            ParsedExtension::SubjectAlternativeName(it) => self.names = names(&it.general_names)?,
            ParsedExtension::BasicConstraints(it) => self.is_ca = it.ca,
            ParsedExtension::KeyUsage(it) => {
                self.key_usage = Some(KeyUsage {
                    digital_signature: it.digital_signature(),
                    cert_sign: it.key_cert_sign(),
                    crl_sign: it.crl_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(it) => {
                self.purposes = Some(Purposes {
                    server: it.server_auth,
                    any: it.any,
                    ocsp_signing: it.ocsp_signing,
                });
            }
            ParsedExtension::NameConstraints(_) => self.has_name_constraints = true,
            ParsedExtension::CRLDistributionPoints(points) => {
                let names = points.iter().filter_map(|it| match &it.distribution_point {
                    // A list that holds only some reasons, or that another issuer signs, does not settle anything here.
                    Some(DistributionPointName::FullName(names))
                        if it.reasons.is_none() && it.crl_issuer.is_none() =>
                    {
                        Some(names)
                    }
                    _ => None,
                });
                self.crl_urls = names.flatten().filter_map(uri).collect();
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for it in access.iter() {
                    let urls = match &it.access_method {
                        method if *method == oids::OID_PKIX_ACCESS_DESCRIPTOR_OCSP => {
                            &mut self.ocsp_urls
                        }
                        method if *method == oids::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS => {
                            &mut self.issuer_urls
                        }
                        _ => continue,
                    };
                    urls.extend(uri(&it.access_location));
                }
            }
            ParsedExtension::SCT(list) => {
                let timestamps = list.iter().map(|it| Timestamp {
                    log: *it.id.key_id,
                    milliseconds: it.timestamp,
                });
                self.timestamps = timestamps.collect();
            }
            _ if extension.oid.as_bytes() == TLS_FEATURE => {
                self.must_staple = wants_status(extension.value).ok_or(Malformed)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// How long it is good for, from its first second to its last.
    pub(crate) fn life(&self) -> Duration {
        self.not_after
            .duration_since(self.not_before)
            .unwrap_or_default()
    }

    pub(crate) fn spki_hash(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(&self.der)
    }

    /// `tls-server-end-point` (RFC 5929 4.1): the hash of the certificate, by the hash function of its signature, at least
    /// SHA-256. Where the signature has no hash function of its own (Ed25519), SHA-256.
    pub(crate) fn end_point_hash(&self) -> Box<[u8]> {
        digest::digest(self.end_point_digest, &self.der)
            .as_ref()
            .into()
    }
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .unwrap_or_default()
}

impl Names {
    /// All of them in words.
    pub(crate) fn to_list(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let services = self
            .services
            .iter()
            .map(|(service, domain)| format!("_{service}.{domain}"));
        self.dns
            .iter()
            .cloned()
            .chain(addresses)
            .chain(services)
            .collect()
    }
}

fn names(general: &[GeneralName<'_>]) -> Result<Names, Malformed> {
    let mut names = Names::default();
    for name in general {
        match name {
            GeneralName::DNSName(name) => names.dns.push(printable(name).to_ascii_lowercase()),
            GeneralName::IPAddress(octets) => {
                names.addresses.push(address(octets).ok_or(Malformed)?);
            }
            GeneralName::OtherName(oid, value) if oid.as_bytes() == DNS_SRV => {
                names.services.push(service(value).ok_or(Malformed)?);
            }
            GeneralName::RFC822Name(address) => {
                names.emails.push(printable(address).to_ascii_lowercase());
                names.others += 1;
            }
            _ => names.others += 1,
        }
    }
    Ok(names)
}

/// An `SRVName` (RFC 4985 2): `[0] EXPLICIT IA5String` of the form `_service.name`.
fn service(value: &[u8]) -> Option<(String, String)> {
    let mut outer = der::Reader::new(value);
    let mut inner = der::Reader::new(outer.take(der::CONTEXT_0)?);
    let text = inner.take(der::IA5_STRING)?;
    (outer.is_empty() && inner.is_empty()).then_some(())?;
    let text = printable(std::str::from_utf8(text).ok()?).to_ascii_lowercase();
    let (service, domain) = text.strip_prefix('_')?.split_once('.')?;
    Some((service.to_owned(), domain.to_owned()))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

fn uri(name: &GeneralName<'_>) -> Option<String> {
    match name {
        // One with other characters could not be fetched anyway.
        GeneralName::URI(uri) if uri.bytes().all(|it| it.is_ascii_graphic()) => {
            Some((*uri).to_owned())
        }
        _ => None,
    }
}

/// The text with characters that do something to a terminal, or cannot be seen, written out. What is written out matches no
/// host name.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        let invisible = matches!(
            it,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        );
        if it.is_control() || invisible {
            out.extend(it.escape_unicode());
        } else {
            out.push(it);
        }
    }
    out
}

/// Whether a TLS feature extension, a SEQUENCE OF INTEGER, holds `status_request`.
fn wants_status(value: &[u8]) -> Option<bool> {
    let mut outer = der::Reader::new(value);
    let mut features = der::Reader::new(outer.take(der::SEQUENCE)?);
    let mut wants = false;
    while !features.is_empty() {
        wants |= features.take(der::INTEGER)? == [STATUS_REQUEST];
    }
    outer.is_empty().then_some(wants)
}

fn key_kind(certificate: &X509Certificate<'_>) -> PublicKeyKind {
    let key = certificate.public_key();
    let algorithm = key.algorithm.algorithm.as_bytes();
    if algorithm == oids::OID_SIG_ED25519.as_bytes() {
        return PublicKeyKind::Ed25519;
    }
    if matches!(algorithm, [head @ .., 17..=19] if head == ML_DSA) {
        return PublicKeyKind::MlDsa;
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => PublicKeyKind::Rsa(modulus_bits(rsa.modulus)),
        Ok(PublicKey::EC(point)) => {
            let parameters = key.algorithm.parameters.as_ref();
            let curve = parameters.and_then(|any| any.as_oid().ok());
            match curve {
                Some(it) if it == oids::OID_EC_P256 => PublicKeyKind::P256,
                Some(it) if it == oids::OID_NIST_EC_P384 => PublicKeyKind::P384,
                Some(it) if it == oids::OID_NIST_EC_P521 => PublicKeyKind::P521,
                _ => PublicKeyKind::OtherCurve(point.key_size()),
            }
        }
        _ => PublicKeyKind::Other,
    }
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let significant = modulus.iter().skip_while(|&&octet| octet == 0);
    let first = significant.clone().next().copied().unwrap_or_default();
    let unused = usize::try_from(first.leading_zeros()).unwrap_or_default();
    (significant.count() * 8).saturating_sub(unused)
}

fn signature_kind(certificate: &X509Certificate<'_>) -> SignatureKind {
    let algorithm = signature_hash(certificate);
    let is_one_of = |oids: &[Oid<'_>]| oids.iter().any(|it| it.as_bytes() == algorithm);
    if is_one_of(&[oids::OID_PKCS1_MD5WITHRSAENC, oids::OID_MD5_WITH_RSA]) {
        SignatureKind::Md5
    } else if is_one_of(&[
        oids::OID_PKCS1_SHA1WITHRSA,
        oids::OID_SHA1_WITH_RSA,
        ECDSA_WITH_SHA1,
        oids::OID_HASH_SHA1,
    ]) {
        SignatureKind::Sha1
    } else {
        SignatureKind::Strong
    }
}

/// RFC 9846 4.2.3. Of PSS it is the scheme for keys that are not bound to PSS: others are not met.
fn signature_scheme(certificate: &X509Certificate<'_>) -> Option<u16> {
    let schemes = [
        (oids::OID_PKCS1_SHA256WITHRSA, 0x0401),
        (oids::OID_PKCS1_SHA384WITHRSA, 0x0501),
        (oids::OID_PKCS1_SHA512WITHRSA, 0x0601),
        (oids::OID_SIG_ECDSA_WITH_SHA256, 0x0403),
        (oids::OID_SIG_ECDSA_WITH_SHA384, 0x0503),
        (oids::OID_SIG_ECDSA_WITH_SHA512, 0x0603),
        (oids::OID_SIG_ED25519, 0x0807),
        // The hash functions of PSS.
        (oids::OID_NIST_HASH_SHA256, 0x0804),
        (oids::OID_NIST_HASH_SHA384, 0x0805),
        (oids::OID_NIST_HASH_SHA512, 0x0806),
    ];
    let algorithm = signature_hash(certificate);
    let mut known = schemes.into_iter();
    known
        .find(|(oid, _)| oid.as_bytes() == algorithm)
        .map(|(_, scheme)| scheme)
}

fn end_point_digest(certificate: &X509Certificate<'_>) -> &'static digest::Algorithm {
    let algorithm = signature_hash(certificate);
    let is_one_of = |oids: &[Oid<'_>]| oids.iter().any(|it| it.as_bytes() == algorithm);
    if is_one_of(&[
        oids::OID_PKCS1_SHA384WITHRSA,
        oids::OID_SIG_ECDSA_WITH_SHA384,
        oids::OID_NIST_HASH_SHA384,
    ]) {
        &digest::SHA384
    } else if is_one_of(&[
        oids::OID_PKCS1_SHA512WITHRSA,
        oids::OID_SIG_ECDSA_WITH_SHA512,
        oids::OID_NIST_HASH_SHA512,
    ]) {
        &digest::SHA512
    } else {
        &digest::SHA256
    }
}

/// The OID of the signature's algorithm, or of its hash function where (RSASSA-PSS) only the parameters name it.
fn signature_hash(certificate: &X509Certificate<'_>) -> Vec<u8> {
    let algorithm = &certificate.signature_algorithm;
    // Asked about anything it does not know, the parser writes to the standard error.
    if algorithm.algorithm == oids::OID_PKCS1_RSASSAPSS
        && let Ok(SignatureAlgorithm::RSASSA_PSS(params)) = SignatureAlgorithm::try_from(algorithm)
    {
        return params.hash_algorithm_oid().as_bytes().to_vec();
    }
    algorithm.algorithm.as_bytes().to_vec()
}

/// Seconds since 1970, before it too.
pub(crate) fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use gatepost_testkit::pki::{Authority, must_staple, now};
    use rcgen::{CertificateParams, CustomExtension};

    use super::*;

    fn read(change: impl FnOnce(&mut CertificateParams)) -> Result<Certificate, Malformed> {
        let issued = Authority::root("Root").issue_with(&["mail.example.org"], change);
        Certificate::read(&issued.certificate)
    }

    fn extended(oid: &[u64], content: &[u8]) -> Result<Certificate, Malformed> {
        let extension = CustomExtension::from_oid_content(oid, content.to_vec());
        read(|it| it.custom_extensions.push(extension))
    }

    #[test]
    fn only_the_feature_status_request_means_must_staple() {
        // [REV-06]
        const FEATURE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
        let must = |content: &[u8]| extended(FEATURE, content).map(|it| it.must_staple);
        assert_eq!(must(&[0x30, 3, 2, 1, 5]), Ok(true));
        assert_eq!(must(&[0x30, 6, 2, 1, 17, 2, 1, 5]), Ok(true));
        assert_eq!(must(&[0x30, 3, 2, 1, 17]), Ok(false));
        assert_eq!(must(&[0x30, 4, 2, 2, 5, 5]), Ok(false));
        assert_eq!(must(&[0x30, 3, 4, 1, 5]), Err(Malformed));
        assert_eq!(must(&[0x30, 3, 2, 1, 5, 0]), Err(Malformed));
        assert_eq!(must(&[]), Err(Malformed));
    }

    #[test]
    fn an_extension_that_cannot_be_read_or_stands_twice_spoils_the_certificate() {
        assert!(read(|_| {}).is_ok());
        let twice = read(|it| it.custom_extensions.extend([must_staple(), must_staple()]));
        assert_eq!(twice.unwrap_err(), Malformed);
        for (oid, content) in [
            (&[2, 5, 29, 30][..], &[4, 0][..]), // name constraints
            (&[2, 5, 29, 31], &[2, 1, 1]),      // distribution points
            (&[1, 3, 6, 1, 5, 5, 7, 1, 1], &[5, 0]),
        ] {
            assert_eq!(extended(oid, content).unwrap_err(), Malformed, "{oid:?}");
        }
    }

    #[test]
    fn a_certificate_ends_where_it_ends() {
        let issued = Authority::root("Root").issue(&["mail.example.org"]);
        let longer = [&issued.certificate[..], &[0]].concat();
        let read = Certificate::read(&CertificateDer::from(longer));
        assert_eq!(read.unwrap_err(), Malformed);
    }

    #[test]
    fn service_names_are_read_as_pairs() {
        // [ID-06]
        let of = |text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            let value = [&[0xa0, length + 2, 0x16, length], text.as_bytes()].concat();
            service(&value)
        };
        let pair = ("imaps".to_owned(), "example.org".to_owned());
        assert_eq!(of("_IMAPS.Example.org"), Some(pair));
        assert_eq!(of("imaps.example.org"), None);
        assert_eq!(of("_imaps"), None);
        assert_eq!(service(&[0xa0, 2, 0x0c, 0]), None, "IA5String and no other");
    }

    #[test]
    fn nothing_a_certificate_says_moves_a_terminal() {
        let certificate = read(|it| {
            it.distinguished_name
                .push(rcgen::DnType::OrganizationName, "evil\u{1b}[2J\u{202e}");
            let name = "a\u{1b}]0;x\u{7}.example".try_into().unwrap();
            it.subject_alt_names.push(rcgen::SanType::DnsName(name));
            it.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
                uris: vec![
                    "http://a.example/\u{1b}".into(),
                    "http://a.example/b".into(),
                ],
            }];
        });
        let certificate = certificate.unwrap();
        let said = [
            &certificate.names.to_list()[..],
            std::slice::from_ref(&certificate.subject),
        ];
        let said = said.concat().concat();
        assert!(said.contains("evil\\u{1b}[2J\\u{202e}"), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']));
        assert_eq!(certificate.crl_urls, ["http://a.example/b"]);
    }

    #[test]
    fn the_bits_of_a_modulus_are_counted_without_leading_zeros() {
        assert_eq!(modulus_bits(&[0, 0x80, 0, 0]), 24);
        assert_eq!(modulus_bits(&[0x01, 0]), 9);
        assert_eq!(modulus_bits(&[0, 0]), 0);
    }

    #[test]
    fn times_before_1970_are_times_too() {
        let day = Duration::from_secs(86_400);
        assert_eq!(moment(-86_400), SystemTime::UNIX_EPOCH - day);
        assert!(moment(1_793_491_200) == now());
    }
}
