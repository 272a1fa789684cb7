//! Commands, where commands are awaited.
//!
//! The order in which a command is judged is fixed: verb, TLS, login, state ([`Row::admit`]), argument. BDAT and DATA are
//! looked at before that in one respect: what stands behind them in the stream is not a command.

use super::config::Role;
use super::core::{Client, Core};
use super::intake::{self, Intake};
use super::login;
use super::state::{After, Asked, Drain, Rest, Spoken, State, Transaction, Turn};
use crate::session::Why;
use crate::smtp::ask::{Ask, Body, MailFrom, RcptTo};
use crate::smtp::command::{self, Chunk, Command, Syntax};
use crate::smtp::path::ReversePath;
use crate::smtp::reply::{self, Reply};
use crate::smtp::table::{Lacks, Row, Standing, Verb};

/// Words with which HTTP requests begin (RFC 9110 9; `PRI` is HTTP/2).
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE", b"PATCH", b"PRI",
];

/// Whether a session that begins so is an HTTP client's: a browser lured here, or a scanner.
pub(super) fn is_http(line: &[u8]) -> bool {
    HTTP_METHODS.iter().any(|method| {
        line.strip_prefix(*method)
            .is_some_and(|rest| rest.starts_with(b" "))
    })
}

/// One command line. `more` says whether anything stands behind it.
pub(super) fn on_line(rest: Rest, line: &[u8], more: bool, core: &mut Core) -> Turn {
    match split(line, core) {
        // [SMTP-STARTTLS-14] the same for what is no command.
        Err(_) if core.lacks() == Lacks::BetterTls => core.bad(reply::TLS_TOO_WEAK, rest),
        Err(syntax) => core.bad(syntax.into(), rest),
        // [SMTP-SMUG-04] DATA ends a pipelined group: what stands behind it was sent without waiting for 354.
        Ok((row, _)) if row.verb == Verb::Data && more => {
            core.leave(reply::OUT_OF_SYNC, Why::OutOfSync)
        }
        Ok((row, argument)) => {
            let excused = core.is_behind_refused_mail(row.verb);
            if row.verb == Verb::Bdat {
                return on_bdat(rest, (row, argument), excused, core);
            }
            match admit(row, &rest, core) {
                Err(reply) if excused => core.reply(reply, rest),
                Err(reply) => core.bad(reply, rest),
                Ok(()) => match Command::parse(row, argument, core.tolerance()) {
                    Err(syntax) => core.bad(syntax.into(), rest),
                    Ok(command) => on_command(rest, command, core),
                },
            }
        }
    }
}

/// [XCL-02] XCLIENT is a command to those only who may say it.
fn split<'a>(line: &'a [u8], core: &Core) -> Result<(&'static Row, &'a [u8]), Syntax> {
    let (row, argument) = command::split(line)?;
    if row.verb == Verb::Xclient && !core.peer.introduces {
        return Err(Syntax::UnknownCommand);
    }
    Ok((row, argument))
}

fn admit(row: &Row, rest: &Rest, core: &Core) -> Result<(), Reply> {
    let lacks = core.lacks();
    if row.verb == Verb::Auth && core.config.role == Role::Mx && lacks != Lacks::BetterTls {
        // An MX has no logins, with or without TLS: known, not implemented here.
        return Err(reply::NOT_IMPLEMENTED);
    }
    row.admit(Standing {
        phase: rest.phase(core),
        lacks,
    })
}

fn on_command(rest: Rest, command: Command, core: &mut Core) -> Turn {
    match command {
        Command::Hello { name, extended } => {
            core.client = Some(Client { name, extended });
            rest.forget(core, After::Hello)
        }
        Command::Mail(mail) => on_mail(mail, core),
        Command::Rcpt(rcpt) => on_rcpt(rest, rcpt, core),
        Command::Data => on_data(rest, core),
        Command::Rset => rest.forget(core, After::Reply(reply::OK)),
        Command::Noop => core.reply(reply::OK, rest),
        Command::Quit => core.leave(reply::BYE, Why::Quit),
        // [SMTP-BASE-21] nobody learns here which addresses exist.
        Command::Vrfy => core.reply(reply::CANNOT_VERIFY, rest),
        Command::Help => core.reply(reply::HELP, rest),
        Command::StartTls => on_starttls(rest, core),
        Command::Auth(argument) => login::begin(core, argument),
        Command::Xclient(said) => on_xclient(&said, core),
        Command::NotServed => core.bad(reply::NOT_IMPLEMENTED, rest),
        // Has its own way.
        Command::Bdat(_) => core.bad(reply::WRONG_ORDER, rest),
    }
}

/// [SMTP-STARTTLS-02]
fn on_starttls(rest: Rest, core: &mut Core) -> Turn {
    if core.channel.is_encrypted() {
        return core.bad(reply::ALREADY_TLS, rest);
    }
    if !core.config.tls.offered {
        return core.bad(reply::TLS_UNAVAILABLE, rest);
    }
    rest.forget(core, After::Upgrade)
}

/// [XCL-02]
fn on_xclient(said: &str, core: &mut Core) -> Turn {
    let known = core.introduced.as_deref().copied().unwrap_or_default();
    match known.with(said) {
        Ok(introduced) => Turn::Ask(Ask::Introduced(introduced), Asked::Introduced(introduced)),
        Err(syntax) => core.bad(syntax.into(), Rest::Ready),
    }
}

fn on_mail(mail: MailFrom, core: &mut Core) -> Turn {
    let offers = core.config.offers;
    // Parameters of extensions that are not offered are unknown (RFC 5321 4.1.1.11).
    if (mail.body == Body::EightBitMime && !offers.eight_bit)
        || (mail.smtputf8 && !(offers.utf8 && offers.eight_bit))
    {
        return core.bad(Syntax::UnknownParameter.into(), Rest::Ready);
    }
    // [SMTP-SIZE-01]
    if mail
        .size
        .is_some_and(|size| size > core.config.limits.message_octets)
    {
        return core.reply(reply::MESSAGE_TOO_LARGE, Rest::Ready);
    }
    if !mail.smtputf8 && !mail.reverse_path.is_ascii() {
        return core.reply(reply::NEEDS_SMTPUTF8, Rest::Ready);
    }
    // [SUBM-02] [SUBM-03] the null path is no reason to refuse.
    let qualified = match &mail.reverse_path {
        ReversePath::Null => true,
        ReversePath::Mailbox(mailbox) => mailbox.is_fully_qualified(),
    };
    if core.config.role == Role::Submission && !qualified {
        return core.reply(reply::SENDER_NOT_QUALIFIED, Rest::Ready);
    }
    Turn::Ask(Ask::Mail(mail.clone()), Asked::Mail(mail))
}

fn on_rcpt(rest: Rest, rcpt: RcptTo, core: &mut Core) -> Turn {
    let Rest::Mail(transaction) = rest else {
        return core.bad(reply::WRONG_ORDER, rest);
    };
    // [SMTP-BASE-09] over the limit: later, not never.
    if transaction.recipients.len() >= core.config.limits.recipients {
        return core.reply(reply::TOO_MANY_RECIPIENTS, Rest::Mail(transaction));
    }
    if let Err(reply) = check_recipient(&rcpt, &transaction.mail, core) {
        return core.reply(reply, refused_one(transaction));
    }
    // [SMTP-BASE-22] whom it serves is the backend's to say; a route or a `%` in the address opens nothing.
    let path = rcpt.forward_path.clone();
    Turn::Ask(Ask::Recipient(rcpt), Asked::Recipient(transaction, path))
}

pub(super) fn check_recipient(rcpt: &RcptTo, mail: &MailFrom, core: &Core) -> Result<(), Reply> {
    let mailbox = &rcpt.forward_path.0;
    let is_ascii = mailbox.is_ascii() && rcpt.dsn.is_ascii();
    if !is_ascii && !mail.smtputf8 {
        return Err(reply::NEEDS_SMTPUTF8);
    }
    let bare = mailbox.domain.is_empty();
    if core.config.role == Role::Submission && !bare && !mailbox.is_fully_qualified() {
        return Err(reply::RECIPIENT_NOT_QUALIFIED);
    }
    Ok(())
}

fn refused_one(mut transaction: Box<Transaction>) -> Rest {
    transaction.some_refused = true;
    Rest::Mail(transaction)
}

/// [SMTP-PIPE-04] no 354 without a recipient.
fn on_data(rest: Rest, core: &mut Core) -> Turn {
    match rest {
        Rest::Mail(transaction) if transaction.recipients.is_empty() => {
            let reply = no_recipients(&transaction);
            core.bad(reply, Rest::Mail(transaction))
        }
        // [SMTP-CHUNK-03] what has no lines has no last one (RFC 3030 3).
        Rest::Mail(transaction) if transaction.mail.body == Body::BinaryMime => {
            core.bad(reply::BINARY_BY_DATA, Rest::Mail(transaction))
        }
        Rest::Mail(transaction) => Intake::by_data(*transaction, core),
        // [SMTP-CHUNK-01] no DATA behind BDAT.
        rest => core.bad(reply::WRONG_ORDER, rest),
    }
}

fn no_recipients(transaction: &Transaction) -> Reply {
    if transaction.some_refused {
        reply::NO_RECIPIENTS
    } else {
        reply::WRONG_ORDER
    }
}

/// [SMTP-CHUNK-01] Whatever is wrong, the octets that follow are content and are read as such. If it cannot be told how many they
/// are, or they are far too many, the session ends: their first line must not become a command.
fn on_bdat(rest: Rest, (row, argument): (&Row, &[u8]), excused: bool, core: &mut Core) -> Turn {
    let chunk = match Command::parse(row, argument, core.tolerance()) {
        Ok(Command::Bdat(chunk)) => chunk,
        Ok(_) => return core.leave(Syntax::BadArgument.into(), Why::OutOfSync),
        Err(syntax) => return core.leave(syntax.into(), Why::OutOfSync),
    };
    if chunk.octets > intake::far_over(core.config.limits.message_octets) {
        return core.leave(reply::TOO_MUCH_DATA, Why::LimitExceeded);
    }
    if let Err(reply) = admit(row, &rest, core) {
        return drain(chunk, reply, !excused, rest, None);
    }
    match rest {
        Rest::Mail(transaction) if transaction.recipients.is_empty() => {
            let after = if chunk.last { After::Rest } else { After::Fail };
            drain(
                chunk,
                no_recipients(&transaction),
                true,
                Rest::Mail(transaction),
                Some(after),
            )
        }
        Rest::Mail(transaction) => Intake::by_chunks(*transaction, core, chunk),
        Rest::Chunks(intake) => intake.chunk(chunk, core),
        rest => drain(chunk, reply::WRONG_ORDER, true, rest, None),
    }
}

fn drain(chunk: Chunk, reply: Reply, counts: bool, back: Rest, after: Option<After>) -> Turn {
    let drain = Drain {
        octets: chunk.octets,
        reply: Spoken::Own(reply),
        counts,
        back,
        after,
    };
    Turn::Go(State::Drain(Box::new(drain)))
}
