//! The states of a session. Each holds only what is true there.
//!
//! ```text
//!  Greet ─▶ Rest ──line──▶ a command ─────────────┬─▶ Rest
//!            │ Ready                              ├─▶ Asked ──answer──▶ Rest, Prompt, Content, Auth
//!            │ Mail     (a transaction is open)   ├─▶ Content ─▶ Asked ─▶ … ─▶ Rest
//!            │ Chunks   (between two chunks)      ├─▶ Auth ──line──▶ Asked ─▶ … ─▶ Rest
//!            │ Failed   (only RSET helps)         ├─▶ Drain ─▶ Rest
//!            └──line too long──▶ Skip ─▶ Rest     └─▶ Upgrade, Leaving
//! ```

use super::core::Core;
use super::group::Group;
use super::intake::Intake;
use super::login::Login;
use crate::inbox::Inbox;
use crate::session::Why;
use crate::smtp::ask::{Answer, Ask, MailFrom, Refusal};
use crate::smtp::path::ForwardPath;
use crate::smtp::relay::Passed;
use crate::smtp::reply::{self, Reply};
use crate::smtp::table::Phase;
use crate::smtp::xclient::Introduced;

/// What the session expects next.
pub(super) enum State {
    /// To greet; `written` when the greeting has been handed out.
    Greet { written: bool },
    /// A command.
    Rest(Rest),
    /// The end of a line that is too long.
    Skip(Skip),
    /// To write 354, if the client has kept its peace until now.
    Prompt(Box<Intake>),
    /// Content.
    Content(Box<Intake>),
    /// The octets of a chunk that is refused.
    Drain(Box<Drain>),
    /// A response in an authentication exchange.
    Auth(Box<Login>),
    /// To ask this.
    ToAsk(Box<(Ask, Asked)>),
    /// The backend's answer.
    Asked(Asked),
    /// TLS.
    Upgrade,
    /// Nothing more.
    Leaving(Why),
}

/// While a state is being worked on its place is taken by the end: whatever goes wrong fails closed.
impl Default for State {
    fn default() -> Self {
        Self::Leaving(Why::Fault)
    }
}

/// Where commands are awaited.
pub(super) enum Rest {
    /// No transaction.
    Ready,
    /// A transaction without content.
    Mail(Box<Transaction>),
    /// A transaction with some chunks of its content.
    Chunks(Box<Intake>),
    /// A transaction of which a chunk was refused; the backend has forgotten it.
    Failed,
}

/// An accepted MAIL command and what followed it.
pub(super) struct Transaction {
    pub(super) mail: MailFrom,
    pub(super) recipients: Vec<ForwardPath>,
    /// Whether a recipient was refused.
    pub(super) some_refused: bool,
}

impl Transaction {
    fn refuse_one(mut self: Box<Self>, refusal: Refusal, core: &mut Core) -> Turn {
        self.some_refused = true;
        if matches!(refusal, Refusal::NoSuchMailbox | Refusal::NoRelay) {
            core.counters.unknown_recipients += 1;
        }
        if core.counters.unknown_recipients > core.config.limits.unknown_recipients {
            return core.leave(reply::TOO_MANY_UNKNOWN, Why::TooManyErrors);
        }
        core.reply(refusal.into(), Rest::Mail(self))
    }
}

/// A question the backend is thinking about, and what the session needs to go on.
pub(super) enum Asked {
    Mail(MailFrom),
    Recipient(Box<Transaction>, ForwardPath),
    /// Several of these two.
    Group(Box<Group>),
    Introduced(Introduced),
    Begin(Box<Intake>),
    /// A piece of content, or that a message with a fault is to be forgotten.
    Content(Box<Intake>),
    Commit,
    Abort(After),
    Account(Box<Login>),
}

/// What to do when the backend has forgotten a transaction.
pub(super) enum After {
    Reply(Reply),
    Rest,
    Hello,
    Upgrade,
    Fail,
}

/// What a state made of its input.
pub(super) enum Turn {
    /// Go on in this state.
    Go(State),
    /// Ask this first.
    Ask(Ask, Asked),
    /// This state needs more bytes.
    More(State),
}

impl Rest {
    pub(super) fn phase(&self, core: &Core) -> Phase {
        match self {
            Self::Ready if core.client.is_none() => Phase::Start,
            Self::Ready => Phase::Ready,
            Self::Mail(transaction) if transaction.recipients.is_empty() => Phase::Mail,
            Self::Mail(_) => Phase::Recipients,
            Self::Chunks(_) => Phase::Chunks,
            Self::Failed => Phase::Failed,
        }
    }

    /// Forgets the transaction, if there is one.
    pub(super) fn forget(self, core: &mut Core, after: After) -> Turn {
        match self {
            Self::Ready | Self::Failed => after.go(core),
            Self::Mail(_) | Self::Chunks(_) => Turn::Ask(Ask::Abort, Asked::Abort(after)),
        }
    }
}

impl After {
    fn go(self, core: &mut Core) -> Turn {
        match self {
            Self::Reply(reply) => return core.reply(reply, Rest::Ready),
            Self::Rest => {}
            Self::Hello => core.say_hello(),
            Self::Upgrade => {
                core.say(reply::READY_FOR_TLS);
                return Turn::Go(State::Upgrade);
            }
            Self::Fail => return Turn::Go(State::Rest(Rest::Failed)),
        }
        Turn::Go(State::Rest(Rest::Ready))
    }
}

impl Asked {
    /// Goes on with the backend's answer.
    pub(super) fn on(self, answer: Answer, core: &mut Core) -> Turn {
        match (self, answer) {
            (Self::Mail(mail), Answer::Verdict(Ok(()))) => {
                core.mail_refused = false;
                let transaction = Transaction {
                    mail,
                    recipients: Vec::new(),
                    some_refused: false,
                };
                core.reply(reply::SENDER_OK, Rest::Mail(Box::new(transaction)))
            }
            (Self::Mail(_), Answer::Verdict(Err(refusal))) => {
                core.reply(refusal.into(), Rest::Ready)
            }
            (Self::Recipient(mut transaction, path), Answer::Verdict(Ok(()))) => {
                transaction.recipients.push(path);
                core.reply(reply::RECIPIENT_OK, Rest::Mail(transaction))
            }
            (Self::Recipient(transaction, _), Answer::Verdict(Err(refusal))) => {
                transaction.refuse_one(refusal, core)
            }
            (Self::Introduced(introduced), Answer::Verdict(Ok(()))) => core.introduce(introduced),
            (Self::Introduced(_), Answer::Verdict(Err(refusal @ Refusal::TooManyConnections))) => {
                core.leave(refusal.into(), Why::LimitExceeded)
            }
            (Self::Begin(intake), Answer::Verdict(verdict)) => intake.begun(verdict, core),
            (Self::Content(intake), Answer::Verdict(verdict)) => intake.answered(verdict),
            (Self::Commit, Answer::Stored(Ok(id))) => {
                // [SMTP-BASE-15] the backend has it on disk.
                reply::write_stored(&id, &mut core.out);
                Turn::Go(State::Rest(Rest::Ready))
            }
            (Self::Commit, Answer::Stored(Err(refusal))) => core.reply(refusal.into(), Rest::Ready),
            (Self::Abort(after), Answer::Verdict(_)) => after.go(core),
            (Self::Group(group), Answer::Group(replies)) => group.answered(replies, core),
            (asked, Answer::Passed(passed)) => asked.on_passed(&passed, core),
            (Self::Account(login), Answer::Account(answer)) => login.answered(answer, core),
            // The answer does not fit the question: our own mistake.
            _ => core.leave(reply::OUR_FAULT_CLOSING, Why::Fault),
        }
    }
}

/// What the server behind this one answered.
impl Asked {
    pub(super) fn on_passed(self, passed: &Passed, core: &mut Core) -> Turn {
        if passed.code() == 421 {
            passed.write(&mut core.out);
            return Turn::Go(State::Leaving(Why::UpstreamClosed));
        }
        let good = passed.is_positive();
        match self {
            // The content that comes is waited for in silence; a refusal is said when it has been read.
            Self::Begin(intake) if good => intake.begun(Ok(()), core),
            Self::Begin(intake) => intake.not_begun(passed, core),
            Self::Content(intake) if good => intake.answered(Ok(())),
            Self::Content(intake) => intake.passed(passed.clone()),
            Self::Mail(mail) => {
                let transaction = || Transaction {
                    mail,
                    recipients: Vec::new(),
                    some_refused: false,
                };
                passed.write(&mut core.out);
                core.mail_refused = !good;
                Turn::Go(State::Rest(if good {
                    Rest::Mail(Box::new(transaction()))
                } else {
                    Rest::Ready
                }))
            }
            Self::Recipient(mut transaction, path) => {
                passed.write(&mut core.out);
                if good {
                    transaction.recipients.push(path);
                } else {
                    transaction.some_refused = true;
                    core.counters.unknown_recipients += u32::from(passed.code() / 100 == 5);
                }
                if core.counters.unknown_recipients > core.config.limits.unknown_recipients {
                    return core.leave(reply::TOO_MANY_UNKNOWN, Why::TooManyErrors);
                }
                Turn::Go(State::Rest(Rest::Mail(transaction)))
            }
            Self::Commit => {
                // [SMTP-BASE-15] the upstream has it, or has not.
                passed.write(&mut core.out);
                Turn::Go(State::Rest(Rest::Ready))
            }
            // Neither a login nor forgetting is the upstream's to answer in these words, nor is one word an answer to many.
            Self::Abort(_) | Self::Account(_) | Self::Group(_) | Self::Introduced(_) => {
                core.leave(reply::OUR_FAULT_CLOSING, Why::Fault)
            }
        }
    }
}

/// A line that is too long is read to its end and then refused: one reply for one command.
pub(super) struct Skip {
    pub(super) octets: usize,
    pub(super) reply: Reply,
    pub(super) back: Rest,
}

impl Skip {
    pub(super) fn on(mut self, core: &mut Core, inbox: &mut Inbox) -> Turn {
        let before = inbox.len();
        let ended = inbox.skip_line();
        self.octets += before - inbox.len();
        if self.octets > core.config.limits.skipped_octets {
            return core.leave(reply::TOO_MUCH_DATA, Why::LimitExceeded);
        }
        if ended {
            core.bad(self.reply, self.back)
        } else {
            Turn::More(State::Skip(self))
        }
    }
}

/// A reply, whoever it is from.
pub(super) enum Spoken {
    /// Ours.
    Own(Reply),
    /// That of the server behind this one.
    Passed(Box<Passed>),
}

impl Spoken {
    pub(super) fn say(&self, core: &mut Core) {
        match self {
            Self::Own(reply) => core.say(*reply),
            Self::Passed(passed) => passed.write(&mut core.out),
        }
    }
}

/// The octets of a refused chunk are read and thrown away, then comes the reply [SMTP-CHUNK-01] (RFC 3030 2). Were they not,
/// they would be taken for commands.
pub(super) struct Drain {
    pub(super) octets: u64,
    pub(super) reply: Spoken,
    /// Whether a proper client would not have sent the chunk.
    pub(super) counts: bool,
    pub(super) back: Rest,
    /// What becomes of a transaction that is still open.
    pub(super) after: Option<After>,
}

impl Drain {
    pub(super) fn on(mut self: Box<Self>, core: &mut Core, inbox: &mut Inbox) -> Turn {
        let now = usize::try_from(self.octets)
            .unwrap_or(usize::MAX)
            .min(inbox.len());
        inbox.consume(now);
        self.octets -= now as u64;
        if self.octets > 0 {
            return Turn::More(State::Drain(self));
        }
        match self.after {
            Some(after) => {
                self.reply.say(core);
                self.back.forget(core, after)
            }
            None => match self.reply {
                Spoken::Own(reply) if self.counts => core.bad(reply, self.back),
                reply => {
                    reply.say(core);
                    Turn::Go(State::Rest(self.back))
                }
            },
        }
    }
}
