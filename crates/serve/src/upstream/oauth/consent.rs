//! What a user has agreed to: with whom, as whom, and the tokens that came of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_wire::secret::Secret;
use serde_json::{Value, json};

/// A token this near to its end is renewed before it is used.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The application that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its name with the provider.
    pub id: String,
    /// Its secret, where it has one.
    pub secret: Option<Secret<String>>,
}

/// A user's consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The account here, in lower case.
    pub account: String,
    /// The name there.
    pub user: String,
    /// The provider's word, for lists.
    pub provider: String,
    /// Where tokens are renewed.
    pub token_url: String,
    /// The application.
    pub application: Application,
    /// What renews.
    pub refresh: Secret<String>,
    /// What logs in, and when it ends.
    pub access: Option<(Secret<String>, SystemTime)>,
}

/// What a token server gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// What logs in.
    pub access: Secret<String>,
    /// How long.
    pub lasts: Duration,
    /// What renews, if it is a new one.
    pub refresh: Option<Secret<String>>,
}

impl Consent {
    /// Takes over what the server gave.
    pub fn take(&mut self, tokens: Tokens, now: SystemTime) {
        if let Some(refresh) = tokens.refresh {
            self.refresh = refresh;
        }
        self.access = Some((tokens.access, now + tokens.lasts));
    }

    /// The token that logs in, if it lasts long enough to be begun with.
    pub fn fresh(&self, now: SystemTime) -> Option<&Secret<String>> {
        let (token, ends) = self.access.as_ref()?;
        (now + AHEAD < *ends).then_some(token)
    }

    /// As it is kept, before it is sealed.
    pub(super) fn to_text(&self) -> Secret<String> {
        let seconds = |at: &SystemTime| {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_secs()
        };
        let access = self.access.as_ref();
        let text = json!({
            "account": self.account,
            "user": self.user,
            "provider": self.provider,
            "token_url": self.token_url,
            "client_id": self.application.id,
            "client_secret": self.application.secret.as_ref().map(Secret::expose),
            "refresh": self.refresh.expose(),
            "access": access.map(|(token, _)| token.expose()),
            "ends": access.map(|(_, ends)| seconds(ends)),
        });
        Secret::new(text.to_string())
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let of = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let ends = value.get("ends").and_then(Value::as_u64);
        let ends = ends.and_then(|it| UNIX_EPOCH.checked_add(Duration::from_secs(it)));
        Some(Self {
            account: of("account")?,
            user: of("user")?,
            provider: of("provider")?,
            token_url: of("token_url")?,
            application: Application {
                id: of("client_id")?,
                secret: of("client_secret").map(Secret::new),
            },
            refresh: Secret::new(of("refresh")?),
            access: of("access").map(Secret::new).zip(ends),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sample() -> Consent {
        Consent {
            account: "anna@example.org".into(),
            user: "anna@corp.example".into(),
            provider: "microsoft365".into(),
            token_url: "https://login.example/token".into(),
            application: Application {
                id: "app".into(),
                secret: Some(Secret::new("app-secret".into())),
            },
            refresh: Secret::new("refresh-1".into()),
            access: None,
        }
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut consent = sample();
        assert_eq!(consent.fresh(now), None);
        let tokens = Tokens {
            access: Secret::new("access-1".into()),
            lasts: Duration::from_secs(3600),
            refresh: None,
        };
        consent.take(tokens, now);
        assert_eq!(consent.refresh.expose(), "refresh-1");
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(consent.fresh(at(3200)).is_some());
        assert!(consent.fresh(at(3301)).is_none());
        let kept = Consent::from_text(consent.to_text().expose()).unwrap();
        assert_eq!(kept, consent);
        assert!(!format!("{consent:?}").contains("access-1"));
    }
}
