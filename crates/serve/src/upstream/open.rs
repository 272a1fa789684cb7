//! Opening an upstream of each protocol: connect, TLS, who the client is, login.

use std::sync::Arc;

use gatepost_net::client::{Failure, Leg, Session, Start};
use gatepost_wire::client::Credentials;
use gatepost_wire::{imap, pop3, smtp};

use super::dane::NoRecords;
use super::identity::{Client, announce_check};
use super::member::Member;
use super::offer::Offered;
use super::trouble::Trouble;

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Unreached(failure)
    }
}

impl From<NoRecords> for Trouble {
    fn from(why: NoRecords) -> Self {
        Self::Unknown(why)
    }
}

/// A session ended where it should have gone on.
fn ended() -> Trouble {
    Trouble::Unreached(Failure::Broken)
}

/// An upstream that is ready to be spoken to word by word.
pub(super) struct SmtpOpen {
    pub(super) leg: Leg,
    pub(super) capabilities: Box<smtp::client::Capabilities>,
}

/// An upstream with somebody logged in.
pub(super) struct MailboxOpen {
    pub(super) leg: Leg,
    /// What it can do now, as far as the client may know, in IMAP.
    pub(super) capabilities: Option<Box<str>>,
}

async fn begin_smtp(
    member: &Member,
    host: &str,
    client: Option<&Client>,
) -> Result<Session<smtp::client::Client>, Trouble> {
    let config = smtp::client::Config {
        deadlines: member.deadlines(),
        exception: member.exception(),
        ..smtp::client::Config::new(member.mode(), host)
    };
    let config = Arc::new(config);
    let announce = announcement(member, client);
    let implicit = member.mode() == gatepost_wire::client::Mode::Implicit;
    member
        .open(announce, |seed| {
            let config = Arc::clone(&config);
            if implicit {
                Start::Implicit(smtp::client::Fresh::implicit(config, seed))
            } else {
                Start::Clear(smtp::client::Client::clear(config, seed))
            }
        })
        .await
}

fn announcement(
    member: &Member,
    client: Option<&Client>,
) -> Option<gatepost_net::client::dial::Announce> {
    match client {
        Some(client) => client.announce(member.spec()),
        None => announce_check(member.spec()),
    }
}

/// Opens an SMTP upstream for a client; logs in if there are credentials.
pub(super) async fn smtp(
    member: &Member,
    host: &str,
    client: &Client,
    mut credentials: Option<Credentials>,
) -> Result<SmtpOpen, Trouble> {
    use smtp::client::{Answer, Ask};
    let mut session = begin_smtp(member, host, Some(client)).await?;
    let mut introduced = !member.spec().xclient;
    loop {
        match session.next().await?.ok_or_else(ended)? {
            Ask::Ready(capabilities) => {
                if !introduced {
                    // [XCL-01] behind TLS, and the capabilities are asked anew.
                    introduced = true;
                    let who = client.introduction(None);
                    let lines = smtp::relay::introduce(&who, &capabilities);
                    if !lines.is_empty() {
                        session.answer(Answer::Introduce(lines));
                        continue;
                    }
                }
                match credentials.take() {
                    Some(credentials) => session.answer(Answer::Login(Box::new(credentials))),
                    None => return handed_over(session, capabilities),
                }
            }
            Ask::LoggedIn(_) => {
                let machine = session.machine().ok_or_else(ended)?;
                let capabilities = Box::new(machine.capabilities().clone());
                return handed_over(session, capabilities);
            }
            Ask::LoginFailed(failure) => {
                session.answer(Answer::Quit);
                leave(session);
                return Err(Trouble::of_login(*failure));
            }
            _ => session.answer(Answer::Wait),
        }
    }
}

fn handed_over(
    session: Session<smtp::client::Client>,
    capabilities: Box<smtp::client::Capabilities>,
) -> Result<SmtpOpen, Trouble> {
    let leg = session.hand_over().ok_or_else(ended)?;
    Ok(SmtpOpen { leg, capabilities })
}

/// Says goodbye without being waited for.
fn leave<M: gatepost_net::client::Dialogue + 'static>(mut session: Session<M>) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            // What the server says to a farewell changes nothing any more.
            while let Ok(Some(_)) = session.next().await {}
        });
    }
}

async fn begin_imap(
    member: &Member,
    client: Option<&Client>,
) -> Result<Session<imap::client::Client>, Trouble> {
    let config = Arc::new(imap::client::Config {
        deadlines: member.deadlines(),
        exception: member.exception(),
        strict_before_login: true,
        ..imap::client::Config::new(member.mode())
    });
    let announce = announcement(member, client);
    let implicit = member.mode() == gatepost_wire::client::Mode::Implicit;
    member
        .open(announce, |seed| {
            let config = Arc::clone(&config);
            if implicit {
                Start::Implicit(imap::client::Fresh::implicit(config, seed))
            } else {
                Start::Clear(imap::client::Client::clear(config, seed))
            }
        })
        .await
}

/// Opens an IMAP upstream and logs the client in.
pub(super) async fn imap(
    member: &Member,
    client: &Client,
    credentials: Credentials,
) -> Result<MailboxOpen, Trouble> {
    use imap::client::{Answer, Ask, Command};
    let mut session = begin_imap(member, Some(client)).await?;
    let mut credentials = Some(Box::new(credentials));
    loop {
        let answer = match session.next().await?.ok_or_else(ended)? {
            // [GW-03] nobody may be logged in before the one who logs in.
            Ask::Ready {
                logged_in: true, ..
            } => return Err(Trouble::LoggedInAlready),
            Ask::Ready { capabilities, .. } if member.spec().xclient && capabilities.has("ID") => {
                let id = client.imap_id().into_bytes();
                Answer::Command(Command::Raw(id.into()))
            }
            Ask::Ready { .. } | Ask::Done(_) => match credentials.take() {
                Some(credentials) => Answer::Login(credentials),
                None => Answer::Wait,
            },
            Ask::LoggedIn(_) => {
                let machine = session.machine().ok_or_else(ended)?;
                let words = machine.capabilities().words.join(" ");
                let offered = imap::relay::carried(&words);
                let capabilities = (!offered.is_empty()).then(|| spelled(&offered).into());
                let leg = session.hand_over().ok_or_else(ended)?;
                return Ok(MailboxOpen { leg, capabilities });
            }
            Ask::LoginFailed(failure) => {
                session.answer(Answer::Quit);
                leave(session);
                return Err(Trouble::of_login(*failure));
            }
            _ => Answer::Wait,
        };
        session.answer(answer);
    }
}

/// The client's session gives words in upper case.
fn spelled(words: &str) -> String {
    words
        .replace("IMAP4REV1", "IMAP4rev1")
        .replace("IMAP4REV2", "IMAP4rev2")
}

async fn begin_pop3(
    member: &Member,
    client: Option<&Client>,
) -> Result<Session<pop3::client::Client>, Trouble> {
    let config = Arc::new(pop3::client::Config {
        deadlines: member.deadlines(),
        exception: member.exception(),
        ..pop3::client::Config::new(member.mode())
    });
    let announce = announcement(member, client);
    let implicit = member.mode() == gatepost_wire::client::Mode::Implicit;
    member
        .open(announce, |seed| {
            let config = Arc::clone(&config);
            if implicit {
                Start::Implicit(pop3::client::Fresh::implicit(config, seed))
            } else {
                Start::Clear(pop3::client::Client::clear(config, seed))
            }
        })
        .await
}

/// Opens a POP3 upstream and logs the client in.
pub(super) async fn pop3(
    member: &Member,
    client: &Client,
    credentials: Credentials,
) -> Result<MailboxOpen, Trouble> {
    use pop3::client::{Answer, Ask, Command};
    let mut session = begin_pop3(member, Some(client)).await?;
    let mut credentials = Some(Box::new(credentials));
    loop {
        let answer = match session.next().await?.ok_or_else(ended)? {
            Ask::Ready(capabilities) if member.spec().xclient && capabilities.has("XCLIENT") => {
                let line = client.pop3_xclient().into_bytes();
                Answer::Commands(vec![Command::Raw(line.into(), false)])
            }
            Ask::Ready(_) | Ask::Done(_) => match credentials.take() {
                Some(credentials) => Answer::Login(credentials),
                None => Answer::Wait,
            },
            Ask::LoggedIn(_) => {
                let leg = session.hand_over().ok_or_else(ended)?;
                let capabilities = None;
                return Ok(MailboxOpen { leg, capabilities });
            }
            Ask::LoginFailed(failure) => {
                session.answer(Answer::Quit);
                leave(session);
                return Err(Trouble::of_login(*failure));
            }
            _ => Answer::Wait,
        };
        session.answer(answer);
    }
}

/// Asks an upstream what it can do, inside its TLS, and leaves.
pub(super) async fn ask(member: &Member, host: &str) -> Result<Offered, Trouble> {
    use crate::services::Protocol;
    match member.spec().protocol {
        Protocol::Smtp | Protocol::Submission => {
            use smtp::client::{Answer, Ask};
            let mut session = begin_smtp(member, host, None).await?;
            loop {
                if let Ask::Ready(capabilities) = session.next().await?.ok_or_else(ended)? {
                    session.answer(Answer::Quit);
                    leave(session);
                    return Ok(Offered::Smtp(capabilities));
                }
                session.answer(Answer::Wait);
            }
        }
        Protocol::Imap => {
            use imap::client::{Answer, Ask};
            let mut session = begin_imap(member, None).await?;
            loop {
                match session.next().await?.ok_or_else(ended)? {
                    Ask::Ready {
                        logged_in: true, ..
                    } => return Err(Trouble::LoggedInAlready),
                    Ask::Ready { capabilities, .. } => {
                        session.answer(Answer::Quit);
                        leave(session);
                        return Ok(Offered::Imap(capabilities));
                    }
                    _ => session.answer(Answer::Wait),
                }
            }
        }
        Protocol::Pop3 => {
            use pop3::client::{Answer, Ask};
            let mut session = begin_pop3(member, None).await?;
            loop {
                if let Ask::Ready(capabilities) = session.next().await?.ok_or_else(ended)? {
                    session.answer(Answer::Quit);
                    leave(session);
                    return Ok(Offered::Pop3(capabilities));
                }
                session.answer(Answer::Wait);
            }
        }
    }
}
