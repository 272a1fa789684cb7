//! What every state of a session may look at: configuration, channel, who the client is, counters, and the output.

use std::net::IpAddr;
use std::sync::Arc;

use super::config::{Config, Peer, Role};
use super::state::{Rest, State, Transaction, Turn};
use crate::sasl;
use crate::seam::Channel;
use crate::session::Why;
use crate::smtp::command::Tolerance;
use crate::smtp::received::{Protocol, TlsClause, Trace};
use crate::smtp::reply::{self, Reply};
use crate::smtp::table::{Lacks, Verb};
use crate::smtp::xclient::{self, Introduced};

/// What is the same in every state.
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) peer: Peer,
    pub(super) channel: Channel,
    pub(super) counters: Counters,
    /// What the client said of itself on this channel. [SMTP-STARTTLS-05] gone with the clear channel.
    pub(super) client: Option<Client>,
    /// The last MAIL was not granted, and nothing has come since but what may have been sent along with it.
    pub(super) mail_refused: bool,
    /// Who the client is, where a server in front has said so.
    pub(super) introduced: Option<Box<Introduced>>,
    /// The account logged in.
    pub(super) account: Option<Box<str>>,
    pub(super) out: Vec<u8>,
}

/// Counters that outlive the upgrade: TLS must not be a way to more guesses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) bad_commands: u32,
    pub(super) failed_logins: u32,
    pub(super) unknown_recipients: u32,
}

/// Who the client says it is.
pub(super) struct Client {
    pub(super) name: Box<str>,
    pub(super) extended: bool,
}

impl Core {
    pub(super) fn new(
        config: Arc<Config>,
        peer: Peer,
        channel: Channel,
        counters: Counters,
    ) -> Self {
        Self {
            config,
            peer,
            channel,
            counters,
            client: None,
            mail_refused: false,
            introduced: None,
            account: None,
            out: Vec::new(),
        }
    }

    /// Queues a reply.
    pub(super) fn say(&mut self, reply: Reply) {
        reply.write(&mut self.out);
    }

    /// Answers, and goes back to where commands are awaited.
    pub(super) fn reply(&mut self, reply: Reply, rest: Rest) -> Turn {
        self.say(reply);
        Turn::Go(State::Rest(rest))
    }

    /// The same for a command that a proper client would not have sent.
    pub(super) fn bad(&mut self, reply: Reply, rest: Rest) -> Turn {
        self.counters.bad_commands += 1;
        if self.counters.bad_commands >= self.config.limits.bad_commands {
            return self.leave(reply::TOO_MANY_ERRORS, Why::TooManyErrors);
        }
        self.reply(reply, rest)
    }

    /// Takes note of a command. Whether it may have been sent along with a MAIL that was refused: then it is no mistake of the client's
    /// to be refused too (RFC 2920 3.1, RFC 3030 4.2). MAIL counts as refused until it is granted.
    pub(super) fn is_behind_refused_mail(&mut self, verb: Verb) -> bool {
        let goes_along = matches!(verb, Verb::Rcpt | Verb::Data | Verb::Bdat);
        self.mail_refused = verb == Verb::Mail || (self.mail_refused && goes_along);
        self.mail_refused && goes_along
    }

    /// Says farewell and ends the session.
    pub(super) fn leave(&mut self, reply: Reply, why: Why) -> Turn {
        self.say(reply);
        Turn::Go(State::Leaving(why))
    }

    /// What the client must do before it is served.
    pub(super) fn lacks(&self) -> Lacks {
        match &self.channel {
            Channel::BelowFloor(_) => Lacks::BetterTls,
            Channel::Clear(None) if self.config.tls.required => Lacks::Tls,
            _ if self.must_log_in() => Lacks::Login,
            _ => Lacks::Nothing,
        }
    }

    /// Whether a login is required and still missing.
    pub(super) fn must_log_in(&self) -> bool {
        self.config.requires_auth && self.account.is_none()
    }

    pub(super) fn tolerance(&self) -> Tolerance {
        Tolerance {
            quirk_space_before_path: self.config.role == Role::Submission,
            dsn: self.config.offers.dsn,
            binary: self.config.offers.binary,
        }
    }

    /// Answers EHLO or HELO.
    pub(super) fn say_hello(&mut self) {
        let extended = self.client.as_ref().is_some_and(|client| client.extended);
        let keywords = if extended {
            self.keywords()
        } else {
            Vec::new()
        };
        reply::write_hello(&self.config.host, &keywords, &mut self.out);
    }

    /// What is offered, and nothing that would be answered 500 or 502 [SMTP-BASE-06].
    fn keywords(&self) -> Vec<String> {
        let limits = &self.config.limits;
        let offers = self.config.offers;
        let mut keywords = vec![
            "PIPELINING".to_owned(),
            format!("SIZE {}", limits.message_octets),
        ];
        // [SMTP-8BIT-01], and [SMTP-UTF8-01]: SMTPUTF8 stands without parameters, and beside 8BITMIME.
        let optional = [
            ("8BITMIME", offers.eight_bit),
            ("SMTPUTF8", offers.utf8 && offers.eight_bit),
            ("ENHANCEDSTATUSCODES", offers.enhanced),
            ("DSN", offers.dsn),
            ("BINARYMIME", offers.binary),
        ];
        let offered = optional.iter().filter(|(_, offered)| *offered);
        keywords.extend(offered.map(|(word, _)| (*word).to_owned()));
        keywords.push("CHUNKING".to_owned());
        // [SMTP-LIM-01] at most six digits.
        keywords.push(format!(
            "LIMITS RCPTMAX={}",
            limits.recipients.clamp(1, 999_999)
        ));
        if self.config.tls.offered && !self.channel.is_encrypted() {
            // [SMTP-STARTTLS-03] [SMTP-STARTTLS-04]
            keywords.push("STARTTLS".to_owned());
        }
        if self.peer.introduces && self.lacks() != Lacks::Tls {
            keywords.push(xclient::KEYWORD.to_owned());
        }
        if self.config.role == Role::Submission
            && self.account.is_none()
            && self.lacks() != Lacks::Tls
        {
            keywords.extend(self.mechanisms());
        }
        keywords
    }

    /// `AUTH` and the mechanisms, if any may be used on this channel [SMTP-AUTH-01].
    fn mechanisms(&self) -> Option<String> {
        let offered = sasl::offered(&self.channel, &self.config.mechanisms);
        let names: Vec<_> = offered.iter().map(|mechanism| mechanism.name()).collect();
        (!names.is_empty()).then(|| format!("AUTH {}", names.join(" ")))
    }

    /// Begins anew with the client that a server in front has named [XCL-02]. Whatever is not named here is forgotten: a login, the
    /// client's name. TLS stays, without what in it was the server's in front; counters stay, for the next client may be the same one.
    pub(super) fn introduce(&mut self, introduced: Introduced) -> Turn {
        let channel = std::mem::replace(&mut self.channel, Channel::Clear(None));
        *self = Self {
            introduced: Some(Box::new(introduced)),
            out: std::mem::take(&mut self.out),
            ..Self::new(
                Arc::clone(&self.config),
                self.peer,
                channel.handed_on(),
                self.counters,
            )
        };
        reply::write_greeting(&self.config.host, &mut self.out);
        Turn::Go(State::Rest(Rest::Ready))
    }

    fn client_address(&self) -> IpAddr {
        let introduced = self.introduced.as_ref().and_then(|it| it.address);
        introduced.unwrap_or(self.peer.address)
    }

    /// What `Received:` is to say of this session.
    pub(super) fn trace(&self, transaction: &Transaction) -> Trace {
        let facts = self.channel.encrypted().map(crate::seam::Encrypted::facts);
        Trace {
            helo: self
                .client
                .as_ref()
                .map(|client| client.name.to_string())
                .unwrap_or_default(),
            client: self.client_address(),
            hide_client: self.config.hide_client,
            protocol: Protocol {
                extended: self.client.as_ref().is_some_and(|client| client.extended),
                encrypted: facts.is_some(),
                authenticated: self.account.is_some(),
                smtputf8: transaction.mail.smtputf8,
            },
            tls: facts.map(|facts| TlsClause {
                suite: facts.suite.clone(),
                group: facts.group,
            }),
            only_recipient: match transaction.recipients.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
        }
    }
}
