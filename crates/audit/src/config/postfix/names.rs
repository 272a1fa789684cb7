//! Names: unknown ones, those of other servers, deprecated ones, those that stand twice.

use std::collections::HashSet;

use super::super::{Report, Setting, Version};
use super::expand::{Unknown, expand};
use super::table::{self, SUFFIXES};
use super::view::Configuration;
use crate::config::{dovecot, exim};

pub(super) fn judge(configuration: &Configuration, version: Option<Version>, report: &mut Report) {
    let own = own_names(configuration);
    for (index, setting) in configuration.settings.iter().enumerate() {
        let in_force = configuration.in_force.get(&setting.name) == Some(&index);
        if !in_force {
            twice(configuration, setting, report);
            continue;
        }
        judge_name(configuration, setting, &own, version, report);
        circle(configuration, setting, report);
    }
    for option in configuration.services.iter().flat_map(|it| &it.options) {
        judge_name(configuration, option, &own, version, report);
    }
}

/// An earlier line that a later one of the same name overrides.
fn twice(configuration: &Configuration, setting: &Setting, report: &mut Report) {
    let last = configuration.setting(&setting.name);
    let fix = last.map(|last| {
        format!(
            "remove this line; line {} is in force: {}",
            last.line,
            last.shown()
        )
    });
    report.about("PF-DUPLICATE", setting, fix);
    report.replace(setting, Vec::new());
}

fn circle(configuration: &Configuration, setting: &Setting, report: &mut Report) {
    let look = |name: &str| {
        let set = configuration.setting(name).map(|it| it.value.clone());
        set.or_else(|| table::find(name).map(|it| it.default.to_owned()))
    };
    if expand(&setting.value, &look) == Err(Unknown::Circle) {
        report.about_value("PF-CIRCLE", setting, None);
    }
}

/// Names that mean something because others speak of them: `$name`, restriction classes, tables with their settings in main.cf.
fn own_names(configuration: &Configuration) -> Own {
    let mut own = Own::default();
    let options = configuration.services.iter().flat_map(|it| &it.options);
    for setting in configuration.settings.iter().chain(options) {
        let value = &setting.value;
        for part in value.split('$').skip(1) {
            let word = part.trim_start_matches(['{', '(']);
            let end = word.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
            own.names.insert(
                word.get(..end.unwrap_or(word.len()))
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        if setting.name == "smtpd_restriction_classes" {
            let classes = value.split([',', ' ', '\t']).filter(|it| !it.is_empty());
            own.names.extend(classes.map(str::to_owned));
        }
        for word in value.split([',', ' ', '\t']) {
            if let Some((_, table)) = word.rsplit_once(':')
                && !table.is_empty()
                && !table.contains('/')
            {
                own.prefixes.insert(format!("{table}_"));
            }
        }
    }
    own.transports = configuration
        .services
        .iter()
        .map(|it| it.name.clone())
        .collect();
    own
}

#[derive(Debug, Default)]
struct Own {
    names: HashSet<String>,
    prefixes: HashSet<String>,
    transports: HashSet<String>,
}

impl Own {
    fn knows(&self, name: &str, has_master: bool) -> bool {
        let of_transport = SUFFIXES.iter().find_map(|it| name.strip_suffix(it));
        let of_transport = of_transport.is_some_and(|it| {
            !it.is_empty()
                && (!has_master
                    || self.transports.contains(it)
                    || matches!(it, "default" | "smtp" | "lmtp" | "relay"))
        });
        of_transport
            || self.names.contains(name)
            || self.prefixes.iter().any(|it| name.starts_with(it.as_str()))
            || name.starts_with("x_")
    }
}

fn judge_name(
    configuration: &Configuration,
    setting: &Setting,
    own: &Own,
    version: Option<Version>,
    report: &mut Report,
) {
    let name = setting.name.as_str();
    if name.starts_with("imap_tls_") || name.starts_with("pop3_tls_") {
        return mailbox(configuration, setting, report);
    }
    let Some(parameter) = table::find(name) else {
        if !own.knows(name, configuration.has_master) {
            unknown(setting, report);
        }
        return;
    };
    if let (Some(since), Some(version)) = (parameter.since, version)
        && since > version
    {
        report.about(
            "PF-TOO-NEW",
            setting,
            Some(format!("needs Postfix {since}; this is {version}")),
        );
        return;
    }
    let Some(deprecated) = parameter.deprecated else {
        return;
    };
    // These two say which level is in force: see server.rs and client.rs.
    if name.ends_with("_use_tls") || name.ends_with("_enforce_tls") {
        return;
    }
    if version.is_some_and(|version| version < deprecated) {
        return;
    }
    match parameter.instead {
        Some(instead)
            if !name.ends_with("_tls_per_site")
                && !name.ends_with("_peername")
                && name != "disable_dns_lookups" =>
        {
            report.correct(
                "PF-DEPRECATED",
                setting,
                format!("{instead} = {}", setting.value),
            );
        }
        Some(instead) => report.about("PF-DEPRECATED", setting, Some(format!("use {instead}"))),
        None => {
            report.about(
                "PF-DEPRECATED",
                setting,
                Some("remove it: the default is right".to_owned()),
            );
            if configuration.setting(name) == Some(setting) {
                report.replace(setting, Vec::new());
            }
        }
    }
}

/// [CFG-PF-01] Postfix has no mailboxes. The same wish in Dovecot 2.4; the level is never `may` there: mailboxes are for logins.
fn mailbox(configuration: &Configuration, setting: &Setting, report: &mut Report) {
    let value = configuration.main().value(&setting.name);
    // A value that could not be expanded has no meaning in another program's file.
    let value = value.ok().filter(|it| !it.is_empty());
    let file = |name: &str| format!("{name} = {}", value.as_deref().unwrap_or("FILE"));
    let fix = match setting.name.split_once("_tls_").map(|it| it.1) {
        Some("security_level") => Some("ssl = required".to_owned()),
        Some("cert_file") => Some(file("ssl_server_cert_file")),
        Some("key_file") => Some(file("ssl_server_key_file")),
        _ => None,
    };
    let comment = fix.as_deref().map_or_else(
        || format!("# not a parameter of Postfix: {}", setting.shown()),
        |fix| format!("# belongs into dovecot.conf: {fix}"),
    );
    report.about("PF-NO-MAILBOX", setting, fix);
    report.replace(setting, vec![comment]);
}

fn unknown(setting: &Setting, report: &mut Report) {
    let name = setting.name.as_str();
    let owner = if dovecot::table::find(name).is_some() {
        Some("Dovecot")
    } else if exim::table::find(name).is_some() {
        Some("Exim")
    } else {
        None
    };
    if let Some(owner) = owner {
        return report.about(
            "PF-FOREIGN",
            setting,
            Some(format!(
                "{name} is a setting of {owner}: write it in that server's file"
            )),
        );
    }
    let near = report.nearest(name, table::names());
    let fix = near.map(|near| format!("{near} = {}", setting.value));
    report.about("PF-UNKNOWN", setting, fix);
}
