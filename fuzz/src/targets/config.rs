//! Configurations of mail servers: read, judged, corrected, and judged again.

use std::path::Path;

use gatepost_audit::config::{self, Document, Kind, NoFiles, Outcome, Version};
use gatepost_audit::report;

use crate::Target;
use crate::behaviour;

/// main.cf and master.cf.
pub const POSTFIX: Target = Target {
    name: "config-postfix",
    run: |data| judge(Kind::Postfix, data),
    seeds: || corpus("postfix"),
    words: &[
        "smtpd_tls_security_level = ",
        "may",
        "encrypt",
        "${a?b}",
        "$a",
        "\n\t",
        "-o ",
        "{ ",
        " inet n - y - - smtpd\n",
        "smtpd_use_tls = yes\n",
        ">=TLSv1.2",
        "#",
    ],
};

/// dovecot.conf.
pub const DOVECOT: Target = Target {
    name: "config-dovecot",
    run: |data| judge(Kind::Dovecot, data),
    seeds: || corpus("dovecot"),
    words: &[
        "ssl = required\n",
        "ssl_cert = <",
        "service imap-login {\n",
        "inet_listener imaps {\n",
        "port = 993\n",
        "}\n",
        "!include ",
        "\\\n",
        " # ",
        "\"",
    ],
};

/// exim4.conf.
pub const EXIM: Target = Target {
    name: "config-exim",
    run: |data| judge(Kind::Exim, data),
    seeds: || corpus("exim"),
    words: &[
        "tls_advertise_hosts = *\n",
        "auth_advertise_hosts = ",
        "${if eq{$tls_in_cipher}{}{}{*}}",
        "MACRO = x\n",
        "MACRO",
        ".ifdef X\n",
        ".endif\n",
        "begin transports\n",
        "\\\n",
    ],
};

/// imapd and its kin.
pub const COURIER: Target = Target {
    name: "config-courier",
    run: |data| judge(Kind::Courier, data),
    seeds: || corpus("courier"),
    words: &[
        "IMAP_TLS_REQUIRED=0\n",
        "TLS_PROTOCOL=",
        "$TLS_PROTOCOL",
        "\"",
        "'",
        "\\",
        "#",
    ],
};

/// Judges a text, and what its corrections make of it.
///
/// # Panics
/// When a finding stands outside of the text, a correction brings itself back for ever, or a line that nobody corrected is gone.
fn judge(kind: Kind, data: &[u8]) {
    let (choice, text) = data.split_first().unwrap_or((&0, &[]));
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let version = [
        None,
        Some(Version(2, 4)),
        Some(Version(3, 7)),
        Some(Version(2, 3)),
    ];
    let version = version[usize::from(*choice) % version.len()];
    let mut text = text.to_owned();
    // Each round corrects what the one before has uncovered; there is an end to it.
    for round in 0.. {
        assert!(round < 8, "corrections go on for ever:\n{text}");
        let outcome = lint(kind, &text, version);
        check(&outcome, &text);
        let fixed = config::edit::apply(&text, &outcome.edits, 0);
        if outcome.edits.is_empty() {
            assert_eq!(fixed, text, "a text without corrections changes");
            break;
        }
        if fixed == text {
            break;
        }
        text = fixed;
    }
}

fn lint(kind: Kind, text: &str, version: Option<Version>) -> Outcome {
    config::lint(kind, vec![Document::new("x", text)], version, &mut NoFiles)
}

fn check(outcome: &Outcome, text: &str) {
    let lines = text.split('\n').count();
    for finding in &outcome.findings {
        behaviour::note(finding.rule.id);
        assert!((1..=lines).contains(&finding.place.line), "{finding:?}");
        assert!(finding.place.column >= 1, "{finding:?}");
    }
    let told = report::text(&outcome.findings);
    assert!(
        told.chars().all(|it| it == '\n' || !it.is_control()),
        "a control character is printed"
    );
    for edit in &outcome.edits {
        assert!(
            edit.first >= 1
                && edit.first <= lines + 1
                && edit.last <= lines
                && edit.last + 1 >= edit.first,
            "{edit:?}"
        );
    }
}

fn corpus(server: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/audit/tests/corpus")
        .join(server);
    let mut seeds = Vec::new();
    for case in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(case.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            if file.file_name() != "expect"
                && let Ok(text) = std::fs::read(file.path())
            {
                seeds.push([b"\0", text.as_slice()].concat());
            }
        }
    }
    seeds.sort();
    seeds
}
