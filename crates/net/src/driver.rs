//! Runs any machine on a connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use gatepost_trust::certificates::ServiceTls;
use gatepost_wire::seam::TlsFacts;
use gatepost_wire::session::{Machine, Why};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, watch};

/// The answer of a backend, on its way.
pub type Answering<'a, A> = Pin<Box<dyn Future<Output = A> + Send + 'a>>;

/// What stands behind a session.
pub trait Backend<M: Machine>: Send {
    /// Decides or does what the session asks.
    fn handle(&mut self, ask: M::Ask) -> Answering<'_, M::Answer>;

    /// Signalled when there is something new for the session (its mailbox changed). One per session, signalled with
    /// [`Notify::notify_one`], so that news between two waits is kept.
    fn news(&self) -> Option<Arc<Notify>> {
        None
    }

    /// Something worth counting happened on the connection.
    fn event(&mut self, event: Event);
}

/// How the connection begins.
#[derive(Debug)]
pub enum Start<M: Machine> {
    /// In clear.
    Clear(M),
    /// With a TLS handshake [IMPL-01].
    Implicit(M::Fresh),
}

/// What happened on a connection beside the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Clear-text bytes that are not TLS stood behind STARTTLS.
    StartTlsInjection {
        /// How many. Never what they said.
        octets: usize,
    },
    /// Clear text came on a port for implicit TLS [IMPL-03].
    PlaintextOnTlsPort {
        /// What kind of words they were. Never the words.
        verb: VerbClass,
    },
    /// The TLS handshake failed.
    HandshakeFailed(TlsFailure),
}

/// What clear text on a TLS port looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerbClass {
    /// An SMTP verb.
    Smtp,
    /// A tagged IMAP command.
    Imap,
    /// A POP3 verb.
    Pop3,
    /// An HTTP request.
    Http,
    /// A login in any of them.
    Login,
    /// Anything else.
    Other,
}

/// Why a handshake, or TLS later on, failed. `label` gives the word for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFailure {
    /// It took too long.
    Timeout,
}

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the handshake on a port for implicit TLS. Default 10 s.
    pub implicit_handshake: Duration,
    /// For the handshake after STARTTLS. Default 30 s [SMTP-STARTTLS-23].
    pub starttls_handshake: Duration,
    /// For the peer to take any octet of waiting output. Default 60 s.
    pub write: Duration,
    /// For the peer to close after our farewell. Default 1 s.
    pub linger: Duration,
}

/// What all connections of a listener share.
#[derive(Debug, Clone)]
pub struct Context {
    /// Becomes true when the server is to stop.
    pub shutdown: watch::Receiver<bool>,
    /// Limits.
    pub limits: Limits,
    /// Handshakes at once.
    pub handshakes: Arc<Semaphore>,
}

/// How a connection ended, for the log line.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub why: Why,
    /// What TLS was, if it was up (without channel bindings).
    pub facts: Option<Box<TlsFacts>>,
    /// Octets received from the network, TLS included.
    pub bytes_in: u64,
    /// Octets sent to the network, TLS included.
    pub bytes_out: u64,
    /// How long the handshake took, from the first octet waited for to the last.
    pub handshake: Option<Duration>,
    /// Why TLS failed, if it did.
    pub tls_failure: Option<TlsFailure>,
}

/// Runs a session to its end.
pub async fn run<M, B>(
    _stream: TcpStream,
    _start: Start<M>,
    _tls: Arc<ServiceTls>,
    _backend: &mut B,
    _context: &Context,
) -> Ended
where
    M: Machine,
    B: Backend<M>,
{
    todo!()
}
