//! Each refusal, with a certificate made for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["mail.example".to_owned()]).unwrap();
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 90 * DAY).into();
    params
}

/// A certificate for `mail.example` that is good, before `change`.
fn made_with(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = params();
    change(&mut params);
    params.self_signed(key).unwrap().pem()
}

fn load(chain: &str, key: &str) -> Result<(Identity, Vec<IdentityWarning>), IdentityError> {
    Identity::from_pem(
        chain.as_bytes(),
        key.as_bytes(),
        Some("mail.example"),
        SystemTime::now(),
    )
}

fn refusal(change: impl FnOnce(&mut CertificateParams)) -> IdentityError {
    let key = KeyPair::generate().unwrap();
    load(&made_with(&key, change), &key.serialize_pem()).unwrap_err()
}

#[test]
fn a_good_one_is_taken() {
    let key = KeyPair::generate().unwrap();
    let (identity, warnings) = load(&made_with(&key, |_| {}), &key.serialize_pem()).unwrap();
    assert_eq!(
        (identity.kind(), identity.names()),
        (KeyKind::EcdsaP256, &["mail.example".to_owned()][..])
    );
    assert_eq!(warnings, []);
}

#[test]
fn kinds_of_keys() {
    for (algorithm, kind) in [
        (&PKCS_ECDSA_P384_SHA384, KeyKind::EcdsaP384),
        (&PKCS_ED25519, KeyKind::Ed25519),
        (&PKCS_RSA_SHA256, KeyKind::Rsa),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let (identity, _) = load(&made_with(&key, |_| {}), &key.serialize_pem()).unwrap();
        assert_eq!(identity.kind(), kind);
    }
}

#[test]
fn the_end_point_hash_follows_the_signature() {
    // RFC 5929 4.1
    use aws_lc_rs::digest;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let (identity, _) = load(&made_with(&key, |_| {}), &key.serialize_pem()).unwrap();
    let der = identity.key.cert.first().unwrap();
    assert_eq!(
        identity.end_point_hash(),
        digest::digest(&digest::SHA384, der).as_ref()
    );
    let key = KeyPair::generate().unwrap();
    let (identity, _) = load(&made_with(&key, |_| {}), &key.serialize_pem()).unwrap();
    let der = identity.key.cert.first().unwrap();
    assert_eq!(
        identity.end_point_hash(),
        digest::digest(&digest::SHA256, der).as_ref()
    );
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let result = load(&made_with(&key, |_| {}), &other.serialize_pem());
    assert_eq!(result.unwrap_err(), IdentityError::KeyMismatch);
}

#[test]
fn dates_are_checked() {
    let ended = refusal(|it| it.not_after = (SystemTime::now() - DAY / 2).into());
    assert!(matches!(ended, IdentityError::Expired(_)), "{ended}");
    let future = refusal(|it| it.not_before = (SystemTime::now() + DAY).into());
    assert!(matches!(future, IdentityError::NotYetValid(_)), "{future}");
    let key = KeyPair::generate().unwrap();
    // [CERT-02] [CERT-03] a third of its life
    let late = made_with(&key, |it| {
        it.not_before = (SystemTime::now() - 65 * DAY).into();
        it.not_after = (SystemTime::now() + 35 * DAY).into();
    });
    assert_eq!(load(&late, &key.serialize_pem()).unwrap().1, []);
    let soon = made_with(&key, |it| {
        it.not_before = (SystemTime::now() - 70 * DAY).into();
        it.not_after = (SystemTime::now() + 30 * DAY).into();
    });
    let (_, warnings) = load(&soon, &key.serialize_pem()).unwrap();
    assert!(
        matches!(warnings[..], [IdentityWarning::EndsSoon(_)]),
        "{warnings:?}"
    );
}

#[test]
fn the_host_must_be_covered_by_a_subject_alternative_name() {
    // [CONF-04] the common name does not count.
    let other = refusal(|it| {
        it.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
        it.distinguished_name
            .push(rcgen::DnType::CommonName, "mail.example");
    });
    let names = vec!["other.example".to_owned()];
    assert_eq!(
        other,
        IdentityError::NotForHost {
            host: "mail.example".into(),
            names
        }
    );
    assert_eq!(
        refusal(|it| it.subject_alt_names.clear()),
        IdentityError::NoNames
    );
}

#[test]
fn certificates_for_something_else_are_refused() {
    let key = KeyPair::generate().unwrap();
    let authority =
        |it: &mut CertificateParams| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut other = params();
    other
        .distinguished_name
        .push(rcgen::DnType::CommonName, "other");
    let issuer = rcgen::Issuer::new(other, KeyPair::generate().unwrap());
    let mut below = params();
    authority(&mut below);
    let below = below.signed_by(&key, &issuer).unwrap().pem();
    assert_eq!(
        load(&below, &key.serialize_pem()).unwrap_err(),
        IdentityError::IsAuthority
    );
    // Its own authority: what `openssl req -x509` makes.
    let (_, warnings) = load(&made_with(&key, authority), &key.serialize_pem()).unwrap();
    assert_eq!(warnings, [IdentityWarning::SelfSignedAuthority]);
    let client = refusal(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(client, IdentityError::NotForServers);
    let staple = refusal(|it| {
        let content = vec![0x30, 3, 2, 1, 5];
        let feature = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], content);
        it.custom_extensions.push(feature);
    });
    assert_eq!(staple, IdentityError::MustStaple);
}

/// Made once with OpenSSL; there is no way to make weak ones with the libraries here.
mod weak {
    pub(super) const RSA_1024: &str = include_str!("fixtures/rsa1024.pem");
    pub(super) const RSA_1024_KEY: &str = include_str!("fixtures/rsa1024.key");
    pub(super) const SHA1: &str = include_str!("fixtures/sha1.pem");
    pub(super) const SHA1_KEY: &str = include_str!("fixtures/sha1.key");
    pub(super) const SHA1_ECDSA: &str = include_str!("fixtures/sha1-ecdsa.pem");
    pub(super) const MD5: &str = include_str!("fixtures/md5.pem");
}

#[test]
fn short_rsa_keys_are_refused() {
    // [TLS-KEY-01]
    let result = load(weak::RSA_1024, weak::RSA_1024_KEY);
    assert_eq!(result.unwrap_err(), IdentityError::WeakRsa(1024));
}

#[test]
fn weak_signatures_are_refused_anywhere_in_the_chain() {
    for weak in [weak::SHA1, weak::MD5, weak::SHA1_ECDSA] {
        let result = load(weak, weak::SHA1_KEY);
        assert_eq!(result.unwrap_err(), IdentityError::WeakSignature(1));
    }
    let key = KeyPair::generate().unwrap();
    let chain = made_with(&key, |_| {}) + weak::SHA1;
    let result = load(&chain, &key.serialize_pem());
    assert_eq!(result.unwrap_err(), IdentityError::WeakSignature(2));
}

#[test]
fn a_chain_in_the_wrong_order_is_warned_of() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let rename = |it: &mut CertificateParams| {
        it.distinguished_name
            .push(rcgen::DnType::CommonName, "somebody else");
    };
    let chain = made_with(&key, |_| {}) + &made_with(&other, rename);
    let (_, warnings) = load(&chain, &key.serialize_pem()).unwrap();
    assert_eq!(warnings, [IdentityWarning::ChainOutOfOrder(1)]);
}

#[test]
fn files_that_hold_something_else_are_told_apart() {
    let key = KeyPair::generate().unwrap();
    let (chain, key) = (made_with(&key, |_| {}), key.serialize_pem());
    let cut = &chain[..chain.len() / 2];
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(load(cut, &key).unwrap_err(), IdentityError::ChainNotPem);
    assert_eq!(load(&key, &key).unwrap_err(), IdentityError::NoCertificate);
    assert_eq!(load("", &key).unwrap_err(), IdentityError::NoCertificate);
    assert_eq!(
        load(not_der, &key).unwrap_err(),
        IdentityError::BadCertificate(1)
    );
    assert_eq!(load(&chain, &chain).unwrap_err(), IdentityError::NoKey);
    assert_eq!(load(&chain, encrypted).unwrap_err(), IdentityError::NoKey);
    assert_eq!(
        load(&chain, &key[..key.len() / 2]).unwrap_err(),
        IdentityError::KeyNotPem
    );
    assert_eq!(
        load(&chain, bad_key).unwrap_err(),
        IdentityError::UnsupportedKey
    );
}

#[test]
fn files_are_read_and_their_rights_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key_file) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let key = KeyPair::generate().unwrap();
    fs::write(&chain, made_with(&key, |_| {})).unwrap();
    let load = || Identity::load(&chain, &key_file, None, SystemTime::now());
    let missing = load().unwrap_err();
    assert_eq!(
        missing,
        IdentityError::Unreadable(key_file.clone(), std::io::ErrorKind::NotFound)
    );
    fs::write(&key_file, key.serialize_pem()).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        load().unwrap().1,
        [IdentityWarning::KeyReadableByOthers(key_file.clone())]
    );
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(load().unwrap().1, []);
}

#[test]
fn words_for_operators_name_the_cure() {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
    assert_eq!(
        IdentityError::Expired(end).to_string(),
        "the certificate ended on 1970-01-02"
    );
    let unreadable =
        IdentityError::Unreadable(PathBuf::from("/x"), std::io::ErrorKind::PermissionDenied);
    assert_eq!(unreadable.to_string(), "cannot read /x: permission denied");
}

#[test]
fn wildcards_cover_one_label() {
    let names = ["*.example".to_owned(), "mail.example".to_owned()];
    assert_eq!(coverage(&names, "mail.example"), Some(Coverage::Exact));
    assert_eq!(coverage(&names, "imap.example"), Some(Coverage::Wildcard));
    assert_eq!(coverage(&names, "a.b.example"), None);
    assert_eq!(coverage(&names, "example"), None);
}
