//! What is to be fetched, and where to: decided before anything is connected.

use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::super::url::{Host, Protocol, Url};
use super::date;
use super::store::{Format, Origin, plain};
use crate::exit::Failure;

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    /// The IMAP mailbox.
    pub(crate) mailbox: String,
    /// Search criteria in IMAP's words.
    pub(crate) search: String,
    /// The form messages are kept in.
    pub(crate) format: Format,
    /// The folder; none: standard output.
    pub(crate) folder: Option<PathBuf>,
    /// The most messages to store.
    pub(crate) limit: Option<u64>,
    /// Whether to stay.
    pub(crate) idle: bool,
    /// Whether to remove from the server what is stored.
    pub(crate) delete: bool,
}

impl Want {
    /// The message with these words in its Message-ID, into a folder, a file each. POP3 cannot be asked for it.
    pub(crate) fn of_message(url: &Url, folder: &Path, words: &str, delete: bool) -> Self {
        Self {
            mailbox: url.mailbox.clone().unwrap_or_else(|| "INBOX".to_owned()),
            search: format!("HEADER Message-ID \"{words}\""),
            format: Format::Eml,
            folder: Some(folder.to_owned()),
            limit: None,
            idle: false,
            delete,
        }
    }

    /// Reads the arguments.
    pub(crate) fn read(given: &ArgMatches, url: &Url) -> Result<Self, Failure> {
        let text = |name: &str| given.get_one::<String>(name).cloned();
        let format = match text("output").as_deref() {
            Some("mbox") => Format::Mbox,
            Some("eml") => Format::Eml,
            Some("json") => Format::Json,
            _ => Format::Maildir,
        };
        let want = Self {
            mailbox: mailbox(text("mailbox"), url)?,
            search: criteria(text("search").as_deref())?,
            format,
            folder: text("to").map(PathBuf::from),
            limit: given.get_one::<u64>("limit").copied(),
            idle: given.get_flag("idle"),
            delete: given.get_flag("delete"),
        };
        want.refuse_contradictions(given, url)?;
        Ok(want)
    }

    fn refuse_contradictions(&self, given: &ArgMatches, url: &Url) -> Result<(), Failure> {
        let wrong = |text: &str| Err(Failure::usage(text));
        if self.folder.is_none() && self.format != Format::Json {
            return wrong("name the folder to store in with --to DIR, or print with --output json");
        }
        if self.folder.is_none() && self.delete {
            return wrong(
                "--delete removes what is stored durably, and standard output is not; give --to DIR",
            );
        }
        if self.folder.is_none() && given.get_flag("json") {
            return wrong(
                "--json and --output json would mix on standard output; give --to DIR, or leave out --json",
            );
        }
        if url.protocol == Protocol::Pop3 {
            for flag in ["search", "mailbox"] {
                if given.contains_id(flag) {
                    return Err(Failure::usage(format!(
                        "POP3 knows no --{flag}; write an imaps:// URL"
                    )));
                }
            }
            if self.idle {
                return wrong("POP3 tells nobody what arrives; write an imaps:// URL for --idle");
            }
        }
        Ok(())
    }

    /// What messages of this mailbox are called.
    pub(crate) fn origin(&self, url: &Url, port: u16, user: &str, validity: Option<u32>) -> Origin {
        let host = match &url.host {
            Host::Name(name) => name.clone(),
            Host::Ip(address) => address.to_string(),
        };
        match validity {
            Some(validity) => Origin {
                source: format!("imap://{user}@{host}:{port}/{};{validity}", self.mailbox),
                stem: format!("{}.{validity}", plain(&self.mailbox)),
            },
            None => Origin {
                source: format!("pop3://{user}@{host}:{port}"),
                stem: format!("{}.pop3", plain(user)),
            },
        }
    }
}

fn mailbox(given: Option<String>, url: &Url) -> Result<String, Failure> {
    match (given, url.mailbox.clone()) {
        (Some(flag), Some(path)) if flag != path => Err(Failure::usage(format!(
            "--mailbox {flag} and the URL's mailbox {path} are two; leave one of them out"
        ))),
        (Some(name), _) | (None, Some(name)) => {
            if name.chars().any(char::is_control) {
                return Err(Failure::usage(
                    "the mailbox has a line end or another control character in its name",
                ));
            }
            Ok(name)
        }
        (None, None) => Ok("INBOX".to_owned()),
    }
}

/// Words that take a date.
const DATED: [&str; 6] = ["SINCE", "BEFORE", "ON", "SENTSINCE", "SENTBEFORE", "SENTON"];

/// The criteria, dates in IMAP's form.
fn criteria(text: Option<&str>) -> Result<String, Failure> {
    let Some(text) = text else {
        return Ok("ALL".to_owned());
    };
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(Failure::usage(
            "--search takes criteria such as 'UNSEEN FROM ben', without line ends",
        ));
    }
    if !text.is_ascii() {
        return Err(Failure::usage(
            "--search takes ASCII; for other letters search for another part of the message",
        ));
    }
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let dated = words
            .last()
            .is_some_and(|last| DATED.iter().any(|it| it.eq_ignore_ascii_case(last)));
        let imap = dated.then(|| date::imap_day(word)).flatten();
        words.push(imap.unwrap_or_else(|| word.to_owned()));
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn want(words: &str) -> Result<Want, Failure> {
        let words = words.split('|').map(str::to_owned);
        let given = command()
            .try_get_matches_from(std::iter::once("fetch".to_owned()).chain(words))
            .unwrap();
        let url = Url::parse(given.get_one::<String>("url").unwrap()).unwrap();
        Want::read(&given, &url)
    }

    #[test]
    fn the_url_and_the_flags_together() {
        let want_inbox = want("imaps://h.test|--to|x").unwrap();
        assert_eq!(
            (want_inbox.mailbox.as_str(), want_inbox.search.as_str()),
            ("INBOX", "ALL")
        );
        assert_eq!(
            want("imaps://h.test/Lists%2Fa|--to|x").unwrap().mailbox,
            "Lists/a"
        );
        let search = want("imaps://h.test|--to|x|--search|UNSEEN since 2026-11-01 FROM ben")
            .unwrap()
            .search;
        assert_eq!(search, "UNSEEN since 1-Nov-2026 FROM ben");
    }

    #[test]
    fn contradictions_and_smuggling() {
        for (words, hint) in [
            ("imaps://h.test", "--to DIR"),
            ("imaps://h.test/a|--mailbox|b|--to|x", "leave one"),
            ("imaps://h.test|--output|json|--delete", "durably"),
            ("imaps://h.test|--output|json|--json", "mix"),
            ("pop3s://h.test|--to|x|--search|ALL", "imaps://"),
            ("pop3s://h.test|--to|x|--idle", "imaps://"),
            (
                "imaps://h.test|--to|x|--search|ALL\r\nx LOGOUT",
                "line ends",
            ),
            (
                "imaps://h.test|--to|x|--mailbox|a\r\nx",
                "control character",
            ),
            ("imaps://h.test|--to|x|--search|FROM ü", "ASCII"),
        ] {
            let said = want(words).unwrap_err().to_string();
            assert!(said.contains(hint), "{words}: {said}");
        }
    }

    #[test]
    fn an_origin_names_everything_that_makes_a_uid_mean_something() {
        let url = Url::parse("imaps://h.test/a%20b").unwrap();
        let want = Want {
            mailbox: "a b".into(),
            search: "ALL".into(),
            format: Format::Eml,
            folder: None,
            limit: None,
            idle: false,
            delete: false,
        };
        let origin = want.origin(&url, 993, "anna", Some(7));
        assert_eq!(origin.source, "imap://anna@h.test:993/a b;7");
        assert_eq!(origin.stem, "a%20b.7");
    }
}
