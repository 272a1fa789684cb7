//! A mailbox that a session can be run over.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

use gatepost_wire::pop3::ask::{Answer, Ask, Fault, Maildrop, OpenError};
use gatepost_wire::sasl::{
    AccountAnswer, AccountAsk, Attempt, ScramKeys, ScramRecord, decode_base64,
};

/// `user` with the password `pencil`, as RFC 7677 3 has it.
static PENCIL: LazyLock<ScramRecord> = LazyLock::new(|| {
    ScramRecord::derive(
        "pencil",
        decode_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
        4096,
    )
    .unwrap()
});

/// A maildrop of any messages and an account, and a list of everything asked.
#[derive(Clone)]
pub(crate) struct Mailbox {
    pub(crate) messages: Vec<(u32, u64, Vec<u8>)>,
    pub(crate) open: Result<(), OpenError>,
    /// UIDs that cannot be read from this offset on.
    pub(crate) spoilt: Option<(u32, u64)>,
    pub(crate) update: Result<(), Fault>,
    pub(crate) asked: Rc<RefCell<Vec<String>>>,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        let one = b"Subject: one\r\n\r\n.dot\r\n..\nlast".to_vec();
        let two = b"Subject: two\r\n\r\nbody\r\n".to_vec();
        Self::of(vec![(4, 120, one), (9, 200, two)])
    }

    pub(crate) fn of(messages: Vec<(u32, u64, Vec<u8>)>) -> Self {
        Self {
            messages,
            open: Ok(()),
            spoilt: None,
            update: Ok(()),
            asked: Rc::default(),
        }
    }

    /// A message of so many octets, alone.
    pub(crate) fn sized(octets: usize) -> Self {
        let message = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
            .iter()
            .copied()
            .cycle();
        Self::of(vec![(1, octets as u64, message.take(octets).collect())])
    }

    pub(crate) fn answer(&self, ask: Ask) -> Answer {
        self.asked.borrow_mut().push(format!("{ask:?}"));
        match ask {
            Ask::Account(AccountAsk::ScramKeys { .. }) => {
                Answer::Account(AccountAnswer::ScramKeys(ScramKeys {
                    salt: PENCIL.salt.clone(),
                    iterations: PENCIL.iterations,
                    stored_key: PENCIL.stored_key.clone(),
                    server_key: PENCIL.server_key.clone(),
                    nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(),
                }))
            }
            Ask::Account(AccountAsk::Login(attempt)) => Answer::Account(judge(&attempt)),
            Ask::Open => {
                let messages = self
                    .messages
                    .iter()
                    .map(|(uid, size, _)| (*uid, *size))
                    .collect();
                Answer::Opened(self.open.map(|()| Maildrop {
                    uidvalidity: 77,
                    messages,
                }))
            }
            Ask::Read {
                uid,
                offset,
                length,
            } => Answer::Octets(self.read(uid, offset, length)),
            Ask::Update { .. } => Answer::Updated(self.update),
        }
    }

    fn read(&self, uid: u32, offset: u64, length: u32) -> Result<Vec<u8>, Fault> {
        if self
            .spoilt
            .is_some_and(|(spoilt, from)| uid == spoilt && offset >= from)
        {
            return Err(Fault);
        }
        let (_, _, message) = self
            .messages
            .iter()
            .find(|(it, ..)| *it == uid)
            .ok_or(Fault)?;
        let start = message.len().min(usize::try_from(offset).unwrap());
        let end = message.len().min(start + length as usize);
        Ok(message[start..end].to_vec())
    }

    pub(crate) fn backend(&self) -> impl FnMut(Ask) -> Answer + use<> {
        let this = self.clone();
        move |ask| this.answer(ask)
    }

    pub(crate) fn asked_for(&self, word: &str) -> usize {
        self.asked
            .borrow()
            .iter()
            .filter(|it| it.starts_with(word))
            .count()
    }
}

fn judge(attempt: &Attempt) -> AccountAnswer {
    let good = match attempt {
        Attempt::Password { user, password, .. } if user == "down" && password.expose() == "x" => {
            return AccountAnswer::Unavailable;
        }
        Attempt::Password { user, password, .. } => {
            user == "mrose" && password.expose() == "tanstaaf"
        }
        Attempt::Token { .. } | Attempt::Certificate { .. } => false,
        Attempt::Scram { user, proven, .. } => user == "user" && *proven,
    };
    if good {
        AccountAnswer::Granted {
            account: "mrose@dbc.mtview.ca.us".into(),
        }
    } else {
        AccountAnswer::Denied
    }
}
