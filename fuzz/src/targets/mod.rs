//! The targets, by protocol.

use std::sync::LazyLock;

use gatepost_wire::sasl::{AccountAnswer, AccountAsk, Attempt, ScramHash, ScramKeys, ScramRecord};

pub mod clients;
pub mod config;
pub mod dns;
pub mod domain;
pub mod hello;
pub mod imap;
pub mod inbox;
pub mod ntlm;
pub mod peer;
pub mod policy;
pub mod pop3;
pub mod proxy;
pub mod sasl;
pub mod smtp;
pub mod tls;
pub mod watch;

/// The password of every account.
const PASSWORD: &str = "pencil";
/// The salt of every account.
const SALT: &[u8; 16] = b"0123456789abcdef";
/// The server's half of every nonce.
const NONCE: &str = "servernonceservernonce";

/// The keeper of the accounts: every user has the same password, but those whose name begins with `x` do not exist, and those
/// with `u` cannot be told.
fn account(ask: AccountAsk) -> AccountAnswer {
    match ask {
        AccountAsk::ScramKeys { hash, .. } => AccountAnswer::ScramKeys(keys(hash)),
        AccountAsk::Login(Attempt::Password { user, password, .. }) => {
            judge(&user, password.expose() == PASSWORD)
        }
        AccountAsk::Login(Attempt::Token { .. }) => AccountAnswer::Denied,
        AccountAsk::Login(Attempt::Certificate { user }) => judge(&user, true),
        AccountAsk::Login(Attempt::Scram { user, proven, .. }) => judge(&user, proven),
    }
}

fn judge(user: &str, right: bool) -> AccountAnswer {
    if user.starts_with('u') {
        AccountAnswer::Unavailable
    } else if right && !user.starts_with('x') {
        AccountAnswer::Granted {
            account: user.into(),
        }
    } else {
        AccountAnswer::Denied
    }
}

fn keys(hash: ScramHash) -> ScramKeys {
    static RECORDS: LazyLock<[ScramRecord; 2]> = LazyLock::new(|| {
        [ScramHash::Sha256, ScramHash::Sha1].map(|hash| {
            ScramRecord::derive_with(hash, PASSWORD, SALT.to_vec(), 4096)
                .expect("the password can be prepared")
        })
    });
    let [sha256, sha1] = &*RECORDS;
    let record = if hash == ScramHash::Sha1 {
        sha1
    } else {
        sha256
    };
    ScramKeys {
        salt: record.salt.clone(),
        iterations: record.iterations,
        stored_key: record.stored_key.clone(),
        server_key: record.server_key.clone(),
        nonce: NONCE.to_owned(),
    }
}

/// Octets of a message from `offset`, at most `length`.
fn piece(message: &[u8], offset: u64, length: u32) -> Vec<u8> {
    let from = usize::try_from(offset).map_or(message.len(), |offset| offset.min(message.len()));
    let rest = &message[from..];
    rest[..rest
        .len()
        .min(usize::try_from(length).unwrap_or(usize::MAX))]
        .to_vec()
}
