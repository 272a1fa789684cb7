//! Durable writing by fifty clients: APPEND by IMAP, and delivery: submission over TLS at gatepost, LMTP in clear at Dovecot. Eight
//! users' INBOXes take the mail. What was acknowledged is counted afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;

use super::Comparison;
use super::subject::{Delivery, Subject};
use crate::Bench;
use crate::fault::Fault;
use crate::load::{self, Outcome};
use crate::peer::gatepost::{PASSWORD, account, accounts};
use crate::report::Goal;
use crate::submission;
use crate::talk::{self, Talk};

/// Connections at the same time.
const CLIENTS: u32 = 50;
/// Goal beside Dovecot.
const TIMES: f64 = 3.0;

/// Measures both.
pub(super) fn measure(all: &mut Comparison<'_, '_>) {
    let runs = all.bench.plan.runs;
    let appended = all.each(
        ("APPEND by 50 clients, durable", "/s"),
        runs,
        |bench, subject, client| counted(subject, client, || append(bench, subject, client)),
    );
    all.beside(&appended, Goal::AtLeast(TIMES));
    let delivered = all.each(
        ("delivery by 50 clients, durable", "/s"),
        runs,
        |bench, subject, client| counted(subject, client, || deliver(bench, subject)),
    );
    all.beside(&delivered, Goal::AtLeast(TIMES));
}

/// The rate of a load, when as many messages are there more than before as were acknowledged.
fn counted(
    subject: &Subject,
    client: &Arc<ClientConfig>,
    load: impl FnOnce() -> Result<Outcome, Fault>,
) -> Result<f64, Fault> {
    let count = || {
        let users = accounts();
        let inboxes = users
            .iter()
            .map(|user| submission::stored(user, subject.imaps, client));
        inboxes.sum::<Result<u64, Fault>>()
    };
    let before = count()?;
    let outcome = load()?;
    submission::none_lost(outcome.done, count()? - before)?;
    // What is still to be done behind it must not be paid for by whoever comes next.
    subject.settle()?;
    Ok(outcome.rate())
}

fn deliver(bench: &Bench<'_>, subject: &Subject) -> Result<Outcome, Fault> {
    let time = Duration::from_secs(bench.plan.seconds);
    match subject.delivery() {
        Delivery::Submission(port) => submission::submit(bench, subject.pid(), port, CLIENTS, time),
        Delivery::Lmtp(port) => submission::hand_over(subject.pid(), port, CLIENTS, time),
    }
}

fn append(
    bench: &Bench<'_>,
    subject: &Subject,
    client: &Arc<ClientConfig>,
) -> Result<Outcome, Fault> {
    let filler = submission::filler();
    let number = AtomicU64::new(0);
    let ready = |index| {
        let mut talk = Talk::encrypted(talk::source(index), subject.imaps, client)?;
        talk.imap("* OK")?;
        talk.imap_command(
            &format!("a LOGIN {} {PASSWORD}\r\n", account(index)),
            "a OK",
        )?;
        Ok((talk, account(index)))
    };
    let step = |(talk, user): &mut (Talk, String)| {
        let dotted = submission::message(user, number.fetch_add(1, Ordering::Relaxed), &filler);
        let message = dotted.strip_suffix(".\r\n").unwrap_or(&dotted);
        talk.send(format!("b APPEND INBOX {{{}}}\r\n", message.len()).as_bytes())?;
        talk.imap("+ ")?;
        talk.imap_command(&format!("{message}\r\n"), "b OK")?;
        Ok(())
    };
    let time = Duration::from_secs(bench.plan.seconds);
    load::run(subject.pid(), time, CLIENTS, ready, step)
}
