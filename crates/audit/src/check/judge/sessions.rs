//! Sessions: how long tickets hold, early data, and whether a login in clear could survive the upgrade.

use super::{Bench, tls};
use crate::check::facts::{Seen, Ticket};
use crate::check::target::Protocol;
use crate::finding::Severity;

/// The longest a ticket may hold, in seconds: a week (RFC 9846 4.6.1).
const WEEK: u32 = 604_800;

pub(super) fn judge(bench: &mut Bench<'_>) {
    tickets(bench);
    early_data(bench);
    fixation(bench);
}

fn tickets(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    if facts.tickets.is_empty() {
        return;
    }
    let longest = facts.tickets.values().filter_map(Seen::known).flatten();
    let longest = longest.map(|it| it.lifetime).max().unwrap_or_default();
    if longest > WEEK {
        bench.fail("TKT-001", told(bench));
        return;
    }
    let lacks_tls12 = tls::lacks_tls12(bench);
    for (version, seen) in &facts.tickets {
        if lacks_tls12 && version == "tls1.2" {
            continue;
        }
        if bench.answer("TKT-001", seen).is_none() {
            return;
        }
    }
    bench.pass("TKT-001", told(bench));
}

/// What is known, in one line.
fn told(bench: &Bench<'_>) -> String {
    let facts = bench.facts;
    // What is not known is told by itself, or of a version that is not spoken.
    let known = facts
        .tickets
        .iter()
        .filter_map(|(version, seen)| Some((version, seen.known()?)));
    let each = known.map(|(version, ticket)| {
        let lifetime = match ticket {
            Some(Ticket { lifetime: 0, .. }) => "a ticket without a lifetime".to_owned(),
            Some(ticket) => format!("a ticket for {} s", ticket.lifetime),
            None => "no ticket".to_owned(),
        };
        let name = version.replace("tls", "TLS ");
        format!("{name}: {lifetime}")
    });
    let mut words: Vec<String> = each.collect();
    words.extend(facts.resumed.known().map(|it| {
        let text = if *it {
            "taken up again on another connection"
        } else {
            "not taken up again on another connection"
        };
        text.to_owned()
    }));
    words.join("; ")
}

// [NAT-NL-01] early data
fn early_data(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let Some(seen) = facts.tickets.get("tls1.3") else {
        if facts.tickets.contains_key("tls1.2") {
            bench.not_applicable("ZRTT-001", "TLS 1.3 is not spoken");
        }
        return;
    };
    let Some(ticket) = bench.answer("ZRTT-001", seen) else {
        return;
    };
    match ticket.and_then(|it| it.early_data).filter(|it| *it > 0) {
        Some(octets) => bench.fail("ZRTT-001", format!("tickets allow {octets} octets")),
        None => bench.pass("ZRTT-001", "not offered"),
    }
}

/// What can be told of it without a credential: where no login begins in clear, there is none that could survive the upgrade. The same question for
/// SMTP's senders is STLS-007.
fn fixation(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    if !bench.is_starttls() || facts.start_tls.known().and_then(|it| it.accepted) != Some(true) {
        return;
    }
    if facts.target.protocol == Protocol::Sieve {
        return;
    }
    match bench.answer("SFX-001", &facts.login_in_clear) {
        Some(false) => bench.pass("SFX-001", "no login begins in clear, so none can survive"),
        // As grave as the login in clear, which is told by itself.
        Some(true) => {
            bench.inconclusive(
                "SFX-001",
                "a login begins in clear; whether it survives the upgrade cannot be told without a credential",
                1,
            );
            if let Some(check) = bench.checks.last_mut() {
                check.severity = Severity::Medium;
            }
        }
        None => {}
    }
}
