//! A list: lines in, one document a line out.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, value_parser};
use gatepost_audit::check::document::Report;
use gatepost_audit::check::examine::{Means, examine};
use gatepost_audit::check::facts::Facts;
use gatepost_audit::check::list::local::{Local, Sink};
use gatepost_audit::check::list::polite::Manners;
use gatepost_audit::check::list::state::Progress;
use gatepost_audit::check::list::summary::Summary;
use gatepost_audit::check::list::{Ended, Plan, World, run as work};
use gatepost_audit::check::target::Target;
use gatepost_audit::finding::Severity;
use gatepost_audit::report::summary_page::summary_page;
use gatepost_net::descriptors;
use serde_json::Value;
use tokio::sync::mpsc;

use super::domains::Domains;
use super::stop::Stop;
use super::{Order, assess, means, now, output, selectors, services};
use crate::client::settings::Settings;
use crate::exit::Failure;
use crate::whole;

pub(super) const HEADING: &str = "Lists";
/// How often the state is written and the progress shown.
const PACE: Duration = Duration::from_secs(1);
/// How long a question to DNS may wait for its turn: with a resolver that answers a hundred a second all the questions of the lines looked up at
/// once have theirs.
const TURN: Duration = Duration::from_secs(60);
/// Longer lines are no names.
const LONGEST: usize = 4096;
/// A line that goes on for so many octets more has no end: a device, or no list.
const ENDLESS: u64 = 64 << 20;

pub(super) fn flags() -> Vec<Arg> {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(u32).range(1..=100_000))
            .default_value(default)
            .help_heading(HEADING)
            .help(help)
    };
    vec![
        output::file("list", "Look at each line of this file (- for standard input) and print one JSON document a line; see docs/check-lists.md")
            .help_heading(HEADING)
            .conflicts_with_all(["target", "every", "csv", "junit", "sarif", "prometheus", "facts"]),
        number("in-flight", "1024", "Lines under way at once; most of them wait"),
        number("at-once", "256", "Connections at once, to everybody together"),
        number("network-rate", "5", "New connections a second to one network (/24, /48)"),
        number("provider-rate", "20", "New connections a second to one provider (base domain of the host)"),
    ]
}

/// The world of a list: domains and hosts are found and examined as they are without one.
pub(super) struct Scout {
    settings: Settings,
    order: Order,
    means: Arc<Means>,
    /// The way to answers; each line gets one of its own, with one cache behind all.
    domains: Domains,
}

impl Scout {
    pub(super) fn new(
        given: &ArgMatches,
        settings: &Settings,
        order: &Order,
    ) -> Result<Self, Failure> {
        Ok(Self {
            settings: Settings::read(given)?,
            order: order.clone(),
            means: Arc::new(means(given, settings, order)?),
            domains: Domains::new(settings, selectors(given), order.tier)?.in_turn(TURN),
        })
    }
}

/// What a line names.
pub(super) struct Line {
    domains: Domains,
    targets: Vec<Target>,
}

impl World for Scout {
    type Looked = Arc<Line>;

    async fn look_up(&self, line: &str) -> Result<Arc<Line>, String> {
        let mut domains = self.domains.fresh();
        let targets = services(line, &mut domains, &self.settings, &self.order).await;
        let targets = targets.map_err(|failure| failure.to_string())?;
        Ok(Arc::new(Line { domains, targets }))
    }

    fn targets(&self, looked: &Arc<Line>) -> Vec<Target> {
        looked.targets.clone()
    }

    fn weight(&self, looked: &Arc<Line>) -> usize {
        looked.domains.weight() + looked.targets.len() * 256
    }

    async fn examine(&self, target: &Target) -> Facts {
        examine(target, &self.means, now()).await
    }

    fn blank(&self) -> Report {
        assess(&[], &self.order)
    }

    fn report(&self, looked: &Arc<Line>, seen: &[Arc<Facts>]) -> Report {
        let mut facts: Vec<Facts> = seen.iter().map(|it| Facts::clone(it)).collect();
        let domains = looked.domains.judge(&mut facts, now());
        Report {
            domains,
            ..assess(&facts, &self.order)
        }
    }
}

pub(super) fn run(given: &ArgMatches, settings: &Settings, order: &Order) -> Result<(), Failure> {
    let path = given
        .get_one::<PathBuf>("list")
        .cloned()
        .unwrap_or_default();
    let state = given.get_one::<PathBuf>("state").cloned();
    let mut progress = recall(state.as_deref())?;
    let scout = Scout::new(given, settings, order)?;
    let mut out = Out::new(state);
    // What cannot be written is told before anybody is asked.
    out.keep(&progress).map_err(Failure::local)?;
    let plan = plan(given, order);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start the runtime: {error}")))?;
    let ended: Result<_, Failure> = runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let lines = lines(&path)?;
        let mut ledger = Local::new(lines, &mut progress, &mut out);
        tokio::select! {
            ended = work(scout, plan, &mut ledger) => Ok(Some(ended)),
            () = stop.asked() => Ok(None),
        }
    });
    runtime.shutdown_background();
    let ended = ended?;
    let kept = out.keep(&progress).map_err(Failure::local);
    let summary = &progress.summary;
    eprint!(
        "{}{}",
        if out.visible { "\r\u{1b}[K" } else { "" },
        summary.text()
    );
    output::write(given, "html", || {
        summary_page(summary, "Mail transport of a list")
    })?;
    kept?;
    match ended {
        None => Err(Failure::local("ended before the end of the list")),
        Some(Err(Ended::State(why))) => Err(Failure::usage(why)),
        Some(Err(ended)) => Err(Failure::local(ended)),
        Some(Ok(())) => verdict(summary, order.fail_on),
    }
}

pub(super) fn verdict(summary: &Summary, fail_on: Severity) -> Result<(), Failure> {
    if summary.bad > 0 {
        return Err(Failure::finding(format!(
            "{} lines with findings at or above {}",
            summary.bad,
            fail_on.word()
        )));
    }
    if summary.unclear > 0 {
        return Err(Failure::local(format!(
            "{} lines of which not everything could be told",
            summary.unclear
        )));
    }
    Ok(())
}

/// File descriptors that are no connection to somebody's server: questions to DNS, the output, the database.
const OTHER_FILES: u64 = 640;

/// How the list is worked through: as it was asked for, as far as the system has files for it.
pub(super) fn plan(given: &ArgMatches, order: &Order) -> Plan {
    let plan = as_asked(given, order);
    // A line may have one connection to a web host, and is not looked up and examined at the same time.
    let room = descriptors::raise_limit().map_or(u64::MAX, |it| it.saturating_sub(OTHER_FILES) / 2);
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    let few = Plan {
        lines: plan.lines.min(room),
        manners: Manners {
            connections: plan.manners.connections.min(room),
            ..plan.manners
        },
        ..plan
    };
    if few != plan {
        eprintln!(
            "the system allows few open files: {} lines are under way, and {} connections, at once; more with a higher limit (ulimit -Hn)",
            few.lines, few.manners.connections
        );
    }
    few
}

fn as_asked(given: &ArgMatches, order: &Order) -> Plan {
    let number = |name: &str| given.get_one::<u32>(name).copied().unwrap_or(1);
    let size = |name: &str| usize::try_from(number(name)).unwrap_or(1);
    let asked = given.get_one::<u32>("connections").copied();
    Plan {
        lines: size("in-flight"),
        cost: asked
            .unwrap_or(order.tier.budget())
            .min(order.tier.budget()),
        manners: Manners {
            connections: size("at-once"),
            network_rate: number("network-rate"),
            provider_rate: number("provider-rate"),
            ..Manners::default()
        },
        fail_on: order.fail_on,
        ..Plan::default()
    }
}

fn recall(state: Option<&Path>) -> Result<Progress, Failure> {
    match state.filter(|it| it.exists()) {
        Some(path) => Progress::read_back(&super::apart::read(path)?)
            .map_err(|why| Failure::usage(format!("{}: {why}", path.display()))),
        None => Ok(Progress::new()),
    }
}

/// Reads lines on a thread of its own: a terminal or a pipe may wait for ever. No faster than they are worked on.
pub(super) fn lines(path: &Path) -> Result<mpsc::Receiver<io::Result<String>>, Failure> {
    let (sender, receiver) = mpsc::channel(256);
    let reader: Box<dyn io::BufRead + Send> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path)
            .map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))?;
        Box::new(BufReader::new(file))
    };
    std::thread::spawn(move || {
        let mut reader = reader;
        while let Some(line) = next(&mut reader) {
            let is_error = line.is_err();
            if sender.blocking_send(line).is_err() || is_error {
                return;
            }
        }
    });
    Ok(receiver)
}

/// The next line, whatever octets it is of. What is beyond the longest name there can be is passed over: the rest is none, and is told as that.
fn next(reader: &mut Box<dyn io::BufRead + Send>) -> Option<io::Result<String>> {
    use io::Read as _;
    let mut line = Vec::new();
    match reader
        .by_ref()
        .take(LONGEST as u64)
        .read_until(b'\n', &mut line)
    {
        Ok(0) => None,
        Ok(LONGEST) if !line.ends_with(b"\n") => {
            match reader.by_ref().take(ENDLESS).skip_until(b'\n') {
                Ok(passed) if passed as u64 == ENDLESS => {
                    Some(Err(io::Error::other("a line of it does not end")))
                }
                Ok(_) => Some(Ok(String::from_utf8_lossy(&line).into_owned())),
                Err(error) => Some(Err(error)),
            }
        }
        Ok(_) => Some(Ok(String::from_utf8_lossy(&line)
            .trim_end_matches(['\n', '\r'])
            .to_owned())),
        Err(error) => Some(Err(error)),
    }
}

/// Standard output, the state file and the line of progress.
struct Out {
    writer: BufWriter<io::Stdout>,
    state: Option<PathBuf>,
    begun: Instant,
    last: Instant,
    first: Option<u64>,
    visible: bool,
}

impl Out {
    fn new(state: Option<PathBuf>) -> Self {
        let now = Instant::now();
        Self {
            writer: BufWriter::new(io::stdout()),
            state,
            begun: now,
            last: now,
            first: None,
            visible: io::stderr().is_terminal(),
        }
    }

    /// First what was found, then that it was: a run that ends in between does a line twice, never not at all.
    fn keep(&mut self, progress: &Progress) -> Result<(), io::Error> {
        self.writer.flush()?;
        match &self.state {
            Some(path) => whole::replace(path, progress.to_json().as_bytes())
                .map_err(|failure| io::Error::other(failure.to_string())),
            None => Ok(()),
        }
    }

    fn show(&self, progress: &Progress) {
        let done = progress.summary.lines;
        let here = done - self.first.unwrap_or(done);
        let rate = here
            .checked_div(self.begun.elapsed().as_secs())
            .unwrap_or_default();
        let summary = &progress.summary;
        eprint!(
            "\r{done} lines, {rate} a second: {} good, {} with findings, {} not told\u{1b}[K",
            summary.good, summary.bad, summary.unclear
        );
    }
}

impl Sink for Out {
    fn done(&mut self, document: &Value, progress: &Progress) -> io::Result<()> {
        self.first
            .get_or_insert(progress.summary.lines.saturating_sub(1));
        // Whoever reads along reads whole lines, as they are done.
        writeln!(self.writer, "{document}")?;
        self.writer.flush()?;
        if self.last.elapsed() >= PACE {
            self.last = Instant::now();
            self.keep(progress)?;
            if self.visible {
                self.show(progress);
            }
        }
        Ok(())
    }
}
