//! A command slipped in behind STARTTLS (CVE-2011-0411 and its many children). What was read in clear must be forgotten at the upgrade
//! (RFC 3207 4.2, RFC 9051 6.2.1, RFC 2595 4); a server that keeps it lets anyone on the path speak inside somebody else's TLS.
//!
//! 1. `STARTTLS` and a harmless command go out in one segment.
//! 2. The answer is read to its last octet. What stands behind it was answered in clear: a fault, but not this one.
//! 3. After the handshake we wait, then say one command of our own and count the replies: more replies than commands is proof, whatever they
//!    say. A word of ours that comes back is proof too.
//! 4. What a server says unasked after any handshake is known from the control and is no proof.
//!
//! The harmless command is NOOP with a nonce where there is one (SMTP, IMAP's tag, `ManageSieve`), CAPA for POP3.

use std::time::Duration;

use gatepost_net::client::probe::ShakeFailure;
use gatepost_trust::verify::Shares;

use super::control::unasked;
use super::{Errand, shake_words};
use crate::check::facts::{Injection, Seen};
use crate::check::reply::{Mood, escape};
use crate::check::talk::Talk;
use crate::check::target::Protocol;

/// How the command is slipped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A whole line behind STARTTLS.
    Whole,
    /// The beginning of a line, to be ended by the first command inside TLS.
    Part,
    /// A line, and STARTTLS itself ends in a bare LF.
    BareLf,
}

/// What an injected command brought, before it is compared with the control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What is certain already.
    pub(crate) injection: Injection,
    /// Words that came after the handshake before a command of ours.
    pub(crate) unasked: Option<String>,
}

impl Outcome {
    fn sure(injection: Injection) -> Self {
        Self {
            injection,
            unasked: None,
        }
    }

    /// With what the control brought: words that come unasked in any case prove nothing.
    pub(crate) fn settle(self, control: &Seen<Option<String>>) -> Seen<Injection> {
        match (self.injection, self.unasked, control) {
            (Injection::Discarded, Some(proof), Seen::Known(None)) => {
                Seen::Known(Injection::Executed { proof })
            }
            (Injection::Discarded, Some(_), Seen::Unknown { .. } | Seen::Unasked) => {
                Seen::unknown("words came unasked, and there is no control to compare them with")
            }
            (injection, ..) => Seen::Known(injection),
        }
    }
}

/// Runs it. `wait` is how long words may take that nobody asked for.
pub(crate) async fn run(errand: &Errand, way: Way, wait: Duration) -> Result<Outcome, String> {
    let mut talk = errand.begin().await?;
    let outcome = inject(errand, &mut talk, way, wait).await;
    talk.leave().await;
    outcome
}

async fn inject(
    errand: &Errand,
    talk: &mut Talk,
    way: Way,
    wait: Duration,
) -> Result<Outcome, String> {
    let command = errand.target.command();
    let (line, until) = talk.spell(command);
    let segment = segment(errand, &line, way);
    let refused = |how: String| Ok(Outcome::sure(Injection::Refused { how }));
    if talk.say(&segment).await.is_err() {
        return refused("the connection ended".to_owned());
    }
    let reply = match talk.hear(&until).await {
        Ok(reply) => reply,
        Err(silence) => return refused(silence.words(command)),
    };
    if reply.mood != Mood::Yes {
        return refused(reply.last().to_owned());
    }
    let residue = escape(talk.probe.received());
    if !residue.is_empty() {
        return Ok(Outcome::sure(Injection::AnsweredInClear { words: residue }));
    }
    match errand.shake(talk, Shares::Hybrid).await {
        Ok(_) => inside(errand, talk, way, wait).await,
        Err(ShakeFailure::NotTls(words)) => Ok(Outcome::sure(Injection::AnsweredInClear {
            words: escape(&words),
        })),
        Err(failure) => refused(shake_words(&failure)),
    }
}

/// What goes out in one segment.
fn segment(errand: &Errand, line: &[u8], way: Way) -> Vec<u8> {
    let payload = match (way, errand.target.protocol) {
        (Way::Part, Protocol::Imap) => format!("{} NO", errand.nonce),
        (Way::Part, Protocol::Pop3) => "CA".to_owned(),
        (Way::Part, _) => "NO".to_owned(),
        (_, Protocol::Imap) => format!("{} NOOP\r\n", errand.nonce),
        (_, Protocol::Pop3) => "CAPA\r\n".to_owned(),
        (_, Protocol::Sieve) => format!("NOOP \"{}\"\r\n", errand.nonce),
        (_, Protocol::Smtp | Protocol::Lmtp) => format!("NOOP {}\r\n", errand.nonce),
    };
    let mut segment = match way {
        Way::BareLf => [line.strip_suffix(b"\r\n").unwrap_or(line), b"\n"].concat(),
        Way::Whole | Way::Part => line.to_vec(),
    };
    segment.extend(payload.as_bytes());
    segment
}

/// Inside TLS: what comes unasked, and whether one command brings more than one reply.
async fn inside(
    errand: &Errand,
    talk: &mut Talk,
    way: Way,
    wait: Duration,
) -> Result<Outcome, String> {
    let early = unasked(talk, wait).await;
    let mut heard = escape(talk.probe.received());
    talk.probe.received().clear();
    let (words, until) = match way {
        Way::Part => own_part(talk),
        Way::Whole | Way::BareLf => own_command(talk),
    };
    talk.say(&words).await.map_err(|it| it.words("a command"))?;
    let reply = talk
        .hear(&until)
        .await
        .map_err(|it| it.words("a command"))?;
    heard.push_str(&reply.lines.join("\\n"));
    // What is too much was said together with what we heard: no round trip lies between.
    let late = unasked(talk, wait / 3).await;
    heard.push_str(late.as_deref().unwrap_or(""));
    let merged = way == Way::Part && reply.mood == Mood::Yes;
    let injection = if heard.contains(&errand.nonce) || merged || late.is_some() {
        Injection::Executed { proof: heard }
    } else {
        Injection::Discarded
    };
    Ok(Outcome {
        injection,
        unasked: early,
    })
}

/// A command of ours with exactly one reply.
fn own_command(talk: &mut Talk) -> (Vec<u8>, crate::check::reply::Until) {
    let command = match talk.protocol {
        Protocol::Smtp | Protocol::Lmtp => "RSET",
        Protocol::Pop3 => "CAPA",
        Protocol::Imap | Protocol::Sieve => "CAPABILITY",
    };
    talk.spell(command)
}

/// The end of a command whose beginning was slipped in; alone it is none.
fn own_part(talk: &Talk) -> (Vec<u8>, crate::check::reply::Until) {
    use crate::check::reply::Until;
    match talk.protocol {
        Protocol::Smtp | Protocol::Lmtp => (b"OP\r\n".to_vec(), Until::Code),
        Protocol::Imap => (b"OP\r\n".to_vec(), Until::Line),
        Protocol::Pop3 => (b"PA\r\n".to_vec(), Until::List),
        Protocol::Sieve => (b"OP\r\n".to_vec(), Until::Word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(injection: Injection, unasked: Option<&str>) -> Outcome {
        Outcome {
            injection,
            unasked: unasked.map(str::to_owned),
        }
    }

    #[test]
    fn what_comes_unasked_proves_something_only_if_it_does_not_come_anyway() {
        let came = outcome(Injection::Discarded, Some("250 ok"));
        let executed = Seen::Known(Injection::Executed {
            proof: "250 ok".to_owned(),
        });
        assert_eq!(came.clone().settle(&Seen::Known(None)), executed);
        let greeted = Seen::Known(Some("220 again".to_owned()));
        let discarded = Seen::Known(Injection::Discarded);
        assert_eq!(came.clone().settle(&greeted), discarded);
        assert!(matches!(came.settle(&Seen::Unasked), Seen::Unknown { .. }));
        let quiet = outcome(Injection::Discarded, None);
        assert_eq!(quiet.settle(&Seen::Known(None)), discarded);
    }
}
