//! `OpenSMTPD`: one whole file.

use super::{Made, Wanted, head, one_for_all};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    let host = &wanted.host;
    let mut text = head(
        "OpenSMTPD",
        wanted,
        "A whole configuration; TLS 1.2 and 1.3 are what the library leaves on.",
    );
    let suites = wanted.profile.suites_12();
    text.push_str(&format!(
        "pki {host} cert \"{chain}\"\npki {host} key \"{key}\"\n{note}smtp ciphers \"{suites}\"\n\n\
         table aliases file:/etc/aliases\n\n\
         # Mail from other servers: TLS offered, no logins (RFC 3207 section 4).\n\
         listen on 0.0.0.0 port 25 tls pki {host} hostname {host}\n\
         # Users: TLS from the first octet, and STARTTLS required before the login (RFC 8314 section 3.3).\n\
         listen on 0.0.0.0 port 465 smtps pki {host} auth hostname {host}\n\
         listen on 0.0.0.0 port 587 tls-require pki {host} auth hostname {host}\n\n\
         action \"local\" maildir alias <aliases>\naction \"outbound\" relay helo {host}\n\n\
         match from any for domain \"{domain}\" action \"local\"\nmatch from local for local action \"local\"\n\
         # To elsewhere for users alone, and for this machine.\nmatch auth from any for any action \"outbound\"\nmatch from local for any action \"outbound\"\n",
        chain = wanted.chain,
        key = wanted.key,
        domain = wanted.domain,
        note = one_for_all(wanted)
    ));
    vec![Made {
        name: "smtpd.conf",
        place: "/etc/smtpd.conf",
        text,
    }]
}
