//! What both halves of the session share: buffers, channel, counters, and the way from bytes to a command.

use std::sync::Arc;
use std::time::Instant;

use zeroize::Zeroize;

use super::compress::Deflate;
use super::cursor::Cursor;
use super::gather::{Announced, Dropping, Gather, Got, announcement};
use super::table::{Phase, Verb};
use super::{Config, Step, reply};
use crate::inbox::{Inbox, Line};
use crate::seam::{Channel, TLS_HANDSHAKE_RECORD};
use crate::session::Why;

/// The longest literal a client may send without waiting (LITERAL-, RFC 7888 5), in octets.
pub(super) const NON_SYNCHRONIZING: u64 = 4096;

/// How many literals a command may have. Its beginning is read anew at each, so their number costs more than their octets.
const LITERALS: usize = 100;

/// What is said where the TLS negotiated is below the floor.
const TLS_TOO_WEAK: &str = "TLS 1.3 is required here";

/// The answer to a command that is not for this state.
const WRONG_STATE: &str = "Not in this state";

/// Tolerated nuisances. They survive the upgrade: TLS does not make a flood shorter.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counters {
    /// Commands with errors: before login all of them, after it those since the last one that was understood.
    bad: u8,
    /// Failed logins.
    failed_logins: u8,
}

/// Buffers, channel and counters.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each notes one independent event"
)]
pub(super) struct Io {
    pub(super) config: Arc<Config>,
    pub(super) inbox: Inbox,
    pub(super) output: Vec<u8>,
    /// Compression, once it is active.
    pub(super) deflate: Option<Box<Deflate>>,
    pub(super) channel: Channel,
    pub(super) counters: Counters,
    gather: Gather,
    /// The reply to a command that is being dropped, and whether it counts as bad.
    dropping: Option<Box<(Vec<u8>, bool)>>,
    /// Why the session ends, once it does.
    pub(super) leaving: Option<Why>,
    pub(super) shutdown: bool,
    pub(super) closed: Option<bool>,
    pub(super) news: bool,
    /// News that NOTIFY has not looked at.
    pub(super) overview_due: bool,
    /// Whether a command has been read.
    spoken: bool,
    logged_in: bool,
    began: Option<Instant>,
    /// When the client has been silent for too long; none when it has just spoken.
    silent_at: Option<Instant>,
}

/// A complete command whose state is right.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) tag: Box<str>,
    pub(super) verb: Verb,
    /// All of it, literals and CRLF included.
    pub(super) text: Vec<u8>,
    arguments: usize,
}

impl Command {
    /// What stands behind the command's name.
    pub(super) fn arguments(&self) -> Cursor<'_> {
        Cursor::new(self.text.get(self.arguments..).unwrap_or_default())
    }
}

/// What came of the client's bytes.
#[derive(Debug)]
pub(super) enum Input {
    /// A command.
    Command(Command),
    /// The prefix of APPEND, its message announced; the literal is the caller's.
    Append(Command, Announced),
    /// Something was dealt with, or more bytes are needed.
    Step(Step),
}

impl Io {
    pub(super) fn new(config: Arc<Config>, channel: Channel, counters: Counters) -> Self {
        Self {
            config,
            inbox: Inbox::default(),
            output: Vec::new(),
            deflate: None,
            channel,
            counters,
            gather: Gather::default(),
            dropping: None,
            leaving: None,
            shutdown: false,
            closed: None,
            news: false,
            overview_due: false,
            spoken: false,
            logged_in: false,
            began: None,
            silent_at: None,
        }
    }

    /// Stores what came.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        match &mut self.deflate {
            Some(deflate) => deflate.received.extend_from_slice(bytes),
            None => self.inbox.push(bytes),
        }
    }

    /// From now on both directions are compressed; what is said so far is not.
    pub(super) fn compress(&mut self) {
        let (clear, received) = (std::mem::take(&mut self.output), self.inbox.take());
        self.deflate = Some(Box::new(Deflate::new(clear, received)));
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// Compresses what is to be said, before it is written.
    pub(super) fn pack(&mut self) {
        if let (Some(deflate), false) = (&mut self.deflate, self.output.is_empty()) {
            deflate.pack(&self.output);
            self.output = Vec::new();
        }
    }

    /// What is to be written.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        match &mut self.deflate {
            Some(deflate) => &mut deflate.packed,
            None => &mut self.output,
        }
    }

    /// Everything is written, and nothing more is to be said for now.
    pub(super) fn rest(&mut self) {
        self.output = Vec::new();
        if let Some(deflate) = &mut self.deflate {
            deflate.rest();
        }
    }

    /// Whether the client is not in the middle of a command.
    pub(super) fn is_between_commands(&self) -> bool {
        let waiting = |deflate: &Deflate| !deflate.received.is_empty();
        self.gather.is_idle()
            && self.dropping.is_none()
            && self.inbox.is_empty()
            && !self.deflate.as_deref().is_some_and(waiting)
    }

    /// Starts the clock of the login.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// The client has said something whole: its time to be silent begins anew.
    pub(super) fn progress(&mut self) {
        self.silent_at = None;
        self.spoken = true;
    }

    /// When the session ends if nothing comes.
    pub(super) fn deadline(&mut self, now: Instant, before_login: bool) -> Instant {
        self.begin(now);
        let limits = &self.config.limits;
        if !before_login {
            return *self.silent_at.get_or_insert(now + limits.idle);
        }
        let silent = *self.silent_at.get_or_insert(now + limits.login_wait);
        self.began
            .map_or(silent, |began| silent.min(began + limits.login_total))
    }

    /// The login is over: counters and clocks begin anew.
    pub(super) fn log_in(&mut self) {
        self.logged_in = true;
        self.counters = Counters::default();
        self.silent_at = None;
    }

    /// Appends a line to the output.
    pub(super) fn line(&mut self, text: std::fmt::Arguments<'_>) {
        reply::line(&mut self.output, text);
    }

    /// Ends the session without a word.
    pub(super) fn leave(&mut self, why: Why) -> Step {
        self.leaving.get_or_insert(why);
        Step::Again
    }

    /// Ends the session with BYE.
    pub(super) fn bye(&mut self, why: Why, text: &str) -> Step {
        self.line(format_args!("* BYE {text}"));
        self.leave(why)
    }

    /// [REPLY-07] TLS is up and not good enough: a login is refused unread, and the session ends.
    pub(super) fn too_weak(&mut self, tag: Option<&str>) -> Step {
        if let Some(tag) = tag {
            self.line(format_args!("{tag} NO [PRIVACYREQUIRED] {TLS_TOO_WEAK}"));
        }
        self.bye(Why::TlsTooWeak, TLS_TOO_WEAK)
    }

    /// Says BAD, and ends the session when it has been said too often.
    pub(super) fn bad(&mut self, tag: Option<&str>, text: &str) -> Step {
        self.line(format_args!("{} BAD {text}", tag.unwrap_or("*")));
        self.count_bad()
    }

    /// Says BAD to a command that is well-formed: that is no sign of a lost or hostile client, and is not counted.
    pub(super) fn mistaken(&mut self, tag: &str, text: &str) -> Step {
        self.line(format_args!("{tag} BAD {text}"));
        Step::Again
    }

    /// A command was understood: the client speaks IMAP, however long ago it made mistakes. Before login all count.
    pub(super) fn forgive_bad(&mut self) {
        self.counters.bad = 0;
    }

    fn count_bad(&mut self) -> Step {
        let limits = &self.config.limits;
        let limit = if self.logged_in {
            limits.bad
        } else {
            limits.bad_before_login
        };
        self.counters.bad = self.counters.bad.saturating_add(1);
        if self.counters.bad >= limit {
            return self.bye(Why::TooManyErrors, "Too many bad commands");
        }
        Step::Again
    }

    /// Counts a failed login, and ends the session when there were too many.
    pub(super) fn count_failed_login(&mut self) -> Step {
        self.counters.failed_logins = self.counters.failed_logins.saturating_add(1);
        if self.counters.failed_logins >= self.config.limits.failed_logins {
            return self.bye(Why::TooManyLoginFailures, "Too many failed logins");
        }
        Step::Again
    }

    /// Reads a line that is not a command (a SASL response, DONE), without its CRLF.
    pub(super) fn plain_line(&mut self) -> Result<Vec<u8>, Step> {
        match self.inbox.line(self.config.limits.line) {
            Line::Complete(line) => {
                self.progress();
                Ok(line)
            }
            Line::Incomplete => Err(Step::Input),
            Line::TooLong => Err(self.too_long()),
        }
    }

    fn too_long(&mut self) -> Step {
        self.bye(Why::LimitExceeded, "The command is too long")
    }

    /// Reads on until a command is complete.
    pub(super) fn input(&mut self, phase: Phase) -> Input {
        if !self.spoken
            && self.gather.is_idle()
            && !self.channel.is_encrypted()
            && self.inbox.waiting().first() == Some(&TLS_HANDSHAKE_RECORD)
        {
            // [IMPL-04] answered with silence: no TLS engine could read what we say.
            return Input::Step(self.leave(Why::TlsOnPlaintextPort));
        }
        let config = Arc::clone(&self.config);
        match self.gather.step(&mut self.inbox, &config.limits) {
            Got::Incomplete => Input::Step(Step::Input),
            Got::TooLong => Input::Step(self.too_long()),
            Got::Command(text) => self.command(text, phase),
            Got::Literal(announced) => self.literal(announced, phase),
            Got::Dropped => {
                self.progress();
                let (reply, bad) = self.dropping.take().map(|it| *it).unwrap_or_default();
                self.output.extend_from_slice(&reply);
                Input::Step(if bad { self.count_bad() } else { Step::Again })
            }
        }
    }

    fn command(&mut self, text: Vec<u8>, phase: Phase) -> Input {
        let first = !self.spoken;
        self.progress();
        if first && is_http(&text) {
            return Input::Step(self.leave(Why::HttpRequest));
        }
        match parse(text) {
            Err((tag, text)) => Input::Step(self.bad(tag.as_deref(), text)),
            Ok(mut command) if self.needs_privacy(command.verb) => {
                // [IMAP-TLS-09] [REPLY-05] [REPLY-06] the arguments are not looked at: right and wrong passwords get the
                // same answer.
                command.text.zeroize();
                if self.channel.is_below_floor() {
                    return Input::Step(self.too_weak(Some(&command.tag)));
                }
                self.output
                    .extend_from_slice(privacy_required(&command.tag).as_bytes());
                Input::Step(Step::Again)
            }
            Ok(command) if !command.verb.allowed(phase) => {
                Input::Step(self.bad(Some(&command.tag), WRONG_STATE))
            }
            Ok(command) => Input::Command(command),
        }
    }

    /// A literal is announced: whether it is wanted depends on the command it stands in.
    fn literal(&mut self, announced: Announced, phase: Phase) -> Input {
        let head = match head(self.gather.text()) {
            Ok(head) => head,
            Err((tag, text)) => {
                let reply = format!("{} BAD {text}\r\n", tag.as_deref().unwrap_or("*"));
                return Input::Step(self.drop_command(announced, reply, true));
            }
        };
        if self.needs_privacy(head.verb) && self.channel.is_below_floor() {
            return Input::Step(self.too_weak(Some(&head.tag)));
        }
        if self.needs_privacy(head.verb) {
            // [IMAP-TLS-09] the literal may be a name or a password: it is not asked for, and dropped unread if it comes.
            let reply = privacy_required(&head.tag);
            return Input::Step(self.drop_command(announced, reply, false));
        }
        if !head.verb.allowed(phase) {
            let reply = format!("{} BAD {WRONG_STATE}\r\n", head.tag);
            return Input::Step(self.drop_command(announced, reply, true));
        }
        if self.gather.accepted() >= LITERALS {
            let reply = format!("{} BAD Too many literals\r\n", head.tag);
            return Input::Step(self.drop_command(announced, reply, true));
        }
        if head.verb.brings_message() {
            let command = head.command(self.gather.text().to_vec());
            return if super::append::announces_mailbox(&command) {
                Input::Step(self.accept(&command.tag, announced))
            } else {
                Input::Append(command, announced)
            };
        }
        Input::Step(self.accept(&head.tag, announced))
    }

    /// Takes a literal, unless it is too long.
    fn accept(&mut self, tag: &str, announced: Announced) -> Step {
        if !announced.waits && announced.length > NON_SYNCHRONIZING {
            let reply = format!("{tag} BAD A literal over 4096 octets must wait (LITERAL-)\r\n");
            return self.drop_command(announced, reply, true);
        }
        let limits = &self.config.limits;
        let limit = if self.logged_in {
            limits.literals
        } else {
            limits.literals_before_login
        };
        if !self.gather.accept(announced, limit) {
            let reply = format!("{tag} BAD [TOOBIG] The literals are too long\r\n");
            return self.drop_command(announced, reply, true);
        }
        if announced.waits {
            self.line(format_args!("+ Go ahead"));
        }
        Step::Again
    }

    /// Whether the command has no effect on this connection: TLS is not up and no exception is made, or TLS is below the floor.
    fn needs_privacy(&self, verb: Verb) -> bool {
        !verb.before_tls() && self.channel.may_read_credentials().is_none()
    }

    /// Drops a command at the literal it announces; the reply is sent when the client can be expected to read it.
    pub(super) fn drop_command(&mut self, announced: Announced, reply: String, bad: bool) -> Step {
        self.progress();
        let config = Arc::clone(&self.config);
        match self.gather.drop_command(announced, &config.limits) {
            Dropping::TooLong => self.too_long(),
            Dropping::Begun => {
                self.dropping = Some(Box::new((reply.into_bytes(), bad)));
                Step::Again
            }
            Dropping::Over => {
                self.output.extend_from_slice(reply.as_bytes());
                if bad { self.count_bad() } else { Step::Again }
            }
        }
    }

    /// Drops what is left of a literal and of the command around it, then replies.
    pub(super) fn drop_literal(&mut self, left: u64, reply: String) {
        self.gather.drop_literal(left);
        self.dropping = Some(Box::new((reply.into_bytes(), false)));
    }

    /// Drops what the rest of a line announces, if it announces anything that comes unasked.
    pub(super) fn drop_rest(&mut self, line: &[u8]) {
        if let Some(Announced {
            length,
            waits: false,
        }) = announcement(line)
        {
            if length > self.config.limits.dropped {
                self.too_long();
            } else {
                self.drop_literal(length, String::new());
            }
        }
    }

    /// Sends a reply when the command being dropped is over: at once, if none is.
    pub(super) fn reply_when_dropped(&mut self, reply: String) {
        match &mut self.dropping {
            Some(dropping) => dropping.0 = reply.into_bytes(),
            None => self.output.extend_from_slice(reply.as_bytes()),
        }
    }

    /// APPEND's literal is taken over by whoever streams it.
    pub(super) fn stream(&mut self) {
        self.progress();
        self.gather.stream();
    }
}

/// The one answer to every attempt to log in on a clear connection [IMAP-TLS-09].
fn privacy_required(tag: &str) -> String {
    format!("{tag} NO [PRIVACYREQUIRED] Begin TLS first\r\n")
}

/// Tag and name of a command.
struct Head {
    tag: Box<str>,
    verb: Verb,
    arguments: usize,
}

impl Head {
    fn command(self, text: Vec<u8>) -> Command {
        Command {
            tag: self.tag,
            verb: self.verb,
            text,
            arguments: self.arguments,
        }
    }
}

/// Whose command is wrong, if that can be told, and why.
type Wrong = (Option<Box<str>>, &'static str);

/// Reads tag and name of a command, without copying it: this is done again at each literal.
fn head(text: &[u8]) -> Result<Head, Wrong> {
    let mut cursor = Cursor::new(text);
    let tag: Box<str> = match (cursor.tag(), cursor.space()) {
        (Ok(tag), Ok(())) => tag.into(),
        _ => return Err((None, "No tag")),
    };
    let Ok(verb) = Verb::parse(&mut cursor) else {
        return Err((Some(tag), "Unknown command"));
    };
    let arguments = text.len() - cursor.rest().len();
    Ok(Head {
        tag,
        verb,
        arguments,
    })
}

fn parse(text: Vec<u8>) -> Result<Command, Wrong> {
    Ok(head(&text)?.command(text))
}

/// Whether a line is an HTTP request: a browser made to speak to us.
fn is_http(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    let method = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let methods: [&[u8]; 9] = [
        b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH", b"TRACE",
    ];
    methods.contains(&method) && memchr::memmem::find(text, b" HTTP/").is_some()
}
