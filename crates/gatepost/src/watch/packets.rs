//! Captures into the engine: files one after the other, files that grow, and, where asked for, a second time for the evidence.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::compare::Point;
use gatepost_audit::watch::event::Event;
use gatepost_audit::watch::evidence::Selection;
use gatepost_audit::watch::file::{Packet, Reader, Step};
use gatepost_audit::watch::privacy::Privacy;

use super::output::{Output, cannot_write};
use super::stop::Stop;
use super::{cannot_read, input};
use crate::exit::Failure;

/// How long to wait for more of a file that grows.
const PAUSE: Duration = Duration::from_millis(300);

/// How many connections that are still open at the end are told before what was told of them is printed.
pub(super) const AT_A_TIME: usize = 1024;

/// What reads packets.
pub(super) struct Packets {
    pub(super) watcher: Watcher,
    follows: bool,
    evidence: Option<PathBuf>,
    selection: Selection,
    /// The files read, for a second time.
    read: Vec<(u32, PathBuf)>,
    other: Option<Point>,
}

impl Packets {
    pub(super) fn new(given: &ArgMatches, watcher: Watcher) -> Self {
        Self {
            watcher,
            follows: given.get_flag("follow"),
            evidence: given.get_one::<PathBuf>("evidence").cloned(),
            selection: Selection::default(),
            read: Vec::new(),
            other: None,
        }
    }

    /// Reads a capture of another point.
    pub(super) fn compare_with(&mut self, path: &Path, privacy: Privacy) -> Result<(), Failure> {
        let mut watcher = Watcher::new(privacy, Judge::default());
        each_packet(path, |packet| watcher.packet(packet))?;
        watcher.finish();
        let mut point = Point::default();
        for event in watcher.take_events() {
            if let Event::Session(session) = event {
                point.add(&session);
            }
        }
        self.other = Some(point);
        Ok(())
    }

    /// Prints what the engine has to tell.
    pub(super) fn tell(&mut self, output: &mut Output) -> Result<(), Failure> {
        if !self.watcher.has_events() {
            return Ok(());
        }
        let mut events = self.watcher.take_events();
        let mut more = Vec::new();
        for event in &events {
            if let Event::Session(session) = event {
                if self.evidence.is_some() {
                    self.selection.add(session);
                }
                more.extend(self.other.iter().flat_map(|it| it.compare(session)));
            }
        }
        events.extend(more);
        output.tell(&events)
    }

    /// A file, or all of a folder.
    pub(super) fn read_all(
        &mut self,
        named: &Path,
        stop: &Stop,
        output: &mut Output,
        troubles: &mut Vec<Failure>,
    ) {
        if self.follows && named != Path::new("-") {
            if let Err(failure) = self.follow(named, stop, output) {
                troubles.push(failure);
            }
            return;
        }
        match input::expand(named) {
            Ok(files) => {
                for file in files {
                    if let Err(failure) = self.read(&file, output) {
                        troubles.push(failure);
                    }
                }
            }
            Err(error) => troubles.push(cannot_read(named, &error)),
        }
    }

    fn begin(&mut self, path: &Path, output: &mut Output) {
        let number = output.add_file(path.display().to_string());
        self.watcher.begin_file(number);
        self.read.push((number, path.to_owned()));
    }

    fn read(&mut self, path: &Path, output: &mut Output) -> Result<(), Failure> {
        let mut source = input::open(path).map_err(|error| cannot_read(path, &error))?;
        self.begin(path, output);
        let mut reader = Reader::new();
        loop {
            match reader.next().map_err(|error| cannot_read(path, &error))? {
                Step::Packet(packet) => self.watcher.packet(&packet),
                Step::NeedMore => {
                    self.tell(output)?;
                    let count = fill(source.as_mut(), &mut reader)
                        .map_err(|error| cannot_read(path, &error))?;
                    if count == 0 {
                        reader.end();
                    }
                }
                Step::End { cut } => {
                    if cut {
                        eprintln!("gatepost: {}: the last record is cut off", path.display());
                    }
                    return self.tell(output);
                }
            }
        }
    }

    /// A file that grows, or a folder in which one file after the other does.
    fn follow(&mut self, named: &Path, stop: &Stop, output: &mut Output) -> Result<(), Failure> {
        let mut done: Vec<PathBuf> = Vec::new();
        while !stop.is_asked() {
            let files = input::expand(named).map_err(|error| cannot_read(named, &error))?;
            let Some(file) = files.into_iter().find(|it| !done.contains(it)) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            self.follow_file(named, &file, stop, output)?;
            done.push(file);
        }
        Ok(())
    }

    fn follow_file(
        &mut self,
        named: &Path,
        path: &Path,
        stop: &Stop,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let mut source = input::open(path).map_err(|error| cannot_read(path, &error))?;
        self.begin(path, output);
        let mut reader = Reader::new();
        // Whether another file has taken over since this one was last read to its end.
        let mut is_last_look = false;
        loop {
            match reader.next().map_err(|error| cannot_read(path, &error))? {
                Step::Packet(packet) => self.watcher.packet(&packet),
                Step::End { .. } => return self.tell(output),
                Step::NeedMore => {
                    self.tell(output)?;
                    let count = fill(source.as_mut(), &mut reader)
                        .map_err(|error| cannot_read(path, &error))?;
                    if count > 0 {
                        continue;
                    }
                    if is_last_look || stop.is_asked() {
                        reader.end();
                        continue;
                    }
                    let files = input::expand(named).map_err(|error| cannot_read(named, &error))?;
                    is_last_look = files.last().is_some_and(|it| it.as_path() > path);
                    if !is_last_look {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        }
    }

    /// The end: what is still open, and the evidence.
    pub(super) fn finish(mut self, output: &mut Output) -> Result<Watcher, Failure> {
        while self.watcher.finish_some(AT_A_TIME) {
            self.tell(output)?;
        }
        if let Some(path) = self.evidence.take() {
            self.write_evidence(&path)?;
        }
        Ok(self.watcher)
    }

    fn write_evidence(&mut self, path: &Path) -> Result<(), Failure> {
        self.selection.rewind();
        let file = File::create(path).map_err(|error| cannot_write(&error))?;
        let mut out = BufWriter::new(file);
        let mut link = None;
        let mut left_out = 0_u64;
        for (number, file) in std::mem::take(&mut self.read) {
            if file == Path::new("-") {
                return Err(Failure::usage(
                    "--evidence reads captures twice, which standard input cannot be",
                ));
            }
            let mut written = Ok(());
            each_packet(&file, |packet| {
                let Some(octets) = self.selection.redact(number, packet) else {
                    return;
                };
                if link.is_none() {
                    written = out.write_all(&header(packet.link));
                }
                // A pcap file has one link type.
                if *link.get_or_insert(packet.link) != packet.link {
                    left_out += 1;
                } else if written.is_ok() {
                    written = write_packet(&mut out, packet, &octets);
                }
            })?;
            written.map_err(|error| cannot_write(&error))?;
        }
        if left_out > 0 {
            eprintln!(
                "gatepost: {left_out} packets of other link types are not in {}",
                path.display()
            );
        }
        if link.is_none() {
            out.write_all(&header(1))
                .map_err(|error| cannot_write(&error))?;
        }
        out.flush().map_err(|error| cannot_write(&error))
    }
}

fn header(link: u32) -> Vec<u8> {
    let mut header = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    header.extend([2, 0, 4, 0]);
    header.extend([0; 8]);
    header.extend(0x0004_0000_u32.to_le_bytes());
    header.extend(link.to_le_bytes());
    header
}

fn write_packet(out: &mut impl Write, packet: &Packet<'_>, octets: &[u8]) -> io::Result<()> {
    let number = |it: u64| u32::try_from(it).unwrap_or(u32::MAX).to_le_bytes();
    out.write_all(&number(packet.time / 1_000_000_000))?;
    out.write_all(&number(packet.time % 1_000_000_000))?;
    out.write_all(&number(octets.len() as u64))?;
    out.write_all(&number(packet.length as u64))?;
    out.write_all(octets)
}

/// Every packet of a file.
fn each_packet(path: &Path, mut each: impl FnMut(&Packet<'_>)) -> Result<(), Failure> {
    let mut source = input::open(path).map_err(|error| cannot_read(path, &error))?;
    let mut reader = Reader::new();
    loop {
        match reader.next().map_err(|error| cannot_read(path, &error))? {
            Step::Packet(packet) => each(&packet),
            Step::NeedMore => {
                if fill(source.as_mut(), &mut reader).map_err(|error| cannot_read(path, &error))?
                    == 0
                {
                    reader.end();
                }
            }
            Step::End { .. } => return Ok(()),
        }
    }
}

fn fill(source: &mut dyn Read, reader: &mut Reader) -> io::Result<usize> {
    loop {
        match source.read(reader.space()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(count) => {
                reader.filled(count);
                return Ok(count);
            }
        }
    }
}
