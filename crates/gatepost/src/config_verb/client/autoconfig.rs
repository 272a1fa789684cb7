//! Files a provider serves: autoconfig (Thunderbird and others) and the answer of autodiscover (Outlook and others).
//!
//! [AUTOC-02] The first entry is the preferred one: implicit TLS. `plain` is never written. The user name is a placeholder, so that the
//! answer is the same for every address, whether it exists or not [AUTOC-01].

use super::{Account, Door};
use crate::config_verb::words::xml;

/// The longest names the format allows.
const LONGEST: usize = 60;
const LONGEST_SHORT: usize = 20;

/// config-v1.1.xml.
pub(super) fn clients(account: &Account) -> String {
    let domain = xml(&account.domain);
    let cut = |longest: usize| account.domain.chars().take(longest).collect::<String>();
    let user = user(account);
    let servers: String = account
        .incoming
        .iter()
        .map(|door| server("incomingServer", account.protocol(), door, &user))
        .chain(
            account
                .outgoing
                .iter()
                .map(|door| server("outgoingServer", "smtp", door, &user)),
        )
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!-- To be served at https://autoconfig.{domain}/mail/config-v1.1.xml and\n     \
         https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml as text/xml, without a login, the same for every address. -->\n\
         <clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    <domain>{domain}</domain>\n    \
         <displayName>{}</displayName>\n    <displayShortName>{}</displayShortName>\n{servers}  </emailProvider>\n</clientConfig>\n",
        xml(&cut(LONGEST)),
        xml(&cut(LONGEST_SHORT)),
    )
}

/// The placeholder for the address where the login is the address; else the name.
fn user(account: &Account) -> String {
    if account.user == account.address {
        "%EMAILADDRESS%".to_owned()
    } else {
        xml(&account.user)
    }
}

fn server(element: &str, kind: &str, door: &Door, user: &str) -> String {
    format!(
        "    <{element} type=\"{kind}\">\n      <hostname>{}</hostname>\n      <port>{}</port>\n      <socketType>{}</socketType>\n      \
         <authentication>password-cleartext</authentication>\n      <username>{user}</username>\n    </{element}>\n",
        xml(&door.host),
        door.port,
        door.socket_type()
    )
}

/// The answer to a POST of autodiscover.xml. [AUTOD-01] TLS and authentication are always said.
pub(super) fn autodiscover(account: &Account) -> String {
    let kind = if account.pop3 { "POP3" } else { "IMAP" };
    let (incoming, outgoing) = (account.incoming(), account.outgoing());
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <!-- The answer to POST https://autodiscover.{domain}/autodiscover/autodiscover.xml, as application/xml. -->\n\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n  \
         <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\n    <Account>\n      \
         <AccountType>email</AccountType>\n      <Action>settings</Action>\n{}{}    </Account>\n  </Response>\n</Autodiscover>\n",
        protocol(kind, incoming, account),
        protocol("SMTP", outgoing, account),
        domain = xml(&account.domain),
    )
}

fn protocol(kind: &str, door: &Door, account: &Account) -> String {
    format!(
        "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{}</Server>\n        <Port>{}</Port>\n        \
         <LoginName>{}</LoginName>\n        <SSL>on</SSL>\n        <Encryption>{}</Encryption>\n        <SPA>off</SPA>\n        \
         <AuthRequired>on</AuthRequired>\n      </Protocol>\n",
        xml(&door.host),
        door.port,
        xml(&account.user),
        if door.implicit { "SSL" } else { "TLS" }
    )
}
