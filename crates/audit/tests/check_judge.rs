//! The judge of a single service: from facts made by hand to checks.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gatepost_audit::check::document::{Check, Judged};
use gatepost_audit::check::facts::{
    Capabilities, Facts, Greeting, GreetingKind, Handshake, HelloAnswer, Injection, Provocation,
    Reach, Seen, StartTls, Ticket, TrustFact,
};
use gatepost_audit::check::judge::{compare, judge};
use gatepost_audit::check::profile::{DEFAULT, Profile, names};
use gatepost_audit::check::target::{Protocol, Role, Start, Target};
use gatepost_audit::finding::{Severity, Status};
use gatepost_testkit::pki::{Authority, now};
use gatepost_trust::verify::{self, Evidence, Reference, Roots, Terms};

fn target(protocol: Protocol, role: Role) -> Target {
    Target {
        host: "mail.example.test".to_owned(),
        address: IpAddr::from([192, 0, 2, 1]),
        port: 25,
        protocol,
        start: Start::StartTls,
        role,
    }
}

/// What is said of the name in a certificate with these names, as the handshake's judge and ours see it.
fn name_check(
    host: &str,
    names: &[&str],
    common_name: &str,
    (role, profile): (Role, &str),
) -> Check {
    let root = Authority::root("Root");
    let leaf = root.issue_with(names, |it| {
        it.distinguished_name = rcgen::DistinguishedName::new();
        it.distinguished_name
            .push(rcgen::DnType::CommonName, common_name);
    });
    let mut roots = Roots::none();
    roots.add(root.certificate.clone()).unwrap();
    let evidence = Evidence {
        chain: vec![leaf.certificate.clone()],
        staple: Vec::new(),
    };
    let terms = Terms::for_host(Reference::host(host).unwrap(), std::sync::Arc::new(roots));
    let verdict = verify::judge(&evidence, &terms, now());
    let told = verdict.checks.iter().map(|it| TrustFact {
        kind: it.kind.label().to_owned(),
        status: it.status.label().to_owned(),
        reason: match &it.status {
            verify::Status::Fail(reason) => Some(reason.to_string()),
            _ => None,
        },
    });
    let mut facts = sound(Protocol::Imap, role);
    host.clone_into(&mut facts.target.host);
    if let Seen::Known(handshake) = &mut facts.handshake {
        handshake.chain = vec![BASE64.encode(&leaf.certificate)];
        handshake.verdict = told.collect();
    }
    let mut checks = judged(&facts, profile).checks.into_iter();
    checks.find(|it| it.rule.id == "CERT-NAME").unwrap()
}

/// A sound service, as far as a single connection shows it.
fn sound(protocol: Protocol, role: Role) -> Facts {
    let mut facts = Facts::new(
        target(protocol, role),
        1_764_200_000,
        Reach::Connected { milliseconds: 3 },
    );
    facts.connections = 1;
    facts.greeting = Seen::Known(Greeting {
        kind: GreetingKind::Welcome,
        text: "220 mail.example.test ESMTP".to_owned(),
        milliseconds: 4,
    });
    facts.clear = Seen::Known(words(&["STARTTLS", "STLS", "LOGINDISABLED"]));
    facts.start_tls = Seen::Known(StartTls {
        offered: true,
        accepted: Some(true),
        reply: Some("220 go ahead".to_owned()),
        ..StartTls::default()
    });
    facts.handshake = Seen::Known(Handshake {
        version: "TLSv1.3".to_owned(),
        suite: "TLS_AES_128_GCM_SHA256".to_owned(),
        group: Some("X25519MLKEM768".to_owned()),
        alpn: None,
        chain: Vec::new(),
        staple: 0,
        milliseconds: 9,
        verdict: Vec::new(),
        verified: None,
    });
    facts.encrypted = Seen::Known(words(&["SIZE 1000"]));
    facts.unasked = Seen::Known(None);
    facts.second = Seen::Known(None);
    facts
}

fn words(words: &[&str]) -> Capabilities {
    Capabilities {
        words: words.iter().map(|it| (*it).to_owned()).collect(),
        ..Capabilities::default()
    }
}

fn judged(facts: &Facts, profile: &str) -> Judged {
    judge(facts, &Profile::find(profile).unwrap())
}

fn status(judged: &Judged, id: &str) -> Option<(Status, Severity)> {
    let check = judged.checks.iter().find(|it| it.rule.id == id)?;
    Some((check.status, check.severity))
}

fn taken(suite: u16) -> Seen<HelloAnswer> {
    Seen::Known(HelloAnswer {
        version: Some(0x0303),
        suite: Some(suite),
        ..HelloAnswer::default()
    })
}

fn refused(alert: u8) -> Seen<HelloAnswer> {
    Seen::Known(HelloAnswer {
        alert: Some(alert),
        ..HelloAnswer::default()
    })
}

#[test]
fn a_sound_service_has_no_finding_in_any_profile() {
    for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3] {
        for name in names() {
            let result = judged(&sound(protocol, Role::Access), name);
            let bad: Vec<_> = result.checks.iter().filter(|it| it.is_finding()).collect();
            assert!(bad.is_empty(), "{protocol:?} {name}: {bad:?}");
        }
    }
}

// [CONF-04]
#[test]
fn a_name_that_stands_in_the_common_name_alone_is_told_with_what_to_order() {
    const HOST: &str = "mail.example.test";
    let access = (Role::Access, DEFAULT);
    let of = |names: &[&str], common| name_check(HOST, names, common, access);
    let beside = of(&[HOST], HOST);
    assert_eq!((beside.status, beside.fix), (Status::Pass, None));
    for (names, common) in [
        (&[][..], "Mail.Example.test"),
        (&["other.example.test"], HOST),
        (&[], "*.example.test"),
    ] {
        let alone = of(names, common);
        assert_eq!(alone.status, Status::Fail, "{common}");
        let words = format!("in the common name alone (CN = {common})");
        assert!(alone.evidence.contains(&words), "{}", alone.evidence);
        let fix = alone.fix.unwrap();
        assert!(
            fix.contains(&format!("subjectAltName = DNS:{HOST}")),
            "{fix}"
        );
    }
    let address = name_check("192.0.2.1", &[], "192.0.2.1", access);
    assert!(address.fix.unwrap().contains("= IP:192.0.2.1"));
    // Another name there explains nothing.
    for (names, common) in [(&[][..], "other.example.test"), (&["a.test"], "b.test")] {
        let other = of(names, common);
        assert_eq!(other.status, Status::Fail);
        assert!(!other.evidence.contains("alone"), "{}", other.evidence);
    }
    // A profile to which an exchanger's name is nothing: told, not counted, nothing to do.
    let exchanger = name_check(HOST, &[], HOST, (Role::Mx, "ncsc-2025"));
    assert!(exchanger.evidence.contains("in the common name alone"));
    assert_eq!((exchanger.status, exchanger.fix), (Status::Info, None));
}

#[test]
fn facts_survive_being_kept() {
    let mut facts = sound(Protocol::Smtp, Role::Mx);
    facts.hellos.insert("weak".to_owned(), refused(40));
    facts.injection = Seen::Known(Injection::Executed {
        proof: "250 ok".to_owned(),
    });
    facts.state_kept = Seen::unknown("throttled");
    let kept = serde_json::to_string(&facts).unwrap();
    let again: Facts = serde_json::from_str(&kept).unwrap();
    assert_eq!(again, facts);
    assert_eq!(judged(&again, "strict"), judged(&facts, "strict"));
}

#[test]
fn what_could_not_be_told_is_never_a_pass_nor_a_fault() {
    let mut facts = sound(Protocol::Smtp, Role::Submission);
    facts.injection = Seen::unknown("421 too many");
    facts.login_in_clear = Seen::unknown("421 too many");
    facts.hellos.insert("weak".to_owned(), Seen::unknown("421"));
    facts
        .hellos
        .insert("tls1.1".to_owned(), Seen::unknown("421"));
    facts.stopped = Some("421 too many".to_owned());
    let result = judged(&facts, DEFAULT);
    for id in [
        "INJ-001",
        "AUTH-002",
        "CIPH-NULL",
        "CIPH-RC4",
        "TLS-10",
        "TLS-11",
        "STLS-007",
        "CIPH-kRSA",
        "NET-003",
    ] {
        let (status, _) = status(&result, id).unwrap_or_else(|| panic!("{id} is not there"));
        assert_eq!(status, Status::Inconclusive, "{id}");
        let check = result.checks.iter().find(|it| it.rule.id == id).unwrap();
        assert!(check.missing > 0, "{id}");
    }
}

#[test]
fn alerts_in_clear_are_a_fault_and_referrals_that_are_offered_are_told() {
    let mut facts = sound(Protocol::Imap, Role::Access);
    let told = |facts: &Facts| status(&judged(facts, DEFAULT), "PRE-002").map(|it| it.0);
    assert_eq!(told(&facts), Some(Status::Pass));
    facts.clear = Seen::Known(words(&["STARTTLS", "LOGINDISABLED", "LOGIN-REFERRALS"]));
    assert_eq!(told(&facts), Some(Status::Info));
    let mut clear = words(&["STARTTLS", "LOGINDISABLED"]);
    clear.codes.push("ALERT".to_owned());
    facts.clear = Seen::Known(clear);
    assert_eq!(told(&facts), Some(Status::Fail));
}

/// A prime that comes with a suite without a certificate protects nobody, small or not.
#[test]
fn primes_are_judged_where_somebody_relies_on_them() {
    let mut facts = sound(Protocol::Smtp, Role::Mx);
    let prime = |suite, bits| {
        let mut answer = taken(suite).known().unwrap().clone();
        answer.dh_bits = Some(bits);
        Seen::Known(answer)
    };
    // DH_anon and DHE_RSA, AES-128.
    facts.hellos.insert("weak".to_owned(), prime(0x0034, 1024));
    facts
        .hellos
        .insert("legacy".to_owned(), prime(0x0033, 3072));
    let found = judged(&facts, DEFAULT);
    assert_eq!(status(&found, "KEX-DH").unwrap().0, Status::Pass);
    facts
        .hellos
        .insert("legacy".to_owned(), prime(0x0033, 1024));
    let found = judged(&facts, DEFAULT);
    assert_eq!(status(&found, "KEX-DH").unwrap().0, Status::Fail);
}

/// A port in clear closes on every hello: that refuses no version, no suite and no group.
#[test]
fn where_nothing_is_answered_with_tls_a_closed_connection_tells_nothing() {
    let mut facts = sound(Protocol::Imap, Role::Access);
    facts.handshake = Seen::Unasked;
    let closed = HelloAnswer {
        closed: true,
        ..HelloAnswer::default()
    };
    for name in ["pq", "tls1.2", "tls1.1", "weak", "ssl2", "weak-signatures"] {
        let closed = Seen::Known(closed.clone());
        facts.hellos.insert(name.to_owned(), closed);
    }
    let asked = [
        "KEX-PQ",
        "TLS-13",
        "TLS-12",
        "TLS-11",
        "TLS-SSL2",
        "CIPH-NULL",
        "SIG-ALG",
        "EMS-001",
    ];
    let found = judged(&facts, DEFAULT);
    for id in asked {
        let (status, _) = status(&found, id).unwrap_or_else(|| panic!("{id} is not there"));
        assert_eq!(status, Status::Inconclusive, "{id}");
    }
    // One that is answered makes refusals of the others.
    facts.hellos.insert("legacy".to_owned(), refused(70));
    let found = judged(&facts, DEFAULT);
    for id in asked {
        // That hello offers hybrid groups alone, and is closed for want of them, or of the version.
        let is_open = status(&found, id).unwrap().0 == Status::Inconclusive;
        assert_eq!(is_open, id == "TLS-13", "{id}");
    }
}

#[test]
fn the_part_a_service_plays_decides_how_grave_a_fault_is() {
    let mut facts = sound(Protocol::Smtp, Role::Mx);
    facts.clear = Seen::Known(words(&["AUTH PLAIN LOGIN"]));
    facts.start_tls = Seen::Known(StartTls {
        offered: false,
        accepted: Some(false),
        ..StartTls::default()
    });
    let mx = judged(&facts, DEFAULT);
    assert_eq!(
        status(&mx, "STLS-001"),
        Some((Status::Fail, Severity::High))
    );
    assert_eq!(
        status(&mx, "AUTH-001"),
        Some((Status::Fail, Severity::High))
    );
    facts.target.role = Role::Submission;
    let submission = judged(&facts, DEFAULT);
    let critical = Some((Status::Fail, Severity::Critical));
    assert_eq!(status(&submission, "STLS-001"), critical);
    assert_eq!(status(&submission, "AUTH-001"), critical);
}

#[test]
fn logins_in_clear_are_found_in_every_protocols_words() {
    let offers = |protocol, list: &[&str]| {
        let mut facts = sound(protocol, Role::Access);
        facts.clear = Seen::Known(words(list));
        status(&judged(&facts, DEFAULT), "AUTH-001").unwrap().0
    };
    let (pass, fail) = (Status::Pass, Status::Fail);
    assert_eq!(offers(Protocol::Smtp, &["AUTH=LOGIN"]), fail);
    assert_eq!(offers(Protocol::Smtp, &["AUTH EXTERNAL"]), pass);
    assert_eq!(offers(Protocol::Imap, &["IMAP4REV1"]), fail);
    assert_eq!(offers(Protocol::Imap, &["LOGINDISABLED"]), pass);
    assert_eq!(
        offers(Protocol::Imap, &["LOGINDISABLED", "AUTH=PLAIN"]),
        fail
    );
    assert_eq!(offers(Protocol::Pop3, &["USER"]), fail);
    assert_eq!(offers(Protocol::Pop3, &["SASL SCRAM-SHA-256"]), fail);
    assert_eq!(offers(Protocol::Pop3, &["STLS"]), pass);
    assert_eq!(offers(Protocol::Sieve, &["SASL", "STARTTLS"]), pass);
    assert_eq!(offers(Protocol::Sieve, &["SASL PLAIN"]), fail);
}

#[test]
fn a_class_of_suites_is_absent_only_when_the_last_hello_was_refused() {
    let mut facts = sound(Protocol::Smtp, Role::Submission);
    facts.hellos.insert("weak".to_owned(), taken(0xc018));
    facts
        .hellos
        .insert("weak-2".to_owned(), Seen::unknown("used up"));
    let result = judged(&facts, DEFAULT);
    assert_eq!(
        status(&result, "CIPH-ANON"),
        Some((Status::Fail, Severity::Critical))
    );
    assert_eq!(status(&result, "CIPH-RC4").unwrap().0, Status::Inconclusive);
    facts.hellos.insert("weak-2".to_owned(), refused(40));
    let result = judged(&facts, DEFAULT);
    assert_eq!(status(&result, "CIPH-RC4").unwrap().0, Status::Pass);
    // An exchanger offers them to senders that verify nobody.
    facts.target.role = Role::Mx;
    let result = judged(&facts, DEFAULT);
    assert_eq!(status(&result, "CIPH-ANON").unwrap().0, Status::Info);
}

/// How the order of suites is judged after these hellos of a service that has TLS 1.2.
fn order(hellos: &[(&str, Seen<HelloAnswer>)], profile: &str) -> Option<(Status, Severity)> {
    let mut facts = sound(Protocol::Smtp, Role::Submission);
    for (name, seen) in [("weak", refused(40)), ("legacy", refused(40))] {
        facts.hellos.insert(name.to_owned(), seen);
    }
    let hellos = hellos.iter().cloned();
    let named = hellos.map(|(name, seen)| (name.to_owned(), seen));
    facts.hellos.extend(named);
    let judged = judged(&facts, profile);
    let bad = judged.checks.iter().find(|it| it.rule.id == "CIPH-ORDER");
    if let Some(check) = bad.filter(|it| it.status == Status::Fail) {
        assert!(check.evidence.contains(" where TLS_"), "{}", check.evidence);
    }
    status(&judged, "CIPH-ORDER")
}

// [NAT-NL-01] [TLS-CIPH-05]
#[test]
fn better_suites_are_taken_before_worse_ones() {
    let (good, cbc, static_rsa, sha2) = (0xc030, 0xc013, 0x002f, 0xc028);
    let told = |hellos: &[(&str, Seen<HelloAnswer>)]| order(hellos, DEFAULT);
    let taken = |name, suite| (name, taken(suite));
    let low = |status| Some((status, Severity::Low));
    let info = Some((Status::Info, Severity::Info));
    let right = [taken("order", good), taken("tls1.2", good)];
    assert_eq!(told(&[]), None, "not asked");
    assert_eq!(told(&[taken("tls1.2", good)]), None, "older facts");
    // Nothing worse is there.
    assert_eq!(told(&right), info);
    // Something worse is there, and was not taken.
    let [order_right, tls12] = right.clone();
    let chain = [taken("legacy", static_rsa), ("legacy-2", refused(40))];
    let all = [&right[..], &chain].concat();
    assert_eq!(told(&all), low(Status::Pass));
    // It was taken.
    let wrong = [taken("order", static_rsa), tls12.clone()];
    let all = [&wrong[..], &chain].concat();
    assert_eq!(told(&all), low(Status::Fail));
    assert_eq!(order(&all, "strict").unwrap().1, Severity::Medium);
    assert_eq!(order(&all, "mozilla-6-intermediate"), info);
    // The better of the worse ones comes last, in a chain and in a lane: a fault by the guidelines that rank them.
    let ranked = |hellos: &[(&str, Seen<HelloAnswer>)]| order(hellos, "ncsc-2025");
    let late = [taken("legacy", cbc), taken("legacy-2", 0x009e)];
    assert_eq!(ranked(&[&right[..], &late].concat()), low(Status::Fail));
    assert_eq!(told(&[&right[..], &late].concat()), info);
    let early = [taken("legacy", 0x009e), taken("legacy-2", cbc)];
    assert_eq!(ranked(&[&right[..], &early].concat()), low(Status::Pass));
    let single = [taken("suites-0-1", cbc), taken("suites-0-2", sha2)];
    assert_eq!(ranked(&[&right[..], &single].concat()), low(Status::Fail));
    // Two lanes say nothing about each other.
    let lanes = [taken("suites-0-1", cbc), taken("suites-1-1", sha2)];
    assert_eq!(ranked(&[&right[..], &lanes].concat()), low(Status::Pass));
    // No good suite at all.
    let none = [taken("order", static_rsa), ("tls1.2", refused(40))];
    assert_eq!(told(&none), info);
    // Nothing older than TLS 1.3.
    let newer = [("order", refused(70)), ("tls1.2", refused(70))];
    assert_eq!(told(&newer), low(Status::NotApplicable));
    // What could not be told is neither.
    let open = || Seen::unknown("421 too many");
    let unsure = low(Status::Inconclusive);
    assert_eq!(told(&[("order", open()), tls12.clone()]), unsure);
    assert_eq!(told(&[&right[..], &[("weak", open())]].concat()), unsure);
    let cut = [taken("legacy", cbc), ("legacy-2", open())];
    assert_eq!(ranked(&[&right[..], &cut].concat()), unsure);
    assert_eq!(
        told(&[&right[..], &cut].concat()),
        low(Status::Pass),
        "a good one came first"
    );
    assert_eq!(
        told(&[
            ("order", refused(40)),
            taken("tls1.2", good),
            chain[0].clone()
        ]),
        unsure
    );
    assert_eq!(told(&[order_right, ("tls1.2", open())]), unsure);
    // What is known to be wrong is wrong, whatever else could not be told.
    let all = [&wrong[..], &[("weak", open())]].concat();
    assert_eq!(told(&all), low(Status::Fail));
}

#[test]
fn one_alert_about_versions_settles_all_older_ones() {
    let mut facts = sound(Protocol::Imap, Role::Access);
    facts.hellos.insert("tls1.1".to_owned(), refused(70));
    let result = judged(&facts, DEFAULT);
    for id in ["TLS-10", "TLS-11", "TLS-SSL3"] {
        assert_eq!(status(&result, id).unwrap().0, Status::Pass, "{id}");
    }
    // Another alert says nothing about versions.
    facts.hellos.insert("tls1.1".to_owned(), refused(40));
    let result = judged(&facts, DEFAULT);
    assert_eq!(status(&result, "TLS-11").unwrap().0, Status::Pass);
    assert_eq!(status(&result, "TLS-10"), None);
}

#[test]
fn injection_is_proved_told_and_named_by_protocol() {
    for (protocol, id) in [
        (Protocol::Smtp, "INJ-001"),
        (Protocol::Imap, "INJ-002"),
        (Protocol::Pop3, "INJ-003"),
        (Protocol::Sieve, "INJ-004"),
    ] {
        let mut facts = sound(protocol, Role::Access);
        let proof = "it came back".to_owned();
        facts.injection = Seen::Known(Injection::Executed {
            proof: proof.clone(),
        });
        let result = judged(&facts, DEFAULT);
        let check = result.checks.iter().find(|it| it.rule.id == id).unwrap();
        assert_eq!(check.status, Status::Fail);
        assert!(check.evidence.contains(&proof) && check.fix.is_some());
        facts.injection = Seen::Known(Injection::AnsweredInClear { words: proof });
        let result = judged(&facts, DEFAULT);
        assert_eq!(status(&result, id).unwrap().0, Status::Pass);
        assert_eq!(status(&result, "INJ-007").unwrap().0, Status::Fail);
    }
}

#[test]
fn a_modern_profile_wants_one_version_alone() {
    let mut facts = sound(Protocol::Imap, Role::Access);
    facts.hellos.insert("tls1.2".to_owned(), taken(0xc02b));
    assert_eq!(
        status(&judged(&facts, DEFAULT), "TLS-12").unwrap().0,
        Status::Pass
    );
    let modern = judged(&facts, "mozilla-6-modern");
    assert_eq!(status(&modern, "TLS-12").unwrap().0, Status::Fail);
    facts.hellos.insert("tls1.2".to_owned(), refused(70));
    let modern = judged(&facts, "mozilla-6-modern");
    assert_eq!(status(&modern, "TLS-12").unwrap().0, Status::Pass);
}

#[test]
fn services_of_a_host_are_compared() {
    let mut starttls = sound(Protocol::Imap, Role::Access);
    let mut implicit = sound(Protocol::Imap, Role::Access);
    implicit.target.start = Start::Implicit;
    implicit.target.port = 993;
    for facts in [&mut starttls, &mut implicit] {
        if let Seen::Known(handshake) = &mut facts.handshake {
            handshake.chain = vec!["AAAA".to_owned()];
        }
    }
    let told = |starttls: &Facts| {
        let facts = [starttls.clone(), implicit.clone()];
        let profile = Profile::find(DEFAULT).unwrap();
        let mut judged: Vec<Judged> = facts.iter().map(|it| judge(it, &profile)).collect();
        compare(&facts, &mut judged, &profile);
        assert_eq!(status(&judged[1], "OPOS-001"), None);
        let info = Some((Status::Info, Severity::Info));
        assert_eq!(status(&judged[0], "IMPL-004"), info);
        status(&judged[0], "OPOS-001").unwrap().0
    };
    assert_eq!(told(&starttls), Status::Pass);
    starttls.unasked = Seen::Known(Some("* OK again".to_owned()));
    assert_eq!(told(&starttls), Status::Fail);
    if let Seen::Known(handshake) = &mut starttls.handshake {
        handshake.chain = vec!["BBBB".to_owned()];
    }
    assert_eq!(told(&starttls), Status::Pass);
}

#[test]
fn provocations_pass_fail_or_cannot_be_told_and_relays_only_from_outside() {
    let rows = [
        ("heartbeat", "VUL-HB", Severity::Critical),
        ("early-ccs", "VUL-CCS", Severity::High),
        ("padding", "VUL-ROBOT", Severity::Critical),
        ("oracle", "VUL-PADORACLE", Severity::High),
        ("relay", "RELAY-001", Severity::Critical),
        ("names", "VRFY-001", Severity::Low),
        ("smuggling", "SMUG-001", Severity::High),
    ];
    for (name, id, severity) in rows {
        let mut facts = sound(Protocol::Smtp, Role::Mx);
        assert_eq!(status(&judged(&facts, DEFAULT), id), None, "no consent");
        let mut end = |seen: Seen<Provocation>, near: bool| {
            if near {
                facts.target.address = IpAddr::from([127, 0, 0, 1]);
            }
            facts.provoked.insert(name.to_owned(), seen);
            status(&judged(&facts, DEFAULT), id).unwrap()
        };
        let text = String::new;
        let refused = Seen::Known(Provocation::Refused { how: text() });
        let absent = Seen::Known(Provocation::Absent { why: text() });
        let worked = Seen::Known(Provocation::Worked { proof: text() });
        assert_eq!(end(refused, false), (Status::Pass, severity), "{id}");
        assert_eq!(end(absent, false), (Status::NotApplicable, severity));
        assert_eq!(end(worked.clone(), false), (Status::Fail, severity), "{id}");
        let told = end(Seen::unknown("421"), false);
        assert_eq!(told, (Status::Inconclusive, severity), "{id}");
        // Who stands beside the server may be trusted on purpose.
        let near = match id {
            "RELAY-001" => Status::Inconclusive,
            _ => Status::Fail,
        };
        assert_eq!(end(worked, true), (near, severity), "{id}");
    }
}

/// What a service says of its sessions: status of tickets and of early data.
fn sessions(tickets: &[(&str, Seen<Option<Ticket>>)]) -> [Option<Status>; 2] {
    let mut facts = sound(Protocol::Imap, Role::Access);
    let named = tickets
        .iter()
        .map(|(name, seen)| ((*name).to_owned(), seen.clone()));
    facts.tickets = named.collect();
    facts.resumed = Seen::Known(true);
    let judged = judged(&facts, DEFAULT);
    ["TKT-001", "ZRTT-001"].map(|id| status(&judged, id).map(|it| it.0))
}

fn ticket(lifetime: u32, early_data: Option<u32>) -> Seen<Option<Ticket>> {
    Seen::Known(Some(Ticket {
        lifetime,
        early_data,
    }))
}

// [NAT-NL-01]
#[test]
fn tickets_hold_for_a_week_at_most_and_early_data_is_not_offered() {
    let (pass, fail) = (Some(Status::Pass), Some(Status::Fail));
    let unsure = Some(Status::Inconclusive);
    let unknown = || Seen::unknown("421");
    assert_eq!(sessions(&[]), [None, None], "not asked in this tier");
    assert_eq!(sessions(&[("tls1.3", ticket(604_800, None))]), [pass, pass]);
    assert_eq!(
        sessions(&[("tls1.3", ticket(7200, Some(16_384)))]),
        [pass, fail]
    );
    assert_eq!(sessions(&[("tls1.3", ticket(7200, Some(0)))]), [pass, pass]);
    assert_eq!(sessions(&[("tls1.3", Seen::Known(None))]), [pass, pass]);
    assert_eq!(sessions(&[("tls1.3", unknown())]), [unsure, unsure]);
    let none = Some(Status::NotApplicable);
    assert_eq!(sessions(&[("tls1.2", ticket(604_801, None))]), [fail, none]);
    // What is known to be wrong is wrong, whatever else could not be told.
    let both = [("tls1.2", ticket(700_000, None)), ("tls1.3", unknown())];
    assert_eq!(sessions(&both), [fail, unsure]);
    let both = [("tls1.2", ticket(0, None)), ("tls1.3", unknown())];
    assert_eq!(sessions(&both), [unsure, unsure]);
}

#[test]
fn second_handshakes_pass_fail_or_cannot_be_told() {
    let end = |name: &str, id: &str, seen: Seen<Provocation>| {
        let mut facts = sound(Protocol::Pop3, Role::Access);
        facts.provoked.insert(name.to_owned(), seen);
        status(&judged(&facts, DEFAULT), id).unwrap()
    };
    let worked = || {
        Seen::Known(Provocation::Worked {
            proof: String::new(),
        })
    };
    let refused = || Seen::Known(Provocation::Refused { how: String::new() });
    for (name, id, severity) in [
        ("renegotiation", "REN-002", Severity::Low),
        ("unbound-renegotiation", "REN-003", Severity::Critical),
    ] {
        assert_eq!(end(name, id, worked()), (Status::Fail, severity));
        assert_eq!(end(name, id, refused()), (Status::Pass, severity));
        let told = end(name, id, Seen::unknown("silent"));
        assert_eq!(told, (Status::Inconclusive, severity));
    }
}

/// A server that refuses TLS 1.2 by closing: two looks had the same, so there is nothing to renegotiate, and no ticket of it.
#[test]
fn a_version_that_is_not_spoken_leaves_nothing_open() {
    let told = |hello: Seen<HelloAnswer>| {
        let mut facts = sound(Protocol::Imap, Role::Access);
        facts.hellos.clear();
        facts.hellos.insert("tls1.2".to_owned(), hello);
        let closed = Seen::unknown("closed in the handshake");
        facts.provoked.insert("renegotiation".to_owned(), closed);
        let closed = Seen::unknown("closed in the handshake");
        facts.tickets.insert("tls1.2".to_owned(), closed);
        facts.tickets.insert("tls1.3".to_owned(), Seen::Known(None));
        let judged = judged(&facts, DEFAULT);
        ["REN-002", "TKT-001"].map(|id| status(&judged, id).unwrap().0)
    };
    assert_eq!(
        told(Seen::Known(HelloAnswer::default())),
        [Status::NotApplicable, Status::Pass]
    );
    // Not known, or spoken: then it stays open.
    for hello in [Seen::unknown("silent"), taken(0xc02b)] {
        assert_eq!(told(hello), [Status::Inconclusive; 2]);
    }
}

#[test]
fn a_login_in_clear_leaves_open_whether_it_survives_the_upgrade() {
    let end = |seen: Seen<bool>| {
        let mut facts = sound(Protocol::Imap, Role::Access);
        facts.login_in_clear = seen;
        status(&judged(&facts, DEFAULT), "SFX-001")
    };
    assert_eq!(
        end(Seen::Known(false)),
        Some((Status::Pass, Severity::Critical))
    );
    assert_eq!(
        end(Seen::Known(true)),
        Some((Status::Inconclusive, Severity::Medium))
    );
    assert_eq!(end(Seen::unknown("421")).unwrap().0, Status::Inconclusive);
    assert_eq!(end(Seen::Unasked), None);
}

#[test]
fn known_weaknesses_follow_what_they_rest_on() {
    let rows = ["DROWN", "FREAK", "LOGJAM", "SWEET32", "BEAST", "CRIME"];
    let told = |facts: &Facts| {
        let judged = judged(facts, DEFAULT);
        rows.map(|it| status(&judged, &format!("VUL-{it}")).map(|it| it.0))
    };
    let (pass, fail, unsure) = (Status::Pass, Status::Fail, Status::Inconclusive);
    let mut facts = sound(Protocol::Smtp, Role::Mx);
    assert_eq!(
        told(&facts),
        [None; 6],
        "one connection tells nothing of it"
    );
    for (name, seen) in [
        ("ssl2", refused(40)),
        ("weak", refused(40)),
        ("legacy", refused(40)),
        ("tls1.1", refused(70)),
        ("tls1.2", taken(0xc02b)),
    ] {
        facts.hellos.insert(name.to_owned(), seen);
    }
    assert_eq!(told(&facts), [Some(pass); 6]);
    let sound = facts.clone();
    for name in ["ssl2", "weak", "legacy", "tls1.1", "tls1.2"] {
        let why = Seen::unknown("421 too many");
        facts.hellos.insert(name.to_owned(), why);
    }
    facts.stopped = Some("421 too many".to_owned());
    assert_eq!(told(&facts), [Some(unsure); 6]);
    let answer = |version: u16, suite: u16| HelloAnswer {
        version: Some(version),
        suite: Some(suite),
        ..HelloAnswer::default()
    };
    let dhe = HelloAnswer {
        dh_bits: Some(1024),
        ..answer(0x0303, 0x0033)
    };
    let deflated = HelloAnswer {
        compression: Some(1),
        ..answer(0x0303, 0xc02b)
    };
    let bad = [
        answer(0x0002, 0),
        answer(0x0301, 0x0003),
        dhe,
        answer(0x0303, 0x000a),
        answer(0x0301, 0x002f),
        deflated,
    ];
    for (at, answer) in bad.into_iter().enumerate() {
        let mut facts = sound.clone();
        let seen = Seen::Known(answer);
        facts.hellos.insert("suites-0-1".to_owned(), seen);
        assert_eq!(told(&facts)[at], Some(fail), "{}", rows[at]);
    }
}

// [NAT-US-02]
#[test]
fn what_the_directive_forbids_is_a_finding_in_every_profile() {
    let mut sound = sound(Protocol::Smtp, Role::Mx);
    for (name, seen) in [
        ("ssl2", refused(40)),
        ("ssl3", refused(70)),
        ("tls1.1", refused(70)),
        ("weak", refused(40)),
    ] {
        sound.hellos.insert(name.to_owned(), seen);
    }
    let answer = |version, suite| {
        Seen::Known(HelloAnswer {
            version: Some(version),
            suite: Some(suite),
            ..HelloAnswer::default()
        })
    };
    let rows = [
        ("TLS-SSL2", "ssl2", answer(0x0002, 0)),
        ("TLS-SSL3", "ssl3", answer(0x0300, 0x0035)),
        ("CIPH-RC4", "weak", taken(0x0005)),
        ("CIPH-3DES", "weak", taken(0x000a)),
    ];
    for profile in names() {
        let result = judged(&sound, profile);
        assert_eq!(status(&result, "STLS-001").unwrap().0, Status::Pass);
        for (id, name, seen) in &rows {
            let told = status(&result, id).unwrap_or_else(|| panic!("{id} is not there"));
            assert_eq!(told.0, Status::Pass, "{profile} {id}");
            let mut facts = sound.clone();
            facts.hellos.insert((*name).to_owned(), seen.clone());
            let (told, severity) = status(&judged(&facts, profile), id).unwrap();
            assert_eq!(told, Status::Fail, "{profile} {id}");
            assert!(severity >= Severity::Medium, "{profile} {id}");
        }
        let mut facts = sound.clone();
        facts.start_tls = Seen::Known(StartTls {
            accepted: Some(false),
            ..StartTls::default()
        });
        let told = status(&judged(&facts, profile), "STLS-001");
        assert_eq!(told, Some((Status::Fail, Severity::High)), "{profile}");
    }
}
