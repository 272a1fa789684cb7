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
            Event::Finding(it) if self.json => it.as_json(self.name(it.file)),
            Event::Session(it) if self.json => it.as_json(self.name(it.file)),
            Event::Session(_) => return Ok(()),
            Event::Finding(it) => {
                let file = self.files.get(it.file as usize).map_or("", String::as_str);
                return sentence(&mut self.out, it, file);
            }
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

/// A finding as a line of text. A log in clear has very many of them, so they are written without being put together first.
fn sentence(out: &mut impl Write, it: &Finding, file: &str) -> io::Result<()> {
    if it.time > 0 {
        out.write_all(timestamp(it.time).as_bytes())?;
    } else {
        out.write_all(b"-")?;
    }
    let protocol = it.protocol.map_or("", Protocol::word);
    write!(out, " {:<8} {} {protocol} ", it.severity.word(), it.id)?;
    if let Some(ends) = it.ends {
        let (client, server) = (Ends::word(ends.client), Ends::word(ends.server));
        write!(out, "{client} to {server}")?;
    }
    write!(out, ": {}", it.evidence)?;
    if let Some(user) = it.login.as_ref().and_then(|it| it.user.as_ref()) {
        match (&user.name, &user.domain) {
            (Some(name), _) => write!(out, ", {name}")?,
            (None, Some(domain)) => write!(out, ", user {} of {domain}", user.hash)?,
            (None, None) => write!(out, ", user {}", user.hash)?,
        }
    }
    if it.line > 0 {
        return writeln!(out, " ({file}, line {})", it.line);
    }
    let (packet, side, offset) = (it.packet, it.side, it.offset);
    writeln!(out, " ({file}, packet {packet}, {side} octet {offset})")
}

pub(super) fn cannot_write(error: &io::Error) -> Failure {
    Failure::local(format!("cannot write: {error}"))
}
