//! What changed between two documents: what to look at after a change, and all that the watch mode tells.
//!
//! Compared are the answers, not the words beside them: a certificate with a day less to live is no news. What could not be told is no
//! verdict: from or to it nothing becomes worse or better, it becomes unclear or told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::document::SCHEMA;
use crate::finding::Severity;
use crate::shown::shown;

/// Goes up when a field changes its meaning or goes away.
pub const DIFF_SCHEMA: &str = "gatepost-check-diff-1";

/// The way something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A finding where there was none.
    New,
    /// A finding that is graver now.
    Worse,
    /// Could be told, and cannot be now.
    Unclear,
    /// Could not be told, and is good.
    Told,
    /// A finding that is less grave now.
    Better,
    /// A finding that is no more.
    Gone,
    /// A service or domain that was not looked at before.
    Appeared,
    /// A service or domain that is not looked at any more.
    Vanished,
}

impl Kind {
    /// The word in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Worse => "worse",
            Self::Unclear => "unclear",
            Self::Told => "told",
            Self::Better => "better",
            Self::Gone => "gone",
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which way.
    pub kind: Kind,
    /// The service or the domain.
    pub subject: String,
    /// The rule; empty for whole services and domains.
    pub id: String,
    /// The answer before, as `fail (high)`.
    pub from: Option<String>,
    /// The answer now.
    pub to: Option<String>,
    /// How grave it is now; before, when it is gone.
    pub severity: Option<Severity>,
    /// What was seen now.
    pub evidence: String,
}

/// A document is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoDocument(String);

impl std::fmt::Display for NoDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a document of schema {SCHEMA}: {}", self.0)
    }
}

impl std::error::Error for NoDocument {}

/// One answer of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: String,
    severity: Severity,
    evidence: String,
}

impl Answer {
    /// How grave; none when it could not be told.
    fn grade(&self) -> Option<u8> {
        match self.status.as_str() {
            "inconclusive" => None,
            "warn" => Some(1 + 2 * self.severity as u8),
            "fail" => Some(2 + 2 * self.severity as u8),
            _ => Some(0),
        }
    }

    fn words(&self) -> String {
        match self.status.as_str() {
            "warn" | "fail" => format!("{} ({})", self.status, self.severity.word()),
            status => status.to_owned(),
        }
    }
}

type Answers = BTreeMap<String, BTreeMap<String, Answer>>;

/// What changed, the worst first.
pub fn diff(old: &Value, new: &Value) -> Result<Vec<Change>, NoDocument> {
    let (old, new) = (answers(old)?, answers(new)?);
    let mut changes = Vec::new();
    for (subject, now) in &new {
        if let Some(before) = old.get(subject) {
            compare(subject, before, now, &mut changes);
        } else {
            changes.push(whole(Kind::Appeared, subject));
            compare(subject, &BTreeMap::new(), now, &mut changes);
        }
    }
    for subject in old.keys().filter(|it| !new.contains_key(*it)) {
        changes.push(whole(Kind::Vanished, subject));
    }
    changes.sort_by_key(|it| (it.kind, std::cmp::Reverse(it.severity)));
    Ok(changes)
}

fn whole(kind: Kind, subject: &str) -> Change {
    Change {
        kind,
        subject: subject.to_owned(),
        id: String::new(),
        from: None,
        to: None,
        severity: None,
        evidence: String::new(),
    }
}

fn compare(
    subject: &str,
    before: &BTreeMap<String, Answer>,
    now: &BTreeMap<String, Answer>,
    changes: &mut Vec<Change>,
) {
    let ids = before
        .keys()
        .chain(now.keys().filter(|it| !before.contains_key(*it)));
    for id in ids {
        let (old, new) = (before.get(id), now.get(id));
        let Some(kind) = kind(old, new) else {
            continue;
        };
        changes.push(Change {
            kind,
            subject: subject.to_owned(),
            id: id.clone(),
            from: old.map(Answer::words),
            to: new.map(Answer::words),
            severity: new.or(old).map(|it| it.severity),
            evidence: new.map(|it| it.evidence.clone()).unwrap_or_default(),
        });
    }
}

/// A question that was not asked before counts as good: nothing is said of good ones. One that is not asked any more has no answer: what was wrong
/// may be so still.
fn kind(old: Option<&Answer>, new: Option<&Answer>) -> Option<Kind> {
    let before = old.map_or(Some(0), Answer::grade);
    let now = match new {
        None if before == Some(0) => Some(0),
        None => None,
        Some(new) => new.grade(),
    };
    match (before, now) {
        (Some(0) | None, Some(1..)) => Some(Kind::New),
        (Some(1..), Some(0)) => Some(Kind::Gone),
        (Some(before), Some(now)) if now > before => Some(Kind::Worse),
        (Some(before), Some(now)) if now < before => Some(Kind::Better),
        (Some(_), None) => Some(Kind::Unclear),
        (None, Some(_)) => new.map(|_| Kind::Told),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn answers(document: &Value) -> Result<Answers, NoDocument> {
    let wrong = |what: &str| NoDocument(what.to_owned());
    if document.get("schema").and_then(Value::as_str) != Some(SCHEMA) {
        return Err(wrong("the schema is another"));
    }
    let mut answers = Answers::new();
    for (list, name) in [
        ("domains", domain_name as fn(&Value) -> Option<String>),
        ("targets", target_name),
    ] {
        for it in document
            .get(list)
            .and_then(Value::as_array)
            .ok_or_else(|| wrong(list))?
        {
            let subject = name(it).ok_or_else(|| wrong("a subject without a name"))?;
            let checks = it
                .get("checks")
                .and_then(Value::as_array)
                .ok_or_else(|| wrong("checks"))?;
            let of_subject = answers.entry(subject).or_default();
            for check in checks {
                let (id, answer) = answer(check).ok_or_else(|| wrong("a check"))?;
                // Where a rule answers twice the graver one counts.
                match of_subject.get(&id) {
                    Some(there) if there.grade() >= answer.grade() => {}
                    _ => drop(of_subject.insert(id, answer)),
                }
            }
        }
    }
    Ok(answers)
}

fn answer(check: &Value) -> Option<(String, Answer)> {
    let text = |name: &str| check.get(name).and_then(Value::as_str);
    let answer = Answer {
        status: text("status")?.to_owned(),
        severity: Severity::parse(text("severity")?)?,
        evidence: text("evidence").unwrap_or_default().to_owned(),
    };
    Some((text("id")?.to_owned(), answer))
}

/// What a domain or a target of a document is called.
pub(crate) fn subject(it: &Value) -> Option<String> {
    domain_name(it).or_else(|| target_name(it))
}

fn domain_name(it: &Value) -> Option<String> {
    it.get("domain")?.as_str().map(str::to_owned)
}

fn target_name(it: &Value) -> Option<String> {
    let target: super::target::Target = serde_json::from_value(it.clone()).ok()?;
    Some(target.to_string())
}

/// Whether something is new or worse at or above the threshold.
#[must_use]
pub fn is_worse(changes: &[Change], fail_on: Severity) -> bool {
    let bad = changes
        .iter()
        .filter(|it| matches!(it.kind, Kind::New | Kind::Worse));
    bad.filter_map(|it| it.severity).any(|it| it >= fail_on)
}

/// For people: one change a line.
#[must_use]
pub fn text(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "Nothing changed.\n".to_owned();
    }
    let mut out = String::new();
    for it in changes {
        let mut line = format!("{:<9}", it.kind.word());
        if it.id.is_empty() {
            line.push_str(&shown(&it.subject));
        } else {
            let way = format!(
                "{} -> {}",
                it.from.as_deref().unwrap_or("not asked"),
                it.to.as_deref().unwrap_or("not asked")
            );
            line.push_str(&format!("{} {}: {way}", it.id, shown(&it.subject)));
            if !it.evidence.is_empty() {
                line.push_str(&format!(": {}", shown(&it.evidence)));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// For programs.
#[must_use]
pub fn as_json(changes: &[Change]) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|it| {
            json!({
                "kind": it.kind.word(), "subject": it.subject, "id": it.id, "from": it.from, "to": it.to,
                "severity": it.severity.map(Severity::word), "evidence": it.evidence,
            })
        })
        .collect();
    json!({ "schema": DIFF_SCHEMA, "changes": changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::document::Report;
    use crate::check::samples;
    use crate::finding::Status;

    fn changed(change: impl FnOnce(&mut Report)) -> Vec<Change> {
        let old = samples::report();
        let mut new = old.clone();
        change(&mut new);
        diff(&old.as_json(Severity::High), &new.as_json(Severity::High)).unwrap()
    }

    /// What becomes of the answer at this place of the first target.
    fn becomes(place: usize, status: Status) -> Vec<(Kind, String)> {
        let changes = changed(|it| it.targets[0].checks[place].status = status);
        changes.into_iter().map(|it| (it.kind, it.id)).collect()
    }

    #[test]
    fn equal_documents_have_no_changes_whatever_the_words() {
        assert_eq!(changed(|_| {}), []);
        assert_eq!(
            changed(|it| it.targets[0].checks[0].evidence = "13 days".to_owned()),
            []
        );
        assert_eq!(text(&[]), "Nothing changed.\n");
    }

    #[test]
    fn what_is_not_asked_any_more_is_not_gone() {
        let kinds = |place: usize| {
            let changes = changed(|it| drop(it.targets[0].checks.remove(place)));
            let kinds = changes.into_iter().map(|it| (it.kind, it.id));
            kinds.collect::<Vec<_>>()
        };
        assert_eq!(kinds(0), [(Kind::Unclear, "STLS-001".to_owned())]);
        assert_eq!(kinds(1), [], "it was good");
        assert_eq!(kinds(2), [], "it was open before");
    }

    #[test]
    fn each_way_has_its_word() {
        // 0 failed, 1 passed, 2 could not be told.
        assert_eq!(
            becomes(0, Status::Pass),
            [(Kind::Gone, "STLS-001".to_owned())]
        );
        assert_eq!(
            becomes(0, Status::Warn),
            [(Kind::Better, "STLS-001".to_owned())]
        );
        assert_eq!(
            becomes(0, Status::Inconclusive),
            [(Kind::Unclear, "STLS-001".to_owned())]
        );
        assert_eq!(becomes(1, Status::Fail), [(Kind::New, "TLS-10".to_owned())]);
        assert_eq!(
            becomes(1, Status::Inconclusive),
            [(Kind::Unclear, "TLS-10".to_owned())]
        );
        assert_eq!(
            becomes(2, Status::Pass),
            [(Kind::Told, "INJ-001".to_owned())]
        );
        assert_eq!(
            becomes(2, Status::Fail),
            [(Kind::New, "INJ-001".to_owned())]
        );
        assert_eq!(becomes(3, Status::Pass), []);
    }

    #[test]
    fn graver_is_worse() {
        let changes = changed(|it| it.targets[0].checks[0].severity = Severity::Critical);
        assert_eq!(changes[0].kind, Kind::Worse);
        assert!(is_worse(&changes, Severity::Critical));
        assert_eq!(changes[0].from.as_deref(), Some("fail (high)"));
        assert!(!is_worse(
            &changed(|it| it.targets[0].checks[0].status = Status::Pass),
            Severity::Info
        ));
    }

    #[test]
    fn services_come_and_go() {
        let changes = changed(|it| {
            let last = it.targets.pop().unwrap();
            it.targets[0].target.port = 587;
            drop(last);
        });
        let kinds: Vec<Kind> = changes.iter().map(|it| it.kind).collect();
        assert_eq!(
            kinds,
            [
                Kind::New,
                Kind::Unclear,
                Kind::Appeared,
                Kind::Vanished,
                Kind::Vanished
            ]
        );
        let text = text(&changes);
        assert!(
            text.contains("appeared smtp://mail.example.org:587 (192.0.2.1)"),
            "{text}"
        );
        assert!(text.contains("new      STLS-001 smtp://mail.example.org:587 (192.0.2.1): not asked -> fail (high): =cmd|"), "{text}");
        assert_eq!(as_json(&changes)["changes"][0]["kind"], "new");
    }

    #[test]
    fn other_documents_are_refused() {
        let ours = samples::report().as_json(Severity::High);
        for wrong in [
            json!({}),
            json!({"schema": SCHEMA}),
            json!({"schema": SCHEMA, "domains": [{}], "targets": []}),
            json!([]),
        ] {
            assert!(
                diff(&wrong, &ours).is_err() && diff(&ours, &wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
