//! What a list came to, as a page with charts.

use std::collections::BTreeMap;

use crate::check::list::summary::Summary;
use crate::check::score::Axis;
use crate::report::page::{Bar, bars, page};
use crate::shown::html as safe;

/// Rules shown; the others are in the documents.
const MOST: usize = 40;

/// The page.
#[must_use]
pub fn summary_page(summary: &Summary, title: &str) -> String {
    let mut body = format!(
        "<p class=\"sub\">{} lines examined from outside by gatepost check with {} connections. Nothing was logged in to and no mail was sent.</p>\n",
        summary.lines, summary.connections
    );
    body.push_str("<h2>In short</h2>\n");
    body.push_str(&ends(summary));
    body.push_str(&counted(
        "Worst finding",
        &summary.worst,
        |name| match name {
            "none" => "good",
            "critical" => "critical",
            "high" => "high",
            "medium" => "medium",
            _ => "low",
        },
    ));
    body.push_str(&points(summary));
    body.push_str(&counted(
        "TLS version of services",
        &summary.versions,
        |name| match name {
            "TLSv1.3" => "good",
            "none" => "fail",
            "unknown" => "open",
            _ => "warn",
        },
    ));
    body.push_str(&counted(
        "Key exchange of services",
        &summary.groups,
        |_| "info",
    ));
    body.push_str(&rules(summary));
    page(title, &body)
}

fn share(count: u64, of: u64) -> String {
    let tenths = (u128::from(count) * 1000)
        .checked_div(u128::from(of))
        .unwrap_or_default();
    format!("{count} ({}.{} %)", tenths / 10, tenths % 10)
}

fn ends(summary: &Summary) -> String {
    let rows = [
        ("nothing wrong", summary.good, "good"),
        ("findings", summary.bad, "fail"),
        ("could not be told", summary.unclear, "open"),
    ];
    let rows: Vec<Bar<'_>> = rows
        .into_iter()
        .map(|(label, value, class)| Bar {
            label,
            value,
            class,
            words: share(value, summary.lines),
        })
        .collect();
    bars("How the lines ended", &rows, summary.lines)
}

fn counted(title: &str, counts: &BTreeMap<String, u64>, class: fn(&str) -> &'static str) -> String {
    let all: u64 = counts.values().sum();
    let mut rows: Vec<Bar<'_>> = counts
        .iter()
        .map(|(name, count)| Bar {
            label: name,
            value: *count,
            class: class(name),
            words: share(*count, all),
        })
        .collect();
    rows.sort_by_key(|it| std::cmp::Reverse(it.value));
    if rows.is_empty() {
        return String::new();
    }
    format!("<h2>{}</h2>\n{}", safe(title), bars(title, &rows, all))
}

/// How many lines have how many points, for each axis.
fn points(summary: &Summary) -> String {
    let mut out = String::new();
    for axis in Axis::ALL {
        let Some(tens) = summary.points.get(axis.label()) else {
            continue;
        };
        let all: u64 = tens.iter().sum();
        let labels: Vec<String> = (0..=10)
            .map(|it| {
                if it == 10 {
                    "100 points".to_owned()
                } else {
                    format!("{} to {}", it * 10, it * 10 + 9)
                }
            })
            .collect();
        let rows: Vec<Bar<'_>> = tens
            .iter()
            .zip(&labels)
            .enumerate()
            .rev()
            .map(|(place, (count, label))| Bar {
                label,
                value: *count,
                class: match place {
                    9.. => "good",
                    6.. => "warn",
                    _ => "fail",
                },
                words: share(*count, all),
            })
            .collect();
        out.push_str(&format!(
            "<h2>{}</h2>\n{}",
            axis.question(),
            bars(axis.question(), &rows, all)
        ));
    }
    out
}

fn rules(summary: &Summary) -> String {
    let found = summary.most_found();
    if found.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for (id, it) in found.iter().take(MOST) {
        let text = crate::rules::find(id).map_or("", |rule| rule.text);
        rows.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            safe(id),
            it.fail,
            it.warn,
            it.inconclusive,
            it.pass,
            safe(text)
        ));
    }
    format!(
        "<h2>What was found most</h2>\n<table>\n<thead><tr><th>Check</th><th>Failed</th><th>Could be better</th><th>Not told</th><th>Good</th><th>What it means</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;
    use crate::finding::Severity;

    #[test]
    fn counts_have_bars_and_names_are_harmless() {
        let mut summary = Summary::default();
        summary.add(Some(&samples::report()), Severity::High);
        summary.add(None, Severity::High);
        summary.versions.insert(samples::HOSTILE.to_owned(), 1);
        let page = summary_page(&summary, "Mail transport of a list");
        for words in [
            "1 (50.0 %)",
            "could not be told",
            "STLS-001",
            "70 to 79",
            "Worst finding",
        ] {
            assert!(page.contains(words), "{words} is not on {page}");
        }
        assert!(
            !page.contains("<script") && !page.contains("<img"),
            "{page}"
        );
    }
}
