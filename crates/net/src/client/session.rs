//! A client's session on its connection: the owner pulls questions out of it and puts answers in.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gatepost_trust::verify::{Attempt, ClientTls, Crls, Demand, HostName, Shares, Verdict};
use gatepost_wire::seam::{TlsFacts, VerifiedBy};
use gatepost_wire::session::{Fresh as _, Next, Why};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use super::failure::Failure;
use super::hello::HelloMemory;
use super::leg::Leg;
use super::words::ClearWords;
use super::{CrlSource, Dialogue};
use crate::connection::{Broken, Connection, Read};
use crate::driver::Start;
use crate::failure::TlsFailure;
use crate::handshake::Secured;
use crate::handshake::client::{Failed, Insist, by, connect};

/// The most that is waited for a server to take our farewell.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a client waits for what the session does not time itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the first byte of the server's answer to a hello with both key shares, after which [`super::open`] tries again with a
    /// smaller one [PQ-01].
    pub first_answer: Duration,
    /// For the server to take each 64 KiB of waiting output, or the rest of it.
    pub write: Duration,
    /// For lists of revoked certificates to be fetched, in all.
    pub crls: Duration,
}

impl Default for Limits {
    /// 30 s, 10 s, 60 s, 10 s.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(30),
            first_answer: Duration::from_secs(10),
            write: Duration::from_secs(60),
            crls: Duration::from_secs(10),
        }
    }
}

/// What the connections of a client share.
#[derive(Clone)]
pub struct Options {
    /// Limits.
    pub limits: Limits,
    /// The clock certificates are judged by.
    pub clock: fn() -> SystemTime,
    /// Where lists of revoked certificates come from, if they are to be fetched [REV-02].
    pub crls: Option<Arc<dyn CrlSource>>,
    /// Servers that did not answer large hellos.
    pub hellos: Arc<HelloMemory>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            clock: SystemTime::now,
            crls: None,
            hellos: Arc::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("limits", &self.limits)
            .field("crls", &self.crls.is_some())
            .finish_non_exhaustive()
    }
}

/// How a session's words travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// In clear.
    Clear,
    /// Inside TLS, to a server nothing vouches for.
    Encrypted,
    /// Inside TLS, to the server that was meant.
    Verified(VerifiedBy),
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear => f.write_str("Clear"),
            Self::Encrypted => f.write_str("Encrypted"),
            Self::Verified(by) => write!(f, "Verified({})", by.label()),
        }
    }
}

/// What went over the network, TLS included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Octets received.
    pub received: u64,
    /// Octets sent.
    pub sent: u64,
    /// How long the handshake took, waiting for the server included.
    pub handshake: Option<Duration>,
}

/// A session on its connection. See the [module documentation](super) for how to drive it.
pub struct Session<M: Dialogue> {
    inner: Box<Inner<M>>,
}

struct Inner<M: Dialogue> {
    connection: Option<Connection>,
    phase: Phase<M>,
    tls: ClientTls,
    options: Arc<Options>,
    shares: Shares,
    attempt: Option<Attempt>,
    facts: Option<Box<TlsFacts>>,
    /// A question that has been pulled and not been handed out yet.
    ready: Option<M::Ask>,
    /// Output of the session that is being written; a dropped call is taken up again.
    output: Vec<u8>,
    /// Whether a byte came back after the hello; none before it was sent.
    answered: Option<bool>,
    failure: Option<Failure>,
    traffic: Traffic,
}

enum Phase<M: Dialogue> {
    Fresh(M::Fresh),
    Talk(M),
    /// Over, with what the session knows in the end.
    Over(M),
    /// In a handshake, or failed in it.
    Gone,
}

impl<M: Dialogue> Session<M> {
    /// A session on a connected socket. Nothing happens before [`Self::next`].
    pub fn new(stream: TcpStream, start: Start<M>, tls: ClientTls, options: Arc<Options>) -> Self {
        let phase = match start {
            Start::Clear(machine) => Phase::Talk(machine),
            Start::Implicit(fresh) => Phase::Fresh(fresh),
        };
        let inner = Inner {
            connection: Some(Connection::new(stream)),
            phase,
            tls,
            options,
            shares: Shares::Hybrid,
            attempt: None,
            facts: None,
            ready: None,
            output: Vec::new(),
            answered: None,
            failure: None,
            traffic: Traffic::default(),
        };
        Self {
            inner: Box::new(inner),
        }
    }

    pub(super) fn with_shares(mut self, shares: Shares) -> Self {
        self.inner.shares = shares;
        self
    }

    /// Pulls the next question. None: the session has ended in order.
    ///
    /// Can be dropped at any time and called again; nothing is lost. Only while the handshake runs (before the first question)
    /// a dropped call ends the session, with [`Failure::Cancelled`]. After a failure every call returns it again.
    pub async fn next(&mut self) -> Result<Option<M::Ask>, Failure> {
        let inner = &mut *self.inner;
        if let Some(ask) = inner.ready.take() {
            return Ok(Some(ask));
        }
        if let Some(failure) = &inner.failure {
            return Err(failure.clone());
        }
        let result = inner.advance().await;
        if let Err(failure) = &result {
            inner.abort(failure.clone());
        }
        result
    }

    /// Runs the session to its first question, which [`Self::next`] then returns: TLS is up by then, or is not to be.
    pub async fn ready(&mut self) -> Result<(), Failure> {
        if self.inner.ready.is_none() {
            self.inner.ready = self.next().await?;
        }
        Ok(())
    }

    /// Answers the question last pulled.
    pub fn answer(&mut self, answer: M::Answer) {
        if let Phase::Talk(machine) = &mut self.inner.phase {
            machine.answer(answer);
        }
    }

    /// Tells the session that its owner wants something: it asks at the next step at which it can. For a session that waits in
    /// [`Self::next`], drop that call, tell, and call again.
    pub fn news(&mut self) {
        if let Phase::Talk(machine) = &mut self.inner.phase {
            machine.news();
        }
    }

    /// Tells the session to end at the next step.
    pub fn stop(&mut self) {
        if let Phase::Talk(machine) = &mut self.inner.phase {
            machine.shutdown();
        }
    }

    /// The session itself. None during the handshake, and when it failed in it.
    pub fn machine(&self) -> Option<&M> {
        match &self.inner.phase {
            Phase::Talk(machine) | Phase::Over(machine) => Some(machine),
            Phase::Fresh(_) | Phase::Gone => None,
        }
    }

    /// How the session's words travel.
    pub fn channel(&self) -> Channel {
        match &self.inner.facts {
            None => Channel::Clear,
            Some(facts) => facts.verified.map_or(Channel::Encrypted, Channel::Verified),
        }
    }

    /// What TLS is, when it is up (without channel bindings).
    pub fn facts(&self) -> Option<&TlsFacts> {
        self.inner.facts.as_deref()
    }

    /// What the judge found, also after a failed handshake. None before the server's certificate came, and after
    /// [`Self::forget_evidence`].
    pub fn verdict(&self) -> Option<Verdict> {
        self.inner.attempt.as_ref().and_then(Attempt::verdict)
    }

    /// The certificates the server sent, its own first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.inner
            .attempt
            .as_ref()
            .map(Attempt::chain)
            .unwrap_or_default()
    }

    /// Gives back the memory of verdict and chain: for sessions that are kept for long.
    pub fn forget_evidence(&mut self) {
        if let Some(attempt) = self.inner.attempt.take() {
            attempt.forget();
        }
    }

    /// What has gone over the network so far.
    pub fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }

    /// Whether a byte came back after the hello; none before it was sent.
    pub(super) fn answered(&self) -> Option<bool> {
        self.inner.answered
    }

    /// Gives up the session and keeps its connection: TLS stays as it is. None when the session is not in the middle of its
    /// dialogue, or has something to say still.
    pub fn hand_over(mut self) -> Option<Leg> {
        let channel = self.channel();
        self.forget_evidence();
        let Phase::Talk(machine) = &mut self.inner.phase else {
            return None;
        };
        let silent = machine.output().is_empty() && self.inner.output.is_empty();
        if !silent || self.inner.failure.is_some() {
            return None;
        }
        let unread = machine.unread();
        let connection = self.inner.connection.take()?;
        Some(Leg::new(connection, unread, channel))
    }

    /// Closes the connection, whatever the session is at: with `close_notify` inside TLS, without a farewell of the protocol.
    /// After [`Self::next`] has returned none there is nothing left to close.
    pub async fn finish(mut self) -> Traffic {
        self.inner.close_connection(Vec::new()).await;
        self.inner.traffic()
    }
}

impl<M: Dialogue> fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("channel", &self.channel())
            .field("failure", &self.inner.failure)
            .finish_non_exhaustive()
    }
}

/// Steps.
impl<M: Dialogue> Inner<M> {
    async fn advance(&mut self) -> Result<Option<M::Ask>, Failure> {
        if let Phase::Fresh(_) = &self.phase {
            Box::pin(self.begin()).await?;
        }
        loop {
            if !self.output.is_empty() {
                self.write().await?;
            }
            let Phase::Talk(machine) = &mut self.phase else {
                return match &self.phase {
                    Phase::Over(_) => Ok(None),
                    _ => Err(Failure::Cancelled),
                };
            };
            match machine.next(Instant::now()) {
                Next::Ask(ask) => return Ok(Some(ask)),
                Next::Write => self.output = mem::take(machine.output()),
                Next::Read { until } => self.read(until).await?,
                Next::Upgrade => {
                    self.output = mem::take(machine.output());
                    self.write().await?;
                    Box::pin(self.upgrade()).await?;
                }
                Next::Close(why) => return Box::pin(self.close(why)).await,
            }
        }
    }

    async fn write(&mut self) -> Result<(), Failure> {
        let limit = self.options.limits.write;
        let (Some(connection), Phase::Talk(machine)) = (&mut self.connection, &mut self.phase)
        else {
            return Err(Failure::Broken);
        };
        let sink = &mut |bytes: &[u8]| machine.receive(bytes);
        match connection
            .write_hearing(&mut self.output, limit, sink)
            .await
        {
            Ok(()) => Ok(()),
            Err(Broken::TooSlow) => Err(Failure::Stalled),
            Err(Broken::Tls(failure)) => Err(Failure::Tls(failure)),
            Err(Broken::Network) => {
                self.lose();
                Ok(())
            }
        }
    }

    /// The connection broke. What the server had said before, it may be the reason, is the session's to judge.
    fn lose(&mut self) {
        self.output = Vec::new();
        self.traffic = self.traffic();
        if let (Some(mut connection), Phase::Talk(machine)) =
            (self.connection.take(), &mut self.phase)
        {
            connection.read_rest(&mut |bytes| machine.receive(bytes));
            machine.peer_closed(false);
        }
    }

    /// Waits for bytes or the deadline. This is where an idle session is.
    async fn read(&mut self, until: Instant) -> Result<(), Failure> {
        let (Some(connection), Phase::Talk(machine)) = (&mut self.connection, &mut self.phase)
        else {
            return Err(Failure::Broken);
        };
        let mut first = true;
        let hear = poll_fn(|cx| {
            let heard = connection.poll_hear(cx, &mut |bytes| machine.receive(bytes));
            // A server that writes its replies to pipelined commands one by one, with Nagle's algorithm, holds each back
            // until we acknowledge the one before: our kernel's delay, 40 ms, for every message.
            if heard.is_pending() && mem::take(&mut first) {
                connection.acknowledge();
            }
            heard
        });
        let heard = tokio::select! {
            biased;
            heard = hear => heard,
            () = sleep_until(until.into()) => return Ok(()),
        };
        match heard {
            Ok(Some(Read::Some)) => Ok(()),
            Ok(Some(Read::End { clean })) => {
                if connection.told_of_end() {
                    return Err(Failure::Broken);
                }
                // [TLS-CLOSE-01] [SMTP-STARTTLS-25] whether what came is whole is the session's to judge
                machine.peer_closed(clean);
                Ok(())
            }
            Ok(None) => self.write().await,
            Err(Broken::Network) => {
                self.lose();
                Ok(())
            }
            Err(Broken::TooSlow) => Err(Failure::Stalled),
            Err(Broken::Tls(failure)) => Err(Failure::Tls(failure)),
        }
    }

    async fn close(&mut self, why: Why) -> Result<Option<M::Ask>, Failure> {
        let Phase::Talk(mut machine) = mem::replace(&mut self.phase, Phase::Gone) else {
            return Err(Failure::Cancelled);
        };
        let output = mem::take(machine.output());
        self.failure = match why {
            Why::Quit => None,
            Why::Failed => Some(machine.failure().map_or(Failure::Ended(why), Failure::from)),
            _ => Some(Failure::Ended(why)),
        };
        self.phase = Phase::Over(machine);
        self.close_connection(output).await;
        self.failure.clone().map_or(Ok(None), Err)
    }

    /// The last words, `close_notify` where there is TLS [SMTP-STARTTLS-24], the end.
    async fn close_connection(&mut self, output: Vec<u8>) {
        if let Some(connection) = self.connection.take() {
            let limits = (self.options.limits.write.min(FAREWELL), Duration::ZERO);
            let (received, sent) = Box::pin(connection.finish(output, limits)).await;
            (self.traffic.received, self.traffic.sent) = (received, sent);
        }
    }

    /// Ends without a farewell. An alert that is in line is sent if the socket takes it.
    fn abort(&mut self, failure: Failure) {
        self.traffic = self.traffic();
        self.failure = Some(failure);
        self.output = Vec::new();
        if let Some(mut connection) = self.connection.take() {
            let _ = connection.flush();
        }
    }

    fn traffic(&self) -> Traffic {
        match &self.connection {
            None => self.traffic,
            Some(connection) => Traffic {
                received: connection.bytes_in,
                sent: connection.bytes_out,
                handshake: self.traffic.handshake,
            },
        }
    }
}

/// The way into TLS.
impl<M: Dialogue> Inner<M> {
    /// Implicit TLS: not a word before it [IMPL-01].
    async fn begin(&mut self) -> Result<(), Failure> {
        let Phase::Fresh(fresh) = mem::replace(&mut self.phase, Phase::Gone) else {
            return Err(Failure::Cancelled);
        };
        self.secure(fresh, Failure::ClearOnTlsPort).await
    }

    /// The session in clear ends here, and all that was said in it.
    async fn upgrade(&mut self) -> Result<(), Failure> {
        let Phase::Talk(mut machine) = mem::replace(&mut self.phase, Phase::Gone) else {
            return Err(Failure::Cancelled);
        };
        if let Some(connection) = &mut self.connection {
            // [SMTP-STARTTLS-20] What has come by now came before our hello: it is left over, wherever it is.
            connection.read_early(&mut |bytes| machine.receive(bytes));
        }
        let (fresh, leftover) = machine.upgrade();
        leftover
            .into_client_handshake()
            .map_err(|injection| Failure::Session(injection.into()))?;
        self.secure(fresh, Failure::NotTls).await
    }

    async fn secure(
        &mut self,
        fresh: M::Fresh,
        not_tls: fn(ClearWords) -> Failure,
    ) -> Result<(), Failure> {
        let attempt = self.tls.attempt((self.options.clock)(), self.shares);
        let attempt = attempt.map_err(|_| Failure::Terms)?;
        self.attempt = Some(attempt.clone());
        let mut secured = self.shake_hands(&attempt, not_tls).await?;
        secured.facts.verified = self.judge(&attempt).await?;
        let mut facts = Box::new(secured.facts.clone());
        facts.bindings = None;
        self.facts = Some(facts);
        let mut machine = fresh.secured(secured.facts);
        if !secured.early.is_empty() {
            machine.receive(&secured.early);
        }
        self.phase = Phase::Talk(machine);
        Ok(())
    }

    async fn shake_hands(
        &mut self,
        attempt: &Attempt,
        not_tls: fn(ClearWords) -> Failure,
    ) -> Result<Secured, Failure> {
        let Some(connection) = &mut self.connection else {
            return Err(Failure::Broken);
        };
        let limits = self.options.limits;
        let silence = match self.shares {
            Shares::Hybrid => limits.first_answer.min(limits.handshake),
            Shares::Classic => limits.handshake,
        };
        let sni = self.tls.terms().sni.as_ref().map(HostName::as_str);
        let (begun, before) = (Instant::now(), connection.bytes_in);
        let handshake = connect(connection, attempt, sni, silence, Insist::FirstHandshake);
        let result = timeout(limits.handshake, handshake).await;
        let result = result.unwrap_or(Err(Failed::Tls(TlsFailure::Timeout)));
        self.traffic.handshake = Some(begun.elapsed());
        self.answered = Some(connection.bytes_in > before);
        result.map_err(|failed| match failed {
            Failed::NotTls(words) => not_tls(ClearWords::new(&words)),
            Failed::Tls(failure) => match attempt.verdict() {
                Some(verdict)
                    if failure == TlsFailure::PeerCertificate && verdict.verified().is_none() =>
                {
                    Failure::Unverified(Box::new(verdict))
                }
                _ => Failure::Handshake(failure),
            },
        })
    }

    /// By what the server is verified. Lists of revoked certificates that would settle what is open are fetched now, where that
    /// is wanted; nothing has been entrusted to the server yet.
    async fn judge(&mut self, attempt: &Attempt) -> Result<Option<VerifiedBy>, Failure> {
        let mut verdict = attempt.verdict().ok_or(Failure::Terms)?;
        if let (Some(source), Some(connection)) = (&self.options.crls, &mut self.connection) {
            let urls = verdict.wants_crls();
            if !urls.is_empty() {
                // The server waits for our Finished meanwhile; a broken connection shows at the next step.
                let _ = connection.flush();
                let fetch = timeout(self.options.limits.crls, source.fetch(urls)).await;
                let crls = fetch.unwrap_or_else(|_| Crls::none());
                let judged = attempt.rejudge(&crls, (self.options.clock)());
                verdict = judged.unwrap_or(verdict);
            }
        }
        let wanted = self.tls.terms().demand == Demand::Verified;
        match verdict.verified() {
            None if wanted && !verdict.is_excepted() => Err(Failure::Unverified(Box::new(verdict))),
            verified => Ok(verified.map(by)),
        }
    }
}
