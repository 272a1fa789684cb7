//! From a TOML file and flags to values in force, each with where it came from.
//!
//! Unknown names, wrong types and contradictions are errors that name line and column and say what to write instead.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use gatepost_wire::sasl::Mechanism;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::directives::{self, DIRECTIVES, Directive, Kind};

/// A directive's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A switch.
    Switch(bool),
    /// A count, a size in octets or a duration in seconds.
    Number(u64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<String>),
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The built-in default.
    Default,
    /// The file, at this line.
    File(usize),
    /// The command line.
    Flag,
}

/// The values in force, by directive name.
#[derive(Debug)]
pub(crate) struct Values(BTreeMap<&'static str, (Value, Origin)>);

/// What is wrong with a configuration, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Line and column in the file, from 1; none for a flag.
    pub(crate) place: Option<(usize, usize)>,
    /// What is wrong, and what to write instead.
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl Values {
    /// The defaults alone.
    pub(crate) fn defaults() -> Self {
        let mut values = BTreeMap::new();
        for directive in DIRECTIVES {
            let text = format!("value = {}", directive.default);
            let value = DeTable::parse(&text)
                .ok()
                .and_then(|table| {
                    table
                        .get_ref()
                        .get("value")
                        .and_then(|value| understand(directive.kind, value.get_ref()))
                })
                .unwrap_or(Value::Text(String::new()));
            values.insert(directive.name, (value, Origin::Default));
        }
        Self(values)
    }

    /// Lays the directives of a file over the values.
    pub(crate) fn read_file(&mut self, text: &str) -> Result<(), Vec<Problem>> {
        let table = DeTable::parse(text).map_err(|error| {
            vec![problem(
                text,
                error.span().unwrap_or(0..0),
                error.message().to_owned(),
            )]
        })?;
        let mut problems = Vec::new();
        for (section, value) in table.get_ref() {
            let section_name = section.get_ref().as_ref();
            if let DeValue::Table(entries) = value.get_ref() {
                for (name, value) in entries {
                    let full = format!("{section_name}.{}", name.get_ref());
                    match self.accept(text, &full, name.span(), value) {
                        Ok(()) => {}
                        Err(problem) => problems.push(problem),
                    }
                }
            } else {
                problems.push(problem(text, section.span(), unknown(section_name)));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn accept(
        &mut self,
        text: &str,
        name: &str,
        at: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Problem> {
        let directive =
            directives::find(name).ok_or_else(|| problem(text, at.clone(), unknown(name)))?;
        let understood = understand(directive.kind, value.get_ref()).ok_or_else(|| {
            problem(
                text,
                value.span(),
                format!("{name} takes {}", directive.kind.expected()),
            )
        })?;
        let line = place(text, at.start).0;
        self.0
            .insert(directive.name, (understood, Origin::File(line)));
        Ok(())
    }

    /// Lays a flag over the values. `given` are the flag's values; several only for lists.
    pub(crate) fn set_flag(
        &mut self,
        directive: &'static Directive,
        given: &[String],
    ) -> Result<(), Problem> {
        let list = matches!(
            directive.kind,
            Kind::Texts | Kind::Mechanisms | Kind::Addresses | Kind::Networks
        );
        let value = if list {
            understand_list(directive.kind, given.to_vec())
        } else {
            given
                .last()
                .and_then(|text| understand_text(directive.kind, text))
        };
        let value = value.ok_or_else(|| Problem {
            place: None,
            text: format!(
                "--{} takes {}",
                directive.flag.unwrap_or_default(),
                directive.kind.expected_of_flag()
            ),
        })?;
        self.0.insert(directive.name, (value, Origin::Flag));
        Ok(())
    }

    /// The value of a directive and where it came from.
    pub(crate) fn entry(&self, name: &str) -> Option<&(Value, Origin)> {
        self.0.get(name)
    }

    /// A number directive's value; 0 if it is none (the table's own test rules that out).
    pub(crate) fn number(&self, name: &str) -> u64 {
        match self.entry(name) {
            Some((Value::Number(number), _)) => *number,
            _ => 0,
        }
    }

    /// A switch directive's value.
    pub(crate) fn switch(&self, name: &str) -> bool {
        matches!(self.entry(name), Some((Value::Switch(true), _)))
    }

    /// A text directive's value.
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.entry(name) {
            Some((Value::Text(text), _)) => text,
            _ => "",
        }
    }

    /// A list directive's value.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        match self.entry(name) {
            Some((Value::List(list), _)) => list,
            _ => &[],
        }
    }

    /// What is in force, and why, one line each.
    pub(crate) fn explain(&self) -> String {
        let mut text = String::new();
        for directive in DIRECTIVES {
            if let Some((value, origin)) = self.entry(directive.name) {
                let why = match origin {
                    Origin::Default => "default".to_owned(),
                    Origin::File(line) => format!("line {line} of the file"),
                    Origin::Flag => format!("--{}", directive.flag.unwrap_or_default()),
                };
                text.push_str(&format!(
                    "{:<32} {:<28} # {why}: {}\n",
                    directive.name,
                    value.to_string(),
                    directive.short
                ));
            }
        }
        text
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(on) => write!(f, "{on}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
        }
    }
}

fn unknown(name: &str) -> String {
    match directives::nearest(name) {
        Some(near) => format!("there is no directive {name}; did you mean {}?", near.name),
        None => format!("there is no directive {name}; `gatepost config sample` shows all of them"),
    }
}

fn problem(text: &str, span: Range<usize>, words: String) -> Problem {
    Problem {
        place: Some(place(text, span.start)),
        text: words,
    }
}

/// Line and column of an offset, both from 1; the column counts characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn understand(kind: Kind, value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::Boolean(on) if kind == Kind::Switch => Some(Value::Switch(*on)),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            (number.radix() == 10
                && matches!(kind, Kind::Count(..) | Kind::Size(_) | Kind::Duration))
            .then(|| understand_text(kind, digits))
            .flatten()
        }
        DeValue::String(text) => match kind {
            Kind::Switch
            | Kind::Count(..)
            | Kind::Texts
            | Kind::Mechanisms
            | Kind::Addresses
            | Kind::Networks => None,
            _ => understand_text(kind, text),
        },
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect();
            understand_list(kind, texts?)
        }
        _ => None,
    }
}

/// A size in octets, as a directive would take it.
pub(crate) fn octets(text: &str) -> Option<u64> {
    match understand_text(Kind::Size(0), text) {
        Some(Value::Number(octets)) => Some(octets),
        _ => None,
    }
}

fn understand_list(kind: Kind, texts: Vec<String>) -> Option<Value> {
    let good = match kind {
        Kind::Texts => true,
        Kind::Mechanisms => {
            !texts.is_empty()
                && texts.iter().all(|text| {
                    Mechanism::from_name(text.as_bytes()).is_some_and(Mechanism::is_for_password)
                })
        }
        Kind::Addresses => {
            !texts.is_empty()
                && texts
                    .iter()
                    .all(|text| text.parse::<std::net::IpAddr>().is_ok())
        }
        Kind::Networks => texts
            .iter()
            .all(|text| gatepost_net::network::Network::parse(text).is_some()),
        _ => false,
    };
    good.then_some(Value::List(texts))
}

fn understand_text(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Switch => text.parse().ok().map(Value::Switch),
        Kind::Count(low, high) => text
            .parse()
            .ok()
            .filter(|n| (low..=high).contains(n))
            .map(Value::Number),
        Kind::Size(least) => measure(
            text,
            &[
                ("GiB", 1 << 30),
                ("MiB", 1 << 20),
                ("KiB", 1 << 10),
                ("", 1),
            ],
        )
        .filter(|value| matches!(value, Value::Number(octets) if *octets >= least)),
        Kind::Duration => measure(
            text,
            &[("min", 60), ("d", 86_400), ("h", 3600), ("s", 1), ("", 1)],
        ),
        Kind::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        Kind::Text | Kind::Path => Some(Value::Text(text.to_owned())),
        Kind::Socket => (text.is_empty() || text.parse::<std::net::SocketAddr>().is_ok())
            .then(|| Value::Text(text.to_owned())),
        Kind::Texts | Kind::Mechanisms | Kind::Addresses | Kind::Networks => None,
    }
}

fn measure(text: &str, units: &[(&str, u64)]) -> Option<Value> {
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)))?;
    number
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Values, Vec<Problem>> {
        let mut values = Values::defaults();
        values.read_file(text)?;
        Ok(values)
    }

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for directive in DIRECTIVES {
            let text = format!("value = {}", directive.default);
            let table = DeTable::parse(&text).unwrap();
            assert!(
                understand(
                    directive.kind,
                    table.get_ref().get("value").unwrap().get_ref()
                )
                .is_some(),
                "{} = {}",
                directive.name,
                directive.default
            );
        }
    }

    #[test]
    fn the_sample_with_every_directive_uncommented_is_the_defaults() {
        let sample: String = directives::sample()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let values = read(&sample).unwrap();
        let defaults = Values::defaults();
        for directive in DIRECTIVES {
            let (value, origin) = values.entry(directive.name).unwrap();
            assert_eq!(value, &defaults.entry(directive.name).unwrap().0);
            assert!(
                matches!(origin, Origin::File(_)),
                "{} is missing in the sample",
                directive.name
            );
        }
    }

    #[test]
    fn problems_name_line_column_and_cure() {
        let problems =
            read("[server]\nhost = \"a\"\n  dta = \"x\"\nport_offset = 99999\n").unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "line 3, column 3: there is no directive server.dta; did you mean server.data?"
        );
        assert_eq!(
            problems[1].to_string(),
            "line 4, column 15: server.port_offset takes a whole number from 0 to 60000"
        );
        assert_eq!(read("[server\n").unwrap_err()[0].place.unwrap().0, 1);
        assert!(
            read("loose = 1\n").unwrap_err()[0]
                .text
                .contains("there is no directive loose")
        );
    }

    #[test]
    fn units_are_understood() {
        let values =
            read("[smtp]\nmessage_size = \"20 MiB\"\n[limits]\nhandshake_time = \"1 min\"\n")
                .unwrap();
        assert_eq!(values.number("smtp.message_size"), 20 << 20);
        assert_eq!(values.number("limits.handshake_time"), 60);
        assert!(read("[smtp]\nmessage_size = \"20 MB\"\n").is_err());
        assert!(read("[smtp]\nmessage_size = \"99999999999 GiB\"\n").is_err());
    }

    #[test]
    fn flags_win_over_the_file() {
        let mut values = read("[server]\nbind = [\"127.0.0.1\"]\n").unwrap();
        values
            .set_flag(
                directives::find("server.bind").unwrap(),
                &["::1".into(), "127.0.0.2".into()],
            )
            .unwrap();
        assert_eq!(values.list("server.bind"), ["::1", "127.0.0.2"]);
        assert!(
            values
                .set_flag(
                    directives::find("server.bind").unwrap(),
                    &["localhost".into()]
                )
                .is_err()
        );
    }
}
