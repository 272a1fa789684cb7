//! ROBOT (CVE-2017-13099 and its class): a server whose answer tells whether the padding of an RSA key exchange was right can be made to
//! decrypt recorded sessions, and to sign (Bleichenbacher 1998; RFC 5246 7.4.7.1 wants all answers alike).
//!
//! Five key exchanges, each on a connection of its own: one padded rightly, four wrongly in different ways, each followed by the rest of a
//! handshake that cannot succeed. Then the same five without the rest, as some servers speak too early only there. All alike: no oracle.
//! Where answers differ the round is run once more, and only the same difference again is a proof.
//!
//! The numbers are public and nothing is kept secret here, so a plain modular power does.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use num_bigint::BigUint;
use sha2::{Digest as _, Sha256};

use super::{Answers, Flight, WAIT, common, refused, twice};
use crate::check::der::RsaKey;
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::{Errand, hello};

/// Suites with RSA key exchange that any server with one has.
const SUITES: [u16; 7] = [0x009c, 0x002f, 0x0035, 0x003c, 0x009d, 0x003d, 0x000a];
/// The length of a premaster secret (RFC 5246 7.4.7.1).
const SECRET: usize = 48;

/// How a key exchange is padded (RFC 8017 7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// As it should be.
    Right,
    /// Does not begin with 0, 2.
    WrongStart,
    /// The zero before the secret stands too late.
    LateZero,
    /// No zero at all.
    NoZero,
    /// Rightly padded, with a wrong version in the secret.
    WrongVersion,
}

impl Padding {
    pub(super) const ALL: [Self; 5] = [
        Self::Right,
        Self::WrongStart,
        Self::LateZero,
        Self::NoZero,
        Self::WrongVersion,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Right => "right padding",
            Self::WrongStart => "wrong beginning",
            Self::LateZero => "zero too late",
            Self::NoZero => "no zero",
            Self::WrongVersion => "wrong version",
        }
    }

    /// The block before encryption, of so many octets. `secret` is what looks random, without zeros. None where the key is too short.
    pub(super) fn block(self, length: usize, secret: &[u8; SECRET]) -> Option<Vec<u8>> {
        let filling = length.checked_sub(SECRET + 3).filter(|it| *it >= 8)?;
        let filling = secret.iter().copied().cycle().take(filling);
        let mut block = vec![0, 2];
        block.extend(filling);
        block.push(0);
        block.extend(secret);
        let at = length - SECRET;
        let (zero, version) = (at - 1, at..at + 2);
        block.get_mut(version.clone())?.copy_from_slice(&[3, 3]);
        match self {
            Self::Right => {}
            Self::WrongStart => block.get_mut(..2)?.copy_from_slice(&[0x41, 0x17]),
            Self::LateZero => {
                *block.get_mut(zero)? = 0x11;
                *block.get_mut(length - 2)? = 0;
            }
            Self::NoZero => *block.get_mut(zero)? = 0x11,
            Self::WrongVersion => block.get_mut(version)?.copy_from_slice(&[2, 2]),
        }
        Some(block)
    }
}

/// Runs it. `wait` is long enough for an answer to come.
pub(crate) async fn run(errand: &Errand, wait: Duration) -> Seen<Provocation> {
    let wait = wait.max(WAIT).min(errand.patience);
    for is_whole in [true, false] {
        let limit = if is_whole { errand.patience } else { wait };
        let first = match round(errand, is_whole, limit).await {
            Ok(answers) => answers,
            Err(seen) => return seen,
        };
        if common(&first).is_none() {
            return twice(&first, round(errand, is_whole, limit).await);
        }
    }
    refused("all paddings are answered alike")
}

/// What each padding is answered with.
async fn round(
    errand: &Errand,
    is_whole: bool,
    wait: Duration,
) -> Result<Answers, Seen<Provocation>> {
    let mut answers = Vec::new();
    for padding in Padding::ALL {
        answers.push((padding.words(), one(errand, padding, is_whole, wait).await?));
    }
    Ok(answers)
}

async fn one(
    errand: &Errand,
    padding: Padding,
    is_whole: bool,
    wait: Duration,
) -> Result<String, Seen<Provocation>> {
    let random = hello::random(&errand.nonce);
    let offer = hello::exactly(&errand.target, random, &SUITES);
    let mut flight = Flight::begin(errand, &offer).await?;
    let chain = flight.answer.chain.first();
    let certificate = chain.and_then(|it| BASE64.decode(it).ok());
    let key = certificate.as_deref().and_then(RsaKey::of_certificate);
    let block = key.and_then(|key| padding.block(key.modulus.len(), &secret(&random)));
    let (Some(key), Some(block)) = (key, block) else {
        return Err(Seen::unknown("no RSA key was shown that could be used"));
    };
    let mut words = flight.record(22, &key_exchange(&encrypt(&block, key)));
    if is_whole {
        words.extend(flight.record(20, &[1]));
        // As long as any suite's Finished, and none.
        words.extend(flight.record(22, &random.repeat(2)));
    }
    flight.write(&words, errand.patience).await;
    Ok(flight.ending(wait).await.words())
}

/// Something without zeros that looks random.
fn secret(random: &[u8; 32]) -> [u8; SECRET] {
    let more: [u8; 32] = Sha256::digest(random).into();
    let mut secret = [1; SECRET];
    let octets = random.iter().chain(&more);
    for (to, from) in secret.iter_mut().zip(octets) {
        *to = (*from).max(1);
    }
    secret
}

/// A number to the power of the public exponent, as long as the modulus (RFC 8017 5.1.1).
pub(super) fn encrypt(block: &[u8], key: RsaKey<'_>) -> Vec<u8> {
    let [number, modulus, exponent] =
        [block, key.modulus, key.exponent].map(BigUint::from_bytes_be);
    let power = number.modpow(&exponent, &modulus).to_bytes_be();
    let zeros = key.modulus.len().saturating_sub(power.len());
    [vec![0; zeros], power].concat()
}

/// A `ClientKeyExchange` (RFC 5246 7.4.7.1).
fn key_exchange(encrypted: &[u8]) -> Vec<u8> {
    let length = u16::try_from(encrypted.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let [a, b, c, d] = (u32::from(length) + 2).to_be_bytes();
    debug_assert_eq!(a, 0);
    [&[16, b, c, d, high, low], encrypted].concat()
}
