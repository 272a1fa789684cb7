//! Talking to a token server: consent by device code (RFC 8628), and renewal (RFC 6749 6).
//!
//! ```text
//!   begin ──▶ user code, address ──▶ (the user, in a browser)
//!   poll  ──▶ pending, slower, tokens or the end
//!   renew ──▶ tokens
//! ```
//!
//! By HTTPS to a server that an authority vouches for, and no other way: a token server that is not verified gets no secret. What it
//! says in error is a word of a registered kind, and is passed on as no more.

use std::sync::Arc;
use std::time::Duration;

use gatepost_net::client::Options;
use gatepost_net::client::dial::Dialer;
use gatepost_net::http::{self, HttpFailure, Limits, Response, Url};
use gatepost_trust::verify::{ClientTls, Roots};
use gatepost_wire::secret::Secret;
use serde_json::Value;

use super::consent::{Application, Consent, Tokens};

/// For one question.
const TIME: Duration = Duration::from_secs(30);
/// RFC 8628 3.2: what to wait between two questions, where nothing is said, and what more when told to be slower.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest that is waited between two questions, whatever a server says.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// Of a token whose time is not told.
const UNTOLD: Duration = Duration::from_secs(10 * 60);
/// The longest token and code that is taken.
const LONGEST: usize = 16 * 1024;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// The address is no `https` URL.
    Url,
    /// The server could not be reached or verified, or did not answer in HTTP.
    Http(HttpFailure),
    /// It does not answer as a token server.
    Nonsense(u16),
    /// It refuses, with this word (RFC 6749 5.2, RFC 8628 3.5).
    Refused(Box<str>),
}

impl TokenError {
    /// Whether what renews is good no more: only the user can help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused(word) if matches!(&**word, "invalid_grant" | "unauthorized_client" | "invalid_client"))
    }
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url => f.write_str("the token server's address is no https URL"),
            Self::Http(failure) => write!(f, "the token server: {failure}"),
            Self::Nonsense(status) => write!(
                f,
                "the token server does not answer as one does (status {status})"
            ),
            Self::Refused(word) => write!(f, "the token server refuses: {word}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// A consent that is being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// What the user types in.
    pub user_code: String,
    /// Where.
    pub address: String,
    /// What to poll with.
    pub device_code: Secret<String>,
    /// How long the user has.
    pub lasts: Duration,
    /// What to wait between two questions.
    pub interval: Duration,
}

/// What comes of a question whether the user has consented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// Not yet.
    Pending,
    /// Not yet, and ask more slowly from now on (RFC 8628 3.5): by so much.
    Slower(Duration),
    /// Yes.
    Tokens(Tokens),
}

/// The way to token servers.
pub struct TokenServers {
    dialer: Dialer,
    roots: Arc<Roots>,
    options: Arc<Options>,
}

impl std::fmt::Debug for TokenServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenServers").finish_non_exhaustive()
    }
}

impl TokenServers {
    /// Trusts these authorities.
    pub fn new(roots: Arc<Roots>) -> Self {
        Self {
            dialer: Dialer::default(),
            roots,
            options: Arc::default(),
        }
    }

    /// Begins to ask for a consent.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn begin(
        &self,
        url: &str,
        application: &Application,
        scope: &str,
    ) -> Result<Begun, TokenError> {
        let pairs = [("client_id", application.id.as_str()), ("scope", scope)];
        let (status, answer) = self.ask(url, &pairs).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let address = text("verification_uri").or_else(|| text("verification_url"));
        let (Some(device), Some(code), Some(address)) =
            (text("device_code"), text("user_code"), address)
        else {
            return Err(refused(status, &answer));
        };
        let is_shown =
            |it: &str| !it.is_empty() && it.len() <= 512 && !it.contains(char::is_control);
        if !is_shown(code)
            || !is_shown(address)
            || !address.starts_with("https://")
            || device.len() > LONGEST
        {
            return Err(TokenError::Nonsense(status));
        }
        let interval = seconds(&answer, "interval").unwrap_or(INTERVAL);
        Ok(Begun {
            user_code: code.to_owned(),
            address: address.to_owned(),
            device_code: Secret::new(device.to_owned()),
            lasts: seconds(&answer, "expires_in").unwrap_or(UNTOLD),
            interval: interval.min(LONGEST_INTERVAL),
        })
    }

    /// Asks whether the user has consented.
    ///
    /// # Errors
    /// See [`TokenError`]; `access_denied` and `expired_token` among the refusals.
    pub async fn poll(
        &self,
        url: &str,
        application: &Application,
        begun: &Begun,
    ) -> Result<Polled, TokenError> {
        let mut pairs = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", begun.device_code.expose()),
        ];
        identify(&mut pairs, application);
        let (status, answer) = self.ask(url, &pairs).await?;
        match answer.get("error").and_then(Value::as_str) {
            Some("authorization_pending") => Ok(Polled::Pending),
            Some("slow_down") => Ok(Polled::Slower(INTERVAL)),
            _ => tokens(status, &answer).map(Polled::Tokens),
        }
    }

    /// Renews.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn renew(&self, consent: &Consent) -> Result<Tokens, TokenError> {
        let mut pairs = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", consent.refresh.expose()),
        ];
        identify(&mut pairs, &consent.application);
        let (status, answer) = self.ask(&consent.token_url, &pairs).await?;
        tokens(status, &answer)
    }

    async fn ask(&self, url: &str, pairs: &[(&str, &str)]) -> Result<(u16, Value), TokenError> {
        let url: Url = url.parse().map_err(|_| TokenError::Url)?;
        if !url.tls {
            return Err(TokenError::Url);
        }
        let terms = http::terms(&url, Arc::clone(&self.roots)).map_err(|_| TokenError::Url)?;
        let tls = ClientTls::new(terms);
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let form = Secret::new(form);
        let limits = Limits {
            time: TIME,
            ..Limits::default()
        };
        let asking = http::post(&url, &tls, &self.dialer, &self.options, (limits, &form));
        let Response { head, body } = Box::pin(asking).await.map_err(TokenError::Http)?;
        let answer = serde_json::from_slice(&body);
        let answer = answer.map_err(|_| TokenError::Nonsense(head.status))?;
        Ok((head.status, answer))
    }
}

/// Who asks. The secret goes in the body, as both presets take it (RFC 6749 2.3.1).
fn identify<'a>(pairs: &mut Vec<(&'a str, &'a str)>, application: &'a Application) {
    pairs.push(("client_id", application.id.as_str()));
    if let Some(secret) = &application.secret {
        pairs.push(("client_secret", secret.expose()));
    }
}

fn tokens(status: u16, answer: &Value) -> Result<Tokens, TokenError> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let is_token = |it: &&str| {
        !it.is_empty() && it.len() <= LONGEST && it.bytes().all(|it| it.is_ascii_graphic())
    };
    let Some(access) = text("access_token") else {
        return Err(refused(status, answer));
    };
    let bearer = text("token_type").is_none_or(|it| it.eq_ignore_ascii_case("bearer"));
    if status != 200 || !bearer || !is_token(&access) {
        return Err(TokenError::Nonsense(status));
    }
    let refresh = text("refresh_token").filter(is_token);
    Ok(Tokens {
        access: Secret::new(access.to_owned()),
        lasts: seconds(answer, "expires_in").unwrap_or(UNTOLD),
        refresh: refresh.map(|it| Secret::new(it.to_owned())),
    })
}

fn refused(status: u16, answer: &Value) -> TokenError {
    let word = answer.get("error").and_then(Value::as_str);
    let is_word = |it: &&str| {
        (1..=64).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
    };
    match word.filter(is_word) {
        Some(word) => TokenError::Refused(word.into()),
        None => TokenError::Nonsense(status),
    }
}

/// Some servers write numbers as text.
fn seconds(answer: &Value, name: &str) -> Option<Duration> {
    let value = answer.get(name)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    Some(Duration::from_secs(number.min(10 * 365 * 24 * 3600)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_read_and_words_of_a_server_are_words() {
        let good = json!({"access_token": "ya29.x", "token_type": "Bearer", "expires_in": "3599", "refresh_token": "r2"});
        let read = tokens(200, &good).unwrap();
        assert_eq!(
            (read.access.expose().as_str(), read.lasts.as_secs()),
            ("ya29.x", 3599)
        );
        assert_eq!(read.refresh.unwrap().expose(), "r2");
        for (status, answer) in [
            (200, json!({"access_token": ""})),
            (200, json!({"access_token": "a b"})),
            (200, json!({"access_token": "a\u{1}auth=x"})),
            (200, json!({"access_token": "a", "token_type": "mac"})),
            (400, json!({"access_token": "a"})),
            (200, json!({})),
            (200, json!([])),
            (400, json!({"error": "Evil\r\nwords"})),
            (400, json!({"error": ""})),
        ] {
            assert_eq!(
                tokens(status, &answer),
                Err(TokenError::Nonsense(status)),
                "{answer}"
            );
        }
        let refused = tokens(400, &json!({"error": "invalid_grant"})).unwrap_err();
        assert!(refused.is_final() && refused.to_string().contains("invalid_grant"));
        assert!(
            !tokens(503, &json!({"error": "temporarily_unavailable"}))
                .unwrap_err()
                .is_final()
        );
    }
}
