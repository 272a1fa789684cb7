use gatepost_testkit::pki::{Authority, DAY, must_staple, now, pem};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

use super::*;
use crate::verify::{Reference, Roots};

const HOST: &str = "mail.example.org";

/// The ids of what is found, most often for one leaf under a root that clients trust.
fn found(
    chain: &[&CertificateDer<'static>],
    host: Option<&str>,
    root: Option<&Authority>,
) -> Vec<&'static str> {
    let chain: Vec<_> = chain.iter().map(|it| (*it).clone()).collect();
    let host = host.map(|it| Reference::host(it).unwrap());
    let roots = root.map(|root| {
        let mut roots = Roots::none();
        roots.add(root.certificate.clone()).unwrap();
        roots
    });
    let terms = LintTerms {
        host: host.as_ref(),
        roots: roots.as_ref(),
        now: now(),
    };
    let findings = lint(&chain, &terms);
    for finding in &findings {
        assert!(!finding.rule.fix().is_empty());
        assert!(finding.to_string().contains(finding.rule.id()));
    }
    findings.into_iter().map(|it| it.rule.id()).collect()
}

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Vec<&'static str> {
    let root = Authority::root("Root");
    let leaf = root.issue_with(&[HOST], |it| {
        it.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
            uris: vec!["http://crl.example/root.crl".into()],
        }];
        change(it);
    });
    found(&[&leaf.certificate], Some(HOST), Some(&root))
}

#[test]
fn a_good_chain_has_no_findings() {
    assert!(leaf(|_| {}).is_empty());
}

#[test]
fn the_order_of_a_chain_is_looked_at() {
    // [CERT-01]
    let root = Authority::root("Root");
    let middle = root.authority("Middle");
    let low = middle.authority("Low");
    let leaf = low.issue_with(&[HOST], |it| it.not_after = (now() + 30 * DAY).into());
    let of = |chain: &[&CertificateDer<'static>]| {
        let found = found(chain, None, Some(&root));
        found
            .into_iter()
            .filter(|it| it.starts_with("CERT-CHAIN"))
            .collect::<Vec<_>>()
    };
    let (leaf, low, middle_der, root_der) = (
        &leaf.certificate,
        &low.certificate,
        &middle.certificate,
        &root.certificate,
    );
    assert!(of(&[leaf, low, middle_der]).is_empty());
    assert_eq!(of(&[leaf, low, middle_der, root_der]), ["CERT-CHAIN-ROOT"]);
    assert_eq!(of(&[leaf, low]), ["CERT-CHAIN-MISSING"]);
    assert_eq!(of(&[leaf]), ["CERT-CHAIN-MISSING"]);
    assert!(of(&[leaf, middle_der, low]).contains(&"CERT-CHAIN-ORDER"));
    assert!(of(&[low, leaf, middle_der]).contains(&"CERT-CHAIN-FIRST"));
    let other = Authority::root("Other");
    let extra = of(&[leaf, low, middle_der, &other.certificate]);
    assert_eq!(extra, ["CERT-CHAIN-EXTRA", "CERT-CHAIN-ROOT"]);
    let twin = Authority::root("Root").authority("Middle").authority("Low");
    assert_eq!(
        of(&[leaf, &twin.certificate, middle_der]),
        ["CERT-CHAIN-BROKEN", "CERT-CHAIN-BROKEN"]
    );
    // Without roots to look at, a leaf alone is suspicious.
    assert_eq!(
        found(&[leaf], None, None).first(),
        Some(&"CERT-CHAIN-MISSING")
    );
}

#[test]
fn each_fault_of_a_leaf_is_found() {
    assert_eq!(
        leaf(|it| it.not_after = (now() - DAY).into()),
        ["CERT-DATE-EXPIRED"]
    );
    assert_eq!(
        leaf(|it| it.not_before = (now() + DAY).into()),
        ["CERT-DATE-NOT-YET"]
    );
    assert_eq!(
        leaf(|it| it.not_after = (now() + 10 * DAY).into()),
        ["CERT-DATE-SOON"]
    );
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(leaf(|it| it.extended_key_usages = client), ["CERT-EKU"]);
    let encipher = vec![KeyUsagePurpose::KeyEncipherment];
    assert_eq!(leaf(|it| it.key_usages = encipher), ["CERT-KU"]);
    assert_eq!(
        leaf(|it| it.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        ["CERT-CA"]
    );
    assert_eq!(
        leaf(|it| it.custom_extensions.push(must_staple())),
        ["CERT-REV-STAPLE"]
    );
    assert_eq!(
        leaf(|it| it.crl_distribution_points.clear()),
        ["CERT-REV-NONE"]
    );
    assert_eq!(leaf(|it| it.subject_alt_names.clear()), ["CERT-NAME-NONE"]);
    let names = |names: &'static [&str]| {
        leaf(|it| {
            let other =
                CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>());
            it.subject_alt_names = other.unwrap().subject_alt_names;
        })
    };
    assert_eq!(names(&["other.example.org"]), ["CERT-NAME"]);
    assert_eq!(names(&["*.example.org"]), ["CERT-WILD"]);
    let hidden = leaf(|it| {
        it.distinguished_name
            .push(DnType::CommonName, "www.example.org");
    });
    assert_eq!(hidden, ["CERT-NAME-CN"]);
}

#[test]
fn the_longest_life_depends_on_the_day_it_begins() {
    // SC-081v3
    let life = |begin: u64, days: u32| {
        let begin = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(begin);
        leaf(|it| {
            it.not_before = begin.into();
            it.not_after = (begin + days * DAY).into();
        })
        .contains(&"CERT-LIFE")
    };
    for (begin, days) in [
        (1_773_532_799, 398),
        (1_773_532_800, 200),
        (1_805_068_800, 100),
        (1_868_227_200, 47),
    ] {
        assert!(!life(begin, days), "{begin}");
        assert!(life(begin, days + 1), "{begin}");
    }
    assert!(!life(1_500_000_000, 1000), "before there was a limit");
}

#[test]
fn what_cannot_be_read_is_said() {
    let rubbish = CertificateDer::from(vec![0x30, 0]);
    assert_eq!(found(&[&rubbish], None, None), ["CERT-READ"]);
    assert_eq!(describe(&rubbish), Err(Unreadable));
    assert_eq!(read_chain(b"hello"), Err(Unreadable));
    assert_eq!(read_chain(b""), Err(Unreadable));
}

#[test]
fn a_certificate_is_described() {
    let root = Authority::root("Root");
    let issued = root.issue_with(&["Mail.example.org", "192.0.2.1"], |it| {
        it.custom_extensions.push(must_staple());
    });
    let text = pem("CERTIFICATE", &issued.certificate) + &pem("CERTIFICATE", &root.certificate);
    let chain = read_chain(text.as_bytes()).unwrap();
    assert_eq!(
        chain,
        [issued.certificate.clone(), root.certificate.clone()]
    );
    assert_eq!(
        read_chain(&issued.certificate).unwrap(),
        std::slice::from_ref(&issued.certificate)
    );
    let it = describe(&issued.certificate).unwrap();
    assert_eq!(it.names, [HOST, "192.0.2.1"]);
    assert_eq!(it.subject, "CN=Gatepost test");
    assert_eq!(it.issuer, "CN=Root");
    assert_eq!(it.key, PublicKeyKind::P256);
    assert!(it.must_staple && it.for_servers && !it.is_authority && !it.is_self_issued);
    let Pin::Spki(hash) = it.key_pin else {
        panic!("a pin of a key");
    };
    assert_eq!(it.tlsa.data, hash);
    assert_eq!(
        it.tlsa.to_string(),
        format!("3 1 1 {}", &it.key_pin.to_string()[12..])
    );
}
