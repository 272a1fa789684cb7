//! Gatepost's own log in JSON: one object for each session.

use serde_json::Value;

use super::{Logged, Teller};
use crate::watch::event::Outcome;
use crate::watch::login::Ending;
use crate::watch::notes::Protocol;

pub(super) fn read(line: &str, teller: &mut Teller) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(line) else {
        return false;
    };
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    if text("kind") != Some("session") {
        return false;
    }
    let service = text("service").unwrap_or_default();
    let protocol = match service {
        it if it.contains("imap") => Protocol::Imap,
        it if it.contains("sieve") => Protocol::Sieve,
        it if it.contains("pop") => Protocol::Pop3,
        it if it.contains("smtp") || it.contains("submission") => Protocol::Smtp,
        _ => return false,
    };
    teller.time = text("time")
        .and_then(super::time::iso_time)
        .unwrap_or_default();
    let mut session = Logged::new(protocol, text("client").and_then(|it| it.parse().ok()));
    let end = text("end").unwrap_or_default();
    if let Some(tls) = value.get("tls").filter(|it| !it.is_null()) {
        let word = |key: &str| tls.get(key).and_then(Value::as_str).unwrap_or_default();
        let at_once = matches!(service, "imaps" | "pop3s" | "submissions" | "smtps");
        let outcome = if at_once {
            Outcome::Encrypted
        } else {
            Outcome::Upgraded
        };
        let rating = teller.ratings.rate(word("version"), word("suite"));
        session.encrypted(outcome, &rating);
        teller.faults(&session, &rating);
    } else {
        if let Some(account) = text("account") {
            teller.login(
                &mut session,
                text("mechanism").unwrap_or_default(),
                account,
                Ending::Accepted,
            );
        }
        let count = |key: &str| {
            let count = value.get(key).and_then(Value::as_u64).unwrap_or_default();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let [taken_in, given_out] = ["messages_in", "messages_out"].map(count);
        session.in_clear = [session.in_clear[0], taken_in, given_out];
        if taken_in > 0 {
            teller.finding(
                "W202",
                &session,
                format!("{taken_in} mails were taken in without TLS"),
            );
        }
        if given_out > 0 {
            teller.finding(
                "W203",
                &session,
                format!("{given_out} mails were read without TLS"),
            );
        }
        if end.contains("injection") {
            teller.finding("W304", &session, "commands behind STARTTLS");
        } else if end.contains("handshake") {
            session.outcome = Outcome::Failed;
            teller.finding("W303", &session, "the handshake failed");
        }
    }
    teller.session(session);
    true
}
