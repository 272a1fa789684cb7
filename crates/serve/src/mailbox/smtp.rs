//! The backend of an SMTP session: whose mail is taken, and the way of a message into the store.
//!
//! ```text
//!   Mail ──▶ Recipient … ──▶ Begin ──▶ Content … ──▶ Commit: one stored body, one entry in each recipient's INBOX
//! ```
//! The fields this server adds come first: Return-Path, Received, and on submission Date and Message-ID where they are missing
//! [SUBM-04], for which the header is held back until its end has been seen (or `HELD_LIMIT` octets). What is changed or examined must
//! name whole domains [SUBM-02]. Nothing is relayed: a recipient who is not local is refused.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_net::driver::{Answering, Backend, Event};
use gatepost_store::{AccountId, Delivery, Error, Incoming};
use gatepost_wire::imap::ask::Flags;
use gatepost_wire::session::Machine;
use gatepost_wire::smtp::ask::{Answer, Ask, Envelope, MailFrom, Refusal};
use gatepost_wire::smtp::header::HeaderScan;
use gatepost_wire::smtp::path::{ForwardPath, Mailbox, ReversePath};
use gatepost_wire::smtp::xclient::Introduced;
use mail_parser::{HeaderName, HeaderValue, MessageParser};

use super::account::Login;
use super::directory::{Owner, is_own};
use super::mime::address::{self, Entry};
use super::mime::field::fields;
use super::{Recorded, Shared, Summary, date};
use crate::server::front::Front;

/// How much of a submitted message is held back while its header's end has not come, in octets.
const HELD_LIMIT: usize = 64 * 1024;
/// The most octets this server adds to a message.
pub const ADDED_LIMIT: u64 = 8 * 1024;

/// What the listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Mail from other servers, for local recipients.
    Mx,
    /// Mail from our users, after login.
    Submission,
}

/// The backend of one session.
#[derive(Debug)]
pub struct SmtpBackend {
    shared: Arc<Shared>,
    client: IpAddr,
    role: Role,
    summary: Summary,
    transaction: Option<Box<Transaction>>,
    /// The server in front, if this is one that names its clients.
    front: Option<Box<Front>>,
}

#[derive(Debug)]
struct Transaction {
    reverse_path: ReversePath,
    recipients: Vec<(ForwardPath, AccountId)>,
    content: Option<Content>,
}

/// A message that is coming in.
#[derive(Debug)]
struct Content {
    id: Box<str>,
    to: Vec<AccountId>,
    incoming: Incoming,
    /// Octets the client sent.
    length: u64,
    held: Option<Held>,
}

/// The beginning of a submitted message, until it is known which fields are missing.
#[derive(Debug, Default)]
struct Held {
    octets: Vec<u8>,
    scan: HeaderScan,
}

impl<M: Machine<Ask = Ask, Answer = Answer>> Backend<M> for SmtpBackend {
    fn handle(&mut self, ask: Ask) -> Answering<'_, Answer> {
        Box::pin(self.answer(ask))
    }

    fn upgraded(&mut self) {
        self.summary.login = None;
        self.transaction = None;
        if let Some(front) = &mut self.front {
            self.client = front.forgets(&mut self.summary).client.ip();
        }
    }

    fn event(&mut self, event: Event) {
        self.summary.note(event);
    }
}

impl Recorded for SmtpBackend {
    fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl SmtpBackend {
    /// A backend for a session with the client at this address.
    pub fn new(shared: Arc<Shared>, client: IpAddr, role: Role) -> Self {
        Self {
            shared,
            client,
            role,
            summary: Summary::default(),
            transaction: None,
            front: None,
        }
    }

    /// The same for a session with a server in front, if there is one.
    #[must_use]
    pub fn behind(mut self, front: Option<Front>) -> Self {
        self.front = front.map(Box::new);
        self
    }

    /// Answers one question.
    pub async fn answer(&mut self, ask: Ask) -> Answer {
        let answer = self.decide(ask).await;
        if let Answer::Verdict(Err(refusal)) | Answer::Stored(Err(refusal)) = &answer {
            match refusal {
                Refusal::MailboxFull => self.summary.limit("mailbox_full"),
                Refusal::DiskFull => self.summary.limit("disk_full"),
                Refusal::TooLarge => self.summary.limit("message_too_large"),
                _ => {}
            }
        }
        answer
    }

    async fn decide(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Account(ask) => {
                let judged = self.shared.keeper.answer(ask, self.client).await;
                Answer::Account(self.summary.judged(judged))
            }
            Ask::Mail(mail) => Answer::Verdict(self.mail(mail)),
            Ask::Recipient(rcpt) => Answer::Verdict(self.recipient(rcpt.forward_path).await),
            // Asked for by a configuration for far backends only.
            Ask::Group(_) => Answer::Verdict(Err(Refusal::Fault)),
            Ask::Introduced(said) => Answer::Verdict(self.introduced(&said)),
            Ask::Begin(envelope) => Answer::Verdict(self.begin(&envelope)),
            Ask::Content(octets) => {
                let verdict = self.content(octets).await;
                if verdict.is_err() {
                    self.transaction = None;
                }
                Answer::Verdict(verdict)
            }
            Ask::Commit => Answer::Stored(self.commit().await),
            Ask::Abort => {
                self.transaction = None;
                Answer::Verdict(Ok(()))
            }
        }
    }

    fn introduced(&mut self, said: &Introduced) -> Result<(), Refusal> {
        self.summary.login = None;
        self.transaction = None;
        // Asked in a session with a server in front only.
        let front = self.front.as_mut().ok_or(Refusal::Fault)?;
        let visit = front.introduces(said, &mut self.summary)?;
        self.client = visit.client.ip();
        Ok(())
    }

    fn mail(&mut self, mail: MailFrom) -> Result<(), Refusal> {
        self.transaction = None;
        // [SMTP-SIZE-01] too large by the client's own word
        if mail
            .size
            .is_some_and(|size| size > self.shared.config.message_size)
        {
            return Err(Refusal::TooLarge);
        }
        if self.role == Role::Submission && !self.may_send_as(&mail.reverse_path) {
            return Err(Refusal::SenderNotAuthorized);
        }
        let (reverse_path, recipients, content) = (mail.reverse_path, Vec::new(), None);
        self.transaction = Some(Box::new(Transaction {
            reverse_path,
            recipients,
            content,
        }));
        Ok(())
    }

    /// [SUBM-04] a login sends as itself; [SUBM-03] the null path alone is no reason to refuse.
    /// [SUBM-01] without a login nobody sends, whatever the session has let through.
    fn may_send_as(&self, path: &ReversePath) -> bool {
        match (&self.summary.login, path) {
            (None, _) => false,
            (Some(_), ReversePath::Null) => true,
            (Some(login), ReversePath::Mailbox(mailbox)) => is_own(mailbox, &login.address),
        }
    }

    async fn recipient(&mut self, path: ForwardPath) -> Result<(), Refusal> {
        let Some(transaction) = &mut self.transaction else {
            return Err(Refusal::Fault);
        };
        match self.shared.directory.owner(&path.0).await {
            Ok(Owner::Account(account)) => {
                transaction.recipients.push((path, account));
                Ok(())
            }
            Ok(Owner::Nobody) => Err(Refusal::NoSuchMailbox),
            Ok(Owner::Elsewhere) => Err(Refusal::NoRelay),
            Err(error) => Err(refusal(error)),
        }
    }

    fn begin(&mut self, envelope: &Envelope) -> Result<(), Refusal> {
        let Some(transaction) = &mut self.transaction else {
            return Err(Refusal::Fault);
        };
        let to = accounts(&transaction.recipients, envelope);
        if to.is_empty() {
            return Err(Refusal::Fault);
        }
        let id = new_id();
        let mut incoming = self.shared.incoming().map_err(refusal)?;
        let now = date::rfc5322(date::now());
        incoming
            .write(&return_path(&transaction.reverse_path))
            .map_err(refusal)?;
        incoming
            .write(&envelope.trace.render(&self.shared.config.host, &id, &now))
            .map_err(refusal)?;
        let held = (self.role == Role::Submission).then(Held::default);
        transaction.content = Some(Content {
            id,
            to,
            incoming,
            length: 0,
            held,
        });
        Ok(())
    }

    async fn content(&mut self, octets: Vec<u8>) -> Result<(), Refusal> {
        let limit = self.shared.config.message_size;
        let transaction = self.transaction.as_mut().ok_or(Refusal::Fault)?;
        let mut content = transaction.content.take().ok_or(Refusal::Fault)?;
        content.length += octets.len() as u64;
        if content.length > limit {
            return Err(Refusal::TooLarge);
        }
        let octets = match &mut content.held {
            None => octets,
            Some(held) => {
                held.take(&octets);
                if !held.is_over() {
                    transaction.content = Some(content);
                    return Ok(());
                }
                self.shared.examine(held, self.summary.login.as_ref())?;
                content.release(&self.shared.config.host)
            }
        };
        transaction.content = Some(content.write(&self.shared, octets).await?);
        Ok(())
    }

    /// [SMTP-BASE-15] answered when it is on disk.
    async fn commit(&mut self) -> Result<Box<str>, Refusal> {
        let transaction = self.transaction.take().ok_or(Refusal::Fault)?;
        let mut content = transaction.content.ok_or(Refusal::Fault)?;
        if let Some(held) = &content.held {
            self.shared.examine(held, self.summary.login.as_ref())?;
            let octets = content.release(&self.shared.config.host);
            content = content.write(&self.shared, octets).await?;
        }
        let date = date::now();
        let delivery = |account| Delivery {
            account,
            mailbox: "INBOX".into(),
            flags: Flags::default(),
            date,
        };
        let to = content.to.into_iter().map(delivery).collect();
        let (store, incoming) = (&self.shared.store, content.incoming);
        self.shared
            .write(|done| store.deliver(incoming, to, done))
            .await
            .map_err(refusal)?;
        self.summary.messages_in += 1;
        Ok(content.id)
    }
}

impl Shared {
    /// What must be right in a submitted message's header.
    fn examine(&self, held: &Held, login: Option<&Login>) -> Result<(), Refusal> {
        self.may_be_from(held, login)?;
        // [SUBM-02] an address that only its author's machine can complete must not get our fields. What is passed on as it is may hold it.
        let touched = self.config.own_from_only || held.lacks_fields();
        if touched && !are_qualified(&held.octets) {
            return Err(Refusal::HeaderNotQualified);
        }
        Ok(())
    }

    /// [SUBM-04] the From field of a submitted message, where it has to be the login's own. A header too long to be held is not
    /// judged but refused: what was not read is not the login's.
    fn may_be_from(&self, held: &Held, login: Option<&Login>) -> Result<(), Refusal> {
        if !self.config.own_from_only {
            return Ok(());
        }
        let login = login.ok_or(Refusal::SenderNotAuthorized)?;
        let whole = held.scan.ended() || held.octets.len() <= HELD_LIMIT;
        let own = whole && is_from(&held.octets, &login.address);
        own.then_some(()).ok_or(Refusal::SenderNotAuthorized)
    }
}

/// Whether every mailbox of every From field of this header is the account's own, and there is one. Readers differ where the
/// grammar is broken: in `b@x.test:a@x.test;`, whose name of a group would have to be quoted (RFC 5322 3.4), one sees A and another
/// B. Two readings must come to the same.
fn is_from(header: &[u8], account: &str) -> bool {
    names_only(header, account) && shows_only(header, account)
}

/// The reading of what stands in the fields: groups passed over, names not looked at.
fn names_only(header: &[u8], account: &str) -> bool {
    let Some(header) = MessageParser::new()
        .with_minimal_headers()
        .parse_headers(header)
    else {
        return false;
    };
    let mut mailboxes = header
        .headers()
        .iter()
        .filter(|field| field.name == HeaderName::From)
        .flat_map(|field| match &field.value {
            HeaderValue::Address(addresses) => addresses.iter().collect(),
            _ => Vec::new(),
        })
        .peekable();
    let own = |text: &str| {
        ForwardPath::parse(&format!("<{text}>")).is_ok_and(|path| is_own(&path.0, account))
    };
    mailboxes.peek().is_some() && mailboxes.all(|it| it.address.as_deref().is_some_and(own))
}

/// The reading of ENVELOPE: what a mail program shows.
fn shows_only(header: &[u8], account: &str) -> bool {
    let own = |entry: &Entry| match entry {
        Entry::Mailbox { local, domain, .. } => {
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let (local, domain) = (text(local), text(domain));
            is_own(&Mailbox { local, domain }, account)
        }
        Entry::Group(_) | Entry::GroupEnd => true,
    };
    fields(header)
        .filter(|field| field.is("From"))
        .all(|field| address::parse(&field.unfolded()).iter().all(own))
}

/// Whether every address of this header has a domain of at least two labels, or an address literal. An entry without an address
/// (`To: root`) has none; a group without members is no address.
fn are_qualified(header: &[u8]) -> bool {
    let parser = MessageParser::new().with_address_headers();
    let Some(header) = parser.parse_headers(header) else {
        return true;
    };
    let qualified = |text: &str| {
        let domain = text.rsplit_once('@').map(|(_, domain)| domain.trim());
        domain.is_some_and(|domain| domain.starts_with('[') || domain.contains('.'))
    };
    header.headers().iter().all(|field| match &field.value {
        HeaderValue::Address(addresses) => addresses
            .iter()
            .all(|it| it.address.as_deref().is_some_and(qualified)),
        _ => true,
    })
}

impl Content {
    async fn write(self, shared: &Shared, octets: Vec<u8>) -> Result<Self, Refusal> {
        let Self {
            id,
            to,
            incoming,
            length,
            held,
        } = self;
        let incoming = shared.add(incoming, octets).await.map_err(refusal)?;
        Ok(Self {
            id,
            to,
            incoming,
            length,
            held,
        })
    }

    /// What was held back, with the fields that are missing before it.
    fn release(&mut self, host: &str) -> Vec<u8> {
        let Some(held) = self.held.take() else {
            return Vec::new();
        };
        let mut text = Vec::new();
        if held.lacks_fields() {
            if !held.scan.has_date() {
                text.extend_from_slice(
                    format!("Date: {}\r\n", date::rfc5322(date::now())).as_bytes(),
                );
            }
            if !held.scan.has_message_id() {
                text.extend_from_slice(format!("Message-ID: <{}@{host}>\r\n", self.id).as_bytes());
            }
        }
        text.extend_from_slice(&held.octets);
        text
    }
}

impl Held {
    fn take(&mut self, octets: &[u8]) {
        self.scan.push(octets);
        self.octets.extend_from_slice(octets);
    }

    /// Whether Date or Message-ID is to be added. Where the header's end was not seen, they may still come: then nothing is.
    fn lacks_fields(&self) -> bool {
        (self.scan.ended() || self.octets.len() <= HELD_LIMIT)
            && !(self.scan.has_date() && self.scan.has_message_id())
    }

    fn is_over(&self) -> bool {
        self.scan.ended() || self.octets.len() > HELD_LIMIT
    }
}

/// The accounts of the recipients the session accepted, each once.
fn accounts(found: &[(ForwardPath, AccountId)], envelope: &Envelope) -> Vec<AccountId> {
    let wanted: HashSet<&ForwardPath> = envelope.recipients.iter().collect();
    let mut seen = HashSet::new();
    let accepted = found.iter().filter(|(path, _)| wanted.contains(path));
    accepted
        .map(|(_, account)| *account)
        .filter(|account| seen.insert(*account))
        .collect()
}

/// RFC 5321 4.4: who delivers finally writes the reverse-path into the message.
fn return_path(path: &ReversePath) -> Vec<u8> {
    let path = match path {
        ReversePath::Null => String::new(),
        ReversePath::Mailbox(mailbox) => format!("{}@{}", mailbox.local, mailbox.domain),
    };
    // The session has parsed the path; a line break could not get here, and does not get further.
    let path: String = path
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    format!("Return-Path: <{path}>\r\n").into_bytes()
}

/// An id that was never given before: the time in milliseconds and a count, in 13 characters.
pub(crate) fn new_id() -> Box<str> {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let time = u64::try_from(since.as_millis()).unwrap_or_default();
    let number = time << 20 | COUNT.fetch_add(1, Ordering::Relaxed) & 0xF_FFFF;
    (0..13)
        .rev()
        .map(|place| char::from(DIGITS[(number >> (5 * place) & 31) as usize]))
        .collect::<String>()
        .into()
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::OverQuota => Refusal::MailboxFull,
        Error::DiskFull => Refusal::DiskFull,
        Error::TooBig => Refusal::TooLarge,
        // The account was removed after its address had been accepted.
        Error::NoSuchAccount | Error::NoSuchMailbox | Error::Gone => Refusal::NoSuchMailbox,
        Error::AlreadyExists
        | Error::Cannot
        | Error::HasChildren
        | Error::Limit
        | Error::UseAttr
        | Error::Locked
        | Error::Damaged
        | Error::Newer
        | Error::Fault(_) => Refusal::Fault,
    }
}
