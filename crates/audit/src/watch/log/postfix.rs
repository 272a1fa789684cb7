//! Postfix: the server's sessions by process, from `connect` to `disconnect`; the client's by its TLS lines and delivery lines.
//!
//! What a session was is decided at its end: `disconnect` counts STARTTLS since Postfix 3.0, whatever the level of logging. Of deliveries the
//! word `tls=` of Postfix 3.11 decides; without it an unencrypted one is claimed only of logs that tell TLS connections at all.

use std::collections::HashMap;

use super::{Entry, Logged, MOST_OPEN, Teller, between, bracketed, cut, facts, judge};
use crate::watch::event::Outcome;
use crate::watch::login::Ending;
use crate::watch::notes::{Protocol, Upgrade};

/// A session of smtpd.
#[derive(Debug)]
struct Open {
    session: Logged,
    is_wrapped: bool,
    has_tls: bool,
    /// Mechanism, hidden name and ending of logins, until it is known whether TLS was up.
    logins: Vec<(String, String, Ending)>,
    mails: u32,
}

/// The state machine.
#[derive(Debug, Default)]
pub(super) struct Postfix {
    servers: HashMap<Box<str>, Open>,
    /// Where a process of the client has TLS: the peer in its words.
    clients: HashMap<String, (String, Logged)>,
    tells_tls: bool,
}

impl Postfix {
    pub(super) fn read(&mut self, entry: Entry<'_>, teller: &mut Teller) -> bool {
        let service = entry.program.rsplit('/').next().unwrap_or_default();
        match service {
            "smtpd" => self.server(entry, teller),
            "smtp" | "lmtp" => self.client(entry, teller),
            _ => false,
        }
    }

    pub(super) fn finish(&mut self, teller: &mut Teller) {
        for (_, open) in std::mem::take(&mut self.servers) {
            // Its end was not seen, so whether TLS came later is not known.
            if open.has_tls || open.is_wrapped {
                teller.session(open.session);
            }
        }
    }

    fn server(&mut self, entry: Entry<'_>, teller: &mut Teller) -> bool {
        let text = entry.text;
        if let Some(peer) = text.strip_prefix("connect from ") {
            if self.servers.len() >= MOST_OPEN {
                self.servers.clear();
            }
            let mut session = Logged::new(Protocol::Smtp, bracketed(peer));
            session.upgrade = Upgrade::Unknown;
            let open = Open {
                session,
                is_wrapped: ["smtps", "submissions", "465"]
                    .iter()
                    .any(|it| entry.program.contains(it)),
                has_tls: false,
                logins: Vec::new(),
                mails: 0,
            };
            self.servers.insert(entry.tag.into(), open);
            return true;
        }
        if text.starts_with("disconnect from ") {
            if let Some(open) = self.servers.remove(entry.tag) {
                close(open, text, teller);
            }
            return true;
        }
        let Some(open) = self.servers.get_mut(entry.tag) else {
            return false;
        };
        said(open, text, teller)
    }

    fn client(&mut self, entry: Entry<'_>, teller: &mut Teller) -> bool {
        let text = entry.text;
        if let Some((_, rest)) = text.split_once("TLS connection established to ") {
            self.tells_tls = true;
            let (peer, rest) = rest.split_once(": ").unwrap_or((rest, ""));
            let mut session = delivery(peer);
            let version = rest.split(' ').next().unwrap_or_default();
            let suite = between(rest, "with cipher ", " ").unwrap_or_default();
            session.encrypted(Outcome::Upgraded, facts(version, suite));
            judge(&session, teller);
            if self.clients.len() >= MOST_OPEN {
                self.clients.clear();
            }
            self.clients
                .insert(entry.process.to_owned(), (peer.to_owned(), session));
            return true;
        }
        if let Some(relay) = between(text, "relay=", ",") {
            return self.delivered(entry, relay, teller);
        }
        let session = delivery(text);
        for (mark, id, evidence) in TROUBLES {
            if text.contains(mark) {
                teller.finding(id, &session, *evidence);
                return true;
            }
        }
        false
    }

    fn delivered(&mut self, entry: Entry<'_>, relay: &str, teller: &mut Teller) -> bool {
        let text = entry.text;
        if relay == "none" || relay == "local" {
            return true;
        }
        let tls = between(text, " tls=", ",");
        let peer = self.clients.get(entry.process).filter(|it| it.0 == relay);
        let is_sent = text.contains("status=sent");
        if let Some(word) = tls {
            let session = peer.map_or_else(|| delivery(relay), |it| it.1.clone());
            return delivered_by_word(word, session, is_sent, teller);
        }
        if let Some((_, session)) = peer {
            teller.session(session.clone());
            return true;
        }
        // A connection that was opened by another process may have TLS all the same.
        let is_reused = text.contains("conn_use=");
        if is_sent && self.tells_tls && !is_reused && relay.contains(']') {
            sent_in_clear(delivery(relay), "a mail was delivered without TLS", teller);
        }
        true
    }
}

/// What Postfix' client says of an upgrade that did not go well.
const TROUBLES: &[(&str, &str, &str)] = &[
    (
        "Host offered STARTTLS: ",
        "W201",
        "STARTTLS was offered and not used",
    ),
    (
        "TLS is required, but was not offered",
        "W301",
        "TLS is required, and was not offered",
    ),
    (
        "refused to start TLS",
        "W301",
        "the server refused to start TLS",
    ),
    (
        "Cannot start TLS: handshake failure",
        "W303",
        "the handshake failed",
    ),
    ("SSL_connect error to ", "W303", "the handshake failed"),
    (
        "Server certificate not verified",
        "W505",
        "the server's certificate was not verified",
    ),
    (
        "certificate verification failed for ",
        "W505",
        "the server's certificate was not verified",
    ),
    (
        "does not match STS MX pattern",
        "W506",
        "the MX host is not one of the domain's MTA-STS policy",
    ),
    (
        "TLSRPT: status=failure",
        "W303",
        "a failure was noted for TLS-RPT",
    ),
];

/// `may:none`, `dane:halfdane`, `verify!`, `encrypt`: the level that was asked for, and the one that was had where it is less.
fn delivered_by_word(word: &str, mut session: Logged, is_sent: bool, teller: &mut Teller) -> bool {
    let word = word.split('/').next().unwrap_or_default();
    let (asked, had) = word.split_once(':').unwrap_or((word, word));
    let is_violated = word.ends_with('!');
    let had = had.trim_end_matches(['!', '?']);
    let is_level =
        |it: &str| it.len() <= 20 && it.bytes().all(|it| it.is_ascii_lowercase() || it == b'-');
    let asked = asked.trim_end_matches(['!', '?']);
    if !is_level(asked) || !is_level(had) {
        return false;
    }
    if is_violated {
        session.outcome = Outcome::Failed;
        teller.finding(
            "W303",
            &session,
            format!("the level {asked} was asked for and not had; not delivered"),
        );
        teller.session(session);
    } else if had == "none" {
        if is_sent {
            sent_in_clear(
                session,
                &format!("a mail was delivered without TLS (level {asked}, had none)"),
                teller,
            );
        }
    } else {
        if had != asked {
            let evidence = format!("the level {asked} was asked for, {had} was had");
            teller.finding("W505", &session, evidence);
        }
        if session.tls.is_none() {
            session.encrypted(Outcome::Upgraded, facts("", ""));
        }
        teller.session(session);
    }
    true
}

fn sent_in_clear(mut session: Logged, evidence: &str, teller: &mut Teller) {
    session.in_clear[1] = 1;
    teller.finding("W202", &session, evidence);
    teller.session(session);
}

/// The session to a peer: `name[192.0.2.1]:25`.
fn delivery(peer: &str) -> Logged {
    let mut session = Logged::new(Protocol::Smtp, None);
    let port = peer.rsplit("]:").next().and_then(|it| {
        let digits: String = it.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    session.server = bracketed(peer).map(|it| (it, port.unwrap_or(25)));
    session
}

fn said(open: &mut Open, text: &str, teller: &mut Teller) -> bool {
    // `Anonymous TLS connection established from`: how it is trusted is the first word.
    let trust =
        cut(text, b' ').and_then(|it| it.1.strip_prefix("TLS connection established from "));
    if let Some(rest) = trust {
        let rest = rest.split_once(": ").map_or("", |it| it.1);
        let version = rest.split(' ').next().unwrap_or_default();
        let suite = between(rest, "with cipher ", " ").unwrap_or_default();
        let outcome = if open.is_wrapped {
            Outcome::Encrypted
        } else {
            Outcome::Upgraded
        };
        open.has_tls = true;
        open.session.encrypted(outcome, facts(version, suite));
        judge(&open.session, teller);
    } else if cut(text, b':').is_some_and(|it| it.1.starts_with(" client=")) {
        open.mails += 1;
        if let Some(mechanism) = word(text, "sasl_method=") {
            let user = word(text, "sasl_username=").unwrap_or_default();
            open.logins
                .push((mechanism.to_owned(), user.to_owned(), Ending::Accepted));
        }
    } else if text.contains("SASL ") && text.contains(" authentication failed") {
        let mechanism = between(text, "SASL ", " authentication failed").unwrap_or_default();
        let user = word(text, "sasl_username=").unwrap_or_default();
        open.logins
            .push((mechanism.to_owned(), user.to_owned(), Ending::Rejected));
    } else if text.starts_with("SSL_accept error from ")
        || text.starts_with("lost connection after STARTTLS")
    {
        open.session.outcome = Outcome::Failed;
        teller.finding("W303", &open.session, "the handshake failed");
    } else if text.contains("improper command pipelining after STARTTLS") {
        teller.finding("W304", &open.session, "commands behind STARTTLS");
    } else if text.contains("improper command pipelining after ") {
        teller.finding("W602", &open.session, "commands where none may stand");
    } else if text.contains("non-SMTP command from ") {
        teller.finding("W402", &open.session, "what is no SMTP");
    } else {
        return false;
    }
    true
}

/// `key=value`, the value up to a comma or a space.
fn word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    rest.split([',', ' ']).next()
}

fn close(mut open: Open, text: &str, teller: &mut Teller) {
    // `starttls=1` was carried out, `starttls=0/1` was refused or failed.
    let counted = word(text, " starttls=").unwrap_or_default();
    let came_up = counted
        .split('/')
        .next()
        .is_some_and(|it| !it.is_empty() && it != "0");
    if came_up && !open.has_tls {
        open.session.encrypted(Outcome::Upgraded, facts("", ""));
    } else if counted.starts_with("0/") && open.session.outcome == Outcome::Clear && open.mails == 0
    {
        open.session.outcome = Outcome::Failed;
        open.session.upgrade = Upgrade::Refused;
    } else if open.is_wrapped && !open.has_tls && open.session.outcome == Outcome::Clear {
        open.session.encrypted(Outcome::Encrypted, facts("", ""));
    }
    if open.session.outcome == Outcome::Clear {
        for (mechanism, user, ending) in std::mem::take(&mut open.logins) {
            teller.login(&mut open.session, &mechanism, &user, ending);
        }
        open.session.in_clear[1] = open.mails;
        if open.mails > 0 {
            let evidence = format!("{} mails were taken in without TLS", open.mails);
            teller.finding("W202", &open.session, evidence);
        }
    }
    teller.session(open.session);
}
