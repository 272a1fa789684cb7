//! The client's side of SASL: which mechanism, and what to say in it.
//!
//! | mechanism | proof | first message | then |
//! |---|---|---|---|
//! | SCRAM-SHA-256-PLUS, SCRAM-SHA-256 | password | name and nonce | proof; the server must prove itself too (RFC 5802, 7677) |
//! | SCRAM-SHA-1-PLUS, SCRAM-SHA-1 | password | | the same, for old servers, where it is asked for by name (RFC 5802) [CONF-07] |
//! | OAUTHBEARER, XOAUTH2 | token | name and token | a challenge is an error (RFC 7628) |
//! | EXTERNAL | certificate | name or nothing | (RFC 4422 A) |
//! | PLAIN | password | name and password | (RFC 4616) |
//! | LOGIN | password | | name, password |
//!
//! The strongest mechanism that is offered, allowed and fits the proof is used, and no other: [`choose`]. An exchange is begun with
//! [`MaySendCredentials`], so none is begun with a peer nobody verified. Success means success only when [`Exchange::finish`]
//! agrees: a server that skips its own proof has not proven that it knows the account.

mod scram;
#[cfg(test)]
mod tests;

use super::{Mechanism, ScramHash, prepare_name, prepare_password};
use crate::client::{Breach, Credentials, Failure, Proof, Stage};
use crate::seam::{ChannelBindings, MaySendCredentials};
use crate::secret::Secret;

/// The longest error of an OAuth server that is kept, in octets.
const LONGEST_ERROR: usize = 1024;

/// The strongest mechanism that the server offers, the user allows, the proof fits, and, for PLUS, the connection can be bound
/// with. None: there is nothing to log in with.
pub fn choose(
    offered: &[Mechanism],
    credentials: &Credentials,
    may: MaySendCredentials<'_>,
) -> Option<Mechanism> {
    let usable = |it: &&Mechanism| {
        credentials.allowed.contains(it)
            && fits(**it, &credentials.proof)
            && (!it.is_bound() || may.bindings().is_some())
    };
    // Declared strongest first.
    offered.iter().filter(usable).min().copied()
}

fn fits(mechanism: Mechanism, proof: &Proof) -> bool {
    match proof {
        Proof::Password(_) => mechanism.is_for_password(),
        Proof::Token(_) => mechanism.is_token(),
        Proof::Certificate => mechanism == Mechanism::External,
    }
}

/// What SCRAM with PLUS is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Binding {
    /// `tls-exporter` (RFC 9266): this very connection. [SASL-CB-01]
    #[default]
    Exporter,
    /// `tls-server-end-point` (RFC 5929 4): the server's certificate. For servers that know nothing better.
    ServerEndPoint,
}

/// What the GS2 header says of channel binding (RFC 5802 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Bound,
    CouldBind,
    Unbound,
}

/// [SASL-SCRAM-04] `p` with PLUS; `y` if we could bind but the server does not offer it; `n` otherwise.
fn flag(mechanism: Mechanism, offered: &[Mechanism], could_bind: bool) -> Flag {
    if mechanism.is_bound() {
        Flag::Bound
    } else if could_bind && !offered.iter().any(|it| it.is_bound()) {
        Flag::CouldBind
    } else {
        Flag::Unbound
    }
}

/// An exchange in progress. Messages are octets before base64.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
    error: Option<Box<[u8]>>,
}

#[derive(Debug)]
enum State {
    /// The first message is ready.
    First(Secret<Vec<u8>>),
    /// LOGIN: both parts wait for their prompts.
    LoginName(Secret<String>, Secret<String>),
    LoginPassword(Secret<String>),
    ScramFirst(Secret<Vec<u8>>, Box<scram::Begun>),
    ScramBegun(Box<scram::Begun>),
    ScramProven(scram::Proven),
    /// Nothing more to say; the server may succeed.
    Said,
    /// The server sent an error as a challenge; it can only fail now.
    Doomed,
}

impl Exchange {
    /// Begins an exchange with a mechanism from [`choose`]. `nonce` is fresh randomness, printable and without a comma.
    ///
    /// # Errors
    /// [`Failure::UnusableCredentials`] when name, password or token cannot be sent; [`Failure::NoMechanism`] never.
    pub fn begin(
        mechanism: Mechanism,
        offered: &[Mechanism],
        credentials: &Credentials,
        may: MaySendCredentials<'_>,
        nonce: String,
    ) -> Result<Self, Failure> {
        let state = match (mechanism, mechanism.hash(), &credentials.proof) {
            (_, Some(hash), Proof::Password(password)) => {
                let allowed = &credentials.allowed;
                let bindings = may.bindings().filter(|_| {
                    allowed
                        .iter()
                        .any(|it| it.is_bound() && it.hash() == Some(hash))
                });
                let flag = flag(mechanism, offered, bindings.is_some());
                scram_first(
                    hash,
                    binding(flag, bindings, credentials.binding)?,
                    credentials,
                    password,
                    nonce,
                )?
            }
            (Mechanism::Plain, _, Proof::Password(password)) => {
                let (user, password) = prepare(&credentials.user, password)?;
                State::First(Secret::new(
                    format!("\0{user}\0{}", password.expose()).into_bytes(),
                ))
            }
            (Mechanism::Login, _, Proof::Password(password)) => {
                let (user, password) = prepare(&credentials.user, password)?;
                State::LoginName(Secret::new(user), password)
            }
            (Mechanism::OAuthBearer | Mechanism::XOAuth2, _, Proof::Token(token)) => {
                State::First(bearer(mechanism, &credentials.user, token)?)
            }
            (Mechanism::External, _, Proof::Certificate) => {
                if credentials.user.contains('\0') {
                    return Err(Failure::UnusableCredentials);
                }
                State::First(Secret::new(credentials.user.clone().into_bytes()))
            }
            _ => return Err(Failure::UnusableCredentials),
        };
        Ok(Self {
            mechanism,
            state,
            error: None,
        })
    }

    /// Which mechanism it is.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The message that [`Exchange::initial`] would give, left where it is: to see whether it fits into a command.
    pub fn peek(&self) -> Option<&[u8]> {
        match &self.state {
            State::First(message) | State::ScramFirst(message, _) => Some(message.expose()),
            _ => None,
        }
    }

    /// The message that may go along with the command; none for a mechanism in which the server speaks first.
    pub fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        match std::mem::replace(&mut self.state, State::Said) {
            State::First(message) => Some(message),
            State::ScramFirst(message, begun) => {
                self.state = State::ScramBegun(begun);
                Some(message)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The response to a challenge.
    ///
    /// # Errors
    /// [`Failure::ServerNotProven`] when the server's part of SCRAM is wrong; [`Failure::Protocol`] for a challenge where the
    /// mechanism has none. The exchange must be cancelled then.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, Failure> {
        match std::mem::replace(&mut self.state, State::Doomed) {
            State::First(message) if challenge.is_empty() => {
                self.state = State::Said;
                Ok(message)
            }
            State::ScramFirst(message, begun) if challenge.is_empty() => {
                self.state = State::ScramBegun(begun);
                Ok(message)
            }
            State::LoginName(user, password) => {
                self.state = State::LoginPassword(password);
                Ok(Secret::new(user.expose().clone().into_bytes()))
            }
            State::LoginPassword(password) => {
                self.state = State::Said;
                Ok(Secret::new(password.expose().clone().into_bytes()))
            }
            State::ScramBegun(begun) => {
                let (message, proven) = begun.prove(challenge)?;
                self.state = State::ScramProven(proven);
                Ok(message)
            }
            State::ScramProven(proven) => {
                proven.check(challenge)?;
                self.state = State::Said;
                Ok(Secret::new(Vec::new()))
            }
            // [SASL-OAUTH-01] the error comes as a challenge; it is answered, and the server then fails the exchange
            State::Said if self.mechanism == Mechanism::OAuthBearer => {
                self.keep_error(challenge);
                Ok(Secret::new(vec![1]))
            }
            State::Said if self.mechanism == Mechanism::XOAuth2 => {
                self.keep_error(challenge);
                Ok(Secret::new(Vec::new()))
            }
            _ => Err(Failure::Protocol(Breach::UnexpectedReply, Stage::Login)),
        }
    }

    /// The server says that the login is good; `data` is what it sent along, if the protocol allows that.
    ///
    /// # Errors
    /// [`Failure::ServerNotProven`] when the mechanism was not complete: the server skipped its proof, or our message.
    pub fn finish(self, data: Option<&[u8]>) -> Result<(), Failure> {
        match (self.state, data) {
            (State::Said, None | Some([])) => Ok(()),
            // [SASL-SCRAM-01] success does not count without the server's signature
            (State::ScramProven(proven), Some(data)) => proven.check(data),
            _ => Err(Failure::ServerNotProven),
        }
    }

    /// What an OAuth server gave as its error (JSON, RFC 7628 3.2.2).
    pub fn error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }

    fn keep_error(&mut self, challenge: &[u8]) {
        self.error = challenge
            .get(..challenge.len().min(LONGEST_ERROR))
            .map(Into::into);
    }
}

/// The GS2 header, and what is bound to.
fn binding(
    flag: Flag,
    bindings: Option<&ChannelBindings>,
    kind: Binding,
) -> Result<(&'static str, Vec<u8>), Failure> {
    match (flag, kind, bindings) {
        (Flag::Bound, Binding::Exporter, Some(values)) => {
            Ok(("p=tls-exporter,,", values.exporter.to_vec()))
        }
        // An empty hash means that the certificate's signature defines none (RFC 5929 4.1).
        (Flag::Bound, Binding::ServerEndPoint, Some(values))
            if !values.server_end_point.is_empty() =>
        {
            Ok(("p=tls-server-end-point,,", values.server_end_point.to_vec()))
        }
        (Flag::Bound, ..) => Err(Failure::UnusableCredentials),
        (Flag::CouldBind, ..) => Ok(("y,,", Vec::new())),
        (Flag::Unbound, ..) => Ok(("n,,", Vec::new())),
    }
}

fn scram_first(
    hash: ScramHash,
    binding: (&'static str, Vec<u8>),
    credentials: &Credentials,
    password: &Secret<String>,
    nonce: String,
) -> Result<State, Failure> {
    let (user, password) = prepare(&credentials.user, password)?;
    let (message, begun) = scram::begin(hash, binding, &user, password, nonce);
    Ok(State::ScramFirst(message, Box::new(begun)))
}

/// [SMTP-AUTH-12] prepared, and what cannot be prepared is not sent
fn prepare(user: &str, password: &Secret<String>) -> Result<(String, Secret<String>), Failure> {
    let user = prepare_name(user).map_err(|_| Failure::UnusableCredentials)?;
    let password = prepare_password(password.expose()).map_err(|_| Failure::UnusableCredentials)?;
    Ok((user, password))
}

/// RFC 7628 3.1, and the older form.
fn bearer(
    mechanism: Mechanism,
    user: &str,
    token: &Secret<String>,
) -> Result<Secret<Vec<u8>>, Failure> {
    // RFC 6750 2.1: a token is printable ASCII; anything else would let it speak for the rest of the message.
    let is_token =
        !token.expose().is_empty() && token.expose().bytes().all(|it| it.is_ascii_graphic());
    let is_name = !user.is_empty() && !user.chars().any(char::is_control);
    if !is_token || !is_name {
        return Err(Failure::UnusableCredentials);
    }
    let token = token.expose();
    let message = if mechanism == Mechanism::OAuthBearer {
        // [SASL-OAUTH-01]
        format!(
            "n,a={},\u{1}auth=Bearer {token}\u{1}\u{1}",
            scram::escape(user)
        )
    } else {
        // [SASL-OAUTH-02]
        format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}")
    };
    Ok(Secret::new(message.into_bytes()))
}
