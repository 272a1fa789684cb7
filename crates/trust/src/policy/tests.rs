//! The whole decision table: every combination of facts is held against the first row that fits, every row must be needed, and
//! a few rules are checked over all of them besides.

use super::*;

const ROLES: [Role; 2] = [Role::Relay, Role::User];
const ASKED: [Asked; 8] = [
    Asked::Default,
    Asked::Off,
    Asked::Opportunistic,
    Asked::Encrypted,
    Asked::Verified,
    Asked::Dane,
    Asked::Pkix,
    Asked::MtaSts,
];
const DANE: [DaneFact; 4] = [
    DaneFact::Absent,
    DaneFact::Usable,
    DaneFact::Unusable,
    DaneFact::Broken,
];
const STS: [StsFact; 5] = [
    StsFact::Absent,
    StsFact::Testing { listed: true },
    StsFact::Testing { listed: false },
    StsFact::Enforce { listed: true },
    StsFact::Enforce { listed: false },
];
const BOTH: [bool; 2] = [false, true];

fn all() -> Vec<Facts> {
    let mut all = Vec::new();
    for role in ROLES {
        for asked in ASKED {
            for dane in DANE {
                for sts in STS {
                    for bits in 0..8 {
                        all.push(Facts {
                            role,
                            asked,
                            dane,
                            sts,
                            name_is_trusted: BOTH[bits & 1],
                            pinned: BOTH[bits >> 1 & 1],
                            did_tls: BOTH[bits >> 2],
                        });
                    }
                }
            }
        }
    }
    all
}

/// One row: words that facts must have (`*` any), and the decision as words. Flags: `t` name trusted, `p` pinned, `m` did TLS before;
/// a capital wants the contrary.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // role   asked           dane        sts           flags  decision
    ("*",     "off",          "*",        "*",          "p",   "later: pins want verification"),
    ("*",     "off",          "*",        "*",          "",    "clear"),
    ("*",     "opportunistic","*",        "*",          "p",   "later: pins want verification"),
    ("*",     "opportunistic","usable",   "*",          "m",   "tls by dane, else later"),
    ("*",     "opportunistic","usable",   "*",          "",    "tls by dane, else clear"),
    ("*",     "opportunistic","*",        "*+",         "m",   "tls by mta-sts, else later"),
    ("*",     "opportunistic","*",        "*+",         "",    "tls by mta-sts, else clear"),
    ("*",     "opportunistic","*",        "*",          "tm",  "tls by pkix, else later"),
    ("*",     "opportunistic","*",        "*",          "t",   "tls by pkix, else clear"),
    ("*",     "opportunistic","*",        "*",          "m",   "tls by nothing, else later"),
    ("*",     "opportunistic","*",        "*",          "",    "tls by nothing, else clear"),
    ("*",     "encrypted",    "*",        "*",          "p",   "later: pins want verification"),
    ("*",     "encrypted",    "usable",   "*",          "",    "encrypted by dane"),
    ("*",     "encrypted",    "*",        "*+",         "",    "encrypted by mta-sts"),
    ("*",     "encrypted",    "*",        "*",          "t",   "encrypted by pkix"),
    ("*",     "encrypted",    "*",        "*",          "",    "encrypted by nothing"),
    ("*",     "dane",         "usable",   "*",          "p",   "verified by dane and pins"),
    ("*",     "dane",         "usable",   "*",          "",    "verified by dane"),
    ("*",     "dane",         "broken",   "*",          "",    "later: dane broken"),
    ("*",     "dane",         "*",        "*",          "",    "later: dane required"),
    ("*",     "pkix",         "*",        "*",          "tp",  "verified by pkix and pins"),
    ("*",     "pkix",         "*",        "*",          "t",   "verified by pkix"),
    ("*",     "pkix",         "*",        "*",          "",    "later: name not trusted"),
    ("*",     "mta-sts",      "*",        "*+",         "p",   "verified by mta-sts and pins"),
    ("*",     "mta-sts",      "*",        "*+",         "",    "verified by mta-sts"),
    ("*",     "mta-sts",      "*",        "enforce-",   "",    "skip: not listed"),
    ("*",     "mta-sts",      "*",        "*",          "",    "later: mta-sts required"),
    // From here on: asked for nothing, or for any way to verify.
    ("*",     "*",            "broken",   "*",          "",    "later: dane broken"),
    ("*",     "*",            "usable",   "*",          "p",   "verified by dane and pins"),
    ("*",     "*",            "usable",   "*",          "",    "verified by dane"),
    ("*",     "*",            "*",        "enforce-",   "",    "skip: not listed"),
    ("*",     "verified",     "*",        "*+",         "tp",  "verified by mta-sts or pkix and pins"),
    ("*",     "verified",     "*",        "*+",         "t",   "verified by mta-sts or pkix"),
    ("*",     "verified",     "*",        "*+",         "p",   "verified by mta-sts and pins"),
    ("*",     "verified",     "*",        "*+",         "",    "verified by mta-sts"),
    ("*",     "verified",     "*",        "*",          "tp",  "verified by pkix and pins"),
    ("*",     "verified",     "*",        "*",          "t",   "verified by pkix"),
    ("*",     "verified",     "*",        "*",          "",    "later: name not trusted"),
    // From here on: asked for nothing.
    ("*",     "*",            "*",        "enforce+",   "p",   "verified by mta-sts and pins"),
    ("*",     "*",            "*",        "enforce+",   "",    "verified by mta-sts"),
    ("user",  "*",            "*",        "*",          "tp",  "verified by pkix and pins"),
    ("user",  "*",            "*",        "*",          "t",   "verified by pkix"),
    ("user",  "*",            "*",        "*",          "",    "later: name not trusted"),
    ("relay", "*",            "*",        "testing+",   "tp",  "verified by mta-sts or pkix and pins"),
    ("relay", "*",            "*",        "testing+",   "p",   "verified by mta-sts and pins"),
    ("relay", "*",            "*",        "*",          "tp",  "verified by pkix and pins"),
    ("relay", "*",            "*",        "*",          "p",   "later: name not trusted"),
    ("relay", "*",            "unusable", "testing+",   "",    "encrypted by mta-sts"),
    ("relay", "*",            "unusable", "*",          "t",   "encrypted by pkix"),
    ("relay", "*",            "unusable", "*",          "",    "encrypted by nothing"),
    ("relay", "*",            "absent",   "testing+",   "m",   "tls by mta-sts, else later"),
    ("relay", "*",            "absent",   "testing+",   "",    "tls by mta-sts, else clear"),
    ("relay", "*",            "absent",   "*",          "tm",  "tls by pkix, else later"),
    ("relay", "*",            "absent",   "*",          "t",   "tls by pkix, else clear"),
    ("relay", "*",            "absent",   "*",          "m",   "tls by nothing, else later"),
    ("relay", "*",            "absent",   "*",          "",    "tls by nothing, else clear"),
];

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Relay => "relay",
        Role::User => "user",
    }
}

fn asked_word(asked: Asked) -> &'static str {
    match asked {
        Asked::Default => "default",
        Asked::Off => "off",
        Asked::Opportunistic => "opportunistic",
        Asked::Encrypted => "encrypted",
        Asked::Verified => "verified",
        Asked::Dane => "dane",
        Asked::Pkix => "pkix",
        Asked::MtaSts => "mta-sts",
    }
}

fn dane_word(dane: DaneFact) -> &'static str {
    match dane {
        DaneFact::Absent => "absent",
        DaneFact::Usable => "usable",
        DaneFact::Unusable => "unusable",
        DaneFact::Broken => "broken",
    }
}

fn sts_word(sts: StsFact) -> &'static str {
    match sts {
        StsFact::Absent => "absent",
        StsFact::Testing { listed: true } => "testing+",
        StsFact::Testing { listed: false } => "testing-",
        StsFact::Enforce { listed: true } => "enforce+",
        StsFact::Enforce { listed: false } => "enforce-",
    }
}

fn fits(row: &Row, facts: Facts) -> bool {
    let (role, asked, dane, sts, flags, _) = row;
    let word = |wanted: &str, is: &str| {
        wanted == "*" || wanted == is || wanted == "*+" && is.ends_with('+')
    };
    let flag = |flag: char| match flag {
        't' => facts.name_is_trusted,
        'p' => facts.pinned,
        'm' => facts.did_tls,
        other => panic!("{other}"),
    };
    word(role, role_word(facts.role))
        && word(asked, asked_word(facts.asked))
        && word(dane, dane_word(facts.dane))
        && word(sts, sts_word(facts.sts))
        && flags.chars().all(flag)
}

fn words(decision: Decision) -> String {
    let connect = match decision {
        Decision::Later(why) => return format!("later: {}", why_words(why)),
        Decision::Skip(why) => return format!("skip: {}", why_words(why)),
        Decision::Connect(connect) => connect,
    };
    let by = match connect.by {
        By::Nothing => "nothing".into(),
        By::One(by) => match by {
            VerifiedBy::Dane => "dane".into(),
            VerifiedBy::Pkix => "pkix".into(),
            VerifiedBy::MtaSts => "mta-sts".into(),
            VerifiedBy::Pin => String::from("pin"),
        },
        By::StsOrPkix => "mta-sts or pkix".into(),
    };
    let pins = if connect.pins { " and pins" } else { "" };
    match connect.floor {
        Floor::Verified => format!("verified by {by}{pins}"),
        Floor::Encrypted => format!("encrypted by {by}{pins}"),
        Floor::Opportunistic(Fallback::Clear) => format!("tls by {by}{pins}, else clear"),
        Floor::Opportunistic(Fallback::Later) => format!("tls by {by}{pins}, else later"),
        Floor::Clear => {
            assert_eq!((connect.by, connect.pins), (By::Nothing, false));
            "clear".into()
        }
    }
}

fn why_words(why: Why) -> &'static str {
    match why {
        Why::DaneBroken => "dane broken",
        Why::DaneRequired => "dane required",
        Why::MtaStsRequired => "mta-sts required",
        Why::NotListed => "not listed",
        Why::NameNotTrusted => "name not trusted",
        Why::PinsWantVerification => "pins want verification",
    }
}

// [OS-01] [OS-02] [OS-03] [CONF-08] [CONF-09] [DANE-04] [DANE-05] [STS-07] [STS-08] [STS-10] [SMTP-STARTTLS-15] [SMTP-STARTTLS-16]
// [SMTP-STARTTLS-17] [SMTP-STARTTLS-18]
#[test]
fn every_combination_is_decided_as_the_table_says() {
    let all = all();
    assert_eq!(all.len(), 2 * 8 * 4 * 5 * 8);
    let mut used = vec![0; TABLE.len()];
    for facts in all {
        let row = TABLE.iter().position(|row| fits(row, facts));
        let row = row.unwrap_or_else(|| panic!("no row for {facts:?}"));
        used[row] += 1;
        assert_eq!(words(decide(facts)), TABLE[row].5, "{facts:?}");
    }
    for (row, used) in TABLE.iter().zip(used) {
        assert!(used > 0, "never reached: {row:?}");
    }
}

fn connects(asked: impl Fn(Facts) -> bool) -> Vec<(Facts, Connect)> {
    let connect = |facts| match decide(facts) {
        Decision::Connect(connect) => Some((facts, connect)),
        _ => None,
    };
    all()
        .into_iter()
        .filter(|facts| asked(*facts))
        .filter_map(connect)
        .collect()
}

// [CONF-09] [STS-10] no policy fetched over HTTPS helps a host that fails DANE, nor does memory, trust or a pin
#[test]
fn nothing_connects_past_broken_dane_but_an_explicit_policy() {
    let broken = |facts: Facts| {
        facts.dane == DaneFact::Broken
            && matches!(facts.asked, Asked::Default | Asked::Verified | Asked::Dane)
    };
    assert_eq!(connects(broken), []);
}

// [DANE-04] with records in DNS there is never clear text, and with usable ones nothing unverified
#[test]
fn published_records_rule_out_clear_text() {
    for (facts, connect) in connects(|facts| facts.asked == Asked::Default) {
        match facts.dane {
            DaneFact::Usable => assert_eq!(
                (connect.floor, connect.by),
                (Floor::Verified, By::One(VerifiedBy::Dane)),
                "{facts:?}"
            ),
            DaneFact::Unusable => assert!(
                matches!(connect.floor, Floor::Verified | Floor::Encrypted),
                "{facts:?}"
            ),
            _ => (),
        }
    }
}

// [CONF-08] a user's client is strict unless told otherwise, and logs in where the peer is verified only
#[test]
fn users_get_verification_by_default_and_log_in_nowhere_else() {
    let user = |facts: Facts| facts.role == Role::User;
    for (facts, connect) in connects(user) {
        if facts.asked == Asked::Default {
            assert_eq!(connect.floor, Floor::Verified, "{facts:?}");
        }
        assert_eq!(connect.may_log_in(), connect.floor == Floor::Verified);
    }
}

// [OS-02] [OS-04] a way is named only where it can be true
#[test]
fn nothing_is_verified_by_what_is_not_there() {
    for (facts, connect) in connects(|_| true) {
        let listed = matches!(
            facts.sts,
            StsFact::Testing { listed: true } | StsFact::Enforce { listed: true }
        );
        match connect.by {
            By::One(VerifiedBy::Dane) => assert_eq!(facts.dane, DaneFact::Usable),
            By::One(VerifiedBy::MtaSts) => assert!(listed),
            By::One(VerifiedBy::Pkix) => assert!(facts.name_is_trusted),
            By::StsOrPkix => assert!(listed && facts.name_is_trusted),
            By::One(VerifiedBy::Pin) => panic!("pins are never a way of their own here"),
            By::Nothing => assert!(!connect.may_log_in()),
        }
    }
}

// [CONF-12] pins come on top of verification, or nothing is done
#[test]
fn pins_are_never_dropped() {
    for (facts, connect) in connects(|facts| facts.pinned) {
        assert!(
            connect.pins && connect.floor == Floor::Verified,
            "{facts:?}"
        );
    }
}
