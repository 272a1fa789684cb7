//! Corrections of a text: lines replaced, taken out or put in. Every other line, comment and order stays as it was.

/// Lines `first` to `last` (from 1, both included) become `lines`; with `last` before `first`, they are put in before `first`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The document, by its place among those that were read.
    pub file: usize,
    /// First line that goes.
    pub first: usize,
    /// Last line that goes.
    pub last: usize,
    /// What stands there then.
    pub lines: Vec<String>,
}

/// Orders edits and drops those that touch lines another one has taken.
pub(crate) fn settle(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| (edit.file, edit.first, edit.last));
    let mut kept: Vec<Edit> = Vec::new();
    for edit in edits {
        let overlaps = kept.last().is_some_and(|before| {
            before.file == edit.file && before.last >= edit.first
                || before.file == edit.file && before.first == edit.first && *before == edit
        });
        if !overlaps {
            kept.push(edit);
        }
    }
    kept
}

/// The text with the edits of one document applied. The edits are those of an [`Outcome`](super::Outcome): in order, apart.
#[must_use]
pub fn apply(text: &str, edits: &[Edit], file: usize) -> String {
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut out = String::with_capacity(text.len() + 256);
    let mut edits = edits.iter().filter(|edit| edit.file == file).peekable();
    let mut skip_to = 0;
    let mut number = 0;
    let put = |out: &mut String, lines: &[String]| {
        for line in lines {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push_str(ending);
            }
            out.push_str(line);
            out.push_str(ending);
        }
    };
    for line in text.split_inclusive('\n') {
        number += 1;
        while let Some(edit) = edits.next_if(|edit| edit.first <= number) {
            put(&mut out, &edit.lines);
            skip_to = skip_to.max(edit.last);
        }
        if number > skip_to {
            out.push_str(line);
        }
    }
    for edit in edits {
        put(&mut out, &edit.lines);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(first: usize, last: usize, lines: &[&str]) -> Edit {
        Edit {
            file: 0,
            first,
            last,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn lines_are_replaced_taken_out_and_put_in() {
        let edits = settle(vec![
            edit(3, 3, &[]),
            edit(1, 1, &["A", "a"]),
            edit(5, 4, &["e"]),
        ]);
        assert_eq!(apply("1\n2\n3\n4", &edits, 0), "A\na\n2\n4\ne\n");
        assert_eq!(
            apply("1\r\n2\r\n", &[edit(2, 1, &["x"])], 0),
            "1\r\nx\r\n2\r\n"
        );
        assert_eq!(apply("1\n", &edits, 1), "1\n");
    }

    #[test]
    fn of_two_edits_of_one_line_the_first_stays() {
        let edits = settle(vec![edit(1, 2, &["x"]), edit(2, 2, &["y"])]);
        assert_eq!(apply("1\n2\n3\n", &edits, 0), "x\n3\n");
    }
}
