//! The file of pins: one peer a line.
//!
//! ```text
//! # anything behind a hash sign is a comment
//! mail.example.org:993  sha256-spki:…  sha256-spki:…
//! old.example.org:465   sha256-spki:…  no-backup
//! try.example.org:25    sha256-spki:…  sha256-spki:…  report-only
//! ```
//!
//! A peer is named by host and port as the user connects to it. Two pins are wanted, the second as backup, unless the line
//! says `no-backup` [PIN-02]. `report-only` tells a mismatch and goes on. A line that is not understood makes the whole file
//! void: pins half read are pins half enforced.

use std::fmt;

use super::{Pin, PinSet};

/// A peer and its pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The host, in lower case.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Its pins.
    pub pins: PinSet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// A comment or nothing, kept as it is.
    Other(String),
    Entry(Entry),
}

/// The file, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PinFile {
    lines: Vec<Line>,
}

/// Why the file is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinFileError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: PinFileProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinFileProblem {
    /// It does not begin with `host:port`.
    NoPeer,
    /// It has a word that is neither a pin nor known.
    UnknownWord,
    /// It has no pin.
    NoPin,
    /// It has one pin only and does not say `no-backup`.
    NoBackup,
    /// The peer stands on an earlier line.
    Twice,
}

impl fmt::Display for PinFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            PinFileProblem::NoPeer => "does not begin with host:port",
            PinFileProblem::UnknownWord => {
                "has a word that is neither a pin, nor no-backup, nor report-only"
            }
            PinFileProblem::NoPin => "has no pin",
            PinFileProblem::NoBackup => {
                "has one pin; add a second one as backup, or the word no-backup"
            }
            PinFileProblem::Twice => "names a peer that stands on an earlier line",
        };
        write!(f, "line {} of the file of pins {problem}", self.line)
    }
}

impl std::error::Error for PinFileError {}

impl PinFile {
    /// Reads the text of the file.
    pub fn parse(text: &str) -> Result<Self, PinFileError> {
        let mut file = Self::default();
        for (number, text) in (1..).zip(text.lines()) {
            let fail = |problem| PinFileError {
                line: number,
                problem,
            };
            let line = parse_line(text).map_err(fail)?;
            if let Line::Entry(entry) = &line
                && file.pins(&entry.host, entry.port).is_some()
            {
                return Err(fail(PinFileProblem::Twice));
            }
            file.lines.push(line);
        }
        Ok(file)
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let line = |line: &Line| match line {
            Line::Other(text) => format!("{text}\n"),
            Line::Entry(entry) => format!("{}\n", write_entry(entry)),
        };
        self.lines.iter().map(line).collect()
    }

    /// The pins of a peer.
    pub fn pins(&self, host: &str, port: u16) -> Option<&PinSet> {
        self.entries()
            .find(|it| it.is_for(host, port))
            .map(|it| &it.pins)
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().filter_map(|line| match line {
            Line::Entry(entry) => Some(entry),
            Line::Other(_) => None,
        })
    }

    /// Sets the pins of a peer, in its place or at the end.
    pub fn set(&mut self, host: &str, port: u16, pins: PinSet) {
        let entry = Entry {
            host: host.to_ascii_lowercase(),
            port,
            pins,
        };
        let place = self
            .lines
            .iter_mut()
            .find(|line| matches!(line, Line::Entry(it) if it.is_for(host, port)));
        match place {
            Some(line) => *line = Line::Entry(entry),
            None => self.lines.push(Line::Entry(entry)),
        }
    }

    /// Forgets the pins of a peer. Says whether there were any.
    pub fn remove(&mut self, host: &str, port: u16) -> bool {
        let before = self.lines.len();
        self.lines
            .retain(|line| !matches!(line, Line::Entry(it) if it.is_for(host, port)));
        self.lines.len() < before
    }
}

impl Entry {
    fn is_for(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.eq_ignore_ascii_case(host)
    }
}

fn parse_line(text: &str) -> Result<Line, PinFileProblem> {
    let content = text.split('#').next().unwrap_or_default();
    let mut words = content.split_ascii_whitespace();
    let Some(peer) = words.next() else {
        return Ok(Line::Other(text.trim_end().to_owned()));
    };
    let (host, port) = peer.rsplit_once(':').ok_or(PinFileProblem::NoPeer)?;
    let port = port.parse().map_err(|_| PinFileProblem::NoPeer)?;
    let host = host
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return Err(PinFileProblem::NoPeer);
    }
    let (mut pins, mut backup, mut report_only) = (Vec::new(), true, false);
    for word in words {
        match word {
            "no-backup" => backup = false,
            "report-only" => report_only = true,
            word => pins.push(
                word.parse::<Pin>()
                    .map_err(|_| PinFileProblem::UnknownWord)?,
            ),
        }
    }
    // [PIN-02]
    if pins.len() == 1 && backup {
        return Err(PinFileProblem::NoBackup);
    }
    let mut pins = PinSet::new(pins).ok_or(PinFileProblem::NoPin)?;
    pins.report_only = report_only;
    Ok(Line::Entry(Entry {
        host: host.to_ascii_lowercase(),
        port,
        pins,
    }))
}

fn write_entry(entry: &Entry) -> String {
    let host = if entry.host.contains(':') {
        format!("[{}]", entry.host)
    } else {
        entry.host.clone()
    };
    let mut words = vec![format!("{host}:{}", entry.port)];
    words.extend(entry.pins.pins().iter().map(ToString::to_string));
    if entry.pins.pins().len() == 1 {
        words.push("no-backup".to_owned());
    }
    if entry.pins.report_only {
        words.push("report-only".to_owned());
    }
    words.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(octet: u8) -> Pin {
        Pin::Spki([octet; 32])
    }

    #[test]
    fn a_file_is_read_changed_and_written() {
        let text = format!(
            "# mine \r\n\nMail.example.org:993  {}  {}\n[2001:db8::1]:25 {} no-backup report-only # device\n",
            pin(1),
            pin(2),
            pin(3)
        );
        let mut file = PinFile::parse(&text).unwrap();
        assert_eq!(
            file.pins("mail.EXAMPLE.org", 993).unwrap().pins(),
            [pin(1), pin(2)]
        );
        assert!(file.pins("2001:db8::1", 25).unwrap().report_only);
        assert_eq!(file.pins("mail.example.org", 143), None);
        file.set("mail.example.org", 993, PinSet::new(vec![pin(4)]).unwrap());
        assert!(file.remove("2001:db8::1", 25));
        assert!(!file.remove("2001:db8::1", 25));
        let expected = format!("# mine\n\nmail.example.org:993  {}  no-backup\n", pin(4));
        assert_eq!(file.to_text(), expected);
        assert_eq!(PinFile::parse(&expected).unwrap(), file);
    }

    #[test]
    fn a_line_not_understood_makes_the_file_void() {
        // [PIN-02]
        let cases = [
            ("mail.example.org PIN PIN", PinFileProblem::NoPeer),
            ("mail.example.org:x PIN PIN", PinFileProblem::NoPeer),
            (":25 PIN PIN", PinFileProblem::NoPeer),
            ("a.example:25 PIN PIN maybe", PinFileProblem::UnknownWord),
            ("a.example:25 no-backup", PinFileProblem::NoPin),
            ("a.example:25 PIN", PinFileProblem::NoBackup),
            (
                "a.example:25 PIN PIN\nA.example:25 PIN PIN",
                PinFileProblem::Twice,
            ),
        ];
        for (text, problem) in cases {
            let text = text.replace("PIN", &pin(1).to_string());
            let error = PinFile::parse(&text).unwrap_err();
            assert_eq!(error.problem, problem, "{text}");
            assert_eq!(error.line, text.lines().count());
        }
    }
}
