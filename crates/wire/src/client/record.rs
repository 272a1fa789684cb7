//! The record of a dialogue, for showing it: who said what, before or inside TLS, with credentials left out.
//!
//! Sessions only write into it; nothing a session does depends on what is in it. So it may outlive the upgrade although
//! nothing else does.

use std::sync::{Arc, Mutex, PoisonError};

use super::Quote;

/// Lines kept; what comes later is counted only.
const MOST_ENTRIES: usize = 10_000;

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// We.
    Client,
    /// The server, or whoever stands on the path before TLS.
    Server,
    /// Neither: TLS began here.
    Tls,
}

/// One line of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who said it.
    pub speaker: Speaker,
    /// The line without its end, escaped. A line that carries a credential is replaced by what kind of line it was.
    pub text: Quote,
    /// Whether it was said inside TLS.
    pub encrypted: bool,
    /// Whether the line carried a credential, and is left out.
    pub secret: bool,
}

/// Where a session records its dialogue. Clones write to and read the same record.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Recorder {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes out what was said since the last call.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn write(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() < MOST_ENTRIES {
            entries.push(entry);
        }
    }
}
