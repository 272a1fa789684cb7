//! The client's TLS handshake on a connection.
//!
//! 1. The hello goes out at once; there is nothing to wait for.
//! 2. The first byte that comes back says whether the peer speaks TLS at all [IMPL-03].
//! 3. The engine works, with the judge of certificates inside (`gatepost_trust::verify`).
//! 4. What the engine says last (our Finished of TLS 1.3) stays in line, to travel with the session's first words.

use std::time::Duration;

use gatepost_trust::verify::Attempt;
use gatepost_wire::seam::{ChannelBindings, TLS_HANDSHAKE_RECORD, VerifiedBy};
use tokio::time::timeout;

use super::{MAX_HANDSHAKE, Secured, Work, read_some};
use crate::connection::{Broken, Connection, Link};
use crate::engine::Engine;
use crate::failure::TlsFailure;

/// The content type of an alert record (RFC 9846 5.1).
const ALERT_RECORD: u8 = 0x15;
/// How much of words in clear is kept to be shown.
const SHOWN: usize = 512;

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The peer's first bytes are not TLS: their beginning.
    NotTls(Vec<u8>),
    /// TLS failed. An alert may be in line for the peer.
    Tls(TlsFailure),
}

impl From<TlsFailure> for Failed {
    fn from(failure: TlsFailure) -> Self {
        Self::Tls(failure)
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Tls(match broken {
            Broken::Tls(failure) => failure,
            Broken::Network => TlsFailure::PeerGone,
            Broken::TooSlow => TlsFailure::Timeout,
        })
    }
}

/// Runs the handshake. The caller sets the deadline, and judges the verdict; the peer's first byte must come within `silence`.
pub(crate) async fn connect(
    connection: &mut Connection,
    attempt: &Attempt,
    sni: Option<&str>,
    silence: Duration,
) -> Result<Secured, Failed> {
    let mut work = Work::client(Engine::client(attempt)?);
    let mut input = Vec::new();
    let limit = connection.bytes_in + MAX_HANDSHAKE;
    let mut heard = false;
    work.advance(connection, &mut input)?;
    while work.engine.is_handshaking() {
        connection.flush_all().await?;
        if connection.bytes_in > limit {
            return Err(Failed::Tls(TlsFailure::TooLarge));
        }
        let mut sink = |bytes: &[u8]| input.extend_from_slice(bytes);
        if heard {
            read_some(connection, &mut sink).await?;
        } else {
            let read = timeout(silence, read_some(connection, &mut sink)).await;
            read.unwrap_or(Err(Broken::TooSlow))?;
            heard = true;
            if !is_tls(&input) {
                input.truncate(SHOWN);
                return Err(Failed::NotTls(input));
            }
        }
        work.advance(connection, &mut input)?;
    }
    let verdict = attempt.verdict();
    let facts = work.engine.facts(sni, bindings(&work, attempt));
    let mut facts = facts.ok_or(TlsFailure::Internal)?;
    facts.verified = verdict.and_then(|it| it.verified()).map(by);
    connection.link = Link::Encrypted(Box::new(work.engine));
    Ok(Secured {
        facts,
        early: work.early,
    })
}

fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(TLS_HANDSHAKE_RECORD | ALERT_RECORD)))
}

/// [SASL-CB-01] Without them the connection is as good; only SCRAM-SHA-256-PLUS cannot be used.
fn bindings(work: &Work, attempt: &Attempt) -> Option<Box<ChannelBindings>> {
    Some(Box::new(ChannelBindings {
        exporter: work.exporter()?,
        server_end_point: attempt.end_point_hash()?,
    }))
}

/// The judge's word in the session's words.
pub(crate) fn by(verified: gatepost_trust::verify::VerifiedBy) -> VerifiedBy {
    match verified {
        gatepost_trust::verify::VerifiedBy::Pkix => VerifiedBy::Pkix,
        gatepost_trust::verify::VerifiedBy::Dane => VerifiedBy::Dane,
        gatepost_trust::verify::VerifiedBy::MtaSts => VerifiedBy::MtaSts,
        gatepost_trust::verify::VerifiedBy::Pin => VerifiedBy::Pin,
    }
}
