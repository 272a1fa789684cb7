//! Who may log in: SCRAM keys and judgement, for all sessions of all protocols.
//!
//! 1. An attempt first waits as long as the failures before it demand ([`super::throttle`]).
//! 2. The account's record is looked up; a name without account gets a record that no password fits, made of the server's
//!    secret, so that it is the same every time and cannot be told from a real one [SASL-SCRAM-02]. An account without keys of the
//!    hash function asked for is such a name, too [CONF-07].
//! 3. The password is judged against the record: the same work and the same answer whether the name or the password is wrong
//!    [SMTP-AUTH-13]. It is a slow function by design, so only as many run at once as there are processors, and a password
//!    that was right a short while ago need not be judged again. What is remembered is a keyed hash of name, password and
//!    record, never the password; with a new record the hash is another one.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{hmac, rand};
use gatepost_store::{Account, AccountId, Credential, Error, Store};
use gatepost_wire::sasl::{
    AccountAnswer, AccountAsk, Attempt, Mechanism, Preparation, ScramHash, ScramKeys, ScramRecord,
    normal_name,
};
use gatepost_wire::secret::Secret;
use tokio::sync::Semaphore;

use super::throttle::{Keys, Table, Throttle, Wait};

/// Rounds of the hash in new records. At least 15,000 [SASL-SCRAM-02]; it takes some 2.5 ms of a processor.
pub const ITERATIONS: u32 = 20_000;
/// How long a password that was right is not judged again.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// Judges logins. One for the whole server.
#[derive(Debug)]
pub struct AccountKeeper {
    store: Store,
    /// For the records of names without account.
    decoy: hmac::Key,
    /// For the hashes of passwords that were right; made anew with every start.
    memory: hmac::Key,
    remembered: Mutex<Table<Instant>>,
    throttle: Mutex<Throttle>,
    judges: Semaphore,
}

/// The keeper's answer, and who is logged in by it.
#[derive(Debug)]
pub struct Judged {
    /// For the session.
    pub answer: AccountAnswer,
    /// Set when the answer is [`AccountAnswer::Granted`].
    pub login: Option<Login>,
    /// Set when the answer is [`AccountAnswer::Denied`].
    pub failed: bool,
    /// Set when the attempt was turned away unjudged, for there were too many before it [SASL-RATE-01].
    pub throttled: bool,
}

/// A login that was granted.
#[derive(Debug, Clone)]
pub struct Login {
    /// The account.
    pub account: AccountId,
    /// Its address, in lower case.
    pub address: Box<str>,
    /// How.
    pub mechanism: Mechanism,
}

/// Why no record can be made of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// The password is empty or has characters that cannot be in one (RFC 4013).
    Password(Preparation),
    /// The system gave no randomness.
    Randomness,
}

/// Makes the record of a new password, with keys of SHA-1 if they are asked for, too. Takes some milliseconds.
///
/// # Errors
/// See [`RecordError`].
pub fn record(password: &str, sha1: bool) -> Result<Credential, RecordError> {
    let keys = |hash| {
        // Each hash function has a salt of its own: what is found with one says nothing of the other.
        let mut salt = vec![0; 16];
        rand::fill(&mut salt).map_err(|_| RecordError::Randomness)?;
        ScramRecord::derive_with(hash, password, salt, ITERATIONS).map_err(RecordError::Password)
    };
    Ok(Credential {
        record: keys(ScramHash::Sha256)?,
        sha1: sha1.then(|| keys(ScramHash::Sha1)).transpose()?,
    })
}

impl AccountKeeper {
    /// A keeper of the store's accounts.
    pub fn new(store: Store) -> Self {
        let decoy = hmac::Key::new(hmac::HMAC_SHA256, store.server_secret().expose());
        let mut fresh = [0; 32];
        // Without randomness nothing is remembered under a known key: the server's secret takes its place.
        if rand::fill(&mut fresh).is_err() {
            fresh = *store.server_secret().expose();
        }
        let memory = hmac::Key::new(hmac::HMAC_SHA256, &fresh);
        let judges = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store,
            decoy,
            memory,
            remembered: Mutex::default(),
            throttle: Mutex::default(),
            judges: Semaphore::new(judges),
        }
    }

    /// Answers a session's question. `client` is the address it comes from.
    pub async fn answer(self: &Arc<Self>, ask: AccountAsk, client: IpAddr) -> Judged {
        match ask {
            AccountAsk::ScramKeys { user, hash } => Judged::only(self.scram_keys(user, hash).await),
            AccountAsk::Login(attempt) => self.judge(attempt, client).await,
        }
    }

    async fn scram_keys(self: &Arc<Self>, user: String, hash: ScramHash) -> AccountAnswer {
        let Ok((record, _)) = self.record_of(user, hash).await else {
            return AccountAnswer::Unavailable;
        };
        let Some(nonce) = nonce() else {
            return AccountAnswer::Unavailable;
        };
        AccountAnswer::ScramKeys(ScramKeys {
            salt: record.salt,
            iterations: record.iterations,
            stored_key: record.stored_key,
            server_key: record.server_key,
            nonce,
        })
    }

    async fn judge(self: &Arc<Self>, attempt: Attempt, client: IpAddr) -> Judged {
        let (user, mechanism) = match &attempt {
            // Nobody here can judge a token, and no session here offers to take one.
            Attempt::Token { .. } => return Judged::only(AccountAnswer::Unavailable),
            Attempt::Password {
                user, mechanism, ..
            }
            | Attempt::Scram {
                user, mechanism, ..
            } => (user.clone(), *mechanism),
            Attempt::Certificate { user } => (user.clone(), Mechanism::External),
        };
        let (keys, wait) = self.arrive(client, &user);
        match wait {
            Wait::For(time) if time > Duration::ZERO => tokio::time::sleep(time).await,
            Wait::For(_) => {}
            Wait::TooLong => {
                return Judged {
                    throttled: true,
                    ..Judged::only(AccountAnswer::Unavailable)
                };
            }
        }
        let found = self.record_of(user.clone(), ScramHash::Sha256).await;
        let Ok((record, account)) = found else {
            return Judged::only(AccountAnswer::Unavailable);
        };
        let right = match attempt {
            Attempt::Scram { proven, .. } => proven,
            // The handshake has judged it; here it is only asked whether the account is there [SASL-EXT-01].
            Attempt::Certificate { .. } => true,
            Attempt::Token { .. } => false,
            Attempt::Password { password, .. } => self.password_fits(user, password, record).await,
        };
        let now = Instant::now();
        let Some(account) = account.filter(|_| right) else {
            self.throttle().failed(keys, now);
            return Judged {
                answer: AccountAnswer::Denied,
                login: None,
                failed: true,
                throttled: false,
            };
        };
        self.throttle().succeeded(keys, now);
        let address: Box<str> = account.address.into();
        let answer = AccountAnswer::Granted {
            account: address.clone(),
        };
        let login = Login {
            account: account.id,
            address,
            mechanism,
        };
        Judged {
            answer,
            login: Some(login),
            failed: false,
            throttled: false,
        }
    }

    fn arrive(&self, client: IpAddr, user: &str) -> (Keys, Wait) {
        let mut throttle = self.throttle();
        // One account must not be several to whoever counts attempts.
        let keys = throttle.keys(client, &normal_name(user));
        (keys, throttle.attempt(keys, Instant::now()))
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        // Counts stay good whatever a thread was doing with them.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of a name, and the account if there is one.
    async fn record_of(
        self: &Arc<Self>,
        user: String,
        hash: ScramHash,
    ) -> Result<(ScramRecord, Option<Account>), Error> {
        let keeper = Arc::clone(self);
        super::block(move || {
            // Made in both cases, so that both take the same time.
            let decoy = keeper.decoy_record(&user, hash);
            let account = match keeper.store.accounts().find(&user) {
                Ok(account) => account,
                // A name that cannot be an account's is one without account.
                Err(Error::Cannot | Error::NoSuchAccount) => None,
                Err(error) => return Err(error),
            };
            let kept = account.as_ref().and_then(|account| match hash {
                ScramHash::Sha256 => Some(account.credential.record.clone()),
                ScramHash::Sha1 => account.credential.sha1.clone(),
            });
            Ok((kept.unwrap_or(decoy), account))
        })
        .await
    }

    /// [SASL-SCRAM-02] the same salt for the same name every time, and keys nobody knows a password for
    fn decoy_record(&self, user: &str, hash: ScramHash) -> ScramRecord {
        let name = normal_name(user);
        let part = |label: &[u8], length| {
            let mut context = hmac::Context::with_key(&self.decoy);
            // Another salt than with SHA-256, as accounts have it.
            if hash == ScramHash::Sha1 {
                context.update(b"sha1 ");
            }
            context.update(label);
            context.update(name.as_bytes());
            let tag = context.sign();
            tag.as_ref().iter().copied().take(length).collect()
        };
        ScramRecord {
            hash,
            salt: part(b"salt ", 16),
            iterations: ITERATIONS,
            stored_key: Secret::new(part(b"stored ", hash.length())),
            server_key: Secret::new(part(b"server ", hash.length())),
        }
    }

    async fn password_fits(
        self: &Arc<Self>,
        user: String,
        password: Secret<String>,
        record: ScramRecord,
    ) -> bool {
        let mark = self.mark(&user, &password, &record);
        if self.remembers(mark) {
            return true;
        }
        let Ok(_judge) = self.judges.acquire().await else {
            return false;
        };
        let right = tokio::task::spawn_blocking(move || record.verifies(password.expose()))
            .await
            .unwrap_or(false);
        if right {
            self.remember(mark);
        }
        right
    }

    /// A keyed hash of what a right login consists of. 64 bits suffice: to meet one by chance takes more attempts than guessing
    /// a password, and they are slowed down.
    fn mark(&self, user: &str, password: &Secret<String>, record: &ScramRecord) -> u64 {
        let mut context = hmac::Context::with_key(&self.memory);
        for part in [
            user.to_lowercase().as_bytes(),
            password.expose().as_bytes(),
            record.stored_key.expose(),
        ] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        tag.as_ref()
            .iter()
            .take(8)
            .fold(0, |mark, octet| mark << 8 | u64::from(*octet))
    }

    fn remembers(&self, mark: u64) -> bool {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered
            .get(mark)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    fn remember(&self, mark: u64) {
        let now = Instant::now();
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *remembered.entry(mark, now) = now;
    }
}

impl Judged {
    fn only(answer: AccountAnswer) -> Self {
        Self {
            answer,
            login: None,
            failed: false,
            throttled: false,
        }
    }
}

/// Fresh randomness for SCRAM: 24 characters that hold 144 bits.
fn nonce() -> Option<String> {
    let mut octets = [0; 18];
    rand::fill(&mut octets).ok()?;
    Some(gatepost_wire::sasl::encode_base64(&octets))
}
