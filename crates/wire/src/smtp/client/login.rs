//! Logging in (RFC 4954).

use super::{Ask, Client, Reply, State};
use crate::client::{Breach, Credentials, Failure, Stage};
use crate::sasl::client::{Exchange, choose};
use crate::sasl::{decode_base64, encode_base64};
use crate::seam::MaySendCredentials;
use zeroize::Zeroize as _;

/// The longest command line with its end (RFC 5321 4.5.3.1.4).
const LONGEST_COMMAND: usize = 512;

impl Client {
    pub(super) fn login(&mut self, credentials: &Credentials) {
        match self.begin(credentials) {
            Ok(exchange) => self.say_auth(exchange),
            Err(failure) => {
                self.question = Some(Ask::LoginFailed(Box::new(failure)));
            }
        }
    }

    fn begin(&mut self, credentials: &Credentials) -> Result<Exchange, Failure> {
        // [SMTP-AUTH-11] [SASL-PLAIN-01] no proof, no exchange
        let may = MaySendCredentials::on(&self.link.channel, self.config.exception)
            .ok_or(Failure::NotVerified)?;
        let offered = &self.capabilities.mechanisms;
        let mechanism = choose(offered, credentials, may).ok_or_else(|| Failure::NoMechanism {
            offered: self.link.quote(&self.capabilities.auth),
        })?;
        Exchange::begin(mechanism, offered, credentials, may, self.seed.nonce())
    }

    fn say_auth(&mut self, mut exchange: Exchange) {
        let name = exchange.mechanism().name();
        let initial = exchange.mechanism().is_client_first();
        let shown = format!("AUTH {name}");
        // [SMTP-AUTH-06] along with the command if it fits; an empty one is `=`
        let fits = |text: &str| shown.len() + 1 + text.len() + 2 <= LONGEST_COMMAND;
        let mut peeked = if initial {
            exchange.peek().map(encode_base64)
        } else {
            None
        };
        match &mut peeked {
            Some(text) if fits(text) => {
                let _ = exchange.initial();
                let text: &str = if text.is_empty() { "=" } else { text };
                let mut line = format!("{shown} {text}");
                self.link
                    .say_secret(line.as_bytes(), &format!("{shown} (initial response)"));
                line.zeroize();
            }
            _ => self.link.say(shown.as_bytes()),
        }
        peeked.zeroize();
        self.state = State::Login(Box::new(exchange));
    }

    pub(super) fn on_login_reply(
        &mut self,
        mut exchange: Box<Exchange>,
        reply: &Reply,
    ) -> Result<(), Failure> {
        match reply.code {
            334 => match challenge(reply).and_then(|octets| exchange.respond(&octets)) {
                Ok(response) => {
                    let mut text = encode_base64(response.expose());
                    self.link.say_secret(text.as_bytes(), "(response)");
                    text.zeroize();
                    self.state = State::Login(exchange);
                }
                Err(failure) => {
                    self.link.say(b"*");
                    self.state = State::Cancelled(Box::new(failure));
                }
            },
            235 => {
                let mechanism = exchange.mechanism();
                // [SASL-SCRAM-01] a server that skips its proof ends the session
                exchange.finish(None)?;
                self.state = State::Open;
                self.question = Some(Ask::LoggedIn(mechanism));
            }
            421 => return Err(Failure::Farewell(reply.refused(&self.link))),
            _ if reply.is_negative() => {
                let mut refused = reply.joined();
                if let Some(error) = exchange.error() {
                    // [SASL-OAUTH-01]
                    refused.push(b' ');
                    refused.extend_from_slice(error);
                }
                let refused = self.link.refused(reply.is_temporary(), &refused);
                self.state = State::Open;
                self.question = Some(Ask::LoginFailed(Box::new(Failure::LoginRefused(refused))));
            }
            _ => return Err(Failure::Protocol(Breach::UnexpectedReply, Stage::Login)),
        }
        Ok(())
    }
}

/// The octets of a challenge. [SMTP-AUTH-05]
fn challenge(reply: &Reply) -> Result<Vec<u8>, Failure> {
    match reply.lines.as_slice() {
        [text] => {
            decode_base64(text).map_err(|_| Failure::Protocol(Breach::BadBase64, Stage::Login))
        }
        _ => Err(Failure::Protocol(Breach::Malformed, Stage::Login)),
    }
}
