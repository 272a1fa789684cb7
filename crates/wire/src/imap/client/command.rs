//! Commands as they are written.

use super::ask::{Capabilities, Change, Command};
use crate::client::{Failure, is_plain};
use crate::imap::mutf7;

/// The command line without tag and line end.
pub(super) fn write(command: &Command, capabilities: &Capabilities) -> Result<Vec<u8>, Failure> {
    let line = match command {
        Command::Select { mailbox, read_only } => {
            let verb = if *read_only { "EXAMINE" } else { "SELECT" };
            format!("{verb} {}", name(mailbox)?)
        }
        Command::List { pattern } => format!("LIST \"\" {}", name(pattern)?),
        Command::Status { mailbox, items } => {
            format!("STATUS {} ({})", name(mailbox)?, words(items)?)
        }
        Command::Search { criteria } => {
            // RFC 4731: a set instead of a number for each message
            let result = if capabilities.has("ESEARCH") || capabilities.has("IMAP4REV2") {
                "RETURN (ALL) "
            } else {
                ""
            };
            format!("UID SEARCH {result}{criteria}")
        }
        Command::Fetch { uids, items } => format!("UID FETCH {} {items}", set(uids)?),
        Command::Store {
            uids,
            change,
            flags,
        } => {
            let sign = match change {
                Change::Add => "+",
                Change::Remove => "-",
                Change::Replace => "",
            };
            format!(
                "UID STORE {} {sign}FLAGS.SILENT ({})",
                set(uids)?,
                words(flags)?
            )
        }
        Command::Expunge { uids: None } => "EXPUNGE".to_owned(),
        Command::Expunge { uids: Some(uids) } => format!("UID EXPUNGE {}", set(uids)?),
        Command::Create { mailbox } => format!("CREATE {}", name(mailbox)?),
        Command::Append {
            mailbox,
            flags,
            date,
            octets,
        } => {
            let date = match date {
                Some(date) => quote(date).ok_or(Failure::Misuse)? + " ",
                None => String::new(),
            };
            // RFC 7888: without waiting for leave
            let plus = if capabilities.has("LITERAL+") {
                "+"
            } else {
                ""
            };
            let line = format!(
                "APPEND {} ({}) {date}{{{octets}{plus}}}",
                name(mailbox)?,
                words(flags)?
            );
            return Ok(line.into_bytes());
        }
        Command::Idle => "IDLE".to_owned(),
        Command::Noop => "NOOP".to_owned(),
        Command::Raw(line) => return plain(line.to_vec()),
    };
    plain(line.into_bytes())
}

/// One line that announces no literal: what followed it would be read as that.
fn plain(line: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if line.is_empty() || !is_plain(&line) || line.ends_with(b"}") {
        return Err(Failure::Misuse);
    }
    Ok(line)
}

/// A mailbox's name or pattern, quoted.
fn name(mailbox: &str) -> Result<String, Failure> {
    quote(&mutf7::encode(mailbox)).ok_or(Failure::Misuse)
}

/// A quoted string, if the text can be one: ASCII without control characters.
pub(super) fn quote(text: &str) -> Option<String> {
    if !text.bytes().all(|it| matches!(it, 0x20..=0x7e)) {
        return None;
    }
    Some(format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"")
    ))
}

/// A sequence set.
fn set(uids: &str) -> Result<&str, Failure> {
    let good = !uids.is_empty()
        && uids
            .bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b':' | b',' | b'*'));
    if good { Ok(uids) } else { Err(Failure::Misuse) }
}

/// Words of a list: nothing that could end it.
fn words(text: &str) -> Result<&str, Failure> {
    let good = text
        .bytes()
        .all(|it| matches!(it, 0x20..=0x7e) && !b"(){\"".contains(&it));
    if good { Ok(text) } else { Err(Failure::Misuse) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(command: &Command) -> Result<String, Failure> {
        let capabilities = Capabilities::read(b"IMAP4rev1 ESEARCH");
        write(command, &capabilities).map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn commands_are_written() {
        let select = |mailbox: &str| Command::Select {
            mailbox: mailbox.into(),
            read_only: true,
        };
        assert_eq!(line(&select("a \"b\\")).unwrap(), r#"EXAMINE "a \"b\\""#);
        assert_eq!(
            line(&select("Entwürfe")).unwrap(),
            r#"EXAMINE "Entw&APw-rfe""#
        );
        let search = Command::Search {
            criteria: "UNSEEN".into(),
        };
        assert_eq!(line(&search).unwrap(), "UID SEARCH RETURN (ALL) UNSEEN");
        let store = Command::Store {
            uids: "1:*".into(),
            change: Change::Add,
            flags: "\\Seen".into(),
        };
        assert_eq!(
            line(&store).unwrap(),
            "UID STORE 1:* +FLAGS.SILENT (\\Seen)"
        );
    }

    #[test]
    fn nothing_breaks_out_of_its_argument() {
        // R6 of the state machine: a line end in an argument is refused before anything is sent
        let refused = [
            Command::Fetch {
                uids: "1 (FLAGS)\r\nx LOGOUT".into(),
                items: "FLAGS".into(),
            },
            Command::Fetch {
                uids: "1".into(),
                items: "FLAGS\r\nx LOGOUT".into(),
            },
            Command::Fetch {
                uids: "1".into(),
                items: "FLAGS {5}".into(),
            },
            Command::Search {
                criteria: "SUBJECT {5}".into(),
            },
            Command::Store {
                uids: "1".into(),
                change: Change::Add,
                flags: "a) b (".into(),
            },
            Command::Raw(b"NOOP\r\nx"[..].into()),
            Command::Raw(b""[..].into()),
        ];
        for command in refused {
            assert_eq!(line(&command), Err(Failure::Misuse), "{command:?}");
        }
    }
}
