//! Transactions under way, and the replies that are due.
//!
//! Replies come in the order of the commands [SMTP-PIPE-01], so what is due is a queue. At most two transactions are in it: one
//! whose verdict is awaited, and behind it the envelope of the next.
//!
//! ```text
//!   Commands(n) ──MAIL, RCPT…, DATA written──▶ AwaitGo ──354──▶ Content ──last portion──▶ Written ──verdict──▶ Ask::Sent
//!        └──── MAIL or every RCPT refused ────────┴──▶ (RSET if the server holds half a transaction) ──▶ Ask::Sent
//! ```
//!
//! - With PIPELINING up to [`WINDOW`] commands go out without waiting: not more, so that neither side waits for the other to read.
//! - Content goes only when a recipient was accepted. If DATA was answered 354 though none was, a lone dot ends it.
//! - A failed chunk is the last one; RSET follows [SMTP-CHUNK-02].

use std::collections::VecDeque;

use super::ask::{Answer, Ask, Framing, Outcome, Transaction, Unsent};
use super::capabilities::Capabilities;
use super::reply::Reply;
use super::stuff::Encoder;
use crate::client::{Breach, Failure, Link, Stage, is_plain, verb};
use crate::smtp::path::{Mailbox, ReversePath};

/// The most replies due at once when pipelining.
const WINDOW: usize = 100;
/// The most chunks whose replies are due.
const CHUNKS: usize = 8;
/// The most answers that wait for their turn.
const MOST_PUT_OFF: usize = 8;

#[derive(Default)]
pub(super) struct Flow {
    transactions: VecDeque<Under>,
    due: VecDeque<Due>,
    /// Answers for later, in order.
    put_off: VecDeque<Answer>,
    /// Transactions begun in this session.
    begun: u32,
    /// A person is in an exchange (334): what they say next may be a credential.
    in_exchange: bool,
    /// The owner was asked for more since the last content ended.
    asked_more: bool,
    /// The last transaction ended in chunks: the next begins with RSET.
    reset_first: bool,
}

/// What a reply will be the answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Mail(u32),
    Recipient(u32, usize),
    Data(u32),
    Chunk(u32),
    Verdict(u32),
    /// To a lone dot.
    Discard(u32),
    /// Our own RSET.
    Reset,
    /// The owner's command.
    Owner,
}

impl Due {
    fn transaction(self) -> Option<u32> {
        match self {
            Self::Mail(it)
            | Self::Recipient(it, _)
            | Self::Data(it)
            | Self::Chunk(it)
            | Self::Verdict(it)
            | Self::Discard(it) => Some(it),
            Self::Reset | Self::Owner => None,
        }
    }
}

struct Under {
    number: u32,
    input: Box<Transaction>,
    outcome: Outcome,
    encoder: Encoder,
    chunked: bool,
    /// Whether octets above 127 may be sent.
    eight_bit: bool,
    stage: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The next command to be written: 0 is MAIL, then the recipients, then DATA.
    Commands(usize),
    AwaitGo,
    Content,
    Written,
    /// Refused; replies may still be due.
    Ending,
}

impl Under {
    fn accepted(&self) -> usize {
        let mail = self.outcome.mail.as_ref().is_some_and(Reply::is_positive);
        let positive = |it: &&Option<Reply>| it.as_ref().is_some_and(Reply::is_positive);
        if mail {
            self.outcome.recipients.iter().filter(positive).count()
        } else {
            0
        }
    }

    fn is_refused(&self) -> bool {
        self.outcome.mail.as_ref().is_some_and(Reply::is_negative)
    }
}

impl Flow {
    pub(super) fn begun(&self) -> u32 {
        self.begun
    }

    pub(super) fn unfinished(&self) -> impl Iterator<Item = (u64, bool)> {
        let under = self.transactions.iter();
        under.map(|it| (it.outcome.id, it.stage == Progress::Written))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.transactions.is_empty() && self.due.is_empty() && self.put_off.is_empty()
    }

    pub(super) fn awaits_go(&self) -> bool {
        matches!(self.due.front(), Some(Due::Data(_)))
    }

    pub(super) fn stage(&self) -> Stage {
        match self.due.front() {
            Some(Due::Data(_) | Due::Chunk(_) | Due::Verdict(_) | Due::Discard(_)) => {
                Stage::Content
            }
            Some(_) => Stage::Command,
            None if self.transactions.is_empty() => Stage::Idle,
            None => Stage::Content,
        }
    }

    /// The owner has nothing for now: right, unless content is wanted.
    pub(super) fn nothing(&mut self) -> Result<(), Failure> {
        match self.transactions.back() {
            Some(it) if it.stage == Progress::Content => Err(Failure::Misuse),
            _ => Ok(()),
        }
    }

    pub(super) fn defer(&mut self, answer: Answer) -> Result<(), Failure> {
        self.nothing()?;
        if self.put_off.len() >= MOST_PUT_OFF {
            return Err(Failure::Misuse);
        }
        self.put_off.push_back(answer);
        Ok(())
    }

    /// An answer that was put off and can be carried out now; transactions are begun elsewhere.
    pub(super) fn deferred(&mut self) -> Option<Answer> {
        if matches!(self.put_off.front(), Some(Answer::Transaction(_))) {
            None
        } else if self.transactions.is_empty() && self.due.is_empty() {
            self.put_off.pop_front()
        } else {
            None
        }
    }

    /// Writes a command of the owner.
    pub(super) fn ask(&mut self, link: &mut Link, command: &[u8]) {
        if std::mem::take(&mut self.in_exchange) {
            link.say_secret(command, "(response)");
        } else if verb(command) == b"AUTH" {
            link.say_secret(command, "AUTH (credentials)");
        } else {
            link.say(command);
        }
        self.due.push_back(Due::Owner);
    }

    /// Takes a transaction, to be begun when the one before has been written.
    pub(super) fn hand_in(&mut self, input: Box<Transaction>) -> Result<(), Failure> {
        if !is_well_formed(&input) {
            return Err(Failure::Misuse);
        }
        self.defer(Answer::Transaction(input))
    }

    /// Begins the transaction that was put off, if the one before allows it. One that cannot be sent is over at once.
    fn begin(&mut self, capabilities: &Capabilities, lmtp: bool) -> Option<Ask> {
        let free = match self.transactions.back() {
            None => capabilities.pipelining || self.due.is_empty(),
            Some(it) => {
                let written = it.stage == Progress::Written && self.transactions.len() == 1;
                written && capabilities.pipelining
            }
        };
        if !free || !matches!(self.put_off.front(), Some(Answer::Transaction(_))) {
            return None;
        }
        let Some(Answer::Transaction(input)) = self.put_off.pop_front() else {
            return None;
        };
        let outcome = Outcome {
            id: input.id,
            unsent: unsent(&input, capabilities, self.begun),
            mail: None,
            recipients: vec![None; input.recipients.len()],
            data: None,
            verdicts: Vec::new(),
            lmtp,
        };
        if outcome.unsent.is_some() {
            return Some(Ask::Sent(Box::new(outcome)));
        }
        // [SMTP-CHUNK-03] only where it is offered
        let chunked = input.framing == Framing::Chunks && capabilities.chunking;
        self.begun += 1;
        self.transactions.push_back(Under {
            number: self.begun,
            encoder: if chunked {
                Encoder::for_chunks(input.line_ends)
            } else {
                Encoder::for_data(input.line_ends)
            },
            eight_bit: capabilities.eight_bit && input.eight_bit != Some(false),
            input,
            outcome,
            chunked,
            stage: Progress::Commands(0),
        });
        None
    }

    /// Writes what can be written now, and says what to ask the owner.
    pub(super) fn pump(
        &mut self,
        link: &mut Link,
        capabilities: &Capabilities,
        lmtp: bool,
    ) -> Result<Option<Ask>, Failure> {
        if let Some(ask) = self.begin(capabilities, lmtp) {
            return Ok(Some(ask));
        }
        let window = if capabilities.pipelining { WINDOW } else { 1 };
        self.write_commands(link, capabilities, window);
        let Some(last) = self.transactions.back() else {
            return Ok(None);
        };
        let (number, stage) = (last.number, last.stage);
        let nothing_due = !self.due.iter().any(|it| it.transaction() == Some(number));
        match stage {
            // Every reply to the envelope is in, and there is no DATA to be answered.
            Progress::AwaitGo if nothing_due && last.accepted() > 0 => {
                self.set_stage(number, Progress::Content);
                self.pump(link, capabilities, lmtp)
            }
            Progress::AwaitGo | Progress::Ending if nothing_due => Ok(self.finish(number, link)),
            Progress::Content if self.chunks_due() < CHUNKS => {
                link.check_open(Stage::Content)?;
                Ok(Some(Ask::Content(last.input.id)))
            }
            Progress::Written if capabilities.pipelining && self.may_ask_more() => {
                self.asked_more = true;
                Ok(Some(Ask::More))
            }
            _ => Ok(None),
        }
    }

    fn may_ask_more(&self) -> bool {
        self.put_off.is_empty() && !self.asked_more && self.transactions.len() == 1
    }

    fn chunks_due(&self) -> usize {
        self.due
            .iter()
            .filter(|it| matches!(it, Due::Chunk(_)))
            .count()
    }

    fn write_commands(&mut self, link: &mut Link, capabilities: &Capabilities, window: usize) {
        let due = &mut self.due;
        let Some(last) = self.transactions.back_mut() else {
            return;
        };
        while let Progress::Commands(at) = last.stage
            && due.len() < window
        {
            let number = last.number;
            if at == 0 && std::mem::take(&mut self.reset_first) {
                // [SMTP-CHUNK-02] the chunks before may have failed, and nobody waited for their verdict
                link.say(b"RSET");
                due.push_back(Due::Reset);
                continue;
            }
            if last.is_refused() {
                last.stage = Progress::Ending;
            } else if at == 0 {
                link.say(mail_command(&last.input, capabilities).as_bytes());
                due.push_back(Due::Mail(number));
                last.stage = Progress::Commands(1);
            } else if let Some(recipient) = last.input.recipients.get(at - 1) {
                link.say(format!("RCPT TO:<{}>", written(&recipient.0)).as_bytes());
                due.push_back(Due::Recipient(number, at - 1));
                last.stage = Progress::Commands(at + 1);
            } else if last.chunked {
                last.stage = Progress::AwaitGo;
            } else if due.is_empty() && last.accepted() == 0 {
                // Every recipient was refused and nobody waits for DATA.
                last.stage = Progress::Ending;
            } else {
                // [SMTP-PIPE-02] last in its group
                link.say(b"DATA");
                due.push_back(Due::Data(number));
                last.stage = Progress::AwaitGo;
            }
        }
    }

    /// A portion of content.
    pub(super) fn content(
        &mut self,
        link: &mut Link,
        portion: &[u8],
        is_last: bool,
    ) -> Result<(), Failure> {
        let Some(last) = self.transactions.back_mut() else {
            return Err(Failure::Misuse);
        };
        if last.stage != Progress::Content {
            // A chunk was refused while the owner looked for the next: it is not wanted any more.
            return if last.stage == Progress::Ending {
                Ok(())
            } else {
                Err(Failure::Misuse)
            };
        }
        // [SMTP-8BIT-01]
        if !last.eight_bit && !portion.is_ascii() {
            return Err(Failure::EightBit);
        }
        let number = last.number;
        let mut chunk = Vec::new();
        let out = if last.chunked {
            &mut chunk
        } else {
            &mut link.output
        };
        last.encoder
            .encode(portion, out)
            .map_err(|_| Failure::BareLineEnd)?;
        if is_last {
            last.encoder.finish(out).map_err(|_| Failure::BareLineEnd)?;
        }
        if last.chunked && (is_last || !chunk.is_empty()) {
            let mark = if is_last { " LAST" } else { "" };
            link.say(format!("BDAT {}{mark}", chunk.len()).as_bytes());
            link.output.append(&mut chunk);
        }
        if is_last {
            let verdicts = if last.outcome.lmtp {
                last.accepted()
            } else {
                1
            };
            last.stage = Progress::Written;
            self.asked_more = false;
            self.reset_first = last.chunked;
            self.due
                .extend(std::iter::repeat_n(Due::Verdict(number), verdicts));
        } else if last.chunked {
            self.due.push_back(Due::Chunk(number));
        }
        Ok(())
    }

    pub(super) fn on_reply(
        &mut self,
        reply: Reply,
        link: &mut Link,
    ) -> Result<Option<Ask>, Failure> {
        let stage = self.stage();
        let due = self
            .due
            .pop_front()
            .ok_or(Failure::Protocol(Breach::Unasked, stage))?;
        let unexpected = Failure::Protocol(Breach::UnexpectedReply, stage);
        let Some(number) = due.transaction() else {
            return match due {
                Due::Reset if !reply.is_positive() => Err(unexpected),
                Due::Reset => Ok(None),
                _ => {
                    self.in_exchange = reply.code == 334;
                    Ok(Some(Ask::Reply(Box::new(reply))))
                }
            };
        };
        if reply.code / 100 == 3 && !(matches!(due, Due::Data(_)) && reply.code == 354) {
            return Err(unexpected);
        }
        let Some(under) = self.transactions.iter_mut().find(|it| it.number == number) else {
            return Err(unexpected);
        };
        match due {
            Due::Mail(_) => under.outcome.mail = Some(reply),
            Due::Recipient(_, index) => {
                if let Some(slot) = under.outcome.recipients.get_mut(index) {
                    *slot = Some(reply);
                }
            }
            Due::Data(_) if reply.code == 354 && under.accepted() > 0 => {
                under.stage = Progress::Content;
            }
            Due::Data(_) if reply.code == 354 => {
                // [SMTP-PIPE-01] RFC 2920 3.1: nothing was accepted, so nothing is sent
                link.say(b".");
                under.stage = Progress::Ending;
                self.due.push_back(Due::Discard(number));
            }
            Due::Data(_) if reply.is_positive() => return Err(unexpected),
            Due::Data(_) => {
                under.outcome.data = Some(reply);
                under.stage = Progress::Ending;
            }
            Due::Chunk(_) if reply.is_negative() => {
                // [SMTP-CHUNK-02] no more of it
                under.outcome.data.get_or_insert(reply);
                if under.stage == Progress::Content {
                    under.stage = Progress::Ending;
                }
            }
            Due::Verdict(_) => {
                under.outcome.verdicts.push(reply);
                if !self.due.contains(&due) {
                    return Ok(self.finish(number, link));
                }
            }
            Due::Chunk(_) | Due::Discard(_) | Due::Reset | Due::Owner => {}
        }
        Ok(None)
    }

    /// Takes a transaction out. If the server may hold half of it, RSET follows.
    fn finish(&mut self, number: u32, link: &mut Link) -> Option<Ask> {
        let at = self
            .transactions
            .iter()
            .position(|it| it.number == number)?;
        let under = self.transactions.remove(at)?;
        let begun = under.outcome.mail.as_ref().is_some_and(Reply::is_positive);
        if self.transactions.is_empty() {
            let failed_chunks =
                self.reset_first && !under.outcome.verdicts.iter().all(Reply::is_positive);
            if failed_chunks || (begun && under.stage != Progress::Written) {
                link.say(b"RSET");
                self.due.push_back(Due::Reset);
            }
            self.reset_first = false;
        }
        Some(Ask::Sent(Box::new(under.outcome)))
    }

    fn set_stage(&mut self, number: u32, stage: Progress) {
        if let Some(it) = self.transactions.iter_mut().find(|it| it.number == number) {
            it.stage = stage;
        }
    }
}

/// What can be known before a word is said.
fn unsent(input: &Transaction, capabilities: &Capabilities, begun: u32) -> Option<Unsent> {
    let limit = capabilities.size.flatten();
    if input
        .size
        .is_some_and(|size| limit.is_some_and(|it| size > it))
    {
        // [SMTP-SIZE-01] from the client's side: not even tried
        return Some(Unsent::TooLarge);
    }
    if input.eight_bit == Some(true) && !capabilities.eight_bit {
        return Some(Unsent::EightBit);
    }
    // [SMTP-UTF8-02]
    if input.needs_utf8() && !capabilities.utf8 {
        return Some(Unsent::Utf8);
    }
    if !capabilities.limits.allow(&input.recipients) {
        return Some(Unsent::TooManyRecipients);
    }
    let full = capabilities
        .limits
        .transactions
        .is_some_and(|it| begun >= it);
    full.then_some(Unsent::TooManyTransactions)
}

fn mail_command(input: &Transaction, capabilities: &Capabilities) -> String {
    let mut line = match &input.reverse_path {
        ReversePath::Null => "MAIL FROM:<>".to_owned(),
        ReversePath::Mailbox(mailbox) => format!("MAIL FROM:<{}>", written(mailbox)),
    };
    if let Some(size) = input.size
        && capabilities.size.is_some()
    {
        line.push_str(&format!(" SIZE={size}"));
    }
    if capabilities.eight_bit && input.eight_bit != Some(false) {
        line.push_str(" BODY=8BITMIME");
    }
    // [SMTP-UTF8-02] only where it is needed
    if input.needs_utf8() {
        line.push_str(" SMTPUTF8");
    }
    line
}

/// A mailbox as it stands in a command. `postmaster` may have no domain.
fn written(mailbox: &Mailbox) -> String {
    if mailbox.domain.is_empty() {
        mailbox.local.clone()
    } else {
        format!("{}@{}", mailbox.local, mailbox.domain)
    }
}

/// The fields of a path are public: what does not read back as itself could say more than an address.
fn is_well_formed(input: &Transaction) -> bool {
    let reads_back = |mailbox: &Mailbox| {
        let text = written(mailbox);
        let postmaster = mailbox.domain.is_empty() && text.eq_ignore_ascii_case("postmaster");
        is_plain(text.as_bytes()) && (postmaster || Mailbox::parse(&text).as_ref() == Ok(mailbox))
    };
    let sender = match &input.reverse_path {
        ReversePath::Null => true,
        ReversePath::Mailbox(mailbox) => reads_back(mailbox),
    };
    sender && !input.recipients.is_empty() && input.recipients.iter().all(|it| reads_back(&it.0))
}
