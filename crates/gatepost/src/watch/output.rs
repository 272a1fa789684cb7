//! What `watch` prints: findings as they come, then the summary; as text or as JSON lines.

use std::io::{self, BufWriter, Write};

use gatepost_audit::watch::Counters;
use gatepost_audit::watch::event::{Ends, Event, Finding, Time};
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
        let file = match event {
            Event::Finding(it) => it.file,
            Event::Session(it) => it.file,
        };
        let file = self.files.get(file as usize).map_or("", String::as_str);
        match event {
            Event::Finding(it) if self.json => {
                serde_json::to_writer(&mut self.out, &it.as_json(file))?;
            }
            Event::Session(it) if self.json => {
                serde_json::to_writer(&mut self.out, &it.as_json(file))?;
            }
            Event::Session(_) => return Ok(()),
            Event::Finding(it) => return sentence(&mut self.out, it, file),
        }
        self.out.write_all(b"\n")
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
    match Time::known(it.time) {
        Some(time) => write!(out, "{time}")?,
        None => out.write_all(b"-")?,
    }
    let protocol = it.protocol.map_or("", Protocol::word);
    write!(out, " {:<8} {} {protocol} ", it.severity.word(), it.id)?;
    if let Some(ends) = it.ends {
        end(out, ends.client)?;
        out.write_all(b" to ")?;
        end(out, ends.server)?;
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

fn end(out: &mut impl Write, it: (u128, u16)) -> io::Result<()> {
    match Ends::known(it) {
        Some(end) => write!(out, "{end}"),
        None => out.write_all(b"-"),
    }
}

pub(super) fn cannot_write(error: &io::Error) -> Failure {
    Failure::local(format!("cannot write: {error}"))
}
