//! CCS injection (CVE-2014-0224): a server that takes `ChangeCipherSpec` before there are keys goes on with keys anyone can compute.
//!
//! A sound one refuses it at once (RFC 5246 7.1: only behind the key exchange). One with the hole says nothing; then a second one follows,
//! which it takes for an encrypted record and cannot decrypt. The alert it says then is the proof.

use std::time::Duration;

use super::{Ending, Flight, WAIT, refused, worked};
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::{Errand, hello};

/// `bad_record_mac` and `decryption_failed` (RFC 5246 7.2.2): what was read is taken for encrypted.
const CANNOT_DECRYPT: [u8; 2] = [20, 21];

/// Runs it. `wait` is long enough for an answer to come.
pub(crate) async fn run(errand: &Errand, wait: Duration) -> Seen<Provocation> {
    let offer = hello::widest(&errand.target, hello::random(&errand.nonce));
    let mut flight = match Flight::begin(errand, &offer).await {
        Ok(flight) => flight,
        Err(seen) => return seen,
    };
    let early = flight.record(20, &[1]);
    flight.write(&early, errand.patience).await;
    match flight.ending(wait.max(WAIT).min(errand.patience)).await {
        Ending::Silent => {}
        ending @ (Ending::Alert(_) | Ending::Closed) => return refused(ending.words()),
        ending => return Seen::unknown(ending.words()),
    }
    flight.write(&early, errand.patience).await;
    match flight.ending(errand.patience).await {
        Ending::Alert(number) if CANNOT_DECRYPT.contains(&number) => worked(format!(
            "taken in silence; the record behind it was answered with alert {number}, as one that cannot be decrypted"
        )),
        ending @ Ending::Alert(_) => refused(format!("at the second one: {}", ending.words())),
        ending => Seen::unknown(format!("taken in silence, and then: {}", ending.words())),
    }
}
