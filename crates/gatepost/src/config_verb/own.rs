//! Lint of Gatepost's own configuration: what `serve` would refuse, and what it would do but should not be asked to.

use gatepost_audit::config::{Document, Outcome, Pair};
use gatepost_audit::finding::{Finding, Place};
use gatepost_audit::rules;

use crate::config::{Origin, Values};
use crate::directives;
use crate::serve;

/// Whether a text is one: by its name, or because a section of ours stands in it, and a directive; one that is commented out, as in the sample, will do.
pub(crate) fn looks_like(document: &Document) -> bool {
    if document.leaf() == "gatepost.toml" {
        return true;
    }
    let mut section = "";
    document.text.lines().any(|line| {
        let line = line.trim().trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = name;
            return false;
        }
        let name = line.split('=').next().unwrap_or_default().trim();
        !section.is_empty()
            && line.contains('=')
            && directives::find(&format!("{section}.{name}")).is_some()
    })
}

/// Judges it. Nothing is corrected: what `serve` refuses it refuses with a word about what to write.
pub(crate) fn lint(documents: Vec<Document>) -> Outcome {
    let (mut findings, mut pairs) = (Vec::new(), Vec::new());
    for document in &documents {
        let mut values = Values::defaults();
        if let Err(problems) = values.read_file(&document.text) {
            for problem in problems {
                findings.extend(finding(
                    "GP-INVALID",
                    &problem.text,
                    None,
                    document,
                    problem.place.unwrap_or((1, 1)),
                ));
            }
        } else {
            if let Err(failure) = serve::settings(&values, None) {
                findings.extend(finding(
                    "GP-INVALID",
                    &failure.to_string(),
                    None,
                    document,
                    (1, 1),
                ));
            }
            judge(&values, document, &mut findings);
            pairs.extend(pairs_of(&values, document));
        }
    }
    findings.sort_by_key(|it: &Finding| (it.place.line, it.place.column));
    Outcome {
        findings,
        documents,
        pairs,
        ..Outcome::default()
    }
}

/// The certificates it names. The first is the default one, which must cover the server's own name, as `serve` wants it.
fn pairs_of(values: &Values, document: &Document) -> Vec<Pair> {
    let line = match values.entry("tls.chains") {
        Some((_, Origin::File(line))) => *line,
        _ => 1,
    };
    let (chains, keys) = (values.list("tls.chains"), values.list("tls.keys"));
    let pairs = chains.iter().zip(keys).enumerate();
    pairs
        .map(|(index, (chain, key))| Pair {
            chain: chain.clone(),
            key: key.clone(),
            host: (index == 0).then(|| values.text("server.host").to_lowercase()),
            evidence: format!("tls.chains: {chain}"),
            place: Place {
                file: document.name.clone(),
                line,
                column: 1,
            },
        })
        .collect()
}

fn finding(
    id: &str,
    evidence: &str,
    fix: Option<&str>,
    document: &Document,
    (line, column): (usize, usize),
) -> Option<Finding> {
    Some(Finding {
        rule: rules::find(id)?,
        evidence: evidence.to_owned(),
        fix: fix.map(str::to_owned),
        place: Place {
            file: document.name.clone(),
            line,
            column,
        },
    })
}

fn judge(values: &Values, document: &Document, findings: &mut Vec<Finding>) {
    let mut tell = |id: &str, name: &str, fix: &str| {
        if let Some((value, Origin::File(line))) = values.entry(name) {
            findings.extend(finding(
                id,
                &format!("{name} = {value}"),
                Some(fix),
                document,
                (*line, 1),
            ));
        }
    };
    let loopback = |network: &String| network.starts_with("127.") || network.starts_with("::1");
    if !values.list("login.clear_networks").iter().all(loopback) {
        tell(
            "GP-LOGIN-CLEAR",
            "login.clear_networks",
            "clear_networks = []",
        );
    }
    if values.text("smtp.tls") == "require" {
        tell("GP-SMTP-REQUIRE", "smtp.tls", "tls = \"may\"");
    }
    let open = values
        .list("server.bind")
        .iter()
        .any(|it| it == "0.0.0.0" || it == "::");
    if open && values.number("server.port_offset") > 0 {
        tell("GP-OFFSET-OPEN", "server.bind", "port_offset = 0");
    }
    if open && values.list("tls.chains").is_empty() {
        tell(
            "GP-LOCAL-CA",
            "server.bind",
            "chains = [\"CHAIN-FILE\"]\nkeys = [\"KEY-FILE\"]",
        );
    }
    let metrics = values.text("metrics.listen");
    if !metrics.is_empty() && !metrics.starts_with("127.") && !metrics.starts_with("[::1]") {
        tell(
            "GP-METRICS-OPEN",
            "metrics.listen",
            "listen = \"127.0.0.1:9925\"",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<&'static str> {
        let outcome = lint(vec![Document::new("gatepost.toml", text)]);
        outcome.findings.iter().map(|it| it.rule.id).collect()
    }

    #[test]
    fn what_serve_refuses_and_what_it_should_not_be_asked_is_told() {
        assert_eq!(ids("[server]\ndta = \"x\"\n"), ["GP-INVALID"]);
        assert_eq!(ids("[tls]\nchains = [\"a\"]\n"), ["GP-INVALID"]);
        assert_eq!(
            ids("[login]\nclear_networks = [\"192.0.2.0/24\"]\n"),
            ["GP-LOGIN-CLEAR"]
        );
        assert_eq!(
            ids("[smtp]\ntls = \"require\"\n[metrics]\nlisten = \"0.0.0.0:9925\"\n"),
            ["GP-SMTP-REQUIRE", "GP-METRICS-OPEN"]
        );
        assert_eq!(
            ids("[server]\nbind = [\"0.0.0.0\"]\n"),
            ["GP-OFFSET-OPEN", "GP-LOCAL-CA"]
        );
        // The sample is right as it stands.
        assert!(ids(&crate::directives::sample()).is_empty());
    }

    #[test]
    fn it_is_known_by_its_directives() {
        assert!(looks_like(&Document::new("x", "[server]\nhost = \"a\"\n")));
        assert!(looks_like(&Document::new("x", "[server]\n#host = \"a\"\n")));
        assert!(looks_like(&Document::new("etc/gatepost.toml", "")));
        assert!(!looks_like(&Document::new("x", "[server]\nroot = \"a\"\n")));
    }
}
