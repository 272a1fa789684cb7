//! A check as a page that a manager can read and a postmaster can work by: plain words, three scales, a table of services and topics, then
//! every finding with what to do, then all that was asked and seen.

use crate::check::document::{Check, Report};
use crate::check::facts::Facts;
use crate::check::score::{self, Score};
use crate::finding::{Severity, Status};
use crate::report::page::{Bar, bars, page};
use crate::report::{facts as seen, plural, terminal};
use crate::shown::{html as safe, moment};

/// The topics of the table: a title and the beginnings of the ids below it.
const TOPICS: &[(&str, &[&str])] = &[
    ("Reached", &["NET-", "BAN-", "IMPL-", "V6-", "PTR-"]),
    (
        "STARTTLS",
        &["STLS-", "STRIP-", "PRE-", "OPOS-", "ALPN-", "SFX-"],
    ),
    ("Injection", &["INJ-"]),
    ("Passwords", &["AUTH-", "ENF-"]),
    (
        "TLS",
        &[
            "TLS-", "KEX-", "SIG-", "EMS-", "REN-", "COMP-", "ZRTT-", "SCSV-", "TKT-", "EXT-",
            "VUL-", "SNI-", "CAUTH-",
        ],
    ),
    ("Ciphers", &["CIPH-"]),
    ("Certificate", &["CERT-", "CAA-"]),
    (
        "DNS and policy",
        &[
            "MX-", "DNSSEC-", "DANE-", "STS-", "RPT-", "SRV-", "ACFG-", "RPKI-",
        ],
    ),
    (
        "Mail",
        &["SPF-", "DKIM-", "DMARC-", "RELAY-", "VRFY-", "REQ-"],
    ),
];

/// The page.
#[must_use]
pub fn html(report: &Report, facts: &[Facts]) -> String {
    let mut body = String::new();
    body.push_str(&head(report));
    body.push_str(&summary(report));
    body.push_str(&axes(&score::scores(report)));
    body.push_str(&severities(report));
    body.push_str(&matrix(report));
    body.push_str(&findings(report));
    body.push_str(&unclear(report));
    body.push_str(&details(report, facts));
    page(&title(report), &body)
}

fn title(report: &Report) -> String {
    let subject = report.domains.first().map(|it| it.domain.clone());
    let subject = subject.or_else(|| report.targets.first().map(|it| it.target.host.clone()));
    format!(
        "Mail transport of {}",
        subject.unwrap_or_else(|| "nobody".to_owned())
    )
}

fn head(report: &Report) -> String {
    format!(
        "<p class=\"sub\">Examined from outside on {} by gatepost check; profile {}, tier {}. Nothing was logged in to and no mail was sent.</p>\n",
        moment(report.at),
        safe(&report.profile),
        safe(&report.tier)
    )
}

/// What somebody wants to know who reads no further.
fn summary(report: &Report) -> String {
    let services = u32::try_from(report.targets.len()).unwrap_or(u32::MAX);
    let connections: u32 = report.targets.iter().map(|it| it.connections).sum();
    let verdict = match score::worst(report) {
        Some(Severity::Critical) => (
            "critical",
            "There is a hole: passwords or mail can be read or taken over. Mend it now.",
        ),
        Some(Severity::High) => (
            "high",
            "Protection is missing. Somebody on the way can read or change mail. Mend it soon.",
        ),
        Some(Severity::Medium) => (
            "medium",
            "It protects, but not in every case it should. Plan the changes below.",
        ),
        Some(Severity::Low | Severity::Info) => (
            "low",
            "It protects. What is listed below is untidy rather than dangerous.",
        ),
        None => terminal::nothing_found(report),
    };
    format!(
        "<h2>In short</h2>\n<p id=\"verdict\"><strong class=\"{}\">{}</strong></p>\n<p>{} examined with {}; {}.</p>\n",
        verdict.0,
        verdict.1,
        plural(services, "service"),
        plural(connections, "connection"),
        safe(&terminal::coverage(report))
    )
}

fn axes(scores: &[Score]) -> String {
    let rows: Vec<Bar<'_>> = scores
        .iter()
        .map(|it| Bar {
            label: it.axis.question(),
            value: it.points.unwrap_or_default().into(),
            class: match it.points {
                Some(90..) => "good",
                Some(60..) => "warn",
                Some(_) => "fail",
                None => "info",
            },
            words: it.points.map_or_else(
                || "not told".to_owned(),
                |points| format!("{points} of 100"),
            ),
        })
        .collect();
    let mut costs = String::new();
    for it in scores.iter().filter(|it| !it.costs.is_empty()) {
        let dear = it.costs.iter();
        let dear: Vec<String> = dear
            .map(|it| format!("{} −{}", safe(it.id), it.points))
            .collect();
        costs.push_str(&format!(
            "<li>{}: {}</li>\n",
            it.axis.question(),
            dear.join(", ")
        ));
    }
    let costs = if costs.is_empty() {
        costs
    } else {
        format!("<p>What cost points:</p>\n<ul>\n{costs}</ul>\n")
    };
    format!(
        "<h2>How good is it?</h2>\n{}{costs}",
        bars("Points of 100 on three scales", &rows, 100)
    )
}

fn severities(report: &Report) -> String {
    let all = [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
    ];
    let count = |severity| {
        report
            .checks()
            .filter(|(_, it)| it.is_finding() && it.severity == severity)
            .count() as u64
    };
    let counts = all.map(|it| (it, count(it)));
    let most = counts
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or_default();
    if most == 0 {
        return String::new();
    }
    let rows: Vec<Bar<'_>> = counts
        .iter()
        .map(|(it, count)| Bar {
            label: it.word(),
            value: *count,
            class: it.word(),
            words: count.to_string(),
        })
        .collect();
    format!(
        "<h3>What was found, by severity</h3>\n{}",
        bars("Findings by severity", &rows, most)
    )
}

/// The worst of some checks, as sign, class and word. Signs differ in shape: not everybody sees colours.
fn mark<'a>(checks: impl Iterator<Item = &'a Check>) -> Option<(&'static str, &'static str)> {
    let rank = |it: &Check| match it.status {
        Status::Fail => 5,
        Status::Inconclusive => 4,
        Status::Warn => 3,
        Status::Pass => 2,
        Status::Info => 1,
        Status::NotApplicable => 0,
    };
    Some(match checks.max_by_key(|it| rank(it))?.status {
        Status::Fail => ("✗ wrong", "fail"),
        Status::Inconclusive => ("? unknown", "inconclusive"),
        Status::Warn => ("! better", "warn"),
        Status::Pass => ("✓ good", "pass"),
        Status::Info => ("· told", "faint"),
        Status::NotApplicable => return None,
    })
}

fn matrix(report: &Report) -> String {
    let mut head = String::new();
    for (topic, _) in TOPICS {
        head.push_str(&format!("<th class=\"mark\">{topic}</th>"));
    }
    let mut rows = String::new();
    for (subject, checks) in report.subjects() {
        rows.push_str(&format!("<tr><th scope=\"row\">{}</th>", safe(&subject)));
        for (_, starts) in TOPICS {
            let below = checks
                .iter()
                .filter(|it| starts.iter().any(|start| it.rule.id.starts_with(start)));
            let cell = mark(below).map_or_else(
                || "<td class=\"mark faint\">–</td>".to_owned(),
                |(sign, class)| format!("<td class=\"mark {class}\">{sign}</td>"),
            );
            rows.push_str(&cell);
        }
        rows.push_str("</tr>\n");
    }
    format!(
        "<h2>Services</h2>\n<table id=\"services\">\n<thead><tr><th>Service</th>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         <p class=\"faint\">A cell shows the worst of its topic; ? means that it could not be told; – that nothing was asked.</p>\n"
    )
}

fn findings(report: &Report) -> String {
    let mut found: Vec<(Vec<String>, &Check)> = Vec::new();
    for (subject, check) in report.checks().filter(|(_, it)| it.is_finding()) {
        match found.iter_mut().find(|(_, it)| *it == check) {
            Some((subjects, _)) => subjects.push(subject),
            None => found.push((vec![subject], check)),
        }
    }
    found.sort_by_key(|(_, it)| std::cmp::Reverse((it.severity, it.status == Status::Fail)));
    if found.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h2>Findings</h2>\n");
    for (subjects, check) in found {
        out.push_str(&finding(&subjects, check));
    }
    out
}

fn finding(subjects: &[String], check: &Check) -> String {
    let word = check.severity.word();
    let kind = if check.status == Status::Warn {
        ", could be better"
    } else {
        ""
    };
    let fix = check
        .fix
        .as_deref()
        .filter(|it| !it.is_empty())
        .map_or_else(String::new, |fix| {
            let lines: Vec<String> = fix.lines().map(safe).collect();
            format!(
                "<p>What to do:</p>\n<pre class=\"fix\">{}</pre>\n",
                lines.join("\n")
            )
        });
    let evidence = if check.evidence.is_empty() {
        String::new()
    } else {
        format!("<p>Seen:</p>\n<pre>{}</pre>\n", safe(&check.evidence))
    };
    let subjects: Vec<String> = subjects.iter().map(|it| safe(it)).collect();
    format!(
        "<article class=\"{word}\">\n<h3><span class=\"{word}\">{word}{kind}</span> {}</h3>\n<p>{}</p>\n<p class=\"faint\">{}</p>\n{evidence}{fix}<p class=\"faint\">Source: {}</p>\n</article>\n",
        safe(check.rule.id),
        safe(check.rule.text),
        subjects.join("<br>"),
        safe(check.rule.source)
    )
}

fn unclear(report: &Report) -> String {
    let mut rows = String::new();
    for (subject, check) in report
        .checks()
        .filter(|(_, it)| it.status == Status::Inconclusive)
    {
        rows.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            safe(check.rule.id),
            safe(&subject),
            safe(&check.evidence),
            check.missing
        ));
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<h2>What could not be told</h2>\n<p>None of this counts as good or as bad.</p>\n<table>\n<thead><tr><th>Check</th><th>Where</th><th>Why</th><th>Connections missing</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )
}

fn details(report: &Report, facts: &[Facts]) -> String {
    let mut out = String::from("<h2>All that was asked</h2>\n");
    for it in &report.domains {
        out.push_str(&format!(
            "<h3>{}</h3>\n{}",
            safe(&it.domain),
            answers(&it.checks)
        ));
    }
    for it in &report.targets {
        out.push_str(&format!("<h3>{}</h3>\n", safe(&it.target.to_string())));
        let lines = seen::of(facts, &it.target)
            .map(seen::lines)
            .unwrap_or_default();
        if !lines.is_empty() {
            out.push_str("<table class=\"facts\"><tbody>\n");
            for (label, words) in lines {
                out.push_str(&format!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
                    safe(label),
                    safe(&words)
                ));
            }
            out.push_str("</tbody></table>\n");
        }
        out.push_str(&answers(&it.checks));
    }
    out
}

fn answers(checks: &[Check]) -> String {
    let mut out = String::from(
        "<table>\n<thead><tr><th>Check</th><th>Answer</th><th>Seen</th></tr></thead>\n<tbody>\n",
    );
    for check in checks {
        let (class, word) = match check.status {
            Status::NotApplicable => ("faint", check.status.word()),
            _ => (check.status.word(), check.status.word()),
        };
        out.push_str(&format!(
            "<tr><td>{}</td><td class=\"{class}\">{word}</td><td>{}</td></tr>\n",
            safe(check.rule.id),
            safe(&check.evidence)
        ));
    }
    out + "</tbody>\n</table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    #[test]
    fn hostile_words_stay_words() {
        let page = html(&samples::report(), &samples::facts());
        let body = page.split("<body>").nth(1).unwrap();
        for mark in ["<script", "<img", "\u{1b}", "\u{202e}", "\u{0}"] {
            assert!(!body.contains(mark), "{mark:?} is on the page");
        }
        assert!(
            body.contains(
                "&lt;img src=x onerror=alert(1)&gt; &quot;quoted&quot;, ]]&gt; &amp; \\u{1b}[2J"
            ),
            "{body}"
        );
    }

    #[test]
    fn tags_are_balanced() {
        let page = html(&samples::report(), &samples::facts());
        for tag in [
            "table", "tr", "td", "th", "p", "pre", "article", "svg", "text", "thead", "tbody",
            "ul", "li", "span", "strong", "h2", "h3",
        ] {
            let (open, close) = (
                page.matches(&format!("<{tag}>")).count()
                    + page.matches(&format!("<{tag} ")).count(),
                page.matches(&format!("</{tag}>")).count(),
            );
            assert_eq!(open, close, "{tag}");
        }
    }

    #[test]
    fn it_says_first_what_matters() {
        let page = html(&samples::report(), &samples::facts());
        let at = |words: &str| {
            page.find(words)
                .unwrap_or_else(|| panic!("{words} is not on the page"))
        };
        assert!(at("There is a hole") < at("70 of 100"));
        assert!(at("70 of 100") < at("id=\"services\""));
        assert!(at("CERT-NAME</h3>") < at("STLS-001</h3>"));
        at("? unknown");
        at("5 of 6 questions answered");
    }

    #[test]
    fn nothing_told_is_not_good() {
        let mut report = samples::report();
        report.domains.clear();
        for it in &mut report.targets {
            it.checks.retain(|it| it.status == Status::Inconclusive);
        }
        let page = html(&report, &[]);
        assert!(
            page.contains("Nothing could be told.") && !page.contains("of 100</text>"),
            "{page}"
        );
    }
}
