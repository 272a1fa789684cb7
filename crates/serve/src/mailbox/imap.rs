//! The backend of an IMAP session. FETCH is in [`super::fetch`], SEARCH in [`super::search`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::driver::{Answering, Backend, Event};
use gatepost_store::{
    AccountId, Delivery, Error, Fault, Incoming, MailboxId, Message, Subscription,
};
use gatepost_wire::imap::ask::{
    Answer, Append, Ask, Criterion, FlagChange, Flags, Found, Item, ModSeq, Quota, Refusal, Rows,
    Selected, SortKey, Status, Threaded, Threading, Uid,
};
use gatepost_wire::session::Machine;
use tokio::sync::Notify;

use super::{Recorded, Shared, Summary, date, fetch, order, search, thread};

/// A search that takes longer is given up with `NO [LIMIT]`: it could hold up others, and nobody may be waiting any more.
const LONGEST_SEARCH: Duration = Duration::from_secs(30);

/// How many octets the messages of one APPEND may have together, so that they do not fill the memory.
const TOGETHER: u64 = 16 << 20;

/// The backend of one session. Small while the session is idle.
#[derive(Debug)]
pub struct ImapBackend {
    shared: Arc<Shared>,
    client: IpAddr,
    summary: Box<Summary>,
    news: Arc<Notify>,
    selected: Option<Open>,
    /// The messages being appended; the last one may not be whole.
    append: Vec<Appending>,
    /// Whether news of all mailboxes is wanted (NOTIFY).
    watching: Option<Subscription>,
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
        self.append = Vec::new();
        self.watching = None;
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
            append: Vec::new(),
            watching: None,
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
            Ask::Sort {
                by,
                criteria,
                among,
            } => Answer::Found(self.sort(by, criteria, among).await),
            Ask::Thread {
                by,
                criteria,
                among,
            } => Answer::Threads(self.thread(by, criteria, among).await),
            Ask::AppendBegin(what) => Answer::Checked(self.append_begin(what).await),
            Ask::AppendContent(octets) => Answer::Checked(self.append_content(octets).await),
            Ask::AppendCommit => Answer::Appended(self.append_commit().await),
            Ask::AppendAbort => {
                self.append = Vec::new();
                Answer::Done
            }
            Ask::Store { .. } | Ask::Copy { .. } | Ask::Expunge { .. } => self.change(ask).await,
            Ask::List => Answer::Mailboxes(self.list().await),
            Ask::Status {
                mailbox,
                deleted_size,
            } => Answer::Status(self.status(mailbox, deleted_size).await),
            Ask::Quota { mailbox } => Answer::Quota(self.quota(mailbox).await),
            Ask::Watch { on } => {
                self.watch(on);
                Answer::Done
            }
            Ask::Overview => Answer::Overview(self.overview().await),
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
        let account = self.account()?;
        let uids: Arc<[Uid]> = uids.into();
        let read = |long| {
            let (store, uids, wanted) = (store.clone(), Arc::clone(&uids), Arc::clone(&items));
            move || fetch::rows(&store, mailbox, &uids, &wanted, long)
        };
        let mut rows = Rows::default();
        if !fetch::is_long(&items) {
            rows = self.shared.block(read(false)).await.map_err(refusal)?;
        }
        if rows.answered == 0 {
            let long = self.shared.read_long(account, read(true)).await;
            rows = long.map_err(refusal)?;
        }
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
                // Another session may have been faster: then it is that one's change, and told as such.
                row.newly_seen = outcome.made.contains(&changed.modseq);
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

    async fn sort(
        &self,
        by: Arc<[SortKey]>,
        criteria: Criterion,
        among: Arc<[Uid]>,
    ) -> Result<Found, Refusal> {
        let (store, mailbox, account) =
            (self.shared.store.clone(), self.mailbox()?, self.account()?);
        let read = move || {
            let until = Instant::now() + LONGEST_SEARCH;
            let found = search::search(&store, mailbox, criteria, &among, until)?;
            order::sort(&store, mailbox, found, &by, until)
        };
        self.shared.read_long(account, read).await.map_err(refusal)
    }

    async fn thread(
        &self,
        by: Threading,
        criteria: Criterion,
        among: Arc<[Uid]>,
    ) -> Result<Vec<Threaded>, Refusal> {
        let (store, mailbox, account) =
            (self.shared.store.clone(), self.mailbox()?, self.account()?);
        let read = move || {
            let until = Instant::now() + LONGEST_SEARCH;
            let found = search::search(&store, mailbox, criteria, &among, until)?;
            thread::thread(&store, mailbox, &found.uids, by, until)
        };
        self.shared.read_long(account, read).await.map_err(refusal)
    }

    /// A refusal forgets the messages before it too: they are kept together or not at all.
    async fn append_begin(&mut self, what: Append) -> Result<(), Refusal> {
        let mut before = std::mem::take(&mut self.append);
        if what.size > self.shared.config.message_size {
            return Err(Refusal::TooBig);
        }
        let waiting: u64 = before.iter().map(|it| it.incoming.len()).sum();
        if !before.is_empty() && waiting.saturating_add(what.size) > TOGETHER {
            return Err(Refusal::Limit);
        }
        // A mailbox that is not there is refused before the message is sent.
        self.status(what.mailbox.clone(), false).await?;
        let incoming = self.shared.incoming().map_err(refusal)?;
        before.push(Appending { incoming, what });
        self.append = before;
        Ok(())
    }

    async fn append_content(&mut self, octets: Vec<u8>) -> Result<(), Refusal> {
        let Appending { incoming, what } = self.append.pop().ok_or(Refusal::Unavailable)?;
        if incoming.len() + (octets.len() as u64) > self.shared.config.message_size {
            return Err(Refusal::TooBig);
        }
        let incoming = self.shared.add(incoming, octets).await.map_err(refusal)?;
        self.append.push(Appending { incoming, what });
        Ok(())
    }

    async fn append_commit(&mut self) -> Result<(u32, Vec<Uid>), Refusal> {
        let account = self.account()?;
        let all = std::mem::take(&mut self.append);
        let replaces = all.first().and_then(|it| it.what.replaces);
        let mut messages = all.into_iter().map(|it| {
            let to = Delivery {
                account,
                mailbox: it.what.mailbox,
                flags: it.what.flags,
                date: it.what.date.unwrap_or_else(date::now),
            };
            (it.incoming, to)
        });
        let store = &self.shared.store;
        let placed = if let Some(old) = replaces {
            let (incoming, to) = messages.next().ok_or(Refusal::Unavailable)?;
            let old = (self.mailbox()?, old);
            let new = self
                .shared
                .write(|done| store.replace(incoming, to, old, done))
                .await
                .map_err(refusal)?;
            vec![new.ok_or(Refusal::Expunged)?]
        } else {
            let messages = messages.collect();
            self.shared
                .write(|done| store.deliver_all(messages, done))
                .await
                .map_err(refusal)?
        };
        self.summary.messages_in += u32::try_from(placed.len()).unwrap_or_default();
        let uidvalidity = placed.first().ok_or(Refusal::Unavailable)?.uidvalidity;
        Ok((uidvalidity, placed.iter().map(|it| it.uid).collect()))
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

    async fn status(&self, mailbox: String, deleted_size: bool) -> Result<Status, Refusal> {
        let (store, account) = (self.shared.store.clone(), self.account()?);
        let read = move || {
            let mut status = store.status(account, &mailbox)?;
            if deleted_size {
                status.deleted_size = Some(store.deleted_size(account, &mailbox)?);
            }
            Ok(status)
        };
        self.shared.block(read).await.map_err(refusal)
    }

    async fn quota(&self, mailbox: Option<String>) -> Result<Quota, Refusal> {
        let (store, account) = (self.shared.store.clone(), self.account()?);
        let read = move || {
            if let Some(mailbox) = mailbox {
                store.status(account, &mailbox)?;
            }
            store.quota(account)
        };
        self.shared.block(read).await.map_err(refusal)
    }

    fn watch(&mut self, on: bool) {
        let news = Arc::clone(&self.news);
        let account = self.account().ok().filter(|_| on);
        let listener = Arc::new(move || news.notify_one());
        self.watching = account.map(|account| self.shared.store.watch(account, listener));
    }

    async fn overview(
        &self,
    ) -> Result<Vec<(gatepost_wire::imap::ask::Mailbox, Option<Status>)>, Refusal> {
        let (store, account) = (self.shared.store.clone(), self.account()?);
        let read = move || store.overview(account);
        self.shared.block(read).await.map_err(refusal)
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
