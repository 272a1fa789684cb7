//! Dialogues with the IMAP server session, whole and cut at every byte, and the matrix of its commands.

mod client;
mod extensions;
mod injection;
mod property;
mod sessions;

use std::sync::Arc;
use std::time::Instant;

use gatepost_testkit::imap::Maildrop;
use gatepost_testkit::{facts, old_facts, talk};
use gatepost_wire::imap::ask::{Answer, Ask};
use gatepost_wire::imap::server::{Config, Fresh, Limits, Server, table};
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::seam::{ClearLogin, TlsVersion};
use gatepost_wire::session::{Fresh as _, Machine as _};

fn config(starttls: bool) -> Arc<Config> {
    Arc::new(configuration(starttls))
}

/// The same, with TLS 1.3 as the least.
fn strict() -> Arc<Config> {
    Arc::new(Config {
        least: TlsVersion::Tls13,
        ..configuration(true)
    })
}

fn configuration(starttls: bool) -> Config {
    Config {
        host: "mail.gatepost.test".into(),
        starttls,
        least: TlsVersion::Tls12,
        append_limit: 200_000,
        offer: None,
        mechanisms: Mechanism::FOR_ACCOUNTS.to_vec(),
        limits: Limits::default(),
    }
}

fn clear_session() -> Server {
    Server::clear(config(true), None, Instant::now())
}

/// In clear, with the configuration's leave to log in.
fn excepted_session() -> Server {
    let exception = ClearLogin::danger_allowed_by_configuration();
    Server::clear(config(true), Some(exception), Instant::now())
}

fn implicit_session() -> Server {
    Fresh::implicit(config(false)).secured(facts())
}

fn maildrop() -> Maildrop {
    Maildrop::with(&[
        "Subject: first, message\r\n\r\nHello\r\n",
        "Subject: second message\r\n\r\nWorld\r\n",
        "Subject: third message\r\n\r\nAgain\r\n",
    ])
}

fn backend() -> impl FnMut(Ask) -> Answer {
    let mut access = maildrop().access();
    move |ask| access.handle(ask)
}

fn file(name: &str) -> String {
    format!("{}/tests/talk/imap/{name}.talk", env!("CARGO_MANIFEST_DIR"))
}

// [REPLY-07] [SMTP-STARTTLS-12] below the floor nobody behind the session is asked, however the login is tried.
#[test]
fn no_login_below_the_floor() {
    let nobody = || |ask: Ask| -> Answer { panic!("asked for {ask:?}") };
    let clear = || {
        let exception = ClearLogin::danger_allowed_by_configuration();
        Server::clear(strict(), Some(exception), Instant::now())
    };
    let after = || {
        let (fresh, leftover) = Server::clear(strict(), None, Instant::now()).upgrade();
        assert!(leftover.into_handshake().is_ok());
        fresh.secured(old_facts())
    };
    talk::run_cut(
        &file("floor"),
        || Server::clear(strict(), None, Instant::now()),
        nobody,
    );
    for tried in [
        "LOGIN me wrong",
        "LOGIN",
        "LOGIN me {6}",
        "LOGIN me {6+}",
        "AUTHENTICATE PLAIN AG1lAHNlc2FtZQ==",
        "AUTHENTICATE SCRAM-SHA-256",
        "SELECT INBOX",
    ] {
        let dialogue = format!(
            "C: a {tried}\nS: a NO [PRIVACYREQUIRED] TLS 1.3 is required here\n\
             S: * BYE TLS 1.3 is required here\n<close tls_too_weak>\n"
        );
        talk::run_cut(&dialogue, after, nobody);
    }
    // With implicit TLS the greeting says it.
    let implicit = || Fresh::implicit(strict()).secured(old_facts());
    let greeting = "S: * BYE TLS 1.3 is required here\n<close tls_too_weak>\n";
    talk::run_cut(greeting, implicit, nobody);
    // Leave to log in in clear is none to log in by weak TLS; and TLS 1.3 is as it was.
    let dialogue = "S~ * OK*\nC: s STARTTLS\nS: s OK Begin TLS\n<tls1.2>\nC: a LOGIN me sesame\n\
                    S~ a NO [PRIVACYREQUIRED]*\nS~ * BYE*\n<close tls_too_weak>\n";
    talk::run_cut(dialogue, clear, nobody);
    talk::run_cut(
        &file("upgrade"),
        || Server::clear(strict(), None, Instant::now()),
        backend,
    );
}

macro_rules! dialogues {
    ($($name:ident $make:ident,)*) => {
        $(#[test]
        fn $name() {
            talk::run_cut(&file(stringify!($name)), $make, backend);
        })*
    };
}

dialogues! {
    clear clear_session,
    upgrade clear_session,
    authenticate implicit_session,
    login implicit_session,
    failed_logins implicit_session,
    mailbox implicit_session,
    fetch implicit_session,
    store implicit_session,
    search implicit_session,
    condstore implicit_session,
    rev2 implicit_session,
    list implicit_session,
    append implicit_session,
    idle implicit_session,
    silent clear_session,
    slow clear_session,
    bad_commands clear_session,
    literals implicit_session,
    qresync implicit_session,
    uidonly implicit_session,
    partial implicit_session,
    multiappend implicit_session,
    sort implicit_session,
    quota implicit_session,
    notify implicit_session,
}

/// Which command is allowed where: name, not authenticated, authenticated, selected, any effect before TLS, source.
#[test]
fn the_matrix_of_commands() {
    assert_eq!(table::matrix(), include_str!("matrix.txt"));
}
