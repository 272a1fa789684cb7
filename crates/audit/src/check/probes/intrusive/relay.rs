//! What SMTP does for strangers: whether it takes mail for elsewhere, and whether it tells which names there are.
//!
//! The recipient stands in a domain that is reserved for examples (RFC 2606 3), and each transaction is taken back with RSET right behind the
//! answer: there is never a DATA, so nothing can be sent. Asked inside TLS where the server has it, as most clients would.

use gatepost_trust::verify::Shares;

use super::{refused, worked};
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::{Errand, refusal, shake_words};
use crate::check::reply::{Mood, Reply};
use crate::check::talk::{Silence, Talk};
use crate::check::target::Start;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) relay: Seen<Provocation>,
    pub(crate) names: Seen<Provocation>,
}

/// Runs it.
pub(crate) async fn run(errand: &Errand, has_tls: bool) -> Found {
    let mut talk = match begin(errand, has_tls).await {
        Ok(talk) => talk,
        Err(why) => {
            return Found {
                relay: Seen::unknown(why.clone()),
                names: Seen::unknown(why),
            };
        }
    };
    let relay = relay(&mut talk, errand).await;
    let names = names(&mut talk, &errand.nonce).await;
    talk.leave().await;
    Found { relay, names }
}

/// As far as a mail can be begun, as most clients would.
pub(super) async fn begin(errand: &Errand, has_tls: bool) -> Result<Talk, String> {
    if !has_tls {
        return errand.begin().await;
    }
    let mut talk = errand.begin_tls().await?;
    let shaken = errand.shake(&mut talk, Shares::Hybrid).await;
    shaken.map_err(|failure| shake_words(&failure))?;
    if errand.target.start == Start::Implicit {
        let (greeting, _) = talk.greeting().await;
        if let Some(why) = refusal(&greeting) {
            errand.budget.stop(&why);
            return Err(why);
        }
    }
    errand.capabilities(&mut talk).await?;
    Ok(talk)
}

/// Senders of three kinds: nobody, as for reports; somebody elsewhere; one of the server's own.
async fn relay(talk: &mut Talk, errand: &Errand) -> Seen<Provocation> {
    let nonce = &errand.nonce;
    let recipient = format!("{nonce}@example.com");
    let senders = [
        String::new(),
        format!("{nonce}@example.org"),
        format!("postmaster@{}", errand.target.host.trim_end_matches('.')),
    ];
    let mut refusals: Vec<String> = Vec::new();
    let mut unsure = None;
    for sender in senders {
        match transaction(talk, &sender, &recipient).await {
            Ok(reply) if reply.mood == Mood::Yes => {
                return worked(format!("<{sender}> to <{recipient}>: {}", reply.last()));
            }
            Ok(reply) if reply.mood == Mood::No => refusals.push(reply.last().to_owned()),
            Ok(reply) => unsure = unsure.or(Some(reply.last().to_owned())),
            Err(silence) => {
                unsure = unsure.or(Some(silence.words("a recipient elsewhere")));
                break;
            }
        }
    }
    match unsure {
        Some(why) => Seen::unknown(why),
        None => refused(refusals.pop().unwrap_or_default()),
    }
}

/// The answer that decides: to the recipient, or to the sender where that is refused already.
async fn transaction(talk: &mut Talk, sender: &str, recipient: &str) -> Result<Reply, Silence> {
    let begun = talk.ask(&format!("MAIL FROM:<{sender}>")).await?;
    let answer = if begun.mood == Mood::Yes {
        talk.ask(&format!("RCPT TO:<{recipient}>")).await?
    } else {
        begun
    };
    // Before anything else can be said: there must be no transaction left.
    talk.ask("RSET").await?;
    Ok(answer)
}

/// Whether a name that is there (RFC 5321 4.5.1) is told from one that is not. To answer 252 to both tells nothing, which is what RFC 5321 3.5.3
/// advises.
async fn names(talk: &mut Talk, nonce: &str) -> Seen<Provocation> {
    let mut replies = Vec::new();
    let questions = [
        "VRFY postmaster".to_owned(),
        format!("VRFY {nonce}"),
        "EXPN postmaster".to_owned(),
    ];
    for question in questions {
        match talk.ask(&question).await {
            Ok(reply) if reply.mood == Mood::NotNow => return Seen::unknown(reply.last()),
            Ok(reply) => replies.push(reply.last().to_owned()),
            Err(silence) => return Seen::unknown(silence.words(&question)),
        }
    }
    let [known, unknown, list] = replies.as_slice() else {
        return Seen::unknown("not everything was answered");
    };
    let code = |line: &String| line.get(..3).unwrap_or_default().to_owned();
    if code(known) != code(unknown) {
        worked(format!(
            "VRFY: {known} for one that is there, {unknown} for one that is not"
        ))
    } else if code(list) == "250" {
        worked(format!("EXPN: {list}"))
    } else {
        refused(known.clone())
    }
}
