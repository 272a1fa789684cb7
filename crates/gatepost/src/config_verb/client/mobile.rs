//! Profiles for iOS and macOS (com.apple.mail.managed).
//!
//! [MOBC-01] TLS is off where the key is missing, and a missing port makes the device try 25 first: both are always written. A profile
//! that is not encrypted holds no password: the device asks for it.

use super::Account;
use crate::config_verb::words::{hash, xml};

/// The profile, to be served as application/x-apple-aspen-config.
pub(super) fn profile(account: &Account) -> String {
    let (incoming, outgoing) = (account.incoming(), account.outgoing());
    let text = |key: &str, value: &str| {
        format!(
            "      <key>{key}</key>\n      <string>{}</string>\n",
            xml(value)
        )
    };
    let number = |key: &str, value: u16| {
        format!("      <key>{key}</key>\n      <integer>{value}</integer>\n")
    };
    let on = |key: &str| format!("      <key>{key}</key>\n      <true/>\n");
    let mut mail = String::new();
    mail.push_str(&text(
        "EmailAccountType",
        if account.pop3 {
            "EmailTypePOP"
        } else {
            "EmailTypeIMAP"
        },
    ));
    mail.push_str(&text("EmailAccountDescription", &account.domain));
    mail.push_str(&text("EmailAddress", &account.address));
    for (side, door) in [("Incoming", incoming), ("Outgoing", outgoing)] {
        mail.push_str(&text(
            &format!("{side}MailServerAuthentication"),
            "EmailAuthPassword",
        ));
        mail.push_str(&text(&format!("{side}MailServerHostName"), &door.host));
        mail.push_str(&number(&format!("{side}MailServerPortNumber"), door.port));
        mail.push_str(&on(&format!("{side}MailServerUseSSL")));
        mail.push_str(&text(&format!("{side}MailServerUsername"), &account.user));
    }
    mail.push_str(&on("OutgoingPasswordSameAsIncomingPassword"));
    mail.push_str(&inner(account, "com.apple.mail.managed", "mail"));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n  <dict>\n    <key>PayloadContent</key>\n    <array>\n    <dict>\n{mail}    </dict>\n    </array>\n    \
         <key>PayloadDisplayName</key>\n    <string>{}</string>\n{}  </dict>\n</plist>\n",
        xml(&format!("Mail of {}", account.address)),
        inner(account, "Configuration", "profile").replace("      <", "    <"),
    )
}

/// The keys every payload has.
fn inner(account: &Account, kind: &str, what: &str) -> String {
    let mut labels: Vec<&str> = account.domain.split('.').collect();
    labels.reverse();
    let uuid = uuid(&format!("{what} {}", account.address));
    // One for each account: a profile with the same identifier replaces the one that is there.
    let identifier = format!("{}.gatepost.{what}.{}", labels.join("."), &uuid[..8]);
    format!(
        "      <key>PayloadIdentifier</key>\n      <string>{}</string>\n      <key>PayloadType</key>\n      <string>{kind}</string>\n      \
         <key>PayloadUUID</key>\n      <string>{}</string>\n      <key>PayloadVersion</key>\n      <integer>1</integer>\n",
        xml(&identifier),
        uuid
    )
}

/// The same for the same account, so that a new profile replaces the old one: a UUID of version 8 (RFC 9562) from a hash.
fn uuid(name: &str) -> String {
    let mut hex = hash(name).to_uppercase();
    hex.truncate(32);
    hex.replace_range(12..13, "8");
    hex.replace_range(16..17, "A");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_uuid_is_one() {
        let uuid = super::uuid("x");
        assert_eq!(uuid.len(), 36);
        assert_eq!((&uuid[14..15], &uuid[19..20]), ("8", "A"));
        assert_eq!(uuid, super::uuid("x"));
    }
}
