//! Courier: the variables of four files.

use super::{Made, Wanted, head};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    let plain = |start: &str, port: u16, more: &str| {
        let mut text = head(
            "Courier",
            wanted,
            "Variables that replace those of the same names.",
        );
        text.push_str(&format!("{start}=YES\nPORT={port}\n{more}"));
        text
    };
    let tls = |ssl: &str, starttls: &str, required: &str, port: u16| {
        let mut text = head(
            "Courier",
            wanted,
            "Variables that replace those of the same names.",
        );
        text.push_str(&format!(
            "# TLS from the first octet.\n{ssl}=YES\nSSLPORT={port}\n\
             # STARTTLS on the other port, and nothing before it (RFC 8314 section 4.1).\n{starttls}=YES\n{required}=1\n\n\
             TLS_CERTFILE={}\nTLS_PRIVATE_KEYFILE={}\n{}",
            wanted.chain,
            wanted.key,
            library(wanted)
        ));
        text
    };
    let imap = "# No mechanism that shows the password before TLS.\n\
                IMAP_CAPABILITY=\"IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE\"\n\
                IMAP_CAPABILITY_TLS=\"$IMAP_CAPABILITY AUTH=PLAIN\"\n";
    let pop3 = "# No mechanism that shows the password before TLS.\nPOP3AUTH=\"\"\nPOP3AUTH_TLS=\"LOGIN PLAIN\"\n";
    let made = |name, place, text| Made { name, place, text };
    vec![
        made(
            "imapd",
            "/etc/courier/imapd",
            plain("IMAPDSTART", 143, imap),
        ),
        made(
            "imapd-ssl",
            "/etc/courier/imapd-ssl",
            tls("IMAPDSSLSTART", "IMAPDSTARTTLS", "IMAP_TLS_REQUIRED", 993),
        ),
        made(
            "pop3d",
            "/etc/courier/pop3d",
            plain("POP3DSTART", 110, pop3),
        ),
        made(
            "pop3d-ssl",
            "/etc/courier/pop3d-ssl",
            tls("POP3DSSLSTART", "POP3_STARTTLS", "POP3_TLS_REQUIRED", 995),
        ),
    ]
}

/// Courier is built with OpenSSL or with `GnuTLS`; each reads its own variables and passes over the others'.
fn library(wanted: &Wanted) -> String {
    let least = if wanted.profile.is_strict() {
        "TLSv1.3"
    } else {
        "TLSv1.2+"
    };
    let mut gnutls = wanted.profile.gnutls().to_owned();
    if wanted.profile.is_strict() {
        gnutls.push_str(":-VERS-TLS1.2");
    }
    format!(
        "# Built with OpenSSL:\nTLS_PROTOCOL=\"{least}\"\nTLS_STARTTLS_PROTOCOL=\"{least}\"\nTLS_CIPHER_LIST=\"{}\"\n\
         # Built with GnuTLS:\nTLS_PRIORITY=\"{gnutls}\"\n",
        wanted.profile.suites_12()
    )
}
