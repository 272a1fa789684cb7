//! What a reader gets: figures with their spread, ratios with their limits, and what was left out and why.
//! Lines are printed as they are known; `--json` writes the same once more, with every run.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::fault::Fault;
use crate::machine::Machine;
use crate::sample::Sample;

/// Version of the JSON layout.
const FORMAT: u32 = 1;

/// One measured quantity of one server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// `starttls`, `idle` and so on.
    section: &'static str,
    /// Whose it is.
    subject: String,
    /// What was measured.
    what: String,
    /// Its unit.
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    /// Each run's value.
    runs: Vec<f64>,
}

impl Figure {
    /// Whether it is this server's.
    pub(crate) fn is_of(&self, subject: &str) -> bool {
        self.subject == subject
    }
}

/// How a ratio should stand to a figure of design.md.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// Reached at or below this.
    AtMost(f64),
    /// Reached at or above this.
    AtLeast(f64),
    /// For the reader to judge.
    None,
}

impl Goal {
    /// Whether `value` reaches the goal; `None` when there is no goal.
    pub(crate) fn reached(self, value: f64) -> Option<bool> {
        match self {
            Goal::AtMost(limit) => Some(value <= limit),
            Goal::AtLeast(limit) => Some(value >= limit),
            Goal::None => None,
        }
    }
}

/// One median divided by another, or by a limit.
#[derive(Debug, Clone, Serialize)]
struct Ratio {
    section: &'static str,
    of: String,
    to: String,
    value: f64,
    goal: Goal,
    reached: Option<bool>,
}

/// A peer or a measurement that did not happen.
#[derive(Debug, Clone, Serialize)]
struct Skip {
    what: String,
    why: String,
}

/// Everything one run of the harness found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    format: u32,
    machine: Machine,
    figures: Vec<Figure>,
    ratios: Vec<Ratio>,
    skipped: Vec<Skip>,
    notes: Vec<String>,
    #[serde(skip)]
    section: &'static str,
}

impl Report {
    /// Begins a report and prints the machine.
    pub(crate) fn new(machine: &Machine) -> Self {
        println!("machine: {}", machine.line());
        Self {
            format: FORMAT,
            machine: machine.clone(),
            figures: Vec::new(),
            ratios: Vec::new(),
            skipped: Vec::new(),
            notes: Vec::new(),
            section: "",
        }
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, name: &'static str, title: &str) {
        self.section = name;
        println!("\n{name}: {title}");
    }

    /// Takes one figure, prints it, and gives it back for ratios.
    pub(crate) fn figure(
        &mut self,
        subject: &str,
        what: &str,
        unit: &'static str,
        sample: &Sample,
    ) -> Figure {
        let figure = Figure {
            section: self.section,
            subject: subject.to_owned(),
            what: what.to_owned(),
            unit,
            median: sample.median(),
            min: sample.min(),
            max: sample.max(),
            runs: sample.runs().to_vec(),
        };
        println!(
            "  {:<28} {:<44} {:>10} {unit}  (min {}, max {}, {} runs)",
            figure.subject,
            figure.what,
            short(figure.median),
            short(figure.min),
            short(figure.max),
            sample.len()
        );
        self.figures.push(figure.clone());
        figure
    }

    /// Takes and prints the ratio of two figures' medians.
    pub(crate) fn ratio(&mut self, of: &Figure, to: &Figure, goal: Goal) {
        let name = |figure: &Figure| format!("{}, {}", figure.subject, figure.what);
        self.push_ratio(name(of), name(to), of.median / to.median, goal);
    }

    /// Takes and prints the ratio of a figure's median to a fixed limit of design.md.
    pub(crate) fn ratio_to_limit(&mut self, of: &Figure, limit: f64) {
        let name = format!("{}, {}", of.subject, of.what);
        let to = format!("limit of {} {}", short(limit), of.unit);
        self.push_ratio(name, to, of.median / limit, Goal::AtMost(1.0));
    }

    /// Takes and prints the ratio of a figure's median to a fixed goal it should reach or pass.
    pub(crate) fn ratio_to_least(&mut self, of: &Figure, least: f64) {
        let name = format!("{}, {}", of.subject, of.what);
        let to = format!("goal of {} {}", short(least), of.unit);
        self.push_ratio(name, to, of.median / least, Goal::AtLeast(1.0));
    }

    fn push_ratio(&mut self, of: String, to: String, value: f64, goal: Goal) {
        if !value.is_finite() {
            self.note(&format!("no ratio of {of} to {to}: one of them is zero"));
            return;
        }
        let reached = goal.reached(value);
        let verdict = match (goal, reached) {
            (Goal::AtMost(limit), Some(true)) => format!("  reached (at most {limit})"),
            (Goal::AtMost(limit), _) => format!("  MISSED (at most {limit})"),
            (Goal::AtLeast(limit), Some(true)) => format!("  reached (at least {limit})"),
            (Goal::AtLeast(limit), _) => format!("  MISSED (at least {limit})"),
            (Goal::None, _) => String::new(),
        };
        println!("  = {value:.2} x  {of}  /  {to}{verdict}");
        self.ratios.push(Ratio {
            section: self.section,
            of,
            to,
            value,
            goal,
            reached,
        });
    }

    /// Names what was left out.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        println!("  skipped: {what}: {why}");
        self.skipped.push(Skip {
            what: what.to_owned(),
            why: why.to_string(),
        });
    }

    /// Something a reader must know beside the figures.
    pub(crate) fn note(&mut self, text: &str) {
        println!("  note: {text}");
        self.notes.push(text.to_owned());
    }

    /// Prints what was missed and skipped, and writes the JSON file.
    pub(crate) fn finish(&self, json: Option<&Path>) -> Result<(), Fault> {
        let count = |wanted| {
            self.ratios
                .iter()
                .filter(|ratio| ratio.reached == Some(wanted))
                .count()
        };
        println!(
            "\ngoals reached: {}, missed: {}; measurements skipped: {}",
            count(true),
            count(false),
            self.skipped.len()
        );
        let Some(path) = json else { return Ok(()) };
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(path, text).map_err(Fault::at("writing the JSON report"))
    }
}

/// A number with as many decimals as it deserves.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, short};

    #[test]
    fn goals_are_judged_in_their_direction() {
        assert_eq!(Goal::AtMost(3.0).reached(3.0), Some(true));
        assert_eq!(Goal::AtMost(3.0).reached(3.1), Some(false));
        assert_eq!(Goal::AtLeast(10.0).reached(9.9), Some(false));
        assert_eq!(Goal::AtLeast(10.0).reached(10.0), Some(true));
        assert_eq!(Goal::None.reached(1.0), None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(12345.6), "12346");
        assert_eq!(short(48.04), "48.0");
        assert_eq!(short(0.876), "0.88");
    }
}
