//! Two captures of the same sessions, taken at two points of the way: what was said before TLS must be the same at both (W307).
//!
//! Sessions are joined by both ends and the number of the client's SYN, which nobody in between changes who only changes words.

use std::collections::HashMap;

use super::event::{Event, Finding, Session};
use super::notes::Side;
use crate::rules;

/// What a session is known by.
type Key = ((u128, u16), (u128, u16), u32);

fn key(session: &Session) -> Option<Key> {
    let known = session.first_number != 0;
    known.then_some((
        session.ends.client,
        session.ends.server,
        session.first_number,
    ))
}

/// The sessions of one point.
#[derive(Debug, Default)]
pub struct Point {
    sessions: HashMap<Key, [u64; 2]>,
}

impl Point {
    /// Adds a session that was seen there.
    pub fn add(&mut self, session: &Session) {
        if let Some(key) = key(session) {
            self.sessions.insert(key, session.said);
        }
    }

    /// What another point saw of the same session differently.
    #[must_use]
    pub fn compare(&self, session: &Session) -> Vec<Event> {
        let Some(other) = key(session).and_then(|it| self.sessions.get(&it)) else {
            return Vec::new();
        };
        let sides = [Side::Client, Side::Server];
        let differing = sides
            .into_iter()
            .zip(other.iter().zip(&session.said))
            .filter(|(_, (one, other))| one != other);
        differing.map(|(side, _)| finding(session, side)).collect()
    }
}

fn finding(session: &Session, side: Side) -> Event {
    let severity = rules::find("W307").map(|it| it.severity);
    Event::Finding(Box::new(Finding {
        id: "W307",
        severity: severity.unwrap_or(crate::finding::Severity::Critical),
        session: Some(session.number),
        protocol: Some(session.protocol),
        ends: Some(session.ends),
        file: session.file,
        packet: session.first_packet,
        line: 0,
        offset: 0,
        side: side.word(),
        time: session.time.0,
        evidence: format!(
            "what the {} said before TLS differs between the two captures",
            side.word()
        ),
        login: None,
    }))
}
