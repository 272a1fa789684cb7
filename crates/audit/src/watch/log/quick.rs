//! The head of a line of syslog, told by a few octets.
//!
//! A log has the same few programs in nearly every line. Each head (`postfix/smtpd[`) is taken apart once and remembered with what it means;
//! after that a line costs a search for the end of the host's name and a comparison. Lines of programs that say nothing of sessions
//! (`postfix/qmgr`, `cron`) are done with there, before anything of their text is read. Only the short form of the time is read so; every
//! other line goes the long way, which has the same results.

/// Heads that are remembered.
const MOST: usize = 32;

/// What the lines of a program are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Postfix' server; whether TLS comes at once there.
    Server {
        /// TLS at once, by the name of the service.
        is_wrapped: bool,
    },
    /// Postfix' client.
    Client,
    /// Dovecot.
    Dovecot,
    /// Says nothing that matters here.
    Idle,
}

/// Which process of which program: what joins the lines of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    program: u32,
    process: u32,
}

/// A line, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) program: Program,
    pub(super) place: Place,
    pub(super) text: &'a [u8],
}

/// The heads seen: each ends with `[` or `:`.
#[derive(Debug, Default)]
pub(super) struct Heads(Vec<(Box<[u8]>, Program, u32)>);

impl Heads {
    /// A line with a short time. None when it is to go the long way.
    pub(super) fn read<'a>(&mut self, line: &'a [u8]) -> Option<Entry<'a>> {
        has_short_time(line).then_some(())?;
        let rest = line.get(16..)?;
        let host = memchr::memchr(b' ', rest)?;
        self.entry(rest.get(host + 1..)?)
    }

    /// What stands behind the host: `program[1]: text`.
    pub(super) fn entry<'a>(&mut self, rest: &'a [u8]) -> Option<Entry<'a>> {
        for (head, program, number) in &self.0 {
            if let Some(rest) = rest.strip_prefix(&**head) {
                return entry(rest, *head.last()?, *program, *number);
            }
        }
        let end = rest.iter().position(|it| matches!(it, b'[' | b':'))?;
        let name = rest.get(..end)?;
        let program = Program::find(name);
        let number = fingerprint(name);
        let head = rest.get(..=end)?;
        // A session would be lost when its head were forgotten, so none is: the rest goes without.
        if self.0.len() < MOST && head.len() <= 64 {
            self.0.push((head.into(), program, number));
        }
        entry(rest.get(end + 1..)?, *head.last()?, program, number)
    }
}

fn entry(rest: &[u8], mark: u8, program: Program, number: u32) -> Option<Entry<'_>> {
    let (process, rest) = match mark {
        b'[' => digits(rest)?,
        _ => (0, rest),
    };
    let place = Place {
        program: number,
        process,
    };
    let rest = rest.strip_prefix(b"]:").unwrap_or(rest);
    Some(Entry {
        program,
        place,
        text: rest.strip_prefix(b" ")?,
    })
}

/// A number of a process, and what follows it.
fn digits(octets: &[u8]) -> Option<(u32, &[u8])> {
    let mut number = 0_u32;
    let mut rest = octets;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        number = number
            .wrapping_mul(10)
            .wrapping_add(u32::from(digit - b'0'));
        rest = after;
    }
    (rest.len() < octets.len()).then_some((number, rest))
}

/// Names of services are few and the administrator's own; a hash keeps them apart.
fn fingerprint(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |sum: u32, it| {
        (sum ^ u32::from(*it)).wrapping_mul(0x0100_0193)
    })
}

impl Program {
    fn find(name: &[u8]) -> Self {
        if name.starts_with(b"dovecot") {
            return Self::Dovecot;
        }
        let mut parts = name.split(|it| *it == b'/');
        let is_postfix = parts.next().is_some_and(|it| it.starts_with(b"postfix"));
        match parts.next_back() {
            Some(b"smtpd") if is_postfix => Self::Server {
                is_wrapped: [&b"smtps"[..], b"submissions", b"465"]
                    .iter()
                    .any(|it| memchr::memmem::find(name, it).is_some()),
            },
            Some(b"smtp" | b"lmtp") if is_postfix => Self::Client,
            _ => Self::Idle,
        }
    }
}

/// Whether a line begins as `Nov 26 18:00:00 `.
pub(super) fn has_short_time(line: &[u8]) -> bool {
    matches!(
        line,
        [
            _,
            _,
            _,
            b' ',
            _,
            _,
            b' ',
            _,
            _,
            b':',
            _,
            _,
            b':',
            _,
            _,
            b' ',
            ..
        ]
    )
}
