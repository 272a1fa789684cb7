//! What is told: findings as they come, and each session when no more is to be learnt of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::address;
use super::flow::Flow;
use super::login::Login;
use super::notes::{Facts, Note, Protocol, Upgrade};
use super::tls::{TlsFacts, version_label};
use crate::finding::Severity;
use crate::rules;
use gatepost_wire::tls::names;

/// Goes up when a field changes its meaning or goes away.
pub const SCHEMA: &str = "gatepost-watch-1";

/// Something to tell.
#[derive(Debug)]
pub enum Event {
    /// A finding.
    Finding(Box<Finding>),
    /// A session that is over, or of which nothing more is to be learnt.
    Session(Box<Session>),
}

/// Both ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ends {
    /// Client: address and port.
    pub client: (u128, u16),
    /// Server: address and port.
    pub server: (u128, u16),
}

impl Ends {
    fn of(flow: &Flow) -> Self {
        let (client, server) = (flow.client, flow.server);
        if flow.conversation.is_reversed() {
            return Self {
                client: server,
                server: client,
            };
        }
        Self { client, server }
    }

    /// An end in words, without a port where that is not known. None when nothing is known of it.
    #[must_use]
    pub fn known(end: (u128, u16)) -> Option<End> {
        (end.0 != 0).then_some(End(end))
    }

    /// An end in words, `-` where it is not known.
    #[must_use]
    pub fn word(end: (u128, u16)) -> String {
        Self::known(end).map_or_else(|| "-".to_owned(), |it| it.to_string())
    }
}

/// An end that is known, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End((u128, u16));

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((number, port)) = *self;
        let address = address(number);
        if port == 0 {
            address.fmt(out)
        } else {
            std::net::SocketAddr::new(address, port).fmt(out)
        }
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A finding.
#[derive(Debug)]
pub struct Finding {
    /// The rule.
    pub id: &'static str,
    /// How bad it is here.
    pub severity: Severity,
    /// The session; none for findings about a file.
    pub session: Option<u32>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// The ends.
    pub ends: Option<Ends>,
    /// The file, by its place in the list of files.
    pub file: u32,
    /// The packet, counted from 1.
    pub packet: u64,
    /// The line of a log, counted from 1; 0 for packets.
    pub line: u64,
    /// The octet of that direction of the stream.
    pub offset: u64,
    /// Whose octets.
    pub side: &'static str,
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// What was seen.
    pub evidence: String,
    /// The login it is about.
    pub login: Option<Box<Login>>,
}

impl Finding {
    pub(super) fn of(flow: &Flow, note: Note) -> Self {
        let rule = rules::find(note.id);
        Self {
            id: note.id,
            severity: note
                .severity
                .or(rule.map(|it| it.severity))
                .unwrap_or(Severity::Info),
            session: Some(flow.number),
            protocol: flow.facts.protocol,
            ends: Some(Ends::of(flow)),
            file: flow.file,
            packet: note.at.packet,
            line: 0,
            offset: note.at.offset,
            side: note.at.side.word(),
            time: note.at.time,
            evidence: note.evidence.into_owned(),
            login: note.login,
        }
    }

    pub(super) fn of_file(
        id: &'static str,
        evidence: String,
        file: u32,
        packet: u64,
        time: u64,
    ) -> Self {
        Self {
            id,
            severity: rules::find(id).map_or(Severity::Info, |it| it.severity),
            session: None,
            protocol: None,
            ends: None,
            file,
            packet,
            line: 0,
            offset: 0,
            side: "",
            time,
            evidence,
            login: None,
        }
    }

    /// What the rule says.
    #[must_use]
    pub fn text(&self) -> &'static str {
        rules::find(self.id).map_or("", |it| it.text)
    }

    /// As JSON. `file` is the file's name.
    #[must_use]
    pub fn as_json<'a>(&'a self, file: &'a str) -> impl Serialize + 'a {
        let of_packet = self.line == 0;
        FindingJson {
            kind: "finding",
            schema: SCHEMA,
            id: self.id,
            severity: self.severity.word(),
            text: self.text(),
            evidence: &self.evidence,
            session: self.session,
            protocol: self.protocol.map(Protocol::word),
            file,
            line: (!of_packet).then_some(self.line),
            packet: of_packet.then_some(self.packet),
            offset: of_packet.then_some(self.offset),
            side: of_packet.then_some(self.side),
            time: Time::known(self.time),
            client: self.ends.and_then(|it| Ends::known(it.client)),
            server: self.ends.and_then(|it| Ends::known(it.server)),
            login: self.login.as_deref().map(LoginJson::of),
        }
    }
}

/// A finding as it is written. A log can have one in every line, so it is written without being put together in memory first.
#[derive(Serialize)]
struct FindingJson<'a> {
    kind: &'static str,
    schema: &'static str,
    id: &'static str,
    severity: &'static str,
    text: &'static str,
    evidence: &'a str,
    session: Option<u32>,
    protocol: Option<&'static str>,
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    time: Option<Time>,
    client: Option<End>,
    server: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<LoginJson<'a>>,
}

#[derive(Serialize)]
struct LoginJson<'a> {
    mechanism: &'static str,
    result: &'static str,
    password: Option<&'static str>,
    user: Option<UserJson<'a>>,
}

#[derive(Serialize)]
struct UserJson<'a> {
    hash: &'a str,
    domain: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> LoginJson<'a> {
    fn of(login: &'a Login) -> Self {
        Self {
            mechanism: login.mechanism.word(),
            result: login.ending.word(),
            password: login.password,
            user: login.user.as_ref().map(|it| UserJson {
                hash: &it.hash,
                domain: it.domain.as_deref(),
                name: it.name.as_deref(),
            }),
        }
    }
}

/// How a session came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Everything in clear.
    Clear,
    /// TLS from the first octet.
    Encrypted,
    /// TLS after STARTTLS.
    Upgraded,
    /// Somebody took TLS away.
    Stripped,
    /// TLS was tried and failed, and nothing went on in clear.
    Failed,
    /// It was not seen to the point where that could be told.
    Unknown,
}

impl Outcome {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Clear => "Clear",
            Self::Encrypted => "Encrypted",
            Self::Upgraded => "upgraded",
            Self::Stripped => "stripped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    fn of(facts: &Facts) -> Self {
        let leaked = facts.sent + facts.read + facts.logins > 0;
        match &facts.tls {
            Some(tls) if tls.is_established && facts.is_implicit => Self::Encrypted,
            Some(tls) if tls.is_established => Self::Upgraded,
            _ if facts.is_untold => Self::Unknown,
            _ if facts.is_stripped => Self::Stripped,
            // QUIT may still be said.
            _ if facts.has_failed && !leaked && facts.lines_after_failure <= 1 => Self::Failed,
            Some(_) if facts.has_failed && !leaked => Self::Failed,
            Some(_) if !facts.has_failed => Self::Unknown,
            _ => Self::Clear,
        }
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub number: u32,
    /// The protocol.
    pub protocol: Protocol,
    /// How it came out.
    pub outcome: Outcome,
    /// The ends.
    pub ends: Ends,
    /// The file it began in.
    pub file: u32,
    /// The line of a log that told its end; 0 for packets.
    pub line: u64,
    /// When it began and when the last packet was seen, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// Packets and octets of payload read.
    pub size: (u64, u64),
    /// How far the upgrade came.
    pub upgrade: Upgrade,
    /// What was seen of TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// Through what it was tunnelled.
    pub tunnel: Option<&'static str>,
    /// Logins, mails sent, mails read in clear.
    pub in_clear: [u32; 3],
    /// Octets that are missing.
    pub missing: u64,
    /// The number of the client's SYN, 0 when it was not seen, and the packet it began in.
    pub first_number: u32,
    /// See `first_number`.
    pub first_packet: u64,
    /// A hash of what client and server said in dialogue before TLS.
    pub said: [u64; 2],
    /// The rules that had something to say, each once.
    pub found: Vec<&'static str>,
}

impl Session {
    pub(super) fn of(flow: &mut Flow) -> Self {
        let facts = std::mem::take(&mut flow.facts);
        let mut found = std::mem::take(&mut flow.found);
        found.sort_unstable();
        found.dedup();
        Self {
            number: flow.number,
            protocol: facts.protocol.unwrap_or(Protocol::Smtp),
            outcome: Outcome::of(&facts),
            ends: Ends::of(flow),
            file: flow.file,
            line: 0,
            time: (flow.begun, flow.last),
            size: (flow.packets, flow.octets),
            upgrade: facts.upgrade,
            tls: facts.tls.map(Arc::from),
            tunnel: facts.tunnel,
            in_clear: [facts.logins, facts.sent, facts.read],
            missing: facts.missing,
            first_number: flow.first_number(),
            first_packet: flow.first_packet,
            said: flow.said(),
            found,
        }
    }

    /// As JSON. `file` is the file's name.
    #[must_use]
    pub fn as_json<'a>(&'a self, file: &'a str) -> impl Serialize + 'a {
        let [logins, sent, read] = self.in_clear;
        SessionJson {
            kind: "session",
            schema: SCHEMA,
            session: self.number,
            protocol: self.protocol.word(),
            outcome: self.outcome.word(),
            tls: self.tls.as_deref().map(TlsJson::of),
            starttls: self.upgrade.word(),
            tunnel: self.tunnel,
            client: Ends::known(self.ends.client),
            server: Ends::known(self.ends.server),
            file,
            begun: Time::known(self.time.0),
            last: Time::known(self.time.1),
            packets: self.size.0,
            octets: self.size.1,
            missing: self.missing,
            in_clear: InClearJson { logins, sent, read },
            findings: &self.found,
        }
    }
}

/// A session as it is written.
#[derive(Serialize)]
struct SessionJson<'a> {
    kind: &'static str,
    schema: &'static str,
    session: u32,
    protocol: &'static str,
    outcome: &'static str,
    tls: Option<TlsJson<'a>>,
    starttls: &'static str,
    tunnel: Option<&'static str>,
    client: Option<End>,
    server: Option<End>,
    file: &'a str,
    begun: Option<Time>,
    last: Option<Time>,
    packets: u64,
    octets: u64,
    missing: u64,
    in_clear: InClearJson,
    findings: &'a [&'static str],
}

#[derive(Serialize)]
struct InClearJson {
    logins: u32,
    sent: u32,
    read: u32,
}

#[derive(Serialize)]
struct TlsJson<'a> {
    version: Option<Cow<'static, str>>,
    suite: Option<Cow<'a, str>>,
    group: Option<Cow<'static, str>>,
    sni: Option<&'a str>,
    alpn: Option<&'a str>,
    ja4: Option<&'a str>,
    established: bool,
    resumed: bool,
    certificate: &'static str,
    client_certificate: bool,
    alert: Option<AlertJson>,
}

#[derive(Serialize)]
struct AlertJson {
    from: &'static str,
    number: u8,
}

impl<'a> TlsJson<'a> {
    fn of(facts: &'a TlsFacts) -> Self {
        let certificate = match facts.version {
            Some(0x0304) => "not observable",
            _ if facts.has_certificate => "seen",
            _ if facts.is_resumed => "not observable",
            _ => "not seen",
        };
        Self {
            version: facts.version.map(version_label),
            suite: facts
                .suite
                .map(names::suite_label)
                .or(facts.suite_name.as_deref().map(Into::into)),
            group: facts.group.map(names::group_label),
            sni: facts.sni.as_deref(),
            alpn: facts.alpn.as_deref(),
            ja4: facts.ja4.as_deref(),
            established: facts.is_established,
            resumed: facts.is_resumed,
            certificate,
            client_certificate: facts.has_client_certificate,
            alert: facts.alert.map(|(side, number)| AlertJson {
                from: side.word(),
                number,
            }),
        }
    }
}

/// A time that is known, in nanoseconds since 1970; it is written as RFC 3339 has it, with microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(u64);

impl Time {
    /// 0 is no time.
    #[must_use]
    pub fn known(time: u64) -> Option<Self> {
        (time > 0).then_some(Self(time))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        write!(
            out,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.0 % 1_000_000_000 / 1000
        )
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// RFC 3339 with microseconds.
#[must_use]
pub fn timestamp(time: u64) -> String {
    Time(time).to_string()
}

/// The date of a day since 1970, by Howard Hinnant's rule for the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}
