//! `spec/*.tsv`: columns id, who, level, source, requirement, status; the first line names them.

use std::collections::BTreeSet;
use std::path::Path;

const HEADER: &str = "id\twho\tlevel\tsource\trequirement\tstatus";

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The file's name without its ending.
    pub(super) area: String,
    /// The stable id, such as `SMTP-STARTTLS-05`.
    pub(super) id: String,
    /// Whom it binds: server, client, mail client, gateway, operator, auditor.
    pub(super) who: String,
    /// must, must not, should, should not, may; `ours` marks a rule of this project.
    pub(super) level: String,
    /// The document and section it comes from.
    pub(super) source: String,
    /// The requirement in our words.
    pub(super) text: String,
    /// Whether it is met.
    pub(super) status: Status,
}

/// Whether a requirement is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// Met in code and proved by a test.
    Done,
    /// Met in part, cited in code and test; what is missing, and with what it comes.
    Part(String),
    /// To be met by the work now going on.
    Open,
    /// Comes with the verb, or for the reason, named.
    Later(String),
    /// Does not bind this program, for the reason named.
    NotForUs(String),
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let reason = |prefix: &str| {
            text.strip_prefix(prefix)
                .map(str::trim)
                .filter(|reason| !reason.is_empty())
        };
        match text {
            "done" => Some(Self::Done),
            "open" => Some(Self::Open),
            _ => reason("part; missing: ")
                .map(|what| Self::Part(what.to_owned()))
                .or_else(|| reason("later: ").map(|why| Self::Later(why.to_owned())))
                .or_else(|| reason("not for us: ").map(|why| Self::NotForUs(why.to_owned()))),
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Part(what) => write!(f, "part; missing: {what}"),
            Self::Open => f.write_str("open"),
            Self::Later(why) => write!(f, "later: {why}"),
            Self::NotForUs(why) => write!(f, "not for us: {why}"),
        }
    }
}

/// Reads every table of a folder, in the order of the file names.
pub(super) fn read(folder: &Path) -> Result<Vec<Row>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "tsv"));
    paths.sort();
    let mut rows = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let area = path.file_stem().unwrap_or_default().to_string_lossy();
        rows.extend(parse(&area, &text)?);
    }
    let mut seen = BTreeSet::new();
    match rows.iter().find(|row| !seen.insert(row.id.clone())) {
        Some(twice) => Err(format!("{} stands twice in the tables", twice.id)),
        None => Ok(rows),
    }
}

fn parse(area: &str, text: &str) -> Result<Vec<Row>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("{area}.tsv: the first line is not the header"));
    }
    lines
        .enumerate()
        .map(|(index, line)| {
            parse_row(area, line).map_err(|why| format!("{area}.tsv:{}: {why}", index + 2))
        })
        .collect()
}

fn parse_row(area: &str, line: &str) -> Result<Row, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[id, who, level, source, text, status] = columns.as_slice() else {
        return Err(format!("{} columns instead of 6", columns.len()));
    };
    if !super::cite::is_id(id) {
        return Err(format!("`{id}` is not an id"));
    }
    if let Some(empty) = [who, level, source, text]
        .iter()
        .position(|column| column.trim().is_empty())
    {
        return Err(format!("column {} is empty", empty + 2));
    }
    let status = Status::parse(status).ok_or_else(|| format!("`{status}` is not a status"))?;
    Ok(Row {
        area: area.to_owned(),
        id: id.to_owned(),
        who: who.to_owned(),
        level: level.to_owned(),
        source: source.to_owned(),
        text: text.to_owned(),
        status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let text =
            format!("{HEADER}\nPOP-TLS-05\tserver\tours\tRFC 2595 §4\tinjection\tlater: gate\n");
        let rows = parse("pop3", &text).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].status, Status::Later("gate".into()));
        assert_eq!(rows[0].status.to_string(), "later: gate");
    }

    #[test]
    fn a_malformed_row_is_an_error() {
        for wrong in [
            "POP-TLS-05\tserver\tours\tRFC 2595\tinjection",
            "POP-TLS-05\tserver\tours\tRFC 2595\tinjection\tlater: ",
            "POP-TLS-05\tserver\tours\tRFC 2595\tinjection\tperhaps",
            "POP-TLS\tserver\tours\tRFC 2595\tinjection\tdone",
            "POP-TLS-05\t\tours\tRFC 2595\tinjection\tdone",
        ] {
            assert!(
                parse("pop3", &format!("{HEADER}\n{wrong}\n")).is_err(),
                "{wrong}"
            );
        }
        assert!(parse("pop3", "id\twho\n").is_err());
    }
}
