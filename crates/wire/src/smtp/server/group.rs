//! MAIL and RCPT that came in one go (RFC 2920 3.1), put to the backend in one question [SMTP-PIPE-03].
//!
//! A group is what stands complete in the buffer when its first command has been judged. It ends before the first command that the
//! session does not ask the backend about, or answers by itself: nothing is asked that the client is told was refused, and the
//! replies keep the order of the commands. DATA is never in it: what the client may send next depends on the replies.

use super::core::Core;
use super::rest::check_recipient;
use super::state::{Asked, Rest, State, Turn};
use crate::inbox::Inbox;
use crate::session::Why;
use crate::smtp::ask::{self, Ask, MailFrom, RcptTo};
use crate::smtp::command::{self, Command};
use crate::smtp::path::ForwardPath;
use crate::smtp::relay::Passed;
use crate::smtp::reply;
use crate::smtp::table::Verb;

/// The most recipients put in one question. A server that takes seconds for each, to ask others about it, is through with them before
/// the client, which hears nothing until then, loses its patience (RFC 5321 4.5.3.2.3: 5 minutes for a reply).
const MOST: usize = 20;

/// What the session needs to go on with when the answers are there.
pub(super) struct Group {
    /// MAIL or RCPT.
    first: Asked,
    /// The recipients behind it.
    behind: Vec<ForwardPath>,
}

/// Puts what stands behind this question into the same one, if the configuration says so.
pub(super) fn gather(turn: Turn, core: &Core, inbox: &mut Inbox) -> Turn {
    if !core.config.groups || inbox.is_empty() {
        return turn;
    }
    let limit = core.config.limits.recipients;
    let behind = match &turn {
        Turn::Ask(Ask::Mail(mail), _) => take_recipients(mail, limit.min(MOST), core, inbox),
        Turn::Ask(_, Asked::Recipient(transaction, _)) => {
            let room = limit.saturating_sub(transaction.recipients.len());
            let room = room.min(MOST).saturating_sub(1);
            take_recipients(&transaction.mail, room, core, inbox)
        }
        _ => Vec::new(),
    };
    match turn {
        Turn::Ask(ask, first) if !behind.is_empty() => together(ask, first, behind),
        turn => turn,
    }
}

fn together(ask: Ask, first: Asked, behind: Vec<RcptTo>) -> Turn {
    let paths = behind.iter().map(|it| it.forward_path.clone()).collect();
    let (mail, recipients) = match ask {
        Ask::Mail(mail) => (Some(mail), behind),
        Ask::Recipient(rcpt) => (None, std::iter::once(rcpt).chain(behind).collect()),
        // Nothing else has anything behind it.
        other => return Turn::Ask(other, first),
    };
    let group = Group {
        first,
        behind: paths,
    };
    Turn::Ask(
        Ask::Group(Box::new(ask::Group { mail, recipients })),
        Asked::Group(Box::new(group)),
    )
}

/// Takes the RCPT commands that come next, at most so many, and as far as each would be put to the backend.
fn take_recipients(mail: &MailFrom, room: usize, core: &Core, inbox: &mut Inbox) -> Vec<RcptTo> {
    let limits = &core.config.limits;
    let mut recipients = Vec::new();
    while recipients.len() < room {
        let Some(length) = inbox
            .line_length()
            .filter(|it| *it <= limits.command_octets)
        else {
            break;
        };
        let line = inbox.waiting().get(..length).unwrap_or_default();
        let Some(rcpt) = recipient(line, core).filter(|it| check_recipient(it, mail, core).is_ok())
        else {
            break;
        };
        recipients.push(rcpt);
        inbox.consume(length + 2);
    }
    recipients
}

fn recipient(line: &[u8], core: &Core) -> Option<RcptTo> {
    let (row, argument) = command::split(line).ok()?;
    if row.verb != Verb::Rcpt {
        return None;
    }
    match Command::parse(row, argument, core.tolerance()) {
        Ok(Command::Rcpt(rcpt)) => Some(rcpt),
        _ => None,
    }
}

impl Group {
    /// Goes on as if each had been asked by itself.
    pub(super) fn answered(self, replies: Vec<Passed>, core: &mut Core) -> Turn {
        let mut replies = replies.into_iter();
        let Some(reply) = replies.next() else {
            return core.leave(reply::OUR_FAULT_CLOSING, Why::Fault);
        };
        let mut turn = self.first.on_passed(&reply, core);
        for path in self.behind {
            let Turn::Go(State::Rest(rest)) = turn else {
                break;
            };
            turn = match (rest, replies.next()) {
                (Rest::Mail(transaction), Some(reply)) => {
                    Asked::Recipient(transaction, path).on_passed(&reply, core)
                }
                (Rest::Mail(_), None) => core.leave(reply::OUR_FAULT_CLOSING, Why::Fault),
                // MAIL was refused: whatever was said of the recipients counts for nothing.
                (rest, _) => core.reply(reply::WRONG_ORDER, rest),
            };
        }
        turn
    }
}
