//! Mail from a running IMAP server into the store.
//!
//! ```text
//!  List ─▶ Examine ─▶ Search ─▶ Fetch … ─▶ the next mailbox ─▶ … ─▶ end
//! ```
//!
//! Mailboxes are opened read-only. What was brought in is known by server, user, mailbox, UIDVALIDITY and UID, and is not asked
//! for again.

use std::collections::VecDeque;

use clap::ArgMatches;
use gatepost_wire::imap::ask::Flags;
use gatepost_wire::imap::client::{Answer, Command, Data, Fetched, Kind, Portion, Status};

use super::super::import::{Import, LARGEST, shorten};
use super::super::letter::{Letter, internal_date, set_flag, to_crlf};
use super::super::names;
use super::super::source::unfit;
use super::{Steps, Way, holds_messages, list_all, read_date, set};
use crate::client::trouble::Trouble;
use crate::exit::Failure;

/// How many messages one command fetches.
const AT_ONCE: usize = 200;

/// Brings in what is on a server.
pub(crate) fn run(given: &ArgMatches, text: &str, import: &mut Import) -> Result<(), Failure> {
    let way = Way::read(given, text)?;
    let mut run = Run {
        place: way.place(),
        only: way.url.mailbox.clone(),
        import,
        step: Step::List,
        mailboxes: VecDeque::new(),
        mailbox: String::new(),
        folder: String::new(),
        validity: 0,
        found: Vec::new(),
        queue: VecDeque::new(),
        coming: None,
    };
    way.run(&mut run, "gatepost-mailbox-import-1")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    List,
    Examine,
    Search,
    Fetch,
}

struct Run<'a> {
    place: String,
    /// One mailbox only.
    only: Option<String>,
    import: &'a mut Import,
    step: Step,
    /// Names on the server, and here.
    mailboxes: VecDeque<(String, String)>,
    mailbox: String,
    folder: String,
    validity: u32,
    found: Vec<u32>,
    queue: VecDeque<String>,
    /// The message that is coming in: its number, and what came of it up to the limit.
    coming: Option<(u32, Vec<u8>)>,
}

impl Run<'_> {
    fn next_mailbox(&mut self) -> Answer {
        let Some((mailbox, folder)) = self.mailboxes.pop_front() else {
            return Answer::Quit;
        };
        self.step = Step::Examine;
        (self.mailbox, self.folder, self.validity) = (mailbox.clone(), folder, 0);
        self.found.clear();
        Answer::Command(Command::Select {
            mailbox,
            read_only: true,
        })
    }

    fn next_fetch(&mut self) -> Answer {
        self.step = Step::Fetch;
        match self.queue.pop_front() {
            Some(uids) => Answer::Command(Command::Fetch {
                uids,
                items: "(UID FLAGS INTERNALDATE BODY.PEEK[])".to_owned(),
            }),
            None => self.next_mailbox(),
        }
    }

    /// What a message is known by.
    fn name(&self, uid: u32) -> Vec<u8> {
        let words = format!(
            "imap\0{}\0{}\0{}\0{uid}",
            self.place, self.mailbox, self.validity
        );
        words.into_bytes()
    }

    fn plan(&mut self) -> Answer {
        self.found.sort_unstable();
        self.found.dedup();
        let found = std::mem::take(&mut self.found);
        let (known, new): (Vec<u32>, Vec<u32>) = found
            .into_iter()
            .partition(|uid| self.import.knows(&shorten(&self.name(*uid))));
        self.import.count_known(known.len() as u64);
        self.queue = new.chunks(AT_ONCE).map(set).collect();
        self.next_fetch()
    }

    fn keep(&mut self, fetched: Fetched) -> Result<(), Trouble> {
        let Some(uid) = fetched.uid else {
            self.coming = None;
            return Ok(());
        };
        let octets = match self.coming.take() {
            Some((sequence, octets)) if sequence == fetched.sequence => octets,
            // Flags that changed beside; or a message so short that it was not handed on in portions.
            _ => match fetched.other.iter().find(|(name, _)| &**name == "BODY[]") {
                Some((_, value)) => value.octets().unwrap_or_default().to_vec(),
                None => return Ok(()),
            },
        };
        let what = format!("{} UID {uid}", self.mailbox);
        let refusal = if octets.len() as u64 > LARGEST {
            Some("is too large")
        } else {
            unfit(&octets)
        };
        if let Some(why) = refusal {
            self.import.name_refused(&what, why);
            return Ok(());
        }
        let mut flags = Flags::default();
        for name in fetched.flags.unwrap_or_default() {
            set_flag(&mut flags, &name);
        }
        let date = fetched.date.as_deref().and_then(read_date);
        let letter = Letter {
            folder: self.folder.clone(),
            name: what,
            octets: to_crlf(octets),
            flags,
            date: date.unwrap_or_else(|| internal_date(std::time::SystemTime::now())),
        };
        let mark = shorten(&self.name(uid));
        self.import
            .bring_marked(letter, mark)
            .map_err(|failure| Trouble::ours("E-STORE", &failure))
    }
}

/// A server's mailbox by the name it gets here; empty: the first.
fn folder_of(name: &str, delimiter: Option<char>) -> String {
    let levels: Vec<String> = match delimiter {
        Some(delimiter) => name.split(delimiter).map(names::clean).collect(),
        None => vec![names::clean(name)],
    };
    match levels.as_slice() {
        [one] if one.eq_ignore_ascii_case("INBOX") => String::new(),
        _ => levels.join("/"),
    }
}

impl Steps for Run<'_> {
    fn begin(&mut self) -> Answer {
        match self.only.clone() {
            Some(name) => {
                // Its own name, unless another is asked for.
                let folder = if self.import.has_base() { "" } else { &*name };
                let folder = if folder.eq_ignore_ascii_case("INBOX") {
                    ""
                } else {
                    folder
                };
                self.mailboxes.push_back((name.clone(), folder.to_owned()));
                self.next_mailbox()
            }
            None => list_all(),
        }
    }

    fn take(&mut self, data: Data) -> Result<(), Trouble> {
        match data {
            Data::Listed(listed) if self.step == Step::List && holds_messages(&listed) => {
                let folder = folder_of(&listed.name, listed.delimiter);
                self.mailboxes.push_back((listed.name.into(), folder));
            }
            Data::Status(status) => {
                if let Some(validity) = status.code_argument("UIDVALIDITY") {
                    self.validity = validity.parse().unwrap_or_default();
                }
            }
            Data::Found(uids) if self.step == Step::Search => self.found.extend(uids),
            Data::Fetched(fetched) if self.step == Step::Fetch => self.keep(fetched)?,
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, portion: &Portion) -> Result<(), Trouble> {
        if portion.offset == 0 {
            self.coming = Some((portion.sequence, Vec::new()));
        }
        if let Some((sequence, octets)) = &mut self.coming
            && *sequence == portion.sequence
            && octets.len() as u64 <= LARGEST
        {
            octets.extend_from_slice(&portion.bytes);
        }
        self.import.progress(portion.bytes.len() as u64);
        Ok(())
    }

    fn content(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn done(&mut self, status: &Status) -> Result<Answer, Trouble> {
        if status.kind != Kind::Ok {
            let what = match self.step {
                Step::List => "to list the mailboxes".to_owned(),
                Step::Examine => format!("to open the mailbox {:?}", self.mailbox),
                Step::Search | Step::Fetch => format!("to hand out {:?}", self.mailbox),
            };
            // One mailbox that is refused must not keep the others back.
            if self.step == Step::Examine && self.only.is_none() {
                self.import
                    .name_refused(&self.mailbox, "the server does not open it");
                return Ok(self.next_mailbox());
            }
            return Err(Trouble::refused(&what, &status.text.to_string()));
        }
        match self.step {
            Step::List => Ok(self.next_mailbox()),
            Step::Examine if self.validity == 0 => Err(Trouble::refused(
                "to say which UIDs are good (UIDVALIDITY)",
                "nothing",
            )),
            Step::Examine => {
                self.import
                    .ensure(&self.folder)
                    .map_err(|failure| Trouble::ours("E-STORE", &failure))?;
                self.step = Step::Search;
                Ok(Answer::Command(Command::Search {
                    criteria: "ALL".to_owned(),
                }))
            }
            Step::Search => Ok(self.plan()),
            Step::Fetch => Ok(self.next_fetch()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::folder_of;

    #[test]
    fn names_of_a_server_become_ours() {
        assert_eq!(folder_of("inbox", Some('/')), "");
        assert_eq!(folder_of("INBOX.Sent.2024", Some('.')), "INBOX/Sent/2024");
        assert_eq!(folder_of("a.b/c*", Some('.')), "a/b_c_");
        assert_eq!(folder_of("flat", None), "flat");
    }
}
