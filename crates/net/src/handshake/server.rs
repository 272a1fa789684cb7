//! The server's TLS handshake on a connection.
//!
//! 1. Collect the ClientHello, over however many segments it comes [PQ-02].
//! 2. Choose a certificate by it, or refuse with an alert before any engine is set up.
//! 3. Let the engine work. A permit is held only while it computes, never while the peer is waited for: nobody can keep others
//!    out by being slow.
//! 4. What the engine says last (a ticket) stays in line, to travel with the session's first words.

use gatepost_trust::certificates::{Asked, Choice, NoChoice, ServiceTls};
use gatepost_wire::seam::{ChannelBindings, TlsVersion};
use gatepost_wire::tls::{
    AlertDescription, AlertLevel, ClientHello, HelloReader, Progress, TLS12, TLS13, alert,
};
use tokio::sync::Semaphore;

use super::{MAX_HANDSHAKE, Secured, Work, read_some};
use crate::connection::{Broken, Connection, Link};
use crate::engine::Engine;
use crate::failure::TlsFailure;
use crate::plaintext::VerbClass;

/// Why there is no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The first bytes are not TLS; `octets` is how many there were.
    NotTls { verb: VerbClass, octets: usize },
    /// TLS failed. An alert may be in line for the peer.
    Tls(TlsFailure),
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Tls(failure) => Self::Tls(failure),
            Broken::Network => Self::Tls(TlsFailure::PeerGone),
            Broken::TooSlow => Self::Tls(TlsFailure::Timeout),
        }
    }
}

/// Runs the handshake. `first` is what had been read already. The caller sets the deadline.
pub(crate) async fn serve(
    connection: &mut Connection,
    first: Vec<u8>,
    tls: &ServiceTls,
    permits: &Semaphore,
) -> Result<Secured, Failed> {
    let (hello, bytes) = read_hello(connection, first).await?;
    if !hello.offers(TLS13) && !hello.offers(TLS12) {
        // [TLS-VER-01] Here, for the engine may find something else amiss first and name that.
        refuse(connection, AlertDescription::ProtocolVersion);
        return Err(Failed::Tls(TlsFailure::NoCommonVersion));
    }
    if hello.misses_extension() {
        // [TLS-MTI-01] The engine would say handshake_failure.
        refuse(connection, AlertDescription::MissingExtension);
        return Err(Failed::Tls(TlsFailure::PeerMisbehaved));
    }
    let choice = choose(connection, tls, &hello)?;
    let mut work = Work::server(Engine::server(&choice).map_err(Failed::Tls)?);
    let mut input = bytes;
    let limit = connection.bytes_in + MAX_HANDSHAKE;
    loop {
        {
            let _permit = permits.acquire().await;
            work.advance(connection, &mut input).map_err(Failed::Tls)?;
        }
        if !work.engine.is_handshaking() {
            break;
        }
        connection.flush_all().await?;
        if connection.bytes_in > limit {
            return Err(Failed::Tls(TlsFailure::TooLarge));
        }
        read_some(connection, &mut |bytes| input.extend_from_slice(bytes)).await?;
    }
    let bindings = if tls.options().bindings {
        Some(bindings(&work, &choice)?)
    } else {
        None
    };
    let facts = work.engine.facts(hello.sni.as_deref(), bindings);
    let mut facts = facts.ok_or(Failed::Tls(TlsFailure::Internal))?;
    if !facts.resumed {
        facts.signature = choice.signature(&hello.signature_schemes);
    }
    if facts.version == TlsVersion::Tls13 {
        // The handshake is over for the peer too: only a ticket can be in line.
        connection.let_pending_wait();
    }
    connection.link = Link::Encrypted(Box::new(work.engine));
    Ok(Secured {
        facts,
        early: work.early,
    })
}

async fn read_hello(
    connection: &mut Connection,
    first: Vec<u8>,
) -> Result<(Box<ClientHello>, Vec<u8>), Failed> {
    let mut reader = HelloReader::default();
    let mut progress = if first.is_empty() {
        Progress::NeedMore
    } else {
        reader.push(&first)
    };
    drop(first);
    loop {
        match progress {
            Progress::NeedMore => {}
            Progress::Hello(hello) => return Ok((hello, reader.into_bytes())),
            Progress::NotTls => {
                let bytes = reader.bytes();
                let verb = VerbClass::of(bytes);
                return Err(Failed::NotTls {
                    verb,
                    octets: bytes.len(),
                });
            }
            Progress::Malformed => {
                refuse(connection, AlertDescription::DecodeError);
                return Err(Failed::Tls(TlsFailure::PeerMisbehaved));
            }
            Progress::TooLarge => {
                refuse(connection, AlertDescription::DecodeError);
                return Err(Failed::Tls(TlsFailure::TooLarge));
            }
        }
        progress = Progress::NeedMore;
        read_some(connection, &mut |bytes| progress = reader.push(bytes)).await?;
    }
}

fn choose(
    connection: &mut Connection,
    tls: &ServiceTls,
    hello: &ClientHello,
) -> Result<Choice, Failed> {
    let asked = Asked {
        sni: hello.sni.as_deref(),
        signature_schemes: &hello.signature_schemes,
        certificate_schemes: &hello.certificate_schemes,
        cipher_suites: &hello.cipher_suites,
        tls13: hello.offers(TLS13),
    };
    tls.select(&asked).map_err(|reason| {
        let (description, failure) = match reason {
            // [CONF-02] [TLS-SNI-02]
            NoChoice::UnrecognizedName => (
                AlertDescription::UnrecognizedName,
                TlsFailure::UnrecognizedName,
            ),
            NoChoice::NoCertificate => (AlertDescription::InternalError, TlsFailure::NoCertificate),
        };
        refuse(connection, description);
        Failed::Tls(failure)
    })
}

fn refuse(connection: &mut Connection, description: AlertDescription) {
    connection.enqueue(alert(AlertLevel::Fatal, description).to_vec());
}

fn bindings(work: &Work, choice: &Choice) -> Result<Box<ChannelBindings>, Failed> {
    let exporter = work.exporter().ok_or(Failed::Tls(TlsFailure::Internal))?;
    Ok(Box::new(ChannelBindings {
        exporter,
        server_end_point: choice.identity.end_point_hash().into(),
    }))
}
