//! Captures from dialogues, and what the watcher tells of them.

use std::sync::Arc;

use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::event::{Event, Finding, Session};
use gatepost_audit::watch::file::{Reader, Step};
use gatepost_audit::watch::privacy::Privacy;
use gatepost_testkit::capture::{Call, Capture};
use gatepost_trust::verify::Roots;

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) findings: Vec<Finding>,
    pub(crate) sessions: Vec<Session>,
}

impl Told {
    pub(crate) fn ids(&self) -> Vec<&'static str> {
        let mut ids: Vec<_> = self.findings.iter().map(|it| it.id).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn find(&self, id: &str) -> &Finding {
        let found = self.findings.iter().find(|it| it.id == id);
        found.unwrap_or_else(|| panic!("{id} is not among {:?}", self.ids()))
    }

    pub(crate) fn outcome(&self) -> &'static str {
        self.sessions.first().map_or("none", |it| it.outcome.word())
    }

    /// Everything told, as it is printed.
    pub(crate) fn printed(&self) -> String {
        let findings = self
            .findings
            .iter()
            .map(|it| serde_json::to_string(&it.as_json("f")).unwrap());
        let sessions = self
            .sessions
            .iter()
            .map(|it| serde_json::to_string(&it.as_json("f")).unwrap());
        findings.chain(sessions).collect::<Vec<_>>().join("\n")
    }
}

/// Reads a capture file.
pub(crate) fn watch_file(octets: &[u8], mut watcher: Watcher) -> Told {
    let mut reader = Reader::new();
    let mut rest = octets;
    while let Ok(step) = reader.next() {
        match step {
            Step::Packet(packet) => watcher.packet(&packet),
            Step::NeedMore => {
                let space = reader.space();
                let count = space.len().min(rest.len());
                space[..count].copy_from_slice(&rest[..count]);
                reader.filled(count);
                rest = &rest[count..];
                if count == 0 {
                    reader.end();
                }
            }
            Step::End { .. } => break,
        }
    }
    watcher.finish();
    let mut told = Told::default();
    for event in watcher.take_events() {
        match event {
            Event::Finding(it) => told.findings.push(*it),
            Event::Session(it) => told.sessions.push(*it),
        }
    }
    told
}

pub(crate) fn watcher() -> Watcher {
    Watcher::new(Privacy::new([3; 32], false), Judge::new(None))
}

pub(crate) fn watcher_with(roots: Roots) -> Watcher {
    Watcher::new(
        Privacy::new([3; 32], false),
        Judge::new(Some(Arc::new(roots))),
    )
}

pub(crate) fn watch(capture: &Capture) -> Told {
    watch_file(&capture.to_pcap(), watcher())
}

/// Plays a dialogue, every piece of it in one segment.
pub(crate) fn play(capture: &mut Capture, call: &mut Call, dialogue: &str) {
    capture.play(call, dialogue, usize::MAX);
}

/// A whole connection.
pub(crate) fn connection(port: u16, dialogue: &str) -> Capture {
    let mut capture = Capture::new();
    let mut call = capture.call(port);
    play(&mut capture, &mut call, dialogue);
    capture.close(&mut call);
    capture
}

pub(crate) fn watch_dialogue(port: u16, dialogue: &str) -> Told {
    watch(&connection(port, dialogue))
}
