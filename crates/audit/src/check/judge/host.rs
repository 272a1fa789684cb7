//! What only shows when several services of a host are seen together.

use super::{Bench, Check, Judged, path};
use crate::check::facts::Facts;
use crate::check::profile::Profile;
use crate::check::target::Start;

/// Adds what the services of a host say about each other. Each of `judged` is of the facts at the same place.
pub fn compare(facts: &[Facts], judged: &mut [Judged], profile: &Profile) {
    for (own, judged) in facts.iter().zip(judged) {
        judged.checks.extend(path::judge(own, facts));
        if own.target.start == Start::StartTls && own.handshake.known().is_some() {
            judged.checks.extend(beside(own, facts, profile));
        }
    }
}

/// A STARTTLS service beside an implicit one for the same.
fn beside(own: &Facts, all: &[Facts], profile: &Profile) -> Vec<Check> {
    let mut bench = Bench {
        facts: own,
        profile,
        checks: Vec::new(),
    };
    let is_twin = |it: &&Facts| {
        it.target.start == Start::Implicit
            && it.target.protocol == own.target.protocol
            && it.target.role == own.target.role
            && it.target.host == own.target.host
            && it.handshake.known().is_some()
    };
    let Some(twin) = all.iter().find(is_twin) else {
        return Vec::new();
    };
    let port = twin.target.port;
    bench.info(
        "IMPL-004",
        format!("implicit TLS is open on port {port} as well; let clients use that"),
    );
    let leaf = |facts: &Facts| {
        facts
            .handshake
            .known()
            .and_then(|it| it.chain.first().cloned())
    };
    let is_same = leaf(own).is_some() && leaf(own) == leaf(twin);
    match own.unasked.known() {
        Some(Some(_)) if is_same => bench.fail(
            "OPOS-001",
            format!(
                "the same certificate as on port {port}, and words come unasked after STARTTLS"
            ),
        ),
        Some(None) if is_same => bench.pass(
            "OPOS-001",
            format!("the same certificate as on port {port}, and nothing comes unasked"),
        ),
        Some(_) => bench.pass(
            "OPOS-001",
            format!("another certificate than on port {port}"),
        ),
        None => bench.inconclusive("OPOS-001", "nobody could listen after the handshake", 1),
    }
    bench.checks
}
