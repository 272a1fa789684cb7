//! One SASL exchange, from the mechanism's name to a verdict.
//!
//! ```text
//! PLAIN   start ─▶ (empty challenge) ─▶ message ─▶ Ask(Login) ─▶ Granted | Failed
//! LOGIN   start ─▶ "Username:" ─▶ "Password:" ─▶ Ask(Login) ─▶ Granted | Failed
//! EXTERNAL start ─▶ (empty challenge) ─▶ name or nothing ─▶ Ask(Login) ─▶ Granted | Failed
//! SCRAM   start ─▶ (empty challenge) ─▶ client-first ─▶ Ask(ScramKeys) ─▶ server-first ─▶ client-final ─▶ Ask(Login)
//!               ─▶ server-final ─▶ empty response ─▶ Granted
//! ```
//!
//! Anything out of turn, and any answer that does not fit the question, ends in [`Step::Failed`], and stays there.

use std::mem;

use super::prepare::{prepare_name, prepare_password};
use super::scram::{Binding, ClientFirst, Offer, Verdict};
use super::{AccountAnswer, AccountAsk, Attempt, Mechanism};
use crate::seam::{ChannelBindings, MayReadCredentials};
use crate::secret::Secret;

/// The longest name or password in octets (RFC 4616 2). [SASL-PLAIN-02]
const LONGEST_PART: usize = 255;

/// An exchange in progress.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    bindings: Option<Box<Bindings>>,
    /// For EXTERNAL: the name in the client's certificate.
    client: Option<Box<str>>,
    state: State,
}

/// A copy of the connection's values, kept from printing.
struct Bindings(ChannelBindings);

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bindings(..)")
    }
}

/// What is to happen next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this to the client (octets before base64; may be none) and hand in what it says with [`Exchange::response`].
    Challenge(Vec<u8>),
    /// Ask the keeper of the accounts and hand in what he says with [`Exchange::answer`].
    Ask(AccountAsk),
    /// The user is who they say.
    Granted {
        /// The account, as the keeper names it.
        account: Box<str>,
    },
    /// The exchange is over without a login.
    Failed(Failure),
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The client's message breaks the mechanism's grammar or came out of turn.
    Malformed,
    /// The mechanism begins with the server's challenge, and the client sent an initial response it cannot use.
    InitialResponseNotAllowed,
    /// Wrong name, password, proof, nonce or channel binding, or an identity the user may not take: never told apart.
    WrongCredentials,
    /// It cannot be told now: a fault of ours.
    Unavailable,
}

#[derive(Debug)]
enum State {
    Begun,
    Plain,
    LoginName,
    LoginPassword {
        user: Vec<u8>,
    },
    Token,
    External,
    ScramFirst,
    ScramKeys(Box<ClientFirst>),
    ScramFinal(Box<Offer>),
    /// The keeper judges a password.
    Judged,
    /// The keeper takes note of a proof.
    ScramJudged(Verdict),
    /// The client has our proof and must say that it is content.
    ScramDone {
        account: Box<str>,
    },
    Over,
}

impl Exchange {
    /// Begins an exchange. The caller has seen to it that `mechanism` is one of [`super::offered`] on this channel.
    pub fn begin(mechanism: Mechanism, may: MayReadCredentials<'_>) -> Self {
        let scram = matches!(
            mechanism,
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus
        );
        // SCRAM without PLUS keeps them too: that they exist means that PLUS was offered.
        let bindings = may
            .bindings()
            .filter(|_| scram)
            .cloned()
            .map(|it| Box::new(Bindings(it)));
        let external = mechanism == Mechanism::External;
        Self {
            mechanism,
            bindings,
            client: may.client().filter(|_| external).map(Into::into),
            state: State::Begun,
        }
    }

    /// Which mechanism it is.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The first step. `initial` is the decoded initial response; `Some(&[])` is one that is there and empty.
    pub fn start(&mut self, initial: Option<&[u8]>) -> Step {
        if !matches!(mem::replace(&mut self.state, State::Over), State::Begun) {
            return Step::Failed(Failure::Malformed);
        }
        match (self.mechanism, initial) {
            (Mechanism::Plain, Some(octets)) => self.plain(octets),
            (Mechanism::Plain, None) => self.challenge(State::Plain, b""),
            (Mechanism::OAuthBearer | Mechanism::XOAuth2, Some(octets)) => self.token(octets),
            (Mechanism::OAuthBearer | Mechanism::XOAuth2, None) => {
                self.challenge(State::Token, b"")
            }
            (Mechanism::External, Some(octets)) => self.external(octets),
            (Mechanism::External, None) => self.challenge(State::External, b""),
            (Mechanism::Login, None) => self.challenge(State::LoginName, b"Username:"),
            (Mechanism::Login, Some([])) => Step::Failed(Failure::InitialResponseNotAllowed),
            // Never specified, but widely used clients send the name along.
            (Mechanism::Login, Some(octets)) => self.login_name(octets),
            (Mechanism::ScramSha256 | Mechanism::ScramSha256Plus, Some(octets)) => {
                self.scram_first(octets)
            }
            (Mechanism::ScramSha256 | Mechanism::ScramSha256Plus, None) => {
                self.challenge(State::ScramFirst, b"")
            }
        }
    }

    /// The client's decoded response to the last challenge.
    pub fn response(&mut self, octets: &[u8]) -> Step {
        match mem::replace(&mut self.state, State::Over) {
            State::Plain => self.plain(octets),
            State::Token => self.token(octets),
            State::External => self.external(octets),
            State::LoginName => self.login_name(octets),
            State::LoginPassword { user } => self.login_password(&user, octets),
            State::ScramFirst => self.scram_first(octets),
            State::ScramFinal(offer) => self.scram_final(*offer, octets),
            State::ScramDone { account } if octets.is_empty() => Step::Granted { account },
            _ => Step::Failed(Failure::Malformed),
        }
    }

    /// The keeper's answer to the last [`Step::Ask`].
    pub fn answer(&mut self, answer: AccountAnswer) -> Step {
        match (mem::replace(&mut self.state, State::Over), answer) {
            (State::ScramKeys(first), AccountAnswer::ScramKeys(keys)) => match first.offer(keys) {
                Ok(offer) => {
                    let message = offer.server_first();
                    self.challenge(State::ScramFinal(Box::new(offer)), &message)
                }
                Err(failure) => Step::Failed(failure),
            },
            (State::Judged, AccountAnswer::Granted { account }) => Step::Granted { account },
            (State::ScramJudged(verdict), AccountAnswer::Granted { account }) if verdict.proven => {
                self.challenge(State::ScramDone { account }, &verdict.server_final)
            }
            // A keeper's grant does not make a wrong proof right.
            (State::ScramJudged(verdict), AccountAnswer::Granted { .. }) if !verdict.proven => {
                Step::Failed(Failure::WrongCredentials)
            }
            (_, AccountAnswer::Denied) => Step::Failed(Failure::WrongCredentials),
            _ => Step::Failed(Failure::Unavailable),
        }
    }

    fn challenge(&mut self, state: State, octets: &[u8]) -> Step {
        self.state = state;
        Step::Challenge(octets.to_vec())
    }

    /// RFC 4616 2: `[authzid] NUL authcid NUL passwd`.
    fn plain(&mut self, octets: &[u8]) -> Step {
        let mut parts = octets.split(|octet| *octet == 0);
        // [SASL-PLAIN-02] exactly two NULs
        let (Some(identity), Some(user), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Step::Failed(Failure::Malformed);
        };
        if identity.len() > LONGEST_PART {
            return Step::Failed(Failure::Malformed);
        }
        match attempt(user, password, Mechanism::Plain) {
            // [SASL-PLAIN-03] another identity than one's own is not permitted to anyone here
            Ok((user, _))
                if !identity.is_empty() && name(identity).as_deref() != Ok(user.as_str()) =>
            {
                Step::Failed(Failure::WrongCredentials)
            }
            Ok((_, attempt)) => self.judge(attempt),
            Err(failure) => Step::Failed(failure),
        }
    }

    /// RFC 7628 3.1, and the older form.
    fn token(&mut self, octets: &[u8]) -> Step {
        let bearer = if self.mechanism == Mechanism::OAuthBearer {
            oauthbearer(octets)
        } else {
            xoauth2(octets)
        };
        let Some((user, token)) = bearer else {
            return Step::Failed(Failure::Malformed);
        };
        match prepare_name(&user) {
            Ok(user) => self.judge(Attempt::Token {
                user,
                token: Secret::new(token.to_owned()),
                mechanism: self.mechanism,
            }),
            Err(_) => Step::Failed(Failure::WrongCredentials),
        }
    }

    /// RFC 4422 A: the certificate has said who it is. The message may name that user, and nobody else [SASL-EXT-01].
    fn external(&mut self, octets: &[u8]) -> Step {
        let known = self.client.take();
        let Some(Ok(user)) = known.as_deref().map(prepare_name) else {
            return Step::Failed(Failure::WrongCredentials);
        };
        if !octets.is_empty() {
            match name(octets) {
                Ok(asked) if asked.to_lowercase() == user.to_lowercase() => {}
                Ok(_) => return Step::Failed(Failure::WrongCredentials),
                Err(failure) => return Step::Failed(failure),
            }
        }
        self.judge(Attempt::Certificate { user })
    }

    fn login_name(&mut self, octets: &[u8]) -> Step {
        // [SASL-LOGIN-01]
        if octets.is_empty() || octets.len() > LONGEST_PART {
            return Step::Failed(Failure::Malformed);
        }
        self.challenge(
            State::LoginPassword {
                user: octets.to_vec(),
            },
            b"Password:",
        )
    }

    fn login_password(&mut self, user: &[u8], octets: &[u8]) -> Step {
        match attempt(user, octets, Mechanism::Login) {
            Ok((_, attempt)) => self.judge(attempt),
            Err(failure) => Step::Failed(failure),
        }
    }

    fn judge(&mut self, attempt: Attempt) -> Step {
        self.state = State::Judged;
        Step::Ask(AccountAsk::Login(attempt))
    }

    fn scram_first(&mut self, octets: &[u8]) -> Step {
        let binding = Binding {
            plus: self.mechanism == Mechanism::ScramSha256Plus,
            values: self.bindings.as_deref().map(|Bindings(values)| values),
        };
        match ClientFirst::read(octets, binding) {
            Ok(first) => {
                let user = first.user.clone();
                self.state = State::ScramKeys(Box::new(first));
                Step::Ask(AccountAsk::ScramKeys { user })
            }
            Err(failure) => Step::Failed(failure),
        }
    }

    fn scram_final(&mut self, offer: Offer, octets: &[u8]) -> Step {
        match offer.check(octets) {
            Ok(verdict) => {
                let user = verdict.user.clone();
                let attempt = Attempt::Scram {
                    user,
                    proven: verdict.proven,
                    mechanism: self.mechanism,
                };
                self.state = State::ScramJudged(verdict);
                Step::Ask(AccountAsk::Login(attempt))
            }
            Err(failure) => Step::Failed(failure),
        }
    }
}

/// A password attempt from what the client sent, and the prepared name.
fn attempt(
    user: &[u8],
    password: &[u8],
    mechanism: Mechanism,
) -> Result<(String, Attempt), Failure> {
    let user = name(user)?;
    let password = prepare_password(text(password)?).map_err(|_| Failure::WrongCredentials)?;
    Ok((
        user.clone(),
        Attempt::Password {
            user,
            password,
            mechanism,
        },
    ))
}

/// `n,a=NAME,^Akey=value^A…^A^A`: name and token. [SASL-OAUTH-01]
fn oauthbearer(octets: &[u8]) -> Option<(String, &str)> {
    let text = std::str::from_utf8(octets).ok()?;
    let (header, pairs) = text.split_once('\u{1}')?;
    let name = header.strip_prefix("n,a=")?.strip_suffix(',')?;
    if name.is_empty() || name.contains(',') {
        return None;
    }
    // RFC 5801 4: a comma and an equals sign are coded, and nothing else is.
    let name = name.replace("=2C", ",").replace("=3D", "=");
    Some((name, bearer(pairs)?))
}

/// `user=NAME^Aauth=Bearer TOKEN^A^A`. [SASL-OAUTH-02]
fn xoauth2(octets: &[u8]) -> Option<(String, &str)> {
    let text = std::str::from_utf8(octets).ok()?;
    let (name, pairs) = text.strip_prefix("user=")?.split_once('\u{1}')?;
    (!name.is_empty()).then_some((name.to_owned(), bearer(pairs)?))
}

/// The token among pairs that end with two ^A.
fn bearer(pairs: &str) -> Option<&str> {
    let pairs = pairs.strip_suffix("\u{1}\u{1}")?;
    let mut tokens = pairs.split('\u{1}').filter_map(|pair| {
        let (word, token) = pair.strip_prefix("auth=")?.split_once(' ')?;
        word.eq_ignore_ascii_case("Bearer").then_some(token)
    });
    let token = tokens.next()?;
    // RFC 6750 2.1: anything else could speak for the rest of a message.
    let is_token = !token.is_empty() && token.bytes().all(|it| it.is_ascii_graphic());
    (is_token && tokens.next().is_none()).then_some(token)
}

fn name(octets: &[u8]) -> Result<String, Failure> {
    // [SASL-PLAIN-03] what cannot be prepared names no account
    prepare_name(text(octets)?).map_err(|_| Failure::WrongCredentials)
}

/// One part of a message: 1 to 255 octets of UTF-8 without NUL. [SASL-PLAIN-02]
fn text(octets: &[u8]) -> Result<&str, Failure> {
    if octets.is_empty() || octets.len() > LONGEST_PART || octets.contains(&0) {
        return Err(Failure::Malformed);
    }
    std::str::from_utf8(octets).map_err(|_| Failure::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_and_nothing_that_looks_like_more() {
        // [SASL-OAUTH-01] [SASL-OAUTH-02]
        let good = Some(("a,b=c".to_owned(), "ya29.x~y"));
        assert_eq!(
            oauthbearer(b"n,a=a=2Cb=3Dc,\x01host=h\x01port=1\x01auth=Bearer ya29.x~y\x01\x01"),
            good
        );
        assert_eq!(xoauth2(b"user=a,b=c\x01auth=bearer ya29.x~y\x01\x01"), good);
        for bad in [
            &b""[..],
            b"n,,\x01auth=Bearer t\x01\x01",
            b"y,a=u,\x01auth=Bearer t\x01\x01",
            b"n,a=u,b,\x01auth=Bearer t\x01\x01",
            b"n,a=u,\x01auth=Bearer t\x01",
            b"n,a=u,\x01auth=Bearer \x01\x01",
            b"n,a=u,\x01auth=Bearer t x\x01\x01",
            b"n,a=u,\x01auth=Bearer t\x01auth=Bearer v\x01\x01",
            b"n,a=u,\x01auth=Basic t\x01\x01",
        ] {
            assert_eq!(oauthbearer(bad), None, "{bad:?}");
        }
        for bad in [
            &b"user=\x01auth=Bearer t\x01\x01"[..],
            b"user=u\x01auth=Bearer t\x01",
            b"user=u\x01auth=Bearer \xff\x01\x01",
            b"auth=Bearer t\x01\x01",
        ] {
            assert_eq!(xoauth2(bad), None, "{bad:?}");
        }
    }

    fn proof(client: Option<&str>) -> crate::seam::Encrypted {
        crate::seam::Encrypted::new(crate::seam::TlsFacts {
            version: crate::seam::TlsVersion::Tls13,
            suite: "TLS_AES_128_GCM_SHA256",
            group: None,
            sni: None,
            alpn: None,
            resumed: false,
            bindings: None,
            verified: None,
            client: client.map(Into::into),
        })
    }

    // [SASL-EXT-01]
    #[test]
    fn a_certificate_logs_in_its_own_user_and_nobody_else() {
        let proof = proof(Some("anna@example.org"));
        let begin = || Exchange::begin(Mechanism::External, MayReadCredentials::Encrypted(&proof));
        let login = || {
            Step::Ask(AccountAsk::Login(Attempt::Certificate {
                user: "anna@example.org".to_owned(),
            }))
        };
        assert_eq!(begin().start(Some(b"")), login());
        assert_eq!(begin().start(Some(b"Anna@example.org")), login());
        let mut asked = begin();
        assert_eq!(asked.start(None), Step::Challenge(Vec::new()));
        assert_eq!(asked.response(b""), login());
        for (message, failure) in [
            (&b"ben@example.org"[..], Failure::WrongCredentials),
            (b"anna@example.org\0", Failure::Malformed),
            (b"\xff", Failure::Malformed),
        ] {
            assert_eq!(begin().start(Some(message)), Step::Failed(failure));
        }
    }

    // [SASL-EXT-01]
    #[test]
    fn without_a_verified_certificate_there_is_no_external() {
        let all = Mechanism::SPOKEN;
        let with = crate::seam::Channel::Encrypted(proof(Some("a")));
        assert!(crate::sasl::offered(&with, &all).contains(&Mechanism::External));
        assert!(!crate::sasl::offered(&with, &Mechanism::ALL).contains(&Mechanism::External));
        let without = crate::seam::Channel::Encrypted(proof(None));
        assert!(!crate::sasl::offered(&without, &all).contains(&Mechanism::External));
        let proof = proof(None);
        let may = MayReadCredentials::Encrypted(&proof);
        let step = Exchange::begin(Mechanism::External, may).start(Some(b"anna"));
        assert_eq!(step, Step::Failed(Failure::WrongCredentials));
    }
}
