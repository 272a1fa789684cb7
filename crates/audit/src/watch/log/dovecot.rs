//! Dovecot: one line for each login, made of elements joined by commas. `TLS` is among them where TLS was up, `secured` where the connection
//! counts as such by configuration; where neither is, the login was in clear.

use super::{Logged, Teller, between};
use crate::watch::event::Outcome;
use crate::watch::login::Ending;
use crate::watch::notes::Protocol;

pub(super) fn read(text: &str, teller: &mut Teller) -> bool {
    let Some((process, rest)) = text.split_once(": ") else {
        return false;
    };
    // Newer versions write `imap-login: Login: …`, older ones a prefix with the process between.
    let process = process.split(['(', '[']).next().unwrap_or_default();
    let protocol = match process {
        "imap-login" => Protocol::Imap,
        "managesieve-login" => Protocol::Sieve,
        "pop3-login" => Protocol::Pop3,
        "submission-login" => Protocol::Smtp,
        _ => return false,
    };
    let rest = rest.strip_prefix("Info: ").unwrap_or(rest);
    let ending = if rest.starts_with("Login: ") {
        Ending::Accepted
    } else if ["Aborted login", "Disconnected", "Login aborted"]
        .iter()
        .any(|it| rest.starts_with(it))
    {
        Ending::Rejected
    } else {
        return false;
    };
    let elements = || rest.split(", ");
    let value = |key: &str| {
        let found = elements().find_map(|it| it.rsplit(' ').next()?.strip_prefix(key));
        found.map(|it| it.trim_matches(['<', '>']))
    };
    let mut session = Logged::new(protocol, value("rip=").and_then(|it| it.parse().ok()));
    session.server = value("lip=")
        .and_then(|it| it.parse().ok())
        .map(|it| (it, 0));
    let tls = elements().find(|it| it.starts_with("TLS"));
    let is_local = session.client.is_some() && session.client == session.server.map(|it| it.0);
    let is_handshake = tls.is_some_and(|it| it.starts_with("TLS handshaking"))
        || rest.contains("during TLS handshake");
    if is_handshake {
        session.outcome = Outcome::Failed;
        teller.finding("W303", &session, "the handshake failed");
    } else if tls.is_some() {
        // `TLSv1.3 with cipher X (…)` where %{ssl_security} is logged. STARTTLS and TLS at once look the same here.
        let version = tls.and_then(|it| it.split(' ').next()).unwrap_or_default();
        let suite = tls
            .and_then(|it| between(it, "with cipher ", b' '))
            .unwrap_or_default();
        let rating = teller.ratings.rate(version, suite);
        session.encrypted(Outcome::Encrypted, &rating);
        teller.faults(&session, &rating);
    } else if !elements().any(|it| it == "secured") && !is_local {
        let method = value("method=").unwrap_or_default();
        let user = value("user=").unwrap_or_default();
        let tried = ending == Ending::Accepted || rest.contains("auth failed");
        if tried {
            teller.login(
                &mut session,
                if method.is_empty() { "PLAIN" } else { method },
                user,
                ending,
            );
        }
    }
    teller.session(session);
    true
}
