//! Facts and reports for tests: what a server would have to say to break a report, among them.

use std::collections::BTreeMap;

use super::document::{Check, Judged, JudgedDomain, Report};
use super::facts::{
    Capabilities, Challenge, ClientCertificate, Facts, Greeting, GreetingKind, Handshake,
    HandshakeFailed, HelloAnswer, Injection, Named, Ntlm, Provocation, Reach, Seen, StartTls,
    Ticket, TrustFact,
};
use super::target::{Protocol, Role, Start, Target};
use crate::finding::{Severity, Status};
use crate::rules::Rule;

/// What a server may say to whom writes reports.
pub(crate) const HOSTILE: &str = "=cmd|' /C calc'!A0 </script><script>alert(1)</script><img src=x onerror=alert(1)> \"quoted\", ]]> & \u{1b}[2J\u{202e}\0\r\n::error::x";

/// A rule that stands in no table.
pub(crate) fn rule(id: &'static str, severity: Severity) -> &'static Rule {
    Box::leak(Box::new(Rule {
        id,
        severity,
        source: "RFC 3207 section 4",
        text: "What it means, and why it matters.",
        fix: None,
        versions: None,
    }))
}

/// A check of such a rule.
pub(crate) fn check(id: &'static str, status: Status, severity: Severity, evidence: &str) -> Check {
    Check {
        rule: rule(id, severity),
        status,
        severity,
        evidence: evidence.to_owned(),
        fix: None,
        missing: u32::from(status == Status::Inconclusive),
    }
}

/// A service.
pub(crate) fn target(host: &str, port: u16) -> Target {
    Target {
        host: host.to_owned(),
        address: "192.0.2.1".parse().unwrap(),
        port,
        protocol: if port == 993 {
            Protocol::Imap
        } else {
            Protocol::Smtp
        },
        start: if port == 993 {
            Start::Implicit
        } else {
            Start::StartTls
        },
        role: if port == 993 { Role::Access } else { Role::Mx },
    }
}

/// A report with one check of each kind, and hostile words.
pub(crate) fn report() -> Report {
    let mut broken = check("STLS-001", Status::Fail, Severity::High, HOSTILE);
    broken.fix = Some(format!("smtpd_tls_security_level = may\n{HOSTILE}"));
    Report {
        profile: "gatepost".to_owned(),
        tier: "default".to_owned(),
        at: 1_764_196_000,
        domains: vec![JudgedDomain {
            domain: "example.org".to_owned(),
            checks: vec![check(
                "STS-001",
                Status::Warn,
                Severity::Medium,
                "no record at _mta-sts.example.org",
            )],
        }],
        targets: vec![
            Judged {
                target: target("mail.example.org", 25),
                connections: 11,
                checks: vec![
                    broken,
                    check(
                        "TLS-10",
                        Status::Pass,
                        Severity::Medium,
                        "refused with alert 70",
                    ),
                    check(
                        "INJ-001",
                        Status::Inconclusive,
                        Severity::Critical,
                        "421 too many connections",
                    ),
                    check(
                        "BAN-002",
                        Status::Info,
                        Severity::Info,
                        "220 mail.example.org ESMTP Postfix",
                    ),
                    check("IMPL-001", Status::NotApplicable, Severity::High, ""),
                ],
            },
            Judged {
                target: target("mail.example.org", 993),
                connections: 9,
                checks: vec![check(
                    "CERT-NAME",
                    Status::Fail,
                    Severity::Critical,
                    "the certificate is for other.example",
                )],
            },
        ],
    }
}

/// Facts with every field answered, and facts with none.
pub(crate) fn facts() -> Vec<Facts> {
    let refused = Facts::new(target("closed.example.org", 25), 1, Reach::Refused);
    let mut full = Facts::new(
        target("mail.example.org", 25),
        1,
        Reach::Connected { milliseconds: 12 },
    );
    full.connections = 11;
    full.stopped = Some("421 too many connections".to_owned());
    full.greeting = Seen::Known(Greeting {
        kind: GreetingKind::Welcome,
        text: format!("220 mail.example.org ESMTP Postfix {HOSTILE}"),
        milliseconds: 3,
    });
    let capabilities = Capabilities {
        words: vec![
            "PIPELINING".to_owned(),
            "STARTTLS".to_owned(),
            HOSTILE.to_owned(),
        ],
        only_helo: false,
        codes: Vec::new(),
    };
    full.clear = Seen::Known(capabilities.clone());
    full.encrypted = Seen::Known(capabilities);
    full.start_tls = Seen::Known(StartTls {
        offered: true,
        accepted: Some(true),
        ..StartTls::default()
    });
    full.handshake = Seen::Known(handshake());
    full.handshake_failed = Some(HandshakeFailed {
        label: "peer_alert".to_owned(),
        text: HOSTILE.to_owned(),
        alert: Some(40),
        classic_works: None,
    });
    full.client_certificate = Seen::Known(ClientCertificate::Demanded {
        how: HOSTILE.to_owned(),
    });
    full.unasked = Seen::Known(None);
    full.second = Seen::Known(Some("220 go on".to_owned()));
    full.hellos = BTreeMap::from([
        (
            "tls1.0".to_owned(),
            Seen::Known(HelloAnswer {
                alert: Some(70),
                ..HelloAnswer::default()
            }),
        ),
        ("ssl2".to_owned(), Seen::unknown("421 too many connections")),
    ]);
    full.injection = Seen::Known(Injection::Executed {
        proof: "250 2.0.0 Ok".to_owned(),
    });
    full.injection_part = Seen::Known(Injection::Discarded);
    full.injection_bare = Seen::Known(Injection::Refused {
        how: "501".to_owned(),
    });
    full.login_in_clear = Seen::Known(false);
    let challenge = Challenge {
        target: Some("CORP".to_owned()),
        dns_computer: Some(HOSTILE.to_owned()),
        ..Challenge::default()
    };
    full.ntlm = BTreeMap::from([
        ("clear".to_owned(), Seen::unknown("421 too many")),
        ("tls".to_owned(), Seen::Known(Ntlm::Challenge(challenge))),
    ]);
    let nameless = Named::Refused {
        alert: Some(112),
        how: HOSTILE.to_owned(),
    };
    full.names = BTreeMap::from([
        ("none".to_owned(), Seen::unknown("421 too many")),
        ("unknown".to_owned(), Seen::Known(nameless)),
    ]);
    let ticket = Ticket {
        lifetime: 7200,
        early_data: None,
    };
    full.tickets = BTreeMap::from([
        ("tls1.2".to_owned(), Seen::Known(None)),
        ("tls1.3".to_owned(), Seen::Known(Some(ticket))),
    ]);
    full.resumed = Seen::Known(true);
    full.provoked = BTreeMap::from([
        (
            "relay".to_owned(),
            Seen::Known(Provocation::Worked {
                proof: HOSTILE.to_owned(),
            }),
        ),
        ("padding".to_owned(), Seen::unknown("421 too many")),
    ]);
    full.transcript = vec![
        "S: 220 mail.example.org".to_owned(),
        "C: EHLO us.example".to_owned(),
    ];
    vec![full, refused]
}

fn handshake() -> Handshake {
    let made = rcgen::generate_simple_self_signed(vec!["mail.example.org".to_owned()]).unwrap();
    let chain = vec![base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        made.cert.der(),
    )];
    Handshake {
        version: "TLSv1.3".to_owned(),
        suite: "TLS_AES_128_GCM_SHA256".to_owned(),
        group: Some("X25519MLKEM768".to_owned()),
        alpn: None,
        chain,
        staple: 0,
        milliseconds: 20,
        verdict: vec![TrustFact {
            kind: "chain".to_owned(),
            status: "fail".to_owned(),
            reason: Some("self-signed".to_owned()),
        }],
        verified: None,
    }
}
