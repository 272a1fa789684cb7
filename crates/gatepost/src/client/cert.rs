//! `gatepost cert`: what a certificate says, and what is wrong with a chain.

use std::time::SystemTime;

use clap::{Arg, ArgMatches, Command};
use gatepost_trust::cert::{self, Description, Finding, LintTerms, Severity};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::flags::{self, Topic};
use super::settings::Settings;
use super::text::{plain, utc};
use super::url::{Host, Url};
use super::{reach, terms};
use crate::exit::Failure;
use crate::whole;

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let what = || {
        Arg::new("what")
            .value_name("FILE|URL")
            .required(true)
            .help("A file with a chain (PEM, or one certificate in DER), or a server such as imaps://mail.example.org")
    };
    let topics = [Topic::Tls, Topic::Trust, Topic::Network, Topic::Output];
    Command::new("cert")
        .about("Certificates: what they say, and what is wrong with them")
        .after_help(
            "Examples:\n  gatepost cert show chain.pem\n  gatepost cert show smtp://mail.example.org\n  \
             gatepost cert lint chain.pem --host mail.example.org\n  gatepost cert lint submissions://mail.example.org --severity warn\n\n\
             Exit codes of lint: 0 nothing found, 1 findings at or above the severity, 2 wrong usage, 3 could not tell.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(flags::add(
            Command::new("show")
                .about("Print what each certificate says, with its pins and TLSA record")
                .arg(what()),
            &topics,
        ))
        .subcommand(flags::add(
            Command::new("lint")
                .about("Look a chain over as its operator would put it on a server")
                .arg(what())
                .arg(
                    Arg::new("host")
                        .long("host")
                        .value_name("NAME")
                        .help("The host it is to be used for [default: the URL's]"),
                )
                .arg(
                    Arg::new("severity")
                        .long("severity")
                        .value_name("LEVEL")
                        .value_parser(["info", "warn", "fail"])
                        .default_value("fail")
                        .help("Findings from this level on make the exit code 1"),
                ),
            &topics,
        ))
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let (verb, own) = given
        .subcommand()
        .ok_or_else(|| Failure::usage("no such verb; see gatepost cert --help"))?;
    let what = own.get_one::<String>("what").cloned().unwrap_or_default();
    let (chain, host) = chain(&what, own)?;
    let as_json = own.get_flag("json");
    match verb {
        "show" => show(&chain, as_json),
        _ => lint(&chain, host, own, as_json),
    }
}

/// The chain in a file or of a server, and the server's host.
pub(crate) fn chain(
    what: &str,
    given: &ArgMatches,
) -> Result<(Vec<CertificateDer<'static>>, Option<Host>), Failure> {
    if what.contains("://") {
        let url = Url::parse(what).map_err(Failure::usage)?;
        let chain = reach::chain_of(&url, given)?;
        return Ok((chain, Some(url.host)));
    }
    let octets = whole::read(std::path::Path::new(what)).map_err(|error| {
        Failure::usage(format!(
            "cannot read {what}: {error}; for a server write a URL"
        ))
    })?;
    let chain =
        cert::read_chain(&octets).map_err(|error| Failure::usage(format!("{what}: {error}")))?;
    Ok((chain, None))
}

fn show(chain: &[CertificateDer<'static>], as_json: bool) -> Result<(), Failure> {
    let all: Vec<Description> = chain
        .iter()
        .map(|it| cert::describe(it).map_err(|error| Failure::finding(error.to_string())))
        .collect::<Result<_, _>>()?;
    if as_json {
        let certificates: Vec<Value> = all.iter().map(describe_as_json).collect();
        println!(
            "{}",
            json!({"schema": "gatepost-cert-1", "certificates": certificates})
        );
        return Ok(());
    }
    print!("{}", tree(&all, true));
    Ok(())
}

/// The chain as a tree, the server's certificate first. In full, or as far as one looks at in passing.
pub(crate) fn tree(chain: &[Description], full: bool) -> String {
    let mut text = String::new();
    for (depth, it) in chain.iter().enumerate() {
        let indent = "   ".repeat(depth);
        let branch = if depth == 0 { "" } else { "└─ " };
        let lead = if depth == 0 {
            String::new()
        } else {
            "   ".repeat(depth - 1)
        };
        let subject = if it.subject.is_empty() {
            "(no subject)"
        } else {
            &it.subject
        };
        text.push_str(&format!("{lead}{branch}{}\n", plain(subject)));
        for (name, value) in facts(it, full) {
            text.push_str(&format!("{indent}   {name:<11} {value}\n"));
        }
    }
    if let Some(last) = chain.last().filter(|last| !last.is_self_issued) {
        let lead = "   ".repeat(chain.len() - 1);
        text.push_str(&format!("{lead}└─ (issued by {})\n", plain(&last.issuer)));
    }
    text
}

fn facts(it: &Description, full: bool) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if !it.names.is_empty() {
        let names: Vec<String> = it.names.iter().map(|name| plain(name)).collect();
        facts.push(("for", names.join(", ")));
    }
    facts.push((
        "good",
        format!("{} to {}", utc(it.not_before), utc(it.not_after)),
    ));
    facts.push(("key", format!("{}, signed with {}", it.key, it.signature)));
    facts.push(("key pin", it.key_pin.to_string()));
    if !full {
        return facts;
    }
    facts.push(("cert pin", it.certificate_pin.to_string()));
    facts.push(("TLSA", it.tlsa.to_string()));
    facts.push(("serial", it.serial.clone()));
    let mut marks = Vec::new();
    for (holds, mark) in [
        (it.is_authority, "is an authority"),
        (it.is_self_issued, "issued by itself"),
        (it.for_servers, "may be used by TLS servers"),
        (it.must_staple, "must come with an OCSP answer"),
    ] {
        if holds {
            marks.push(mark);
        }
    }
    facts.push(("marks", marks.join(", ")));
    for (name, urls) in [
        ("CRL", &it.crl_urls),
        ("OCSP", &it.ocsp_urls),
        ("issuer at", &it.issuer_urls),
    ] {
        facts.extend(urls.iter().map(|url| (name, plain(url))));
    }
    facts.push(("CT", format!("{} timestamps", it.timestamps.len())));
    facts
}

/// One certificate, for schemas that hold a chain.
pub(crate) fn describe_as_json(it: &Description) -> Value {
    json!({
        "subject": it.subject,
        "issuer": it.issuer,
        "serial": it.serial,
        "names": it.names,
        "common_names": it.common_names,
        "not_before": utc(it.not_before),
        "not_after": utc(it.not_after),
        "key": it.key.to_string(),
        "signature": it.signature.to_string(),
        "authority": it.is_authority,
        "self_issued": it.is_self_issued,
        "for_servers": it.for_servers,
        "must_staple": it.must_staple,
        "key_pin": it.key_pin.to_string(),
        "certificate_pin": it.certificate_pin.to_string(),
        "tlsa": it.tlsa.to_string(),
        "crl_urls": it.crl_urls,
        "ocsp_urls": it.ocsp_urls,
        "issuer_urls": it.issuer_urls,
        "timestamps": it.timestamps.len(),
    })
}

fn lint(
    chain: &[CertificateDer<'static>],
    host: Option<Host>,
    given: &ArgMatches,
    as_json: bool,
) -> Result<(), Failure> {
    let named = given
        .get_one::<String>("host")
        .map(|name| {
            Host::parse(name).map_err(|problem| Failure::usage(format!("--host: {problem}")))
        })
        .transpose()?;
    let reference = named
        .or(host)
        .map(|host| terms::reference(&host))
        .transpose()?;
    let settings = Settings::read(given)?;
    // Without authorities that were named nobody says whom clients trust.
    let is_named = !settings.ca.is_empty();
    let roots = is_named.then(|| terms::roots(&settings)).transpose()?;
    let lint_terms = LintTerms {
        host: reference.as_ref(),
        roots: roots.as_ref(),
        now: SystemTime::now(),
    };
    let findings = cert::lint(chain, &lint_terms);
    if as_json {
        let findings: Vec<Value> = findings.iter().map(finding_as_json).collect();
        println!(
            "{}",
            json!({"schema": "gatepost-cert-lint-1", "certificates": chain.len(), "findings": findings})
        );
    } else if findings.is_empty() {
        println!("nothing found in {} certificates", chain.len());
    } else {
        for finding in &findings {
            println!(
                "{}\n     {}",
                plain(&finding.to_string()),
                finding.rule.fix()
            );
        }
    }
    let threshold = match given.get_one::<String>("severity").map(String::as_str) {
        Some("info") => Severity::Info,
        Some("warn") => Severity::Warn,
        _ => Severity::Fail,
    };
    let count = findings
        .iter()
        .filter(|it| it.severity >= threshold)
        .count();
    if count == 0 {
        return Ok(());
    }
    Err(Failure::finding(format!(
        "{count} findings at or above {}",
        threshold.label()
    )))
}

fn finding_as_json(finding: &Finding) -> Value {
    json!({
        "rule": finding.rule.id(),
        "severity": finding.severity.label(),
        "certificate": finding.position,
        "text": finding.text,
        "fix": finding.rule.fix(),
    })
}
