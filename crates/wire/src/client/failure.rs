//! Why a client's session failed, by blame.
//!
//! Variants are reasons without free text; what the server said is quoted. Total functions give the label, who is at fault, the
//! class of the exit code, and the result type for TLS reports (RFC 8460 4.3).

use std::fmt;

use super::{Quote, Stage};
use crate::seam::Injection;

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The server, or someone on the path, broke the rules or refused.
    Peer,
    /// Both are honest but cannot agree.
    Mismatch,
    /// We refuse.
    Policy,
    /// The network, or time.
    Network,
    /// Whoever owns the session asked what cannot be.
    Misuse,
}

/// What the exit code of a program should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitClass {
    /// The peer failed, refused or broke the rules: this will not go away by itself.
    Finding,
    /// The request makes no sense.
    Usage,
    /// It could not be told, or the peer asks to try again later.
    Undecided,
}

/// A rule of the protocol that the server broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Not a reply by the protocol's grammar.
    Malformed,
    /// The lines of a reply have different codes [SMTP-BASE-08].
    MixedCodes,
    /// A reply nothing was asked for.
    Unasked,
    /// A reply that cannot answer what was asked.
    UnexpectedReply,
    /// A tagged reply whose tag is not that of the command under way.
    UnknownTag,
    /// A command continuation where nothing is to be continued.
    UnexpectedContinuation,
    /// TLS was offered or asked for a second time [SMTP-STARTTLS-09].
    TlsTwice,
    /// Base64 that is none.
    BadBase64,
    /// A bare CR or LF, or a NUL, where none may be.
    BareControl,
    /// Words without an end that answer nothing.
    Endless,
}

/// A reply that refuses, as far as programs need it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refused {
    /// Whether trying again later makes sense: a code of class 4, or a response code that says so.
    pub temporary: bool,
    /// What the server said.
    pub reply: Quote,
}

/// Why a session failed. See the [module documentation](super).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No greeting came in time: the port probably wants implicit TLS.
    GreetingMissing,
    /// The greeting refuses.
    GreetingRefused(Refused),
    /// A TLS record came on a port where the server should speak first and in clear: it wants implicit TLS.
    TlsOnClearPort,
    /// The greeting is one of another protocol, which is named: the port is that one's.
    OtherProtocol(&'static str),
    /// IMAP: the greeting says that we are logged in already, in clear. STARTTLS is not possible then [IMAP-TLS-11].
    PreAuthInClear,
    /// EHLO (LHLO, CAPABILITY, CAPA) was refused.
    HelloRefused(Refused),
    /// The server did not offer STARTTLS, and refused it.
    StartTlsMissing(Refused),
    /// The server refused STARTTLS.
    StartTlsRefused(Refused),
    /// Bytes stood behind the reply to STARTTLS.
    Injection(Injection),
    /// The server broke a rule of the protocol.
    Protocol(Breach, Stage),
    /// The server said more than a client reads: a line, a reply, or the number of them.
    TooMuch(Stage),
    /// Nothing came, or not all of it, in the time for this stage.
    Timeout(Stage),
    /// The server ended the connection, as it said it would (421, BYE).
    Farewell(Refused),
    /// The server closed the connection without a word.
    Closed(Stage),
    /// The connection was cut: TLS ended without its closing alert, or TCP was reset. Nothing under way counts
    /// [SMTP-STARTTLS-25].
    Truncated(Stage),
    /// No mechanism is both offered and allowed.
    NoMechanism {
        /// What was offered.
        offered: Quote,
    },
    /// The server forbids logins here (LOGINDISABLED) and offers nothing else [IMAP-TLS-10].
    LoginDisabled,
    /// The login was refused.
    LoginRefused(Refused),
    /// The server could not prove that it knows the account (SCRAM), or its part of the exchange breaks the rules
    /// [SASL-SCRAM-01].
    ServerNotProven,
    /// The name, password or token cannot be sent: not preparable, or with a character the mechanism cannot carry
    /// [SMTP-AUTH-12].
    UnusableCredentials,
    /// The peer is not verified, and no exception was made: credentials stay here [MUA-02] [MUA-05].
    NotVerified,
    /// The content holds a bare CR or LF. The connection was cut, so that no part of the message counts [SMTP-BASE-04].
    BareLineEnd,
    /// The content holds octets above 127, which the server does not take or the owner did not declare. The connection was
    /// cut [SMTP-8BIT-01].
    EightBit,
    /// The owner stopped the session.
    Stopped,
    /// The owner asked for something the protocol or the state does not allow: a line end in an argument, for example.
    Misuse,
}

impl Failure {
    /// A stable label, as it is printed and logged.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::GreetingMissing => "E-NO-GREETING",
            Self::GreetingRefused(_) => "E-GREETING-REFUSED",
            Self::TlsOnClearPort => "E-TLS-ON-CLEAR-PORT",
            Self::OtherProtocol(_) => "E-OTHER-PROTOCOL",
            Self::PreAuthInClear => "E-PREAUTH",
            Self::HelloRefused(_) => "E-HELLO-REFUSED",
            Self::StartTlsMissing(_) => "E-STARTTLS-MISSING",
            Self::StartTlsRefused(_) => "E-STARTTLS-REFUSED",
            Self::Injection(_) => "E-INJECT",
            Self::Protocol(..) => "E-PROTOCOL",
            Self::TooMuch(_) => "E-TOO-MUCH",
            Self::Timeout(_) => "E-TIMEOUT",
            Self::Farewell(_) => "E-SERVER-CLOSING",
            Self::Closed(_) => "E-CLOSED",
            Self::Truncated(_) => "E-TRUNCATED",
            Self::NoMechanism { .. } => "E-NO-MECHANISM",
            Self::LoginDisabled => "E-LOGIN-DISABLED",
            Self::LoginRefused(_) => "E-LOGIN-REFUSED",
            Self::ServerNotProven => "E-SERVER-NOT-PROVEN",
            Self::UnusableCredentials => "E-CREDENTIALS",
            Self::NotVerified => "E-NOT-VERIFIED",
            Self::BareLineEnd => "E-BARE-LINE-END",
            Self::EightBit => "E-8BIT",
            Self::Stopped => "E-STOPPED",
            Self::Misuse => "E-MISUSE",
        }
    }

    /// Who is at fault.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::GreetingMissing
            | Self::Timeout(_)
            | Self::Closed(_)
            | Self::Truncated(_)
            | Self::Stopped => Blame::Network,
            Self::GreetingRefused(_)
            | Self::TlsOnClearPort
            | Self::PreAuthInClear
            | Self::HelloRefused(_)
            | Self::StartTlsMissing(_)
            | Self::StartTlsRefused(_)
            | Self::Injection(_)
            | Self::Protocol(..)
            | Self::TooMuch(_)
            | Self::Farewell(_)
            | Self::LoginRefused(_)
            | Self::ServerNotProven => Blame::Peer,
            Self::OtherProtocol(_)
            | Self::NoMechanism { .. }
            | Self::LoginDisabled
            | Self::EightBit => Blame::Mismatch,
            Self::NotVerified => Blame::Policy,
            Self::UnusableCredentials | Self::BareLineEnd | Self::Misuse => Blame::Misuse,
        }
    }

    /// The class of the exit code.
    pub const fn exit_class(&self) -> ExitClass {
        match self {
            Self::GreetingRefused(refused)
            | Self::HelloRefused(refused)
            | Self::StartTlsRefused(refused)
            | Self::LoginRefused(refused)
            | Self::Farewell(refused)
                if refused.temporary =>
            {
                ExitClass::Undecided
            }
            _ => match self.blame() {
                Blame::Peer | Blame::Mismatch | Blame::Policy => ExitClass::Finding,
                Blame::Network => ExitClass::Undecided,
                Blame::Misuse => ExitClass::Usage,
            },
        }
    }

    /// The result type for a TLS report (RFC 8460 4.3), where the failure is one of TLS.
    pub const fn tls_report(&self) -> Option<&'static str> {
        match self {
            Self::StartTlsMissing(_) | Self::StartTlsRefused(_) => Some("starttls-not-supported"),
            Self::Injection(_) | Self::PreAuthInClear => Some("validation-failure"),
            _ => None,
        }
    }

    /// What the server said, if it said something.
    pub const fn quote(&self) -> Option<&Quote> {
        match self {
            Self::GreetingRefused(refused)
            | Self::HelloRefused(refused)
            | Self::StartTlsMissing(refused)
            | Self::StartTlsRefused(refused)
            | Self::LoginRefused(refused)
            | Self::Farewell(refused) => Some(&refused.reply),
            Self::NoMechanism { offered } => Some(offered),
            _ => None,
        }
    }
}

impl Failure {
    /// A line that breaks the grammar of our protocol, or tells that the port is another's.
    pub(crate) fn malformed(line: &[u8], stage: Stage, ours: &str) -> Self {
        match greeted_by(line) {
            Some(name) if stage == Stage::Greeting && name != ours => Self::OtherProtocol(name),
            _ => Self::Protocol(Breach::Malformed, stage),
        }
    }
}

/// Whose greeting a line is (RFC 5321 4.2, RFC 9051 7.1, RFC 1939 4, RFC 5804 1.7).
fn greeted_by(line: &[u8]) -> Option<&'static str> {
    let is = |beginning: &[u8]| {
        line.get(..beginning.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(beginning))
    };
    if is(b"220 ") || is(b"220-") {
        Some("SMTP")
    } else if is(b"* OK") || is(b"* PREAUTH") {
        Some("IMAP")
    } else if is(b"+OK ") {
        Some("POP3")
    } else if is(b"\"IMPLEMENTATION\"") {
        Some("ManageSieve")
    } else {
        None
    }
}

impl From<Injection> for Failure {
    fn from(injection: Injection) -> Self {
        Self::Injection(injection)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GreetingMissing => f.write_str(
                "no greeting came in time; the port probably wants implicit TLS",
            ),
            Self::GreetingRefused(it) => write!(f, "the server refuses connections: {}", it.reply),
            Self::TlsOnClearPort => f.write_str("the server speaks TLS at once; use implicit TLS on this port"),
            Self::OtherProtocol(name) => write!(f, "the server greets as one of {name} does"),
            Self::PreAuthInClear => f.write_str(
                "the server says we are logged in already, in clear, so that TLS cannot be asked for; someone on the path may have said it",
            ),
            Self::HelloRefused(it) => write!(f, "the server refuses to say what it can do: {}", it.reply),
            Self::StartTlsMissing(it) => write!(
                f,
                "the server does not offer STARTTLS and refused it: {}; nothing was sent; someone on the path may have removed it",
                it.reply
            ),
            Self::StartTlsRefused(it) => write!(
                f,
                "the server refused STARTTLS: {}; nothing was sent; someone on the path may have refused it",
                it.reply
            ),
            Self::Injection(it) => {
                write!(f, "{} octets arrived before TLS started; connection closed", it.octets)
            }
            Self::Protocol(breach, stage) => write!(
                f,
                "the server broke the protocol at the stage {}: {}",
                stage.label(),
                breach.text()
            ),
            Self::TooMuch(stage) => write!(f, "the server said more than is read at the stage {}", stage.label()),
            Self::Timeout(stage) => write!(f, "no answer in time at the stage {}", stage.label()),
            Self::Farewell(it) => write!(f, "the server ends the session: {}", it.reply),
            Self::Closed(stage) => write!(f, "the server closed the connection at the stage {}", stage.label()),
            Self::Truncated(stage) => write!(
                f,
                "the connection was cut at the stage {}; nothing under way counts",
                stage.label()
            ),
            Self::NoMechanism { offered } => {
                write!(f, "no login mechanism is both offered and allowed; offered: {offered}")
            }
            Self::LoginDisabled => f.write_str("the server forbids logins on this connection"),
            Self::LoginRefused(it) => write!(f, "the login was refused: {}", it.reply),
            Self::ServerNotProven => f.write_str(
                "the server could not prove that it knows the account; it may be someone else's server",
            ),
            Self::UnusableCredentials => {
                f.write_str("the name, password or token holds characters that cannot be sent")
            }
            Self::NotVerified => f.write_str("the peer is not verified; no credential was sent"),
            Self::BareLineEnd => f.write_str("the message holds a bare CR or LF; it was not sent"),
            Self::EightBit => f.write_str("the message holds 8-bit octets that the server does not take; it was not sent"),
            Self::Stopped => f.write_str("stopped"),
            Self::Misuse => f.write_str("the request cannot be sent: a line end in an argument, or out of order"),
        }
    }
}

impl std::error::Error for Failure {}

impl Breach {
    /// What was wrong, in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "a reply that breaks the grammar",
            Self::MixedCodes => "a reply whose lines have different codes",
            Self::Unasked => "a reply to nothing",
            Self::UnexpectedReply => "a reply that cannot answer the command",
            Self::UnknownTag => "a reply to a command never sent",
            Self::UnexpectedContinuation => "a continuation that nothing asked for",
            Self::TlsTwice => "TLS inside TLS",
            Self::BadBase64 => "base64 that is none",
            Self::BareControl => "a control character where none may be",
            Self::Endless => "words without an end that answer nothing",
        }
    }
}
