//! Checks as a table (RFC 4180), one row each. A spreadsheet takes a cell that begins with one of a few characters for a formula and runs
//! it: such a cell gets an apostrophe in front, which the spreadsheet hides.

use crate::check::document::{Check, Report};
use crate::shown::shown;

const HEAD: &[&str] = &[
    "subject",
    "host",
    "address",
    "port",
    "protocol",
    "start",
    "role",
    "id",
    "status",
    "severity",
    "evidence",
    "fix",
    "missing_connections",
    "text",
    "source",
];

/// The table, with its head.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut out = row(HEAD);
    for it in &report.domains {
        for check in &it.checks {
            out.push_str(&line([&it.domain, &it.domain, "", "", "", "", ""], check));
        }
    }
    for it in &report.targets {
        let target = &it.target;
        let (subject, address, port) = (
            target.to_string(),
            target.address.to_string(),
            target.port.to_string(),
        );
        let start = if target.start == crate::check::target::Start::Implicit {
            "implicit"
        } else {
            "starttls"
        };
        for check in &it.checks {
            let place = [
                &subject,
                &target.host,
                &address,
                &port,
                target.protocol.label(),
                start,
                target.role.label(),
            ];
            out.push_str(&line(place, check));
        }
    }
    out
}

fn line(place: [&str; 7], check: &Check) -> String {
    let missing = check.missing.to_string();
    let mut cells = place.to_vec();
    cells.extend([
        check.rule.id,
        check.status.word(),
        check.severity.word(),
        &check.evidence,
        check.fix.as_deref().unwrap_or_default(),
        &missing,
        check.rule.text,
        check.rule.source,
    ]);
    row(&cells)
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|it| cell(it)).collect();
    cells.join(",") + "\r\n"
}

/// Quoted always; one line each, so that a row is a line for simple tools too.
fn cell(text: &str) -> String {
    let text = shown(&text.replace(['\r', '\n'], " "));
    // The wide forms too: some programs fold them first.
    let is_formula = text
        .trim_start()
        .starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']);
    let guard = if is_formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    #[test]
    fn every_check_is_a_row_of_as_many_cells() {
        let report = samples::report();
        let text = csv(&report);
        assert_eq!(text.lines().count(), report.checks().count() + 1);
        assert_eq!(
            parsed(&text)
                .iter()
                .filter(|it| it.len() != HEAD.len())
                .count(),
            0,
            "{text}"
        );
    }

    #[test]
    fn a_cell_is_no_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "＝1"] {
            assert!(
                cell(text).starts_with("\"'"),
                "{text:?} gives {}",
                cell(text)
            );
        }
        assert_eq!(cell("250 \"x\", y"), "\"250 \"\"x\"\", y\"");
        let text = csv(&samples::report());
        assert!(text.contains("\"'=cmd|"), "{text}");
    }

    /// A reader of RFC 4180.
    fn parsed(text: &str) -> Vec<Vec<String>> {
        let mut rows = vec![vec![String::new()]];
        let mut quoted = false;
        let mut rest = text.trim_end_matches("\r\n").chars().peekable();
        while let Some(it) = rest.next() {
            let row = rows.last_mut().unwrap();
            match it {
                '"' if quoted && rest.peek() == Some(&'"') => {
                    row.last_mut().unwrap().push(rest.next().unwrap());
                }
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(String::new()),
                '\n' if !quoted => rows.push(vec![String::new()]),
                '\r' if !quoted => {}
                it => row.last_mut().unwrap().push(it),
            }
        }
        rows
    }
}
