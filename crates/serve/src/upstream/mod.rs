//! The gate: sessions whose mailbox is another server.
//!
//! ```text
//!   client ──TLS──▶ the session in front ──questions──▶ backend ──▶ pool ──▶ member ──TLS──▶ upstream
//!                   greeting, capabilities,             smtp: each command anew
//!                   upgrade, login, limits              imap, pop3: the login, then bytes through a passage
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`url`] | how an upstream is named |
//! | [`member`], [`pool`] | one upstream, and those that stand in for one another |
//! | `dane` | whom an upstream must be, by its TLSA records |
//! | [`oauth`] | logging in with a token where the client has a password |
//! | [`offer`] | what an upstream offers, and what of it is passed on |
//! | [`route`] | which upstream a user's session goes to |
//! | [`egress`] | the way out for devices that cannot do TLS |
//! | [`identity`] | telling the upstream who the client is |
//! | [`smtp`], [`reader`] | the backends of sessions |
//!
//! - Both legs are decided by themselves: nothing an upstream says changes how TLS stands in front, and nothing a client says
//!   changes whom an upstream must be [SMTP-STARTTLS-21] [TLS-INV-01].
//! - An upstream in clear is this machine, or one the operator named with `tls=none`; all others are verified before a word of a
//!   client's reaches them [GW-02]. Credentials go out only with [`gatepost_wire::seam::MaySendCredentials`].
//! - What is announced in front is what every upstream offers and the gate can carry [GW-01]; it is asked again all the time.

mod dane;
pub mod egress;
pub mod identity;
pub mod member;
pub mod oauth;
pub mod offer;
mod open;
pub mod pool;
pub mod reader;
pub mod route;
pub mod smtp;
mod trouble;
pub mod url;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost_wire::client::Credentials;
use gatepost_wire::sasl::{AccountAnswer, AccountAsk, Attempt, Mechanism};
use gatepost_wire::smtp::server;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::log::Log;
use crate::mailbox::Summary;
use crate::mailbox::throttle::{Throttle, Wait};
use crate::metrics::Metrics;
use crate::services::Protocol;
use identity::Client;
use member::{Busy, Member};
use oauth::{Bridge, NoToken};
use offer::Offered;
use pool::Pool;
use route::{Choice, Route, Router};
use trouble::Trouble;
use url::Spec;

/// How often an upstream is asked what it offers, while all is well and while it is not.
const REFRESH: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(2);
/// How long the start waits to hear from the upstreams.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// The same trouble is logged once in this time; the metric counts every one.
const REPEATED: Duration = Duration::from_secs(10);
/// The most upstreams tried for one session.
const TRIES: usize = 3;

/// What all sessions of a gate share.
pub struct Gate {
    host: String,
    pools: HashMap<Protocol, Arc<Pool>>,
    router: Router,
    /// For upstreams that are logged in to with tokens.
    bridge: Option<Arc<Bridge>>,
    throttle: Arc<Mutex<Throttle>>,
    /// True when other settings are in force.
    retired: watch::Sender<bool>,
    log: Log,
    metrics: Arc<Metrics>,
    /// When which trouble was logged last.
    logged: Mutex<HashMap<(String, &'static str), Instant>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("pools", &self.pools)
            .finish_non_exhaustive()
    }
}

/// Asks upstreams what they offer, once and in order: each with its answer, or why there is none.
pub async fn survey(host: &str, specs: &[Spec]) -> Vec<(Spec, Result<Offered, String>)> {
    let mut answers = Vec::new();
    for spec in specs {
        let answer = match Member::new(spec.clone()) {
            Ok(member) => {
                let asked = Box::pin(open::ask(&member, host)).await;
                asked.map_err(|trouble| trouble.to_string())
            }
            Err(text) => Err(text),
        };
        answers.push((spec.clone(), answer));
    }
    answers
}

/// The upstreams by protocol.
fn pools(
    specs: &[Spec],
    make: impl Fn(&Spec) -> Result<Member, String>,
) -> Result<HashMap<Protocol, Arc<Pool>>, String> {
    let mut members: HashMap<Protocol, Vec<Arc<Member>>> = HashMap::new();
    for spec in specs {
        let member = Arc::new(make(spec)?);
        members.entry(spec.protocol).or_default().push(member);
    }
    let mut pools: HashMap<Protocol, Arc<Pool>> = members
        .into_iter()
        .map(|(protocol, members)| (protocol, Arc::new(Pool::new(protocol, members))))
        .collect();
    if let (Some(smtp), None) = (
        pools.get(&Protocol::Smtp).map(Arc::clone),
        pools.get(&Protocol::Submission),
    ) {
        // What users hand in goes where the rest goes, unless there is a server for it.
        pools.insert(Protocol::Submission, smtp);
    }
    Ok(pools)
}

/// A login is the gate's or the upstream's to judge: not now one, now the other.
fn check_bridged(pools: &HashMap<Protocol, Arc<Pool>>, bridge: bool) -> Result<(), String> {
    for pool in pools.values().filter(|it| it.is_bridged()) {
        if !pool.members().iter().all(|it| it.spec().oauth) {
            return Err(format!(
                "some of the upstreams for {} are logged in to with tokens (oauth) and some are not: say it of all or of none",
                pool.protocol().label()
            ));
        }
        if !bridge {
            return Err(
                "upstreams with oauth need the accounts of the data folder, which are opened at the start only: restart".to_owned(),
            );
        }
    }
    Ok(())
}

/// What came of a login.
enum Login<T> {
    Granted {
        account: Box<str>,
        opened: T,
        busy: Busy,
    },
    Denied,
    Unavailable,
}

impl Gate {
    /// A gate before these upstreams.
    ///
    /// # Errors
    /// What is wrong with the files they name, in words for the operator.
    pub fn new(
        host: String,
        specs: &[Spec],
        route: &Route,
        (log, metrics): (Log, Arc<Metrics>),
        bridge: Option<Arc<Bridge>>,
    ) -> Result<Arc<Self>, String> {
        let pools = pools(specs, |spec| Member::new(spec.clone()))?;
        check_bridged(&pools, bridge.is_some())?;
        let router = Router::new(route, &log)?;
        Ok(Arc::new(Self {
            host,
            pools,
            router,
            bridge,
            throttle: Arc::default(),
            retired: watch::Sender::new(false),
            log,
            metrics,
            logged: Mutex::default(),
        }))
    }

    /// The gate that takes this one's place, with other upstreams and another route. Upstreams described as before keep what is
    /// known of them; all files are read again.
    ///
    /// # Errors
    /// What is wrong with the files they name, in words for the operator.
    pub fn successor(&self, specs: &[Spec], route: &Route) -> Result<Arc<Self>, String> {
        let known = self.members();
        let pools = pools(specs, |spec| {
            let member = Member::new(spec.clone())?;
            let same = known.iter().find(|(_, it)| it.spec() == spec);
            Ok(match same {
                Some((_, before)) => member.succeed(before),
                None => member,
            })
        })?;
        check_bridged(&pools, self.bridge.is_some())?;
        Ok(Arc::new(Self {
            host: self.host.clone(),
            pools,
            bridge: self.bridge.clone(),
            router: Router::new(route, &self.log)?,
            throttle: Arc::clone(&self.throttle),
            retired: watch::Sender::new(false),
            log: self.log.clone(),
            metrics: Arc::clone(&self.metrics),
            logged: Mutex::default(),
        }))
    }

    /// Asks the upstreams nothing any more. Sessions that hold this gate go on.
    pub fn retire(&self) {
        self.retired.send_replace(true);
    }

    /// The accounts here, where logins are judged by them.
    pub fn accounts(&self) -> Option<&gatepost_store::Accounts> {
        self.bridge.as_ref().map(|it| it.accounts())
    }

    /// The bridge, where logins of this pool go over it.
    fn bridge(&self, pool: &Pool) -> Option<&Arc<Bridge>> {
        self.bridge.as_ref().filter(|_| pool.is_bridged())
    }

    /// Answers a question about keys: where logins are judged here there are some.
    async fn keys(&self, pool: &Pool, ask: AccountAsk, client: &Client) -> AccountAnswer {
        match self.bridge(pool) {
            Some(bridge) => bridge.judge(ask, client.address.ip()).await.answer,
            // No mechanism that needs them is offered.
            None => AccountAnswer::Unavailable,
        }
    }

    /// The gate's own name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The upstreams of a protocol.
    pub fn pool(&self, protocol: Protocol) -> Option<&Arc<Pool>> {
        self.pools.get(&protocol)
    }

    /// Every upstream once.
    fn members(&self) -> Vec<(Arc<Pool>, Arc<Member>)> {
        let mut members: Vec<(Arc<Pool>, Arc<Member>)> = Vec::new();
        for pool in self.pools.values() {
            for member in pool.members() {
                if !members.iter().any(|(_, it)| Arc::ptr_eq(it, member)) {
                    members.push((Arc::clone(pool), Arc::clone(member)));
                }
            }
        }
        members
    }

    /// Asks all upstreams what they offer, and waits a while for their answers.
    pub async fn look(self: &Arc<Self>) {
        let looks: Vec<_> = self
            .members()
            .into_iter()
            .map(|(pool, member)| {
                let gate = Arc::clone(self);
                tokio::spawn(async move { gate.ask(&pool, &member).await })
            })
            .collect();
        let all = async {
            for look in looks {
                let _ = look.await;
            }
        };
        // Who has not answered by then is asked again later.
        let _ = tokio::time::timeout(FIRST_LOOK, all).await;
    }

    /// Keeps asking until the server stops or the gate is retired.
    pub fn keep_looking(self: &Arc<Self>, stopping: &watch::Receiver<bool>) {
        for (pool, member) in self.members() {
            let (gate, mut stopping) = (Arc::clone(self), stopping.clone());
            let mut retired = gate.retired.subscribe();
            tokio::spawn(async move {
                loop {
                    let pause = if member.is_well() && member.offered().is_some() {
                        REFRESH
                    } else {
                        RETRY
                    };
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = stopping.wait_for(|stop| *stop) => return,
                        _ = retired.wait_for(|it| *it) => return,
                    }
                    gate.ask(&pool, &member).await;
                }
            });
        }
    }

    async fn ask(&self, pool: &Pool, member: &Member) {
        match Box::pin(open::ask(member, &self.host)).await {
            Ok(offered) => {
                let has_a_way_in = offered.has_a_way_in();
                if member.works(Some(offered)) {
                    pool.note_change();
                    if !has_a_way_in {
                        let place = member.spec().place();
                        let text = format!(
                            "upstream {place}: it takes no login that can be passed on, so nobody can log in here; \
                             let it take PLAIN from this address, inside TLS"
                        );
                        self.metrics.event("upstream", "upstream_no_login");
                        self.log.notice("upstream_no_login", &text);
                    }
                }
            }
            Err(trouble) => self.report(member, &trouble),
        }
    }

    /// Counts trouble with an upstream, tells the operator, and lets it rest if it is at fault.
    fn report(&self, member: &Member, trouble: &Trouble) {
        let label = trouble.label();
        self.metrics.event("upstream", label);
        if trouble.is_fault() {
            member.failed();
        }
        let key = (member.spec().place(), label);
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = logged
            .get(&key)
            .is_some_and(|before| now.saturating_duration_since(*before) < REPEATED);
        if !repeated {
            let text = format!("upstream {}: {trouble}", key.0);
            logged.insert(key, now);
            drop(logged);
            self.log.notice(label, &text);
        }
    }

    /// Tells the operator of trouble that is not an upstream's fault; that has been told already.
    fn note(&self, trouble: &Trouble) {
        if !trouble.is_fault() {
            self.metrics.event("upstream", trouble.label());
            self.log.notice(trouble.label(), &trouble.to_string());
        }
    }

    /// Opens one of the upstreams, the next when one cannot be used. Nothing has been entrusted to those before.
    async fn open<T, F>(
        &self,
        pool: &Pool,
        choice: &Choice,
        open: impl Fn(Arc<Member>) -> F,
    ) -> Result<(T, Busy), Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut last = None;
        for member in choice.of(pool)?.into_iter().take(TRIES) {
            let busy = Pool::begin(&member);
            match Box::pin(open(Arc::clone(&member))).await {
                Ok(opened) => {
                    member.works(None);
                    return Ok((opened, busy));
                }
                Err(trouble) if trouble.is_fault() => {
                    self.report(&member, &trouble);
                    last = Some(trouble);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Err(last.unwrap_or(Trouble::Unreached(gatepost_net::client::Failure::Broken)))
    }

    /// What the route says of a session; one that has come through too many gates goes nowhere.
    async fn choose(
        &self,
        user: Option<&str>,
        client: &Client,
        pool: &Pool,
    ) -> Result<Choice, Trouble> {
        if client.circles() {
            return Err(Trouble::Circle);
        }
        self.router.choose(user, client, pool.protocol()).await
    }

    /// Puts a login to an upstream. Attempts are slowed down by the client's own address, as for a mailbox here [SASL-RATE-01].
    async fn log_in<T, F>(
        &self,
        pool: &Pool,
        client: &Client,
        attempt: Attempt,
        summary: &mut Summary,
        open: impl Fn(Arc<Member>, Credentials) -> F,
    ) -> Login<T>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        if let Some(bridge) = self.bridge(pool) {
            let client = (client, summary);
            return self
                .log_in_with_token(bridge, pool, client, attempt, open)
                .await;
        }
        let (user, mechanism, credentials) = match attempt {
            Attempt::Password {
                user,
                password,
                mechanism,
            } => {
                let credentials = Credentials::password(user.clone(), password.expose().clone())
                    // The gate has the password anyway: the shortest way, and no proof is half the gate's and half the upstream's.
                    .allow(vec![Mechanism::Plain, Mechanism::Login]);
                (user, mechanism, credentials)
            }
            Attempt::Token {
                user,
                token,
                mechanism,
            } => {
                // [SASL-OAUTH-01] [SASL-OAUTH-02] in the form the upstream takes.
                let credentials = Credentials::token(user.clone(), token.expose().clone())
                    .allow(vec![Mechanism::OAuthBearer, Mechanism::XOAuth2]);
                (user, mechanism, credentials)
            }
            Attempt::Certificate { user } => {
                // [SASL-EXT-01] the gate's own certificate proves the gate, which says for whom it speaks.
                let credentials =
                    Credentials::certificate(user.clone()).allow(vec![Mechanism::External]);
                (user, Mechanism::External, credentials)
            }
            Attempt::Scram { .. } => return Login::Unavailable,
        };
        let address = client.address.ip();
        let (keys, wait) = {
            let mut throttle = self.throttle();
            let keys = throttle.keys(address, &user);
            (keys, throttle.attempt(keys, Instant::now()))
        };
        match wait {
            Wait::For(time) if time > Duration::ZERO => sleep(time).await,
            Wait::For(_) => {}
            Wait::TooLong => {
                summary.limit("login_throttled");
                return Login::Unavailable;
            }
        }
        let opened = match self.choose(Some(&user), client, pool).await {
            Ok(choice) => {
                let open = |member| open(member, credentials.clone());
                self.open(pool, &choice, open).await
            }
            Err(trouble) => Err(trouble),
        };
        match opened {
            Ok((opened, busy)) => {
                self.throttle().succeeded(keys, Instant::now());
                let account: Box<str> = user.into();
                summary.passed_login = Some((account.clone(), mechanism.name()));
                Login::Granted {
                    account,
                    opened,
                    busy,
                }
            }
            Err(Trouble::Denied) => {
                self.throttle().failed(keys, Instant::now());
                summary.login_failures += 1;
                Login::Denied
            }
            Err(trouble) => {
                self.note(&trouble);
                Login::Unavailable
            }
        }
    }

    /// The same where the password is the gate's and the upstream takes a token.
    async fn log_in_with_token<T, F>(
        &self,
        bridge: &Bridge,
        pool: &Pool,
        (client, summary): (&Client, &mut Summary),
        attempt: Attempt,
        open: impl Fn(Arc<Member>, Credentials) -> F,
    ) -> Login<T>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let ask = AccountAsk::Login(attempt);
        let judged = bridge.judge(ask, client.address.ip()).await;
        let mechanism = judged.login.as_ref().map(|it| it.mechanism.name());
        let answer = summary.judged(judged);
        // Nobody is logged in before the upstream is.
        summary.login = None;
        let account = match (answer, mechanism) {
            (AccountAnswer::Granted { account }, Some(mechanism)) => (account, mechanism),
            (AccountAnswer::Denied, _) => return Login::Denied,
            _ => return Login::Unavailable,
        };
        match self
            .open_with_token(bridge, pool, client, &account.0, open)
            .await
        {
            Ok((opened, busy)) => {
                summary.passed_login = Some(account.clone());
                Login::Granted {
                    account: account.0,
                    opened,
                    busy,
                }
            }
            Err(trouble) => {
                self.note(&trouble);
                Login::Unavailable
            }
        }
    }

    /// An upstream logged in to with an account's token; a new one when the first is refused.
    async fn open_with_token<T, F>(
        &self,
        bridge: &Bridge,
        pool: &Pool,
        client: &Client,
        account: &str,
        open: impl Fn(Arc<Member>, Credentials) -> F,
    ) -> Result<(T, Busy), Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let no_token = |why| Trouble::NoToken(account.into(), why);
        let choice = self.choose(Some(account), client, pool).await?;
        let mut stale = None;
        for _ in 0..2 {
            let token = bridge.token(account, stale.as_ref()).await;
            let (user, token) = token.map_err(no_token)?;
            let credentials = Credentials::token(user, token.expose().clone())
                // [SASL-OAUTH-01] [SASL-OAUTH-02] in the form the upstream takes.
                .allow(vec![Mechanism::OAuthBearer, Mechanism::XOAuth2]);
            let open = |member| open(member, credentials.clone());
            match self.open(pool, &choice, open).await {
                Err(Trouble::Denied) => stale = Some(token),
                opened => return opened,
            }
        }
        Err(no_token(NoToken::NotTaken))
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        // Counts stay good whatever a thread was doing with them.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts down what a session of SMTP offers to what every upstream offers.
    pub fn limit_smtp(&self, protocol: Protocol, config: &mut server::Config) {
        let offered = self
            .pool(protocol)
            .map(|it| it.offered())
            .unwrap_or_default();
        // While nothing is known, nothing is promised.
        let known = !offered.is_empty();
        config.groups = true;
        config.offers = server::Offers {
            eight_bit: known,
            utf8: known,
            enhanced: known,
            dsn: known,
            binary: known,
        };
        for offered in &offered {
            let Offered::Smtp(it) = offered else { continue };
            let is = |word: &[u8]| {
                it.keywords
                    .iter()
                    .any(|line| line.eq_ignore_ascii_case(word))
            };
            config.offers.eight_bit &= it.eight_bit;
            config.offers.utf8 &= it.utf8;
            config.offers.enhanced &= is(b"ENHANCEDSTATUSCODES");
            config.offers.dsn &= it.dsn;
            config.offers.binary &= it.binary && it.chunking;
            let limits = &mut config.limits;
            if let Some(Some(size)) = it.size {
                limits.message_octets = limits.message_octets.min(size);
            }
            if let Some(recipients) = it.limits.recipients {
                let recipients = usize::try_from(recipients).unwrap_or(usize::MAX);
                limits.recipients = limits.recipients.min(recipients.max(1));
            }
        }
    }

    /// What is announced before login in IMAP.
    pub fn imap_offer(&self) -> String {
        let pool = self.pool(Protocol::Imap);
        let words = pool.and_then(|it| it.common(Offered::imap_words));
        words.map_or_else(|| "IMAP4rev1".to_owned(), |it| it.join(" "))
    }

    /// What is announced before login in POP3.
    pub fn pop3_offer(&self) -> Box<[Box<str>]> {
        let pool = self.pool(Protocol::Pop3);
        let lines = pool.and_then(|it| it.common(Offered::pop3_lines));
        lines
            .unwrap_or_default()
            .into_iter()
            .map(Into::into)
            .collect()
    }

    /// The mechanisms a gate offers, among those the configuration allows: the password itself must be passed on, so SCRAM, whose
    /// point is that nobody gets it, is not offered at all [SASL-CB-03].
    pub fn mechanisms(&self, protocol: Protocol, allowed: &[Mechanism]) -> Vec<Mechanism> {
        if self
            .pool(protocol)
            .is_some_and(|it| self.bridge(it).is_some())
        {
            // The password is the gate's own: all that is judged here can be offered.
            let here = allowed
                .iter()
                .filter(|it| Mechanism::FOR_ACCOUNTS.contains(it) || **it == Mechanism::External);
            return here.copied().collect();
        }
        let takes = self
            .pool(protocol)
            .is_some_and(|pool| pool.takes_passwords());
        let by_certificate = self
            .pool(protocol)
            .is_some_and(|pool| pool.takes_certificates());
        let carried = |it: &&Mechanism| match it {
            Mechanism::Plain | Mechanism::Login => takes,
            Mechanism::External => by_certificate,
            _ => false,
        };
        let mut mechanisms: Vec<_> = allowed.iter().filter(carried).copied().collect();
        if self.pool(protocol).is_some_and(|pool| pool.takes_tokens()) {
            mechanisms.extend([Mechanism::OAuthBearer, Mechanism::XOAuth2]);
        }
        mechanisms
    }
}
