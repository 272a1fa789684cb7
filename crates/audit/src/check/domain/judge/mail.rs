//! What receivers of the domain's mail look at: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 9989). Presence and form, not delivery.

use super::Case;
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::dkim;
use crate::check::domain::facts::{Denied, DomainFacts, SpfLookup};
use crate::check::domain::spf;
use crate::check::domain::tags;
use crate::finding::Severity;

/// The most lookups of one evaluation (RFC 7208 4.6.4).
const MOST: usize = 10;
/// The most of them that may come to nothing (RFC 7208 4.6.4).
const MOST_VOID: usize = 2;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut tallies = [
        Tally::new("SPF-001"),
        Tally::new("SPF-002"),
        Tally::new("SPF-003"),
        Tally::new("DKIM-001"),
        Tally::new("DMARC-001"),
        Tally::new("DMARC-002"),
    ];
    let [presence, limits, end, keys, record, policy] = &mut tallies;
    sender_policy(case.facts, presence, limits, end);
    signatures(case.facts, keys);
    dmarc(case.facts, record, policy);
    tallies.into_iter().filter_map(Tally::finish).collect()
}

fn records(lookup: &SpfLookup) -> Vec<&String> {
    lookup
        .told
        .records
        .iter()
        .filter(|it| spf::is_record(it))
        .collect()
}

fn sender_policy(facts: &DomainFacts, presence: &mut Tally, limits: &mut Tally, end: &mut Tally) {
    let domain = &facts.domain;
    let Some(first) = facts.spf.first() else {
        for tally in [presence, limits, end] {
            tally.unknown("nobody asked");
        }
        return;
    };
    if presence.stuck(domain, &first.told) {
        limits.stuck(domain, &first.told);
        end.stuck(domain, &first.told);
        return;
    }
    let publish = if facts.takes_no_mail() {
        format!("{domain}. TXT \"v=spf1 -all\" if the domain sends nothing")
    } else {
        format!("{domain}. TXT \"v=spf1 mx -all\" (and whoever else sends for the domain)")
    };
    match records(first).as_slice() {
        [] => presence.warn(
            Severity::Medium,
            "there is no SPF record: anybody may send in the domain's name",
            publish,
        ),
        [one] => {
            presence.pass((*one).clone());
            walk(facts, limits);
            last_word(facts, one, domain, end);
        }
        more => presence.fail(
            Severity::Medium,
            format!("{} SPF records: receivers take none of them", more.len()),
            format!("one record at {domain} that says all"),
        ),
    }
    limits.otherwise("there is no SPF record that counts");
    end.otherwise("there is no SPF record that counts");
}

/// Form and cost of the record and of all it includes.
fn walk(facts: &DomainFacts, tally: &mut Tally) {
    let asked = facts.spf.len().saturating_sub(1);
    for lookup in &facts.spf {
        let is_text = lookup.term.is_empty()
            || lookup.term.contains("include:")
            || lookup.term.starts_with("redirect=");
        if !is_text || !lookup.told.is_known() {
            continue;
        }
        match records(lookup).as_slice() {
            [text] => {
                if let Err(term) = spf::read(text, &lookup.name) {
                    tally.fail(
                        Severity::Medium,
                        format!(
                            "{}: {term:?} cannot be read: receivers take the record for broken",
                            lookup.name
                        ),
                        format!("correct {term:?} at {}", lookup.name),
                    );
                }
            }
            found if !lookup.term.is_empty() => tally.fail(
                Severity::Medium,
                format!(
                    "{}: {} leads to {} SPF records, not one: receivers take the record for broken",
                    lookup.by,
                    lookup.term,
                    found.len()
                ),
                format!(
                    "take {} out of the record of {}, or publish one record at {}",
                    lookup.term, lookup.by, lookup.name
                ),
            ),
            _ => (),
        }
    }
    let void: Vec<&str> = facts
        .spf
        .iter()
        .skip(1)
        .filter(|it| it.told.is_absent())
        .map(|it| it.term.as_str())
        .collect();
    if asked > MOST {
        tally.fail(
            Severity::Medium,
            format!("{asked} lookups; beyond {MOST} receivers take the record for broken"),
            "put addresses (ip4, ip6) in place of include, a and mx; take out what no longer sends",
        );
    }
    if void.len() > MOST_VOID {
        tally.fail(
            Severity::Medium,
            format!("{} lookups lead nowhere ({}); beyond {MOST_VOID} receivers take the record for broken", void.len(), void.join(", ")),
            format!("take out: {}", void.join(", ")),
        );
    }
    for lookup in facts.spf.iter().skip(1) {
        // What depends on the message was not asked, and costs its lookup all the same.
        if lookup.told.bogus().is_some()
            || !lookup.name.is_empty()
                && matches!(
                    &lookup.told.standing,
                    crate::check::domain::facts::Standing::Unknown(_)
                )
        {
            tally.stuck(&format!("{} ({})", lookup.name, lookup.term), &lookup.told);
        }
    }
    tally.otherwise_pass(format!("{asked} of {MOST} lookups"));
}

/// What becomes of mail from elsewhere.
fn last_word(facts: &DomainFacts, text: &str, domain: &str, tally: &mut Tally) {
    let (mut text, mut domain) = (text, domain);
    for _ in 0..MOST {
        let Ok(record) = spf::read(text, domain) else {
            return tally.moot("the record cannot be read");
        };
        if !record.redirects {
            return qualifier(record.all, tally);
        }
        let next = facts
            .spf
            .iter()
            .find(|it| it.by == domain && it.term.starts_with("redirect="));
        let Some(next) = next else {
            return tally.unknown("where the record leads was not asked");
        };
        if tally.stuck(&next.name, &next.told) {
            return;
        }
        let found = records(next);
        let [one] = found.as_slice() else {
            return tally.moot("the record leads to none");
        };
        (text, domain) = (one, &next.name);
    }
    tally.moot("the records lead in a circle");
}

fn qualifier(all: Option<char>, tally: &mut Tally) {
    match all {
        Some('-') => tally.pass("-all: mail from elsewhere fails"),
        Some('~') => tally.warn(
            Severity::Low,
            "~all: mail from elsewhere is marked, not refused",
            "-all, once every sender stands in the record; with DMARC p=reject ~all does, too",
        ),
        Some('?') => tally.fail(
            Severity::Medium,
            "?all: the record says nothing about mail from elsewhere",
            "-all or ~all at the end",
        ),
        Some(_) => tally.fail(
            Severity::Medium,
            "+all: anybody may send in the domain's name",
            "-all at the end",
        ),
        None => tally.fail(
            Severity::Medium,
            "without all at the end the record says nothing about mail from elsewhere",
            "-all or ~all at the end",
        ),
    }
}

fn signatures(facts: &DomainFacts, tally: &mut Tally) {
    let base = format!("_domainkey.{}", facts.domain);
    for (selector, told) in &facts.dkim.selectors {
        let owner = format!("{selector}.{base}");
        if tally.stuck(&owner, told) {
            continue;
        }
        match told.records.as_slice() {
            [] => tally.fail(
                Severity::Low,
                format!("{owner}: there is no key: what is signed with it fails"),
                format!("{owner}. TXT \"v=DKIM1; k=rsa; p=…\" from the program that signs"),
            ),
            [text] => match dkim::read(text) {
                Ok(key) => key.judge(&owner, tally),
                Err(why) => tally.fail(
                    Severity::Medium,
                    format!("{owner}: {why}"),
                    format!("the key of the program that signs, at {owner}"),
                ),
            },
            more => tally.fail(
                Severity::Low,
                format!(
                    "{owner}: {} records; which one counts is anybody's guess",
                    more.len()
                ),
                format!("one record at {owner}"),
            ),
        }
    }
    if !facts.dkim.selectors.is_empty() || tally.stuck(&base, &facts.dkim.below) {
        return;
    }
    if facts.dkim.below.denied == Some(Denied::NoName) {
        tally.warn(
            Severity::Low,
            format!("nothing stands below {base}: mail of the domain is not signed"),
            format!("sign outgoing mail, and publish the key: SELECTOR.{base}. TXT \"v=DKIM1; k=rsa; p=…\""),
        );
    } else {
        tally.pass(format!(
            "there are names below {base}; name selectors to look at keys"
        ));
    }
}

/// Whether a text is a DMARC record.
fn is_dmarc(text: &str) -> bool {
    let rest = text.trim_start().strip_prefix("v=DMARC1");
    rest.is_some_and(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with(';'))
}

fn dmarc(facts: &DomainFacts, record: &mut Tally, policy: &mut Tally) {
    let domain = &facts.domain;
    let publish = format!(
        "_dmarc.{domain}. TXT \"v=DMARC1; p=none; rua=mailto:dmarc@{domain}\", then p=quarantine, then p=reject"
    );
    for (place, step) in facts.dmarc.iter().enumerate() {
        let owner = format!("_dmarc.{}", step.domain);
        if record.stuck(&owner, &step.told) {
            policy.stuck(&owner, &step.told);
            return;
        }
        let found: Vec<&String> = step.told.records.iter().filter(|it| is_dmarc(it)).collect();
        match found.as_slice() {
            [] if place == 0
                && step
                    .told
                    .records
                    .iter()
                    .any(|it| it.to_ascii_lowercase().contains("dmarc1")) =>
            {
                record.fail(
                    Severity::Medium,
                    format!("{owner}: the record does not begin with v=DMARC1;"),
                    publish,
                );
                return policy.moot("there is no record that counts");
            }
            [] => (),
            [text] => {
                one_record(&owner, text, place > 0, record, policy);
                return;
            }
            more => {
                record.fail(
                    Severity::Medium,
                    format!("{owner}: {} records: receivers take none", more.len()),
                    format!("one record at {owner}"),
                );
                return policy.moot("there is no record that counts");
            }
        }
    }
    if facts.dmarc.is_empty() {
        record.unknown("nobody asked");
        policy.unknown("nobody asked");
        return;
    }
    record.warn(
        Severity::Medium,
        "there is no DMARC record: nobody is told what to do with forged mail",
        publish,
    );
    policy.moot("there is no record");
}

fn one_record(owner: &str, text: &str, inherited: bool, record: &mut Tally, policy: &mut Tally) {
    let broken = |why: String| {
        (
            format!("{owner}: {why}"),
            format!("{owner}. TXT \"v=DMARC1; p=…; rua=mailto:…\""),
        )
    };
    let Some(tags) = tags::read(text) else {
        let (said, fix) = broken("it is not tags of name=value with semicolons between".into());
        record.fail(Severity::Medium, said, fix);
        return policy.moot("the record cannot be read");
    };
    if let Some(tag) = tags::twice(&tags) {
        let (said, fix) = broken(format!("{tag} stands twice"));
        record.fail(Severity::Medium, said, fix);
    }
    let known = ["none", "quarantine", "reject"];
    let own = tags::value(&tags, "p");
    let wanted = if inherited {
        tags::value(&tags, "sp").or(own)
    } else {
        own
    };
    let bad = ["p", "sp", "np"].into_iter().find_map(|tag| {
        let value = tags::value(&tags, tag)?;
        (!known.contains(&value.to_ascii_lowercase().as_str()))
            .then(|| format!("{tag}={value} is none of none, quarantine, reject"))
    });
    if let Some(why) = bad {
        let (said, fix) = broken(why);
        record.fail(Severity::Medium, said, fix);
    }
    if tags::value(&tags, "rua").is_none() {
        record.warn(
            Severity::Low,
            format!("{owner}: nobody gets reports (rua), so nobody learns who forges, and what of the domain's own mail fails"),
            format!("{owner}. TXT \"{text}; rua=mailto:dmarc@{}\"", owner.trim_start_matches("_dmarc.")),
        );
    }
    record.otherwise_pass(format!("{owner}: {text}"));
    let (word, is_test) = (
        wanted.unwrap_or("none").to_ascii_lowercase(),
        tags::value(&tags, "t") == Some("y"),
    );
    match word.as_str() {
        _ if is_test => policy.warn(
            Severity::Low,
            format!("{owner}: t=y: a test, receivers do less than {word}"),
            "take t=y out when the reports are clean",
        ),
        "quarantine" | "reject" => policy.pass(format!("{owner}: {word}")),
        "none" => policy.warn(
            Severity::Medium,
            format!("{owner}: none: forged mail is delivered"),
            "p=quarantine, then p=reject, once the reports show that the domain's own mail passes",
        ),
        _ => policy.moot("the policy cannot be read"),
    }
}
