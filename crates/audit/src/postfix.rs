//! Postfix main.cf. A line that begins with white space goes on with the line before; comments and empty lines between the
//! two do not end it. A value with `$` is not expanded and therefore not judged: it could not be told.

use std::collections::HashMap;

use crate::finding::{Finding, Place};
use crate::rules;

/// One parameter as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, continuations joined by one space.
    pub value: String,
    /// Line of the name, from 1.
    pub line: usize,
    /// Column of the name, from 1.
    pub column: usize,
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// Its number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// Reads the text of a main.cf.
#[must_use]
pub fn parse(text: &str) -> (Vec<Setting>, Vec<Misread>) {
    let (mut settings, mut misread) = (Vec::<Setting>::new(), Vec::new());
    // Whether the last logical line was a parameter: a continuation of a line that was not read is not read either.
    let mut open = false;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if raw.starts_with(char::is_whitespace) {
            match settings.last_mut() {
                Some(last) if open => {
                    if !last.value.is_empty() {
                        last.value.push(' ');
                    }
                    last.value.push_str(trimmed);
                    continue;
                }
                _ => {}
            }
        } else if let Some((name, value)) = trimmed.split_once('=') {
            open = true;
            settings.push(Setting {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
                line,
                column: 1,
            });
            continue;
        }
        open = false;
        misread.push(Misread {
            line,
            text: trimmed.to_owned(),
        });
    }
    (settings, misread)
}

/// Judges the text of a main.cf.
#[must_use]
pub fn lint(file: &str, text: &str) -> Vec<Finding> {
    let (settings, misread) = parse(text);
    // Postfix takes the last of equal names; what stands before it is not in force.
    let in_force: HashMap<&str, &Setting> = settings
        .iter()
        .map(|setting| (setting.name.as_str(), setting))
        .collect();
    // postconf(5): encrypt implies that AUTH waits for TLS, whatever smtpd_tls_auth_only says.
    let encrypt = in_force
        .get("smtpd_tls_security_level")
        .is_some_and(|setting| setting.value == "encrypt");
    let mut findings: Vec<Finding> = in_force
        .values()
        .filter_map(|setting| {
            let (id, fix) = judge(setting)?;
            if encrypt && id == "PF-AUTH-CLEAR" {
                return None;
            }
            let evidence = format!("{} = {}", setting.name, setting.value);
            finding(id, evidence, fix, file, (setting.line, setting.column))
        })
        .collect();
    findings.extend(
        misread
            .into_iter()
            .filter_map(|bad| finding("PF-SYNTAX", bad.text, None, file, (bad.line, 1))),
    );
    findings.sort_by_key(|finding| finding.place.line);
    findings
}

fn finding(
    id: &str,
    evidence: String,
    fix: Option<String>,
    file: &str,
    (line, column): (usize, usize),
) -> Option<Finding> {
    Some(Finding {
        rule: rules::find(id)?,
        evidence,
        fix,
        place: Place {
            file: file.to_owned(),
            line,
            column,
        },
    })
}

/// The rule that has something to say about a setting, and what to write instead.
fn judge(setting: &Setting) -> Option<(&'static str, Option<String>)> {
    // [CFG-PF-01] what main.cf can say of it.
    let name = setting.name.as_str();
    if name.starts_with("imap_tls_") || name.starts_with("pop3_tls_") {
        return Some(("PF-NO-MAILBOX", dovecot(name, &setting.value)));
    }
    let known = matches!(name, "smtpd_tls_security_level" | "smtpd_tls_auth_only");
    if known && setting.value.contains('$') {
        return Some(("PF-UNDECIDED", None));
    }
    match (name, setting.value.as_str()) {
        ("smtpd_tls_security_level", "may") => Some(("PF-LEVEL-MAY", None)),
        ("smtpd_tls_security_level", "none") => Some((
            "PF-LEVEL-NONE",
            Some("smtpd_tls_security_level = may".to_owned()),
        )),
        ("smtpd_tls_auth_only", "yes") => Some(("PF-AUTH-ONLY", None)),
        ("smtpd_tls_auth_only", "no") => Some((
            "PF-AUTH-CLEAR",
            Some("smtpd_tls_auth_only = yes".to_owned()),
        )),
        ("smtpd_tls_cert_file" | "smtpd_tls_key_file", value) if !value.is_empty() => Some((
            "PF-CERT-PAIR",
            Some("smtpd_tls_chain_files = KEY-FILE, CERTIFICATE-FILE".to_owned()),
        )),
        ("smtpd_use_tls", _) => Some(("PF-USE-TLS", None)),
        _ => None,
    }
}

/// The same wish in Dovecot 2.4. The level is never `may` there: mailboxes are for logins.
fn dovecot(name: &str, value: &str) -> Option<String> {
    match name.split_once("_tls_")?.1 {
        "security_level" => Some("ssl = required".to_owned()),
        "cert_file" => Some(format!("ssl_server_cert_file = {value}")),
        "key_file" => Some(format!("ssl_server_key_file = {value}")),
        _ => None,
    }
}

/// Whether a text has a line that is a parameter of Postfix, or that someone took for one.
#[must_use]
pub fn looks_like(text: &str) -> bool {
    const PREFIXES: [&str; 5] = ["smtpd_", "smtp_", "imap_tls_", "pop3_tls_", "mydestination"];
    text.lines().any(|line| {
        line.split_once('=')
            .is_some_and(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    })
}
