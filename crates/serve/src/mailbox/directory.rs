//! Which address is whose.
//!
//! Addresses are compared without regard to case, domains without regard to the form of their labels (RFC 5890 2.3.2.4). `user+tag@domain` goes to `user@domain` unless there is an account of the
//! full address (RFC 5233). Mail for postmaster goes to the account the configuration names, or to the first one
//! [SMTP-BASE-20]. A domain is local when an account has it, or the configuration names it; nothing else is relayed to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost_store::{AccountId, Error, Store};
use gatepost_wire::smtp::path::{Mailbox, normal_domain};

use super::Config;

/// How long a found address is used without looking again. An account removed meanwhile refuses its mail when it is stored.
const FOUND_FOR: Duration = Duration::from_secs(60);
/// How long the list of domains is used.
const DOMAINS_FOR: Duration = Duration::from_secs(10);
/// How many found addresses are kept: the table is emptied when it is full.
const FOUND_LIMIT: usize = 10_000;

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This account's.
    Account(AccountId),
    /// Nobody's, in a domain that is ours.
    Nobody,
    /// Somebody's elsewhere.
    Elsewhere,
}

/// Answers whose an address is.
#[derive(Debug, Clone)]
pub struct Directory {
    store: Store,
    host: Arc<str>,
    domains: Arc<[String]>,
    postmaster: Option<Arc<str>>,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Debug, Default)]
struct Cache {
    found: HashMap<String, (AccountId, Instant)>,
    domains: Option<(Arc<HashSet<String>>, Instant)>,
}

impl Directory {
    /// A directory of the store's accounts.
    pub fn new(store: Store, config: &Config) -> Self {
        Self {
            store,
            host: normal_domain(&config.host).into(),
            domains: config
                .domains
                .iter()
                .map(|domain| normal_domain(domain))
                .collect(),
            postmaster: config
                .postmaster
                .as_deref()
                .map(|address| address.to_lowercase().into()),
            cache: Arc::default(),
        }
    }

    /// Whose the address is. Blocks only when it was not asked for lately.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub async fn owner(&self, mailbox: &Mailbox) -> Result<Owner, Error> {
        let address = normal(mailbox);
        if let Some(account) = self.remembered(&address.whole()) {
            return Ok(Owner::Account(account));
        }
        let directory = self.clone();
        super::block(move || directory.look_up(&address)).await
    }

    fn look_up(&self, address: &Address) -> Result<Owner, Error> {
        let base = address
            .local
            .split_once('+')
            .map(|(base, _)| format!("{base}@{}", address.domain));
        for candidate in [Some(address.whole()), base].into_iter().flatten() {
            if let Some(account) = self.account(&candidate)? {
                return Ok(self.remember(address.whole(), account));
            }
        }
        let domains = self.local_domains()?;
        let domain = normal_domain(&address.domain);
        let local = domains.contains(&domain) || self.domains.contains(&domain);
        if address.local == "postmaster" && (local || domain.is_empty() || domain == *self.host) {
            return match self.postmaster()? {
                Some(account) => Ok(self.remember(address.whole(), account)),
                None => Ok(Owner::Nobody),
            };
        }
        Ok(if local {
            Owner::Nobody
        } else {
            Owner::Elsewhere
        })
    }

    fn account(&self, address: &str) -> Result<Option<AccountId>, Error> {
        match self.store.accounts().find(address) {
            Ok(account) => Ok(account.map(|account| account.id)),
            Err(Error::Cannot | Error::NoSuchAccount) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn postmaster(&self) -> Result<Option<AccountId>, Error> {
        if let Some(address) = &self.postmaster
            && let Some(account) = self.account(address)?
        {
            return Ok(Some(account));
        }
        let accounts = self.store.accounts().list()?;
        Ok(accounts.iter().map(|account| account.id).min())
    }

    fn local_domains(&self) -> Result<Arc<HashSet<String>>, Error> {
        let fresh = |since: Instant| since.elapsed() < DOMAINS_FOR;
        if let Some((domains, _)) = self
            .cache()
            .domains
            .as_ref()
            .filter(|(_, since)| fresh(*since))
        {
            return Ok(Arc::clone(domains));
        }
        let accounts = self.store.accounts().list()?;
        let domains = accounts
            .iter()
            .filter_map(|account| account.address.rsplit_once('@'));
        let domains: Arc<HashSet<String>> =
            Arc::new(domains.map(|(_, domain)| normal_domain(domain)).collect());
        self.cache().domains = Some((Arc::clone(&domains), Instant::now()));
        Ok(domains)
    }

    fn remembered(&self, address: &str) -> Option<AccountId> {
        let cache = self.cache();
        let (account, since) = cache.found.get(address)?;
        (since.elapsed() < FOUND_FOR).then_some(*account)
    }

    fn remember(&self, address: String, account: AccountId) -> Owner {
        let mut cache = self.cache();
        if cache.found.len() >= FOUND_LIMIT {
            cache.found.clear();
        }
        cache.found.insert(address, (account, Instant::now()));
        Owner::Account(account)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the mailbox is the account's own: its address, with a tag or without.
pub fn is_own(mailbox: &Mailbox, account: &str) -> bool {
    let address = normal(mailbox);
    let base = address
        .local
        .split_once('+')
        .map_or(address.local.as_str(), |(base, _)| base);
    let Some((local, domain)) = account.rsplit_once('@') else {
        return false;
    };
    let same = normal_domain(&address.domain) == normal_domain(domain);
    same && (address.local == local || base == local)
}

/// An address in lower case, the local part without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    local: String,
    domain: String,
}

impl Address {
    fn whole(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }
}

fn normal(mailbox: &Mailbox) -> Address {
    let local = match mailbox
        .local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(quoted) => unescape(quoted),
        None => mailbox.local.clone(),
    };
    Address {
        local: local.to_lowercase(),
        domain: mailbox.domain.to_lowercase(),
    }
}

fn unescape(quoted: &str) -> String {
    let mut escaped = false;
    let keep = |character: &char| {
        escaped = *character == '\\' && !escaped;
        !escaped
    };
    quoted.chars().filter(keep).collect()
}
