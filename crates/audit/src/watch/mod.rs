//! Watching: from captured packets to what leaked. No sockets, no files: packets come in, events go out.
//!
//! ```text
//!   file ─▶ link ─▶ ip (fragments) ─▶ flow (stream × 2) ─▶ conversation ─▶ smtp, imap, pop3, sieve, tls ─▶ notes ─▶ events
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`file`](mod@file) | pcap and pcapng |
//! | [`link`] | link layers and tags |
//! | [`ip`], [`fragments`] | datagrams up to the TCP segment |
//! | [`stream`], [`flow`] | reassembly, in bounded memory |
//! | [`detect`], [`conversation`] | what a connection speaks; clear text, upgrade, TLS |
//! | [`smtp`], [`imap`], [`pop3`], [`sieve`] | what is said in clear, with the grammar of `wire` |
//! | [`tls`], [`certificates`], [`fingerprint`] | hellos, chains, alerts |
//! | [`login`], [`privacy`] | credentials: seen, judged, forgotten |
//! | [`log`] | logs of Postfix, Dovecot, Exim and Gatepost |
//! | [`history`], [`compare`] | offers that were taken away: by what was before, by what another point saw |
//! | [`event`], [`summary`], [`page`], [`evidence`] | what is told |
//!
//! Three rules hold everywhere. No secret leaves the parser: passwords and tokens are counted, never kept; names are hashed. A claim is no
//! stronger than what was seen: what is missing, hidden or one-sided is told as such. Memory is bounded, whatever the packets say.

mod after;
pub mod certificates;
pub mod compare;
pub mod conversation;
pub mod detect;
pub mod event;
pub mod evidence;
pub mod file;
pub mod fingerprint;
pub mod flow;
pub mod fragments;
pub mod history;
pub mod honey;
pub mod imap;
pub mod ip;
pub mod lines;
pub mod link;
pub mod log;
pub mod login;
pub mod notes;
pub mod page;
pub mod pop3;
pub mod privacy;
pub mod sieve;
pub mod smtp;
pub mod stream;
pub mod summary;
mod table;
pub mod tls;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use certificates::Judge;
use event::{Event, Finding, Session};
use file::Packet;
use flow::{Context, Flow};
use fragments::Fragments;
use history::History;
use honey::Honey;
use ip::{Datagram, Segment};
use link::Payload;
use notes::{Facts, Note, Notes, Side, Upgrade};
use privacy::Privacy;
use table::{Key, Slot, Table};

/// How long a failed upgrade is remembered, in nanoseconds (W309).
const FALLBACK: u64 = 300_000_000_000;
/// A connection of which nothing was seen for so long is over, in nanoseconds.
const IDLE: u64 = 3_600_000_000_000;
/// How many packets lie between two looks for idle connections.
const BETWEEN_LOOKS: u64 = 1 << 18;
/// Failed upgrades that are remembered, and hellos.
const MOST_FAILURES: usize = 65_536;

/// What was passed over or dropped, so that silence is not mistaken for peace.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Packets taken in.
    pub packets: u64,
    /// Octets of them.
    pub octets: u64,
    /// Packets that hold no TCP segment.
    pub other: u64,
    /// Packets that were cut short.
    pub cut: u64,
    /// Packets of link layers that are not known, by their type.
    pub unknown_links: HashMap<u32, u64>,
    /// Connections seen.
    pub flows: u64,
    /// Connections that are not mail.
    pub not_mail: u64,
    /// Connections given up for want of memory.
    pub given_up: u64,
    /// Packets that were lost before they came here, as the kernel says.
    pub dropped: u64,
}

impl Counters {
    /// Adds what another engine passed over.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.packets, other.packets),
            (&mut self.octets, other.octets),
            (&mut self.other, other.other),
            (&mut self.cut, other.cut),
            (&mut self.flows, other.flows),
            (&mut self.not_mail, other.not_mail),
            (&mut self.given_up, other.given_up),
            (&mut self.dropped, other.dropped),
        ] {
            *ours += theirs;
        }
        for (link, count) in &other.unknown_links {
            *self.unknown_links.entry(*link).or_default() += count;
        }
    }
}

/// The engine.
#[derive(Debug)]
pub struct Watcher {
    privacy: Privacy,
    judge: Judge,
    ignores_vlan: bool,
    table: Table,
    fragments: Fragments,
    counters: Counters,
    file: u32,
    /// The next session's number, and how far the one after it is away.
    next_number: u32,
    between_numbers: u32,
    notes: Vec<Note>,
    facts: Facts,
    scratch: Vec<u8>,
    events: Vec<Event>,
    /// Client and server of a failed upgrade: when, and in which session.
    failures: HashMap<(u128, u128), (u64, u32)>,
    /// Shared with the other parts of a split engine: clients of one server may be read by several.
    history: Arc<Mutex<History>>,
    honey: Option<Honey>,
    /// The fingerprint of a client's last hello to a server, both as keyed hashes: there is one for every pair that was seen.
    hellos: HashMap<u64, u64>,
    hasher: RandomState,
    /// Failures and hellos that are remembered.
    most_remembered: usize,
    /// Connections that are being told as over.
    ending: table::Flows,
    now: u64,
    packet: u64,
}

impl Watcher {
    /// With a way to hide names and a judge of certificates.
    #[must_use]
    pub fn new(privacy: Privacy, judge: Judge) -> Self {
        Self {
            privacy,
            judge,
            ignores_vlan: false,
            table: Table::new(table::MOST_FLOWS, table::MOST_SETTLED),
            fragments: Fragments::default(),
            counters: Counters::default(),
            file: 0,
            next_number: 0,
            between_numbers: 1,
            notes: Vec::new(),
            facts: Facts::default(),
            scratch: Vec::new(),
            events: Vec::new(),
            failures: HashMap::new(),
            history: Arc::default(),
            honey: None,
            hellos: HashMap::new(),
            hasher: RandomState::new(),
            most_remembered: MOST_FAILURES,
            ending: Vec::new(),
            now: 0,
            packet: 0,
        }
    }

    /// Packets of different networks (VLAN) may belong to one connection.
    pub fn ignore_vlan(&mut self) {
        self.ignores_vlan = true;
    }

    /// At most so many connections are read at a time.
    pub fn limit_flows(&mut self, most: usize) {
        self.table = Table::new(most, table::MOST_SETTLED);
    }

    /// One of several engines that together take this one's place, each with the packets of other connections: it has its part of the memory and
    /// numbers for sessions that no other gives. What is known of servers is known to all of them. All packets between two addresses must come to the
    /// same one.
    #[must_use]
    pub fn split(&self, part: u32, parts: u32) -> Self {
        let count = usize::try_from(parts.max(1)).unwrap_or(usize::MAX);
        Self {
            ignores_vlan: self.ignores_vlan,
            table: Table::new(table::MOST_FLOWS / count, table::MOST_SETTLED / count),
            fragments: Fragments::one_of(count),
            file: self.file,
            next_number: self.next_number.wrapping_add(part),
            between_numbers: parts.max(1),
            history: Arc::clone(&self.history),
            honey: self.honey.clone(),
            most_remembered: MOST_FAILURES / count,
            ..Self::new(self.privacy.clone(), self.judge.clone())
        }
    }

    /// Takes back a part that has finished: its counts are counted.
    pub fn join(&mut self, part: &Self) {
        self.counters.add(&part.counters);
        self.next_number = self.next_number.max(part.next_number);
        self.now = self.now.max(part.now);
    }

    /// What servers offered in runs before this one.
    pub fn remember(&mut self, history: History) {
        self.history = Arc::new(Mutex::new(history));
    }

    /// Tells who uses this decoy in clear.
    pub fn seek(&mut self, honey: Honey) {
        self.honey = Some(honey);
    }

    /// What is known of servers now.
    #[must_use]
    pub fn history(&self) -> History {
        let history = self.history.lock();
        history.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The packets that follow are of another file, by its place in the list of files.
    pub fn begin_file(&mut self, file: u32) {
        self.file = file;
        self.packet = 0;
    }

    /// What was passed over so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// So many packets were lost so far before they came here.
    pub fn count_dropped(&mut self, dropped: u64) {
        self.counters.dropped = dropped;
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether events wait.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Takes in a packet.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.packet += 1;
        // A file whose time begins before the last one's end does not continue it: it may even show the same connections again.
        if self.packet == 1 && packet.time < self.now {
            self.finish();
        }
        self.now = packet.time;
        self.counters.packets += 1;
        self.counters.octets += packet.octets.len() as u64;
        if packet.octets.len() < packet.length {
            self.counters.cut += 1;
        }
        if self.counters.packets.is_multiple_of(BETWEEN_LOOKS) {
            for flow in self.table.take_idle(self.now, IDLE) {
                self.finish_flow(flow);
            }
        }
        match link::open(packet.link, packet.octets) {
            Payload::Ip(vlan, octets) => {
                let vlan = if self.ignores_vlan { 0 } else { vlan };
                match ip::open(octets, vlan, &mut self.fragments) {
                    Datagram::Tcp(segment) => self.segment(&segment),
                    Datagram::Whole(envelope, whole) => {
                        match ip::open_payload(envelope, &whole, &mut self.fragments) {
                            Datagram::Tcp(segment) => self.segment(&segment),
                            _ => self.counters.other += 1,
                        }
                    }
                    Datagram::Fragment => {}
                    Datagram::Other => self.counters.other += 1,
                }
            }
            Payload::Other => self.counters.other += 1,
            Payload::UnknownLink => self.unknown_link(packet.link),
        }
    }

    fn unknown_link(&mut self, link: u32) {
        let count = self.counters.unknown_links.entry(link).or_default();
        *count += 1;
        if *count == 1 {
            let evidence =
                format!("the link type {link} is not known; its packets are not looked at");
            self.events.push(Event::Finding(Box::new(Finding::of_file(
                "W907",
                evidence,
                self.file,
                self.packet,
                self.now,
            ))));
        }
    }

    fn segment(&mut self, segment: &Segment<'_>) {
        let key = Key::of(segment);
        let slot = match self.table.find(&key) {
            Some(Slot::Settled(settled)) if !settled.is_reopened_by(segment) => {
                settled.touch(self.now);
                return;
            }
            Some(Slot::Live(place)) => {
                let place = *place;
                let is_new = self.table.flow(place).is_some_and(|it| it.is_new(segment));
                if is_new {
                    self.close(key, place);
                    None
                } else {
                    Some(place)
                }
            }
            _ => None,
        };
        let place = slot.unwrap_or_else(|| self.open(key, segment));
        self.read(key, place, segment);
    }

    fn open(&mut self, key: Key, segment: &Segment<'_>) -> u32 {
        for flow in self.table.make_room(self.now) {
            self.counters.given_up += 1;
            self.finish_flow(flow);
        }
        let number = self.next_number;
        self.next_number = number.wrapping_add(self.between_numbers);
        self.counters.flows += 1;
        let flow = Flow::new(number, segment, self.packet, self.now, self.file);
        self.table.insert(key, Box::new(flow))
    }

    fn read(&mut self, key: Key, place: u32, segment: &Segment<'_>) {
        let Some(mut flow) = self.table.take(place) else {
            return;
        };
        self.with(|cx| flow.receive(segment, cx));
        self.tell(&mut flow);
        let is_done = flow.conversation.is_over() || flow.is_closed();
        if is_done {
            let number = flow.first_number();
            self.end_session(&mut flow);
            self.table.settle(key, place, number, self.now);
        } else {
            self.table.give_back(place, flow);
        }
    }

    /// The ports were used again: what went before is over.
    fn close(&mut self, key: Key, place: u32) {
        if let Some(flow) = self.table.take(place) {
            let number = flow.first_number();
            self.finish_flow(flow);
            self.table.settle(key, place, number, self.now);
        }
    }

    fn finish_flow(&mut self, mut flow: Box<Flow>) {
        self.with(|cx| flow.finish(cx));
        self.tell(&mut flow);
        self.end_session(&mut flow);
    }

    /// No more packets will come of what was seen so far.
    pub fn finish(&mut self) {
        while self.finish_some(usize::MAX) {}
    }

    /// As [`Self::finish`], for so many connections, in their order: what is told of them can be taken before the next ones, so that it does
    /// not pile up. False when none was left.
    pub fn finish_some(&mut self, most: usize) -> bool {
        if self.ending.is_empty() {
            self.ending = self.table.take_all();
            // The last ones stand in front: they are taken from the back.
            self.ending.sort_by_key(|it| std::cmp::Reverse(it.number));
        }
        for count in 0..most {
            let Some(flow) = self.ending.pop() else {
                return count > 0;
            };
            self.finish_flow(flow);
        }
        true
    }

    fn with(&mut self, run: impl FnOnce(&mut Context<'_, '_>)) {
        let mut notes = Notes {
            found: &mut self.notes,
            facts: &mut self.facts,
            privacy: &self.privacy,
            judge: &self.judge,
            scratch: &mut self.scratch,
            seen: [false; 2],
        };
        run(&mut Context {
            notes: &mut notes,
            packet: self.packet,
            time: self.now,
        });
    }

    /// Makes findings of notes. Those of a connection of which it is not known yet that it is mail wait.
    fn tell(&mut self, flow: &mut Flow) {
        if self.notes.is_empty() {
            return;
        }
        if flow.facts.protocol.is_none() {
            self.notes.clear();
            return;
        }
        for note in std::mem::take(&mut self.notes) {
            self.tell_note(flow, note);
        }
    }

    fn tell_note(&mut self, flow: &mut Flow, note: Note) {
        let pair = (flow.client.0, flow.server.0);
        let (id, at) = (note.id, note.at);
        flow.found.push(id);
        let client = address(flow.client.0);
        let login = note.login.as_deref();
        let is_decoy = login.zip(self.honey.as_ref());
        let is_decoy = is_decoy.is_some_and(|(login, honey)| honey.is_used(login, client));
        self.events
            .push(Event::Finding(Box::new(Finding::of(flow, note))));
        if is_decoy {
            let used = Note::new("W109", at, "the decoy was used");
            flow.found.push(used.id);
            self.events
                .push(Event::Finding(Box::new(Finding::of(flow, used))));
        }
        if matches!(id, "W301" | "W302" | "W303") {
            if self.failures.len() >= self.most_remembered {
                self.failures
                    .retain(|_, it| at.time.saturating_sub(it.0) < FALLBACK);
                if self.failures.len() >= self.most_remembered {
                    self.failures.clear();
                }
            }
            self.failures.insert(pair, (at.time, flow.number));
        }
        let is_leak = matches!(
            id,
            "W101"
                | "W102"
                | "W103"
                | "W104"
                | "W105"
                | "W106"
                | "W108"
                | "W201"
                | "W202"
                | "W203"
                | "W204"
        );
        let failed = self.failures.get(&pair).filter(|(time, session)| {
            *session != flow.number && at.time >= *time && at.time - time <= FALLBACK
        });
        if let Some((_, session)) = failed.filter(|_| is_leak && !flow.found.contains(&"W309")) {
            let evidence =
                format!("TLS failed in session {session}, then the same client went on in clear");
            flow.found.push("W309");
            let note = Note::new("W309", at, evidence);
            self.events
                .push(Event::Finding(Box::new(Finding::of(flow, note))));
        }
    }

    fn is_another_hello(&mut self, flow: &Flow) -> bool {
        let Some(ja4) = flow.facts.tls.as_ref().and_then(|it| it.ja4.as_deref()) else {
            return false;
        };
        let pair = self.hasher.hash_one((flow.client.0, flow.server.0));
        let ja4 = self.hasher.hash_one(ja4);
        if self.hellos.len() >= self.most_remembered {
            self.hellos.clear();
        }
        let before = self.hellos.insert(pair, ja4);
        before.is_some_and(|it| it != ja4)
    }

    fn has_lost_its_offer(&self, flow: &Flow) -> bool {
        let offers = match (flow.facts.protocol, flow.facts.upgrade) {
            (_, Upgrade::Unknown) => return false,
            (_, Upgrade::NotOffered) => false,
            _ => true,
        };
        let Some(protocol) = flow.facts.protocol.filter(|_| !flow.facts.is_implicit) else {
            return false;
        };
        let history = self.history.lock();
        let mut history = history.unwrap_or_else(PoisonError::into_inner);
        history.note(flow.server, protocol, offers, flow.begun)
    }

    fn end_session(&mut self, flow: &mut Flow) {
        if flow.facts.protocol.is_none() {
            self.counters.not_mail += 1;
            return;
        }
        let first = notes::At {
            side: Side::Client,
            packet: flow.first_packet,
            offset: 0,
            time: flow.begun,
        };
        let mut extra = Vec::new();
        if self.has_lost_its_offer(flow) {
            flow.facts.is_stripped = true;
            extra.push((
                "W307",
                first,
                "a server that used to offer STARTTLS does not any more",
            ));
        }
        if self.is_another_hello(flow) {
            extra.push((
                "W512",
                first,
                "another fingerprint than in this client's last session with this server",
            ));
        }
        if let Some(cut) = flow.cut {
            extra.push((
                "W902",
                cut,
                "packets were cut short when they were captured",
            ));
        }
        if !flow.is_from_start() {
            extra.push((
                "W903",
                first,
                "the beginning of the connection was not captured",
            ));
        }
        match flow.seen() {
            [true, false] => {
                extra.push(("W904", first, "only the client's direction was captured"));
            }
            [false, true] => {
                extra.push(("W904", first, "only the server's direction was captured"));
            }
            _ => {}
        }
        for (id, at, evidence) in extra {
            let note = Note {
                id,
                severity: None,
                at,
                evidence: evidence.into(),
                login: None,
            };
            self.tell_note(flow, note);
        }
        self.events
            .push(Event::Session(Box::new(Session::of(flow))));
    }
}

fn hexadecimal<'a>(octets: impl IntoIterator<Item = &'a u8>) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |it: u8| DIGITS.get(usize::from(it)).copied().unwrap_or('0');
    octets
        .into_iter()
        .flat_map(|it| [digit(it >> 4), digit(it & 15)])
        .collect()
}

/// An address as the standard library writes it.
#[must_use]
pub fn address(number: u128) -> IpAddr {
    let address = std::net::Ipv6Addr::from(number);
    address
        .to_ipv4_mapped()
        .map_or(IpAddr::V6(address), IpAddr::V4)
}
