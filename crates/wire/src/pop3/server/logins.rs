//! Logging in: USER and PASS, AUTH, and the opening of the maildrop.

use zeroize::Zeroize as _;

use super::super::ask::{Ask, Maildrop, OpenError};
use super::super::reply::{self, Refusal};
use super::super::transaction::Transaction;
use super::{Server, State};
use crate::sasl::{
    AccountAnswer, AccountAsk, Attempt, Exchange, Failure, Mechanism, Step, decode_base64,
    encode_base64, offered, prepare_name, prepare_password,
};
use crate::seam::MayReadCredentials;
use crate::session::Why;

impl Server {
    pub(super) fn on_password(&mut self, password: &str) -> Result<(), Refusal> {
        let may = self
            .channel
            .may_read_credentials()
            .ok_or(Refusal::NeedsTls)?;
        let State::Authorization { user } = &mut self.state else {
            return Err(Refusal::WrongState);
        };
        let user = user.take().ok_or(Refusal::UserFirst)?;
        let attempt = password_attempt(&user, password, may)?;
        self.question = Some(Ask::Account(AccountAsk::Login(attempt)));
        self.state = State::Judging(None);
        Ok(())
    }

    /// RFC 5034 4: `AUTH mechanism [initial-response]`.
    pub(super) fn begin_exchange(&mut self, text: &str) -> Result<(), Refusal> {
        let text = text.trim_end_matches(' ');
        let (name, initial) = text
            .split_once(' ')
            .map_or((text, None), |(name, initial)| (name, Some(initial)));
        let mechanism = Mechanism::from_name(name.as_bytes())
            .filter(|it| offered(&self.channel, &self.config.mechanisms).contains(it));
        let mechanism = mechanism.ok_or(Refusal::UnknownMechanism)?;
        let mut initial = match initial {
            None => None,
            // RFC 5034 4: how an empty one is written
            Some("=") => Some(Vec::new()),
            Some(text) => Some(decode_base64(text.as_bytes()).map_err(|_| Refusal::BadBase64)?),
        };
        let may = self
            .channel
            .may_read_credentials()
            .ok_or(Refusal::NeedsTls)?;
        let mut exchange = Box::new(Exchange::begin(mechanism, may));
        let step = exchange.start(initial.as_deref());
        initial.zeroize();
        self.follow(exchange, step);
        Ok(())
    }

    pub(super) fn on_response(&mut self, mut exchange: Box<Exchange>, line: &[u8]) {
        self.state = State::Authorization { user: None };
        // [POP-AUTH-02]
        if line == b"*" {
            return self.refuse(Refusal::Cancelled);
        }
        match decode_base64(line) {
            Ok(mut response) => {
                let step = exchange.response(&response);
                response.zeroize();
                self.follow(exchange, step);
            }
            Err(_) => self.refuse(Refusal::BadBase64),
        }
    }

    pub(super) fn follow(&mut self, exchange: Box<Exchange>, step: Step) {
        self.state = match step {
            Step::Challenge(octets) => {
                // [POP-AUTH-02] `+ ` and base64, nothing else
                reply::line(
                    &mut self.output,
                    format_args!("+ {}", encode_base64(&octets)),
                );
                State::Exchange(exchange)
            }
            Step::Ask(ask) => {
                self.question = Some(Ask::Account(ask));
                State::Judging(Some(exchange))
            }
            Step::Granted { .. } => self.open(),
            Step::Failed(failure) => {
                self.state = State::Authorization { user: None };
                return self.refuse(match failure {
                    Failure::Malformed => Refusal::MalformedResponse,
                    Failure::InitialResponseNotAllowed => Refusal::InitialResponse,
                    Failure::WrongCredentials => Refusal::WrongCredentials,
                    Failure::Unavailable => Refusal::LoginUnavailable,
                });
            }
        };
    }

    pub(super) fn judged(&mut self, answer: &AccountAnswer) {
        self.state = State::Authorization { user: None };
        match answer {
            AccountAnswer::Granted { .. } => self.state = self.open(),
            AccountAnswer::Denied => self.refuse(Refusal::WrongCredentials),
            AccountAnswer::Unavailable | AccountAnswer::ScramKeys(_) => {
                self.refuse(Refusal::LoginUnavailable);
            }
        }
    }

    /// The server behind this one has granted the login and takes over.
    pub(super) fn hand_over(&mut self, exchange: Option<Box<Exchange>>, account: Box<str>) {
        if let Some(mut exchange) = exchange {
            // An exchange that has more to say was not granted by this.
            let step = exchange.answer(AccountAnswer::Granted { account });
            if !matches!(step, Step::Granted { .. }) {
                return self.follow(exchange, step);
            }
        }
        reply::ok(&mut self.output, format_args!("logged in"));
        self.state = State::Leaving(Why::HandedOver);
    }

    fn open(&mut self) -> State {
        self.question = Some(Ask::Open);
        State::Opening
    }

    pub(super) fn opened(&mut self, result: Result<Maildrop, OpenError>) {
        self.state = State::Authorization { user: None };
        match result {
            Ok(maildrop) => {
                let transaction = Box::new(Transaction::new(maildrop));
                let (count, octets) = transaction.extent();
                reply::ok(
                    &mut self.output,
                    format_args!("{count} messages ({octets} octets)"),
                );
                self.state = State::Transaction(transaction);
                self.counters.bad_commands = 0;
            }
            Err(OpenError::InUse) => self.refuse(Refusal::InUse),
            Err(OpenError::Fault) => self.refuse(Refusal::MaildropUnavailable),
        }
    }
}

/// What USER and PASS bring forward. Reading it takes leave.
fn password_attempt(
    user: &str,
    password: &str,
    _leave: MayReadCredentials<'_>,
) -> Result<Attempt, Refusal> {
    // [SMTP-AUTH-12] what cannot be prepared is the name or password of nobody
    let user = prepare_name(user).map_err(|_| Refusal::WrongCredentials)?;
    let password = prepare_password(password).map_err(|_| Refusal::WrongCredentials)?;
    Ok(Attempt::Password {
        user,
        password,
        mechanism: Mechanism::Plain,
    })
}
