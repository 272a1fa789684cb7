//! Dovecot: one file for conf.d, in the words of 2.3 or of 2.4.

use gatepost_audit::config::Version;

use super::profile::GROUPS;
use super::{Made, Wanted, head};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    vec![Made {
        name: "dovecot.conf",
        place: "/etc/dovecot/local.conf, or in place of conf.d/10-ssl.conf and 10-master.conf",
        text: if wanted.version >= Version(2, 4) {
            new(wanted)
        } else {
            old(wanted)
        },
    }]
}

fn least(wanted: &Wanted) -> &'static str {
    if wanted.profile.is_strict() {
        "TLSv1.3"
    } else {
        "TLSv1.2"
    }
}

fn old(wanted: &Wanted) -> String {
    let order = if wanted.profile.prefers_own_order() {
        "yes"
    } else {
        "no"
    };
    let mut text = head(
        "Dovecot",
        wanted,
        "Where mail is kept and who the users are (mail_location, passdb, userdb) stays as it is.",
    );
    text.push_str(&format!(
        "protocols = imap pop3 lmtp\n\n\
         # TLS before any login, on every port (RFC 8314 section 4.1).\nssl = required\ndisable_plaintext_auth = yes\n\
         # The < means: what stands in the file.\nssl_cert = <{chain}\nssl_key = <{key}\n\
         ssl_min_protocol = {least}\nssl_cipher_list = {suites}\nssl_cipher_suites = {suites13}\nssl_curve_list = {groups}\n\
         ssl_prefer_server_ciphers = {order}\n\
         # The password itself, but never outside of TLS.\nauth_mechanisms = plain login\n\n{listeners}",
        chain = wanted.chain,
        key = wanted.key,
        least = least(wanted),
        suites = wanted.profile.suites_12(),
        suites13 = wanted.profile.suites_13(),
        groups = GROUPS.join(":"),
        listeners = LISTENERS
    ));
    text
}

fn new(wanted: &Wanted) -> String {
    let order = if wanted.profile.prefers_own_order() {
        "server"
    } else {
        "client"
    };
    let mut text = head(
        "Dovecot",
        wanted,
        "Where mail is kept and who the users are (mail_driver, mail_path, passdb, userdb) stays as it is.",
    );
    text.push_str(&format!(
        "# These two must be the first settings of the whole configuration.\ndovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n\n\
         protocols {{\n  imap = yes\n  pop3 = yes\n  lmtp = yes\n}}\n\n\
         # TLS before any login, on every port (RFC 8314 section 4.1).\nssl = required\nauth_allow_cleartext = no\n\
         ssl_server_cert_file = {chain}\nssl_server_key_file = {key}\n\
         ssl_min_protocol = {least}\nssl_cipher_list = {suites}\nssl_cipher_suites = {suites13}\nssl_server_prefer_ciphers = {order}\n\
         # The password itself, but never outside of TLS.\nauth_mechanisms = plain login\n\n{listeners}",
        chain = wanted.chain,
        key = wanted.key,
        least = least(wanted),
        suites = wanted.profile.suites_12(),
        suites13 = wanted.profile.suites_13(),
        listeners = LISTENERS
    ));
    text
}

/// The doors; the same words in both versions.
const LISTENERS: &str = "# 993 and 995 speak TLS from the first octet; 143 and 110 wait for STARTTLS.\n\
     service imap-login {\n  inet_listener imaps {\n    port = 993\n    ssl = yes\n  }\n  inet_listener imap {\n    port = 143\n  }\n}\n\
     service pop3-login {\n  inet_listener pop3s {\n    port = 995\n    ssl = yes\n  }\n  inet_listener pop3 {\n    port = 110\n  }\n}\n\n\
     # Logins for Postfix (smtpd_sasl_path = private/auth).\n\
     service auth {\n  unix_listener /var/spool/postfix/private/auth {\n    mode = 0660\n    user = postfix\n    group = postfix\n  }\n}\n";
