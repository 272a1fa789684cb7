//! The command line, from octets to meaning (RFC 5321 4.1.1, and each extension's parameters).
//!
//! Reading is done in two steps so that the table can refuse a command before its argument is looked at: [`split`] finds the
//! verb, [`Command::parse`] reads the argument. Control characters are refused everywhere, so a bare LF, a bare CR or a NUL
//! never separates anything [SMTP-BASE-03] [SMTP-SMUG-03]. Parameters of extensions that are not offered are unknown.

use super::ask::{Body, MailFrom, RcptTo};
use super::dsn;
use super::path::{self, ForwardPath, ReversePath};
use super::table::{Argument, Row, Verb};

/// The greatest length of a client's name in EHLO (RFC 5321 4.5.3.1.2).
const NAME_OCTETS: usize = 255;
/// The digits of a SIZE value (RFC 1870 5).
const SIZE_DIGITS: usize = 20;

/// A command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// EHLO, or HELO when not `extended`.
    Hello {
        /// The client's name as it gave it: printable ASCII.
        name: Box<str>,
        /// EHLO.
        extended: bool,
    },
    /// MAIL.
    Mail(MailFrom),
    /// RCPT.
    Rcpt(RcptTo),
    /// DATA.
    Data,
    /// BDAT.
    Bdat(Chunk),
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// STARTTLS.
    StartTls,
    /// AUTH with its argument, which is read only with leave to read credentials.
    Auth(Vec<u8>),
    /// XCLIENT with its attributes.
    Xclient(Box<str>),
    /// A verb that is known but not served: EXPN, TURN, ETRN, ATRN.
    NotServed,
}

/// The argument of BDAT (RFC 3030 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the command line.
    pub octets: u64,
    /// Whether it is the last chunk.
    pub last: bool,
}

/// What may differ from listener to listener.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tolerance {
    /// A space behind `FROM:` and `TO:`, as some old mail clients send it. For submission only.
    pub quirk_space_before_path: bool,
    /// DSN is offered: its parameters are known (RFC 3461).
    pub dsn: bool,
    /// BINARYMIME is offered (RFC 3030).
    pub binary: bool,
}

/// Why a command line was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// No such verb.
    UnknownCommand,
    /// A control character in the argument.
    ControlCharacter,
    /// The argument is not UTF-8.
    NotUtf8,
    /// There must be an argument.
    ArgumentMissing,
    /// There must be none.
    UnexpectedArgument,
    /// The argument is not what the verb takes.
    BadArgument,
    /// The reverse-path breaks the grammar.
    BadReversePath,
    /// The forward-path breaks the grammar.
    BadForwardPath,
    /// A parameter's value breaks the grammar, or a parameter stands there twice.
    BadParameter,
    /// The parameter belongs to no extension that is offered.
    UnknownParameter,
}

/// Cuts a line (without its CRLF) into the verb's row and the argument. Spaces and tabs at the end are ignored, as RFC 5321
/// 4.1.1 asks.
pub fn split(line: &[u8]) -> Result<(&'static Row, &[u8]), Syntax> {
    let line = line.trim_ascii_end_of_spaces();
    let (word, rest) = match memchr::memchr(b' ', line) {
        Some(at) => (line.get(..at), line.get(at + 1..)),
        None => (Some(line), None),
    };
    let row = Row::find(word.unwrap_or_default()).ok_or(Syntax::UnknownCommand)?;
    Ok((row, rest.unwrap_or_default()))
}

/// Trimming that leaves CR, LF and other controls alone: they are refused, not ignored.
trait TrimSpaces {
    fn trim_ascii_end_of_spaces(&self) -> &[u8];
}

impl TrimSpaces for [u8] {
    fn trim_ascii_end_of_spaces(&self) -> &[u8] {
        let mut line = self;
        while let [rest @ .., b' ' | b'\t'] = line {
            line = rest;
        }
        line
    }
}

impl Command {
    /// Reads the argument of a verb.
    pub fn parse(row: &Row, argument: &[u8], tolerance: Tolerance) -> Result<Self, Syntax> {
        match (row.argument, argument.is_empty()) {
            (Argument::None, false) => return Err(Syntax::UnexpectedArgument),
            (Argument::Required, true) => return Err(Syntax::ArgumentMissing),
            _ => {}
        }
        if argument.iter().any(u8::is_ascii_control) {
            return Err(Syntax::ControlCharacter);
        }
        let text = || std::str::from_utf8(argument).map_err(|_| Syntax::NotUtf8);
        Ok(match row.verb {
            Verb::Ehlo => hello(argument, true)?,
            Verb::Helo => hello(argument, false)?,
            Verb::Mail => Self::Mail(mail(text()?, tolerance)?),
            Verb::Rcpt => Self::Rcpt(rcpt(text()?, tolerance)?),
            Verb::Bdat => Self::Bdat(bdat(text()?)?),
            Verb::Auth => Self::Auth(argument.to_vec()),
            Verb::Xclient => Self::Xclient(text()?.into()),
            Verb::Data => Self::Data,
            Verb::Rset => Self::Rset,
            Verb::Noop => Self::Noop,
            Verb::Quit => Self::Quit,
            Verb::Vrfy => Self::Vrfy,
            Verb::Help => Self::Help,
            Verb::StartTls => Self::StartTls,
            Verb::Expn | Verb::Turn | Verb::Etrn | Verb::Atrn => Self::NotServed,
        })
    }
}

/// The name must be one word of printable ASCII [SMTP-UTF8-03]. More is not asked: RFC 5321 4.1.4 forbids to refuse mail
/// over a name that is wrong, and clients send what their host calls itself.
fn hello(argument: &[u8], extended: bool) -> Result<Command, Syntax> {
    if argument.len() > NAME_OCTETS || !argument.iter().all(u8::is_ascii_graphic) {
        return Err(Syntax::BadArgument);
    }
    let name = String::from_utf8_lossy(argument)
        .into_owned()
        .into_boxed_str();
    Ok(Command::Hello { name, extended })
}

/// `BDAT 1000` or `BDAT 1000 LAST`.
fn bdat(argument: &str) -> Result<Chunk, Syntax> {
    let (digits, last) = match argument.split_once(' ') {
        Some((digits, word)) if word.eq_ignore_ascii_case("LAST") => (digits, true),
        Some(_) => return Err(Syntax::BadArgument),
        None => (argument, false),
    };
    Ok(Chunk {
        octets: number(digits).ok_or(Syntax::BadArgument)?,
        last,
    })
}

fn mail(argument: &str, tolerance: Tolerance) -> Result<MailFrom, Syntax> {
    let (path, parameters) =
        path_and_parameters(argument, "FROM:", tolerance).ok_or(Syntax::BadReversePath)?;
    let reverse_path = ReversePath::parse(path).map_err(|_| Syntax::BadReversePath)?;
    let mut mail = MailFrom {
        reverse_path,
        size: None,
        body: Body::default(),
        smtputf8: false,
        dsn: dsn::OfMail::default(),
    };
    each_parameter(parameters, |keyword, value| {
        mail_parameter(&mut mail, keyword, value, tolerance)
    })?;
    Ok(mail)
}

/// Calls `take` with the keyword, in upper case, and value of each parameter. None may stand twice.
fn each_parameter(
    parameters: &str,
    mut take: impl FnMut(&str, Option<&str>) -> Result<(), Syntax>,
) -> Result<(), Syntax> {
    let mut seen = Vec::new();
    for parameter in parameters.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = parameter
            .split_once('=')
            .map_or((parameter, None), |(key, value)| (key, Some(value)));
        let keyword = keyword.to_ascii_uppercase();
        take(&keyword, value)?;
        if seen.contains(&keyword) {
            return Err(Syntax::BadParameter);
        }
        seen.push(keyword);
    }
    Ok(())
}

fn mail_parameter(
    mail: &mut MailFrom,
    keyword: &str,
    value: Option<&str>,
    tolerance: Tolerance,
) -> Result<(), Syntax> {
    // [SMTP-DSN-01]
    if tolerance.dsn && mail.dsn.take(keyword, value)? {
        return Ok(());
    }
    match (keyword, value) {
        ("SIZE", Some(digits)) => mail.size = Some(number(digits).ok_or(Syntax::BadParameter)?),
        ("BODY", Some(body)) if body.eq_ignore_ascii_case("7BIT") => mail.body = Body::SevenBit,
        ("BODY", Some(body)) if body.eq_ignore_ascii_case("8BITMIME") => {
            mail.body = Body::EightBitMime;
        }
        // [SMTP-CHUNK-03] only where it is offered (RFC 3030 3).
        ("BODY", Some(body)) if body.eq_ignore_ascii_case("BINARYMIME") => {
            if !tolerance.binary {
                return Err(Syntax::UnknownParameter);
            }
            mail.body = Body::BinaryMime;
        }
        // [SMTP-UTF8-01] the parameter has no value.
        ("SMTPUTF8", None) => mail.smtputf8 = true,
        // [SMTP-AUTH-08] accepted from anyone, believed from no one: it is as if `AUTH=<>` had been said.
        ("AUTH", Some(mailbox)) if mailbox == "<>" || is_xtext(mailbox) => {}
        ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) => return Err(Syntax::BadParameter),
        _ => return Err(Syntax::UnknownParameter),
    }
    Ok(())
}

/// Of the extensions offered only DSN has parameters for RCPT.
fn rcpt(argument: &str, tolerance: Tolerance) -> Result<RcptTo, Syntax> {
    let (path, parameters) =
        path_and_parameters(argument, "TO:", tolerance).ok_or(Syntax::BadForwardPath)?;
    let path = ForwardPath::parse(path).map_err(|_| Syntax::BadForwardPath)?;
    let mut rcpt = RcptTo::from(path);
    each_parameter(parameters, |keyword, value| {
        if tolerance.dsn && rcpt.dsn.take(keyword, value)? {
            Ok(())
        } else {
            Err(Syntax::UnknownParameter)
        }
    })?;
    Ok(rcpt)
}

impl From<dsn::Malformed> for Syntax {
    fn from(_: dsn::Malformed) -> Self {
        Self::BadParameter
    }
}

/// `FROM:<path>` or `FROM:<path> parameters`.
fn path_and_parameters<'a>(
    argument: &'a str,
    keyword: &str,
    tolerance: Tolerance,
) -> Option<(&'a str, &'a str)> {
    let (given, mut rest) = argument.split_at_checked(keyword.len())?;
    if !given.eq_ignore_ascii_case(keyword) {
        return None;
    }
    if tolerance.quirk_space_before_path {
        rest = rest.trim_start_matches(' ');
    }
    let (path, parameters) = rest.split_at_checked(path::path_length(rest).ok()?)?;
    if parameters.is_empty() {
        Some((path, ""))
    } else {
        Some((path, parameters.strip_prefix(' ')?))
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty()
        && digits.len() <= SIZE_DIGITS
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    // What does not fit is over every limit.
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// `xtext` of RFC 3461 4: printable ASCII, `+` only before two hexadecimal digits in upper case, no `=`.
fn is_xtext(text: &str) -> bool {
    let mut octets = text.bytes();
    let is_hexadecimal =
        |octets: &mut std::str::Bytes<'_>| matches!(octets.next(), Some(b'0'..=b'9' | b'A'..=b'F'));
    while let Some(octet) = octets.next() {
        let fine = match octet {
            b'+' => is_hexadecimal(&mut octets) && is_hexadecimal(&mut octets),
            b'=' => false,
            other => other.is_ascii_graphic(),
        };
        if !fine {
            return false;
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Syntax> {
        let (row, argument) = split(line.as_bytes())?;
        Command::parse(row, argument, Tolerance::default())
    }

    fn parameters(text: &str) -> Result<MailFrom, Syntax> {
        match parse(&format!("MAIL FROM:<a@b.example>{text}"))? {
            Command::Mail(mail) => Ok(mail),
            _ => Err(Syntax::UnknownCommand),
        }
    }

    #[test]
    fn verbs_have_the_arguments_of_the_table() {
        assert_eq!(parse("noop"), Ok(Command::Noop));
        assert_eq!(parse("NOOP anything"), Ok(Command::Noop));
        assert_eq!(parse("QUIT  \t"), Ok(Command::Quit));
        assert_eq!(parse("QUIT now"), Err(Syntax::UnexpectedArgument));
        assert_eq!(parse("EHLO"), Err(Syntax::ArgumentMissing));
        assert_eq!(parse("STARTTLS now"), Err(Syntax::UnexpectedArgument));
        assert_eq!(parse(" NOOP"), Err(Syntax::UnknownCommand));
        assert_eq!(parse(""), Err(Syntax::UnknownCommand));
    }

    // [SMTP-BASE-03] [SMTP-SMUG-03]
    #[test]
    fn control_characters_are_refused() {
        assert_eq!(parse("NOOP\nQUIT"), Err(Syntax::UnknownCommand));
        assert_eq!(parse("QUIT\n"), Err(Syntax::UnknownCommand));
        for character in ['\0', '\r', '\n', '\t', '\x7f'] {
            assert_eq!(
                parse(&format!("RCPT TO:<a{character}@b.example>")),
                Err(Syntax::ControlCharacter)
            );
            assert_eq!(
                parse(&format!("NOOP {character}x")),
                Err(Syntax::ControlCharacter)
            );
        }
    }

    // [SMTP-UTF8-03] the name in EHLO is ASCII.
    #[test]
    fn the_name_is_one_word_of_ascii() {
        assert_eq!(
            parse("EHLO my_pc"),
            Ok(Command::Hello {
                name: "my_pc".into(),
                extended: true
            })
        );
        assert_eq!(
            parse("HELO [192.0.2.1]"),
            Ok(Command::Hello {
                name: "[192.0.2.1]".into(),
                extended: false
            })
        );
        assert_eq!(parse("EHLO häuschen.example"), Err(Syntax::BadArgument));
        assert_eq!(parse("EHLO a b"), Err(Syntax::BadArgument));
        assert!(parse(&format!("EHLO {}", "x".repeat(255))).is_ok());
        assert!(parse(&format!("EHLO {}", "x".repeat(256))).is_err());
    }

    #[test]
    fn paths_stand_directly_behind_the_colon() {
        assert!(parse("MAIL FROM:<>").is_ok());
        assert!(parse("mail from:<a@b.example>").is_ok());
        assert_eq!(
            parse("MAIL FROM: <a@b.example>"),
            Err(Syntax::BadReversePath)
        );
        assert_eq!(parse("MAIL FROM:a@b.example"), Err(Syntax::BadReversePath));
        assert_eq!(parse("MAIL <a@b.example>"), Err(Syntax::BadReversePath));
        assert_eq!(parse("RCPT TO:<>"), Err(Syntax::BadForwardPath));
        assert_eq!(parse("RCPT TO: <a@b.example>"), Err(Syntax::BadForwardPath));
        assert_eq!(
            parse("MAIL FROM:<a@b.example>SIZE=1"),
            Err(Syntax::BadReversePath)
        );
        let (row, argument) = split(b"MAIL FROM: <a@b.example>").unwrap();
        assert!(
            Command::parse(
                row,
                argument,
                Tolerance {
                    quirk_space_before_path: true,
                    ..Tolerance::default()
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn parameters_are_those_of_the_extensions_offered() {
        let mail = parameters(" SIZE=12 BODY=8bitmime SMTPUTF8 AUTH=a+40b.example").unwrap();
        assert_eq!(
            (mail.size, mail.body, mail.smtputf8),
            (Some(12), Body::EightBitMime, true)
        );
        assert_eq!(
            parameters(" SIZE=99999999999999999999").unwrap().size,
            Some(u64::MAX)
        );
        for bad in [
            " SIZE",
            " SIZE=",
            " SIZE=1x",
            " SIZE=+1",
            " SIZE=1 size=2",
            " BODY=9BIT",
            " BODY",
            " SMTPUTF8=1",
            " AUTH=",
            " AUTH=a+4",
        ] {
            assert_eq!(parameters(bad), Err(Syntax::BadParameter), "{bad}");
        }
        for unknown in [
            " RET=FULL",
            " BODY=BINARYMIME",
            " REQUIRETLS",
            " X=1",
            " =1",
        ] {
            assert_eq!(
                parameters(unknown),
                Err(Syntax::UnknownParameter),
                "{unknown}"
            );
        }
        assert_eq!(
            parse("RCPT TO:<a@b.example> NOTIFY=NEVER"),
            Err(Syntax::UnknownParameter)
        );
    }

    // [SMTP-DSN-01] [SMTP-CHUNK-03] known where they are offered, and refused when they break the grammar or stand twice.
    #[test]
    fn notifications_and_binary_content_where_they_are_offered() {
        let offered = Tolerance {
            dsn: true,
            binary: true,
            ..Tolerance::default()
        };
        let parse = |line: &str| {
            let (row, argument) = split(line.as_bytes())?;
            Command::parse(row, argument, offered)
        };
        let Ok(Command::Mail(mail)) =
            parse("MAIL FROM:<a@b.example> ENVID=x RET=hdrs BODY=BINARYMIME")
        else {
            panic!("not taken")
        };
        assert_eq!(mail.body, Body::BinaryMime);
        assert_eq!(mail.dsn.envelope_id.as_deref(), Some("x"));
        let Ok(Command::Rcpt(rcpt)) =
            parse("RCPT TO:<a@b.example> notify=never ORCPT=rfc822;c@d.example")
        else {
            panic!("not taken")
        };
        assert_eq!(rcpt.dsn.notify, Some(dsn::Notify::Never));
        for bad in [
            "MAIL FROM:<a@b.example> RET=HDRS RET=HDRS",
            "MAIL FROM:<a@b.example> RET=ALL",
            "RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY",
            "RCPT TO:<a@b.example> NOTIFY=NEVER NOTIFY=NEVER",
        ] {
            assert_eq!(parse(bad), Err(Syntax::BadParameter), "{bad}");
        }
        assert_eq!(
            parse("RCPT TO:<a@b.example> RET=FULL"),
            Err(Syntax::UnknownParameter)
        );
        assert_eq!(
            parse("MAIL FROM:<a@b.example> NOTIFY=NEVER"),
            Err(Syntax::UnknownParameter)
        );
    }

    // [SMTP-AUTH-08] whatever it says, nothing of it is kept.
    #[test]
    fn the_auth_parameter_is_not_believed() {
        let plain = parameters("").unwrap();
        assert_eq!(parameters(" AUTH=<>").unwrap(), plain);
        assert_eq!(parameters(" AUTH=ceo@b.example").unwrap(), plain);
    }

    #[test]
    fn chunks_are_counted_in_decimal() {
        assert_eq!(
            parse("BDAT 0 LAST"),
            Ok(Command::Bdat(Chunk {
                octets: 0,
                last: true
            }))
        );
        assert_eq!(
            parse("BDAT 86 last"),
            Ok(Command::Bdat(Chunk {
                octets: 86,
                last: true
            }))
        );
        assert_eq!(
            parse("BDAT 1000"),
            Ok(Command::Bdat(Chunk {
                octets: 1000,
                last: false
            }))
        );
        for bad in [
            "BDAT x",
            "BDAT -1",
            "BDAT 1 FIRST",
            "BDAT 1 LAST LAST",
            "BDAT LAST",
        ] {
            assert_eq!(parse(bad), Err(Syntax::BadArgument), "{bad}");
        }
    }

    #[test]
    fn not_utf8_is_refused() {
        let (row, argument) = split(b"RCPT TO:<a\xff@b.example>").unwrap();
        assert_eq!(
            Command::parse(row, argument, Tolerance::default()),
            Err(Syntax::NotUtf8)
        );
    }
}
