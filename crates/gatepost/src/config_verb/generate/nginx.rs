//! nginx as a mail proxy: TLS at its doors, a login asked of a program over HTTP.

use super::profile::GROUPS;
use super::{Made, Wanted, head};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    let mut text = head(
        "nginx",
        wanted,
        "The block mail of nginx.conf, beside http. auth_http names the program that knows users and servers behind.",
    );
    let versions = if wanted.profile.is_strict() {
        "TLSv1.3"
    } else {
        "TLSv1.2 TLSv1.3"
    };
    let order = if wanted.profile.prefers_own_order() {
        "on"
    } else {
        "off"
    };
    text.push_str(&format!(
        "mail {{\n  server_name {host};\n  auth_http 127.0.0.1:9143/auth;\n\n  ssl_certificate {chain};\n  ssl_certificate_key {key};\n  \
         ssl_protocols {versions};\n  ssl_ciphers {suites};\n  ssl_prefer_server_ciphers {order};\n  ssl_ecdh_curve {groups};\n  \
         ssl_session_cache shared:mail:10m;\n  ssl_session_timeout 1d;\n\n",
        host = wanted.host,
        chain = wanted.chain,
        key = wanted.key,
        suites = wanted.profile.suites_12(),
        groups = GROUPS.join(":"),
    ));
    text.push_str("  # TLS from the first octet: preferred (RFC 8314 section 3).\n");
    for (port, protocol) in [(465, "smtp"), (993, "imap"), (995, "pop3")] {
        text.push_str(&door(port, protocol, " ssl", ""));
    }
    text.push_str("  # STARTTLS, required before the login.\n");
    for (port, protocol) in [(587, "smtp"), (143, "imap"), (110, "pop3")] {
        text.push_str(&door(port, protocol, "", "    starttls only;\n"));
    }
    text.push_str("}\n");
    vec![Made {
        name: "nginx-mail.conf",
        place: "/etc/nginx/nginx.conf, outside of http",
        text,
    }]
}

fn door(port: u16, protocol: &str, ssl: &str, starttls: &str) -> String {
    let login = match protocol {
        "smtp" => "    smtp_auth plain login;\n",
        "imap" => "    imap_auth plain login;\n",
        _ => "    pop3_auth plain;\n",
    };
    format!(
        "  server {{\n    listen {port}{ssl};\n    protocol {protocol};\n{starttls}{login}  }}\n"
    )
}
