//! Gatepost's own log: one line for each session, an object in JSON or words for people.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{Logged, Teller};
use crate::watch::event::Outcome;
use crate::watch::login::Ending;
use crate::watch::notes::Protocol;

/// What a line says of its session.
struct Line<'a> {
    time: Cow<'a, str>,
    service: Cow<'a, str>,
    client: Option<IpAddr>,
    /// Version and suite; none: in clear to its end.
    tls: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// Account and mechanism.
    login: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// Taken in and given out.
    messages: [u32; 2],
    end: Cow<'a, str>,
}

pub(super) fn read_json(line: &str, teller: &mut Teller) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(line) else {
        return false;
    };
    let text = |it: &Value, key: &str| {
        let text = it.get(key).and_then(Value::as_str);
        text.map(|it| Cow::Owned(it.to_owned()))
    };
    if text(&value, "kind").as_deref() != Some("session") {
        return false;
    }
    let word = |key| text(&value, key).unwrap_or_default();
    let count = |key: &str| {
        let count = value.get(key).and_then(Value::as_u64).unwrap_or_default();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let tls = value.get("tls").filter(|it| !it.is_null());
    let facts = |it: &Value| ["version", "suite"].map(|key| text(it, key).unwrap_or_default());
    let line = Line {
        time: word("time"),
        service: word("service"),
        client: text(&value, "client").and_then(|it| it.parse().ok()),
        tls: tls.map(facts).map(|[version, suite]| (version, suite)),
        login: text(&value, "account").map(|account| (account, word("mechanism"))),
        messages: ["messages_in", "messages_out"].map(count),
        end: word("end"),
    };
    tell(&line, teller)
}

/// `TIME SERVICE CLIENT Encrypted VERSION SUITE GROUP … ACCOUNT MECHANISM … messages=IN/OUT octets=IN/OUT SECONDS END`. A line of another program
/// has another second word.
pub(super) fn read_words(line: &str, teller: &mut Teller) -> bool {
    words(line).is_some_and(|line| tell(&line, teller))
}

fn words(line: &str) -> Option<Line<'_>> {
    let mut words = line.split(' ').peekable();
    let (time, service) = (words.next()?, words.next()?);
    protocol(service)?;
    let client: SocketAddr = words.next()?.parse().ok()?;
    let tls = match words.next()? {
        "Clear" => None,
        "Encrypted" => {
            let facts = (words.next()?.into(), words.next()?.into());
            // The group.
            words.next()?;
            Some(facts)
        }
        _ => return None,
    };
    while words
        .next_if(|it| it.starts_with("sni=") || it.starts_with("alpn=") || *it == "resumed")
        .is_some()
    {}
    let is_next = |it: &&str| {
        let next = ["upstream=", "login_failures=", "messages="];
        !next.iter().any(|word| it.starts_with(word))
    };
    let login = match words.next_if(is_next) {
        Some(account) => Some((account.into(), words.next()?.into())),
        None => None,
    };
    let mut rest = words.skip_while(|it| !it.starts_with("messages="));
    let (taken_in, given_out) = rest.next()?.strip_prefix("messages=")?.split_once('/')?;
    // Octets and seconds.
    let mut rest = rest.skip(2);
    Some(Line {
        time: time.into(),
        service: service.into(),
        client: Some(client.ip().to_canonical()),
        tls,
        login,
        messages: [taken_in.parse().ok()?, given_out.parse().ok()?],
        end: rest.next()?.into(),
    })
}

fn protocol(service: &str) -> Option<Protocol> {
    Some(match service {
        "imap" | "imaps" => Protocol::Imap,
        "pop3" | "pop3s" => Protocol::Pop3,
        "sieve" | "sieves" => Protocol::Sieve,
        "smtp" | "smtps" | "submission" | "submissions" => Protocol::Smtp,
        _ => return None,
    })
}

fn tell(line: &Line<'_>, teller: &mut Teller) -> bool {
    let Some(protocol) = protocol(&line.service) else {
        return false;
    };
    teller.time = super::time::iso_time(&line.time).unwrap_or_default();
    let mut session = Logged::new(protocol, line.client);
    match &line.tls {
        Some((version, suite)) => {
            let at_once = line.service.ends_with('s');
            let outcome = if at_once {
                Outcome::Encrypted
            } else {
                Outcome::Upgraded
            };
            let rating = teller.ratings.rate(version, suite);
            session.encrypted(outcome, &rating);
            teller.faults(&session, &rating);
        }
        None => in_clear(line, &mut session, teller),
    }
    teller.session(session);
    true
}

fn in_clear(line: &Line<'_>, session: &mut Logged, teller: &mut Teller) {
    if let Some((account, mechanism)) = &line.login {
        teller.login(session, mechanism, account, Ending::Accepted);
    }
    let [taken_in, given_out] = line.messages;
    session.in_clear = [session.in_clear[0], taken_in, given_out];
    if taken_in > 0 {
        let what = format!("{taken_in} mails were taken in without TLS");
        teller.finding("W202", session, what);
    }
    if given_out > 0 {
        let what = format!("{given_out} mails were read without TLS");
        teller.finding("W203", session, what);
    }
    if line.end.contains("injection") {
        teller.finding("W304", session, "commands behind STARTTLS");
    } else if line.end.contains("handshake") {
        session.outcome = Outcome::Failed;
        teller.finding("W303", session, "the handshake failed");
    }
}
