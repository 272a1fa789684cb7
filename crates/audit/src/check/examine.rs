//! Which probes are run, in which order, and when it is enough.
//!
//! The control goes first and alone: it tells whether anybody is there, how far away, and whether TLS works at all. Then the others, those
//! first that tell most, a few at once (the module `questions` for the hellos). A question whose answer is known already (a hybrid group in the
//! control's handshake) is not asked.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gatepost_net::client::dial::Dialer;
use gatepost_trust::verify::{Roots, Shares};
use gatepost_wire::tls::suites::{self, Suite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::budget::{Budget, Crowd};
use super::facts::{Facts, HelloAnswer, Named, Provocation, Reach, Seen, Ticket};
use super::probes::control::{Ground, Reached};
use super::probes::injection::{self, Outcome, Way};
use super::probes::intrusive::{early_ccs, heartbeat, oracle, padding, relay, smuggling};
use super::probes::names::{self, Name};
use super::probes::plain::{self, Plain};
use super::probes::sessions::again::{self, Bond};
use super::probes::sessions::{Why, tickets};
use super::probes::{Errand, control, hello, manners, shake_words};
use super::questions;
use super::target::{Protocol, Start, Target};

/// The deep tier's list of suites is made in so many lanes at a time: one after the other would take a round of the dialogue for each suite.
const LANES: usize = 8;

/// The least time a server has to answer a mail that it takes for ended.
const SMUGGLING_WAIT: Duration = Duration::from_secs(1);

/// The owner of the servers agrees that they are provoked. Only who has one of these can ask for [`Tier::Intrusive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consent(());

impl Consent {
    /// The owner was asked, and agrees: for callers who can know.
    #[must_use]
    pub const fn of_the_owner() -> Self {
        Self(())
    }
}

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// One connection: what an honest client sees.
    Light,
    /// At most twelve: everything that decides whether the service is set up right.
    Default,
    /// At most 130: every suite, group and signature, and the rarer ways to slip something in.
    Deep,
    /// At most 170: also what provokes a server to show whether known holes are open. For servers whose owner agrees.
    Intrusive(Consent),
}

impl Tier {
    /// The word in flags and reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Default => "default",
            Self::Deep => "deep",
            Self::Intrusive(_) => "intrusive",
        }
    }

    /// Reads the word back. The last tier is none without consent.
    #[must_use]
    pub fn parse(word: &str, consent: Option<Consent>) -> Option<Self> {
        [Self::Light, Self::Default, Self::Deep]
            .into_iter()
            .chain(consent.map(Self::Intrusive))
            .find(|it| it.label() == word)
    }

    /// The most connections per address and port.
    #[must_use]
    pub const fn budget(self) -> u32 {
        match self {
            Self::Light => 1,
            Self::Default => 12,
            Self::Deep => 130,
            Self::Intrusive(_) => 170,
        }
    }
}

/// How to look.
#[derive(Debug, Clone)]
pub struct Means {
    /// The way to servers.
    pub dialer: Arc<Dialer>,
    /// Authorities that are trusted.
    pub roots: Arc<Roots>,
    /// Our name in EHLO.
    pub name: String,
    /// For each answer; greetings may be delayed on purpose, so no less than ten seconds is wise.
    pub patience: Duration,
    /// How deep.
    pub tier: Tier,
    /// The most connections per address and port; the tier's own, or fewer.
    pub budget: u32,
    /// How many connections at once to one address.
    pub at_once: usize,
    /// A word no server knows, new for each run: letters and digits.
    pub nonce: String,
    /// A mailbox of the owner's, where test mails of the intrusive tier may arrive.
    pub mailbox: Option<String>,
}

/// Looks at one service. Never fails: what could not be seen says why.
pub async fn examine(target: &Target, means: &Means, at: u64) -> Facts {
    let errand = Arc::new(Errand {
        target: target.clone(),
        tier: means.tier,
        // The address is decided: what was said about the name has been heard already.
        dialer: Arc::new(Dialer {
            overrides: Vec::new(),
            ..Dialer::clone(&means.dialer)
        }),
        roots: Arc::clone(&means.roots),
        name: means.name.clone(),
        patience: means.patience,
        budget: Budget::new(means.budget.min(means.tier.budget()).max(1)),
        crowd: Crowd::new(means.at_once),
        nonce: means.nonce.clone(),
        mailbox: means.mailbox.clone(),
    });
    let mut facts = Facts::new(target.clone(), at, Reach::Silent);
    let (open, opened) = oneshot::channel();
    let mut control_facts = facts.clone();
    let control = {
        let errand = Arc::clone(&errand);
        async move {
            control::run(&errand, &mut control_facts, open).await;
            control_facts
        }
    };
    let (seen, found) = tokio::join!(control, rest(&errand, means.tier, opened));
    facts = seen;
    settle(&mut facts, found);
    facts.connections = errand.budget.made();
    facts.stopped = errand.budget.stopped();
    facts
}

/// What one probe found.
enum Found {
    Injection(Way, Result<Outcome, String>),
    Plain(Plain),
    Hello(String, Seen<HelloAnswer>),
    Eager(Seen<bool>),
    Parameter(Seen<bool>),
    AfterFailure(Seen<bool>),
    ClearWords(Seen<Option<String>>),
    Provoked(&'static str, Seen<Provocation>),
    Ticket(&'static str, Seen<Option<Ticket>>),
    Resumed(Seen<bool>),
    Named(Name, Seen<Named>),
}

impl Found {
    /// Whether it is a hello on which the connection was closed.
    fn is_closed(&self) -> bool {
        matches!(self, Self::Hello(_, Seen::Known(answer)) if answer.closed)
    }
}

/// Everything but the control, once that has come as far as TLS.
async fn rest(errand: &Arc<Errand>, tier: Tier, opened: oneshot::Receiver<Ground>) -> Vec<Found> {
    if tier == Tier::Light {
        return Vec::new();
    }
    let Ok(ground) = opened.await else {
        return Vec::new();
    };
    let mut jobs = Jobs {
        errand: Arc::clone(errand),
        wait: ground.wait,
        set: JoinSet::new(),
    };
    let is_clear_first = errand.target.start == Start::StartTls;
    if is_clear_first {
        let has_ntlm = ground.has_ntlm;
        jobs.add(
            move |errand| async move { vec![Found::Plain(plain::run(&errand, has_ntlm).await)] },
        );
    }
    if ground.reached > Reached::Clear {
        inside(&mut jobs, ground, is_clear_first);
    }
    if matches!(tier, Tier::Intrusive(_)) {
        provoke(&mut jobs, ground);
    }
    if tier >= Tier::Deep && ground.reached > Reached::Clear {
        deep(&mut jobs, is_clear_first);
    }
    let mut found = Vec::new();
    while let Some(done) = jobs.set.join_next().await {
        match done {
            Ok(done) => found.extend(done),
            // Its questions stay unasked, and the report says so.
            Err(_) => errand
                .budget
                .stop("a probe broke off, which is a fault of gatepost"),
        }
    }
    if ground.reached >= Reached::Handshake && found.iter().any(Found::is_closed) {
        confirm(errand, &mut found).await;
    }
    found
}

/// A connection that is closed without a word refuses what was offered on it only where others are still answered: once more what went well
/// at first. Where that is closed too, or no connection is left for it, nobody can tell.
async fn confirm(errand: &Errand, found: &mut [Found]) {
    let why = match errand.begin_tls().await {
        Ok(mut talk) => {
            let shaken = errand.shake(&mut talk, Shares::Hybrid).await;
            talk.leave().await;
            let Err(failure) = shaken else { return };
            let why = format!(
                "the handshake that went well at first does so no more: {}",
                shake_words(&failure)
            );
            errand.budget.stop(&why);
            why
        }
        Err(why) => format!(
            "closed without a word, and whether others still get an answer could not be seen: {why}"
        ),
    };
    for it in found.iter_mut().filter(|it| it.is_closed()) {
        if let Found::Hello(_, seen) = it {
            *seen = Seen::unknown(why.clone());
        }
    }
}

fn random(errand: &Errand) -> [u8; 32] {
    hello::random(&errand.nonce)
}

/// What every tier but the lightest asks of a service that has TLS.
fn inside(jobs: &mut Jobs, ground: Ground, is_clear_first: bool) {
    if is_clear_first {
        jobs.injection(Way::Whole);
    } else {
        jobs.add(
            |errand| async move { vec![Found::ClearWords(manners::clear_words(&errand).await)] },
        );
    }
    // What the others take, one each, is not the hellos'.
    let beside = u32::try_from(jobs.set.len()).unwrap_or(u32::MAX);
    let most = jobs.errand.budget.left().saturating_sub(beside);
    let errand = Arc::clone(&jobs.errand);
    jobs.set.spawn(async move {
        let found = questions::run(&errand, ground, most).await;
        let hello = |(name, answer)| Found::Hello(name, answer);
        found.into_iter().map(hello).collect()
    });
}

fn deep(jobs: &mut Jobs, is_clear_first: bool) {
    if is_clear_first {
        jobs.injection(Way::Part);
        jobs.injection(Way::BareLf);
        jobs.add(|errand| async move { vec![Found::Eager(manners::eager(&errand).await)] });
        jobs.add(|errand| async move { vec![Found::Parameter(manners::parameter(&errand).await)] });
        jobs.add(|errand| async move {
            vec![Found::AfterFailure(manners::after_failure(&errand).await)]
        });
    }
    jobs.hello("alpn", |errand| {
        hello::foreign_protocol(&errand.target, random(errand))
    });
    if jobs.errand.target.server_name().is_some() {
        for name in Name::ALL {
            jobs.add(move |errand| async move {
                vec![Found::Named(name, names::ask(&errand, name).await)]
            });
        }
    }
    jobs.add(second_handshakes);
    jobs.add(sessions);
    for number in 0..LANES {
        jobs.add(move |errand| lane(errand, number));
    }
    jobs.add(suites_tls13);
    jobs.add(groups);
}

/// Second handshakes inside the first, and on the way the ticket of TLS 1.2.
async fn second_handshakes(errand: Arc<Errand>) -> Vec<Found> {
    let proved = again::run(&errand, Bond::Proved).await;
    let mut found = vec![Found::Provoked("renegotiation", proved.begun)];
    found.extend(ticket("tls1.2", proved.ticket));
    let unbound = again::run(&errand, Bond::None).await;
    found.push(Found::Provoked("unbound-renegotiation", unbound.begun));
    found
}

/// Tickets of TLS 1.3, and whether a session is taken up again.
async fn sessions(errand: Arc<Errand>) -> Vec<Found> {
    let mut found = Vec::new();
    found.extend(ticket("tls1.3", tickets::of_tls13(&errand).await));
    found.push(Found::Resumed(tickets::resumed(&errand).await));
    found
}

/// None where the version is not spoken.
fn ticket(version: &'static str, told: Result<Option<Ticket>, Why>) -> Option<Found> {
    let seen = match told {
        Ok(ticket) => Seen::Known(ticket),
        Err(Why::NotSpoken(_)) => return None,
        Err(why) => Seen::unknown(why.text()),
    };
    Some(Found::Ticket(version, seen))
}

/// What only the tier with consent asks. Before the long lists: it tells more, and the budget may end.
fn provoke(jobs: &mut Jobs, ground: Ground) {
    let wait = ground.wait;
    if jobs.errand.target.protocol == Protocol::Smtp {
        jobs.add(move |errand| async move {
            let found = relay::run(&errand, ground.reached > Reached::Clear).await;
            vec![
                Found::Provoked("relay", found.relay),
                Found::Provoked("names", found.names),
            ]
        });
        jobs.add(move |errand| async move {
            let seen = smuggling::run(
                &errand,
                ground.reached > Reached::Clear,
                SMUGGLING_WAIT.max(wait),
            )
            .await;
            vec![Found::Provoked("smuggling", seen)]
        });
    }
    if ground.reached == Reached::Clear {
        return;
    }
    jobs.add(
        |errand| async move { vec![Found::Provoked("heartbeat", heartbeat::run(&errand).await)] },
    );
    jobs.add(move |errand| async move {
        vec![Found::Provoked(
            "early-ccs",
            early_ccs::run(&errand, wait).await,
        )]
    });
    jobs.add(move |errand| async move {
        vec![Found::Provoked(
            "padding",
            padding::run(&errand, wait).await,
        )]
    });
    jobs.add(move |errand| async move {
        vec![Found::Provoked("oracle", oracle::run(&errand, wait).await)]
    });
}

/// Probes at work.
struct Jobs {
    errand: Arc<Errand>,
    wait: Duration,
    set: JoinSet<Vec<Found>>,
}

impl Jobs {
    fn add<F>(&mut self, job: impl FnOnce(Arc<Errand>) -> F)
    where
        F: Future<Output = Vec<Found>> + Send + 'static,
    {
        let gate = Arc::clone(&self.errand);
        let job = job(Arc::clone(&self.errand));
        self.set.spawn(async move {
            let _place = gate.crowd.enter().await;
            job.await
        });
    }

    fn injection(&mut self, way: Way) {
        let wait = self.wait;
        self.add(move |errand| async move {
            vec![Found::Injection(
                way,
                injection::run(&errand, way, wait).await,
            )]
        });
    }

    fn hello(&mut self, name: &'static str, offer: fn(&Errand) -> gatepost_wire::tls::Offer) {
        self.add(move |errand| async move {
            let answer = hello::ask(&errand, &offer(&errand)).await;
            vec![Found::Hello(name.to_owned(), answer)]
        });
    }
}

/// Every suite of a lane, each until the rest is refused.
async fn lane(errand: Arc<Errand>, number: usize) -> Vec<Found> {
    let mut left = hello::lane(number, LANES);
    let mut found = Vec::new();
    while !left.is_empty() {
        let offer = hello::exactly(&errand.target, random(&errand), &left);
        let answer = hello::ask(&errand, &offer).await;
        let chosen = answer.known().and_then(|it| it.suite);
        let closed = answer.known().is_some_and(|it| it.closed);
        let label = format!("suites-{number}-{}", found.len() + 1);
        found.push(Found::Hello(label, answer));
        let before = left.len();
        match chosen {
            Some(suite) => left.retain(|it| *it != suite),
            None if closed => left.retain(|it| !hello::is_finite_field(*it)),
            None => break,
        }
        if left.len() == before {
            break;
        }
    }
    found
}

/// Every suite of TLS 1.3, until the rest is refused.
async fn suites_tls13(errand: Arc<Errand>) -> Vec<Found> {
    let all = suites::all().iter().filter(|it| it.is_tls13());
    let mut left: Vec<u16> = all.map(|it| it.number).collect();
    let mut found = Vec::new();
    while !left.is_empty() {
        let offer = hello::exactly_tls13(&errand.target, random(&errand), &left);
        let answer = hello::ask(&errand, &offer).await;
        let chosen = answer.known().and_then(|it| it.suite);
        let label = format!("suites-tls1.3-{}", found.len() + 1);
        found.push(Found::Hello(label, answer));
        match chosen {
            Some(suite) if left.contains(&suite) => left.retain(|it| *it != suite),
            _ => break,
        }
    }
    found
}

/// The fault of a suite, the gravest first. One word each; the judge knows them too.
#[must_use]
pub fn class_of(suite: &Suite) -> &'static str {
    if suite.is_null() {
        "NULL"
    } else if suite.is_anonymous() {
        "ANON"
    } else if suite.is_export() {
        "EXP"
    } else if suite.is_low() {
        "LOW"
    } else if suite.is_rc4() {
        "RC4"
    } else if suite.is_triple_des() {
        "3DES"
    } else if !suite.has_forward_secrecy() {
        "kRSA"
    } else if suite.exchange == "DHE" {
        "DHE"
    } else if suite.is_ccm8() {
        "CCM8"
    } else if suite.is_cbc() {
        "CBC"
    } else {
        "good"
    }
}

/// Groups of TLS 1.3, each by the retry the server asks for.
async fn groups(errand: Arc<Errand>) -> Vec<Found> {
    let mut left: Vec<u16> = vec![
        0x11ec, 0x11eb, 0x11ed, 0x0200, 0x0201, 0x0202, 0x6399, 0x001d, 0x001e, 0x0017, 0x0018,
        0x0019, 0x001f, 0x0020, 0x0021, 0x0100, 0x0101, 0x0102, 0x0103, 0x0104,
    ];
    let mut found = Vec::new();
    while !left.is_empty() {
        let offer = hello::retry(&errand.target, random(&errand), &left);
        let answer = hello::ask(&errand, &offer).await;
        let group = answer.known().and_then(|it| it.group);
        let label = format!("groups-{}", found.len() + 1);
        found.push(Found::Hello(label, answer));
        match group {
            Some(group) if left.contains(&group) => left.retain(|it| *it != group),
            _ => break,
        }
    }
    found
}

/// Puts what was found into the facts.
fn settle(facts: &mut Facts, found: Vec<Found>) {
    let control = injection::Control {
        early: facts.unasked.clone(),
        late: facts.surplus.clone(),
        shakes: facts.handshake.known().is_some(),
        protocol: facts.target.protocol,
    };
    for it in found {
        match it {
            Found::Injection(way, outcome) => {
                let seen = match outcome {
                    Ok(outcome) => outcome.settle(&control),
                    Err(why) => Seen::unknown(why),
                };
                match way {
                    Way::Whole => facts.injection = seen,
                    Way::Part => facts.injection_part = seen,
                    Way::BareLf => facts.injection_bare = seen,
                }
            }
            Found::Plain(plain) => {
                facts.login_in_clear = plain.login;
                if !plain.ntlm.is_unasked() {
                    facts.ntlm.insert("clear".to_owned(), plain.ntlm);
                }
                facts.mail_in_clear = plain.mail;
                facts.state_kept = plain.state_kept;
            }
            Found::Hello(name, answer) => {
                facts.hellos.insert(name, answer);
            }
            Found::Eager(seen) => facts.eager_tls = seen,
            Found::Parameter(seen) => facts.parameter_taken = seen,
            Found::AfterFailure(seen) => facts.clear_after_failure = seen,
            Found::ClearWords(seen) => facts.clear_on_implicit = seen,
            Found::Provoked(name, seen) => {
                facts.provoked.insert(name.to_owned(), seen);
            }
            Found::Ticket(version, seen) => {
                facts.tickets.insert(version.to_owned(), seen);
            }
            Found::Resumed(seen) => facts.resumed = seen,
            Found::Named(name, seen) => {
                facts.names.insert(name.label().to_owned(), seen);
            }
        }
    }
    // ManageSieve must say its capabilities again after the handshake (RFC 5804 2.2).
    if facts.target.protocol == Protocol::Sieve && matches!(facts.unasked, Seen::Known(Some(_))) {
        facts.unasked = Seen::Known(None);
    }
}
