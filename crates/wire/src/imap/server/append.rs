//! APPEND and REPLACE: the message is streamed to the backend in pieces and never held whole (RFC 9051 6.3.12; RFC 4315, 7888,
//! 7889, 8508, 6855). One APPEND may bring several messages, which are kept together or not at all (RFC 3502).
//!
//! ```text
//!   announced ──▶ AppendBegin ──▶ (+) receive ──▶ AppendContent … ──▶ CRLF ──▶ AppendCommit ──▶ OK [APPENDUID]
//!       ▲                                                         │ SP: the next message
//!       └─────────────────────────────────────────────────────────┘
//!       │ NO, BAD      │ NO           │ NO: AppendAbort, the rest is dropped
//! ```
//!
//! Pieces have a fixed size, so what the backend sees does not depend on how the bytes arrived. A connection that breaks in
//! between leaves the append unfinished: the backend forgets it with the session.

use super::Step;
use super::arguments::{Bad, date_time, flag_list};
use super::cursor::Cursor;
use super::gather::{Announced, announcement};
use super::io::{Command, Io};
use super::job::Job;
use super::mailbox::Mailbox;
use super::reply;
use super::table::Verb;
use super::view::Set;
use crate::imap::ask::{Answer, Ask, Flags, InternalDate, Refusal, Uid};
use crate::smtp::content::HEADER_OCTETS;
use crate::smtp::header::HeaderScan;

/// The size of a piece, in octets.
const PIECE: usize = 64 * 1024;
/// How many messages one APPEND may bring.
const MESSAGES: usize = 1_000;

/// An APPEND or REPLACE under way.
#[derive(Debug)]
pub(super) struct Append {
    tag: Box<str>,
    verb: Verb,
    mailbox: String,
    /// REPLACE: what goes when the new message is kept.
    replaces: Option<Uid>,
    /// How many messages came before this one in the same command.
    before: usize,
    /// Octets of the message that have not been taken.
    left: u64,
    /// Whether the client waits for `+`.
    waits: bool,
    /// `UTF8 (`: a parenthesis closes behind the message (RFC 6855 4).
    closes: bool,
    /// A literal8, which may hold any octet (RFC 3516 4.4).
    binary: bool,
    /// What has come of the header: a longer one than SMTP takes is refused here too.
    header: HeaderScan,
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
    /// The messages are being kept.
    Commit,
    /// They are being forgotten, for this reason; the reply follows.
    Abort(String),
}

/// Whether the literal announced is the mailbox name, not the message.
pub(super) fn announces_mailbox(command: &Command) -> bool {
    let mut cursor = command.arguments();
    if cursor.space().is_err() {
        return false;
    }
    if command.verb != Verb::Append && (Set::parse(&mut cursor).is_err() || cursor.space().is_err())
    {
        return false;
    }
    cursor.peek() == Some(b'{') && cursor.astring().is_err()
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
        let checked = self.destination(command).map_err(Wrong::from).and_then(
            |(mailbox, replaces, cursor)| {
                let prefix = prefix(cursor, self.enabled.utf8)?;
                check(io, announced)?;
                Ok((mailbox, replaces, prefix))
            },
        );
        let (mailbox, replaces, prefix) = match checked {
            Ok(checked) => checked,
            Err(Wrong(reply, bad)) => {
                return io.drop_command(announced, format!("{tag} {reply}\r\n"), bad);
            }
        };
        io.stream();
        let append = Append {
            tag: tag.clone(),
            verb: command.verb,
            mailbox,
            replaces,
            before: 0,
            left: announced.length,
            waits: announced.waits,
            closes: prefix.closes,
            binary: prefix.binary,
            header: HeaderScan::default(),
            stage: Stage::Begin,
        };
        self.ask_append(append, prefix);
        Step::Again
    }

    /// Where to, what is replaced, and the rest of the command.
    fn destination<'a>(
        &self,
        command: &'a Command,
    ) -> Result<(String, Option<Uid>, Cursor<'a>), Bad> {
        let mut cursor = command.arguments();
        cursor.space()?;
        let mut replaces = None;
        if command.verb != Verb::Append {
            let by_uid = command.verb.by_uid();
            if self.enabled.uid_only && !by_uid {
                return Err(Bad::UidRequired);
            }
            // RFC 8508 3.2: one message, not a set.
            let number = cursor.number().ok().and_then(|it| u32::try_from(it).ok());
            let number = number.filter(|it| *it > 0).ok_or(Bad::Syntax)?;
            let view = self.view.as_ref().ok_or(Bad::Syntax)?;
            if view.read_only {
                return Err(Bad::ReadOnly);
            }
            let set = Set::Ranges(vec![(Some(number), Some(number))]);
            replaces = Some(view.resolve(&set, by_uid)?.pop().ok_or(Bad::Number)?);
            cursor.space()?;
        }
        let mailbox = self.names().mailbox(&mut cursor)?;
        cursor.space()?;
        Ok((mailbox, replaces, cursor))
    }

    fn ask_append(&mut self, append: Append, prefix: Prefix) {
        let ask = crate::imap::ask::Append {
            mailbox: append.mailbox.clone(),
            flags: prefix.flags,
            date: prefix.date,
            size: append.left,
            replaces: append.replaces,
        };
        self.put(Ask::AppendBegin(ask), Job::Append(append));
    }

    /// Goes on receiving.
    pub(super) fn append_on(&mut self, io: &mut Io) -> Step {
        let Some(Job::Append(append)) = self.job.as_deref_mut() else {
            return Step::Again;
        };
        if append.left == 0 {
            return match io.plain_line() {
                Ok(line) => self.append_line(io, &line),
                Err(step) => step,
            };
        }
        let piece = usize::try_from(append.left)
            .unwrap_or(usize::MAX)
            .min(PIECE);
        let Some(octets) = io.inbox.waiting().get(..piece).map(<[u8]>::to_vec) else {
            return Step::Input;
        };
        io.inbox.consume(piece);
        io.progress();
        append.left -= piece as u64;
        append.header.push(&octets);
        if append.header.octets() > HEADER_OCTETS {
            let reply = format!("{} NO [TOOBIG] The header is too long\r\n", append.tag);
            append.stage = Stage::Abort(reply);
            io.drop_literal(append.left, String::new());
            return Step::Ask(Ask::AppendAbort);
        }
        if octets.contains(&0) {
            // A literal holds no NUL (RFC 9051 9, CHAR8), so a message that does could not be given out again; a literal8
            // may hold it, and a mailbox that cannot keep it says so by its own code (RFC 3516 4.4).
            let code = if append.binary {
                "UNKNOWN-CTE"
            } else {
                "CANNOT"
            };
            let reply = format!("{} NO [{code}] A message cannot hold NUL\r\n", append.tag);
            append.stage = Stage::Abort(reply);
            io.drop_literal(append.left, String::new());
            return Step::Ask(Ask::AppendAbort);
        }
        append.stage = Stage::Piece;
        Step::Ask(Ask::AppendContent(octets))
    }

    /// What stands behind a message: the end, or the next one (RFC 3502).
    fn append_line(&mut self, io: &mut Io, line: &[u8]) -> Step {
        let Some(Job::Append(append)) = self.job.as_deref_mut() else {
            return Step::Again;
        };
        let closed = if append.closes {
            line.strip_prefix(b")")
        } else {
            Some(line)
        };
        if closed == Some(b"") {
            append.stage = Stage::Commit;
            return Step::Ask(Ask::AppendCommit);
        }
        let next = closed
            .ok_or(Wrong::from(Bad::Syntax))
            .and_then(|rest| next_message(io, append, rest, self.enabled.utf8));
        let (announced, prefix) = match next {
            Ok(next) => next,
            Err(Wrong(reply, _)) => {
                let reply = format!("{} {reply}\r\n", append.tag);
                io.drop_rest(line);
                append.stage = Stage::Abort(reply);
                return Step::Ask(Ask::AppendAbort);
            }
        };
        let Some(Job::Append(append)) = self.job.take().map(|job| *job) else {
            return Step::Again;
        };
        let append = Append {
            before: append.before + 1,
            left: announced.length,
            waits: announced.waits,
            closes: prefix.closes,
            binary: prefix.binary,
            header: HeaderScan::default(),
            stage: Stage::Begin,
            ..append
        };
        self.ask_append(append, prefix);
        Step::Again
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
                self.refused(io, &append.tag, Refusal::Gone, true);
            }
            (Stage::Piece, Answer::Checked(Err(refusal))) => {
                let reply = super::mailbox::refusal_text(refusal, true);
                append.stage = Stage::Abort(format!("{} NO {reply}\r\n", append.tag));
                io.drop_literal(append.left, String::new());
                self.put(Ask::AppendAbort, Job::Append(append));
            }
            (Stage::Abort(reply), Answer::Done) => io.reply_when_dropped(reply),
            (Stage::Commit, Answer::Appended(result)) => {
                self.appended(io, &append.tag, append.verb, result);
            }
            _ => Self::fault(io),
        }
    }

    fn appended(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        result: Result<(u32, Vec<Uid>), Refusal>,
    ) {
        let (uidvalidity, uids) = match result {
            Ok(kept) => kept,
            Err(refusal) => return self.refused(io, tag, refusal, true),
        };
        // The destination may be the selected mailbox.
        io.news = true;
        let set = reply::set(uids.into_iter());
        let code = format!("[APPENDUID {uidvalidity} {set}]");
        if verb == Verb::Append {
            let reply = format!("{tag} OK {code} APPEND completed\r\n");
            return self.finish(io, reply, true);
        }
        // RFC 8508 3.2: the new message is told before the old one goes.
        io.line(format_args!("* OK {code} Replaced"));
        self.finish_removal(io, tag, verb);
    }
}

/// The next message of an APPEND: ` [flags] [date] {n}`.
fn next_message(
    io: &Io,
    append: &Append,
    rest: &[u8],
    utf8: bool,
) -> Result<(Announced, Prefix), Wrong> {
    let nothing = Wrong("BAD Nothing may follow the message", true);
    let mut cursor = Cursor::new(rest);
    if append.verb != Verb::Append || cursor.space().is_err() {
        return Err(nothing);
    }
    let announced = announcement(rest).ok_or(nothing)?;
    let whole = [cursor.rest(), b"\r\n"].concat();
    let prefix = prefix(Cursor::new(&whole), utf8)?;
    check(io, announced)?;
    if append.before + 1 >= MESSAGES {
        return Err(Wrong("NO [LIMIT] Too many messages at once", false));
    }
    Ok((announced, prefix))
}

/// The reply that refuses a message, and whether it counts as a bad command.
struct Wrong(&'static str, bool);

impl From<Bad> for Wrong {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Name => Self("NO [CANNOT] A mailbox cannot have this name", false),
            Bad::Flag => Self("NO [CANNOT] This flag cannot be set", false),
            Bad::ReadOnly => Self("NO [NOPERM] The mailbox is read-only", false),
            Bad::Number => Self("BAD No such message number", false),
            Bad::UidRequired => Self("BAD [UIDREQUIRED] UIDONLY is enabled", false),
            _ => Self("BAD Wrong arguments", true),
        }
    }
}

/// Whether a message of this length may come.
fn check(io: &Io, announced: Announced) -> Result<(), Wrong> {
    let length = announced.length;
    if length > io.config.append_limit {
        return Err(Wrong("NO [TOOBIG] The message is too big", false));
    }
    if !announced.waits && length > super::io::NON_SYNCHRONIZING {
        return Err(Wrong(
            "BAD A literal over 4096 octets must wait (LITERAL-)",
            true,
        ));
    }
    if length == 0 {
        return Err(Wrong("NO [CANNOT] The message is empty", false));
    }
    Ok(())
}

/// What stands before a message.
struct Prefix {
    flags: Flags,
    date: Option<InternalDate>,
    closes: bool,
    binary: bool,
}

fn prefix(mut cursor: Cursor<'_>, utf8: bool) -> Result<Prefix, Bad> {
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
    let closes = cursor.eat_word("UTF8");
    if closes {
        // RFC 6855 4: not before ENABLE UTF8=ACCEPT, and the message is a literal8.
        cursor.space()?;
        cursor.expect(b'(')?;
        if !utf8 || cursor.peek() != Some(b'~') {
            return Err(Bad::Syntax);
        }
    }
    // literal8 (RFC 4466) is taken like a literal; neither may bring NUL.
    let binary = cursor.eat(b'~');
    let announcement = cursor
        .rest()
        .strip_suffix(b"}\r\n")
        .and_then(|rest| rest.strip_prefix(b"{"));
    let digits = announcement
        .map(|inner| inner.strip_suffix(b"+").unwrap_or(inner))
        .ok_or(Bad::Syntax)?;
    if digits.iter().all(u8::is_ascii_digit) {
        Ok(Prefix {
            flags,
            date,
            closes,
            binary,
        })
    } else {
        Err(Bad::Syntax)
    }
}
