//! Logging in: AUTH (RFC 5034), or USER and PASS where nothing better is offered.

use zeroize::Zeroize as _;

use super::{Ask, Client, Reply, State};
use crate::client::{Breach, Credentials, Failure, Proof, Stage, is_plain};
use crate::sasl::Mechanism;
use crate::sasl::client::{Exchange, choose};
use crate::sasl::{decode_base64, encode_base64, prepare_name, prepare_password};
use crate::seam::MaySendCredentials;
use crate::secret::Secret;

/// The longest command line with its end (RFC 2449 4).
const LONGEST_COMMAND: usize = 255;

enum Way {
    Exchange(Exchange),
    Password(String, Secret<String>),
}

impl Client {
    pub(super) fn login(&mut self, credentials: &Credentials) {
        match self.way(credentials) {
            Ok(Way::Exchange(exchange)) => self.say_auth(exchange),
            Ok(Way::Password(user, password)) => {
                self.link
                    .say_secret(format!("USER {user}").as_bytes(), "USER (name)");
                self.state = State::User(password);
            }
            Err(failure) => self.login_failed(failure),
        }
    }

    fn way(&mut self, credentials: &Credentials) -> Result<Way, Failure> {
        // [POP-TLS-07] [POP-AUTH-04] [SASL-PLAIN-01]
        let may = MaySendCredentials::on(&self.link.channel, self.config.exception)
            .ok_or(Failure::NotVerified)?;
        let offered = &self.capabilities.mechanisms;
        if let Some(mechanism) = choose(offered, credentials, may) {
            let nonce = self.seed.nonce();
            return Exchange::begin(mechanism, offered, credentials, may, nonce).map(Way::Exchange);
        }
        // A server that does not know CAPA knows these.
        let offers_user = !self.capabilities.known || self.capabilities.has("USER");
        let allowed = credentials.allowed.contains(&Mechanism::Plain);
        let Some(password) = (match &credentials.proof {
            Proof::Password(password) if offers_user && allowed => Some(password),
            _ => None,
        }) else {
            return Err(Failure::NoMechanism {
                offered: self.link.quote(&self.capabilities.sasl()),
            });
        };
        let user = prepare_name(&credentials.user).map_err(|_| Failure::UnusableCredentials)?;
        let password =
            prepare_password(password.expose()).map_err(|_| Failure::UnusableCredentials)?;
        if !is_plain(user.as_bytes()) || !is_plain(password.expose().as_bytes()) {
            return Err(Failure::UnusableCredentials);
        }
        Ok(Way::Password(user, password))
    }

    fn say_auth(&mut self, mut exchange: Exchange) {
        let shown = format!("AUTH {}", exchange.mechanism().name());
        // [POP-AUTH-03] along with the command only if it fits; the mechanism came from the SASL capability
        let mut text = exchange.peek().map(encode_base64).unwrap_or_default();
        let fits = shown.len() + 1 + text.len().max(1) + 2 <= LONGEST_COMMAND;
        if fits && exchange.initial().is_some() {
            let mut line = format!("{shown} {}", if text.is_empty() { "=" } else { &text });
            self.link
                .say_secret(line.as_bytes(), &format!("{shown} (initial response)"));
            line.zeroize();
        } else {
            self.link.say(shown.as_bytes());
        }
        text.zeroize();
        self.state = State::Exchange(Box::new(exchange));
    }

    pub(super) fn on_exchange_line(
        &mut self,
        mut exchange: Box<Exchange>,
        line: Vec<u8>,
    ) -> Result<(), Failure> {
        if let Some(text) = line
            .strip_prefix(b"+ ")
            .or(line.strip_prefix(b"+").filter(|it| it.is_empty()))
        {
            let challenge =
                decode_base64(text).map_err(|_| Failure::Protocol(Breach::BadBase64, Stage::Login));
            match challenge.and_then(|octets| exchange.respond(&octets)) {
                Ok(response) => {
                    let mut text = encode_base64(response.expose());
                    self.link.say_secret(text.as_bytes(), "(response)");
                    text.zeroize();
                    self.state = State::Exchange(exchange);
                }
                Err(failure) => {
                    self.link.say(b"*");
                    self.state = State::Cancelled(Box::new(failure));
                }
            }
            return Ok(());
        }
        let reply = Reply::read(line).ok_or(Failure::Protocol(Breach::Malformed, Stage::Login))?;
        if reply.good {
            let mechanism = exchange.mechanism();
            // [SASL-SCRAM-01] a server that skips its proof ends the session
            exchange.finish(None)?;
            self.logged_in(Some(mechanism));
            return Ok(());
        }
        let mut refused = reply.line.clone();
        if let Some(error) = exchange.error() {
            // [SASL-OAUTH-01]
            refused.push(b' ');
            refused.extend_from_slice(error);
        }
        let refused = self.link.refused(reply.is_temporary(), &refused);
        self.login_failed(Failure::LoginRefused(refused));
        Ok(())
    }

    pub(super) fn say_password(&mut self, password: &Secret<String>) {
        let mut line = format!("PASS {}", password.expose());
        self.link.say_secret(line.as_bytes(), "PASS (password)");
        line.zeroize();
        self.state = State::Pass;
    }

    pub(super) fn logged_in(&mut self, mechanism: Option<Mechanism>) {
        self.logged_in = true;
        self.state = State::Open;
        self.questions.push_back(Ask::LoggedIn(mechanism));
    }

    pub(super) fn login_failed(&mut self, failure: Failure) {
        self.state = State::Open;
        self.questions
            .push_back(Ask::LoginFailed(Box::new(failure)));
    }
}
