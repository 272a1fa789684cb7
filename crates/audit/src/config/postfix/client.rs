//! Outgoing mail: the level towards other servers, DANE, the login at a relay.

use super::super::Report;
use super::server::older_switches;
use super::view::Configuration;

pub(super) fn judge(configuration: &Configuration, report: &mut Report) {
    for side in ["smtp", "lmtp"] {
        older_switches(configuration, side, report);
    }
    level(configuration, report);
    relay_login(configuration, report);
    if let Some(setting) = configuration.setting("smtpd_sasl_security_options")
        && !setting.value.contains('$')
        && !setting.value.contains("noanonymous")
    {
        let value = format!("noanonymous, {}", setting.value);
        let line = format!(
            "smtpd_sasl_security_options = {}",
            value.trim_end_matches([',', ' '])
        );
        report.correct("PF-ANONYMOUS", setting, line);
    }
    if let Some(setting) = configuration.setting("smtpd_tls_loglevel")
        && matches!(setting.value.as_str(), "3" | "4")
    {
        report.correct("PF-LOGLEVEL", setting, "smtpd_tls_loglevel = 1".to_owned());
    }
}

fn level(configuration: &Configuration, report: &mut Report) {
    let name = "smtp_tls_security_level";
    let Some(setting) = configuration.setting(name) else {
        return;
    };
    let Ok(level) = configuration.main().value(name) else {
        return report.about_value("PF-UNDECIDED", setting, None);
    };
    match level.as_str() {
        "none" => report.correct("PF-OUT-NONE", setting, format!("{name} = may")),
        "may" => report.about_value("PF-OUT-MAY", setting, None),
        "encrypt" | "verify" | "secure" | "fingerprint"
            if configuration
                .setting("relayhost")
                .is_none_or(|it| it.value.is_empty()) =>
        {
            report.about_value("PF-OUT-STRICT", setting, None);
        }
        "dane" | "dane-only" => {
            let support = configuration.main().value("smtp_dns_support_level");
            if support.as_deref() != Ok("dnssec") {
                let line = "smtp_dns_support_level = dnssec".to_owned();
                report.about_value("PF-DANE-DNSSEC", setting, Some(line.clone()));
                match configuration.setting("smtp_dns_support_level") {
                    Some(other) => report.replace(other, vec![line]),
                    None => report.insert_after(setting, vec![line]),
                }
            }
        }
        "" | "encrypt" | "verify" | "secure" | "fingerprint" => {}
        _ => report.about_value("PF-LEVEL-WORD", setting, Some(format!("{name} = may"))),
    }
}

/// A password sent to a relay must not depend on whether somebody on the path leaves STARTTLS in.
fn relay_login(configuration: &Configuration, report: &mut Report) {
    let main = configuration.main();
    if main.switch("smtp_sasl_auth_enable") != Some(true)
        || main.switch("smtp_tls_wrappermode") == Some(true)
    {
        return;
    }
    let Some(setting) = configuration.setting("smtp_sasl_auth_enable") else {
        return;
    };
    let weak = matches!(
        main.value("smtp_tls_security_level").as_deref(),
        Ok("" | "none" | "may" | "dane")
    );
    let enforced = main.switch("smtp_enforce_tls") == Some(true);
    let by_policy = configuration
        .setting("smtp_tls_policy_maps")
        .is_some_and(|it| !it.value.is_empty());
    if weak && !enforced && !by_policy {
        let line = "smtp_tls_security_level = secure".to_owned();
        report.about_value("PF-RELAY-LOGIN", setting, Some(line));
    }
}
