//! The client's TLS handshake on a connection.
//!
//! 1. The hello goes out at once; there is nothing to wait for.
//! 2. The first byte that comes back says whether the peer speaks TLS at all [IMPL-03].
//! 3. The server's hello is looked at before the engine goes on: see [`Insist`].
//! 4. The engine works, with the judge of certificates inside (`gatepost_trust::verify`).
//! 5. What the engine says last (our Finished of TLS 1.3) stays in line, to travel with the session's first words.

use std::time::Duration;

use gatepost_trust::verify::Attempt;
use gatepost_wire::seam::{ChannelBindings, TLS_HANDSHAKE_RECORD, TlsVersion, VerifiedBy};
use gatepost_wire::tls::{Piece, ServerHello, TLS13, TlsStream};
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

/// What the server's hello must say, besides what the engine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insist {
    /// In TLS 1.2, that this is the first handshake on the connection [TLS-RENEG-01] (RFC 9325 3.5). A server without
    /// `renegotiation_info` could be made to take our handshake for a second one, on a connection somebody else has begun and
    /// said something on (RFC 5746 1). The engine offers the extension and never renegotiates, but does not ask for this.
    FirstHandshake,
    /// Nothing: for those who examine servers and entrust nothing to them.
    Nothing,
}

/// Reads along until the server's hello has come.
struct Hello {
    stream: TlsStream,
    seen: Option<ServerHello>,
}

impl Hello {
    fn new() -> Self {
        Self {
            stream: TlsStream::default(),
            seen: None,
        }
    }

    /// Takes in what came.
    fn hear(&mut self, octets: &[u8]) {
        if self.seen.is_some() {
            return;
        }
        self.stream.push(octets);
        while let Some(piece) = self.stream.next() {
            if let Piece::ServerHello(hello) = piece {
                self.seen = Some(*hello);
                self.stream = TlsStream::default();
                return;
            }
        }
    }

    /// Whether what has come so far is against what is insisted on.
    fn offends(&self) -> bool {
        let is_old = |hello: &ServerHello| hello.version() < TLS13;
        self.seen.as_ref().is_some_and(is_old) && !self.is_first()
    }

    /// Whether the server has said that this is the connection's first handshake.
    fn is_first(&self) -> bool {
        let says = |hello: &ServerHello| hello.has_renegotiation_info && !hello.is_renegotiation;
        self.seen.as_ref().is_some_and(says)
    }
}

/// Runs the handshake. The caller sets the deadline, and judges the verdict; the peer's first byte must come within `silence`.
pub(crate) async fn connect(
    connection: &mut Connection,
    attempt: &Attempt,
    sni: Option<&str>,
    silence: Duration,
    insist: Insist,
) -> Result<Secured, Failed> {
    let mut work = Work::client(Engine::client(attempt)?);
    let mut input = Vec::new();
    let limit = connection.bytes_in + MAX_HANDSHAKE;
    let mut heard = false;
    let mut hello = Hello::new();
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
        hello.hear(&input);
        if insist == Insist::FirstHandshake && hello.offends() {
            return Err(Failed::Tls(TlsFailure::NoSecureRenegotiation));
        }
        work.advance(connection, &mut input)?;
    }
    let verdict = attempt.verdict();
    let facts = work.engine.facts(sni, bindings(&work, attempt));
    let mut facts = facts.ok_or(TlsFailure::Internal)?;
    // Had the engine read a hello that we could not, nothing would have been insisted on.
    if insist == Insist::FirstHandshake && facts.version == TlsVersion::Tls12 && !hello.is_first() {
        return Err(Failed::Tls(TlsFailure::NoSecureRenegotiation));
    }
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
