//! The matrix of verdicts, third part: TLSA records, made by code.

mod support;

use std::sync::Arc;

use gatepost_testkit::pki::{Authority, DAY, Issued, must_staple, now};
use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
use gatepost_trust::verify::{Roots, Terms, Way, Ways, judge};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa};
use support::judged::{Family, HOST, by_record, evidence, word};
use support::terms;

#[test]
fn all_combinations_of_tlsa_records_match_what_they_should() {
    // [DANE-07] [DANE-08] [DANE-09]
    let family = Family::new();
    let root = &family.root.certificate;
    let middle = &family.middle.certificate;
    let leaf = &family.leaf.certificate;
    let chain = [leaf, middle, root];
    let stranger = Authority::root("Stranger");
    let foreign = stranger.issue(&[HOST]);
    let trusting = terms(HOST, &family.root);
    let nobody = Terms {
        roots: Arc::new(Roots::none()),
        ..trusting.clone()
    };
    for selector in 0..=1 {
        for matching in 0..=2 {
            let record = |of, usage| Tlsa::for_certificate(of, usage, selector, matching).unwrap();
            let name = |usage: u8| format!("{usage} {selector} {matching}");
            // 3: the server's own, no authority needed.
            assert_eq!(
                by_record(&record(leaf, 3), &chain, &nobody),
                "DANE",
                "{}",
                name(3)
            );
            assert_ne!(by_record(&record(middle, 3), &chain, &nobody), "DANE");
            // 2: an authority of the chain, trusted by nobody else.
            for of in [middle, root] {
                assert_eq!(
                    by_record(&record(of, 2), &chain, &nobody),
                    "DANE",
                    "{}",
                    name(2)
                );
            }
            assert_ne!(by_record(&record(leaf, 2), &chain, &nobody), "DANE");
            // 1 and 0: only under an authority that is trusted.
            assert_eq!(
                by_record(&record(leaf, 1), &chain, &trusting),
                "DANE",
                "{}",
                name(1)
            );
            assert_ne!(by_record(&record(leaf, 1), &chain, &nobody), "DANE");
            assert_ne!(by_record(&record(middle, 1), &chain, &trusting), "DANE");
            for of in [middle, root] {
                assert_eq!(
                    by_record(&record(of, 0), &chain, &trusting),
                    "DANE",
                    "{}",
                    name(0)
                );
            }
            assert_ne!(by_record(&record(middle, 0), &chain, &nobody), "DANE");
            assert_ne!(by_record(&record(leaf, 0), &chain, &trusting), "DANE");
            // None matches a stranger's.
            for usage in 0..=3 {
                let other = record(&foreign.certificate, usage);
                assert_ne!(
                    by_record(&other, &chain, &trusting),
                    "DANE",
                    "{}",
                    name(usage)
                );
            }
        }
    }
}

#[test]
fn one_matching_record_of_several_suffices() {
    // [DANE-07]
    let family = Family::new();
    let stranger = Authority::root("Stranger");
    let foreign = stranger.issue(&[HOST]);
    let leaf = &family.leaf.certificate;
    let middle = &family.middle.certificate;
    for usage in 0..=3 {
        let (ours, theirs) = if matches!(usage, 1 | 3) {
            (leaf, &foreign.certificate)
        } else {
            (middle, &stranger.certificate)
        };
        let record = |of| Tlsa::for_certificate(of, usage, 0, 1).unwrap();
        for records in [
            [record(theirs), record(ours)],
            [record(ours), record(theirs)],
        ] {
            let set = TlsaSet::new(&records, Usages::All);
            let terms = Terms {
                ways: Ways::Any(vec![Way::Dane(Arc::new(set))]),
                ..terms(HOST, &family.root)
            };
            let verdict = judge(&evidence(&[leaf, middle]), &terms, now());
            assert_eq!(word(&verdict), "DANE", "{usage}");
        }
    }
}

#[test]
fn dane_ee_asks_for_no_name_date_or_chain() {
    // [DANE-08]
    let stranger = Authority::root("Stranger");
    let odd = stranger.issue_with(&["other.example.org"], |it| {
        it.not_after = (now() - DAY).into();
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        it.custom_extensions.push(must_staple());
    });
    let record = Tlsa::for_certificate(&odd.certificate, 3, 1, 1).unwrap();
    let terms = terms(HOST, &Authority::root("Root"));
    assert_eq!(by_record(&record, &[&odd.certificate], &terms), "DANE");
}

#[test]
fn dane_ta_asks_for_name_dates_and_constraints() {
    // [DANE-09]
    let anchor = Authority::root("Anchor");
    let terms = terms(HOST, &Authority::root("Root"));
    let record = Tlsa::for_certificate(&anchor.certificate, 2, 0, 1).unwrap();
    let of = |leaf: &Issued| by_record(&record, &[&leaf.certificate, &anchor.certificate], &terms);
    assert_eq!(of(&anchor.issue(&[HOST])), "DANE");
    assert_eq!(of(&anchor.issue(&["other.example.org"])), "E-CERT-NAME");
    let old = anchor.issue_with(&[HOST], |it| it.not_after = (now() - DAY).into());
    assert_eq!(of(&old), "E-CERT-EXPIRED");
    // A trust anchor that is none, or has ended.
    let judged = |change: fn(&mut CertificateParams)| {
        let anchor = Authority::root_with("Anchor", change);
        let record = Tlsa::for_certificate(&anchor.certificate, 2, 0, 1).unwrap();
        let leaf = anchor.issue(&[HOST]);
        by_record(&record, &[&leaf.certificate, &anchor.certificate], &terms)
    };
    assert_eq!(judged(|_| {}), "DANE");
    assert_eq!(judged(|it| it.is_ca = IsCa::NoCa), "E-DANE-NO-MATCH");
    assert_eq!(
        judged(|it| it.not_after = (now() - DAY).into()),
        "E-CERT-EXPIRED"
    );
    // Held in full by the record, the authority need not be sent (RFC 7671 5.2.2, 5.2.3).
    let leaf = anchor.issue(&[HOST]);
    for selector in 0..=1 {
        let full = Tlsa::for_certificate(&anchor.certificate, 2, selector, 0).unwrap();
        assert_eq!(
            by_record(&full, &[&leaf.certificate], &terms),
            "DANE",
            "{selector}"
        );
        let other = Authority::root("Anchor").issue(&[HOST]);
        assert_ne!(by_record(&full, &[&other.certificate], &terms), "DANE");
    }
    let digest = Tlsa::for_certificate(&anchor.certificate, 2, 0, 1).unwrap();
    assert_eq!(
        by_record(&digest, &[&leaf.certificate], &terms),
        "E-DANE-NO-MATCH"
    );
}
