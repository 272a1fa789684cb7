//! What Exim's options mean for logins and TLS.

use std::collections::HashMap;

use super::super::{Report, Setting};
use super::parse::{Line, Tree};
use super::table;
use crate::config::postfix;

/// The value that every guide should print: announced when TLS is up.
const ADVERTISE: &str = "auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}";

pub(super) fn judge(tree: &Tree, report: &mut Report) {
    let settled = tree
        .lines
        .iter()
        .filter(|it| it.section == "main" && !it.conditional);
    let last: HashMap<&str, &Line> = settled.map(|it| (it.setting.name.as_str(), it)).collect();
    for line in &tree.lines {
        if line.section == "main" {
            let later = last.get(line.setting.name.as_str());
            if let Some(later) = later.filter(|later| **later != line && !line.conditional) {
                twice(line, later, report);
                continue;
            }
            if judge_name(line, report) {
                judge_value(tree, line, report);
            }
        }
        if line.section == "transports" {
            judge_transport(line, report);
        }
    }
    logins(tree, report);
    certificate(tree, report);
}

fn twice(line: &Line, later: &Line, report: &mut Report) {
    let (one, other) = (line.setting.line, later.setting.line);
    let fix =
        format!("Exim refuses an option that is set twice; keep one of lines {one} and {other}");
    report.about("EX-DUPLICATE", &line.setting, Some(fix));
}

fn main<'a>(tree: &'a Tree, name: &str) -> Option<&'a Line> {
    tree.lines
        .iter()
        .rev()
        .find(|it| it.section == "main" && it.setting.name == name)
}

fn judge_name(line: &Line, report: &mut Report) -> bool {
    let setting = &line.setting;
    if table::find(&setting.name).is_some() {
        return true;
    }
    if postfix::table::find(&setting.name).is_some() {
        report.about(
            "EX-FOREIGN",
            setting,
            Some(format!(
                "{} is a parameter of Postfix: write it in main.cf",
                setting.name
            )),
        );
    } else {
        let near = report.nearest(&setting.name, table::names());
        report.about(
            "EX-UNKNOWN",
            setting,
            near.map(|near| format!("{near} = {}", setting.value)),
        );
    }
    false
}

fn undecided(line: &Line) -> bool {
    line.conditional || line.setting.value.contains('$')
}

fn ports(value: &str) -> Vec<&str> {
    let value = value.trim_start_matches(['<', ',', ';']);
    value
        .split([':', ',', ';'])
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect()
}

fn judge_value(tree: &Tree, line: &Line, report: &mut Report) {
    let setting = &line.setting;
    let value = setting.value.as_str();
    match setting.name.as_str() {
        "tls_advertise_hosts" if value.is_empty() || value == ":" => {
            report.correct("EX-TLS-OFF", setting, "tls_advertise_hosts = *".to_owned());
        }
        "tls_advertise_hosts" if undecided(line) => {
            report.about_value("EX-UNDECIDED", setting, None);
        }
        "tls_advertise_hosts" if value != "*" => report.about_value(
            "EX-TLS-SOME",
            setting,
            Some("tls_advertise_hosts = *".to_owned()),
        ),
        "tls_on_connect_ports"
            if !undecided(line)
                && ports(value)
                    .iter()
                    .any(|it| matches!(*it, "25" | "587" | "smtp" | "submission")) =>
        {
            report.correct(
                "EX-IMPLICIT-PORT",
                setting,
                "tls_on_connect_ports = 465".to_owned(),
            );
        }
        "daemon_smtp_ports" if !undecided(line) => {
            let has = ports(value)
                .iter()
                .any(|it| matches!(*it, "465" | "smtps" | "submissions"));
            let implicit = main(tree, "tls_on_connect_ports");
            let covered = implicit.is_some_and(|it| {
                undecided(it)
                    || ports(&it.setting.value)
                        .iter()
                        .any(|it| matches!(*it, "465" | "smtps" | "submissions"))
            });
            if has && !covered {
                let fix = "tls_on_connect_ports = 465".to_owned();
                report.about_value("EX-465-CLEAR", setting, Some(fix.clone()));
                match implicit {
                    Some(_) => {}
                    None => report.insert_after(setting, vec![fix]),
                }
            }
        }
        "openssl_options" => openssl(setting, report),
        "tls_require_ciphers" | "gnutls_require_protocols" => ciphers(line, report),
        _ => {}
    }
}

fn openssl(setting: &Setting, report: &mut Report) {
    let on = |word: &str| setting.value.split_ascii_whitespace().any(|it| it == word);
    if on("-no_sslv3") || on("-no_sslv2") || on("-no_tlsv1") || on("-no_tlsv1_1") {
        report.correct(
            "EX-PROTOCOLS",
            setting,
            "openssl_options = +no_sslv2 +no_sslv3 +no_tlsv1 +no_tlsv1_1".to_owned(),
        );
    } else if on("+no_tlsv1_2") || on("+no_tlsv1_3") {
        report.about_value("EX-PROTOCOLS-NEW", setting, None);
    } else if !(on("+no_tlsv1") && on("+no_tlsv1_1")) {
        let add = ["+no_tlsv1", "+no_tlsv1_1"]
            .into_iter()
            .filter(|it| !on(it))
            .collect::<Vec<_>>()
            .join(" ");
        report.correct(
            "EX-PROTOCOLS",
            setting,
            format!("openssl_options = {} {add}", setting.value),
        );
    }
}

/// The words are those of OpenSSL or of `GnuTLS`: which one is built in is not in the file.
fn ciphers(line: &Line, report: &mut Report) {
    let setting = &line.setting;
    let value = setting.value.to_ascii_uppercase();
    // Inside of a condition the words are still judged: .ifdef on the library is how they are written for both.
    if setting.value.contains('$') {
        return report.about_value("EX-UNDECIDED", setting, None);
    }
    let old = [
        "+VERS-TLS1.0",
        "+VERS-TLS1.1",
        "+VERS-SSL3.0",
        "VERS-TLS-ALL",
        "LEGACY",
        "+ARCFOUR",
        "+3DES",
        "EXPORT",
        "ENULL",
    ];
    if old.iter().any(|it| value.contains(it))
        || (!value.contains("VERS") && super::super::tls::has_weak_cipher(&setting.value))
    {
        report.about_value("EX-CIPHERS", setting, Some("remove this line, or with GnuTLS: tls_require_ciphers = SECURE192:SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2".to_owned()));
    }
}

fn judge_transport(line: &Line, report: &mut Report) {
    let setting = &line.setting;
    match (setting.name.as_str(), setting.value.as_str()) {
        ("hosts_avoid_tls", "*") => {
            report.about_value("EX-OUT-NONE", setting, Some("remove this line".to_owned()));
        }
        ("tls_verify_certificates", "") => report.about_value(
            "EX-OUT-VERIFY",
            setting,
            Some("tls_verify_certificates = system".to_owned()),
        ),
        ("hosts_require_tls", "*") => report.about_value("EX-OUT-STRICT", setting, None),
        _ => {}
    }
}

/// How an expansion that decides on AUTH depends on TLS.
#[derive(Debug, PartialEq, Eq)]
enum Announced {
    Inside,
    Always,
    Outside,
    Never,
    Unknown,
}

fn announced(value: &str) -> Announced {
    let dense: String = value.chars().filter(|it| !it.is_whitespace()).collect();
    if dense == "*" {
        return Announced::Always;
    }
    if dense.is_empty() || dense == ":" {
        return Announced::Never;
    }
    let dense = dense
        .replace("tls_in_cipher", "tls_cipher")
        .replace("$tls_cipher", "$C")
        .replace("${tls_cipher}", "$C");
    match dense.as_str() {
        "${ifeq{$C}{}{}{*}}"
        | "${if!eq{$C}{}{*}}"
        | "${if!eq{$C}{}{*}{}}"
        | "${ifdef:tls_cipher{*}}"
        | "${ifdef:tls_cipher{*}{}}"
        | "${if!def:tls_cipher{}{*}}" => Announced::Inside,
        "${ifeq{$C}{}{*}{}}"
        | "${ifeq{$C}{}{*}}"
        | "${if!eq{$C}{}{}{*}}"
        | "${if!def:tls_cipher{*}}"
        | "${ifdef:tls_cipher{}{*}}" => Announced::Outside,
        // Networks of one's own are an exception somebody named.
        _ => Announced::Unknown,
    }
}

fn logins(tree: &Tree, report: &mut Report) {
    let readable = tree.lines.iter().find(|it| {
        it.section == "authenticators"
            && it.setting.name == "driver"
            && it.setting.value == "plaintext"
    });
    let conditions = tree.lines.iter().filter(|it| {
        it.section == "authenticators" && it.setting.name == "server_advertise_condition"
    });
    let guarded = conditions.clone().count() > 0
        && conditions.clone().all(|it| {
            it.setting.value.contains("tls_in_cipher") || it.setting.value.contains("tls_cipher")
        });
    let Some(line) = main(tree, "auth_advertise_hosts") else {
        // The default of Exim itself: everybody, always.
        if let Some(readable) = readable
            && !guarded
            && !tree.incomplete
        {
            report.about(
                "EX-AUTH-DEFAULT",
                &readable.setting,
                Some(ADVERTISE.to_owned()),
            );
        }
        return;
    };
    let setting = &line.setting;
    match announced(&setting.value) {
        Announced::Inside => report.about_value("EX-AUTH-INSIDE", setting, None),
        Announced::Never => {}
        Announced::Always if guarded => {}
        Announced::Always | Announced::Outside => {
            report.correct("EX-AUTH-CLEAR", setting, ADVERTISE.to_owned());
        }
        Announced::Unknown => {
            report.about_value("EX-UNDECIDED", setting, Some(ADVERTISE.to_owned()));
        }
    }
}

fn certificate(tree: &Tree, report: &mut Report) {
    if let Some(cert) = main(tree, "tls_certificate").filter(|it| !it.conditional) {
        let key = main(tree, "tls_privatekey").unwrap_or(cert);
        report.pair(&cert.setting, &cert.setting.value, &key.setting.value);
    }
    let off = main(tree, "tls_advertise_hosts").is_some_and(|it| it.setting.value.is_empty());
    if off || tree.incomplete || !tree.has_sections {
        return;
    }
    if main(tree, "tls_certificate").is_none()
        && let Some(first) = tree.lines.first()
    {
        report.tell(
            "EX-NO-CERT",
            "tls_certificate is not set".to_owned(),
            Some("tls_certificate = CHAIN-FILE\ntls_privatekey = KEY-FILE".to_owned()),
            first.setting.file,
            (1, 1),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_forms_are_known() {
        assert_eq!(
            announced("${if eq{$tls_in_cipher}{}{}{*}}"),
            Announced::Inside
        );
        assert_eq!(announced("${if def:tls_in_cipher {*}}"), Announced::Inside);
        assert_eq!(
            announced("${if eq {$tls_cipher}{}{*}{}}"),
            Announced::Outside
        );
        assert_eq!(announced("*"), Announced::Always);
        assert_eq!(announced("${lookup{x}}"), Announced::Unknown);
    }
}
