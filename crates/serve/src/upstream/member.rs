//! One upstream: how it is reached, whether it is well, what it offers.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatepost_net::client::dial::{Announce, DialFailure, Dialer, Target};
use gatepost_net::client::{self, Channel, Dialogue, Failure, Limits, Options, Session, Start};
use gatepost_trust::identity::client_key;
use gatepost_trust::pin::PinSet;
use gatepost_trust::verify::{
    Alpn, ClientTls, Demand, HostName, Reference, Roots, Terms, Way, Ways,
};
use gatepost_wire::client::{Deadlines, Mode, Seed};
use gatepost_wire::proxy::{encode_v1, encode_v2};
use gatepost_wire::seam::UnverifiedLogin;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::dane::Asker;
use super::offer::Offered;
use super::trouble::Trouble;
use super::url::{Level, Spec, Tls};
use crate::services::Protocol;

/// How long an upstream that failed is left alone, at first and at the longest.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// An upstream.
#[derive(Debug)]
pub struct Member {
    spec: Spec,
    terms: Terms,
    tls: ClientTls,
    /// Who is asked for its TLSA records, where they say who it must be.
    asker: Option<Asker>,
    options: Arc<Options>,
    /// Sessions that use it now, also those that began under other settings.
    active: Arc<AtomicU32>,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    failures: u32,
    /// Not to be used before.
    rests_until: Option<Instant>,
    offered: Option<Offered>,
}

/// A use of an upstream; dropping it gives it back.
#[derive(Debug)]
pub struct Busy(Arc<Member>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Busy {
    /// Which one.
    pub fn member(&self) -> &Arc<Member> {
        &self.0
    }

    /// For the line about a session: where it went, and how its words travelled there.
    pub(super) fn route(&self, channel: Channel) -> (String, String) {
        (self.0.spec.place(), channel.to_string())
    }
}

impl Member {
    /// Reads the files the description names.
    ///
    /// # Errors
    /// What is wrong with them, in words for the operator.
    pub fn new(spec: Spec) -> Result<Self, String> {
        let named = |text| format!("upstream {}: {text}", spec.place());
        let terms = terms(&spec).map_err(named)?;
        let asker = (spec.level == Level::Dane).then(|| Asker::new(&spec));
        let asker = asker.transpose().map_err(named)?;
        let limits = Limits {
            handshake: spec.timeout,
            first_answer: spec.timeout.min(Limits::default().first_answer),
            ..Limits::default()
        };
        Ok(Self {
            spec,
            tls: ClientTls::new(terms.clone()),
            terms,
            asker,
            options: Arc::new(Options {
                limits,
                ..Options::default()
            }),
            active: Arc::default(),
            state: Mutex::default(),
        })
    }

    /// The same with what is known of one described alike.
    pub(super) fn succeed(mut self, before: &Self) -> Self {
        self.active = Arc::clone(&before.active);
        self.state = Mutex::new(before.state().clone());
        self
    }

    /// As the operator described it.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it offers, if it has said so.
    pub fn offered(&self) -> Option<Offered> {
        self.state().offered.clone()
    }

    /// Sessions that use it now.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether it may be used.
    pub fn is_well(&self) -> bool {
        let rests = self.state().rests_until;
        rests.is_none_or(|until| until <= Instant::now())
    }

    /// Counts a use.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.active.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// It could not be used: it rests, longer every time.
    pub(super) fn failed(&self) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let rest = REST.saturating_mul(1 << (state.failures - 1).min(6));
        state.rests_until = Some(Instant::now() + rest.min(LONGEST_REST));
    }

    /// It works. True when that is news.
    pub(super) fn works(&self, offered: Option<Offered>) -> bool {
        let mut state = self.state();
        let returned = state.failures > 0;
        state.failures = 0;
        state.rests_until = None;
        let changed = offered.is_some() && state.offered != offered;
        if offered.is_some() {
            state.offered = offered;
        }
        returned || changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever a thread was doing with it, each field is good by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How TLS comes about, in the session's words.
    pub(super) fn mode(&self) -> Mode {
        match self.spec.tls {
            Tls::None => Mode::Off,
            Tls::May => Mode::Opportunistic,
            Tls::StartTls => Mode::StartTls,
            Tls::Implicit => Mode::Implicit,
        }
    }

    /// The exception by which credentials may go there in clear: loopback, or the operator's `tls=none`; both are said in
    /// [`Spec::parse`]. There is none for TLS that is not verified.
    pub(super) fn exception(&self) -> Option<UnverifiedLogin> {
        (self.spec.tls == Tls::None).then(UnverifiedLogin::danger_in_clear)
    }

    /// Whether a password may go there at all.
    pub(super) fn may_have_passwords(&self) -> bool {
        self.spec.tls == Tls::None || self.spec.level.is_verified()
    }

    /// How long to wait for it.
    pub(super) fn deadlines(&self) -> Deadlines {
        Deadlines {
            greeting: self.spec.timeout,
            hello: self.spec.timeout,
            login: self.spec.timeout.max(Duration::from_secs(60)),
            ..Deadlines::RELAY
        }
    }

    /// Connects and brings a session to its first question: TLS is up and verified then, where it is to be.
    pub(super) async fn open<M: Dialogue>(
        &self,
        announce: Option<Announce>,
        begin: impl Fn(Seed) -> Start<M>,
    ) -> Result<Session<M>, Trouble> {
        let seeds = [seed()?, seed()?];
        let tries = AtomicUsize::new(0);
        if let Some(path) = &self.spec.socket {
            let stream = connect_socket(path, announce, self.spec.timeout).await?;
            let [seed, _] = seeds;
            let options = Arc::clone(&self.options);
            let mut session = Session::new(stream, begin(seed), self.tls.clone(), options);
            session.ready().await?;
            return Ok(session);
        }
        let dialer = Dialer {
            announce,
            limit: self.spec.timeout,
            ..Dialer::default()
        };
        let begin = || begin(seeds[tries.fetch_add(1, Ordering::Relaxed).min(1)].clone());
        let (mut target, mut tls) = (self.target(), self.tls.clone());
        if let Some(asker) = &self.asker {
            // [GW-02] [DANE-04] without records that count there is no connection.
            let (terms, addresses) = asker.ask(&self.spec, &self.terms).await?;
            (target.addresses, tls) = (addresses, ClientTls::new(terms));
        }
        Ok(client::open(&dialer, &target, &tls, &self.options, begin).await?)
    }

    fn target(&self) -> Target {
        let mut target = Target::new(self.spec.host.clone(), self.spec.port);
        if self.spec.host == "localhost" {
            // What makes it this machine must not be a resolver's word.
            target.addresses = vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ];
        }
        target
    }
}

/// A Unix socket, as a connection like the others: what is read and written there does not know the difference.
async fn connect_socket(
    path: &Path,
    announce: Option<Announce>,
    limit: Duration,
) -> Result<TcpStream, Failure> {
    let failed = |kind| {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Failure::Dial(DialFailure::Unconnected(vec![(nowhere, kind)]))
    };
    let connected = timeout(limit, UnixStream::connect(path)).await;
    let mut stream = connected
        .map_err(|_| failed(ErrorKind::TimedOut))?
        .map_err(|error| failed(error.kind()))?;
    if let Some(Announce {
        text,
        header: Some(header),
    }) = announce
    {
        let bytes = if text {
            encode_v1(&header)
        } else {
            encode_v2(&header).map_err(|_| Failure::Dial(DialFailure::Header))?
        };
        let written = stream.write_all(&bytes).await;
        written.map_err(|error| failed(error.kind()))?;
    }
    let stream = stream.into_std().map_err(|error| failed(error.kind()))?;
    let stream = std::net::TcpStream::from(OwnedFd::from(stream));
    TcpStream::from_std(stream).map_err(|error| failed(error.kind()))
}

fn seed() -> Result<Seed, Failure> {
    let mut octets = [0; 32];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Failure::Terms)?;
    Ok(Seed::new(octets))
}

/// Everything that is decided before connecting [GW-02].
fn terms(spec: &Spec) -> Result<Terms, String> {
    let named = spec.name.as_deref().unwrap_or(&spec.host);
    let reference = Reference::host(named).map_err(|error| format!("{named}: {error}"))?;
    let has_tls = spec.tls != Tls::None;
    let by_pin_alone = !spec.pins.is_empty() && spec.ca.is_none();
    let mut roots = Roots::none();
    if let Some(file) = &spec.ca {
        roots
            .add_file(file)
            .map_err(|error| format!("ca: {error}"))?;
    } else if spec.level == Level::Dane {
        // For records that name a public authority; without any those match nothing.
        roots = Roots::system().unwrap_or_else(|_| Roots::none());
    } else if has_tls && spec.level == Level::Verify && !by_pin_alone {
        roots = Roots::system().map_err(|error| error.to_string())?;
    }
    let mut terms = Terms::for_host(reference, Arc::new(roots));
    if spec.name.is_some() && spec.host.parse::<IpAddr>().is_err() && terms.sni.is_none() {
        terms.sni = HostName::new(&spec.host).ok();
    }
    let pins = PinSet::new(spec.pins.clone());
    match pins {
        // The operator knows the key, and asks nobody else.
        Some(pins) if by_pin_alone => terms.ways = Ways::Any(vec![Way::Pin(pins)]),
        pins => terms.pins = pins,
    }
    terms.demand = match spec.level {
        Level::Encrypt => Demand::Encrypted,
        Level::Verify | Level::Dane => Demand::Verified,
    };
    terms.alpn = match spec.protocol {
        Protocol::Imap => Alpn::Imap,
        Protocol::Pop3 => Alpn::Pop3,
        Protocol::Smtp | Protocol::Submission => Alpn::None,
    };
    if let Some((chain, key)) = &spec.client_cert {
        let read = |path: &std::path::Path| {
            fs::read(path)
                .map_err(|error| format!("client-cert: cannot read {}: {error}", path.display()))
        };
        let made = client_key(&read(chain)?, &read(key)?);
        terms.client = Some(made.map_err(|error| format!("client-cert: {error}"))?);
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &str) -> Arc<Member> {
        Arc::new(Member::new(Spec::parse(text).unwrap()).unwrap())
    }

    #[test]
    fn one_that_fails_rests_and_comes_back() {
        let member = member("imap://127.0.0.1");
        assert!(member.is_well());
        member.failed();
        assert!(!member.is_well());
        assert!(member.works(None));
        assert!(member.is_well());
        assert!(!member.works(None));
    }

    #[test]
    fn uses_are_counted_and_given_back() {
        let member = member("imap://127.0.0.1");
        let uses = [member.begin(), member.begin()];
        assert_eq!(member.active(), 2);
        drop(uses);
        assert_eq!(member.active(), 0);
    }

    // [GW-02]
    #[test]
    fn a_credential_goes_in_clear_only_by_the_named_exception() {
        assert!(member("imap://127.0.0.1").exception().is_some());
        assert!(member("imap://192.0.2.1?tls=none").exception().is_some());
        let pin = format!("sha256-spki:{}", "ab".repeat(32));
        for text in [
            format!("imaps://a.example?pin={pin}"),
            "smtp://a.example?tls=encrypt".to_owned(),
            "smtp://127.0.0.1?tls=may".to_owned(),
        ] {
            assert!(member(&text).exception().is_none(), "{text}");
        }
    }
}
