//! Odd ways to begin TLS: without STARTTLS, with a parameter, after words in clear, and what follows a handshake that failed.

use std::time::{Duration, Instant};

use super::{Errand, hello};
use crate::check::facts::Seen;
use crate::check::reply::{Mood, escape};
use crate::check::talk::is_tls;
use crate::check::target::Protocol;

/// How long an implicit port has to say something in clear.
const LISTEN: Duration = Duration::from_secs(2);

/// Whether TLS is spoken on a STARTTLS port without STARTTLS.
pub(crate) async fn eager(errand: &Errand) -> Seen<bool> {
    let mut talk = match errand.begin().await {
        Ok(talk) => talk,
        Err(why) => return Seen::unknown(why),
    };
    let hello = hello::modern(&errand.target, super::hello::random(&errand.nonce));
    if talk
        .probe
        .write(&hello.record(), errand.patience)
        .await
        .is_err()
    {
        return Seen::Known(false);
    }
    // Whatever else comes, or nothing: words are a no, and so is the hello sent back as the name of a command.
    let answer = hello::answer(&mut talk, errand.patience.min(LISTEN)).await;
    let spoken = answer
        .known()
        .is_some_and(|it| it.is_taken() || it.alert.is_some());
    Seen::Known(spoken)
}

/// Whether `STARTTLS x` is taken; it has no parameters (RFC 3207 4).
pub(crate) async fn parameter(errand: &Errand) -> Seen<bool> {
    let mut talk = match errand.begin().await {
        Ok(talk) => talk,
        Err(why) => return Seen::unknown(why),
    };
    let command = format!("{} x", errand.target.command());
    let answer = talk.ask(&command).await;
    let seen = match answer {
        Ok(reply) => Seen::Known(reply.mood == Mood::Yes),
        Err(silence) => Seen::unknown(silence.words(&command)),
    };
    if seen != Seen::Known(true) {
        talk.leave().await;
    }
    seen
}

/// Whether the server goes on in clear after a handshake that failed (RFC 3207 4.1 leaves no other way than to end it, or to have TLS).
pub(crate) async fn after_failure(errand: &Errand) -> Seen<bool> {
    let mut talk = match errand.begin_tls().await {
        Ok(talk) => talk,
        Err(why) => return Seen::unknown(why),
    };
    // A handshake record that holds none.
    let garbage = [22, 3, 1, 0, 4, 1, 0, 0, 0];
    let noop: &[u8] = match errand.target.protocol {
        Protocol::Imap => b"g1 NOOP\r\n",
        _ => b"NOOP\r\n",
    };
    let both = [&garbage[..], noop].concat();
    if talk.probe.write(&both, errand.patience).await.is_err() {
        return Seen::Known(false);
    }
    let until = Instant::now() + errand.patience.min(LISTEN);
    while talk.probe.read(until).await.is_ok() && Instant::now() < until {}
    let words = talk.probe.received();
    // An alert comes first, if at all; words behind it count.
    let text = escape(words);
    let spoke = [
        "250 ", "500 ", "502 ", "503 ", "+OK", "-ERR", "g1 ", "OK", "NO ",
    ];
    Seen::Known(!words.is_empty() && spoke.iter().any(|it| text.contains(it)))
}

/// Implicit TLS: whether words in clear come before any of ours.
pub(crate) async fn clear_words(errand: &Errand) -> Seen<Option<String>> {
    let mut talk = match errand.open().await {
        Ok(talk) => talk,
        Err(why) => return Seen::unknown(why),
    };
    let until = Instant::now() + LISTEN;
    // Silence is what is right.
    let _ = talk.probe.read(until).await;
    let words = talk.probe.received();
    Seen::Known((!words.is_empty() && !is_tls(words)).then(|| escape(words)))
}
