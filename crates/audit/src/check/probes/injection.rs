//! A command slipped in behind STARTTLS (CVE-2011-0411 and its many children). What was read in clear must be forgotten at the upgrade
//! (RFC 3207 4.2, RFC 9051 6.2.1, RFC 2595 4); a server that keeps it lets anyone on the path speak inside somebody else's TLS.
//!
//! 1. `STARTTLS` and a harmless command go out in one segment.
//! 2. The answer is read to its last octet. What stands behind it was answered in clear: a fault, but not this one.
//! 3. After the handshake we wait, then say one command of our own and count the replies: more replies than commands is proof, whatever they
//!    say. A word of ours that comes back is proof too.
//! 4. What a server says unasked to anybody is known from the control, which waits at the same two places, and is no proof.
//!
//! The harmless command is NOOP with a nonce where there is one (SMTP, IMAP's tag, `ManageSieve`), CAPA for POP3.

use std::time::Duration;

use gatepost_net::client::probe::ShakeFailure;
use gatepost_trust::verify::Shares;

use super::control::unasked;
use super::{Errand, is_closing, shake_words};
use crate::check::facts::{Injection, Seen};
use crate::check::reply::{Mood, escape};
use crate::check::talk::{Silence, Talk};
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
pub(crate) enum Outcome {
    /// This is certain already.
    Sure(Injection),
    /// The handshake failed, and how.
    NoHandshake(String),
    /// Words that were too many: before a command of ours, and behind its answer.
    Words {
        early: Option<String>,
        late: Option<String>,
    },
}

/// What an honest client had.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    /// Words that came unasked behind the handshake.
    pub(crate) early: Seen<Option<String>>,
    /// Words behind the answer to the first command.
    pub(crate) late: Seen<Option<String>>,
    /// Whether the handshake went well.
    pub(crate) shakes: bool,
    /// In whose words.
    pub(crate) protocol: Protocol,
}

impl Control {
    /// Whether more came than an honest client was told at this place. None where nobody knows what that is.
    fn is_exceeded(&self, usual: &Seen<Option<String>>, words: Option<&str>) -> Option<bool> {
        let Some(words) = words else {
            return Some(false);
        };
        let usual = usual.known()?.as_deref();
        let count = |it: &str| replies(it, self.protocol);
        Some(count(words) > usual.map_or(0, count))
    }
}

/// How many replies stand in escaped words: lines, for SMTP those that end one (RFC 5321 4.2.1), for IMAP those with a tag (RFC 9051 7).
fn replies(words: &str, protocol: Protocol) -> usize {
    let lines = words.split("\\n").filter(|it| !it.is_empty());
    let ends = |line: &&str| match protocol {
        Protocol::Smtp | Protocol::Lmtp => line.as_bytes().get(3) != Some(&b'-'),
        Protocol::Imap => !line.starts_with("* "),
        _ => true,
    };
    lines.filter(ends).count()
}

impl Outcome {
    /// With what the control brought: words that come in any case prove nothing, and neither does a handshake that fails in any case.
    pub(crate) fn settle(self, control: &Control) -> Seen<Injection> {
        let (early, late) = match self {
            Self::Sure(injection) => return Seen::Known(injection),
            Self::NoHandshake(how) if control.shakes => {
                return Seen::Known(Injection::Refused { how });
            }
            Self::NoHandshake(_) => {
                return Seen::unknown(
                    "no handshake of ours goes well here, so nobody could see what becomes of words slipped in before one",
                );
            }
            Self::Words { early, late } => (early, late),
        };
        let more = [
            control.is_exceeded(&control.early, early.as_deref()),
            control.is_exceeded(&control.late, late.as_deref()),
        ];
        if more.contains(&Some(true)) {
            let proof = [early, late].into_iter().flatten().collect();
            return Seen::Known(Injection::Executed { proof });
        }
        if more.contains(&None) {
            return Seen::unknown(
                "words came unasked, and there is no control to compare them with",
            );
        }
        Seen::Known(Injection::Discarded)
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
    let refused = |how: String| Ok(Outcome::Sure(Injection::Refused { how }));
    if talk.say(&segment).await.is_err() {
        return refused("the connection ended".to_owned());
    }
    let reply = match talk.hear(&until).await {
        Ok(reply) => reply,
        Err(silence @ Silence::Closed) => return refused(silence.words(command)),
        Err(silence) => return Err(silence.words(command)),
    };
    match reply.mood {
        Mood::Yes => {}
        Mood::NotNow => return Err(put_off(errand, reply.last())),
        _ => return refused(reply.last().to_owned()),
    }
    // What was slipped in was read as TLS, which it is not.
    if let [21, 3, _, _, _, _, description, ..] = talk.probe.received().as_slice() {
        return refused(format!("TLS alert {description} to the words slipped in"));
    }
    let residue = escape(talk.probe.received());
    if !residue.is_empty() {
        return Ok(Outcome::Sure(Injection::AnsweredInClear { words: residue }));
    }
    match errand.shake(talk, Shares::Hybrid).await {
        Ok(_) => inside(errand, talk, way, wait).await,
        Err(ShakeFailure::NotTls(words)) => {
            let words = escape(&words);
            if is_closing(&words) {
                return Err(put_off(errand, &words));
            }
            Ok(Outcome::Sure(Injection::AnsweredInClear { words }))
        }
        Err(failure) => Ok(Outcome::NoHandshake(shake_words(&failure))),
    }
}

/// Why it cannot be told now. Who says that it is enough is asked no more.
fn put_off(errand: &Errand, words: &str) -> String {
    let why = format!("put off: {words}");
    if is_closing(words) {
        errand.budget.stop(&why);
    }
    why
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
    talk.probe.received().clear();
    if let Some(words) = early.as_deref().filter(|it| is_closing(it)) {
        return Err(put_off(errand, words));
    }
    let (words, until) = match way {
        Way::Part => own_part(talk),
        Way::Whole | Way::BareLf => own_command(talk),
    };
    talk.say(&words).await.map_err(|it| it.words("a command"))?;
    let reply = talk
        .hear(&until)
        .await
        .map_err(|it| it.words("a command"))?;
    if reply.mood == Mood::NotNow {
        return Err(put_off(errand, reply.last()));
    }
    // What is too much was said together with what we heard: no round trip lies between.
    let late = unasked(talk, wait / 3).await;
    if let Some(words) = late.as_deref().filter(|it| is_closing(it)) {
        return Err(put_off(errand, words));
    }
    let mut heard = early.clone().unwrap_or_default();
    heard.push_str(&reply.lines.join("\\n"));
    heard.push_str(late.as_deref().unwrap_or(""));
    let merged = way == Way::Part && reply.mood == Mood::Yes;
    if heard.contains(&errand.nonce) || merged {
        return Ok(Outcome::Sure(Injection::Executed { proof: heard }));
    }
    Ok(Outcome::Words { early, late })
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

    fn words(early: Option<&str>, late: Option<&str>) -> Outcome {
        Outcome::Words {
            early: early.map(str::to_owned),
            late: late.map(str::to_owned),
        }
    }

    fn control(early: Option<&str>, late: Option<&str>) -> Control {
        Control {
            early: Seen::Known(early.map(str::to_owned)),
            late: Seen::Known(late.map(str::to_owned)),
            shakes: true,
            protocol: Protocol::Smtp,
        }
    }

    fn is_executed(outcome: Outcome, control: &Control) -> bool {
        match outcome.settle(control) {
            Seen::Known(Injection::Executed { .. }) => true,
            Seen::Known(Injection::Discarded) => false,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn more_words_than_an_honest_client_hears_are_proof() {
        let quiet = control(None, None);
        assert!(is_executed(words(Some("250 ok\\r\\n"), None), &quiet));
        assert!(is_executed(words(None, Some("250 ok\\r\\n")), &quiet));
        assert!(!is_executed(words(None, None), &quiet));
        // One that greets again says so to everybody.
        let greets = control(Some("220 again\\r\\n"), None);
        assert!(!is_executed(words(Some("220 again\\r\\n"), None), &greets));
        let both = "220 again\\r\\n250 ok\\r\\n";
        assert!(is_executed(words(Some(both), None), &greets));
        // One that greets late lags a reply behind ever after: EHLO's has many lines.
        let late = control(None, Some("250-mail\\r\\n250-SIZE\\r\\n250 HELP\\r\\n"));
        assert!(!is_executed(words(None, Some("250 ok\\r\\n")), &late));
        // IMAP may say how it stands at any time.
        let imap = Control {
            protocol: Protocol::Imap,
            ..quiet.clone()
        };
        let still = "* OK still here\\r\\n";
        assert!(!is_executed(words(None, Some(still)), &imap));
        let tagged = "* OK still here\\r\\nx OK done\\r\\n";
        assert!(is_executed(words(None, Some(tagged)), &imap));
        let two = "250 ok\\r\\n250 ok\\r\\n";
        assert!(is_executed(words(None, Some(two)), &late));
    }

    #[test]
    fn without_a_control_words_prove_nothing() {
        let mut unseen = control(None, None);
        unseen.early = Seen::Unasked;
        let came = words(Some("250 ok"), None);
        assert!(matches!(came.settle(&unseen), Seen::Unknown { .. }));
        assert!(!is_executed(words(None, None), &unseen));
    }

    #[test]
    fn a_handshake_that_fails_refuses_words_only_where_it_goes_well_without_them() {
        let how = "closed".to_owned();
        let mut control = control(None, None);
        let refused = Seen::Known(Injection::Refused { how: how.clone() });
        assert_eq!(Outcome::NoHandshake(how.clone()).settle(&control), refused);
        control.shakes = false;
        let open = Outcome::NoHandshake(how.clone()).settle(&control);
        assert!(matches!(open, Seen::Unknown { .. }));
        // STARTTLS itself was refused: that is an answer whatever becomes of handshakes.
        let sure = Outcome::Sure(Injection::Refused { how });
        assert_eq!(sure.settle(&control), refused);
    }
}
