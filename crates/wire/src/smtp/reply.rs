//! Replies with their enhanced status codes (RFC 5321 4.2, RFC 2034, RFC 3463).
//!
//! Every reply this server gives stands here, so that code, enhanced code and text can be read side by side. The codes are
//! those of RFC 5321 4.2.2 and 4.3.2, of each extension's own document, and of the IANA registry of enhanced status codes. Every
//! reply of class 2, 4 and 5 carries one, but for greeting, HELO and EHLO [SMTP-ESC-01]. Texts are constants, so no text can
//! hold a CR or LF; the two replies with a variable part filter it.

use std::io::Write as _;

use super::ask::Refusal;
use super::command::Syntax;

/// One reply: code, enhanced status code, text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The reply code, 220 to 555.
    pub code: u16,
    /// The enhanced status code; empty for replies that have none.
    pub enhanced: &'static str,
    /// The text.
    pub text: &'static str,
}

const fn reply(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
    Reply {
        code,
        enhanced,
        text,
    }
}

// Good.
// [REPLY-01]
pub(super) const READY_FOR_TLS: Reply = reply(220, "2.0.0", "Ready to start TLS");
pub(super) const BYE: Reply = reply(221, "2.0.0", "Bye");
pub(super) const LOGGED_IN: Reply = reply(235, "2.7.0", "Authentication successful");
pub(super) const OK: Reply = reply(250, "2.0.0", "OK");
pub(super) const SENDER_OK: Reply = reply(250, "2.1.0", "Sender OK");
pub(super) const RECIPIENT_OK: Reply = reply(250, "2.1.5", "Recipient OK");
pub(super) const CANNOT_VERIFY: Reply = reply(
    252,
    "2.0.0",
    "Cannot verify, but will take the message and try",
);
pub(super) const HELP: Reply = reply(214, "2.0.0", "See RFC 5321");
pub(super) const SEND_CONTENT: Reply = reply(354, "", "End data with <CR><LF>.<CR><LF>");

// Farewells of the server.
pub(super) const STOPPING: Reply = reply(421, "4.3.2", "Stopping, try again later");
pub(super) const TIMED_OUT: Reply = reply(421, "4.4.2", "Timed out");
pub(super) const TOO_MANY_ERRORS: Reply = reply(421, "4.7.0", "Too many bad commands");
pub(super) const TOO_MANY_UNKNOWN: Reply = reply(421, "4.7.0", "Too many unknown recipients");
pub(super) const TOO_MANY_LOGINS: Reply = reply(421, "4.7.0", "Too many failed logins");
pub(super) const TOO_MUCH_DATA: Reply = reply(421, "4.7.0", "Far more data than allowed");
pub(super) const NOT_HTTP: Reply = reply(421, "4.7.0", "This is not HTTP");
pub(super) const OUR_FAULT_CLOSING: Reply = reply(421, "4.3.0", "A fault of ours, try again later");
// [REPLY-09]
pub(super) const OUT_OF_SYNC: Reply = reply(554, "5.5.0", "Spoke out of turn");

// What the client wrote.
pub(super) const UNKNOWN_COMMAND: Reply = reply(500, "5.5.2", "Unknown command");
pub(super) const LINE_TOO_LONG: Reply = reply(500, "5.5.2", "Line too long");
pub(super) const RESPONSE_TOO_LONG: Reply =
    reply(500, "5.5.6", "Authentication exchange line is too long");
pub(super) const NOT_IMPLEMENTED: Reply = reply(502, "5.5.1", "Command not implemented");
pub(super) const WRONG_ORDER: Reply = reply(503, "5.5.1", "Command out of order");
pub(super) const BINARY_BY_DATA: Reply = reply(503, "5.5.1", "Binary content comes by BDAT");
pub(super) const NO_RECIPIENTS: Reply = reply(554, "5.5.1", "No valid recipients");
// [REPLY-04]
pub(super) const ALREADY_TLS: Reply = reply(503, "5.5.1", "TLS is already active");
pub(super) const ALREADY_LOGGED_IN: Reply = reply(503, "5.5.1", "Already authenticated");

// TLS and logins (RFC 3207 4, RFC 4954 6; ruling [CONF-15]).
// [REPLY-05] [REPLY-06]
pub(super) const TLS_FIRST: Reply = reply(530, "5.7.0", "Must issue a STARTTLS command first");
// [REPLY-03]
pub(super) const TLS_UNAVAILABLE: Reply = reply(454, "4.7.0", "TLS not available");
// [REPLY-07]
pub(super) const TLS_TOO_WEAK: Reply = reply(554, "5.7.0", "TLS 1.3 is required here");
pub(super) const LOGIN_FIRST: Reply = reply(530, "5.7.0", "Authentication required");
pub(super) const MECHANISM_UNAVAILABLE: Reply =
    reply(504, "5.5.4", "Authentication mechanism not available");
pub(super) const LOGIN_CANCELLED: Reply = reply(501, "5.7.0", "Authentication cancelled");
pub(super) const BAD_BASE64: Reply = reply(501, "5.5.2", "Cannot decode the response");
pub(super) const BAD_RESPONSE: Reply = reply(501, "5.5.2", "Malformed authentication response");
pub(super) const NO_INITIAL_RESPONSE: Reply =
    reply(501, "5.7.0", "This mechanism takes no initial response");
// [REPLY-08]
pub(super) const WRONG_CREDENTIALS: Reply =
    reply(535, "5.7.8", "Authentication credentials invalid");
pub(super) const LOGIN_UNAVAILABLE: Reply = reply(454, "4.7.0", "Temporary authentication failure");

// Envelopes.
pub(super) const TOO_MANY_RECIPIENTS: Reply = reply(452, "4.5.3", "Too many recipients");
pub(super) const SENDER_NOT_QUALIFIED: Reply =
    reply(553, "5.1.8", "The sender's domain is not fully qualified");
pub(super) const RECIPIENT_NOT_QUALIFIED: Reply = reply(
    553,
    "5.1.2",
    "The recipient's domain is not fully qualified",
);
pub(super) const NEEDS_SMTPUTF8: Reply =
    reply(553, "5.6.7", "Address needs the SMTPUTF8 parameter");

// Content.
pub(super) const MESSAGE_TOO_LARGE: Reply = reply(552, "5.3.4", "Message larger than the limit");
pub(super) const HEADER_TOO_LONG: Reply = reply(552, "5.3.4", "Header longer than the limit");
// [CONF-14] asks for 550. The registry has no code for bare line ends (5.6.11 is one vendor's), so: other media error.
pub(super) const BARE_LINE_END: Reply =
    reply(550, "5.6.0", "Bare CR or LF in the message, RFC 5321 2.3.8");
pub(super) const NUL_IN_CONTENT: Reply = reply(554, "5.6.0", "NUL in the message");
pub(super) const LINE_TOO_LONG_IN_CONTENT: Reply =
    reply(554, "5.6.0", "Line too long in the message");
pub(super) const LOOP: Reply = reply(554, "5.4.6", "Too many Received fields, mail is looping");

impl Reply {
    /// Writes the reply as one line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let space = if self.enhanced.is_empty() { "" } else { " " };
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "{} {}{space}{}\r\n",
            self.code, self.enhanced, self.text
        );
    }
}

/// Writes the greeting. The STARTTLS keyword has no place here [SMTP-STARTTLS-01].
pub(super) fn write_greeting(host: &str, out: &mut Vec<u8>) {
    let _ = write!(out, "220 {} ESMTP\r\n", printable(host));
}

/// Writes a refusal in the place of the greeting; there enhanced codes have no place (RFC 2034 4).
pub(super) fn write_refusal(host: &str, refusal: Reply, out: &mut Vec<u8>) {
    let _ = write!(
        out,
        "{} {} {}\r\n",
        refusal.code,
        printable(host),
        refusal.text
    );
}

/// Writes the answer to HELO (one line [SMTP-BASE-02]) or EHLO (one line for each keyword).
pub(super) fn write_hello(host: &str, keywords: &[String], out: &mut Vec<u8>) {
    let host = printable(host);
    let mut line: &str = &host;
    for keyword in keywords {
        let _ = write!(out, "250-{line}\r\n");
        line = keyword;
    }
    let _ = write!(out, "250 {line}\r\n");
}

/// Writes the answer to content that is kept.
pub(super) fn write_stored(id: &str, out: &mut Vec<u8>) {
    let _ = write!(out, "250 2.0.0 Stored as {}\r\n", printable(id));
}

/// Writes the answer to a chunk (RFC 3030 2).
pub(super) fn write_chunk(octets: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "250 2.0.0 {octets} octets received\r\n");
}

/// Writes a challenge; an empty one keeps its space [SMTP-AUTH-06].
pub(super) fn write_challenge(base64: &str, out: &mut Vec<u8>) {
    let _ = write!(out, "334 {base64}\r\n");
}

fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).collect()
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchMailbox => reply(550, "5.1.1", "No such mailbox here"),
            Refusal::NoRelay => reply(550, "5.7.1", "Relaying denied"),
            Refusal::SenderNotAuthorized => reply(
                550,
                "5.7.1",
                "The sender address does not belong to this login",
            ),
            Refusal::MailboxFull => reply(452, "4.2.2", "Mailbox full"),
            Refusal::DiskFull => reply(452, "4.3.1", "Not enough storage now"),
            Refusal::TooLarge => MESSAGE_TOO_LARGE,
            Refusal::Loop => LOOP,
            Refusal::BadContent => reply(554, "5.6.0", "The message breaks a rule of its format"),
            // [SUBM-02] RFC 6409 4.2: 554 for improper domains.
            Refusal::HeaderNotQualified => reply(
                554,
                "5.6.0",
                "An address in the header has no fully qualified domain",
            ),
            Refusal::TooManyConnections => {
                reply(421, "4.7.0", "Too many connections from your address")
            }
            Refusal::TooFast => reply(
                450,
                "4.7.1",
                "Too much mail in a short time, try again later",
            ),
            Refusal::Fault => reply(451, "4.3.0", "A fault of ours, try again later"),
        }
    }
}

impl From<Syntax> for Reply {
    fn from(syntax: Syntax) -> Self {
        match syntax {
            Syntax::UnknownCommand => UNKNOWN_COMMAND,
            Syntax::ControlCharacter => reply(501, "5.5.2", "Control character in the command"),
            Syntax::NotUtf8 => reply(501, "5.5.2", "The command is not UTF-8"),
            Syntax::ArgumentMissing => reply(501, "5.5.4", "Argument missing"),
            // [REPLY-02]
            Syntax::UnexpectedArgument => reply(501, "5.5.4", "No argument allowed"),
            Syntax::BadArgument => reply(501, "5.5.4", "Bad argument"),
            Syntax::BadReversePath => reply(501, "5.1.7", "Bad sender address syntax"),
            Syntax::BadForwardPath => reply(501, "5.1.3", "Bad recipient address syntax"),
            Syntax::BadParameter => reply(501, "5.5.4", "Bad or repeated parameter"),
            Syntax::UnknownParameter => {
                reply(555, "5.5.4", "Parameter not recognized or not implemented")
            }
        }
    }
}
