//! One connection: its two directions, joined.
//!
//! A word is given on only when everything its speaker had heard was given on before: segments carry the number up to which the other side
//! was heard, and wait for it. So a capture in which packets stand in another order than they were seen reads as the right
//! dialogue. What is awaited too long, by count or by the packets' own time, is given up and told as a gap.

use super::conversation::{Closing, Conversation};
use super::ip::{ACK, FIN, RST, SYN, Segment};
use super::lines::Piece;
use super::notes::{At, Facts, Notes, Side};
use super::stream::{Part, Place, Stream};

/// How long is waited for what is missing, in nanoseconds of packet time.
const PATIENCE: u64 = 5_000_000_000;
/// Segments of a connection without its beginning that wait for the beginning.
const WAIT_FOR_START: usize = 8;

/// FNV-1a, 64 bits.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A connection that is read.
#[derive(Debug)]
pub struct Flow {
    /// Its number.
    pub number: u32,
    /// Client and server: address and port.
    pub client: (u128, u16),
    /// See `client`.
    pub server: (u128, u16),
    /// The dialogue.
    pub conversation: Conversation,
    /// What is told at the end.
    pub facts: Facts,
    /// The rules that had something to say.
    pub found: Vec<&'static str>,
    /// When the first packet was seen.
    pub begun: u64,
    /// When the last one was.
    pub last: u64,
    /// How many packets.
    pub packets: u64,
    /// How many octets of payload.
    pub octets: u64,
    /// The file and the packet it began in.
    pub file: u32,
    /// See `file`.
    pub first_packet: u64,
    /// The first packet that was cut short.
    pub cut: Option<At>,
    streams: [Stream; 2],
    from_start: bool,
    first_number: u32,
    /// A hash of what client and server said in dialogue before TLS, whatever the segments.
    said: [u64; 2],
    has_conflict: bool,
    has_closed: bool,
}

/// The parts of the engine a flow needs while it reads.
pub struct Context<'a, 'b> {
    /// Where findings go; `facts` and `seen` are the flow's own.
    pub notes: &'a mut Notes<'b>,
    /// The packet.
    pub packet: u64,
    /// When.
    pub time: u64,
}

impl Flow {
    /// A connection that begins with this segment.
    #[must_use]
    pub fn new(number: u32, segment: &Segment<'_>, packet: u64, time: u64, file: u32) -> Self {
        let from_client = is_from_client(segment);
        let source = (segment.source, segment.source_port);
        let destination = (segment.destination, segment.destination_port);
        let (client, server) = if from_client {
            (source, destination)
        } else {
            (destination, source)
        };
        let from_start = segment.has(SYN);
        Self {
            number,
            client,
            server,
            conversation: Conversation::new(server.1, from_start),
            facts: Facts::default(),
            found: Vec::new(),
            begun: time,
            last: time,
            packets: 0,
            octets: 0,
            file,
            first_packet: packet,
            cut: None,
            streams: [Stream::default(), Stream::default()],
            from_start,
            first_number: 0,
            said: [FNV_START; 2],
            has_conflict: false,
            has_closed: false,
        }
    }

    /// Whether a segment opens a new connection between the same ends: a SYN with another number than the one seen.
    #[must_use]
    pub fn is_new(&self, segment: &Segment<'_>) -> bool {
        if !segment.has(SYN) || segment.has(ACK) {
            return false;
        }
        self.first_number != 0 && segment.sequence != self.first_number
    }

    /// Who sent a segment.
    #[must_use]
    pub fn side(&self, segment: &Segment<'_>) -> Side {
        if (segment.source, segment.source_port) == self.client {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Whether a side was seen at all, by its octets.
    #[must_use]
    pub fn seen(&self) -> [bool; 2] {
        let [client, server] = &self.streams;
        let seen = [client.is_seen, server.is_seen];
        if self.conversation.is_reversed() {
            let [client, server] = seen;
            [server, client]
        } else {
            seen
        }
    }

    /// Whether the beginning was seen.
    #[must_use]
    pub fn is_from_start(&self) -> bool {
        self.from_start
    }

    /// The number of the client's SYN, 0 when it was not seen.
    #[must_use]
    pub fn first_number(&self) -> u32 {
        self.first_number
    }

    /// A hash of what client and server said in dialogue before TLS.
    #[must_use]
    pub fn said(&self) -> [u64; 2] {
        self.said
    }

    /// Whether both sides have ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.has_closed
    }

    fn stream(&self, side: Side) -> &Stream {
        let [client, server] = &self.streams;
        match side {
            Side::Client => client,
            Side::Server => server,
        }
    }

    fn stream_mut(&mut self, side: Side) -> &mut Stream {
        let [client, server] = &mut self.streams;
        match side {
            Side::Client => client,
            Side::Server => server,
        }
    }

    /// Takes in a segment.
    pub fn receive(&mut self, segment: &Segment<'_>, cx: &mut Context<'_, '_>) {
        let side = self.side(segment);
        self.last = self.last.max(cx.time);
        self.packets += 1;
        self.octets += segment.length as u64;
        self.stream_mut(side).is_seen = true;
        if !segment.has(RST) {
            self.stream_mut(side).datagrams.note(segment.id);
        }
        let mut sequence = segment.sequence;
        if segment.has(SYN) {
            if !segment.has(ACK) {
                self.first_number = segment.sequence;
            }
            sequence = sequence.wrapping_add(1);
            self.on_syn(side, sequence);
        }
        let length = u32::try_from(segment.length).unwrap_or(u32::MAX);
        let part = Part {
            sequence,
            octets: segment.payload,
            length,
            acknowledged: segment.has(ACK).then_some(segment.acknowledged),
            packet: cx.packet,
            time: cx.time,
        };
        if let Some(acknowledged) = part.acknowledged {
            self.stream_mut(side.other()).assume(acknowledged);
        }
        if segment.has(FIN) {
            self.stream_mut(side).end = Some(sequence.wrapping_add(length));
        }
        if segment.has(RST) {
            return self.on_reset(side, segment, &part, cx);
        }
        if length > 0 {
            self.on_part(side, &part, segment.ttl, cx);
        }
        self.pump(cx);
        self.give_up_late(cx);
        self.check_end(cx);
    }

    fn on_syn(&mut self, side: Side, next: u32) {
        let stream = self.stream_mut(side);
        stream.has_syn = true;
        if !stream.is_started || stream.offset == 0 {
            stream.start(next);
        }
        self.from_start = true;
    }

    fn on_part(&mut self, side: Side, part: &Part<'_>, ttl: u8, cx: &mut Context<'_, '_>) {
        if part.octets.len() < part.length as usize && self.cut.is_none() {
            self.cut = Some(self.at(side, part.packet, part.time));
        }
        let waits = self.must_wait(side, part.acknowledged);
        let stream = self.stream_mut(side);
        stream.ttl = ttl;
        if !stream.is_started {
            // In the midst of a connection the first segment seen need not be the first sent.
            if !stream.hold(part) {
                self.conflict(side, cx);
            }
            return;
        }
        match stream.place(part) {
            Place::Next(from) if stream.is_idle() && !waits => {
                if from > 0 && self.stream(side).contradicts(part) {
                    self.conflict(side, cx);
                }
                self.give(side, part, from, cx);
            }
            Place::Next(from) => {
                if from > 0 && stream.contradicts(part) {
                    self.conflict(side, cx);
                }
                if !self.stream_mut(side).hold(part) {
                    self.conflict(side, cx);
                }
            }
            Place::Early => {
                if !stream.hold(part) {
                    self.conflict(side, cx);
                }
            }
            Place::Old => {
                if stream.contradicts(part) {
                    self.conflict(side, cx);
                }
            }
            Place::Outside => {}
        }
    }

    /// Whether a segment's sender had heard more than was given on so far.
    fn must_wait(&self, side: Side, acknowledged: Option<u32>) -> bool {
        let lag = acknowledged.map_or(0, |it| self.stream(side.other()).lag(it));
        // One more than the octets is the FIN.
        (2..1 << 30).contains(&lag)
    }

    fn at(&self, side: Side, packet: u64, time: u64) -> At {
        At {
            side,
            packet,
            offset: self.stream(side).offset,
            time,
        }
    }

    fn conflict(&mut self, side: Side, cx: &mut Context<'_, '_>) {
        if !self.has_conflict && self.conversation.is_compared(side) {
            self.has_conflict = true;
            let at = self.at(side, cx.packet, cx.time);
            cx.notes.find(
                "W905",
                at,
                "the same octets were sent again with other content",
            );
        }
    }

    /// Gives octets on, from this one of the segment.
    fn give(&mut self, side: Side, part: &Part<'_>, from: usize, cx: &mut Context<'_, '_>) {
        let octets = part.octets.get(from..).unwrap_or_default();
        let at = self.at(side, part.packet, part.time);
        let missing = (part.length as usize).saturating_sub(part.octets.len().max(from));
        self.enter(cx);
        if !octets.is_empty() {
            if self.conversation.is_compared(side) {
                let [client, server] = &mut self.said;
                let said = if side == Side::Client { client } else { server };
                *said = octets.iter().fold(*said, |hash, it| {
                    (hash ^ u64::from(*it)).wrapping_mul(FNV_PRIME)
                });
            }
            self.conversation.hear(Piece { octets, at }, cx.notes);
        }
        let is_compared = self.conversation.is_compared(side);
        self.stream_mut(side).advance(octets, is_compared);
        if missing > 0 {
            self.lose(side, u32::try_from(missing).unwrap_or(u32::MAX), cx);
        }
        self.leave(cx);
    }

    fn lose(&mut self, side: Side, count: u32, cx: &mut Context<'_, '_>) {
        let at = self.at(side, cx.packet, cx.time);
        self.conversation.lose(side, u64::from(count), at, cx.notes);
        self.stream_mut(side).skip(count);
    }

    fn enter(&mut self, cx: &mut Context<'_, '_>) {
        cx.notes.seen = self.seen();
        std::mem::swap(&mut self.facts, cx.notes.facts);
    }

    fn leave(&mut self, cx: &mut Context<'_, '_>) {
        std::mem::swap(&mut self.facts, cx.notes.facts);
    }

    /// Gives on whatever need not wait any longer.
    fn pump(&mut self, cx: &mut Context<'_, '_>) {
        loop {
            let side = [Side::Client, Side::Server].into_iter().find(|side| {
                let stream = self.stream(*side);
                let first = stream.first_held().filter(|_| stream.is_started);
                first.is_some_and(|(distance, acknowledged, _)| {
                    distance <= 0 && !self.must_wait(*side, acknowledged)
                })
            });
            let Some(side) = side else {
                return;
            };
            self.give_first(side, cx);
        }
    }

    /// Gives on the first that waits, whose place has come.
    fn give_first(&mut self, side: Side, cx: &mut Context<'_, '_>) {
        let Some(held) = self.stream_mut(side).take_held() else {
            return;
        };
        let part = held.part();
        if let Place::Next(from) = self.stream(side).place(&part) {
            self.give(side, &part, from, cx);
        }
    }

    fn give_up_late(&mut self, cx: &mut Context<'_, '_>) {
        if self.streams.iter().all(Stream::is_idle) {
            return;
        }
        for side in [Side::Client, Side::Server] {
            let stream = self.stream(side);
            let enough = stream.waiting() >= WAIT_FOR_START;
            let is_late = stream
                .waits_since()
                .is_some_and(|it| cx.time.saturating_sub(it) > PATIENCE);
            if !stream.is_started && (enough || is_late) {
                self.start_midway(side);
            }
        }
        self.pump(cx);
        while self.is_too_much(cx.time) {
            self.force(cx);
            self.pump(cx);
        }
    }

    fn is_too_much(&self, now: u64) -> bool {
        self.streams.iter().any(|it| {
            it.is_full()
                || it
                    .waits_since()
                    .is_some_and(|since| now.saturating_sub(since) > PATIENCE)
        })
    }

    fn start_midway(&mut self, side: Side) {
        let stream = self.stream_mut(side);
        if let Some(lowest) = stream.lowest_held().filter(|_| !stream.is_started) {
            stream.start(lowest);
        }
    }

    /// Something waits for what will not come: passes over it.
    fn force(&mut self, cx: &mut Context<'_, '_>) {
        for side in [Side::Client, Side::Server] {
            self.start_midway(side);
        }
        let oldest = [Side::Client, Side::Server]
            .into_iter()
            .filter_map(|side| Some((self.stream(side).first_held()?, side)))
            .min_by_key(|((_, _, time), _)| *time);
        let Some(((distance, acknowledged, _), side)) = oldest else {
            return;
        };
        if distance > 0 {
            return self.lose_now(side, distance.unsigned_abs(), cx);
        }
        // It waits for the other side, of which octets are missing, or which waits for this side in turn.
        let other = side.other();
        if !self.stream(other).is_started {
            self.stream_mut(other).is_absent = true;
            return;
        }
        let lag = acknowledged.map_or(0, |it| self.stream(other).lag(it));
        match self.stream(other).first_held() {
            Some((distance, _, _)) if distance > 0 => {
                self.lose_now(other, lag.min(distance.unsigned_abs()), cx);
            }
            None if self.must_wait(side, acknowledged) => self.lose_now(other, lag, cx),
            _ => self.give_first(side, cx),
        }
    }

    fn lose_now(&mut self, side: Side, count: u32, cx: &mut Context<'_, '_>) {
        self.enter(cx);
        self.lose(side, count, cx);
        self.leave(cx);
    }

    fn flush(&mut self, cx: &mut Context<'_, '_>) {
        for side in [Side::Client, Side::Server] {
            self.start_midway(side);
        }
        self.pump(cx);
        while self.streams.iter().any(|it| !it.is_idle()) {
            self.force(cx);
            self.pump(cx);
        }
    }

    fn on_reset(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        part: &Part<'_>,
        cx: &mut Context<'_, '_>,
    ) {
        let stream = self.stream(side);
        // One that lies outside the window is somebody's guess, or old.
        if stream.is_started && stream.place(part) == Place::Outside {
            return;
        }
        let (usual, datagrams) = (stream.ttl, stream.datagrams);
        self.flush(cx);
        // A call that was not taken may be made again.
        if self.streams.iter().all(|it| it.offset == 0) {
            return;
        }
        let has_other_hops = usual != 0 && usual.abs_diff(segment.ttl) > 4;
        let has_other_number = datagrams.is_foreign(segment.id);
        let at = self.at(side, cx.packet, cx.time);
        let is_upgrading = matches!(
            self.facts.upgrade,
            super::notes::Upgrade::Asked | super::notes::Upgrade::Accepted
        ) || self.facts.is_implicit;
        let unfinished = self.facts.tls.as_ref().is_none_or(|it| !it.is_established);
        if (has_other_hops || has_other_number) && is_upgrading && unfinished {
            let evidence = if has_other_hops {
                "a reset whose hop count is not that of its flow, before TLS was up"
            } else {
                "a reset whose datagram is not counted among those of its flow, before TLS was up"
            };
            cx.notes.find("W906", at, evidence);
        }
        self.close(Closing::Reset(side), at, cx);
    }

    fn check_end(&mut self, cx: &mut Context<'_, '_>) {
        for side in [Side::Client, Side::Server] {
            let stream = self.stream_mut(side);
            if stream.end == Some(stream.next) && stream.is_idle() {
                stream.has_ended = true;
            }
        }
        let [client, server] = &self.streams;
        // A side of which nothing was seen may still come, later in the capture.
        let is_over = |it: &Stream| it.has_ended || it.is_absent;
        if (client.has_ended || server.has_ended) && is_over(client) && is_over(server) {
            let side = if client.has_ended {
                Side::Client
            } else {
                Side::Server
            };
            let at = self.at(side, cx.packet, cx.time);
            self.close(Closing::Fin(side), at, cx);
        }
    }

    /// Nothing more will come: the watch ends, or the flow is given up.
    pub fn finish(&mut self, cx: &mut Context<'_, '_>) {
        if self.has_closed {
            return;
        }
        self.flush(cx);
        let ended = [Side::Client, Side::Server]
            .into_iter()
            .find(|it| self.stream(*it).end.is_some());
        let closing = ended.map_or(Closing::Unseen, Closing::Fin);
        let at = self.at(ended.unwrap_or(Side::Client), cx.packet, cx.time);
        self.close(closing, at, cx);
    }

    fn close(&mut self, closing: Closing, at: At, cx: &mut Context<'_, '_>) {
        if self.has_closed {
            return;
        }
        self.has_closed = true;
        self.enter(cx);
        self.conversation.end(closing, at, cx.notes);
        self.leave(cx);
    }
}

/// Who opened the connection: told by SYN, else by the ports.
fn is_from_client(segment: &Segment<'_>) -> bool {
    if segment.has(SYN) {
        return !segment.has(ACK);
    }
    let known = |port| super::detect::service(port).is_some();
    match (known(segment.source_port), known(segment.destination_port)) {
        (true, false) => false,
        (false, true) => true,
        _ => segment.source_port >= segment.destination_port,
    }
}
