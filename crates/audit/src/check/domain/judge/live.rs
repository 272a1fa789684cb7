//! What a service did, as far as the promises of DNS go: TLS, no TLS, or not seen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use crate::check::facts::{Facts, Handshake, Reach, Seen};
use crate::check::target::Start;

/// What a service did.
pub(super) enum Live<'a> {
    /// TLS came up.
    Tls(&'a Handshake),
    /// It answered, and there is no TLS.
    NoTls(String),
    /// The port is closed.
    Closed,
    /// It was not seen, and takes so many connections.
    Unknown(String, u32),
}

/// What this service did.
pub(super) fn live(facts: &Facts) -> Live<'_> {
    match &facts.reach {
        Reach::Connected { .. } => (),
        Reach::Refused => return Live::Closed,
        Reach::Silent => return Live::Unknown("it does not answer".into(), 1),
        Reach::Unreachable { why } => return Live::Unknown(why.clone(), 1),
    }
    if let Seen::Known(handshake) = &facts.handshake {
        return Live::Tls(handshake);
    }
    if facts.target.start == Start::StartTls
        && let Seen::Known(upgrade) = &facts.start_tls
    {
        if let Some(masked) = &upgrade.masked {
            return Live::NoTls(format!("STARTTLS is masked on the path ({masked})"));
        }
        if upgrade.accepted == Some(false) {
            let reply = upgrade.reply.as_deref().unwrap_or("no reply");
            return Live::NoTls(format!("STARTTLS is refused ({reply})"));
        }
        if !upgrade.offered && upgrade.accepted != Some(true) {
            return Live::NoTls("STARTTLS is not offered".into());
        }
    }
    match &facts.handshake_failed {
        // A connection that was lost tells nothing of the certificate or of TLS.
        Some(failed) if !["timeout", "peer_gone"].contains(&failed.label.as_str()) => {
            return Live::NoTls(format!("the handshake fails ({})", failed.text));
        }
        Some(failed) => return Live::Unknown(failed.text.clone(), 1),
        None => (),
    }
    match (&facts.handshake, &facts.stopped) {
        (Seen::Unknown { why, missing }, _) => Live::Unknown(why.clone(), *missing),
        (_, Some(why)) => Live::Unknown(why.clone(), 1),
        _ => Live::Unknown("no handshake was made".into(), 1),
    }
}

/// The chains a service showed, each once: that of the full handshake, and those of hellos that asked for another kind of key.
pub(super) fn chains(facts: &Facts) -> Vec<Vec<CertificateDer<'static>>> {
    let full = facts.handshake.known().map(|it| &it.chain);
    let hellos = facts
        .hellos
        .values()
        .filter_map(Seen::known)
        .map(|it| &it.chain);
    let mut found: Vec<Vec<CertificateDer<'static>>> = Vec::new();
    for chain in full.into_iter().chain(hellos) {
        let read: Option<Vec<_>> = chain
            .iter()
            .map(|text| STANDARD.decode(text).ok().map(CertificateDer::from))
            .collect();
        let Some(read) = read.filter(|it| !it.is_empty()) else {
            continue;
        };
        if !found.iter().any(|known| known.first() == read.first()) {
            found.push(read);
        }
    }
    found
}

/// Why nobody vouched for the certificate.
pub(super) fn complaint(handshake: &Handshake) -> String {
    handshake
        .verdict
        .iter()
        .find(|fact| fact.status == "fail")
        .and_then(|fact| fact.reason.clone())
        .unwrap_or_else(|| "nobody vouches for it".into())
}
