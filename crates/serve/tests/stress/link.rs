//! One session without its socket: the real machine and the real backend, driven as a driver does, one command at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::driver::Backend;
use gatepost_serve::mailbox::{imap::ImapBackend, pop3::Pop3Backend};
use gatepost_testkit::facts;
use gatepost_wire::session::{Fresh as _, Machine, Next};
use gatepost_wire::{imap, pop3, sasl::Mechanism};
use tokio::runtime::Handle;

use crate::reply::{Said, parse};
use crate::world::{ANN, CLIENT, PASSWORD, World};

/// A machine, what stands behind it, and what carries out its questions.
pub(crate) struct Link<M: Machine, B> {
    machine: M,
    backend: B,
    runtime: Handle,
    tag: u32,
}

pub(crate) type Imap = Link<imap::server::Server, ImapBackend>;
pub(crate) type Pop3 = Link<pop3::server::Server, Pop3Backend>;

impl<M: Machine, B: Backend<M>> Link<M, B> {
    /// All steps until the session wants to read again, and what it wrote.
    fn run(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            match self.machine.next(Instant::now()) {
                Next::Ask(ask) => {
                    let answer = self.runtime.block_on(self.backend.handle(ask));
                    self.machine.answer(answer);
                }
                Next::Write => written.append(self.machine.output()),
                Next::Read { .. } | Next::Close(_) => {
                    written.append(self.machine.output());
                    return written;
                }
                Next::Upgrade => unreachable!("inside TLS already"),
            }
        }
    }

    fn exchange(&mut self, words: &[u8]) -> Vec<u8> {
        self.machine.receive(words);
        self.run()
    }

    /// Waits for news and hands it on. False when none came.
    fn wait_for_news(&mut self, patience: Duration) -> bool {
        let Some(news) = self.backend.news() else {
            return false;
        };
        let waited = async { tokio::time::timeout(patience, news.notified()).await };
        let came = self.runtime.block_on(waited).is_ok();
        if came {
            self.machine.news();
        }
        came
    }
}

impl Imap {
    /// Connects and logs in.
    pub(crate) fn open(runtime: &Handle, world: &World) -> Self {
        let config = imap::server::Config {
            host: "mail.example.org".into(),
            starttls: true,
            least: gatepost_wire::seam::TlsVersion::Tls12,
            append_limit: 1_000_000,
            offer: None,
            mechanisms: Mechanism::FOR_ACCOUNTS.to_vec(),
            limits: imap::server::Limits::default(),
        };
        let mut link = Self {
            machine: imap::server::Fresh::implicit(Arc::new(config)).secured(facts()),
            backend: ImapBackend::new(Arc::clone(&world.shared), CLIENT),
            runtime: runtime.clone(),
            tag: 0,
        };
        link.run();
        let said = link.say(&format!("LOGIN {ANN} \"{PASSWORD}\"")).unwrap();
        assert!(said.ok, "{}", said.tagged);
        link
    }

    /// One command, and all that was said to it.
    pub(crate) fn say(&mut self, command: &str) -> Result<Said, String> {
        self.wait_for_news(Duration::ZERO);
        self.tag += 1;
        let (tag, command) = (format!("t{}", self.tag), command.to_owned());
        let octets = self.exchange(format!("{tag} {command}\r\n").as_bytes());
        parse(&octets, &tag).map_err(|fault| {
            let said = String::from_utf8_lossy(&octets).into_owned();
            format!("{fault}, after {command:?}:\n{said}")
        })
    }

    /// IDLE until news came or the patience is at its end; what was said in it.
    pub(crate) fn idle(&mut self, patience: Duration) -> Result<Said, String> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        let mut octets = self.exchange(format!("{tag} IDLE\r\n").as_bytes());
        if self.wait_for_news(patience) {
            octets.extend(self.run());
        }
        octets.extend(self.exchange(b"DONE\r\n"));
        parse(&octets, &tag)
    }
}

impl Pop3 {
    /// Connects; the login is the caller's, for the maildrop may be another's.
    pub(crate) fn open(runtime: &Handle, world: &World) -> Self {
        let config = pop3::server::Config {
            host: "mail.example.org".into(),
            greeting: "ready".into(),
            offer: None,
            starttls: true,
            least: gatepost_wire::seam::TlsVersion::Tls12,
            mechanisms: Mechanism::FOR_ACCOUNTS.to_vec(),
            limits: pop3::server::Limits::default(),
        };
        let mut link = Self {
            machine: pop3::server::Fresh::implicit(Arc::new(config)).secured(facts()),
            backend: Pop3Backend::new(Arc::clone(&world.shared), CLIENT),
            runtime: runtime.clone(),
            tag: 0,
        };
        link.run();
        link
    }

    /// One command and its reply, all lines of it.
    pub(crate) fn say(&mut self, command: &str) -> String {
        let octets = self.exchange(format!("{command}\r\n").as_bytes());
        String::from_utf8(octets).unwrap()
    }
}
