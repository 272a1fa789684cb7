//! The probes: one connection each, one question or a few that do not disturb each other.
//!
//! | module | asks |
//! |---|---|
//! | [`control`] | the dialogue as a client has it: greeting, capabilities, STARTTLS, a full handshake, capabilities again, farewell |
//! | [`plain`] | what would go through in clear: a login, a mail; and whether it is forgotten at the upgrade |
//! | [`injection`] | a command slipped in behind STARTTLS |
//! | [`hello`] | hellos no TLS library would send, answered in clear |
//! | [`manners`] | odd ways to begin TLS |
//! | [`names`] | who is shown to clients that name nobody, or somebody unknown |
//! | [`ntlm`] | what a login with NTLM tells of the server before it is broken off |
//! | [`sessions`] | tickets, early data, second handshakes: what comes after the first |
//! | [`intrusive`] | whether known holes are open: with consent only |

pub(crate) mod control;
pub(crate) mod hello;
pub(crate) mod injection;
pub(crate) mod intrusive;
#[cfg(test)]
pub(crate) mod lab;
pub(crate) mod manners;
pub(crate) mod names;
pub(crate) mod ntlm;
pub(crate) mod plain;
pub(crate) mod sessions;

use std::time::Duration;

use gatepost_net::client::Failure;
use gatepost_net::client::dial::{DialFailure, Dialer, Target as Door};
use gatepost_net::client::probe::{Probe, ShakeFailure, Shaken};
use gatepost_trust::verify::{Alpn, ClientTls, Demand, HostName, Reference, Roots, Shares, Terms};
use std::sync::Arc;

use super::budget::{Budget, Crowd};
use super::examine::Tier;
use super::facts::{Capabilities, Greeting, GreetingKind};
use super::reply::Mood;
use super::talk::{Silence, Talk};
use super::target::{Protocol, Start, Target};

/// What every probe of one examination shares.
pub(crate) struct Errand {
    pub(crate) target: Target,
    /// How deep to look.
    pub(crate) tier: Tier,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) roots: Arc<Roots>,
    /// Our name for EHLO.
    pub(crate) name: String,
    /// For each answer.
    pub(crate) patience: Duration,
    pub(crate) budget: Budget,
    /// How many connections at once.
    pub(crate) crowd: Crowd,
    /// A word no server knows, new each time.
    pub(crate) nonce: String,
    /// A mailbox of the owner's.
    pub(crate) mailbox: Option<String>,
}

impl Errand {
    /// Connects, within the budget.
    pub(crate) async fn open(&self) -> Result<Talk, String> {
        self.budget.take()?;
        self.dial().await.map_err(|failure| {
            let why = format!("no connection where there was one: {failure}");
            self.budget.stop(&why);
            why
        })
    }

    /// Connects; the budget is the caller's.
    pub(crate) async fn dial(&self) -> Result<Talk, DialFailure> {
        let door = Door {
            host: self.target.host.clone(),
            port: self.target.port,
            addresses: vec![self.target.address],
        };
        let probe = Probe::dial(&self.dialer, &door).await?;
        Ok(Talk::new(probe, self.target.protocol, self.patience))
    }

    /// Connects and hears the greeting, and for SMTP says EHLO: as far as STARTTLS can be said.
    pub(crate) async fn begin(&self) -> Result<Talk, String> {
        let mut talk = self.open().await?;
        if self.target.start == Start::Implicit {
            self.crowd.grow();
            return Ok(talk);
        }
        let (greeting, _) = talk.greeting().await;
        if let Some(why) = refusal(&greeting) {
            self.budget.stop(&why);
            return Err(why);
        }
        self.crowd.grow();
        if matches!(self.target.protocol, Protocol::Smtp | Protocol::Lmtp) {
            self.capabilities(&mut talk).await?;
        }
        Ok(talk)
    }

    /// Asks what the server can. Who is refused, or sees a door close that was open, knocks no more.
    pub(crate) async fn capabilities(&self, talk: &mut Talk) -> Result<Capabilities, String> {
        let told = talk.capabilities(&self.name).await;
        told.map_err(|silence| {
            let why = silence.words("the question for capabilities");
            if matches!(silence, Silence::Refused(_) | Silence::Closed) {
                self.budget.stop(&why);
            }
            why
        })
    }

    /// As far as a hello of TLS can be said.
    pub(crate) async fn begin_tls(&self) -> Result<Talk, String> {
        let mut talk = self.begin().await?;
        if self.target.start == Start::StartTls {
            let command = self.target.command();
            let reply = talk.ask(command).await;
            let reply = reply.map_err(|silence| silence.words(command))?;
            if reply.mood == Mood::NotNow {
                self.budget.stop(reply.last());
            }
            if reply.mood != Mood::Yes {
                return Err(format!("{command} was answered with {}", reply.last()));
            }
            if !talk.probe.received().is_empty() {
                return Err("there were words in clear behind the answer".to_owned());
            }
        }
        Ok(talk)
    }

    /// A full handshake in which nothing is demanded of the certificate: the verdict is noted.
    pub(crate) async fn shake(
        &self,
        talk: &mut Talk,
        shares: Shares,
    ) -> Result<Shaken, ShakeFailure> {
        let tls = ClientTls::new(self.terms());
        let shaken = talk.probe.handshake(&tls, shares, self.patience).await;
        let line = match &shaken {
            Ok(shaken) => format!(
                "--- {}, {} ---",
                shaken.facts.version.label(),
                shaken.facts.suite
            ),
            Err(failure) => format!("--- no TLS: {} ---", shake_words(failure)),
        };
        talk.transcript.push(line);
        shaken
    }

    fn terms(&self) -> Terms {
        let host = self.target.host.trim_end_matches('.');
        // What is no name cannot be in a certificate; an address stands for it, and the name's check says so.
        let reference = Reference::host(host).unwrap_or(Reference::Ip(self.target.address));
        let mut terms = Terms::for_host(reference, Arc::clone(&self.roots));
        terms.sni = self
            .target
            .server_name()
            .and_then(|name| HostName::new(name).ok());
        terms.demand = Demand::Encrypted;
        terms.alpn = match self.target.protocol {
            Protocol::Imap => Alpn::Imap,
            Protocol::Pop3 => Alpn::Pop3,
            Protocol::Sieve => Alpn::ManageSieve,
            Protocol::Smtp | Protocol::Lmtp => Alpn::None,
        };
        terms
    }
}

/// Why a greeting lets nobody go on.
pub(crate) fn refusal(greeting: &Greeting) -> Option<String> {
    let text = &greeting.text;
    match greeting.kind {
        GreetingKind::Welcome => None,
        GreetingKind::Preauthenticated => Some(format!("logged in before a word: {text}")),
        GreetingKind::Throttled => Some(format!("turned away for now: {text}")),
        GreetingKind::Rejected => Some(format!("turned away: {text}")),
        GreetingKind::Silent => Some(format!("no greeting in {} s", greeting.milliseconds / 1000)),
        GreetingKind::Closed => Some("closed before a greeting".to_owned()),
        GreetingKind::Tls => Some("TLS records where a greeting should be".to_owned()),
        GreetingKind::Endless => Some(format!("a greeting that does not end: {text}")),
        GreetingKind::Strange => Some(format!("a greeting of another protocol: {text}")),
    }
}

/// Whether words say that the connection ends now (RFC 5321 3.8, RFC 9051 7.1.5): of being too many, not of what was asked.
pub(crate) fn is_closing(words: &str) -> bool {
    words.starts_with("421") || words.starts_with("* BYE")
}

/// Why there is no TLS, in words.
pub(crate) fn shake_words(failure: &ShakeFailure) -> String {
    match failure {
        ShakeFailure::Words => "there were words in clear in hand".to_owned(),
        ShakeFailure::NotTls(words) => format!("no TLS but: {}", super::reply::escape(words)),
        ShakeFailure::Tls(failure, _) => Failure::Handshake(*failure).to_string(),
    }
}
