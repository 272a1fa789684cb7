//! Fetching by POP3: unique-ids, what is not stored yet, DELE for what is.
//!
//! A server without unique-ids (UIDL) is refused: without them nobody could tell what is stored already. DELE counts only when QUIT is
//! answered, which comes after everything is durable.

use std::collections::HashMap;

use gatepost_wire::pop3::client::{Answer, Ask, Client, Command, Data, Done};

use super::super::login;
use super::super::progress::Progress;
use super::super::reach::Open;
use super::super::settings::Settings;
use super::super::trouble::Trouble;
use super::super::url::Url;
use super::store::{Facts, Incoming, Origin, Store};
use super::want::Want;
use super::{Tally, print_message};

/// One run over a mailbox.
pub(crate) struct Run<'a> {
    settings: &'a Settings,
    url: &'a Url,
    want: &'a Want,
    origin: Origin,
    store: Option<Store>,
    /// The unique-id of each message by its number.
    ids: HashMap<u32, String>,
    /// Messages that are not answered for yet.
    open: usize,
    incoming: Option<(u32, Incoming)>,
    /// The numbers of what is stored durably and may be removed.
    removable: Vec<u32>,
    deleting: bool,
    progress: Progress,
    pub(crate) tally: Tally,
}

impl<'a> Run<'a> {
    /// A run that has not begun.
    pub(crate) fn new(settings: &'a Settings, url: &'a Url, want: &'a Want, user: &str) -> Self {
        Self {
            settings,
            url,
            want,
            origin: want.origin(url, 0, user, None),
            store: None,
            ids: HashMap::new(),
            open: 0,
            incoming: None,
            removable: Vec::new(),
            deleting: false,
            progress: Progress::new("fetched", 0),
            tally: Tally::default(),
        }
    }

    /// Runs to the end.
    pub(crate) async fn run(&mut self, open: &mut Open<Client>, user: &str) -> Result<(), Trouble> {
        self.origin = self.want.origin(self.url, open.door.port, user, None);
        let result = self.talk(open).await;
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
            Ask::Ready(capabilities) => {
                open.warn(capabilities.has("STLS"));
                match login::credentials(self.settings, self.url, open)? {
                    Some(credentials) => Ok(Answer::Login(Box::new(credentials))),
                    None => Err(Trouble::needs_user()),
                }
            }
            Ask::LoggedIn(mechanism) => {
                self.tally.mechanism = Some(mechanism.map_or("USER", |it| it.name()));
                self.open_store()?;
                Ok(Answer::Commands(vec![Command::Uidl]))
            }
            Ask::LoginFailed(failure) => Err(Trouble::of_session(&failure)),
            Ask::Portion(number, octets) => {
                self.write(number, &octets)?;
                Ok(Answer::Wait)
            }
            Ask::Done(done) => self.done(*done),
            Ask::Idle => Ok(Answer::Wait),
        }
    }

    fn open_store(&mut self) -> Result<(), Trouble> {
        if let Some(folder) = &self.want.folder {
            let store = Store::open(self.want.format, folder, self.origin.clone());
            self.store = Some(store.map_err(|failure| Trouble::ours("E-STORE", &failure))?);
        }
        Ok(())
    }

    fn done(&mut self, done: Done) -> Result<Answer, Trouble> {
        if !done.good {
            let what = match done.command {
                Command::Uidl => "to give messages unique-ids (UIDL)",
                Command::Delete(_) => "to remove a message",
                Command::Quit => "to end, and to remove messages",
                _ => "to hand out a message",
            };
            return Err(Trouble::refused(what, &done.text.to_string()));
        }
        match (done.command, done.data) {
            (Command::Uidl, Data::Uids(uids)) => Ok(self.plan(uids)),
            (Command::Retrieve(number), _) => self.finish_message(number),
            (Command::Delete(_), _) => {
                self.tally.removed += 1;
                self.open = self.open.saturating_sub(1);
                Ok(if self.open == 0 {
                    Answer::Quit
                } else {
                    Answer::Wait
                })
            }
            _ => Ok(Answer::Wait),
        }
    }

    fn plan(&mut self, uids: Vec<(u32, Box<str>)>) -> Answer {
        self.tally.found = uids.len() as u64;
        let limit = self.want.limit.unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut commands = Vec::new();
        for (number, id) in uids {
            let known = self.store.as_ref().is_some_and(|store| store.knows(&id));
            if known && self.want.delete {
                self.removable.push(number);
            } else if !known && commands.len() < limit {
                commands.push(Command::Retrieve(number));
                self.ids.insert(number, id.into());
            }
        }
        self.open = commands.len();
        if commands.is_empty() {
            return self.remove();
        }
        Answer::Commands(commands)
    }

    fn begin(&mut self) -> Result<Incoming, Trouble> {
        match &mut self.store {
            Some(store) => store
                .begin()
                .map_err(|failure| Trouble::ours("E-STORE", &failure)),
            None => Ok(Incoming::in_memory()),
        }
    }

    fn write(&mut self, number: u32, octets: &[u8]) -> Result<(), Trouble> {
        if self.incoming.as_ref().is_none_or(|(it, _)| *it != number) {
            self.incoming = Some((number, self.begin()?));
        }
        if let Some((_, incoming)) = &mut self.incoming {
            let written = incoming.write(octets);
            written.map_err(|failure| Trouble::ours("E-STORE", &failure))?;
            self.progress.add(octets.len() as u64);
        }
        Ok(())
    }

    fn finish_message(&mut self, number: u32) -> Result<Answer, Trouble> {
        let mut incoming = match self.incoming.take() {
            Some((it, incoming)) if it == number => incoming,
            _ => self.begin()?,
        };
        let id = self.ids.get(&number).cloned().unwrap_or_default();
        let facts = Facts {
            id,
            flags: Vec::new(),
            date: None,
        };
        self.tally.octets += incoming.octets;
        if let Some(store) = &mut self.store {
            let durable = store.keep(incoming, facts);
            let durable = durable.map_err(|failure| Trouble::ours("E-STORE", &failure))?;
            self.note(&durable);
        } else {
            print_message(&self.origin, &facts, &mut incoming)?;
            self.tally.printed += 1;
        }
        self.open = self.open.saturating_sub(1);
        if self.open > 0 {
            return Ok(Answer::Wait);
        }
        self.flush()?;
        Ok(self.remove())
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
        if !self.want.delete {
            return;
        }
        let stored = self.ids.iter().filter(|(_, id)| durable.contains(id));
        self.removable.extend(stored.map(|(number, _)| *number));
    }

    fn remove(&mut self) -> Answer {
        if self.deleting || self.removable.is_empty() {
            return Answer::Quit;
        }
        self.deleting = true;
        self.removable.sort_unstable();
        let commands: Vec<Command> = self.removable.drain(..).map(Command::Delete).collect();
        self.open = commands.len();
        Answer::Commands(commands)
    }
}
