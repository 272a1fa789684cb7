//! One SASL exchange, from the mechanism's name to a verdict.
//!
//! ```text
//! PLAIN   start ─▶ (empty challenge) ─▶ message ─▶ Ask(Login) ─▶ Granted | Failed
//! LOGIN   start ─▶ "Username:" ─▶ "Password:" ─▶ Ask(Login) ─▶ Granted | Failed
//! EXTERNAL start ─▶ (empty challenge) ─▶ name or nothing ─▶ Ask(Login) ─▶ Granted | Failed
//! OAUTHBEARER, XOAUTH2
//!         start ─▶ (empty challenge) ─▶ token ─▶ Ask(Login) ─▶ Granted | error as a challenge ─▶ any response ─▶ Failed
//! SCRAM   start ─▶ (empty challenge) ─▶ client-first ─▶ Ask(ScramKeys) ─▶ server-first ─▶ client-final ─▶ Ask(Login)
//!               ─▶ server-final ─▶ empty response ─▶ Granted
//! ```
//!
//! Anything out of turn, and any answer that does not fit the question, ends in [`Step::Failed`], and stays there.

use std::mem;

use super::prepare::{is_same_user, prepare_name, prepare_password};
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
    /// What TLS has told: for EXTERNAL the name in the client's certificate, for a token the name by which the client came here.
    known: Option<Box<str>>,
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
    /// The client has been told why its token is not taken, and must answer before that is the end.
    Refused,
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
        let scram = mechanism.hash().is_some();
        // SCRAM without PLUS keeps them too: that they exist means that PLUS was offered.
        let bindings = may
            .bindings()
            .filter(|_| scram)
            .cloned()
            .map(|it| Box::new(Bindings(it)));
        let known = match mechanism {
            Mechanism::External => may.client(),
            _ => may.sni().filter(|_| mechanism.is_token()),
        };
        Self {
            mechanism,
            bindings,
            known: known.map(Into::into),
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
            (
                Mechanism::ScramSha256
                | Mechanism::ScramSha256Plus
                | Mechanism::ScramSha1
                | Mechanism::ScramSha1Plus,
                initial,
            ) => match initial {
                Some(octets) => self.scram_first(octets),
                None => self.challenge(State::ScramFirst, b""),
            },
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
            // A lone ^A, or nothing (RFC 7628 3.2.3): whatever it is, it changes nothing.
            State::Refused => Step::Failed(Failure::WrongCredentials),
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
            (State::Judged, AccountAnswer::Denied) if self.mechanism.is_token() => {
                self.refuse_token()
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
                if !identity.is_empty()
                    && !name(identity).is_ok_and(|asked| is_same_user(&asked, &user)) =>
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
        let Some(Bearer { user, token, host }) = bearer else {
            return Step::Failed(Failure::Malformed);
        };
        // What was meant for another server is not judged here: it may be good there.
        if let (Some(meant), Some(here)) = (host, self.known.take())
            && !is_same_host(meant, &here)
        {
            return self.refuse_token();
        }
        match prepare_name(&user) {
            Ok(user) => self.judge(Attempt::Token {
                user,
                token: Secret::new(token.to_owned()),
                mechanism: self.mechanism,
            }),
            Err(_) => Step::Failed(Failure::WrongCredentials),
        }
    }

    /// RFC 7628 3.2.2: the error is a challenge. Nothing is told of why: a wrong name and a wrong token are one.
    fn refuse_token(&mut self) -> Step {
        let told: &[u8] = if self.mechanism == Mechanism::OAuthBearer {
            br#"{"status":"invalid_token"}"#
        } else {
            br#"{"status":"401","schemes":"Bearer"}"#
        };
        self.challenge(State::Refused, told)
    }

    /// RFC 4422 A: the certificate has said who it is. The message may name that user, and nobody else [SASL-EXT-01].
    fn external(&mut self, octets: &[u8]) -> Step {
        let known = self.known.take();
        let Some(Ok(user)) = known.as_deref().map(prepare_name) else {
            return Step::Failed(Failure::WrongCredentials);
        };
        if !octets.is_empty() {
            match name(octets) {
                Ok(asked) if is_same_user(&asked, &user) => {}
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
        let Some(hash) = self.mechanism.hash() else {
            return Step::Failed(Failure::Malformed);
        };
        let binding = Binding {
            plus: self.mechanism.is_bound(),
            values: self.bindings.as_deref().map(|Bindings(values)| values),
        };
        match ClientFirst::read(octets, hash, binding) {
            Ok(first) => {
                let user = first.user.clone();
                self.state = State::ScramKeys(Box::new(first));
                Step::Ask(AccountAsk::ScramKeys { user, hash })
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

/// What a client with a token says.
#[derive(Debug, PartialEq, Eq)]
struct Bearer<'a> {
    user: String,
    token: &'a str,
    /// The server it means, if it says so.
    host: Option<&'a str>,
}

/// `n,a=NAME,^Akey=value^A…^A^A`. [SASL-OAUTH-01]
fn oauthbearer(octets: &[u8]) -> Option<Bearer<'_>> {
    let text = std::str::from_utf8(octets).ok()?;
    let (header, pairs) = text.split_once('\u{1}')?;
    let name = header.strip_prefix("n,a=")?.strip_suffix(',')?;
    if name.is_empty() || name.contains(',') {
        return None;
    }
    if value(pairs, "port")
        .ok()?
        .is_some_and(|port| port.parse::<u16>().is_err())
    {
        return None;
    }
    Some(Bearer {
        // RFC 5801 4: a comma and an equals sign are coded, and nothing else is.
        user: name.replace("=2C", ",").replace("=3D", "="),
        token: bearer(pairs)?,
        host: value(pairs, "host").ok()?,
    })
}

/// `user=NAME^Aauth=Bearer TOKEN^A^A`. [SASL-OAUTH-02]
fn xoauth2(octets: &[u8]) -> Option<Bearer<'_>> {
    let text = std::str::from_utf8(octets).ok()?;
    let (name, pairs) = text.strip_prefix("user=")?.split_once('\u{1}')?;
    (!name.is_empty()).then_some(Bearer {
        user: name.to_owned(),
        token: bearer(pairs)?,
        host: None,
    })
}

/// A key is there twice.
struct Twice;

/// The value of a key that may be there once.
fn value<'a>(pairs: &'a str, key: &str) -> Result<Option<&'a str>, Twice> {
    let mut values = pairs
        .split('\u{1}')
        .filter_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Twice),
    }
}

/// Names of hosts have no case, and may end with a dot.
fn is_same_host(one: &str, other: &str) -> bool {
    let plain = |it: &str| it.strip_suffix('.').unwrap_or(it).to_ascii_lowercase();
    plain(one) == plain(other)
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
        let good = |host| {
            Some(Bearer {
                user: "a,b=c".to_owned(),
                token: "ya29.x~y",
                host,
            })
        };
        assert_eq!(
            oauthbearer(b"n,a=a=2Cb=3Dc,\x01host=h\x01port=1\x01auth=Bearer ya29.x~y\x01\x01"),
            good(Some("h"))
        );
        assert_eq!(
            xoauth2(b"user=a,b=c\x01auth=bearer ya29.x~y\x01\x01"),
            good(None)
        );
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
            b"n,a=u,\x01host=h\x01host=i\x01auth=Bearer t\x01\x01",
            b"n,a=u,\x01port=99999\x01auth=Bearer t\x01\x01",
            b"n,a=u,\x01port=\x01auth=Bearer t\x01\x01",
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

    /// [SASL-OAUTH-01]
    #[test]
    fn a_refused_token_is_answered_by_a_challenge_and_then_by_the_end() {
        let told = [
            (
                Mechanism::OAuthBearer,
                &b"n,a=u,\x01host=MAIL.example.org.\x01auth=Bearer t\x01\x01"[..],
                &br#"{"status":"invalid_token"}"#[..],
            ),
            (
                Mechanism::XOAuth2,
                b"user=u\x01auth=Bearer t\x01\x01",
                br#"{"status":"401","schemes":"Bearer"}"#,
            ),
        ];
        for (mechanism, message, error) in told {
            for reply in [&b"\x01"[..], b"", message] {
                let mut exchange = token_exchange(mechanism);
                assert!(matches!(exchange.start(Some(message)), Step::Ask(_)));
                let step = exchange.answer(AccountAnswer::Denied);
                assert_eq!(step, Step::Challenge(error.to_vec()));
                let end = Step::Failed(Failure::WrongCredentials);
                assert_eq!(exchange.response(reply), end);
                // Nor does a late grant open what was refused.
                let late = exchange.answer(AccountAnswer::Granted {
                    account: "u".into(),
                });
                assert!(matches!(late, Step::Failed(_)));
            }
            let mut exchange = token_exchange(mechanism);
            exchange.start(Some(message));
            let step = exchange.answer(AccountAnswer::Unavailable);
            assert_eq!(step, Step::Failed(Failure::Unavailable));
        }
    }

    /// [SASL-OAUTH-01]
    #[test]
    fn a_token_for_another_server_is_shown_to_nobody() {
        let mut exchange = token_exchange(Mechanism::OAuthBearer);
        let step = exchange.start(Some(
            b"n,a=u,\x01host=mail.example.com\x01auth=Bearer t\x01\x01",
        ));
        assert_eq!(
            step,
            Step::Challenge(br#"{"status":"invalid_token"}"#.to_vec())
        );
        assert!(matches!(exchange.response(b"\x01"), Step::Failed(_)));
    }

    fn token_exchange(mechanism: Mechanism) -> Exchange {
        let mut facts = facts(None);
        facts.sni = Some("mail.example.org".into());
        let proof = crate::seam::Encrypted::new(facts);
        Exchange::begin(mechanism, MayReadCredentials::Encrypted(&proof))
    }

    fn proof(client: Option<&str>) -> crate::seam::Encrypted {
        crate::seam::Encrypted::new(facts(client))
    }

    fn facts(client: Option<&str>) -> crate::seam::TlsFacts {
        crate::seam::TlsFacts {
            version: crate::seam::TlsVersion::Tls13,
            suite: "TLS_AES_128_GCM_SHA256".into(),
            group: None,
            sni: None,
            alpn: None,
            resumed: false,
            bindings: None,
            verified: None,
            client: client.map(|user| {
                Box::new(crate::seam::ClientCertificate {
                    user: Some(user.into()),
                    ..crate::seam::ClientCertificate::default()
                })
            }),
            signature: None,
        }
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
        assert!(
            !crate::sasl::offered(&with, &Mechanism::FOR_ACCOUNTS).contains(&Mechanism::External)
        );
        let without = crate::seam::Channel::Encrypted(proof(None));
        assert!(!crate::sasl::offered(&without, &all).contains(&Mechanism::External));
        let proof = proof(None);
        let may = MayReadCredentials::Encrypted(&proof);
        let step = Exchange::begin(Mechanism::External, may).start(Some(b"anna"));
        assert_eq!(step, Step::Failed(Failure::WrongCredentials));
    }
}
