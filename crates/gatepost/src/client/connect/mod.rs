//! `gatepost connect`: look at a server as with telnet and `openssl s_client` in one, and talk to it.
//!
//! First a report: the dialogue up to TLS, what TLS is, the chain as a tree, each check with its verdict and reason. Then, if all of it went as was
//! asked for, lines from standard input go to the server and its answers are shown; IMAP's tags and the dots of SMTP's content are
//! taken care of. What the server said before TLS is quoted, escaped and marked: anyone on the path can have said it.

mod talk;

use clap::{Arg, ArgAction, ArgMatches, Command};
use gatepost_wire::client::{Credentials, Entry, Speaker};
use serde_json::{Value, json};

use super::flags::{self, Topic};
use super::kinds::Kind;
use super::login;
use super::reach::{self, HELLO, Open, Reached, Refusal};
use super::settings::Settings;
use super::trouble::Trouble;
use super::url::{Protocol, Url};
use crate::exit::Failure;

/// The schema of the result.
const SCHEMA: &str = "gatepost-connect-1";

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let command = Command::new("connect")
        .about("Look at a server and talk to it: telnet and openssl s_client in one")
        .after_help(
            "Examples:\n  gatepost connect smtp://mail.example.org                 STARTTLS, report, then type commands\n  \
             gatepost connect imaps://mail.example.org --user anna    the same, logged in\n  \
             gatepost connect submission://mail.example.org --quit    the report alone\n  \
             gatepost connect smtp://mail.example.org --json          the report for scripts\n  \
             gatepost connect smtp://192.0.2.1 --tls-name mail.example.org\n  \
             gatepost connect pop3s://mail.example.org --verify none --quit\n\n\
             Lines you type are sent, answers shown; the end of the input (Ctrl-D) leaves. IMAP's tags are added.\n\
             Exit codes: 0 good, 1 the server failed verification, refused or broke the rules, 2 wrong usage, 3 network.",
        )
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required(true)
                .help("The server, such as smtp://mail.example.org or imaps://mail.example.org:993"),
        )
        .arg(
            Arg::new("quit")
                .long("quit")
                .action(ArgAction::SetTrue)
                .help("Leave after the report"),
        )
        .arg(
            Arg::new("hello")
                .long("hello")
                .value_name("NAME")
                .default_value(HELLO)
                .help("The name said in EHLO; the default tells nothing of this machine"),
        );
    flags::add(command, &Topic::ALL)
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let settings = Settings::read(given)?;
    let text = given.get_one::<String>("url").cloned().unwrap_or_default();
    let url = Url::parse(&text).map_err(Failure::usage)?;
    settings.refuse_hopeless_login(&url)?;
    let what = What {
        hello: given
            .get_one::<String>("hello")
            .cloned()
            .unwrap_or_default(),
        report_only: given.get_flag("quit") || settings.json,
    };
    if !what.report_only && settings.secret.takes_stdin() {
        return Err(Failure::usage(
            "the password and the lines to send cannot both come from standard input; name a FILE, or say --quit",
        ));
    }
    reach::block_on(async {
        match url.protocol {
            Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => {
                speak::<gatepost_wire::smtp::client::Client>(&settings, &url, &what).await
            }
            Protocol::Imap => {
                speak::<gatepost_wire::imap::client::Client>(&settings, &url, &what).await
            }
            Protocol::Pop3 => {
                speak::<gatepost_wire::pop3::client::Client>(&settings, &url, &what).await
            }
            Protocol::Sieve => {
                speak::<gatepost_wire::sieve::client::Client>(&settings, &url, &what).await
            }
        }
    })
}

struct What {
    hello: String,
    report_only: bool,
}

async fn speak<M: Kind>(settings: &Settings, url: &Url, what: &What) -> Result<(), Failure> {
    let mut open = match reach::open_to_show::<M>(settings, url, &what.hello).await? {
        Ok(open) => open,
        Err(refusal) => return Err(show_refusal(settings, refusal)),
    };
    let reached = open.reached();
    let entries = open.recorder.take();
    if settings.json {
        return print_json(settings, url, open, reached, entries).await;
    }
    println!("Dialogue");
    show(&entries);
    print!("{}", reached.report());
    let place = open.place.clone();
    let failed = |trouble: Trouble| trouble.into_failure(&place);
    let credentials = match credentials(settings, url, &open) {
        Ok(credentials) => credentials,
        Err(trouble) => {
            open.quit().await;
            return Err(failed(trouble));
        }
    };
    let result = talk::talk(&mut open, credentials, what.report_only).await;
    show(&open.recorder.take());
    result.map(drop).map_err(failed)
}

/// What to log in with, once the server is known to be good enough.
fn credentials<M: Kind>(
    settings: &Settings,
    url: &Url,
    open: &Open<M>,
) -> Result<Option<Credentials>, Trouble> {
    open.judge(settings)?;
    login::credentials(settings, url, open)
}

fn show_refusal(settings: &Settings, refusal: Refusal) -> Failure {
    if settings.json {
        let mut document = refusal.reached.failed(SCHEMA, &refusal.trouble);
        document["dialogue"] = dialogue(&refusal.dialogue);
        println!("{document}");
    } else {
        println!("Dialogue");
        show(&refusal.dialogue);
        print!("{}", refusal.reached.report());
    }
    refusal.trouble.into_failure(&refusal.reached.place)
}

async fn print_json<M: Kind>(
    settings: &Settings,
    url: &Url,
    mut open: Open<M>,
    mut reached: Reached,
    mut entries: Vec<Entry>,
) -> Result<(), Failure> {
    let outcome = match credentials(settings, url, &open) {
        Ok(credentials) => talk::talk(&mut open, credentials, true).await,
        Err(trouble) => {
            open.quit().await;
            Err(trouble)
        }
    };
    entries.extend(open.recorder.take());
    let outcome = outcome.map(|mechanism| reached.mechanism = mechanism);
    let mut document = match &outcome {
        Ok(()) => reached.as_json(SCHEMA),
        Err(trouble) => reached.failed(SCHEMA, trouble),
    };
    document["dialogue"] = dialogue(&entries);
    println!("{document}");
    outcome.map_err(|trouble| trouble.into_failure(&open.place))
}

fn dialogue(entries: &[Entry]) -> Value {
    let entries: Vec<Value> = entries.iter().map(entry_as_json).collect();
    json!(entries)
}

/// Shows what was said, a line each.
fn show(entries: &[Entry]) {
    for entry in entries {
        println!("{}", line(entry));
    }
}

fn line(entry: &Entry) -> String {
    let who = match entry.speaker {
        Speaker::Client => "C:",
        Speaker::Server => "S:",
        Speaker::Tls => return "  --- TLS ---".to_owned(),
    };
    let mark = match entry.speaker {
        Speaker::Server if !entry.encrypted => "  (unauthenticated)",
        _ => "",
    };
    format!("  {who} {}{mark}", entry.text.text())
}

fn entry_as_json(entry: &Entry) -> Value {
    let speaker = match entry.speaker {
        Speaker::Client => "client",
        Speaker::Server => "server",
        Speaker::Tls => "tls",
    };
    json!({
        "speaker": speaker,
        "text": entry.text.text(),
        "encrypted": entry.encrypted,
        "authenticated": entry.text.is_authenticated(),
        "secret": entry.secret,
    })
}
