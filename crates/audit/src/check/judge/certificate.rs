//! The certificate: who vouches, for whom, how long, and how it is made. The judge of `trust` looked at it in the handshake; its lint tells the rest.

use std::time::{Duration, SystemTime};

use gatepost_trust::cert::{self, Description, LintTerms, Rule};
use gatepost_trust::verify::{PublicKeyKind, Reference};
use rustls_pki_types::CertificateDer;

use super::Bench;
use crate::finding::Severity;

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
        if let Some(why) = &facts.stopped {
            for id in ["CERT-NAME", "CERT-CHAIN", "CERT-DATE"] {
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
    if leaf.timestamps > 0 {
        bench.pass(
            "CERT-CT",
            format!("{} timestamps in the certificate", leaf.timestamps),
        );
    } else {
        bench.info("CERT-CT", "no timestamps in the certificate");
    }
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
