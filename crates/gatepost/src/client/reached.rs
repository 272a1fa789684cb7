//! What became of a connection, for people and as JSON. Every schema of the verbs that connect holds these members.
//!
//! ```json
//! {"schema": "gatepost-send-1", "server": "mail.example.org:465", "protocol": "submission",
//!  "tls_mode": "implicit", "channel": "Verified(PKIX)", "tls": {"version": "TLSv1.3", "suite": "…", "group": "…", "sni": "…"},
//!  "revocation": "soft", "checks": [{"check": "chain", "status": "pass"}], "chain": [{"subject": "…"}], "login": "SCRAM-SHA-256-PLUS"}
//! ```

use gatepost_net::client::Channel;
use gatepost_trust::cert::{self, Description};
use gatepost_trust::verify::{Check, RevocationMode, Status, Verdict, VerifiedBy};
use gatepost_wire::seam::{self, TlsFacts};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::cert::{describe_as_json, tree};
use super::settings::Tls;
use super::text::plain;
use super::trouble::Trouble;
use super::url::Protocol;

/// What became of a connection.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Host and port.
    pub(crate) place: String,
    /// What was spoken.
    pub(crate) protocol: Protocol,
    /// How TLS was to be started.
    pub(crate) tls_mode: Tls,
    /// How the words travelled.
    pub(crate) channel: Channel,
    /// How much revocation counts.
    pub(crate) revocation: RevocationMode,
    /// What was negotiated.
    pub(crate) facts: Option<TlsFacts>,
    /// What the judge found.
    pub(crate) verdict: Option<Verdict>,
    /// The certificates.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// How the login was done.
    pub(crate) mechanism: Option<&'static str>,
}

/// `Clear`, `Encrypted` or `Verified(by)`, `by` as the judge writes it. [MUA-07] [OS-04]
pub(crate) fn channel_word(channel: Channel) -> String {
    match channel {
        Channel::Clear => "Clear".to_owned(),
        Channel::Encrypted => "Encrypted".to_owned(),
        Channel::Verified(by) => format!("Verified({})", name(by)),
    }
}

fn name(by: seam::VerifiedBy) -> VerifiedBy {
    match by {
        seam::VerifiedBy::Pkix => VerifiedBy::Pkix,
        seam::VerifiedBy::Dane => VerifiedBy::Dane,
        seam::VerifiedBy::MtaSts => VerifiedBy::MtaSts,
        seam::VerifiedBy::Pin => VerifiedBy::Pin,
    }
}

impl Reached {
    /// In a line.
    pub(crate) fn line(&self) -> String {
        let mut words = vec![self.place.clone(), channel_word(self.channel)];
        if let Some(facts) = &self.facts {
            words.push(facts.version.label().to_owned());
        }
        if let Some(mechanism) = self.mechanism {
            words.push(format!("login by {mechanism}"));
        }
        words.join("  ")
    }

    /// The beginning of a JSON document.
    pub(crate) fn as_json(&self, schema: &str) -> Value {
        let chain: Vec<Value> = self.descriptions().iter().map(describe_as_json).collect();
        let checks = self.verdict.as_ref().map(|verdict| &verdict.checks);
        let checks: Vec<Value> = checks.into_iter().flatten().map(check_as_json).collect();
        json!({
            "schema": schema,
            "server": self.place,
            "protocol": self.protocol.label(),
            "tls_mode": self.tls_mode.label(),
            "channel": channel_word(self.channel),
            "tls": self.facts.as_ref().map(facts_as_json),
            "revocation": self.revocation.label(),
            "checks": checks,
            "chain": chain,
            "login": self.mechanism,
        })
    }

    /// The JSON document of a run that came to nothing.
    pub(crate) fn failed(&self, schema: &str, trouble: &Trouble) -> Value {
        let mut document = self.as_json(schema);
        document["error"] = trouble.as_json();
        document["exit"] = json!(trouble.code);
        document
    }

    /// The TLS facts, the chain as a tree, and each check with its verdict.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        text.push_str(&format!(
            "Server    {}, {}, TLS {}\nChannel   {}\n",
            self.place,
            self.protocol.label(),
            self.tls_mode.label(),
            channel_word(self.channel)
        ));
        if let Some(facts) = &self.facts {
            text.push_str(&format!("TLS       {}\n", facts_line(facts)));
        }
        let chain = self.descriptions();
        if !chain.is_empty() {
            text.push_str("Chain\n");
            for line in tree(&chain, false).lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
        if let Some(verdict) = &self.verdict {
            // [REV-01] by what a revoked certificate would be found.
            text.push_str(&format!(
                "Revoked   {}: {}\n",
                self.revocation.label(),
                self.revocation.words()
            ));
            text.push_str("Checks\n");
            for check in &verdict.checks {
                text.push_str(&check_lines(check));
            }
            if verdict.is_excepted() {
                text.push_str("  this certificate is taken by your exception, not verified\n");
            }
        }
        text
    }

    fn descriptions(&self) -> Vec<Description> {
        self.chain
            .iter()
            .filter_map(|it| cert::describe(it).ok())
            .collect()
    }
}

fn facts_line(facts: &TlsFacts) -> String {
    let mut words = vec![facts.version.label().to_owned(), facts.suite.to_string()];
    if let Some(group) = facts.group {
        words.push(format!("key exchange {group}"));
    }
    words.push(match &facts.sni {
        Some(name) => format!("SNI {name}"),
        None => "no SNI".to_owned(),
    });
    if let Some(alpn) = &facts.alpn {
        words.push(format!("ALPN {alpn}"));
    }
    words.join(", ")
}

fn facts_as_json(facts: &TlsFacts) -> Value {
    json!({
        "version": facts.version.label(),
        "suite": facts.suite,
        "group": facts.group,
        "sni": facts.sni,
        "alpn": facts.alpn,
        "resumed": facts.resumed,
    })
}

fn check_lines(check: &Check) -> String {
    let mut text = format!("  {:<15} {}\n", check.kind.label(), check.status.label());
    if let Some(reason) = check.status.reason() {
        text.push_str(&format!(
            "    {}: {}\n",
            reason.label(),
            plain(&reason.to_string())
        ));
        // What is unknown and taken all the same needs nobody to act.
        if matches!(check.status, Status::Fail(_)) {
            text.push_str(&format!("    next: {}\n", reason.advice()));
        }
    }
    text
}

fn check_as_json(check: &Check) -> Value {
    let reason = check.status.reason().map(|reason| {
        json!({"label": reason.label(), "text": plain(&reason.to_string()), "next": reason.advice()})
    });
    json!({"check": check.kind.label(), "status": check.status.label(), "reason": reason})
}
