//! The two texts of MTA-STS: the record (RFC 8461 3.1) and the policy (RFC 8461 3.2).

use std::fmt;
use std::time::Duration;

use crate::dns::Name;

/// The longest `max_age`: about a year.
const MAX_AGE: u64 = 31_557_600;
/// The most `mx` lines: a policy with more is no policy for mail.
const MAX_PATTERNS: usize = 1000;

/// Which policy a domain has: 1 to 32 letters and digits. Another id says that the policy changed, nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(String);

impl Id {
    /// Takes an id. None if it is none.
    pub fn new(text: &str) -> Option<Self> {
        let good = (1..=32).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_alphanumeric());
        good.then(|| Self(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a record is no good. It then counts as no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordError {
    /// More than one record begins with `v=STSv1`.
    Several,
    /// No `id`, or two, or one that is not 1 to 32 letters and digits.
    Id,
    /// Not fields of name and value with semicolons between.
    Syntax,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Several => "there is more than one",
            Self::Id => "it must have one id of 1 to 32 letters and digits",
            Self::Syntax => "it is not fields of name=value with semicolons between",
        })
    }
}

/// Finds the id among the texts of `_mta-sts` (each with its strings joined) [STS-01]. None: the domain has no policy.
pub fn find_record(texts: &[Vec<u8>]) -> Result<Option<Id>, RecordError> {
    let mut records = texts.iter().filter(|text| is_record(text));
    match (records.next(), records.next()) {
        (None, _) => Ok(None),
        (Some(record), None) => read_record(record).map(Some),
        // [STS-01] exactly one
        (Some(_), Some(_)) => Err(RecordError::Several),
    }
}

/// `v=STSv1`, then white space or not, then `;`.
fn is_record(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"v=STSv1") else {
        return false;
    };
    rest.trim_ascii_start().first() == Some(&b';')
}

fn read_record(text: &[u8]) -> Result<Id, RecordError> {
    let text = std::str::from_utf8(text).map_err(|_| RecordError::Syntax)?;
    let mut id = None;
    for field in text.split(';').skip(1) {
        let field = trim(field);
        if field.is_empty() {
            continue;
        }
        let (name, value) = field.split_once('=').ok_or(RecordError::Syntax)?;
        if !is_key(name) {
            return Err(RecordError::Syntax);
        }
        // [STS-01] unknown fields are ignored
        if name == "id" && id.replace(Id::new(value).ok_or(RecordError::Id)?).is_some() {
            return Err(RecordError::Id);
        }
    }
    id.ok_or(RecordError::Id)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A name of a field: a letter or digit, then up to 31 more, with `_`, `-`, `.`.
fn is_key(name: &str) -> bool {
    let mut octets = name.bytes();
    octets
        .next()
        .is_some_and(|octet| octet.is_ascii_alphanumeric())
        && name.len() <= 32
        && octets.all(|octet| octet.is_ascii_alphanumeric() || b"_-.".contains(&octet))
}

/// What a policy wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Deliver only to listed hosts that prove themselves.
    Enforce,
    /// Deliver anyway, and report.
    Testing,
    /// As if there were no policy.
    None,
}

impl Mode {
    /// The word in the policy.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Enforce, Self::Testing, Self::None]
            .into_iter()
            .find(|mode| mode.word() == word)
    }
}

/// One `mx` line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This host.
    Host(Name),
    /// Any host with exactly one label before this name: `*.example.com`.
    Below(Name),
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = |text: &str| {
            let host = !text.is_empty()
                && text
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
            host.then(|| text.parse::<Name>().ok()).flatten()
        };
        match text.strip_prefix("*.") {
            Some(rest) => name(rest).map(Self::Below),
            None => name(text).map(Self::Host),
        }
    }

    /// Whether a host fits [STS-06].
    pub fn fits(&self, host: &Name) -> bool {
        match self {
            Self::Host(name) => name == host,
            // [STS-06] the star is exactly one label
            Self::Below(name) => host.parent().as_ref() == Some(name),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "{name}"),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What it wants.
    pub mode: Mode,
    /// How long it may be kept after it was fetched.
    pub max_age: Duration,
    /// The hosts.
    pub mx: Vec<Pattern>,
}

/// Why a policy is no good. It then counts as one that could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyError {
    /// Not UTF-8, or a line without colon.
    Syntax,
    /// The first field is not `version: STSv1`.
    Version,
    /// No `mode`, or an unknown one.
    Mode,
    /// No `max_age`, or one that is no number of seconds up to 31557600.
    MaxAge,
    /// No `mx`, although the mode wants hosts, or one that is no host pattern.
    Mx,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "a line is not name: value",
            Self::Version => "it does not say version: STSv1",
            Self::Mode => "its mode is not enforce, testing or none",
            Self::MaxAge => "its max_age is not a number of seconds up to 31557600",
            Self::Mx => "it needs an mx line, and each must be a host name or *. and a name",
        })
    }
}

impl Policy {
    /// Reads a policy [STS-03].
    pub fn parse(body: &[u8]) -> Result<Self, PolicyError> {
        let text = std::str::from_utf8(body).map_err(|_| PolicyError::Syntax)?;
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut mx = Vec::new();
        // [STS-03] LF or CRLF
        for line in text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
        {
            let line = trim(line);
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(PolicyError::Syntax)?;
            let (name, value) = (trim(name), trim(value));
            match name {
                // [STS-03] the first of duplicates wins
                "version" => drop(version.get_or_insert(value)),
                "mode" => drop(mode.get_or_insert(value)),
                "max_age" => drop(max_age.get_or_insert(value)),
                "mx" if mx.len() == MAX_PATTERNS => return Err(PolicyError::Mx),
                "mx" => mx.push(Pattern::parse(value).ok_or(PolicyError::Mx)?),
                _ if is_key(name) => (),
                _ => return Err(PolicyError::Syntax),
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = mode.and_then(Mode::from_word).ok_or(PolicyError::Mode)?;
        let max_age = max_age.and_then(seconds).ok_or(PolicyError::MaxAge)?;
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::Mx);
        }
        Ok(Self { mode, max_age, mx })
    }

    /// Whether a pattern fits a host [STS-06].
    pub fn lists(&self, host: &Name) -> bool {
        self.mx.iter().any(|pattern| pattern.fits(host))
    }
}

pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    let seconds: u64 = digits.then(|| text.parse().ok()).flatten()?;
    (seconds <= MAX_AGE).then(|| Duration::from_secs(seconds))
}
