//! The table: id, domain, what its services did, how the check ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_audit::check::document::Check;
use gatepost_audit::check::domain::facts::{ServerFacts, Standing, Told};
use gatepost_audit::check::domain::{self, DomainFacts};
use gatepost_audit::check::facts::{Facts, Handshake, Reach, Seen, StartTls, TrustFact};
use gatepost_audit::check::target::Target;
use gatepost_audit::finding::Status::{self, Fail, Inconclusive, Info, NotApplicable, Pass, Warn};

use super::World;

/// What the services did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    /// Nobody looked.
    Unseen,
    /// TLS with the right certificate, verified.
    Good,
    /// TLS with another key, and nobody vouches for it.
    Strange,
    /// No STARTTLS.
    Clear,
    /// No answer.
    Silent,
    /// The first address as it should be, the others in clear.
    Uneven,
    /// Everything good but closed at IPv6.
    ClosedAtSix,
}

use Did::{Clear, ClosedAtSix, Good, Silent, Strange, Uneven, Unseen};

// [NAT-US-01] DANE, MTA-STS, reports; STARTTLS and trust are the services'
const CASES: &[(&str, &str, Did, Status)] = &[
    ("MX-001", "good.example", Good, Pass),
    ("MX-001", "no.example", Unseen, Pass),
    ("MX-001", "none.example", Unseen, Fail),
    ("MX-001", "absent.example", Unseen, Fail),
    ("MX-001", "wrong.example", Unseen, Fail),
    ("MX-001", "lost.example", Unseen, Inconclusive),
    ("MX-001", "away.example", Unseen, Inconclusive),
    ("MX-001", "expired", Unseen, Inconclusive),
    ("DNSSEC-001", "good.example", Good, Pass),
    ("DNSSEC-001", "plain", Unseen, Warn),
    ("DNSSEC-001", "expired", Unseen, Fail),
    ("DNSSEC-001", "lost.example", Unseen, Inconclusive),
    ("DNSSEC-002", "good.example", Good, Pass),
    ("DNSSEC-002", "plain", Unseen, Warn),
    ("DNSSEC-002", "outside.example", Unseen, Fail),
    ("DNSSEC-002", "away.example", Unseen, Inconclusive),
    ("DANE-001", "good.example", Good, Pass),
    ("DANE-001", "plain", Unseen, Fail),
    ("DANE-001", "changed", Unseen, Fail),
    ("DANE-001", "away.example", Unseen, Inconclusive),
    ("DANE-002", "good.example", Good, Pass),
    ("DANE-002", "good.example", Strange, Fail),
    ("DANE-002", "good.example", Clear, Fail),
    ("DANE-002", "good.example", Unseen, Inconclusive),
    ("DANE-002", "good.example", Silent, Inconclusive),
    ("DANE-002", "pkix.example", Unseen, NotApplicable),
    ("DANE-003", "good.example", Good, Pass),
    ("DANE-003", "pkix.example", Unseen, Fail),
    ("DANE-003", "away.example", Unseen, Inconclusive),
    ("DANE-004", "good.example", Good, Pass),
    ("DANE-004", "wrong.example", Unseen, Info),
    ("DANE-004", "away.example", Unseen, Inconclusive),
    ("DANE-005", "good.example", Good, Pass),
    ("DANE-005", "changed", Unseen, Fail),
    ("DANE-005", "away.example", Unseen, Inconclusive),
    ("DANE-005", "plain", Unseen, NotApplicable),
    ("DANE-006", "good.example", Good, Pass),
    ("DANE-006", "wrong.example", Strange, Fail),
    ("DANE-006", "lost.example", Unseen, Inconclusive),
    ("STS-001", "good.example", Good, Pass),
    ("STS-001", "none.example", Unseen, Warn),
    ("STS-001", "wrong.example", Unseen, Fail),
    ("STS-001", "lost.example", Unseen, Inconclusive),
    ("STS-002", "good.example", Good, Pass),
    ("STS-002", "missing.example", Unseen, Fail),
    ("STS-002", "badcert.example", Unseen, Fail),
    ("STS-002", "broken.example", Unseen, Inconclusive),
    ("STS-003", "good.example", Good, Pass),
    ("STS-003", "typo.example", Unseen, Fail),
    ("STS-003", "broken.example", Unseen, Inconclusive),
    ("STS-004", "good.example", Good, Pass),
    ("STS-004", "testing.example", Unseen, Warn),
    ("STS-004", "broken.example", Unseen, Inconclusive),
    ("STS-005", "good.example", Good, Pass),
    ("STS-005", "good.example", Strange, Fail),
    ("STS-005", "good.example", Clear, Fail),
    ("STS-005", "unlisted.example", Good, Fail),
    ("STS-005", "good.example", Unseen, Inconclusive),
    ("RPT-001", "good.example", Good, Pass),
    ("RPT-001", "none.example", Unseen, Warn),
    ("RPT-001", "wrong.example", Unseen, Fail),
    ("RPT-001", "lost.example", Unseen, Inconclusive),
    ("RPT-002", "good.example", Good, Pass),
    ("RPT-002", "typo.example", Unseen, Info),
    ("RPT-002", "lost.example", Unseen, Inconclusive),
    ("STRIP-002", "good.example", Good, Pass),
    ("STRIP-002", "good.example", Clear, Fail),
    ("STRIP-002", "good.example", Silent, Inconclusive),
    ("STRIP-002", "none.example", Unseen, NotApplicable),
    ("NET-002", "good.example", Good, Pass),
    ("NET-002", "good.example", Uneven, Fail),
    ("NET-002", "good.example", Silent, Inconclusive),
    ("CAA-001", "good.example", Good, Pass),
    ("CAA-001", "wrong.example", Unseen, Info),
    // [CAA-01]
    ("CAA-001", "critical.example", Unseen, Fail),
    ("CAA-001", "lost.example", Unseen, Inconclusive),
    ("SRV-001", "good.example", Good, Pass),
    ("SRV-001", "none.example", Unseen, Warn),
    ("SRV-001", "wrong.example", Unseen, Fail),
    ("SRV-001", "good.example", Strange, Fail),
    ("SRV-001", "good.example", Unseen, Inconclusive),
    ("ACFG-001", "good.example", Good, Pass),
    ("ACFG-001", "none.example", Unseen, Warn),
    ("ACFG-001", "wrong.example", Unseen, Fail),
    ("ACFG-001", "broken.example", Unseen, Inconclusive),
    ("PTR-001", "good.example", Good, Pass),
    ("PTR-001", "wrong.example", Unseen, Fail),
    ("PTR-001", "pkix.example", Unseen, Warn),
    ("PTR-001", "lost.example", Unseen, Inconclusive),
    ("V6-001", "good.example", Good, Pass),
    ("V6-001", "pkix.example", Unseen, Warn),
    ("V6-001", "good.example", ClosedAtSix, Fail),
    ("V6-001", "good.example", Unseen, Inconclusive),
    ("SPF-001", "good.example", Good, Pass),
    ("SPF-001", "none.example", Unseen, Warn),
    ("SPF-001", "two.example", Unseen, Fail),
    ("SPF-001", "lost.example", Unseen, Inconclusive),
    ("SPF-002", "good.example", Good, Pass),
    ("SPF-002", "costly.example", Unseen, Fail),
    ("SPF-002", "typing.example", Unseen, Fail),
    ("SPF-002", "away.example", Unseen, Inconclusive),
    ("SPF-003", "good.example", Good, Pass),
    ("SPF-003", "wrong.example", Unseen, Fail),
    ("SPF-003", "lost.example", Unseen, Inconclusive),
    ("DKIM-001", "good.example", Good, Pass),
    ("DKIM-001", "none.example", Unseen, Warn),
    ("DKIM-001", "keys.example", Unseen, Fail),
    ("DKIM-001", "lost.example", Unseen, Inconclusive),
    ("DMARC-001", "good.example", Good, Pass),
    ("DMARC-001", "sub.above.example", Unseen, Pass),
    ("DMARC-001", "none.example", Unseen, Warn),
    ("DMARC-001", "twice.example", Unseen, Fail),
    ("DMARC-001", "lost.example", Unseen, Inconclusive),
    ("DMARC-002", "good.example", Good, Pass),
    ("DMARC-002", "wrong.example", Unseen, Warn),
    ("DMARC-002", "lost.example", Unseen, Inconclusive),
];

/// Ids judged by what an earlier run saw: their three cases stand in `history`.
const ELSEWHERE: [&str; 1] = ["STS-006"];

pub(crate) async fn run(world: &World) {
    let mut known: BTreeMap<&str, DomainFacts> = BTreeMap::new();
    let domains: BTreeSet<&str> = CASES.iter().map(|(_, domain, ..)| *domain).collect();
    for domain in domains {
        known.insert(domain, world.examine(domain).await);
    }
    let mut wrong = Vec::new();
    for (id, domain, did, wanted) in CASES {
        let facts = &known[domain];
        let check = judged(world, facts, *did, id);
        if check.status != *wanted {
            wrong.push(format!(
                "{id} {domain} {did:?}: {:?}, not {wanted:?}: {}",
                check.status, check.evidence
            ));
        }
        if check.is_finding() {
            assert!(check.fix.is_some(), "{id} {domain}: no fix");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    complete();
    what_fails_is_never_absent(&known["lost.example"]);
    what_has_no_address_was_not_seen(world, &known["good.example"]);
    history(&known["good.example"], &known["broken.example"]);
    kept(&known["good.example"]);
    severities(world, &known);
    name_servers(world, &known["good.example"]);
}

/// [NAT-NL-01] Two name servers of each zone have IPv6, and answer there.
fn name_servers(world: &World, good: &DomainFacts) {
    let six = |last: u16| IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let zone = |servers: &[(Standing, Option<Seen<bool>>)]| {
        let mut facts = ServerFacts {
            zone: "mail.example".into(),
            ..ServerFacts::default()
        };
        facts.told.standing = Standing::Secure;
        for (number, (standing, answer)) in (1..).zip(servers) {
            let name = format!("ns{number}.mail.example");
            let mut told = Told {
                standing: standing.clone(),
                ..Told::default()
            };
            if let Some(answer) = answer {
                told.records.push(six(number));
                facts.answers.insert(six(number), answer.clone());
            }
            facts.told.records.push(name.clone());
            facts.six.insert(name, told);
        }
        facts
    };
    let told = |servers: &[(Standing, Option<Seen<bool>>)], did| {
        // The domain's own name servers say nothing here: one alone, and not asked.
        let mut facts = good.clone();
        facts.servers = ServerFacts::default();
        facts.exchange_servers = vec![zone(servers)];
        judged(world, &facts, did, "V6-001")
    };
    let with = |answer| (Standing::Secure, Some(answer));
    let (yes, no) = (|| with(Seen::Known(true)), || with(Seen::Known(false)));
    let none = || (Standing::Secure, None);
    let lost = || (Standing::Unknown("SERVFAIL".into()), None);
    let cases = [
        (
            vec![yes(), yes(), none()],
            Pass,
            "2 name servers of mail.example",
        ),
        (vec![yes()], Pass, "answers"),
        (
            vec![with(Seen::Unasked), with(Seen::Unasked)],
            Pass,
            "2 name servers",
        ),
        (
            vec![yes(), none()],
            Warn,
            "one name server of mail.example alone",
        ),
        (vec![none(), none()], Warn, "no name server of mail.example"),
        (
            vec![yes(), lost()],
            Inconclusive,
            "AAAA of ns2.mail.example",
        ),
        (
            vec![yes(), no()],
            Fail,
            "ns2.mail.example (2001:db8::2) does not answer",
        ),
        (
            vec![yes(), with(Seen::unknown("no way"))],
            Inconclusive,
            "no way",
        ),
    ];
    for (servers, wanted, words) in cases {
        let check = told(&servers, Good);
        assert_eq!(check.status, wanted, "{}", check.evidence);
        assert!(check.evidence.contains(words), "{}", check.evidence);
    }
    let mail_host_answers = told(&[no(), no()], Good);
    assert_eq!(mail_host_answers.status, Fail);
    // Nothing shows that IPv6 works where this runs: silence is nobody's fault.
    let nothing_works = told(&[no(), no()], Silent);
    assert_eq!(nothing_works.status, Inconclusive);
    assert!(nothing_works.evidence.contains("ns1.mail.example"));
    // Kept before there were such questions.
    let mut older = good.clone();
    older.servers = ServerFacts::default();
    assert_eq!(judged(world, &older, Good, "V6-001").status, Pass);
}

/// Every id has its three cases.
fn complete() {
    for id in domain::IDS {
        if ELSEWHERE.contains(&id) {
            continue;
        }
        let has = |wanted: &[Status]| {
            CASES
                .iter()
                .any(|(of, _, _, status)| *of == id && wanted.contains(status))
        };
        assert!(has(&[Pass]), "{id} has no case that passes");
        assert!(has(&[Fail, Warn, Info]), "{id} has no case with a finding");
        assert!(has(&[Inconclusive]), "{id} has no case that cannot be told");
    }
}

fn what_fails_is_never_absent(facts: &DomainFacts) {
    for check in domain::judge(facts, &[], facts.at) {
        assert!(
            matches!(check.status, Inconclusive | NotApplicable),
            "{}: {:?}: {}",
            check.rule.id,
            check.status,
            check.evidence
        );
    }
}

/// Where addresses are not told, in one family or both, nothing that rests on what listens there is passed, or does not arise.
fn what_has_no_address_was_not_seen(world: &World, good: &DomainFacts) {
    let lost = || Told::unknown("no resolver answered");
    let mut half = good.clone();
    for host in half.hosts.values_mut() {
        host.aaaa = lost();
    }
    let mut none = half.clone();
    for host in none.hosts.values_mut() {
        host.a = lost();
    }
    for facts in [half, none] {
        for id in [
            "MX-001",
            "DANE-002",
            "STS-005",
            "STRIP-002",
            "NET-002",
            "PTR-001",
            "V6-001",
        ] {
            let check = judged(world, &facts, Good, id);
            assert_eq!(check.status, Inconclusive, "{id}: {}", check.evidence);
            assert!(check.evidence.contains("no resolver"), "{id}");
        }
    }
}

/// An earlier run tells whether id and policy change together.
fn history(good: &DomainFacts, broken: &DomainFacts) {
    let status = |earlier: &DomainFacts, now: &DomainFacts| {
        let mut now = now.clone();
        now.remember(earlier);
        let checks = domain::judge(&now, &[], now.at);
        checks
            .into_iter()
            .find(|it| it.rule.id == "STS-006")
            .unwrap()
            .status
    };
    let changed = |id: Option<&str>, body: Option<&str>| {
        use gatepost_audit::check::domain::facts::Fetch;
        let mut facts = good.clone();
        if let Some(id) = id {
            facts.sts.record.records = vec![format!("v=STSv1; id={id}")];
        }
        if let (Some(text), Fetch::Came { body, .. }) = (body, &mut facts.sts.policy.fetch) {
            text.clone_into(body);
        }
        facts
    };
    assert_eq!(status(good, good), Pass);
    assert_eq!(status(&changed(Some("0"), Some("old")), good), Pass);
    assert_eq!(status(&changed(None, Some("old")), good), Fail);
    assert_eq!(status(&changed(Some("0"), None), good), Warn);
    assert_eq!(status(good, broken), Inconclusive);
    assert_eq!(status(broken, good), NotApplicable);
}

/// Facts are kept as JSON and judged again.
fn kept(facts: &DomainFacts) {
    let text = serde_json::to_string(facts).unwrap();
    let again: DomainFacts = serde_json::from_str(&text).unwrap();
    assert_eq!(again, *facts);
    let shown: Vec<String> = domain::targets(&again)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "smtp://mx.good.example:25 (2001:db8::1)",
            "smtp://mx.good.example:25 (192.0.2.1)",
            "submissions://mx.good.example:465 (2001:db8::1)",
            "submissions://mx.good.example:465 (192.0.2.1)",
            "imaps://mx.good.example:993 (2001:db8::1)",
            "imaps://mx.good.example:993 (192.0.2.1)",
        ]
    );
}

/// How bad it is follows from what the domain promised.
fn severities(world: &World, known: &BTreeMap<&str, DomainFacts>) {
    use gatepost_audit::finding::Severity;
    let severity = |domain: &str, did, id| judged(world, &known[domain], did, id).severity;
    assert_eq!(
        severity("good.example", Strange, "STS-005"),
        Severity::Critical
    );
    assert_eq!(
        severity("testing.example", Strange, "STS-005"),
        Severity::Medium
    );
    assert_eq!(
        severity("wrong.example", Unseen, "ACFG-001"),
        Severity::High
    );
    assert_eq!(severity("none.example", Unseen, "ACFG-001"), Severity::Low);
}

fn judged(world: &World, facts: &DomainFacts, did: Did, id: &str) -> Check {
    let services = services(world, facts, did);
    let checks = domain::judge(facts, &services, facts.at);
    checks
        .into_iter()
        .find(|check| check.rule.id == id)
        .unwrap_or_else(|| panic!("no check {id}"))
}

fn services(world: &World, facts: &DomainFacts, did: Did) -> Vec<Facts> {
    if did == Unseen {
        return Vec::new();
    }
    domain::targets(facts)
        .into_iter()
        .map(|target| service(world, target, did, facts.at))
        .collect()
}

fn service(world: &World, target: Target, did: Did, at: u64) -> Facts {
    let six = target.address.is_ipv6();
    let reach = match did {
        Silent => Reach::Silent,
        ClosedAtSix if six => Reach::Refused,
        _ => Reach::Connected { milliseconds: 1 },
    };
    let mut facts = Facts::new(target, at, reach);
    let clear = did == Clear || did == Uneven && six;
    match did {
        Silent => (),
        ClosedAtSix if six => (),
        _ if clear => {
            facts.start_tls = Seen::Known(StartTls::default());
            facts.handshake = Seen::unknown("there is no TLS");
        }
        _ => {
            let leaf = if did == Strange {
                &world.other
            } else {
                &world.leaf
            };
            facts.handshake = Seen::Known(Handshake {
                version: "TLSv1.3".into(),
                suite: "TLS_AES_128_GCM_SHA256".into(),
                group: None,
                alpn: None,
                chain: vec![STANDARD.encode(&leaf.certificate)],
                staple: 0,
                milliseconds: 1,
                verdict: vec![TrustFact {
                    kind: "chain".into(),
                    status: "fail".into(),
                    reason: Some("the chain ends at an authority nobody knows".into()),
                }],
                verified: (did != Strange).then(|| "PKIX".into()),
            });
        }
    }
    facts
}

/// A `SubjectPublicKeyInfo` of an RSA key whose modulus has so many octets, in base64.
pub(crate) fn rsa_key(octets: usize) -> String {
    let wrap = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    };
    let number = [&[0][..], &vec![0xc1; octets]].concat();
    let key = wrap(0x30, &[wrap(2, &number), vec![2, 3, 1, 0, 1]].concat());
    let algorithm = [0x30, 13, 6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 1, 5, 0];
    let bits = wrap(3, &[&[0][..], &key].concat());
    STANDARD.encode(wrap(0x30, &[&algorithm[..], &bits].concat()))
}
