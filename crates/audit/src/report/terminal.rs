//! A check for a terminal: first what matters, worst first, with what was seen and what to do; then each target; then how good it is and
//! what could not be told. Colours only where asked for, and every status also has a word.

use crate::check::document::{Check, Report};
use crate::check::facts::Facts;
use crate::check::score::{self, Axis};
use crate::finding::{Severity, Status};
use crate::report::{facts as seen, plural};
use crate::shown::{moment, shown};

/// How it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colours.
    pub colours: bool,
    /// Columns; at least 40 are used.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            colours: false,
            width: 100,
        }
    }
}

/// The whole report.
#[must_use]
pub fn text(report: &Report, facts: &[Facts], style: Style) -> String {
    let mut out = Lines {
        text: String::new(),
        style: Style {
            width: style.width.max(40),
            ..style
        },
    };
    findings(&mut out, report);
    unclear(&mut out, report);
    targets(&mut out, report, facts);
    summary(&mut out, report);
    out.text
}

/// One and the same answer of several targets.
struct Group<'a> {
    check: &'a Check,
    subjects: Vec<String>,
}

/// What was found, equal answers joined, the worst first.
fn grouped<'a>(report: &'a Report, wanted: impl Fn(&Check) -> bool) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (subject, check) in report.checks().filter(|(_, it)| wanted(it)) {
        match groups.iter_mut().find(|it| it.check == check) {
            Some(group) => group.subjects.push(subject),
            None => groups.push(Group {
                check,
                subjects: vec![subject],
            }),
        }
    }
    // Stable: among equals the order of the catalogue stays.
    groups
        .sort_by_key(|it| std::cmp::Reverse((it.check.severity, it.check.status == Status::Fail)));
    groups
}

fn findings(out: &mut Lines, report: &Report) {
    let groups = grouped(report, Check::is_finding);
    if groups.is_empty() {
        out.line(0, nothing_found(report).1);
    }
    for it in groups {
        let colour = severity_colour(it.check.severity);
        let word = out.painted(colour, it.check.severity.word());
        let kind = if it.check.status == Status::Warn {
            " (could be better)"
        } else {
            ""
        };
        out.raw(&format!(
            "{word} {}{kind}",
            out.painted("1", it.check.rule.id)
        ));
        out.line(4, it.check.rule.text);
        for subject in &it.subjects {
            out.line(4, &format!("at {subject}"));
        }
        out.labelled(4, "seen", &it.check.evidence);
        for fix in it.check.fix.iter().flat_map(|it| it.lines()) {
            out.labelled(4, "fix", fix);
        }
        out.labelled(4, "source", it.check.rule.source);
        out.raw("");
    }
}

fn unclear(out: &mut Lines, report: &Report) {
    let groups = grouped(report, |it| it.status == Status::Inconclusive);
    if groups.is_empty() {
        return;
    }
    out.heading("Could not be told");
    // Where nobody answers, all have one and the same reason.
    let mut told: Vec<(Vec<&str>, &Group<'_>)> = Vec::new();
    for group in &groups {
        let same = |it: &&mut (Vec<&str>, &Group<'_>)| {
            it.1.check.evidence == group.check.evidence && it.1.subjects == group.subjects
        };
        match told.iter_mut().find(same) {
            Some((ids, _)) => ids.push(group.check.rule.id),
            None => told.push((vec![group.check.rule.id], group)),
        }
    }
    for (ids, it) in told {
        out.line(
            2,
            &format!("{} at {}", ids.join(" "), it.subjects.join(", ")),
        );
        out.line(6, &it.check.evidence);
    }
    out.raw("");
}

fn targets(out: &mut Lines, report: &Report, facts: &[Facts]) {
    for it in &report.domains {
        out.heading(&it.domain);
        answers(out, &it.checks);
    }
    for it in &report.targets {
        out.heading(&it.target.to_string());
        out.labelled(2, "connections", &it.connections.to_string());
        for (label, words) in seen::of(facts, &it.target)
            .map(seen::lines)
            .unwrap_or_default()
        {
            out.labelled(2, label, &words);
        }
        answers(out, &it.checks);
    }
}

/// How many checks of a service may have the same reason why they could not be told, and be told one by one.
const FEW: usize = 3;

/// One line for each check; those that passed side by side.
fn answers(out: &mut Lines, checks: &[Check]) {
    for check in checks {
        if matches!(check.status, Status::Pass | Status::NotApplicable) {
            continue;
        }
        // Told above, with its reason.
        let alike = |it: &&Check| it.status == check.status && it.evidence == check.evidence;
        if check.status == Status::Inconclusive && checks.iter().filter(alike).count() > FEW {
            continue;
        }
        let word = out.painted(status_colour(check), check.status.word());
        let id = check.rule.id;
        let room = out.style.width.saturating_sub(20 + id.len());
        let evidence: String = shown(&check.evidence).chars().take(room).collect();
        let gap = " ".repeat(13_usize.saturating_sub(check.status.word().len()));
        out.raw(format!("  {word}{gap}{id} {evidence}").trim_end());
    }
    let passed = checks.iter().filter(|it| it.status == Status::Pass);
    let ids: Vec<&str> = passed.map(|it| it.rule.id).collect();
    if !ids.is_empty() {
        out.labelled(2, "pass", &ids.join(" "));
    }
    out.raw("");
}

fn summary(out: &mut Lines, report: &Report) {
    out.heading("How good is it?");
    for it in score::scores(report) {
        let points = it
            .points
            .map_or_else(|| "  –".to_owned(), |points| format!("{points:>3}"));
        let costs: Vec<String> = it
            .costs
            .iter()
            .map(|it| format!("{} -{}", it.id, it.points))
            .collect();
        let costs = if costs.is_empty() {
            String::new()
        } else {
            format!("  ({})", costs.join(", "))
        };
        let gap = " ".repeat(Axis::Active.question().len() - it.axis.question().len());
        out.line(2, &format!("{}{gap} {points}{costs}", it.axis.question()));
    }
    out.line(2, &coverage(report));
    let connections: u32 = report.targets.iter().map(|it| it.connections).sum();
    out.line(
        2,
        &format!(
            "profile {}, tier {}, {}, {}",
            report.profile,
            report.tier,
            plural(connections, "connection"),
            moment(report.at)
        ),
    );
}

/// The verdict where nothing was found, with its kind: who asked little has no reason to praise.
pub(super) fn nothing_found(report: &Report) -> (&'static str, &'static str) {
    let coverage = score::coverage(report);
    match coverage.percent() {
        _ if coverage.told == 0 => ("inconclusive", "Nothing could be told."),
        Some(..50) => (
            "inconclusive",
            "Nothing was found that is wrong, but most of it could not be told.",
        ),
        _ => ("pass", "Nothing was found that is wrong."),
    }
}

/// What could not be told.
#[must_use]
pub fn coverage(report: &Report) -> String {
    let it = score::coverage(report);
    let Some(percent) = it.percent() else {
        return "coverage: nothing was asked".to_owned();
    };
    let told = format!(
        "coverage: {percent} %: {} of {} questions answered",
        it.told,
        it.told + it.open
    );
    if it.open == 0 {
        return told;
    }
    let missing = if it.missing == 0 {
        String::new()
    } else {
        format!("; {} missing", plural(it.missing, "connection"))
    };
    format!("{told}, {} could not be told{missing}", it.open)
}

const fn severity_colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "1;31",
        Severity::High => "31",
        Severity::Medium => "33",
        Severity::Low => "36",
        Severity::Info => "34",
    }
}

const fn status_colour(check: &Check) -> &'static str {
    match check.status {
        Status::Pass => "32",
        Status::Warn | Status::Fail => severity_colour(check.severity),
        Status::Inconclusive => "35",
        Status::Info | Status::NotApplicable => "2",
    }
}

/// Lines of at most a width.
struct Lines {
    text: String,
    style: Style,
}

impl Lines {
    /// As it is: harmless already.
    fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn heading(&mut self, words: &str) {
        let words = self.painted("1;4", &shown(words));
        self.raw(&words);
    }

    fn painted(&self, colour: &str, words: &str) -> String {
        if self.style.colours {
            format!("\u{1b}[{colour}m{words}\u{1b}[0m")
        } else {
            words.to_owned()
        }
    }

    /// Words, broken at spaces; longer ones stay whole, so that they can be copied.
    fn line(&mut self, indent: usize, words: &str) {
        self.broken(&" ".repeat(indent), indent, words);
    }

    fn labelled(&mut self, indent: usize, label: &str, words: &str) {
        if !words.is_empty() {
            self.broken(
                &format!("{}{label}: ", " ".repeat(indent)),
                indent + 2,
                words,
            );
        }
    }

    fn broken(&mut self, first: &str, indent: usize, words: &str) {
        let mut line = first.to_owned();
        let mut length = line.chars().count();
        let mut empty = true;
        for word in shown(words).split(' ') {
            let size = word.chars().count();
            if !empty && length + 1 + size > self.style.width {
                self.raw(line.trim_end());
                line = " ".repeat(indent);
                length = indent;
                empty = true;
            }
            if !empty {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += size;
            empty = false;
        }
        self.raw(line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    #[test]
    fn who_could_tell_little_does_not_praise() {
        let verdict = |told: usize| {
            let mut report = samples::report();
            report.domains.clear();
            report.targets.truncate(1);
            let check = report.targets[0].checks.remove(0);
            report.targets[0].checks = vec![check; 5];
            for (at, check) in report.targets[0].checks.iter_mut().enumerate() {
                check.status = if at < told {
                    Status::Pass
                } else {
                    Status::Inconclusive
                };
            }
            nothing_found(&report)
        };
        assert_eq!(verdict(0), ("inconclusive", "Nothing could be told."));
        assert!(verdict(2).1.ends_with("most of it could not be told."));
        assert_eq!(verdict(3), ("pass", "Nothing was found that is wrong."));
    }

    #[test]
    fn the_worst_comes_first_and_what_could_not_be_told_is_said() {
        let text = text(&samples::report(), &samples::facts(), Style::default());
        let at = |words: &str| {
            text.find(words)
                .unwrap_or_else(|| panic!("{words} is not in {text}"))
        };
        assert!(at("critical CERT-NAME") < at("high STLS-001"), "{text}");
        assert!(
            at("high STLS-001") < at("medium STS-001 (could be better)"),
            "{text}"
        );
        assert!(at("medium STS-001") < at("Could not be told"), "{text}");
        assert!(
            at("fix: smtpd_tls_security_level = may") > at("high STLS-001"),
            "{text}"
        );
        at("coverage: 83 %: 5 of 6 questions answered, 1 could not be told; 1 connection missing");
        at("TLSv1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768, Encrypted");
        at("pass: TLS-10");
        // Not applicable is not shown, and never counted.
        assert!(!text.contains("IMPL-001"), "{text}");
    }

    #[test]
    fn one_reason_for_many_questions_is_told_once() {
        let mut report = samples::report();
        let why = "no connection to it at all";
        for id in ["CERT-NAME", "CERT-CHAIN", "CERT-DATE", "EMS-001"] {
            let check = samples::check(id, Status::Inconclusive, Severity::High, why);
            report.targets[0].checks.push(check);
        }
        let text = text(&report, &samples::facts(), Style::default());
        assert_eq!(text.matches(why).count(), 1, "{text}");
        let told = text.lines().find(|it| it.contains("CERT-DATE EMS-001 at"));
        assert!(told.is_some(), "{text}");
    }

    #[test]
    fn a_server_does_not_drive_the_terminal() {
        let plain = text(&samples::report(), &samples::facts(), Style::default());
        assert!(
            plain.chars().all(|it| it == '\n' || !it.is_control()),
            "{plain:?}"
        );
        assert!(!plain.contains('\u{202e}'));
        let colours = text(
            &samples::report(),
            &samples::facts(),
            Style {
                colours: true,
                width: 80,
            },
        );
        assert!(colours.contains("\u{1b}[1;31mcritical"), "{colours}");
        assert!(!colours.contains("\u{1b}[2J"), "{colours:?}");
    }

    #[test]
    fn lines_keep_to_the_width() {
        let text = text(
            &samples::report(),
            &[],
            Style {
                colours: false,
                width: 60,
            },
        );
        let long: Vec<&str> = text
            .lines()
            .filter(|it| it.chars().count() > 60 && it.split_whitespace().count() > 2)
            .collect();
        assert!(long.is_empty(), "{long:#?}");
    }
}
