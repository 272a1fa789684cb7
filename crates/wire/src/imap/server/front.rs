//! The half of the session before login: CAPABILITY, ID, NOOP, STARTTLS, LOGIN, AUTHENTICATE, LOGOUT (RFC 9051 6.1, 6.2).
//!
//! It knows accounts only as questions ([`AccountAsk`]) and nothing of mailboxes. No credentials are parsed without
//! [`MayReadCredentials`].

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use zeroize::Zeroize;

use super::Step;
use super::cursor::{Cursor, Syntax};
use super::io::{Command, Input, Io};
use super::table::{Phase, Verb};
use crate::imap::ask::{Answer, Ask};
use crate::sasl::{
    AccountAnswer, AccountAsk, Attempt, Exchange, Failure, Mechanism, Step as SaslStep,
    decode_base64, encode_base64, offered, password_commands_offered, prepare_name,
    prepare_password,
};
use crate::seam::MayReadCredentials;
use crate::session::Why;

/// What the mailbox behind this session can do, whoever asks and when. `docs/imap-extensions.md` has a line for each.
const EXTENSIONS: &str = "IMAP4rev1 IMAP4rev2 LITERAL- ID ENABLE IDLE NAMESPACE UIDPLUS MOVE UNSELECT SPECIAL-USE \
    CREATE-SPECIAL-USE CHILDREN LIST-EXTENDED LIST-STATUS ESEARCH SEARCHRES STATUS=SIZE CONDSTORE QRESYNC OBJECTID BINARY \
    MULTIAPPEND WITHIN SAVEDATE PREVIEW REPLACE NOTIFY QUOTA QUOTA=RES-STORAGE SORT THREAD=ORDEREDSUBJECT \
    THREAD=REFERENCES PARTIAL UIDONLY UTF8=ACCEPT";

/// The half before login.
#[derive(Debug, Default)]
pub(super) struct Front {
    job: Job,
    /// What is to be returned next: decided when an answer came.
    step: Option<Step>,
}

#[derive(Debug, Default)]
enum Job {
    #[default]
    Command,
    /// LOGIN is being judged.
    Login(Box<str>),
    /// AUTHENTICATE: the client's turn, or the keeper's.
    Sasl(Box<(Box<str>, Exchange)>),
}

/// The capabilities in the present state, as CAPABILITY lists them.
pub(super) fn capabilities(io: &Io) -> String {
    use std::fmt::Write as _;
    let mut list = String::new();
    let _ = match &io.config.offer {
        // [GW-01] the extensions are the upstream's.
        Some(offer) => write!(list, "{offer} SASL-IR"),
        None => write!(
            list,
            "{EXTENSIONS} APPENDLIMIT={} SASL-IR",
            io.config.append_limit
        ),
    };
    // [IMAP-TLS-01] [IMAP-TLS-06]: STARTTLS is listed only where it can still be had.
    if !io.channel.is_encrypted() && io.config.starttls {
        list.push_str(" STARTTLS");
    }
    // [IMAP-TLS-09] [SASL-PLAIN-01] [SASL-SEC-01]: no mechanism is listed that would not be read.
    if !password_commands_offered(&io.channel, &io.config.mechanisms) {
        list.push_str(" LOGINDISABLED");
    }
    for mechanism in offered(&io.channel, &io.config.mechanisms) {
        let _ = write!(list, " AUTH={}", mechanism.name());
    }
    list
}

/// The answer where credentials may not be read. The command's table refuses before; this is for the case that it errs.
fn privacy_required(io: &mut Io, command: &Command) -> Step {
    io.line(format_args!(
        "{} NO [PRIVACYREQUIRED] TLS first",
        command.tag
    ));
    Step::Again
}

/// The capabilities after login.
pub(super) fn capabilities_after_login(io: &Io) -> String {
    // [IMAP-COMP-01] only now, only inside TLS, and only once.
    let compress = io.channel.is_encrypted() && !io.is_compressed();
    let compress = if compress { " COMPRESS=DEFLATE" } else { "" };
    let limit = io.config.append_limit;
    format!("{EXTENSIONS} APPENDLIMIT={limit}{compress}")
}

impl Front {
    /// Goes one step on.
    pub(super) fn step(&mut self, io: &mut Io) -> Step {
        if let Some(step) = self.step.take() {
            return step;
        }
        match self.job {
            Job::Command => match io.input(Phase::NotAuthenticated) {
                Input::Command(command) => self.command(io, command),
                // APPEND is not allowed here, so its message is never announced to us.
                Input::Append(command, _) => io.bad(Some(&command.tag), "Not in this state"),
                Input::Step(step) => step,
            },
            Job::Sasl(_) => self.response(io),
            Job::Login(_) => Step::Input,
        }
    }

    fn command(&mut self, io: &mut Io, mut command: Command) -> Step {
        let step = match command.verb {
            Verb::StartTls => start_tls(io, &command),
            Verb::Login => self.login(io, &command),
            Verb::Authenticate => self.authenticate(io, &command),
            Verb::Noop => match command.arguments().end() {
                Ok(()) => completed(io, &command),
                Err(Syntax) => io.bad(Some(&command.tag), "NOOP takes no arguments"),
            },
            _ => any_state(io, &command, capabilities),
        };
        command.text.zeroize();
        step
    }

    fn login(&mut self, io: &mut Io, command: &Command) -> Step {
        let Some(may) = io.channel.may_read_credentials() else {
            return privacy_required(io, command);
        };
        if !password_commands_offered(&io.channel, &io.config.mechanisms) {
            io.line(format_args!(
                "{} NO [CANNOT] LOGIN is disabled",
                command.tag
            ));
            return Step::Again;
        }
        match credentials(command.arguments(), may) {
            Err(Syntax) => io.bad(Some(&command.tag), "LOGIN takes a name and a password"),
            Ok(None) => denied(io, &command.tag),
            Ok(Some(attempt)) => {
                self.job = Job::Login(command.tag.clone());
                Step::Ask(Ask::Account(AccountAsk::Login(attempt)))
            }
        }
    }

    fn authenticate(&mut self, io: &mut Io, command: &Command) -> Step {
        let Some(may) = io.channel.may_read_credentials() else {
            return privacy_required(io, command);
        };
        let Ok((name, mut initial)) = mechanism_and_initial(command.arguments()) else {
            // [IMAP-AUTH-01] bad base64 is BAD
            return io.bad(
                Some(&command.tag),
                "AUTHENTICATE takes a mechanism and base64",
            );
        };
        let known = Mechanism::from_name(name.as_bytes())
            .filter(|it| offered(&io.channel, &io.config.mechanisms).contains(it));
        let Some(mechanism) = known else {
            // [IMAP-AUTH-01] [SASL-SEC-01]
            io.line(format_args!(
                "{} NO [CANNOT] Mechanism not offered",
                command.tag
            ));
            return Step::Again;
        };
        let mut exchange = Exchange::begin(mechanism, may);
        let step = exchange.start(initial.as_deref());
        initial.zeroize();
        self.job = Job::Sasl(Box::new((command.tag.clone(), exchange)));
        self.sasl(io, step)
    }

    /// The client's next line in a SASL exchange.
    fn response(&mut self, io: &mut Io) -> Step {
        let mut line = match io.plain_line() {
            Ok(line) => line,
            Err(step) => return step,
        };
        let Job::Sasl(job) = &mut self.job else {
            return Step::Again;
        };
        if line == b"*" {
            let tag = job.0.clone();
            self.job = Job::Command;
            return io.bad(Some(&tag), "Cancelled");
        }
        let step = match decode_base64(&line) {
            Ok(mut octets) => {
                let step = job.1.response(&octets);
                octets.zeroize();
                step
            }
            Err(_) => SaslStep::Failed(Failure::Malformed),
        };
        line.zeroize();
        self.sasl(io, step)
    }

    fn sasl(&mut self, io: &mut Io, step: SaslStep) -> Step {
        match step {
            SaslStep::Challenge(octets) => {
                io.line(format_args!("+ {}", encode_base64(&octets)));
                Step::Again
            }
            SaslStep::Ask(ask) => Step::Ask(Ask::Account(ask)),
            SaslStep::Granted { .. } => {
                let tag = self.end();
                granted(io, &tag)
            }
            SaslStep::Failed(failure) => {
                let tag = self.end();
                failed(io, &tag, failure)
            }
        }
    }

    /// Ends the login under way and gives its tag.
    fn end(&mut self) -> Box<str> {
        match std::mem::take(&mut self.job) {
            Job::Command => Box::default(),
            Job::Login(tag) => tag,
            Job::Sasl(job) => job.0,
        }
    }

    /// The server behind this one has granted the login and takes over.
    fn hand_over(&mut self, io: &mut Io, account: Box<str>, capabilities: Option<&str>) -> Step {
        if let Job::Sasl(job) = &mut self.job {
            // An exchange that has more to say was not granted by this.
            let step = job.1.answer(AccountAnswer::Granted { account });
            if !matches!(step, SaslStep::Granted { .. }) {
                return self.sasl(io, step);
            }
        }
        let tag = self.end();
        match capabilities {
            Some(list) => io.line(format_args!("{tag} OK [CAPABILITY {list}] Logged in")),
            None => io.line(format_args!("{tag} OK Logged in")),
        }
        Step::HandOver
    }

    /// Takes the keeper's answer.
    pub(super) fn answer(&mut self, io: &mut Io, answer: Answer) {
        let answer = match answer {
            Answer::Account(answer) => answer,
            Answer::HandOver {
                account,
                capabilities,
            } => {
                self.step = Some(self.hand_over(io, account, capabilities.as_deref()));
                return;
            }
            _ => {
                self.step = Some(io.bye(Why::Fault, "Internal fault"));
                return;
            }
        };
        let step = match &mut self.job {
            Job::Sasl(job) => {
                let step = job.1.answer(answer);
                self.sasl(io, step)
            }
            Job::Login(_) | Job::Command => {
                let tag = self.end();
                match answer {
                    AccountAnswer::Granted { .. } => granted(io, &tag),
                    AccountAnswer::Denied | AccountAnswer::ScramKeys(_) => denied(io, &tag),
                    AccountAnswer::Unavailable => failed(io, &tag, Failure::Unavailable),
                }
            }
        };
        self.step = Some(step);
    }
}

/// CAPABILITY, ID and LOGOUT, the same in every state. NOOP is not: after login it brings news.
pub(super) fn any_state(io: &mut Io, command: &Command, capabilities: fn(&Io) -> String) -> Step {
    let plain = command.arguments().end().is_ok();
    match command.verb {
        Verb::Capability if plain => {
            let list = capabilities(io);
            io.line(format_args!("* CAPABILITY {list}"));
            completed(io, command)
        }
        Verb::Logout if plain => {
            io.line(format_args!("* BYE Logging out"));
            completed(io, command);
            io.leave(Why::Quit)
        }
        Verb::Id
            if CommandCodec::new()
                .decode(&command.text)
                .is_ok_and(|(rest, _)| rest.is_empty()) =>
        {
            // The version is nobody's business (RFC 2971 4).
            io.line(format_args!("* ID (\"name\" \"Gatepost\")"));
            completed(io, command)
        }
        _ => io.bad(Some(&command.tag), "Wrong arguments"),
    }
}

/// `tag OK NAME completed`
pub(super) fn completed(io: &mut Io, command: &Command) -> Step {
    io.line(format_args!(
        "{} OK {} completed",
        command.tag,
        command.verb.name()
    ));
    Step::Again
}

/// STARTTLS (RFC 9051 6.2.1).
fn start_tls(io: &mut Io, command: &Command) -> Step {
    // [IMAP-TLS-03] [REPLY-01] [REPLY-02] [REPLY-03] [REPLY-04]: BAD with an argument, inside TLS and on the implicit port; NO when there is no TLS to be had.
    if command.arguments().end().is_err() {
        return io.bad(Some(&command.tag), "STARTTLS takes no arguments");
    }
    if io.channel.is_encrypted() {
        return io.bad(Some(&command.tag), "TLS is already up");
    }
    if !io.config.starttls {
        io.line(format_args!("{} NO TLS is not available", command.tag));
        return Step::Again;
    }
    io.line(format_args!("{} OK Begin TLS", command.tag));
    Step::Upgrade
}

/// Name and password of LOGIN; none when they cannot be anybody's.
fn credentials(
    mut cursor: Cursor<'_>,
    _may: MayReadCredentials<'_>,
) -> Result<Option<Attempt>, Syntax> {
    cursor.space()?;
    let name = cursor.astring()?;
    cursor.space()?;
    let mut octets = cursor.astring()?.into_owned();
    cursor.end()?;
    let user = str::from_utf8(&name)
        .ok()
        .and_then(|name| prepare_name(name).ok());
    let password = str::from_utf8(&octets)
        .ok()
        .and_then(|password| prepare_password(password).ok());
    octets.zeroize();
    let attempt = user.zip(password);
    // LOGIN is the mechanism of that name without its base64: name, then password.
    Ok(attempt.map(|(user, password)| Attempt::Password {
        user,
        password,
        mechanism: Mechanism::Login,
    }))
}

/// Mechanism and initial response; `=` is an empty one (RFC 4959 3) [IMAP-AUTH-01] [IMAP-AUTH-02].
fn mechanism_and_initial(mut cursor: Cursor<'_>) -> Result<(&str, Option<Vec<u8>>), Syntax> {
    cursor.space()?;
    let name = cursor.atom()?;
    if !cursor.eat(b' ') {
        cursor.end()?;
        return Ok((name, None));
    }
    let text = cursor
        .rest()
        .strip_suffix(b"\r\n")
        .filter(|text| !text.is_empty())
        .ok_or(Syntax)?;
    if text == b"=" {
        return Ok((name, Some(Vec::new())));
    }
    decode_base64(text)
        .map(|octets| (name, Some(octets)))
        .map_err(|_| Syntax)
}

fn granted(io: &mut Io, tag: &str) -> Step {
    io.log_in();
    let list = capabilities_after_login(io);
    // [IMAP-AUTH-04]
    io.line(format_args!("{tag} OK [CAPABILITY {list}] Logged in"));
    Step::LoggedIn
}

fn denied(io: &mut Io, tag: &str) -> Step {
    failed(io, tag, Failure::WrongCredentials)
}

fn failed(io: &mut Io, tag: &str, failure: Failure) -> Step {
    // [REPLY-08]
    match failure {
        // [IMAP-AUTH-01]
        Failure::Malformed => io.bad(Some(tag), "The exchange breaks the mechanism's rules"),
        Failure::InitialResponseNotAllowed => {
            io.bad(Some(tag), "The mechanism has no initial response")
        }
        // [IMAP-TLS-17] the same text whatever was wrong.
        Failure::WrongCredentials => {
            io.line(format_args!(
                "{tag} NO [AUTHENTICATIONFAILED] Wrong name or password"
            ));
            io.count_failed_login()
        }
        Failure::Unavailable => {
            io.line(format_args!("{tag} NO [UNAVAILABLE] Try again later"));
            Step::Again
        }
    }
}
