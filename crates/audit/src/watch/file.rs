//! Capture files, from octets to packets: pcap and pcapng, either byte order, micro- and nanoseconds.
//!
//! No I/O: the owner fills [`Reader::space`] with what it has read, from a file, a pipe or a file that grows, and takes packets out
//! until more is needed. A packet is a slice of the buffer: nothing is copied and nothing allocated per packet.
//!
//! - pcap: `a1b2c3d4` and `a1b23c4d` in either order, and Kuznetzov's form with longer record headers (`a1b2cd34`).
//! - pcapng: section header, interface description, enhanced, simple and obsolete packet blocks; several sections and interfaces, each
//!   with its own clock (`if_tsresol`, `if_tsoffset`). Other blocks are passed over unread, those with keys too.
//! - A record that is cut off by the end of the file is told as such and is no error. A length that cannot be ends the reading: what
//!   stands behind it could be anything.

/// The longest packet or packet block that is believed.
const LONGEST: usize = 16 << 20;
/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// One packet as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The type of its link layer, as the registry of tcpdump numbers them.
    pub link: u32,
    /// When it was seen, in nanoseconds since 1970.
    pub time: u64,
    /// Its octets, as far as they were kept.
    pub octets: &'a [u8],
    /// How long it was on the wire.
    pub length: usize,
}

/// What comes next.
#[derive(Debug)]
pub enum Step<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// Fill [`Reader::space`] first.
    NeedMore,
    /// The file is over.
    End {
        /// Whether the last record was cut off.
        cut: bool,
    },
}

/// Why a file cannot be read, or not further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFile {
    /// Neither pcap nor pcapng.
    NotACapture,
    /// A length that cannot be.
    Damaged,
}

impl std::fmt::Display for BadFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotACapture => "not a capture file: neither pcap nor pcapng",
            Self::Damaged => "damaged: a record's length cannot be; nothing behind it is read",
        })
    }
}

/// How the file is written.
#[derive(Debug, Clone, Copy)]
enum Format {
    Unknown,
    Pcap(Pcap),
    /// pcapng, with the byte order of the section.
    Blocks(Order),
}

#[derive(Debug, Clone, Copy)]
struct Pcap {
    order: Order,
    link: u32,
    /// Nanoseconds in a unit of the fraction.
    unit: u64,
    /// Octets of a record's header.
    header: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, octets: &[u8], at: usize) -> Option<u16> {
        let octets = *octets.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        })
    }

    fn u32(self, octets: &[u8], at: usize) -> Option<u32> {
        let octets = *octets.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        })
    }

    fn u64(self, octets: &[u8], at: usize) -> Option<u64> {
        let octets = *octets.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u64::from_le_bytes(octets),
            Self::Big => u64::from_be_bytes(octets),
        })
    }

    fn length(self, octets: &[u8], at: usize) -> Option<usize> {
        usize::try_from(self.u32(octets, at)?).ok()
    }
}

/// An interface of a pcapng section.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: u32,
    snap: usize,
    clock: Clock,
}

/// What a time stamp counts.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Ticks in a second.
    rate: u128,
    /// Seconds to add.
    offset: i64,
}

impl Clock {
    fn nanoseconds(self, ticks: u64) -> u64 {
        let time = if self.rate == 1_000_000 {
            u128::from(ticks) * 1000
        } else {
            u128::from(ticks) * 1_000_000_000 / self.rate
        };
        let offset = i128::from(self.offset) * 1_000_000_000;
        let time = i128::try_from(time)
            .unwrap_or(i128::MAX)
            .saturating_add(offset);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}

/// Where a packet stands in the buffer.
#[derive(Debug, Clone, Copy)]
struct Found {
    link: u32,
    time: u64,
    start: usize,
    kept: usize,
    length: usize,
}

/// What one look at the buffer came to.
enum Look {
    Found(Found),
    /// Something that is no packet was passed over.
    Passed,
    NeedMore,
}

/// Reads one file.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    has_ended: bool,
    format: Format,
    interfaces: Vec<Interface>,
    /// Octets to pass over before the next record.
    skip: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader of a file of which nothing was read.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            has_ended: false,
            format: Format::Unknown,
            interfaces: Vec::new(),
            skip: 0,
        }
    }

    /// Where to read to. Never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + CHUNK / 2 {
            self.buffer.resize(self.end + CHUNK, 0);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// How many octets were put into [`Reader::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// More may come after all: the file grows.
    pub fn reopen(&mut self) {
        self.has_ended = false;
    }

    /// The next packet.
    #[expect(
        clippy::should_implement_trait,
        reason = "more may come later, and packets are borrowed"
    )]
    pub fn next(&mut self) -> Result<Step<'_>, BadFile> {
        let found = loop {
            if !self.skip_some() {
                break None;
            }
            match self.look()? {
                Look::Found(found) => break Some(found),
                Look::Passed => {}
                Look::NeedMore => break None,
            }
        };
        Ok(match found {
            Some(found) => Step::Packet(Packet {
                link: found.link,
                time: found.time,
                octets: self
                    .buffer
                    .get(found.start..found.start + found.kept)
                    .unwrap_or_default(),
                length: found.length,
            }),
            None if self.has_ended => Step::End {
                cut: self.start < self.end || self.skip > 0,
            },
            None => Step::NeedMore,
        })
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Passes over what is to be passed over; whether that is done.
    fn skip_some(&mut self) -> bool {
        let here = self.end - self.start;
        let count = usize::try_from(self.skip).unwrap_or(usize::MAX).min(here);
        self.start += count;
        self.skip -= count as u64;
        self.skip == 0
    }

    fn look(&mut self) -> Result<Look, BadFile> {
        match self.format {
            Format::Unknown => self.begin(),
            Format::Pcap(pcap) => self.record(pcap),
            Format::Blocks(order) => self.block(order),
        }
    }

    fn begin(&mut self) -> Result<Look, BadFile> {
        let waiting = self.waiting();
        let Some(magic) = waiting.first_chunk::<4>() else {
            let is_bad = self.has_ended && !waiting.is_empty();
            return if is_bad {
                Err(BadFile::NotACapture)
            } else {
                Ok(Look::NeedMore)
            };
        };
        if *magic == [0x0a, 0x0d, 0x0d, 0x0a] {
            self.format = Format::Blocks(Order::Little);
            return Ok(Look::Passed);
        }
        let little = u32::from_le_bytes(*magic);
        let (order, magic) = match little {
            0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34 => (Order::Little, little),
            other => (Order::Big, other.swap_bytes()),
        };
        let (unit, header) = match magic {
            0xa1b2_c3d4 => (1000, 16),
            0xa1b2_3c4d => (1, 16),
            0xa1b2_cd34 => (1000, 24),
            _ => return Err(BadFile::NotACapture),
        };
        let Some(link) = waiting.get(..24).and_then(|it| order.u32(it, 20)) else {
            return Ok(Look::NeedMore);
        };
        // The upper bits tell the length of a frame's check sum.
        let link = link & 0x0fff_ffff;
        self.format = Format::Pcap(Pcap {
            order,
            link,
            unit,
            header,
        });
        self.start += 24;
        Ok(Look::Passed)
    }

    fn record(&mut self, pcap: Pcap) -> Result<Look, BadFile> {
        let waiting = self.waiting();
        let Some(head) = waiting.get(..pcap.header) else {
            return Ok(Look::NeedMore);
        };
        let field = |at| pcap.order.u32(head, at).unwrap_or_default();
        let kept = pcap.order.length(head, 8).unwrap_or_default();
        if kept > LONGEST {
            return Err(BadFile::Damaged);
        }
        if waiting.len() < pcap.header + kept {
            return Ok(Look::NeedMore);
        }
        let length = pcap.order.length(head, 12).unwrap_or_default();
        let found = Found {
            link: pcap.link,
            time: u64::from(field(0)) * 1_000_000_000 + u64::from(field(4)) * pcap.unit,
            start: self.start + pcap.header,
            kept,
            length: length.max(kept),
        };
        self.start += pcap.header + kept;
        Ok(Look::Found(found))
    }

    fn block(&mut self, order: Order) -> Result<Look, BadFile> {
        let waiting = self.waiting();
        let Some(head) = waiting.get(..12) else {
            return Ok(Look::NeedMore);
        };
        let order = match head {
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => match head.get(8..12) {
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => Order::Little,
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => Order::Big,
                _ => return Err(BadFile::Damaged),
            },
            _ => order,
        };
        let kind = order.u32(head, 0).unwrap_or_default();
        let length = order.length(head, 4).unwrap_or_default();
        if length < 12 || !length.is_multiple_of(4) {
            return Err(BadFile::Damaged);
        }
        let is_read = matches!(kind, 1 | 2 | 3 | 6 | 0x0a0d_0d0a);
        if !is_read {
            self.skip = length as u64;
            return Ok(Look::Passed);
        }
        if length > LONGEST {
            return Err(BadFile::Damaged);
        }
        let whole = waiting.get(..length);
        let Some(body) = whole.and_then(|it| it.get(8..length - 4)) else {
            return Ok(Look::NeedMore);
        };
        let start = self.start + 8;
        let look = match kind {
            1 => {
                let interface = interface(order, body).ok_or(BadFile::Damaged)?;
                self.interfaces.push(interface);
                Look::Passed
            }
            0x0a0d_0d0a => {
                self.interfaces.clear();
                self.format = Format::Blocks(order);
                Look::Passed
            }
            kind => {
                let found = packet_block(kind, order, body, start, &self.interfaces);
                Look::Found(found.ok_or(BadFile::Damaged)?)
            }
        };
        self.start += length;
        Ok(look)
    }
}

/// An interface description: link type, snapshot length, and of the options those of the clock.
fn interface(order: Order, body: &[u8]) -> Option<Interface> {
    let mut clock = Clock {
        rate: 1_000_000,
        offset: 0,
    };
    let mut options = body.get(8..)?;
    while let (Some(code), Some(length)) = (order.u16(options, 0), order.u16(options, 2)) {
        let value = options.get(4..4 + usize::from(length))?;
        match (code, value) {
            (0, _) => break,
            (9, &[resolution]) => clock.rate = rate(resolution),
            (14, value) => clock.offset = order.u64(value, 0)?.cast_signed(),
            _ => {}
        }
        options = options
            .get(4 + usize::from(length).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Some(Interface {
        link: u32::from(order.u16(body, 0)?),
        snap: order.length(body, 4)?,
        clock,
    })
}

/// The top bit says whether the rest is an exponent of two or of ten.
fn rate(resolution: u8) -> u128 {
    let exponent = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 {
        10_u128.pow(exponent.min(18))
    } else {
        1 << exponent.min(63)
    }
}

fn packet_block(
    kind: u32,
    order: Order,
    body: &[u8],
    start: usize,
    interfaces: &[Interface],
) -> Option<Found> {
    let (number, head): (usize, usize) = match kind {
        6 => (order.length(body, 0)?, 20),
        2 => (usize::from(order.u16(body, 0)?), 20),
        _ => (0, 4),
    };
    let interface = interfaces.get(number)?;
    let (ticks, kept, length) = if head == 20 {
        let ticks = u64::from(order.u32(body, 4)?) << 32 | u64::from(order.u32(body, 8)?);
        (ticks, order.length(body, 12)?, order.length(body, 16)?)
    } else {
        let length = order.length(body, 0)?;
        let snap = if interface.snap == 0 {
            usize::MAX
        } else {
            interface.snap
        };
        (0, length.min(snap).min(body.len() - 4), length)
    };
    body.get(head..head.checked_add(kept)?)?;
    Some(Found {
        link: interface.link,
        time: interface.clock.nanoseconds(ticks),
        start: start + head,
        kept,
        length: length.max(kept),
    })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
