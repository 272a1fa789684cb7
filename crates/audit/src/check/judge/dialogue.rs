//! Reachability, greeting, STARTTLS, what is offered and taken in clear.

use super::{Bench, is_connected};
use crate::check::facts::{Capabilities, Greeting, GreetingKind, Reach, Seen, StartTls};
use crate::check::target::{Protocol, Role, Start};
use crate::finding::Severity;

pub(super) fn judge(bench: &mut Bench<'_>) {
    reach(bench);
    if !is_connected(bench.facts) {
        return;
    }
    greeting(bench);
    match bench.facts.target.start {
        Start::StartTls => start_tls(bench),
        Start::Implicit => implicit(bench),
    }
    before_tls(bench);
    inside(bench);
}

fn reach(bench: &mut Bench<'_>) {
    match &bench.facts.reach {
        Reach::Connected { milliseconds } => {
            bench.pass("NET-001", format!("connected in {milliseconds} ms"));
        }
        Reach::Refused => bench.fail("NET-001", "the port is closed: the connection was refused"),
        Reach::Silent => bench.inconclusive(
            "NET-001",
            "no answer at all: a filter on the way, or nobody there",
            1,
        ),
        Reach::Unreachable { why } => bench.inconclusive("NET-001", why.clone(), 1),
    }
    if let Some(why) = bench
        .facts
        .stopped
        .as_ref()
        .filter(|_| is_connected(bench.facts))
    {
        bench.inconclusive("NET-003", why.clone(), 1);
    }
}

fn greeting(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let Some(greeting) = facts.greeting.known() else {
        return;
    };
    match greeting.kind {
        GreetingKind::Preauthenticated => bench.fail("PRE-001", greeting.text.clone()),
        GreetingKind::Welcome => {
            if facts.target.protocol == Protocol::Imap && bench.is_starttls() {
                bench.pass("PRE-001", greeting.text.clone());
            }
            form(bench, greeting);
        }
        _ => {}
    }
}

/// The greeting's form, and what it tells.
fn form(bench: &mut Bench<'_>, greeting: &Greeting) {
    let first = greeting.text.split("\\n").next().unwrap_or("");
    if bench.facts.target.protocol == Protocol::Smtp {
        let name = first.get(4..).unwrap_or("").split(' ').next().unwrap_or("");
        let is_name = name.contains('.') || name.starts_with('[');
        bench.yes_or_no(
            "BAN-001",
            !is_name,
            &format!("no full host name stands behind the code: {first}"),
            first,
        );
    }
    let tells = first.chars().any(|it| it.is_ascii_digit())
        && [
            "/",
            "Postfix ",
            "Exim ",
            "Dovecot ",
            "version",
            "Sendmail ",
            "Cyrus ",
        ]
        .iter()
        .any(|it| first.contains(it));
    if tells {
        bench.info("BAN-002", first.to_owned());
    }
}

fn start_tls(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let severity = match bench.role() {
        Role::Mx => Severity::High,
        Role::Submission | Role::Access => Severity::Critical,
    };
    let Some(start) = bench.answer_as("STLS-001", severity, &facts.start_tls) else {
        // All of it rests on that answer.
        for id in ["STLS-002", "STLS-003", "STLS-004", "STLS-009", "STRIP-001"] {
            bench.answer(id, &facts.start_tls);
        }
        return;
    };
    let command = facts.target.command();
    if start.offered {
        bench.pass_as("STLS-001", severity, format!("{command} is offered"));
    } else {
        let said = start.reply.as_deref().unwrap_or("nothing");
        let evidence = format!(
            "{command} is not among what is offered; asked for all the same it brought: {said}"
        );
        bench.fail_as("STLS-001", severity, evidence);
    }
    match &start.masked {
        Some(word) => bench.fail("STRIP-001", format!("{word} stands where {command} should")),
        None if facts.clear.known().is_some_and(|it| it.only_helo) => {
            bench.fail("STRIP-001", "EHLO is refused and HELO is taken");
        }
        None => bench.pass("STRIP-001", "no masked words in clear"),
    }
    accepted(bench, start);
    works(bench, start);
    after_upgrade(bench, start);
}

fn accepted(bench: &mut Bench<'_>, start: &StartTls) {
    let reply = start.reply.clone().unwrap_or_default();
    match (start.offered, start.accepted) {
        (true, Some(true)) => bench.pass("STLS-003", reply),
        (true, _) => bench.fail("STLS-003", format!("offered, and refused: {reply}")),
        (false, Some(true)) => {
            bench.fail(
                "STLS-003",
                format!("not offered, and taken all the same: {reply}"),
            );
        }
        (false, _) => bench.not_applicable("STLS-003", "neither offered nor taken"),
    }
}

fn works(bench: &mut Bench<'_>, start: &StartTls) {
    let facts = bench.facts;
    let severity = if bench.is_mx() {
        Severity::High
    } else {
        Severity::Critical
    };
    if start.accepted != Some(true) {
        let reply = start.reply.clone().unwrap_or_default();
        match (start.offered, start.accepted) {
            // Nobody gets to TLS here, as little as where it is not offered.
            (true, Some(_)) => bench.fail_as("STLS-002", severity, format!("refused: {reply}")),
            (true, None) => bench.inconclusive("STLS-002", reply, 1),
            (false, _) => bench.not_applicable("STLS-002", "there is no STARTTLS"),
        }
        return;
    }
    match (&facts.handshake, &facts.handshake_failed) {
        (Seen::Known(it), _) => {
            bench.pass_as(
                "STLS-002",
                severity,
                format!("{}, {}", it.version, it.suite),
            );
        }
        (_, Some(failed)) if failed.label == "timeout" => {
            bench.inconclusive("STLS-002", failed.text.clone(), 1);
        }
        (_, Some(failed)) => bench.fail_as("STLS-002", severity, failed.text.clone()),
        (_, None) if start.residue.is_some() => {
            bench.fail_as(
                "STLS-002",
                severity,
                "words in clear stand where TLS should begin",
            );
        }
        (seen, None) => {
            bench.answer("STLS-002", seen);
        }
    }
    match &start.residue {
        Some(words) => bench.fail(
            "STLS-008",
            format!("behind the answer to STARTTLS: {words}"),
        ),
        None if facts.handshake.known().is_some() => {
            bench.pass("STLS-008", "nothing stands between the answer and TLS");
        }
        None => {}
    }
}

/// What follows the handshake.
fn after_upgrade(bench: &mut Bench<'_>, start: &StartTls) {
    let facts = bench.facts;
    if start.accepted != Some(true) {
        return;
    }
    if let Some(unasked) = bench.answer("STLS-009", &facts.unasked) {
        // IMAP has words for whatever changed, at any time (RFC 9051 7); elsewhere each command has one answer.
        let late = facts.surplus.known().and_then(Option::as_ref);
        let late = late.filter(|_| facts.target.protocol != Protocol::Imap);
        match unasked.as_ref().or(late) {
            Some(words) => bench.fail("STLS-009", words.clone()),
            None => bench.pass("STLS-009", "silent until asked"),
        }
    }
    if let Some(second) = bench.answer("STLS-004", &facts.second) {
        let command = facts.target.command();
        let offered = facts.encrypted.known().is_some_and(|it| it.has(command));
        match second {
            Some(words) => bench.fail("STLS-004", format!("taken a second time: {words}")),
            None if offered => bench.fail("STLS-004", "offered inside TLS"),
            None => bench.pass("STLS-004", "neither offered nor taken inside TLS"),
        }
    }
    if let Some(kept) = bench.answer("STLS-007", &facts.state_kept) {
        bench.yes_or_no(
            "STLS-007",
            *kept,
            "a recipient was taken inside TLS for a sender named in clear",
            "a sender named in clear is forgotten",
        );
    }
    if let Some(taken) = bench.answer("STLS-005", &facts.parameter_taken) {
        bench.yes_or_no(
            "STLS-005",
            *taken,
            "a parameter is taken",
            "a parameter is refused",
        );
    }
    if let Some(goes_on) = bench.answer("STLS-010", &facts.clear_after_failure) {
        let (bad, good) = (
            "goes on in clear after a failed handshake",
            "ends after a failed handshake",
        );
        bench.yes_or_no("STLS-010", *goes_on, bad, good);
    }
    if let Some(eager) = bench.answer("IMPL-003", &facts.eager_tls) {
        bench.yes_or_no(
            "IMPL-003",
            *eager,
            "answers a hello without STARTTLS",
            "words first",
        );
    }
    if let (Some(clear), Some(inside)) = (facts.clear.known(), facts.encrypted.known()) {
        let minus = |a: &[String], b: &[String]| {
            let only: Vec<&str> = a
                .iter()
                .filter(|it| !b.contains(it))
                .map(String::as_str)
                .collect();
            only.join(", ")
        };
        let gone = minus(&clear.words, &inside.words);
        let new = minus(&inside.words, &clear.words);
        bench.info(
            "STLS-006",
            format!("only in clear: {gone}; only inside TLS: {new}"),
        );
    }
}

fn implicit(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    match (&facts.handshake, &facts.handshake_failed) {
        (Seen::Known(it), _) => bench.pass("IMPL-001", format!("{}, {}", it.version, it.suite)),
        (_, Some(failed)) if failed.label == "timeout" => {
            bench.inconclusive("IMPL-001", failed.text.clone(), 1);
        }
        (_, Some(failed)) => bench.fail("IMPL-001", failed.text.clone()),
        (seen, None) => {
            bench.answer("IMPL-001", seen);
        }
    }
    let spoke = facts
        .handshake_failed
        .as_ref()
        .filter(|it| it.label == "not_tls");
    if let Some(failed) = spoke {
        bench.fail("IMPL-002", failed.text.clone());
    } else if let Some(words) = bench.answer("IMPL-002", &facts.clear_on_implicit) {
        match words {
            Some(words) => bench.fail("IMPL-002", words.clone()),
            None => bench.pass("IMPL-002", "silent before the hello"),
        }
    }
}

/// Logins and mail in clear.
fn before_tls(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    if !bench.is_starttls() {
        return;
    }
    let severity = if bench.is_mx() {
        Severity::High
    } else {
        Severity::Critical
    };
    if let Some(clear) = bench.answer("AUTH-001", &facts.clear) {
        match offers_login(facts.target.protocol, clear) {
            Some(words) => bench.fail_as("AUTH-001", severity, words),
            None => bench.pass_as("AUTH-001", severity, "no login is offered in clear"),
        }
        if facts.target.protocol == Protocol::Imap {
            alerts(bench, clear);
        }
    }
    if facts.target.protocol != Protocol::Sieve
        && let Some(goes_on) = bench.answer("AUTH-002", &facts.login_in_clear)
    {
        if *goes_on {
            bench.fail_as("AUTH-002", severity, "a login is let begin in clear");
        } else {
            bench.pass_as("AUTH-002", severity, "a login is refused in clear");
        }
    }
    let id = match bench.role() {
        Role::Submission => "ENF-001",
        Role::Mx => "ENF-002",
        Role::Access => return,
    };
    if let Some(taken) = bench.answer(id, &facts.mail_in_clear) {
        match (id, taken) {
            ("ENF-002", true) => {
                bench.info(id, "MAIL is taken in clear, as a public exchanger must");
            }
            ("ENF-002", false) => bench.info(
                id,
                "MAIL is refused in clear: senders without TLS cannot deliver",
            ),
            (_, true) => bench.fail(id, "MAIL is taken in clear"),
            (_, false) => bench.pass(id, "MAIL is refused in clear"),
        }
    }
}

/// What is said in clear can be put there by anyone: an alert is shown to the user, a referral sends the client elsewhere (RFC 2193 6,
/// RFC 2221 7). That referrals are offered, as Dovecot does, sends nobody anywhere yet.
fn alerts(bench: &mut Bench<'_>, clear: &Capabilities) {
    let referrals = clear.words.iter().filter(|it| it.ends_with("-REFERRALS"));
    let referrals: Vec<&str> = referrals.map(String::as_str).collect();
    if !clear.codes.is_empty() {
        bench.fail("PRE-002", clear.codes.join(", "));
    } else if !referrals.is_empty() {
        bench.info(
            "PRE-002",
            format!("offered in clear: {}", referrals.join(", ")),
        );
    } else {
        bench.pass("PRE-002", "no alerts or referrals in clear");
    }
}

/// What in these capabilities offers a login in clear.
fn offers_login(protocol: Protocol, clear: &Capabilities) -> Option<String> {
    // Mechanisms that do not give the password away in clear are still open to forgery, and TLS is to be had: EXTERNAL and
    // ANONYMOUS have no password at all.
    let mechanisms = clear.mechanisms();
    let harmful: Vec<&str> = mechanisms
        .iter()
        .map(String::as_str)
        .filter(|it| !matches!(*it, "EXTERNAL" | "ANONYMOUS"))
        .collect();
    match protocol {
        Protocol::Imap if !clear.has("LOGINDISABLED") => Some(format!(
            "LOGINDISABLED is missing; mechanisms: {}",
            harmful.join(" ")
        )),
        Protocol::Pop3 if clear.has("USER") => Some("USER is offered in clear".to_owned()),
        _ if !harmful.is_empty() => Some(format!("offered in clear: {}", harmful.join(" "))),
        _ => None,
    }
}

/// What is offered inside TLS.
fn inside(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let Some(encrypted) = facts.encrypted.known() else {
        return;
    };
    let mechanisms = encrypted.mechanisms();
    if !mechanisms.is_empty() {
        let list = mechanisms.join(" ");
        let is_bound = mechanisms.iter().any(|it| it.ends_with("-PLUS"));
        let broken = ["CRAM-MD5", "DIGEST-MD5", "NTLM"];
        let has_broken = mechanisms.iter().any(|it| broken.contains(&it.as_str()));
        match (has_broken, is_bound) {
            (true, _) => bench.warn("AUTH-003", list),
            (false, true) => bench.pass("AUTH-003", list),
            (false, false) => {
                bench.info("AUTH-003", format!("none binds the login to TLS: {list}"));
            }
        }
    }
    if facts.target.protocol == Protocol::Smtp {
        let notable = [
            "REQUIRETLS",
            "SMTPUTF8",
            "PIPELINING",
            "CHUNKING",
            "SIZE",
            "LIMITS",
            "DSN",
        ];
        let there: Vec<&str> = notable.into_iter().filter(|it| encrypted.has(it)).collect();
        bench.info("REQ-001", there.join(" "));
    }
}
