//! The corpus: configurations, good and bad, each with the findings it must have and no others.
//!
//! A case is a folder `corpus/SERVER/NAME` with the server's files and `expect`: the words `version V` where a version is given, then
//! one finding a line, `FILE:LINE:COLUMN ID`. What a correction leaves is judged again: nothing that was corrected may come back.
//! `GATEPOST_BLESS=1` writes the files anew, to be read before they are kept.

use std::fs;
use std::path::{Path, PathBuf};

use gatepost_audit::config::{self, Document, Files, Kind, Outcome, Unread, Version};

struct Folder(PathBuf);

impl Files for Folder {
    fn include(&mut self, pattern: &str, _: &str) -> Result<Vec<Document>, Unread> {
        let leaf = pattern.rsplit('/').next().unwrap_or(pattern);
        let (before, after) = leaf.split_once('*').unwrap_or((leaf, "\0"));
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| {
                if after == "\0" {
                    name == leaf
                } else {
                    name.starts_with(before) && name.ends_with(after)
                }
            })
            .collect();
        names.sort();
        if names.is_empty() && after == "\0" {
            return Err(Unread::Missing);
        }
        Ok(names
            .iter()
            .map(|name| Document::new(name, fs::read_to_string(self.0.join(name)).unwrap()))
            .collect())
    }
}

struct Case {
    folder: PathBuf,
    kind: Kind,
    version: Option<Version>,
    expected: Vec<String>,
}

impl Case {
    fn judge(&self, documents: Vec<Document>) -> Outcome {
        config::lint(
            self.kind,
            documents,
            self.version,
            &mut Folder(self.folder.clone()),
        )
    }

    /// The files the server begins with.
    fn documents(&self) -> Vec<Document> {
        let first: &[&str] = match self.kind {
            Kind::Postfix => &["main.cf", "master.cf"],
            Kind::Dovecot => &["dovecot.conf"],
            Kind::Exim => &["exim4.conf"],
            Kind::Courier => &["imapd", "imapd-ssl", "pop3d", "pop3d-ssl"],
        };
        first
            .iter()
            .filter_map(|name| {
                Some(Document::new(
                    *name,
                    fs::read_to_string(self.folder.join(name)).ok()?,
                ))
            })
            .collect()
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        let mut folders: Vec<PathBuf> = fs::read_dir(root.join(kind.word()))
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        folders.sort();
        for folder in folders {
            let text = fs::read_to_string(folder.join("expect")).unwrap_or_default();
            let mut version = None;
            let mut expected = Vec::new();
            for line in text.lines() {
                match line.strip_prefix("version ") {
                    Some(words) => version = Version::parse(words),
                    None => expected.push(line.to_owned()),
                }
            }
            cases.push(Case {
                folder,
                kind,
                version,
                expected,
            });
        }
    }
    cases
}

fn told(outcome: &Outcome) -> Vec<String> {
    let findings = outcome.findings.iter();
    findings
        .map(|it| {
            format!(
                "{}:{}:{} {}",
                it.place.file, it.place.line, it.place.column, it.rule.id
            )
        })
        .collect()
}

// [CFG-PF-01] [CFG-DC-01] [CFG-EX-01]
#[test]
fn every_configuration_has_the_findings_it_must_have_and_no_others() {
    let mut wrong = Vec::new();
    let cases = cases();
    for case in &cases {
        let found = told(&case.judge(case.documents()));
        if std::env::var_os("GATEPOST_BLESS").is_some() {
            let version = case
                .version
                .map(|it| format!("version {it}\n"))
                .unwrap_or_default();
            let mut lines = found.join("\n");
            if !lines.is_empty() {
                lines.push('\n');
            }
            fs::write(case.folder.join("expect"), version + &lines).unwrap();
        } else if found != case.expected {
            wrong.push(format!(
                "{}:\n  found    {found:?}\n  expected {:?}",
                case.folder.display(),
                case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 60, "{} cases", cases.len());
}

#[test]
fn what_was_corrected_does_not_come_back_and_nothing_worse_comes() {
    for case in cases() {
        let before = case.judge(case.documents());
        let count = case.documents().len();
        let after: Vec<Document> = before
            .documents
            .iter()
            .take(count)
            .enumerate()
            .map(|(index, it)| {
                Document::new(
                    &it.name,
                    config::edit::apply(&it.text, &before.edits, index),
                )
            })
            .collect();
        // Files that are included are read from the folder again, uncorrected.
        if before.edits.iter().any(|edit| edit.file >= count) {
            continue;
        }
        let again = case.judge(after.clone());
        let text = || {
            after
                .iter()
                .map(|it| it.text.as_str())
                .collect::<Vec<_>>()
                .join("\n---\n")
        };
        assert!(
            again.edits.is_empty(),
            "{}: {:?}\n{}",
            case.folder.display(),
            again.edits,
            text()
        );
        for finding in &again.findings {
            let known = before
                .findings
                .iter()
                .any(|it| it.rule.id == finding.rule.id);
            let harmless = finding.rule.severity <= gatepost_audit::finding::Severity::Low;
            assert!(
                known || harmless,
                "{}: {} is new\n{}",
                case.folder.display(),
                finding.rule.id,
                text()
            );
        }
        // Comments stay.
        for (old, new) in before.documents.iter().zip(&after) {
            let comments = old.text.lines().filter(|line| line.starts_with('#'));
            for comment in comments {
                assert!(
                    new.text.contains(comment),
                    "{}: {comment}",
                    case.folder.display()
                );
            }
        }
    }
}
