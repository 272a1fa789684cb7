//! Heartbleed (CVE-2014-0160): a heartbeat that claims more payload than it holds is answered with the memory behind it.
//!
//! A server with the hole answers heartbeats at any time, whether the extension was agreed on or not, so the question is put in clear, behind
//! the server's first words. It claims sixteen octets and holds none: RFC 6520 4 wants such a message dropped in silence. Behind it stands a
//! fatal alert of ours, so that silence has an end: whoever ends the connection has read the heartbeat before.

use super::{Ending, Flight, refused, worked};
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::{Errand, hello};

/// The extension (RFC 6520 2), and that we may be sent heartbeats.
const EXTENSION: (u16, [u8; 1]) = (15, [1]);
/// A request (1) that claims a payload of sixteen octets.
const REQUEST: [u8; 3] = [1, 0, 16];
/// Fatal, `handshake_failure`.
const LEAVE: [u8; 2] = [2, 40];

/// Runs it.
pub(crate) async fn run(errand: &Errand) -> Seen<Provocation> {
    let mut offer = hello::widest(&errand.target, hello::random(&errand.nonce));
    offer.others = vec![(EXTENSION.0, EXTENSION.1.to_vec())];
    let mut flight = match Flight::begin(errand, &offer).await {
        Ok(flight) => flight,
        Err(seen) => return seen,
    };
    let is_offered = flight.answer.extensions.contains(&EXTENSION.0);
    let question = [flight.record(24, &REQUEST), flight.record(21, &LEAVE)].concat();
    flight.write(&question, errand.patience).await;
    match flight.ending(errand.patience).await {
        Ending::Heartbeat { claimed, length } if claimed > 0 && length > REQUEST.len() => worked(
            format!("a heartbeat without payload was answered with {length} octets"),
        ),
        Ending::Silent => Seen::unknown("neither answered nor ended"),
        ending @ Ending::Strange => Seen::unknown(ending.words()),
        _ if is_offered => refused("heartbeats are taken, and this one was passed over"),
        _ => refused("heartbeats are not taken"),
    }
}
