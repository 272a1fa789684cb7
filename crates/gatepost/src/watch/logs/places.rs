//! How far logs were read, kept in a file from run to run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::journal::Journal;
use super::tail::Place;
use crate::exit::Failure;
use crate::watch::cannot_read;

const SCHEMA: &str = "gatepost-watch-places-1";

/// By the names the logs were given under.
#[derive(Debug, Default)]
pub(super) struct Places {
    files: BTreeMap<String, Place>,
    cursors: BTreeMap<String, String>,
}

impl Places {
    /// Reads what an earlier run kept; nothing when there was none.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        match std::fs::read(path) {
            Ok(octets) => serde_json::from_slice(&octets)
                .ok()
                .and_then(|it| Self::from_json(&it))
                .ok_or_else(|| {
                    Failure::usage(format!(
                        "{} does not tell how far logs were read",
                        path.display()
                    ))
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(cannot_read(path, &error)),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        (value.get("schema")?.as_str()? == SCHEMA).then_some(())?;
        let mut places = Self::default();
        for (name, it) in value.get("files")?.as_object()? {
            let number = |key: &str| it.get(key).and_then(Value::as_u64);
            let place = Place {
                device: number("device")?,
                inode: number("inode")?,
                offset: number("offset")?,
            };
            places.files.insert(name.clone(), place);
        }
        for (name, it) in value.get("journals")?.as_object()? {
            places.cursors.insert(name.clone(), it.as_str()?.to_owned());
        }
        Some(places)
    }

    pub(super) fn as_json(&self) -> Value {
        let files: BTreeMap<&String, Value> = self
            .files
            .iter()
            .map(|(name, it)| {
                let place = json!({ "device": it.device, "inode": it.inode, "offset": it.offset });
                (name, place)
            })
            .collect();
        json!({ "schema": SCHEMA, "files": files, "journals": self.cursors })
    }

    pub(super) fn file(&self, path: &Path) -> Option<Place> {
        self.files.get(&*path.to_string_lossy()).copied()
    }

    pub(super) fn put_file(&mut self, path: &Path, place: Place) {
        self.files
            .insert(path.to_string_lossy().into_owned(), place);
    }

    pub(super) fn cursor(&self, name: &str) -> Option<String> {
        self.cursors.get(name).cloned()
    }

    pub(super) fn put_cursor(&mut self, journal: &Journal) {
        if let Some(cursor) = journal.cursor() {
            self.cursors
                .insert(journal.name().to_owned(), cursor.to_owned());
        }
    }
}
