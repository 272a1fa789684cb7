//! Certificates made by code: authorities, what they issue, and lists of what they revoked.
//!
//! ```text
//!   Authority::root("Root")  ──authority──▶ Authority ──issue──▶ Issued
//! ```
//!
//! Everything is good for [`LIFE`] around [`now`], a fixed moment, so that tests do not depend on the day they run. Whatever a
//! test wants different it changes in the parameters given to its closure. Panics are fine here: a fixture that cannot be
//! made is a broken test.

#![allow(
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "fixtures for tests, which may panic and are made to be used"
)]

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// One day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long before and after [`now`] certificates are good.
pub const LIFE: Duration = Duration::from_secs(40 * 24 * 3600);

/// 2026-11-01 00:00:00 UTC.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_491_200)
}

/// An authority with its key.
pub struct Authority {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    params: CertificateParams,
    key: KeyPair,
}

/// A certificate with its key.
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: KeyPair,
    /// Its serial number.
    pub serial: SerialNumber,
}

impl Issued {
    /// The key for a TLS engine.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

impl Authority {
    /// A root.
    pub fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    /// A root with parameters changed.
    pub fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = authority_params(name, &key);
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            params,
            key,
        }
    }

    /// A root of another name with this one's key.
    pub fn under_another_name(&self, name: &str) -> Self {
        let key = KeyPair::from_pem(&self.key_pem()).unwrap();
        let params = authority_params(name, &key);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            params,
            key,
        }
    }

    /// An authority below this one.
    pub fn authority(&self, name: &str) -> Self {
        self.authority_with(name, |_| {})
    }

    /// An authority below this one, with parameters changed.
    pub fn authority_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = authority_params(name, &key);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        Self {
            certificate: certificate.der().clone(),
            params,
            key,
        }
    }

    /// A server's certificate for these names or addresses.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// The same, with parameters changed.
    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        self.issue_for_key(KeyPair::generate().unwrap(), names, change)
    }

    /// The same for a given key.
    pub fn issue_for_key(
        &self,
        key: KeyPair,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = leaf_params(names, &key);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        Issued {
            certificate: certificate.der().clone(),
            key,
            serial: params.serial_number.unwrap(),
        }
    }

    /// A list of revoked certificates, made a day ago and good for a week, with parameters changed.
    pub fn crl_with(
        &self,
        revoked: &[&SerialNumber],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> Vec<u8> {
        let revoked_cert = |serial: &&SerialNumber| RevokedCertParams {
            serial_number: (*serial).clone(),
            revocation_time: (now() - 2 * DAY).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let mut params = CertificateRevocationListParams {
            this_update: (now() - DAY).into(),
            next_update: (now() + 6 * DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoked_cert).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&self.issuer()).unwrap().der().to_vec()
    }

    /// A list of revoked certificates, made a day ago and good for a week.
    pub fn crl(&self, revoked: &[&SerialNumber]) -> Vec<u8> {
        self.crl_with(revoked, |_| {})
    }

    /// Another certificate for an authority's name and key.
    pub fn reissue(
        &self,
        authority: &Self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = authority.params.clone();
        change(&mut params);
        let certificate = params.signed_by(&authority.key, &self.issuer()).unwrap();
        certificate.der().clone()
    }

    /// The serial number of the authority's own certificate.
    pub fn serial(&self) -> &SerialNumber {
        self.params.serial_number.as_ref().unwrap()
    }

    /// The authority's key in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The authority's key.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The authority's name in DER, as it stands as issuer in what it signs.
    pub fn subject(&self) -> Vec<u8> {
        let anchor = webpki::anchor_from_trusted_cert(&self.certificate).unwrap();
        let length = u8::try_from(anchor.subject.len()).unwrap();
        assert!(length < 0x80, "names of fixtures are short");
        [&[0x30, length], anchor.subject.as_ref()].concat()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

fn authority_params(name: &str, key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now() - LIFE).into();
    params.not_after = (now() + LIFE).into();
    params.serial_number = Some(serial_of(key));
    params
}

fn leaf_params(names: &[&str], key: &KeyPair) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Gatepost test");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now() - LIFE).into();
    params.not_after = (now() + LIFE).into();
    params.serial_number = Some(serial_of(key));
    params
}

/// A serial number that goes with the key: no two of a test are the same.
fn serial_of(key: &KeyPair) -> SerialNumber {
    let public = key.der_bytes();
    let mut serial = vec![0x40];
    serial.extend(public.iter().rev().take(11));
    SerialNumber::from(serial)
}

/// The extension "must staple" (RFC 7633).
pub fn must_staple() -> CustomExtension {
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 24];
    CustomExtension::from_oid_content(&oid, vec![0x30, 3, 2, 1, 5])
}

/// A certificate or list in PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
