//! Findings, told: text for people, JSON with a version for programs, SARIF for the tools that show findings beside the lines.
//!
//! | module | for |
//! |---|---|
//! | this one, [`sarif`] | findings in files, each at its line |
//! | [`terminal`], [`html`], [`summary_page`], [`junit`], [`csv`], [`prometheus`], [`sarif`] | checks of live servers |
//! | [`parquet`] | checks of lists, as columns |
//! | [`page`] | the frame of a page |

pub mod csv;
pub mod facts;
pub mod html;
pub mod junit;
pub mod page;
pub mod parquet;
pub mod prometheus;
pub mod sarif;
pub mod summary_page;
pub mod terminal;

use std::fmt::Write;

use serde_json::{Value, json};

use crate::finding::{Finding, Severity};
use crate::shown::shown;

/// Goes up when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Text for a terminal. What was read is shown with control characters escaped: a file must not drive the terminal.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    text_with(findings, &|_, _| None)
}

/// The same, with the line itself and a mark under the column where `line` knows it.
#[must_use]
pub fn text_with<'a>(
    findings: &[Finding],
    line: &dyn Fn(&str, usize) -> Option<&'a str>,
) -> String {
    let mut out = String::new();
    for finding in findings {
        let (rule, place) = (finding.rule, &finding.place);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}:{}:{}: {} {}\n{}\n    {}",
            shown(&place.file),
            place.line,
            place.column,
            rule.severity.word(),
            rule.id,
            marked(finding, line(&place.file, place.line)),
            rule.text
        );
        for fix in finding.fix.iter().flat_map(|fix| fix.lines()) {
            let _ = writeln!(out, "    write: {}", shown(fix));
        }
        let _ = writeln!(out, "    source: {}", rule.source);
    }
    out
}

/// What was read, with a mark under the column when it is the line itself.
fn marked(finding: &Finding, line: Option<&str>) -> String {
    // Longer lines would push the mark out of sight.
    const WIDEST: usize = 160;
    let whole = line
        .map(|line| line.trim_end().replace('\t', " "))
        .filter(|line| line.chars().count() <= WIDEST && !line.chars().any(char::is_control));
    let Some(whole) = whole else {
        return format!("    {}", shown(&finding.evidence));
    };
    let mark = " ".repeat(finding.place.column.saturating_sub(1));
    // What the line does not say itself: a value that goes on over several lines, what a file holds.
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let more = if dense(&whole).contains(&dense(&finding.evidence)) {
        String::new()
    } else {
        format!("\n    {}", shown(&finding.evidence))
    };
    format!("    {whole}\n    {mark}^{more}")
}

/// One JSON object.
#[must_use]
pub fn json(findings: &[Finding]) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "id": finding.rule.id, "severity": finding.rule.severity.word(), "text": finding.rule.text,
                "source": finding.rule.source, "evidence": finding.evidence, "fix": finding.fix,
                "file": finding.place.file, "line": finding.place.line, "column": finding.place.column,
            })
        })
        .collect();
    json!({ "schema": SCHEMA, "findings": findings })
}

/// A number and its noun.
pub(crate) fn plural(count: u32, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// 1 when a finding is at or above the threshold, else 0.
#[must_use]
pub fn exit_code(findings: &[Finding], fail_on: Severity) -> u8 {
    u8::from(
        findings
            .iter()
            .any(|finding| finding.rule.severity >= fail_on),
    )
}
