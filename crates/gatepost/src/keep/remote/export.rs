//! An account's mail to a running IMAP server.
//!
//! ```text
//!  List ─▶ (Create) ─▶ Examine ─▶ Look ─▶ Append … ─▶ the next mailbox ─▶ … ─▶ end
//! ```
//!
//! Nothing is kept about what was sent: before a mailbox is filled, its messages are looked at, and one of the same date, size and
//! Message-ID is not sent again, as often as it is there. So an export whose last answer was lost goes on without a message twice.

use std::collections::{HashMap, HashSet, VecDeque};

use clap::ArgMatches;
use gatepost_store::{Message, Reading};
use gatepost_wire::imap::client::{Answer, Command, Data, Fetched, Kind, Portion, Status};

use super::super::export::{Mailbox, Tally, content};
use super::super::letter::flag_names;
use super::{Steps, Way, list_all, read_date, write_date};
use crate::client::progress::Progress;
use crate::client::trouble::Trouble;
use crate::exit::Failure;

/// Messages asked for at a time.
const AT_ONCE: usize = 500;

/// Sends mailboxes to a server.
pub(crate) fn run(
    given: &ArgMatches,
    text: &str,
    reading: &Reading,
    mailboxes: Vec<Mailbox>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let way = Way::read(given, text)?;
    let octets = mailboxes.iter().map(|it| it.octets).sum();
    let mut run = Run {
        top: way.url.mailbox.clone(),
        reading,
        tally,
        progress: Progress::new("exported", octets),
        step: Step::List,
        mailboxes: mailboxes.into(),
        there: HashSet::new(),
        delimiter: '/',
        current: None,
        looked_at: HashMap::new(),
        header: None,
        after: 0,
        waiting: VecDeque::new(),
        sending: None,
    };
    way.run(&mut run, "gatepost-mailbox-export-1")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    List,
    Create,
    Examine,
    Look,
    Append,
}

/// What tells a message from others: when it came, its size, its Message-ID.
type Key = (i64, u64, Vec<u8>);

struct Run<'a> {
    /// The mailbox on the server below which all go.
    top: Option<String>,
    reading: &'a Reading,
    tally: &'a mut Tally,
    progress: Progress,
    step: Step,
    mailboxes: VecDeque<Mailbox>,
    /// Names on the server.
    there: HashSet<String>,
    delimiter: char,
    /// The mailbox under way, and its name on the server.
    current: Option<(Mailbox, String)>,
    looked_at: HashMap<Key, u64>,
    header: Option<(u32, Vec<u8>)>,
    /// The UID up to which messages were read from the store.
    after: u32,
    waiting: VecDeque<Message>,
    sending: Option<(u32, Vec<u8>)>,
}

impl Run<'_> {
    fn next_mailbox(&mut self) -> Answer {
        let Some(mailbox) = self.mailboxes.pop_front() else {
            return Answer::Quit;
        };
        let name = match &self.top {
            Some(top) => format!("{top}/{}", mailbox.name),
            None => mailbox.name.clone(),
        };
        // Levels are parted as the server does it; its delimiter within a level would part it.
        let levels: Vec<String> = name
            .split('/')
            .map(|level| level.replace(self.delimiter, "_"))
            .collect();
        let name = levels.join(&self.delimiter.to_string());
        (self.after, self.looked_at) = (0, HashMap::new());
        let create = !self.there.contains(&name) && name != "INBOX";
        self.current = Some((mailbox, name.clone()));
        if create {
            self.step = Step::Create;
            return Answer::Command(Command::Create { mailbox: name });
        }
        self.examine()
    }

    fn name(&self) -> String {
        self.current
            .as_ref()
            .map_or_else(String::new, |(_, name)| name.clone())
    }

    fn examine(&mut self) -> Answer {
        self.step = Step::Examine;
        Answer::Command(Command::Select {
            mailbox: self.name(),
            read_only: true,
        })
    }

    /// The next message that is not there yet.
    fn next_message(&mut self) -> Result<Answer, Trouble> {
        self.step = Step::Append;
        let fail = |error| Trouble::ours("E-STORE", &Failure::local(error));
        loop {
            let Some((mailbox, name)) = &self.current else {
                return Ok(Answer::Quit);
            };
            let Some(message) = self.waiting.pop_front() else {
                let more = self
                    .reading
                    .messages_after(mailbox.id, self.after, AT_ONCE)
                    .map_err(fail)?;
                let Some(last) = more.last() else {
                    self.tally.mailboxes += 1;
                    return Ok(self.next_mailbox());
                };
                self.after = last.uid;
                self.waiting = more.into();
                continue;
            };
            let Ok(octets) = content(self.reading, &message) else {
                self.tally.refused += 1;
                eprintln!(
                    "gatepost: left out: {name} UID {}: damaged; see gatepost mailbox check",
                    message.uid
                );
                continue;
            };
            let key = (message.date.unix, message.size, message_id(&octets));
            if let Some(count) = self.looked_at.get_mut(&key).filter(|count| **count > 0) {
                *count -= 1;
                self.tally.known += 1;
                continue;
            }
            let command = Command::Append {
                mailbox: name.clone(),
                flags: flag_names(&message.flags).join(" "),
                date: Some(write_date(message.date)),
                octets: message.size,
            };
            self.sending = Some((message.uid, octets));
            return Ok(Answer::Command(command));
        }
    }

    fn look(&mut self, fetched: &Fetched) {
        let streamed = self
            .header
            .take()
            .filter(|(sequence, _)| *sequence == fetched.sequence);
        let short = || {
            let header = fetched
                .other
                .iter()
                .find(|(name, _)| name.starts_with("BODY[HEADER"));
            header.and_then(|(_, value)| value.octets().map(<[u8]>::to_vec))
        };
        let header = streamed.map(|(_, octets)| octets).or_else(short);
        let date = fetched.date.as_deref().and_then(read_date);
        if let (Some(date), Some(size)) = (date, fetched.size) {
            let key = (date.unix, size, message_id(&header.unwrap_or_default()));
            *self.looked_at.entry(key).or_default() += 1;
        }
    }

    /// The message under way is there.
    fn appended(&mut self) -> Result<Answer, Trouble> {
        if let Some((_, octets)) = self.sending.take() {
            // [`Steps::content`] took the octets: the count stayed.
            self.tally.messages += 1;
            self.tally.octets += octets.len() as u64;
        }
        self.next_message()
    }
}

/// The value of the Message-ID field, without the space around it.
fn message_id(octets: &[u8]) -> Vec<u8> {
    let mut lines = octets.split(|octet| *octet == b'\n');
    while let Some(line) = lines
        .next()
        .map(<[u8]>::trim_ascii_end)
        .filter(|line| !line.is_empty())
    {
        if line.len() >= 11 && line[..11].eq_ignore_ascii_case(b"message-id:") {
            let mut value = line[11..].trim_ascii().to_vec();
            if value.is_empty() {
                value = lines.next().unwrap_or_default().trim_ascii().to_vec();
            }
            return value;
        }
    }
    Vec::new()
}

impl Steps for Run<'_> {
    fn begin(&mut self) -> Answer {
        list_all()
    }

    fn take(&mut self, data: Data) -> Result<(), Trouble> {
        match data {
            Data::Listed(listed) => {
                self.delimiter = listed.delimiter.unwrap_or(self.delimiter);
                self.there.insert(listed.name.into());
            }
            Data::Fetched(fetched) if self.step == Step::Look => self.look(&fetched),
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, portion: &Portion) -> Result<(), Trouble> {
        if portion.offset == 0 {
            self.header = Some((portion.sequence, Vec::new()));
        }
        if let Some((_, octets)) = &mut self.header
            && octets.len() < 64 * 1024
        {
            octets.extend_from_slice(&portion.bytes);
        }
        Ok(())
    }

    fn content(&mut self) -> Vec<u8> {
        let octets = self.sending.as_ref().map(|(_, octets)| octets.clone());
        let octets = octets.unwrap_or_default();
        self.progress.add(octets.len() as u64);
        octets
    }

    fn done(&mut self, status: &Status) -> Result<Answer, Trouble> {
        let good = status.kind == Kind::Ok;
        let refused = |what: String| Trouble::refused(&what, &status.text.to_string());
        match self.step {
            Step::List if good => Ok(self.next_mailbox()),
            Step::List => Err(refused("to list the mailboxes".into())),
            Step::Create if good || status.code_argument("ALREADYEXISTS").is_some() => {
                Ok(self.examine())
            }
            Step::Create => Err(refused(format!("to create the mailbox {:?}", self.name()))),
            Step::Examine if good => {
                self.step = Step::Look;
                Ok(Answer::Command(Command::Fetch {
                    uids: "1:*".to_owned(),
                    items: "(UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
                        .to_owned(),
                }))
            }
            Step::Examine => Err(refused(format!("to open the mailbox {:?}", self.name()))),
            // Some servers refuse to fetch from a mailbox without messages.
            Step::Look if good || self.looked_at.is_empty() => self.next_message(),
            Step::Look => Err(refused(format!("to tell what is in {:?}", self.name()))),
            Step::Append if good => self.appended(),
            Step::Append => {
                let uid = self.sending.as_ref().map_or(0, |(uid, _)| *uid);
                Err(refused(format!("to take {:?} UID {uid}", self.name())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::message_id;

    #[test]
    fn the_message_id_is_found_in_the_header_only() {
        assert_eq!(message_id(b"A: b\r\nMESSAGE-ID:  <x@y>\r\n\r\n"), b"<x@y>");
        assert_eq!(message_id(b"Message-ID:\r\n <x@y>\r\n\r\n"), b"<x@y>");
        assert_eq!(message_id(b"A: b\r\n\r\nMessage-ID: <x@y>\r\n"), b"");
        assert_eq!(message_id(b""), b"");
    }
}
