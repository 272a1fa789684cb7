//! Checks as metrics: OpenMetrics text (which Prometheus reads), for a file of the node exporter's or for the page of the watch mode.
//!
//! Labels come from targets and the rule table only; no word of a server's is one.

use std::collections::BTreeSet;

use crate::check::document::{Check, Report};
use crate::check::life::Life;
use crate::check::score;
use crate::finding::Status;

/// The page, with its end mark.
#[must_use]
pub fn metrics(report: &Report, lives: &[Life]) -> String {
    let mut page = Page::default();
    page.family(
        "check_status",
        "gauge",
        "0 good, 1 could be better, 2 wrong, 3 could not be told; -1 does not apply",
    );
    let mut told = BTreeSet::new();
    for (subject, check) in report.checks() {
        let labels = [
            ("target", subject.as_str()),
            ("id", check.rule.id),
            ("severity", check.severity.word()),
        ];
        // A collector refuses a page in which a series stands twice.
        if told.insert((subject.clone(), check.rule.id, check.severity.word())) {
            page.sample("check_status", &labels, value(check));
        }
    }
    page.family(
        "check_connections",
        "gauge",
        "Connections the last look took",
    );
    for it in &report.targets {
        page.sample(
            "check_connections",
            &[("target", &it.target.to_string())],
            i64::from(it.connections),
        );
    }
    page.family(
        "check_score",
        "gauge",
        "Points of 100, by axis; absent when nothing of it was told",
    );
    for it in score::scores(report) {
        if let Some(points) = it.points {
            page.sample(
                "check_score",
                &[("axis", it.axis.label())],
                i64::from(points),
            );
        }
    }
    page.family(
        "check_unanswered",
        "gauge",
        "Questions that could not be answered",
    );
    page.sample(
        "check_unanswered",
        &[],
        whole(score::coverage(report).open as u64),
    );
    for (name, help, of) in LIVES {
        page.family(name, "gauge", help);
        for it in lives {
            page.sample(name, &[("target", &it.subject)], whole(of(it)));
        }
    }
    page.family(
        "check_last_seconds",
        "gauge",
        "When it was looked last, in seconds since 1970",
    );
    page.sample("check_last_seconds", &[], whole(report.at));
    page.text + "# EOF\n"
}

type OfLife = fn(&Life) -> u64;

const LIVES: [(&str, &str, OfLife); 2] = [
    (
        "check_certificate_not_after_seconds",
        "End of the certificate shown, in seconds since 1970",
        |it| it.to,
    ),
    (
        "check_certificate_due_seconds",
        "When a third of its life is left, in seconds since 1970",
        Life::due,
    ),
];

fn value(check: &Check) -> i64 {
    match check.status {
        Status::Pass | Status::Info => 0,
        Status::Warn => 1,
        Status::Fail => 2,
        Status::Inconclusive => 3,
        Status::NotApplicable => -1,
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.text.push_str(&format!(
            "# HELP gatepost_{name} {help}.\n# TYPE gatepost_{name} {kind}\n"
        ));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: i64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        self.text
            .push_str(&format!("gatepost_{name}{labels} {value}\n"));
    }
}

/// In a label a backslash, a quote and the end of a line are escaped.
fn escaped(value: &str) -> String {
    let value = crate::shown::shown(value);
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    #[test]
    fn every_check_is_a_sample_and_no_server_word_is_on_the_page() {
        let lives: Vec<Life> = samples::facts().iter().filter_map(Life::of).collect();
        let page = metrics(&samples::report(), &lives);
        let target = "target=\"smtp://mail.example.org:25 (192.0.2.1)\"";
        assert!(
            page.contains(&format!(
                "gatepost_check_status{{{target},id=\"STLS-001\",severity=\"high\"}} 2\n"
            )),
            "{page}"
        );
        assert!(
            page.contains(&format!(
                "gatepost_check_status{{{target},id=\"INJ-001\",severity=\"critical\"}} 3\n"
            )),
            "{page}"
        );
        assert!(
            page.contains(&format!(
                "gatepost_check_certificate_not_after_seconds{{{target}}} "
            )),
            "{page}"
        );
        assert!(
            page.contains("gatepost_check_score{axis=\"passive\"} 70\n"),
            "{page}"
        );
        assert!(
            page.ends_with("# EOF\n") && !page.contains("script"),
            "{page}"
        );
    }

    #[test]
    fn a_label_cannot_end_itself() {
        let mut report = samples::report();
        report.targets[0].target.host = "a\"} 1\n\\x".to_owned();
        let page = metrics(&report, &[]);
        assert!(page.contains("smtp://a\\\"} 1\\\\u{a}\\\\x:25"), "{page}");
        assert!(
            page.lines()
                .all(|it| it.starts_with("# ") || it.starts_with("gatepost_")),
            "{page}"
        );
    }
}
