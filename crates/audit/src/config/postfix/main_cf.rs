//! main.cf as Postfix reads it. A line that begins with white space goes on with the line before; comments and empty lines between
//! the two do not end it. White space is that of C: nothing of Unicode counts. What stands before `=` is one word.

use super::super::Setting;

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// Its number, from 1.
    pub line: usize,
    /// Where it goes wrong, from 1.
    pub column: usize,
    /// The line.
    pub text: String,
}

/// White space as `isspace()` in the C locale takes it.
pub(super) fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Reads the text of a main.cf.
#[must_use]
pub fn parse(text: &str, file: usize) -> (Vec<Setting>, Vec<Misread>) {
    let (mut settings, mut misread) = (Vec::<Setting>::new(), Vec::new());
    // Whether the last logical line was a parameter: a continuation of a line that was not read is not read either.
    let mut open = false;
    for (index, raw) in text.split('\n').enumerate() {
        let line = index + 1;
        let trimmed = trim(raw);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if raw.starts_with(is_space) {
            match settings.last_mut() {
                Some(last) if open => {
                    join(last, raw, trimmed, line);
                    continue;
                }
                _ => {}
            }
        } else if let Some(setting) = read(raw, file, line) {
            open = true;
            settings.push(setting);
            continue;
        }
        open = false;
        misread.push(Misread {
            line,
            column: wrong(raw),
            text: trimmed.to_owned(),
        });
    }
    (settings, misread)
}

fn join(setting: &mut Setting, raw: &str, trimmed: &str, line: usize) {
    if setting.value.is_empty() {
        if setting.last == setting.line {
            setting.value_column = raw.chars().take_while(|it| is_space(*it)).count() + 1;
        }
    } else {
        setting.value.push(' ');
    }
    setting.value.push_str(trimmed);
    setting.last = line;
}

/// `name = value`, the name one word and not empty.
fn read(raw: &str, file: usize, line: usize) -> Option<Setting> {
    let (name, value) = raw.split_once('=')?;
    let name = trim(name);
    if name.is_empty() || name.contains(is_space) {
        return None;
    }
    let before = raw.len() - value.len() + value.len() - value.trim_start_matches(is_space).len();
    let value_column = raw.get(..before)?.chars().count() + 1;
    let value = trim(value);
    Some(Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        file,
        line,
        column: 1,
        value_column: if value.is_empty() { 1 } else { value_column },
        last: line,
    })
}

/// The column where a line stops being a parameter.
fn wrong(raw: &str) -> usize {
    let start = raw.chars().take_while(|it| is_space(*it)).count();
    let rest = raw.chars().skip(start);
    let word = rest.take_while(|it| !is_space(*it) && *it != '=').count();
    start + word + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuations_go_on_over_comments() {
        let (settings, misread) = parse(
            "smtpd_tls_auth_only =\n# no = yes\n\n  no\nmynetworks = a,\n\tb\n",
            0,
        );
        assert!(misread.is_empty());
        assert_eq!(settings[0].value, "no");
        assert_eq!((settings[0].value_column, settings[0].last), (3, 4));
        assert_eq!((settings[1].value.as_str(), settings[1].line), ("a, b", 5));
        assert_eq!(settings[1].value_column, 14);
    }

    #[test]
    fn names_are_one_word_and_white_space_is_that_of_c() {
        for bad in ["foo bar = x", "= x", "foo", "\u{a0}a = b c d"] {
            let (settings, misread) = parse(bad, 0);
            assert!(settings.is_empty() != bad.starts_with('\u{a0}'), "{bad}");
            assert_eq!(
                misread.len(),
                usize::from(!bad.starts_with('\u{a0}')),
                "{bad}"
            );
        }
        // A no-break space is a letter of the name.
        assert_eq!(parse("\u{a0}a = b", 0).0[0].name, "\u{a0}a");
        assert_eq!(parse("foo bar = x", 0).1[0].column, 4);
    }
}
