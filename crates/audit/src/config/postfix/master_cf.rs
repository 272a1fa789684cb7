//! master.cf: a service in each logical line, eight words and then the command's arguments, among which `-o name=value` changes a
//! parameter for this service alone. The words keep their places, so that one of them can be corrected.

use super::super::Setting;
use super::main_cf::{Misread, is_space, trim};

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What it listens on, such as `smtp`, `127.0.0.1:587`, or its name.
    pub name: String,
    /// `inet`, `unix`, …
    pub kind: String,
    /// The program.
    pub command: String,
    /// The `-o` of it. Of equal names the last one counts.
    pub options: Vec<Setting>,
    /// Its place.
    pub line: usize,
    /// The last line of it.
    pub last: usize,
    /// The document it stands in.
    pub file: usize,
}

impl Service {
    /// The port or service name it listens on, when it listens on the network.
    #[must_use]
    pub fn port(&self) -> Option<&str> {
        (self.kind == "inet").then(|| self.name.rsplit(':').next().unwrap_or(&self.name))
    }

    /// The last option of this name.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&Setting> {
        self.options.iter().rev().find(|it| it.name == name)
    }
}

#[derive(Debug, Clone)]
struct Word {
    text: String,
    line: usize,
    column: usize,
}

/// Reads the text of a master.cf.
#[must_use]
pub fn parse(text: &str, file: usize) -> (Vec<Service>, Vec<Misread>) {
    let (mut services, mut misread) = (Vec::new(), Vec::new());
    for words in logical(text) {
        match service(&words, file) {
            Ok(service) => services.push(service),
            Err(at) => {
                let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                let (line, column) = at;
                misread.push(Misread {
                    line,
                    column,
                    text: texts.join(" "),
                });
            }
        }
    }
    (services, misread)
}

/// The words of each logical line.
fn logical(text: &str) -> Vec<Vec<Word>> {
    let mut lines: Vec<Vec<Word>> = Vec::new();
    for (index, raw) in text.split('\n').enumerate() {
        let trimmed = trim(raw);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if !raw.starts_with(is_space) || lines.is_empty() {
            lines.push(Vec::new());
        }
        if let Some(line) = lines.last_mut() {
            words(raw, index + 1, line);
        }
    }
    lines
}

/// Cuts at white space; a group in braces is one word.
fn words(raw: &str, line: usize, into: &mut Vec<Word>) {
    let (mut depth, mut word, mut start) = (0_usize, String::new(), 0);
    for (index, letter) in raw.chars().enumerate() {
        if is_space(letter) && depth == 0 {
            push(&mut word, line, start, into);
            continue;
        }
        if word.is_empty() {
            start = index + 1;
        }
        depth = match letter {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        word.push(letter);
    }
    push(&mut word, line, start, into);
}

fn push(word: &mut String, line: usize, column: usize, into: &mut Vec<Word>) {
    if !word.is_empty() {
        into.push(Word {
            text: std::mem::take(word),
            line,
            column,
        });
    }
}

fn service(words: &[Word], file: usize) -> Result<Service, (usize, usize)> {
    let [name, kind, _, _, _, _, _, command, arguments @ ..] = words else {
        let last = words.last();
        return Err(last.map_or((1, 1), |word| (word.line, word.column)));
    };
    let known = ["inet", "unix", "fifo", "pass", "unix-dgram"];
    if !known.contains(&kind.text.as_str()) {
        return Err((kind.line, kind.column));
    }
    Ok(Service {
        name: name.text.clone(),
        kind: kind.text.clone(),
        command: command
            .text
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        options: options(arguments, file),
        line: name.line,
        last: words.last().map_or(name.line, |word| word.line),
        file,
    })
}

fn options(arguments: &[Word], file: usize) -> Vec<Setting> {
    let mut options = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let given = match word.text.strip_prefix("-o") {
            Some("") => words.next(),
            Some(_) => Some(word),
            None => None,
        };
        options.extend(given.and_then(|word| option(word, file)));
    }
    options
}

fn option(word: &Word, file: usize) -> Option<Setting> {
    let text = word.text.strip_prefix("-o").unwrap_or(&word.text);
    let text = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .unwrap_or(text);
    let (name, value) = text.split_once('=')?;
    Some(Setting {
        name: trim(name).to_owned(),
        value: trim(value).to_owned(),
        file,
        line: word.line,
        column: word.column,
        value_column: word.column,
        last: word.line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_their_options_are_read() {
        let text = "# c\nsubmission inet n - y - - smtpd\n  -o a=b\n# between\n  -o { c = d e } -v\n127.0.0.1:465 inet n - - - - smtpd -o x=1 -o x=2\n";
        let (services, misread) = parse(text, 3);
        assert!(misread.is_empty());
        let [one, two] = services.as_slice() else {
            panic!("{services:?}")
        };
        assert_eq!(
            (one.port(), one.command.as_str(), one.last),
            (Some("submission"), "smtpd", 5)
        );
        let option = one.option("c").unwrap();
        assert_eq!(
            (
                option.value.as_str(),
                option.line,
                option.column,
                option.file
            ),
            ("d e", 5, 6, 3)
        );
        assert_eq!(two.port(), Some("465"));
        assert_eq!(two.option("x").unwrap().value, "2");
    }

    #[test]
    fn what_is_no_service_is_named() {
        let (services, misread) = parse("smtp inet n - y - -\nsmtp what n - y - - smtpd\n", 0);
        assert!(services.is_empty());
        assert_eq!(
            (misread[0].line, misread[1].line, misread[1].column),
            (1, 2, 6)
        );
    }
}
