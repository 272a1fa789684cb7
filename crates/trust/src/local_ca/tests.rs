//! The authority over starts, renewals and accidents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{ServerName, UnixTime};

use super::*;
use crate::profile::provider;

fn ders(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// What a client would say.
fn verify(files: &LocalFiles, name: &str, at: SystemTime) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ders(&files.ca).remove(0)).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let leaf = ders(&files.chain).remove(0);
    let verdict = verifier.unwrap().verify_server_cert(
        &leaf,
        &[],
        &name,
        &[],
        UnixTime::since_unix_epoch(since),
    );
    verdict.map(|_| ())
}

#[test]
fn clients_that_trust_the_authority_accept_every_name() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let files = ensure(
        folder.path(),
        &["Box.Example.Org".into(), "10.1.2.3".into()],
        now,
    )
    .unwrap();
    assert!(files.renewed);
    for name in [
        "localhost",
        "mail.gatepost.test",
        "127.0.0.1",
        "::1",
        "box.example.org",
        "10.1.2.3",
    ] {
        verify(&files, name, now).unwrap();
    }
    assert!(verify(&files, "other.example.org", now).is_err());
    assert!(
        verify(&files, "localhost", now + 91 * DAY).is_err(),
        "90 days at most"
    );
}

#[test]
fn keys_are_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let files = ensure(folder.path(), &[], SystemTime::now()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files.key), 0o600);
    assert_eq!(mode(&folder.path().join("ca.key")), 0o600);
    let (_, warnings) = Identity::load(
        &files.chain,
        &files.key,
        Some("localhost"),
        SystemTime::now(),
    )
    .unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn a_second_start_reuses_everything() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = ensure(folder.path(), &[], now).unwrap();
    let before: Vec<_> = [&first.ca, &first.chain, &first.key]
        .map(|it| fs::read(it).unwrap())
        .into();
    let second = ensure(folder.path(), &[], now + DAY).unwrap();
    assert!(!second.renewed);
    let after: Vec<_> = [&first.ca, &first.chain, &first.key]
        .map(|it| fs::read(it).unwrap())
        .into();
    assert_eq!(before, after);
}

#[test]
fn the_leaf_is_renewed_ahead_and_the_authority_stays() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = ensure(folder.path(), &[], now).unwrap();
    let ca = fs::read(&first.ca).unwrap();
    let old = fs::read(&first.chain).unwrap();
    assert!(!ensure(folder.path(), &[], now + 55 * DAY).unwrap().renewed);
    let later = now + 65 * DAY;
    let renewed = ensure(folder.path(), &[], later).unwrap();
    assert!(renewed.renewed);
    assert_eq!(fs::read(&renewed.ca).unwrap(), ca);
    assert_ne!(fs::read(&renewed.chain).unwrap(), old);
    verify(&renewed, "localhost", later + 80 * DAY).unwrap();
}

#[test]
fn a_new_name_or_a_lost_file_makes_a_new_leaf() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let files = ensure(folder.path(), &[], now).unwrap();
    assert!(
        ensure(folder.path(), &["new.example".into()], now)
            .unwrap()
            .renewed
    );
    fs::remove_file(&files.key).unwrap();
    assert!(ensure(folder.path(), &[], now).unwrap().renewed);
    verify(&files, "localhost", now).unwrap();
    fs::write(&files.chain, "cut sho").unwrap();
    assert!(ensure(folder.path(), &[], now).unwrap().renewed);
    fs::remove_file(&files.ca).unwrap();
    ensure(folder.path(), &[], now).unwrap();
    verify(&files, "localhost", now).unwrap();
}

#[test]
fn an_authority_that_is_not_ours_is_left_alone() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = SystemTime::now();
    let files = ensure(one.path(), &[], now).unwrap();
    let foreign = ensure(other.path(), &[], now).unwrap();
    fs::copy(&foreign.ca, &files.ca).unwrap();
    assert_eq!(
        ensure(one.path(), &[], now),
        Err(LocalCaError::Damaged(files.ca.clone()))
    );
    fs::remove_file(one.path().join("ca.key")).unwrap();
    assert_eq!(
        ensure(one.path(), &[], now),
        Err(LocalCaError::Damaged(files.ca.clone()))
    );
    // A leaf of another authority is replaced.
    fs::copy(&files.chain, &foreign.chain).unwrap();
    fs::copy(&files.key, &foreign.key).unwrap();
    assert!(ensure(other.path(), &[], now).unwrap().renewed);
}

#[test]
fn the_end_of_the_authority_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let files = ensure(folder.path(), &[], now).unwrap();
    assert_eq!(
        ensure(folder.path(), &[], now + CA_LIFE),
        Err(LocalCaError::AuthorityEnded(files.ca))
    );
}

#[test]
fn bad_names_and_bad_folders_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let name = "bücher.example".to_owned();
    assert_eq!(
        ensure(folder.path(), std::slice::from_ref(&name), now),
        Err(LocalCaError::BadName(name))
    );
    let missing = folder.path().join("missing");
    assert!(matches!(
        ensure(&missing, &[], now),
        Err(LocalCaError::File(..))
    ));
}
