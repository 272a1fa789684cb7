//! dovecot.conf as Dovecot reads it: `name = value`, sections in braces, `!include`. A `#` after white space begins a comment, unless
//! it stands in quotes; a backslash at the end of a line goes on with the next one.

use std::collections::HashSet;

use super::super::{Document, Files, Setting, Unread};

/// Deeper than any configuration.
const DEPTH: usize = 16;
/// Sections inside of sections.
const NESTED: usize = 32;
/// More files than any configuration has.
const MOST: usize = 1_000;

/// A setting with the sections around it, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The setting.
    pub setting: Setting,
    /// `protocol imap`, `service imap-login`, `inet_listener imaps`, …
    pub sections: Vec<String>,
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// Why: which rule.
    pub rule: &'static str,
    /// What stands there.
    pub text: String,
    /// The document.
    pub file: usize,
    /// Its line.
    pub line: usize,
    /// Its column.
    pub column: usize,
}

/// A whole configuration.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every setting in the order in which it is read.
    pub lines: Vec<Line>,
    /// Sections that were opened, each with those around it, and where.
    pub sections: Vec<(Vec<String>, usize, usize)>,
    /// What could not be read.
    pub misread: Vec<Misread>,
    /// An included file was not read, so that what is in force cannot be told for certain.
    pub incomplete: bool,
}

/// Reads a document and what it includes. The documents that were included are put behind the others.
pub fn parse(documents: &mut Vec<Document>, files: &mut dyn Files) -> Tree {
    let mut reader = Reader {
        files,
        tree: Tree::default(),
        open: HashSet::new(),
        sections: Vec::new(),
    };
    for file in 0..documents.len() {
        reader.document(documents, file, 0);
        reader.sections.clear();
    }
    reader.tree
}

struct Reader<'a> {
    files: &'a mut dyn Files,
    tree: Tree,
    /// The files that are being read, to find circles.
    open: HashSet<String>,
    sections: Vec<(String, usize, usize)>,
}

impl Reader<'_> {
    fn document(&mut self, documents: &mut Vec<Document>, file: usize, depth: usize) {
        let Some((name, text)) = documents
            .get(file)
            .map(|it| (it.name.clone(), it.text.clone()))
        else {
            return;
        };
        self.open.insert(name.clone());
        let outside = self.sections.len();
        for (number, column, raw) in logical(&text) {
            let last = number + raw.matches('\u{1}').count();
            let content = raw.replace('\u{1}', " ");
            let place = Place {
                file,
                line: number,
                column,
                last,
            };
            if let Some(rest) = content.strip_prefix('!') {
                self.include(documents, rest, &place, depth);
            } else {
                self.line(&content, &place);
            }
        }
        while self.sections.len() > outside {
            if let Some((name, file, line)) = self.sections.pop() {
                self.bad(
                    "DC-BRACE",
                    format!("{name} {{"),
                    &Place {
                        file,
                        line,
                        column: 1,
                        last: line,
                    },
                );
            }
        }
        self.open.remove(&name);
    }

    fn line(&mut self, content: &str, place: &Place) {
        if content == "}" {
            if self.sections.pop().is_none() {
                self.bad("DC-BRACE", content.to_owned(), place);
            }
        } else if let Some(name) = content.strip_suffix('{').filter(|it| !before_value(it)) {
            if self.sections.len() >= NESTED {
                return self.bad("DC-BRACE", content.to_owned(), place);
            }
            let name = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            let mut around = self.names();
            around.push(name.clone());
            self.tree.sections.push((around, place.file, place.line));
            self.sections.push((name, place.file, place.line));
        } else if let Some((name, value)) = content.split_once('=') {
            let name = name.trim_end_matches([' ', '\t']);
            if name.is_empty() || name.contains([' ', '\t']) {
                return self.bad("DC-SYNTAX", content.to_owned(), place);
            }
            let lead = value.len() - value.trim_start_matches([' ', '\t']).len();
            let before = content.len() - value.len() + lead;
            let before = content.get(..before).unwrap_or_default().chars().count();
            self.tree.lines.push(Line {
                setting: Setting {
                    name: name.to_owned(),
                    value: unquote(value.trim_matches([' ', '\t'])).to_owned(),
                    file: place.file,
                    line: place.line,
                    column: place.column,
                    value_column: place.column + before,
                    last: place.last,
                },
                sections: self.names(),
            });
        } else {
            self.bad("DC-SYNTAX", content.to_owned(), place);
        }
    }

    fn names(&self) -> Vec<String> {
        self.sections
            .iter()
            .map(|(name, ..)| name.clone())
            .collect()
    }

    fn bad(&mut self, rule: &'static str, text: String, place: &Place) {
        self.tree.misread.push(Misread {
            rule,
            text,
            file: place.file,
            line: place.line,
            column: place.column,
        });
    }

    fn include(&mut self, documents: &mut Vec<Document>, rest: &str, place: &Place, depth: usize) {
        let (word, pattern) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let pattern = unquote(pattern.trim_matches([' ', '\t']));
        let optional = match word {
            "include" => false,
            "include_try" => true,
            _ => return self.bad("DC-SYNTAX", format!("!{rest}"), place),
        };
        if depth >= DEPTH || documents.len() >= MOST {
            return self.bad("DC-INCLUDE-CIRCLE", format!("!{rest}"), place);
        }
        let from = documents
            .get(place.file)
            .map(|it| it.name.clone())
            .unwrap_or_default();
        match self.files.include(pattern, &from) {
            Ok(found) => {
                for document in found {
                    if self.open.contains(&document.name) {
                        self.bad(
                            "DC-INCLUDE-CIRCLE",
                            format!("!{rest} → {}", document.name),
                            place,
                        );
                        continue;
                    }
                    documents.push(document);
                    self.document(documents, documents.len() - 1, depth + 1);
                }
            }
            Err(Unread::Missing) if optional => {}
            Err(why) => {
                self.tree.incomplete = true;
                let rule = if optional {
                    "DC-INCLUDE-UNREAD"
                } else {
                    "DC-INCLUDE"
                };
                self.bad(rule, format!("!{rest}: {why}"), place);
            }
        }
    }
}

struct Place {
    file: usize,
    line: usize,
    column: usize,
    last: usize,
}

/// Whether a text that ends before a `{` is the name of a setting with `=`: then the brace belongs to the value.
fn before_value(text: &str) -> bool {
    text.contains('=')
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|it| it.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}

/// Logical lines with number and column, without comments and empty ones; a joined line end is left as the octet 1.
fn logical(text: &str) -> Vec<(usize, usize, String)> {
    let mut lines = Vec::new();
    let mut held: Option<(usize, usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let raw = raw.trim_end_matches([' ', '\t', '\r']);
        let body = raw.trim_start_matches([' ', '\t', '\u{feff}']);
        let column = raw.chars().count() - body.chars().count() + 1;
        let body = uncomment(body);
        let goes_on = body.strip_suffix('\\');
        let body = goes_on.unwrap_or(body).trim_end_matches([' ', '\t']);
        let clean = body.replace('\u{1}', " ");
        match &mut held {
            Some((.., before)) => {
                before.push('\u{1}');
                before.push_str(&clean);
            }
            None if clean.is_empty() && goes_on.is_none() => continue,
            None => held = Some((index + 1, column, clean)),
        }
        if goes_on.is_none() {
            lines.extend(held.take());
        }
    }
    lines.extend(held);
    lines
}

/// What stands before a comment.
fn uncomment(body: &str) -> &str {
    if body.starts_with('#') {
        return "";
    }
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in body.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if matches!(letter, '"' | '\'') && matches!(before, ' ' | '=' | '\t') => {
                quote = Some(letter);
            }
            None if letter == '#' && matches!(before, ' ' | '\t') => {
                return body
                    .get(..at)
                    .unwrap_or_default()
                    .trim_end_matches([' ', '\t']);
            }
            _ => {}
        }
        before = letter;
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::super::NoFiles;
    use super::*;

    fn read(text: &str) -> Tree {
        parse(&mut vec![Document::new("d", text)], &mut NoFiles)
    }

    #[test]
    fn settings_stand_in_their_sections() {
        let tree = read(
            "ssl = required # c\nservice imap-login {\n  inet_listener imaps {\n    port = 993\n  }\n}\na = \"x # y\"\nb = c \\\n d\n",
        );
        assert!(tree.misread.is_empty(), "{:?}", tree.misread);
        let told: Vec<(&str, &str, usize)> = tree
            .lines
            .iter()
            .map(|it| {
                (
                    it.setting.name.as_str(),
                    it.setting.value.as_str(),
                    it.sections.len(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("ssl", "required", 0),
                ("port", "993", 2),
                ("a", "x # y", 0),
                ("b", "c d", 0)
            ]
        );
        assert_eq!(
            (
                tree.lines[1].setting.column,
                tree.lines[1].setting.value_column
            ),
            (5, 12)
        );
        assert_eq!(
            (tree.lines[3].setting.line, tree.lines[3].setting.last),
            (8, 9)
        );
    }

    #[test]
    fn braces_that_do_not_fit_are_named() {
        assert_eq!(read("}\n").misread[0].rule, "DC-BRACE");
        let tree = read("a {\nb {\n}\n");
        assert_eq!(
            (tree.misread[0].rule, tree.misread[0].line),
            ("DC-BRACE", 1)
        );
        assert_eq!(read("hello\n").misread[0].rule, "DC-SYNTAX");
        assert!(read("!include x\n").incomplete);
    }
}
