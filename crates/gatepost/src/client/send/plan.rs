//! What is to be sent, to whom: decided before anything is connected.

use std::io::Read;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::ArgMatches;
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};

use super::super::reach::HELLO;
use super::super::settings::Settings;
use super::address::Address;
use super::compose::{Draft, Message, refuse_controls};
use super::ready;
use crate::exit::Failure;

/// The most octets of text or of a ready message. Attachments do not count: they are read as they are sent.
const LARGEST: u64 = 1024 * 1024 * 1024;

/// A message with its envelope.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The sender; none for the null one.
    pub(crate) from: Option<Address>,
    /// Where reports of failure go.
    pub(crate) reverse_path: ReversePath,
    /// Everybody it is for, once each.
    pub(crate) recipients: Vec<ForwardPath>,
    /// The message.
    pub(crate) message: Message,
    /// The name said in EHLO.
    pub(crate) hello: String,
}

impl Plan {
    /// A finished message from and to one address.
    pub(crate) fn to_oneself(address: &str, message: &[u8]) -> Result<Self, Failure> {
        let wrong = |problem| Failure::usage(format!("--address: {problem}"));
        let from = Address::parse(address).map_err(wrong)?;
        Ok(Self {
            message: Message::ready(message).0,
            reverse_path: ReversePath::Mailbox(from.mailbox.clone()),
            recipients: vec![ForwardPath(from.mailbox.clone())],
            from: Some(from),
            hello: HELLO.to_owned(),
        })
    }

    /// Reads arguments and input.
    pub(crate) fn read(given: &ArgMatches, settings: &Settings) -> Result<Self, Failure> {
        let from = sender(given, "from")?;
        let (to, cc, bcc) = (
            addresses(given, "to")?,
            addresses(given, "cc")?,
            addresses(given, "bcc")?,
        );
        let recipients = everybody(&[&to, &cc, &bcc])?;
        let hello = given
            .get_one::<String>("hello")
            .cloned()
            .unwrap_or_default();
        if hello.is_empty() || !hello.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(Failure::usage(
                "--hello takes a host name or an address in brackets, without spaces",
            ));
        }
        let reverse = match sender_if_given(given, "envelope-from")? {
            Some(sender) => sender,
            None => from.clone(),
        };
        let draft = Draft {
            from: from.clone(),
            to,
            cc,
            subject: given.get_one::<String>("subject").cloned(),
            headers: texts(given, "header"),
            attachments: texts(given, "attach")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            text: Vec::new(),
        };
        let input = input(given, settings)?;
        Ok(Self {
            message: message(given, draft, input)?,
            from,
            reverse_path: reverse.map_or(ReversePath::Null, |it| ReversePath::Mailbox(it.mailbox)),
            recipients,
            hello,
        })
    }
}

fn texts(given: &ArgMatches, name: &str) -> Vec<String> {
    given
        .get_many::<String>(name)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

fn addresses(given: &ArgMatches, name: &str) -> Result<Vec<Address>, Failure> {
    texts(given, name)
        .iter()
        .map(|text| {
            Address::parse(text).map_err(|problem| Failure::usage(format!("--{name}: {problem}")))
        })
        .collect()
}

fn sender(given: &ArgMatches, name: &str) -> Result<Option<Address>, Failure> {
    sender_if_given(given, name)?.ok_or_else(|| Failure::usage(format!("--{name} is missing")))
}

#[expect(
    clippy::option_option,
    reason = "not given, given as <>, given as an address"
)]
fn sender_if_given(given: &ArgMatches, name: &str) -> Result<Option<Option<Address>>, Failure> {
    match given.get_one::<String>(name).map(String::as_str) {
        None => Ok(None),
        Some("<>") => Ok(Some(None)),
        Some(text) => Address::parse(text)
            .map(|address| Some(Some(address)))
            .map_err(|problem| Failure::usage(format!("--{name}: {problem}"))),
    }
}

fn everybody(lists: &[&[Address]]) -> Result<Vec<ForwardPath>, Failure> {
    let mut all: Vec<ForwardPath> = Vec::new();
    for address in lists.iter().copied().flatten() {
        let path = ForwardPath(address.mailbox.clone());
        if !all.contains(&path) {
            all.push(path);
        }
    }
    if all.is_empty() {
        return Err(Failure::usage("nobody to send it to: give --to ADDRESS"));
    }
    Ok(all)
}

fn input(given: &ArgMatches, settings: &Settings) -> Result<Vec<u8>, Failure> {
    let name = given.get_one::<String>("file").map_or("-", String::as_str);
    let fail = |error: std::io::Error| Failure::usage(format!("cannot read {name}: {error}"));
    let mut octets = Vec::new();
    if name == "-" {
        if settings.secret.takes_stdin() {
            return Err(Failure::usage(
                "the password and the message cannot both come from standard input; name a FILE for one of them",
            ));
        }
        std::io::stdin()
            .lock()
            .take(LARGEST + 1)
            .read_to_end(&mut octets)
            .map_err(fail)?;
    } else {
        std::fs::File::open(name)
            .map_err(fail)?
            .take(LARGEST + 1)
            .read_to_end(&mut octets)
            .map_err(fail)?;
    }
    if octets.len() as u64 > LARGEST {
        return Err(Failure::usage(
            "the input is larger than 1 GiB; send it as a file with --attach, or not by mail",
        ));
    }
    Ok(octets)
}

fn message(given: &ArgMatches, mut draft: Draft, input: Vec<u8>) -> Result<Message, Failure> {
    let raw = given.get_flag("raw");
    if !raw && (given.get_flag("body") || !ready::is_message(&input)) {
        draft.text = input;
        return draft.compose(SystemTime::now());
    }
    let parts = ["subject", "header", "attach"];
    if let Some(flag) = parts.iter().find(|flag| given.contains_id(flag)) {
        return Err(Failure::usage(format!(
            "the input is a ready message, to which --{flag} would add; leave it out, or say --body if the input is text"
        )));
    }
    if input.is_empty() {
        return Err(Failure::usage("the input is empty, which is no message"));
    }
    // Values that are not used are looked at all the same: what is smuggled in is not to depend on the input.
    for text in texts(given, "header") {
        refuse_controls("--header", &text)?;
    }
    let (message, had_bcc) = Message::ready(&input);
    if had_bcc {
        eprintln!(
            "gatepost: the Bcc field was taken out of the message; give those recipients with --bcc"
        );
    }
    if message.needs.binary {
        return Err(Failure::usage(
            "the message holds NUL octets, which mail does not carry; encode it in base64",
        ));
    }
    if message.needs.long_lines {
        eprintln!(
            "gatepost: the message has lines over 998 octets, which servers may refuse (RFC 5321 4.5.3.1.6)"
        );
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn plan(words: &[&str], input: &str) -> Result<Plan, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, input).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let mut all = vec!["send", "--from", "anna@example.org", &path];
        all.extend(words);
        let given = command().try_get_matches_from(all).unwrap();
        Plan::read(&given, &Settings::read(&given)?)
    }

    #[test]
    fn the_envelope_has_everybody_once_and_the_message_no_bcc() {
        let plan = plan(
            &[
                "--to",
                "b@x.test",
                "--cc",
                "c@x.test",
                "--bcc",
                "d@x.test",
                "--bcc",
                "B <b@x.test>",
            ],
            "Hello.",
        )
        .unwrap();
        let names: Vec<&str> = plan
            .recipients
            .iter()
            .map(|it| it.0.local.as_str())
            .collect();
        assert_eq!(names, ["b", "c", "d"]);
        let mut all = Vec::new();
        let mut content = plan.message.content();
        while let Some(chunk) = content.next_chunk().unwrap() {
            all.extend(chunk);
        }
        let text = String::from_utf8(all).unwrap();
        assert!(text.contains("Cc: c@x.test\r\n") && !text.contains("d@x.test"));
    }

    #[test]
    fn a_ready_message_is_taken_as_it_is() {
        let ready = "From: x@y.test\nSubject: z\n\nbody\n";
        assert_eq!(
            plan(&["--to", "b@x.test"], ready).unwrap().message.length(),
            36
        );
        let refused = plan(&["--to", "b@x.test", "--subject", "x"], ready);
        assert!(refused.unwrap_err().to_string().contains("--body"));
        assert!(plan(&["--to", "b@x.test", "--subject", "x", "--body"], ready).is_ok());
        assert_eq!(
            plan(&["--to", "b@x.test", "--raw"], "no header")
                .unwrap()
                .message
                .length(),
            11
        );
        assert!(plan(&["--to", "b@x.test"], "A: b\n\n\0").is_err());
        assert!(plan(&["--to", "b@x.test", "--raw"], "Subject: b\n\n\0").is_err());
    }

    #[test]
    fn no_line_end_in_any_argument() {
        for words in [
            ["--to", "b@x.test\r\nRCPT TO:<c@x.test>"],
            ["--cc", "b@x.test\nX"],
            ["--bcc", "b@x.test\rX"],
            ["--subject", "x\r\nBcc: c@x.test"],
            ["--header", "X: y\r\nBcc: c@x.test"],
            ["--envelope-from", "a@b.test\r\nX"],
            ["--hello", "a\r\nMAIL FROM:<x>"],
        ] {
            let mut all = vec!["--to", "good@x.test"];
            all.extend(words);
            assert!(plan(&all, "Hello.").is_err(), "{words:?}");
        }
        assert!(
            plan(&[], "Hello.")
                .unwrap_err()
                .to_string()
                .contains("--to")
        );
    }
}
