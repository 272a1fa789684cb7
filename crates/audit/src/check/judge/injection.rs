//! What became of commands slipped in behind STARTTLS.

use super::Bench;
use crate::check::facts::{Injection, Seen};
use crate::check::target::Protocol;

pub(super) fn judge(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    if !bench.is_starttls() || facts.start_tls.known().and_then(|it| it.accepted) == Some(false) {
        return;
    }
    let whole = match facts.target.protocol {
        Protocol::Smtp | Protocol::Lmtp => "INJ-001",
        Protocol::Imap => "INJ-002",
        Protocol::Pop3 => "INJ-003",
        Protocol::Sieve => "INJ-004",
    };
    one(bench, whole, &facts.injection);
    one(bench, "INJ-005", &facts.injection_part);
    one(bench, "INJ-006", &facts.injection_bare);
    if let Seen::Known(injection) = &facts.injection {
        match injection {
            Injection::AnsweredInClear { words } => bench.fail("INJ-007", words.clone()),
            _ => bench.pass("INJ-007", "not answered in clear"),
        }
    }
}

fn one<'a>(bench: &mut Bench<'a>, id: &str, seen: &'a Seen<Injection>) {
    match bench.answer(id, seen) {
        Some(Injection::Executed { proof }) => {
            bench.fail(
                id,
                format!("carried out inside TLS; what came back: {proof}"),
            );
        }
        Some(Injection::AnsweredInClear { .. }) => {
            bench.pass(id, "answered in clear, not inside TLS");
        }
        Some(Injection::Refused { how }) => bench.pass(id, format!("refused: {how}")),
        Some(Injection::Discarded) => bench.pass(id, "forgotten at the upgrade"),
        None => {}
    }
}
