//! What provocations came to. Where the tier does not go so deep, or nobody gave consent, there is nothing to judge, and nothing is said.

use std::net::IpAddr;

use super::{Bench, tls};
use crate::check::facts::{Provocation, Seen};

/// Id, and the name of the probe.
const ROWS: [(&str, &str); 9] = [
    ("REN-002", "renegotiation"),
    ("REN-003", "unbound-renegotiation"),
    ("VUL-HB", "heartbeat"),
    ("VUL-CCS", "early-ccs"),
    ("VUL-ROBOT", "padding"),
    ("VUL-PADORACLE", "oracle"),
    ("RELAY-001", "relay"),
    ("VRFY-001", "names"),
    ("SMUG-001", "smuggling"),
];

/// What is asked in TLS 1.2 only.
const OF_TLS12: [&str; 2] = ["REN-002", "REN-003"];

pub(super) fn judge(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    for (id, name) in ROWS {
        let Some(seen) = facts.provoked.get(name) else {
            continue;
        };
        // Some servers refuse a version by closing, which is an answer where another look had the same.
        let is_refused = matches!(seen, Seen::Unknown { .. }) && tls::lacks_tls12(bench);
        if is_refused && OF_TLS12.contains(&id) {
            bench.not_applicable(id, "TLS 1.2 is not spoken");
            continue;
        }
        match bench.answer(id, seen) {
            Some(Provocation::Absent { why }) => bench.not_applicable(id, why.clone()),
            Some(Provocation::Refused { how }) => bench.pass(id, how.clone()),
            // Many servers relay for the networks they stand in, on purpose; from there it cannot be told what strangers may.
            Some(Provocation::Worked { proof })
                if id == "RELAY-001" && is_near(facts.target.address) =>
            {
                let why =
                    format!("taken from a network that may be trusted: {proof}; ask from outside");
                bench.inconclusive(id, why, 1);
            }
            Some(Provocation::Worked { proof }) => bench.fail(id, proof.clone()),
            None => {}
        }
    }
}

/// Loopback, and networks that are reached from inside only (RFC 1918, RFC 4193, RFC 3927, RFC 4291 2.5.6).
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_loopback() || it.is_private() || it.is_link_local(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_what_strangers_do_not_reach() {
        for (address, near) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:192.168.0.1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_near(address.parse().unwrap()), near, "{address}");
        }
    }
}
