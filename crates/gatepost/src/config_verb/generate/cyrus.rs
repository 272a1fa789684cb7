//! Cyrus IMAP: imapd.conf for the rules, cyrus.conf for the doors.

use super::{Made, Wanted, head};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    let mut imapd = head(
        "Cyrus",
        wanted,
        "Lines that replace those of the same names; partitions and users stay as they are.",
    );
    let versions = if wanted.profile.is_strict() {
        "tls1_3"
    } else {
        "tls1_2 tls1_3"
    };
    let order = if wanted.profile.prefers_own_order() {
        "yes"
    } else {
        "no"
    };
    imapd.push_str(&format!(
        "servername: {}\n\n# No login of any kind before TLS (RFC 8314 section 4.1).\nallowplaintext: no\ntls_required: yes\nallowapop: no\n\
         sasl_mech_list: PLAIN\n\ntls_server_cert: {}\ntls_server_key: {}\n# TLS 1.0 and 1.1 must not be used (RFC 8996).\n\
         tls_versions: {versions}\ntls_ciphers: {}\ntls_prefer_server_ciphers: {order}\n\
         # No certificates are asked of clients: none would log in here (RFC 8314 section 4.2).\ntls_client_certs: off\n",
        wanted.host,
        wanted.chain,
        wanted.key,
        wanted.profile.suites_12()
    ));
    let mut cyrus = head(
        "Cyrus",
        wanted,
        "The doors: they replace those of the section SERVICES.",
    );
    cyrus.push_str(
        "START {\n  recover cmd=\"ctl_cyrusdb -r\"\n}\n\nSERVICES {\n  # TLS from the first octet, then the ports with STARTTLS.\n  \
         imaps cmd=\"imapd -s\" listen=\"993\" prefork=0\n  imap  cmd=\"imapd\" listen=\"143\" prefork=0\n  \
         pop3s cmd=\"pop3d -s\" listen=\"995\" prefork=0\n  pop3  cmd=\"pop3d\" listen=\"110\" prefork=0\n  \
         lmtpunix cmd=\"lmtpd\" listen=\"/run/cyrus/socket/lmtp\" prefork=0\n}\n\nEVENTS {\n  \
         checkpoint cmd=\"ctl_cyrusdb -c\" period=30\n  tlsprune cmd=\"tls_prune\" at=0401\n}\n",
    );
    vec![
        Made {
            name: "imapd.conf",
            place: "/etc/imapd.conf",
            text: imapd,
        },
        Made {
            name: "cyrus.conf",
            place: "/etc/cyrus.conf",
            text: cyrus,
        },
    ]
}
