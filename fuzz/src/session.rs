//! Drives a session with an input, twice: cut at the input's borders, and whole. Both must come to the same.

use std::time::{Duration, Instant};

use gatepost_testkit::facts;
use gatepost_wire::session::{Fresh, Machine, Next, Why};

use crate::behaviour;
use crate::input::Input;

/// Steps after which a session is held to be going round in circles.
const MOST_STEPS: usize = 200_000;
/// More output than this from an input is a fault: nothing may multiply like that.
const MOST_OUTPUT: usize = 64 << 20;

/// Whoever stands behind a session: answers that depend on the question only, so that they are the same for every cut.
pub trait Backend<M: Machine> {
    /// Answers a question. `encrypted` says whether TLS is up.
    fn answer(&mut self, ask: M::Ask, encrypted: bool) -> M::Answer;
}

/// What became of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it wrote in clear.
    pub clear: Vec<u8>,
    /// What it wrote inside TLS.
    pub inside: Vec<u8>,
    /// Why it closed, if it did.
    pub closed: Option<Why>,
    /// Whether it was upgraded.
    pub upgraded: bool,
}

/// How a session begins.
pub enum Begin<M: Machine> {
    /// In clear.
    Clear(M),
    /// Inside TLS.
    Implicit(M::Fresh),
}

/// Runs the input cut and whole and compares. Returns the outcome.
///
/// # Panics
/// When the outcomes differ, or the session breaks a rule of [`gatepost_wire::session`].
pub fn run<M, B>(
    input: &Input<'_>,
    begin: impl Fn(Instant) -> Begin<M>,
    backend: impl Fn() -> B,
) -> Outcome
where
    M: Machine,
    M::Fresh: Fresh<Session = M>,
    B: Backend<M>,
{
    let now = Instant::now();
    let whole = once(begin(now), backend(), now, &[input.clear], &[input.inside]);
    let cut = once(
        begin(now),
        backend(),
        now,
        &input.segments(input.clear),
        &input.segments(input.inside),
    );
    // Whether a client spoke out of turn depends on when it spoke: that one verdict may differ [SMTP-SMUG-04].
    let out_of_turn = [&whole, &cut]
        .iter()
        .any(|outcome| outcome.closed == Some(Why::OutOfSync));
    assert!(
        out_of_turn || whole == cut,
        "the cut changes the outcome:\nwhole {}\ncut   {}",
        show(&whole),
        show(&cut)
    );
    behaviour::note((whole.upgraded, whole.closed.map(Why::label)));
    whole
}

fn show(outcome: &Outcome) -> String {
    let Outcome {
        clear,
        inside,
        closed,
        upgraded,
    } = outcome;
    format!(
        "{closed:?} upgraded {upgraded} clear {} inside {}",
        clear.escape_ascii(),
        inside.escape_ascii()
    )
}

fn once<M, B>(
    begin: Begin<M>,
    mut backend: B,
    now: Instant,
    clear: &[&[u8]],
    inside: &[&[u8]],
) -> Outcome
where
    M: Machine,
    M::Fresh: Fresh<Session = M>,
    B: Backend<M>,
{
    let mut outcome = Outcome {
        clear: Vec::new(),
        inside: Vec::new(),
        closed: None,
        upgraded: false,
    };
    let fresh = match begin {
        Begin::Implicit(fresh) => fresh,
        Begin::Clear(machine) => match feed(
            machine,
            &mut backend,
            now,
            clear,
            (false, &mut outcome.clear),
        ) {
            (Pause::Upgrade, machine) => {
                let (fresh, leftover) = machine.upgrade();
                outcome.upgraded = true;
                if leftover.into_handshake().is_err() {
                    outcome.closed = Some(Why::StartTlsInjection);
                    return outcome;
                }
                fresh
            }
            (Pause::Closed(why), _) => {
                outcome.closed = Some(why);
                return outcome;
            }
            (Pause::Read, machine) => {
                outcome.closed = Some(farewell(
                    machine,
                    &mut backend,
                    now,
                    (false, &mut outcome.clear),
                ));
                return outcome;
            }
        },
    };
    let machine = fresh.secured(facts());
    match feed(
        machine,
        &mut backend,
        now,
        inside,
        (true, &mut outcome.inside),
    ) {
        (Pause::Upgrade, _) => panic!("a second upgrade inside TLS"),
        (Pause::Closed(why), _) => outcome.closed = Some(why),
        (Pause::Read, machine) => {
            outcome.closed = Some(farewell(
                machine,
                &mut backend,
                now,
                (true, &mut outcome.inside),
            ));
        }
    }
    outcome
}

enum Pause {
    Read,
    Upgrade,
    Closed(Why),
}

/// Hands in the segments, each with all the steps that follow from it. What comes after the upgrade was accepted is handed
/// in too: it stands in the buffer when the session is given up.
fn feed<M: Machine, B: Backend<M>>(
    mut machine: M,
    backend: &mut B,
    now: Instant,
    segments: &[&[u8]],
    mut writes: (bool, &mut Vec<u8>),
) -> (Pause, M) {
    let mut pause = steps(&mut machine, backend, now, &mut writes);
    let mut segments = segments.iter();
    while matches!(pause, Pause::Read) {
        let Some(segment) = segments.next() else {
            break;
        };
        machine.receive(segment);
        pause = steps(&mut machine, backend, now, &mut writes);
    }
    if matches!(pause, Pause::Upgrade) {
        segments.for_each(|segment| machine.receive(segment));
    }
    (pause, machine)
}

/// The peer is gone and the server stops: the session must come to its end.
fn farewell<M: Machine, B: Backend<M>>(
    mut machine: M,
    backend: &mut B,
    now: Instant,
    mut writes: (bool, &mut Vec<u8>),
) -> Why {
    machine.peer_closed(true);
    machine.shutdown();
    let far = now + Duration::from_secs(24 * 3600);
    for moment in [now, far, far + Duration::from_secs(24 * 3600)] {
        if let Pause::Closed(why) = steps(&mut machine, backend, moment, &mut writes) {
            return why;
        }
    }
    panic!("the session does not end when its peer is gone and the server stops");
}

fn steps<M: Machine, B: Backend<M>>(
    machine: &mut M,
    backend: &mut B,
    now: Instant,
    writes: &mut (bool, &mut Vec<u8>),
) -> Pause {
    let (encrypted, written) = writes;
    for _ in 0..MOST_STEPS {
        match machine.next(now) {
            Next::Ask(ask) => {
                let answer = backend.answer(ask, *encrypted);
                machine.answer(answer);
            }
            Next::Write => {
                assert!(
                    !machine.output().is_empty(),
                    "the session asks to write nothing"
                );
                written.append(machine.output());
                assert!(
                    written.len() <= MOST_OUTPUT,
                    "the session writes without end"
                );
            }
            Next::Read { until } => {
                assert!(
                    machine.output().is_empty(),
                    "the session wants to read with output unwritten"
                );
                assert!(
                    until > now,
                    "the session wants to read until a time that has passed"
                );
                return Pause::Read;
            }
            Next::Upgrade => {
                written.append(machine.output());
                return Pause::Upgrade;
            }
            Next::Close(why) => {
                written.append(machine.output());
                return Pause::Closed(why);
            }
        }
    }
    panic!("the session takes steps without an end");
}
