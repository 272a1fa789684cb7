//! Postfix: the server's sessions by process, from `connect` to `disconnect`; the client's by its TLS lines and delivery lines.
//!
//! What a session was is decided at its end: `disconnect` counts STARTTLS since Postfix 3.0, whatever the level of logging. Of deliveries the
//! word `tls=` of Postfix 3.11 decides; without it an unencrypted one is claimed only of logs that tell TLS connections at all.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::quick::Place;
use super::{Logged, MOST_OPEN, Teller, behind, between, bracketed, cut};
use crate::watch::event::Outcome;
use crate::watch::login::Ending;
use crate::watch::notes::{Protocol, Upgrade};

/// A session of smtpd.
#[derive(Debug)]
struct Open {
    session: Logged,
    is_wrapped: bool,
    has_tls: bool,
    /// Mechanism, name and ending of logins, until it is known whether TLS was up.
    logins: Vec<(String, String, Ending)>,
    mails: u32,
}

/// Mixes the two numbers of a [`Place`]. They are the system's own, so nobody chooses them to collide.
#[derive(Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u32(u32::from(*octet));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(26) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Places<T> = HashMap<Place, T, BuildHasherDefault<Mix>>;

/// The state machine.
#[derive(Debug, Default)]
pub(super) struct Postfix {
    servers: Places<Open>,
    /// Where a process of the client has TLS: the peer in its words.
    clients: Places<(String, Logged)>,
    tells_tls: bool,
}

impl Postfix {
    pub(super) fn finish(&mut self, teller: &mut Teller) {
        for (_, open) in std::mem::take(&mut self.servers) {
            // Its end was not seen, so whether TLS came later is not known.
            if open.has_tls || open.is_wrapped {
                teller.session(open.session);
            }
        }
    }

    pub(super) fn server(
        &mut self,
        place: Place,
        is_wrapped: bool,
        text: &str,
        teller: &mut Teller,
    ) -> bool {
        if let Some(peer) = text.strip_prefix("connect from ") {
            if self.servers.len() >= MOST_OPEN {
                self.servers.clear();
            }
            let mut session = Logged::new(Protocol::Smtp, bracketed(peer));
            session.upgrade = Upgrade::Unknown;
            let open = Open {
                session,
                is_wrapped,
                has_tls: false,
                logins: Vec::new(),
                mails: 0,
            };
            self.servers.insert(place, open);
            return true;
        }
        if text.starts_with("disconnect from ") {
            if let Some(open) = self.servers.remove(&place) {
                close(open, text, teller);
            }
            return true;
        }
        match self.servers.get_mut(&place) {
            Some(open) => said(open, text, teller),
            None => false,
        }
    }

    pub(super) fn client(&mut self, place: Place, text: &str, teller: &mut Teller) -> bool {
        let established =
            cut(text, b' ').and_then(|it| it.1.strip_prefix("TLS connection established to "));
        if let Some(rest) = established {
            self.tells_tls = true;
            let (peer, rest) = rest.split_once(": ").unwrap_or((rest, ""));
            let mut session = delivery(peer);
            let (version, suite) = version_and_suite(rest);
            let rating = teller.ratings.rate(version, suite);
            session.encrypted(Outcome::Upgraded, &rating);
            teller.faults(&session, &rating);
            if self.clients.len() >= MOST_OPEN {
                self.clients.clear();
            }
            self.clients.insert(place, (peer.to_owned(), session));
            return true;
        }
        if let Some(relay) = between(text, "relay=", b',') {
            return self.delivered(place, text, relay, teller);
        }
        for (mark, id, evidence) in TROUBLES {
            if behind(text, mark).is_some() {
                teller.finding(id, &delivery(text), *evidence);
                return true;
            }
        }
        false
    }

    fn delivered(&mut self, place: Place, text: &str, relay: &str, teller: &mut Teller) -> bool {
        if relay == "none" || relay == "local" {
            return true;
        }
        let tls = between(text, " tls=", b',');
        let peer = self.clients.get(&place).filter(|it| it.0 == relay);
        let is_sent = behind(text, "status=sent").is_some();
        if let Some(word) = tls {
            let session = peer.map_or_else(|| delivery(relay), |it| it.1.clone());
            return delivered_by_word(word, session, is_sent, teller);
        }
        if let Some((_, session)) = peer {
            teller.session(session.clone());
            return true;
        }
        // A connection that was opened by another process may have TLS all the same.
        let is_reused = behind(text, "conn_use=").is_some();
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
            session.encrypted(Outcome::Upgraded, &teller.ratings.rate("", ""));
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
        let (version, suite) = version_and_suite(behind_peer(rest));
        let outcome = if open.is_wrapped {
            Outcome::Encrypted
        } else {
            Outcome::Upgraded
        };
        open.has_tls = true;
        let rating = teller.ratings.rate(version, suite);
        open.session.encrypted(outcome, &rating);
        teller.faults(&open.session, &rating);
    } else if cut(text, b':').is_some_and(|it| it.1.starts_with(" client=")) {
        open.mails += 1;
        if let Some(mechanism) = word(text, "sasl_method=") {
            let user = word(text, "sasl_username=").unwrap_or_default();
            open.logins
                .push((mechanism.to_owned(), user.to_owned(), Ending::Accepted));
        }
    } else {
        return trouble(open, text, teller);
    }
    true
}

/// What smtpd says when something does not go well. Each stands at the head of its line; what a client said may stand behind it.
fn trouble(open: &mut Open, text: &str, teller: &mut Teller) -> bool {
    let warning = text.strip_prefix("warning: ");
    if let Some(rest) = text.strip_prefix("improper command pipelining after ") {
        if rest.starts_with("STARTTLS") {
            teller.finding("W304", &open.session, "commands behind STARTTLS");
        } else {
            teller.finding("W602", &open.session, "commands where none may stand");
        }
    } else if text.starts_with("SSL_accept error from ")
        || text.starts_with("lost connection after STARTTLS")
    {
        open.session.outcome = Outcome::Failed;
        teller.finding("W303", &open.session, "the handshake failed");
    } else if warning
        .unwrap_or(text)
        .starts_with("non-SMTP command from ")
    {
        teller.finding("W402", &open.session, "what is no SMTP");
    } else if let Some(rest) = warning.and_then(|it| behind(it, "]: SASL "))
        && let Some((mechanism, rest)) = cut(rest, b' ')
        && rest.starts_with("authentication failed")
    {
        let user = word(rest, "sasl_username=").unwrap_or_default();
        open.logins
            .push((mechanism.to_owned(), user.to_owned(), Ending::Rejected));
    } else {
        return false;
    }
    true
}

/// What stands behind `name[192.0.2.1]: `.
fn behind_peer(text: &str) -> &str {
    let mut rest = text;
    while let Some((_, after)) = cut(rest, b':') {
        if let Some(said) = after.strip_prefix(' ') {
            return said;
        }
        rest = after;
    }
    ""
}

/// `TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)`.
fn version_and_suite(text: &str) -> (&str, &str) {
    let (version, rest) = cut(text, b' ').unwrap_or((text, ""));
    let suite = rest.strip_prefix("with cipher ").unwrap_or_default();
    (version, cut(suite, b' ').map_or(suite, |it| it.0))
}

/// `key=value`, the value up to a comma or a space.
fn word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    behind(text, key)?.split([',', ' ']).next()
}

/// How often STARTTLS was said: `starttls=1`, or `starttls=0/1` where it was not carried out.
fn counted(text: &str) -> &str {
    text.split(' ')
        .find_map(|it| it.strip_prefix("starttls="))
        .unwrap_or_default()
}

fn close(mut open: Open, text: &str, teller: &mut Teller) {
    // `starttls=1` was carried out, `starttls=0/1` was refused or failed.
    let counted = counted(text);
    let came_up = counted
        .split('/')
        .next()
        .is_some_and(|it| !it.is_empty() && it != "0");
    if came_up && !open.has_tls {
        open.session
            .encrypted(Outcome::Upgraded, &teller.ratings.rate("", ""));
    } else if counted.starts_with("0/") && open.session.outcome == Outcome::Clear && open.mails == 0
    {
        open.session.outcome = Outcome::Failed;
        open.session.upgrade = Upgrade::Refused;
    } else if open.is_wrapped && !open.has_tls && open.session.outcome == Outcome::Clear {
        open.session
            .encrypted(Outcome::Encrypted, &teller.ratings.rate("", ""));
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
