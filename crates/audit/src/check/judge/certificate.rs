//! The certificate: who vouches, for whom, how long, and how it is made. The judge of `trust` looked at it in the handshake; its lint tells the rest.

use std::time::{Duration, SystemTime};

use gatepost_trust::cert::{self, Description, LintTerms, Rule, Timestamp};
use gatepost_trust::verify::{PublicKeyKind, Reference};
use gatepost_wire::calendar::civil;
use rustls_pki_types::CertificateDer;

use super::Bench;
use crate::check::probes::hello::hex;
use crate::finding::Severity;

/// The most logs that are told one by one.
const SHOWN_LOGS: usize = 8;

pub(super) fn judge(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let refuses_name = facts
        .handshake_failed
        .as_ref()
        .is_some_and(|it| it.alert == Some(112));
    if refuses_name {
        let evidence = "the server has no certificate for this name (alert 112, unrecognized_name)";
        bench.fail("CERT-NAME", evidence);
        return;
    }
    let chains = facts.chains();
    let chain = chains.first().map_or(&[][..], Vec::as_slice);
    let Some(first) = chain.first() else {
        if let Some(why) = bench.why_unasked() {
            for id in [
                "CERT-NAME",
                "CERT-CHAIN",
                "CERT-DATE",
                "CERT-LIFE",
                "CERT-KEY",
                "CERT-SIG",
                "CERT-EKU",
                "CERT-CT",
            ] {
                bench.inconclusive(id, why.clone(), 1);
            }
        }
        return;
    };
    let Ok(leaf) = cert::describe(first) else {
        bench.fail("CERT-CHAIN", "the certificate cannot be read");
        return;
    };
    let reference = Reference::host(facts.target.host.trim_end_matches('.')).ok();
    let terms = LintTerms {
        host: reference.as_ref(),
        roots: None,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(facts.at),
    };
    let lint = cert::lint(chain, &terms);
    trust(bench, &leaf, reference.as_ref());
    dates(bench, &leaf, &terms);
    let told = |rules: &[Rule]| {
        let texts = lint
            .iter()
            .filter(|it| rules.contains(&it.rule))
            .map(|it| it.text.clone());
        texts.collect::<Vec<_>>().join("; ")
    };
    simple(bench, "CERT-LIFE", &told(&[Rule::Life]), "short enough");
    key(bench, &leaf);
    simple(
        bench,
        "CERT-SIG",
        &told(&[Rule::Signature]),
        "SHA-256 or better",
    );
    let usage = told(&[Rule::Purpose, Rule::KeyUsage, Rule::Authority]);
    simple(bench, "CERT-EKU", &usage, "for TLS servers");
    revocation(bench, &leaf);
    transparency(bench, &leaf);
    let wild = told(&[Rule::Wildcard]);
    if !wild.is_empty() {
        bench.info("CERT-WILD", wild);
    }
    several(bench, &chains);
}

/// Trust and name. For an exchanger most senders look at neither; with DANE or MTA-STS the domain's checks say more.
fn trust(bench: &mut Bench<'_>, leaf: &Description, host: Option<&Reference>) {
    let facts = bench.facts;
    let of_role = |key: &str| {
        if bench.is_mx() {
            bench.profile.severity(key)
        } else {
            Severity::Critical
        }
    };
    let (for_chain, for_name) = (of_role("mx-chain"), of_role("mx-trust"));
    let Some(handshake) = facts.handshake.known() else {
        bench.inconclusive(
            "CERT-CHAIN",
            "there was no full handshake to judge it in",
            1,
        );
        return;
    };
    let of = |kinds: &[&str]| {
        let wanted = handshake
            .verdict
            .iter()
            .filter(|it| kinds.contains(&it.kind.as_str()));
        wanted
            .filter(|it| it.status == "fail")
            .filter_map(|it| it.reason.clone())
            .collect::<Vec<_>>()
    };
    let chain = of(&["chain", "signature", "usage"]);
    if chain.is_empty() {
        bench.pass_as(
            "CERT-CHAIN",
            for_chain,
            format!("issued by {}", leaf.issuer),
        );
    } else {
        bench.fail_as("CERT-CHAIN", for_chain, chain.join("; "));
    }
    let name = of(&["name"]);
    let names = leaf.names.join(", ");
    if name.is_empty() {
        bench.pass_as("CERT-NAME", for_name, names);
    } else if let Some((host, hidden)) =
        host.and_then(|it| leaf.hidden_name(it).map(|hidden| (it, hidden)))
    {
        common_name(bench, for_name, host, hidden);
    } else {
        bench.fail_as("CERT-NAME", for_name, name.join("; "));
    }
}

/// [CONF-04] The right name in the wrong place: old clients take it, so the operator finds nothing wrong.
fn common_name(bench: &mut Bench<'_>, severity: Severity, host: &Reference, hidden: &str) {
    let evidence = format!(
        "the name stands in the common name alone (CN = {hidden}), where clients that follow RFC 9525 do not look"
    );
    bench.fail_as("CERT-NAME", severity, evidence);
    let kind = match host {
        Reference::Ip(_) => "IP",
        _ => "DNS",
    };
    if let Some(check) = bench.checks.last_mut().filter(|it| it.is_finding()) {
        check.fix = Some(format!(
            "have the certificate issued anew with subjectAltName = {kind}:{host}; authorities of today write it by themselves, with your own: openssl req -addext \"subjectAltName = {kind}:{host}\""
        ));
    }
}

/// A third of its life, as automatic renewal has it.
fn dates(bench: &mut Bench<'_>, leaf: &Description, terms: &LintTerms<'_>) {
    let now = terms.now;
    let severity = if bench.is_mx() && bench.profile.severity("mx-trust") == Severity::Info {
        Severity::Medium
    } else {
        Severity::Critical
    };
    let life = leaf
        .not_after
        .duration_since(leaf.not_before)
        .unwrap_or_default();
    let days = |time: Duration| time.as_secs() / 86_400;
    match leaf.not_after.duration_since(now) {
        _ if now < leaf.not_before => {
            bench.fail_as("CERT-DATE", severity, "it begins in the future");
        }
        Err(since) => {
            let evidence = format!("it ended {} days ago", days(since.duration()));
            bench.fail_as("CERT-DATE", severity, evidence);
        }
        Ok(left) if left < life / 3 => {
            let evidence = format!("{} of {} days are left", days(left), days(life));
            bench.warn("CERT-DATE", evidence);
            if let Some(check) = bench.checks.last_mut() {
                check.severity = if left < life / 6 {
                    Severity::Medium
                } else {
                    Severity::Low
                };
            }
        }
        Ok(left) => {
            let evidence = format!("{} of {} days are left", days(left), days(life));
            bench.pass_as("CERT-DATE", severity, evidence);
        }
    }
}

fn simple(bench: &mut Bench<'_>, id: &str, bad: &str, good: &str) {
    bench.yes_or_no(id, !bad.is_empty(), bad, good);
}

fn key(bench: &mut Bench<'_>, leaf: &Description) {
    let wanted = bench.profile.bits("rsa");
    let key = leaf.key.to_string();
    match leaf.key {
        PublicKeyKind::Rsa(bits) if bits < 2048 => bench.fail("CERT-KEY", key),
        PublicKeyKind::Rsa(bits) if bits < wanted => {
            bench.fail_as(
                "CERT-KEY",
                Severity::Low,
                format!("{key}; this profile wants {wanted} bits"),
            );
        }
        PublicKeyKind::OtherCurve(bits) if bits < 224 => bench.fail("CERT-KEY", key),
        _ => bench.pass("CERT-KEY", key),
    }
}

fn revocation(bench: &mut Bench<'_>, leaf: &Description) {
    let facts = bench.facts;
    let Some(handshake) = facts.handshake.known() else {
        return;
    };
    let kinds = ["revocation", "staple", "must-staple"];
    let of = |status: &str| {
        let mut all = handshake.verdict.iter();
        all.find(|it| kinds.contains(&it.kind.as_str()) && it.status == status)
    };
    if let Some(bad) = of("fail") {
        bench.fail("CERT-REV", bad.reason.clone().unwrap_or_default());
    } else if handshake.staple > 0 {
        bench.pass("CERT-REV", "a stapled answer says it is good");
    } else if leaf.must_staple {
        bench.fail(
            "CERT-REV",
            "it must come with an OCSP answer, and came without",
        );
    } else {
        // Lists are not fetched: that would tell a third party what is examined.
        bench.info("CERT-REV", "nothing stapled; lists were not fetched");
    }
}

/// [CT-01] What public logs promise, told and not verified: that takes a list of logs, and mail clients have none. A certificate that is known by
/// DANE needs no log (RFC 7671 4.2), so to have none is no fault.
fn transparency(bench: &mut Bench<'_>, leaf: &Description) {
    let at = bench.facts.at;
    let stamps = &leaf.timestamps;
    if stamps.is_empty() {
        bench.info("CERT-CT", "no timestamps of logs in the certificate");
        return;
    }
    let mut told: Vec<String> = stamps.iter().take(SHOWN_LOGS).map(stamp).collect();
    if stamps.len() > SHOWN_LOGS {
        told.push(format!("and {} more", stamps.len() - SHOWN_LOGS));
    }
    let list = told.join("; ");
    if stamps.iter().any(|it| it.milliseconds / 1000 > at) {
        // RFC 6962 5.2: such a one is rejected.
        let evidence = format!("a timestamp lies in the future: {list}");
        bench.warn("CERT-CT", evidence);
        return;
    }
    let (count, noun) = match stamps.len() {
        1 => (1, "timestamp"),
        count => (count, "timestamps"),
    };
    bench.pass(
        "CERT-CT",
        format!(
            "{count} {noun} in the certificate, whose signatures are not verified (no list of logs is kept): {list}"
        ),
    );
}

/// `log a0b1… at 2026-11-27T18:00:00Z`.
fn stamp(stamp: &Timestamp) -> String {
    let seconds = stamp.milliseconds / 1000;
    let days = i64::try_from(seconds / 86_400).unwrap_or(i64::MAX);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let log = hex(&stamp.log);
    format!("log {log} at {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Every certificate that was seen, by its key.
fn several(bench: &mut Bench<'_>, chains: &[Vec<CertificateDer<'_>>]) {
    let mut kinds: Vec<String> = Vec::new();
    let leaves = chains.iter().filter_map(|it| it.first());
    for leaf in leaves.filter_map(|it| cert::describe(it).ok()) {
        let kind = leaf.key.to_string();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    bench.info("CERT-MULTI", kinds.join(", "));
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use gatepost_testkit::pki::Authority;

    use crate::check::document::Check;
    use crate::check::facts::{Facts, Reach, Seen};
    use crate::check::profile::{DEFAULT, Profile};
    use crate::check::samples;
    use crate::finding::Status;

    /// 2026-11-27 18:00:00 UTC.
    const NOW: u64 = 1_795_802_400;
    /// RFC 6962 3.3.
    const LIST: &[u64] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

    /// The extension's content: an octet string of a list of timestamps (RFC 6962 3.2, 3.3).
    fn list(stamps: &[(u8, u64)]) -> Vec<u8> {
        let counted = |octets: &[u8]| {
            let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
            [&length, octets].concat()
        };
        let all: Vec<u8> = stamps
            .iter()
            .flat_map(|(log, seconds)| {
                let time = (seconds * 1000).to_be_bytes();
                let signature = [&[4, 3][..], &counted(&[7; 9])].concat();
                counted(&[&[0][..], &[*log; 32], &time, &[0, 0], &signature].concat())
            })
            .collect();
        let content = counted(&all);
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[4, 0x82], &length[..], &content].concat()
    }

    fn facts(extension: Option<Vec<u8>>) -> Facts {
        let issued = Authority::root("Root").issue_with(&["mail.example.org"], |it| {
            it.custom_extensions
                .extend(extension.map(|it| rcgen::CustomExtension::from_oid_content(LIST, it)));
        });
        let mut facts = samples::facts().remove(0);
        (facts.at, facts.stopped) = (NOW, None);
        if let Seen::Known(handshake) = &mut facts.handshake {
            handshake.chain = vec![BASE64.encode(&issued.certificate)];
        }
        facts
    }

    fn transparent(facts: &Facts) -> Option<Check> {
        let judged = super::super::judge(facts, &Profile::find(DEFAULT).unwrap());
        judged.checks.into_iter().find(|it| it.rule.id == "CERT-CT")
    }

    // [CT-01]
    #[test]
    fn timestamps_of_logs_are_told_one_by_one_and_to_have_none_is_no_fault() {
        let told = transparent(&facts(Some(list(&[(0xa1, NOW - 60), (0xb2, NOW)])))).unwrap();
        assert_eq!(told.status, Status::Pass);
        let logs = ["a1", "b2"].map(|it| it.repeat(32));
        let expected = format!(
            "2 timestamps in the certificate, whose signatures are not verified (no list of logs is kept): \
             log {} at 2026-11-27T17:59:00Z; log {} at 2026-11-27T18:00:00Z",
            logs[0], logs[1]
        );
        assert_eq!(told.evidence, expected);
        assert_eq!(transparent(&facts(None)).unwrap().status, Status::Info);
        let future = list(&[(0xa1, NOW), (0xb2, NOW + 1)]);
        assert_eq!(
            transparent(&facts(Some(future))).unwrap().status,
            Status::Warn
        );
        // A list without end is cut.
        let many = transparent(&facts(Some(list(&[(1, 0); 40])))).unwrap();
        assert!(many.evidence.ends_with("and 32 more"), "{}", many.evidence);
    }

    // [CT-01]
    #[test]
    fn without_a_certificate_nothing_is_said_of_logs() {
        let reach = Reach::Connected { milliseconds: 1 };
        let mut facts = Facts::new(samples::target("mail.example.org", 25), NOW, reach);
        assert!(transparent(&facts).is_none());
        facts.stopped = Some("421 too many".to_owned());
        assert_eq!(transparent(&facts).unwrap().status, Status::Inconclusive);
    }

    #[test]
    fn a_list_cut_anywhere_is_never_taken_for_a_whole_one() {
        let whole = list(&[(0xa1, NOW)]);
        for cut in 0..whole.len() {
            let told = transparent(&facts(Some(whole[..cut].to_vec())));
            let passes = told.is_some_and(|it| it.status == Status::Pass);
            assert!(!passes, "{cut}");
        }
        // As long as a time can be.
        let mut last = list(&[(0xa1, 0)]);
        let at = last.len() - 9 - 4 - 2 - 8;
        last[at..at + 8].fill(0xff);
        let told = transparent(&facts(Some(last))).unwrap();
        assert_eq!(told.status, Status::Warn, "{}", told.evidence);
    }
}
