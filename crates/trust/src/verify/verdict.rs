//! What the judge found: one outcome, and every check it rests on.
//!
//! `Verified(by)` is said only when each check of that way passed, or does not apply; the one thing that may stay unknown is
//! the status of revocation, and only under [`super::RevocationMode::Soft`]. Everything else is `Unverified`, with the reasons.

use std::fmt;

use super::reason::Reason;

/// By what the peer is known to be whom policy wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerifiedBy {
    /// A trusted authority (RFC 5280, RFC 9525).
    Pkix,
    /// TLSA records under DNSSEC (RFC 7671, RFC 7672).
    Dane,
    /// A trusted authority and the policy of the recipient's domain (RFC 8461).
    MtaSts,
    /// A pin the user had configured.
    Pin,
}

impl VerifiedBy {
    /// The word for logs and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pkix => "PKIX",
            Self::Dane => "DANE",
            Self::MtaSts => "MTA-STS",
            Self::Pin => "pin",
        }
    }
}

impl fmt::Display for VerifiedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The peer is whom policy wants, known by this.
    Verified(VerifiedBy),
    /// It is not known who the peer is.
    Unverified,
}

/// What a check looks at. The order is that of importance: the first failure names the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Each certificate is signed by the next, up to a trusted one.
    Chain,
    /// The algorithms of the signatures.
    Signature,
    /// Kind and size of the keys.
    Key,
    /// The time now is within the certificates' life.
    Dates,
    /// The certificates are for what they are used for.
    Usage,
    /// The certificate presents a name the peer is expected to have.
    Name,
    /// TLSA records match.
    Dane,
    /// No certificate of the chain has been revoked.
    Revocation,
    /// The OCSP answer the server sent along.
    Staple,
    /// A certificate that must come with an OCSP answer does.
    MustStaple,
    /// The configured pins match.
    Pins,
}

impl Kind {
    /// A word for tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Signature => "signature",
            Self::Key => "key",
            Self::Dates => "dates",
            Self::Usage => "usage",
            Self::Name => "name",
            Self::Dane => "dane",
            Self::Revocation => "revocation",
            Self::Staple => "staple",
            Self::MustStaple => "must-staple",
            Self::Pins => "pins",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Looked at and good.
    Pass,
    /// Looked at and bad.
    Fail(Reason),
    /// Could not be looked at.
    Unknown(Reason),
    /// There is nothing to look at.
    NotApplicable,
}

impl Status {
    /// The reason, where there is one.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Fail(reason) | Self::Unknown(reason) => Some(reason),
            Self::Pass | Self::NotApplicable => None,
        }
    }

    /// A word for tables and JSON.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Unknown(_) => "unknown",
            Self::NotApplicable => "not applicable",
        }
    }

    pub(crate) fn of(result: Result<(), Reason>) -> Self {
        match result {
            Ok(()) => Self::Pass,
            Err(reason) => Self::Fail(reason),
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub kind: Kind,
    /// How it ended.
    pub status: Status,
}

impl Check {
    pub(crate) fn new(kind: Kind, status: Status) -> Self {
        Self { kind, status }
    }

    /// Whether the check does not stand in the way of `Verified`.
    pub(crate) fn is_good(&self) -> bool {
        match self.status {
            Status::Pass | Status::NotApplicable => true,
            Status::Fail(_) => false,
            // What may stay open: a status of revocation (hard mode makes it a failure), a responder that did not answer,
            // pins that are only reported.
            Status::Unknown(_) => matches!(self.kind, Kind::Revocation | Kind::Staple | Kind::Pins),
        }
    }
}

/// A list of revoked certificates that would settle the status of a certificate of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CrlUrl {
    /// Where it is; always `http:`, for the list is signed, and `https:` would ask for the status of another certificate.
    pub url: String,
    /// Which certificate wants it: 0 is the server's.
    pub position: usize,
}

/// The judge's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// The checks of the way that led to the outcome, or of all ways that failed, most important first.
    pub checks: Vec<Check>,
    pub(crate) wants: Vec<CrlUrl>,
    pub(crate) waits: bool,
    pub(crate) excepted: bool,
}

impl Verdict {
    pub(crate) fn unverified(kind: Kind, reason: Reason) -> Self {
        Self {
            outcome: Outcome::Unverified,
            checks: vec![Check::new(kind, Status::Fail(reason))],
            wants: Vec::new(),
            waits: false,
            excepted: false,
        }
    }

    /// By what the peer is verified, if it is.
    pub fn verified(&self) -> Option<VerifiedBy> {
        match self.outcome {
            Outcome::Verified(by) => Some(by),
            Outcome::Unverified => None,
        }
    }

    /// The most important reason why the peer is not verified.
    pub fn reason(&self) -> Option<&Reason> {
        if self.verified().is_some() {
            return None;
        }
        let bad = self.checks.iter().filter(|it| !it.is_good());
        // What nobody could tell stands behind what is known to be wrong.
        let weight = |it: &&Check| match &it.status {
            Status::Fail(Reason::StatusUnknown { .. }) => 1,
            Status::Fail(_) => 0,
            _ => 2,
        };
        bad.min_by_key(weight).and_then(|it| it.status.reason())
    }

    /// The status of one check; none when this verdict did not need it.
    pub fn status(&self, kind: Kind) -> Option<&Status> {
        let check = self.checks.iter().find(|it| it.kind == kind);
        check.map(|it| &it.status)
    }

    /// Revocation lists that would settle what is unknown. To be fetched after the handshake, and given back through
    /// [`super::Attempt::rejudge`].
    pub fn wants_crls(&self) -> &[CrlUrl] {
        &self.wants
    }

    /// Whether all that keeps the peer from being verified is a status of revocation that could still be fetched. The
    /// handshake goes on then, but nothing may be entrusted to the peer before [`super::Attempt::rejudge`].
    pub fn waits_for_crls(&self) -> bool {
        self.waits
    }

    /// Whether the user has made an exception for this certificate (RFC 8314 5.4). It is not verified by that.
    /// [PIN-01] [CONF-12]
    pub fn is_excepted(&self) -> bool {
        self.excepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_stands_in_the_way_but_for_three_things() {
        use Kind::{
            Chain, Dane, Dates, Key, MustStaple, Name, Pins, Revocation, Signature, Staple, Usage,
        };
        let is_good = |kind, status| Check::new(kind, status).is_good();
        for kind in [Chain, Signature, Key, Dates, Usage, Name, Dane, MustStaple] {
            assert!(
                !is_good(kind, Status::Unknown(Reason::NotTested)),
                "{kind:?}"
            );
        }
        for kind in [Revocation, Staple, Pins] {
            assert!(
                is_good(kind, Status::Unknown(Reason::NotTested)),
                "{kind:?}"
            );
            assert!(!is_good(kind, Status::Fail(Reason::NotTested)), "{kind:?}");
        }
    }
}
