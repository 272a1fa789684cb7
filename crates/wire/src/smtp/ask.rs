//! What an SMTP session asks of the backend behind it.
//!
//! One transaction asks, in this order: [`Ask::Mail`], [`Ask::Recipient`] once or more, [`Ask::Begin`], any number of
//! [`Ask::Content`], [`Ask::Commit`]. [`Ask::Abort`] may come at any point between and forgets the transaction. Where the
//! configuration says so, [`Ask::Group`] stands for several of the first two.
//!
//! A refusal of [`Ask::Mail`], [`Ask::Begin`], [`Ask::Content`] or [`Ask::Commit`] ends the transaction: nothing more is asked about
//! it, not even [`Ask::Abort`]. A session that ends in the middle of one asks nothing either: dropping the backend forgets it.

use super::dsn;
use super::path::{ForwardPath, ReversePath};
use super::xclient::Introduced;
use crate::sasl::{AccountAnswer, AccountAsk};

/// A question of the session.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// About a login. Answer: [`Answer::Account`].
    Account(AccountAsk),
    /// May a transaction with this sender begin? Answer: [`Answer::Verdict`].
    Mail(MailFrom),
    /// Is this recipient served here? Answer: [`Answer::Verdict`].
    Recipient(RcptTo),
    /// Several of the two above that came in one go (RFC 2920). Answer: [`Answer::Group`].
    Group(Box<Group>),
    /// A server in front has said who the client is: what was known of another, a login too, is to be forgotten. Answer:
    /// [`Answer::Verdict`].
    Introduced(Introduced),
    /// The content is about to come. Answer: [`Answer::Verdict`].
    Begin(Box<Envelope>),
    /// A piece of the message as it is to be kept: CRLF lines, or any octets with [`Body::BinaryMime`], dot-stuffing undone. At most 64 KiB.
    /// Answer: [`Answer::Verdict`]; after a refusal no more pieces come, and no commit.
    Content(Vec<u8>),
    /// The message is complete: answer [`Answer::Stored`] only when it is on disk [SMTP-BASE-15].
    Commit,
    /// Forget the transaction. Answer: [`Answer::Verdict`], always `Ok`.
    Abort,
}

/// The backend's answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Account`].
    Account(AccountAnswer),
    /// Go on, or the reason not to.
    Verdict(Result<(), Refusal>),
    /// To [`Ask::Mail`], [`Ask::Recipient`], [`Ask::Begin`], [`Ask::Content`] and [`Ask::Commit`]: what the server behind this one
    /// answered. It grants or refuses by its code; 421 ends the session.
    Passed(Box<super::relay::Passed>),
    /// To [`Ask::Group`]: the same for each command, in their order. Behind a refused MAIL and behind a 421 none is missed.
    Group(Vec<super::relay::Passed>),
    /// To [`Ask::Commit`]: the message's id (for the 250 reply; printable ASCII), or the reason it is not kept.
    Stored(Result<Box<str>, Refusal>),
}

/// The MAIL command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFrom {
    /// The reverse-path; may be null (`<>`).
    pub reverse_path: ReversePath,
    /// SIZE as declared, in octets (RFC 1870).
    pub size: Option<u64>,
    /// BODY as declared (RFC 6152, RFC 3030).
    pub body: Body,
    /// Whether SMTPUTF8 was given (RFC 6531).
    pub smtputf8: bool,
    /// What the sender wants to be told (RFC 3461); empty where DSN is not offered.
    pub dsn: dsn::OfMail,
}

/// The RCPT command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptTo {
    /// The forward-path.
    pub forward_path: ForwardPath,
    /// What the sender wants to be told of this recipient (RFC 3461); empty where DSN is not offered.
    pub dsn: dsn::OfRecipient,
}

impl From<ForwardPath> for RcptTo {
    fn from(forward_path: ForwardPath) -> Self {
        Self {
            forward_path,
            dsn: dsn::OfRecipient::default(),
        }
    }
}

/// Commands of one transaction that the client sent without waiting for replies (RFC 2920 3.1), DATA not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// MAIL, if the group begins with it.
    pub mail: Option<MailFrom>,
    /// RCPT, at least one.
    pub recipients: Vec<RcptTo>,
}

/// The BODY parameter of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// `7BIT`, the default.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
    /// `BINARYMIME` (RFC 3030 3): octets of any kind, by BDAT only.
    BinaryMime,
}

/// Everything known of a transaction when its content begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The MAIL command.
    pub mail: MailFrom,
    /// The recipients the backend accepted, at least one.
    pub recipients: Vec<ForwardPath>,
    /// What the `Received:` field is to say of the session (RFC 5321 4.4).
    pub trace: super::received::Trace,
}

/// Why the backend refuses. [`super::reply`] gives the reply and enhanced status code of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No such mailbox here: 550 5.1.1.
    NoSuchMailbox,
    /// The recipient is elsewhere and this server does not relay: 550 5.7.1.
    NoRelay,
    /// The sender address does not belong to the login: 550 5.7.1.
    SenderNotAuthorized,
    /// The mailbox is over its quota: 452 4.2.2.
    MailboxFull,
    /// The disk is nearly full: 452 4.3.1.
    DiskFull,
    /// The message is too large: 552 5.3.4.
    TooLarge,
    /// Too many `Received:` fields, a loop: 554 5.4.6.
    Loop,
    /// The content breaks a rule (a NUL, a header line over the limit): 554 5.6.0.
    BadContent,
    /// An address in the header of a submission has no fully qualified domain: 554 5.6.0.
    HeaderNotQualified,
    /// The client of a server in front has as many connections as one may have: 421 4.7.0, and the session ends.
    TooManyConnections,
    /// Submission from this account is going too fast: 450 4.7.1.
    TooFast,
    /// A fault of ours: 451 4.3.0.
    Fault,
}
