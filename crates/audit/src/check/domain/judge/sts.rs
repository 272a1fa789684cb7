//! MTA-STS: the record, the file behind it, and whether every mail host keeps what the policy says (RFC 8461).

use gatepost_trust::dns::Name;
use gatepost_trust::mta_sts::{Mode, Policy};

use super::Case;
use super::live::{Live, complaint, live};
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::facts::{DomainFacts, Fetch};
use crate::check::domain::sts::{self, oddities};
use crate::finding::Severity;

/// The least `max_age` that protects: a day.
const SHORT: u64 = 86_400;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut tallies = [
        Tally::new("STS-001"),
        Tally::new("STS-002"),
        Tally::new("STS-003"),
        Tally::new("STS-004"),
        Tally::new("STS-005"),
        Tally::new("STS-006"),
    ];
    let [record, fetch, syntax, strength, hosts, change] = &mut tallies;
    let facts = case.facts;
    if facts.takes_no_mail() {
        record.moot("the domain takes no mail");
    } else if the_record(facts, record) {
        the_file(facts, fetch, syntax);
        the_change(facts, change);
        if let Some(policy) = case.policy() {
            the_strength(facts, &policy, strength);
            the_hosts(case, &policy, hosts);
        } else {
            for tally in [strength, hosts] {
                match &facts.sts.policy.fetch {
                    Fetch::Unknown { why } => {
                        tally.missing(format!("{}: {why}", facts.sts.policy.url), 1);
                    }
                    _ => tally.moot("there is no policy that counts"),
                }
            }
        }
    } else if facts.sts.record.is_known() {
        for tally in [fetch, syntax, strength, hosts, change] {
            tally.moot("there is no record that counts");
        }
    } else {
        for tally in [fetch, syntax, strength, hosts, change] {
            tally.stuck(&format!("_mta-sts.{}", facts.domain), &facts.sts.record);
        }
    }
    tallies.into_iter().filter_map(Tally::finish).collect()
}

/// What to publish.
fn publish(facts: &DomainFacts) -> String {
    let id = facts.at;
    let mx = facts.exchanges().iter().fold(String::new(), |text, host| {
        text + &format!("\n  mx: {host}")
    });
    let domain = &facts.domain;
    format!(
        "serve at https://mta-sts.{domain}/.well-known/mta-sts.txt, then publish _mta-sts.{domain}. TXT \"v=STSv1; id={id}\":\n  version: STSv1\n  mode: testing{mx}\n  \
         max_age: 86400"
    )
}

/// [STS-01] True when senders find a policy by it.
fn the_record(facts: &DomainFacts, tally: &mut Tally) -> bool {
    let owner = format!("_mta-sts.{}", facts.domain);
    let told = &facts.sts.record;
    if tally.stuck(&owner, told) {
        return false;
    }
    let one = format!(
        "exactly one record: {owner}. TXT \"v=STSv1; id={}\"",
        facts.at
    );
    match sts::read(told) {
        Ok(Some(id)) => {
            let by = told.aliases.last().map(|to| format!(" (at {to})"));
            tally.pass(format!("id {id}{}", by.unwrap_or_default()));
            return true;
        }
        Err(error) => tally.fail(
            Severity::High,
            format!("{owner}: {error}: no sender takes it"),
            one,
        ),
        Ok(None) => {
            let meant = told
                .records
                .iter()
                .find(|it| it.to_ascii_lowercase().contains("stsv1"));
            match meant {
                Some(text) => tally.fail(
                    Severity::High,
                    format!("{owner}: {text:?} does not begin with \"v=STSv1;\": no sender takes it"),
                    one,
                ),
                None => tally.warn(
                    Severity::Medium,
                    "there is no policy: senders without DANE cannot know that TLS is to be expected here",
                    publish(facts),
                ),
            }
        }
    }
    false
}

/// [STS-02] [STS-12] what came, and how
fn the_file(facts: &DomainFacts, fetch: &mut Tally, syntax: &mut Tally) {
    let (url, domain) = (&facts.sts.policy.url, &facts.domain);
    match &facts.sts.policy.fetch {
        Fetch::Came { media, body } => {
            match media.as_deref() {
                Some("text/plain") => fetch.pass(format!("{url}: {} octets", body.len())),
                other => fetch.warn(
                    Severity::Low,
                    format!(
                        "{url} comes as {}, not as text/plain: some senders refuse it",
                        other.unwrap_or("nothing named")
                    ),
                    "Content-Type: text/plain",
                ),
            }
            the_text(facts, body, syntax);
        }
        Fetch::Failed { why, .. } => {
            fetch.fail(
                Severity::High,
                format!("{url}: {why}: the policy does not count"),
                format!("serve the file at {url} itself, without redirect, with status 200 and a certificate for mta-sts.{domain}"),
            );
            syntax.moot("no file came");
        }
        Fetch::Unknown { why } => {
            fetch.missing(format!("{url}: {why}"), 1);
            syntax.missing(format!("{url}: {why}"), 1);
        }
        Fetch::Unasked => {
            fetch.missing("nobody asked", 1);
            syntax.missing("nobody asked", 1);
        }
    }
}

/// [STS-03]
fn the_text(facts: &DomainFacts, body: &str, tally: &mut Tally) {
    match Policy::parse(body.as_bytes()) {
        Ok(_) => {
            let odd = oddities(body);
            if odd.is_empty() {
                tally.pass("every line is known");
            }
            for odd in odd {
                tally.warn(
                    Severity::Medium,
                    odd,
                    "version, mode, max_age and mx lines with host names only; then a new id",
                );
            }
        }
        Err(error) => {
            let odd = oddities(body);
            let hint = odd.first().map(|it| format!(" ({it})")).unwrap_or_default();
            tally.fail(
                Severity::High,
                format!("{error}{hint}: no sender takes the policy"),
                publish(facts),
            );
        }
    }
}

fn the_strength(facts: &DomainFacts, policy: &Policy, tally: &mut Tally) {
    let domain = &facts.domain;
    let new_id = format!("and a new id at _mta-sts.{domain}");
    match policy.mode {
        Mode::Enforce => tally.pass("mode enforce"),
        Mode::Testing => tally.warn(
            Severity::Low,
            "mode testing: failures are reported, mail goes on without verified TLS",
            format!("when the reports are clean: mode: enforce, {new_id}"),
        ),
        Mode::None => tally.warn(
            Severity::Medium,
            "mode none: as if there were no policy",
            format!("mode: testing, then enforce, {new_id}"),
        ),
    }
    let seconds = policy.max_age.as_secs();
    if seconds < SHORT && policy.mode != Mode::None {
        tally.warn(
            Severity::Low,
            format!("max_age {seconds}: kept for less than a day, an attacker only has to wait"),
            format!("max_age: 604800 or more, {new_id}"),
        );
    }
}

/// [STS-06] every host is named, offers TLS and shows a certificate authorities vouch for
fn the_hosts(case: &Case<'_>, policy: &Policy, tally: &mut Tally) {
    let severity = match policy.mode {
        Mode::Enforce => Severity::Critical,
        Mode::Testing => Severity::Medium,
        Mode::None => return tally.moot("mode none"),
    };
    let lost = match policy.mode {
        Mode::Enforce => "senders that know MTA-STS do not deliver there",
        _ => "with mode enforce senders would not deliver there",
    };
    if case.facts.exchanges().is_empty() {
        tally.stuck("the MX records", &case.facts.mx);
    }
    for host in case.facts.exchanges() {
        let listed = host.parse::<Name>().is_ok_and(|name| policy.lists(&name));
        if !listed {
            tally.fail(
                severity,
                format!("{host} is in MX, and not in the policy: {lost}"),
                format!("add to the policy: mx: {host}, and a new id; or take the MX record out"),
            );
            continue;
        }
        let Some(known) = case.facts.host(&host) else {
            tally.missing(format!("{host} was not looked at"), 1);
            continue;
        };
        tally.stuck_addresses(&host, known);
        for address in known.examined() {
            let Some(service) = case.seen(&host, 25).find(|it| it.target.address == address) else {
                tally.missing(format!("{host} ({address}) was not looked at"), 1);
                continue;
            };
            let place = service.target.to_string();
            match live(service) {
                Live::Tls(handshake) if handshake.verified.is_some() => tally.pass(format!("{place}: verified")),
                Live::Tls(handshake) => tally.fail(
                    severity,
                    format!("{place}: {}: {lost}", complaint(handshake)),
                    format!("a certificate for {host} from an authority everybody knows, with its whole chain"),
                ),
                Live::NoTls(why) => tally.fail(severity, format!("{place}: {why}: {lost}"), "offer STARTTLS on port 25"),
                Live::Closed => tally.missing(format!("{place}: the port is closed"), 1),
                Live::Unknown(why, missing) => tally.missing(format!("{place}: {why}"), missing),
            }
        }
    }
}

/// [STS-11] the id changes with the file, and only then
fn the_change(facts: &DomainFacts, tally: &mut Tally) {
    let Some(earlier) = &facts.sts.earlier else {
        return tally.moot("there is no earlier run to compare with");
    };
    let (Some(id), Fetch::Came { body, .. }) =
        (sts::id(&facts.sts.record), &facts.sts.policy.fetch)
    else {
        return tally.missing("the policy could not be fetched now", 1);
    };
    match (id == earlier.id, *body == earlier.body) {
        (true, true) => tally.pass("neither id nor policy changed"),
        (false, false) => tally.pass("id and policy changed together"),
        (true, false) => tally.fail(
            Severity::Medium,
            format!("the policy changed, the id is still {id}: senders keep the old one"),
            format!(
                "a new id: _mta-sts.{}. TXT \"v=STSv1; id={}\"",
                facts.domain, facts.at
            ),
        ),
        (false, true) => tally.warn(
            Severity::Low,
            format!(
                "the id changed from {} to {id}, the policy did not",
                earlier.id
            ),
            "change the id only with the file",
        ),
    }
}
