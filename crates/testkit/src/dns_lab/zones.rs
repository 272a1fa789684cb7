//! What the zones of the lab are: good ones of several kinds, and one for each way to be broken.

use std::borrow::Cow;

/// One zone.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Its name, absolute.
    pub name: &'static str,
    /// Its records besides SOA and NS, with names relative to it.
    pub records: Cow<'static, str>,
    /// How it is signed.
    pub signing: Signing,
    /// What its parent says about its keys.
    pub ds: Ds,
    /// What is broken afterwards.
    pub fault: Fault,
}

/// How a zone is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// Not.
    Unsigned,
    /// With keys of this algorithm, by the name `ldns-keygen` has for it.
    Signed(&'static str, Denial),
}

/// How a zone denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// NSEC.
    Nsec,
    /// NSEC3 with so many more rounds.
    Nsec3(u16),
    /// NSEC3 with opt-out.
    OptOut,
}

/// What the parent says about a child's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ds {
    /// The truth.
    Right,
    /// Nothing.
    Absent,
    /// The hash of another key.
    Wrong,
    /// A hash for an algorithm nobody knows.
    UnknownAlgorithm,
    /// A hash of a kind nobody knows.
    UnknownDigest,
}

/// What is broken in a signed zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The signatures' time is over.
    Expired,
    /// The signatures' time has not begun.
    Future,
    /// The data of addresses and TLSA records was changed after signing.
    Changed,
    /// The signatures of addresses and TLSA records are missing.
    Unsigned,
    /// The records are signed by a key that the zone does not have.
    OtherKey,
    /// What would prove denials is missing.
    NoDenials,
}

const RECORDS: &str = "\
@ MX 10 mx
@ MX 20 alias
@ TXT \"v=spf1 -all\" \"second\"
mx A 127.0.0.1
mx AAAA ::1
www A 127.0.0.2
_25._tcp.mx TLSA 3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
alias CNAME mx
twice CNAME alias
out CNAME mx.plain.
broken CNAME mx.changed.
loop CNAME pool
pool CNAME loop
nowhere CNAME nothing
*.wild A 127.0.0.3
*.wild TXT \"wild\"
*.wildalias CNAME mx
tree DNAME wild
deep.in.the A 127.0.0.4
_imaps._tcp SRV 0 1 993 mx
_pop3s._tcp SRV 0 0 0 .
long TXT \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
long TXT \"1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
long TXT \"2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
long TXT \"3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\" \
\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
";

const fn zone(name: &'static str, signing: Signing, ds: Ds, fault: Fault) -> Zone {
    Zone {
        name,
        records: Cow::Borrowed(RECORDS),
        signing,
        ds,
        fault,
    }
}

const RSA: &str = "RSASHA256";
const P256: &str = "ECDSAP256SHA256";
const ED: &str = "ED25519";
const NSEC: Signing = Signing::Signed(P256, Denial::Nsec);

impl Zone {
    /// A zone signed with P-256 and NSEC, with these records: what a test of DANE needs beside the root.
    pub fn signed(name: &'static str, records: String) -> Self {
        Self {
            records: Cow::Owned(records),
            ..zone(name, NSEC, Ds::Right, Fault::None)
        }
    }

    /// A zone that is not signed.
    pub fn unsigned(name: &'static str, records: String) -> Self {
        Self {
            records: Cow::Owned(records),
            ..zone(name, Signing::Unsigned, Ds::Absent, Fault::None)
        }
    }

    /// The root, signed, without records of its own.
    pub fn root() -> Self {
        Self {
            records: Cow::Borrowed(""),
            ..zone(".", NSEC, Ds::Absent, Fault::None)
        }
    }
}

/// The zones the resolver is proved with. Children stand behind their parents.
pub fn standard() -> Vec<Zone> {
    use Denial::{Nsec, Nsec3, OptOut};
    use Signing::{Signed, Unsigned};
    vec![
        Zone::root(),
        zone("rsa.", Signed(RSA, Nsec), Ds::Right, Fault::None),
        zone("rsathree.", Signed(RSA, Nsec3(0)), Ds::Right, Fault::None),
        zone("ec.", Signed(P256, Nsec3(5)), Ds::Right, Fault::None),
        zone("econe.", Signed(P256, Nsec), Ds::Right, Fault::None),
        zone("ed.", Signed(ED, Nsec), Ds::Right, Fault::None),
        zone("edthree.", Signed(ED, Nsec3(1)), Ds::Right, Fault::None),
        zone("optout.", Signed(P256, OptOut), Ds::Right, Fault::None),
        zone("costly.", Signed(P256, Nsec3(400)), Ds::Right, Fault::None),
        zone("plain.", Unsigned, Ds::Absent, Fault::None),
        zone("island.", NSEC, Ds::Absent, Fault::None),
        zone("newalg.", NSEC, Ds::UnknownAlgorithm, Fault::None),
        zone("newhash.", NSEC, Ds::UnknownDigest, Fault::None),
        zone("expired.", NSEC, Ds::Right, Fault::Expired),
        zone("future.", NSEC, Ds::Right, Fault::Future),
        zone("changed.", NSEC, Ds::Right, Fault::Changed),
        zone(
            "changedrsa.",
            Signed(RSA, Nsec3(0)),
            Ds::Right,
            Fault::Changed,
        ),
        zone("changeded.", Signed(ED, Nsec), Ds::Right, Fault::Changed),
        zone("unsigned.", NSEC, Ds::Right, Fault::Unsigned),
        zone("otherkey.", NSEC, Ds::Right, Fault::OtherKey),
        zone("nodenial.", NSEC, Ds::Right, Fault::NoDenials),
        zone(
            "nodenialthree.",
            Signed(P256, Nsec3(1)),
            Ds::Right,
            Fault::NoDenials,
        ),
        zone("wrongds.", NSEC, Ds::Wrong, Fault::None),
        zone("stripped.", Unsigned, Ds::Wrong, Fault::None),
        zone("child.ec.", Signed(ED, Nsec), Ds::Right, Fault::None),
        zone("plain.ec.", Unsigned, Ds::Absent, Fault::None),
        zone("plain.ed.", Unsigned, Ds::Absent, Fault::None),
        zone("child.optout.", NSEC, Ds::Right, Fault::None),
        zone("plain.optout.", Unsigned, Ds::Absent, Fault::None),
        zone("child.wrongds.", NSEC, Ds::Right, Fault::None),
        zone("child.plain.", NSEC, Ds::Right, Fault::None),
    ]
}
