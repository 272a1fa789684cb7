//! Durable submissions: messages of 10 KiB over implicit TLS, one login per connection, many messages on each.
//!
//! A message counts when its 250 has come, which promises that it survives a crash. After each run the messages are counted
//! where they ended up: fewer than acknowledged, and the figure is withdrawn. Postfix acknowledges when a message is in its
//! queue and delivers later, so its rate to the mailbox is shown as well.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::ClientConfig;

use crate::Bench;
use crate::fault::Fault;
use crate::load::{self, Outcome};
use crate::peer::gatepost::{ACCOUNTS, PASSWORD, account, accounts};
use crate::peer::{gatepost, postfix};
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;
use crate::talk::{self, Talk};
use crate::tls::{self, Group};

/// Size of a message with its header, in bytes.
const SIZE: usize = 10 * 1024;
/// Connections of the two figures.
const CONNECTIONS: [u32; 2] = [8, 50];
/// Length of one look at the disk.
const DISK_TIME: Duration = Duration::from_secs(1);
/// design.md: at least this many times Postfix.
const TIMES_POSTFIX: f64 = 10.0;
/// One run of one server.
struct Run {
    outcome: Outcome,
    /// Messages per second that had reached a mailbox by the end.
    delivered: f64,
}

/// Measures gatepost and Postfix, interleaved run by run.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section(
        "submission",
        "10 KiB messages, durable, implicit TLS, one login per connection",
    );
    if bench.machine.disk_is_memory() {
        report.note("the work folder is in memory: nothing here is durable; name a folder on a disk with --work");
    }
    match disk(bench) {
        Ok(disk) => {
            report.figure(
                "disk",
                "512 bytes appended and synced, one at a time",
                "/s",
                &disk,
            );
        }
        Err(fault) => report.skip("disk", &fault.to_string()),
    }
    for connections in CONNECTIONS {
        let (mut ours, mut theirs) = (Ok(Vec::new()), Ok(Vec::new()));
        for run in 0..bench.plan.runs {
            ours = ours.and_then(|runs| push(runs, gatepost_run(bench, run, connections)));
            theirs = theirs.and_then(|runs| push(runs, postfix_run(bench, run, connections)));
        }
        let ours = tell(report, "gatepost", connections, ours);
        let theirs = tell(report, "postfix", connections, theirs);
        if let (Some((ours, ours_in)), Some((theirs, theirs_in))) = (ours, theirs) {
            report.ratio(&ours, &theirs, Goal::AtLeast(TIMES_POSTFIX));
            report.ratio(&ours_in, &theirs_in, Goal::AtLeast(TIMES_POSTFIX));
        }
    }
}

/// How often a second this disk makes a small write durable: the limit of a server that syncs every message by itself.
fn disk(bench: &Bench<'_>) -> Result<Sample, Fault> {
    let path = bench.work.join("disk");
    let mut file = File::create(&path).map_err(Fault::at("making a file"))?;
    let mut once = || {
        file.write_all(&[0; 512])
            .and_then(|()| file.sync_data())
            .map_err(Fault::at("syncing a file"))
    };
    let mut rates = Vec::new();
    for _ in 0..bench.plan.runs {
        let begun = Instant::now();
        let mut writes = 0;
        while begun.elapsed() < DISK_TIME {
            once()?;
            writes += 1;
        }
        rates.push(load::count(writes) / begun.elapsed().as_secs_f64());
    }
    Sample::new(rates).ok_or(Fault::Late("the disk"))
}

fn push(mut runs: Vec<Run>, run: Result<Run, Fault>) -> Result<Vec<Run>, Fault> {
    runs.push(run?);
    Ok(runs)
}

fn gatepost_run(bench: &Bench<'_>, run: u32, connections: u32) -> Result<Run, Fault> {
    let name = format!("submission-{connections}-{run}");
    let gatepost = gatepost::start(bench, &name)?;
    let outcome = submit(
        bench,
        gatepost.running.pid(),
        gatepost.ports.submissions,
        connections,
        Duration::from_secs(bench.plan.seconds),
    )?;
    let client = tls::load_client(&bench.identity, tls::provider(Group::X25519))?;
    let found = accounts()
        .iter()
        .map(|user| stored(user, gatepost.ports.imaps, &client))
        .sum::<Result<u64, _>>()?;
    none_lost(outcome.done, found)?;
    drop(gatepost);
    bench.discard(&name);
    Ok(Run {
        delivered: outcome.rate(),
        outcome,
    })
}

fn postfix_run(bench: &Bench<'_>, run: u32, connections: u32) -> Result<Run, Fault> {
    let name = format!("postfix-{connections}-{run}");
    let postfix = postfix::start(bench, &name, &accounts())?;
    let outcome = submit(
        bench,
        postfix.running.pid(),
        postfix.submissions,
        connections,
        Duration::from_secs(bench.plan.seconds),
    )?;
    let (late, found) = postfix.drain()?;
    none_lost(outcome.done, found)?;
    drop(postfix);
    bench.discard(&name);
    let delivered = load::count(outcome.done) / (outcome.elapsed + late).as_secs_f64();
    Ok(Run { outcome, delivered })
}

pub(crate) fn none_lost(acknowledged: u64, found: u64) -> Result<(), Fault> {
    if found == acknowledged {
        Ok(())
    } else {
        Err(Fault::Lost {
            acknowledged,
            found,
        })
    }
}

/// Messages in a user's INBOX, by STATUS (RFC 9051 6.3.11).
pub(crate) fn stored(user: &str, imaps: u16, client: &Arc<ClientConfig>) -> Result<u64, Fault> {
    let mut talk = Talk::encrypted(Ipv4Addr::LOCALHOST, imaps, client)?;
    talk.imap("* OK")?;
    talk.imap_command(&format!("a LOGIN {user} {PASSWORD}\r\n"), "a OK")?;
    let lines = talk.imap_command("b STATUS INBOX (MESSAGES)\r\n", "b OK")?;
    status_messages(&lines).ok_or_else(|| Fault::Reply {
        wanted: "STATUS with MESSAGES",
        got: lines.join(" "),
    })
}

fn status_messages(lines: &[String]) -> Option<u64> {
    let line = lines.iter().find(|line| line.starts_with("* STATUS"))?;
    line.split_once("(MESSAGES ")?
        .1
        .split_once(')')?
        .0
        .parse()
        .ok()
}

/// One connection: its conversation, whose mail it sends to, and how often.
struct Sender {
    talk: Talk,
    recipient: String,
    pipelining: bool,
}

/// Load for some time.
pub(crate) fn submit(
    bench: &Bench<'_>,
    server: u32,
    port: u16,
    connections: u32,
    time: Duration,
) -> Result<Outcome, Fault> {
    let client = tls::load_client(&bench.identity, tls::provider(Group::X25519))?;
    let number = AtomicU64::new(0);
    let filler = filler();
    let step = |sender: &mut Sender| sender.send(number.fetch_add(1, Ordering::Relaxed), &filler);
    load::run(
        server,
        time,
        connections,
        |index| Sender::open(index, port, &client),
        step,
    )
}

/// Load for some time by LMTP in clear.
pub(crate) fn hand_over(
    server: u32,
    port: u16,
    connections: u32,
    time: Duration,
) -> Result<Outcome, Fault> {
    let number = AtomicU64::new(0);
    let filler = filler();
    let step = |sender: &mut Sender| sender.send(number.fetch_add(1, Ordering::Relaxed), &filler);
    load::run(
        server,
        time,
        connections,
        |index| Sender::open_lmtp(index, port),
        step,
    )
}

/// Puts `messages` into the mailbox of the first account, by eight connections.
pub(crate) fn fill(bench: &Bench<'_>, port: u16, messages: u32) -> Result<(), Fault> {
    let client = tls::load_client(&bench.identity, tls::provider(Group::X25519))?;
    let (client, filler) = (&client, &filler());
    let next = &AtomicU64::new(0);
    let work = |number: u32| {
        let mut sender = Sender::open(number * ACCOUNTS, port, client)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= u64::from(messages) {
                return Ok(());
            }
            sender.send(number, filler)?;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or(Err(Fault::Late("a load thread"))))
    })
}

impl Sender {
    /// Connects, from an address of its own, and logs in, when the server offers a login.
    fn open(index: u32, port: u16, client: &Arc<ClientConfig>) -> Result<Self, Fault> {
        let recipient = account(index);
        let mut talk = Talk::encrypted(talk::source(index), port, client)?;
        talk.smtp("220")?;
        let offers = talk.smtp_command("EHLO client.gatepost.test\r\n", "250")?;
        let offered = |name: &str| {
            offers
                .iter()
                .any(|offer| offer.split(' ').next() == Some(name))
        };
        let pipelining = offered("PIPELINING");
        if offered("AUTH") {
            // RFC 4616: no authorisation identity, then who and password.
            let response = BASE64_STANDARD.encode(format!("\0{recipient}\0{PASSWORD}"));
            talk.smtp_command(&format!("AUTH PLAIN {response}\r\n"), "235")?;
        }
        Ok(Self {
            talk,
            recipient,
            pipelining,
        })
    }

    /// Connects in clear, for LMTP (RFC 2033): with one recipient a message has one reply, as in SMTP.
    fn open_lmtp(index: u32, port: u16) -> Result<Self, Fault> {
        let mut talk = Talk::clear(talk::source(index), port)?;
        talk.smtp("220")?;
        talk.smtp_command("LHLO client.gatepost.test\r\n", "250")?;
        Ok(Self {
            talk,
            recipient: account(index),
            pipelining: true,
        })
    }

    /// One message, from MAIL to the 250 behind the dot.
    fn send(&mut self, number: u64, filler: &str) -> Result<(), Fault> {
        let user = &self.recipient;
        let (mail, recipient) = (
            format!("MAIL FROM:<{user}>\r\n"),
            format!("RCPT TO:<{user}>\r\n"),
        );
        if self.pipelining {
            self.talk
                .send(format!("{mail}{recipient}DATA\r\n").as_bytes())?;
            self.talk.smtp("250")?;
            self.talk.smtp("250")?;
            self.talk.smtp("354")?;
        } else {
            self.talk.smtp_command(&mail, "250")?;
            self.talk.smtp_command(&recipient, "250")?;
            self.talk.smtp_command("DATA\r\n", "354")?;
        }
        self.talk
            .smtp_command(&message(user, number, filler), "250")?;
        Ok(())
    }
}

/// A message of `SIZE` bytes and the dot behind it.
pub(crate) fn message(user: &str, number: u64, filler: &str) -> String {
    let header = format!(
        "From: <{user}>\r\nTo: <{user}>\r\nSubject: benchmark {number}\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{number:020}@bench.gatepost.test>\r\n\r\n"
    );
    let body = filler.get(header.len()..).unwrap_or_default();
    format!("{header}{body}.\r\n")
}

/// Lines of text, `SIZE` bytes in all; no line begins with a dot wherever it is cut.
pub(crate) fn filler() -> String {
    let line = "The quick brown fox jumps over the lazy dog, and the gatepost keeps it dry.\r\n";
    let mut text = line.repeat(SIZE / line.len() + 1);
    text.truncate(SIZE - 2);
    text.push_str("\r\n");
    text
}

/// Prints a server's figures; its acknowledged and its delivered rate.
fn tell(
    report: &mut Report,
    name: &str,
    connections: u32,
    runs: Result<Vec<Run>, Fault>,
) -> Option<(Figure, Figure)> {
    let label = format!("{name}, {connections} connections");
    let runs = runs
        .map_err(|fault| report.skip(&label, &fault.to_string()))
        .ok()?;
    let sample = |value: fn(&Run) -> f64| Sample::new(runs.iter().map(value).collect());
    let acknowledged = report.figure(
        &label,
        "messages acknowledged",
        "/s",
        &sample(|run| run.outcome.rate())?,
    );
    let delivered = report.figure(
        &label,
        "messages in the mailbox",
        "/s",
        &sample(|run| run.delivered)?,
    );
    report.figure(
        &label,
        "server CPU per message acknowledged",
        "us",
        &sample(|run| run.outcome.server_micros())?,
    );
    report.figure(
        &label,
        "share of its core the server used",
        "",
        &sample(|run| run.outcome.server_busy())?,
    );
    let busy = sample(|run| run.outcome.load_busy())?;
    report.figure(
        &label,
        "share of its core the load generator used",
        "",
        &busy,
    );
    if busy.median() > load::SATURATED {
        report.note(&format!(
            "{label}: the load generator was saturated; the server could have done more"
        ));
    }
    Some((acknowledged, delivered))
}

#[cfg(test)]
mod tests {
    use super::{Fault, SIZE, filler, message, none_lost, status_messages};

    #[test]
    fn a_message_has_its_size_and_one_dot() {
        let text = message("user0@gatepost.test", 7, &filler());
        assert_eq!(text.len(), SIZE + ".\r\n".len());
        assert!(text.ends_with("\r\n.\r\n"));
        assert_eq!(text.matches("\r\n.").count(), 1);
    }

    #[test]
    fn a_lost_message_and_a_doubled_one_withdraw_the_figure() {
        assert!(none_lost(10, 10).is_ok());
        assert!(matches!(
            none_lost(10, 9),
            Err(Fault::Lost {
                acknowledged: 10,
                found: 9
            })
        ));
        assert!(none_lost(10, 11).is_err());
    }

    #[test]
    fn status_is_read() {
        let lines = [
            "* STATUS INBOX (MESSAGES 231)".to_owned(),
            "b OK done".to_owned(),
        ];
        assert_eq!(status_messages(&lines), Some(231));
        assert_eq!(status_messages(&[]), None);
    }
}
