//! The matrix of verdicts: one certificate, pin or way per line, made by code, and what the judge says. Revocation and TLSA
//! records have files of their own.
//!
//! Each line that ends badly fails if the refusal it is about is taken out of the judge.

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_testkit::pki::{Authority, DAY, Issued, LIFE, now};
use gatepost_trust::pin::{Pin, PinSet, TrustException};
use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
use gatepost_trust::verify::{
    Demand, Evidence, HostName, Kind, Outcome, Reason, Reference, RevocationMode, Roots, Status,
    Terms, VerifiedBy, Way, Ways, judge,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType,
};
use rustls_pki_types::CertificateDer;
use support::judged::{Family, HOST, by_record, evidence, verdict_of, word};
use support::{roots, terms};

/// A leaf made with changed parameters directly under a root, judged for HOST under that root.
fn simple(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> &'static str {
    let root = Authority::root("Root");
    let leaf = root.issue_with(names, change);
    word(&verdict_of(&leaf, &[], &terms(HOST, &root)))
}

#[test]
fn names() {
    // [ID-03] [ID-04] [ID-05] [ID-07] [CONF-04]
    assert_eq!(simple(&[HOST], |_| {}), "PKIX");
    assert_eq!(simple(&["MAIL.Example.ORG"], |_| {}), "PKIX");
    assert_eq!(simple(&["*.example.org"], |_| {}), "PKIX");
    assert_eq!(simple(&["other.example.org", HOST], |_| {}), "PKIX");
    assert_eq!(simple(&["example.org"], |_| {}), "E-CERT-NAME");
    assert_eq!(simple(&["*.org"], |_| {}), "E-CERT-NAME");
    assert_eq!(simple(&["*.mail.example.org"], |_| {}), "E-CERT-NAME");
    assert_eq!(simple(&["192.0.2.1"], |_| {}), "E-CERT-NAME");
    let common_name = |it: &mut CertificateParams| {
        it.distinguished_name.push(rcgen::DnType::CommonName, HOST);
    };
    assert_eq!(simple(&[], common_name), "E-CERT-NO-NAMES");
    assert_eq!(simple(&["other.example.org"], common_name), "E-CERT-NAME");
    let uri = |it: &mut CertificateParams| {
        let uri = format!("imap://{HOST}").try_into().unwrap();
        it.subject_alt_names = vec![SanType::URI(uri)];
    };
    assert_eq!(simple(&[], uri), "E-CERT-NO-NAMES");
}

/// All names of one to three of these labels.
fn names_of(labels: &[&str]) -> Vec<String> {
    let longer = |names: &[String]| -> Vec<String> {
        let with = |label: &&str| names.iter().map(|it| format!("{label}.{it}")).collect();
        labels
            .iter()
            .flat_map(|it| -> Vec<String> { with(it) })
            .collect()
    };
    let one: Vec<String> = labels.iter().map(ToString::to_string).collect();
    let two = longer(&one);
    let three = longer(&two);
    [one, two, three].concat()
}

#[test]
fn names_match_as_they_do_for_the_engine() {
    // [ID-03] [ID-04] the engine's own library, asked about the same certificates.
    let root = Authority::root("Root");
    let references: Vec<HostName> = names_of(&["a", "b"])
        .iter()
        .map(|it| HostName::new(it).unwrap())
        .collect();
    let mut compared = 0;
    for presented in names_of(&["a", "b", "*", "a*", "A"]) {
        let leaf = root.issue(&[&presented]);
        let certificate = webpki::EndEntityCert::try_from(&leaf.certificate).unwrap();
        for reference in &references {
            let terms = Terms {
                references: vec![Reference::Dns(reference.clone())],
                ..terms(HOST, &root)
            };
            let ours = verdict_of(&leaf, &[], &terms).status(Kind::Name) == Some(&Status::Pass);
            let name = rustls_pki_types::ServerName::try_from(reference.as_str()).unwrap();
            let theirs = certificate.verify_is_valid_for_subject_name(&name).is_ok();
            // Ours takes no wildcard for all of a top-level domain.
            let too_wide = presented.starts_with("*.") && presented.matches('.').count() == 1;
            assert_eq!(ours, theirs && !too_wide, "{presented} for {reference}");
            compared += 1;
        }
    }
    assert_eq!(compared, 155 * 14);
}

#[test]
fn an_address_is_found_among_addresses_only() {
    // [ID-05]
    let root = Authority::root("Root");
    let terms = Terms::for_host(Reference::host("192.0.2.1").unwrap(), roots(&root));
    let of = |names: &[&str]| word(&verdict_of(&root.issue(names), &[], &terms));
    assert_eq!(of(&["192.0.2.1"]), "PKIX");
    assert_eq!(of(&["192.0.2.2"]), "E-CERT-NAME");
    let text = root.issue_with(&[], |it| {
        it.subject_alt_names = vec![SanType::DnsName("192.0.2.1".try_into().unwrap())];
    });
    assert_eq!(word(&verdict_of(&text, &[], &terms)), "E-CERT-NAME");
}

#[test]
fn a_service_name_counts_as_a_pair_and_not_under_name_constraints() {
    // [ID-06] [ID-11]
    let reference = |service| Terms {
        references: vec![Reference::Srv {
            service,
            domain: HostName::new("example.org").unwrap(),
        }],
        ..terms(HOST, &Authority::root("Root"))
    };
    let srv = |params: &mut CertificateParams| {
        let name = b"_imaps.example.org";
        let length = u8::try_from(name.len()).unwrap();
        let mut value = vec![0x16, length];
        value.extend(name);
        // id-on-dnsSRV as a general name, by hand: rcgen writes UTF8String only.
        let mut other = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 8, 7, 0xa0, length + 2];
        other.extend(value);
        let mut name = vec![0xa0, u8::try_from(other.len()).unwrap()];
        name.extend(other);
        let mut content = vec![0x30, u8::try_from(name.len()).unwrap()];
        content.extend(name);
        let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
        params.custom_extensions.push(extension);
    };
    let judged = |root: &Authority, service| {
        let leaf = root.issue_with(&[], srv);
        let terms = Terms {
            roots: roots(root),
            ..reference(service)
        };
        word(&verdict_of(&leaf, &[], &terms))
    };
    let root = Authority::root("Root");
    assert_eq!(judged(&root, "imaps"), "PKIX");
    assert_eq!(judged(&root, "pop3s"), "E-CERT-NAME");
    let constrained = Authority::root_with("Held", |it| {
        it.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.net".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    assert_eq!(judged(&constrained, "imaps"), "E-CERT-NAME");
}

#[test]
fn dates() {
    // [ID-08]
    let end = |at: SystemTime| simple(&[HOST], move |it| it.not_after = at.into());
    let begin = |at: SystemTime| simple(&[HOST], move |it| it.not_before = at.into());
    let second = Duration::from_secs(1);
    assert_eq!(end(now()), "PKIX");
    assert_eq!(end(now() - second), "E-CERT-EXPIRED");
    assert_eq!(begin(now()), "PKIX");
    assert_eq!(begin(now() + second), "E-CERT-NOT-YET-VALID");
    // The last second lasts until the next.
    let root = Authority::root("Root");
    let leaf = root.issue_with(&[HOST], |it| it.not_after = now().into());
    let late = now() + Duration::from_millis(900);
    let verdict = judge(&evidence(&[&leaf.certificate]), &terms(HOST, &root), late);
    assert_eq!(word(&verdict), "PKIX");
}

#[test]
fn what_is_expired_is_told_apart_from_what_is_unknown_too() {
    let root = Authority::root("Root");
    let old = |authority: &Authority| {
        authority.issue_with(&[HOST], |it| it.not_after = (now() - DAY).into())
    };
    let verdict = verdict_of(&old(&root), &[], &terms(HOST, &root));
    assert_eq!(verdict.status(Kind::Chain), Some(&Status::Pass));
    assert!(matches!(
        verdict.status(Kind::Dates),
        Some(Status::Fail(Reason::Expired { .. }))
    ));
    let stranger = verdict_of(&old(&Authority::root("Stranger")), &[], &terms(HOST, &root));
    assert!(matches!(
        stranger.status(Kind::Chain),
        Some(Status::Fail(_))
    ));
    assert!(matches!(
        stranger.status(Kind::Dates),
        Some(Status::Fail(_))
    ));
    let middle = root.authority_with("Middle", |it| it.not_after = (now() - DAY).into());
    let verdict = verdict_of(&middle.issue(&[HOST]), &[&middle], &terms(HOST, &root));
    let Some(Reason::Expired { whose, .. }) = verdict.reason() else {
        panic!("{verdict:?}");
    };
    assert_eq!(whose.position, 1);
}

#[test]
fn chains() {
    // [ID-08]
    let root = Authority::root("Root");
    let middle = root.authority("Middle");
    let leaf = middle.issue(&[HOST]);
    let at_root = terms(HOST, &root);
    let of = |leaf: &Issued, others: &[&Authority]| word(&verdict_of(leaf, others, &at_root));
    assert_eq!(of(&leaf, &[&middle]), "PKIX");
    assert_eq!(
        of(&leaf, &[&middle, &root]),
        "PKIX",
        "the root may be sent along"
    );
    assert_eq!(
        of(&leaf, &[&root, &middle]),
        "PKIX",
        "in any order, as many are"
    );
    assert_eq!(of(&leaf, &[]), "E-CERT-UNKNOWN-ISSUER");
    let verdict = verdict_of(&leaf, &[], &at_root);
    assert!(matches!(
        verdict.reason(),
        Some(Reason::UnknownIssuer { alone: true, .. })
    ));
    let twin = Authority::root("Root");
    assert_eq!(of(&twin.issue(&[HOST]), &[]), "E-CERT-BAD-SIGNATURE");
    let no_authority = root.authority_with("Middle", |it| it.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(
        of(&no_authority.issue(&[HOST]), &[&no_authority]),
        "E-CERT-NOT-CA"
    );
    let silent = root.authority_with("Middle", |it| it.is_ca = IsCa::NoCa);
    assert_eq!(of(&silent.issue(&[HOST]), &[&silent]), "E-CERT-NOT-CA");
    let short = root.authority_with("Short", |it| {
        it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = short.authority("Below");
    assert_eq!(of(&short.issue(&[HOST]), &[&short]), "PKIX");
    assert_eq!(
        of(&below.issue(&[HOST]), &[&below, &short]),
        "E-CERT-PATH-TOO-LONG"
    );
    let authority = root.issue_with(&[HOST], |it| {
        it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert_eq!(of(&authority, &[]), "E-CERT-IS-CA");
    let critical = root.issue_with(&[HOST], |it| {
        let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        it.custom_extensions.push(extension);
    });
    assert_eq!(of(&critical, &[]), "E-CERT-CRITICAL-EXTENSION");
    assert_eq!(
        word(&judge(&Evidence::default(), &at_root, now())),
        "E-CERT-NONE"
    );
    let rubbish = evidence(&[&CertificateDer::from(vec![0x30, 0])]);
    assert_eq!(word(&judge(&rubbish, &at_root, now())), "E-CERT-MALFORMED");
    let nobody = Terms {
        roots: Arc::new(Roots::none()),
        ..at_root.clone()
    };
    assert_eq!(
        word(&verdict_of(&leaf, &[&middle, &root], &nobody)),
        "E-CERT-UNKNOWN-ISSUER"
    );
}

#[test]
fn name_constraints() {
    // [ID-08]
    let held_to = |domain: &str| {
        Authority::root_with("Held", |it| {
            it.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(domain.into())],
                excluded_subtrees: Vec::new(),
            });
        })
    };
    let of = |root: &Authority| word(&verdict_of(&root.issue(&[HOST]), &[], &terms(HOST, root)));
    assert_eq!(of(&held_to("example.org")), "PKIX");
    assert_eq!(of(&held_to("example.net")), "E-CERT-NAME-CONSTRAINTS");
}

#[test]
fn usages() {
    // [ID-08]
    let purposes = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        simple(&[HOST], move |it| it.extended_key_usages = purposes)
    };
    assert_eq!(
        purposes(Vec::new()),
        "PKIX",
        "without the extension it is for anything"
    );
    assert_eq!(
        purposes(vec![ExtendedKeyUsagePurpose::ClientAuth]),
        "E-CERT-PURPOSE"
    );
    assert_eq!(
        purposes(vec![ExtendedKeyUsagePurpose::Any]),
        "E-CERT-PURPOSE"
    );
    let both = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    assert_eq!(purposes(both), "PKIX");
    let usages = |usages: Vec<KeyUsagePurpose>| simple(&[HOST], move |it| it.key_usages = usages);
    assert_eq!(usages(Vec::new()), "PKIX");
    assert_eq!(
        usages(vec![KeyUsagePurpose::KeyEncipherment]),
        "E-CERT-KEY-USAGE"
    );
    let root = Authority::root("Root");
    let middle = root.authority_with("Middle", |it| {
        it.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    let verdict = verdict_of(&middle.issue(&[HOST]), &[&middle], &terms(HOST, &root));
    assert_eq!(word(&verdict), "E-CERT-KEY-USAGE");
    let middle = root.authority_with("Middle", |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let verdict = verdict_of(&middle.issue(&[HOST]), &[&middle], &terms(HOST, &root));
    assert_eq!(word(&verdict), "E-CERT-PURPOSE");
}

#[test]
fn a_self_signed_certificate_is_taken_only_when_it_is_listed_itself() {
    let key = KeyPair::generate().unwrap();
    let make = |is_ca: IsCa| {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.not_after = (now() + LIFE).into();
        params.self_signed(&key).unwrap().der().clone()
    };
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let certificate = make(is_ca);
        let base = terms(HOST, &Authority::root("Root"));
        let verdict = judge(&evidence(&[&certificate]), &base, now());
        assert_eq!(word(&verdict), "E-CERT-SELF-SIGNED");
        let mut listed = Roots::none();
        listed.add(certificate.clone()).unwrap();
        let mut trusting = Terms {
            roots: Arc::new(listed),
            ..base
        };
        let verdict = judge(&evidence(&[&certificate]), &trusting, now());
        assert_eq!(word(&verdict), "PKIX");
        trusting.revocation = RevocationMode::Hard;
        let verdict = judge(&evidence(&[&certificate]), &trusting, now());
        assert_eq!(word(&verdict), "PKIX", "nobody else can revoke it");
        // Its name and dates count all the same.
        let later = judge(&evidence(&[&certificate]), &trusting, now() + 2 * LIFE);
        assert_eq!(word(&later), "E-CERT-EXPIRED");
        trusting.references = vec![Reference::host("other.example.org").unwrap()];
        let verdict = judge(&evidence(&[&certificate]), &trusting, now());
        assert_eq!(word(&verdict), "E-CERT-NAME");
    }
}

#[test]
fn pins_are_one_more_condition() {
    // [PIN-02] [CONF-12]
    let family = Family::new();
    let stranger = Authority::root("Stranger");
    let key = |it: &CertificateDer<'_>| Pin::of_key(it).unwrap();
    let backup = Pin::Spki([7; 32]);
    let judged = |pins: &[Pin], report_only: bool| {
        let mut pins = PinSet::new(pins.to_vec()).unwrap();
        pins.report_only = report_only;
        let terms = Terms {
            pins: Some(pins),
            ..terms(HOST, &family.root)
        };
        verdict_of(&family.leaf, &[&family.middle], &terms)
    };
    let good = [
        key(&family.leaf.certificate),
        Pin::of_certificate(&family.leaf.certificate),
        key(&family.middle.certificate),
        Pin::of_certificate(&family.middle.certificate),
        key(&family.root.certificate),
    ];
    for pin in good {
        assert_eq!(word(&judged(&[backup, pin], false)), "PKIX", "{pin}");
    }
    let other = key(&stranger.certificate);
    let verdict = judged(&[backup, other], false);
    assert_eq!(word(&verdict), "E-PIN-MISMATCH");
    let Some(Reason::PinMismatch {
        expected,
        came,
        covered,
    }) = verdict.reason()
    else {
        panic!("{verdict:?}");
    };
    assert_eq!(expected, &[backup, other]);
    assert_eq!(*came, key(&family.leaf.certificate));
    assert_eq!(*covered, Some(VerifiedBy::Pkix));
    let told = judged(&[backup, other], true);
    assert_eq!(word(&told), "PKIX");
    assert!(matches!(told.status(Kind::Pins), Some(Status::Unknown(_))));
    // A pin does not stand for an authority here.
    let leaf = stranger.issue(&[HOST]);
    let terms = Terms {
        pins: PinSet::new(vec![key(&leaf.certificate)]),
        ..terms(HOST, &family.root)
    };
    assert_eq!(
        word(&verdict_of(&leaf, &[], &terms)),
        "E-CERT-UNKNOWN-ISSUER"
    );
    // A certificate that is sent along and is not in the path is no one's pin.
    let mut with_stranger = terms.clone();
    with_stranger.pins = PinSet::new(vec![key(&stranger.certificate)]);
    let verdict = verdict_of(&family.leaf, &[&family.middle, &stranger], &with_stranger);
    assert_eq!(word(&verdict), "E-PIN-MISMATCH");
}

#[test]
fn a_pin_alone_verifies_the_servers_own_key() {
    // [CONF-12]
    let stranger = Authority::root("Stranger");
    let old = stranger.issue_with(&["other.example.org"], |it| {
        it.not_after = (now() - DAY).into();
    });
    let judged = |pin: Pin, leaf: &Issued| {
        let terms = Terms {
            ways: Ways::Any(vec![Way::Pin(PinSet::new(vec![pin]).unwrap())]),
            ..terms(HOST, &Authority::root("Root"))
        };
        verdict_of(leaf, &[&stranger], &terms)
    };
    let pin = Pin::of_key(&old.certificate).unwrap();
    assert_eq!(word(&judged(pin, &old)), "pin");
    assert_eq!(
        word(&judged(pin, &stranger.issue(&[HOST]))),
        "E-PIN-MISMATCH"
    );
    // An authority's key is not the server's.
    let of_authority = Pin::of_key(&stranger.certificate).unwrap();
    assert_eq!(word(&judged(of_authority, &old)), "E-PIN-MISMATCH");
}

#[test]
fn an_exception_lets_go_on_and_never_verifies() {
    // [PIN-01] [CONF-12]
    let stranger = Authority::root("Stranger");
    let leaf = stranger.issue(&["other.example.org"]);
    let Pin::Certificate(hash) = Pin::of_certificate(&leaf.certificate) else {
        panic!("a pin of a certificate");
    };
    let base = Terms {
        exception: Some(TrustException::danger_for_certificate(hash)),
        ..terms(HOST, &Authority::root("Root"))
    };
    let verdict = verdict_of(&leaf, &[], &base);
    assert_eq!(verdict.outcome, Outcome::Unverified);
    assert!(verdict.is_excepted());
    assert!(!verdict_of(&stranger.issue(&[HOST]), &[], &base).is_excepted());
    // It excuses an authority, not a pin that does not match.
    let pinned = Terms {
        pins: PinSet::new(vec![Pin::Spki([7; 32])]),
        ..base
    };
    assert!(!verdict_of(&leaf, &[], &pinned).is_excepted());
}

#[test]
fn one_way_of_several_suffices_and_all_of_all_are_needed() {
    let root = Authority::root("Root");
    let leaf = root.issue(&[HOST]);
    let stranger = Authority::root("Stranger").issue(&[HOST]);
    let dane = |of: &Issued| {
        let record = Tlsa::for_certificate(&of.certificate, 3, 1, 1).unwrap();
        Way::Dane(Arc::new(TlsaSet::new(&[record], Usages::DaneOnly)))
    };
    let judged = |ways: Ways| {
        let terms = Terms {
            ways,
            ..terms(HOST, &root)
        };
        word(&verdict_of(&leaf, &[], &terms))
    };
    assert_eq!(judged(Ways::Any(vec![dane(&leaf), Way::Pkix])), "DANE");
    assert_eq!(
        judged(Ways::Any(vec![dane(&stranger), Way::MtaSts])),
        "MTA-STS"
    );
    assert_eq!(judged(Ways::All(vec![dane(&leaf), Way::Pkix])), "DANE");
    assert_eq!(
        judged(Ways::All(vec![Way::Pkix, dane(&stranger)])),
        "E-DANE-NO-MATCH"
    );
    // No way leads nowhere, though the certificate is good.
    assert_eq!(judged(Ways::Any(Vec::new())), "nothing");
    assert_eq!(judged(Ways::All(Vec::new())), "nothing");
    let empty = TlsaSet::new(&[], Usages::DaneOnly);
    assert_eq!(
        judged(Ways::Any(vec![Way::Dane(Arc::new(empty))])),
        "E-DANE-NO-RECORD"
    );
}

#[test]
fn the_demand_changes_nothing_in_the_verdict() {
    let root = Authority::root("Root");
    let leaf = root.issue(&["other.example.org"]);
    let mut terms = terms(HOST, &root);
    let strict = verdict_of(&leaf, &[], &terms);
    terms.demand = Demand::Encrypted;
    assert_eq!(verdict_of(&leaf, &[], &terms), strict);
}

#[test]
fn every_reason_says_what_came_and_what_to_do() {
    let root = Authority::root("Root");
    let leaf = root.issue(&["other.example.org", "*.example.net"]);
    let verdict = verdict_of(&leaf, &[], &terms(HOST, &root));
    let reason = verdict.reason().unwrap();
    assert_eq!(
        reason.to_string(),
        "expected a certificate for mail.example.org, and it is for other.example.org, *.example.net"
    );
    assert_eq!(reason.report(), "certificate-host-mismatch");
    let old = root.issue_with(&[HOST], |it| it.not_after = (now() - DAY).into());
    let verdict = verdict_of(&old, &[], &terms(HOST, &root));
    assert_eq!(
        verdict.reason().unwrap().to_string(),
        "the server's certificate ended at 2026-10-31 00:00:00 UTC; the clock here says 2026-11-01 00:00:00 UTC"
    );
    assert!(verdict.reason().unwrap().advice().contains("clock"));
}

#[test]
fn a_changed_certificate_is_refused_wherever_it_is_changed() {
    // [ID-08] and nothing panics on what cannot be read.
    let root = Authority::root("Root");
    let leaf = root.issue(&[HOST]);
    let terms = terms(HOST, &root);
    for place in 0..leaf.certificate.len() {
        let mut changed = leaf.certificate.to_vec();
        changed[place] ^= 1;
        let verdict = judge(&evidence(&[&CertificateDer::from(changed)]), &terms, now());
        assert_eq!(verdict.outcome, Outcome::Unverified, "octet {place}");
        let cut = CertificateDer::from(leaf.certificate[..place].to_vec());
        let verdict = judge(&evidence(&[&cut]), &terms, now());
        assert_eq!(verdict.outcome, Outcome::Unverified, "cut at {place}");
    }
}

#[test]
fn a_chain_that_is_too_tangled_is_given_up() {
    // [ID-08] a hundred authorities of one name and another key each: a signature to try for every one.
    let leaf = Authority::root("Root").issue(&[HOST]);
    let mut many = Roots::none();
    for _ in 0..101 {
        many.add(Authority::root("Root").certificate).unwrap();
    }
    let terms = Terms {
        roots: Arc::new(many),
        ..terms(HOST, &Authority::root("Root"))
    };
    assert_eq!(word(&verdict_of(&leaf, &[], &terms)), "E-CERT-TOO-COMPLEX");
}

#[test]
fn rubbish_beside_a_good_chain_is_no_reason_and_in_its_place_is_one() {
    // [DANE-08]
    let family = Family::new();
    let rubbish = CertificateDer::from(vec![0x30, 0]);
    let leaf = &family.leaf.certificate;
    let terms = terms(HOST, &family.root);
    let of = |chain: &[&CertificateDer<'static>]| word(&judge(&evidence(chain), &terms, now()));
    assert_eq!(of(&[leaf, &rubbish, &family.middle.certificate]), "PKIX");
    assert_eq!(of(&[leaf, &rubbish]), "E-CERT-MALFORMED");
    assert_eq!(of(&[&rubbish, leaf]), "E-CERT-MALFORMED");
    let record = Tlsa::for_certificate(leaf, 3, 1, 1).unwrap();
    assert_eq!(by_record(&record, &[leaf, &rubbish], &terms), "DANE");
}
