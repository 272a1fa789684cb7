//! What was seen of one service. Facts only: whether something is good is not said here.
//!
//! They are kept as JSON (schema `gatepost-facts-1`) and judged again later, so a field that changes its meaning makes a new schema.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::target::Target;

/// The schema of kept facts.
pub const SCHEMA: &str = "gatepost-facts-1";

/// Something that was asked, or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen<T> {
    /// Nobody asked: the tier does not go so deep, or the question does not arise.
    #[default]
    Unasked,
    /// It was to be asked and could not be told.
    Unknown {
        /// Why.
        why: String,
        /// How many connections it takes to tell.
        missing: u32,
    },
    /// The answer.
    Known(T),
}

impl<T> Seen<T> {
    /// The answer, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(it) => Some(it),
            Self::Unknown { .. } | Self::Unasked => None,
        }
    }

    /// Could not be told, and would take one connection.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown {
            why: why.into(),
            missing: 1,
        }
    }

    /// Whether nobody asked.
    pub fn is_unasked(&self) -> bool {
        matches!(self, Self::Unasked)
    }
}

/// How the first connection went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Reach {
    /// Connected.
    Connected {
        /// How long it took, in milliseconds: about one round trip.
        milliseconds: u64,
    },
    /// A closed port: answered with a reset.
    Refused,
    /// No answer at all: a filter, or nobody there.
    Silent,
    /// The network says there is no way, or another local trouble.
    Unreachable {
        /// What it said.
        why: String,
    },
}

/// What the greeting was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GreetingKind {
    /// Welcome.
    Welcome,
    /// IMAP's PREAUTH.
    Preauthenticated,
    /// 421, BYE, -ERR, or closed: not now, or too many.
    Throttled,
    /// 554 and the like: not for us.
    Rejected,
    /// Nothing, for as long as we wait.
    Silent,
    /// Closed before a word.
    Closed,
    /// TLS records where words should be.
    Tls,
    /// Line upon line, and no last one.
    Endless,
    /// Something else.
    Strange,
}

/// The first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// What it was.
    pub kind: GreetingKind,
    /// The words, escaped.
    pub text: String,
    /// How long they took, in milliseconds.
    pub milliseconds: u64,
}

/// What a server says it can, in clear or inside TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// The capabilities, upper case, with their parameters, in order: `SIZE 1000`, `AUTH PLAIN LOGIN`, `AUTH=PLAIN`, `SASL PLAIN`.
    pub words: Vec<String>,
    /// SMTP: EHLO was refused and HELO taken.
    pub only_helo: bool,
    /// Codes of IMAP responses that came without being asked for: `ALERT`, `REFERRAL …`.
    pub codes: Vec<String>,
}

impl Capabilities {
    /// Whether this capability is there, by its first word.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.parameters(name).is_some()
    }

    /// What stands behind this capability's first word.
    #[must_use]
    pub fn parameters(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| {
            let (first, rest) = word.split_once(' ').unwrap_or((word, ""));
            (first == name).then_some(rest)
        })
    }

    /// The mechanisms of SASL: SMTP's `AUTH` and the old `AUTH=`, IMAP's `AUTH=`, POP3's and `ManageSieve`'s `SASL`.
    #[must_use]
    pub fn mechanisms(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for word in &self.words {
            let Some(("AUTH" | "SASL", list)) = word.split_once([' ', '=']) else {
                continue;
            };
            for name in list.split_whitespace() {
                let name = name.trim_matches('"').to_owned();
                if !name.is_empty() && !found.contains(&name) {
                    found.push(name);
                }
            }
        }
        found
    }
}

/// What came of the command that begins TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StartTls {
    /// Whether it was offered.
    pub offered: bool,
    /// A word that stands where it should: masked by something on the path, such as `XXXXXXXX`.
    pub masked: Option<String>,
    /// Whether it was taken; none when nobody said it.
    pub accepted: Option<bool>,
    /// The answer, escaped.
    pub reply: Option<String>,
    /// Octets that stood behind the answer, before any of ours, escaped.
    pub residue: Option<String>,
}

/// How the full handshake went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The suite by its registered name.
    pub suite: String,
    /// The group of the key exchange.
    pub group: Option<String>,
    /// The application protocol chosen.
    pub alpn: Option<String>,
    /// The certificates in DER, base64, the server's own first.
    pub chain: Vec<String>,
    /// The length of the stapled OCSP answer in octets; 0 is none.
    pub staple: usize,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// What the judge found about the chain, name, date and revocation, in the order it looked.
    pub verdict: Vec<TrustFact>,
    /// Who vouched: `PKIX`; none when nobody did.
    pub verified: Option<String>,
}

/// A full handshake that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeFailed {
    /// A stable word: `peer_alert`, `no_common_version`, `not_tls`, `timeout`, …
    pub label: String,
    /// In words.
    pub text: String,
    /// The alert the server ended it with.
    pub alert: Option<u8>,
    /// Whether a hello without the large hybrid key share was answered where the first was not; none when it was not tried.
    pub classic_works: Option<bool>,
}

/// One thing the judge of certificates looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFact {
    /// `chain`, `name`, `date`, `revocation`, …
    pub kind: String,
    /// `pass`, `fail`, `skipped`, …
    pub status: String,
    /// The reason, in a sentence; none when it passed.
    pub reason: Option<String>,
}

/// What a hello without cryptography was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// The version agreed on, such as 0x0303; none when the hello was refused.
    pub version: Option<u16>,
    /// The suite.
    pub suite: Option<u16>,
    /// The group: of the key share, of a retry, or of the key exchange message.
    pub group: Option<u16>,
    /// The signature scheme of the key exchange message.
    pub scheme: Option<u16>,
    /// The size in bits of the prime, for DHE.
    pub dh_bits: Option<u32>,
    /// SHA-256 of the prime, hexadecimal, for DHE.
    pub dh_prime: Option<String>,
    /// The compression method chosen; 0 is none.
    pub compression: Option<u8>,
    /// The extension types in the answer.
    pub extensions: Vec<u16>,
    /// The certificates that came in clear (TLS 1.2 and before), DER in base64.
    pub chain: Vec<String>,
    /// The alert it was refused with.
    pub alert: Option<u8>,
    /// Whether the connection ended without an alert.
    pub closed: bool,
    /// Whether the server's random says that it could speak a newer version than was asked for (RFC 9846 4.1.3).
    #[serde(default)]
    pub downgraded: bool,
    /// Whether the server asked for a certificate of ours in clear (TLS 1.2 and before).
    #[serde(default)]
    pub asks_certificate: bool,
}

impl HelloAnswer {
    /// Whether the hello was taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.version.is_some()
    }

    /// Whether it is one of TLS: the hello was taken, or refused with an alert.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_taken() || self.alert.is_some()
    }
}

/// What became of a command slipped in before TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Injection {
    /// The command was carried out inside TLS: proof attached.
    Executed {
        /// What came that nobody asked for inside TLS, escaped.
        proof: String,
    },
    /// Answered in clear before TLS.
    AnsweredInClear {
        /// The octets behind the reply, escaped.
        words: String,
    },
    /// The upgrade was refused, or the connection ended.
    Refused {
        /// What was said, or how it ended.
        how: String,
    },
    /// TLS came up and the command was forgotten.
    Discarded,
}

/// What a session ticket says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// For how many seconds it is meant to hold; 0 in TLS 1.2 is not said.
    pub lifetime: u32,
    /// How many octets of early data it allows.
    pub early_data: Option<u32>,
}

/// What came of a provocation: of what no honest client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Provocation {
    /// What it aims at is not there.
    Absent {
        /// How that was seen.
        why: String,
    },
    /// Refused, or passed over as it should be.
    Refused {
        /// What was said, or how it ended.
        how: String,
    },
    /// The hole is open.
    Worked {
        /// What came back.
        proof: String,
    },
}

/// Whether clients are to show a certificate (RFC 9846 4.3.2, RFC 5246 7.4.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ClientCertificate {
    /// Nobody asks.
    NotAsked,
    /// Asked for, and none is taken, too.
    Asked,
    /// Asked for, and without one it did not go on.
    Demanded {
        /// How it ended.
        how: String,
    },
}

/// What a hello without a name, or with an unknown one, was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Named {
    /// With a certificate.
    Served {
        /// The certificates in DER, base64, the server's own first.
        chain: Vec<String>,
    },
    /// It was refused.
    Refused {
        /// The alert, if there was one.
        alert: Option<u8>,
        /// In words.
        how: String,
    },
}

/// What a login with NTLM, begun and broken off, was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Ntlm {
    /// With a challenge.
    Challenge(Challenge),
    /// It was refused.
    Refused {
        /// What was said.
        how: String,
    },
}

/// What a challenge tells of the server ([MS-NLMP] 2.2.1.2, 2.2.2.1), escaped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Challenge {
    /// The domain it would log in to, or its own name.
    pub target: Option<String>,
    /// Its `NetBIOS` name.
    pub computer: Option<String>,
    /// The `NetBIOS` name of its domain.
    pub domain: Option<String>,
    /// Its full name in DNS.
    pub dns_computer: Option<String>,
    /// The name of its domain in DNS.
    pub dns_domain: Option<String>,
    /// The name of its forest in DNS.
    pub dns_forest: Option<String>,
    /// Of its operating system: `10.0.20348`.
    pub version: Option<String>,
}

/// Everything about one service at one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What was examined.
    pub target: Target,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
    /// How many connections were made.
    pub connections: u32,
    /// How the first connection went.
    pub reach: Reach,
    /// What refused us in the middle, after which nothing more was asked.
    pub stopped: Option<String>,
    /// The first words in clear.
    pub greeting: Seen<Greeting>,
    /// What is offered in clear.
    pub clear: Seen<Capabilities>,
    /// The upgrade.
    pub start_tls: Seen<StartTls>,
    /// The full handshake.
    pub handshake: Seen<Handshake>,
    /// Why there was no full handshake, when there was none.
    pub handshake_failed: Option<HandshakeFailed>,
    /// Whether the handshake asked for a certificate of ours.
    #[serde(default)]
    pub client_certificate: Seen<ClientCertificate>,
    /// What is offered inside TLS.
    pub encrypted: Seen<Capabilities>,
    /// Words inside TLS that came without being asked for, escaped; none when there were none.
    pub unasked: Seen<Option<String>>,
    /// Words inside TLS behind the answer to the only command there was, escaped; none when there were none.
    #[serde(default)]
    pub surplus: Seen<Option<String>>,
    /// What answered a second STARTTLS inside TLS; none when it was refused.
    pub second: Seen<Option<String>>,
    /// Hellos without cryptography, by the name of the probe: `ssl2`, `ssl3`, `tls1.0`, `anon`, `pq`, …
    pub hellos: BTreeMap<String, Seen<HelloAnswer>>,
    /// A whole command behind STARTTLS.
    pub injection: Seen<Injection>,
    /// The beginning of a command behind STARTTLS.
    pub injection_part: Seen<Injection>,
    /// A command behind STARTTLS ended by a bare LF.
    pub injection_bare: Seen<Injection>,
    /// What a login attempt without credentials was answered with in clear: true when it was let go on.
    pub login_in_clear: Seen<bool>,
    /// What a login with NTLM tells, where it is offered: `clear` and `tls`.
    #[serde(default)]
    pub ntlm: BTreeMap<String, Seen<Ntlm>>,
    /// SMTP: what `MAIL FROM` in clear was answered with: true when it was taken.
    pub mail_in_clear: Seen<bool>,
    /// SMTP: whether a transaction begun before TLS went on inside it.
    pub state_kept: Seen<bool>,
    /// Whether the server went on in clear after a failed handshake.
    pub clear_after_failure: Seen<bool>,
    /// Implicit TLS: words in clear before any of ours, escaped; none when there were none.
    pub clear_on_implicit: Seen<Option<String>>,
    /// STARTTLS ports: whether TLS was spoken without STARTTLS.
    pub eager_tls: Seen<bool>,
    /// The parameters `STARTTLS x` was answered with: true when it was taken.
    pub parameter_taken: Seen<bool>,
    /// What hellos of strangers are answered with, by the name they send: `none` and `unknown`.
    #[serde(default)]
    pub names: BTreeMap<String, Seen<Named>>,
    /// The longest-lived session ticket by version, `tls1.2` and `tls1.3`; none where none was given.
    #[serde(default)]
    pub tickets: BTreeMap<String, Seen<Option<Ticket>>>,
    /// Whether a session was taken up again on another connection.
    #[serde(default)]
    pub resumed: Seen<bool>,
    /// Provocations, by the name of the probe: `renegotiation`, `unbound-renegotiation`, `heartbeat`, `early-ccs`, `padding`, `relay`,
    /// `names`, `smuggling`.
    #[serde(default)]
    pub provoked: BTreeMap<String, Seen<Provocation>>,
    /// The dialogue of the first connection, one line each, `C: ` or `S: `, escaped.
    pub transcript: Vec<String>,
}

/// Certificates as facts keep them, read; what is none is left out.
pub(crate) fn certificates(chain: &[String]) -> Vec<CertificateDer<'static>> {
    let octets = chain.iter().filter_map(|it| BASE64.decode(it).ok());
    octets.map(CertificateDer::from).collect()
}

impl Facts {
    /// The chains that were shown, each once by its first certificate: that of the full handshake, then those that came in clear with older
    /// hellos.
    #[must_use]
    pub fn chains(&self) -> Vec<Vec<CertificateDer<'static>>> {
        let full = self.handshake.known().map(|it| &it.chain);
        let hellos = self.hellos.values().filter_map(Seen::known);
        let mut found: Vec<Vec<CertificateDer<'static>>> = Vec::new();
        for chain in full.into_iter().chain(hellos.map(|it| &it.chain)) {
            let chain = certificates(chain);
            if !chain.is_empty() && !found.iter().any(|it| it.first() == chain.first()) {
                found.push(chain);
            }
        }
        found
    }

    /// Nothing seen yet.
    #[must_use]
    pub fn new(target: Target, at: u64, reach: Reach) -> Self {
        Self {
            target,
            at,
            connections: 0,
            reach,
            stopped: None,
            greeting: Seen::Unasked,
            clear: Seen::Unasked,
            start_tls: Seen::Unasked,
            handshake: Seen::Unasked,
            handshake_failed: None,
            client_certificate: Seen::Unasked,
            encrypted: Seen::Unasked,
            unasked: Seen::Unasked,
            surplus: Seen::Unasked,
            second: Seen::Unasked,
            hellos: BTreeMap::new(),
            injection: Seen::Unasked,
            injection_part: Seen::Unasked,
            injection_bare: Seen::Unasked,
            login_in_clear: Seen::Unasked,
            ntlm: BTreeMap::new(),
            mail_in_clear: Seen::Unasked,
            state_kept: Seen::Unasked,
            clear_after_failure: Seen::Unasked,
            clear_on_implicit: Seen::Unasked,
            eager_tls: Seen::Unasked,
            parameter_taken: Seen::Unasked,
            names: BTreeMap::new(),
            tickets: BTreeMap::new(),
            resumed: Seen::Unasked,
            provoked: BTreeMap::new(),
            transcript: Vec::new(),
        }
    }
}
