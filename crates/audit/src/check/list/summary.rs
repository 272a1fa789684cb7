//! What a whole list came to: counts only, so that it stays small for any list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check::document::Report;
use crate::check::facts::{Facts, Reach, Seen};
use crate::check::score;
use crate::finding::{Severity, Status};
use crate::shown::shown;

/// Names of versions and groups come from servers in the end: no more than this are counted one by one.
const MOST: usize = 64;

/// How often a rule ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ends {
    /// Lines in which it failed somewhere.
    pub fail: u64,
    /// Lines in which it could be better.
    pub warn: u64,
    /// Lines in which it could not be told.
    pub inconclusive: u64,
    /// Lines in which it is good everywhere.
    pub pass: u64,
}

impl Ends {
    fn merge(&mut self, other: Self) {
        self.fail += other.fail;
        self.warn += other.warn;
        self.inconclusive += other.inconclusive;
        self.pass += other.pass;
    }
}

/// Counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Lines done.
    pub lines: u64,
    /// Of these, with nothing at or above the threshold.
    pub good: u64,
    /// With findings at or above it.
    pub bad: u64,
    /// That could not be told.
    pub unclear: u64,
    /// Connections made.
    pub connections: u64,
    /// Services, each counted for each line that leads to it.
    pub services: u64,
    /// Services that could not be reached or were cut short.
    pub unreached: u64,
    /// Lines by their worst finding; `none` without one.
    pub worst: BTreeMap<String, u64>,
    /// By rule.
    pub rules: BTreeMap<String, Ends>,
    /// Services by TLS version; `none` where it is not offered.
    pub versions: BTreeMap<String, u64>,
    /// Services by group of the key exchange.
    pub groups: BTreeMap<String, u64>,
    /// Lines by points, in tens, for each axis.
    pub points: BTreeMap<String, [u64; 11]>,
}

impl Summary {
    /// One line more; none: nothing could be examined.
    pub fn add(&mut self, report: Option<&Report>, fail_on: Severity) {
        self.lines += 1;
        let Some(report) = report else {
            self.unclear += 1;
            return;
        };
        match report.exit_code(fail_on) {
            0 => self.good += 1,
            1 => self.bad += 1,
            _ => self.unclear += 1,
        }
        let worst = score::worst(report).map_or("none", Severity::word);
        *self.worst.entry(worst.to_owned()).or_default() += 1;
        for it in score::scores(report) {
            if let Some(points) = it.points {
                let tens = self.points.entry(it.axis.label().to_owned()).or_default();
                if let Some(count) = tens.get_mut(points as usize / 10) {
                    *count += 1;
                }
            }
        }
        self.count_rules(report);
    }

    /// A rule counts once for a line, by its worst end there.
    fn count_rules(&mut self, report: &Report) {
        let rank = |it: Status| match it {
            Status::Fail => 4,
            Status::Warn => 3,
            Status::Inconclusive => 2,
            Status::Pass => 1,
            Status::Info | Status::NotApplicable => 0,
        };
        let mut worst: BTreeMap<&str, u8> = BTreeMap::new();
        for (_, check) in report.checks() {
            let kept = worst.entry(check.rule.id).or_default();
            *kept = (*kept).max(rank(check.status));
        }
        for (id, rank) in worst {
            let ends = self.rules.entry(id.to_owned()).or_default();
            match rank {
                4 => ends.fail += 1,
                3 => ends.warn += 1,
                2 => ends.inconclusive += 1,
                1 => ends.pass += 1,
                _ => {}
            }
        }
    }

    /// One service of a line.
    pub fn see(&mut self, facts: &Facts) {
        self.services += 1;
        let is_cut = !matches!(facts.reach, Reach::Connected { .. }) || facts.stopped.is_some();
        self.unreached += u64::from(is_cut);
        match &facts.handshake {
            Seen::Known(it) => {
                count(&mut self.versions, &it.version, 1);
                count(&mut self.groups, it.group.as_deref().unwrap_or("none"), 1);
            }
            Seen::Unknown { .. } => count(&mut self.versions, "unknown", 1),
            Seen::Unasked => count(&mut self.versions, "none", 1),
        }
    }

    /// The counts of other lines besides.
    pub fn merge(&mut self, other: &Self) {
        self.lines += other.lines;
        self.good += other.good;
        self.bad += other.bad;
        self.unclear += other.unclear;
        self.connections += other.connections;
        self.services += other.services;
        self.unreached += other.unreached;
        for (name, count) in &other.worst {
            *self.worst.entry(name.clone()).or_default() += count;
        }
        for (id, ends) in &other.rules {
            self.rules.entry(id.clone()).or_default().merge(*ends);
        }
        for (name, more) in &other.versions {
            count(&mut self.versions, name, *more);
        }
        for (name, more) in &other.groups {
            count(&mut self.groups, name, *more);
        }
        for (axis, tens) in &other.points {
            let kept = self.points.entry(axis.clone()).or_default();
            kept.iter_mut()
                .zip(tens)
                .for_each(|(kept, more)| *kept += more);
        }
    }

    /// Rules that were found most often: id, fails, warnings.
    #[must_use]
    pub fn most_found(&self) -> Vec<(&str, Ends)> {
        let found = self.rules.iter().filter(|(_, it)| it.fail + it.warn > 0);
        let mut found: Vec<(&str, Ends)> = found.map(|(id, it)| (id.as_str(), *it)).collect();
        found.sort_by_key(|(_, it)| std::cmp::Reverse((it.fail, it.warn)));
        found
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} lines: {} good, {} with findings, {} could not be told\n{} services, {} of them not reached or cut short; {} connections\n",
            self.lines,
            self.good,
            self.bad,
            self.unclear,
            self.services,
            self.unreached,
            self.connections
        );
        for (what, counts) in [
            ("worst finding", &self.worst),
            ("TLS", &self.versions),
            ("key exchange", &self.groups),
        ] {
            let words: Vec<String> = counts
                .iter()
                .map(|(name, count)| format!("{} {count}", shown(name)))
                .collect();
            if !words.is_empty() {
                out.push_str(&format!("{what}: {}\n", words.join(", ")));
            }
        }
        for (id, it) in self.most_found().iter().take(20) {
            out.push_str(&format!(
                "{id:<12} {:>8} fail {:>8} warn {:>8} unknown\n",
                it.fail, it.warn, it.inconclusive
            ));
        }
        out
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    let name = if counts.len() < MOST || counts.contains_key(name) {
        name
    } else {
        "other"
    };
    *counts.entry(name.to_owned()).or_default() += more;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    #[test]
    fn a_line_counts_once_and_a_rule_once_for_it() {
        let mut summary = Summary::default();
        let mut report = samples::report();
        report.targets[1]
            .checks
            .push(samples::check("STLS-001", Status::Fail, Severity::Low, ""));
        summary.add(Some(&report), Severity::High);
        summary.add(None, Severity::High);
        for facts in samples::facts() {
            summary.see(&facts);
        }
        assert_eq!((summary.lines, summary.bad, summary.unclear), (2, 1, 1));
        assert_eq!(
            summary.rules["STLS-001"],
            Ends {
                fail: 1,
                ..Ends::default()
            }
        );
        assert_eq!(
            summary.rules["INJ-001"],
            Ends {
                inconclusive: 1,
                ..Ends::default()
            }
        );
        assert_eq!(summary.worst["critical"], 1);
        assert_eq!((summary.services, summary.unreached), (2, 2));
        assert_eq!(summary.versions["TLSv1.3"], 1);
        let text = summary.text();
        assert!(
            text.starts_with("2 lines: 0 good, 1 with findings, 1 could not be told\n"),
            "{text}"
        );
    }

    #[test]
    fn parts_make_the_same_whole() {
        let report = samples::report();
        let (mut whole, mut parts) = (Summary::default(), Summary::default());
        for given in [Some(&report), None, Some(&report)] {
            let mut part = Summary::default();
            for it in [&mut whole, &mut part] {
                it.add(given, Severity::High);
                for facts in samples::facts() {
                    it.see(&facts);
                }
                it.connections += 7;
            }
            parts.merge(&part);
        }
        assert_eq!(parts, whole);
        assert!(!whole.points.is_empty() && !whole.groups.is_empty());
    }

    #[test]
    fn names_do_not_grow_without_end() {
        let mut counts = BTreeMap::new();
        for number in 0..1000 {
            count(&mut counts, &number.to_string(), 1);
        }
        assert_eq!(counts.len(), MOST + 1);
        assert_eq!(counts["other"], 1000 - MOST as u64);
    }
}
