//! The one driver: runs any [`Machine`] over TCP and TLS, with its deadlines.
//!
//! ```text
//!   clear ──▶ session ──Upgrade──▶ leftover ──▶ handshake ──▶ session ──Close──▶ farewell, close_notify, end
//!                └──────────────────────────────────▲  not TLS, failed, too late: the end, never clear text again
//!   implicit TLS ──────────────────────────────────┘
//! ```
//!
//! - The machine decides, the driver moves bytes. It never looks at what they say.
//! - An idle session costs its machine, its TLS keys and a small future: no buffer is held while waiting, and the rare phases
//!   (handshake, farewell) are boxed, so they take room only while they run.
//! - What TLS says last in a handshake leaves in the same write as the session's first words.
//! - Deadlines: the machine's own while reading; [`Limits`] for handshake, writing and farewell.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_trust::certificates::ServiceTls;
use gatepost_wire::passage::Passage;
use gatepost_wire::seam::TlsFacts;
use gatepost_wire::session::{Fresh, Machine, Next, Why};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep_until, timeout};

use crate::client::Leg;
use crate::connection::{Broken, Connection, Read};
pub use crate::failure::{Blame, TlsFailure};
use crate::handshake::Secured;
use crate::handshake::server::{self, Failed};
pub use crate::plaintext::VerbClass;
use crate::splice::{self, Patience};

/// The answer of a backend, on its way.
pub type Answering<'a, A> = Pin<Box<dyn Future<Output = A> + Send + 'a>>;

/// What stands behind a session.
pub trait Backend<M: Machine>: Send {
    /// Decides or does what the session asks.
    fn handle(&mut self, ask: M::Ask) -> Answering<'_, M::Answer>;

    /// Signalled when there is something new for the session (its mailbox changed). One per session, signalled with
    /// [`Notify::notify_one`], so that news between two waits is kept. Asked for before every wait.
    fn news(&self) -> Option<Arc<Notify>> {
        None
    }

    /// The session begins anew inside TLS: forget what came of anything said before, a login too [SMTP-STARTTLS-05].
    fn upgraded(&mut self);

    /// TLS is up: the session that begins now knows this of it.
    fn secured(&mut self, _facts: &TlsFacts) {}

    /// The session has handed its connection over ([`Why::HandedOver`]): what it is tied to. None: it is closed.
    fn take_over(&mut self) -> Option<HandOver> {
        None
    }

    /// Something worth counting happened on the connection.
    fn event(&mut self, event: Event);
}

/// What a connection is tied to when its session has handed it over.
pub struct HandOver {
    /// The connection to the server behind this one.
    pub leg: Leg,
    /// Through what their words pass.
    pub passage: Box<dyn Passage>,
    /// How long both may be silent.
    pub idle: Duration,
}

/// How the connection begins.
#[derive(Debug)]
pub enum Start<M: Machine> {
    /// In clear.
    Clear(M),
    /// With a TLS handshake; not a word before it [IMPL-01].
    Implicit(M::Fresh),
}

/// What happened on a connection beside the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Clear-text bytes that are not TLS stood behind STARTTLS [SMTP-STARTTLS-19].
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
    /// The TLS negotiated is older than the session works with: it serves nothing [SMTP-STARTTLS-14].
    TlsTooWeak,
}

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the handshake on a port for implicit TLS. A client there has nothing else to do.
    pub implicit_handshake: Duration,
    /// For the handshake after STARTTLS [SMTP-STARTTLS-23].
    pub starttls_handshake: Duration,
    /// For the peer to take each 64 KiB of waiting output, or the rest of it.
    pub write: Duration,
    /// For the peer to close after our farewell.
    pub linger: Duration,
}

impl Default for Limits {
    /// 10 s, 30 s, 60 s, 1 s.
    fn default() -> Self {
        Self {
            implicit_handshake: Duration::from_secs(10),
            starttls_handshake: Duration::from_secs(30),
            write: Duration::from_secs(60),
            linger: Duration::from_secs(1),
        }
    }
}

/// What all connections of a listener share.
#[derive(Debug, Clone)]
pub struct Context {
    /// Becomes true when the server is to stop.
    pub shutdown: watch::Receiver<bool>,
    /// Limits.
    pub limits: Limits,
    /// Handshakes being computed at once. A permit is held only while the engine computes, so no peer can hold one; fewer
    /// permits than cores keep a core for the sessions that are up.
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
    /// How long the handshake took, waiting for the peer included.
    pub handshake: Option<Duration>,
    /// Why TLS failed, if it did.
    pub tls_failure: Option<TlsFailure>,
}

/// Runs a session to its end. The future is small; its larger parts are on the heap while they are needed.
pub fn run<'a, M, B>(
    stream: TcpStream,
    start: Start<M>,
    tls: Arc<ServiceTls>,
    backend: &'a mut B,
    context: &'a Context,
) -> impl Future<Output = Ended> + Send + use<'a, M, B>
where
    M: Machine + Send + 'a,
    M::Fresh: Send,
    B: Backend<M>,
{
    // What an async function is given stays in its future for ever, beside what it makes of it: so nothing large is given.
    let start = match start {
        Start::Clear(machine) => Begin::Clear(Box::new(machine)),
        Start::Implicit(fresh) => Begin::Implicit(Box::new(fresh)),
    };
    let mut shutdown = context.shutdown.clone();
    // It may have been said before this connection came.
    shutdown.mark_changed();
    let session = Session {
        connection: Connection::new(stream),
        tls,
        backend,
        context,
        shutdown: Some(shutdown),
        facts: None,
        handshake: None,
        tls_failure: None,
    };
    drive_and_relay(Box::new(session), start)
}

/// The session, and then, in the place of its future, the relay it may have handed its connection over to.
async fn drive_and_relay<M, B>(session: Box<Session<'_, B>>, start: Begin<M>) -> Ended
where
    M: Machine + Send,
    M::Fresh: Send,
    B: Backend<M>,
{
    let handed = match drive(session, start).await {
        Outcome::Ended(ended) => return ended,
        Outcome::Handed(handed) => handed,
    };
    relay(handed).await
}

/// What came of a session.
enum Outcome<'a, B> {
    Ended(Ended),
    Handed(Box<Handed<'a, B>>),
}

/// A connection that was handed over.
struct Handed<'a, B> {
    session: Box<Session<'a, B>>,
    onward: HandOver,
    /// None when the relay has begun: it may go on for hours.
    words: Option<Box<Words>>,
}

/// What was said when a connection was handed over.
#[derive(Default)]
struct Words {
    output: Vec<u8>,
    /// What the client has said beyond the session, and what the upstream has.
    begun: (Vec<u8>, Vec<u8>),
}

/// Waits for a change, without marking it seen. False when nobody is left who could make one.
async fn changed(shutdown: Option<&mut watch::Receiver<bool>>) -> bool {
    match shutdown {
        Some(shutdown) => {
            let told = shutdown.changed().await.is_ok();
            if told {
                shutdown.mark_changed();
            }
            told
        }
        None => std::future::pending().await,
    }
}

async fn notified(news: Option<&Notify>) {
    match news {
        Some(news) => news.notified().await,
        None => std::future::pending().await,
    }
}

enum Begin<M: Machine> {
    Clear(Box<M>),
    Implicit(Box<M::Fresh>),
}

/// How a session in one channel came to its end.
enum Turn {
    Upgrade,
    Close(Why),
    /// Nothing more can be said.
    Abort(Why),
}

/// What is left of [`Next`] when the questions are answered: small, for it stays in the future of a session that waits.
enum Wanted {
    Write,
    Read { until: Instant },
    Upgrade,
    Close(Why),
}

struct Session<'a, B> {
    connection: Connection,
    tls: Arc<ServiceTls>,
    backend: &'a mut B,
    context: &'a Context,
    /// None when the machine has been told.
    shutdown: Option<watch::Receiver<bool>>,
    facts: Option<Box<TlsFacts>>,
    handshake: Option<Duration>,
    tls_failure: Option<TlsFailure>,
}

async fn drive<M, B>(mut session: Box<Session<'_, B>>, start: Begin<M>) -> Outcome<'_, B>
where
    M: Machine + Send,
    M::Fresh: Send,
    B: Backend<M>,
{
    let mut machine = match start {
        Begin::Clear(mut machine) => {
            // [SMTP-SMUG-04] The machine judges who speaks before the greeting; it has to be shown the words before it greets.
            session
                .connection
                .read_early(&mut |bytes| machine.receive(bytes));
            machine
        }
        Begin::Implicit(fresh) => {
            let limit = session.context.limits.implicit_handshake;
            match session.secure(Vec::new(), limit).await {
                Ok(secured) => Box::new(session.begin(*fresh, *secured)),
                Err(failed) => return Outcome::Ended(session.failed_implicit(failed).await),
            }
        }
    };
    loop {
        match session.converse(&mut machine).await {
            Turn::Upgrade => {
                // The clear session ends here, and all that was said in it. What stands behind STARTTLS is for the TLS engine,
                // or the end [CONF-03].
                let (fresh, leftover) = machine.upgrade();
                session.backend.upgraded();
                let first = match leftover.into_handshake() {
                    Ok(first) => first,
                    Err(injection) => {
                        return Outcome::Ended((*session).injected(injection.octets));
                    }
                };
                let fresh = Box::new(fresh);
                let limit = session.context.limits.starttls_handshake;
                machine = match session.secure(first, limit).await {
                    Ok(secured) => {
                        session.connection.acknowledge();
                        Box::new(session.begin(*fresh, *secured))
                    }
                    Err(failed) => return Outcome::Ended(session.failed_starttls(failed).await),
                };
            }
            Turn::Close(Why::HandedOver) => {
                let unread = machine.unread();
                let output = std::mem::take(machine.output());
                let Some(onward) = session.backend.take_over() else {
                    return Outcome::Ended(session.close(Why::Fault, output).await);
                };
                let begun = (unread, Vec::new());
                return Outcome::Handed(Box::new(Handed {
                    session,
                    onward,
                    words: Some(Box::new(Words { output, begun })),
                }));
            }
            Turn::Close(why) => {
                let output = std::mem::take(machine.output());
                return Outcome::Ended(session.close(why, output).await);
            }
            Turn::Abort(why) => return Outcome::Ended((*session).abort(why)),
        }
    }
}

/// Ties the connection to the server behind this one, to the end of either.
async fn relay<B>(mut handed: Box<Handed<'_, B>>) -> Ended {
    let limit = handed.session.context.limits.write;
    let mut words = handed.words.take().unwrap_or_default();
    let session = &mut handed.session;
    if let Err(broken) = session.connection.write(&mut words.output, limit).await {
        if let Broken::Tls(failure) = broken {
            session.tls_failure = Some(failure);
        }
        return (*handed.session).abort(Why::Broken);
    }
    let Handed {
        session, onward, ..
    } = &mut *handed;
    words.begun.1 = onward.leg.take_unread();
    let patience = Patience {
        write: limit,
        idle: onward.idle,
    };
    let relayed = splice::run(
        &mut session.connection,
        onward.leg.connection(),
        onward.passage.as_mut(),
        &mut words.begun,
        patience,
        session.shutdown.as_mut(),
    );
    drop(words);
    let why = relayed.await;
    Box::pin(part(handed, why)).await
}

/// Ends a relay.
async fn part<B>(handed: Box<Handed<'_, B>>, why: Why) -> Ended {
    let Handed {
        session, onward, ..
    } = *handed;
    match why {
        // Its end was told on; the rest of the goodbye is ours.
        Why::Quit | Why::PeerClosed | Why::UpstreamClosed | Why::Shutdown => {
            let limits = (session.context.limits.linger, Duration::ZERO);
            onward
                .leg
                .into_connection()
                .finish(Vec::new(), limits)
                .await;
            session.close(why, Vec::new()).await
        }
        // What was under way is not complete, and must not look so: no closing alert on either side.
        _ => (*session).abort(why),
    }
}

impl<B> Session<'_, B> {
    /// The session inside TLS, and what the peer has said in it already.
    fn begin<M: Machine>(&mut self, fresh: M::Fresh, secured: Secured) -> M
    where
        B: Backend<M>,
    {
        self.backend.secured(&secured.facts);
        let mut machine = fresh.secured(secured.facts);
        if machine.is_below_floor() {
            self.backend.event(Event::TlsTooWeak);
        }
        if !secured.early.is_empty() {
            machine.receive(&secured.early);
        }
        machine
    }

    /// Runs a session until it upgrades or ends.
    async fn converse<M: Machine>(&mut self, machine: &mut M) -> Turn
    where
        B: Backend<M>,
    {
        let limit = self.context.limits.write;
        loop {
            match self.next(machine).await {
                Wanted::Write => {
                    if let Err(broken) = self.connection.write(machine.output(), limit).await {
                        return self.broken(broken);
                    }
                }
                Wanted::Read { until } => {
                    if let Err(turn) = self.read(machine, until).await {
                        return turn;
                    }
                }
                Wanted::Upgrade => {
                    return match self.connection.write(machine.output(), limit).await {
                        Ok(()) => Turn::Upgrade,
                        Err(broken) => self.broken(broken),
                    };
                }
                Wanted::Close(why) => return Turn::Close(why),
            }
        }
    }

    /// What the machine wants next, its questions answered.
    async fn next<M: Machine>(&mut self, machine: &mut M) -> Wanted
    where
        B: Backend<M>,
    {
        loop {
            self.tell_of_shutdown(machine);
            let answering = match machine.next(Instant::now()) {
                Next::Ask(ask) => self.backend.handle(ask),
                Next::Write => return Wanted::Write,
                Next::Read { until } => return Wanted::Read { until },
                Next::Upgrade => return Wanted::Upgrade,
                Next::Close(why) => return Wanted::Close(why),
            };
            let answer = answering.await;
            machine.answer(answer);
        }
    }

    /// Waits for bytes, the deadline, news or shutdown. This is where a connection is for nearly all of its life.
    async fn read<M: Machine>(&mut self, machine: &mut M, until: Instant) -> Result<(), Turn>
    where
        B: Backend<M>,
    {
        let news = self.backend.news();
        let connection = &mut self.connection;
        let read = poll_fn(|cx| connection.poll_hear(cx, &mut |bytes| machine.receive(bytes)));
        let read = tokio::select! {
            biased;
            read = read => read,
            told = changed(self.shutdown.as_mut()) => {
                if !told {
                    self.shutdown = None;
                }
                Ok(Some(Read::Some))
            }
            () = notified(news.as_deref()) => {
                machine.news();
                Ok(Some(Read::Some))
            }
            () = sleep_until(until.into()) => Ok(Some(Read::Some)),
        };
        match read {
            Ok(Some(Read::Some)) => Ok(()),
            Ok(Some(Read::End { clean })) => self.end(machine, clean),
            Ok(None) => {
                let limit = self.context.limits.write;
                let written = self.connection.write(&mut Vec::new(), limit).await;
                written.map_err(|it| self.broken(it))
            }
            Err(broken) => Err(self.broken(broken)),
        }
    }

    /// The peer says nothing more: the machine may still have an answer to what came before.
    fn end<M: Machine>(&mut self, machine: &mut M, clean: bool) -> Result<(), Turn> {
        if self.connection.told_of_end() {
            let why = if clean { Why::PeerClosed } else { Why::Broken };
            return Err(Turn::Close(why));
        }
        machine.peer_closed(clean);
        Ok(())
    }

    fn tell_of_shutdown<M: Machine>(&mut self, machine: &mut M) {
        let Some(shutdown) = &mut self.shutdown else {
            return;
        };
        if shutdown.has_changed().unwrap_or(false) && *shutdown.borrow_and_update() {
            self.shutdown = None;
            machine.shutdown();
        }
    }

    async fn secure(&mut self, first: Vec<u8>, limit: Duration) -> Result<Box<Secured>, Failed> {
        let begun = Instant::now();
        let (tls, permits) = (Arc::clone(&self.tls), &self.context.handshakes);
        let handshake = server::serve(&mut self.connection, first, &tls, permits);
        let result = Box::pin(timeout(limit, handshake)).await;
        let secured = result.unwrap_or(Err(Failed::Tls(TlsFailure::Timeout)))?;
        self.handshake = Some(begun.elapsed());
        let mut facts = Box::new(secured.facts.clone());
        facts.bindings = None;
        self.facts = Some(facts);
        Ok(Box::new(secured))
    }

    async fn failed_implicit<M: Machine>(self: Box<Self>, failed: Failed) -> Ended
    where
        B: Backend<M>,
    {
        match failed {
            Failed::NotTls { verb, .. } => {
                // [IMPL-03] not a word in clear.
                self.backend.event(Event::PlaintextOnTlsPort { verb });
                (*self).abort(Why::PlaintextOnTlsPort)
            }
            Failed::Tls(failure) => Box::pin(self.failed_handshake(failure)).await,
        }
    }

    async fn failed_starttls<M: Machine>(self: Box<Self>, failed: Failed) -> Ended
    where
        B: Backend<M>,
    {
        match failed {
            // [SMTP-STARTTLS-19] the same when the injected words came a segment later.
            Failed::NotTls { octets, .. } => (*self).injected(octets),
            Failed::Tls(failure) => Box::pin(self.failed_handshake(failure)).await,
        }
    }

    fn injected<M: Machine>(self, octets: usize) -> Ended
    where
        B: Backend<M>,
    {
        self.backend.event(Event::StartTlsInjection { octets });
        self.abort(Why::StartTlsInjection)
    }

    async fn failed_handshake<M: Machine>(mut self: Box<Self>, failure: TlsFailure) -> Ended
    where
        B: Backend<M>,
    {
        self.backend.event(Event::HandshakeFailed(failure));
        self.tls_failure = Some(failure);
        // The link is still clear for the alert in line; nothing else follows, and nobody waits long for it.
        let limits = (self.context.limits.linger, self.context.limits.linger);
        self.finish(Why::HandshakeFailed, Vec::new(), limits).await
    }

    async fn close(self: Box<Self>, why: Why, output: Vec<u8>) -> Ended {
        let limits = (self.context.limits.write, self.context.limits.linger);
        Box::pin(self.finish(why, output, limits)).await
    }

    async fn finish(
        self: Box<Self>,
        why: Why,
        output: Vec<u8>,
        limits: (Duration, Duration),
    ) -> Ended {
        let this = *self;
        let (bytes_in, bytes_out) = Box::pin(this.connection.finish(output, limits)).await;
        let (facts, handshake, tls_failure) = (this.facts, this.handshake, this.tls_failure);
        Ended {
            why,
            facts,
            bytes_in,
            bytes_out,
            handshake,
            tls_failure,
        }
    }

    fn broken(&mut self, broken: Broken) -> Turn {
        match broken {
            Broken::Network => Turn::Abort(Why::Broken),
            Broken::TooSlow => Turn::Abort(Why::Timeout),
            Broken::Tls(failure) => {
                self.tls_failure = Some(failure);
                Turn::Abort(Why::Broken)
            }
        }
    }

    /// Ends without a farewell. An alert that is in line is sent if the socket takes it.
    fn abort(mut self, why: Why) -> Ended {
        let _ = self.connection.flush();
        let (bytes_in, bytes_out) = (self.connection.bytes_in, self.connection.bytes_out);
        let (facts, handshake, tls_failure) = (self.facts, self.handshake, self.tls_failure);
        Ended {
            why,
            facts,
            bytes_in,
            bytes_out,
            handshake,
            tls_failure,
        }
    }
}
