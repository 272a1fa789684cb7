//! Logging in: AUTHENTICATE (RFC 5804 2.1). Messages are base64 in strings.

use zeroize::Zeroize as _;

use super::{Ask, Client, End, Kind, State};
use crate::client::{Breach, Credentials, Failure, Stage};
use crate::imap::client::value::Value;
use crate::sasl::client::{Exchange, choose};
use crate::sasl::{decode_base64, encode_base64};
use crate::seam::MaySendCredentials;

impl Client {
    pub(super) fn login(&mut self, credentials: &Credentials) {
        match self.begin_exchange(credentials) {
            Ok(mut exchange) => {
                let shown = format!("AUTHENTICATE \"{}\"", exchange.mechanism().name());
                if let Some(message) = exchange.initial() {
                    let mut line = format!("{shown} \"{}\"", encode_base64(message.expose()));
                    self.link
                        .say_secret(line.as_bytes(), &format!("{shown} (initial response)"));
                    line.zeroize();
                } else {
                    self.link.say(shown.as_bytes());
                }
                self.state = State::Exchange(Box::new(exchange));
            }
            Err(failure) => self.login_failed(failure),
        }
    }

    fn begin_exchange(&mut self, credentials: &Credentials) -> Result<Exchange, Failure> {
        // [SIEVE-TLS-01] PLAIN, as any other, only to a verified peer
        let may = MaySendCredentials::on(&self.link.channel, self.config.exception)
            .ok_or(Failure::NotVerified)?;
        let offered = &self.capabilities.mechanisms;
        let mechanism = choose(offered, credentials, may).ok_or_else(|| {
            let names = self.capabilities.value("SASL").unwrap_or_default();
            Failure::NoMechanism {
                offered: self.link.quote(names.as_bytes()),
            }
        })?;
        Exchange::begin(mechanism, offered, credentials, may, self.seed.nonce())
    }

    pub(super) fn on_challenge(&mut self, mut exchange: Box<Exchange>, text: &[u8]) {
        let challenge =
            decode_base64(text).map_err(|_| Failure::Protocol(Breach::BadBase64, Stage::Login));
        match challenge.and_then(|octets| exchange.respond(&octets)) {
            Ok(response) => {
                let mut line = format!("\"{}\"", encode_base64(response.expose()));
                self.link.say_secret(line.as_bytes(), "(response)");
                line.zeroize();
                self.state = State::Exchange(exchange);
            }
            Err(failure) => {
                self.link.say(b"\"*\"");
                self.state = State::Cancelled(Box::new(failure));
            }
        }
    }

    pub(super) fn on_exchange_over(
        &mut self,
        exchange: Exchange,
        end: &End,
    ) -> Result<(), Failure> {
        if end.kind == Kind::Ok {
            let mechanism = exchange.mechanism();
            // RFC 5804 2.1: what the server says last may stand in the response code
            let data = match end.code.as_slice() {
                [Value::Atom(name), data] if name.eq_ignore_ascii_case(b"SASL") => data.octets(),
                _ => None,
            };
            let data = data.map(decode_base64).transpose();
            let data = data.map_err(|_| Failure::Protocol(Breach::BadBase64, Stage::Login))?;
            // [SASL-SCRAM-01] a server that skips its proof ends the session
            exchange.finish(data.as_deref())?;
            self.logged_in = true;
            self.state = State::Open;
            self.question = Some(Ask::LoggedIn(mechanism));
            return Ok(());
        }
        let refused = self.refused(end);
        self.login_failed(Failure::LoginRefused(refused));
        Ok(())
    }

    fn login_failed(&mut self, failure: Failure) {
        self.state = State::Open;
        self.question = Some(Ask::LoginFailed(Box::new(failure)));
    }
}
