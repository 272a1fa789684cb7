//! What is known about an answer: the four states of RFC 4035 4.3, with reasons.

use std::fmt;
use std::time::Duration;

use super::name::Name;

/// The state of an answer as a whole: the weakest of its parts.
///
/// [`Status::Bogus`] and [`Status::Indeterminate`] are treated alike by every policy (RFC 7672 2.1.1) and never carry records; they
/// are told apart for those who must find the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Signed from a trust anchor down.
    Secure,
    /// Proven to stand in an unsigned zone: DNS as it was without DNSSEC.
    Insecure,
    /// It should be signed and is not, or not rightly.
    Bogus(Bogus),
    /// It could not be found out.
    Indeterminate(Indeterminate),
}

impl Status {
    /// Whether there is an answer, signed or not.
    pub fn is_known(self) -> bool {
        matches!(self, Self::Secure | Self::Insecure)
    }

    /// The weaker of two, for answers made of parts [DNSSEC-03].
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rank = |status: &Self| match status {
            Self::Secure => 0,
            Self::Insecure => 1,
            Self::Indeterminate(_) => 2,
            Self::Bogus(_) => 3,
        };
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }

    /// The word of RFC 4033 5.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::Insecure => "insecure",
            Self::Bogus(_) => "bogus",
            Self::Indeterminate(_) => "indeterminate",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secure | Self::Insecure => f.write_str(self.word()),
            Self::Bogus(why) => write!(f, "bogus: {why}"),
            Self::Indeterminate(why) => write!(f, "indeterminate: {why}"),
        }
    }
}

/// Why something is bogus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bogus {
    /// The zone is signed, these records are not.
    SignatureMissing,
    /// A signature does not fit the records and the key.
    SignatureInvalid,
    /// The time of the signature is over.
    SignatureExpired,
    /// The time of the signature has not begun.
    SignatureNotYetValid,
    /// No key of the zone has the tag and algorithm the signature names.
    KeyMissing,
    /// No key of the zone fits the hashes its parent (or the trust anchor) has of it.
    KeyUnproven,
    /// What would prove that there is no such record is missing or does not prove it.
    DenialUnproven,
    /// A wildcard answered, but nothing proves that the name itself does not exist.
    WildcardUnproven,
}

impl fmt::Display for Bogus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignatureMissing => "the zone is signed, but there is no signature",
            Self::SignatureInvalid => "a signature is wrong",
            Self::SignatureExpired => "a signature has expired",
            Self::SignatureNotYetValid => "a signature is not valid yet",
            Self::KeyMissing => "the zone has no key for the signature",
            Self::KeyUnproven => "the parent zone does not know the keys of the zone",
            Self::DenialUnproven => "it is not proven that there is no such record",
            Self::WildcardUnproven => "it is not proven that the wildcard may answer",
        })
    }
}

/// Why nothing could be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Indeterminate {
    /// No resolver answered in time.
    Unreachable,
    /// The resolver failed or refused. A resolver that validates says so, too, for what it finds bogus.
    Refused {
        /// The response code.
        rcode: u16,
        /// The extended error, if it told one (RFC 8914).
        extended_error: Option<u16>,
    },
    /// The reply, or a record in it, cannot be read.
    Malformed,
    /// The answer wants more work than any honest one.
    TooMuchWork,
    /// CNAMEs lead on and on, or in a circle.
    TooManyAliases,
    /// No trust anchor stands above the name.
    NoTrustAnchor,
}

impl fmt::Display for Indeterminate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no resolver answered"),
            Self::Refused {
                rcode,
                extended_error,
            } => {
                match rcode {
                    2 => f.write_str("the resolver failed (SERVFAIL)")?,
                    5 => f.write_str("the resolver refused")?,
                    _ => write!(f, "the resolver answered with code {rcode}")?,
                }
                extended_error.map_or(Ok(()), |code| write!(f, ", extended error {code}"))
            }
            Self::Malformed => f.write_str("the reply cannot be read"),
            Self::TooMuchWork => f.write_str("the answer wants too much work to be honest"),
            Self::TooManyAliases => f.write_str("too many CNAME records, or a circle of them"),
            Self::NoTrustAnchor => f.write_str("no trust anchor stands above the name"),
        }
    }
}

/// How an answer says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The name exists, records of this type do not.
    NoData,
    /// The name does not exist.
    NoName,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What is known about all of it: the records, the CNAMEs that led to them, or the denial.
    pub status: Status,
    /// The records; none if the status is neither secure nor insecure.
    pub records: Vec<T>,
    /// Set if there are none, and this is known.
    pub denial: Option<Denial>,
    /// The names the CNAMEs led to, in their order; the last owns the records. Empty without CNAME.
    pub aliases: Vec<Name>,
    /// How long the answer may be kept: no record and no signature lasts shorter [DNSSEC-04].
    pub ttl: Duration,
}

impl<T> Answer<T> {
    /// An answer without records: not known, for a reason.
    pub fn unknown(status: Status) -> Self {
        Self {
            status,
            records: Vec::new(),
            denial: None,
            aliases: Vec::new(),
            ttl: Duration::ZERO,
        }
    }

    /// The name that owns the records, `asked` if there was no CNAME.
    pub fn owner<'a>(&'a self, asked: &'a Name) -> &'a Name {
        self.aliases.last().unwrap_or(asked)
    }

    /// The same answer about something made of each record. One record that yields nothing makes the whole unknown: an answer
    /// with records left out would be another answer.
    pub(crate) fn each<U>(self, make: impl FnMut(T) -> Option<U>) -> Answer<U> {
        let records = self
            .records
            .into_iter()
            .map(make)
            .collect::<Option<Vec<U>>>();
        match records {
            Some(records) => Answer {
                status: self.status,
                records,
                denial: self.denial,
                aliases: self.aliases,
                ttl: self.ttl,
            },
            None => Answer::unknown(Status::Indeterminate(Indeterminate::Malformed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_part_decides() {
        let bogus = Status::Bogus(Bogus::SignatureInvalid);
        let unknown = Status::Indeterminate(Indeterminate::Unreachable);
        let by_rank = [Status::Secure, Status::Insecure, unknown, bogus];
        for (i, left) in by_rank.iter().enumerate() {
            for (j, right) in by_rank.iter().enumerate() {
                assert_eq!(left.and(*right), by_rank[i.max(j)]);
            }
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_makes_the_answer_unknown() {
        let answer = Answer {
            status: Status::Secure,
            records: vec![1, 2],
            denial: None,
            aliases: Vec::new(),
            ttl: Duration::from_secs(1),
        };
        let half = answer
            .clone()
            .each(|number| (number == 1).then_some(number));
        assert_eq!(
            half,
            Answer::unknown(Status::Indeterminate(Indeterminate::Malformed))
        );
        assert_eq!(answer.clone().each(Some), answer);
    }
}
