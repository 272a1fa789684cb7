//! What happened, and what the owner of the session wants next.

use super::capabilities::Capabilities;
use super::reply::Reply;
use super::stuff::LineEnds;
use crate::client::{Credentials, Failure};
use crate::sasl::Mechanism;
use crate::smtp::path::{ForwardPath, ReversePath};

/// What happened. Every one wants an [`Answer`]; [`Answer::Wait`] is always right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The session is ready: for a login, for transactions.
    Ready(Box<Capabilities>),
    /// The login is good.
    LoggedIn(Mechanism),
    /// The login failed; the session goes on. With [`Failure::NotVerified`], [`Failure::NoMechanism`] or
    /// [`Failure::UnusableCredentials`] nothing of it was sent.
    LoginFailed(Box<Failure>),
    /// The content of the transaction with this id is wanted. Answer: [`Answer::Content`] or [`Answer::Abandon`].
    Content(u64),
    /// The content has been written and the verdict is awaited. A transaction handed in now goes along without waiting.
    /// Answer: [`Answer::Transaction`] or [`Answer::Wait`].
    More,
    /// A transaction is over.
    Sent(Box<Outcome>),
    /// The reply to [`Answer::Command`], [`Answer::Line`], [`Answer::Noop`] or [`Answer::Reset`].
    Reply(Box<Reply>),
    /// There is news ([`crate::session::Machine::news`] was called) and nothing is under way: what next?
    Idle,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Log in.
    Login(Box<Credentials>),
    /// Send a message. While another is under way, one can be handed in ahead; it is begun as soon as the server allows.
    Transaction(Box<Transaction>),
    /// A portion of the message, and whether it is the last. 64 KiB is a good size.
    Content {
        /// The octets.
        portion: Vec<u8>,
        /// Whether the message ends here.
        last: bool,
    },
    /// The message cannot be completed: the connection is cut, so that no part of it counts.
    Abandon,
    /// Tell who the client is, for whom this session speaks: lines of XCLIENT, as [`crate::smtp::relay::introduce`] makes them.
    /// The session begins anew behind them: [`Ask::Ready`] comes again. [XCL-01]
    Introduce(Vec<String>),
    /// NOOP.
    Noop,
    /// RSET.
    Reset,
    /// A command as written, for a person at a terminal. STARTTLS is refused; so is AUTH where credentials may not be sent. To
    /// leave, give [`Answer::Quit`]: after a QUIT given here the end of the connection is a failure.
    Command(Box<[u8]>),
    /// A line to which no reply is due: content behind a DATA given as [`Answer::Command`].
    Line(Box<[u8]>),
    /// Nothing now. The session waits for what is under way, or for [`crate::session::Machine::news`].
    Wait,
    /// Say QUIT and end.
    Quit,
}

/// How content is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Framing {
    /// DATA.
    #[default]
    Data,
    /// BDAT where the server offers it, DATA otherwise.
    Chunks,
}

/// A message to be sent. Its content is asked for when the server is ready for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Comes back in [`Ask::Content`] and [`Outcome`].
    pub id: u64,
    /// Whom the message is from.
    pub reverse_path: ReversePath,
    /// Whom it is for; at least one.
    pub recipients: Vec<ForwardPath>,
    /// The size of the content in octets, if known: declared where the server wants it (RFC 1870).
    pub size: Option<u64>,
    /// Whether the content holds octets above 127. None: not known; it is declared where the server takes it, and where it
    /// does not, the first such octet cuts the connection.
    pub eight_bit: Option<bool>,
    /// Whether the header holds UTF-8 outside encoded words. An address that is not ASCII needs SMTPUTF8 anyway.
    pub utf8: bool,
    /// DATA or BDAT.
    pub framing: Framing,
    /// What to do about a bare CR or LF in the content.
    pub line_ends: LineEnds,
}

impl Transaction {
    /// A transaction with the usual choices: DATA, bare line ends refused.
    pub fn new(id: u64, reverse_path: ReversePath, recipients: Vec<ForwardPath>) -> Self {
        Self {
            id,
            reverse_path,
            recipients,
            size: None,
            eight_bit: None,
            utf8: false,
            framing: Framing::Data,
            line_ends: LineEnds::Refuse,
        }
    }

    pub(super) fn needs_utf8(&self) -> bool {
        let ascii =
            self.reverse_path.is_ascii() && self.recipients.iter().all(|it| it.0.is_ascii());
        self.utf8 || !ascii
    }
}

/// Why nothing of a transaction was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// The message is larger than the server's SIZE (552 5.3.4).
    TooLarge,
    /// The content is 8-bit and the server does not offer 8BITMIME (5.6.3). [SMTP-8BIT-01]
    EightBit,
    /// The message needs SMTPUTF8 and the server does not offer it (5.6.7). [SMTP-UTF8-02]
    Utf8,
    /// More recipients than the server's limit: see [`super::Limits::divide`]. [SMTP-LIM-03]
    TooManyRecipients,
    /// The server's limit of transactions is reached: open another session. [SMTP-LIM-03]
    TooManyTransactions,
}

/// How a transaction ended, reply by reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The transaction's id.
    pub id: u64,
    /// Why nothing was said, if nothing was.
    pub unsent: Option<Unsent>,
    /// The reply to MAIL.
    pub mail: Option<Reply>,
    /// The replies to RCPT, in the order of the recipients; none for those never said.
    pub recipients: Vec<Option<Reply>>,
    /// The reply to DATA, if it refused.
    pub data: Option<Reply>,
    /// The verdicts on the message: one, or with LMTP one for each recipient accepted (RFC 2033 4.2).
    pub verdicts: Vec<Reply>,
    /// Whether [`Outcome::verdicts`] are per recipient.
    pub(super) lmtp: bool,
}

/// What became of the message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery<'a> {
    /// The server took it.
    Taken(&'a Reply),
    /// The server refused, with this reply.
    Refused(&'a Reply),
    /// Nothing was said.
    Unsent(Option<Unsent>),
}

impl Outcome {
    /// What became of the message for the recipient at `index`.
    pub fn delivery(&self, index: usize) -> Delivery<'_> {
        // [SMTP-PIPE-01] every status counts
        let recipient = self.recipients.get(index).and_then(Option::as_ref);
        if let Some(reply) = self.mail.as_ref().filter(|it| !it.is_positive()) {
            return Delivery::Refused(reply);
        }
        let Some(recipient) = recipient else {
            return Delivery::Unsent(self.unsent);
        };
        if !recipient.is_positive() {
            return Delivery::Refused(recipient);
        }
        if let Some(reply) = &self.data {
            return Delivery::Refused(reply);
        }
        let place = if self.lmtp {
            let accepted = |it: &&Option<Reply>| it.as_ref().is_some_and(Reply::is_positive);
            self.recipients.iter().take(index).filter(accepted).count()
        } else {
            0
        };
        match self.verdicts.get(place) {
            Some(reply) if reply.is_positive() => Delivery::Taken(reply),
            Some(reply) => Delivery::Refused(reply),
            None => Delivery::Unsent(self.unsent),
        }
    }

    /// Whether the server took the message for every recipient.
    pub fn is_delivered(&self) -> bool {
        !self.recipients.is_empty()
            && (0..self.recipients.len())
                .all(|index| matches!(self.delivery(index), Delivery::Taken(_)))
    }
}
