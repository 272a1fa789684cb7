//! The TLS handshake on a connection, for both sides.
//!
//! [`server::serve`] answers one, [`client::connect`] begins one. What they share is [`Work`]: the engine, fed with what the
//! network brings, and what is kept of its first flight for channel bindings.

pub(crate) mod client;
pub(crate) mod server;

use gatepost_trust::exporter::Captured;
use gatepost_wire::seam::TlsFacts;

use crate::connection::{Broken, Connection, Read};
use crate::engine::{Engine, Received, server_random};
use crate::failure::TlsFailure;

/// The most that is read for a whole handshake.
const MAX_HANDSHAKE: u64 = 64 * 1024;
/// How much of the server's first flight is kept for its random: a ServerHello up to there, and some alerts before it.
const SERVER_HELLO: usize = 64;

/// A handshake that succeeded. The connection is encrypted now.
pub(crate) struct Secured {
    pub(crate) facts: TlsFacts,
    /// What the peer has already said inside TLS.
    pub(crate) early: Vec<u8>,
}

/// The engine at work.
struct Work {
    engine: Engine,
    captured: Option<Captured>,
    /// Whether the server's flight is ours.
    serves: bool,
    /// The beginning of the server's first flight.
    server_hello: Vec<u8>,
    early: Vec<u8>,
}

impl Work {
    fn server(engine: Engine) -> Self {
        Self {
            engine,
            captured: None,
            serves: true,
            server_hello: Vec::new(),
            early: Vec::new(),
        }
    }

    fn client(engine: Engine) -> Self {
        Self {
            serves: false,
            ..Self::server(engine)
        }
    }

    /// Gives the engine all of `input` and puts its answer in line.
    fn advance(
        &mut self,
        connection: &mut Connection,
        input: &mut Vec<u8>,
    ) -> Result<(), TlsFailure> {
        let mut all = self.engine.take_leftover();
        all.append(input);
        if !self.serves {
            self.note_server_flight(&all);
        }
        let mut out = Vec::new();
        let (result, captured) = self
            .engine
            .receive_handshake(&mut all, &mut out, &mut self.early);
        self.captured = captured.or(self.captured.take());
        if self.serves {
            self.note_server_flight(&out);
        }
        connection.enqueue(out);
        if result? == Received::Closed {
            if self.engine.is_handshaking() {
                return Err(TlsFailure::PeerGone);
            }
            // A peer that says all it has to say in one go, and closes its side.
            connection.note_clean_end();
        }
        Ok(())
    }

    /// What is left over of a flight comes again with the next, so a ServerHello is seen whole at last.
    fn note_server_flight(&mut self, flight: &[u8]) {
        if server_random(&self.server_hello).is_none() {
            self.server_hello = flight.get(..SERVER_HELLO).unwrap_or(flight).to_vec();
        }
    }

    /// The value for `tls-exporter`.
    fn exporter(&self) -> Option<[u8; 32]> {
        self.engine
            .exporter(self.captured.as_ref()?, &self.server_hello)
    }
}

/// Waits for bytes from the network. The link is still clear: they are the engine's, as they are.
async fn read_some(
    connection: &mut Connection,
    sink: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), Broken> {
    match connection.read(sink).await? {
        Read::Some => Ok(()),
        Read::End { .. } => Err(Broken::Tls(TlsFailure::PeerGone)),
    }
}
