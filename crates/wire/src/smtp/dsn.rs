//! Delivery status notifications: what a sender asks to be told of a message's fate (RFC 3461 4), read and said anew [SMTP-DSN-01].
//!
//! MAIL has RET and ENVID, RCPT has NOTIFY and ORCPT. They are offered where every server behind offers them, and nowhere else: a
//! server that cannot keep the promise to the next one must not make it. What breaks the grammar is refused here, so what is said
//! to the next server is what it would itself take.

use std::fmt::Write as _;

/// The longest value of ENVID (RFC 3461 4.4) and of ORCPT (RFC 3461 4.2), as they are written.
const ENVELOPE_ID_OCTETS: usize = 100;
const ORIGINAL_OCTETS: usize = 500;

/// What is asked for a whole message, with MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfMail {
    /// RET (RFC 3461 4.3).
    pub returned: Option<Returned>,
    /// ENVID (RFC 3461 4.4), in xtext.
    pub envelope_id: Option<Box<str>>,
}

/// How much of a message comes back with the news of its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Returned {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// What is asked for one recipient, with RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfRecipient {
    /// NOTIFY (RFC 3461 4.1).
    pub notify: Option<Notify>,
    /// ORCPT (RFC 3461 4.2): address type and address, the address in xtext.
    pub original: Option<Box<str>>,
}

/// When the sender wants to hear of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notify {
    /// Never.
    Never,
    /// In these cases, at least one.
    When {
        /// When it was delivered.
        success: bool,
        /// When it could not be.
        failure: bool,
        /// When it takes long.
        delay: bool,
    },
}

/// A value that breaks the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl OfMail {
    /// Takes a parameter of MAIL, its keyword in upper case. False for one that is not of DSN.
    ///
    /// # Errors
    /// [`Malformed`] for a value that breaks the grammar.
    pub fn take(&mut self, keyword: &str, value: Option<&str>) -> Result<bool, Malformed> {
        match (keyword, value) {
            ("RET", Some(value)) => self.returned = Some(Returned::read(value).ok_or(Malformed)?),
            ("ENVID", Some(value)) if is_envelope_id(value) => {
                self.envelope_id = Some(value.into());
            }
            ("RET" | "ENVID", _) => return Err(Malformed),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts the parameters behind a MAIL command.
    pub fn write(&self, line: &mut String) {
        match self.returned {
            Some(Returned::Full) => line.push_str(" RET=FULL"),
            Some(Returned::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(id) = &self.envelope_id {
            // Writing to a string cannot fail.
            let _ = write!(line, " ENVID={id}");
        }
    }
}

impl Returned {
    fn read(value: &str) -> Option<Self> {
        match () {
            () if value.eq_ignore_ascii_case("FULL") => Some(Self::Full),
            () if value.eq_ignore_ascii_case("HDRS") => Some(Self::Headers),
            () => None,
        }
    }
}

impl OfRecipient {
    /// Takes a parameter of RCPT, its keyword in upper case. False for one that is not of DSN.
    ///
    /// # Errors
    /// [`Malformed`] for a value that breaks the grammar.
    pub fn take(&mut self, keyword: &str, value: Option<&str>) -> Result<bool, Malformed> {
        match (keyword, value) {
            ("NOTIFY", Some(value)) => self.notify = Some(Notify::read(value).ok_or(Malformed)?),
            ("ORCPT", Some(value)) if is_original(value) => self.original = Some(value.into()),
            ("NOTIFY" | "ORCPT", _) => return Err(Malformed),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can be said without SMTPUTF8 (RFC 6533 3).
    pub fn is_ascii(&self) -> bool {
        self.original.as_deref().is_none_or(str::is_ascii)
    }

    /// Puts the parameters behind a RCPT command.
    pub fn write(&self, line: &mut String) {
        if let Some(notify) = self.notify {
            let _ = write!(line, " NOTIFY={}", notify.words());
        }
        if let Some(original) = &self.original {
            let _ = write!(line, " ORCPT={original}");
        }
    }
}

impl Notify {
    fn read(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in value.split(',') {
            match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => success = true,
                "FAILURE" => failure = true,
                "DELAY" => delay = true,
                // NEVER stands alone.
                _ => return None,
            }
        }
        Some(Self::When {
            success,
            failure,
            delay,
        })
    }

    fn words(self) -> String {
        let Self::When {
            success,
            failure,
            delay,
        } = self
        else {
            return "NEVER".to_owned();
        };
        let words = [("SUCCESS", success), ("FAILURE", failure), ("DELAY", delay)];
        let said: Vec<_> = words.iter().filter(|it| it.1).map(|it| it.0).collect();
        said.join(",")
    }
}

/// RFC 3461 4.4: xtext of printable characters.
fn is_envelope_id(value: &str) -> bool {
    value.len() <= ENVELOPE_ID_OCTETS && value.is_ascii() && is_printable_xtext(value)
}

/// RFC 3461 4.2, and RFC 6533 3 for addresses of type `utf-8`, which may stand there as they are.
fn is_original(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    let is_atom = !kind.is_empty()
        && kind
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~".contains(&it));
    let international = kind.eq_ignore_ascii_case("utf-8");
    value.len() <= ORIGINAL_OCTETS
        && is_atom
        && (address.is_ascii() || international)
        && !address.chars().any(char::is_control)
        && is_printable_xtext(address)
}

/// Whether it is xtext, and what it stands for can be printed: a line end or a NUL in it would come out in a notification. Octets
/// over 127 are for the caller to judge.
fn is_printable_xtext(text: &str) -> bool {
    let mut decoded = text.bytes();
    while let Some(octet) = decoded.next() {
        let value = match octet {
            b'+' => match (
                decoded.next().and_then(hexadecimal),
                decoded.next().and_then(hexadecimal),
            ) {
                (Some(high), Some(low)) => high * 16 + low,
                _ => return false,
            },
            b'=' | b' ' => return false,
            other if other >= 0x80 => continue,
            other => other,
        };
        if !matches!(value, 0x20..=0x7e) {
            return false;
        }
    }
    !text.is_empty()
}

/// Only digits and upper case count (RFC 3461 4).
fn hexadecimal(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(parameters: &[(&str, &str)]) -> Result<String, Malformed> {
        let mut dsn = OfMail::default();
        for (keyword, value) in parameters {
            assert!(dsn.take(keyword, Some(value))?);
        }
        let mut line = String::new();
        dsn.write(&mut line);
        Ok(line)
    }

    fn recipient(parameters: &[(&str, &str)]) -> Result<String, Malformed> {
        let mut dsn = OfRecipient::default();
        for (keyword, value) in parameters {
            assert!(dsn.take(keyword, Some(value))?);
        }
        let mut line = String::new();
        dsn.write(&mut line);
        Ok(line)
    }

    // [SMTP-DSN-01] the examples of RFC 3461 10, as they stand there.
    #[test]
    fn what_is_asked_is_said_anew() {
        assert_eq!(
            mail(&[("RET", "HDRS"), ("ENVID", "QQ314159")]).as_deref(),
            Ok(" RET=HDRS ENVID=QQ314159")
        );
        assert_eq!(mail(&[("RET", "full")]).as_deref(), Ok(" RET=FULL"));
        assert_eq!(
            recipient(&[("NOTIFY", "SUCCESS"), ("ORCPT", "rfc822;Bob@Example.COM")]).as_deref(),
            Ok(" NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM")
        );
        assert_eq!(
            recipient(&[("NOTIFY", "delay,Failure")]).as_deref(),
            Ok(" NOTIFY=FAILURE,DELAY")
        );
        assert_eq!(
            recipient(&[("NOTIFY", "NEVER"), ("ORCPT", "rfc822;a+2Bb@c.example")]).as_deref(),
            Ok(" NOTIFY=NEVER ORCPT=rfc822;a+2Bb@c.example")
        );
        assert!(OfMail::default().is_empty() && OfRecipient::default().is_empty());
    }

    // [SMTP-DSN-01] what the next server would not take, or what could say more in a notification.
    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for (keyword, value) in [
            ("RET", "BODY"),
            ("RET", ""),
            ("ENVID", ""),
            ("ENVID", "a=b"),
            ("ENVID", "a+0D+0AX"),
            ("ENVID", "a+00"),
            ("ENVID", "a+2b"),
            ("ENVID", "a+4"),
            ("ENVID", "é"),
            ("ENVID", &"x".repeat(101)),
        ] {
            assert_eq!(
                mail(&[(keyword, value)]),
                Err(Malformed),
                "{keyword}={value}"
            );
        }
        for (keyword, value) in [
            ("NOTIFY", ""),
            ("NOTIFY", "ALWAYS"),
            ("NOTIFY", "NEVER,SUCCESS"),
            ("NOTIFY", "SUCCESS,"),
            ("ORCPT", "a@b.example"),
            ("ORCPT", ";a@b.example"),
            ("ORCPT", "rfc822;"),
            ("ORCPT", "rfc 822;a"),
            ("ORCPT", "rfc822;a@b.example+0ARCPT"),
            ("ORCPT", "rfc822;a=b@c.example"),
            ("ORCPT", "rfc822;ä@b.example"),
            ("ORCPT", "utf-8;\u{85}@b.example"),
            ("ORCPT", &format!("rfc822;{}", "x".repeat(500))),
        ] {
            assert_eq!(
                recipient(&[(keyword, value)]),
                Err(Malformed),
                "{keyword}={value}"
            );
        }
        assert_eq!(OfMail::default().take("RET", None), Err(Malformed));
        assert_eq!(OfRecipient::default().take("NOTIFY", None), Err(Malformed));
        assert_eq!(OfMail::default().take("NOTIFY", Some("NEVER")), Ok(false));
        assert_eq!(OfRecipient::default().take("RET", Some("FULL")), Ok(false));
    }

    // RFC 6533 3
    #[test]
    fn international_addresses_stand_as_they_are() {
        let mut dsn = OfRecipient::default();
        assert_eq!(dsn.take("ORCPT", Some("utf-8;ä@b.example")), Ok(true));
        assert!(!dsn.is_ascii());
        assert_eq!(dsn.take("ORCPT", Some(r"utf-8;\x{E4}@b.example")), Ok(true));
        assert!(dsn.is_ascii());
    }
}
