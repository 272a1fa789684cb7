//! Lint of Postfix main.cf: the snippet that many guides print, line by line, and the lines that must not be judged.

use gatepost_audit::finding::Severity;
use gatepost_audit::{postfix, report};

// [CFG-PF-01]
#[test]
fn every_line_of_the_common_snippet_is_explained() {
    let found = postfix::lint("guide.cf", include_str!("corpus/postfix/guide.cf"));
    let told: Vec<(usize, &str, Option<&str>)> = found
        .iter()
        .map(|f| (f.place.line, f.rule.id, f.fix.as_deref()))
        .collect();
    let chain = Some("smtpd_tls_chain_files = KEY-FILE, CERTIFICATE-FILE");
    let cert = Some("ssl_server_cert_file = /etc/ssl/certs/mail.pem");
    let key = Some("ssl_server_key_file = /etc/ssl/private/mail.key");
    let level = Some("ssl = required");
    assert_eq!(
        told,
        [
            (1, "PF-LEVEL-MAY", None),
            (2, "PF-AUTH-ONLY", None),
            (3, "PF-CERT-PAIR", chain),
            (4, "PF-CERT-PAIR", chain),
            (5, "PF-USE-TLS", None),
            (7, "PF-NO-MAILBOX", level),
            (8, "PF-NO-MAILBOX", cert),
            (9, "PF-NO-MAILBOX", key),
            (10, "PF-NO-MAILBOX", level),
            (11, "PF-NO-MAILBOX", cert),
            (12, "PF-NO-MAILBOX", key),
        ]
    );
    assert_eq!(report::exit_code(&found, Severity::High), 1);
    assert_eq!(report::exit_code(&found, Severity::Critical), 0);
    assert_eq!(report::json(&found)["findings"][10]["line"], 12);
}

#[test]
fn continuations_go_on_over_comments() {
    let (settings, misread) =
        postfix::parse("smtpd_tls_auth_only =\n# no = yes\n\n  no\nmynetworks = a,\n\tb\n");
    assert!(misread.is_empty());
    assert_eq!(settings[0].value, "no");
    assert_eq!((settings[1].value.as_str(), settings[1].line), ("a, b", 5));
}

#[test]
fn logins_in_clear_are_critical() {
    let found = postfix::lint("main.cf", "smtpd_tls_auth_only = no\n");
    assert_eq!(found[0].rule.severity, Severity::Critical);
    assert_eq!(found[0].fix.as_deref(), Some("smtpd_tls_auth_only = yes"));
}

#[test]
fn what_cannot_be_told_is_said_and_what_cannot_be_read_is_named() {
    let found = postfix::lint(
        "main.cf",
        "smtpd_tls_security_level = $x\n\u{1b}[2J\n  = 1\n",
    );
    let ids: Vec<&str> = found.iter().map(|f| f.rule.id).collect();
    assert_eq!(ids, ["PF-UNDECIDED", "PF-SYNTAX", "PF-SYNTAX"]);
    assert!(!report::text(&found).contains('\u{1b}'));
}

#[test]
fn only_what_is_in_force_is_judged() {
    assert!(
        postfix::lint(
            "main.cf",
            "smtpd_tls_auth_only = no\nsmtpd_tls_auth_only = x\n"
        )
        .is_empty()
    );
    let encrypt = "smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = no\n";
    assert!(postfix::lint("main.cf", encrypt).is_empty());
}
