//! What is read, and where more comes from.

use std::fmt;

/// A text with the name its user knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The name, usually a path.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Document {
    /// A document.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// The last part of the name.
    #[must_use]
    pub fn leaf(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}

/// Why a file that is included was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// There is no such file.
    Missing,
    /// It is there and cannot be read, or must not be: why.
    Refused(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// Gives out the files a configuration includes.
pub trait Files {
    /// The files a pattern names, as seen from a document. A pattern with wildcards that fits nothing gives none.
    fn include(&mut self, pattern: &str, from: &str) -> Result<Vec<Document>, Unread>;
}

/// Gives out none: for text alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn include(&mut self, _: &str, _: &str) -> Result<Vec<Document>, Unread> {
        Err(Unread::Refused(
            "only the text itself was given, so what it includes is not read".to_owned(),
        ))
    }
}
