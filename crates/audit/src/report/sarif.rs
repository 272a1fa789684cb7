//! SARIF 2.1.0 (OASIS): what editors and review tools show beside the lines. The level follows from the severity.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::check::document::{Check, Report};
use crate::finding::{Finding, Severity, Status};
use crate::rules::Rule;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The log of one run. `version` is that of the program.
#[must_use]
pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let rules: Rules<'_> = findings.iter().map(|it| (it.rule.id, it.rule)).collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| result(finding, place(&rules, finding.rule.id)))
        .collect();
    log(&rules, &results, version)
}

/// The log of a check of live servers. They have no lines: a result stands at a logical location, the service or the domain. What could
/// not be told is open, which is neither a failure nor a pass; what is good is not in the log.
#[must_use]
pub fn sarif_of_checks(report: &Report, version: &str) -> Value {
    let told: Vec<(String, &Check)> = report
        .checks()
        .filter(|(_, it)| it.is_finding() || it.status == Status::Inconclusive)
        .collect();
    let rules: Rules<'_> = told.iter().map(|(_, it)| (it.rule.id, it.rule)).collect();
    let results: Vec<Value> = told
        .iter()
        .map(|(subject, it)| answer(subject, it, place(&rules, it.rule.id)))
        .collect();
    log(&rules, &results, version)
}

/// The rules named in a log, by id.
type Rules<'a> = BTreeMap<&'a str, &'a Rule>;

fn place(rules: &Rules<'_>, id: &str) -> usize {
    rules.keys().position(|it| *it == id).unwrap_or_default()
}

fn answer(subject: &str, check: &Check, index: usize) -> Value {
    let advice = check.fix.as_deref();
    let advice = advice.map_or_else(String::new, |fix| format!(" What to do: {fix}"));
    let (kind, level) = if check.status == Status::Inconclusive {
        ("open", "none")
    } else {
        ("fail", level(check.severity))
    };
    json!({
        "ruleId": check.rule.id, "ruleIndex": index, "kind": kind, "level": level,
        "message": { "text": format!("{subject}: {}: {}{advice}", check.evidence, check.rule.text) },
        "locations": [{ "logicalLocations": [{ "fullyQualifiedName": subject, "kind": "resource" }] }],
        // The same fault at the same place is the same result in the next run.
        "partialFingerprints": { "gatepost/check/v1": format!("{}@{subject}", check.rule.id) },
        "properties": { "severity": check.severity.word(), "missingConnections": check.missing },
    })
}

fn log(rules: &Rules<'_>, results: &[Value], version: &str) -> Value {
    let described: Vec<Value> = rules.values().map(|it| describe(it)).collect();
    json!({
        "$schema": SCHEMA, "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "gatepost", "version": version, "rules": described } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn describe(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.text },
        "help": { "text": format!("{} Source: {}.", rule.text, rule.source) },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "severity": rule.severity.word(), "source": rule.source, "versions": rule.versions },
    })
}

fn result(finding: &Finding, index: usize) -> Value {
    let advice = finding.fix.as_deref();
    let advice = advice.map_or_else(String::new, |fix| format!(" Write: {fix}"));
    json!({
        "ruleId": finding.rule.id, "ruleIndex": index, "level": level(finding.rule.severity),
        "message": { "text": format!("{}: {}{advice}", finding.evidence, finding.rule.text) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.place.file) },
            "region": { "startLine": finding.place.line.max(1), "startColumn": finding.place.column.max(1) },
        } }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// A path as a relative reference (RFC 3986): everything but unreserved letters and `/` escaped.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for octet in path.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Place;
    use crate::rules;

    #[test]
    fn a_finding_is_one_result_and_its_rule_stands_once() {
        let finding = Finding {
            rule: rules::find("PF-AUTH-CLEAR").unwrap(),
            evidence: "smtpd_tls_auth_only = no".to_owned(),
            fix: Some("smtpd_tls_auth_only = yes".to_owned()),
            place: Place {
                file: "a b/main.cf".to_owned(),
                line: 3,
                column: 23,
            },
        };
        let log = sarif(&[finding.clone(), finding], "1");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 1);
        assert_eq!(run["results"].as_array().unwrap().len(), 2);
        assert_eq!(run["results"][0]["level"], "error");
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/main.cf");
        assert_eq!(place["region"]["startColumn"], 23);
    }

    #[test]
    fn what_could_not_be_told_is_open_and_what_is_good_is_not_there() {
        let log = sarif_of_checks(&crate::check::samples::report(), "1");
        let results = log["runs"][0]["results"].as_array().unwrap();
        let kinds: Vec<(&str, &str, &str)> = results
            .iter()
            .map(|it| {
                (
                    it["ruleId"].as_str().unwrap(),
                    it["kind"].as_str().unwrap(),
                    it["level"].as_str().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("STS-001", "fail", "warning"),
            ("STLS-001", "fail", "error"),
            ("INJ-001", "open", "none"),
            ("CERT-NAME", "fail", "error"),
        ];
        assert_eq!(kinds, expected);
        let rules = log["runs"][0]["tool"]["driver"]["rules"]
            .as_array()
            .unwrap();
        for it in results {
            let index = usize::try_from(it["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], it["ruleId"]);
        }
    }
}
