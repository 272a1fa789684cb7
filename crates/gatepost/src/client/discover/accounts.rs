//! Servers that were found and approved, kept as configuration: `accounts.toml` in the user's folder.
//!
//! ```toml
//! [[account]]
//! address = "anna@example.org"
//! submission = "submissions://mail.example.org:465"
//! imap = "imaps://mail.example.org:993"
//! user = "anna@example.org"
//! found = "srv"
//! ```
//!
//! `trust_exception = "sha256-cert:…"` does for this account what the flag does for one connection; it is written by hand.
//!
//! What stands here is used as if it had been written on the command line; DNS is not asked again [SRV-04]. A protocol that is not listed
//! is not replaced by another.

use std::fmt::Write;

use super::super::home;
use super::super::url::{Protocol, Url};
use crate::exit::Failure;

/// The file's name.
pub(crate) const NAME: &str = "accounts.toml";

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Account {
    /// The mail address.
    pub(crate) address: String,
    /// Where mail is handed in.
    pub(crate) submission: Option<String>,
    /// Where mail is read.
    pub(crate) imap: Option<String>,
    /// The same by POP3.
    pub(crate) pop3: Option<String>,
    /// The login name.
    pub(crate) user: Option<String>,
    /// How the servers were found.
    pub(crate) found: String,
    /// The certificate taken without an authority, which never counts as verified; revoked by removing the line. [PIN-01]
    pub(crate) exception: Option<String>,
}

const KEYS: [&str; 7] = [
    "address",
    "submission",
    "imap",
    "pop3",
    "user",
    "found",
    "trust_exception",
];

/// Reads the accounts; none when there is no file.
pub(crate) fn all() -> Result<Vec<Account>, Failure> {
    match home::read(NAME)? {
        None => Ok(Vec::new()),
        Some(text) => parse(&text).map_err(|problem| {
            let path = home::path(NAME).unwrap_or_default();
            Failure::usage(format!("{}: {problem}", path.display()))
        }),
    }
}

/// The account of an address.
pub(crate) fn find(address: &str) -> Result<Option<Account>, Failure> {
    let same = |account: &Account| account.address.eq_ignore_ascii_case(address);
    Ok(all()?.into_iter().find(same))
}

/// Keeps an account, in place of an older one of the same address.
pub(crate) fn keep(account: Account) -> Result<std::path::PathBuf, Failure> {
    let mut accounts = all()?;
    accounts.retain(|it| !it.address.eq_ignore_ascii_case(&account.address));
    accounts.push(account);
    home::write(NAME, &write(&accounts))
}

fn parse(text: &str) -> Result<Vec<Account>, String> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    if let Some(other) = table.keys().find(|key| *key != "account") {
        return Err(format!("{other:?} is not known here; write [[account]]"));
    }
    let none = Vec::new();
    let list = match table.get("account") {
        None => &none,
        Some(value) => value
            .as_array()
            .ok_or("write [[account]] in double brackets")?,
    };
    list.iter().map(account).collect()
}

fn account(value: &toml::Value) -> Result<Account, String> {
    let table = value
        .as_table()
        .ok_or("write [[account]] in double brackets")?;
    if let Some(other) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!(
            "{other:?} is not known here; there are {}",
            KEYS.join(", ")
        ));
    }
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key} is text in quotes")),
    };
    let server = |key: &str, wanted: Protocol| -> Result<Option<String>, String> {
        let Some(url) = text(key)? else {
            return Ok(None);
        };
        let read = Url::parse(&url).map_err(|problem| format!("{key}: {problem}"))?;
        if read.protocol != wanted {
            return Err(format!("{key}: {url:?} is not for {}", wanted.label()));
        }
        Ok(Some(url))
    };
    Ok(Account {
        address: text("address")?.ok_or("an account needs an address")?,
        submission: server("submission", Protocol::Submission)?,
        imap: server("imap", Protocol::Imap)?,
        pop3: server("pop3", Protocol::Pop3)?,
        user: text("user")?,
        found: text("found")?.unwrap_or_default(),
        exception: text("trust_exception")?,
    })
}

fn write(accounts: &[Account]) -> String {
    let mut text = String::from(
        "# Servers that were found and approved; change or remove what is not right.\n",
    );
    for account in accounts {
        text.push_str("\n[[account]]\n");
        let values = [
            Some(&account.address),
            account.submission.as_ref(),
            account.imap.as_ref(),
            account.pop3.as_ref(),
            account.user.as_ref(),
            Some(&account.found),
            account.exception.as_ref(),
        ];
        for (key, value) in KEYS.iter().zip(values) {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {}", toml::Value::String(value.clone()));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let accounts = vec![
            Account {
                address: "anna@example.org".into(),
                submission: Some("submissions://mail.example.org:465".into()),
                imap: Some("imap://mail.example.org:143".into()),
                pop3: None,
                user: Some("an\"na\\".into()),
                found: "srv".into(),
                // [PIN-01]
                exception: Some(format!("sha256-cert:{}", "0".repeat(64))),
            },
            Account {
                address: "b@example.net".into(),
                ..Account::default()
            },
        ];
        assert_eq!(parse(&write(&accounts)).unwrap(), accounts);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, hint) in [
            ("[account]\naddress = 1", "double brackets"),
            ("[[account]]\nserver = \"x\"", "there are address"),
            (
                "[[account]]\naddress = \"a@b.test\"\nimap = \"pop3://h.test\"",
                "not for IMAP",
            ),
            (
                "[[account]]\naddress = \"a@b.test\"\nimap = \"imap://a:b@h.test\"",
                "password",
            ),
            ("[[account]]\nimap = \"imap://h.test\"", "needs an address"),
            ("[x]", "[[account]]"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(hint), "{text}: {said}");
        }
    }
}
