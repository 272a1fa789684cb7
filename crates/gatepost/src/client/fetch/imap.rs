//! Fetching by IMAP: select, search, fetch what is not stored yet, remove what is, wait for more.
//!
//! ```text
//!  Login ─▶ Select ─▶ Search ─▶ Fetch … ─▶ (Mark ─▶ Expunge) ─▶ Quit
//!                        ▲                         │
//!                        └──────── Idle ◀──────────┘
//! ```

use std::collections::{HashSet, VecDeque};

use gatepost_wire::client::{Failure as SessionFailure, Stage};
use gatepost_wire::imap::client::{
    Answer, Ask, Change, Client, Command, Data, Fetched, Kind, Portion, Status,
};

use super::super::login;
use super::super::progress::Progress;
use super::super::reach::Open;
use super::super::settings::Settings;
use super::super::trouble::Trouble;
use super::super::url::Url;
use super::store::{Facts, Incoming, Store};
use super::want::Want;
use super::{Tally, date, print_message};

/// How many messages one command fetches.
const AT_ONCE: usize = 500;

/// The most messages a search may find. A few words of a server can stand for millions of numbers.
const MOST_FOUND: usize = 2_000_000;

/// The part of a message that is asked for: all of it.
const WHOLE: &str = "BODY[]";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Login,
    Select,
    Search,
    Fetch,
    Mark,
    Expunge,
    Idle,
}

/// One run over a mailbox.
pub(crate) struct Run<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) url: &'a Url,
    pub(crate) want: &'a Want,
    user: String,
    step: Step,
    validity: Option<u32>,
    can_expunge_some: bool,
    can_idle: bool,
    store: Option<Store>,
    found: Vec<u32>,
    /// What was asked for and has not come: nothing else is stored, and nothing twice.
    expected: HashSet<u32>,
    /// Sets of UIDs that are still to be fetched.
    queue: VecDeque<String>,
    incoming: Option<(u32, Incoming)>,
    /// What is stored durably and may be removed.
    removable: Vec<u32>,
    news: bool,
    progress: Progress,
    pub(crate) tally: Tally,
}

impl<'a> Run<'a> {
    /// A run that has not begun.
    pub(crate) fn new(settings: &'a Settings, url: &'a Url, want: &'a Want, user: String) -> Self {
        Self {
            settings,
            url,
            want,
            user,
            step: Step::Login,
            validity: None,
            can_expunge_some: false,
            can_idle: false,
            store: None,
            found: Vec::new(),
            expected: HashSet::new(),
            queue: VecDeque::new(),
            incoming: None,
            removable: Vec::new(),
            news: false,
            progress: Progress::new("fetched", 0),
            tally: Tally::default(),
        }
    }

    /// Runs to the end.
    pub(crate) async fn run(&mut self, open: &mut Open<Client>) -> Result<(), Trouble> {
        let result = self.talk(open).await;
        // What came whole before a failure is kept all the same.
        self.incoming = None;
        let flushed = self.flush();
        result.and(flushed)
    }

    async fn talk(&mut self, open: &mut Open<Client>) -> Result<(), Trouble> {
        loop {
            let asked = open.session.next().await;
            let Some(ask) = asked.map_err(|failure| Trouble::of(&failure))? else {
                return Ok(());
            };
            let answer = self.answer(ask, open)?;
            open.session.answer(answer);
        }
    }

    fn answer(&mut self, ask: Ask, open: &Open<Client>) -> Result<Answer, Trouble> {
        match ask {
            Ask::Ready {
                capabilities,
                logged_in,
            } => {
                open.warn(capabilities.has("STARTTLS"));
                self.learn(|word| capabilities.has(word));
                if logged_in {
                    return Ok(self.select());
                }
                match login::credentials(self.settings, self.url, open)? {
                    Some(credentials) => Ok(Answer::Login(Box::new(credentials))),
                    None => Err(Trouble::needs_user()),
                }
            }
            Ask::LoggedIn(mechanism) => {
                self.tally.mechanism = Some(mechanism.map_or("LOGIN", |it| it.name()));
                if let Some(client) = open.session.machine() {
                    let capabilities = client.capabilities();
                    self.learn(|word| capabilities.has(word));
                }
                Ok(self.select())
            }
            Ask::LoginFailed(failure) => Err(Trouble::of_session(&failure)),
            Ask::Data(data) => {
                self.take(*data, open)?;
                let waits = self.step != Step::Idle || !self.news;
                Ok(if waits { Answer::Wait } else { Answer::Done })
            }
            Ask::Portion(portion) => {
                self.write(&portion)?;
                Ok(Answer::Wait)
            }
            Ask::Done(status) => self.done(&status, open),
            Ask::Idling => Ok(if self.news {
                Answer::Done
            } else {
                Answer::Wait
            }),
            Ask::Idle | Ask::Content | Ask::Continue(_) => Ok(Answer::Quit),
        }
    }

    fn learn(&mut self, has: impl Fn(&str) -> bool) {
        self.can_expunge_some = has("UIDPLUS") || has("IMAP4REV2");
        self.can_idle = has("IDLE") || has("IMAP4REV2");
    }

    fn select(&mut self) -> Answer {
        self.step = Step::Select;
        Answer::Command(Command::Select {
            mailbox: self.want.mailbox.clone(),
            read_only: !self.want.delete,
        })
    }

    fn take(&mut self, data: Data, open: &Open<Client>) -> Result<(), Trouble> {
        match data {
            Data::Status(status) => {
                if let Some(validity) = status.code_argument("UIDVALIDITY") {
                    self.validity = validity.parse().ok();
                }
                if status.code_argument("ALERT").is_some() {
                    open.say(&format!("the server wants you to know: {}", status.text));
                }
            }
            Data::Exists(_) => self.news = self.step != Step::Select,
            Data::Found(uids) if self.step == Step::Search => {
                if self.found.len() + uids.len() > MOST_FOUND {
                    return Err(Trouble::of_session(&SessionFailure::TooMuch(
                        Stage::Command,
                    )));
                }
                self.found.extend(uids);
            }
            Data::Fetched(fetched) => self.finish_message(fetched, open.door.port)?,
            _ => {}
        }
        Ok(())
    }

    fn done(&mut self, status: &Status, open: &Open<Client>) -> Result<Answer, Trouble> {
        if status.kind != Kind::Ok {
            return Err(self.refused(status));
        }
        match self.step {
            Step::Login => Ok(Answer::Quit),
            Step::Select => {
                self.open_store(open)?;
                Ok(self.search())
            }
            Step::Search => Ok(self.plan_fetches()),
            Step::Fetch => self.next_fetch(),
            Step::Mark => Ok(self.expunge(open)),
            Step::Expunge => {
                self.tally.removed += self.removable.len() as u64;
                self.removable.clear();
                Ok(self.rest())
            }
            Step::Idle => Ok(self.search()),
        }
    }

    fn refused(&self, status: &Status) -> Trouble {
        let what = match self.step {
            Step::Login | Step::Select => format!("to open the mailbox {:?}", self.want.mailbox),
            Step::Search => format!("to search for {:?}", self.want.search),
            Step::Fetch => "to hand out messages".to_owned(),
            Step::Mark | Step::Expunge => "to remove messages".to_owned(),
            Step::Idle => "to tell what arrives".to_owned(),
        };
        Trouble::refused(&what, &status.text.to_string())
    }

    fn open_store(&mut self, open: &Open<Client>) -> Result<(), Trouble> {
        let Some(validity) = self.validity else {
            return Err(Trouble::refused(
                "to say which UIDs are good (UIDVALIDITY)",
                "nothing",
            ));
        };
        let Some(folder) = &self.want.folder else {
            return Ok(());
        };
        let origin = self
            .want
            .origin(self.url, open.door.port, &self.user, Some(validity));
        let store = Store::open(self.want.format, folder, origin);
        self.store = Some(store.map_err(|failure| Trouble::ours("E-STORE", &failure))?);
        Ok(())
    }

    fn search(&mut self) -> Answer {
        self.step = Step::Search;
        self.news = false;
        self.found.clear();
        Answer::Command(Command::Search {
            criteria: self.want.search.clone(),
        })
    }

    fn plan_fetches(&mut self) -> Answer {
        self.step = Step::Fetch;
        self.found.sort_unstable();
        self.found.dedup();
        let store = self.store.as_ref();
        let known = |uid: &u32| store.is_some_and(|store| store.knows(&uid.to_string()));
        let (old, mut new): (Vec<u32>, Vec<u32>) = self.found.iter().partition(|uid| known(uid));
        self.tally.found = self.found.len() as u64;
        if self.want.delete {
            self.removable = old;
        }
        if let Some(limit) = self.want.limit {
            let left = limit.saturating_sub(self.tally.stored + self.tally.printed);
            new.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.queue = new.chunks(AT_ONCE).map(set).collect();
        self.expected = new.into_iter().collect();
        match self.queue.pop_front() {
            Some(uids) => fetch(uids),
            None => self.remove(),
        }
    }

    fn next_fetch(&mut self) -> Result<Answer, Trouble> {
        if let Some(uids) = self.queue.pop_front() {
            return Ok(fetch(uids));
        }
        self.flush()?;
        Ok(self.remove())
    }

    fn write(&mut self, portion: &Portion) -> Result<(), Trouble> {
        let fail = |failure| Trouble::ours("E-STORE", &failure);
        if self.step != Step::Fetch || &*portion.section != WHOLE {
            return Ok(());
        }
        if portion.offset == 0 {
            self.incoming = None;
        }
        if self.incoming.is_none() {
            let incoming = match &mut self.store {
                Some(store) => store.begin().map_err(fail)?,
                None => Incoming::in_memory(),
            };
            self.incoming = Some((portion.sequence, incoming));
        }
        if let Some((sequence, incoming)) = &mut self.incoming
            && *sequence == portion.sequence
        {
            incoming.write(&portion.bytes).map_err(fail)?;
            self.progress.add(portion.bytes.len() as u64);
        }
        Ok(())
    }

    /// A message has come whole, and what it is called is known.
    fn finish_message(&mut self, fetched: Fetched, port: u16) -> Result<(), Trouble> {
        let fail = |failure| Trouble::ours("E-STORE", &failure);
        let expected = |uid: &u32| self.step == Step::Fetch && self.expected.contains(uid);
        let Some(uid) = fetched.uid.filter(expected) else {
            self.incoming = None;
            return Ok(());
        };
        let mut incoming = match self.incoming.take() {
            Some((sequence, incoming)) if sequence == fetched.sequence => incoming,
            _ => {
                // Flags that changed beside; or a message so short that it was not handed on in portions.
                let Some(octets) = short_body(&fetched) else {
                    return Ok(());
                };
                let mut incoming = match &mut self.store {
                    Some(store) => store.begin().map_err(fail)?,
                    None => Incoming::in_memory(),
                };
                incoming.write(&octets).map_err(fail)?;
                incoming
            }
        };
        self.expected.remove(&uid);
        let flags = fetched.flags.unwrap_or_default();
        let facts = Facts {
            id: uid.to_string(),
            flags: flags.into_iter().map(String::from).collect(),
            date: fetched.date.as_deref().and_then(date::from_imap),
        };
        self.tally.octets += incoming.octets;
        if let Some(store) = &mut self.store {
            let durable = store.keep(incoming, facts).map_err(fail)?;
            self.note(&durable);
        } else {
            let origin = self.want.origin(self.url, port, &self.user, self.validity);
            print_message(&origin, &facts, &mut incoming)?;
            self.tally.printed += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        if let Some(store) = &mut self.store {
            let durable = store.flush();
            let durable = durable.map_err(|failure| Trouble::ours("E-STORE", &failure))?;
            self.note(&durable);
        }
        Ok(())
    }

    fn note(&mut self, durable: &[String]) {
        self.tally.stored += durable.len() as u64;
        if self.want.delete {
            let uids = durable.iter().filter_map(|id| id.parse::<u32>().ok());
            self.removable.extend(uids);
        }
    }

    fn remove(&mut self) -> Answer {
        if !self.want.delete || self.removable.is_empty() {
            return self.rest();
        }
        self.step = Step::Mark;
        self.removable.sort_unstable();
        Answer::Command(Command::Store {
            uids: set(&self.removable),
            change: Change::Add,
            flags: "\\Deleted".to_owned(),
        })
    }

    fn expunge(&mut self, open: &Open<Client>) -> Answer {
        if !self.can_expunge_some {
            open.say(
                "the server cannot remove single messages (no UIDPLUS): those stored are marked as deleted and left there",
            );
            self.removable.clear();
            return self.rest();
        }
        self.step = Step::Expunge;
        Answer::Command(Command::Expunge {
            uids: Some(set(&self.removable)),
        })
    }

    fn rest(&mut self) -> Answer {
        let enough = self
            .want
            .limit
            .is_some_and(|limit| self.tally.stored + self.tally.printed >= limit);
        if self.want.idle && self.can_idle && !enough {
            // Something came while this was being done: it would not be told again.
            if self.news {
                return self.search();
            }
            self.step = Step::Idle;
            return Answer::Command(Command::Idle);
        }
        Answer::Quit
    }

    /// Whether `--idle` was asked for and the server cannot.
    pub(crate) fn cannot_idle(&self) -> bool {
        self.want.idle && !self.can_idle
    }
}

fn fetch(uids: String) -> Answer {
    Answer::Command(Command::Fetch {
        uids,
        items: "(UID FLAGS INTERNALDATE BODY.PEEK[])".to_owned(),
    })
}

fn short_body(fetched: &Fetched) -> Option<Vec<u8>> {
    let (_, value) = fetched.other.iter().find(|(name, _)| &**name == WHOLE)?;
    // NIL: the server has no content to give, which is not the same as an empty message.
    if value.is_nil() {
        return None;
    }
    value.octets().map(<[u8]>::to_vec)
}

/// A set of UIDs in as few words as it takes; the numbers must be sorted.
fn set(uids: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            _ => ranges.push((*uid, *uid)),
        }
    }
    let words: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}:{last}")
            }
        })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::set;

    #[test]
    fn sets_are_short() {
        assert_eq!(set(&[1]), "1");
        assert_eq!(set(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(set(&[u32::MAX - 1, u32::MAX]), "4294967294:4294967295");
    }
}
