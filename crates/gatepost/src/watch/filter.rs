//! Filters for packet sockets, in the classic language of the Berkeley packet filter: TCP on certain ports, over both versions of IP, also
//! behind VLAN tags, MPLS labels and `PPPoE`; and of that the share of one worker.
//!
//! `PACKET_FANOUT` cannot be asked for without `unsafe`. So every worker has a socket of its own, and the filter of each lets another part of the
//! packets pass: the sum of both addresses, mixed, says which. It is the same for both directions, and for a fragment and the rest of its
//! datagram. What has no addresses to be found here (not IP, cut off, nested too deeply) is the first worker's, so that every packet that
//! passes at all passes once.
//!
//! ```text
//!   Ethernet ─▶ tags ─▶ MPLS, PPPoE ─▶ version ─▶ share (addresses) ─▶ fragment? headers between? ─▶ ports
//! ```
//!
//! The register X holds how far the IP datagram lies behind where it lies in a plain frame.

use std::io;
use std::os::fd::OwnedFd;

use socket2::SockFilter;

/// Ports that pass unless said otherwise: those of mail, and of the tunnels it may go through.
pub(super) const PORTS: &[u16] = &[24, 25, 110, 143, 465, 587, 993, 995, 1080, 2525, 3128, 4190];

/// VLAN tags and MPLS labels that are passed over.
const DEEPEST: usize = 4;
/// More than any packet.
const ALL: u32 = 0x0004_0000;
/// Any odd number with bits everywhere: 2^32 divided by the golden ratio.
const MIX: u32 = 0x9e37_79b1;

/// Places in the memory of the machine: a sum under way, and X while that needs the register.
const SUM: u32 = 0;
const BASE: u32 = 1;

/// What the machine does, by its number in the kernel.
mod code {
    pub(super) const LOAD_LENGTH: u16 = 0x80;
    pub(super) const LOAD_WORD: u16 = 0x40;
    pub(super) const LOAD_HALF: u16 = 0x48;
    pub(super) const LOAD_BYTE: u16 = 0x50;
    pub(super) const SET_X: u16 = 0x01;
    pub(super) const RECALL_X: u16 = 0x61;
    pub(super) const KEEP: u16 = 0x02;
    pub(super) const KEEP_X: u16 = 0x03;
    pub(super) const ADD: u16 = 0x04;
    pub(super) const ADD_X: u16 = 0x0c;
    pub(super) const SUBTRACT_X: u16 = 0x1c;
    pub(super) const MULTIPLY: u16 = 0x24;
    pub(super) const REMAINDER: u16 = 0x94;
    pub(super) const AND: u16 = 0x54;
    pub(super) const SHIFT_LEFT: u16 = 0x64;
    pub(super) const SHIFT_RIGHT: u16 = 0x74;
    pub(super) const JUMP: u16 = 0x05;
    pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
    pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
    pub(super) const JUMP_IF_SET: u16 = 0x45;
    pub(super) const RETURN: u16 = 0x06;
    pub(super) const TO_X: u16 = 0x07;
    pub(super) const FROM_X: u16 = 0x87;
}

/// One step: what to do, with which value, and how many steps to pass over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

type Steps = Vec<Step>;

fn act(code: u16, value: u32) -> Step {
    decide(code, value, 0, 0)
}

fn decide(code: u16, value: u32, if_true: u8, if_false: u8) -> Step {
    Step {
        code,
        if_true,
        if_false,
        value,
    }
}

/// Passes over these steps.
fn jump_over(steps: &[Step]) -> Step {
    act(code::JUMP, u32::try_from(steps.len()).unwrap_or(u32::MAX))
}

/// Lets nothing pass.
pub(super) fn nothing() -> Steps {
    vec![act(code::RETURN, 0)]
}

/// What passes to one worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter<'a> {
    /// Whether there is an Ethernet header before the IP datagram.
    pub(super) has_link_layer: bool,
    /// TCP from and to these ports; everything when there are none. At most 100 are looked at.
    pub(super) ports: &'a [u16],
    /// The worker, counted from 0.
    pub(super) worker: u32,
    /// How many there are.
    pub(super) workers: u32,
}

impl Filter<'_> {
    /// The steps.
    pub(super) fn program(&self) -> Steps {
        let ip = self.ip();
        if !self.has_link_layer {
            return [vec![act(code::SET_X, 0)], ip].concat();
        }
        let mut steps = vec![act(code::SET_X, 0)];
        steps.extend(self.tags());
        let lower = self.lower_layers();
        steps.push(decide(code::JUMP_IF_EQUAL, 0x0800, 1, 0));
        steps.push(decide(code::JUMP_IF_EQUAL, 0x86dd, 0, 1));
        steps.push(jump_over(&lower));
        steps.extend(lower);
        steps.extend(ip);
        steps
    }

    /// Where a thing of the IP datagram lies when X is 0.
    fn at(&self, offset: u32) -> u32 {
        offset + if self.has_link_layer { 14 } else { 0 }
    }

    /// The end for what cannot be looked at: the first worker's.
    fn odd(&self) -> Step {
        act(code::RETURN, if self.worker == 0 { ALL } else { 0 })
    }

    /// The end for what is no IP: nobody's when ports are asked for.
    fn other(&self) -> Step {
        if self.ports.is_empty() {
            self.odd()
        } else {
            act(code::RETURN, 0)
        }
    }

    /// Goes on only when there are so many octets behind X: to load what is not there would end the program, for all workers.
    fn at_least(&self, octets: u32) -> Steps {
        vec![
            act(code::LOAD_LENGTH, 0),
            act(code::SUBTRACT_X, 0),
            decide(code::JUMP_IF_AT_LEAST, octets, 1, 0),
            self.odd(),
        ]
    }

    /// Passes over VLAN tags; the type of what comes behind them is loaded.
    fn tags(&self) -> Steps {
        let load = || [self.at_least(14), vec![act(code::LOAD_HALF, 12)]].concat();
        let mut steps = load();
        for _ in 0..DEEPEST {
            let mut round = load();
            round.push(decide(code::JUMP_IF_EQUAL, 0x8100, 4, 0));
            round.push(decide(code::JUMP_IF_EQUAL, 0x88a8, 3, 0));
            round.push(decide(code::JUMP_IF_EQUAL, 0x9100, 2, 0));
            round.push(decide(code::JUMP_IF_EQUAL, 0x9200, 1, 0));
            let advance = advance(4);
            let behind = [advance, steps].concat();
            round.push(jump_over(&behind));
            round.extend(behind);
            steps = round;
        }
        steps
    }

    /// For a type that is not IP: goes on behind labels and `PPPoE`, ends else.
    fn lower_layers(&self) -> Steps {
        let mut end: Steps = [0x8100, 0x88a8, 0x9100, 0x9200]
            .into_iter()
            .flat_map(|kind| [decide(code::JUMP_IF_EQUAL, kind, 0, 1), self.odd()])
            .collect();
        end.push(self.other());
        let mut session = self.session();
        session.push(jump_over(&end));
        let end = when(&[0x8864], &session, end);
        let mut labels = self.labels();
        labels.push(jump_over(&end));
        when(&[0x8847, 0x8848], &labels, end)
    }

    /// Passes over MPLS labels up to the bottom of the stack (RFC 3032).
    fn labels(&self) -> Steps {
        let mut steps = vec![self.odd()];
        for _ in 0..DEEPEST {
            let mut round = self.at_least(18);
            round.push(act(code::LOAD_BYTE, 16));
            let deeper = [advance(4), steps].concat();
            let bottom = [advance(4), vec![jump_over(&deeper)]].concat();
            round.push(decide(code::JUMP_IF_SET, 1, 1, 0));
            round.push(jump_over(&bottom));
            round.extend(bottom);
            round.extend(deeper);
            steps = round;
        }
        steps
    }

    /// Passes over the headers of a `PPPoE` session with IP in it (RFC 2516).
    fn session(&self) -> Steps {
        let mut steps = self.at_least(22);
        steps.extend([
            act(code::LOAD_HALF, 20),
            decide(code::JUMP_IF_EQUAL, 0x0021, 2, 0),
            decide(code::JUMP_IF_EQUAL, 0x0057, 1, 0),
            self.odd(),
        ]);
        steps.extend(advance(8));
        steps
    }

    /// An IP datagram, to the end.
    fn ip(&self) -> Steps {
        let mut steps = self.at_least(self.at(1));
        steps.push(act(code::LOAD_BYTE, self.at(0)));
        steps.push(act(code::SHIFT_RIGHT, 4));
        let end = when(&[6], &self.version6(), vec![self.odd()]);
        steps.extend(when(&[4], &self.version4(), end));
        steps
    }

    fn version4(&self) -> Steps {
        let mut steps = self.at_least(self.at(20));
        steps.extend(self.share(&[12, 16]));
        if self.ports.is_empty() {
            steps.push(act(code::RETURN, ALL));
            return steps;
        }
        steps.extend([
            act(code::LOAD_BYTE, self.at(9)),
            decide(code::JUMP_IF_EQUAL, 6, 1, 0),
            act(code::RETURN, 0),
            act(code::LOAD_HALF, self.at(6)),
            // A fragment, also the first one: the others have no ports.
            decide(code::JUMP_IF_SET, 0x3fff, 0, 1),
            act(code::RETURN, ALL),
            act(code::LOAD_BYTE, self.at(0)),
            act(code::AND, 15),
            act(code::SHIFT_LEFT, 2),
            act(code::ADD_X, 0),
            act(code::TO_X, 0),
        ]);
        steps.extend(self.one_of_ports(0));
        steps
    }

    fn version6(&self) -> Steps {
        let mut steps = self.at_least(self.at(40));
        steps.extend(self.share(&[8, 12, 16, 20, 24, 28, 32, 36]));
        if self.ports.is_empty() {
            steps.push(act(code::RETURN, ALL));
            return steps;
        }
        steps.push(act(code::LOAD_BYTE, self.at(6)));
        // Headers in between, fragments among them: the engine looks closer.
        for header in [0, 43, 44, 60] {
            steps.push(decide(code::JUMP_IF_EQUAL, header, 0, 1));
            steps.push(act(code::RETURN, ALL));
        }
        steps.push(decide(code::JUMP_IF_EQUAL, 6, 1, 0));
        steps.push(act(code::RETURN, 0));
        steps.extend(self.one_of_ports(40));
        steps
    }

    /// Goes on when these words of the datagram, the addresses, make it this worker's.
    fn share(&self, words: &[u32]) -> Steps {
        if self.workers <= 1 {
            return Steps::new();
        }
        let mut steps = vec![act(code::KEEP_X, BASE)];
        for (place, word) in words.iter().enumerate() {
            if place > 0 {
                steps.push(act(code::KEEP, SUM));
            }
            steps.push(act(code::LOAD_WORD, self.at(*word)));
            if place > 0 {
                steps.push(act(code::RECALL_X, SUM));
                steps.push(act(code::ADD_X, 0));
                steps.push(act(code::RECALL_X, BASE));
            }
        }
        steps.extend([
            act(code::MULTIPLY, MIX),
            act(code::SHIFT_RIGHT, 16),
            act(code::REMAINDER, self.workers),
            decide(code::JUMP_IF_EQUAL, self.worker, 1, 0),
            act(code::RETURN, 0),
        ]);
        steps
    }

    /// The end: passes when the TCP header that begins here has one of the ports.
    fn one_of_ports(&self, header: u32) -> Steps {
        let mut steps = Steps::new();
        for place in [0, 2] {
            steps.push(act(code::LOAD_HALF, self.at(header + place)));
            for port in self.ports.iter().take(100) {
                steps.push(decide(code::JUMP_IF_EQUAL, u32::from(*port), 0, 1));
                steps.push(act(code::RETURN, ALL));
            }
        }
        steps.push(act(code::RETURN, 0));
        steps
    }
}

/// Moves X on.
fn advance(octets: u32) -> Steps {
    vec![
        act(code::FROM_X, 0),
        act(code::ADD, octets),
        act(code::TO_X, 0),
    ]
}

/// A part for these values of what is loaded, and what is done with all others.
fn when(values: &[u32], part: &[Step], otherwise: Steps) -> Steps {
    let mut steps = Steps::new();
    for (place, value) in values.iter().rev().enumerate() {
        let skipped = u8::try_from(place + 1).unwrap_or(u8::MAX);
        steps.insert(0, decide(code::JUMP_IF_EQUAL, *value, skipped, 0));
    }
    steps.push(jump_over(part));
    steps.extend_from_slice(part);
    steps.extend(otherwise);
    steps
}

/// Gives the filter to the kernel.
pub(super) fn attach(raw: OwnedFd, program: &[Step]) -> io::Result<OwnedFd> {
    let socket = socket2::Socket::from(raw);
    let steps: Vec<SockFilter> = program
        .iter()
        .map(|it| SockFilter::new(it.code, it.if_true, it.if_false, it.value))
        .collect();
    socket.attach_filter(&steps)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
