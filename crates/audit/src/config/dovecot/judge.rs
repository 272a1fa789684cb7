//! What Dovecot's settings mean for logins and TLS.

use std::collections::HashMap;

use super::super::tls::{has_weak_cipher, index};
use super::super::{Report, Setting, Version};
use super::parse::{Line, Tree};
use super::table::{self, Era};
use crate::config::postfix;

pub(super) fn judge(tree: &Tree, version: Option<Version>, report: &mut Report) {
    let new = version.map_or_else(|| is_24(tree), |version| version >= Version(2, 4));
    let last = in_force(tree);
    for line in &tree.lines {
        if let Some(later) = overridden(line, &last) {
            if line.setting.value != later.setting.value {
                twice(line, later, report);
            } else if table::find(&line.setting.name).is_some() {
                // Said again in the same words: corrected along with the later one, not after it.
                judge_name(line, new, report);
            }
            continue;
        }
        if judge_name(line, new, report) {
            judge_value(tree, line, new, report);
        }
    }
    listeners(tree, report);
    absent(tree, new, report);
    for (cert, key) in [
        ("ssl_cert", "ssl_key"),
        ("ssl_server_cert_file", "ssl_server_key_file"),
    ] {
        if let (Some(cert), Some(key)) = (global(tree, cert), global(tree, key)) {
            let path = |it: &Setting| it.value.trim_start_matches('<').trim().to_owned();
            report.pair(cert, &path(cert), &path(key));
        }
    }
}

fn is_24(tree: &Tree) -> bool {
    tree.lines.iter().any(|it| {
        it.setting.name == "dovecot_config_version"
            || table::find(&it.setting.name)
                .is_some_and(|known| known.era == Era::From24 && it.sections.is_empty())
    })
}

/// The value in force outside of sections.
fn global<'a>(tree: &'a Tree, name: &str) -> Option<&'a Setting> {
    let mut lines = tree.lines.iter().rev();
    let line = lines.find(|it| it.setting.name == name && it.sections.is_empty());
    line.map(|it| &it.setting)
}

/// The last line of each name outside of sections.
fn in_force(tree: &Tree) -> HashMap<&str, &Line> {
    let lines = tree.lines.iter().filter(|it| it.sections.is_empty());
    lines.map(|it| (it.setting.name.as_str(), it)).collect()
}

/// A later line of the same name. Lists that grow (`x = $x y`) are not overridden, and inside of sections a name may stand several
/// times.
fn overridden<'a>(line: &Line, last: &HashMap<&str, &'a Line>) -> Option<&'a Line> {
    if !line.sections.is_empty() {
        return None;
    }
    let later = *last.get(line.setting.name.as_str())?;
    let value = &later.setting.value;
    let grows = value.contains(&format!("${}", line.setting.name)) || value.contains("$SET");
    (later != line && !grows).then_some(later)
}

fn twice(line: &Line, later: &Line, report: &mut Report) {
    let fix = format!(
        "remove this line; a later one is in force (line {}): {}",
        later.setting.line,
        later.setting.shown()
    );
    report.about("DC-DUPLICATE", &line.setting, Some(fix));
    if line.setting.file == later.setting.file {
        report.replace(&line.setting, Vec::new());
    }
}

/// Whether the name is one of the version; if not, that was said.
fn judge_name(line: &Line, new: bool, report: &mut Report) -> bool {
    let setting = &line.setting;
    // Inside of these, names are free: plugin settings, headers, fields, SQL.
    if line.sections.iter().any(|it| free_section(it))
        || setting.name.contains(['/', ':', '%', '+'])
    {
        return true;
    }
    match table::find(&setting.name) {
        None => unknown(line, new, report),
        Some(known) => match (known.era, new) {
            (Era::Until22, _) => {
                renamed("DC-REMOVED", setting, known.instead, report);
                false
            }
            (Era::Only23, true) => {
                renamed("DC-RENAMED", setting, known.instead, report);
                false
            }
            (Era::From24, false) => {
                let old = table::names()
                    .find(|old| table::find(old).is_some_and(|it| it.instead == Some(known.name)));
                let fix = old.map(|old| old_line(old, &setting.value));
                report.about("DC-TOO-NEW", setting, fix);
                false
            }
            _ => true,
        },
    }
}

fn free_section(name: &str) -> bool {
    let first = name.split(' ').next().unwrap_or_default();
    !matches!(
        first,
        "protocol"
            | "local"
            | "remote"
            | "local_name"
            | "service"
            | "inet_listener"
            | "unix_listener"
            | "fifo_listener"
    )
}

/// The line of 2.3 for a setting of 2.4.
fn old_line(old: &str, value: &str) -> String {
    match old {
        "disable_plaintext_auth" => format!("{old} = {}", if value == "no" { "yes" } else { "no" }),
        "ssl_cert" | "ssl_key" | "ssl_ca" | "ssl_dh" | "ssl_alt_cert" | "ssl_alt_key"
        | "ssl_client_cert" | "ssl_client_key" => {
            format!("{old} = <{value}")
        }
        _ => format!("{old} = {value}"),
    }
}

fn renamed(id: &str, setting: &Setting, instead: Option<&'static str>, report: &mut Report) {
    let value = setting.value.as_str();
    // Another program or version expands other names: such a value is not carried over.
    let Some(instead) = instead.filter(|_| !value.contains('$')) else {
        return report.about(id, setting, instead.map(|it| format!("use {it}")));
    };
    let line = match setting.name.as_str() {
        "disable_plaintext_auth" => {
            format!("{instead} = {}", if value == "yes" { "no" } else { "yes" })
        }
        "ssl_prefer_server_ciphers" => format!(
            "{instead} = {}",
            if value == "yes" { "server" } else { "client" }
        ),
        "ssl_protocols" => format!("{instead} = TLSv1.2"),
        "verbose_ssl" => format!("{instead} = category=ssl"),
        "auth_debug" => format!("{instead} = category=auth"),
        "mail_location" => {
            let (driver, path) = value.split_once(':').unwrap_or(("maildir", value));
            if path.contains(':') || value.is_empty() {
                return report.about(
                    id,
                    setting,
                    Some("use mail_driver and mail_path".to_owned()),
                );
            }
            format!(
                "mail_driver = {driver}\nmail_path = {}",
                path.replace("%u", "%{user}")
                    .replace("%n", "%{user | username}")
                    .replace("%d", "%{user | domain}")
                    .replace("%h", "%{home}")
            )
        }
        _ if instead.ends_with("_file") => {
            format!("{instead} = {}", value.trim_start_matches('<').trim_start())
        }
        "auth_default_realm"
        | "default_idle_kill"
        | "service_count"
        | "idle_kill"
        | "ssl_cert_username_field"
        | "ssl_key_password"
        | "ssl_require_crl"
        | "ssl_verify_client_cert"
        | "ssl_ca_dir" => format!("{instead} = {value}"),
        _ => return report.about(id, setting, Some(format!("use {instead}"))),
    };
    report.correct(id, setting, line);
}

fn unknown(line: &Line, new: bool, report: &mut Report) -> bool {
    let setting = &line.setting;
    let inner = [
        "port",
        "address",
        "ssl",
        "haproxy",
        "reuse_port",
        "mode",
        "user",
        "group",
        "chroot",
        "type",
        "protocol",
        "executable",
        "process_limit",
        "process_min_avail",
        "client_limit",
        "vsz_limit",
        "extra_groups",
        "privileged_group",
        "drop_priv_before_exec",
        "name",
    ];
    if !line.sections.is_empty() && inner.contains(&setting.name.as_str()) {
        return true;
    }
    if postfix::table::find(&setting.name).is_some() && setting.name.contains('_') {
        report.about(
            "DC-FOREIGN",
            setting,
            Some(format!(
                "{} is a parameter of Postfix: write it in main.cf",
                setting.name
            )),
        );
        return false;
    }
    let known = |name: &&str| {
        let era = table::find(name).map(|it| it.era);
        if new {
            era != Some(Era::Only23) && era != Some(Era::Until22)
        } else {
            era != Some(Era::From24) && era != Some(Era::Until22)
        }
    };
    let near = report.nearest(&setting.name, table::names().filter(known));
    // 2.4 grows: what 2.4.1 does not know a later one may.
    let id = if new { "DC-UNKNOWN-24" } else { "DC-UNKNOWN" };
    report.about(
        id,
        setting,
        near.map(|near| format!("{near} = {}", setting.value)),
    );
    false
}

fn judge_value(tree: &Tree, line: &Line, new: bool, report: &mut Report) {
    let setting = &line.setting;
    let value = setting.value.as_str();
    let in_listener = line
        .sections
        .last()
        .is_some_and(|it| it.starts_with("inet_listener"));
    match setting.name.as_str() {
        "ssl" if !in_listener => match value {
            "required" => {}
            "yes" => report.correct("DC-SSL-YES", setting, "ssl = required".to_owned()),
            "no" => report.correct("DC-SSL-NO", setting, "ssl = required".to_owned()),
            _ => report.about_value("DC-UNDECIDED", setting, None),
        },
        "disable_plaintext_auth" if value == "no" => {
            clear(tree, setting, "disable_plaintext_auth = yes", report);
        }
        "auth_allow_cleartext" if value == "yes" => {
            clear(tree, setting, "auth_allow_cleartext = no", report);
        }
        "ssl_min_protocol" => match index(value) {
            Some(4) => {}
            Some(5) => report.about_value("DC-MIN-13", setting, None),
            Some(_) => report.correct(
                "DC-PROTOCOL",
                setting,
                "ssl_min_protocol = TLSv1.2".to_owned(),
            ),
            None if value == "ANY" || value == "LATEST" => report.correct(
                "DC-PROTOCOL",
                setting,
                "ssl_min_protocol = TLSv1.2".to_owned(),
            ),
            None => report.about_value(
                "DC-UNDECIDED",
                setting,
                Some("ssl_min_protocol = TLSv1.2".to_owned()),
            ),
        },
        "ssl_cipher_list" if has_weak_cipher(value) => {
            report.about_value(
                "DC-CIPHERS",
                setting,
                Some("remove this line: the default is right".to_owned()),
            );
        }
        "ssl_cert" | "ssl_key" | "ssl_ca" | "ssl_dh" | "ssl_alt_cert" | "ssl_alt_key"
            if !new && value.starts_with('/') =>
        {
            report.correct(
                "DC-CERT-SIGN",
                setting,
                format!("{} = <{value}", setting.name),
            );
        }
        name if name.ends_with("_file") && name.starts_with("ssl_") && value.starts_with('<') => {
            report.correct(
                "DC-CERT-SIGN-24",
                setting,
                format!("{name} = {}", value.trim_start_matches('<').trim_start()),
            );
        }
        "auth_mechanisms" => mechanisms(setting, report),
        "login_trusted_networks"
            if value
                .split([' ', ','])
                .any(|it| matches!(it, "0.0.0.0/0" | "::/0")) =>
        {
            report.about_value(
                "DC-TRUSTED",
                setting,
                Some("name the proxies only".to_owned()),
            );
        }
        "auth_debug_passwords" if value == "yes" => report.correct(
            "DC-LOG-PASSWORDS",
            setting,
            "auth_debug_passwords = no".to_owned(),
        ),
        "auth_verbose_passwords" if value.starts_with("plain") => report.correct(
            "DC-LOG-PASSWORDS",
            setting,
            "auth_verbose_passwords = no".to_owned(),
        ),
        "ssl_client_require_valid_cert"
        | "imapc_ssl_verify"
        | "pop3c_ssl_verify"
        | "submission_relay_ssl_verify"
            if value == "no" =>
        {
            report.correct("DC-NO-VERIFY", setting, format!("{} = yes", setting.name));
        }
        "imapc_ssl" | "pop3c_ssl" | "submission_relay_ssl" if value == "no" => {
            report.about_value("DC-UPSTREAM-CLEAR", setting, None);
        }
        _ => {}
    }
}

/// Logins in clear are allowed, unless `ssl = required` forbids them again.
fn clear(tree: &Tree, setting: &Setting, line: &str, report: &mut Report) {
    let required = global(tree, "ssl").is_some_and(|it| it.value == "required");
    let id = if required {
        "DC-CLEAR-MOOT"
    } else {
        "DC-CLEAR"
    };
    report.correct(id, setting, line.to_owned());
}

fn mechanisms(setting: &Setting, report: &mut Report) {
    let words: Vec<String> = setting
        .value
        .split_ascii_whitespace()
        .map(str::to_ascii_lowercase)
        .collect();
    let bad = [
        "cram-md5",
        "digest-md5",
        "apop",
        "ntlm",
        "rpa",
        "skey",
        "otp",
    ];
    if words.iter().any(|it| it == "anonymous") {
        let kept: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .filter(|it| *it != "anonymous")
            .collect();
        report.about_value(
            "DC-ANONYMOUS",
            setting,
            Some(format!("auth_mechanisms = {}", kept.join(" "))),
        );
    }
    if words.iter().any(|it| bad.contains(&it.as_str())) {
        let mut kept: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .filter(|it| !bad.contains(it))
            .collect();
        if kept.is_empty() {
            kept.push("plain");
        }
        report.correct(
            "DC-MECHANISM",
            setting,
            format!("auth_mechanisms = {}", kept.join(" ")),
        );
    }
}

/// Listeners: 993 and 995 speak TLS from the start, 143 and 110 do not.
fn listeners(tree: &Tree, report: &mut Report) {
    // Of several in one section the last one counts.
    let of = |name: &'static str| -> HashMap<&[String], &Line> {
        let lines = tree.lines.iter().filter(|it| it.setting.name == name);
        lines.map(|it| (it.sections.as_slice(), it)).collect()
    };
    let (switches, ports) = (of("ssl"), of("port"));
    for line in tree.lines.iter().filter(|it| it.setting.name == "port") {
        if ports.get(line.sections.as_slice()) != Some(&line) {
            continue;
        }
        let Some((listener, around)) = line.sections.split_last() else {
            continue;
        };
        if !listener.starts_with("inet_listener")
            || !around.last().is_some_and(|it| it.contains("-login"))
        {
            continue;
        }
        let ssl = switches.get(line.sections.as_slice());
        let on = ssl.is_some_and(|it| it.setting.value == "yes");
        match line.setting.value.as_str() {
            "993" | "995" | "465" if !on => {
                let fix = "ssl = yes".to_owned();
                if let Some(ssl) = ssl {
                    report.correct("DC-IMPLICIT-CLEAR", &ssl.setting, fix);
                } else {
                    report.about("DC-IMPLICIT-CLEAR", &line.setting, Some(fix.clone()));
                    let indent = report.indent(&line.setting);
                    report.insert_after(&line.setting, vec![format!("{indent}{fix}")]);
                }
            }
            "143" | "110" | "587" if on => {
                if let Some(ssl) = ssl {
                    report.correct("DC-STARTTLS-IMPLICIT", &ssl.setting, "ssl = no".to_owned());
                }
            }
            _ => {}
        }
    }
}

/// What a whole configuration of 2.3 leaves at a default that is too weak.
fn absent(tree: &Tree, new: bool, report: &mut Report) {
    if new || tree.incomplete || global(tree, "ssl_min_protocol").is_some() {
        return;
    }
    let Some(ssl) = global(tree, "ssl").or_else(|| global(tree, "ssl_cert")) else {
        return;
    };
    let line = "ssl_min_protocol = TLSv1.2".to_owned();
    report.about("DC-PROTOCOL-DEFAULT", ssl, Some(line.clone()));
    report.insert_after(ssl, vec![line]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Document, Kind, NoFiles, edit};

    #[test]
    fn an_old_name_that_is_said_many_times_is_corrected_everywhere_at_once() {
        let text = format!(
            "dovecot_config_version = 2.4.0\n{}",
            "ssl_key = </etc/ssl/mail.key\n".repeat(20)
        );
        let documents = vec![Document::new("dovecot.conf", &text)];
        let outcome = config::lint(Kind::Dovecot, documents, Some(Version(2, 4)), &mut NoFiles);
        let fixed = edit::apply(&text, &outcome.edits, 0);
        assert!(!fixed.contains("ssl_key"), "{fixed}");
        assert_eq!(fixed.matches("ssl_server_key_file = /etc").count(), 20);
    }
}
