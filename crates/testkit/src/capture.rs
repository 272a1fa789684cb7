//! Captures made by code: connections in Ethernet, IPv4 and TCP, written as pcap.
//!
//! A [`Capture`] is a list of packets; a [`Call`] is a connection in it that keeps its sequence numbers. Nothing is on a wire, so every fault can
//! be made: packets left out, put in another order, sent twice, cut short.

/// A packet: when it was seen, its octets, how long it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Microseconds since 1970.
    pub time: u64,
    /// The octets kept.
    pub octets: Vec<u8>,
    /// The octets there were.
    pub length: usize,
}

impl Packet {
    /// Its part of a pcap file, which stands behind [`HEAD`] and the packets before.
    pub fn write_to(&self, file: &mut Vec<u8>) {
        let number = |it: u64| u32::try_from(it).unwrap_or(u32::MAX).to_le_bytes();
        file.extend(number(self.time / 1_000_000));
        file.extend(number(self.time % 1_000_000));
        file.extend(number(self.octets.len() as u64));
        file.extend(number(self.length as u64));
        file.extend(&self.octets);
    }
}

/// The beginning of a pcap file: little-endian, microseconds, version 2.4, at most 262,144 octets of a packet, Ethernet.
pub const HEAD: [u8; 24] = [
    0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
];

/// An IPv4 address and a port.
pub type End = ([u8; 4], u16);

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// Who opened the connection.
    Client,
    /// Who was called.
    Server,
}

/// A capture being made.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Its packets.
    pub packets: Vec<Packet>,
    clock: u64,
    /// Microseconds from one packet to the next.
    pace: u64,
    calls: u16,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Call {
    client: End,
    server: End,
    /// The next number of client and server.
    next: [u32; 2],
    /// The number of each side's last datagram; 0 is not counted.
    datagrams: [u16; 2],
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Where every capture begins: the moment of `pki::now`.
const START: u64 = 1_793_491_200_000_000;

impl Default for Capture {
    fn default() -> Self {
        Self::paced(1000)
    }
}

impl Capture {
    /// An empty capture, a packet each millisecond.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty capture, with so many microseconds from one packet to the next.
    pub fn paced(microseconds: u64) -> Self {
        Self {
            packets: Vec::new(),
            clock: START,
            pace: microseconds,
            calls: 0,
        }
    }

    /// Time passes.
    pub fn wait(&mut self, microseconds: u64) {
        self.clock += microseconds;
    }

    /// A connection to a port, with its handshake. Every call comes from another port of the same client.
    pub fn call(&mut self, port: u16) -> Call {
        let call = self.call_unseen(port);
        self.shake_hands(call)
    }

    /// The same, from this client, with these first numbers of client and server.
    pub fn call_from(&mut self, client: End, port: u16, numbers: [u32; 2]) -> Call {
        self.shake_hands(Call::new(client, port, numbers))
    }

    fn shake_hands(&mut self, mut call: Call) -> Call {
        self.add(&call, Speaker::Client, SYN, &[]);
        call.next[0] = call.next[0].wrapping_add(1);
        self.add(&call, Speaker::Server, SYN | ACK, &[]);
        call.next[1] = call.next[1].wrapping_add(1);
        self.add(&call, Speaker::Client, ACK, &[]);
        call
    }

    /// A connection that was open before the capture began.
    pub fn call_unseen(&mut self, port: u16) -> Call {
        self.calls += 1;
        let number = u32::from(self.calls);
        let client = ([192, 0, 2, 1], 40_000 + self.calls);
        // Near the end of the numbers, so that they wrap.
        Call::new(
            client,
            port,
            [u32::MAX - 100 - number, u32::MAX - 50 - number],
        )
    }

    /// Octets in one segment.
    pub fn say(&mut self, call: &mut Call, speaker: Speaker, octets: &[u8]) {
        self.add(call, speaker, ACK, octets);
        call.advance(speaker, octets.len());
    }

    /// A dialogue: `C: ` and `S: ` begin a segment each, `+ ` goes on in the same one. Line ends are added, unless the line ends with `\\`. No segment
    /// is longer than `most`.
    ///
    /// # Panics
    /// When a line begins with something else.
    pub fn play(&mut self, call: &mut Call, dialogue: &str, most: usize) {
        let mut said: Vec<(Speaker, Vec<u8>)> = Vec::new();
        for line in dialogue.lines().map(str::trim_start) {
            if line.is_empty() {
                continue;
            }
            let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
            let octets = match text.strip_suffix('\\') {
                Some(text) => text.replace("\\r", "\r").replace("\\n", "\n").into_bytes(),
                None => format!("{text}\r\n").into_bytes(),
            };
            match (mark, said.last_mut()) {
                ("C:", _) => said.push((Speaker::Client, octets)),
                ("S:", _) => said.push((Speaker::Server, octets)),
                ("+", Some(before)) => before.1.extend(octets),
                (other, _) => panic!("{other} is no mark"),
            }
        }
        for (speaker, octets) in said {
            for part in octets.chunks(most) {
                self.say(call, speaker, part);
            }
        }
    }

    /// Octets that get lost on the way to the watcher.
    pub fn say_unseen(&mut self, call: &mut Call, speaker: Speaker, octets: &[u8]) {
        call.advance(speaker, octets.len());
    }

    /// The last octets said by this speaker again, or something else in their place.
    pub fn say_again(&mut self, call: &Call, speaker: Speaker, octets: &[u8]) {
        let mut before = call.clone();
        let count = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let next = &mut before.next[usize::from(speaker == Speaker::Server)];
        *next = next.wrapping_sub(count);
        self.add(&before, speaker, ACK, octets);
    }

    /// Both sides close.
    pub fn close(&mut self, call: &mut Call) {
        for speaker in [Speaker::Client, Speaker::Server] {
            self.add(call, speaker, FIN | ACK, &[]);
            call.advance(speaker, 1);
        }
    }

    /// One side breaks off, in a datagram of this number.
    pub fn reset_numbered(&mut self, call: &Call, speaker: Speaker, id: u16) {
        self.reset(call, speaker, 64);
        if let Some(packet) = self.packets.last_mut() {
            packet.octets[14 + 4..14 + 6].copy_from_slice(&id.to_be_bytes());
        }
    }

    /// One side breaks off; `hops` is the hop count its packet has left.
    pub fn reset(&mut self, call: &Call, speaker: Speaker, hops: u8) {
        self.add(call, speaker, RST | ACK, &[]);
        if let Some(packet) = self.packets.last_mut() {
            packet.octets[14 + 8] = hops;
        }
    }

    fn add(&mut self, call: &Call, speaker: Speaker, flags: u8, octets: &[u8]) {
        self.clock += self.pace;
        let frame = call.frame(speaker, flags, octets);
        self.packets.push(Packet {
            time: self.clock,
            length: frame.len(),
            octets: frame,
        });
    }

    /// The octets of a pcap file.
    pub fn to_pcap(&self) -> Vec<u8> {
        let mut file = HEAD.to_vec();
        for packet in &self.packets {
            packet.write_to(&mut file);
        }
        file
    }
}

impl Call {
    fn new(client: End, port: u16, next: [u32; 2]) -> Self {
        Self {
            client,
            server: ([198, 51, 100, 25], port),
            next,
            datagrams: [0; 2],
        }
    }

    /// Both sides count their datagrams from here on.
    pub fn count_datagrams(&mut self, client: u16, server: u16) {
        self.datagrams = [client, server];
    }

    fn advance(&mut self, speaker: Speaker, count: usize) {
        let next = &mut self.next[usize::from(speaker == Speaker::Server)];
        *next = next.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        let datagram = &mut self.datagrams[usize::from(speaker == Speaker::Server)];
        *datagram = datagram.wrapping_add(u16::from(*datagram != 0));
    }

    fn frame(&self, speaker: Speaker, flags: u8, octets: &[u8]) -> Vec<u8> {
        let [client, server] = self.next;
        let ((source, destination), (sequence, acknowledged)) = match speaker {
            Speaker::Client => ((self.client, self.server), (client, server)),
            Speaker::Server => ((self.server, self.client), (server, client)),
        };
        let acknowledged = if flags & ACK == 0 { 0 } else { acknowledged };
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        let total = u16::try_from(40 + octets.len()).unwrap_or(u16::MAX);
        frame.extend(total.to_be_bytes());
        let id = self.datagrams[usize::from(speaker == Speaker::Server)];
        frame.extend(id.to_be_bytes());
        frame.extend([0x40, 0, 64, 6, 0, 0]);
        frame.extend(source.0);
        frame.extend(destination.0);
        frame.extend(source.1.to_be_bytes());
        frame.extend(destination.1.to_be_bytes());
        frame.extend(sequence.to_be_bytes());
        frame.extend(acknowledged.to_be_bytes());
        frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(octets);
        frame
    }
}
