//! The backends of IMAP and POP3 sessions at the gate: the login is the upstream's to judge, and after it the upstream has the
//! session.
//!
//! The upstream is opened late, when the client has shown its name and password inside TLS: by then it is known who the client is
//! and how it travels, and nobody without a password costs a connection.

use std::sync::Arc;
use std::time::Duration;

use gatepost_net::driver::{Answering, Backend, Event, HandOver};
use gatepost_wire::passage::Passage;
use gatepost_wire::sasl::{AccountAnswer, AccountAsk};
use gatepost_wire::seam::TlsFacts;
use gatepost_wire::session::Machine;
use gatepost_wire::{imap, pop3};

use super::identity::Client;
use super::member::Busy;
use super::open::{self, MailboxOpen};
use super::pool::Pool;
use super::{Gate, Login};
use crate::mailbox::{Recorded, Summary};

/// How long both sides may be silent: IMAP clients that wait for mail speak every 29 minutes (RFC 2177).
const IMAP_IDLE: Duration = Duration::from_secs(31 * 60);
/// RFC 1939 3 wants 10 minutes at least.
const POP3_IDLE: Duration = Duration::from_secs(11 * 60);

/// What both have in common.
struct Reader {
    /// None when the upstream has been told: for the hours that may follow it would only be memory.
    before: Option<Box<Before>>,
    summary: Summary,
    opened: Option<Box<MailboxOpen>>,
    /// The use of the upstream, to the end of the session.
    busy: Option<Busy>,
}

/// What a login is made of.
#[derive(Clone)]
struct Before {
    gate: Arc<Gate>,
    pool: Arc<Pool>,
    client: Client,
}

impl Reader {
    fn new(gate: Arc<Gate>, pool: Arc<Pool>, client: Client) -> Self {
        Self {
            before: Some(Box::new(Before { gate, pool, client })),
            summary: Summary::default(),
            opened: None,
            busy: None,
        }
    }

    /// The account, if the upstream has granted the login; else what to say.
    async fn log_in(&mut self, ask: AccountAsk) -> Result<Box<str>, AccountAnswer> {
        // After the login nobody asks.
        let before = self.before.as_deref().cloned();
        let Before { gate, pool, client } = before.ok_or(AccountAnswer::Unavailable)?;
        let attempt = match ask {
            AccountAsk::Login(attempt) => attempt,
            keys @ AccountAsk::ScramKeys { .. } => {
                return Err(gate.keys(&pool, keys, &client).await);
            }
        };
        let protocol = pool.protocol();
        let login = gate
            .log_in(
                &pool,
                &client,
                attempt,
                &mut self.summary,
                |member, credentials| {
                    let client = client.clone();
                    async move {
                        match protocol {
                            crate::services::Protocol::Pop3 => {
                                open::pop3(&member, &client, credentials).await
                            }
                            _ => open::imap(&member, &client, credentials).await,
                        }
                    }
                },
            )
            .await;
        match login {
            Login::Granted {
                account,
                opened,
                busy,
            } => {
                self.summary.upstream = Some(Box::new(busy.route(opened.leg.channel())));
                self.opened = Some(Box::new(opened));
                self.busy = Some(busy);
                Ok(account)
            }
            Login::Denied => Err(AccountAnswer::Denied),
            Login::Unavailable => Err(AccountAnswer::Unavailable),
        }
    }

    fn upgraded(&mut self) {
        // [SMTP-STARTTLS-21] the other leg forgets what came of words in clear, too.
        self.opened = None;
        self.busy = None;
        self.summary.login = None;
        self.summary.passed_login = None;
    }

    fn secured(&mut self, facts: &TlsFacts) {
        let mut facts = Box::new(facts.clone());
        facts.bindings = None;
        if let Some(before) = &mut self.before {
            before.client.tls = Some(facts);
        }
    }

    /// What the session is tied to from now on.
    fn take_over(&mut self, passage: Box<dyn Passage>, idle: Duration) -> Option<HandOver> {
        let opened = self.opened.take()?;
        self.before = None;
        Some(HandOver {
            leg: opened.leg,
            passage,
            idle,
        })
    }
}

/// The backend of an IMAP session.
pub struct ImapGate(Reader);

// Tasks are allocated in steps of 128 octets, and this one's is full: with more in it every idle session costs a step.
const _: () = assert!(size_of::<ImapGate>() <= 128);

/// The backend of a POP3 session.
pub struct Pop3Gate(Reader);

impl ImapGate {
    /// A backend for a session with this client.
    pub fn new(gate: Arc<Gate>, pool: Arc<Pool>, client: Client) -> Self {
        Self(Reader::new(gate, pool, client))
    }

    async fn answer(&mut self, ask: imap::ask::Ask) -> imap::ask::Answer {
        use imap::ask::{Answer, Ask};
        let Ask::Account(ask) = ask else {
            // After the login this session asks nothing any more.
            return Answer::Done;
        };
        match self.0.log_in(ask).await {
            Ok(account) => {
                let opened = self.0.opened.as_mut();
                let capabilities = opened.and_then(|it| it.capabilities.take());
                Answer::HandOver {
                    account,
                    capabilities,
                }
            }
            Err(answer) => Answer::Account(answer),
        }
    }
}

impl Pop3Gate {
    /// A backend for a session with this client.
    pub fn new(gate: Arc<Gate>, pool: Arc<Pool>, client: Client) -> Self {
        Self(Reader::new(gate, pool, client))
    }

    async fn answer(&mut self, ask: pop3::ask::Ask) -> pop3::ask::Answer {
        use pop3::ask::{Answer, Ask, Fault};
        let Ask::Account(ask) = ask else {
            return Answer::Updated(Err(Fault));
        };
        match self.0.log_in(ask).await {
            Ok(account) => Answer::HandOver { account },
            Err(answer) => Answer::Account(answer),
        }
    }
}

impl<M: Machine<Ask = imap::ask::Ask, Answer = imap::ask::Answer>> Backend<M> for ImapGate {
    fn handle(&mut self, ask: imap::ask::Ask) -> Answering<'_, imap::ask::Answer> {
        Box::pin(self.answer(ask))
    }

    fn upgraded(&mut self) {
        self.0.upgraded();
    }

    fn secured(&mut self, facts: &TlsFacts) {
        self.0.secured(facts);
    }

    fn take_over(&mut self) -> Option<HandOver> {
        let passage = Box::new(imap::relay::Relay::default());
        self.0.take_over(passage, IMAP_IDLE)
    }

    fn event(&mut self, event: Event) {
        self.0.summary.note(event);
    }
}

impl<M: Machine<Ask = pop3::ask::Ask, Answer = pop3::ask::Answer>> Backend<M> for Pop3Gate {
    fn handle(&mut self, ask: pop3::ask::Ask) -> Answering<'_, pop3::ask::Answer> {
        Box::pin(self.answer(ask))
    }

    fn upgraded(&mut self) {
        self.0.upgraded();
    }

    fn secured(&mut self, facts: &TlsFacts) {
        self.0.secured(facts);
    }

    fn take_over(&mut self) -> Option<HandOver> {
        let passage = Box::new(pop3::relay::Relay::default());
        self.0.take_over(passage, POP3_IDLE)
    }

    fn event(&mut self, event: Event) {
        self.0.summary.note(event);
    }
}

impl Recorded for ImapGate {
    fn summary(&self) -> &Summary {
        &self.0.summary
    }
}

impl Recorded for Pop3Gate {
    fn summary(&self) -> &Summary {
        &self.0.summary
    }
}
