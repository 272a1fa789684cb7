//! Exim's main log: one line for each message taken in (`<=`) and given on (`=>`, `->`), with `P=`, `X=`, `A=`; and lines about TLS that failed.

use std::net::IpAddr;
use std::sync::Arc;

use super::ratings::Rating;
use super::time::{civil_time, nanoseconds};
use super::{Logged, Teller, behind};
use crate::watch::event::Outcome;
use crate::watch::login::Ending;
use crate::watch::notes::Protocol;

/// `2026-11-26 18:00:00 ` at the head of a line, with or without a fraction and a zone behind it.
pub(super) fn time(line: &str) -> Option<(u64, &str)> {
    let (date, rest) = line.split_once(' ')?;
    let (clock, rest) = rest.split_once(' ')?;
    let is_date = date.len() == 10 && date.as_bytes().get(4) == Some(&b'-');
    let is_clock = clock.as_bytes().get(2) == Some(&b':');
    (is_date && is_clock).then_some(())?;
    let seconds = civil_time(date.as_bytes(), clock.as_bytes().get(..8)?)?;
    let zone = rest
        .strip_prefix(['+', '-'])
        .and_then(|it| it.split_once(' '));
    let rest = zone.map_or(rest, |it| it.1);
    Some((nanoseconds(seconds)?, rest))
}

pub(super) fn read(text: &str, teller: &mut Teller) -> bool {
    let host = host(text);
    for (mark, id, evidence) in [
        (
            "TLS error on connection from ",
            "W303",
            "the handshake failed",
        ),
        (
            "TLS error on connection to ",
            "W303",
            "the handshake failed",
        ),
        ("TLS session: ", "W303", "the handshake failed"),
        (
            "delivering unencrypted to ",
            "W309",
            "TLS failed, and the mail was delivered in clear",
        ),
        (
            "DANE attempt failed; ",
            "W505",
            "DANE did not verify the server",
        ),
    ] {
        if behind(text, mark).is_some() {
            let mut session = Logged::new(Protocol::Smtp, host);
            session.outcome = Outcome::Failed;
            teller.finding(id, &session, evidence);
            return true;
        }
    }
    let words: Vec<&str> = text.split(' ').collect();
    let direction = words.get(1).copied().unwrap_or_default();
    match direction {
        "<=" => taken_in(&words, host, teller),
        "=>" | "->" => given_on(&words, host, teller),
        _ => return false,
    }
    true
}

/// The address in `H=name (helo) [192.0.2.1]:25`.
fn host(text: &str) -> Option<IpAddr> {
    let (_, rest) = text
        .split_once("H=")
        .or_else(|| text.split_once(" from "))?;
    let (_, rest) = rest.split_once('[')?;
    rest.split(']').next()?.parse().ok()
}

fn value<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|it| it.strip_prefix(key))
}

fn tls(words: &[&str], teller: &mut Teller) -> Option<Arc<Rating>> {
    let mut parts = value(words, "X=")?.split(':');
    let version = parts.next().unwrap_or_default();
    Some(
        teller
            .ratings
            .rate(version, parts.next().unwrap_or_default()),
    )
}

fn taken_in(words: &[&str], host: Option<IpAddr>, teller: &mut Teller) {
    let protocol = value(words, "P=").unwrap_or_default();
    let Some(host) = host.filter(|_| protocol.contains("smtp")) else {
        return;
    };
    let mut session = Logged::new(Protocol::Smtp, Some(host));
    if let Some(rating) = tls(words, teller) {
        let at_once = protocol.starts_with("smtps") || protocol.starts_with("ssmtp");
        session.encrypted(
            if at_once {
                Outcome::Encrypted
            } else {
                Outcome::Upgraded
            },
            &rating,
        );
        teller.faults(&session, &rating);
    } else {
        if let Some(login) = value(words, "A=") {
            // `A=driver:name`; the driver's name is the administrator's choice.
            let (driver, user) = login.split_once(':').unwrap_or((login, ""));
            let mechanism = ["cram", "login", "digest", "scram", "ntlm"]
                .into_iter()
                .find(|it| driver.to_ascii_lowercase().contains(it));
            let mechanism = match mechanism {
                Some("cram") => "CRAM-MD5",
                Some("digest") => "DIGEST-MD5",
                Some("scram") => "SCRAM-SHA-256",
                Some("ntlm") => "NTLM",
                Some("login") => "LOGIN",
                _ => "PLAIN",
            };
            teller.login(&mut session, mechanism, user, Ending::Accepted);
        }
        session.in_clear[1] = 1;
        teller.finding("W202", &session, "a mail was taken in without TLS");
    }
    teller.session(session);
}

fn given_on(words: &[&str], host: Option<IpAddr>, teller: &mut Teller) {
    let Some(host) = host else {
        return;
    };
    let mut session = Logged::new(Protocol::Smtp, None);
    session.server = Some((host, 25));
    if let Some(rating) = tls(words, teller) {
        session.encrypted(Outcome::Upgraded, &rating);
        teller.faults(&session, &rating);
        if value(words, "CV=") == Some("no") {
            // Opportunistic: told in the session, no finding.
            return teller.session(session);
        }
    } else {
        session.in_clear[1] = 1;
        teller.finding("W202", &session, "a mail was delivered without TLS");
    }
    teller.session(session);
}
