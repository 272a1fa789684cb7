//! What a service did, as far as the promises of DNS go: TLS, no TLS, or not seen.

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

/// Why nobody vouched for the certificate.
pub(super) fn complaint(handshake: &Handshake) -> String {
    handshake
        .verdict
        .iter()
        .find(|fact| fact.status == "fail")
        .and_then(|fact| fact.reason.clone())
        .unwrap_or_else(|| "nobody vouches for it".into())
}
