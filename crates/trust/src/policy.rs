//! What a connection must be: one pure function from what is known to a decision, made before connecting.
//!
//! ```text
//!  explicit policy of the user      that, and nothing else [OS-01]
//!  otherwise, in this order
//!    DANE broken                    do not connect [DANE-01] [CONF-09]
//!    TLSA usable                    verified by DANE, or no delivery [DANE-04]; MTA-STS does not matter [STS-10]
//!    MTA-STS enforced               verified by MTA-STS; a host it does not list is never used [STS-07]
//!    TLSA there, none usable        encrypted, never clear [DANE-04]
//!    a user's client                verified by PKIX [CONF-08]
//!    else, between mail servers     opportunistic: the best there is, clear allowed [OS-01] [OS-02]
//! ```
//!
//! Memory of a peer that did TLS before turns "clear allowed" into "later" [SMTP-STARTTLS-17]. Pins are an extra condition to a
//! verified peer, never a replacement [CONF-12].

mod terms;

use std::fmt;

pub use terms::decide_for;

use crate::verify::VerifiedBy;

/// Who connects [CONF-08].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A mail server that delivers to another one.
    Relay,
    /// The client of a user: strict unless told otherwise.
    User,
}

/// What the user asked for, for this peer or for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Nothing: what DNS and HTTPS say decides.
    Default,
    /// No TLS at all.
    Off,
    /// TLS when available, no verification wanted.
    Opportunistic,
    /// TLS required, no verification wanted.
    Encrypted,
    /// TLS required, the peer verified by any of the ways there are for it.
    Verified,
    /// TLS required, the peer verified by DANE and nothing else.
    Dane,
    /// TLS required, the peer verified by PKIX and nothing else.
    Pkix,
    /// TLS required, the peer verified by the domain's MTA-STS policy and nothing else.
    MtaSts,
}

/// What DNS says about the host's certificate: [`crate::dane::Dane`] without the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DaneFact {
    /// Nothing.
    Absent,
    /// There are usable records.
    Usable,
    /// There are records, none usable.
    Unusable,
    /// It could not be found out.
    Broken,
}

/// What the domain's MTA-STS policy says about the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StsFact {
    /// There is no policy, or its mode is `none` [STS-08].
    Absent,
    /// Mode `testing`, and whether the host is listed.
    Testing {
        /// Whether a pattern matches the host.
        listed: bool,
    },
    /// Mode `enforce`, and whether the host is listed.
    Enforce {
        /// Whether a pattern matches the host.
        listed: bool,
    },
}

/// Everything known before connecting to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Who connects.
    pub role: Role,
    /// What the user asked for.
    pub asked: Asked,
    /// What DNS says.
    pub dane: DaneFact,
    /// What the domain says over HTTPS.
    pub sts: StsFact,
    /// Whether the host's name is the user's own word or came by secure DNS: only then can PKIX speak about it [ID-02].
    pub name_is_trusted: bool,
    /// Whether the user pinned keys of this peer.
    pub pinned: bool,
    /// Whether this peer did TLS before [SMTP-STARTTLS-17].
    pub did_tls: bool,
}

/// What to do about one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Do not connect to this host now; another host, or later.
    Later(Why),
    /// Never use this host while the policy stands; another host. If there is none: fetch the policy again, and then later
    /// [STS-07].
    Skip(Why),
    /// Connect.
    Connect(Connect),
}

/// Why not to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The DNS lookups for DANE failed or were tampered with.
    DaneBroken,
    /// DANE is asked for, and there are no usable TLSA records.
    DaneRequired,
    /// MTA-STS is asked for, and the domain has no enforced or tested policy that lists the host.
    MtaStsRequired,
    /// The domain's policy does not list this host.
    NotListed,
    /// Verification is asked for, but the host's name came by insecure DNS, and nothing else can verify it.
    NameNotTrusted,
    /// Pins want a verified peer, and the connection would not verify it.
    PinsWantVerification,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DaneBroken => "the DNS answers about the host's certificate failed or are bogus",
            Self::DaneRequired => "DANE is required, and the host has no usable TLSA record",
            Self::MtaStsRequired => {
                "MTA-STS is required, and no policy of the domain lists the host"
            }
            Self::NotListed => "the domain's MTA-STS policy does not list the host",
            Self::NameNotTrusted => {
                "the host's name came by unsigned DNS, so no certificate can prove it right"
            }
            Self::PinsWantVerification => {
                "keys are pinned for the peer, but TLS without verification is asked for"
            }
        })
    }
}

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connect {
    /// The least the connection must be.
    pub floor: Floor,
    /// How the peer may be verified. Below the floor [`Floor::Verified`], what is worth trying for the report.
    pub by: By,
    /// Whether pins must match besides.
    pub pins: bool,
}

/// The least a connection must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Floor {
    /// Verified, or nothing.
    Verified,
    /// Encrypted; the certificate does not matter [OS-02].
    Encrypted,
    /// Encrypted if it can be; a bad certificate does not matter [OS-02]. The rest by [`Fallback`].
    Opportunistic(Fallback),
    /// No TLS is tried.
    Clear,
}

/// What an opportunistic client does when the peer offers no TLS, refuses it, or fails in the handshake [SMTP-STARTTLS-18] [OS-03].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// Clear text. After a failed handshake on a new connection. To be logged, counted and remembered.
    Clear,
    /// Later, with a warning: this peer did TLS before [SMTP-STARTTLS-17].
    Later,
}

/// How a peer may be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// Not at all.
    Nothing,
    /// By this alone.
    One(VerifiedBy),
    /// By MTA-STS or, the same check on a name trusted otherwise, PKIX.
    StsOrPkix,
}

/// Decides about one host.
pub fn decide(facts: Facts) -> Decision {
    match facts.asked {
        Asked::Default => default(facts),
        // [OS-01] an explicit policy outranks what the peer publishes
        Asked::Off => unverified(facts, Floor::Clear),
        Asked::Opportunistic => unverified(facts, Floor::Opportunistic(fallback(facts))),
        Asked::Encrypted => unverified(facts, Floor::Encrypted),
        Asked::Dane => match facts.dane {
            DaneFact::Usable => verified(facts, By::One(VerifiedBy::Dane)),
            DaneFact::Broken => Decision::Later(Why::DaneBroken),
            // [DANE-05] mandatory DANE without it: later
            DaneFact::Absent | DaneFact::Unusable => Decision::Later(Why::DaneRequired),
        },
        Asked::Pkix if facts.name_is_trusted => verified(facts, By::One(VerifiedBy::Pkix)),
        Asked::Pkix => Decision::Later(Why::NameNotTrusted),
        Asked::MtaSts => match facts.sts {
            StsFact::Testing { listed: true } | StsFact::Enforce { listed: true } => {
                verified(facts, By::One(VerifiedBy::MtaSts))
            }
            StsFact::Enforce { listed: false } => Decision::Skip(Why::NotListed),
            _ => Decision::Later(Why::MtaStsRequired),
        },
        Asked::Verified => any_way(facts),
    }
}

fn default(facts: Facts) -> Decision {
    // [CONF-09] [STS-10] DANE first: MTA-STS cannot help a host that fails it
    match (facts.dane, facts.sts) {
        (DaneFact::Broken, _) => Decision::Later(Why::DaneBroken),
        // [DANE-04] usable records: verified by them, or no delivery
        (DaneFact::Usable, _) => verified(facts, By::One(VerifiedBy::Dane)),
        // [STS-07] a host that is not listed is never used
        (_, StsFact::Enforce { listed: false }) => Decision::Skip(Why::NotListed),
        (_, StsFact::Enforce { listed: true }) => verified(facts, By::One(VerifiedBy::MtaSts)),
        // [CONF-08] a user's client does not deliver to whoever answers
        _ if facts.role == Role::User => user_default(facts),
        _ if facts.pinned => any_way(facts),
        // [DANE-04] records, but none usable: never clear
        (DaneFact::Unusable, _) => connect(facts, Floor::Encrypted),
        (DaneFact::Absent, _) => connect(facts, Floor::Opportunistic(fallback(facts))),
    }
}

fn user_default(facts: Facts) -> Decision {
    if facts.name_is_trusted {
        verified(facts, By::One(VerifiedBy::Pkix))
    } else {
        Decision::Later(Why::NameNotTrusted)
    }
}

/// Verified, by whatever there is.
fn any_way(facts: Facts) -> Decision {
    let listed = matches!(
        facts.sts,
        StsFact::Testing { listed: true } | StsFact::Enforce { listed: true }
    );
    match facts.dane {
        DaneFact::Broken => Decision::Later(Why::DaneBroken),
        DaneFact::Usable => verified(facts, By::One(VerifiedBy::Dane)),
        _ if facts.sts == StsFact::Enforce { listed: false } => Decision::Skip(Why::NotListed),
        _ if listed && facts.name_is_trusted => verified(facts, By::StsOrPkix),
        _ if listed => verified(facts, By::One(VerifiedBy::MtaSts)),
        _ => user_default(facts),
    }
}

fn verified(facts: Facts, by: By) -> Decision {
    Decision::Connect(Connect {
        floor: Floor::Verified,
        by,
        pins: facts.pinned,
    })
}

/// An explicit wish for less than verification. Pins are an explicit wish, too: both at once is a contradiction, and is not guessed
/// at [CONF-12].
fn unverified(facts: Facts, floor: Floor) -> Decision {
    if facts.pinned {
        Decision::Later(Why::PinsWantVerification)
    } else {
        connect(facts, floor)
    }
}

fn connect(facts: Facts, floor: Floor) -> Decision {
    Decision::Connect(Connect {
        floor,
        by: worth_trying(facts, floor),
        pins: false,
    })
}

/// How the peer may turn out verified although it need not. Never a word that is not true: without a way there is none [OS-04].
fn worth_trying(facts: Facts, floor: Floor) -> By {
    match (floor, facts.dane, facts.sts) {
        (Floor::Clear, ..) => By::Nothing,
        (_, DaneFact::Usable, _) => By::One(VerifiedBy::Dane),
        (_, _, StsFact::Testing { listed: true } | StsFact::Enforce { listed: true }) => {
            By::One(VerifiedBy::MtaSts)
        }
        _ if facts.name_is_trusted => By::One(VerifiedBy::Pkix),
        _ => By::Nothing,
    }
}

/// [OS-03] clear text only where no policy speaks, and not to a peer that could do better before
fn fallback(facts: Facts) -> Fallback {
    if facts.did_tls {
        Fallback::Later
    } else {
        Fallback::Clear
    }
}

impl Connect {
    /// Whether a user may log in on a connection that is as the floor wants: only if it is verified, whatever was asked [CONF-08].
    pub fn may_log_in(&self) -> bool {
        self.floor == Floor::Verified
    }
}

#[cfg(test)]
mod tests;
