//! What the server says it can do (RFC 5321 4.1.1.1), as the client understands it.

use super::reply::Reply;
use crate::sasl::Mechanism;
use crate::smtp::path::ForwardPath;

/// The reply to EHLO or LHLO, understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of its own"
)]
pub struct Capabilities {
    /// Every line behind the first, as it came. Not safe to print.
    pub keywords: Vec<Vec<u8>>,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// BINARYMIME (RFC 3030).
    pub binary: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// SIZE (RFC 1870): offered, and the limit in octets if there is one.
    pub size: Option<Option<u64>>,
    /// The mechanisms of AUTH that we speak too (RFC 4954).
    pub mechanisms: Vec<Mechanism>,
    /// All names behind AUTH.
    pub auth: Vec<u8>,
    /// LIMITS (RFC 9422).
    pub limits: Limits,
}

/// Limits of the server (RFC 9422).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Transactions in a session (MAILMAX).
    pub transactions: Option<u32>,
    /// Recipients in a transaction (RCPTMAX).
    pub recipients: Option<u32>,
    /// Domains among the recipients of a transaction (RCPTDOMAINMAX).
    pub domains: Option<u32>,
}

impl Capabilities {
    pub(super) fn read(reply: &Reply) -> Self {
        let mut this = Self::default();
        for line in reply.lines.iter().skip(1) {
            this.keyword(line);
            this.keywords.push(line.clone());
        }
        this
    }

    fn keyword(&mut self, line: &[u8]) {
        let mut words = line.split(|it| *it == b' ').filter(|it| !it.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        match keyword.as_slice() {
            b"STARTTLS" => self.starttls = true,
            b"PIPELINING" => self.pipelining = true,
            b"CHUNKING" => self.chunking = true,
            b"8BITMIME" => self.eight_bit = true,
            b"SMTPUTF8" => self.utf8 = true,
            b"BINARYMIME" => self.binary = true,
            b"DSN" => self.dsn = true,
            b"SIZE" => self.size = Some(words.next().and_then(decimal).filter(|it| *it > 0)),
            b"AUTH" => words.for_each(|word| self.mechanism(word)),
            b"LIMITS" => self.limits = Limits::read(words).unwrap_or_default(),
            keyword => {
                // An old form that some servers still write beside the new one.
                if let Some(first) = keyword.strip_prefix(b"AUTH=") {
                    self.mechanism(first);
                    words.for_each(|word| self.mechanism(word));
                }
            }
        }
    }

    fn mechanism(&mut self, name: &[u8]) {
        if !self.auth.is_empty() {
            self.auth.push(b' ');
        }
        self.auth.extend_from_slice(name);
        let known = Mechanism::from_name(name);
        self.mechanisms
            .extend(known.filter(|it| !self.mechanisms.contains(it)));
    }

    /// Whether a keyword looks overwritten (`XXXXXXXA`, `XXXXXXXX`), as some firewalls do to STARTTLS.
    pub fn looks_masked(&self) -> bool {
        // [SMTP-STARTTLS-22]
        self.keywords.iter().any(|it| keyword_looks_masked(it))
    }
}

/// Whether one line behind the first looks overwritten.
pub fn keyword_looks_masked(keyword: &[u8]) -> bool {
    keyword.len() >= 8 && keyword.starts_with(b"XXXXXXX")
}

impl Limits {
    /// [SMTP-LIM-02] A syntax error makes the whole keyword void; a bad value only that limit; unknown names are passed over.
    fn read<'a>(words: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut limits = Self::default();
        for word in words {
            let at = word.iter().position(|it| *it == b'=')?;
            let (name, value) = (word.get(..at)?, word.get(at + 1..)?);
            let is_name = !name.is_empty()
                && name
                    .iter()
                    .all(|it| it.is_ascii_alphanumeric() || *it == b'-' || *it == b'_');
            let is_value = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
            if !is_name || !is_value {
                return None;
            }
            let number = decimal(value)
                .filter(|it| value.len() <= 6 && *it > 0 && value.first() != Some(&b'0'))
                .and_then(|it| u32::try_from(it).ok());
            match name.to_ascii_uppercase().as_slice() {
                b"MAILMAX" => limits.transactions = number,
                b"RCPTMAX" => limits.recipients = number,
                b"RCPTDOMAINMAX" => limits.domains = number,
                _ => {}
            }
        }
        Some(limits)
    }

    /// Divides recipients into groups that keep the limits, in the order given.
    pub fn divide(&self, recipients: Vec<ForwardPath>) -> Vec<Vec<ForwardPath>> {
        // [SMTP-LIM-03]
        let mut groups: Vec<Vec<ForwardPath>> = Vec::new();
        for recipient in recipients {
            let fits = groups
                .last()
                .is_some_and(|group| self.has_room(group, &recipient));
            match groups.last_mut().filter(|_| fits) {
                Some(group) => group.push(recipient),
                None => groups.push(vec![recipient]),
            }
        }
        groups
    }

    fn has_room(&self, group: &[ForwardPath], recipient: &ForwardPath) -> bool {
        let below = |limit: Option<u32>, count: usize| {
            limit.is_none_or(|it| usize::try_from(it).is_ok_and(|it| count < it))
        };
        let mut domains: Vec<String> = group.iter().map(domain).collect();
        domains.sort_unstable();
        domains.dedup();
        let known = domains.contains(&domain(recipient));
        below(self.recipients, group.len()) && (known || below(self.domains, domains.len()))
    }

    /// Whether recipients keep the limits of one transaction.
    pub(super) fn allow(&self, recipients: &[ForwardPath]) -> bool {
        let (last, rest) = match recipients.split_last() {
            _ if self.recipients.is_none() && self.domains.is_none() => return true,
            None => return true,
            Some(split) => split,
        };
        self.has_room(rest, last)
    }
}

fn domain(recipient: &ForwardPath) -> String {
    recipient.0.domain.to_ascii_lowercase()
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()?
        .parse()
        .ok()
        .filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Capabilities {
        let lines = std::iter::once("mx.gatepost.test").chain(lines.iter().copied());
        Capabilities::read(&Reply {
            code: 250,
            lines: lines.map(|it| it.as_bytes().to_vec()).collect(),
        })
    }

    #[test]
    fn keywords_in_any_case() {
        use Mechanism::{Login, Plain, ScramSha256};

        let it = read(&[
            "starttls",
            "Size 1000",
            "AUTH PLAIN SCRAM-SHA-256 X-OWN",
            "AUTH=LOGIN",
            "8BITMIME",
        ]);
        assert!(it.starttls && it.eight_bit && !it.pipelining);
        assert_eq!(it.size, Some(Some(1000)));
        assert_eq!(it.mechanisms, [Plain, ScramSha256, Login]);
        assert_eq!(read(&["SIZE"]).size, Some(None));
        assert_eq!(read(&["SIZE 0"]).size, Some(None));
        assert_eq!(read(&["SIZE x"]).size, Some(None));
        assert_eq!(read(&[]).size, None);
    }

    #[test]
    fn masked_keywords_are_noticed() {
        // [SMTP-STARTTLS-22]
        assert!(read(&["PIPELINING", "XXXXXXXA"]).looks_masked());
        assert!(read(&["XXXXXXXX"]).looks_masked());
        assert!(!read(&["X-EXPS", "XCLIENT NAME"]).looks_masked());
    }

    #[test]
    fn limits_good_and_bad() {
        // [SMTP-LIM-02]
        let all = |transactions, recipients, domains| Limits {
            transactions,
            recipients,
            domains,
        };
        let cases = [
            ("LIMITS RCPTMAX=20 MAILMAX=5", all(Some(5), Some(20), None)),
            ("limits rcptdomainmax=1 FUTURE=x", all(None, None, Some(1))),
            ("LIMITS RCPTMAX=0 MAILMAX=5", all(Some(5), None, None)),
            ("LIMITS RCPTMAX=05 MAILMAX=5", all(Some(5), None, None)),
            ("LIMITS RCPTMAX=1000000", Limits::default()),
            ("LIMITS RCPTMAX=20 MAILMAX", Limits::default()),
            ("LIMITS RCPTMAX=20 =5", Limits::default()),
            ("LIMITS RCPTMAX=20 MAILMAX=", Limits::default()),
            ("LIMITS", Limits::default()),
        ];
        for (line, limits) in cases {
            assert_eq!(read(&[line]).limits, limits, "{line}");
        }
    }

    #[test]
    fn recipients_are_divided_by_the_limits() {
        // [SMTP-LIM-03] five recipients, two at a time: three transactions
        let path = |text: &str| ForwardPath::parse(&format!("<{text}>")).unwrap();
        let recipients: Vec<_> = ["a@x.test", "b@x.test", "c@y.test", "d@X.test", "e@z.test"]
            .map(path)
            .into();
        let groups = |recipients_max, domains| {
            let limits = Limits {
                transactions: None,
                recipients: recipients_max,
                domains,
            };
            let groups = limits.divide(recipients.clone());
            assert!(groups.iter().all(|it| limits.allow(it)));
            groups.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(groups(Some(2), None), [2, 2, 1]);
        assert_eq!(groups(None, Some(1)), [2, 1, 1, 1]);
        assert_eq!(groups(None, None), [5]);
    }
}
