//! Every attack of the lists, with every cut: no credential leaves, nothing injected is believed.

use std::sync::Arc;

use gatepost_testkit::hostile::{self, CREDENTIALS, check};
use gatepost_wire::client::{Credentials, Mode, Seed};
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::{imap, pop3, sieve, smtp};

fn credentials() -> Credentials {
    let (user, password) = CREDENTIALS;
    Credentials::password(user, password).allow([Mechanism::Plain])
}

fn seed() -> Seed {
    Seed::new([42; 32])
}

// [SMTP-STARTTLS-20] [SMTP-STARTTLS-07] [SMTP-STARTTLS-08] [SMTP-STARTTLS-25] [MUA-01] [MUA-02] [MUA-03] [MUA-05]
#[test]
fn smtp_client() {
    use smtp::client::{Answer, Ask, Client, Config};
    let config = Arc::new(Config::new(Mode::StartTls, "client.gatepost.test"));
    let make = || Client::clear(Arc::clone(&config), seed());
    let owner = || {
        |ask| match ask {
            Ask::Ready(_) => Answer::Login(Box::new(credentials())),
            Ask::LoggedIn(_) | Ask::LoginFailed(_) => Answer::Quit,
            _ => Answer::Wait,
        }
    };
    let attacks = hostile::smtp();
    let clear = ["EHLO client.gatepost.test", "STARTTLS", "QUIT"];
    let played: usize = attacks
        .iter()
        .map(|it| check(it, make, owner, &clear))
        .sum();
    println!("SMTP: {} attacks, played {played} times", attacks.len());
}

// [IMAP-TLS-07] [IMAP-TLS-08] [IMAP-TLS-10] [IMAP-TLS-11] [IMAP-TLS-12]
#[test]
fn imap_client() {
    use imap::client::{Answer, Ask, Client, Config};
    let config = Arc::new(Config::new(Mode::StartTls));
    let make = || Client::clear(Arc::clone(&config), seed());
    let owner = || {
        |ask| match ask {
            Ask::Ready { .. } => Answer::Login(Box::new(credentials())),
            Ask::LoggedIn(_) | Ask::LoginFailed(_) => Answer::Quit,
            _ => Answer::Wait,
        }
    };
    let attacks = hostile::imap();
    let clear = ["STARTTLS", "LOGOUT"];
    let played: usize = attacks
        .iter()
        .map(|it| check(it, make, owner, &clear))
        .sum();
    println!("IMAP: {} attacks, played {played} times", attacks.len());
}

// [POP-TLS-03] [POP-TLS-07] [POP-AUTH-04]
#[test]
fn pop3_client() {
    use pop3::client::{Answer, Ask, Client, Config};
    let config = Arc::new(Config::new(Mode::StartTls));
    let make = || Client::clear(Arc::clone(&config), seed());
    let owner = || {
        |ask| match ask {
            Ask::Ready(_) => Answer::Login(Box::new(credentials())),
            Ask::LoggedIn(_) | Ask::LoginFailed(_) => Answer::Quit,
            _ => Answer::Wait,
        }
    };
    let attacks = hostile::pop3();
    let played: usize = attacks
        .iter()
        .map(|it| check(it, make, owner, &["STLS", "QUIT"]))
        .sum();
    println!("POP3: {} attacks, played {played} times", attacks.len());
}

// [SIEVE-TLS-01]
#[test]
fn sieve_client() {
    use sieve::client::{Answer, Ask, Client, Config};
    let config = Arc::new(Config::new(Mode::StartTls));
    let make = || Client::clear(Arc::clone(&config), seed());
    let owner = || {
        |ask| match ask {
            Ask::Ready(_) => Answer::Login(Box::new(credentials())),
            Ask::LoggedIn(_) | Ask::LoginFailed(_) => Answer::Quit,
            _ => Answer::Wait,
        }
    };
    let attacks = hostile::sieve();
    let clear = ["STARTTLS", "LOGOUT"];
    let played: usize = attacks
        .iter()
        .map(|it| check(it, make, owner, &clear))
        .sum();
    println!(
        "ManageSieve: {} attacks, played {played} times",
        attacks.len()
    );
}
