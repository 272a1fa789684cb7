//! Postfix: main.cf, and the three services of master.cf.

use gatepost_audit::config::Version;

use super::{Made, Wanted, head};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    vec![
        Made {
            name: "main.cf",
            place: "/etc/postfix/main.cf",
            text: main_cf(wanted),
        },
        Made {
            name: "master.cf",
            place: "/etc/postfix/master.cf, in place of the lines smtp inet, submission and submissions or smtps",
            text: master_cf(wanted),
        },
    ]
}

/// `>=TLSv1.2` since 3.6, and what came before it.
fn versions(wanted: &Wanted, only_13: bool) -> &'static str {
    match (wanted.version >= Version(3, 6), only_13) {
        (true, false) => ">=TLSv1.2",
        (true, true) => ">=TLSv1.3",
        (false, false) => "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1",
        (false, true) => "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1, !TLSv1.2",
    }
}

fn main_cf(wanted: &Wanted) -> String {
    let mut text = head(
        "Postfix",
        wanted,
        "Lines for main.cf: they replace those of the same names. Names, networks and mailboxes of yours stay as they are.",
    );
    let level = if wanted.version >= Version(3, 6) {
        "3.6"
    } else {
        "2"
    };
    text.push_str(&format!(
        "compatibility_level = {level}\nmyhostname = {host}\n\n\
         # Incoming mail. Port 25 offers TLS and must not require it (RFC 3207 section 4); master.cf requires it for logins.\n\
         smtpd_tls_security_level = may\n\
         # The key and its chain, changed together (since 3.4).\n\
         smtpd_tls_chain_files = {key}, {chain}\n\
         # No AUTH before TLS, on any port (RFC 4954 section 4).\n\
         smtpd_tls_auth_only = yes\n\
         # TLS 1.0 and 1.1 must not be used (RFC 8996).\n\
         smtpd_tls_protocols = {versions}\nsmtpd_tls_mandatory_protocols = {versions}\n\
         tls_medium_cipherlist = {suites}\ntls_preempt_cipherlist = {order}\n\
         # One line in the log for each connection; the Received field names version and suite (RFC 8314 section 4).\n\
         smtpd_tls_loglevel = 1\nsmtpd_tls_received_header = yes\n\n",
        host = wanted.host,
        key = wanted.key,
        chain = wanted.chain,
        versions = versions(wanted, false),
        suites = wanted.profile.suites_12(),
        order = if wanted.profile.prefers_own_order() { "yes" } else { "no" },
    ));
    text.push_str(&outgoing(wanted));
    text.push_str(&doors(wanted));
    text
}

fn outgoing(wanted: &Wanted) -> String {
    let mut text = format!(
        "# Outgoing mail. DANE where the receiver publishes TLSA records, else TLS where it is offered. Needs a resolver on this machine\n\
         # that validates DNSSEC (RFC 7672).\n\
         smtp_tls_security_level = dane\nsmtp_dns_support_level = dnssec\nsmtp_tls_protocols = {versions}\n\
         smtp_tls_mandatory_protocols = {versions}\nsmtp_tls_loglevel = 1\n",
        versions = versions(wanted, false)
    );
    if wanted.version >= Version(3, 10) {
        text.push_str("# Reports about TLS failures, once a TLSRPT library is installed (RFC 8460): smtp_tlsrpt_enable = yes\n");
    }
    text.push('\n');
    text
}

fn doors(wanted: &Wanted) -> String {
    let mut text = String::from(
        "# Who may send where. Logins by Dovecot (gatepost config generate --for dovecot).\n\
         smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination\n\
         smtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nsmtpd_sasl_security_options = noanonymous\n",
    );
    if wanted.version >= Version(3, 5) {
        let since = if wanted.version < Version(3, 9) {
            " Known to 3.5.24, 3.6.14, 3.7.10 and 3.8.5, and what came after them."
        } else {
            ""
        };
        text.push_str(&format!(
            "# Lines must end with CRLF: else a message can be smuggled inside another (CVE-2023-51764).{since}\n\
             smtpd_forbid_bare_newline = normalize\n"
        ));
    }
    text
}

fn master_cf(wanted: &Wanted) -> String {
    let mut text = head(
        "Postfix",
        wanted,
        "The three doors of master.cf; the other services stay as they are.",
    );
    let strict = if wanted.profile.is_strict() {
        format!(
            "  -o {{ smtpd_tls_mandatory_protocols = {} }}\n",
            versions(wanted, true)
        )
    } else {
        String::new()
    };
    let logins = "  -o smtpd_sasl_auth_enable=yes\n  -o smtpd_client_restrictions=permit_sasl_authenticated,reject\n  \
                  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n  -o milter_macro_daemon_name=ORIGINATING\n";
    text.push_str(&format!(
        "# Mail from other servers: TLS offered, no logins.\nsmtp       inet  n       -       y       -       -       smtpd\n\n\
         # Users, TLS from the first octet: preferred (RFC 8314 section 3.3).\n\
         465        inet  n       -       y       -       -       smtpd\n  -o syslog_name=postfix/submissions\n  \
         -o smtpd_tls_wrappermode=yes\n  -o smtpd_tls_security_level=encrypt\n{strict}{logins}\n\
         # Users, STARTTLS, required before the login.\n\
         587        inet  n       -       y       -       -       smtpd\n  -o syslog_name=postfix/submission\n  \
         -o smtpd_tls_security_level=encrypt\n{strict}{logins}"
    ));
    text
}
