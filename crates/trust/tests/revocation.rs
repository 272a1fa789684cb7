//! The matrix of verdicts, second part: lists of revoked certificates and stapled answers, made by code.

mod support;

use std::time::{Duration, SystemTime};

use gatepost_testkit::ocsp::{Answer, State};
use gatepost_testkit::pki::{Authority, DAY, Issued, must_staple, now};
use gatepost_trust::verify::{
    Crls, Evidence, Kind, Outcome, RevocationMode, Status, Terms, VerifiedBy, judge,
};
use rcgen::{
    CertificateParams, CrlIssuingDistributionPoint, CrlScope, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use support::judged::{Family, HOST, evidence, point, verdict_of, word};
use support::terms;

impl Family {
    /// The verdict in hard mode by a list of the authority, beside a good one of the root.
    fn by(&self, list: Vec<u8>) -> &'static str {
        word(&self.judged(RevocationMode::Hard, &[self.root.crl(&[]), list]))
    }
}

#[test]
fn what_a_list_calls_revoked_is_refused() {
    // [REV-01] [REV-02] [CONF-13]
    let family = Family::new();
    let (root, middle) = (family.root.crl(&[]), family.middle.crl(&[]));
    let word_of = |mode, lists: &[&Vec<u8>]| {
        let lists: Vec<Vec<u8>> = lists.iter().map(|it| (*it).clone()).collect();
        word(&family.judged(mode, &lists))
    };
    let settled = family.judged(RevocationMode::Hard, &[root.clone(), middle.clone()]);
    assert_eq!(settled.verified(), Some(VerifiedBy::Pkix));
    assert_eq!(settled.status(Kind::Revocation), Some(&Status::Pass));
    // The leaf, and the authority.
    let leaf_revoked = family.middle.crl(&[&family.leaf.serial]);
    let middle_revoked = family.root.crl(&[family.middle.serial()]);
    for mode in [RevocationMode::Hard, RevocationMode::Soft] {
        assert_eq!(word_of(mode, &[&root, &leaf_revoked]), "E-CERT-REVOKED");
        assert_eq!(word_of(mode, &[&middle_revoked, &middle]), "E-CERT-REVOKED");
        assert_eq!(word_of(mode, &[&leaf_revoked]), "E-CERT-REVOKED");
    }
    assert_eq!(word_of(RevocationMode::Off, &[&leaf_revoked]), "PKIX");
    // What an outdated list calls revoked is revoked.
    let outdated = family.middle.crl_with(&[&family.leaf.serial], |it| {
        it.this_update = (now() - 3 * DAY).into();
        it.next_update = (now() - DAY).into();
    });
    assert_eq!(
        word_of(RevocationMode::Soft, &[&root, &outdated]),
        "E-CERT-REVOKED"
    );
}

#[test]
fn where_nobody_can_tell_the_mode_decides() {
    // [REV-02]
    let family = Family::new();
    let middle = family.middle.crl(&[]);
    assert_eq!(word(&family.judged(RevocationMode::Soft, &[])), "PKIX");
    for lists in [&[][..], &[middle]] {
        let verdict = family.judged(RevocationMode::Hard, lists);
        assert_eq!(word(&verdict), "E-CERT-STATUS-UNKNOWN");
    }
}

#[test]
fn a_list_counts_between_its_dates_and_by_its_issuer() {
    // [REV-02]
    let family = Family::new();
    let unknown = "E-CERT-STATUS-UNKNOWN";
    let dated = |this_update: SystemTime, next_update: SystemTime| {
        family.by(family.middle.crl_with(&[], |it| {
            it.this_update = this_update.into();
            it.next_update = next_update.into();
        }))
    };
    assert_eq!(dated(now() - DAY, now() + DAY), "PKIX");
    assert_eq!(dated(now() - DAY, now()), unknown);
    assert_eq!(dated(now() + DAY, now() + 2 * DAY), unknown);
    let strange = Authority::root("Middle").crl(&[]);
    assert_eq!(family.by(strange.clone()), unknown);
    // A list that does not count does not hide one that does.
    let (root, middle) = (family.root.crl(&[]), family.middle.crl(&[]));
    for lists in [
        [root.clone(), strange.clone(), middle.clone()],
        [root.clone(), middle.clone(), strange],
    ] {
        assert_eq!(word(&family.judged(RevocationMode::Hard, &lists)), "PKIX");
    }
    // The issuer's key under another name lists the certificates of another.
    let renamed = family.middle.under_another_name("Other");
    assert_eq!(family.by(renamed.crl(&[])), unknown);
    let lists = [root, middle, renamed.crl(&[&family.leaf.serial])];
    assert_eq!(word(&family.judged(RevocationMode::Hard, &lists)), "PKIX");
}

#[test]
fn a_list_counts_for_what_its_scope_holds() {
    // [REV-02]
    let family = Family::new();
    let scoped = |authority: &Authority, url: &str, scope: Option<CrlScope>| {
        authority.crl_with(&[], |it| {
            it.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point: point(url),
                scope,
            });
        })
    };
    let of_middle = |url: &str, scope| family.by(scoped(&family.middle, url, scope));
    let (here, unknown) = ("http://crl.example/middle.crl", "E-CERT-STATUS-UNKNOWN");
    assert_eq!(of_middle(here, None), "PKIX");
    assert_eq!(of_middle(here, Some(CrlScope::UserCertsOnly)), "PKIX");
    assert_eq!(of_middle(here, Some(CrlScope::CaCertsOnly)), unknown);
    assert_eq!(of_middle("http://crl.example/other.crl", None), unknown);
    let of_root = |scope| {
        let list = scoped(&family.root, "http://crl.example/root.crl", Some(scope));
        word(&family.judged(RevocationMode::Hard, &[list, family.middle.crl(&[])]))
    };
    assert_eq!(of_root(CrlScope::CaCertsOnly), "PKIX");
    assert_eq!(of_root(CrlScope::UserCertsOnly), unknown);
}

#[test]
fn an_authority_that_may_not_sign_lists_signs_none() {
    // [REV-02]
    let root = Authority::root("Root");
    let middle = root.authority("Middle");
    let leaf = middle.issue(&[HOST]);
    // The list is good, the certificate of its issuer says otherwise.
    let crl = middle.crl(&[]);
    let mut crls = Crls::none();
    crls.add(&crl).unwrap();
    crls.add(&root.crl(&[])).unwrap();
    let judged = |chain: &[&CertificateDer<'static>]| {
        let terms = Terms {
            revocation: RevocationMode::Hard,
            crls: crls.clone(),
            ..terms(HOST, &root)
        };
        judge(&evidence(chain), &terms, now())
    };
    assert_eq!(
        word(&judged(&[&leaf.certificate, &middle.certificate])),
        "PKIX"
    );
    let mute = root.reissue(&middle, |it| {
        it.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    let verdict = judged(&[&leaf.certificate, &mute]);
    assert_eq!(word(&verdict), "E-CERT-STATUS-UNKNOWN");
}

#[test]
fn lists_that_are_wanted_are_named_and_settle_the_verdict() {
    // [REV-02]
    let family = Family::new();
    let verdict = family.judged(RevocationMode::Hard, &[]);
    assert_eq!(verdict.outcome, Outcome::Unverified);
    assert!(verdict.waits_for_crls());
    let urls: Vec<_> = verdict
        .wants_crls()
        .iter()
        .map(|it| (it.url.as_str(), it.position))
        .collect();
    let expected = [
        ("http://crl.example/middle.crl", 0),
        ("http://crl.example/root.crl", 1),
    ];
    assert_eq!(urls, expected);
    let soft = family.judged(RevocationMode::Soft, &[]);
    assert_eq!(soft.outcome, Outcome::Verified(VerifiedBy::Pkix));
    assert!(!soft.waits_for_crls());
    assert_eq!(soft.wants_crls().len(), 2);
    assert!(
        family
            .judged(RevocationMode::Off, &[])
            .wants_crls()
            .is_empty()
    );
    // Where no list can be had, waiting is of no use.
    let silent = Family::with(|it| it.crl_distribution_points.clear());
    assert!(!silent.judged(RevocationMode::Hard, &[]).waits_for_crls());
    let https =
        Family::with(|it| it.crl_distribution_points = vec![point("https://crl.example/x")]);
    assert!(!https.judged(RevocationMode::Hard, &[]).waits_for_crls());
    // What is refused for another reason does not wait.
    let old = Family::with(|it| it.not_after = (now() - DAY).into());
    assert!(!old.judged(RevocationMode::Hard, &[]).waits_for_crls());
}

#[test]
fn a_short_lived_certificate_needs_no_status() {
    // [CONF-13]
    let of = |days: u32| {
        let family = Family::with(|it| {
            it.not_before = (now() - DAY).into();
            it.not_after = (now() + (days - 1) * DAY).into();
        });
        let root = family.root.crl(&[]);
        word(&family.judged(RevocationMode::Hard, &[root]))
    };
    assert_eq!(of(10), "PKIX");
    assert_eq!(of(11), "E-CERT-STATUS-UNKNOWN");
    // A list at hand that names it counts all the same.
    let family = Family::with(|it| it.not_after = (now() + DAY).into());
    let lists = [
        family.root.crl(&[]),
        family.middle.crl(&[&family.leaf.serial]),
    ];
    for mode in [RevocationMode::Hard, RevocationMode::Soft] {
        assert_eq!(word(&family.judged(mode, &lists)), "E-CERT-REVOKED");
    }
}

#[test]
fn a_certificate_that_must_come_with_an_answer_is_invalid_without() {
    // [REV-06] [CONF-13]
    let staple = |it: &mut CertificateParams| it.custom_extensions.push(must_staple());
    let root = Authority::root("Root");
    let leaf = root.issue_with(&[HOST], staple);
    for mode in [
        RevocationMode::Off,
        RevocationMode::Soft,
        RevocationMode::Hard,
    ] {
        let terms = Terms {
            revocation: mode,
            ..terms(HOST, &root)
        };
        assert_eq!(word(&verdict_of(&leaf, &[], &terms)), "E-CERT-MUST-STAPLE");
    }
    let rubbish = Evidence {
        staple: vec![0x30, 3, 0x0a, 1, 0],
        ..evidence(&[&leaf.certificate])
    };
    assert_eq!(
        word(&judge(&rubbish, &terms(HOST, &root), now())),
        "E-CERT-STAPLE"
    );
    // The responder was out of order: as good as no answer, which is enough where none must come.
    let try_later = |leaf: &Issued| {
        let evidence = Evidence {
            staple: vec![0x30, 3, 0x0a, 1, 3],
            ..evidence(&[&leaf.certificate])
        };
        word(&judge(&evidence, &terms(HOST, &root), now()))
    };
    assert_eq!(try_later(&leaf), "E-CERT-MUST-STAPLE");
    assert_eq!(try_later(&root.issue(&[HOST])), "PKIX");
}

#[test]
fn a_changed_list_settles_nothing_wherever_it_is_changed() {
    // [REV-02]
    let root = Authority::root("Root");
    let leaf = root.issue(&[HOST]);
    let other = root.issue(&[HOST]);
    let list = root.crl_with(&[&other.serial], |it| {
        it.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: point("http://crl.example/root.crl"),
            scope: Some(CrlScope::UserCertsOnly),
        });
    });
    let judged = |list: &[u8]| {
        let mut crls = Crls::none();
        crls.add(list).ok()?;
        let terms = Terms {
            revocation: RevocationMode::Hard,
            crls,
            ..terms(HOST, &root)
        };
        verdict_of(&leaf, &[], &terms).verified()
    };
    assert_eq!(judged(&list), Some(VerifiedBy::Pkix));
    for place in 0..list.len() {
        let mut changed = list.clone();
        changed[place] ^= 1;
        assert_eq!(judged(&changed), None, "octet {place}");
        assert_eq!(judged(&list[..place]), None, "cut at {place}");
    }
}

/// A verdict on a leaf with an answer changed.
fn stapled(change: impl FnOnce(&mut Answer<'_>)) -> &'static str {
    let root = Authority::root("Root");
    let leaf = root.issue_with(&[HOST], |it| it.custom_extensions.push(must_staple()));
    let mut answer = Answer::new(&root, &leaf.serial);
    change(&mut answer);
    let evidence = Evidence {
        staple: answer.to_der(),
        ..evidence(&[&leaf.certificate])
    };
    word(&judge(&evidence, &terms(HOST, &root), now()))
}

#[test]
fn stapled_answers() {
    // [REV-03] [REV-06]
    assert_eq!(stapled(|_| {}), "PKIX");
    assert_eq!(stapled(|it| it.state = State::Revoked), "E-CERT-REVOKED");
    assert_eq!(stapled(|it| it.state = State::Unknown), "E-CERT-STAPLE");
    assert_eq!(stapled(|it| it.critical = true), "E-CERT-STAPLE");
    assert_eq!(stapled(|it| it.critical_single = true), "E-CERT-STAPLE");
    assert_eq!(stapled(|it| it.trailing = true), "E-CERT-STAPLE");
    let second = Duration::from_secs(1);
    assert_eq!(stapled(|it| it.next_update = Some(now() + second)), "PKIX");
    assert_eq!(stapled(|it| it.next_update = Some(now())), "E-CERT-STAPLE");
    let begin = |at: SystemTime| stapled(|it| it.this_update = at);
    assert_eq!(begin(now() + 300 * second), "PKIX", "clocks differ");
    assert_eq!(begin(now() + 301 * second), "E-CERT-STAPLE");
    // Without an end of its own it is good for a day.
    let endless = |at: SystemTime| {
        stapled(|it| {
            it.this_update = at;
            it.next_update = None;
        })
    };
    assert_eq!(endless(now() - DAY + second), "PKIX");
    assert_eq!(endless(now() - DAY), "E-CERT-STAPLE");
}

#[test]
fn a_stapled_answer_speaks_for_the_servers_certificate_alone() {
    // [CONF-13] [REV-02]
    let family = Family::new();
    let judged = |lists: &[Vec<u8>]| {
        let mut crls = Crls::none();
        for list in lists {
            crls.add(list).unwrap();
        }
        let terms = Terms {
            revocation: RevocationMode::Hard,
            crls,
            ..terms(HOST, &family.root)
        };
        let evidence = Evidence {
            staple: Answer::new(&family.middle, &family.leaf.serial).to_der(),
            ..evidence(&[&family.leaf.certificate, &family.middle.certificate])
        };
        word(&judge(&evidence, &terms, now()))
    };
    assert_eq!(judged(&[family.root.crl(&[])]), "PKIX");
    assert_eq!(judged(&[]), "E-CERT-STATUS-UNKNOWN");
    // A list comes before the answer.
    let revoked = family.middle.crl(&[&family.leaf.serial]);
    assert_eq!(judged(&[family.root.crl(&[]), revoked]), "E-CERT-REVOKED");
}

#[test]
fn a_responder_must_be_named_for_it_by_the_issuer() {
    // [REV-03]
    let root = Authority::root("Root");
    let leaf = root.issue(&[HOST]);
    let of = |signer: &Issued| {
        let mut answer = Answer::new(&root, &leaf.serial);
        answer.signer = Some((&signer.certificate, &signer.key));
        let evidence = Evidence {
            staple: answer.to_der(),
            ..evidence(&[&leaf.certificate])
        };
        word(&judge(&evidence, &terms(HOST, &root), now()))
    };
    let for_ocsp = |it: &mut CertificateParams| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    };
    assert_eq!(of(&root.issue_with(&[], for_ocsp)), "PKIX");
    assert_eq!(of(&root.issue(&[])), "E-CERT-STAPLE");
    assert_eq!(
        of(&Authority::root("Root").issue_with(&[], for_ocsp)),
        "E-CERT-STAPLE"
    );
    let renamed = root.under_another_name("Other");
    assert_eq!(of(&renamed.issue_with(&[], for_ocsp)), "E-CERT-STAPLE");
    let early = root.issue_with(&[], |it| {
        for_ocsp(it);
        it.not_before = (now() + DAY).into();
    });
    assert_eq!(of(&early), "E-CERT-STAPLE");
}

#[test]
fn an_answer_that_names_or_means_somebody_else_is_refused() {
    // [REV-03]
    let root = Authority::root("Root");
    let leaf = root.issue(&[HOST]);
    let named = root.issue_with(&[], |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    });
    let other = KeyPair::generate().unwrap();
    let of = |der: Vec<u8>| {
        let evidence = Evidence {
            staple: der,
            ..evidence(&[&leaf.certificate])
        };
        word(&judge(&evidence, &terms(HOST, &root), now()))
    };
    let answer = |change: &dyn Fn(&mut Answer<'_>)| {
        let mut answer = Answer::new(&root, &leaf.serial);
        answer.signer = Some((&named.certificate, &named.key));
        change(&mut answer);
        of(answer.to_der())
    };
    assert_eq!(answer(&|_| {}), "PKIX");
    let mut strange = Answer::new(&root, &leaf.serial);
    strange.responder = Some(&other);
    assert_eq!(
        of(strange.to_der()),
        "E-CERT-STAPLE",
        "the issuer signs, another is named"
    );
    strange.signer = Some((&named.certificate, &named.key));
    assert_eq!(
        of(strange.to_der()),
        "E-CERT-STAPLE",
        "a responder signs, another is named"
    );
    strange.responder = Some(&named.key);
    strange.signer = Some((&named.certificate, &other));
    assert_eq!(
        of(strange.to_der()),
        "E-CERT-STAPLE",
        "a responder is named, another signs"
    );
    // The serial number of the certificate, under another issuer.
    for issuer in [Authority::root("Root"), root.under_another_name("Other")] {
        let mut answer = Answer::new(&issuer, &leaf.serial);
        answer.signer = Some((&root.certificate, root.key()));
        assert_eq!(of(answer.to_der()), "E-CERT-STAPLE");
    }
    // An answer of another type.
    let mut der = Answer::new(&root, &leaf.serial).to_der();
    assert_eq!(of(der.clone()), "PKIX");
    let basic = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let place = der.windows(9).position(|it| it == basic).unwrap();
    der[place + 8] = 2;
    assert_eq!(of(der), "E-CERT-STAPLE");
}
