//! Incoming mail: TLS levels by port, logins, protocol versions, certificates, relaying.

use std::collections::HashSet;

use super::super::tls::{Versions, has_weak_cipher};
use super::super::{Report, Setting, Version};
use super::expand::Unknown;
use super::master_cf::Service;
use super::view::{Configuration, Level, View};

pub(super) fn judge(configuration: &Configuration, version: Option<Version>, report: &mut Report) {
    level(configuration, report);
    older_switches(configuration, "smtpd", report);
    login_order(configuration, report);
    certificates(configuration, report);
    protocols(configuration, report);
    strays(configuration, version, report);
    relaying(configuration, report);
    let mut told = HashSet::new();
    for service in &configuration.services {
        if service.command == "smtpd" {
            judge_service(configuration, service, &mut told, report);
        }
    }
}

/// Whether a value is one of the levels a server can have; what is meant if not.
fn judge_level_word(level: &str) -> Option<&'static str> {
    match level {
        "" | "none" | "may" | "encrypt" => None,
        // Levels of the client. Postfix takes them for encrypt and warns.
        _ => Some("encrypt"),
    }
}

fn level(configuration: &Configuration, report: &mut Report) {
    let Some(setting) = configuration.setting("smtpd_tls_security_level") else {
        let older = configuration.setting("smtpd_enforce_tls");
        if let Some(older) = older.filter(|it| it.value == "yes" && inherits_on_25(configuration)) {
            report.about_value("PF-LEVEL-ENCRYPT", older, None);
        }
        return switched_off(configuration, report);
    };
    match configuration.main().value(&setting.name) {
        Err(why) => undecided(setting, &why, report),
        Ok(level) => match level.as_str() {
            "may" => report.about_value("PF-LEVEL-MAY", setting, None),
            "none" => report.correct(
                "PF-LEVEL-NONE",
                setting,
                "smtpd_tls_security_level = may".to_owned(),
            ),
            "encrypt" if inherits_on_25(configuration) => {
                // [CONF-01] a public MX must not require TLS.
                report.about_value("PF-LEVEL-ENCRYPT", setting, None);
            }
            "" => switched_off(configuration, report),
            other => {
                if let Some(meant) = judge_level_word(other) {
                    report.about_value(
                        "PF-LEVEL-WORD",
                        setting,
                        Some(format!("smtpd_tls_security_level = {meant}")),
                    );
                }
            }
        },
    }
}

/// Port 25 takes the level of main.cf, or master.cf was not read.
fn inherits_on_25(configuration: &Configuration) -> bool {
    !configuration.has_master
        || configuration.services.iter().any(|it| {
            it.command == "smtpd"
                && matches!(it.port(), Some("smtp" | "25"))
                && it.option("smtpd_tls_security_level").is_none()
        })
}

fn undecided(setting: &Setting, why: &Unknown, report: &mut Report) {
    if *why != Unknown::Circle {
        report.about_value("PF-UNDECIDED", setting, None);
    }
}

/// A certificate is there, and TLS is off.
fn switched_off(configuration: &Configuration, report: &mut Report) {
    if configuration.main().level() != Some(Level::None) {
        return;
    }
    let certificate = ["smtpd_tls_chain_files", "smtpd_tls_cert_file"];
    let certificate = certificate
        .into_iter()
        .find_map(|name| configuration.setting(name));
    if let Some(setting) = certificate
        && older(configuration, "smtpd").is_none()
    {
        let line = "smtpd_tls_security_level = may".to_owned();
        report.about("PF-TLS-OFF", setting, Some(line.clone()));
        report.insert_after(setting, vec![line]);
    }
}

/// The switches that stood for the level before Postfix 2.3, if one is set.
fn older<'a>(configuration: &'a Configuration, side: &str) -> Option<&'a Setting> {
    let of = |name: &str| configuration.setting(&format!("{side}_{name}"));
    of("enforce_tls").or_else(|| of("use_tls"))
}

/// `use_tls` and `enforce_tls`: what they mean depends on whether the level is set. Taking them out where it is not would switch TLS off.
pub(super) fn older_switches(configuration: &Configuration, side: &str, report: &mut Report) {
    let level = format!("{side}_tls_security_level");
    let set = configuration
        .setting(&level)
        .is_some_and(|it| !it.value.is_empty());
    let on = |name: &str| configuration.main().switch(&format!("{side}_{name}"));
    let wanted = if on("enforce_tls") == Some(true) {
        "encrypt"
    } else {
        "may"
    };
    let mut carried = set;
    for (name, id) in [("enforce_tls", "PF-ENFORCE-TLS"), ("use_tls", "PF-USE-TLS")] {
        let Some(setting) = configuration.setting(&format!("{side}_{name}")) else {
            continue;
        };
        if carried {
            report.about(
                id,
                setting,
                Some(format!("remove this line; {level} decides")),
            );
            report.replace(setting, Vec::new());
        } else {
            let line = format!("{level} = {wanted}");
            report.about(id, setting, Some(line.clone()));
            report.replace(setting, vec![line]);
            carried = true;
        }
    }
}

fn login_order(configuration: &Configuration, report: &mut Report) {
    if let Some(setting) = configuration.setting("smtpd_tls_auth_only") {
        match configuration.main().value(&setting.name) {
            Err(why) => undecided(setting, &why, report),
            Ok(value) if value == "yes" => report.about_value("PF-AUTH-ONLY", setting, None),
            Ok(value) if value == "no" && !configuration.has_master => {
                clear_in_main(configuration, setting, report);
            }
            Ok(_) => {}
        }
        return;
    }
    // The default is no.
    let Some(setting) = configuration.setting("smtpd_sasl_auth_enable") else {
        return;
    };
    if !configuration.has_master && configuration.main().takes_clear_logins() == Some(true) {
        let line = "smtpd_tls_auth_only = yes".to_owned();
        report.about_value("PF-AUTH-CLEAR", setting, Some(line.clone()));
        report.insert_after(setting, vec![line]);
    }
}

/// `smtpd_tls_auth_only = no` without master.cf: the level may make it meaningless, else every service may take logins in clear.
fn clear_in_main(configuration: &Configuration, setting: &Setting, report: &mut Report) {
    let encrypted = matches!(
        configuration.main().level(),
        Some(Level::Encrypt | Level::Implicit)
    );
    let off = configuration.setting("smtpd_sasl_auth_enable").is_some()
        && configuration.main().switch("smtpd_sasl_auth_enable") == Some(false);
    if encrypted || off {
        report.about_value(
            "PF-AUTH-ONLY-OFF",
            setting,
            Some("smtpd_tls_auth_only = yes".to_owned()),
        );
    } else {
        report.correct(
            "PF-AUTH-CLEAR",
            setting,
            "smtpd_tls_auth_only = yes".to_owned(),
        );
    }
}

fn certificates(configuration: &Configuration, report: &mut Report) {
    let value = |name: &str| {
        configuration
            .main()
            .value(name)
            .ok()
            .filter(|it| !it.is_empty())
    };
    let set = |name: &str| {
        configuration
            .setting(name)
            .filter(|it| !it.value.is_empty())
    };
    let chain = set("smtpd_tls_chain_files");
    let (cert, key) = (set("smtpd_tls_cert_file"), set("smtpd_tls_key_file"));
    if let Some(setting) = chain {
        let files = value("smtpd_tls_chain_files").unwrap_or_default();
        let mut files = files.split([',', ' ']).filter(|it| !it.is_empty());
        // One file with both, or the key and then its chain. More are several identities.
        if let (Some(key), chain, None) = (files.next(), files.next(), files.next()) {
            report.pair(setting, chain.unwrap_or(key), key);
        }
        for setting in [cert, key].into_iter().flatten() {
            report.about(
                "PF-CERT-IGNORED",
                setting,
                Some("remove this line".to_owned()),
            );
            report.replace(setting, Vec::new());
        }
        return;
    }
    let files: Option<Vec<String>> = match (cert, key) {
        (Some(_), None) => value("smtpd_tls_cert_file").map(|it| vec![it]),
        _ => [value("smtpd_tls_key_file"), value("smtpd_tls_cert_file")]
            .into_iter()
            .collect(),
    };
    let line = files.map(|mut files| {
        files.dedup();
        format!("smtpd_tls_chain_files = {}", files.join(", "))
    });
    if let (Some(setting), Some(chain)) = (cert, value("smtpd_tls_cert_file")) {
        let key = value("smtpd_tls_key_file");
        report.pair(setting, &chain, key.as_deref().unwrap_or(&chain));
    }
    for (setting, lines) in [(cert, line.clone()), (key, None)] {
        let Some(setting) = setting else { continue };
        report.about("PF-CERT-PAIR", setting, line.clone());
        // A key without its certificate is left as it is: something is missing that nobody can guess.
        if line.is_some() && cert.is_some() {
            report.replace(setting, lines.into_iter().collect());
        }
    }
}

fn protocols(configuration: &Configuration, report: &mut Report) {
    for side in ["smtpd", "smtp", "lmtp"] {
        for name in ["tls_protocols", "tls_mandatory_protocols"] {
            let name = format!("{side}_{name}");
            let Some(setting) = configuration.setting(&name) else {
                continue;
            };
            let Ok(value) = configuration.main().value(&name) else {
                report.about_value("PF-UNDECIDED", setting, None);
                continue;
            };
            match Versions::of_postfix(&value) {
                None => report.about_value(
                    "PF-PROTOCOLS-WORD",
                    setting,
                    Some(format!("{name} = >=TLSv1.2")),
                ),
                Some(on) if on.has_old() || on.is_empty() => {
                    report.correct("PF-PROTOCOLS", setting, format!("{name} = >=TLSv1.2"));
                }
                Some(on) if on.lacks_new() => {
                    report.correct("PF-PROTOCOLS-NEW", setting, format!("{name} = >=TLSv1.2"));
                }
                Some(_) => {}
            }
        }
        for name in ["tls_ciphers", "tls_mandatory_ciphers"] {
            let name = format!("{side}_{name}");
            if let Some(setting) = configuration.setting(&name)
                && matches!(setting.value.as_str(), "low" | "export" | "null")
            {
                report.correct("PF-CIPHERS", setting, format!("{name} = medium"));
            }
        }
    }
    for name in ["tls_high_cipherlist", "tls_medium_cipherlist"] {
        if let Some(setting) = configuration.setting(name)
            && has_weak_cipher(&setting.value)
        {
            report.about_value(
                "PF-CIPHERS",
                setting,
                Some("remove this line: the default is right".to_owned()),
            );
        }
    }
}

/// Line ends that are none: the way messages are smuggled.
fn strays(configuration: &Configuration, version: Option<Version>, report: &mut Report) {
    let name = "smtpd_forbid_bare_newline";
    if let Some(setting) = configuration.setting(name) {
        if setting.value == "no" {
            report.correct("PF-BARE-NEWLINE", setting, format!("{name} = normalize"));
        }
    } else if let (Some(level), Some(version)) =
        (configuration.setting("smtpd_tls_security_level"), version)
        && version < Version(3, 9)
        && version >= Version(3, 5)
    {
        // Up to 3.8 the default is no; the patch releases of 2024 know `normalize`.
        report.about(
            "PF-BARE-NEWLINE",
            level,
            Some(format!("{name} = normalize")),
        );
    }
}

fn relaying(configuration: &Configuration, report: &mut Report) {
    if let Some(setting) = configuration.setting("mynetworks") {
        let everyone = |word: &str| matches!(word, "0.0.0.0/0" | "::/0" | "[::]/0" | "[::/0]");
        if setting.value.split([',', ' ', '\t']).any(everyone) {
            report.about_value(
                "PF-OPEN-RELAY",
                setting,
                Some("mynetworks = 127.0.0.0/8, [::1]/128".to_owned()),
            );
        }
    }
    let Some(setting) = configuration.setting("smtpd_relay_restrictions") else {
        return;
    };
    let Ok(value) = configuration.main().value(&setting.name) else {
        return;
    };
    let mut words = value.split([',', ' ', '\t']).filter(|it| !it.is_empty());
    let ends = [
        "reject_unauth_destination",
        "defer_unauth_destination",
        "reject",
        "defer",
        "check_relay_domains",
    ];
    let stops = words.clone().position(|word| ends.contains(&word));
    let opens = words.position(|word| word == "permit");
    let elsewhere = configuration.setting("smtpd_recipient_restrictions");
    let elsewhere = elsewhere.is_some_and(|it| ends.iter().any(|end| it.value.contains(end)));
    if opens.is_some_and(|opens| stops.is_none_or(|stops| opens < stops)) && !elsewhere {
        let line = "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination";
        report.correct("PF-OPEN-RELAY", setting, line.to_owned());
    }
}

/// One smtpd of master.cf.
fn judge_service(
    configuration: &Configuration,
    service: &Service,
    told: &mut HashSet<(usize, usize)>,
    report: &mut Report,
) {
    let view = configuration.of(service);
    let port = service.port().unwrap_or_default();
    match port {
        "submission" | "587" => submission(service, view, report),
        "submissions" | "smtps" | "465"
            if (matches!(view.switch("smtpd_tls_wrappermode"), Some(false))
                && configuration.has_main
                || service
                    .option("smtpd_tls_wrappermode")
                    .is_some_and(|it| it.value == "no")) =>
        {
            demand(
                service,
                "smtpd_tls_wrappermode",
                "yes",
                "PF-465-CLEAR",
                report,
            );
        }
        "smtp" | "25" => port_25(service, view, report),
        _ => {}
    }
    if view.takes_clear_logins() == Some(true) {
        clear_logins(service, view, told, report);
    }
}

fn submission(service: &Service, view: View<'_>, report: &mut Report) {
    match view.level() {
        Some(Level::Implicit) => {
            demand(
                service,
                "smtpd_tls_wrappermode",
                "no",
                "PF-587-IMPLICIT",
                report,
            );
            // What the port is left with then must be as strict.
            if view.value("smtpd_tls_security_level").as_deref() != Ok("encrypt") {
                demand(
                    service,
                    "smtpd_tls_security_level",
                    "encrypt",
                    "PF-587-LEVEL",
                    report,
                );
            }
        }
        // [CFG-PF-01] opportunistic TLS is no protection of a password: whoever is on the path strips it.
        Some(Level::May | Level::None) => {
            demand(
                service,
                "smtpd_tls_security_level",
                "encrypt",
                "PF-587-LEVEL",
                report,
            );
        }
        Some(Level::Encrypt) => {}
        None => {
            let at = (service.line, 1);
            report.tell(
                "PF-UNDECIDED",
                format!("{} {}", service.name, service.kind),
                None,
                service.file,
                at,
            );
        }
    }
}

fn port_25(service: &Service, view: View<'_>, report: &mut Report) {
    if view.level() == Some(Level::Implicit) {
        demand(
            service,
            "smtpd_tls_wrappermode",
            "no",
            "PF-25-IMPLICIT",
            report,
        );
    } else if let Some(option) = service.option("smtpd_tls_security_level")
        && option.value == "encrypt"
    {
        // [CONF-01]
        report.about("PF-LEVEL-ENCRYPT", option, None);
    }
    if view.switch("smtpd_sasl_auth_enable") == Some(true)
        && let Some(setting) = view.origin("smtpd_sasl_auth_enable")
    {
        report.about_value(
            "PF-AUTH-25",
            setting,
            Some(
                "smtpd_sasl_auth_enable = yes under submission and submissions in master.cf only"
                    .to_owned(),
            ),
        );
    }
}

/// A `-o` that a service needs: put in place of the wrong one, or behind the others.
fn demand(service: &Service, name: &str, value: &str, id: &str, report: &mut Report) {
    let wanted = format!("-o {name}={value}");
    if let Some(option) = service.option(name) {
        report.about(id, option, Some(wanted));
        let line = report.line(option.file, option.line).map(str::to_owned);
        let old = format!("{name}={}", option.value);
        let new = line
            .as_ref()
            .map(|line| line.replace(&old, &format!("{name}={value}")));
        if let (Some(line), Some(new)) = (line, new)
            && line != new
        {
            report.replace(option, vec![new]);
        }
        return;
    }
    let evidence = format!("{} {} … {}", service.name, service.kind, service.command);
    report.tell(
        id,
        evidence,
        Some(wanted.clone()),
        service.file,
        (service.line, 1),
    );
    let after = Setting {
        name: String::new(),
        value: String::new(),
        file: service.file,
        line: service.line,
        column: 1,
        value_column: 1,
        last: service.last,
    };
    report.insert_after(&after, vec![format!("  {wanted}")]);
}

fn clear_logins(
    service: &Service,
    view: View<'_>,
    told: &mut HashSet<(usize, usize)>,
    report: &mut Report,
) {
    // The line that is to blame: the one that says no, else the one that switches logins on.
    let blamed = view
        .origin("smtpd_tls_auth_only")
        .or_else(|| view.origin("smtpd_sasl_auth_enable"));
    let Some(blamed) = blamed else { return };
    if !told.insert((blamed.file, blamed.line)) {
        return;
    }
    let in_master = blamed.file == service.file;
    if in_master {
        return demand(
            service,
            "smtpd_tls_auth_only",
            "yes",
            "PF-AUTH-CLEAR",
            report,
        );
    }
    let line = "smtpd_tls_auth_only = yes".to_owned();
    if blamed.name == "smtpd_tls_auth_only" {
        report.correct("PF-AUTH-CLEAR", blamed, line);
    } else {
        report.about_value("PF-AUTH-CLEAR", blamed, Some(line.clone()));
        report.insert_after(blamed, vec![line]);
    }
}
