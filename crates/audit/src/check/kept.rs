//! Facts, kept: one JSON document that is read back and judged again without a connection, by another profile or a later program.

use serde::{Deserialize, Serialize};

use super::domain::DomainFacts;
use super::facts::{Facts, SCHEMA};

/// The largest file read back: some thousand services.
pub const LARGEST: u64 = 256 << 20;

/// What was seen in one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// How deep it was looked.
    pub tier: String,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
    /// Domains: what DNS and their policies said.
    #[serde(default)]
    pub domains: Vec<DomainFacts>,
    /// Services, each at one address.
    pub services: Vec<Facts>,
}

/// Why kept facts are of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Not JSON, or not of this shape.
    Unreadable(String),
    /// Of another schema.
    Schema(String),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "these are no facts: {why}"),
            Self::Schema(found) => write!(f, "the schema is {found:?}, not {SCHEMA}"),
        }
    }
}

impl std::error::Error for Unusable {}

impl Kept {
    /// These facts.
    #[must_use]
    pub fn new(tier: &str, at: u64, services: Vec<Facts>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tier: tier.to_owned(),
            at,
            domains: Vec::new(),
            services,
        }
    }

    /// With what was seen of domains.
    #[must_use]
    pub fn with(mut self, domains: Vec<DomainFacts>) -> Self {
        self.domains = domains;
        self
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Maps with keys of text and numbers: nothing here can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads it back.
    pub fn read(text: &str) -> Result<Self, Unusable> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| Unusable::Unreadable(error.to_string()))?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => {}
            other => return Err(Unusable::Schema(other.unwrap_or_default().to_owned())),
        }
        serde_json::from_value(value).map_err(|error| Unusable::Unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_back() {
        let kept = Kept::new("light", 7, crate::check::samples::facts());
        assert_eq!(Kept::read(&kept.to_json()), Ok(kept));
    }

    #[test]
    fn another_schema_is_refused() {
        let text = Kept::new("light", 7, Vec::new()).to_json();
        let other = text.replace(SCHEMA, "gatepost-facts-2");
        assert_eq!(
            Kept::read(&other),
            Err(Unusable::Schema("gatepost-facts-2".to_owned()))
        );
        assert!(matches!(Kept::read("{}"), Err(Unusable::Schema(_))));
        assert!(matches!(Kept::read("["), Err(Unusable::Unreadable(_))));
    }
}
