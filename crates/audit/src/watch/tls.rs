//! TLS as one who listens sees it: hellos, certificates up to TLS 1.2, alerts; and what they are worth.
//!
//! What TLS 1.3 hides is told as hidden, never as good. Nothing is decrypted. Reading ends with the handshake, up to TLS 1.2 a little later
//! (`super::after`): after that a session costs nothing more.

use std::borrow::Cow;

use gatepost_wire::tls::{
    ClientHello, KeyExchange, Piece as Seen, SSL3, ServerHello, TLS10, TLS11, TLS12, TLS13,
    TlsStream, names, suites::suite,
};

use super::after::{After, on_heartbeat};
use super::certificates::Problem;
use super::lines::Piece;
use super::notes::{At, Notes, Side};
use crate::finding::Severity;

/// What was seen of TLS in a session.
#[derive(Debug, Default, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct TlsFacts {
    /// The version agreed on.
    pub version: Option<u16>,
    /// The suite agreed on.
    pub suite: Option<u16>,
    /// The suite as a log names it, where its number is not known.
    pub suite_name: Option<String>,
    /// The group of the key exchange.
    pub group: Option<u16>,
    /// The name the client asked for.
    pub sni: Option<String>,
    /// The application protocol agreed on, where that is in clear.
    pub alpn: Option<String>,
    /// The fingerprint of the client's hello.
    pub ja4: Option<String>,
    /// Whether the client showed a certificate, where that is in clear.
    pub has_client_certificate: bool,
    /// Whether the server's certificates were seen.
    pub has_certificate: bool,
    /// Whether the session was resumed, so that no certificate came.
    pub is_resumed: bool,
    /// Whether the handshake was completed.
    pub is_established: bool,
    /// An alert of the handshake: who sent it, and why.
    pub alert: Option<(Side, u8)>,
}

/// A version in words.
#[must_use]
pub fn version_label(version: u16) -> Cow<'static, str> {
    Cow::Borrowed(match version {
        0x0002 => "SSL 2.0",
        SSL3 => "SSL 3.0",
        TLS10 => "TLS 1.0",
        TLS11 => "TLS 1.1",
        TLS12 => "TLS 1.2",
        TLS13 => "TLS 1.3",
        other => return Cow::Owned(format!("0x{other:04X}")),
    })
}

/// Whether these octets begin a TLS record that may begin a connection: a handshake or an alert.
#[must_use]
pub fn begins_tls(octets: &[u8]) -> bool {
    match octets {
        [22, 3, 0..=4, high, _, kind, ..] => *high <= 0x48 && matches!(kind, 1 | 2),
        [22, 3, 0..=4, ..] | [22, 3] | [22] => octets.len() < 6,
        [21, 3, 0..=4, 0, 2, 1 | 2, ..] => true,
        _ => begins_ssl2(octets),
    }
}

/// A hello of SSL 2, also as old clients use it to ask for something better.
fn begins_ssl2(octets: &[u8]) -> bool {
    matches!(octets, [high, _, 1, 0, 2, ..] | [high, _, 1, 3, 0..=3, ..] if high & 0x80 != 0)
}

/// The tracker.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing seen")]
pub struct Tls {
    client: TlsStream,
    server: TlsStream,
    hello: Option<Box<ClientHello>>,
    begun: Option<At>,
    /// Whether each side's octets are encrypted from here on.
    is_client_encrypted: bool,
    is_server_encrypted: bool,
    has_server_hello: bool,
    is_over: bool,
    has_tls13_note: bool,
    /// The server's chain, until it is known whether its status comes along.
    chain: Vec<Vec<u8>>,
    /// Encrypted messages of the handshake by each side: up to TLS 1.2 one, Finished.
    finished: [u8; 2],
    /// What is watched for once TLS is up.
    after: Option<After>,
}

impl Tls {
    /// Whether nothing more is to be learnt.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a server hello was seen.
    pub fn has_server_hello(&self) -> bool {
        self.has_server_hello
    }

    /// Takes in what one side sent.
    pub fn hear(&mut self, piece: &mut Piece<'_>, notes: &mut Notes<'_>) {
        let at = piece.at;
        self.begun.get_or_insert(at);
        notes.facts.tls.get_or_insert_default();
        let octets = piece.take(usize::MAX);
        if self.is_over {
            return;
        }
        if at.side == Side::Client && self.hello.is_none() && begins_ssl2(octets) {
            return self.ssl2(octets, at, notes);
        }
        match at.side {
            Side::Client => self.client.push(octets),
            Side::Server => self.server.push(octets),
        }
        self.read(at, notes);
        if let Some(after) = &mut self.after
            && after.is_over(octets.len())
        {
            self.is_over = true;
        }
    }

    fn read(&mut self, at: At, notes: &mut Notes<'_>) {
        loop {
            let seen = match at.side {
                Side::Client => self.client.next(),
                Side::Server => self.server.next(),
            };
            match seen {
                Some(seen) if !self.is_over => self.on(seen, at, notes),
                _ => break,
            }
        }
    }

    /// Octets are missing: what follows cannot be read, but what was seen stands.
    pub fn lose(&mut self) {
        self.is_over = true;
    }

    /// The connection is over before the handshake was.
    pub fn end(&mut self, how: &'static str, at: At, notes: &mut Notes<'_>) {
        if self.is_over || notes.facts.tls.as_ref().is_some_and(|it| it.is_established) {
            return;
        }
        self.is_over = true;
        notes.facts.has_failed = true;
        notes.find(
            "W303",
            at,
            format!("the {} {how} inside the handshake", at.side.word()),
        );
    }

    fn ssl2(&mut self, octets: &[u8], at: At, notes: &mut Notes<'_>) {
        // A hello in the old form asks for what its version says; only 2 is SSL 2 itself.
        let asks_for_more = octets.get(3) == Some(&3);
        let (severity, evidence) = if asks_for_more {
            (Severity::Medium, "a hello in the form of SSL 2.0")
        } else {
            (Severity::High, "the client offers SSL 2.0")
        };
        notes.find_at("W501", severity, at, evidence);
        if asks_for_more {
            self.hello = Some(Box::default());
        } else {
            notes.facts.tls.get_or_insert_default().version = Some(2);
            self.is_over = true;
        }
    }

    fn on(&mut self, seen: Seen, at: At, notes: &mut Notes<'_>) {
        if let (Some(after), Seen::Encrypted { kind, length }) = (&mut self.after, &seen) {
            return after.record(*kind, *length, at, notes);
        }
        if at.side == Side::Server && !matches!(seen, Seen::Status(_)) {
            self.chain = Vec::new();
        }
        match seen {
            Seen::ClientHello(hello) => self.on_client_hello(hello, at, notes),
            Seen::ServerHello(hello) => self.on_server_hello(&hello, at, notes),
            Seen::Certificate(chain) if at.side == Side::Server => {
                on_chain(&chain, at, notes);
                self.chain = chain;
            }
            Seen::Status(staple) if at.side == Side::Server => {
                let chain = std::mem::take(&mut self.chain);
                for it in notes.judge.status(&chain, &staple, at.time) {
                    notes.find_at(it.id, it.severity, at, it.evidence);
                }
            }
            Seen::Heartbeat { claimed, length } => on_heartbeat(claimed, length, at, notes),
            Seen::Certificate(chain) => {
                let facts = notes.facts.tls.get_or_insert_default();
                facts.has_client_certificate = !chain.is_empty();
            }
            Seen::KeyExchange(exchange) => on_key_exchange(&exchange, at, notes),
            Seen::ChangeCipherSpec => self.on_encrypted(at.side, notes),
            Seen::Encrypted { kind, length } => self.on_record(kind, length, at, notes),
            Seen::Alert { level, description } if level == 2 || description != 0 => {
                self.on_alert(Some(description), at, notes);
            }
            Seen::NotTls | Seen::Malformed | Seen::TooLarge => {
                self.is_over = true;
                if notes.facts.tls.as_ref().is_none_or(|it| !it.is_established) {
                    notes.facts.has_failed = true;
                    notes.find("W303", at, "octets that are no TLS inside the handshake");
                }
            }
            _ => {}
        }
    }

    fn on_client_hello(&mut self, hello: Box<ClientHello>, at: At, notes: &mut Notes<'_>) {
        if self.hello.is_some() {
            return;
        }
        let facts = notes.facts.tls.get_or_insert_default();
        facts.sni.clone_from(&hello.sni);
        facts.ja4 = Some(super::fingerprint::ja4(&hello));
        let has_sni = hello.extensions.contains(&0);
        if !has_sni {
            notes.find("W508", at, "the hello names no server");
        }
        if hello.has_early_data {
            notes.find_at("W511", Severity::Low, at, "the client announces early data");
        }
        self.hello = Some(hello);
    }

    fn on_server_hello(&mut self, hello: &ServerHello, at: At, notes: &mut Notes<'_>) {
        self.has_server_hello = true;
        let version = hello.version();
        let facts = notes.facts.tls.get_or_insert_default();
        facts.version = Some(version);
        facts.suite = Some(hello.suite);
        facts.group = facts.group.or(hello.group);
        facts.alpn = hello.alpn.as_deref().and_then(printable);
        match version {
            TLS13 => self.note_hidden(at, notes),
            TLS10 | TLS11 => {
                notes.find_at("W501", Severity::Medium, at, version_label(version));
            }
            SSL3 => notes.find_at("W501", Severity::High, at, version_label(version)),
            _ => {}
        }
        note_suite(hello.suite, at, notes);
        // [RFC 9846 4.1.3] a server marks its random when it could do better than it was asked.
        let offered_better = self.hello.as_ref().is_some_and(|it| match version {
            TLS12 => it.offers(TLS13),
            TLS10 | TLS11 => it.offers(TLS12) || it.offers(TLS13),
            _ => false,
        });
        if offered_better && hello.has_downgrade_mark() {
            notes.find(
                "W503",
                at,
                "the server's random has the mark of a downgrade",
            );
        }
        if hello.compression != 0 {
            notes.find_at(
                "W511",
                Severity::Medium,
                at,
                "TLS compression was agreed on",
            );
        }
    }

    fn note_hidden(&mut self, at: At, notes: &mut Notes<'_>) {
        if !self.has_tls13_note {
            self.has_tls13_note = true;
            notes.find("W510", at, "TLS 1.3 encrypts the certificate");
        }
    }

    fn on_encrypted(&mut self, side: Side, notes: &mut Notes<'_>) {
        let facts = notes.facts.tls.get_or_insert_default();
        if facts.version == Some(TLS13) {
            // It says nothing there (RFC 9846 D.4).
            return;
        }
        match side {
            Side::Client => self.is_client_encrypted = true,
            Side::Server => self.is_server_encrypted = true,
        }
        if side == Side::Server && !facts.has_certificate && self.has_server_hello {
            facts.is_resumed = true;
        }
    }

    /// An encrypted record. Which messages are in it can only be told from its kind and length.
    fn on_record(&mut self, kind: u8, length: usize, at: At, notes: &mut Notes<'_>) {
        let facts = notes.facts.tls.get_or_insert_default();
        if facts.version == Some(TLS13) {
            // An alert is two octets, a type and a tag; the client's Finished is longer.
            let is_alert = kind == 23 && length == 2 + 1 + 16;
            match (at.side, is_alert) {
                (_, true) if !facts.is_established => self.on_alert(None, at, notes),
                (Side::Client, false) if kind == 23 => self.establish(notes),
                _ => {}
            }
            return;
        }
        match at.side {
            Side::Client => self.is_client_encrypted = true,
            Side::Server => self.is_server_encrypted = true,
        }
        if kind == 22 {
            let [client, server] = &mut self.finished;
            let count = if at.side == Side::Client {
                client
            } else {
                server
            };
            *count = count.saturating_add(1);
        }
        match kind {
            21 if !facts.is_established => self.on_alert(None, at, notes),
            22 | 23 if self.is_client_encrypted && self.is_server_encrypted => {
                self.establish(notes);
            }
            _ => {}
        }
    }

    fn establish(&mut self, notes: &mut Notes<'_>) {
        if !self.has_server_hello {
            return;
        }
        let facts = notes.facts.tls.get_or_insert_default();
        facts.is_established = true;
        // In TLS 1.3 there is no renegotiation, and every record looks alike.
        if facts.version == Some(TLS13) {
            self.is_over = true;
            return;
        }
        self.hello = None;
        self.client.skip_payloads();
        self.server.skip_payloads();
        self.after = Some(After::new(self.finished));
    }

    fn on_alert(&mut self, description: Option<u8>, at: At, notes: &mut Notes<'_>) {
        let facts = notes.facts.tls.get_or_insert_default();
        self.is_over = true;
        notes.facts.has_failed = true;
        let who = at.side.word();
        let evidence = match description {
            Some(description) => {
                facts.alert = Some((at.side, description));
                format!(
                    "alert {description} ({}) from the {who}",
                    alert_name(description)
                )
            }
            None => format!("an encrypted alert from the {who} before the handshake was over"),
        };
        notes.find("W303", at, evidence);
    }
}

fn on_chain(chain: &[Vec<u8>], at: At, notes: &mut Notes<'_>) {
    let facts = notes.facts.tls.get_or_insert_default();
    if std::mem::replace(&mut facts.has_certificate, true) {
        return;
    }
    let sni = facts.sni.clone();
    for Problem {
        id,
        severity,
        evidence,
    } in notes.judge.judge(chain, sni.as_deref(), at.time)
    {
        notes.find_at(id, severity, at, evidence);
    }
}

fn printable(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    (text.len() <= 32 && text.bytes().all(|it| it.is_ascii_graphic())).then(|| text.to_owned())
}

fn note_suite(number: u16, at: At, notes: &mut Notes<'_>) {
    let Some(suite) = suite(number) else {
        return;
    };
    let severity = if suite.is_null() || suite.is_anonymous() || suite.is_low() || suite.is_rc4() {
        Severity::High
    } else if suite.is_triple_des() {
        Severity::Medium
    } else if !suite.has_forward_secrecy() || (suite.is_cbc() && suite.mac == "SHA") {
        Severity::Low
    } else {
        return;
    };
    notes.find_at("W502", severity, at, names::suite_label(number));
}

fn on_key_exchange(exchange: &KeyExchange, at: At, notes: &mut Notes<'_>) {
    match exchange {
        KeyExchange::Ec { group, .. } => {
            notes.facts.tls.get_or_insert_default().group = Some(*group);
        }
        KeyExchange::Dh { prime, .. } => {
            let bits = prime.len() * 8 - prime.first().map_or(0, |it| it.leading_zeros() as usize);
            if bits < 2048 {
                notes.find("W507", at, format!("a Diffie-Hellman prime of {bits} bits"));
            }
        }
        _ => {}
    }
}

/// RFC 9846 6, RFC 5246 7.2.
fn alert_name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unknown",
    }
}
