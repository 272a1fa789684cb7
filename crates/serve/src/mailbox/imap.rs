//! The backend of an IMAP session. FETCH is in [`super::fetch`], SEARCH in [`super::search`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::driver::{Answering, Backend, Event};
use gatepost_store::{
    AccountId, Delivery, Error, Fault, Incoming, MailboxId, Message, Subscription,
};
use gatepost_wire::imap::ask::{
    Answer, Append, Ask, Criterion, FlagChange, Flags, Found, Item, ModSeq, Refusal, Rows,
    Selected, Status, Uid,
};
use gatepost_wire::session::Machine;
use tokio::sync::Notify;

use super::{Recorded, Shared, Summary, date, fetch, search};

/// A search that takes longer is given up with `NO [LIMIT]`: it could hold up others, and nobody may be waiting any more.
const LONGEST_SEARCH: Duration = Duration::from_secs(30);

/// The backend of one session. Small while the session is idle.
#[derive(Debug)]
pub struct ImapBackend {
    shared: Arc<Shared>,
    client: IpAddr,
    summary: Box<Summary>,
    news: Arc<Notify>,
    selected: Option<Open>,
    append: Option<Box<Appending>>,
    /// The message read last: pieces of one message come one after the other.
    reading: Option<Box<Message>>,
}

/// The selected mailbox.
#[derive(Debug)]
struct Open {
    mailbox: MailboxId,
    _listening: Subscription,
}

/// A message being appended.
#[derive(Debug)]
struct Appending {
    incoming: Incoming,
    what: Append,
}

impl<M: Machine<Ask = Ask, Answer = Answer>> Backend<M> for ImapBackend {
    fn handle(&mut self, ask: Ask) -> Answering<'_, Answer> {
        Box::pin(self.answer(ask))
    }

    fn news(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.news))
    }

    fn upgraded(&mut self) {
        self.summary.login = None;
        self.selected = None;
        self.append = None;
        self.reading = None;
    }

    fn event(&mut self, event: Event) {
        self.summary.note(event);
    }
}

impl Recorded for ImapBackend {
    fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl ImapBackend {
    /// A backend for a session with the client at this address.
    pub fn new(shared: Arc<Shared>, client: IpAddr) -> Self {
        let (summary, news) = (Box::default(), Arc::default());
        Self {
            shared,
            client,
            summary,
            news,
            selected: None,
            append: None,
            reading: None,
        }
    }

    /// Answers one question.
    pub async fn answer(&mut self, ask: Ask) -> Answer {
        let answer = self.decide(ask).await;
        let (Answer::Checked(Err(refusal))
        | Answer::Appended(Err(refusal))
        | Answer::Copied(Err(refusal))) = &answer
        else {
            return answer;
        };
        match refusal {
            Refusal::OverQuota => self.summary.limit("mailbox_full"),
            Refusal::TooBig => self.summary.limit("message_too_large"),
            Refusal::Limit => self.summary.limit("too_many_or_too_long"),
            Refusal::Unavailable => self.summary.limit("store_unavailable"),
            _ => {}
        }
        answer
    }

    async fn decide(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Account(ask) => {
                let judged = self.shared.keeper.answer(ask, self.client).await;
                Answer::Account(self.summary.judged(judged))
            }
            Ask::Select { mailbox, read_only } => {
                Answer::Selected(self.select(mailbox, read_only).await)
            }
            Ask::Unselect => {
                self.selected = None;
                self.reading = None;
                Answer::Done
            }
            Ask::Changes { since } => Answer::Changes(self.changes(since).await),
            Ask::Fetch {
                uids,
                items,
                mark_seen,
            } => Answer::Rows(self.fetch(uids, items, mark_seen).await),
            Ask::Read {
                uid,
                offset,
                length,
            } => Answer::Octets(self.read(uid, offset, length).await),
            Ask::Search { criteria, among } => Answer::Found(self.search(criteria, among).await),
            Ask::AppendBegin(what) => Answer::Checked(self.append_begin(what).await),
            Ask::AppendContent(octets) => Answer::Checked(self.append_content(octets).await),
            Ask::AppendCommit => Answer::Appended(self.append_commit().await),
            Ask::AppendAbort => {
                self.append = None;
                Answer::Done
            }
            Ask::Store { .. } | Ask::Copy { .. } | Ask::Expunge { .. } => self.change(ask).await,
            Ask::List => Answer::Mailboxes(self.list().await),
            Ask::Status { mailbox } => Answer::Status(self.status(mailbox).await),
            Ask::Create { .. }
            | Ask::Delete { .. }
            | Ask::Rename { .. }
            | Ask::Subscribe { .. } => Answer::Checked(self.administer(ask).await),
        }
    }

    fn account(&self) -> Result<AccountId, Refusal> {
        self.summary
            .login
            .as_ref()
            .map(|login| login.account)
            .ok_or(Refusal::Gone)
    }

    fn mailbox(&self) -> Result<MailboxId, Refusal> {
        self.selected
            .as_ref()
            .map(|open| open.mailbox)
            .ok_or(Refusal::Gone)
    }

    async fn select(&mut self, name: String, read_only: bool) -> Result<Selected, Refusal> {
        // RFC 9051 6.3.2: an attempt to select deselects, even when it fails.
        self.selected = None;
        self.reading = None;
        let (store, account) = (self.shared.store.clone(), self.account()?);
        let (mailbox, mut selected) = self
            .shared
            .block(move || store.select(account, &name))
            .await
            .map_err(refusal)?;
        let news = Arc::clone(&self.news);
        let listening = self
            .shared
            .store
            .subscribe(mailbox, Arc::new(move || news.notify_one()));
        // A change between the two calls above would go unheard: ask for changes once.
        self.news.notify_one();
        self.selected = Some(Open {
            mailbox,
            _listening: listening,
        });
        selected.read_only = read_only;
        Ok(selected)
    }

    async fn changes(&self, since: ModSeq) -> Result<gatepost_wire::imap::ask::Changes, Refusal> {
        let (store, mailbox) = (self.shared.store.clone(), self.mailbox()?);
        self.shared
            .block(move || store.changes(mailbox, since))
            .await
            .map_err(refusal)
    }

    async fn fetch(
        &mut self,
        uids: Vec<Uid>,
        items: Arc<[Item]>,
        mark_seen: bool,
    ) -> Result<Rows, Refusal> {
        let (store, mailbox) = (self.shared.store.clone(), self.mailbox()?);
        let (wanted, account) = (Arc::clone(&items), self.account()?);
        let mut rows = if fetch::is_long(&items) {
            self.shared
                .read_long(account, move || {
                    fetch::rows(&store, mailbox, &uids, &wanted)
                })
                .await
        } else {
            self.shared
                .block(move || fetch::rows(&store, mailbox, &uids, &wanted))
                .await
        }
        .map_err(refusal)?;
        if mark_seen {
            self.mark_seen(mailbox, &mut rows).await?;
        }
        let content = items.iter().any(fetch::is_content);
        self.summary.messages_out += if content {
            u32::try_from(rows.rows.len()).unwrap_or_default()
        } else {
            0
        };
        Ok(rows)
    }

    /// Sets `\Seen` on the messages answered for (RFC 9051 6.4.5); the rest gets it when it is answered for.
    async fn mark_seen(&self, mailbox: MailboxId, rows: &mut Rows) -> Result<(), Refusal> {
        let unseen: Vec<Uid> = rows
            .rows
            .iter()
            .filter(|row| !row.flags.seen)
            .map(|row| row.uid)
            .collect();
        if unseen.is_empty() {
            return Ok(());
        }
        let change = FlagChange::Add(Flags {
            seen: true,
            ..Flags::default()
        });
        let store = &self.shared.store;
        let outcome = self
            .shared
            .write(|done| store.store_flags(mailbox, unseen, change, None, done))
            .await
            .map_err(refusal)?;
        for changed in outcome.changed {
            if let Some(row) = rows.rows.iter_mut().find(|row| row.uid == changed.uid) {
                row.newly_seen = !row.flags.seen;
                row.flags = changed.flags;
                row.modseq = changed.modseq;
            }
        }
        Ok(())
    }

    async fn read(&mut self, uid: Uid, offset: u64, length: u32) -> Result<Vec<u8>, Refusal> {
        let (store, mailbox) = (self.shared.store.clone(), self.mailbox()?);
        let known = self.reading.take().filter(|message| message.uid == uid);
        let read = self.shared.block(move || {
            let found = match known {
                Some(message) => Some(message),
                None => store.messages(mailbox, &[uid])?.pop().map(Box::new),
            };
            // The message is gone, the mailbox is not.
            let message = found.ok_or(Error::Fault(Fault::Closed))?;
            let octets = store.read(&message.body, offset, length)?;
            Ok((message, octets))
        });
        let (message, octets) = read.await.map_err(refusal)?;
        let more = offset.saturating_add(length.into()) < message.size;
        self.reading = more.then_some(message);
        Ok(octets)
    }

    async fn search(&self, criteria: Criterion, among: Arc<[Uid]>) -> Result<Found, Refusal> {
        let (store, mailbox, account) =
            (self.shared.store.clone(), self.mailbox()?, self.account()?);
        let read = move || {
            let until = Instant::now() + LONGEST_SEARCH;
            search::search(&store, mailbox, criteria, &among, until)
        };
        self.shared.read_long(account, read).await.map_err(refusal)
    }

    async fn append_begin(&mut self, what: Append) -> Result<(), Refusal> {
        self.append = None;
        if what.size > self.shared.config.message_size {
            return Err(Refusal::TooBig);
        }
        // A mailbox that is not there is refused before the message is sent.
        self.status(what.mailbox.clone()).await?;
        let incoming = self.shared.incoming().map_err(refusal)?;
        self.append = Some(Box::new(Appending { incoming, what }));
        Ok(())
    }

    async fn append_content(&mut self, octets: Vec<u8>) -> Result<(), Refusal> {
        let Appending { incoming, what } = *self.append.take().ok_or(Refusal::Unavailable)?;
        if incoming.len() + (octets.len() as u64) > self.shared.config.message_size {
            return Err(Refusal::TooBig);
        }
        let incoming = self.shared.add(incoming, octets).await.map_err(refusal)?;
        self.append = Some(Box::new(Appending { incoming, what }));
        Ok(())
    }

    async fn append_commit(&mut self) -> Result<(u32, Uid), Refusal> {
        let Appending { incoming, what } = *self.append.take().ok_or(Refusal::Unavailable)?;
        let date = what.date.unwrap_or_else(date::now);
        let account = self.account()?;
        let to = vec![Delivery {
            account,
            mailbox: what.mailbox,
            flags: what.flags,
            date,
        }];
        let store = &self.shared.store;
        let placed = self
            .shared
            .write(|done| store.deliver(incoming, to, done))
            .await
            .map_err(refusal)?;
        self.summary.messages_in += 1;
        placed
            .first()
            .map(|placed| (placed.uidvalidity, placed.uid))
            .ok_or(Refusal::Unavailable)
    }

    /// Changes to messages of the selected mailbox.
    async fn change(&self, ask: Ask) -> Answer {
        let store = &self.shared.store;
        let place = self
            .mailbox()
            .and_then(|mailbox| Ok((mailbox, self.account()?)));
        match ask {
            Ask::Store {
                uids,
                change,
                unchanged_since,
            } => Answer::Stored(match place {
                Ok((mailbox, _)) => self
                    .shared
                    .write(|done| store.store_flags(mailbox, uids, change, unchanged_since, done))
                    .await
                    .map_err(refusal),
                Err(refusal) => Err(refusal),
            }),
            Ask::Copy { uids, to, remove } => Answer::Copied(match place {
                Ok((mailbox, account)) => self
                    .shared
                    .write(|done| store.copy(mailbox, uids, (account, to), remove, done))
                    .await
                    .map_err(refusal),
                Err(refusal) => Err(refusal),
            }),
            Ask::Expunge { only } => Answer::Expunged(match place {
                Ok((mailbox, _)) => self
                    .shared
                    .write(|done| store.expunge(mailbox, only, done))
                    .await
                    .map_err(refusal),
                Err(refusal) => Err(refusal),
            }),
            _ => Answer::Done,
        }
    }

    async fn list(&self) -> Result<Vec<gatepost_wire::imap::ask::Mailbox>, Refusal> {
        let (store, account) = (self.shared.store.clone(), self.account()?);
        self.shared
            .block(move || store.list(account))
            .await
            .map_err(refusal)
    }

    async fn status(&self, mailbox: String) -> Result<Status, Refusal> {
        let (store, account) = (self.shared.store.clone(), self.account()?);
        self.shared
            .block(move || store.status(account, &mailbox))
            .await
            .map_err(refusal)
    }

    /// Changes to the account's mailboxes.
    async fn administer(&self, ask: Ask) -> Result<(), Refusal> {
        let (store, account) = (&self.shared.store, self.account()?);
        let done = match ask {
            Ask::Create {
                mailbox,
                special_use,
            } => {
                self.shared
                    .write(|done| store.create(account, &mailbox, special_use, done))
                    .await
            }
            Ask::Delete { mailbox } => {
                self.shared
                    .write(|done| store.delete(account, &mailbox, done))
                    .await
            }
            Ask::Rename { from, to } => {
                self.shared
                    .write(|done| store.rename(account, &from, &to, done))
                    .await
            }
            Ask::Subscribe {
                mailbox,
                subscribed,
            } => {
                self.shared
                    .write(|done| store.set_subscribed(account, &mailbox, subscribed, done))
                    .await
            }
            _ => Ok(()),
        };
        done.map_err(refusal)
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::NoSuchMailbox => Refusal::NoSuchMailbox,
        Error::AlreadyExists => Refusal::AlreadyExists,
        Error::Cannot => Refusal::Cannot,
        Error::HasChildren => Refusal::HasChildren,
        Error::OverQuota => Refusal::OverQuota,
        Error::TooBig => Refusal::TooBig,
        Error::Limit => Refusal::Limit,
        Error::UseAttr => Refusal::UseAttr,
        Error::NoSuchAccount | Error::Gone => Refusal::Gone,
        Error::DiskFull | Error::Locked | Error::Damaged | Error::Newer | Error::Fault(_) => {
            Refusal::Unavailable
        }
    }
}
