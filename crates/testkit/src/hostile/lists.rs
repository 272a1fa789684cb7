//! The attacks, by protocol.
//!
//! Each list opens with the honest server, so that a client that refuses everything is noticed.

use super::{Attack, Turn};

mod imap;
mod pop3;
mod sieve;
mod smtp;

pub use imap::imap;
pub use pop3::pop3;
pub use sieve::sieve;
pub use smtp::smtp;

fn say(text: impl AsRef<[u8]>) -> Turn {
    Turn::Say(text.as_ref().to_vec())
}

fn attack(name: impl Into<String>, turns: Vec<Turn>, ends: &[&'static str]) -> Attack {
    Attack {
        name: name.into(),
        turns,
        ends: ends.to_vec(),
    }
}

/// Turns, then the honest rest inside TLS.
fn then(mut turns: Vec<Turn>, inside: &[Turn]) -> Vec<Turn> {
    turns.push(Turn::Tls);
    turns.extend_from_slice(inside);
    turns
}

/// The same words stalled, cut off and flooded at each turn: what every protocol must stand.
fn troubles(name: &str, turns: &[Turn], floods: &[&[u8]]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for at in 0..turns.len() {
        if turns[at] == Turn::Tls {
            continue;
        }
        let before = || turns[..at].to_vec();
        let with = |turn: Turn| {
            let mut turns = before();
            turns.push(turn);
            turns
        };
        let stalled = ["E-TIMEOUT", "E-NO-GREETING"];
        attacks.push(attack(
            format!("{name}: silence at turn {at}"),
            with(Turn::Silence),
            &stalled,
        ));
        attacks.push(attack(
            format!("{name}: closed at turn {at}"),
            with(Turn::End(true)),
            &["E-CLOSED"],
        ));
        attacks.push(attack(
            format!("{name}: cut at turn {at}"),
            with(Turn::End(false)),
            &["E-TRUNCATED"],
        ));
        if let Turn::Say(text) = &turns[at] {
            let half = Turn::Say(text[..text.len() - 1].to_vec());
            let mut turns = with(half.clone());
            turns.push(Turn::Silence);
            attacks.push(attack(
                format!("{name}: half a line at turn {at}"),
                turns,
                &stalled,
            ));
            let mut turns = with(half);
            turns.push(Turn::End(false));
            attacks.push(attack(
                format!("{name}: cut within turn {at}"),
                turns,
                &["E-TRUNCATED"],
            ));
        }
        for flood in floods {
            let name = format!("{name}: flood of {} octets at turn {at}", flood.len());
            attacks.push(attack(
                name,
                with(say(flood)),
                &["E-TOO-MUCH", "E-PROTOCOL"],
            ));
        }
    }
    attacks
}
