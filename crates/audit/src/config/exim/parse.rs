//! Exim's configuration: the main section, then sections begun by `begin NAME`, in which `name:` opens an item. A backslash at the end
//! of a line goes on with the next; macros (`NAME = value`, the first letter a capital) are put in where their names stand, as text.
//!
//! What `.ifdef` and its kin decide depends on macros of the command line too, so a setting inside of them is marked.

use std::cell::Cell;
use std::collections::HashSet;

use super::super::{Document, Files, Setting, Unread};

const DEPTH: usize = 16;
const MOST: usize = 1_000;
/// More macros than any configuration has; further ones are not put in.
const MACROS: usize = 2_000;
/// Macros are put in at most so often in one line.
const ROUNDS: usize = 50;
/// Longer than any line.
const LONGEST: usize = 64 * 1024;

/// A setting with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The setting; a switch alone has the value `true` or `false`.
    pub setting: Setting,
    /// `main`, `transports`, …
    pub section: String,
    /// The item of a section, such as a transport's name.
    pub item: String,
    /// It stands inside of `.ifdef` or its kin.
    pub conditional: bool,
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// Which rule.
    pub rule: &'static str,
    /// What stands there.
    pub text: String,
    /// The document.
    pub file: usize,
    /// Its line.
    pub line: usize,
}

/// A whole configuration.
#[derive(Debug, Default)]
pub struct Tree {
    /// The settings of all sections but ACLs.
    pub lines: Vec<Line>,
    /// What could not be read.
    pub misread: Vec<Misread>,
    /// An included file was not read.
    pub incomplete: bool,
    /// The text has a `begin`.
    pub has_sections: bool,
}

/// Reads a document and what it includes.
pub fn parse(documents: &mut Vec<Document>, files: &mut dyn Files) -> Tree {
    let mut reader = Reader {
        files,
        tree: Tree::default(),
        macros: Vec::new(),
        section: "main".to_owned(),
        item: String::new(),
        conditions: 0,
        open: HashSet::new(),
        steps: Cell::new(STEPS),
    };
    for file in 0..documents.len() {
        reader.document(documents, file, 0);
    }
    if reader.conditions > 0 {
        reader.bad("EX-SYNTAX", ".endif is missing".to_owned(), 0, 1);
    }
    reader.tree
}

struct Reader<'a> {
    files: &'a mut dyn Files,
    tree: Tree,
    macros: Vec<(String, String)>,
    section: String,
    item: String,
    conditions: usize,
    open: HashSet<String>,
    /// How many macros may still be looked for.
    steps: Cell<usize>,
}

/// Many times what the largest configuration needs; beyond it macros stay as they are written.
const STEPS: usize = 10_000_000;

impl Reader<'_> {
    fn document(&mut self, documents: &mut Vec<Document>, file: usize, depth: usize) {
        let Some((name, text)) = documents
            .get(file)
            .map(|it| (it.name.clone(), it.text.clone()))
        else {
            return;
        };
        self.open.insert(name.clone());
        for (line, last, column, content) in logical(&text) {
            if content.starts_with('.') {
                self.directive(documents, &content, (file, line), depth);
            } else {
                self.line(
                    &content,
                    Place {
                        file,
                        line,
                        last,
                        column,
                    },
                );
            }
        }
        self.open.remove(&name);
    }

    fn directive(
        &mut self,
        documents: &mut Vec<Document>,
        content: &str,
        (file, line): (usize, usize),
        depth: usize,
    ) {
        let (word, rest) = content.split_once([' ', '\t']).unwrap_or((content, ""));
        match word {
            ".ifdef" | ".ifndef" | ".if" => self.conditions += 1,
            ".endif" if self.conditions > 0 => self.conditions -= 1,
            ".else" | ".elifdef" | ".elifndef" if self.conditions > 0 => {}
            ".include" | ".include_if_exists" => {
                let pattern = self.fill(rest.trim().trim_matches('"'));
                let optional = word == ".include_if_exists";
                self.include(documents, &pattern, optional, (file, line), depth);
            }
            _ => self.bad("EX-SYNTAX", content.to_owned(), file, line),
        }
    }

    fn include(
        &mut self,
        documents: &mut Vec<Document>,
        pattern: &str,
        optional: bool,
        (file, line): (usize, usize),
        depth: usize,
    ) {
        if depth >= DEPTH || documents.len() >= MOST {
            return self.bad("EX-INCLUDE-CIRCLE", pattern.to_owned(), file, line);
        }
        let from = documents
            .get(file)
            .map(|it| it.name.clone())
            .unwrap_or_default();
        match self.files.include(pattern, &from) {
            Ok(found) => {
                for document in found {
                    if self.open.contains(&document.name) {
                        self.bad("EX-INCLUDE-CIRCLE", document.name, file, line);
                        continue;
                    }
                    documents.push(document);
                    self.document(documents, documents.len() - 1, depth + 1);
                }
            }
            Err(Unread::Missing) if optional => {}
            // Whether it is included at all is decided by macros that may come from elsewhere.
            Err(_) if self.conditions > 0 => {
                self.tree.incomplete = true;
                self.bad("EX-UNDECIDED", format!(".include {pattern}"), file, line);
            }
            Err(why) => {
                self.tree.incomplete = true;
                self.bad("EX-INCLUDE", format!("{pattern}: {why}"), file, line);
            }
        }
    }

    fn line(&mut self, content: &str, place: Place) {
        if let Some((name, value)) = macro_of(content) {
            let value = self.fill(value);
            self.macros.retain(|(it, _)| it != name);
            if self.macros.len() < MACROS {
                self.macros.push((name.to_owned(), value));
            }
            return;
        }
        let filled = self.fill(content);
        if let Some(section) = filled.strip_prefix("begin ") {
            section.trim().clone_into(&mut self.section);
            self.item.clear();
            self.tree.has_sections = true;
            return;
        }
        // Named lists are no options.
        let lists = ["domainlist ", "hostlist ", "addresslist ", "localpartlist "];
        if lists
            .iter()
            .any(|it| filled.trim_start_matches("hide ").starts_with(it))
        {
            return;
        }
        if matches!(
            self.section.as_str(),
            "acl" | "retry" | "rewrite" | "local_scan"
        ) {
            return;
        }
        if self.section != "main"
            && let Some(item) = filled
                .strip_suffix(':')
                .filter(|it| !it.contains(['=', ' ']))
        {
            item.clone_into(&mut self.item);
            return;
        }
        let Some((name, value, before)) = setting(&filled) else {
            return self.bad("EX-SYNTAX", content.to_owned(), place.file, place.line);
        };
        // Columns are those of the text as it stands, not as it was filled in.
        let before = if filled == content { before } else { 0 };
        self.tree.lines.push(Line {
            setting: Setting {
                name,
                value,
                file: place.file,
                line: place.line,
                column: place.column,
                value_column: place.column + before,
                last: place.last,
            },
            section: self.section.clone(),
            item: self.item.clone(),
            conditional: self.conditions > 0,
        });
    }

    /// Puts macros in, the latest and longest first, as Exim does: as text, wherever the name stands.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..ROUNDS {
            let left = self.steps.get().checked_sub(self.macros.len());
            let Some(left) = left else { break };
            self.steps.set(left);
            let Some((name, value)) = self
                .macros
                .iter()
                .rev()
                .find(|(name, _)| text.contains(name.as_str()))
            else {
                break;
            };
            text = text.replace(name.as_str(), value);
            if text.len() > LONGEST || value.contains(name.as_str()) {
                break;
            }
        }
        text
    }

    fn bad(&mut self, rule: &'static str, text: String, file: usize, line: usize) {
        self.tree.misread.push(Misread {
            rule,
            text,
            file,
            line,
        });
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    file: usize,
    line: usize,
    last: usize,
    column: usize,
}

fn macro_of(content: &str) -> Option<(&str, &str)> {
    let (name, value) = content.split_once('=')?;
    let name = name.trim().trim_end_matches('=');
    let named = name.starts_with(|it: char| it.is_ascii_uppercase())
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '_');
    named.then(|| (name, value.trim_start_matches('=').trim()))
}

/// `hide name = value`, `name`, `no_name`: name, value, and how far in the value stands.
fn setting(content: &str) -> Option<(String, String, usize)> {
    let body = content
        .strip_prefix("hide ")
        .unwrap_or(content)
        .trim_start();
    if let Some((name, value)) = body.split_once('=') {
        let name = name.trim();
        if name.is_empty()
            || !name
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || it == '_')
        {
            return None;
        }
        let lead = value.len() - value.trim_start().len();
        let before = content.len() - value.len() + lead;
        let value = value.trim();
        let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        return Some((
            name.to_owned(),
            inner.unwrap_or(value).to_owned(),
            content.get(..before)?.chars().count(),
        ));
    }
    if body.is_empty()
        || !body
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '_')
    {
        return None;
    }
    let off = body
        .strip_prefix("no_")
        .or_else(|| body.strip_prefix("not_"));
    Some((
        off.unwrap_or(body).to_owned(),
        if off.is_some() { "false" } else { "true" }.to_owned(),
        0,
    ))
}

/// Logical lines: first and last number, column, text.
fn logical(text: &str) -> Vec<(usize, usize, usize, String)> {
    let mut lines = Vec::new();
    let mut held: Option<(usize, usize, usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let raw = raw.trim_end();
        let body = raw.trim_start();
        // Comments may stand between the parts of a line.
        if body.starts_with('#') || (body.is_empty() && held.is_none()) {
            continue;
        }
        let goes_on = body.strip_suffix('\\');
        let part = goes_on.unwrap_or(body);
        if let Some((_, last, _, before)) = &mut held {
            *last = index + 1;
            before.push_str(part);
        } else {
            let column = raw.chars().count() - body.chars().count() + 1;
            held = Some((index + 1, index + 1, column, part.to_owned()));
        }
        if goes_on.is_none() {
            lines.extend(held.take());
        }
    }
    lines.extend(held);
    lines.retain(|(.., text)| !text.trim().is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::super::super::NoFiles;
    use super::*;

    fn read(text: &str) -> Tree {
        parse(&mut vec![Document::new("d", text)], &mut NoFiles)
    }

    #[test]
    fn macros_sections_and_switches_are_read() {
        let tree = read(
            "PORTS = 465\ntls_on_connect_ports = PORTS : \\\n  # c\n  1465\nhide pgsql_servers = x\nno_drop_cr\n.ifdef X\ntls_certificate = /c\n.endif\nbegin transports\nremote:\n  driver = smtp\n",
        );
        assert!(tree.misread.is_empty(), "{:?}", tree.misread);
        let told: Vec<(&str, &str)> = tree
            .lines
            .iter()
            .map(|it| (it.setting.name.as_str(), it.setting.value.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("tls_on_connect_ports", "465 : 1465"),
                ("pgsql_servers", "x"),
                ("drop_cr", "false"),
                ("tls_certificate", "/c"),
                ("driver", "smtp")
            ]
        );
        assert!(tree.lines[3].conditional && !tree.lines[0].conditional);
        assert_eq!(
            (tree.lines[4].section.as_str(), tree.lines[4].item.as_str()),
            ("transports", "remote")
        );
        assert_eq!(
            (tree.lines[0].setting.line, tree.lines[0].setting.last),
            (2, 4)
        );
    }

    #[test]
    fn macros_that_name_themselves_end() {
        let tree = read("AA = xAAx\nBB = CC\nCC = BB BB\nprimary_hostname = AA BB\n");
        assert!(tree.lines[0].setting.value.len() <= 2 * LONGEST);
    }

    #[test]
    fn what_is_no_option_is_named() {
        assert_eq!(read("hello world\n").misread[0].rule, "EX-SYNTAX");
        assert_eq!(read(".endif\n").misread[0].rule, "EX-SYNTAX");
        assert_eq!(read(".ifdef A\n").misread[0].rule, "EX-SYNTAX");
    }
}
