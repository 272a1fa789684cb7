//! Settings to type in, for programs that read no file.

use super::{Account, Door};

fn door(side: &str, kind: &str, door: &Door, account: &Account) -> String {
    format!(
        "{side}\n  server          {}\n  type            {kind}\n  port            {}\n  security        {}\n  user name       {}\n  \
         authentication  normal password (it travels inside TLS only)\n",
        door.host,
        door.port,
        door.mode(),
        account.user
    )
}

fn both(account: &Account) -> String {
    let kind = if account.pop3 { "POP3" } else { "IMAP" };
    format!(
        "{}\n{}",
        door("Incoming mail", kind, account.incoming(), account),
        door(
            "Outgoing mail",
            "SMTP, with a login",
            account.outgoing(),
            account
        )
    )
}

/// When it does not work: never less.
const NEVER: &str = "\nIf the program warns of the certificate, do not accept it: the server's name or its certificate is wrong, or somebody is\n\
                     in between. Never choose \"None\" or \"if available\", and no port but these.\n";

pub(super) fn outlook(account: &Account) -> String {
    format!(
        "Outlook, classic: File, Add Account, {}, Advanced options, \"Let me set up my account manually\", {}.\n\n{}\nIn Outlook's words: \"SSL/TLS\" \
         is TLS from the first octet; \"STARTTLS\" is required once it is chosen; leave \"Auto\" alone. \"Require logon using SPA\" is off.\n\
         To spare your users this: gatepost config client {} --for autodiscover\n{NEVER}",
        account.address,
        if account.pop3 { "POP" } else { "IMAP" },
        both(account),
        account.address
    )
}

pub(super) fn gmail(account: &Account) -> String {
    format!(
        "Gmail app on Android: Settings, Add account, Other, {}, \"Personal ({})\".\n\n{}\nIn the app's words: \"SSL/TLS\" is TLS from the first octet. \
         Not \"SSL/TLS (accept all certificates)\": that trusts everybody.\n{NEVER}",
        account.address,
        if account.pop3 { "POP3" } else { "IMAP" },
        both(account)
    )
}

pub(super) fn k9(account: &Account) -> String {
    format!(
        "K-9 Mail and Thunderbird for Android: Add account, {}; \"Edit configuration\" shows these fields.\n\n{}\nThe app asks \
         https://autoconfig.{}/mail/config-v1.1.xml by itself: gatepost config client {} --for autoconfig\n{NEVER}",
        account.address,
        both(account),
        account.domain,
        account.address
    )
}
