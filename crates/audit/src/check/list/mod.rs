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
//! 3. Lines are finished in any order; each document says its line. [`state::Progress`] says where to go on.
//! 4. Several machines with one list: split the list. A shared database of claimed lines is not here.

pub mod cache;
pub mod polite;
pub mod state;
pub mod summary;

use std::future::Future;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::cache::Cache;
use self::polite::{Manners, Turnstile};
use self::state::{Chain, Progress, Unusable};
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
            cost: 1,
            manners: Manners::default(),
            fail_on: Severity::High,
            kept: 12 << 20,
        }
    }
}

/// Where documents go, and how far it is.
pub trait Sink {
    /// One line is done. An error ends the run.
    fn done(&mut self, document: &Value, progress: &Progress) -> io::Result<()>;
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
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reading(error) => write!(f, "the list cannot be read: {error}"),
            Self::Writing(error) => write!(f, "the output cannot be written: {error}"),
            Self::State(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Ended {}

/// What is shared by all lines.
struct Shop<W: World> {
    world: W,
    plan: Plan,
    turnstile: Turnstile,
    domains: Cache<String, Result<W::Looked, String>>,
    services: Cache<Target, Arc<Facts>>,
}

/// A line that is done.
struct Done {
    line: u64,
    document: Value,
    report: Option<Report>,
    facts: Vec<Arc<Facts>>,
    connections: u64,
}

/// Works through the lines, from where `progress` is. Ends when they end, or when their sender says so by going away.
pub async fn run<W: World>(
    world: W,
    plan: Plan,
    mut lines: mpsc::Receiver<io::Result<String>>,
    progress: &mut Progress,
    sink: &mut impl Sink,
) -> Result<(), Ended> {
    let shop = Arc::new(Shop {
        world,
        turnstile: Turnstile::new(plan.manners),
        domains: Cache::new(plan.kept / 4),
        services: Cache::new(plan.kept),
        plan,
    });
    let mut order = Order::new(progress);
    let mut running = JoinSet::new();
    let mut more = true;
    while more || !running.is_empty() {
        tokio::select! {
            line = lines.recv(), if more && running.len() < plan.lines.max(1) => {
                let Some(line) = line else {
                    more = false;
                    order.end().map_err(Ended::State)?;
                    continue;
                };
                for (number, line) in order.take(&line.map_err(Ended::Reading)?, progress).map_err(Ended::State)? {
                    running.spawn(one(Arc::clone(&shop), number, line));
                }
            }
            Some(done) = running.join_next() => {
                // A line that panicked is not done, and not good: it will be tried again by who goes on from the state.
                let Ok(done) = done else {
                    progress.summary.add(None, shop.plan.fail_on);
                    continue;
                };
                note(&done, progress, &shop);
                sink.done(&done.document, progress).map_err(Ended::Writing)?;
            }
        }
    }
    Ok(())
}

fn note<W: World>(done: &Done, progress: &mut Progress, shop: &Shop<W>) {
    progress
        .summary
        .add(done.report.as_ref(), shop.plan.fail_on);
    for facts in &done.facts {
        progress.summary.see(facts);
    }
    progress.summary.connections += done.connections;
    progress.finish(done.line);
}

/// Numbers the lines, and passes over what is done.
struct Order {
    chain: Chain,
    /// How many lines the state has read, and their hash.
    known: Option<(u64, String)>,
    /// Lines of those that are not done; kept back until the hash is compared.
    back: Vec<(u64, String)>,
}

impl Order {
    fn new(progress: &Progress) -> Self {
        Self {
            chain: Chain::default(),
            known: (progress.read > 0).then(|| (progress.read, progress.hash.clone())),
            back: Vec::new(),
        }
    }

    /// The next line as it was read; gives those to be worked on.
    fn take(
        &mut self,
        line: &str,
        progress: &mut Progress,
    ) -> Result<Vec<(u64, String)>, Unusable> {
        self.chain.add(line);
        let number = self.chain.count();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            if !progress.has(number) {
                progress.finish(number);
            }
        } else if !progress.has(number) {
            self.back.push((number, line.to_owned()));
        }
        match &self.known {
            Some((read, _)) if number < *read => return Ok(Vec::new()),
            Some((read, hash)) if number == *read && *hash != self.chain.to_text() => {
                return Err(Unusable::OtherList);
            }
            Some((read, _)) if number == *read => self.known = None,
            _ => {}
        }
        progress.read = number;
        progress.hash = self.chain.to_text();
        Ok(std::mem::take(&mut self.back))
    }

    /// A list that is shorter than it was is another one.
    fn end(&self) -> Result<(), Unusable> {
        match self.known {
            Some(_) => Err(Unusable::OtherList),
            None => Ok(()),
        }
    }
}

/// One line, from its text to its document.
async fn one<W: World>(shop: Arc<Shop<W>>, line: u64, text: String) -> Done {
    let size = |looked: &Result<W::Looked, String>| {
        1024 + text.len() + looked.as_ref().map_or(0, |it| shop.world.weight(it))
    };
    let (looked, _) = shop
        .domains
        .get_or_learn(text.clone(), size, || shop.world.look_up(&text))
        .await;
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
    Done {
        line,
        document,
        report: Some(report),
        facts,
        connections,
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

fn failed<W: World>(shop: &Shop<W>, line: u64, text: &str, why: &str) -> Done {
    // Nothing was told, so it is neither good nor bad.
    let mut document = shop.world.blank().as_json(shop.plan.fail_on);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("exit".to_owned(), json!(3));
        fields.insert("trouble".to_owned(), json!(why));
    }
    label(&mut document, line, text);
    Done {
        line,
        document,
        report: None,
        facts: Vec::new(),
        connections: 0,
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
