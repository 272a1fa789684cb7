//! The server's TLS handshake on a connection.
//!
//! 1. Collect the ClientHello, over however many segments it comes [PQ-02].
//! 2. Choose a certificate by it, or refuse with an alert before any engine is set up.
//! 3. Let the engine work. A permit is held only while it computes, never while the peer is waited for: nobody can keep others
//!    out by being slow.
//! 4. What the engine says last (a ticket) stays in line, to travel with the session's first words.

use gatepost_trust::certificates::{Asked, Choice, NoChoice, ServiceTls};
use gatepost_trust::exporter::Captured;
use gatepost_wire::seam::{ChannelBindings, TlsFacts, TlsVersion};
use gatepost_wire::tls::{
    AlertDescription, AlertLevel, ClientHello, HelloReader, Progress, TLS12, TLS13, alert,
};
use tokio::sync::Semaphore;

use crate::connection::{Broken, Connection, Link, Read};
use crate::engine::{Engine, Received};
use crate::failure::TlsFailure;
use crate::plaintext::VerbClass;

/// The most that is read for a whole handshake, ClientHello included.
const MAX_HANDSHAKE: u64 = 64 * 1024;
/// The longest first flight of ours that is kept for its random.
const SERVER_HELLO: usize = 43;

/// A handshake that succeeded. The connection is encrypted now.
pub(crate) struct Secured {
    pub(crate) facts: TlsFacts,
    /// What the peer has already said inside TLS.
    pub(crate) early: Vec<u8>,
}

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
    let choice = choose(connection, tls, &hello)?;
    let mut work = Work::new(&choice)?;
    let mut input = bytes;
    let limit = connection.bytes_in + MAX_HANDSHAKE;
    loop {
        {
            let _permit = permits.acquire().await;
            work.advance(connection, &mut input)?;
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
    let bindings = tls.options().bindings;
    let facts = work.facts(hello.sni.as_deref(), &choice, bindings)?;
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

/// Waits for bytes from the network. The link is still clear: they are the engine's, as they are.
async fn read_some(
    connection: &mut Connection,
    sink: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), Failed> {
    match connection.read(sink).await? {
        Read::Some => Ok(()),
        Read::End { .. } => Err(Failed::Tls(TlsFailure::PeerGone)),
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

/// The engine at work.
struct Work {
    engine: Engine,
    captured: Option<Captured>,
    /// The beginning of our first flight.
    server_hello: Vec<u8>,
    early: Vec<u8>,
}

impl Work {
    fn new(choice: &Choice) -> Result<Self, Failed> {
        let engine = Engine::server(choice).map_err(Failed::Tls)?;
        Ok(Self {
            engine,
            captured: None,
            server_hello: Vec::new(),
            early: Vec::new(),
        })
    }

    /// Gives the engine all of `input` and puts its answer in line.
    fn advance(&mut self, connection: &mut Connection, input: &mut Vec<u8>) -> Result<(), Failed> {
        let mut all = self.engine.take_leftover();
        all.append(input);
        let mut out = Vec::new();
        let (result, captured) = self
            .engine
            .receive_handshake(&mut all, &mut out, &mut self.early);
        self.captured = captured.or(self.captured.take());
        if self.server_hello.is_empty() {
            self.server_hello = out.get(..SERVER_HELLO).unwrap_or_default().to_vec();
        }
        connection.enqueue(out);
        if result.map_err(Failed::Tls)? == Received::Closed {
            if self.engine.is_handshaking() {
                return Err(Failed::Tls(TlsFailure::PeerGone));
            }
            // A client that says all it has to say in one go, and closes its side.
            connection.note_clean_end();
        }
        Ok(())
    }

    fn facts(
        &self,
        sni: Option<&str>,
        choice: &Choice,
        bindings: bool,
    ) -> Result<TlsFacts, Failed> {
        let bindings = if bindings {
            Some(self.bindings(choice)?)
        } else {
            None
        };
        self.engine
            .facts(sni, bindings)
            .ok_or(Failed::Tls(TlsFailure::Internal))
    }

    fn bindings(&self, choice: &Choice) -> Result<Box<ChannelBindings>, Failed> {
        let captured = self.captured.as_ref();
        let exporter = captured.and_then(|it| self.engine.exporter(it, &self.server_hello));
        Ok(Box::new(ChannelBindings {
            exporter: exporter.ok_or(Failed::Tls(TlsFailure::Internal))?,
            server_end_point: choice.identity.end_point_hash().into(),
        }))
    }
}
