//! Lists: one target or domain a line, one document a line, however many there are.
//!
//! ```text
//!   lines ──▶ look up ──▶ services ──▶ turnstile ──▶ examine ──▶ judge ──▶ one line of JSON
//!               │ domain    │ address, port and name    │ so many at once, by address, network and provider
//!               └── cache   └── cache                   └── paced
//! ```
//!
//! 1. Memory is bounded: so many lines are under way, answers are kept by weight, the rest is written as it comes.
//! 2. Nobody is asked twice: domains by their text, services by address, port and name. MX hosts are the resolver's to keep.
//! 3. Lines are finished in any order; each document says its line.
//! 4. Where lines come from, and who hears of those that are done, is a [`Ledger`]: a file and its state ([`local`]), or claims on rows of a
//!    database that several machines share ([`share`]).

pub mod cache;
pub mod local;
pub mod polite;
pub mod share;
pub mod state;
pub mod summary;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};

use self::cache::Cache;
use self::polite::{Manners, Turnstile};
use self::state::Unusable;
use self::summary::Summary;
use super::document::Report;
use super::facts::Facts;
use super::target::Target;
use crate::finding::Severity;

/// What a list needs of the world.
pub trait World: Send + Sync + 'static {
    /// What was learned of a line before any service was looked at.
    type Looked: Clone + Send + Sync + 'static;

    /// What a line names: a domain with what DNS says of it, or a host. An error says why nothing can be examined.
    fn look_up(&self, line: &str) -> impl Future<Output = Result<Self::Looked, String>> + Send;

    /// The services to look at, each at one address.
    fn targets(&self, looked: &Self::Looked) -> Vec<Target>;

    /// About how much memory that takes, in octets.
    fn weight(&self, looked: &Self::Looked) -> usize;

    /// Looks at one service.
    fn examine(&self, target: &Target) -> impl Future<Output = Facts> + Send;

    /// A report of nothing: profile, tier and time.
    fn blank(&self) -> Report;

    /// Judges; pure.
    fn report(&self, looked: &Self::Looked, services: &[Arc<Facts>]) -> Report;
}

/// How a list is worked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Lines under way at once; most of them wait for their turn.
    pub lines: usize,
    /// Lines looked up at once. With many more the questions of each would wait longer for one another than an answer may take.
    pub look_ups: usize,
    /// How many connections one examination makes at most: what a turn costs.
    pub cost: u32,
    /// How those who are asked are treated.
    pub manners: Manners,
    /// The exit code in the documents goes by this.
    pub fail_on: Severity,
    /// Octets of answers kept.
    pub kept: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            lines: 1024,
            look_ups: 256,
            cost: 1,
            manners: Manners::default(),
            fail_on: Severity::High,
            kept: 12 << 20,
        }
    }
}

/// Which lines there are to do, and who hears of those that are done.
pub trait Ledger {
    /// Lines to work on now, with their numbers; None: no more will come. Nothing is lost when the future is dropped.
    fn more(&mut self) -> impl Future<Output = Result<Option<Vec<Line>>, Ended>>;

    /// A line is done. An error ends the run.
    fn done(&mut self, done: Finished) -> Result<(), Ended>;

    /// How many machines work on this list; all of them together keep to the manners.
    fn machines(&self) -> u32 {
        1
    }
}

/// A line of a list: its number, from 1, and its text.
pub type Line = (u64, String);

/// What came of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Its number.
    pub line: u64,
    /// What is told of it.
    pub document: Value,
    /// What it adds to the counts.
    pub summary: Summary,
}

/// Why a list came to an end before its end.
#[derive(Debug)]
pub enum Ended {
    /// The list cannot be read.
    Reading(io::Error),
    /// The output cannot be written.
    Writing(io::Error),
    /// The state does not fit the list.
    State(Unusable),
    /// The database that machines share: who is at fault, and what to do.
    Share(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reading(error) => write!(f, "the list cannot be read: {error}"),
            Self::Writing(error) => write!(f, "the output cannot be written: {error}"),
            Self::State(why) => why.fmt(f),
            Self::Share(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Ended {}

/// What is shared by all lines.
struct Shop<W: World> {
    world: W,
    plan: Plan,
    turnstile: Turnstile,
    look_ups: Semaphore,
    domains: Cache<String, Result<W::Looked, String>>,
    services: Cache<Target, Arc<Facts>>,
}

/// Works through the lines of the ledger until it has no more.
pub async fn run<W: World>(world: W, plan: Plan, ledger: &mut impl Ledger) -> Result<(), Ended> {
    let shop = Arc::new(Shop {
        world,
        turnstile: Turnstile::new(plan.manners),
        look_ups: Semaphore::new(plan.look_ups.max(1)),
        domains: Cache::new(plan.kept / 4),
        services: Cache::new(plan.kept),
        plan,
    });
    let mut running = JoinSet::new();
    let mut names: HashMap<Id, Line> = HashMap::new();
    let mut more = true;
    while more || !running.is_empty() {
        tokio::select! {
            lines = ledger.more(), if more && running.len() < plan.lines.max(1) => {
                let lines = lines?;
                more = lines.is_some();
                shop.turnstile.share(ledger.machines());
                for (number, text) in lines.into_iter().flatten() {
                    let task = running.spawn(one(Arc::clone(&shop), number, text.clone()));
                    names.insert(task.id(), (number, text));
                }
            }
            Some(ended) = running.join_next_with_id() => {
                if let Some(done) = finished(ended, &mut names, &shop) {
                    ledger.done(done)?;
                }
            }
        }
    }
    Ok(())
}

/// What came of a task. One that panicked is a line that could not be told: left out, it would be missing, or tried for ever.
fn finished<W: World>(
    ended: Result<(Id, Finished), JoinError>,
    names: &mut HashMap<Id, Line>,
    shop: &Shop<W>,
) -> Option<Finished> {
    match ended {
        Ok((id, done)) => {
            names.remove(&id);
            Some(done)
        }
        Err(error) => {
            let (line, text) = names.remove(&error.id())?;
            let why = "its examination broke off, which is a fault of gatepost";
            Some(failed(shop, line, &text, why))
        }
    }
}

/// One line, from its text to its document.
async fn one<W: World>(shop: Arc<Shop<W>>, line: u64, text: String) -> Finished {
    let size = |looked: &Result<W::Looked, String>| {
        1024 + text.len() + looked.as_ref().map_or(0, |it| shop.world.weight(it))
    };
    let look_up = || async {
        // It is never closed.
        let _place = shop.look_ups.acquire().await;
        shop.world.look_up(&text).await
    };
    let (looked, _) = shop.domains.get_or_learn(text.clone(), size, look_up).await;
    let looked = match looked {
        Ok(looked) => looked,
        Err(why) => return failed(&shop, line, &text, &why),
    };
    let mut asked = JoinSet::new();
    for (place, target) in shop.world.targets(&looked).into_iter().enumerate() {
        let shop = Arc::clone(&shop);
        asked.spawn(async move { (place, service(&shop, target).await) });
    }
    let mut found: Vec<(usize, (Arc<Facts>, u64))> = Vec::new();
    while let Some(answer) = asked.join_next().await {
        found.extend(answer);
    }
    // In the order of the targets, whoever answered first.
    found.sort_by_key(|(place, _)| *place);
    let connections = found.iter().map(|(_, (_, made))| made).sum();
    let facts: Vec<Arc<Facts>> = found.into_iter().map(|(_, (facts, _))| facts).collect();
    let report = shop.world.report(&looked, &facts);
    let mut document = report.as_json(shop.plan.fail_on);
    label(&mut document, line, &text);
    let mut summary = Summary::default();
    summary.add(Some(&report), shop.plan.fail_on);
    for facts in &facts {
        summary.see(facts);
    }
    summary.connections = connections;
    Finished {
        line,
        document,
        summary,
    }
}

/// One service, and how many connections it took now.
async fn service<W: World>(shop: &Shop<W>, target: Target) -> (Arc<Facts>, u64) {
    let learn = || async {
        let host = target.host.clone();
        let _turn = shop
            .turnstile
            .enter(target.address, &host, shop.plan.cost)
            .await;
        let mut facts = shop.world.examine(&target).await;
        // No verdict needs the dialogue, and it is the longest part.
        facts.transcript = Vec::new();
        Arc::new(facts)
    };
    let (facts, is_new) = shop
        .services
        .get_or_learn(target.clone(), |it| weigh(it), learn)
        .await;
    let made = if is_new { facts.connections.into() } else { 0 };
    (facts, made)
}

/// What the rest of facts takes, with its key in three places, and what an allocator adds.
const BASE: usize = 6 * 1024;

/// About how much memory facts take.
fn weigh(facts: &Facts) -> usize {
    let chain = facts
        .handshake
        .known()
        .map_or(0, |it| it.chain.iter().map(String::len).sum());
    let hellos: usize = facts
        .hellos
        .values()
        .filter_map(|it| it.known())
        .flat_map(|it| &it.chain)
        .map(String::len)
        .sum();
    let words =
        [&facts.clear, &facts.encrypted].map(|it| it.known().map_or(0, |it| it.words.len()));
    let words: usize = words.iter().sum();
    BASE + chain + hellos + words * 64 + facts.hellos.len() * 512
}

fn failed<W: World>(shop: &Shop<W>, line: u64, text: &str, why: &str) -> Finished {
    // Nothing was told, so it is neither good nor bad.
    let mut document = shop.world.blank().as_json(shop.plan.fail_on);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("exit".to_owned(), json!(3));
        fields.insert("trouble".to_owned(), json!(why));
    }
    label(&mut document, line, text);
    let mut summary = Summary::default();
    summary.add(None, shop.plan.fail_on);
    Finished {
        line,
        document,
        summary,
    }
}

fn label(document: &mut Value, line: u64, text: &str) {
    if let Some(fields) = document.as_object_mut() {
        fields.insert("line".to_owned(), json!(line));
        fields.insert("input".to_owned(), json!(text));
    }
}

#[cfg(test)]
mod tests;
