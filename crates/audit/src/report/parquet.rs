//! Checks of many reports as columns (Apache Parquet), one row each: for tools that count over millions.
//!
//! What is read is what `--json` and `--list` print, a document a line, so a list that was ended and gone on with comes out whole. A line of
//! which nothing could be examined is a row too: without an id, its status `inconclusive`, its evidence the reason.
//!
//! Rows are gathered for a row group at a time, so memory does not grow with the list.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use crate::check::document::SCHEMA;
use crate::finding::Status;

/// Rows of one row group.
const GROUP: usize = 100_000;

/// The columns, in the order in which [`Rows::write`] writes them.
const COLUMNS: &str = "message checks {
    OPTIONAL INT64 line;
    OPTIONAL BYTE_ARRAY input (STRING);
    REQUIRED INT64 at (TIMESTAMP(MILLIS, true));
    REQUIRED BYTE_ARRAY profile (STRING);
    REQUIRED BYTE_ARRAY tier (STRING);
    OPTIONAL BYTE_ARRAY domain (STRING);
    OPTIONAL BYTE_ARRAY host (STRING);
    OPTIONAL BYTE_ARRAY address (STRING);
    OPTIONAL INT32 port;
    OPTIONAL BYTE_ARRAY protocol (STRING);
    OPTIONAL BYTE_ARRAY start (STRING);
    OPTIONAL BYTE_ARRAY role (STRING);
    OPTIONAL INT32 connections;
    OPTIONAL BYTE_ARRAY id (STRING);
    REQUIRED BYTE_ARRAY status (STRING);
    OPTIONAL BYTE_ARRAY severity (STRING);
    OPTIONAL BYTE_ARRAY evidence (STRING);
    OPTIONAL BYTE_ARRAY fix (STRING);
    OPTIONAL INT32 missing_connections;
}";

/// Why it could not be written.
#[derive(Debug)]
pub enum Trouble {
    /// This is no document of `gatepost check`.
    NoDocument,
    /// Writing failed.
    Write(ParquetError),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDocument => write!(f, "no document of gatepost check --json or --list"),
            Self::Write(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<ParquetError> for Trouble {
    fn from(error: ParquetError) -> Self {
        Self::Write(error)
    }
}

/// The file under way.
pub struct Columns<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    rows: Rows,
}

impl<W: Write + Send> Columns<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`Trouble::Write`].
    pub fn new(out: W) -> Result<Self, Trouble> {
        let columns = Arc::new(parse_message_type(COLUMNS)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("gatepost ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        Ok(Self {
            writer: SerializedFileWriter::new(out, columns, Arc::new(properties))?,
            rows: Rows::default(),
        })
    }

    /// Takes the checks of a document.
    ///
    /// # Errors
    /// [`Trouble`]; after [`Trouble::NoDocument`] others can follow.
    pub fn push(&mut self, document: &Value) -> Result<(), Trouble> {
        self.rows.take(document).ok_or(Trouble::NoDocument)?;
        if self.rows.status.len() >= GROUP {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the file and gives back what it was written to.
    ///
    /// # Errors
    /// [`Trouble::Write`].
    pub fn finish(mut self) -> Result<W, Trouble> {
        self.flush()?;
        Ok(self.writer.into_inner()?)
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        let rows = std::mem::take(&mut self.rows);
        if rows.status.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        rows.write(&mut group)?;
        group.close()?;
        Ok(())
    }
}

/// A column of texts; None where there is none.
type Texts = Vec<Option<ByteArray>>;
type Numbers<N> = Vec<Option<N>>;

#[derive(Default)]
struct Rows {
    line: Numbers<i64>,
    input: Texts,
    at: Numbers<i64>,
    profile: Texts,
    tier: Texts,
    domain: Texts,
    host: Texts,
    address: Texts,
    port: Numbers<i32>,
    protocol: Texts,
    start: Texts,
    role: Texts,
    connections: Numbers<i32>,
    id: Texts,
    status: Texts,
    severity: Texts,
    evidence: Texts,
    fix: Texts,
    missing: Numbers<i32>,
}

fn text(value: &Value, name: &str) -> Option<ByteArray> {
    value.get(name)?.as_str().map(ByteArray::from)
}

fn number<N: TryFrom<i64>>(value: &Value, name: &str) -> Option<N> {
    value.get(name)?.as_i64()?.try_into().ok()
}

fn list<'a>(value: &'a Value, name: &str) -> Option<&'a Vec<Value>> {
    value.get(name)?.as_array()
}

impl Rows {
    /// None for what is no document; then nothing was taken.
    fn take(&mut self, document: &Value) -> Option<()> {
        let (domains, targets) = (list(document, "domains")?, list(document, "targets")?);
        let is_ours = document.get("schema")?.as_str()? == SCHEMA;
        // What a required column takes must be there: a default would be a claim.
        number::<i64>(document, "at")
            .and(text(document, "profile"))
            .and(text(document, "tier"))?;
        let is_check = |it: &Value| text(it, "status").is_some();
        let has_checks = |it: &Value| list(it, "checks").is_some_and(|it| it.iter().all(is_check));
        let fits = is_ours && domains.iter().chain(targets).all(has_checks);
        fits.then_some(())?;
        let nothing = Value::Null;
        for domain in domains {
            for check in list(domain, "checks")? {
                self.row(document, domain, check);
            }
        }
        for target in targets {
            for check in list(target, "checks")? {
                self.row(document, target, check);
            }
        }
        if let Some(why) = text(document, "trouble") {
            self.row(document, &nothing, &nothing);
            *self.status.last_mut()? = Some(Status::Inconclusive.word().into());
            *self.evidence.last_mut()? = Some(why);
        }
        Some(())
    }

    fn row(&mut self, document: &Value, place: &Value, check: &Value) {
        self.line.push(number(document, "line"));
        self.input.push(text(document, "input"));
        let seconds: Option<i64> = number(document, "at");
        self.at.push(seconds.and_then(|it| it.checked_mul(1000)));
        self.profile.push(text(document, "profile"));
        self.tier.push(text(document, "tier"));
        self.domain.push(text(place, "domain"));
        self.host.push(text(place, "host"));
        self.address.push(text(place, "address"));
        self.port.push(number(place, "port"));
        self.protocol.push(text(place, "protocol"));
        self.start.push(text(place, "start"));
        self.role.push(text(place, "role"));
        self.connections.push(number(place, "connections"));
        self.id.push(text(check, "id"));
        self.status.push(text(check, "status"));
        self.severity.push(text(check, "severity"));
        self.evidence.push(text(check, "evidence"));
        self.fix.push(text(check, "fix"));
        self.missing.push(number(check, "missing_connections"));
    }

    /// In the order of [`COLUMNS`].
    fn write<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let required = false;
        let optional = true;
        longs(group, self.line, optional)?;
        texts(group, self.input, optional)?;
        longs(group, self.at, required)?;
        texts(group, self.profile, required)?;
        texts(group, self.tier, required)?;
        for column in [self.domain, self.host, self.address] {
            texts(group, column, optional)?;
        }
        integers(group, self.port)?;
        for column in [self.protocol, self.start, self.role] {
            texts(group, column, optional)?;
        }
        integers(group, self.connections)?;
        texts(group, self.id, optional)?;
        texts(group, self.status, required)?;
        for column in [self.severity, self.evidence, self.fix] {
            texts(group, column, optional)?;
        }
        integers(group, self.missing)
    }
}

/// The levels say where there is something (1) and where not (0); a required column has none, and a default where something is missing.
fn split<T: Default>(column: Vec<Option<T>>, is_optional: bool) -> (Vec<T>, Option<Vec<i16>>) {
    if !is_optional {
        let values = column.into_iter().map(Option::unwrap_or_default);
        return (values.collect(), None);
    }
    let levels = column.iter().map(|it| i16::from(it.is_some())).collect();
    (column.into_iter().flatten().collect(), Some(levels))
}

macro_rules! column {
    ($name:ident, $kind:ty, $value:ty) => {
        fn $name<W: Write + Send>(
            group: &mut SerializedRowGroupWriter<'_, W>,
            column: Vec<Option<$value>>,
            is_optional: bool,
        ) -> Result<(), ParquetError> {
            let (values, levels) = split(column, is_optional);
            let missing = || ParquetError::General("more columns than were named".to_owned());
            let mut writer = group.next_column()?.ok_or_else(missing)?;
            writer
                .typed::<$kind>()
                .write_batch(&values, levels.as_deref(), None)?;
            writer.close()
        }
    };
}

column!(texts, ByteArrayType, ByteArray);
column!(longs, Int64Type, i64);
column!(numbers, Int32Type, i32);

fn integers<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: Numbers<i32>,
) -> Result<(), ParquetError> {
    numbers(group, column, true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    use super::*;
    use crate::check::samples;
    use crate::finding::Severity;

    /// Every row as a table from column to value.
    fn read(file: Vec<u8>) -> Vec<BTreeMap<String, Field>> {
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        let rows = reader.get_row_iter(None).unwrap();
        rows.map(|row| row.unwrap().into_columns().into_iter().collect())
            .collect()
    }

    #[test]
    fn every_check_is_a_row_and_comes_back() {
        let report = samples::report();
        let mut document = report.as_json(Severity::High);
        document["line"] = 7.into();
        document["input"] = "mail.example.org".into();
        let mut columns = Columns::new(Vec::new()).unwrap();
        columns.push(&document).unwrap();
        let rows = read(columns.finish().unwrap());
        assert_eq!(rows.len(), report.checks().count());
        let text = |it: &str| Field::Str(it.to_owned());
        for row in &rows {
            assert_eq!(row["line"], Field::Long(7));
            assert_eq!(row["profile"], text(&report.profile));
        }
        let target = &report.targets[0];
        let first = &target.checks[0];
        let found = rows
            .iter()
            .find(|it| it["host"] == text(&target.target.host) && it["id"] == text(first.rule.id));
        let row = found.unwrap();
        assert_eq!(row["status"], text(first.status.word()));
        assert_eq!(row["evidence"], text(&first.evidence));
        assert_eq!(row["port"], Field::Int(target.target.port.into()));
        assert_eq!(row["domain"], Field::Null);
    }

    #[test]
    fn what_could_not_be_examined_is_a_row() {
        let mut document = samples::report().as_json(Severity::High);
        document["domains"] = Value::Array(Vec::new());
        document["targets"] = Value::Array(Vec::new());
        document["trouble"] = "nobody has no address".into();
        let mut columns = Columns::new(Vec::new()).unwrap();
        columns.push(&document).unwrap();
        let rows = read(columns.finish().unwrap());
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["id"], Field::Null);
        assert_eq!(rows[0]["status"], Field::Str("inconclusive".to_owned()));
    }

    #[test]
    fn what_is_no_document_is_refused_and_leaves_nothing() {
        let mut columns = Columns::new(Vec::new()).unwrap();
        for other in ["{}", "[]", "7"] {
            let other = serde_json::from_str(other).unwrap();
            assert!(matches!(columns.push(&other), Err(Trouble::NoDocument)));
        }
        // A document that lacks one thing.
        for place in [
            "/schema",
            "/at",
            "/profile",
            "/tier",
            "/domains",
            "/targets",
            "/targets/0/checks",
            "/targets/0/checks/0/status",
        ] {
            let mut other = samples::report().as_json(Severity::High);
            *other.pointer_mut(place).unwrap() = Value::Null;
            assert!(
                matches!(columns.push(&other), Err(Trouble::NoDocument)),
                "{place}"
            );
        }
        assert!(read(columns.finish().unwrap()).is_empty());
    }

    #[test]
    fn row_groups_are_bounded() {
        let document = samples::report().as_json(Severity::High);
        let checks = samples::report().checks().count();
        let documents = GROUP / checks + 2;
        let mut columns = Columns::new(Vec::new()).unwrap();
        for _ in 0..documents {
            columns.push(&document).unwrap();
        }
        assert!(columns.rows.status.len() < GROUP);
        let file = columns.finish().unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let rows = reader.metadata().file_metadata().num_rows();
        assert_eq!(usize::try_from(rows).unwrap(), documents * checks);
    }
}
