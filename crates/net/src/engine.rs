//! The TLS engine, behind a type of our own, so that the engine's types do not spread.
//!
//! Today it is rustls' *unbuffered* connection: it keeps no buffers of its own, works on bytes the caller holds, and so an idle
//! connection costs some 3.5 KB instead of 8. What is kept between calls is only the beginning of a record that has not
//! arrived whole ([`Engine::leftover`]). All work happens in a scratch that belongs to the thread, taken for as long as a call
//! lasts and never across an `await` (see [`with_scratch`]).
//!
//! Both sides are here: the engine has a type for each, and what it says ([`UnbufferedStatus`]) is handled once for both.
//!
//! Standards: RFC 9846, RFC 5246 (through the engine); RFC 9266 and RFC 5929 for channel bindings.

use std::cell::RefCell;

use gatepost_trust::certificates::Choice;
use gatepost_trust::client_ca::read_client;
use gatepost_trust::exporter::{Captured, capture};
use gatepost_trust::verify::Attempt;
use gatepost_wire::seam::{ChannelBindings, ClientCertificate, TlsFacts, TlsVersion, VerifiedBy};
use gatepost_wire::tls::names;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use crate::failure::TlsFailure;

/// How much a thread's scratch holds.
pub(crate) const SCRATCH: usize = 96 * 1024;
/// The most plaintext sealed at once, in two full records: with their overhead it fits the scratch beside as much again. What is read at
/// once leaves in one write then.
pub(crate) const MAX_PLAINTEXT: usize = 32 * 1024;
/// The most that is kept of records that are not complete. One record has at most 16,640 octets (RFC 9846 5.2); a handshake
/// message after the handshake has a few.
const MAX_LEFTOVER: usize = 32 * 1024;
/// The length of a record with an alert in clear.
const ALERT_RECORD: usize = 7;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs a piece of work that does not suspend with this thread's scratch of [`SCRATCH`] octets. Must not be nested.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(SCRATCH, 0);
        work(buffer)
    })
}

/// One side of one TLS connection.
pub(crate) struct Engine {
    kind: Kind,
    /// What has been received of a record that is not complete.
    leftover: Vec<u8>,
}

enum Kind {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl Kind {
    /// What the engine knows of the connection, whichever side it is.
    fn state(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }
}

/// What is to be written.
#[derive(Clone, Copy)]
enum Speech<'a> {
    Words(&'a [u8]),
    /// The closing alert.
    Farewell,
}

/// What came of received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// The connection is open.
    Open,
    /// The peer has said that it will send nothing more.
    Closed,
}

/// How far one step of the engine has come.
enum Step {
    Again,
    Closed,
    Idle,
}

impl Engine {
    /// The server's side.
    pub(crate) fn server(choice: &Choice) -> Result<Self, TlsFailure> {
        let connection = UnbufferedServerConnection::new(choice.config.clone())?;
        Ok(Self {
            kind: Kind::Server(Box::new(connection)),
            leftover: Vec::new(),
        })
    }

    /// The client's side. The first hello comes out of [`Self::receive_handshake`] without input.
    pub(crate) fn client(attempt: &Attempt) -> Result<Self, TlsFailure> {
        let connection =
            UnbufferedClientConnection::new(attempt.config.clone(), attempt.name.clone())?;
        Ok(Self {
            kind: Kind::Client(Box::new(connection)),
            leftover: Vec::new(),
        })
    }

    /// Whether the handshake goes on.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.kind.state().is_handshaking()
    }

    /// Puts what is left from before at the front of the scratch and says how much it is: the next bytes from the network go
    /// behind it, then [`Self::receive`] takes all.
    pub(crate) fn prepare(&self, scratch: &mut [u8]) -> usize {
        let length = self.leftover.len();
        if let Some(front) = scratch.get_mut(..length) {
            front.copy_from_slice(&self.leftover);
        }
        length
    }

    /// What is left from before, for callers that bring their own buffer.
    pub(crate) fn take_leftover(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.leftover)
    }

    /// Takes in bytes (what was left, and new ones behind it), decrypting in place. Plaintext goes to `sink`, what TLS itself
    /// has to say is appended to `out`, also when this fails (the alert).
    pub(crate) fn receive(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Received, TlsFailure> {
        let mut taken = 0;
        let received = self.process(input, &mut taken, out, sink);
        let rest = input.get(taken..).unwrap_or_default();
        if received == Ok(Received::Open) && !rest.is_empty() {
            if rest.len() > MAX_LEFTOVER {
                return Err(TlsFailure::TooLarge);
            }
            self.leftover.clear();
            self.leftover.extend_from_slice(rest);
        } else {
            // An idle connection holds no memory here.
            self.leftover = Vec::new();
        }
        received
    }

    /// The same while the handshake runs; hands out the secret for channel bindings if it comes to be.
    pub(crate) fn receive_handshake(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        early: &mut Vec<u8>,
    ) -> (Result<Received, TlsFailure>, Option<Captured>) {
        capture(|| self.receive(input, out, &mut |bytes| early.extend_from_slice(bytes)))
    }

    fn process(
        &mut self,
        input: &mut [u8],
        taken: &mut usize,
        out: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Received, TlsFailure> {
        let mut received = Received::Open;
        loop {
            let rest = input.get_mut(*taken..).unwrap_or_default();
            match self.step(rest, taken, out, sink) {
                Ok(Step::Again) => {}
                Ok(Step::Closed) => received = Received::Closed,
                Ok(Step::Idle) => return Ok(received),
                Err(failure) => {
                    self.collect_alert(input.get_mut(*taken..).unwrap_or_default(), out);
                    return Err(failure);
                }
            }
        }
    }

    fn step(
        &mut self,
        input: &mut [u8],
        taken: &mut usize,
        out: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Step, TlsFailure> {
        match &mut self.kind {
            Kind::Server(it) => handle(it.process_tls_records(input), taken, out, sink),
            Kind::Client(it) => handle(it.process_tls_records(input), taken, out, sink),
        }
    }

    /// After a failure: what the engine has in line, at last the alert. Part of the first flight may stand before it.
    fn collect_alert(&mut self, input: &mut [u8], out: &mut Vec<u8>) {
        // No longer than there is something in line: the engine must not look at the bad input again.
        while self.kind.state().wants_write() {
            let collected = match &mut self.kind {
                Kind::Server(it) => encode(it.process_tls_records(input), out),
                Kind::Client(it) => encode(it.process_tls_records(input), out),
            };
            if collected.is_none() {
                // The connection ends without an alert.
                return;
            }
        }
    }

    /// Encrypts up to [`MAX_PLAINTEXT`] octets into `out`. Returns how many were taken and how many written.
    pub(crate) fn seal(
        &mut self,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize), TlsFailure> {
        let piece = plaintext.get(..MAX_PLAINTEXT).unwrap_or(plaintext);
        let written = self.write(Speech::Words(piece), out)?;
        Ok((piece.len(), written))
    }

    /// Writes the closing alert into `out` and returns its length [SMTP-STARTTLS-24] [IMPL-05] [TLS-CLOSE-01].
    pub(crate) fn close(&mut self, out: &mut [u8]) -> Result<usize, TlsFailure> {
        self.write(Speech::Farewell, out)
    }

    /// The leftover must be shown to the engine each time, for it remembers how much of it it has seen.
    fn write(&mut self, speech: Speech<'_>, out: &mut [u8]) -> Result<usize, TlsFailure> {
        match &mut self.kind {
            Kind::Server(it) => say(it.process_tls_records(&mut self.leftover), speech, out),
            Kind::Client(it) => say(it.process_tls_records(&mut self.leftover), speech, out),
        }
    }

    /// What was negotiated, when the handshake is complete.
    pub(crate) fn facts(
        &self,
        sni: Option<&str>,
        bindings: Option<Box<ChannelBindings>>,
    ) -> Option<TlsFacts> {
        let connection = self.kind.state();
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
            ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
            _ => return None,
        };
        let suite = connection.negotiated_cipher_suite()?.suite();
        let group = connection.negotiated_key_exchange_group();
        let alpn = connection
            .alpn_protocol()
            .and_then(|id| std::str::from_utf8(id).ok());
        let client = match &self.kind {
            Kind::Server(it) => it.peer_certificates().and_then(client_certificate),
            // A client knows by other means whom it has verified.
            Kind::Client(_) => None,
        };
        Some(TlsFacts {
            verified: client
                .as_ref()
                .and_then(|it| it.user.as_ref())
                .map(|_| VerifiedBy::Pkix),
            client: client.map(Box::new),
            signature: None,
            version,
            // [RECV-02] a suite newer than our list is no reason to say nothing
            suite: names::suite_label(suite.into()),
            group: group.and_then(|group| names::group(group.name().into())),
            sni: sni.map(Into::into),
            alpn: alpn.map(Into::into),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            bindings,
        })
    }

    /// The value for `tls-exporter` [SASL-CB-01]. `first_flight` is what the server sent first: TLS 1.2 needs its random.
    pub(crate) fn exporter(&self, captured: &Captured, first_flight: &[u8]) -> Option<[u8; 32]> {
        let suite = self.kind.state().negotiated_cipher_suite()?;
        captured.channel_binding(suite, server_random(first_flight))
    }
}

fn client_certificate(chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
    let shown = read_client(chain)?;
    Some(ClientCertificate {
        user: shown.user.map(Into::into),
        common_name: shown.common_name.map(Into::into),
        der: chain.first()?.as_ref().into(),
    })
}

/// Carries out what the engine says of received bytes.
fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    taken: &mut usize,
    out: &mut Vec<u8>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<Step, TlsFailure> {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                sink(record.payload);
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            append(out, |room| data.encode(room)).map(|()| Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It stays in `out` until something waits for the peer: a server's tickets travel with the greeting, a client's
            // last flight with its first words.
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Closed),
        Ok(
            ConnectionState::WriteTraffic(_)
            | ConnectionState::BlockedHandshake
            | ConnectionState::Closed,
        ) => Ok(Step::Idle),
        // [TLS-0RTT-01] [CONF-16] early data is never taken.
        Ok(_) => Err(TlsFailure::Internal),
        Err(error) => Err(error.into()),
    };
    *taken += discard;
    step
}

/// Appends what the engine has in line, if it is that it has something.
fn encode<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut Vec<u8>) -> Option<()> {
    let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else {
        return None;
    };
    append(out, |room| data.encode(room)).ok()
}

/// Writes, if the connection is in the state in which it can.
fn say<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    speech: Speech<'_>,
    out: &mut [u8],
) -> Result<usize, TlsFailure> {
    let ConnectionState::WriteTraffic(mut traffic) = status.state? else {
        return Err(TlsFailure::Internal);
    };
    let written = match speech {
        Speech::Words(words) => traffic.encrypt(words, out),
        Speech::Farewell => traffic.queue_close_notify(out),
    };
    written.map_err(|_| TlsFailure::Internal)
}

/// The random of the ServerHello: record header 5, message header 4, version 2. Alerts may stand before it, for some servers
/// warn of a name they do not know.
pub(crate) fn server_random(mut flight: &[u8]) -> Option<&[u8; 32]> {
    while flight.first() == Some(&21) {
        flight = flight.get(ALERT_RECORD..)?;
    }
    let is_server_hello = flight.first() == Some(&22) && flight.get(5) == Some(&2);
    let random = flight.get(11..43)?;
    is_server_hello.then(|| random.try_into().ok()).flatten()
}

/// Appends what `encode` writes; it says how much room it needs.
fn append(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), TlsFailure> {
    let Err(EncodeError::InsufficientSize(size)) = encode(&mut []) else {
        return Err(TlsFailure::Internal);
    };
    let start = out.len();
    out.resize(start + size.required_size, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    encode(room).map_err(|_| TlsFailure::Internal)?;
    Ok(())
}
