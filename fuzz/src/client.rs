//! Drives a client's session with an input: what servers, and whoever stands on the path to them, might say.
//!
//! The text of an input is divided into turns by octets of 255; a turn is handed over, cut at the input's borders, when the client
//! waits. `{tag}` stands for the first word of the client's last line, `<tls>` is where TLS begins. Whatever is said: the
//! client comes to an end, and in clear it says nothing but what asks for TLS and takes leave.

use std::fmt::Debug;
use std::time::Instant;

use gatepost_testkit::verified_facts;
use gatepost_wire::client::Session;
use gatepost_wire::session::{Fresh, Next};

use crate::behaviour;
use crate::input::Input;

/// As a command that may be said in clear: anything but a login.
pub const ANYTHING: &str = "*";
/// What a login would look like.
const LOGINS: [&str; 6] = [
    "AUTH ",
    "AUTHENTICATE ",
    "LOGIN ",
    "USER ",
    "PASS ",
    "pencil",
];
/// Divides turns.
const TURN: u8 = 0xff;
/// Steps after which a session is held to be going round in circles.
const MOST_STEPS: usize = 200_000;

/// Runs a client to its end, first whole and then cut. Returns what it told its owner when whole, and the label of its failure.
///
/// # Panics
/// When the session breaks a rule.
pub fn run<M: Session, O: FnMut(M::Ask) -> M::Answer>(
    input: &Input<'_>,
    make: impl Fn() -> M,
    owner: impl Fn() -> O,
    in_clear: &[&str],
) -> (Vec<String>, &'static str)
where
    M::Ask: Debug,
    M::Fresh: Fresh<Session = M>,
{
    once(input, make(), owner(), in_clear, true);
    once(input, make(), owner(), in_clear, false)
}

/// As [`run`], for a client that says nothing in return: what it tells must not depend on the cut.
///
/// # Panics
/// When it does, or the session breaks a rule.
pub fn run_silent<M: Session, O: FnMut(M::Ask) -> M::Answer>(
    input: &Input<'_>,
    make: impl Fn() -> M,
    owner: impl Fn() -> O,
) where
    M::Ask: Debug,
    M::Fresh: Fresh<Session = M>,
{
    let cut = once(input, make(), owner(), &[], true);
    let whole = once(input, make(), owner(), &[], false);
    assert_eq!(whole, cut, "the cut changes what the client understands");
}

fn once<M: Session>(
    input: &Input<'_>,
    mut client: M,
    mut owner: impl FnMut(M::Ask) -> M::Answer,
    in_clear: &[&str],
    cut: bool,
) -> (Vec<String>, &'static str)
where
    M::Ask: Debug,
    M::Fresh: Fresh<Session = M>,
{
    let now = Instant::now();
    let mut told = Vec::new();
    let mut encrypted = client.channel().is_encrypted();
    let mut said = Vec::new();
    let mut turns = turns(if encrypted { input.inside } else { input.clear });
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for _ in 0..MOST_STEPS {
        match client.next(now) {
            Next::Ask(ask) => {
                let text = format!("{ask:?}");
                behaviour::note(text.split(['(', ' ', '{']).next());
                told.push(text);
                client.answer(owner(ask));
            }
            Next::Write => {
                assert!(
                    !client.output().is_empty(),
                    "the session asks to write nothing"
                );
                said = std::mem::take(client.output());
                check_clear(&said, encrypted, in_clear);
            }
            Next::Read { until } => {
                assert!(
                    client.output().is_empty(),
                    "the session wants to read with output unwritten"
                );
                assert!(
                    until > now,
                    "the session wants to read until a time that has passed"
                );
                if segments.is_empty()
                    && let Some(turn) = turns.pop()
                {
                    let text = tagged(turn, &said);
                    let pieces = if cut {
                        input.segments(&text)
                    } else {
                        vec![&text[..]]
                    };
                    segments = pieces.into_iter().map(<[u8]>::to_vec).rev().collect();
                }
                match segments.pop() {
                    Some(segment) => client.receive(&segment),
                    None => client.peer_closed(true),
                }
            }
            Next::Upgrade => {
                assert!(
                    !encrypted && client.output().is_empty(),
                    "a second upgrade, or words behind the first"
                );
                let (fresh, leftover) = client.upgrade();
                behaviour::note("upgrade");
                if leftover.into_client_handshake().is_err() || !segments.is_empty() {
                    return (told, "E-INJECT");
                }
                client = fresh.secured(verified_facts());
                encrypted = true;
                turns = self::turns(input.inside);
            }
            Next::Close(_) => {
                check_clear(client.output(), encrypted, in_clear);
                let end = client.failure().map_or("", |it| it.label());
                behaviour::note(end);
                return (told, end);
            }
        }
    }
    panic!("the session takes steps without an end");
}

/// The turns, last first.
fn turns(text: &[u8]) -> Vec<&[u8]> {
    let mut turns: Vec<_> = text
        .split(|it| *it == TURN)
        .filter(|it| !it.is_empty())
        .collect();
    turns.reverse();
    turns
}

fn check_clear(said: &[u8], encrypted: bool, in_clear: &[&str]) {
    if encrypted {
        return;
    }
    for line in String::from_utf8_lossy(said).split_terminator("\r\n") {
        let known = in_clear
            .iter()
            .any(|it| line == *it || line.ends_with(&format!(" {it}")));
        let anything = in_clear.contains(&ANYTHING) && !LOGINS.iter().any(|it| line.contains(it));
        assert!(known || anything, "said in clear: {line:?}");
    }
}

fn tagged(text: &[u8], said: &[u8]) -> Vec<u8> {
    let tag = said.split(|it| *it == b' ').next().unwrap_or_default();
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
