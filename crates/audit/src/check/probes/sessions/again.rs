//! Second handshakes inside a connection of TLS 1.2, begun by the client: what RFC 5746 binds to the first, and what costs a server far more
//! than the client.
//!
//! The first message of one is sent, and the server's next word is the answer: its hello (taken), an alert (refused), or the answer to the NOOP
//! behind it (passed over). Nothing of it is finished.

use std::time::{Duration, Instant};

use gatepost_net::client::LegFailure;
use gatepost_trust::verify::Versions;
use gatepost_wire::tls::Offer;

use super::Why;
use super::engine::{Opened, Way, shake};
use crate::check::facts::{Provocation, Seen, Ticket};
use crate::check::probes::{Errand, hello};
use crate::check::target::Start;

/// How long a greeting inside TLS is waited for.
const LISTEN: Duration = Duration::from_secs(2);

/// Which second hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bond {
    /// With the proof that it comes from who had the first handshake (RFC 5746 3.5).
    Proved,
    /// With none: as an attacker would, who puts his own words before somebody else's.
    None,
}

/// What was found on the way, too: the ticket of TLS 1.2, which comes in clear.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) begun: Seen<Provocation>,
    pub(crate) ticket: Result<Option<Ticket>, Why>,
}

/// Runs it.
pub(crate) async fn run(errand: &Errand, bond: Bond) -> Found {
    let shaken = async {
        let way = Way::new(errand, Versions::Only12)?;
        shake(errand, &way).await
    };
    let shaken = match shaken.await {
        Ok(shaken) => shaken,
        Err(why) => {
            return Found {
                begun: match &why {
                    Why::NotSpoken(text) => Seen::Known(Provocation::Absent {
                        why: format!("TLS 1.2 is not spoken: {text}"),
                    }),
                    Why::Refused(text) | Why::Unknown(text) => Seen::unknown(text.clone()),
                },
                ticket: Err(why),
            };
        }
    };
    let ticket = shaken.lifetime.map(|lifetime| Ticket {
        lifetime,
        early_data: None,
    });
    let finished = shaken.finished();
    let begun = match shaken.open() {
        Ok(mut opened) => {
            let offer = second(errand, finished.filter(|_| bond == Bond::Proved));
            begin(errand, &mut opened, &offer).await
        }
        Err(why) => Seen::unknown(why.text()),
    };
    Found {
        begun,
        ticket: Ok(ticket),
    }
}

fn second(errand: &Errand, finished: Option<[u8; 12]>) -> Offer {
    let mut offer = hello::widest(&errand.target, hello::random(&errand.nonce));
    offer.has_renegotiation_info = false;
    if let Some(finished) = finished {
        let data = [&[12][..], &finished].concat();
        offer.others.push((0xff01, data));
    }
    offer
}

/// Says the second hello, and hears what it is answered with.
async fn begin(errand: &Errand, opened: &mut Opened, offer: &Offer) -> Seen<Provocation> {
    let until = Instant::now() + errand.patience;
    if errand.target.start == Start::Implicit {
        // The greeting: so that words behind the hello are the answer to the NOOP. What never greets answers nothing else either.
        let greeted = Instant::now() + LISTEN.min(errand.patience);
        match opened.next(greeted).await {
            Ok((23, _)) | Err(LegFailure::TooSlow) => {}
            Ok(_) | Err(_) => return Seen::unknown("no greeting inside TLS"),
        }
    }
    let noop = opened.talk.spell("NOOP").0;
    let records = [opened.seal(22, &offer.message()), opened.seal(23, &noop)];
    let records: Vec<u8> = records.into_iter().flatten().flatten().collect();
    // A server that closes at once is heard below.
    let _ = opened.talk.probe.write(&records, errand.patience).await;
    loop {
        match opened.next(until).await {
            Ok((22, content)) if content.first() == Some(&2) => {
                return Seen::Known(Provocation::Worked {
                    proof: "answered with a hello of the server".to_owned(),
                });
            }
            Ok((21, content)) => {
                let number = content.get(1).copied().unwrap_or_default();
                return refused(format!("alert {number}"));
            }
            Ok((23, _)) => return refused("passed over".to_owned()),
            Ok(_) => {}
            Err(LegFailure::TooSlow) => return Seen::unknown("no answer to a second hello"),
            Err(_) => return refused("the connection was closed".to_owned()),
        }
    }
}

fn refused(how: String) -> Seen<Provocation> {
    Seen::Known(Provocation::Refused { how })
}
