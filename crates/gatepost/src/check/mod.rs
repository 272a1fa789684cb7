//! `gatepost check`: is a server or a domain set up right?
//!
//! Here stand what was asked for, the way to it, and what is printed; all looking and judging is done by `audit::check`.

mod apart;
mod cli;
mod domains;
mod every;
mod list;
mod output;
#[cfg(feature = "postgres")]
mod share;
mod stop;
mod target;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use gatepost_audit::check::document::{Judged, Report};
use gatepost_audit::check::domain::DomainFacts;
use gatepost_audit::check::examine::{Consent, Means, Tier, examine};
use gatepost_audit::check::facts::{Facts, Reach};
use gatepost_audit::check::fixes;
use gatepost_audit::check::judge::{compare, judge};
use gatepost_audit::check::profile::Profile;
use gatepost_audit::check::target::Target;
use gatepost_audit::finding::Severity;
use gatepost_wire::smtp::path::Mailbox;

pub(crate) use cli::command;

use crate::client::network;
use crate::client::reach::{HELLO, block_on};
use crate::client::settings::Settings;
use crate::client::terms;
use crate::exit::Failure;

/// How long to wait for a connection, and for an answer. Greetings are held back on purpose, for up to 15 s; a list has no time for all of those.
const CONNECTING: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);
const LIST_PATIENCE: Duration = Duration::from_secs(10);
/// How many services are looked at together, and how many connections are made to one of them at once.
const TOGETHER: usize = 4;
const AT_ONCE: usize = 8;

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    if let Some(outcome) = apart::run(given) {
        return outcome;
    }
    let settings = Settings::read(given)?;
    let order = Order::read(given)?;
    output::try_files(given)?;
    #[cfg(feature = "postgres")]
    if given.contains_id("share") {
        return share::run(given, &settings, &order);
    }
    if given.contains_id("list") {
        return list::run(given, &settings, &order);
    }
    if given.contains_id("every") {
        return every::run(given, &settings, &order);
    }
    let seen = block_on(async {
        let means = Arc::new(means(given, &settings, &order)?);
        see(given, &settings, &order, &means).await
    });
    let seen = match seen {
        // A monitor reads one line of standard output, and nothing else.
        Err(failure) if given.get_flag("nagios") => return Err(output::nagios_failure(&failure)),
        seen => seen?,
    };
    output::tell(given, settings.json, order.fail_on, &seen)?;
    end(given, &seen.report, order.fail_on)
}

/// What was seen, and what it is worth.
struct Sight {
    report: Report,
    facts: Vec<Facts>,
    domains: Vec<DomainFacts>,
}

/// Looks at everything named on the command line.
async fn see(
    given: &ArgMatches,
    settings: &Settings,
    order: &Order,
    means: &Arc<Means>,
) -> Result<Sight, Failure> {
    let mut domains = domains::Domains::new(settings, selectors(given), order.tier)?;
    let mut targets = Vec::new();
    for text in given.get_many::<String>("target").into_iter().flatten() {
        targets.extend(services(text, &mut domains, settings, order).await?);
    }
    let mut facts = look(targets, means).await;
    let judged = domains.judge(&mut facts, now());
    let mut report = assess(&facts, order);
    report.domains = judged;
    let domains = domains.found();
    Ok(Sight {
        report,
        facts,
        domains,
    })
}

/// The services a word stands for: those of a domain, or of a server.
async fn services(
    text: &str,
    domains: &mut domains::Domains,
    settings: &Settings,
    order: &Order,
) -> Result<Vec<Target>, Failure> {
    if let Some(services) = domains.examine(text, settings).await? {
        return Ok(services);
    }
    let targets = target::read(text, order.role, settings).await?;
    if target::is_host_alone(text) {
        domains.add_usual(&targets);
    }
    Ok(targets)
}

/// Selectors of DKIM keys to look at.
fn selectors(given: &ArgMatches) -> Vec<String> {
    let named = given.get_many::<String>("selector");
    named.into_iter().flatten().cloned().collect()
}

/// What was asked for.
#[derive(Clone)]
struct Order {
    profile: Profile,
    tier: Tier,
    fail_on: Severity,
    role: Option<gatepost_audit::check::target::Role>,
}

impl Order {
    fn read(given: &ArgMatches) -> Result<Self, Failure> {
        let word = |name: &str| given.get_one::<String>(name).map_or("", String::as_str);
        let unknown = || Failure::usage("no such word; see gatepost check --help");
        let consent = match word("tier") {
            "intrusive" => Some(consent(given)?),
            _ => None,
        };
        let tier = Tier::parse(word("tier"), consent).ok_or_else(unknown)?;
        Ok(Self {
            profile: Profile::find(word("profile")).ok_or_else(unknown)?,
            tier,
            fail_on: Severity::parse(word("fail-on")).ok_or_else(unknown)?,
            role: gatepost_audit::check::target::Role::parse(word("role")),
        })
    }
}

/// The last tier provokes, so it wants the owner's consent, and is for one look at servers by name.
fn consent(given: &ArgMatches) -> Result<Consent, Failure> {
    if !given.get_flag("consent") {
        return Err(Failure::usage(
            "--tier intrusive sends what no honest client sends: add --consent if the servers are yours, or their owner agrees",
        ));
    }
    // The set of flags differs by feature, and asking for one that is not there is an error of the library.
    let is_given = |flag| given.try_contains_id(flag).unwrap_or(false);
    if ["list", "every", "share"].into_iter().any(is_given) {
        return Err(Failure::usage(
            "--tier intrusive is for one look at servers named on the command line, not for --list, not for --share and not for --every",
        ));
    }
    Ok(Consent::of_the_owner())
}

fn means(given: &ArgMatches, settings: &Settings, order: &Order) -> Result<Means, Failure> {
    let budget = given.get_one::<u32>("connections").copied();
    let mut dialer = network::dialer(settings)?;
    dialer.limit = settings.timeout.unwrap_or(CONNECTING);
    let is_list = ["list", "share"]
        .into_iter()
        .any(|it| given.try_contains_id(it).unwrap_or(false));
    let patience = if is_list { LIST_PATIENCE } else { PATIENCE };
    Ok(Means {
        dialer: Arc::new(dialer),
        roots: Arc::new(terms::roots(settings)?),
        name: given
            .get_one::<String>("hello")
            .cloned()
            .unwrap_or_else(|| HELLO.to_owned()),
        patience: settings.timeout.unwrap_or(patience),
        tier: order.tier,
        budget: budget.unwrap_or(order.tier.budget()),
        at_once: AT_ONCE,
        nonce: nonce()?,
        mailbox: mailbox(given, order.tier)?,
    })
}

/// Where test mails may arrive: of an owner who agrees, so only in the tier that asks for that.
fn mailbox(given: &ArgMatches, tier: Tier) -> Result<Option<String>, Failure> {
    let Some(text) = given.get_one::<String>("smuggling") else {
        return Ok(None);
    };
    if !matches!(tier, Tier::Intrusive(_)) {
        return Err(Failure::usage(
            "--smuggling tries false ends of a mail on a mailbox of yours: it wants --tier intrusive --consent",
        ));
    }
    if Mailbox::parse(text).is_err() || !text.is_ascii() {
        return Err(Failure::usage(
            "--smuggling wants the address of a mailbox, such as me@example.org",
        ));
    }
    Ok(Some(text.clone()))
}

/// A word no server knows.
fn nonce() -> Result<String, Failure> {
    let mut octets = [0; 8];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| Failure::local("the system gives no random numbers"))?;
    let digits = octets.iter().map(|octet| format!("{octet:02x}"));
    Ok(format!("gp{}", digits.collect::<String>()))
}

/// Looks at all of them, a few together.
async fn look(targets: Vec<Target>, means: &Arc<Means>) -> Vec<Facts> {
    let places = Arc::new(tokio::sync::Semaphore::new(TOGETHER));
    let done = Arc::new(AtomicUsize::new(0));
    let showing = tokio::spawn(show(Arc::clone(&done), targets.len()));
    let mut tasks = Vec::new();
    for target in targets {
        let (means, places, done) = (Arc::clone(means), Arc::clone(&places), Arc::clone(&done));
        let named = target.clone();
        let task = tokio::spawn(async move {
            // Never closed, so always had.
            let _place = places.acquire().await;
            let facts = examine(&target, &means, now()).await;
            done.fetch_add(1, Ordering::Relaxed);
            facts
        });
        tasks.push((named, task));
    }
    let mut facts = Vec::new();
    for (target, task) in tasks {
        // Left out, a service would count as good.
        facts.push(task.await.unwrap_or_else(|_| broken_off(target)));
    }
    showing.abort();
    if showing.await.is_err() && std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
    facts
}

/// Of a service whose examination panicked nothing is known.
fn broken_off(target: Target) -> Facts {
    let why = "its examination broke off, which is a fault of gatepost".to_owned();
    Facts::new(target, now(), Reach::Unreachable { why })
}

/// How far it is, on a terminal, for what takes longer than two seconds.
async fn show(done: Arc<AtomicUsize>, all: usize) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    loop {
        let done = done.load(Ordering::Relaxed);
        eprint!("\r{done} of {all} services examined\u{1b}[K");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn assess(facts: &[Facts], order: &Order) -> Report {
    Report {
        profile: order.profile.name.to_owned(),
        tier: order.tier.label().to_owned(),
        at: now(),
        domains: Vec::new(),
        targets: judged(facts, &order.profile),
    }
}

/// Judged, one by one and beside each other, with what to write in each server's own program.
fn judged(facts: &[Facts], profile: &Profile) -> Vec<Judged> {
    let mut all: Vec<Judged> = facts.iter().map(|it| judge(it, profile)).collect();
    compare(facts, &mut all, profile);
    for (judged, facts) in all.iter_mut().zip(facts) {
        fixes::advise(judged, facts);
    }
    all
}

fn end(given: &ArgMatches, report: &Report, fail_on: Severity) -> Result<(), Failure> {
    if given.get_flag("nagios") {
        return output::nagios(report, fail_on);
    }
    match report.exit_code(fail_on) {
        0 => Ok(()),
        1 => Err(Failure::finding(format!(
            "findings at or above {}",
            fail_on.word()
        ))),
        _ => Err(Failure::local(
            "not everything could be told; see what is inconclusive, and why",
        )),
    }
}
