//! What `watch` prints: findings as they come, then the summary; as text or as JSON lines.

use std::io::{self, BufWriter, Write};

use gatepost_audit::watch::Counters;
use gatepost_audit::watch::event::{Ends, Event, Finding, timestamp};
use gatepost_audit::watch::notes::Protocol;
use gatepost_audit::watch::page::Page;
use gatepost_audit::watch::summary::Summary;

use crate::exit::Failure;

/// What is printed, and how.
pub(super) struct Output {
    out: BufWriter<io::Stdout>,
    json: bool,
    files: Vec<String>,
    pub(super) summary: Summary,
    pub(super) page: Option<Page>,
}

impl Output {
    pub(super) fn new(json: bool, with_page: bool) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 16, io::stdout()),
            json,
            files: Vec::new(),
            summary: Summary::default(),
            page: with_page.then(Page::default),
        }
    }

    /// Another file: its number.
    pub(super) fn add_file(&mut self, name: String) -> u32 {
        self.files.push(name);
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    fn name(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", String::as_str)
    }

    /// Prints what has happened.
    pub(super) fn tell(&mut self, events: &[Event]) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            match event {
                Event::Finding(it) => self.summary.add_finding(it),
                Event::Session(it) => self.summary.add_session(it),
            }
            if let Some(page) = &mut self.page {
                page.add(event);
            }
            self.print(event).map_err(|error| cannot_write(&error))?;
        }
        self.out.flush().map_err(|error| cannot_write(&error))
    }

    fn print(&mut self, event: &Event) -> io::Result<()> {
        let line = match event {
            Event::Finding(it) if self.json => it.as_json(self.name(it.file)).to_string(),
            Event::Session(it) if self.json => it.as_json(self.name(it.file)).to_string(),
            Event::Session(_) => return Ok(()),
            Event::Finding(it) => sentence(it, self.name(it.file)),
        };
        writeln!(self.out, "{line}")
    }

    pub(super) fn finish(&mut self, counters: &Counters) -> Result<(), Failure> {
        let written = if self.json {
            writeln!(self.out, "{}", self.summary.as_json(counters))
        } else {
            write!(self.out, "{}", self.summary.text(counters))
        };
        written
            .and_then(|()| self.out.flush())
            .map_err(|error| cannot_write(&error))
    }
}

fn sentence(it: &Finding, file: &str) -> String {
    let ends = it.ends.map_or(String::new(), |it| {
        format!("{} to {}", Ends::word(it.client), Ends::word(it.server))
    });
    let user = it.login.as_ref().and_then(|it| it.user.as_ref());
    let user = user.map_or(String::new(), |it| {
        let name = it
            .name
            .clone()
            .unwrap_or_else(|| format!("user {}", it.hash));
        let domain = it.domain.as_ref().filter(|_| it.name.is_none());
        format!(
            ", {name}{}",
            domain.map_or(String::new(), |it| format!(" of {it}"))
        )
    });
    let place = if it.line > 0 {
        format!("line {}", it.line)
    } else {
        format!("packet {}, {} octet {}", it.packet, it.side, it.offset)
    };
    let time = if it.time > 0 {
        timestamp(it.time)
    } else {
        "-".to_owned()
    };
    format!(
        "{time} {:<8} {} {} {ends}: {}{user} ({file}, {place})",
        it.severity.word(),
        it.id,
        it.protocol.map_or("", Protocol::word),
        it.evidence,
    )
}

pub(super) fn cannot_write(error: &io::Error) -> Failure {
    Failure::local(format!("cannot write: {error}"))
}
