//! Replies: `+OK` and `-ERR` in upper case, each line at most 512 octets [POP-TLS-06] (RFC 1939 3, RFC 2449 4).

use std::fmt;
use std::io::Write as _;

/// Why a command is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownCommand,
    Syntax,
    WrongState,
    LineTooLong,
    NeedsTls,
    TlsTooWeak,
    TlsUnavailable,
    AlreadyTls,
    UserFirst,
    UnknownMechanism,
    BadBase64,
    MalformedResponse,
    InitialResponse,
    Cancelled,
    WrongCredentials,
    LoginUnavailable,
    InUse,
    MaildropUnavailable,
    NoSuchMessage,
    AlreadyDeleted,
    Unreadable,
    UnknownLanguage,
    NotRemoved,
    TooManyErrors,
    TooManyCommands,
    Stopping,
}

impl Refusal {
    /// Response code (RFC 2449 8, RFC 3206) and text.
    const fn text(self) -> &'static str {
        match self {
            Self::UnknownCommand => "unknown command",
            Self::Syntax => "wrong arguments",
            Self::WrongState => "not in this state",
            Self::LineTooLong => "line too long",
            // [POP-TLS-04] without [AUTH]: nothing was compared
            Self::NeedsTls => "login needs TLS",
            // RFC 3206 4: it will not help to try again
            Self::TlsTooWeak => "[SYS/PERM] TLS 1.3 is required here",
            Self::TlsUnavailable => "[SYS/TEMP] TLS is not available",
            Self::AlreadyTls => "TLS is already up",
            Self::UserFirst => "say USER first",
            Self::UnknownMechanism => "mechanism not offered",
            Self::BadBase64 => "not base64",
            Self::MalformedResponse => "malformed response",
            Self::InitialResponse => "no initial response with this mechanism",
            Self::Cancelled => "login cancelled",
            Self::WrongCredentials => "[AUTH] wrong name or password",
            Self::LoginUnavailable => "[SYS/TEMP] no login possible now",
            Self::InUse => "[IN-USE] another session has this maildrop",
            Self::MaildropUnavailable => "[SYS/TEMP] the maildrop cannot be opened now",
            Self::NoSuchMessage => "no such message",
            Self::AlreadyDeleted => "message already deleted",
            Self::Unreadable => "[SYS/TEMP] the message cannot be read",
            Self::UnknownLanguage => "language not known",
            Self::NotRemoved => "[SYS/TEMP] deleted messages not removed",
            Self::TooManyErrors => "too many bad commands",
            Self::TooManyCommands => "too many commands before login",
            Self::Stopping => "[SYS/TEMP] the server is stopping",
        }
    }

    /// Whether it counts as a bad command.
    pub(super) const fn is_bad(self) -> bool {
        matches!(
            self,
            Self::UnknownCommand
                | Self::Syntax
                | Self::WrongState
                | Self::LineTooLong
                | Self::NeedsTls
                | Self::TlsTooWeak
                | Self::AlreadyTls
                | Self::UserFirst
                | Self::UnknownMechanism
                | Self::BadBase64
                | Self::MalformedResponse
                | Self::InitialResponse
        )
    }
}

/// Writes `-ERR` and the reason.
pub(super) fn err(output: &mut Vec<u8>, refusal: Refusal) {
    line(output, format_args!("-ERR {}", refusal.text()));
}

/// Writes `+OK` and the text.
pub(super) fn ok(output: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    line(output, format_args!("+OK {text}"));
}

/// Writes a line with its CRLF. The caller gives text without line ends.
pub(super) fn line(output: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = write!(output, "{text}\r\n");
}

/// Text from the configuration as it may stand in the greeting: at most 200 printable ASCII characters, and no `<`, which
/// would announce APOP [POP-TLS-08] (RFC 1939 7).
pub(super) fn harmless(text: &str) -> String {
    text.chars()
        .filter(|it| *it == ' ' || (it.is_ascii_graphic() && *it != '<'))
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_can_hold_neither_line_ends_nor_a_timestamp() {
        // [POP-TLS-08]
        assert_eq!(harmless("a\r\n+OK <1.2@b> \u{e9}c"), "a+OK 1.2@b> c");
        assert_eq!(harmless(&"x".repeat(600)).len(), 200);
    }

    #[test]
    fn replies_are_lines_in_upper_case() {
        // [POP-TLS-06]
        let mut output = Vec::new();
        err(&mut output, Refusal::WrongCredentials);
        ok(&mut output, format_args!("{} octets", 120));
        assert_eq!(
            output,
            b"-ERR [AUTH] wrong name or password\r\n+OK 120 octets\r\n"
        );
    }
}
