//! How good, in three plain questions. One letter for everything would say of a mail server less than nothing: a certificate for the wrong
//! name matters to a mail program and to no sender of the world, while a command slipped in before TLS matters to both.
//!
//! | axis | question |
//! |---|---|
//! | passive | can somebody who only listens read it? |
//! | active | can somebody who sits in between read or change it? |
//! | correctness | does it do what the standards and its own announcements say? |
//!
//! Each axis begins at 100 and loses points for what was found, once for each rule, at its worst place. What could not be told costs
//! nothing and earns nothing: it stands in the coverage. An axis of which nothing was told has no points at all.

use std::collections::BTreeMap;

use super::document::{Check, Report};
use crate::finding::{Severity, Status};

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Axis {
    /// Against somebody who listens.
    Passive,
    /// Against somebody who sits in between.
    Active,
    /// As the standards want it.
    Correctness,
}

/// The beginnings of ids, the longest that fits decides; everything else is correctness.
const AXES: &[(&str, Axis)] = &[
    ("STLS-001", Axis::Passive),
    ("STLS-002", Axis::Passive),
    ("IMPL-001", Axis::Passive),
    ("IMPL-002", Axis::Passive),
    ("TLS-", Axis::Passive),
    ("CIPH-", Axis::Passive),
    ("KEX-", Axis::Passive),
    ("COMP-", Axis::Passive),
    ("TKT-", Axis::Passive),
    ("AUTH-001", Axis::Passive),
    ("AUTH-002", Axis::Passive),
    ("ENF-", Axis::Passive),
    ("VUL-", Axis::Passive),
    ("TLS-INTOL", Axis::Correctness),
    ("AUTH-", Axis::Active),
    ("AUTH-004", Axis::Correctness),
    ("CERT-", Axis::Active),
    ("DANE-", Axis::Active),
    ("DNSSEC-", Axis::Active),
    ("STS-", Axis::Active),
    ("STRIP-", Axis::Active),
    ("PRE-", Axis::Active),
    ("SIG-", Axis::Active),
    ("EMS-", Axis::Active),
    ("REN-", Axis::Active),
    ("SCSV-", Axis::Active),
    ("ZRTT-", Axis::Active),
    ("OPOS-", Axis::Active),
    ("SNI-", Axis::Active),
];

impl Axis {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Passive, Self::Active, Self::Correctness];

    /// The word in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passive => "passive",
            Self::Active => "active",
            Self::Correctness => "correctness",
        }
    }

    /// What it asks, for people.
    #[must_use]
    pub const fn question(self) -> &'static str {
        match self {
            Self::Passive => "Safe from somebody who listens",
            Self::Active => "Safe from somebody who sits in between",
            Self::Correctness => "Does what the standards say",
        }
    }

    /// The axis of a rule.
    #[must_use]
    pub fn of(id: &str) -> Self {
        let fitting = AXES.iter().filter(|(start, _)| id.starts_with(start));
        let longest = fitting.max_by_key(|(start, _)| start.len());
        longest.map_or(Self::Correctness, |(_, axis)| *axis)
    }
}

/// What a rule cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The rule.
    pub id: &'static str,
    /// How bad it was at its worst place.
    pub severity: Severity,
    /// Points.
    pub points: u32,
}

/// How good one axis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// Which.
    pub axis: Axis,
    /// 0 to 100; none when nothing of it was told.
    pub points: Option<u32>,
    /// What cost points, the dearest first.
    pub costs: Vec<Cost>,
}

/// How much could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Questions answered.
    pub told: usize,
    /// Questions that could not be.
    pub open: usize,
    /// How many connections it takes to answer them.
    pub missing: u32,
}

impl Coverage {
    /// Answered of all asked, in per cent, rounded down: 100 only when nothing is open. None when nothing was asked.
    #[must_use]
    pub fn percent(&self) -> Option<usize> {
        (self.told * 100).checked_div(self.told + self.open)
    }
}

/// What a finding costs.
#[must_use]
pub fn price(check: &Check) -> u32 {
    let whole = match check.severity {
        Severity::Critical => 60,
        Severity::High => 30,
        Severity::Medium => 12,
        Severity::Low => 4,
        Severity::Info => 0,
    };
    match check.status {
        Status::Fail => whole,
        Status::Warn => whole / 2,
        _ => 0,
    }
}

/// The three axes.
#[must_use]
pub fn scores(report: &Report) -> [Score; 3] {
    Axis::ALL.map(|axis| score(report, axis))
}

fn score(report: &Report, axis: Axis) -> Score {
    let mut told = false;
    let mut worst: BTreeMap<&'static str, (u32, Severity)> = BTreeMap::new();
    for (_, check) in report.checks() {
        if Axis::of(check.rule.id) != axis {
            continue;
        }
        told |= matches!(check.status, Status::Pass | Status::Warn | Status::Fail);
        let points = price(check);
        if points > 0 {
            let kept = worst
                .entry(check.rule.id)
                .or_insert((points, check.severity));
            *kept = (*kept).max((points, check.severity));
        }
    }
    let mut costs: Vec<Cost> = worst
        .into_iter()
        .map(|(id, (points, severity))| Cost {
            id,
            severity,
            points,
        })
        .collect();
    costs.sort_by_key(|it| std::cmp::Reverse(it.points));
    let lost: u32 = costs.iter().map(|it| it.points).sum();
    Score {
        axis,
        points: told.then(|| 100_u32.saturating_sub(lost)),
        costs,
    }
}

/// How much could be told.
#[must_use]
pub fn coverage(report: &Report) -> Coverage {
    report
        .checks()
        .fold(Coverage::default(), |mut sum, (_, check)| {
            match check.status {
                Status::Inconclusive => {
                    sum.open += 1;
                    sum.missing = sum.missing.saturating_add(check.missing);
                }
                Status::Pass | Status::Warn | Status::Fail | Status::Info => sum.told += 1,
                Status::NotApplicable => {}
            }
            sum
        })
}

/// The worst that was found.
#[must_use]
pub fn worst(report: &Report) -> Option<Severity> {
    let found = report.checks().filter(|(_, check)| check.is_finding());
    found.map(|(_, check)| check.severity).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    fn points(report: &Report) -> [Option<u32>; 3] {
        scores(report).map(|it| it.points)
    }

    #[test]
    fn each_axis_loses_what_was_found_on_it() {
        // Passive: STLS-001 high. Active: CERT-NAME critical, half of STS-001 medium. Correctness: nothing that was told failed.
        assert_eq!(points(&samples::report()), [Some(70), Some(34), None]);
    }

    #[test]
    fn what_could_not_be_told_is_no_point() {
        let mut report = samples::report();
        report.domains.clear();
        for it in &mut report.targets {
            it.checks.retain(|it| it.status == Status::Inconclusive);
        }
        assert_eq!(points(&report), [None; 3]);
        assert_eq!(
            coverage(&report),
            Coverage {
                told: 0,
                open: 1,
                missing: 1
            }
        );
        assert_eq!(coverage(&report).percent(), Some(0));
        assert_eq!(worst(&report), None);
    }

    #[test]
    fn a_rule_costs_once_at_its_worst_place() {
        let mut report = samples::report();
        let worse = samples::check("STLS-001", Status::Fail, Severity::Critical, "");
        report.targets[1].checks.push(worse);
        assert_eq!(points(&report)[0], Some(40));
    }

    #[test]
    fn the_longest_beginning_decides() {
        assert_eq!(Axis::of("TLS-INTOL"), Axis::Correctness);
        assert_eq!(Axis::of("TLS-10"), Axis::Passive);
        assert_eq!(Axis::of("AUTH-001"), Axis::Passive);
        assert_eq!(Axis::of("AUTH-003"), Axis::Active);
        assert_eq!(Axis::of("AUTH-004"), Axis::Correctness);
        assert_eq!(Axis::of("INJ-001"), Axis::Correctness);
    }
}
