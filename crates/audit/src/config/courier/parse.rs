//! The lines of a shell that only sets variables.

use super::super::{Document, Setting};

/// A line that sets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// The document.
    pub file: usize,
    /// Its line.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// Reads every document.
#[must_use]
pub fn parse(documents: &[Document]) -> (Vec<Setting>, Vec<Misread>) {
    let (mut settings, mut misread) = (Vec::new(), Vec::new());
    for (file, document) in documents.iter().enumerate() {
        for (index, raw) in document.text.lines().enumerate() {
            let body = raw.trim();
            if body.is_empty() || body.starts_with('#') {
                continue;
            }
            match read(raw, file, index + 1) {
                Some(setting) => settings.push(setting),
                None => misread.push(Misread {
                    file,
                    line: index + 1,
                    text: body.to_owned(),
                }),
            }
        }
    }
    (settings, misread)
}

fn read(raw: &str, file: usize, line: usize) -> Option<Setting> {
    let body = raw.trim();
    let body = body.strip_prefix("export ").unwrap_or(body);
    let (name, value) = body.split_once('=')?;
    if name.is_empty()
        || !name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '_')
    {
        return None;
    }
    let before = raw.len() - value.len() - (raw.len() - raw.trim_end().len());
    let column = raw.chars().count() - raw.trim_start().chars().count() + 1;
    Some(Setting {
        name: name.to_owned(),
        value: unquote(value)?,
        file,
        line,
        column,
        value_column: raw
            .get(..before)
            .map_or(column, |it| it.chars().count() + 1),
        last: line,
    })
}

/// What the shell makes of a word; none when it would not end on this line, or when more than a word stands there.
fn unquote(value: &str) -> Option<String> {
    let (mut out, mut quote, mut letters) = (String::new(), None, value.chars());
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (it, Some(open)) if it == open => quote = None,
            ('\\', None | Some('"')) => out.push(letters.next()?),
            ('#', None) if out.is_empty() || out.ends_with(' ') => break,
            (' ' | '\t', None) => {
                let rest: String = letters.collect();
                let rest = rest.trim();
                return (rest.is_empty() || rest.starts_with('#')).then_some(out);
            }
            (it, _) => out.push(it),
        }
    }
    quote.is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_shell() {
        let text = "A=\"x y\" # c\nB='$A'\n C=1\nD=\"open\nrm -rf x\nE=a b\n";
        let (settings, misread) = parse(&[Document::new("imapd", text)]);
        let told: Vec<(&str, &str)> = settings
            .iter()
            .map(|it| (it.name.as_str(), it.value.as_str()))
            .collect();
        assert_eq!(told, [("A", "x y"), ("B", "$A"), ("C", "1")]);
        assert_eq!(
            misread.iter().map(|it| it.line).collect::<Vec<_>>(),
            [4, 5, 6]
        );
    }
}
