//! A store with accounts, and what tests do with it again and again.

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_serve::mailbox::account::AccountKeeper;
use gatepost_serve::mailbox::smtp::{Role, SmtpBackend};
use gatepost_serve::mailbox::{Config, Shared, imap, pop3};
use gatepost_store::{AccountId, Credential, Options, Store};
use gatepost_wire::sasl::{AccountAnswer, AccountAsk, Attempt, Mechanism, ScramRecord};
use gatepost_wire::secret::Secret;
use gatepost_wire::{imap as wire_imap, pop3 as wire_pop3, smtp as wire_smtp};
use tempfile::TempDir;

pub(crate) const ANN: &str = "ann@example.org";
pub(crate) const BOB: &str = "bob@example.org";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) keeper: Arc<AccountKeeper>,
    pub(crate) shared: Arc<Shared>,
    _folder: TempDir,
}

/// What a test wants to be otherwise.
pub(crate) struct Wish {
    pub(crate) quota: Option<u64>,
    pub(crate) options: Options,
    pub(crate) message_size: u64,
    pub(crate) postmaster: Option<String>,
    pub(crate) own_from_only: bool,
    /// In memory where the system has a folder there: for tests that wait for many syncs and do not test them.
    pub(crate) in_memory: bool,
}

impl Default for Wish {
    fn default() -> Self {
        let options = Options {
            min_free: 0,
            ..Options::default()
        };
        Self {
            quota: None,
            options,
            message_size: 1_000_000,
            postmaster: None,
            own_from_only: false,
            in_memory: false,
        }
    }
}

/// A record that is quick to judge.
pub(crate) fn credential(password: &str) -> Credential {
    Credential {
        record: ScramRecord::derive(password, vec![7; 16], 4096).unwrap(),
        sha1: None,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Wish::default())
    }

    pub(crate) fn with(wish: Wish) -> Self {
        let memory = wish.in_memory.then(|| TempDir::new_in("/dev/shm").ok());
        let folder = memory.flatten();
        let folder = folder.unwrap_or_else(|| TempDir::new().unwrap());
        let store = Store::open(folder.path(), wish.options).unwrap();
        for address in [ANN, BOB] {
            store
                .accounts()
                .add(address, &credential(PASSWORD), wish.quota)
                .unwrap();
        }
        let keeper = Arc::new(AccountKeeper::new(store.clone()));
        let config = Config {
            host: "mail.example.org".into(),
            domains: vec!["example.net".into()],
            postmaster: wish.postmaster,
            message_size: wish.message_size,
            own_from_only: wish.own_from_only,
        };
        let shared = Shared::new(store.clone(), Arc::clone(&keeper), config);
        Self {
            store,
            keeper,
            shared,
            _folder: folder,
        }
    }

    pub(crate) fn account(&self, address: &str) -> AccountId {
        self.store.accounts().find(address).unwrap().unwrap().id
    }

    /// All messages of a mailbox, whole.
    pub(crate) fn texts(&self, address: &str, mailbox: &str) -> Vec<String> {
        let (mailbox, _) = self.store.select(self.account(address), mailbox).unwrap();
        let read = |message: gatepost_store::Message| {
            let mut octets = Vec::new();
            while (octets.len() as u64) < message.size {
                octets.extend(
                    self.store
                        .read(&message.body, octets.len() as u64, 60_000)
                        .unwrap(),
                );
            }
            String::from_utf8(octets).unwrap()
        };
        self.store
            .all(mailbox)
            .unwrap()
            .into_iter()
            .map(read)
            .collect()
    }

    pub(crate) async fn smtp(&self, role: Role, user: Option<&str>) -> SmtpBackend {
        let mut backend = SmtpBackend::new(Arc::clone(&self.shared), CLIENT, role);
        if let Some(user) = user {
            let answer = backend
                .answer(wire_smtp::ask::Ask::Account(login(user, PASSWORD)))
                .await;
            assert_eq!(answer, wire_smtp::ask::Answer::Account(granted(user)));
        }
        backend
    }

    pub(crate) async fn pop3(&self, user: &str) -> pop3::Pop3Backend {
        let mut backend = pop3::Pop3Backend::new(Arc::clone(&self.shared), CLIENT);
        let answer = backend
            .answer(wire_pop3::ask::Ask::Account(login(user, PASSWORD)))
            .await;
        assert_eq!(answer, wire_pop3::ask::Answer::Account(granted(user)));
        backend
    }

    pub(crate) async fn imap(&self, user: &str) -> imap::ImapBackend {
        let mut backend = imap::ImapBackend::new(Arc::clone(&self.shared), CLIENT);
        let answer = backend
            .answer(wire_imap::ask::Ask::Account(login(user, PASSWORD)))
            .await;
        assert_eq!(answer, wire_imap::ask::Answer::Account(granted(user)));
        backend
    }

    /// Puts a message into a mailbox.
    pub(crate) async fn append(&self, address: &str, mailbox: &str, text: &str) {
        use wire_imap::ask::{Answer, Append, Ask, Flags};
        let mut backend = self.imap(address).await;
        let (mailbox, size) = (mailbox.to_owned(), text.len() as u64);
        let append = Append {
            mailbox,
            flags: Flags::default(),
            date: None,
            size,
            replaces: None,
        };
        assert_eq!(
            backend.answer(Ask::AppendBegin(append)).await,
            Answer::Checked(Ok(()))
        );
        for piece in text.as_bytes().chunks(64 * 1024) {
            assert_eq!(
                backend.answer(Ask::AppendContent(piece.to_vec())).await,
                Answer::Checked(Ok(()))
            );
        }
        let answer = backend.answer(Ask::AppendCommit).await;
        assert!(matches!(answer, Answer::Appended(Ok(_))), "{answer:?}");
    }
}

pub(crate) fn login(user: &str, password: &str) -> AccountAsk {
    let (user, password) = (user.to_owned(), Secret::new(password.to_owned()));
    AccountAsk::Login(Attempt::Password {
        user,
        password,
        mechanism: Mechanism::Plain,
    })
}

pub(crate) fn granted(user: &str) -> AccountAnswer {
    AccountAnswer::Granted {
        account: user.to_lowercase().into(),
    }
}
