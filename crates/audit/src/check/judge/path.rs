//! What stands between us and the server, as far as it shows: each kind told apart, because each has somebody else at fault.
//!
//! ```text
//!   refused              the port answers "closed": the server, or a firewall in its name
//!   filtered             no answer at all
//!   masked               STARTTLS is written over, or EHLO is refused and HELO taken
//!   stripped             one way to the host has STARTTLS, another has not
//!   replaced certificate somebody on the path ends TLS and shows a certificate of its own
//!   version clamp        the server proves that it can TLS 1.3, and TLS 1.3 does not get through
//!   large hello dropped  a small hello is answered, one of two segments is not
//! ```
//!
//! From one place nobody can tell a server without STARTTLS from a path that takes it out; that is said, not guessed.

use gatepost_net::client::TlsFailure;
use gatepost_trust::cert::describe;
use gatepost_wire::tls::TLS13;

use crate::check::document::Check;
use crate::check::facts::{Facts, Reach, Seen, certificates};
use crate::check::target::Start;
use crate::finding::Status;

const ID: &str = "PATH-001";

/// Makers of boxes and programs that end TLS on the path, as they name themselves in the certificates they make.
const INSPECTORS: [&str; 24] = [
    "Avast",
    "AVG Web",
    "Barracuda",
    "Bitdefender",
    "Blue Coat",
    "Check Point",
    "Cisco Umbrella",
    "Dr.Web",
    "ESET SSL",
    "Fortinet",
    "FortiGate",
    "Kaspersky",
    "McAfee",
    "Netskope",
    "Palo Alto",
    "SonicWall",
    "Sophos",
    "Squid",
    "Symantec Web",
    "Trend Micro",
    "Untangle",
    "WatchGuard",
    "Zscaler",
    "mitmproxy",
];

/// What one service, and the other addresses of its host, say about the path.
pub(super) fn judge(own: &Facts, all: &[Facts]) -> Option<Check> {
    let others: Vec<&Facts> = all.iter().filter(|it| is_other_way(own, it)).collect();
    if let Some((kind, what, fix)) = sign(own, &others) {
        let mut check = Check::new(ID, Status::Fail, format!("{kind}: {what}"))?;
        check.fix = Some(fix.to_owned());
        return Some(check);
    }
    let open = |why: String| {
        let mut check = Check::new(ID, Status::Inconclusive, why)?;
        check.missing = 1;
        Some(check)
    };
    match &own.reach {
        Reach::Refused => return open("refused: the port is closed, or a firewall says so in the server's name; look from another network".into()),
        Reach::Silent => return open("filtered: no answer; a firewall on the way, or nobody there; look from another network".into()),
        Reach::Unreachable { why } => return open(why.clone()),
        Reach::Connected { .. } => (),
    }
    if own.handshake.known().is_some() {
        return Check::new(ID, Status::Pass, "nothing on the path shows itself");
    }
    if is_without(own) {
        return Check::new(
            ID,
            Status::Info,
            "no STARTTLS: the server has none, or it is taken out on the path; from one place nobody can tell: look from another network",
        );
    }
    open("too little was seen to tell".into())
}

/// The same service by another way.
fn is_other_way(own: &Facts, it: &Facts) -> bool {
    it.target.host == own.target.host
        && it.target.port == own.target.port
        && it.target.protocol == own.target.protocol
        && it.target.address != own.target.address
}

fn sign(own: &Facts, others: &[&Facts]) -> Option<(&'static str, String, &'static str)> {
    if let Some(what) = masked(own) {
        return Some((
            "masked",
            what,
            "switch the inspection of SMTP off in the firewall (on a Cisco ASA: no inspect esmtp)",
        ));
    }
    if is_without(own)
        && let Some(other) = others.iter().find(|it| it.handshake.known().is_some())
    {
        let what = format!(
            "no STARTTLS at {}, and TLS at {}",
            own.target.address, other.target.address
        );
        return Some((
            "stripped",
            what,
            "find the box, or the forgotten server, behind the address that has no STARTTLS",
        ));
    }
    if let Some(what) = replaced(own, others) {
        return Some((
            "replaced certificate",
            what,
            "take the mail ports out of the inspection of TLS (firewall, proxy, antivirus program)",
        ));
    }
    let failed = own.handshake_failed.as_ref()?;
    if failed.classic_works == Some(true) {
        return Some((
            "large hello dropped",
            format!("{}; a small hello was answered", failed.text),
            "update the firewall or load balancer on the path: it drops hellos of more than one segment, which hybrid key exchange makes usual",
        ));
    }
    is_clamped(own).then(|| {
        let what = format!(
            "{}; the server's random says that it can TLS 1.3, and it does not get through",
            failed.text
        );
        (
            "version clamp",
            what,
            "update the box on the path that changes hellos, or take the mail ports out of it",
        )
    })
}

/// A server that can TLS 1.3 says so in its random to everyone who asks for less (RFC 9846 4.1.3). Our own hellos of TLS 1.2 ask for less; the
/// handshake does not, and the engine breaks it off where it finds that mark. Where any TLS 1.3 came through, nothing holds it back.
fn is_clamped(own: &Facts) -> bool {
    let failed = own.handshake_failed.as_ref();
    let is_broken_off = failed.is_some_and(|it| it.label == TlsFailure::PeerMisbehaved.label());
    let hellos = || own.hellos.values().filter_map(Seen::known);
    is_broken_off
        && hellos().any(|it| it.downgraded)
        && !hellos().any(|it| it.version == Some(TLS13))
}

/// Words written over.
fn masked(own: &Facts) -> Option<String> {
    if let Some(word) = own.start_tls.known().and_then(|it| it.masked.as_ref()) {
        return Some(format!("{word} stands where STARTTLS should"));
    }
    let only_helo = own.clear.known().is_some_and(|it| it.only_helo);
    only_helo.then(|| "EHLO is refused and HELO is taken".to_owned())
}

/// Whether it was seen that there is no STARTTLS.
fn is_without(own: &Facts) -> bool {
    let told = own.start_tls.known();
    own.target.start == Start::StartTls
        && told.is_some_and(|it| !it.offered && it.accepted != Some(true))
}

fn replaced(own: &Facts, others: &[&Facts]) -> Option<String> {
    let handshake = own.handshake.known()?;
    let issuer = issuer(&handshake.chain)?;
    if let Some(maker) = INSPECTORS.into_iter().find(|maker| issuer.contains(maker)) {
        return Some(format!("issued by {issuer}: {maker} inspects TLS"));
    }
    if handshake.verified.is_some() {
        return None;
    }
    let other = others.iter().find_map(|it| {
        let shaken = it.handshake.known()?;
        (shaken.verified.is_some() && shaken.chain.first() != handshake.chain.first())
            .then_some(it.target.address)
    })?;
    Some(format!(
        "at {} a certificate issued by {issuer} that nobody vouches for, at {other} another that is vouched for",
        own.target.address
    ))
}

/// Who issued the certificate of a chain; none without one.
fn issuer(chain: &[String]) -> Option<String> {
    let leaf = certificates(chain.get(..1)?).into_iter().next();
    let read = leaf.and_then(|leaf| describe(&leaf).ok());
    Some(read.map_or_else(|| "nobody who can be read".to_owned(), |it| it.issuer))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::check::facts::{Capabilities, Handshake, HandshakeFailed, HelloAnswer, StartTls};
    use crate::check::target::{Protocol, Role, Target};

    fn facts(address: &str) -> Facts {
        let target = Target {
            host: "mx.example.test".into(),
            address: address.parse().unwrap(),
            port: 25,
            protocol: Protocol::Smtp,
            start: Start::StartTls,
            role: Role::Mx,
        };
        let mut facts = Facts::new(target, 0, Reach::Connected { milliseconds: 1 });
        facts.clear = Seen::Known(Capabilities::default());
        facts.start_tls = Seen::Known(StartTls {
            offered: true,
            accepted: Some(true),
            ..StartTls::default()
        });
        facts
    }

    fn shaken(issuer: &str, verified: bool) -> Seen<Handshake> {
        let leaf = gatepost_testkit::pki::Authority::root(issuer).issue(&["mx.example.test"]);
        Seen::Known(Handshake {
            version: "TLSv1.3".into(),
            suite: String::new(),
            group: None,
            alpn: None,
            chain: vec![STANDARD.encode(&leaf.certificate)],
            staple: 0,
            milliseconds: 1,
            verdict: Vec::new(),
            verified: verified.then(|| "PKIX".into()),
        })
    }

    fn told(own: &Facts, others: &[Facts]) -> (Status, String) {
        let all = [std::slice::from_ref(own), others].concat();
        let check = judge(own, &all).unwrap();
        let kind = check.evidence.split(':').next().unwrap_or("").to_owned();
        (check.status, kind)
    }

    fn failed(label: &str, classic_works: Option<bool>) -> HandshakeFailed {
        HandshakeFailed {
            label: label.into(),
            text: "the handshake failed".into(),
            classic_works,
            alert: None,
        }
    }

    #[test]
    fn each_kind_is_told_apart() {
        let mut good = facts("192.0.2.1");
        good.handshake = shaken("Public CA", true);
        assert_eq!(told(&good, &[]).0, Status::Pass);

        let mut masked = facts("192.0.2.2");
        masked.start_tls = Seen::Known(StartTls {
            masked: Some("XXXXXXXA".into()),
            ..StartTls::default()
        });
        assert_eq!(told(&masked, &[]), (Status::Fail, "masked".into()));

        let mut bare = facts("192.0.2.2");
        bare.start_tls = Seen::Known(StartTls::default());
        assert_eq!(
            told(&bare, std::slice::from_ref(&good)),
            (Status::Fail, "stripped".into())
        );
        assert_eq!(
            told(&bare, &[]).0,
            Status::Info,
            "one place alone does not tell"
        );

        let mut replaced = facts("192.0.2.2");
        replaced.handshake = shaken("Some Proxy", false);
        assert_eq!(
            told(&replaced, std::slice::from_ref(&good)),
            (Status::Fail, "replaced certificate".into())
        );
        assert_eq!(
            told(&replaced, &[]).0,
            Status::Pass,
            "an unknown issuer alone is no sign; CERT-CHAIN tells it"
        );
        replaced.handshake = shaken("Fortinet Inspection", true);
        assert_eq!(
            told(&replaced, &[]),
            (Status::Fail, "replaced certificate".into())
        );

        let mut clamped = facts("192.0.2.2");
        clamped.handshake_failed = Some(failed("peer_misbehaved", None));
        assert_eq!(told(&clamped, &[]).0, Status::Inconclusive);
        clamped.hellos.insert(
            "tls1.2".into(),
            Seen::Known(HelloAnswer {
                version: Some(0x0303),
                downgraded: true,
                ..HelloAnswer::default()
            }),
        );
        assert_eq!(told(&clamped, &[]), (Status::Fail, "version clamp".into()));
        let mut weak_key = clamped.clone();
        weak_key.handshake_failed = Some(failed("peer_certificate", None));
        assert_eq!(
            told(&weak_key, &[]).0,
            Status::Inconclusive,
            "our hello of TLS 1.2 asked for less"
        );
        clamped.hellos.insert(
            "pq".into(),
            Seen::Known(HelloAnswer {
                version: Some(TLS13),
                ..HelloAnswer::default()
            }),
        );
        assert_eq!(told(&clamped, &[]).0, Status::Inconclusive);

        let mut dropped = facts("192.0.2.2");
        dropped.handshake_failed = Some(failed("timeout", Some(true)));
        assert_eq!(
            told(&dropped, &[]),
            (Status::Fail, "large hello dropped".into())
        );
        dropped.handshake_failed = Some(failed("timeout", Some(false)));
        assert_eq!(told(&dropped, &[]).0, Status::Inconclusive);

        let mut nobody = facts("192.0.2.2");
        nobody.reach = Reach::Refused;
        assert_eq!(told(&nobody, &[]), (Status::Inconclusive, "refused".into()));
        nobody.reach = Reach::Silent;
        assert_eq!(
            told(&nobody, &[]),
            (Status::Inconclusive, "filtered".into())
        );
    }
}
