//! APPEND: the message is streamed to the backend in pieces and never held whole (RFC 9051 6.3.12; RFC 4315, 7888, 7889).
//!
//! ```text
//!   announced ──▶ AppendBegin ──▶ (+) receive ──▶ AppendContent … ──▶ CRLF ──▶ AppendCommit ──▶ OK [APPENDUID]
//!       │ NO, BAD      │ NO           │ NO: AppendAbort, the rest is dropped
//! ```
//!
//! Pieces have a fixed size, so what the backend sees does not depend on how the bytes arrived. A connection that breaks in
//! between leaves the append unfinished: the backend forgets it with the session.

use super::Step;
use super::arguments::{Bad, Names, date_time, flag_list};
use super::gather::Announced;
use super::io::{Command, Io};
use super::mailbox::{Job, Mailbox};
use crate::imap::ask::{Answer, Ask, Flags, InternalDate, Refusal};

/// The size of a piece, in octets.
const PIECE: usize = 64 * 1024;

/// An APPEND under way.
#[derive(Debug)]
pub(super) struct Append {
    tag: Box<str>,
    /// Octets of the message that have not been taken.
    left: u64,
    /// Whether the client waits for `+`.
    waits: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The backend is asked whether it may begin.
    Begin,
    /// The client's turn.
    Receive,
    /// A piece is on its way.
    Piece,
    /// The message is being kept.
    Commit,
    /// It is being forgotten, for this reason; the reply follows.
    Abort(String),
}

/// Whether the literal announced is the mailbox name, not the message.
pub(super) fn announces_mailbox(command: &Command) -> bool {
    let mut cursor = command.arguments();
    cursor.space().is_ok() && cursor.peek() == Some(b'{') && cursor.astring().is_err()
}

impl Mailbox {
    /// The message is announced: check what can be checked before any of it comes.
    pub(super) fn begin_append(
        &mut self,
        io: &mut Io,
        command: &Command,
        announced: Announced,
    ) -> Step {
        let tag = &command.tag;
        let length = announced.length;
        let (mailbox, flags, date) = match self.check_append(io, command, announced) {
            Ok(prefix) => prefix,
            Err((reply, bad)) => {
                return io.drop_command(announced, format!("{tag} {reply}\r\n"), bad);
            }
        };
        io.stream();
        let append = Append {
            tag: tag.clone(),
            left: length,
            waits: announced.waits,
            stage: Stage::Begin,
        };
        let ask = crate::imap::ask::Append {
            mailbox,
            flags,
            date,
            size: length,
        };
        self.put(Ask::AppendBegin(ask), Job::Append(append));
        Step::Again
    }

    /// The prefix, or the reply that refuses it and whether it counts as a bad command.
    fn check_append(
        &self,
        io: &Io,
        command: &Command,
        announced: Announced,
    ) -> Result<Prefix, (&'static str, bool)> {
        let length = announced.length;
        let prefix = prefix(command, self.names()).map_err(|bad| match bad {
            Bad::Name => ("NO [CANNOT] A mailbox cannot have this name", false),
            Bad::Flag => ("NO [CANNOT] This flag cannot be set", false),
            _ => ("BAD Wrong arguments", true),
        })?;
        if length > io.config.append_limit {
            return Err(("NO [TOOBIG] The message is too big", false));
        }
        if !announced.waits && length > super::io::NON_SYNCHRONIZING {
            return Err(("BAD A literal over 4096 octets must wait (LITERAL-)", true));
        }
        if length == 0 {
            return Err(("NO [CANNOT] The message is empty", false));
        }
        Ok(prefix)
    }

    /// Goes on receiving.
    pub(super) fn append_on(&mut self, io: &mut Io) -> Step {
        let Some(Job::Append(append)) = self.job.as_deref_mut() else {
            return Step::Again;
        };
        if append.left > 0 {
            let piece = usize::try_from(append.left)
                .unwrap_or(usize::MAX)
                .min(PIECE);
            let Some(octets) = io.inbox.waiting().get(..piece).map(<[u8]>::to_vec) else {
                return Step::Input;
            };
            io.inbox.consume(piece);
            io.progress();
            append.left -= piece as u64;
            if octets.contains(&0) {
                // A literal holds no NUL (RFC 9051 9, CHAR8), so a message that does could not be given out again; a literal8
                // may hold it, and a mailbox that cannot keep it refuses (RFC 3516 4.4).
                let reply = format!("{} NO [CANNOT] A message cannot hold NUL\r\n", append.tag);
                append.stage = Stage::Abort(reply);
                io.drop_literal(append.left, String::new());
                return Step::Ask(Ask::AppendAbort);
            }
            append.stage = Stage::Piece;
            return Step::Ask(Ask::AppendContent(octets));
        }
        match io.plain_line() {
            Ok(line) if line.is_empty() => {
                append.stage = Stage::Commit;
                Step::Ask(Ask::AppendCommit)
            }
            Ok(line) => {
                // More behind the message (MULTIAPPEND is not offered), which may announce a literal of its own.
                let reply = format!("{} BAD Nothing may follow the message\r\n", append.tag);
                io.drop_rest(&line);
                append.stage = Stage::Abort(reply);
                Step::Ask(Ask::AppendAbort)
            }
            Err(step) => step,
        }
    }

    pub(super) fn append_answer(&mut self, io: &mut Io, mut append: Append, answer: Answer) {
        match (append.stage, answer) {
            (Stage::Begin, Answer::Checked(Ok(()))) => {
                if append.waits {
                    io.line(format_args!("+ Go ahead"));
                }
                append.stage = Stage::Receive;
                self.job = Some(Box::new(Job::Append(append)));
            }
            (Stage::Begin, Answer::Checked(Err(refusal))) => {
                if append.waits || refusal == Refusal::Gone {
                    return self.refused(io, &append.tag, refusal, true);
                }
                // The message comes all the same.
                let reply = super::mailbox::refusal_text(refusal, true);
                io.drop_literal(append.left, format!("{} NO {reply}\r\n", append.tag));
            }
            (Stage::Piece, Answer::Checked(Ok(()))) => {
                append.stage = Stage::Receive;
                self.job = Some(Box::new(Job::Append(append)));
            }
            (Stage::Piece, Answer::Checked(Err(Refusal::Gone))) => {
                self.refused(io, "*", Refusal::Gone, true);
            }
            (Stage::Piece, Answer::Checked(Err(refusal))) => {
                let reply = super::mailbox::refusal_text(refusal, true);
                append.stage = Stage::Abort(format!("{} NO {reply}\r\n", append.tag));
                io.drop_literal(append.left, String::new());
                self.put(Ask::AppendAbort, Job::Append(append));
            }
            (Stage::Abort(reply), Answer::Done) => io.reply_when_dropped(reply),
            (Stage::Commit, Answer::Appended(Ok((uidvalidity, uid)))) => {
                // The destination may be the selected mailbox.
                io.news = true;
                let code = format!("[APPENDUID {uidvalidity} {uid}]");
                self.finish(
                    io,
                    format!("{} OK {code} APPEND completed\r\n", append.tag),
                    true,
                );
            }
            (Stage::Commit, Answer::Appended(Err(refusal))) => {
                self.refused(io, &append.tag, refusal, true);
            }
            _ => Self::fault(io),
        }
    }
}

/// What stands before the message: mailbox, flags, date.
type Prefix = (String, Flags, Option<InternalDate>);

fn prefix(command: &Command, names: Names) -> Result<Prefix, Bad> {
    let mut cursor = command.arguments();
    cursor.space()?;
    let mailbox = names.mailbox(&mut cursor)?;
    cursor.space()?;
    let mut flags = Flags::default();
    if cursor.peek() == Some(b'(') {
        flags = flag_list(&mut cursor)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date_time(&mut cursor)?);
        cursor.space()?;
    }
    // literal8 (RFC 4466) is taken like a literal; neither may bring NUL.
    cursor.eat(b'~');
    let announcement = cursor
        .rest()
        .strip_suffix(b"}\r\n")
        .and_then(|rest| rest.strip_prefix(b"{"));
    let digits = announcement
        .map(|inner| inner.strip_suffix(b"+").unwrap_or(inner))
        .ok_or(Bad::Syntax)?;
    if digits.iter().all(u8::is_ascii_digit) {
        Ok((mailbox, flags, date))
    } else {
        Err(Bad::Syntax)
    }
}
