//! Logging in: AUTHENTICATE (RFC 9051 6.2.2, RFC 4959), or LOGIN where nothing better is offered.

use zeroize::Zeroize as _;

use super::command::quote;
use super::{Ask, Client, Place, State, Status, Then};
use crate::client::{Breach, Credentials, Failure, Proof, Stage};
use crate::sasl::Mechanism;
use crate::sasl::client::{Exchange, choose};
use crate::sasl::{decode_base64, encode_base64, prepare_name, prepare_password};
use crate::seam::MaySendCredentials;
use crate::secret::Secret;

/// What to log in with.
enum Way {
    Exchange(Exchange),
    /// The arguments of LOGIN.
    Login(Secret<String>),
}

impl Client {
    pub(super) fn login(&mut self, credentials: &Credentials) {
        match self.way(credentials) {
            Ok(Way::Exchange(exchange)) => self.say_authenticate(exchange),
            Ok(Way::Login(arguments)) => {
                let mut line = format!("LOGIN {}", arguments.expose());
                self.say_secret_command(line.as_bytes(), "LOGIN");
                line.zeroize();
                self.state = State::LoggingIn;
            }
            Err(failure) => {
                self.state = State::Open;
                self.questions
                    .push_back(Ask::LoginFailed(Box::new(failure)));
            }
        }
    }

    fn way(&mut self, credentials: &Credentials) -> Result<Way, Failure> {
        // [IMAP-TLS-10] [SASL-PLAIN-01]
        let may = MaySendCredentials::on(&self.link.channel, self.config.exception)
            .ok_or(Failure::NotVerified)?;
        let offered = &self.capabilities.mechanisms;
        if let Some(mechanism) = choose(offered, credentials, may) {
            let nonce = self.seed.nonce();
            return Exchange::begin(mechanism, offered, credentials, may, nonce).map(Way::Exchange);
        }
        let Proof::Password(password) = &credentials.proof else {
            return Err(self.no_mechanism());
        };
        if !credentials.allowed.contains(&Mechanism::Plain) {
            return Err(self.no_mechanism());
        }
        // [IMAP-TLS-10] [IMAP-TLS-01]
        if self.capabilities.has("LOGINDISABLED") {
            return Err(Failure::LoginDisabled);
        }
        let user = prepare_name(&credentials.user).map_err(|_| Failure::UnusableCredentials)?;
        let password =
            prepare_password(password.expose()).map_err(|_| Failure::UnusableCredentials)?;
        let user = quote(&user).ok_or(Failure::UnusableCredentials)?;
        let password = quote(password.expose()).map(Secret::new);
        let password = password.ok_or(Failure::UnusableCredentials)?;
        Ok(Way::Login(Secret::new(format!(
            "{user} {}",
            password.expose()
        ))))
    }

    fn no_mechanism(&self) -> Failure {
        Failure::NoMechanism {
            offered: self.link.quote(&self.capabilities.auth()),
        }
    }

    fn say_authenticate(&mut self, mut exchange: Exchange) {
        let name = exchange.mechanism().name();
        let tag = self.seed.tag();
        let shown = format!("{} AUTHENTICATE {name}", String::from_utf8_lossy(&tag));
        // [IMAP-AUTH-02] along with the command only where the server says that it understands
        let with_command = self.capabilities.has("SASL-IR") || self.capabilities.has("IMAP4REV2");
        let initial = if with_command {
            exchange.initial()
        } else {
            None
        };
        if let Some(message) = initial {
            let mut text = encode_base64(message.expose());
            if text.is_empty() {
                text.push('=');
            }
            let mut line = format!("{shown} {text}");
            self.link
                .say_secret(line.as_bytes(), &format!("{shown} (initial response)"));
            line.zeroize();
            text.zeroize();
        } else {
            self.link.say(shown.as_bytes());
        }
        self.tag = Some(tag);
        self.state = State::Exchange(Box::new(exchange));
    }

    pub(super) fn on_challenge(&mut self, mut exchange: Box<Exchange>, text: &[u8]) {
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
    }

    pub(super) fn on_exchange_over(
        &mut self,
        exchange: Exchange,
        good: bool,
        status: &Status,
    ) -> Result<(), Failure> {
        if good {
            let mechanism = exchange.mechanism();
            // [SASL-SCRAM-01] a server that skips its proof ends the session
            exchange.finish(None)?;
            self.logged_in(Some(mechanism), status);
            return Ok(());
        }
        let mut refused = status.line.clone();
        if let Some(error) = exchange.error() {
            // [SASL-OAUTH-01]
            refused.push(b' ');
            refused.extend_from_slice(error);
        }
        let refused = self.link.refused(status.is_temporary(), &refused);
        self.state = State::Open;
        let failure = Box::new(Failure::LoginRefused(refused));
        self.questions.push_back(Ask::LoginFailed(failure));
        Ok(())
    }

    pub(super) fn logged_in(&mut self, mechanism: Option<Mechanism>, status: &Status) {
        self.place = Place::LoggedIn;
        // RFC 9051 6.2.2: what the server can do may be another thing now
        if status.code_argument("CAPABILITY").is_some() {
            self.take_capability_code(status);
            self.state = State::Open;
            self.questions.push_back(Ask::LoggedIn(mechanism));
        } else {
            self.ask_capabilities(Then::LoggedIn(mechanism));
        }
    }
}
