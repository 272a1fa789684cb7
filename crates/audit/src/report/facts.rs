//! What was seen of a service, in a few lines for people: the same on a terminal and on a page.

use crate::check::facts::{Capabilities, Facts, Handshake, Reach, Seen};
use crate::check::life::{leaf, seconds};
use crate::shown::date;

/// Lines: what it is about, and what was seen. Words of the server are as it said them; the caller makes them harmless.
#[must_use]
pub fn lines(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut lines = vec![("reached", reach(&facts.reach))];
    if let Some(why) = &facts.stopped {
        lines.push(("stopped", why.clone()));
    }
    add(&mut lines, "greeting", &facts.greeting, |it| {
        it.text.clone()
    });
    add(&mut lines, "in clear", &facts.clear, words);
    add(&mut lines, facts.target.command(), &facts.start_tls, |it| {
        let taken = match it.accepted {
            Some(true) => ", accepted",
            Some(false) => ", refused",
            None => "",
        };
        let offered = if it.offered { "offered" } else { "not offered" };
        format!("{offered}{taken}")
    });
    add(&mut lines, "TLS", &facts.handshake, handshake);
    if let Some(failed) = &facts.handshake_failed {
        lines.push(("TLS failed", failed.text.clone()));
    }
    if let Some(text) = certificate(facts) {
        lines.push(("certificate", text));
    }
    add(&mut lines, "inside TLS", &facts.encrypted, words);
    lines
}

fn add<T>(
    lines: &mut Vec<(&'static str, String)>,
    label: &'static str,
    seen: &Seen<T>,
    say: impl Fn(&T) -> String,
) {
    match seen {
        Seen::Known(it) => lines.push((label, say(it))),
        Seen::Unknown { why, .. } => lines.push((label, format!("could not be told: {why}"))),
        Seen::Unasked => {}
    }
}

fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Connected { milliseconds } => format!("connected in {milliseconds} ms"),
        Reach::Refused => "the port is closed".to_owned(),
        Reach::Silent => "no answer".to_owned(),
        Reach::Unreachable { why } => format!("no way there: {why}"),
    }
}

fn words(capabilities: &Capabilities) -> String {
    if capabilities.words.is_empty() {
        "nothing".to_owned()
    } else {
        capabilities.words.join(", ")
    }
}

fn handshake(it: &Handshake) -> String {
    let mut parts = vec![it.version.clone(), it.suite.clone()];
    parts.extend(it.group.clone());
    parts.extend(it.alpn.as_ref().map(|name| format!("ALPN {name}")));
    parts.push(
        it.verified
            .as_ref()
            .map_or_else(|| "Encrypted".to_owned(), |by| format!("Verified ({by})")),
    );
    parts.join(", ")
}

fn certificate(facts: &Facts) -> Option<String> {
    /// Names shown; some certificates hold a thousand.
    const MOST: usize = 6;
    let it = leaf(facts)?;
    let mut names = it
        .names
        .iter()
        .take(MOST)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if it.names.len() > MOST {
        names.push_str(&format!(" and {} more", it.names.len() - MOST));
    }
    let (from, to) = (date(seconds(it.not_before)), date(seconds(it.not_after)));
    Some(format!("{names}; from {}; {from} to {to}", it.issuer))
}

/// The facts of this target, if they are there.
#[must_use]
pub fn of<'a>(facts: &'a [Facts], target: &crate::check::target::Target) -> Option<&'a Facts> {
    facts.iter().find(|it| it.target == *target)
}
