//! The dialogue as an honest client has it. It is the measure for the others: what happens here without provocation is not the work of one.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gatepost_net::client::TlsFailure;
use gatepost_net::client::probe::{ShakeFailure, Shaken};
use gatepost_trust::verify::{Shares, Status};
use tokio::sync::oneshot;

use super::{Errand, is_closing, ntlm, refusal, shake_words};
use crate::check::examine::Tier;
use crate::check::facts::{
    Capabilities, ClientCertificate, Facts, GreetingKind, Handshake, HandshakeFailed, Reach, Seen,
    StartTls, TrustFact,
};
use crate::check::reply::{Mood, Reply, escape};
use crate::check::talk::{Talk, millis};
use crate::check::target::{Protocol, Start, Target};

/// The least time to wait for words that nobody asked for.
const WAIT: Duration = Duration::from_millis(300);

/// How far an honest client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reached {
    /// No TLS.
    Clear,
    /// The server lets TLS begin, and no handshake of ours goes well.
    Tls,
    /// The handshake goes well.
    Handshake,
    /// It does, and its key exchange is hybrid: that need not be asked.
    Hybrid,
}

/// What the others may build on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground {
    /// How far it came.
    pub(crate) reached: Reached,
    /// Whether NTLM is offered in clear.
    pub(crate) has_ntlm: bool,
    /// How long to wait for words that nobody asked for.
    pub(crate) wait: Duration,
}

/// Runs it. `open` is told as soon as it is known that others may come: after the handshake.
pub(crate) async fn run(errand: &Errand, facts: &mut Facts, open: oneshot::Sender<Ground>) {
    let begun = Instant::now();
    let Some(mut talk) = reach(errand, facts).await else {
        return;
    };
    let round_trip = begun.elapsed();
    let to_tls = match errand.target.start {
        Start::StartTls => clear_half(errand, facts, &mut talk).await,
        Start::Implicit => Some(()),
    };
    let shaken = match to_tls {
        Some(()) => handshake(errand, facts, &mut talk).await,
        None => None,
    };
    let wait = WAIT.max(round_trip * 2);
    if let Some(failed) = &mut facts.handshake_failed
        && may_be_size(failed)
    {
        // Before the others have used the budget up.
        failed.classic_works = classic(errand).await;
    }
    let group = facts.handshake.known().and_then(|it| it.group.as_deref());
    let ground = Ground {
        reached: match (to_tls, shaken, group) {
            (None, ..) => Reached::Clear,
            (_, None, _) => Reached::Tls,
            (.., Some(group)) if group.contains("MLKEM") => Reached::Hybrid,
            _ => Reached::Handshake,
        },
        has_ntlm: facts
            .clear
            .known()
            .is_some_and(|it| ntlm::is_offered(it, errand.target.protocol)),
        wait,
    };
    if errand.budget.stopped().is_none() {
        // Nobody listens when only this was asked for.
        let _ = open.send(ground);
    }
    if shaken.is_some() {
        encrypted_half(errand, facts, &mut talk, wait).await;
        facts.client_certificate = Seen::Known(client_certificate(facts, &talk));
    }
    facts.transcript = std::mem::take(&mut talk.transcript);
    talk.leave().await;
}

async fn reach(errand: &Errand, facts: &mut Facts) -> Option<Talk> {
    let begun = Instant::now();
    if let Err(why) = errand.budget.take() {
        facts.greeting = Seen::unknown(why);
        return None;
    }
    match errand.dial().await {
        Ok(talk) => {
            facts.reach = Reach::Connected {
                milliseconds: millis(begun.elapsed()),
            };
            Some(talk)
        }
        Err(failure) => {
            facts.reach = match failure.label() {
                "E-REFUSED" => Reach::Refused,
                "E-CONNECT-TIMEOUT" => Reach::Silent,
                _ => Reach::Unreachable {
                    why: failure.to_string(),
                },
            };
            errand.budget.stop(failure.to_string());
            None
        }
    }
}

/// What to try where nothing is said first. Port 25 has no implicit TLS (RFC 8314 3).
fn implicit_hint(target: &Target) -> Option<String> {
    let implicit = Target {
        start: Start::Implicit,
        ..target.clone()
    };
    (target.port != 25)
        .then(|| format!("; a port for implicit TLS is silent too, and would be {implicit}"))
}

/// Greeting, capabilities, STARTTLS. Some when TLS may begin.
async fn clear_half(errand: &Errand, facts: &mut Facts, talk: &mut Talk) -> Option<()> {
    let (greeting, reply) = talk.greeting().await;
    let refused = refusal(&greeting);
    let is_silent = greeting.kind == GreetingKind::Silent;
    facts.greeting = Seen::Known(greeting);
    if let Some(why) = refused {
        let hint = is_silent.then(|| implicit_hint(&errand.target));
        errand
            .budget
            .stop(why + &hint.flatten().unwrap_or_default());
        return None;
    }
    facts.clear = clear_capabilities(errand, talk, reply).await;
    let Some(clear) = facts.clear.known() else {
        // What could not be asked has this reason.
        if let Seen::Unknown { why, .. } = &facts.clear {
            facts.start_tls = Seen::unknown(why.clone());
        }
        return None;
    };
    let start = start_tls(errand, talk, clear).await;
    let may_go_on = start
        .known()
        .is_some_and(|it| it.accepted == Some(true) && it.residue.is_none());
    facts.start_tls = start;
    may_go_on.then_some(())
}

async fn clear_capabilities(
    errand: &Errand,
    talk: &mut Talk,
    greeting: Option<Reply>,
) -> Seen<Capabilities> {
    let greeted = greeting.as_ref().map(|reply| talk.read(reply));
    if errand.target.protocol == Protocol::Sieve {
        // The greeting is the list.
        return greeted.map_or_else(|| Seen::unknown("no greeting"), Seen::Known);
    }
    match errand.capabilities(talk).await {
        Ok(mut capabilities) => {
            let codes = greeted.map(|it| it.codes).unwrap_or_default();
            capabilities.codes.extend(codes);
            Seen::Known(capabilities)
        }
        Err(why) => Seen::unknown(why),
    }
}

async fn start_tls(errand: &Errand, talk: &mut Talk, clear: &Capabilities) -> Seen<StartTls> {
    let command = errand.target.command();
    let mut start = StartTls {
        offered: clear.has(command),
        masked: clear.words.iter().find(|it| is_masked(it)).cloned(),
        ..StartTls::default()
    };
    // Also where it is not offered: a server that takes it all the same has somebody on the path to it, or a fault of its own.
    let reply = match talk.ask(command).await {
        Ok(reply) => reply,
        Err(silence) => {
            start.reply = Some(silence.words(command));
            return Seen::Known(start);
        }
    };
    // The only 4xx that is not about TLS (RFC 5321 3.8); IMAP's is BYE.
    if is_closing(reply.last()) {
        let why = format!("{command} was answered with {}", reply.last());
        errand.budget.stop(&why);
        return Seen::unknown(why);
    }
    start.accepted = Some(reply.mood == Mood::Yes);
    start.reply = Some(reply.last().to_owned());
    let residue = escape(talk.probe.received());
    start.residue = (!residue.is_empty()).then_some(residue);
    Seen::Known(start)
}

/// What some firewalls write over the words they do not let pass.
fn is_masked(word: &str) -> bool {
    let first = word.split(' ').next().unwrap_or("");
    let rest = first.trim_start_matches(['X', '*']);
    first.len() >= 6 && rest.len() <= 2
}

async fn handshake(errand: &Errand, facts: &mut Facts, talk: &mut Talk) -> Option<()> {
    let begun = Instant::now();
    match errand.shake(talk, Shares::Hybrid).await {
        Ok(shaken) => {
            facts.handshake = Seen::Known(describe(&shaken, millis(begun.elapsed())));
            Some(())
        }
        Err(failure) => {
            facts.client_certificate = if talk.probe.asks_certificate() {
                let how = shake_words(&failure);
                Seen::Known(ClientCertificate::Demanded { how })
            } else {
                Seen::unknown("the handshake did not come so far")
            };
            facts.handshake_failed = Some(failed(&failure));
            facts.handshake = Seen::unknown(shake_words(&failure));
            if let (ShakeFailure::NotTls(words), Seen::Known(start)) =
                (&failure, &mut facts.start_tls)
            {
                start.residue = Some(escape(words));
            }
            None
        }
    }
}

fn failed(failure: &ShakeFailure) -> HandshakeFailed {
    let label = match failure {
        ShakeFailure::Words | ShakeFailure::NotTls(_) => "not_tls",
        ShakeFailure::Tls(failure, _) => failure.label(),
    };
    HandshakeFailed {
        label: label.to_owned(),
        text: shake_words(failure),
        alert: match failure {
            ShakeFailure::Tls(TlsFailure::PeerAlert(number), _) => Some(*number),
            _ => None,
        },
        classic_works: None,
    }
}

/// Whether a server that did not answer the large hello answers a small one.
async fn classic(errand: &Errand) -> Option<bool> {
    let mut talk = errand.begin_tls().await.ok()?;
    let works = errand.shake(&mut talk, Shares::Classic).await.is_ok();
    talk.leave().await;
    Some(works)
}

/// Whether the failure is one a large hello can cause.
fn may_be_size(failed: &HandshakeFailed) -> bool {
    [TlsFailure::Timeout, TlsFailure::PeerGone]
        .iter()
        .any(|it| it.label() == failed.label)
}

fn describe(shaken: &Shaken, milliseconds: u64) -> Handshake {
    let checks = shaken.verdict.iter().flat_map(|it| &it.checks);
    let facts = checks.map(|check| TrustFact {
        kind: check.kind.label().to_owned(),
        status: check.status.label().to_owned(),
        reason: match &check.status {
            Status::Fail(reason) | Status::Unknown(reason) => Some(reason.to_string()),
            Status::Pass | Status::NotApplicable => None,
        },
    });
    let verified = shaken
        .verdict
        .as_ref()
        .and_then(gatepost_trust::verify::Verdict::verified);
    Handshake {
        version: shaken.facts.version.label().to_owned(),
        suite: shaken.facts.suite.to_string(),
        group: shaken.facts.group.map(str::to_owned),
        alpn: shaken.facts.alpn.as_deref().map(str::to_owned),
        chain: shaken
            .evidence
            .chain
            .iter()
            .map(|it| BASE64.encode(it))
            .collect(),
        staple: shaken.evidence.staple.len(),
        milliseconds,
        verdict: facts.collect(),
        verified: verified.map(|by| by.to_string()),
    }
}

/// Words that come unasked, capabilities, STARTTLS once more.
async fn encrypted_half(errand: &Errand, facts: &mut Facts, talk: &mut Talk, wait: Duration) {
    if errand.target.start == Start::Implicit {
        let (greeting, _) = talk.greeting().await;
        let refused = refusal(&greeting);
        facts.greeting = Seen::Known(greeting);
        if let Some(why) = refused {
            errand.budget.stop(why);
            return;
        }
    } else {
        facts.unasked = Seen::Known(unasked(talk, wait).await);
        talk.probe.received().clear();
    }
    match errand.capabilities(talk).await {
        Ok(capabilities) => facts.encrypted = Seen::Known(capabilities),
        Err(why) => {
            facts.encrypted = Seen::unknown(why);
            return;
        }
    }
    // The lightest tier slips nothing in.
    if errand.target.start == Start::StartTls && errand.tier != Tier::Light {
        // Answers that lag behind, and words a server says now and then, are not the work of a command that was slipped in.
        facts.surplus = Seen::Known(unasked(talk, wait / 3).await);
        talk.probe.received().clear();
    }
    let command = errand.target.command();
    facts.second = match talk.ask(command).await {
        Ok(reply) if reply.mood == Mood::Yes => Seen::Known(Some(reply.last().to_owned())),
        Ok(_) => Seen::Known(None),
        Err(silence) => Seen::unknown(silence.words(command)),
    };
    let has_ntlm = facts
        .encrypted
        .known()
        .is_some_and(|it| ntlm::is_offered(it, errand.target.protocol));
    // Of many servers at once nobody asks it: a login begun is a line in their logs.
    if has_ntlm && errand.tier != Tier::Light {
        let seen = match &facts.second {
            Seen::Known(None) => ntlm::ask(talk).await,
            _ => Seen::unknown(format!("{command} inside TLS left no connection to ask on")),
        };
        facts.ntlm.insert("tls".to_owned(), seen);
    }
}

/// In TLS 1.3 a server says only behind the handshake that it goes on with nobody who shows no certificate (RFC 9846 4.4.2.4).
fn client_certificate(facts: &Facts, talk: &Talk) -> ClientCertificate {
    if !talk.probe.asks_certificate() {
        return ClientCertificate::NotAsked;
    }
    match &facts.encrypted {
        Seen::Known(_) => ClientCertificate::Asked,
        Seen::Unknown { why, .. } => ClientCertificate::Demanded { how: why.clone() },
        Seen::Unasked => ClientCertificate::Demanded {
            how: "no greeting behind the handshake".to_owned(),
        },
    }
}

/// What comes within this time without a word of ours.
pub(crate) async fn unasked(talk: &mut Talk, wait: Duration) -> Option<String> {
    let until = Instant::now() + wait;
    // Tickets and the like wake us without a word.
    while talk.probe.read(until).await.is_ok() && Instant::now() < until {}
    let words = escape(talk.probe.received());
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gatepost_testkit::pki::Authority;
    use rustls::RootCertStore;
    use rustls::server::{ServerConfig, WebPkiClientVerifier};
    use rustls::version::{TLS12, TLS13};

    use crate::check::examine::{Tier, examine};
    use crate::check::facts::{ClientCertificate, Facts, Seen};
    use crate::check::probes::lab::{self, Server};
    use crate::check::target::{Protocol, Start};

    /// Whether clients are asked for a certificate, and whether they must have one.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Asks {
        No,
        Yes,
        Must,
    }

    async fn seen(asks: Asks, version: &'static rustls::SupportedProtocolVersion) -> Facts {
        let root = Authority::root("Root");
        let issued = root.issue(&[lab::HOST]);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(root.certificate.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = match asks {
            Asks::No => WebPkiClientVerifier::no_client_auth(),
            Asks::Yes => verifier.allow_unauthenticated().build().unwrap(),
            Asks::Must => verifier.build().unwrap(),
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![issued.certificate.clone()], issued.private_key());
        let script = Arc::new(|line: &str| {
            let tag = line.split(' ').next().unwrap_or_default();
            Some(format!("{tag} OK\r\n"))
        });
        let server = Server::new(Some(Arc::new(config.unwrap())), "* OK ready", script);
        let target = lab::target(server.port, Protocol::Imap, Start::Implicit);
        examine(&target, &lab::means(Tier::Default), 1).await
    }

    #[tokio::test]
    async fn a_certificate_asked_for_or_demanded_is_seen_in_both_versions() {
        for version in [&TLS12, &TLS13] {
            let told = seen(Asks::No, version).await.client_certificate;
            assert_eq!(told, Seen::Known(ClientCertificate::NotAsked));
            let facts = seen(Asks::Yes, version).await;
            assert_eq!(
                facts.client_certificate,
                Seen::Known(ClientCertificate::Asked)
            );
            // TLS 1.2 says it in clear as well.
            let in_clear = facts.hellos["tls1.2"].known().map(|it| it.asks_certificate);
            assert_eq!(in_clear, Some(*version == TLS12));
            let told = seen(Asks::Must, version).await.client_certificate;
            let Seen::Known(ClientCertificate::Demanded { how }) = told else {
                panic!("{told:?}");
            };
            assert!(!how.is_empty());
        }
    }
}
