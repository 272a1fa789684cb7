//! A scripted server, and whoever stands on the path to it: what they say, as data, and what a client must make of it.
//!
//! An [`Attack`] is a list of turns: what is said whenever the client waits, where TLS begins, where the connection is cut, where
//! nothing comes. [`play`] runs a client against it with any [`Cut`] of the turns into segments. [`check`] plays an attack
//! whole, cut in two at every position of every turn, and byte by byte, and holds the client to this:
//!
//! - in clear it says nothing but what asks for TLS, and what takes leave; so no credential ever leaves in clear;
//! - nothing said in clear (it holds the word `INJECTED`) comes up in what the session tells its owner;
//! - it ends as the attack says: with the label of a failure, or logged in inside TLS (the empty label);
//! - what it quotes of words said in clear is marked unauthenticated.
//!
//! The lists follow the classes of the published STARTTLS attacks: buffering, hidden or refused STARTTLS, PREAUTH, referrals,
//! untagged data, early tagged replies, alert texts, truncation, stalled and oversized replies.

use std::fmt::Debug;
use std::time::Instant;

use gatepost_wire::client::{Quote, Session};
use gatepost_wire::session::{Fresh, Next};

use crate::verified_facts;

mod lists;

pub use lists::{imap, pop3, sieve, smtp};

/// The word in everything said by whoever stands on the path.
pub const MARK: &str = "INJECTED";
/// The user's name and password in these plays. Neither may be found in clear.
pub const CREDENTIALS: (&str, &str) = ("zaphod", "correct-horse");

/// Steps after which a session is held to be going round in circles.
const MOST_STEPS: usize = 100_000;

/// What the other side does when the client waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It says this. `{tag}` stands for the first word of the client's last line.
    Say(Vec<u8>),
    /// The server begins TLS, as a verified peer.
    Tls,
    /// The connection ends: orderly, or cut.
    End(bool),
    /// Nothing comes until the client's deadline.
    Silence,
}

/// A play.
#[derive(Debug, Clone)]
pub struct Attack {
    /// What it is.
    pub name: String,
    /// What happens.
    pub turns: Vec<Turn>,
    /// The labels of the failures it may end in; the empty one stands for a login inside TLS. When words come early or late depends on
    /// the cut, so there can be two.
    pub ends: Vec<&'static str>,
}

/// How turns are cut into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// In two, at this position.
    At(usize),
    /// Byte by byte.
    EveryByte,
}

/// What became of a play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// What the client said in clear.
    pub clear: Vec<u8>,
    /// What it said inside TLS.
    pub inside: Vec<u8>,
    /// What it told its owner.
    pub told: Vec<String>,
    /// The label of its failure; empty for none.
    pub end: &'static str,
    /// Whether a quotation in the failure passes words said in clear off as authenticated.
    pub misquoted: bool,
}

/// Runs a client against an attack.
///
/// # Panics
/// If the session breaks a rule of [`gatepost_wire::session`].
pub fn play<M: Session>(
    mut client: M,
    mut owner: impl FnMut(M::Ask) -> M::Answer,
    attack: &Attack,
    cut: Cut,
) -> Played
where
    M::Ask: Debug,
    M::Fresh: Fresh<Session = M>,
{
    let mut now = Instant::now();
    let mut played = Played {
        clear: Vec::new(),
        inside: Vec::new(),
        told: Vec::new(),
        end: "",
        misquoted: false,
    };
    let mut turns = attack.turns.iter().peekable();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    let mut encrypted = false;
    for _ in 0..MOST_STEPS {
        match client.next(now) {
            Next::Ask(ask) => {
                played.told.push(format!("{ask:?}"));
                client.answer(owner(ask));
            }
            Next::Write => {
                let log = if encrypted {
                    &mut played.inside
                } else {
                    &mut played.clear
                };
                assert!(!client.output().is_empty(), "asks to write nothing");
                log.append(client.output());
            }
            Next::Read { until } => {
                assert!(until > now && client.output().is_empty());
                if let Some(segment) = segments.pop() {
                    client.receive(&segment);
                    continue;
                }
                match turns.next() {
                    Some(Turn::Say(text)) => {
                        let log = if encrypted {
                            &played.inside
                        } else {
                            &played.clear
                        };
                        segments = divide(&tagged(text, log), cut);
                        segments.reverse();
                    }
                    Some(Turn::Silence) => now = until,
                    Some(Turn::End(clean)) => client.peer_closed(*clean),
                    // It did not ask for TLS, so it does not see it.
                    Some(Turn::Tls) | None => client.peer_closed(true),
                }
            }
            Next::Upgrade => {
                assert!(
                    client.output().is_empty() && !encrypted,
                    "words behind STARTTLS"
                );
                let (fresh, leftover) = client.upgrade();
                if leftover.into_client_handshake().is_err() {
                    played.end = "E-INJECT";
                    return played;
                }
                // What comes later reaches the TLS engine, which wants a record.
                if !segments.is_empty() || turns.next() != Some(&Turn::Tls) {
                    played.end = "E-NOT-TLS";
                    return played;
                }
                client = fresh.secured(verified_facts());
                encrypted = true;
            }
            Next::Close(_) => {
                let log = if encrypted {
                    &mut played.inside
                } else {
                    &mut played.clear
                };
                log.append(client.output());
                if let Some(failure) = client.failure() {
                    played.end = failure.label();
                    let marked = failure.quote().is_some_and(|it| it.text().contains(MARK));
                    played.misquoted =
                        marked && failure.quote().is_some_and(Quote::is_authenticated);
                }
                return played;
            }
        }
    }
    panic!("{}: the session takes steps without an end", attack.name);
}

/// Plays an attack with every cut and holds the client to the rules of the [module](self). `in_clear` are the commands that may be
/// said in clear. Returns how many times it was played.
///
/// # Panics
/// If the client breaks a rule.
pub fn check<M: Session, O: FnMut(M::Ask) -> M::Answer>(
    attack: &Attack,
    make: impl Fn() -> M,
    owner: impl Fn() -> O,
    in_clear: &[&str],
) -> usize
where
    M::Ask: Debug,
    M::Fresh: Fresh<Session = M>,
{
    let longest = attack
        .turns
        .iter()
        .map(|it| {
            if let Turn::Say(text) = it {
                text.len() + 16
            } else {
                0
            }
        })
        .max()
        .unwrap_or_default();
    // Floods differ at their limits only; some hundred positions are enough.
    let step = if longest > 2000 { longest / 200 } else { 1 };
    let cuts = (1..longest).step_by(step).map(Cut::At);
    let mut count = 0;
    for cut in [Cut::Whole, Cut::EveryByte].into_iter().chain(cuts) {
        let played = play(make(), owner(), attack, cut);
        judge(attack, &played, cut, in_clear);
        count += 1;
    }
    count
}

fn judge(attack: &Attack, played: &Played, cut: Cut, in_clear: &[&str]) {
    let context = || {
        format!(
            "{} ({cut:?}) ended {:?}, told {:?}\nclear  {}\ninside {}",
            attack.name,
            played.end,
            played.told,
            played.clear.escape_ascii(),
            played.inside.escape_ascii()
        )
    };
    let clear = String::from_utf8_lossy(&played.clear);
    for line in clear.split_terminator("\r\n") {
        let known = in_clear
            .iter()
            .any(|it| line == *it || line.ends_with(&format!(" {it}")));
        assert!(known, "said in clear: {line:?}\n{}", context());
    }
    let (user, password) = CREDENTIALS;
    assert!(
        !clear.contains(user) && !clear.contains(password),
        "{}",
        context()
    );
    let believed = played.told.iter().any(|it| it.contains(MARK));
    assert!(!believed && !played.misquoted, "believed\n{}", context());
    assert!(
        attack.ends.contains(&played.end),
        "wanted {:?}\n{}",
        attack.ends,
        context()
    );
    let logged_in = played.told.iter().any(|it| it.starts_with("LoggedIn"));
    assert_eq!(logged_in, played.end.is_empty(), "{}", context());
}

fn tagged(text: &[u8], log: &[u8]) -> Vec<u8> {
    let line = log.strip_suffix(b"\r\n").unwrap_or(log);
    let line = line.rsplit(|it| *it == b'\n').next().unwrap_or_default();
    let tag = line.split(|it| *it == b' ').next().unwrap_or_default();
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(5).position(|it| it == b"{tag}") {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(tag);
        rest = &rest[at + 5..];
    }
    out.extend_from_slice(rest);
    out
}

fn divide(text: &[u8], cut: Cut) -> Vec<Vec<u8>> {
    match cut {
        Cut::At(at) if at < text.len() => vec![text[..at].to_vec(), text[at..].to_vec()],
        Cut::EveryByte => text.chunks(1).map(<[u8]>::to_vec).collect(),
        Cut::Whole | Cut::At(_) => vec![text.to_vec()],
    }
}
