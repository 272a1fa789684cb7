//! The bridge for clients that only know a password, to upstreams that only take OAuth 2.0.
//!
//! ```text
//!   client ──password──▶ the gate's own account ──▶ consent of that account ──token──▶ upstream: OAUTHBEARER or XOAUTH2
//!                        (SCRAM, PLAIN, LOGIN)        renewed ahead, one renewal at a time
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`provider`] | presets |
//! | [`consent`] | what a user has agreed to |
//! | [`exchange`] | the token server |
//! | [`vault`] | consents on disk, sealed |
//!
//! - The password is the gate's: it is judged here, as at a mailbox, and goes to nobody. The token is the upstream's: the client never
//!   sees it.
//! - An account without a consent, a consent that was withdrawn, a token server that is silent: the client may try again, and the
//!   operator is told what to do. A password is never called wrong for it.
//! - A token that ends soon is renewed before it is used. Many logins at once make one renewal; one that failed is not repeated for a
//!   while.

pub mod consent;
pub mod exchange;
pub mod provider;
pub mod vault;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gatepost_store::{Accounts, Store};
use gatepost_trust::verify::Roots;
use gatepost_wire::sasl::AccountAsk;
use gatepost_wire::secret::Secret;

use crate::mailbox::account::{AccountKeeper, Judged};
use consent::Consent;
use exchange::{TokenError, TokenServers};
use vault::{Stamp, Vault, VaultError};

/// How long a renewal that failed is not tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// Why there is no token for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// Nobody has consented for it.
    NoConsent,
    /// The consent cannot be read; why.
    Unreadable(String),
    /// The token server gave none.
    NotRenewed(TokenError),
    /// The upstream takes no token of it, not even a new one.
    NotTaken,
}

impl NoToken {
    /// A stable word for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoConsent => "oauth_no_consent",
            Self::Unreadable(_) => "oauth_unreadable",
            Self::NotRenewed(error) if error.is_final() => "oauth_withdrawn",
            Self::NotRenewed(_) => "oauth_not_renewed",
            Self::NotTaken => "oauth_not_taken",
        }
    }
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConsent => f.write_str("there is no consent for it: gatepost oauth login ACCOUNT"),
            Self::Unreadable(why) => f.write_str(why),
            Self::NotRenewed(error) if error.is_final() => {
                write!(f, "{error}; consent again: gatepost oauth login ACCOUNT")
            }
            Self::NotRenewed(error) => error.fmt(f),
            Self::NotTaken => f.write_str(
                "the upstream takes no token of it: is the name there right, and the scope? gatepost oauth list",
            ),
        }
    }
}

/// The bridge.
pub struct Bridge {
    store: Store,
    keeper: Arc<AccountKeeper>,
    vault: Vault,
    servers: TokenServers,
    slots: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<Slot>>>>,
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

/// What is known of one account's consent.
#[derive(Default)]
struct Slot {
    read: Option<(Stamp, Consent)>,
    failed: Option<(Instant, TokenError)>,
}

impl Bridge {
    /// A bridge with the accounts of this store and the consents of this data folder.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn open(store: Store, data: &Path) -> Result<Self, VaultError> {
        // Without the system's authorities no token server can be verified: told when one is asked.
        let roots = Roots::system().unwrap_or_else(|_| Roots::none());
        let servers = TokenServers::new(Arc::new(roots));
        Ok(Self::with(store, Vault::open(data)?, servers))
    }

    /// The same with other authorities for token servers.
    pub fn with(store: Store, vault: Vault, servers: TokenServers) -> Self {
        Self {
            keeper: Arc::new(AccountKeeper::new(store.clone())),
            store,
            vault,
            servers,
            slots: Mutex::default(),
        }
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        self.store.accounts()
    }

    /// Judges a login by the accounts here.
    pub(super) async fn judge(&self, ask: AccountAsk, client: IpAddr) -> Judged {
        self.keeper.answer(ask, client).await
    }

    /// The name and the token to log an account in with. `stale` is one that the upstream has just refused.
    ///
    /// # Errors
    /// See [`NoToken`].
    pub async fn token(
        &self,
        account: &str,
        stale: Option<&Secret<String>>,
    ) -> Result<(String, Secret<String>), NoToken> {
        let slot = self.slot(account);
        // Held while it is renewed: the others wait, and find it done.
        let mut slot = slot.lock().await;
        let stamp = self.vault.stamp(account);
        if slot.read.as_ref().is_none_or(|(known, _)| *known != stamp) {
            let consent = self.vault.read(account);
            let consent = consent.map_err(|error| NoToken::Unreadable(error.to_string()))?;
            slot.read = consent.map(|it| (stamp, it));
            slot.failed = None;
        }
        let Some((_, consent)) = &slot.read else {
            return Err(NoToken::NoConsent);
        };
        if let Some(token) = consent
            .fresh(SystemTime::now())
            .filter(|it| Some(*it) != stale)
        {
            return Ok((consent.user.clone(), token.clone()));
        }
        if let Some((at, error)) = &slot.failed
            && at.elapsed() < PAUSE
        {
            return Err(NoToken::NotRenewed(error.clone()));
        }
        let mut consent = consent.clone();
        match self.servers.renew(&consent).await {
            Ok(tokens) => {
                let access = tokens.access.clone();
                consent.take(tokens, SystemTime::now());
                let user = consent.user.clone();
                // A new refresh token may be the only one that is good from now on.
                let kept = self.vault.write(&consent);
                slot.read = Some((self.vault.stamp(account), consent));
                slot.failed = None;
                kept.map_err(|error| NoToken::Unreadable(error.to_string()))?;
                Ok((user, access))
            }
            Err(error) => {
                slot.failed = Some((Instant::now(), error.clone()));
                Err(NoToken::NotRenewed(error))
            }
        }
    }

    /// Only accounts that have logged in come here, so there are never more than accounts.
    fn slot(&self, account: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(account.into()).or_default())
    }
}
