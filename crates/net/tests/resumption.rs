//! Tickets: one, only for the name and the service they were given for, and never early data.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gatepost_trust::profile::{Mode, Service};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::{ClientConfig, NamedGroup};
use rustls_pki_types::ServerName;
use support::client::{ask, config_for, hear, implicit};
use support::{Server, Setup};

/// A store that takes every name for the same, and counts tickets: a client without the care of a real one.
#[derive(Debug)]
struct Careless {
    inner: ClientSessionMemoryCache,
    tickets: AtomicUsize,
}

impl Careless {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: ClientSessionMemoryCache::new(8),
            tickets: AtomicUsize::new(0),
        })
    }
}

fn any() -> ServerName<'static> {
    ServerName::try_from("any.example").unwrap()
}

impl ClientSessionStore for Careless {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.inner.set_tls12_session(any(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.inner.tls12_session(&any())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.inner.remove_tls12_session(&any());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tickets.fetch_add(1, Ordering::Relaxed);
        self.inner.insert_tls13_ticket(any(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.inner.take_tls13_ticket(&any())
    }
}

fn client(
    store: &Arc<Careless>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut config = config_for(&[version]);
    config.resumption = Resumption::store(Arc::clone(store) as Arc<dyn ClientSessionStore>);
    config.enable_early_data = true;
    Arc::new(config)
}

/// Connects, and says whether the session was resumed, as the server sees it.
fn is_resumed(server: &Server, config: &Arc<ClientConfig>, name: &str) -> bool {
    let mut tls = implicit(server, config, name).unwrap();
    // [TLS-0RTT-01] [CONF-16] a ticket never allows early data.
    assert!(tls.get_mut().conn.early_data().is_none());
    hear(&mut tls);
    let facts = ask(&mut tls, "FACTS");
    assert!(facts.contains(name), "{facts}");
    facts.contains("resumed: true")
}

#[test]
fn the_same_name_and_service_resume() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let server = support::implicit();
        let config = client(&Careless::new(), version);
        assert!(!is_resumed(&server, &config, "mail.example"));
        assert!(is_resumed(&server, &config, "mail.example"));
    }
}

#[test]
fn another_name_does_not_resume() {
    // [TLS-SNI-03]
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let server = support::implicit();
        let config = client(&Careless::new(), version);
        assert!(!is_resumed(&server, &config, "mail.example"));
        assert!(!is_resumed(&server, &config, "other.example"));
    }
}

#[test]
fn another_service_or_mode_does_not_resume() {
    // [TLS-SNI-03] [TLS-TICK-01]
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let store = Careless::new();
        let config = client(&store, version);
        let imap = support::implicit();
        let pop3 = Setup::new(Service::Pop3, Mode::Implicit).start();
        assert!(!is_resumed(&imap, &config, "mail.example"));
        assert!(!is_resumed(&pop3, &config, "mail.example"));
    }
}

#[test]
fn one_ticket_is_given() {
    let server = support::implicit();
    let store = Careless::new();
    let config = client(&store, &rustls::version::TLS13);
    is_resumed(&server, &config, "mail.example");
    assert_eq!(store.tickets.load(Ordering::Relaxed), 1);
}
