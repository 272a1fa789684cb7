//! What Courier's variables mean for logins and TLS.

use std::collections::HashMap;

use super::super::tls::has_weak_cipher;
use super::super::{Report, Setting};
use super::NAMES;

pub(super) fn judge(settings: &[Setting], report: &mut Report) {
    let named = settings.iter().map(|it| ((it.file, it.name.as_str()), it));
    let last: HashMap<(usize, &str), &Setting> = named.collect();
    for setting in settings {
        let later = last.get(&(setting.file, setting.name.as_str()));
        let later = later.filter(|later| **later != setting);
        if let Some(later) = later {
            if later.value != setting.value {
                report.about(
                    "CO-DUPLICATE",
                    setting,
                    Some(format!(
                        "remove this line; line {} is in force: {}",
                        later.line,
                        shown(later)
                    )),
                );
                report.replace(setting, Vec::new());
            }
            continue;
        }
        if setting.name == "TLS_CERTFILE" {
            let key = last.get(&(setting.file, "TLS_PRIVATE_KEYFILE"));
            report.pair(setting, &setting.value, &key.map_or(setting, |it| it).value);
        }
        if NAMES.contains(&setting.name.as_str()) || setting.name.starts_with("MAILDIR") {
            judge_value(settings, setting, report);
        } else {
            let near = report.nearest(&setting.name, NAMES.iter().copied());
            report.about(
                "CO-UNKNOWN",
                setting,
                near.map(|near| format!("{near}={}", quoted(&setting.value))),
            );
        }
    }
}

fn shown(setting: &Setting) -> String {
    format!("{}={}", setting.name, quoted(&setting.value))
}

fn quoted(value: &str) -> String {
    if value.contains([' ', '\t', ';', '&']) {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}

fn judge_value(settings: &[Setting], setting: &Setting, report: &mut Report) {
    let value = setting.value.as_str();
    let name = setting.name.as_str();
    match name {
        "IMAP_TLS_REQUIRED" | "POP3_TLS_REQUIRED" | "ESMTP_TLS_REQUIRED" => match value {
            "0" | "" => report.correct("CO-TLS-OPTIONAL", setting, format!("{name}=1")),
            it if it.contains(['$', '`']) => report.about_value("CO-UNDECIDED", setting, None),
            _ => {}
        },
        "IMAPDSTARTTLS" | "POP3_STARTTLS" if !is_yes(value) => {
            report.correct("CO-NO-STARTTLS", setting, format!("{name}=YES"));
        }
        "IMAPDSSLSTART" | "POP3DSSLSTART" if !is_yes(value) => {
            report.correct("CO-NO-IMPLICIT", setting, format!("{name}=YES"));
        }
        "TLS_PROTOCOL" | "TLS_STARTTLS_PROTOCOL" => protocol(settings, setting, report),
        "TLS_CIPHER_LIST" if has_weak_cipher(value) => report.about_value(
            "CO-CIPHERS",
            setting,
            Some("remove this line: the default is right".to_owned()),
        ),
        "TLS_PRIORITY" if weak_priority(value) => report.correct(
            "CO-PROTOCOL",
            setting,
            "TLS_PRIORITY=\"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2\"".to_owned(),
        ),
        "IMAP_CAPABILITY" if readable(value, "AUTH=") => {
            let kept: Vec<&str> = value
                .split_ascii_whitespace()
                .filter(|it| !matches!(*it, "AUTH=PLAIN" | "AUTH=LOGIN"))
                .collect();
            report.correct(
                "CO-AUTH-CLEAR",
                setting,
                format!("IMAP_CAPABILITY=\"{}\"", kept.join(" ")),
            );
        }
        "POP3AUTH" | "ESMTPAUTH" if readable(value, "") => {
            report.correct("CO-AUTH-CLEAR", setting, format!("{name}=\"\""));
        }
        _ => {}
    }
}

fn is_yes(value: &str) -> bool {
    value.starts_with(['y', 'Y'])
}

fn readable(value: &str, before: &str) -> bool {
    value.split_ascii_whitespace().any(|it| {
        it.strip_prefix(before)
            .is_some_and(|it| matches!(it, "PLAIN" | "LOGIN"))
    })
}

fn weak_priority(value: &str) -> bool {
    let value = value.to_ascii_uppercase();
    [
        "+VERS-TLS1.0",
        "+VERS-TLS1.1",
        "+VERS-SSL3.0",
        "+ARCFOUR",
        "+3DES",
        "LEGACY",
    ]
    .iter()
    .any(|it| value.contains(it))
}

/// `TLS1` and its kin name the least version that is taken, with `+` or `++` behind it; without, only that one.
fn protocol(settings: &[Setting], setting: &Setting, report: &mut Report) {
    let value = setting.value.as_str();
    let value = match value.strip_prefix('$') {
        Some(name) => match settings
            .iter()
            .rev()
            .find(|it| it.name == name && it.file == setting.file)
        {
            Some(other) => other.value.as_str(),
            // Not set is the default, which the library decides.
            None => return,
        },
        None => value,
    };
    let upper = value.to_ascii_uppercase();
    let line = format!("{}=\"TLSv1.2+\"", setting.name);
    match upper.as_str() {
        "TLSV1.2+" | "TLSV1.2++" | "TLSV1.3" | "TLSV1.3+" | "TLSV1.3++" | "" => {}
        _ => report.correct("CO-PROTOCOL", setting, line),
    }
}
