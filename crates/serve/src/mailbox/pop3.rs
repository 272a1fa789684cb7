//! The backend of a POP3 session: the INBOX as a maildrop that one session at a time has open (RFC 1939 4).

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_net::driver::{Answering, Backend, Event};
use gatepost_store::{Error, MailboxId, Message};
use gatepost_wire::pop3::ask::{Answer, Ask, Fault, Maildrop, OpenError};
use gatepost_wire::session::Machine;

use super::{Locked, Recorded, Shared, Summary};

/// Messages listed in one read of the store.
const BATCH: usize = 10_000;

/// The backend of one session.
#[derive(Debug)]
pub struct Pop3Backend {
    shared: Arc<Shared>,
    client: IpAddr,
    summary: Summary,
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    _lock: Locked,
    mailbox: MailboxId,
    /// The message read last: pieces of one message come one after the other.
    reading: Option<Message>,
}

impl<M: Machine<Ask = Ask, Answer = Answer>> Backend<M> for Pop3Backend {
    fn handle(&mut self, ask: Ask) -> Answering<'_, Answer> {
        Box::pin(self.answer(ask))
    }

    fn upgraded(&mut self) {
        self.summary.login = None;
        self.open = None;
    }

    fn event(&mut self, event: Event) {
        self.summary.note(event);
    }
}

impl Recorded for Pop3Backend {
    fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl Pop3Backend {
    /// A backend for a session with the client at this address.
    pub fn new(shared: Arc<Shared>, client: IpAddr) -> Self {
        Self {
            shared,
            client,
            summary: Summary::default(),
            open: None,
        }
    }

    /// Answers one question.
    pub async fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Account(ask) => {
                let judged = self.shared.keeper.answer(ask, self.client).await;
                Answer::Account(self.summary.judged(judged))
            }
            Ask::Open => Answer::Opened(self.open().await),
            Ask::Read {
                uid,
                offset,
                length,
            } => Answer::Octets(self.read(uid, offset, length).await),
            Ask::Update { deleted } => Answer::Updated(self.update(deleted).await),
        }
    }

    async fn open(&mut self) -> Result<Maildrop, OpenError> {
        let login = self.summary.login.as_ref().ok_or(OpenError::Fault)?;
        let lock = Locked::take(&self.shared, login.account).ok_or(OpenError::InUse)?;
        let (store, account) = (self.shared.store.clone(), login.account);
        let listed = self.shared.block(move || {
            let (mailbox, selected) = store.select(account, "INBOX")?;
            let (mut messages, mut after) = (Vec::with_capacity(selected.uids.len()), 0);
            loop {
                let batch = store.messages_after(mailbox, after, BATCH)?;
                messages.extend(batch.iter().map(|message| (message.uid, message.size)));
                match batch.last() {
                    Some(last) if batch.len() == BATCH => after = last.uid,
                    _ => return Ok((mailbox, selected.uidvalidity, messages)),
                }
            }
        });
        let (mailbox, uidvalidity, messages) = listed.await.map_err(|_| OpenError::Fault)?;
        self.open = Some(Box::new(Open {
            _lock: lock,
            mailbox,
            reading: None,
        }));
        Ok(Maildrop {
            uidvalidity,
            messages,
        })
    }

    async fn read(&mut self, uid: u32, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
        let open = self.open.as_mut().ok_or(Fault)?;
        let (store, mailbox) = (self.shared.store.clone(), open.mailbox);
        let known = open.reading.take().filter(|message| message.uid == uid);
        self.summary.messages_out += u32::from(offset == 0);
        let read = self.shared.block(move || {
            let found = match known {
                Some(message) => Some(message),
                None => store.messages(mailbox, &[uid])?.pop(),
            };
            let message = found.ok_or(Error::Gone)?;
            let octets = store.read(&message.body, offset, length)?;
            Ok((message, octets))
        });
        let (message, octets) = read.await.map_err(|_| Fault)?;
        open.reading = Some(message);
        Ok(octets)
    }

    /// RFC 1939 6: all or none; the maildrop is unlocked in any case.
    async fn update(&mut self, deleted: Vec<u32>) -> Result<(), Fault> {
        let open = self.open.take().ok_or(Fault)?;
        if deleted.is_empty() {
            return Ok(());
        }
        let store = &self.shared.store;
        self.shared
            .write(|done| store.remove(open.mailbox, deleted, done))
            .await
            .map(drop)
            .map_err(|_| Fault)
    }
}
