//! [SMTP-STARTTLS-05] What came of words said before TLS is forgotten behind the session too: a login, a mailbox, a transaction.

use gatepost_net::driver::Backend;
use gatepost_serve::mailbox::Recorded as _;
use gatepost_serve::mailbox::smtp::Role;
use gatepost_wire::smtp::ask::{Answer, Ask, Body, MailFrom, Refusal};
use gatepost_wire::smtp::dsn::OfMail;
use gatepost_wire::smtp::path::ReversePath;
use gatepost_wire::{imap, pop3, smtp};

use crate::world::{ANN, World};

#[tokio::test]
async fn a_login_before_tls_is_worth_nothing_after_it() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    assert!(backend.summary().login.is_some());
    Backend::<smtp::server::Server>::upgraded(&mut backend);
    assert!(backend.summary().login.is_none());
    let mail = Ask::Mail(MailFrom {
        reverse_path: ReversePath::Null,
        size: None,
        body: Body::default(),
        smtputf8: false,
        dsn: OfMail::default(),
    });
    let answer = backend.answer(mail).await;
    assert_eq!(answer, Answer::Verdict(Err(Refusal::SenderNotAuthorized)));
}

#[tokio::test]
async fn a_mailbox_opened_before_tls_is_closed_after_it() {
    let world = World::new();
    let mut backend = world.imap(ANN).await;
    Backend::<imap::server::Server>::upgraded(&mut backend);
    assert!(backend.summary().login.is_none());
    let answer = backend.answer(imap::ask::Ask::List).await;
    assert!(
        matches!(answer, imap::ask::Answer::Mailboxes(Err(_))),
        "{answer:?}"
    );

    // The maildrop of a POP3 session is given back: another session can have it.
    let mut first = world.pop3(ANN).await;
    let opened = first.answer(pop3::ask::Ask::Open).await;
    assert!(matches!(opened, pop3::ask::Answer::Opened(Ok(_))));
    Backend::<pop3::server::Server>::upgraded(&mut first);
    assert!(first.summary().login.is_none());
    let mut second = world.pop3(ANN).await;
    let opened = second.answer(pop3::ask::Ask::Open).await;
    assert!(
        matches!(opened, pop3::ask::Answer::Opened(Ok(_))),
        "{opened:?}"
    );
}
