//! `gatepost canary loop`: a mail to oneself, by the way all mail goes, fetched when it has come back.
//!
//! 1. The mail is handed in as `gatepost send` would, with a number in its Message-ID that is used once.
//! 2. The mailbox is asked for that number, as `gatepost fetch` would, until the mail is there or the time is over.
//! 3. The chain of its Received fields tells the hops; one in clear is W202.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use gatepost_audit::canary::{Channel, Hop, Trouble, hops};
use serde_json::json;

use super::{as_json, line, random, received, verdict};
use crate::client::flags::{self, Topic};
use crate::client::settings::Settings;
use crate::client::url::{Protocol, Url};
use crate::client::{date, fetch, send};
use crate::exit::Failure;

/// The first pause between two looks at the mailbox; each is twice as long as the one before, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(15);

pub(super) fn command() -> Command {
    let command = Command::new("loop")
        .about("Send oneself a mail, fetch it, and say which of its hops were encrypted")
        .long_about(
            "Send oneself a mail, fetch it, and say which of its hops were encrypted.\n\n\
             The mail goes the way all mail of this account goes: hand it in at one's own provider and address it to oneself at \
             another one, whose mailbox forwards or is fetched, to test the way between the two. A login is used for both ends, \
             but not with a server that is reached by smtp://.",
        )
        .after_help(
            "Examples:\n  gatepost canary loop --send submissions://mail.example.org --fetch imaps://mail.example.org \\\n      \
             --address anna@example.org --user anna@example.org --password-file p.txt\n  \
             gatepost canary loop --send smtp://localhost:25 --tls starttls --fetch imap://mail.example.org \\\n      \
             --address anna@example.org --user anna --wait 600 --delete --json\n\n\
             Exit codes: 0 every hop encrypted, 1 one in clear, or refused, 2 wrong usage, 3 it has not come back in time.",
        )
        .arg(flags::one("send", "URL", "Hand it in here").required(true))
        .arg(flags::one("fetch", "URL", "Fetch it from this mailbox; by POP3 all of it is read at each look").required(true))
        .arg(flags::one("address", "ADDRESS", "Whom it is from and for").required(true))
        .arg(
            flags::one("wait", "SECONDS", "How long to wait for it to come back")
                .value_parser(value_parser!(u64))
                .default_value("120"),
        )
        .arg(
            Arg::new("delete")
                .long("delete")
                .action(ArgAction::SetTrue)
                .help("Remove it from the mailbox when it was fetched (IMAP only)"),
        );
    flags::add(command, &Topic::ALL)
}

pub(super) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let mut settings = Settings::read(given)?;
    let prints_json = std::mem::take(&mut settings.json);
    let text = |name: &str| given.get_one::<String>(name).map_or("", String::as_str);
    let (way_in, mailbox) = (url(text("send"))?, url(text("fetch"))?);
    if !way_in.protocol.sends() || !mailbox.protocol.fetches() {
        return Err(Failure::usage(
            "--send takes a URL such as submissions://mail.example.org, --fetch one such as imaps://mail.example.org",
        ));
    }
    let delete = given.get_flag("delete");
    fetch::may_delete(&mailbox, delete)?;
    settings.refuse_hopeless_login(&mailbox)?;
    let address = text("address");
    let token = format!("gatepost-loop-{}", random(12)?);
    let begun = Instant::now();
    let sent = hand_in(&mut settings, &way_in, address, &letter(address, &token))?;
    let wait = Duration::from_secs(given.get_one::<u64>("wait").copied().unwrap_or(120));
    let folder = Folder::new(&token)?;
    let way = Way {
        settings: &settings,
        url: &mailbox,
        token: &token,
        delete,
    };
    let (fetched, message) = way.await_return(&folder, begun + wait)?;
    let chain = hops(&message);
    if chain.is_empty() {
        return Err(Failure::local(
            "the mail has come back without a Received field: nothing can be told",
        ));
    }
    let troubles = judge(&chain);
    let place = mailbox.host.to_string();
    if prints_json {
        let findings: Vec<_> = troubles.iter().map(|it| as_json(it, &place)).collect();
        println!(
            "{}",
            json!({
                "schema": "gatepost-canary-loop-1", "sent": sent, "fetched": fetched,
                "seconds": begun.elapsed().as_secs_f64(), "hops": received::as_json(&chain), "findings": findings,
            })
        );
    } else {
        println!("handed in: {sent}\nfetched:   {fetched}");
        for it in &chain {
            println!("{}", received::line(it));
        }
        for it in &troubles {
            println!("{}", line(it, &place));
        }
    }
    verdict(troubles.len())
}

fn url(text: &str) -> Result<Url, Failure> {
    Url::parse(text).map_err(Failure::usage)
}

fn judge(chain: &[Hop]) -> Vec<Trouble> {
    let clear = chain.iter().filter(|it| it.channel == Channel::Clear);
    clear
        .map(|it| {
            let word = |it: &Option<String>| it.clone().unwrap_or_else(|| "-".to_owned());
            let (from, by) = (word(&it.from), word(&it.by));
            Trouble::new(
                "W202",
                format!("the mail went from {from} to {by} in clear"),
            )
        })
        .collect()
}

/// A server that is reached by `smtp://` takes in mail from others, and wants no login.
fn hand_in(
    settings: &mut Settings,
    url: &Url,
    address: &str,
    message: &[u8],
) -> Result<String, Failure> {
    let user = match url.protocol {
        Protocol::Smtp | Protocol::Lmtp => settings.user.take(),
        _ => None,
    };
    let sent = send::hand_in(settings, url, address, message);
    if user.is_some() {
        settings.user = user;
    }
    sent
}

fn letter(address: &str, token: &str) -> Vec<u8> {
    let date = date::field(SystemTime::now());
    format!(
        "Date: {date}\r\nFrom: <{address}>\r\nTo: <{address}>\r\nMessage-ID: <{token}@canary.invalid>\r\nSubject: canary {token}\r\n\
         Auto-Submitted: auto-generated\r\n\r\nA mail to oneself, to see which way it takes.\r\n"
    )
    .into_bytes()
}

/// Where the mail is awaited.
struct Way<'a> {
    settings: &'a Settings,
    url: &'a Url,
    token: &'a str,
    delete: bool,
}

impl Way<'_> {
    fn await_return(&self, folder: &Folder, until: Instant) -> Result<(String, Vec<u8>), Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            let fetched =
                fetch::into_folder(self.settings, self.url, &folder.0, self.token, self.delete)?;
            if let Some(message) = folder.find(self.token)? {
                return Ok((fetched, message));
            }
            if Instant::now() + pause > until {
                return Err(Failure::local(format!(
                    "the mail has not come back in time; it is on its way, or lost: look for {} in the logs of the servers",
                    self.token
                )));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

/// A folder of our own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::local(format!("cannot make {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// The mail with this number in its header.
    fn find(&self, token: &str) -> Result<Option<Vec<u8>>, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::local(format!("cannot read {}: {error}", self.0.display()))
        };
        for entry in std::fs::read_dir(&self.0).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            if !path.is_file() || path.extension().is_none_or(|it| it != "eml") {
                continue;
            }
            let message = std::fs::read(&path).map_err(cannot)?;
            if has_number(&message, token) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// Whether the number stands in the Message-ID: what quotes the mail is not the mail.
fn has_number(message: &[u8], token: &str) -> bool {
    let text = String::from_utf8_lossy(message);
    let header = text.lines().take_while(|it| !it.is_empty());
    let wanted = format!("<{token}@canary.invalid>");
    header
        .filter_map(|it| it.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case("message-id") && value.trim() == wanted)
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        eprintln!("gatepost: cannot remove {}: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mail_itself_has_the_number() {
        let letter = letter("anna@example.org", "gatepost-loop-1");
        assert!(has_number(&letter, "gatepost-loop-1"));
        assert!(!has_number(&letter, "gatepost-loop-2"));
        let bounce = b"Message-ID: <x@y>\r\nSubject: failed\r\n\r\nMessage-ID: <gatepost-loop-1@canary.invalid>\r\n";
        assert!(!has_number(bounce, "gatepost-loop-1"));
    }

    #[test]
    fn a_hop_in_clear_is_a_finding() {
        let chain = hops(b"Received: from a.example by b.example with ESMTP id 1; x\r\nReceived: from c.example by a.example with ESMTPS id 2; x\r\n\r\n");
        let troubles = judge(&chain);
        assert_eq!(troubles.len(), 1);
        assert_eq!(troubles[0].id, "W202");
        assert!(troubles[0].evidence.contains("a.example to b.example"));
    }
}
