//! From settings to a session on its way: doors, DNS, terms, connection, and what became of it for reports.
//!
//! Doors are tried in their order, and the next one only when there is no connection at the one before. Once a server has
//! answered, whatever it says, that was the attempt: TLS that fails is never followed by something less. [IMAP-TLS-13]

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use clap::ArgMatches;
use gatepost_net::client::{self, Channel, Failure as NetFailure, Options, Session};
use gatepost_trust::tlsa::{Tlsa, TlsaSet};
use gatepost_trust::verify::{ClientTls, Demand, RevocationMode, Terms, VerifiedBy};
use gatepost_wire::client::{Deadlines, Entry, Mode, Recorder, Seed};
use gatepost_wire::imap::client as imap;
use gatepost_wire::pop3::client as pop3;
use gatepost_wire::seam::UnverifiedLogin;
use gatepost_wire::sieve::client as sieve;
use gatepost_wire::smtp::client as smtp;
use rustls_pki_types::CertificateDer;

use super::kinds::{Beginning, Event, Kind};
use super::network;
pub(crate) use super::reached::Reached;
use super::settings::{Door, Settings, Tls, Way};
use super::trouble::Trouble;
use super::url::{Host, Protocol, Url};
use super::{lookup, terms};
use crate::exit::Failure;

/// A session, and what was decided for it.
#[derive(Debug)]
pub(crate) struct Open<M: Kind> {
    /// The session.
    pub(crate) session: Session<M>,
    /// The door it goes through.
    pub(crate) door: Door,
    /// Host and port as people write them.
    pub(crate) place: String,
    /// The dialogue.
    pub(crate) recorder: Recorder,
    protocol: Protocol,
    revocation: RevocationMode,
    verbose: bool,
    here: bool,
}

/// What a look at a server brought: TLS was up, and nothing else was said.
#[derive(Debug)]
pub(crate) struct Look {
    /// The door.
    pub(crate) door: Door,
    /// The certificates it showed.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// By what it is verified, if it is.
    pub(crate) verified: Option<VerifiedBy>,
    channel: Channel,
}

impl Look {
    /// How its words travel.
    pub(crate) fn channel_word(&self) -> String {
        self.channel.to_string()
    }
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(future);
    // A thread that waits for a terminal's next line would hold the end up.
    runtime.shutdown_background();
    result
}

/// How strictly a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// As the settings say.
    AsAsked,
    /// Encrypted at least, with a verdict, and then a conversation if the verdict is good enough.
    Showing,
    /// Encrypted at least, with a verdict: for looking at a server.
    Looking,
    /// The same, without the pins, which are about to be changed.
    LookingWithoutPins,
}

/// A connection that came to nothing, with what there is to show of it.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) trouble: Trouble,
    /// What there is to report.
    pub(crate) reached: Reached,
    /// What was said.
    pub(crate) dialogue: Vec<Entry>,
}

impl Refusal {
    /// Prints the JSON document of the run, if that is wanted, and gives the end of the program.
    pub(crate) fn into_failure(self, settings: &Settings, schema: &str) -> Failure {
        if settings.json {
            println!("{}", self.reached.failed(schema, &self.trouble));
        }
        self.trouble.into_failure(&self.reached.place)
    }
}

/// Connects and brings the session to its first question: TLS is up and judged then, or is not to be. `schema` is that of the JSON
/// document that is printed when it fails.
pub(crate) async fn open<M: Kind>(
    settings: &Settings,
    url: &Url,
    hello: &str,
    schema: &str,
) -> Result<Open<M>, Failure> {
    attempt(settings, url, hello, Strictness::AsAsked)
        .await?
        .map_err(|refusal| refusal.into_failure(settings, schema))
}

/// Connects as the settings say, but brings TLS up with any server, so that there is something to show. Whether the server is good
/// enough is [`Open::judge`]'s to say, and nothing may be entrusted to it before.
pub(crate) async fn open_to_show<M: Kind>(
    settings: &Settings,
    url: &Url,
    hello: &str,
) -> Result<Result<Open<M>, Refusal>, Failure> {
    attempt(settings, url, hello, Strictness::Showing).await
}

async fn attempt<M: Kind>(
    settings: &Settings,
    url: &Url,
    hello: &str,
    strictness: Strictness,
) -> Result<Result<Open<M>, Refusal>, Failure> {
    let doors = settings.doors(url)?;
    lookup::require_policy(settings, url).await?;
    let dialer = network::dialer(settings)?;
    let options = Arc::new(options(settings)?);
    let mut refused: Option<Refusal> = None;
    for door in doors {
        let place = url.place(door.port);
        if matches!(strictness, Strictness::AsAsked | Strictness::Showing) {
            terms::refuse_to_pass_over_pins(settings, url, door)?;
        }
        let records = lookup::records(settings, url, door).await?;
        let door = raised(settings, door, records.as_deref());
        let terms = relaxed(
            terms::terms(settings, url, door, records.as_ref())?,
            strictness,
        );
        if settings.verbose {
            eprintln!("gatepost: connecting to {place} ({})", door.tls.label());
        }
        let recorder = Recorder::new();
        let here = is_here(settings, url, door.port);
        let beginning = beginning(settings, url, door, here, &recorder, hello);
        let seeds = [seed()?, seed()?];
        let tries = Cell::new(0);
        let begin = || {
            let seed = seeds[tries.replace(1).min(1)].clone();
            M::start(&beginning, seed)
        };
        let mut target = network::target(&url.host, door.port);
        target.addresses = lookup::addresses(settings, url, door.port).await?;
        let tls = ClientTls::new(terms);
        let opened = client::open(&dialer, &target, &tls, &options, begin).await;
        let failure = match opened {
            Ok(session) => {
                return Ok(Ok(Open {
                    session,
                    door,
                    place,
                    recorder,
                    protocol: url.protocol,
                    revocation: settings.revocation,
                    verbose: settings.verbose,
                    here,
                }));
            }
            Err(failure) => failure,
        };
        let unreachable = matches!(failure, NetFailure::Dial(_));
        let refusal = refusal(&failure, settings, (url, door), &recorder, refused.take());
        if !unreachable {
            return Ok(Err(refusal));
        }
        refused = Some(refusal);
    }
    match refused {
        Some(refusal) => Ok(Err(refusal)),
        None => Err(Failure::usage("there is no port to try")),
    }
}

/// What there is of a connection that failed. `before` is the door that did not open either.
fn refusal(
    failure: &NetFailure,
    settings: &Settings,
    (url, door): (&Url, Door),
    recorder: &Recorder,
    before: Option<Refusal>,
) -> Refusal {
    let mut trouble = Trouble::of(failure);
    if let Some(before) = before {
        trouble.text = format!(
            "{}; and before at {}: {}",
            trouble.text, before.reached.place, before.trouble.text
        );
    }
    let verdict = match failure {
        NetFailure::Unverified(verdict) => Some(verdict.as_ref().clone()),
        _ => None,
    };
    Refusal {
        trouble,
        reached: Reached {
            place: url.place(door.port),
            protocol: url.protocol,
            tls_mode: door.tls,
            channel: Channel::Clear,
            revocation: settings.revocation,
            facts: None,
            verdict,
            chain: Vec::new(),
            mechanism: None,
        },
        dialogue: recorder.take(),
    }
}

/// Whether the server is on this machine, by the address that will be connected to and not by its name alone.
fn is_here(settings: &Settings, url: &Url, port: u16) -> bool {
    let is_host = |said: &str| match &url.host {
        Host::Name(name) => said == name,
        Host::Ip(address) => said == address.to_string(),
    };
    let mut said = settings.resolve.iter();
    let said = said.find(|it| it.port == port && is_host(&it.host));
    let address = match (&url.host, said) {
        (_, Some(said)) => Some(said.address),
        (Host::Ip(address), None) => Some(*address),
        // No resolver is asked for these names.
        (Host::Name(name), None) if lookup::is_local(name) => Some(lookup::LOOPBACK[0]),
        (Host::Name(_), None) => None,
    };
    settings.socks5.is_none() && address.is_some_and(|it| it.to_canonical().is_loopback())
}

/// Where the domain itself asks for verified TLS, and the user had it looked up, there is nothing opportunistic about it.
/// [DANE-04] [CONF-08]
fn raised(settings: &Settings, door: Door, records: Option<&TlsaSet>) -> Door {
    let asks = records.is_some_and(|it| !it.is_empty()) || settings.verify.has(Way::Sts);
    match door.tls {
        Tls::Opportunistic if asks => Door {
            tls: Tls::StartTls,
            ..door
        },
        _ => door,
    }
}

fn relaxed(mut terms: Terms, strictness: Strictness) -> Terms {
    if strictness != Strictness::AsAsked {
        terms.demand = Demand::Encrypted;
    }
    if strictness == Strictness::LookingWithoutPins {
        terms.pins = None;
    }
    terms
}

fn options(settings: &Settings) -> Result<Options, Failure> {
    let mut options = Options::default();
    if settings.revocation != RevocationMode::Off {
        options.crls = Some(network::crl_source(settings)?);
    }
    if let Some(timeout) = settings.timeout {
        options.limits.handshake = options.limits.handshake.min(timeout);
        options.limits.first_answer = options.limits.first_answer.min(timeout);
        options.limits.write = options.limits.write.min(timeout);
    }
    Ok(options)
}

fn beginning(
    settings: &Settings,
    url: &Url,
    door: Door,
    here: bool,
    recorder: &Recorder,
    hello: &str,
) -> Beginning {
    Beginning {
        mode: match door.tls {
            Tls::Implicit => Mode::Implicit,
            Tls::StartTls => Mode::StartTls,
            Tls::Opportunistic => Mode::Opportunistic,
            Tls::Off => Mode::Off,
        },
        deadlines: deadlines(settings),
        exception: exception(settings, door, here),
        recorder: recorder.clone(),
        hello: hello.to_owned(),
        lmtp: url.protocol == Protocol::Lmtp,
    }
}

fn deadlines(settings: &Settings) -> Deadlines {
    let mut deadlines = Deadlines::INTERACTIVE;
    if let Some(timeout) = settings.timeout {
        for limit in [
            &mut deadlines.greeting,
            &mut deadlines.hello,
            &mut deadlines.login,
            &mut deadlines.command,
            &mut deadlines.data,
            &mut deadlines.block,
            &mut deadlines.verdict,
        ] {
            *limit = timeout;
        }
    }
    deadlines
}

/// The named exceptions: a server on this machine, or what the user has said.
/// [MUA-05] [CONF-08]
fn exception(settings: &Settings, door: Door, here: bool) -> Option<UnverifiedLogin> {
    if door.tls == Tls::Off {
        return (here || settings.dangers.clear_login).then(UnverifiedLogin::danger_in_clear);
    }
    settings
        .dangers
        .unverified_login
        .then(UnverifiedLogin::danger_unverified_peer)
}

fn seed() -> Result<Seed, Failure> {
    let mut octets = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| Failure::local("the system gives no randomness"))?;
    Ok(Seed::new(octets))
}

impl<M: Kind> Open<M> {
    /// What there is to report.
    pub(crate) fn reached(&self) -> Reached {
        Reached {
            place: self.place.clone(),
            protocol: self.protocol,
            tls_mode: self.door.tls,
            channel: self.session.channel(),
            revocation: self.revocation,
            facts: self.session.facts().cloned(),
            verdict: self.session.verdict(),
            chain: self.session.chain(),
            mechanism: None,
        }
    }

    /// Says what is being done, if that is wanted.
    pub(crate) fn note(&self, text: &str) {
        if self.verbose {
            self.say(text);
        }
    }

    /// Says something on standard error.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("gatepost: {}: {text}", self.place);
    }

    /// Says so when the words travel in clear, or to a server nobody vouches for. `offered`: the server offers TLS. [MUA-06]
    pub(crate) fn warn(&self, offered: bool) {
        match (self.session.channel(), self.door.tls) {
            (Channel::Clear, Tls::Off) if offered => self.say(
                "everything travels in clear, and the server offers STARTTLS: leave out --tls off",
            ),
            (Channel::Clear, _) => {
                self.say("everything travels in clear; anyone on the path can read and change it");
            }
            (Channel::Encrypted, Tls::Opportunistic) => {
                self.say("encrypted, but nobody vouches for the server; it may be someone else's");
            }
            _ => {}
        }
    }

    /// Whether the server is as good as the settings want it, for a connection that was opened to be shown.
    pub(crate) fn judge(&self, settings: &Settings) -> Result<(), Trouble> {
        let verified = matches!(self.session.channel(), Channel::Verified(_));
        let wanted =
            !settings.verify.is_none() && matches!(self.door.tls, Tls::Implicit | Tls::StartTls);
        match self.session.verdict() {
            Some(verdict) if wanted && !verified && !verdict.is_excepted() => {
                Err(Trouble::of(&NetFailure::Unverified(Box::new(verdict))))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a login that the session would refuse as well, before anybody is asked for a password. [MUA-02] [MUA-05]
    pub(crate) fn refuse_login_in_vain(&self, settings: &Settings) -> Result<(), Trouble> {
        let channel = self.session.channel();
        let allowed = match channel {
            Channel::Verified(_) => true,
            Channel::Encrypted => settings.dangers.unverified_login,
            Channel::Clear => {
                exception(settings, self.door, self.here)
                    == Some(UnverifiedLogin::danger_in_clear())
            }
        };
        if allowed {
            return Ok(());
        }
        Err(Trouble::of_session(
            &gatepost_wire::client::Failure::NotVerified,
        ))
    }

    /// Leaves as the protocol wants it.
    pub(crate) async fn quit(&mut self) {
        // What the server says to a farewell changes nothing any more.
        while let Ok(Some(ask)) = self.session.next().await {
            let answer = match M::event(&ask) {
                Event::Other => M::wait(),
                _ => M::quit(),
            };
            self.session.answer(answer);
        }
    }
}

/// Looks at a server: connects, brings TLS up, leaves.
pub(crate) fn look(url: &Url, given: &ArgMatches) -> Result<Look, Failure> {
    look_by(url, given, Strictness::Looking)
}

/// The same, without the pins that are kept for it.
pub(crate) fn look_without_pins(url: &Url, given: &ArgMatches) -> Result<Look, Failure> {
    look_by(url, given, Strictness::LookingWithoutPins)
}

/// The chain a server shows.
pub(crate) fn chain_of(
    url: &Url,
    given: &ArgMatches,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    look(url, given).map(|look| look.chain)
}

fn look_by(url: &Url, given: &ArgMatches, strictness: Strictness) -> Result<Look, Failure> {
    let settings = Settings::read(given)?;
    if settings.tls == Some(Tls::Off) {
        return Err(Failure::usage(
            "without TLS there is no certificate to look at; leave out --tls off",
        ));
    }
    block_on(look_strictly(&settings, url, strictness))
}

/// The same under settings that are read already; without the pins as well.
pub(crate) async fn look_in(settings: &Settings, url: &Url) -> Result<Look, Failure> {
    look_strictly(settings, url, Strictness::LookingWithoutPins).await
}

async fn look_strictly(
    settings: &Settings,
    url: &Url,
    strictness: Strictness,
) -> Result<Look, Failure> {
    match url.protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => {
            look_at::<smtp::Client>(settings, url, strictness).await
        }
        Protocol::Imap => look_at::<imap::Client>(settings, url, strictness).await,
        Protocol::Pop3 => look_at::<pop3::Client>(settings, url, strictness).await,
        Protocol::Sieve => look_at::<sieve::Client>(settings, url, strictness).await,
    }
}

async fn look_at<M: Kind>(
    settings: &Settings,
    url: &Url,
    strictness: Strictness,
) -> Result<Look, Failure> {
    let mut open = match attempt::<M>(settings, url, HELLO, strictness).await? {
        Ok(open) => open,
        Err(refusal) => return Err(refusal.trouble.into_failure(&refusal.reached.place)),
    };
    let look = Look {
        door: open.door,
        chain: open.session.chain(),
        verified: open.session.verdict().and_then(|it| it.verified()),
        channel: open.session.channel(),
    };
    open.quit().await;
    Ok(look)
}

/// Whether a server answers at a door and is verified there. Nothing is said to it but what TLS needs, and goodbye.
pub(crate) async fn answers_verified(settings: &Settings, url: &Url, door: Door) -> bool {
    let Ok(terms) = terms::terms(settings, url, door, None) else {
        return false;
    };
    let beginning = beginning(settings, url, door, false, &Recorder::new(), HELLO);
    match url.protocol {
        Protocol::Imap => is_verified::<imap::Client>(settings, url, terms, &beginning, door).await,
        Protocol::Pop3 => is_verified::<pop3::Client>(settings, url, terms, &beginning, door).await,
        _ => is_verified::<smtp::Client>(settings, url, terms, &beginning, door).await,
    }
}

async fn is_verified<M: Kind>(
    settings: &Settings,
    url: &Url,
    terms: Terms,
    beginning: &Beginning,
    door: Door,
) -> bool {
    let (Ok(seed), Ok(dialer), Ok(options)) =
        (seed(), network::dialer(settings), options(settings))
    else {
        return false;
    };
    let target = network::target(&url.host, door.port);
    let tls = ClientTls::new(terms);
    let begin = || M::start(beginning, seed.clone());
    let options = Arc::new(options);
    match client::open(&dialer, &target, &tls, &options, begin).await {
        Ok(session) => {
            let verified = matches!(session.channel(), Channel::Verified(_));
            session.finish().await;
            verified
        }
        Err(_) => false,
    }
}

/// The name said in EHLO: it tells nothing of this machine.
pub(crate) const HELLO: &str = "[127.0.0.1]";

/// The TLSA records published for a server.
pub(crate) fn published(url: &Url, port: u16, given: &ArgMatches) -> Result<Vec<Tlsa>, Failure> {
    let settings = Settings::read(given)?;
    let Host::Name(name) = &url.host else {
        return Err(Failure::usage(
            "records are published for names, not for addresses",
        ));
    };
    block_on(lookup::tlsa(&settings, name, port, SystemTime::now()))
}

/// Whether a way needs DNS before connecting.
pub(crate) fn needs_records(settings: &Settings) -> bool {
    settings.verify.has(Way::Dane)
}

#[cfg(test)]
mod tests {
    use gatepost_trust::tlsa::Usages;

    use super::super::send;
    use super::*;

    fn settings(words: &[&str]) -> Settings {
        let all = ["send", "--from", "a@b.test", "--to", "c@d.test"];
        let given = send::command().try_get_matches_from([&all[..], words].concat());
        Settings::read(&given.unwrap()).unwrap()
    }

    #[test]
    fn a_server_is_here_by_the_address_that_is_connected_to() {
        // [MUA-05]
        let here = |host: &str, port, words: &[&str]| {
            let url = Url::parse(&format!("imap://{host}")).unwrap();
            is_here(&settings(words), &url, port)
        };
        assert!(here("localhost", 143, &[]) && here("mail.localhost", 143, &[]));
        assert!(here("127.0.0.2", 143, &[]) && here("[::1]", 143, &[]));
        assert!(!here("mail.test", 143, &[]) && !here("192.0.2.1", 143, &[]));
        let moved = [
            "--resolve",
            "localhost:143:192.0.2.1",
            "--resolve",
            "mail.test:144:127.0.0.1",
        ];
        assert!(!here("localhost", 143, &moved) && here("localhost", 144, &moved));
        assert!(!here("mail.test", 143, &moved) && here("mail.test", 144, &moved));
        assert!(!here("localhost", 143, &["--socks5", "proxy.test"]));
    }

    #[test]
    fn what_the_domain_asks_for_is_not_opportunistic() {
        // [DANE-04]
        let door = Door {
            port: 25,
            tls: Tls::Opportunistic,
        };
        let tls = |words: &[&str], records: &[Tlsa]| {
            let records = TlsaSet::new(records, Usages::All);
            raised(&settings(words), door, Some(&records)).tls
        };
        let record: Tlsa = format!("3 1 1 {}", "00".repeat(32)).parse().unwrap();
        assert_eq!(tls(&[], &[]), Tls::Opportunistic);
        assert_eq!(tls(&[], &[record]), Tls::StartTls);
        let sts = ["--verify", "sts", "--domain", "d.test"];
        assert_eq!(tls(&sts, &[]), Tls::StartTls);
    }
}
