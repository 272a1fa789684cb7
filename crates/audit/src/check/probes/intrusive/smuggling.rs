//! Whether anything but `<CRLF>.<CRLF>` ends a mail (RFC 5321 4.1.1.4). Where it does, a sender who writes it into his text smuggles a second mail
//! behind the first, with a sender of his choice that was checked by nobody (CERT VU#302671). [SMTP-SMUG-05]
//!
//! Nothing shows it but a mail, so this asks for a mailbox of the owner's. The mail is made to be refused all the same: it has gone round in more
//! circles than any server lets pass (RFC 5321 6.3), which is told at its end, when all of it has been heard.
//!
//! 1. The control ends such a mail as it should be. Refused, nothing of what follows can be stored. Taken, the server does not count: then it is
//!    in the owner's mailbox, and so will be one for each sequence that ends a mail.
//! 2. Each sequence has a connection of its own: the text up to the sequence, then a wait; `NOOP`, then a wait. Who answers that command takes
//!    what follows the sequence for commands. An answer to the text alone is a refusal of it, as servers do that want no bare LF.
//! 3. Who is silent is given the true end, and `QUIT`. One answer each: the sequence was text. More: it was an end, told late. Where mail that
//!    loops is stored, the connection is cut instead, and there is no mail.
//!
//! The reverse-path is empty: nothing comes back to anybody.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gatepost_wire::calendar::civil;

use super::relay::begin;
use super::{refused, worked};
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::Errand;
use crate::check::reply::{Mood, Until};
use crate::check::talk::{Silence, Talk};

/// The nine of the published scanner, as they are told and as they are sent.
const SEQUENCES: [(&str, &[u8]); 9] = [
    ("<LF>.<LF>", b"\n.\n"),
    ("<LF>.<CR>", b"\n.\r"),
    ("<CR>.<LF>", b"\r.\n"),
    ("<CR>.<CR>", b"\r.\r"),
    ("<LF>.<CRLF>", b"\n.\r\n"),
    ("<CR>.<CRLF>", b"\r.\r\n"),
    ("<CRLF>.<CR><CRLF>", b"\r\n.\r\r\n"),
    ("<CR><CRLF>.<CR><CRLF>", b"\r\r\n.\r\r\n"),
    ("<CRLF><NUL>.<CRLF>", b"\r\n\0.\r\n"),
];
/// More than the hundred that any server may let pass (RFC 5321 6.3).
const HOPS: usize = 120;
/// The most answers there can be to what stands behind a sequence.
const MOST_ANSWERS: usize = 5;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What became of one sequence.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It ended the mail: commands were taken behind it.
    Ended(String),
    /// It was text like any other.
    Text,
    /// The mail was refused for it.
    Refused(String),
}

/// What the control tells the others.
struct Control {
    /// Mail that loops is taken.
    stores: bool,
    /// How long an answer may take.
    wait: Duration,
}

/// Runs it; an answer is waited for no less than `wait`.
pub(crate) async fn run(errand: &Errand, has_tls: bool, wait: Duration) -> Seen<Provocation> {
    let Some(mailbox) = errand.mailbox.as_deref() else {
        return Seen::Known(Provocation::Absent {
            why: "it takes a mailbox of yours: add --smuggling ADDRESS".to_owned(),
        });
    };
    let control = match control(errand, has_tls, mailbox, wait).await {
        Ok(control) => control,
        Err(seen) => return seen,
    };
    let mut outcomes = Vec::new();
    for (name, sequence) in SEQUENCES {
        let outcome = match begin_data(errand, has_tls, mailbox).await {
            Ok(talk) => sequence_in(talk, errand, sequence, &control).await,
            Err(Seen::Unknown { why, .. }) => Err(why),
            Err(_) => Err("the mailbox is refused now".to_owned()),
        };
        outcomes.push((name, outcome));
    }
    sum(&outcomes, control.stores)
}

fn sum(outcomes: &[(&str, Result<Outcome, String>)], stores: bool) -> Seen<Provocation> {
    let (mut ended, mut text, mut other, mut open) = (vec![], vec![], vec![], vec![]);
    for (name, outcome) in outcomes {
        match outcome {
            Ok(Outcome::Ended(reply)) => ended.push(format!("{name} ({reply})")),
            Ok(Outcome::Text) => text.push((*name).to_owned()),
            Ok(Outcome::Refused(how)) => other.push(format!("{name} ({how})")),
            Err(why) => open.push(format!("{name} ({why})")),
        }
    }
    let note = if stores {
        vec!["the server takes mail that loops: test mails are in the mailbox".to_owned()]
    } else {
        vec![]
    };
    let rows = [
        ("taken as the end of a mail: ", &ended),
        ("taken as text: ", &text),
        ("refused: ", &other),
        ("not told: ", &open),
        ("", &note),
    ];
    let told = rows.iter().filter(|(_, list)| !list.is_empty());
    let told: Vec<String> = told
        .map(|(what, list)| format!("{what}{}", list.join(", ")))
        .collect();
    let told = told.join("; ");
    match (ended.is_empty(), u32::try_from(open.len())) {
        (false, _) => worked(told),
        (true, Ok(0)) => refused(told),
        (true, missing) => Seen::Unknown {
            why: told,
            missing: missing.unwrap_or(u32::MAX),
        },
    }
}

/// A mail that loops, ended as it should be.
async fn control(
    errand: &Errand,
    has_tls: bool,
    mailbox: &str,
    wait: Duration,
) -> Result<Control, Seen<Provocation>> {
    let mut talk = begin_data(errand, has_tls, mailbox).await?;
    let words = |silence: Silence| Seen::unknown(silence.words("a mail that loops"));
    let mail = [&message(errand, mailbox)[..], b"\r\n.\r\n"].concat();
    let begun = Instant::now();
    talk.say(&mail).await.map_err(words)?;
    let reply = talk.hear(&Until::Code).await.map_err(words)?;
    let wait = wait.max(begun.elapsed() * 2).min(errand.patience);
    talk.leave().await;
    match reply.mood {
        Mood::Yes => Ok(Control { stores: true, wait }),
        Mood::No => Ok(Control {
            stores: false,
            wait,
        }),
        _ => Err(Seen::unknown(reply.last())),
    }
}

/// As far as a mail's text can be said. What is refused for good is not there to be asked: such as a login that is wanted first.
async fn begin_data(
    errand: &Errand,
    has_tls: bool,
    mailbox: &str,
) -> Result<Talk, Seen<Provocation>> {
    let mut talk = begin(errand, has_tls).await.map_err(Seen::unknown)?;
    for (command, mood) in [
        ("MAIL FROM:<>".to_owned(), Mood::Yes),
        (format!("RCPT TO:<{mailbox}>"), Mood::Yes),
        ("DATA".to_owned(), Mood::More),
    ] {
        match talk.ask(&command).await {
            Ok(reply) if reply.mood == mood => {}
            Ok(reply) => {
                talk.leave().await;
                let why = format!("{command} was answered with {}", reply.last());
                return Err(match reply.mood {
                    Mood::No => Seen::Known(Provocation::Absent { why }),
                    _ => Seen::unknown(why),
                });
            }
            Err(silence) => return Err(Seen::unknown(silence.words(&command))),
        }
    }
    Ok(talk)
}

/// One sequence in the midst of a text.
async fn sequence_in(
    mut talk: Talk,
    errand: &Errand,
    sequence: &[u8],
    control: &Control,
) -> Result<Outcome, String> {
    let mailbox = errand.mailbox.as_deref().unwrap_or_default();
    let closed = || Ok(Outcome::Refused("the connection was closed".to_owned()));
    talk.patience = control.wait;
    let text = [&message(errand, mailbox)[..], sequence].concat();
    for words in [&text[..], b"NOOP\r\n"] {
        if talk.say(words).await.is_err() {
            return closed();
        }
        match talk.hear(&Until::Code).await {
            Ok(reply) => return Ok(behind(talk, reply.last(), words == text).await),
            Err(Silence::Slow) => {}
            Err(_) => return closed(),
        }
    }
    if control.stores {
        return Ok(Outcome::Text);
    }
    talk.patience = errand.patience;
    true_end(talk).await
}

/// The text was answered with `first`; whether a command is carried out behind it. What else stands behind the sequence may be no command.
async fn behind(mut talk: Talk, first: &str, say: bool) -> Outcome {
    let refused = Outcome::Refused(first.to_owned());
    if say && talk.say(b"NOOP\r\n").await.is_err() {
        return refused;
    }
    for _ in 0..MOST_ANSWERS {
        match talk.hear(&Until::Code).await {
            Ok(reply) if reply.mood == Mood::Yes => return Outcome::Ended(first.to_owned()),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    refused
}

/// Silence so far: the true end, and a farewell. Were there commands before, theirs are the next answers.
async fn true_end(mut talk: Talk) -> Result<Outcome, String> {
    let words = |silence: Silence| silence.words("the end of the text");
    talk.say(b"\r\n.\r\n").await.map_err(words)?;
    let first = talk.hear(&Until::Code).await.map_err(words)?;
    if talk.say(b"QUIT\r\n").await.is_err() {
        return Ok(Outcome::Text);
    }
    for _ in 0..MOST_ANSWERS {
        match talk.hear(&Until::Code).await {
            // To QUIT (RFC 5321 4.1.1.10).
            Ok(reply) if reply.last().starts_with("221") => return Ok(Outcome::Text),
            Ok(reply) if reply.mood == Mood::Yes => {
                return Ok(Outcome::Ended(first.last().to_owned()));
            }
            Ok(_) => {}
            Err(Silence::Closed) => return Ok(Outcome::Text),
            Err(silence) => return Err(silence.words("QUIT")),
        }
    }
    Err("more answers than questions".to_owned())
}

/// A mail that has been everywhere, up to the last word of its text.
fn message(errand: &Errand, mailbox: &str) -> Vec<u8> {
    let date = date(SystemTime::now());
    let nonce = &errand.nonce;
    let hop = format!("Received: from check.invalid by check.invalid; {date}\r\n");
    let head = format!(
        "From: <{nonce}@check.invalid>\r\nTo: <{mailbox}>\r\nDate: {date}\r\nMessage-ID: <{nonce}@check.invalid>\r\n\
         Subject: test of the end of data\r\n\r\n"
    );
    let text = "A test of where this server sees the end of a mail, by gatepost check --smuggling.";
    [hop.repeat(HOPS), head, text.to_owned()]
        .concat()
        .into_bytes()
}

/// RFC 5322 3.3.
fn date(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = i64::try_from(seconds / 86_400).unwrap_or_default();
    let (year, month, day) = civil(days);
    let at = usize::try_from(month - 1).unwrap_or_default();
    let month = MONTHS.get(at).copied().unwrap_or("Jan");
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{day} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
#[path = "smuggling_tests.rs"]
mod tests;
