//! Padding oracles in CBC (Vaudenay 2002; POODLE in TLS, CVE-2014-8730; Zombie POODLE, GOLDENDOODLE and the zero-length oracle,
//! CVE-2019-1559): a server whose answer tells what is wrong inside a record can be made to decrypt it.
//!
//! After a sound handshake of TLS 1.2 with CBC, one record that is wrong in one way, for each way on a connection of its own. RFC 5246 6.2.3.2
//! wants all answered alike, by one alert. Where answers differ, or one of them is carried out as if nothing were wrong, the round is run
//! once more, and only the same difference again is a proof. Nothing is measured by the clock.
//!
//! The record holds a NOOP, so that one that is taken does no harm.

use std::time::{Duration, Instant};

use gatepost_net::client::LegFailure;
use rustls::{AlertDescription, Error};

use super::{Answers, WAIT, common, refused, twice};
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::Errand;
use crate::check::probes::sessions::Why;
use crate::check::probes::sessions::cbc::{BLOCK, Kind, Sealer, padding};
use crate::check::probes::sessions::engine::{Shaken, Way, next_record, shake, take};
use crate::check::target::Start;

/// Application data (RFC 5246 6.2.1).
const DATA: u8 = 23;
/// How long a greeting inside TLS is waited for.
const LISTEN: Duration = Duration::from_secs(2);

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The MAC, with right padding.
    Mac,
    /// The padding, but for its last octet, with a right MAC (POODLE).
    Padding,
    /// The padding claims to be longer than the record.
    TooLong,
    /// Nothing but right padding: no room for a MAC.
    NoRoom,
    /// The MAC of a record without content.
    EmptyMac,
    /// The padding of a record without content.
    EmptyPadding,
}

impl Flaw {
    pub(super) const ALL: [Self; 6] = [
        Self::Mac,
        Self::Padding,
        Self::TooLong,
        Self::NoRoom,
        Self::EmptyMac,
        Self::EmptyPadding,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Mac => "wrong MAC",
            Self::Padding => "wrong padding",
            Self::TooLong => "padding too long",
            Self::NoRoom => "padding alone",
            Self::EmptyMac => "empty with wrong MAC",
            Self::EmptyPadding => "empty with wrong padding",
        }
    }

    /// The octets of a record with this content, before encryption: whole blocks.
    pub(super) fn octets(self, sealer: &Sealer, number: u64, content: &[u8]) -> Vec<u8> {
        let content = match self {
            Self::EmptyMac | Self::EmptyPadding => &[],
            _ => content,
        };
        let mut octets = content.to_vec();
        octets.extend(sealer.mac(number, DATA, content));
        let inside = octets.len();
        // Two octets at least, so that one beside the last can be wrong.
        octets.extend(padding(inside, 2));
        let wrong = match self {
            Self::Mac | Self::EmptyMac => Some(inside - sealer.mac_length()),
            Self::Padding | Self::EmptyPadding => Some(inside),
            Self::TooLong | Self::NoRoom => None,
        };
        if let Some(octet) = wrong.and_then(|at| octets.get_mut(at)) {
            *octet ^= 0x80;
        }
        match self {
            Self::TooLong => octets.fill(0xff),
            // Two blocks, which no MAC with its padding fits into.
            Self::NoRoom => octets = padding(BLOCK, BLOCK + 1),
            _ => {}
        }
        octets
    }
}

/// Runs it. `wait` is long enough for an answer to come.
pub(crate) async fn run(errand: &Errand, wait: Duration) -> Seen<Provocation> {
    let wait = wait.max(WAIT).min(errand.patience);
    let first = match round(errand, wait).await {
        Ok(answers) => answers,
        Err(seen) => return seen,
    };
    match common(&first) {
        // Words of a server that speaks unasked, for no server takes all of them.
        Some(CARRIED_OUT) => Seen::unknown("words come whatever is sent"),
        Some(answer) => refused(format!("whatever is wrong is answered alike: {answer}")),
        None => twice(&first, round(errand, wait).await),
    }
}

/// The answer to a record as if nothing were wrong.
const CARRIED_OUT: &str = "carried out";

async fn round(errand: &Errand, wait: Duration) -> Result<Answers, Seen<Provocation>> {
    let mut answers = Vec::new();
    for flaw in Flaw::ALL {
        answers.push((flaw.words(), one(errand, flaw, wait).await?));
    }
    Ok(answers)
}

async fn one(errand: &Errand, flaw: Flaw, wait: Duration) -> Result<String, Seen<Provocation>> {
    let way = Way::with_cbc(errand).map_err(seen)?;
    let mut shaken = shake(errand, &way).await.map_err(seen)?;
    if errand.target.start == Start::Implicit {
        // The greeting is not the answer.
        listen(&mut shaken, LISTEN.min(errand.patience)).await?;
    }
    let content = shaken.talk.spell("NOOP").0;
    let record = wrong(&shaken, flaw, &content);
    let record = record.ok_or_else(|| Seen::unknown("the engine keeps its keys"))?;
    // A server that closes at once is heard below.
    let _ = shaken.talk.probe.write(&record, errand.patience).await;
    Ok(hear(&mut shaken, wait).await)
}

/// Absent where there is no such handshake: that is no weakness.
fn seen(why: Why) -> Seen<Provocation> {
    match why {
        Why::NotSpoken(why) | Why::Refused(why) => Seen::Known(Provocation::Absent {
            why: format!("CBC with ECDHE is not taken in TLS 1.2: {why}"),
        }),
        Why::Unknown(why) => Seen::unknown(why),
    }
}

/// Hears the greeting inside TLS, if there is one.
async fn listen(shaken: &mut Shaken, wait: Duration) -> Result<(), Seen<Provocation>> {
    let until = Instant::now() + wait;
    let record = next_record(&mut shaken.talk, &mut shaken.rest, until).await;
    let heard = match record {
        Ok(record) => take(&mut shaken.tls, &record).is_ok(),
        Err(failure) => failure == LegFailure::TooSlow,
    };
    if heard {
        Ok(())
    } else {
        Err(Seen::unknown("no greeting inside TLS"))
    }
}

/// The record that is wrong. Ours before it was the one that ended the handshake, with the number 0.
fn wrong(shaken: &Shaken, flaw: Flaw, content: &[u8]) -> Option<Vec<u8>> {
    const NUMBER: u64 = 1;
    let suite = shaken.tls.negotiated_cipher_suite()?;
    let kind = Kind::of(suite.suite())?;
    let sealer = kind.client(&shaken.key_block(kind.block())?)?;
    let payload = sealer.encrypt(flaw.octets(&sealer, NUMBER, content))?;
    let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
    Some([&[DATA, 3, 3][..], &length, &payload].concat())
}

/// What comes, to its end or for so long.
async fn hear(shaken: &mut Shaken, wait: Duration) -> String {
    let until = Instant::now() + wait;
    let mut heard = Vec::new();
    loop {
        let record = match next_record(&mut shaken.talk, &mut shaken.rest, until).await {
            Ok(record) => record,
            Err(failure) => {
                heard.push(match failure {
                    LegFailure::TooSlow => "no end".to_owned(),
                    _ => "the connection was closed".to_owned(),
                });
                return heard.join(", ");
            }
        };
        if record.first() == Some(&DATA) && take(&mut shaken.tls, &record).is_ok() {
            return CARRIED_OUT.to_owned();
        }
        heard.push(alert(shaken, &record));
    }
}

fn alert(shaken: &mut Shaken, record: &[u8]) -> String {
    match take(&mut shaken.tls, record) {
        Err(Error::AlertReceived(it)) => format!("alert {}", u8::from(it)),
        // The engine tells of this one by itself.
        Ok(()) => format!("alert {}", u8::from(AlertDescription::CloseNotify)),
        Err(_) => "words that have no place there".to_owned(),
    }
}
