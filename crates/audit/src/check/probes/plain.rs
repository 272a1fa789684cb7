//! What would go through in clear. No credential is sent: a login is begun without one and broken off, and the mail has no recipient.

use gatepost_trust::verify::Shares;

use super::{Errand, ntlm};
use crate::check::facts::{Ntlm, Seen};
use crate::check::reply::Mood;
use crate::check::talk::Talk;
use crate::check::target::Protocol;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    pub(crate) login: Seen<bool>,
    pub(crate) ntlm: Seen<Ntlm>,
    pub(crate) mail: Seen<bool>,
    pub(crate) state_kept: Seen<bool>,
}

/// Runs it; `has_ntlm` says whether that is offered in clear.
pub(crate) async fn run(errand: &Errand, has_ntlm: bool) -> Plain {
    let mut talk = match errand.begin().await {
        Ok(talk) => talk,
        Err(why) => {
            return Plain {
                login: Seen::unknown(why.clone()),
                ntlm: if has_ntlm {
                    Seen::unknown(why.clone())
                } else {
                    Seen::Unasked
                },
                mail: for_smtp(errand, Seen::unknown(why.clone())),
                state_kept: for_smtp(errand, Seen::unknown(why)),
            };
        }
    };
    let login = login(&mut talk, &errand.nonce).await;
    let mut plain = Plain {
        login,
        ..Plain::default()
    };
    if has_ntlm {
        plain.ntlm = ntlm::ask(&mut talk).await;
    }
    if errand.target.protocol == Protocol::Smtp {
        plain.mail = mail(&mut talk).await;
        plain.state_kept = match plain.mail {
            Seen::Known(true) => state_kept(errand, &mut talk).await,
            Seen::Known(false) => Seen::Unasked,
            _ => Seen::unknown("MAIL was not answered"),
        };
    }
    talk.leave().await;
    plain
}

fn for_smtp(errand: &Errand, seen: Seen<bool>) -> Seen<bool> {
    match errand.target.protocol {
        Protocol::Smtp => seen,
        _ => Seen::Unasked,
    }
}

/// Whether a login is let begin (RFC 4954 4, RFC 9051 6.2.2, RFC 5034 4). POP3's USER is tried where SASL is not taken.
async fn login(talk: &mut Talk, nonce: &str) -> Seen<bool> {
    let question = match talk.protocol {
        Protocol::Smtp | Protocol::Lmtp | Protocol::Pop3 => "AUTH PLAIN",
        Protocol::Imap => "AUTHENTICATE PLAIN",
        // Its continuation is a string without a line that says so.
        Protocol::Sieve => return Seen::Unasked,
    };
    // The end of what follows has the tag of this question, too.
    let (octets, until) = talk.spell(question);
    let heard = match talk.say(&octets).await {
        Ok(()) => talk.hear(&until).await,
        Err(silence) => Err(silence),
    };
    let goes_on = match heard {
        Ok(reply) if reply.mood == Mood::NotNow => return Seen::unknown(reply.last()),
        Ok(reply) => reply.mood == Mood::More,
        Err(silence) => return Seen::unknown(silence.words(question)),
    };
    if goes_on {
        // Broken off before a word of it (RFC 4954 4).
        if talk.say(b"*\r\n").await.is_err() || talk.hear(&until).await.is_err() {
            return Seen::Known(true);
        }
    } else if talk.protocol == Protocol::Pop3 {
        return match talk.ask(&format!("USER {nonce}")).await {
            Ok(reply) => Seen::Known(reply.mood == Mood::Yes),
            Err(silence) => Seen::unknown(silence.words("USER")),
        };
    }
    Seen::Known(goes_on)
}

/// Whether a mail could begin: the empty sender, and nothing after it.
async fn mail(talk: &mut Talk) -> Seen<bool> {
    match talk.ask("MAIL FROM:<>").await {
        Ok(reply) if reply.mood == Mood::NotNow => Seen::unknown(reply.last()),
        Ok(reply) => Seen::Known(reply.mood == Mood::Yes),
        Err(silence) => Seen::unknown(silence.words("MAIL")),
    }
}

/// Whether the sender said in clear still counts inside TLS (RFC 3207 4.2). `postmaster` is what every server takes (RFC 5321 4.5.1);
/// nothing is sent to it.
async fn state_kept(errand: &Errand, talk: &mut Talk) -> Seen<bool> {
    match talk.ask("STARTTLS").await {
        Ok(reply) if reply.mood == Mood::NotNow => return Seen::unknown(reply.last()),
        // Not in the midst of a transaction: a sound answer.
        Ok(reply) if reply.mood != Mood::Yes => return Seen::Known(false),
        Ok(_) => {}
        Err(silence) => return Seen::unknown(silence.words("STARTTLS")),
    }
    if let Err(failure) = errand.shake(talk, Shares::Hybrid).await {
        return Seen::unknown(super::shake_words(&failure));
    }
    match talk.ask("RCPT TO:<postmaster>").await {
        Ok(reply) if reply.mood == Mood::Yes => Seen::Known(true),
        // 503 out of order, 530 and 550 by policy: forgotten, or at least of no use.
        Ok(reply) if reply.mood == Mood::No => Seen::Known(false),
        Ok(reply) => Seen::unknown(reply.last()),
        Err(silence) => Seen::unknown(silence.words("RCPT")),
    }
}
