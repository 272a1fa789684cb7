//! XML as `JUnit` writes it: what build servers show as tests. A target is a suite, a check is a test case. A finding at or above the threshold is a
//! failure; what could not be told, there, an error: both make a build red. Below the threshold it is told and passes.

use crate::check::document::{Check, Report};
use crate::finding::{Severity, Status};
use crate::shown::xml;

/// The document.
#[must_use]
pub fn junit(report: &Report, fail_on: Severity) -> String {
    let mut suites = String::new();
    for (subject, checks) in report.subjects() {
        suite(&mut suites, &subject, checks, fail_on);
    }
    let all: Vec<&Check> = report.checks().map(|(_, check)| check).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"gatepost check\" {}>\n{suites}</testsuites>\n",
        counts(all.iter().copied(), fail_on)
    )
}

fn suite(out: &mut String, subject: &str, checks: &[Check], fail_on: Severity) {
    let name = xml(subject);
    out.push_str(&format!(
        "  <testsuite name=\"{name}\" {}>\n",
        counts(checks.iter(), fail_on)
    ));
    for check in checks {
        out.push_str(&format!(
            "    <testcase classname=\"{name}\" name=\"{}\" time=\"0\">{}</testcase>\n",
            xml(check.rule.id),
            outcome(check, fail_on)
        ));
    }
    out.push_str("  </testsuite>\n");
}

fn counts<'a>(checks: impl Iterator<Item = &'a Check>, fail_on: Severity) -> String {
    let kinds: Vec<Kind> = checks.map(|it| kind(it, fail_on)).collect();
    let count = |wanted: Kind| kinds.iter().filter(|it| **it == wanted).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"0\"",
        kinds.len(),
        count(Kind::Failure),
        count(Kind::Error),
        count(Kind::Skipped)
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passed,
    Failure,
    Error,
    Skipped,
}

fn kind(check: &Check, fail_on: Severity) -> Kind {
    let counts = check.severity >= fail_on;
    match check.status {
        Status::Fail | Status::Warn if counts => Kind::Failure,
        Status::Inconclusive if counts => Kind::Error,
        Status::Inconclusive | Status::NotApplicable => Kind::Skipped,
        Status::Pass | Status::Info | Status::Fail | Status::Warn => Kind::Passed,
    }
}

fn outcome(check: &Check, fail_on: Severity) -> String {
    let message = xml(&check.evidence);
    let fix = check
        .fix
        .as_deref()
        .map(|it| format!("\nfix: {it}"))
        .unwrap_or_default();
    let body = xml(&format!(
        "{}{fix}\nsource: {}",
        check.rule.text, check.rule.source
    ));
    let word = check.severity.word();
    match kind(check, fail_on) {
        Kind::Failure => format!("<failure type=\"{word}\" message=\"{message}\">{body}</failure>"),
        Kind::Error => format!("<error type=\"inconclusive\" message=\"{message}\">{body}</error>"),
        Kind::Skipped => format!("<skipped message=\"{}: {message}\"/>", check.status.word()),
        Kind::Passed if check.status == Status::Pass => String::new(),
        Kind::Passed => format!(
            "<system-out>{} ({word}): {message}</system-out>",
            check.status.word()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    #[test]
    fn it_is_xml_and_counts_what_is_in_it() {
        let text = junit(&samples::report(), Severity::High);
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        let count = |name: &str| {
            document
                .descendants()
                .filter(|it| it.has_tag_name(name))
                .count()
                .to_string()
        };
        assert_eq!(root.attribute("tests"), Some(count("testcase").as_str()));
        assert_eq!(root.attribute("failures"), Some(count("failure").as_str()));
        assert_eq!(
            (
                root.attribute("failures"),
                root.attribute("errors"),
                root.attribute("skipped")
            ),
            (Some("2"), Some("1"), Some("1"))
        );
    }

    #[test]
    fn what_lies_below_the_threshold_passes_and_is_told() {
        let text = junit(&samples::report(), Severity::Critical);
        let document = roxmltree::Document::parse(&text).unwrap();
        let told = document
            .descendants()
            .filter(|it| it.has_tag_name("system-out"));
        assert!(
            told.filter_map(|it| it.text())
                .any(|it| it.starts_with("fail (high)")),
            "{text}"
        );
    }

    #[test]
    fn hostile_words_stay_text() {
        let text = junit(&samples::report(), Severity::Low);
        let document = roxmltree::Document::parse(&text).unwrap();
        let failure = document.descendants().find(|it| {
            it.has_tag_name("failure") && it.parent().unwrap().attribute("name") == Some("STLS-001")
        });
        assert!(
            failure
                .unwrap()
                .attribute("message")
                .unwrap()
                .contains("</script><script>alert(1)"),
            "{text}"
        );
    }
}
