//! The command table: which command in which state, and which must not be read in clear.

use super::reply::Refusal;

/// A command's keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Auth,
    Capa,
    Dele,
    Lang,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
    Utf8,
}

/// The states of RFC 1939 3 in which commands are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Authorization,
    Transaction,
}

/// How a command may travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Travels {
    AnyWay,
    /// It carries credentials: only inside TLS, or with the configuration's exception.
    WithLeave,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command {
    pub(super) verb: Verb,
    name: &'static str,
    phases: &'static [Phase],
    travels: Travels,
    /// Where it is defined; shown by the snapshot of the matrix.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for readers and for the snapshot")
    )]
    source: &'static str,
}

/// Where the session stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) phase: Phase,
    /// Whether credentials may be read.
    pub(super) leave: bool,
}

const BOTH: &[Phase] = &[Phase::Authorization, Phase::Transaction];
const BEFORE: &[Phase] = &[Phase::Authorization];
const AFTER: &[Phase] = &[Phase::Transaction];

/// Every command known. APOP is not [POP-TLS-08].
const TABLE: [Command; 16] = [
    row(Verb::Auth, "AUTH", BEFORE, Travels::WithLeave, "RFC 5034 4"),
    row(Verb::Capa, "CAPA", BOTH, Travels::AnyWay, "RFC 2449 5"),
    row(Verb::Dele, "DELE", AFTER, Travels::AnyWay, "RFC 1939 5"),
    row(Verb::Lang, "LANG", BOTH, Travels::AnyWay, "RFC 6856 3"),
    row(Verb::List, "LIST", AFTER, Travels::AnyWay, "RFC 1939 5"),
    row(Verb::Noop, "NOOP", AFTER, Travels::AnyWay, "RFC 1939 5"),
    row(Verb::Pass, "PASS", BEFORE, Travels::WithLeave, "RFC 1939 7"),
    row(Verb::Quit, "QUIT", BOTH, Travels::AnyWay, "RFC 1939 4, 6"),
    row(Verb::Retr, "RETR", AFTER, Travels::AnyWay, "RFC 1939 5"),
    row(Verb::Rset, "RSET", AFTER, Travels::AnyWay, "RFC 1939 5"),
    row(Verb::Stat, "STAT", AFTER, Travels::AnyWay, "RFC 1939 5"),
    // [POP-TLS-02] only in the AUTHORIZATION state
    row(Verb::Stls, "STLS", BEFORE, Travels::AnyWay, "RFC 2595 4"),
    row(Verb::Top, "TOP", AFTER, Travels::AnyWay, "RFC 1939 7"),
    row(Verb::Uidl, "UIDL", AFTER, Travels::AnyWay, "RFC 1939 7"),
    row(Verb::User, "USER", BEFORE, Travels::WithLeave, "RFC 1939 7"),
    // Before login alone: a maildrop does not change under a client.
    row(Verb::Utf8, "UTF8", BEFORE, Travels::AnyWay, "RFC 6856 2.1"),
];

const fn row(
    verb: Verb,
    name: &'static str,
    phases: &'static [Phase],
    travels: Travels,
    source: &'static str,
) -> Command {
    Command {
        verb,
        name,
        phases,
        travels,
        source,
    }
}

impl Command {
    /// The command of this keyword, in any case.
    pub(super) fn find(keyword: &[u8]) -> Option<Self> {
        TABLE
            .into_iter()
            .find(|it| it.name.as_bytes().eq_ignore_ascii_case(keyword))
    }

    /// Whether it may be given now. Decided before its argument is looked at.
    pub(super) fn permit(self, situation: Situation) -> Result<Verb, Refusal> {
        if !self.phases.contains(&situation.phase) {
            return Err(Refusal::WrongState);
        }
        // [POP-TLS-04] [POP-AUTH-04] the same words for every name and password
        if self.travels == Travels::WithLeave && !situation.leave {
            return Err(Refusal::NeedsTls);
        }
        Ok(self.verb)
    }
}

/// Splits a line into keyword and argument. Trailing spaces belong to the argument of PASS alone.
pub fn split_line(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|octet| *octet == b' ') {
        Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..)),
        None => (line, None),
    }
}

/// The argument as text without control characters; none if only spaces stand there.
pub(super) fn argument(octets: Option<&[u8]>) -> Result<Option<&str>, Refusal> {
    let Some(octets) = octets else {
        return Ok(None);
    };
    let text = std::str::from_utf8(octets).map_err(|_| Refusal::Syntax)?;
    if text.bytes().any(|octet| octet.is_ascii_control()) {
        return Err(Refusal::Syntax);
    }
    Ok(Some(text).filter(|it| !it.trim_end_matches(' ').is_empty()))
}

/// A decimal number, digits only.
pub(super) fn number(text: &str) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Refusal::Syntax)
}

/// Whether the line is an HTTP request: a browser was lured here, or someone scans.
pub(super) fn is_http(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] = [
        b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
        b"PRI",
    ];
    let (word, rest) = split_line(line);
    rest.is_some() && METHODS.contains(&word)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn matrix_of_states_and_commands() {
        // [POP-TLS-02] [POP-TLS-04] [POP-AUTH-01] [POP-AUTH-04]
        let expected = "\
            command | clear | encrypted | logged in | source\n\
            AUTH | TLS first | yes | no | RFC 5034 4\n\
            CAPA | yes | yes | yes | RFC 2449 5\n\
            DELE | no | no | yes | RFC 1939 5\n\
            LANG | yes | yes | yes | RFC 6856 3\n\
            LIST | no | no | yes | RFC 1939 5\n\
            NOOP | no | no | yes | RFC 1939 5\n\
            PASS | TLS first | yes | no | RFC 1939 7\n\
            QUIT | yes | yes | yes | RFC 1939 4, 6\n\
            RETR | no | no | yes | RFC 1939 5\n\
            RSET | no | no | yes | RFC 1939 5\n\
            STAT | no | no | yes | RFC 1939 5\n\
            STLS | yes | yes | no | RFC 2595 4\n\
            TOP | no | no | yes | RFC 1939 7\n\
            UIDL | no | no | yes | RFC 1939 7\n\
            USER | TLS first | yes | no | RFC 1939 7\n\
            UTF8 | yes | yes | no | RFC 6856 2.1\n";
        let situations = [
            (Phase::Authorization, false),
            (Phase::Authorization, true),
            (Phase::Transaction, true),
        ];
        let mut matrix = String::from("command | clear | encrypted | logged in | source\n");
        for command in TABLE {
            let cells =
                situations.map(
                    |(phase, leave)| match command.permit(Situation { phase, leave }) {
                        Ok(_) => "yes",
                        Err(Refusal::NeedsTls) => "TLS first",
                        Err(_) => "no",
                    },
                );
            writeln!(
                matrix,
                "{} | {} | {}",
                command.name,
                cells.join(" | "),
                command.source
            )
            .unwrap();
        }
        assert_eq!(matrix, expected);
    }

    #[test]
    fn keywords_in_any_case_and_no_others() {
        assert_eq!(Command::find(b"qUiT").map(|it| it.verb), Some(Verb::Quit));
        // [POP-TLS-08]
        for unknown in ["APOP", "UTF", "LANGUAGE", "XTND", "", "QUITX", "QUI"] {
            assert!(Command::find(unknown.as_bytes()).is_none(), "{unknown}");
        }
    }

    #[test]
    fn arguments() {
        assert_eq!(split_line(b"PASS a b "), (&b"PASS"[..], Some(&b"a b "[..])));
        assert_eq!(split_line(b"NOOP"), (&b"NOOP"[..], None));
        assert_eq!(argument(Some(b"x ")), Ok(Some("x ")));
        assert_eq!(argument(Some(b"  ")), Ok(None));
        for bad in [&b"a\nb"[..], b"a\rb", b"a\0", b"\xff"] {
            assert_eq!(argument(Some(bad)), Err(Refusal::Syntax));
        }
        assert_eq!(number("012"), Ok(12));
        for bad in ["", "-1", "+1", "1x", " 1", "99999999999999999999999"] {
            assert_eq!(number(bad), Err(Refusal::Syntax), "{bad}");
        }
    }

    #[test]
    fn http_requests() {
        assert!(
            is_http(b"GET / HTTP/1.1")
                && is_http(b"POST /x HTTP/1.0")
                && is_http(b"PRI * HTTP/2.0")
        );
        assert!(!is_http(b"GET") && !is_http(b"QUIT") && !is_http(b"LIST 1"));
    }
}
