//! Writes `docs/conformance.md`: what is met, where, and where it is proved.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::cite::Citations;
use super::table::{Row, Status};

/// One line for the terminal.
pub(super) fn counts(rows: &[Row]) -> String {
    let Counts {
        done,
        part,
        open,
        later,
        not_for_us,
    } = Counts::of(rows.iter());
    format!(
        "{} requirements: {done} done, {part} in part, {open} open, {later} later, {not_for_us} not for us",
        rows.len()
    )
}

#[derive(Default)]
struct Counts {
    done: usize,
    part: usize,
    open: usize,
    later: usize,
    not_for_us: usize,
}

impl Counts {
    fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let mut counts = Self::default();
        for row in rows {
            match row.status {
                Status::Done => counts.done += 1,
                Status::Part(_) => counts.part += 1,
                Status::Open => counts.open += 1,
                Status::Later(_) => counts.later += 1,
                Status::NotForUs(_) => counts.not_for_us += 1,
            }
        }
        counts
    }
}

/// The whole page.
pub(super) fn render(rows: &[Row], citations: &Citations) -> String {
    let areas: BTreeSet<&str> = rows.iter().map(|row| row.area.as_str()).collect();
    let mut page = String::from(
        "# Conformance\n\nWritten by `cargo xtask spec` from `spec/*.tsv` and the citations in code and tests. Do not edit.\n\n\
         A row is *done* when code and a test cite it, *part* when they do and something named is missing. *Later* names the command it comes with, or the reason.\n\n\
         | area | done | in part | open | later | not for us |\n|---|---|---|---|---|---|\n",
    );
    for area in &areas {
        let Counts {
            done,
            part,
            open,
            later,
            not_for_us,
        } = Counts::of(rows.iter().filter(|row| row.area == *area));
        let _ = writeln!(
            page,
            "| [{area}](#{area}) | {done} | {part} | {open} | {later} | {not_for_us} |"
        );
    }
    let Counts {
        done,
        part,
        open,
        later,
        not_for_us,
    } = Counts::of(rows.iter());
    let _ = writeln!(
        page,
        "| **all** | {done} | {part} | {open} | {later} | {not_for_us} |"
    );
    for area in areas {
        let _ = write!(
            page,
            "\n## {area}\n\n| id | who | level | requirement | source | state | code | tests |\n|---|---|---|---|---|---|---|---|\n"
        );
        for row in rows.iter().filter(|row| row.area == area) {
            render_row(&mut page, row, citations);
        }
    }
    page
}

fn render_row(page: &mut String, row: &Row, citations: &Citations) {
    let cited = citations.of(&row.id);
    let Row {
        id,
        who,
        level,
        source,
        ..
    } = row;
    let text = row.text.replace('|', "\\|");
    let (code, tests) = (links(&cited.code), links(&cited.tests));
    let _ = writeln!(
        page,
        "| {id} | {who} | {level} | {text} | {source} | {} | {code} | {tests} |",
        row.status
    );
}

fn links(paths: &BTreeSet<String>) -> String {
    let link = |path: &String| {
        let short = path
            .strip_prefix("crates/")
            .unwrap_or(path)
            .replace("/src/", "/");
        format!("[{short}](../{path})")
    };
    paths.iter().map(link).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts_and_links() {
        let row = Row {
            area: "pop3".into(),
            id: "POP-TLS-05".into(),
            who: "server".into(),
            level: "ours".into(),
            source: "RFC 2595 §4".into(),
            text: "a | b".into(),
            status: Status::Done,
        };
        let mut citations = Citations::default();
        citations.add("crates/wire/src/seam.rs", "// [POP-TLS-05]");
        let page = render(&[row], &citations);
        assert!(page.contains("| [pop3](#pop3) | 1 | 0 | 0 | 0 |"), "{page}");
        assert!(page.contains("| a \\| b |"), "{page}");
        assert!(
            page.contains("[wire/seam.rs](../crates/wire/src/seam.rs)"),
            "{page}"
        );
    }
}
