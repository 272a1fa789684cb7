//! What NTLM tells a stranger. A login is begun with the message that names nobody ([MS-NLMP] 2.2.1.1), the server answers with a challenge that
//! tells its names, and the login is broken off there: no credential, and no answer to the challenge.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::check::facts::{Capabilities, Ntlm, Seen};
use crate::check::ntlm;
use crate::check::reply::Mood;
use crate::check::talk::Talk;
use crate::check::target::Protocol;

/// Whether NTLM is among what is offered, in a protocol whose words for it are known.
pub(crate) fn is_offered(capabilities: &Capabilities, protocol: Protocol) -> bool {
    let is_spoken = matches!(protocol, Protocol::Smtp | Protocol::Imap | Protocol::Pop3);
    is_spoken && capabilities.mechanisms().iter().any(|it| it == "NTLM")
}

/// Asks on a connection where a login may begin.
pub(crate) async fn ask(talk: &mut Talk) -> Seen<Ntlm> {
    let question = match talk.protocol {
        Protocol::Imap => "AUTHENTICATE NTLM",
        _ => "AUTH NTLM",
    };
    let (octets, until) = talk.spell(question);
    let message = [BASE64.encode(ntlm::negotiate()).as_bytes(), b"\r\n"].concat();
    let mut last = String::new();
    for words in [octets, message] {
        let heard = match talk.say(&words).await {
            Ok(()) => talk.hear(&until).await,
            Err(silence) => Err(silence),
        };
        match heard {
            Ok(reply) if reply.mood == Mood::More => reply.last().clone_into(&mut last),
            Ok(reply) if reply.mood == Mood::No => {
                let how = reply.last().to_owned();
                return Seen::Known(Ntlm::Refused { how });
            }
            Ok(reply) => return Seen::unknown(reply.last()),
            Err(silence) => return Seen::unknown(silence.words(question)),
        }
    }
    // Broken off (RFC 4954 4, RFC 9051 6.2.2, RFC 5034 4); what is said to that tells nothing.
    if talk.say(b"*\r\n").await.is_ok() {
        let _ = talk.hear(&until).await;
    }
    let octets = last
        .split_once(' ')
        .and_then(|(_, text)| BASE64.decode(text.trim()).ok());
    match octets.and_then(|it| ntlm::challenge(&it)) {
        Some(challenge) => Seen::Known(Ntlm::Challenge(challenge)),
        None => Seen::unknown("NTLM was answered with a challenge that cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gatepost_testkit::pki::Authority;
    use rustls::server::ServerConfig;

    use super::*;
    use crate::check::examine::{Tier, examine};
    use crate::check::facts::Facts;
    use crate::check::ntlm::tests::EXAMPLE;
    use crate::check::probes::lab::{self, Server};
    use crate::check::target::Start;

    /// Everything behind the tag, as one server says it; `challenge` is what it answers the first message with.
    fn answer(protocol: Protocol, line: &str, challenge: &str) -> Option<String> {
        let (tag, words) = match protocol {
            Protocol::Imap => line.split_once(' ').unwrap_or(("", line)),
            _ => ("", line),
        };
        let (more, ok, no) = match protocol {
            Protocol::Smtp => ("334", "250 ok".to_owned(), "501 no".to_owned()),
            Protocol::Imap => ("+", format!("{tag} OK"), format!("{tag} BAD")),
            _ => ("+", "+OK".to_owned(), "-ERR".to_owned()),
        };
        let first = words.split(' ').next().unwrap_or_default();
        let lines = match first {
            "EHLO" => "250-mail\r\n250-STARTTLS\r\n250 AUTH NTLM".to_owned(),
            "CAPABILITY" => format!("* CAPABILITY AUTH=NTLM\r\n{ok}"),
            "CAPA" => "+OK\r\nSASL PLAIN NTLM\r\n.".to_owned(),
            "AUTH" | "AUTHENTICATE" if words.ends_with("NTLM") => format!("{more} "),
            "*" => "g999 BAD broken off".to_owned(),
            "QUIT" | "NOOP" => ok,
            _ if line.starts_with("TlRMTVNT") => match challenge {
                "" => return None,
                "no" => "535 5.7.8 no".to_owned(),
                text => format!("{more} {text}"),
            },
            _ => no,
        };
        Some(format!("{lines}\r\n"))
    }

    async fn seen(
        protocol: Protocol,
        tls: bool,
        challenge: &str,
        tier: Tier,
    ) -> (Facts, Vec<String>) {
        let config = tls.then(|| {
            let issued = Authority::root("Root").issue(&["mail.example.test"]);
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![issued.certificate.clone()], issued.private_key());
            Arc::new(config.unwrap())
        });
        let greeting = match protocol {
            Protocol::Smtp => "220 mail.example.test ESMTP",
            Protocol::Imap => "* OK ready",
            _ => "+OK ready",
        };
        let challenge = challenge.to_owned();
        let script = move |line: &str| answer(protocol, line, &challenge);
        let server = Server::new(config, greeting, Arc::new(script));
        let start = if tls {
            Start::Implicit
        } else {
            Start::StartTls
        };
        let target = lab::target(server.port, protocol, start);
        let facts = examine(&target, &lab::means(tier), 1).await;
        (facts, server.heard())
    }

    #[tokio::test]
    async fn a_challenge_is_read_in_every_protocol_in_clear_and_inside_tls_and_not_answered() {
        let challenge = BASE64.encode(EXAMPLE);
        for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3] {
            for (tls, place) in [(false, "clear"), (true, "tls")] {
                let (facts, heard) = seen(protocol, tls, &challenge, Tier::Default).await;
                let Some(Seen::Known(Ntlm::Challenge(told))) = facts.ntlm.get(place) else {
                    panic!("{protocol:?} {place}: {:?} {heard:?}", facts.ntlm);
                };
                assert_eq!(told.domain.as_deref(), Some("Domain"));
                let ours: Vec<_> = heard
                    .iter()
                    .filter(|it| it.starts_with("TlRMTVNT"))
                    .collect();
                let negotiate = BASE64.encode(ntlm::negotiate());
                assert_eq!(
                    ours,
                    [&negotiate],
                    "one beginning, and no answer to a challenge"
                );
                let at = heard.iter().position(|it| *it == negotiate).unwrap();
                assert_eq!(heard[at + 1], "*", "broken off");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_challenge_or_no_answer_proves_nothing() {
        let cut = BASE64.encode(&EXAMPLE[..60]);
        for challenge in ["", "?", "AAAA", &cut] {
            let (facts, _) = seen(Protocol::Smtp, true, challenge, Tier::Default).await;
            let told = facts.ntlm.get("tls");
            assert!(
                matches!(told, Some(Seen::Unknown { missing: 1, .. })),
                "{told:?}"
            );
        }
        let (facts, _) = seen(Protocol::Smtp, true, "no", Tier::Default).await;
        let told = facts.ntlm.get("tls");
        assert!(
            matches!(told, Some(Seen::Known(Ntlm::Refused { .. }))),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn the_lightest_tier_begins_no_login() {
        let (facts, heard) = seen(Protocol::Imap, true, "", Tier::Light).await;
        assert!(facts.ntlm.is_empty());
        assert!(
            heard.iter().any(|it| it.ends_with("CAPABILITY")),
            "{heard:?}"
        );
        assert!(!heard.iter().any(|it| it.contains("AUTH")), "{heard:?}");
    }
}
