//! The summary and a timeline as one page of HTML, without scripts and without anything loaded from elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Counters;
use super::event::{Ends, Event, timestamp};
use super::notes::Protocol;
use super::summary::Summary;
use crate::finding::Severity;
use crate::rules;

/// The most findings listed one by one.
const MOST: usize = 2000;
/// Columns of the timeline.
const COLUMNS: usize = 60;

/// One row.
#[derive(Debug)]
struct Row {
    time: u64,
    severity: Severity,
    id: &'static str,
    ends: String,
    protocol: &'static str,
    evidence: String,
}

/// Gathers what the page shows.
#[derive(Debug, Default)]
pub struct Page {
    rows: Vec<Row>,
    more: u64,
    /// Findings by minute and severity.
    minutes: BTreeMap<u64, [u64; 5]>,
}

impl Page {
    /// Adds what happened.
    pub fn add(&mut self, event: &Event) {
        let Event::Finding(it) = event else {
            return;
        };
        let counts = self.minutes.entry(it.time / 60_000_000_000).or_default();
        if let Some(count) = counts.get_mut(it.severity as usize) {
            *count += 1;
        }
        if self.rows.len() >= MOST {
            self.more += 1;
            return;
        }
        let ends = it.ends.map_or(String::new(), |it| {
            format!("{} to {}", Ends::word(it.client), Ends::word(it.server))
        });
        self.rows.push(Row {
            time: it.time,
            severity: it.severity,
            id: it.id,
            ends,
            protocol: it.protocol.map_or("", Protocol::word),
            evidence: it.evidence.clone(),
        });
    }

    /// The page.
    #[must_use]
    pub fn html(&self, summary: &Summary, counters: &Counters) -> String {
        let mut page = String::from(HEAD);
        self.timeline(&mut page);
        page.push_str("<h2>Findings</h2>\n<table>\n<tr><th>Time<th>Severity<th>Rule<th>Protocol<th>Who<th>What\n");
        for row in &self.rows {
            let time = if row.time > 0 {
                timestamp(row.time)
            } else {
                String::new()
            };
            let word = row.severity.word();
            let text = rules::find(row.id).map_or("", |it| it.text);
            let _ = writeln!(
                page,
                "<tr class={word}><td>{time}<td>{word}<td title=\"{}\">{}<td>{}<td>{}<td>{}",
                escaped(text),
                row.id,
                row.protocol,
                escaped(&row.ends),
                escaped(&row.evidence)
            );
        }
        page.push_str("</table>\n");
        if self.more > 0 {
            let _ = writeln!(page, "<p>And {} more.</p>", self.more);
        }
        let _ = write!(
            page,
            "<h2>Summary</h2>\n<pre>{}</pre>\n</html>\n",
            escaped(&summary.text(counters))
        );
        page
    }

    /// Bars over time, in columns of equal length.
    fn timeline(&self, page: &mut String) {
        let known: Vec<_> = self.minutes.iter().filter(|it| *it.0 > 0).collect();
        let (Some((first, _)), Some((last, _))) = (known.first(), known.last()) else {
            return;
        };
        let (first, last) = (**first, **last);
        let width = (last - first) / COLUMNS as u64 + 1;
        let mut columns: BTreeMap<u64, [u64; 5]> = BTreeMap::new();
        for (minute, counts) in known {
            let column = columns.entry((minute - first) / width).or_default();
            column
                .iter_mut()
                .zip(counts)
                .for_each(|(to, from)| *to += from);
        }
        let highest = columns
            .values()
            .map(|it| it.iter().sum::<u64>())
            .max()
            .unwrap_or(1)
            .max(1);
        page.push_str("<h2>Timeline</h2>\n<svg viewBox=\"0 0 600 110\" role=\"img\" aria-label=\"Findings over time\">\n");
        for (column, counts) in columns {
            let mut y = 100;
            for (severity, count) in SEVERITIES.iter().zip(counts) {
                let height = count * 100 / highest;
                y -= height.min(y);
                if height > 0 {
                    let _ = writeln!(
                        page,
                        "<rect class={severity} x={} y={y} width=9 height={height}><title>{severity}: {count}</title></rect>",
                        column * 10
                    );
                }
            }
        }
        let ends = [first, last].map(|it| timestamp(it * 60_000_000_000));
        let _ = writeln!(
            page,
            "<text x=0 y=109 font-size=8>{}</text><text x=600 y=109 font-size=8 text-anchor=end>{}</text>\n</svg>",
            ends[0], ends[1]
        );
    }
}

/// In the order of [`Severity`].
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

const HEAD: &str = "<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>gatepost watch</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #ccc; padding: .2em .6em; text-align: left }
svg { width: 100%; max-height: 14em } pre { overflow: auto }
rect.info { fill: #9ab } rect.low { fill: #7a9 } rect.medium { fill: #db4 } rect.high { fill: #e73 } rect.critical { fill: #c22 }
tr.critical td:nth-child(2) { color: #c22; font-weight: bold } tr.high td:nth-child(2) { color: #b40 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } td, th { border-color: #444 } svg text { fill: #ddd } }
</style>
<h1>What leaks</h1>
";

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, it| {
        match it {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            it => out.push(it),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_cannot_become_markup() {
        assert_eq!(escaped("<a \"&\">"), "&lt;a &quot;&amp;&quot;&gt;");
    }
}
