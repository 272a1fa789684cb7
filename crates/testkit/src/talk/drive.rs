//! Driving a session until it needs something from outside.

use std::time::Instant;

use gatepost_wire::seam::Injection;
use gatepost_wire::session::{Machine, Next, Why};

/// Steps without reading after which a session is held to be going round in circles.
const MOST_STEPS: usize = 1_000_000;

/// Where a session stands when it needs something from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// It wants to read.
    Reading,
    /// It wants TLS.
    Upgrade,
    /// It is over.
    Closed(Why),
}

/// Takes steps until the session pauses; what it writes is added to `written`. The error says which rule it broke.
pub(super) fn drive<M: Machine>(
    machine: &mut M,
    backend: &mut impl FnMut(M::Ask) -> M::Answer,
    now: Instant,
    written: &mut Vec<u8>,
) -> Result<Pause, &'static str> {
    for _ in 0..MOST_STEPS {
        match machine.next(now) {
            Next::Ask(ask) => machine.answer(backend(ask)),
            Next::Write if machine.output().is_empty() => return Err("asks to write nothing"),
            Next::Write => written.append(machine.output()),
            Next::Read { .. } if !machine.output().is_empty() => {
                return Err("wants to read with output unwritten");
            }
            Next::Read { until } if until <= now => {
                return Err("wants to read until a time that has passed");
            }
            Next::Read { .. } => return Ok(Pause::Reading),
            Next::Upgrade => {
                written.append(machine.output());
                return Ok(Pause::Upgrade);
            }
            Next::Close(why) => {
                written.append(machine.output());
                return Ok(Pause::Closed(why));
            }
        }
    }
    Err("takes steps without an end")
}

/// How a session stands after its input.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It wants to read more.
    Reading,
    /// It wants TLS. Holds what goes into the handshake, input that came later included.
    Upgrade(Result<Vec<u8>, Injection>),
    /// It has closed.
    Closed(Why),
}

/// What became of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything it wrote.
    pub output: Vec<u8>,
    /// How it stands.
    pub end: End,
}

/// Hands the segments to the session one by one, each with all the steps that follow from it. For property tests: the outcome
/// must be the same for any cut of the same input.
///
/// # Panics
/// If the session breaks a rule of [`gatepost_wire::session`].
pub fn outcome<M: Machine>(
    mut machine: M,
    segments: &[&[u8]],
    mut backend: impl FnMut(M::Ask) -> M::Answer,
) -> Outcome {
    let now = Instant::now();
    let mut output = Vec::new();
    let mut step =
        |machine: &mut M, output: &mut Vec<u8>| match drive(machine, &mut backend, now, output) {
            Ok(pause) => pause,
            Err(rule) => panic!("the session {rule}"),
        };
    let mut pause = step(&mut machine, &mut output);
    let mut segments = segments.iter();
    while pause == Pause::Reading
        && let Some(segment) = segments.next()
    {
        machine.receive(segment);
        pause = step(&mut machine, &mut output);
    }
    let end = match pause {
        Pause::Reading => End::Reading,
        Pause::Closed(why) => End::Closed(why),
        Pause::Upgrade => {
            segments.for_each(|segment| machine.receive(segment));
            End::Upgrade(machine.upgrade().1.into_handshake())
        }
    };
    Outcome { output, end }
}

/// Only what the session wrote: see [`outcome`].
///
/// # Panics
/// As [`outcome`].
pub fn transcript<M: Machine>(
    machine: M,
    segments: &[&[u8]],
    backend: impl FnMut(M::Ask) -> M::Answer,
) -> Vec<u8> {
    outcome(machine, segments, backend).output
}
