//! SARIF 2.1.0 (OASIS): what editors and review tools show beside the lines. The level follows from the severity.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::finding::{Finding, Severity};
use crate::rules::Rule;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The log of one run. `version` is that of the program.
#[must_use]
pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let mut rules: BTreeMap<&str, &Rule> = BTreeMap::new();
    for finding in findings {
        rules.insert(finding.rule.id, finding.rule);
    }
    let place = |id: &str| rules.keys().position(|it| *it == id).unwrap_or_default();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| result(finding, place(finding.rule.id)))
        .collect();
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
}
