//! Versions, suites, key exchange, extensions.

use gatepost_wire::tls::names::{group_label, scheme_label, suite_label};
use gatepost_wire::tls::suites::{self, Suite};
use gatepost_wire::tls::{SSL3, TLS10, TLS11, TLS12, TLS13};

use super::Bench;
use crate::check::examine::class_of;
use crate::check::facts::{Facts, HelloAnswer, Seen};
use crate::check::questions::is_cbc;
use crate::finding::{Severity, Status};

pub(super) fn judge(bench: &mut Bench<'_>) {
    if bench.facts.start_tls.known().and_then(|it| it.accepted) == Some(false) {
        return;
    }
    versions(bench);
    size(bench);
    for (id, class, key) in CLASSES {
        class_check(bench, id, class, key);
    }
    exchange(bench);
    modern(bench);
    inferred(bench);
    lists(bench);
}

/// Every version that was agreed on in any connection.
fn has_version(bench: &Bench<'_>, version: u16) -> bool {
    let answers = bench.facts.hellos.values().filter_map(Seen::known);
    let label = match version {
        TLS13 => "TLSv1.3",
        TLS12 => "TLSv1.2",
        _ => "",
    };
    answers.into_iter().any(|it| it.version == Some(version))
        || bench
            .facts
            .handshake
            .known()
            .is_some_and(|it| it.version == label)
}

/// Whether anything here was answered with TLS.
fn speaks_tls(facts: &Facts) -> bool {
    let mut answers = facts.hellos.values().filter_map(Seen::known);
    facts.handshake.known().is_some() || answers.any(HelloAnswer::is_tls)
}

/// The answer to a hello. A connection that was closed says something of what was offered only where others are answered with TLS.
fn hello<'a>(
    bench: &mut Bench<'a>,
    id: &str,
    seen: &'a Seen<HelloAnswer>,
) -> Option<&'a HelloAnswer> {
    let answer = bench.answer(id, seen)?;
    if answer.is_tls() || speaks_tls(bench.facts) {
        return Some(answer);
    }
    bench.inconclusive(
        id,
        "the connection was closed, and no hello was answered with TLS here",
        0,
    );
    None
}

/// The answer to the hello of this name. One that was not sent because everything was stopped is put down, too.
fn answer_to<'a>(bench: &mut Bench<'a>, id: &str, name: &str) -> Option<&'a HelloAnswer> {
    let seen = bench.facts.hellos.get(name).unwrap_or(&Seen::Unasked);
    hello(bench, id, seen)
}

/// Whether a hello of TLS 1.2 was refused, and no other look found it spoken.
pub(super) fn lacks_tls12(bench: &Bench<'_>) -> bool {
    let hello = bench.facts.hellos.get("tls1.2");
    hello.is_some_and(|it| it.known().is_some())
        && speaks_tls(bench.facts)
        && !has_version(bench, TLS12)
}

fn versions(bench: &mut Bench<'_>) {
    let old = if bench.is_mx() { "old-mx" } else { "old" };
    let old = bench.profile.severity(old);
    version(bench, "TLS-SSL2", 0x0002, "ssl2", Severity::Critical);
    version(bench, "TLS-SSL3", SSL3, "ssl3", Severity::Critical);
    version(bench, "TLS-10", TLS10, "tls1.0", old);
    version(bench, "TLS-11", TLS11, "tls1.1", old);
    tls12(bench);
    tls13(bench);
}

fn tls12(bench: &mut Bench<'_>) {
    match (has_version(bench, TLS12), bench.profile.forbids("tls12")) {
        (true, false) => bench.pass("TLS-12", "spoken"),
        (true, true) => bench.fail("TLS-12", "spoken, and this profile allows TLS 1.3 alone"),
        (false, forbidden) => {
            if answer_to(bench, "TLS-12", "tls1.2").is_none() {
                return;
            }
            if forbidden {
                bench.pass("TLS-12", "not spoken, as this profile wants it");
            } else {
                let severity = bench.profile.severity("tls12");
                bench.fail_as("TLS-12", severity, "a hello of TLS 1.2 was refused");
            }
        }
    }
}

fn tls13(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let severity = bench.profile.severity("tls13");
    if has_version(bench, TLS13) {
        bench.pass_as("TLS-13", severity, "spoken");
    } else if facts.handshake.known().is_some() {
        bench.fail_as(
            "TLS-13",
            severity,
            "offered in the full handshake, and an older version was chosen",
        );
    } else if let Some(answer) = answer_to(bench, "TLS-13", "pq") {
        let hellos = || facts.hellos.values().filter_map(Seen::known);
        let how = refused(answer);
        // The hello offers hybrid groups alone. Of the version speak "no version of yours", and an older one that was taken without the mark that
        // one who can TLS 1.3 must set (RFC 9846 4.1.3).
        let can = hellos().any(|it| it.downgraded);
        if !can && (answer.alert == Some(70) || hellos().any(HelloAnswer::is_taken)) {
            let how = format!("a hello of TLS 1.3 alone was answered with {how}");
            bench.fail_as("TLS-13", severity, how);
            return;
        }
        let how = if can {
            "the server's random says that it can, and no handshake of it was seen".to_owned()
        } else {
            format!(
                "a hello of TLS 1.3 with hybrid groups alone was refused ({how}), and no full handshake was seen"
            )
        };
        bench.inconclusive("TLS-13", how, 1);
    }
}

/// One old version. A hello of a newer one that was refused by its version settles it too.
fn version(bench: &mut Bench<'_>, id: &str, version: u16, name: &str, severity: Severity) {
    let facts = bench.facts;
    if has_version(bench, version) {
        bench.fail_as(id, severity, format!("agreed on {}", version_name(version)));
        return;
    }
    if let Some(seen) = facts.hellos.get(name) {
        if let Some(answer) = hello(bench, id, seen) {
            bench.pass_as(id, severity, format!("refused: {}", refused(answer)));
        }
        return;
    }
    // Not asked by itself: a newer one was refused with "no version of yours".
    let newer = ["tls1.0", "tls1.1"]
        .iter()
        .filter_map(|it| facts.hellos.get(*it));
    let settled = newer.filter_map(Seen::known).any(|it| it.alert == Some(70));
    if settled && version >= SSL3 {
        bench.pass_as(
            id,
            severity,
            "every version below TLS 1.2 was refused (alert 70)",
        );
    } else if let Some(why) = bench.why_unasked() {
        bench.inconclusive(id, why, 1);
    } else if let Some(Seen::Unknown { why, missing }) = facts.hellos.get("tls1.1") {
        bench.inconclusive(id, why.clone(), *missing);
    }
}

fn version_name(version: u16) -> String {
    match version {
        0x0002 => "SSL 2".to_owned(),
        SSL3 => "SSL 3".to_owned(),
        TLS10 => "TLS 1.0".to_owned(),
        TLS11 => "TLS 1.1".to_owned(),
        TLS12 => "TLS 1.2".to_owned(),
        TLS13 => "TLS 1.3".to_owned(),
        other => format!("version 0x{other:04x}"),
    }
}

fn refused(answer: &HelloAnswer) -> String {
    match (answer.alert, answer.closed) {
        (Some(number), _) => format!("alert {number}"),
        (None, true) => "the connection was closed".to_owned(),
        (None, false) => answer
            .version
            .map_or_else(|| "no answer".to_owned(), version_name),
    }
}

fn size(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    match &facts.handshake_failed {
        Some(failed) => {
            if failed.classic_works == Some(true) {
                bench.fail(
                    "TLS-INTOL",
                    format!("{}; a small hello was answered", failed.text),
                );
            }
        }
        None => {
            if facts.handshake.known().is_some() {
                bench.pass("TLS-INTOL", "a hello of more than one segment was answered");
            }
        }
    }
}

/// Id, class as [`class_of`] names it, and the profile's key for its severity; none: the rule's own.
const CLASSES: [(&str, &str, Option<&str>); 10] = [
    ("CIPH-NULL", "NULL", None),
    ("CIPH-ANON", "ANON", None),
    ("CIPH-EXP", "EXP", None),
    ("CIPH-LOW", "LOW", None),
    // [NAT-US-02] with the two versions above and STLS-001
    ("CIPH-RC4", "RC4", None),
    ("CIPH-3DES", "3DES", None),
    ("CIPH-kRSA", "kRSA", Some("krsa")),
    ("CIPH-DHE", "DHE", Some("dhe")),
    ("CIPH-CBC", "CBC", Some("cbc")),
    ("CIPH-CCM8", "CCM8", Some("ccm8")),
];

/// The suites of a class that were chosen in any connection.
fn chosen(bench: &Bench<'_>, class: &str) -> Vec<String> {
    let answers = bench.facts.hellos.values().filter_map(Seen::known);
    let mut found: Vec<String> = Vec::new();
    for number in answers.filter_map(|it| it.suite) {
        let is_in = suites::suite(number)
            .is_some_and(|it| class_of(it) == class || (class == "CBC" && is_cbc(it)));
        let label = suite_label(number).into_owned();
        if is_in && !found.contains(&label) {
            found.push(label);
        }
    }
    found
}

fn class_check(bench: &mut Bench<'_>, id: &str, class: &str, key: Option<&str>) {
    let facts = bench.facts;
    let severity = match key {
        Some(key) => bench.profile.severity(key),
        // An exchanger cannot be verified by most senders anyway, and Postfix offers such suites for them on purpose.
        None if class == "ANON" && bench.is_mx() => bench.profile.severity("anon-mx"),
        None => crate::rules::find(id).map_or(Severity::High, |rule| rule.severity),
    };
    let found = chosen(bench, class);
    if !found.is_empty() {
        bench.fail_as(id, severity, found.join(", "));
        return;
    }
    let chain = if key.is_some() { "legacy" } else { "weak" };
    let Some(first) = facts.hellos.get(chain) else {
        if let Some(why) = bench.why_unasked() {
            bench.inconclusive(id, why, 1);
        }
        return;
    };
    // The last hello of the chain decides: refused, or not told.
    let prefix = format!("{chain}-");
    let rounds = facts
        .hellos
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix));
    let unanswered = rounds
        .map(|(_, seen)| seen)
        .find(|seen| seen.known().is_none());
    let last = unanswered.unwrap_or(first);
    if hello(bench, id, last).is_some() {
        bench.pass_as(id, severity, "refused");
    }
}

/// [PQ-03] Hybrid or not, and how large the primes are.
fn exchange(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let answers: Vec<&HelloAnswer> = facts.hellos.values().filter_map(Seen::known).collect();
    let hybrid = ["MLKEM", "Kyber"];
    let control = facts.handshake.known().and_then(|it| it.group.as_deref());
    let severity = bench.profile.severity("pq");
    let is_hybrid = |group: &str| hybrid.iter().any(|it| group.contains(it));
    if let Some(group) = control.filter(|group| is_hybrid(group)) {
        bench.pass_as("KEX-PQ", severity, group.to_owned());
    } else if let Some(group) = control.filter(|_| !facts.hellos.contains_key("pq")) {
        bench.fail_as("KEX-PQ", severity, format!("{group} was chosen"));
    } else if let Some(answer) = answer_to(bench, "KEX-PQ", "pq") {
        match answer
            .group
            .map(group_label)
            .filter(|group| is_hybrid(group))
        {
            Some(group) => bench.pass_as("KEX-PQ", severity, group.into_owned()),
            None => bench.fail_as(
                "KEX-PQ",
                severity,
                format!("hybrid groups refused: {}", refused(answer)),
            ),
        }
    }
    if let Some((bits, suite)) = smallest_prime(&answers) {
        let wanted = bench.profile.bits("dh");
        let evidence = format!("a prime of {bits} bits, {suite}");
        if (bits as usize) < wanted {
            let severity = if bits < 2048 {
                Severity::High
            } else {
                Severity::Low
            };
            bench.fail_as("KEX-DH", severity, evidence);
        } else {
            bench.pass("KEX-DH", evidence);
        }
    }
    let groups: Vec<u16> = answers.iter().filter_map(|it| it.group).collect();
    if let Some(weak) = groups.iter().find(|group| is_weak_curve(**group)) {
        bench.fail("KEX-EC", group_label(*weak).into_owned());
    } else if !groups.is_empty() {
        bench.pass("KEX-EC", "no weak curve was chosen");
    }
    if let Some(answer) = answer_to(bench, "SIG-ALG", "weak-signatures") {
        match answer
            .scheme
            .filter(|scheme| matches!(scheme, 0x0101 | 0x0201..=0x0203))
        {
            Some(scheme) => bench.fail("SIG-ALG", scheme_label(scheme).into_owned()),
            None => bench.pass("SIG-ALG", format!("refused: {}", refused(answer))),
        }
    }
}

/// The smallest prime that protects anybody, and the suite it came with: who takes a suite without a certificate is not protected by its size.
fn smallest_prime(answers: &[&HelloAnswer]) -> Option<(u32, String)> {
    let with_bits = answers.iter().filter_map(|it| {
        let number = it.suite?;
        let is_anonymous = suites::suite(number).is_some_and(Suite::is_anonymous);
        (!is_anonymous).then_some((it.dh_bits?, number))
    });
    let (bits, number) = with_bits.min()?;
    Some((bits, suite_label(number).into_owned()))
}

/// Binary curves, and primes of less than 224 bits (RFC 8422 5.1.1 withdrew them).
fn is_weak_curve(group: u16) -> bool {
    matches!(group, 0x0001..=0x0014)
}

/// What the answer to a good hello of TLS 1.2 tells.
fn modern(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let Some(seen) = facts.hellos.get("tls1.2") else {
        for id in ["EMS-001", "REN-001", "COMP-001"] {
            if let Some(why) = bench.why_unasked() {
                bench.inconclusive(id, why, 1);
            }
        }
        return;
    };
    // Any answer of TLS 1.2 or before tells as much.
    let older = facts.hellos.values().filter_map(Seen::known);
    let older = older
        .into_iter()
        .find(|it| it.version.is_some_and(|it| it > SSL3 && it < TLS13));
    let Some(answer) = seen.known().filter(|it| it.is_taken()).or(older) else {
        for id in ["EMS-001", "REN-001", "COMP-001"] {
            if hello(bench, id, seen).is_some() {
                bench.not_applicable(id, "nothing older than TLS 1.3 is spoken");
            }
        }
        return;
    };
    let has = |extension: u16| answer.extensions.contains(&extension);
    bench.yes_or_no("EMS-001", !has(23), "not taken", "taken");
    bench.yes_or_no("REN-001", !has(0xff01), "not signalled", "signalled");
    let compressed = facts
        .hellos
        .values()
        .filter_map(Seen::known)
        .any(|it| it.compression == Some(1));
    bench.yes_or_no("COMP-001", compressed, "DEFLATE was chosen", "not taken");
    let others = [(22, "encrypt-then-MAC"), (15, "heartbeat"), (35, "tickets")];
    let there: Vec<&str> = others
        .iter()
        .filter(|(id, _)| has(*id))
        .map(|it| it.1)
        .collect();
    bench.info("EXT-001", there.join(", "));
    fallback(bench);
    if let Some(answer) = answer_to(bench, "ALPN-001", "alpn") {
        match answer.alert {
            Some(120) => bench.pass("ALPN-001", "refused with alert 120"),
            Some(other) => bench.info("ALPN-001", format!("refused with alert {other}")),
            None => bench.info("ALPN-001", "a foreign protocol is passed over"),
        }
    }
}

/// RFC 7507: it matters only where there is something to fall back from.
fn fallback(bench: &mut Bench<'_>) {
    if !(has_version(bench, TLS13) && has_version(bench, TLS12)) {
        return;
    }
    if let Some(answer) = answer_to(bench, "SCSV-001", "scsv") {
        match answer.alert {
            Some(86) => bench.pass("SCSV-001", "refused with alert 86"),
            // TLS 1.3 has a mark of its own against that, which the client checks (RFC 9846 4.1.3).
            _ => bench.info(
                "SCSV-001",
                "not looked at; TLS 1.3's own mark protects clients of today",
            ),
        }
    }
}

/// Weaknesses that follow from what was seen: there where it is there, and else told or not told as the check they rest on.
fn inferred(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let answers: Vec<&HelloAnswer> = facts.hellos.values().filter_map(Seen::known).collect();
    let named = |class: &str| {
        let found = chosen(bench, class);
        (!found.is_empty()).then(|| found.join(", "))
    };
    let is_cbc = |it: &&&HelloAnswer| {
        let old = it.version.is_some_and(|version| version <= TLS10);
        old && it.suite.and_then(suites::suite).is_some_and(Suite::is_cbc)
    };
    let is_compressed = answers.iter().any(|it| it.compression == Some(1));
    let smallest = smallest_prime(&answers).map(|(bits, _)| bits);
    let drown = has_version(bench, 0x0002);
    let drown = drown.then(|| "SSL 2 is spoken with this certificate".to_owned());
    let (freak, sweet32) = (named("EXP"), named("3DES"));
    let logjam = smallest.filter(|bits| *bits <= 1024);
    let logjam = logjam.map(|bits| format!("a prime of {bits} bits"));
    let beast = answers.iter().find(is_cbc);
    let beast = beast.map(|_| "CBC in TLS 1.0 or before".to_owned());
    let crime = is_compressed.then(|| "DEFLATE was chosen".to_owned());
    // A long prime settles it where the key exchange itself is there.
    let long = smallest.filter(|bits| *bits > 1024);
    let rows = [
        ("VUL-DROWN", "TLS-SSL2", drown),
        ("VUL-FREAK", "CIPH-EXP", freak),
        ("VUL-LOGJAM", "CIPH-DHE", logjam),
        ("VUL-SWEET32", "CIPH-3DES", sweet32),
        ("VUL-BEAST", "TLS-10", beast),
        ("VUL-CRIME", "COMP-001", crime),
    ];
    for (id, base, found) in rows {
        match (found, long) {
            (Some(evidence), _) => bench.fail(id, evidence),
            (None, Some(bits)) if id == "VUL-LOGJAM" => {
                bench.pass(id, format!("no prime of less than {bits} bits was seen"));
            }
            (None, _) => follow(bench, id, base),
        }
    }
}

/// As good, or as uncertain, as the check it rests on. Where that found a fault of its own nothing is said.
fn follow(bench: &mut Bench<'_>, id: &str, base: &str) {
    let Some(base) = bench.checks.iter().find(|it| it.rule.id == base) else {
        return;
    };
    let (status, evidence, missing) = (base.status, base.evidence.clone(), base.missing);
    match status {
        Status::Pass => bench.pass(id, evidence),
        Status::Inconclusive => bench.inconclusive(id, evidence, missing),
        Status::NotApplicable => bench.not_applicable(id, evidence),
        Status::Fail | Status::Warn | Status::Info => {}
    }
}

/// What deep probes listed.
fn lists(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let of = |prefix: &str| {
        let rounds = facts
            .hellos
            .iter()
            .filter(|(name, _)| name.starts_with(prefix));
        rounds
            .filter_map(|(_, seen)| seen.known())
            .collect::<Vec<_>>()
    };
    let mut suites: Vec<String> = Vec::new();
    for prefix in ["suites", "weak", "legacy"] {
        for number in of(prefix).iter().filter_map(|it| it.suite) {
            let label = suite_label(number).into_owned();
            if !suites.contains(&label) {
                suites.push(label);
            }
        }
    }
    let lanes = || {
        facts
            .hellos
            .iter()
            .filter(|(name, _)| name.starts_with("suites"))
    };
    match lanes()
        .map(|(_, seen)| seen)
        .find(|seen| seen.known().is_none())
    {
        Some(unanswered) => {
            bench.answer("CIPH-LIST", unanswered);
        }
        None if lanes().next().is_some() => bench.info("CIPH-LIST", suites.join(" ")),
        None => {}
    }
    let groups: Vec<String> = of("groups-")
        .iter()
        .filter_map(|it| it.group)
        .map(|group| group_label(group).into_owned())
        .collect();
    if facts.hellos.contains_key("groups-1") {
        bench.info("KEX-GRP", groups.join(" "));
    }
}
