//! The command table: every verb this server knows, where it may stand and what it needs.
//!
//! The order of the checks made from a row is part of the protocol: first TLS, then login, then the state, then the
//! arguments. So what an argument holds cannot change the answer of a check before it [SMTP-AUTH-01].

use super::reply::{self, Reply};

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// EHLO (RFC 5321 4.1.1.1).
    Ehlo,
    /// HELO (RFC 5321 4.1.1.1).
    Helo,
    /// MAIL (RFC 5321 4.1.1.2).
    Mail,
    /// RCPT (RFC 5321 4.1.1.3).
    Rcpt,
    /// DATA (RFC 5321 4.1.1.4).
    Data,
    /// BDAT (RFC 3030 2).
    Bdat,
    /// RSET (RFC 5321 4.1.1.5).
    Rset,
    /// NOOP (RFC 5321 4.1.1.9).
    Noop,
    /// QUIT (RFC 5321 4.1.1.10).
    Quit,
    /// VRFY (RFC 5321 4.1.1.6).
    Vrfy,
    /// EXPN (RFC 5321 4.1.1.7).
    Expn,
    /// HELP (RFC 5321 4.1.1.8).
    Help,
    /// STARTTLS (RFC 3207 4).
    StartTls,
    /// AUTH (RFC 4954 4).
    Auth,
    /// XCLIENT (Postfix `XCLIENT_README`), from listed servers in front.
    Xclient,
    /// TURN (RFC 821 3.8), never offered.
    Turn,
    /// ETRN (RFC 1985), never offered.
    Etrn,
    /// ATRN (RFC 2645), never offered.
    Atrn,
}

/// Where a session stands between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The client has not said who it is.
    Start,
    /// It has; no transaction is open.
    Ready,
    /// MAIL was accepted, no recipient yet.
    Mail,
    /// A recipient was accepted.
    Recipients,
    /// A chunk was accepted, the last one is still to come.
    Chunks,
    /// A chunk was refused: only RSET helps.
    Failed,
}

/// Whether a verb has an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Argument {
    /// It must not have one.
    None,
    /// It may have one.
    Optional,
    /// It must have one.
    Required,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The verb.
    pub verb: Verb,
    /// As it is written, in upper case.
    pub word: &'static str,
    /// Where it may stand.
    pub phases: &'static [Phase],
    /// Whether it may come before TLS where TLS is required (RFC 3207 4) [SMTP-STARTTLS-11].
    pub before_tls: bool,
    /// Whether it may come before the login where a login is required (RFC 4954 6) [SMTP-AUTH-07].
    pub before_login: bool,
    /// Whether it must be the last in a pipelined group (RFC 2920 3.1) [SMTP-PIPE-02].
    pub last_in_group: bool,
    /// Whether it has an argument.
    pub argument: Argument,
    /// Where it is defined.
    pub source: &'static str,
}

const ANY: &[Phase] = &[
    Phase::Start,
    Phase::Ready,
    Phase::Mail,
    Phase::Recipients,
    Phase::Chunks,
    Phase::Failed,
];
const READY: &[Phase] = &[Phase::Ready];
const BETWEEN: &[Phase] = &[Phase::Start, Phase::Ready];
const OPEN: &[Phase] = &[Phase::Mail, Phase::Recipients];
const CHUNKED: &[Phase] = &[Phase::Mail, Phase::Recipients, Phase::Chunks];

/// What a verb may precede.
#[derive(Clone, Copy)]
enum Before {
    /// Both TLS and login.
    All,
    /// The login only.
    Login,
    /// Neither.
    Nothing,
}

const fn row(
    verb: Verb,
    word: &'static str,
    phases: &'static [Phase],
    before: Before,
    source: &'static str,
) -> Row {
    Row {
        verb,
        word,
        phases,
        before_tls: matches!(before, Before::All),
        before_login: matches!(before, Before::All | Before::Login),
        last_in_group: false,
        argument: Argument::None,
        source,
    }
}

impl Row {
    const fn last(self) -> Self {
        Self {
            last_in_group: true,
            ..self
        }
    }

    const fn takes(self, argument: Argument) -> Self {
        Self { argument, ..self }
    }
}

/// The table: the verbs every server must have [SMTP-BASE-01], those of the extensions offered, and some that are known but
/// never served. ETRN, ATRN and the rest of these must not be had on submission (RFC 6409 7) [SMTP-EXT-01].
pub const TABLE: &[Row] = &[
    row(Verb::Ehlo, "EHLO", ANY, Before::All, "RFC 5321 4.1.1.1")
        .last()
        .takes(Argument::Required),
    row(Verb::Helo, "HELO", ANY, Before::All, "RFC 5321 4.1.1.1").takes(Argument::Required),
    row(
        Verb::Mail,
        "MAIL",
        READY,
        Before::Nothing,
        "RFC 5321 4.1.1.2",
    )
    .takes(Argument::Required),
    row(
        Verb::Rcpt,
        "RCPT",
        OPEN,
        Before::Nothing,
        "RFC 5321 4.1.1.3",
    )
    .takes(Argument::Required),
    row(
        Verb::Data,
        "DATA",
        OPEN,
        Before::Nothing,
        "RFC 5321 4.1.1.4",
    )
    .last(),
    row(Verb::Bdat, "BDAT", CHUNKED, Before::Nothing, "RFC 3030 2").takes(Argument::Required),
    row(Verb::Rset, "RSET", ANY, Before::Login, "RFC 5321 4.1.1.5"),
    row(Verb::Noop, "NOOP", ANY, Before::All, "RFC 5321 4.1.1.9")
        .last()
        .takes(Argument::Optional),
    row(Verb::Quit, "QUIT", ANY, Before::All, "RFC 5321 4.1.1.10").last(),
    row(Verb::Vrfy, "VRFY", ANY, Before::Nothing, "RFC 5321 4.1.1.6")
        .last()
        .takes(Argument::Required),
    row(Verb::Expn, "EXPN", ANY, Before::Nothing, "RFC 5321 4.1.1.7")
        .last()
        .takes(Argument::Optional),
    row(Verb::Help, "HELP", ANY, Before::Nothing, "RFC 5321 4.1.1.8").takes(Argument::Optional),
    row(Verb::StartTls, "STARTTLS", ANY, Before::All, "RFC 3207 4").last(),
    row(Verb::Auth, "AUTH", READY, Before::Login, "RFC 4954 4").takes(Argument::Required),
    row(
        Verb::Xclient,
        "XCLIENT",
        BETWEEN,
        Before::Login,
        "XCLIENT_README",
    )
    .last()
    .takes(Argument::Required),
    row(Verb::Turn, "TURN", ANY, Before::Nothing, "RFC 821 3.8")
        .last()
        .takes(Argument::Optional),
    row(Verb::Etrn, "ETRN", ANY, Before::Nothing, "RFC 1985").takes(Argument::Optional),
    row(Verb::Atrn, "ATRN", ANY, Before::Nothing, "RFC 2645").takes(Argument::Optional),
];

/// What of a session matters for whether a command may come.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Where it stands.
    pub phase: Phase,
    /// What is still asked of it.
    pub lacks: Lacks,
}

/// What a session must do before it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacks {
    /// Nothing.
    Nothing,
    /// TLS, which is required.
    Tls,
    /// Better TLS: what was negotiated is below the floor. It can only leave [SMTP-STARTTLS-14].
    BetterTls,
    /// A login, which is required.
    Login,
}

impl Row {
    /// The row of a verb as the client wrote it, in any case.
    pub fn find(word: &[u8]) -> Option<&'static Self> {
        TABLE
            .iter()
            .find(|row| row.word.as_bytes().eq_ignore_ascii_case(word))
    }

    /// Whether the command may come now, or the reply that says why not.
    pub fn admit(&self, standing: Standing) -> Result<(), Reply> {
        match standing.lacks {
            Lacks::BetterTls if self.verb != Verb::Quit => Err(reply::TLS_TOO_WEAK),
            Lacks::Tls if !self.before_tls => Err(reply::TLS_FIRST),
            Lacks::Login if !self.before_login => Err(reply::LOGIN_FIRST),
            _ if !self.phases.contains(&standing.phase) => Err(reply::WRONG_ORDER),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SMTP-STARTTLS-11] exactly these before TLS; [SMTP-AUTH-07] exactly these before the login.
    #[test]
    fn few_commands_come_early() {
        let words = |early: fn(&Row) -> bool| {
            TABLE
                .iter()
                .filter(|row| early(row))
                .map(|row| row.word)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(|row| row.before_tls),
            ["EHLO", "HELO", "NOOP", "QUIT", "STARTTLS"]
        );
        assert_eq!(
            words(|row| row.before_login),
            [
                "EHLO", "HELO", "RSET", "NOOP", "QUIT", "STARTTLS", "AUTH", "XCLIENT"
            ]
        );
    }

    // [SMTP-PIPE-02] RFC 2920 3.1, RFC 3207 4.
    #[test]
    fn some_commands_end_a_group() {
        let last: Vec<_> = TABLE
            .iter()
            .filter(|row| row.last_in_group)
            .map(|row| row.word)
            .collect();
        assert_eq!(
            last,
            [
                "EHLO", "DATA", "NOOP", "QUIT", "VRFY", "EXPN", "STARTTLS", "XCLIENT", "TURN"
            ]
        );
    }

    #[test]
    fn verbs_are_found_in_any_case() {
        assert_eq!(Row::find(b"mAiL").map(|row| row.verb), Some(Verb::Mail));
        assert!(Row::find(b"MAILX").is_none());
    }
}
