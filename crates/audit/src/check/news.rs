//! The watch mode: what is news since the last look, and nothing else.
//!
//! Kept is the last answer that was one. A service that could not be asked tonight is told once; when it answers again as before there is
//! nothing to tell, and when it answers worse that is news against the last real answer, not against the silence.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::diff::{Change, Kind, NoDocument, diff};
use super::life::Life;

/// Goes up when a field changes its meaning or goes away.
pub const SCHEMA: &str = "gatepost-check-watch-1";

/// What is known from the looks before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The last answers, as a document.
    pub document: Option<Value>,
    /// Questions that could not be told last time, as `ID@SUBJECT`; told once.
    pub unclear: BTreeSet<String>,
    /// Certificates an alarm was given for: the service, and the end.
    pub alarmed: BTreeMap<String, (u64, bool)>,
}

/// A certificate that should have been renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The service.
    pub subject: String,
    /// What is wrong.
    pub text: String,
    /// Whether it is over already.
    pub is_over: bool,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Answers that changed.
    pub changes: Vec<Change>,
    /// Certificates.
    pub alarms: Vec<Alarm>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            document: None,
            unclear: BTreeSet::new(),
            alarmed: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// Reads it back; None for anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let this: Self = serde_json::from_str(text).ok()?;
        (this.schema == SCHEMA).then_some(this)
    }

    /// Takes in a new look. The first one is all told: there is nothing to compare it with.
    pub fn learn(&mut self, document: Value, lives: &[Life], now: u64) -> Result<News, NoDocument> {
        let empty =
            serde_json::json!({ "schema": super::document::SCHEMA, "domains": [], "targets": [] });
        let old = self.document.take().unwrap_or(empty);
        let changes = diff(&old, &document)?;
        let unclear = unclear(&document);
        let news = News {
            changes: changes
                .into_iter()
                .filter(|it| {
                    it.kind != Kind::Unclear || !self.unclear.contains(&name(&it.id, &it.subject))
                })
                .collect(),
            alarms: self.alarms(lives, now),
        };
        self.unclear = unclear;
        self.document = Some(kept(&old, document));
        Ok(news)
    }

    /// Each certificate is told twice at most: when it is due, and when it is over.
    fn alarms(&mut self, lives: &[Life], now: u64) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for life in lives {
            let Some(text) = life.alarm(now) else {
                self.alarmed.remove(&life.subject);
                continue;
            };
            let is_over = now > life.to;
            let told = self
                .alarmed
                .insert(life.subject.clone(), (life.to, is_over));
            if told != Some((life.to, is_over)) {
                alarms.push(Alarm {
                    subject: life.subject.clone(),
                    text,
                    is_over,
                });
            }
        }
        alarms
    }
}

fn name(id: &str, subject: &str) -> String {
    format!("{id}@{subject}")
}

/// Every check of a document, with the place of what it is about.
fn subjects(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    ["domains", "targets"].into_iter().flat_map(move |list| {
        let all = document
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        all.filter_map(|it| Some((super::diff::subject(it)?, it)))
    })
}

fn checks(subject: &Value) -> impl Iterator<Item = &Value> {
    subject
        .get("checks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn is_inconclusive(check: &Value) -> bool {
    check.get("status").and_then(Value::as_str) == Some("inconclusive")
}

fn id(check: &Value) -> &str {
    check.get("id").and_then(Value::as_str).unwrap_or_default()
}

fn unclear(document: &Value) -> BTreeSet<String> {
    subjects(document)
        .flat_map(|(subject, it)| {
            checks(it)
                .filter(|it| is_inconclusive(it))
                .map(move |it| name(id(it), &subject))
        })
        .collect()
}

/// The new document, with the last answer where there is none now.
fn kept(old: &Value, mut new: Value) -> Value {
    let before: BTreeMap<String, &Value> = subjects(old).collect();
    for list in ["domains", "targets"] {
        for it in new
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let Some(known) =
                super::diff::subject(it).and_then(|subject| before.get(&subject).copied())
            else {
                continue;
            };
            for check in it
                .get_mut("checks")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if !is_inconclusive(check) {
                    continue;
                }
                if let Some(last) = checks(known).find(|it| id(it) == id(check)) {
                    *check = last.clone();
                }
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;
    use crate::finding::{Severity, Status};

    /// The sample with another answer for its first check, which failed.
    fn look(status: Status) -> Value {
        let mut report = samples::report();
        report.targets[0].checks[0].status = status;
        report.as_json(Severity::High)
    }

    fn kinds(memory: &mut Memory, document: Value) -> Vec<Kind> {
        let news = memory.learn(document, &[], 0).unwrap();
        news.changes.iter().map(|it| it.kind).collect()
    }

    #[test]
    fn the_second_look_tells_only_what_changed() {
        let mut memory = Memory::default();
        assert!(kinds(&mut memory, look(Status::Fail)).contains(&Kind::New));
        assert_eq!(kinds(&mut memory, look(Status::Fail)), []);
        let mut memory = Memory::read(&serde_json::to_string(&memory).unwrap()).unwrap();
        assert_eq!(kinds(&mut memory, look(Status::Pass)), [Kind::Gone]);
        assert_eq!(kinds(&mut memory, look(Status::Fail)), [Kind::New]);
    }

    #[test]
    fn a_night_without_an_answer_is_told_once_and_hides_nothing() {
        let mut memory = Memory::default();
        kinds(&mut memory, look(Status::Pass));
        assert_eq!(
            kinds(&mut memory, look(Status::Inconclusive)),
            [Kind::Unclear]
        );
        assert_eq!(kinds(&mut memory, look(Status::Inconclusive)), []);
        assert_eq!(kinds(&mut memory, look(Status::Pass)), []);
        kinds(&mut memory, look(Status::Inconclusive));
        assert_eq!(kinds(&mut memory, look(Status::Fail)), [Kind::New]);
        // And a finding is not news again because nobody could be asked in between.
        kinds(&mut memory, look(Status::Inconclusive));
        assert_eq!(kinds(&mut memory, look(Status::Fail)), []);
    }

    #[test]
    fn a_certificate_is_told_when_it_is_due_and_when_it_is_over() {
        let mut memory = Memory::default();
        let life = Life {
            subject: "x".to_owned(),
            from: 0,
            to: 90,
        };
        let mut at = |now, life: &Life| memory.alarms(std::slice::from_ref(life), now).len();
        assert_eq!(
            [
                at(59, &life),
                at(60, &life),
                at(61, &life),
                at(91, &life),
                at(92, &life)
            ],
            [0, 1, 0, 1, 0]
        );
        let renewed = Life {
            from: 90,
            to: 180,
            ..life
        };
        assert_eq!([at(92, &renewed), at(150, &renewed)], [0, 1]);
    }

    #[test]
    fn another_file_is_no_memory() {
        assert_eq!(Memory::read("{}"), None);
        let text = serde_json::to_string(&Memory::default()).unwrap();
        assert_eq!(Memory::read(&text.replace(SCHEMA, "x")), None);
    }
}
