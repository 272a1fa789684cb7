//! What a peer, its issuer or its zone sends us to be judged: certificates, OCSP answers, revocation lists, TLSA records, and
//! the file of pins. Nothing of it may make the judge panic, and none of it verifies a peer by a changed certificate.

use std::sync::{Arc, LazyLock};

use gatepost_testkit::ocsp::Answer;
use gatepost_testkit::pki::{Authority, must_staple, now};
use gatepost_trust::cert::{LintTerms, describe, lint, read_chain};
use gatepost_trust::pin::PinFile;
use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
use gatepost_trust::verify::{
    Crls, Evidence, Reason, Reference, RevocationMode, Roots, Terms, Way, Ways, judge,
};
use rustls_pki_types::CertificateDer;

use crate::Target;
use crate::behaviour;

/// Certificates, answers, lists, records, pins: the first octet says which.
pub const JUDGE: Target = Target {
    name: "peer",
    run,
    seeds,
    words: &[
        "\x06\x03\x55\x1d",
        "\x30\x03\x02\x01",
        "\x01\x01",
        "sha256-spki:",
        "no-backup",
    ],
};

/// A root, and what it made.
struct World {
    terms: Terms,
    leaf: CertificateDer<'static>,
    root: CertificateDer<'static>,
    staple: Vec<u8>,
    list: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root = Authority::root("Root");
    let leaf = root.issue_with(&["mail.example.org", "192.0.2.1"], |it| {
        it.custom_extensions.push(must_staple());
    });
    let mut roots = Roots::none();
    roots.add(root.certificate.clone());
    let host = Reference::host("mail.example.org").expect("a host name");
    let mut terms = Terms::for_host(host, Arc::new(roots));
    terms.revocation = RevocationMode::Hard;
    World {
        terms,
        staple: Answer::new(&root, &leaf.serial).to_der(),
        list: root.crl(&[&leaf.serial]),
        leaf: leaf.certificate,
        root: root.certificate,
    }
});

/// Judges.
///
/// # Panics
/// When a changed certificate is verified.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    behaviour::note(kind % 6);
    match kind % 6 {
        0 => certificate(data),
        1 => staple(data),
        2 => list(data),
        3 => records(data),
        4 => pins(data),
        _ => lints(data),
    }
}

fn judged(evidence: &Evidence, terms: &Terms) {
    let verdict = judge(evidence, terms, now());
    behaviour::note(verdict.reason().map(Reason::label));
    for check in &verdict.checks {
        behaviour::note((check.kind, check.status.label()));
        let words = check
            .status
            .reason()
            .map(|it| (it.to_string(), it.advice()));
        assert!(words.is_none_or(|(text, advice)| !text.is_empty() && !advice.is_empty()));
    }
    let certificate = evidence.chain.first();
    let ours = certificate == Some(&WORLD.leaf);
    assert!(
        ours || verdict.verified().is_none(),
        "a changed certificate is verified"
    );
}

fn certificate(data: &[u8]) {
    let evidence = Evidence {
        chain: vec![CertificateDer::from(data.to_vec()), WORLD.root.clone()],
        staple: WORLD.staple.clone(),
    };
    judged(&evidence, &WORLD.terms);
    let evidence = Evidence {
        chain: vec![WORLD.leaf.clone(), CertificateDer::from(data.to_vec())],
        staple: WORLD.staple.clone(),
    };
    judged(&evidence, &WORLD.terms);
}

fn staple(data: &[u8]) {
    let evidence = Evidence {
        chain: vec![WORLD.leaf.clone()],
        staple: data.to_vec(),
    };
    judged(&evidence, &WORLD.terms);
}

fn list(data: &[u8]) {
    let mut terms = WORLD.terms.clone();
    behaviour::note(terms.crls.add(data).is_ok());
    let evidence = Evidence {
        chain: vec![WORLD.leaf.clone()],
        staple: WORLD.staple.clone(),
    };
    judged(&evidence, &terms);
    let _ = Crls::none().add(data);
}

fn records(data: &[u8]) {
    let records: Vec<Tlsa> = data
        .chunks(40)
        .filter_map(|it| Tlsa::from_rdata(it).ok())
        .collect();
    let full = Tlsa::from_rdata(data).ok();
    let set = TlsaSet::new(&[records, full.into_iter().collect()].concat(), Usages::All);
    let mut terms = WORLD.terms.clone();
    terms.ways = Ways::Any(vec![Way::Dane(Arc::new(set))]);
    let evidence = Evidence {
        chain: vec![WORLD.leaf.clone(), WORLD.root.clone()],
        staple: WORLD.staple.clone(),
    };
    judged(&evidence, &terms);
}

fn pins(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let read = PinFile::parse(text);
    behaviour::note(read.as_ref().map_err(|error| error.problem as u8).err());
    if let Ok(file) = read {
        let again = PinFile::parse(&file.to_text());
        assert_eq!(again, Ok(file), "what is written is not what was read");
    }
}

fn lints(data: &[u8]) {
    let chain = read_chain(data).unwrap_or_else(|_| vec![CertificateDer::from(data.to_vec())]);
    let terms = LintTerms {
        host: None,
        roots: None,
        now: now(),
    };
    for finding in lint(&chain, &terms) {
        behaviour::note(finding.rule);
    }
    let described = chain.first().map(describe);
    behaviour::note(described.is_some_and(|it| it.is_ok()));
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |kind: u8, data: &[u8]| [&[kind], data].concat();
    let world = &*WORLD;
    let record = |usage, selector, matching| {
        let record = Tlsa::for_certificate(&world.root, usage, selector, matching);
        record.map(|it| it.to_rdata()).unwrap_or_default()
    };
    let pins = format!(
        "a.example:25 sha256-spki:{0} sha256-cert:{0}\n",
        "ab".repeat(32)
    );
    vec![
        seed(0, &world.leaf),
        seed(0, &world.root),
        seed(1, &world.staple),
        seed(2, &world.list),
        seed(3, &record(2, 0, 0)),
        seed(3, &record(2, 1, 1)),
        seed(3, &record(0, 1, 0)),
        seed(4, pins.as_bytes()),
        seed(5, &world.leaf),
        seed(5, &[&world.leaf[..], &world.root].concat()),
    ]
}
