//! `--share`: several machines work on one list through a database (`PostgreSQL`).
//!
//! What is asked of the database, and when, is decided by `audit::check::list::share`; here are the way to the database ([`address`],
//! [`tls`], [`password`]), its tables ([`database`]), the task that goes between ([`keeper`]) and the words for what goes wrong ([`trouble`]).

mod address;
mod database;
mod keeper;
mod password;
mod tls;
mod trouble;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use gatepost_audit::check::list::share::Habits;
use gatepost_audit::check::list::summary::Summary;
use gatepost_audit::check::list::{Plan, run as work};
use gatepost_audit::finding::Severity;
use gatepost_audit::report::summary_page::summary_page;

use self::address::Address;
use self::database::{Database, List, Terms};
use self::keeper::{Keeper, Shared};
use super::list::{HEADING, Scout, lines, plan, verdict};
use super::stop::Stop;
use super::{Order, nonce, output};
use crate::client::settings::Settings;
use crate::exit::Failure;

/// How long the end of a run may take to store what is done and to give back what is not.
const GOODBYE: Duration = Duration::from_secs(15);

pub(super) fn flags() -> Vec<Arg> {
    vec![
        Arg::new("share")
            .long("share")
            .value_name("URL")
            .help_heading(HEADING)
            .conflicts_with_all(["target", "every", "state", "csv", "junit", "sarif", "prometheus", "facts", "explain", "diff", "reassess", "parquet"])
            .help("Work on a list together with other machines, through the database postgres://USER@HOST/DATABASE; the password from PGPASSWORD or ~/.pgpass"),
        Arg::new("share-name")
            .long("share-name")
            .value_name("NAME")
            .default_value("list")
            .help_heading(HEADING)
            .help("The list's name in the database; --list FILE puts it there, without --list the machine joins"),
        Arg::new("lease")
            .long("lease")
            .value_name("SECONDS")
            .value_parser(value_parser!(u64).range(5..=86_400))
            .default_value("300")
            .help_heading(HEADING)
            .help("The lines of a machine that died are given to others after this"),
        Arg::new("results")
            .long("results")
            .action(ArgAction::SetTrue)
            .requires("share")
            .conflicts_with("list")
            .help_heading(HEADING)
            .help("Print the documents in the database, one a line, and the summary; examine nothing"),
    ]
}

pub(super) fn run(given: &ArgMatches, settings: &Settings, order: &Order) -> Result<(), Failure> {
    let address = Address::read(given, settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(async {
        if given.get_flag("results") {
            results(given, &address).await
        } else {
            join(given, settings, order, &address).await
        }
    });
    runtime.shutdown_background();
    ended
}

fn name(given: &ArgMatches) -> &str {
    given
        .get_one::<String>("share-name")
        .map_or("list", String::as_str)
}

/// Works on the list until no line is open.
async fn join(
    given: &ArgMatches,
    settings: &Settings,
    order: &Order,
    address: &Address,
) -> Result<(), Failure> {
    let scout = Scout::new(given, settings, order)?;
    let terms = Terms::of(order);
    let mut database = Database::open(address).await?;
    let list = match given.get_one::<PathBuf>("list") {
        Some(path) => {
            database
                .load(name(given), &terms, &mut lines(path)?)
                .await?
        }
        None => database.find(name(given)).await?,
    };
    terms.must_be(&list.terms)?;
    let plan = plan(given, order);
    let seconds = given.get_one::<u64>("lease").copied().unwrap_or(300);
    let habits = Habits::new(plan.lines, Duration::from_secs(seconds));
    let token = nonce()?;
    database.enter(list.id, &token).await?;
    drop(database);
    let (keeper, shared) = Keeper::new(address.clone(), list.id, token, habits);
    let ended = examine(scout, plan, keeper, shared).await;
    // Also what others found: the list is one.
    let whole = match &ended {
        Ok(()) => Some(Database::open(address).await?.summary(list.id).await?),
        Err(_) => None,
    };
    if let Some(summary) = &whole {
        eprint!("{}", summary.text());
        output::write(given, "html", || {
            summary_page(summary, "Mail transport of a list")
        })?;
    }
    ended?;
    verdict(&whole.unwrap_or_default(), order.fail_on)
}

/// The examination, and the task that keeps to the database; whoever ends it by Ctrl-C or SIGTERM leaves nothing claimed behind.
async fn examine(
    scout: Scout,
    plan: Plan,
    keeper: Keeper,
    mut shared: Shared,
) -> Result<(), Failure> {
    // Before the first row is claimed.
    let mut stop = Stop::listen()?;
    let keeping = tokio::spawn(keeper.keep());
    let ended = tokio::select! {
        ended = work(scout, plan, &mut shared) => Some(ended),
        () = stop.asked() => None,
    };
    // The keeper hears of it by this.
    drop(shared);
    let kept = tokio::time::timeout(GOODBYE, keeping).await;
    match (ended, kept) {
        (_, Ok(Ok(Err(trouble)))) => Err(trouble.into()),
        (Some(Err(ended)), _) => Err(Failure::local(ended)),
        (_, Ok(Err(_))) => Err(Failure::local(
            "the task that keeps to the database broke off, which is a fault of gatepost",
        )),
        (_, Err(_)) => Err(Failure::local(
            "the database did not answer at the end: what was under way is done again by others when its lease ends",
        )),
        (None, _) => Err(Failure::local(
            "ended before the end of the list; what was under way is given back",
        )),
        (Some(Ok(())), Ok(Ok(Ok(())))) => Ok(()),
    }
}

/// Prints what is there.
async fn results(given: &ArgMatches, address: &Address) -> Result<(), Failure> {
    let database = Database::open(address).await?;
    let list = database.find(name(given)).await?;
    let mut out = io::BufWriter::new(io::stdout());
    let cannot =
        |error: io::Error| Failure::local(format!("the output cannot be written: {error}"));
    let mut after = 0;
    loop {
        let page = database.page(list.id, after).await?;
        let Some((line, _)) = page.last() else { break };
        after = *line;
        for (_, document) in &page {
            writeln!(out, "{document}").map_err(cannot)?;
        }
    }
    out.flush().map_err(cannot)?;
    let summary = database.summary(list.id).await?;
    let open = database.open_lines(list.id).await?;
    eprint!("{}", summary.text());
    output::write(given, "html", || {
        summary_page(&summary, "Mail transport of a list")
    })?;
    told(&list, &summary, open)
}

fn told(list: &List, summary: &Summary, open: (i64, i64)) -> Result<(), Failure> {
    let fail_on = Severity::parse(&list.terms.fail_on).unwrap_or(Severity::High);
    let (undone, claimed) = open;
    if undone > 0 && summary.bad == 0 {
        return Err(Failure::local(format!(
            "{undone} lines are not done yet; {claimed} of them are under way"
        )));
    }
    if undone > 0 {
        eprintln!("{undone} lines are not done yet; {claimed} of them are under way");
    }
    verdict(summary, fail_on)
}
