//! Lint of Postfix: the snippet that many guides print, line by line, and the lines that must not be judged.

use gatepost_audit::config::{self, Document, Kind, NoFiles, Outcome, Version};
use gatepost_audit::finding::Severity;
use gatepost_audit::report;

fn lint(name: &str, text: &str) -> Outcome {
    config::lint(
        Kind::Postfix,
        vec![Document::new(name, text)],
        None,
        &mut NoFiles,
    )
}

fn ids(outcome: &Outcome) -> Vec<&'static str> {
    outcome.findings.iter().map(|it| it.rule.id).collect()
}

// [CFG-PF-01]
#[test]
fn every_line_of_the_common_snippet_is_explained() {
    let outcome = lint("guide.cf", include_str!("corpus/postfix/guide/main.cf"));
    let found = &outcome.findings;
    let told: Vec<(usize, &str, Option<&str>)> = found
        .iter()
        .map(|f| (f.place.line, f.rule.id, f.fix.as_deref()))
        .collect();
    let chain = Some("smtpd_tls_chain_files = /etc/ssl/private/mail.key, /etc/ssl/certs/mail.pem");
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
            (
                5,
                "PF-USE-TLS",
                Some("remove this line; smtpd_tls_security_level decides")
            ),
            (7, "PF-NO-MAILBOX", level),
            (8, "PF-NO-MAILBOX", cert),
            (9, "PF-NO-MAILBOX", key),
            (10, "PF-NO-MAILBOX", level),
            (11, "PF-NO-MAILBOX", cert),
            (12, "PF-NO-MAILBOX", key),
        ]
    );
    assert_eq!(report::exit_code(found, Severity::High), 1);
    assert_eq!(report::exit_code(found, Severity::Critical), 0);
    assert_eq!(report::json(found)["findings"][10]["line"], 12);
    let fixed = config::edit::apply(&outcome.documents[0].text, &outcome.edits, 0);
    assert_eq!(
        fixed,
        "smtpd_tls_security_level = may\nsmtpd_tls_auth_only = yes\n\
         smtpd_tls_chain_files = /etc/ssl/private/mail.key, /etc/ssl/certs/mail.pem\n\n\
         # belongs into dovecot.conf: ssl = required\n\
         # belongs into dovecot.conf: ssl_server_cert_file = /etc/ssl/certs/mail.pem\n\
         # belongs into dovecot.conf: ssl_server_key_file = /etc/ssl/private/mail.key\n\
         # belongs into dovecot.conf: ssl = required\n\
         # belongs into dovecot.conf: ssl_server_cert_file = /etc/ssl/certs/mail.pem\n\
         # belongs into dovecot.conf: ssl_server_key_file = /etc/ssl/private/mail.key\n"
    );
}

#[test]
fn taking_out_the_old_switch_never_switches_tls_off() {
    for (text, line) in [
        ("smtpd_use_tls = yes\n", "smtpd_tls_security_level = may\n"),
        (
            "smtpd_enforce_tls = yes\nsmtpd_use_tls = yes\n",
            "smtpd_tls_security_level = encrypt\n",
        ),
        ("smtpd_use_tls = no\n", "smtpd_tls_security_level = may\n"),
        ("smtp_use_tls = yes\n", "smtp_tls_security_level = may\n"),
        (
            "smtpd_tls_security_level =\nsmtpd_use_tls = yes\n",
            "smtpd_tls_security_level =\nsmtpd_tls_security_level = may\n",
        ),
    ] {
        let outcome = lint("main.cf", text);
        let fixed = config::edit::apply(text, &outcome.edits, 0);
        assert_eq!(fixed, line, "{text}");
    }
}

#[test]
fn logins_in_clear_are_critical() {
    let found = lint("main.cf", "smtpd_tls_auth_only = no\n").findings;
    assert_eq!(found[0].rule.severity, Severity::Critical);
    assert_eq!(found[0].fix.as_deref(), Some("smtpd_tls_auth_only = yes"));
    assert_eq!(found[0].place.column, 23);
    // The default is no, too.
    assert_eq!(
        ids(&lint(
            "main.cf",
            "smtpd_sasl_auth_enable = yes\nsmtpd_tls_security_level = may\n"
        )),
        ["PF-AUTH-CLEAR", "PF-LEVEL-MAY"]
    );
}

#[test]
fn what_cannot_be_told_is_said_and_what_cannot_be_read_is_named() {
    let outcome = lint(
        "main.cf",
        "smtpd_tls_security_level = $x\n\u{1b}[2J\n  = 1\n",
    );
    assert_eq!(ids(&outcome), ["PF-UNDECIDED", "PF-SYNTAX", "PF-SYNTAX"]);
    assert!(!report::text(&outcome.findings).contains('\u{1b}'));
    let line = |_: &str, line: usize| outcome.documents[0].text.lines().nth(line - 1);
    assert!(!report::text_with(&outcome.findings, &line).contains('\u{1b}'));
}

#[test]
fn only_what_is_in_force_is_judged() {
    let twice = "smtpd_tls_auth_only = no\nsmtpd_tls_auth_only = yes\n";
    assert_eq!(
        ids(&lint("main.cf", twice)),
        ["PF-DUPLICATE", "PF-AUTH-ONLY"]
    );
    let encrypt = "smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = no\n";
    assert_eq!(
        ids(&lint("main.cf", encrypt)),
        ["PF-LEVEL-ENCRYPT", "PF-AUTH-ONLY-OFF"]
    );
}

#[test]
fn versions_decide_what_is_known_and_what_is_deprecated() {
    let judge = |text: &str, version| {
        ids(&config::lint(
            Kind::Postfix,
            vec![Document::new("main.cf", text)],
            Some(version),
            &mut NoFiles,
        ))
    };
    assert_eq!(
        judge("smtp_tlsrpt_enable = yes\n", Version(3, 9)),
        ["PF-TOO-NEW"]
    );
    assert_eq!(
        judge("disable_dns_lookups = no\n", Version(3, 8)),
        [] as [&str; 0]
    );
    assert_eq!(
        judge("disable_dns_lookups = no\n", Version(3, 9)),
        ["PF-DEPRECATED"]
    );
}

#[test]
fn the_mark_stands_under_the_value() {
    let outcome = lint("main.cf", "# c\nsmtpd_tls_security_level = none\n");
    let line = |_: &str, line: usize| outcome.documents[0].text.lines().nth(line - 1);
    let text = report::text_with(&outcome.findings, &line);
    assert!(
        text.contains("    smtpd_tls_security_level = none\n                               ^\n"),
        "{text}"
    );
}
