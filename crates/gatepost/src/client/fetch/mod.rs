//! `gatepost fetch`: messages from a mailbox into files.
//!
//! 1. The command line becomes a [`Want`]; the server is the one given, or the one kept for an address.
//! 2. One session by IMAP (`imap.rs`) or POP3 (`pop3.rs`): what is stored already is passed over.
//! 3. Messages go to the folder as they come (`store.rs`): whole or not at all, once, durable in batches, and only then are they
//!    removed from the server, if that was asked for.

mod cli;
mod imap;
mod json;
mod pop3;
mod state;
mod store;
mod want;

use std::path::Path;

use clap::ArgMatches;
use serde_json::json as document;

pub(crate) use cli::command;

use super::date;
use super::discover;
use super::reach::{self, Open, Reached};
use super::settings::Settings;
use super::trouble::Trouble;
use super::url::{Protocol, Url};
use crate::exit::Failure;
use store::{Facts, Incoming, Origin};
use want::Want;

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Messages that match.
    pub(crate) found: u64,
    /// Messages stored durably.
    pub(crate) stored: u64,
    /// Messages printed.
    pub(crate) printed: u64,
    /// Their octets.
    pub(crate) octets: u64,
    /// Messages removed from the server.
    pub(crate) removed: u64,
    /// How the login was done.
    pub(crate) mechanism: Option<&'static str>,
}

/// The schema of the result.
const SCHEMA: &str = "gatepost-fetch-1";

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let mut settings = Settings::read(given)?;
    let url = match (
        given.get_one::<String>("url"),
        given.get_one::<String>("account"),
    ) {
        (Some(url), _) => Url::parse(url).map_err(Failure::usage)?,
        (None, Some(address)) => {
            discover::server_of(address, Protocol::Imap, given, &mut settings)?
        }
        (None, None) => {
            return Err(Failure::usage(
                "name the mailbox by a URL such as imaps://mail.example.org/INBOX, or give --account ADDRESS",
            ));
        }
    };
    if !url.protocol.fetches() {
        return Err(Failure::usage(format!(
            "mail is not fetched by {}; write a URL such as imaps://{}/INBOX or pop3s://{}",
            url.protocol.label(),
            url.host,
            url.host
        )));
    }
    let want = Want::read(given, &url)?;
    settings.refuse_hopeless_login(&url)?;
    end(&settings, session(&settings, &url, &want)?)
}

/// Fetches what has these words in its Message-ID into a folder, a file each, as `fetch` would: how the server was reached.
///
/// By POP3, which knows no search, it is all there is; to remove all that would be somebody's mail, so `delete` is refused there.
pub(crate) fn into_folder(
    settings: &Settings,
    url: &Url,
    folder: &Path,
    words: &str,
    delete: bool,
) -> Result<String, Failure> {
    may_delete(url, delete)?;
    let ended = session(settings, url, &Want::of_message(url, folder, words, delete))?;
    match ended.result {
        Ok(()) => Ok(ended.reached.line()),
        Err(trouble) => Err(trouble.into_failure(&ended.place)),
    }
}

/// Whether one message can be removed there: for who asks before there is one.
pub(crate) fn may_delete(url: &Url, delete: bool) -> Result<(), Failure> {
    if delete && url.protocol == Protocol::Pop3 {
        return Err(Failure::usage(
            "POP3 knows no search: --delete would remove every mail, and not this one alone; leave it out, or fetch by IMAP",
        ));
    }
    Ok(())
}

/// How a session ended.
struct Ended {
    place: String,
    reached: Reached,
    tally: Tally,
    result: Result<(), Trouble>,
}

fn session(settings: &Settings, url: &Url, want: &Want) -> Result<Ended, Failure> {
    let user = settings.user.clone().or_else(|| url.user.clone());
    let user = user.unwrap_or_default();
    reach::block_on(async {
        match url.protocol {
            Protocol::Pop3 => by_pop3(settings, url, want, user).await,
            _ => by_imap(settings, url, want, user).await,
        }
    })
}

async fn by_imap(
    settings: &Settings,
    url: &Url,
    want: &Want,
    user: String,
) -> Result<Ended, Failure> {
    let mut open: Open<gatepost_wire::imap::client::Client> =
        reach::open(settings, url, "", SCHEMA).await?;
    let mut run = imap::Run::new(settings, url, want, user);
    let result = run.run(&mut open).await;
    if run.cannot_idle() {
        open.say(
            "the server does not tell what arrives (no IDLE); run gatepost fetch again to see",
        );
    }
    Ok(Ended {
        place: open.place.clone(),
        reached: open.reached(),
        tally: run.tally,
        result,
    })
}

async fn by_pop3(
    settings: &Settings,
    url: &Url,
    want: &Want,
    user: String,
) -> Result<Ended, Failure> {
    let mut open: Open<gatepost_wire::pop3::client::Client> =
        reach::open(settings, url, "", SCHEMA).await?;
    let mut run = pop3::Run::new(settings, url, want, &user);
    let result = run.run(&mut open, &user).await;
    Ok(Ended {
        place: open.place.clone(),
        reached: open.reached(),
        tally: run.tally,
        result,
    })
}

fn end(settings: &Settings, ended: Ended) -> Result<(), Failure> {
    let Ended {
        place,
        mut reached,
        tally,
        result,
    } = ended;
    reached.mechanism = tally.mechanism;
    if settings.json {
        let mut result_document = reached.as_json(SCHEMA);
        result_document["found"] = document!(tally.found);
        result_document["stored"] = document!(tally.stored);
        result_document["octets"] = document!(tally.octets);
        result_document["removed"] = document!(tally.removed);
        if let Err(trouble) = &result {
            result_document["error"] = trouble.as_json();
        }
        result_document["exit"] = document!(result.as_ref().err().map_or(0, |it| it.code));
        println!("{result_document}");
    } else if tally.printed == 0 {
        let removed = match tally.removed {
            0 => String::new(),
            count => format!(", {count} removed from the server"),
        };
        println!(
            "{}\nstored {} messages ({} octets){removed}",
            reached.line(),
            tally.stored,
            tally.octets
        );
    }
    result.map_err(|trouble| trouble.into_failure(&place))
}

/// A message on standard output, a line of JSON. One that could not be written does not count.
fn print_message(origin: &Origin, facts: &Facts, incoming: &mut Incoming) -> Result<(), Trouble> {
    use std::io::Write;
    let line = json::message(origin, facts, incoming.memory());
    writeln!(std::io::stdout(), "{line}").map_err(|error| {
        let failure = Failure::local(format!("cannot write to standard output: {error}"));
        Trouble::ours("E-STORE", &failure)
    })
}
