//! One accepted connection: which session, which backend, and the line about its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gatepost_net::driver::{self, Backend, Context, Ended, Event, Start, TlsFailure, VerbClass};
use gatepost_net::listen::{self, Door, Farewell, Place, Refused};
use gatepost_trust::certificates::ServiceTls;
use gatepost_wire::seam::ClearLogin;
use gatepost_wire::session::Machine;
use gatepost_wire::{imap, pop3, smtp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::current::{Current, changes, egress_of};
use super::front::{Front, Visit};
use super::{Behind, Shared, proxied};
use crate::log::SessionLine;
use crate::mailbox::imap::ImapBackend;
use crate::mailbox::pop3::Pop3Backend;
use crate::mailbox::smtp::{Role, SmtpBackend};
use crate::mailbox::{self, Recorded, Summary};
use crate::services::{Protocol, Service};
use crate::settings::Settings;
use crate::upstream::Gate;
use crate::upstream::identity::Client;
use crate::upstream::pool::Pool;
use crate::upstream::reader::{ImapGate, Pop3Gate};
use crate::upstream::smtp::SmtpGate;

/// What stands behind one service.
type Backing = Behind<Arc<mailbox::Shared>, (Arc<Gate>, Arc<Pool>)>;

/// What is given back when a session ends.
type Kept = (Option<Place>, mpsc::Sender<()>);

/// What all connections of one service share.
#[derive(Debug)]
pub(super) struct Listener {
    service: Service,
    shared: Arc<Shared>,
    tls: Arc<ServiceTls>,
    context: Context,
    /// What the sessions are configured with, and after how many changes of the settings and of the upstreams' offer it was made.
    config: Mutex<((u64, u64), ProtocolConfig)>,
}

#[derive(Debug, Clone)]
enum ProtocolConfig {
    Smtp(Arc<smtp::server::Config>, Role),
    Imap(Arc<imap::server::Config>),
    Pop3(Arc<pop3::server::Config>),
}

impl Listener {
    pub(super) fn new(
        service: Service,
        shared: Arc<Shared>,
        tls: Arc<ServiceTls>,
        context: Context,
    ) -> Self {
        let current = shared.current();
        let state = (current.number, changes(service, &current));
        let config = Mutex::new((state, ProtocolConfig::new(service, &current, &tls)));
        Self {
            service,
            shared,
            tls,
            context,
            config,
        }
    }

    /// Accepts until the doors are shut. Every session holds a clone of `alive`.
    pub(super) async fn accept(
        self: Arc<Self>,
        socket: TcpListener,
        door: Arc<Door>,
        alive: mpsc::Sender<()>,
        shut: watch::Receiver<bool>,
    ) {
        let refused_at = Arc::clone(&self);
        let serve = |stream, client, place| {
            Arc::clone(&self).admit(stream, client, (Some(place), alive.clone()));
        };
        let refused = |_client: SocketAddr, why: Refused| {
            refused_at
                .shared
                .metrics
                .event(refused_at.service.name, why.label());
        };
        listen::accept(socket, door, self.farewell(), shut, serve, refused).await;
    }

    /// What a connection that gets no place is told: on ports for implicit TLS nothing, as nothing is said in clear there.
    fn farewell(&self) -> Farewell {
        match (self.service.implicit_tls, self.service.protocol) {
            (true, _) => Farewell::Silent,
            (false, Protocol::Smtp | Protocol::Submission) => Farewell::Smtp,
            (false, Protocol::Imap) => Farewell::Imap,
            (false, Protocol::Pop3) => Farewell::Pop3,
        }
    }

    /// From a proxy a header must come first, and the session is the client's it names: limits count that one [PROXY-01].
    fn admit(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, mut kept: Kept) {
        let local = stream.local_addr().ok();
        let current = self.shared.current();
        let egress = egress_of(self.service, &current);
        if egress.is_some_and(|it| !it.listens_to(peer.ip())) {
            // Not a word: whoever is not listed has no business here.
            let metrics = &self.shared.metrics;
            metrics.event(self.service.name, "egress_network_refused");
            return;
        }
        if !self.is_proxy(peer.ip()) {
            self.spawn(stream, Client::new(peer, local), kept);
            return;
        }
        tokio::spawn(async move {
            let service = self.service.name;
            let origin = match proxied::read(&mut stream).await {
                Ok(origin) => origin,
                Err(reason) => {
                    self.shared.metrics.event(service, reason.label());
                    return;
                }
            };
            let Some(client) = origin.client else {
                // The proxy speaks for itself: it looks whether we are well.
                self.spawn(stream, Client::new(peer, local), kept);
                return;
            };
            if let Some(Err(reason)) = kept.0.as_mut().map(|it| it.give_to(client.ip())) {
                self.shared.metrics.event(service, reason.label());
                return;
            }
            let client = Client::behind(client, origin.local, origin.gates);
            self.spawn(stream, client, kept);
        });
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let settings = &self.shared.settings;
        let names = &settings.proxied_services;
        let here = names.is_empty() || names.iter().any(|it| it == self.service.name);
        here && settings.proxies.iter().any(|it| it.contains(address))
    }

    /// One task a session, each only as large as its own protocol's.
    fn spawn(self: Arc<Self>, stream: TcpStream, client: Client, kept: Kept) {
        // All of a session from one and the same.
        let current = self.shared.current();
        let place = (client, &*current);
        match self.config(&current) {
            ProtocolConfig::Smtp(config, role) => {
                self.spawn_smtp(stream, place, kept, (config, role));
            }
            ProtocolConfig::Imap(config) => self.spawn_imap(stream, place, kept, config),
            ProtocolConfig::Pop3(config) => self.spawn_pop3(stream, place, kept, config),
        }
    }

    fn spawn_smtp(
        self: Arc<Self>,
        stream: TcpStream,
        (client, current): (Client, &Current),
        mut kept: Kept,
        (config, role): (Arc<smtp::server::Config>, Role),
    ) {
        let address = client.address;
        let introduces = self.introduces(current, address.ip());
        let peer = smtp::server::Peer {
            address: address.ip(),
            introduces,
            clear_login: self.clear_login(current, address.ip()),
        };
        let start = if self.service.implicit_tls {
            Start::Implicit(smtp::server::Fresh::implicit(config, peer))
        } else {
            Start::Clear(smtp::server::Server::clear(config, peer, Instant::now()))
        };
        if let Some(egress) = egress_of(self.service, current) {
            let backend = SmtpGate::for_device(Arc::clone(egress), client);
            self.run(stream, address, start, backend, kept);
            return;
        }
        let own = Visit {
            client: address,
            local: client.local,
        };
        let place = if introduces { kept.0.take() } else { None };
        let front = place.map(|it| Front::new(own, it));
        match self.behind(current) {
            Some(Behind::Mailbox(backends)) => {
                let backend = SmtpBackend::new(backends, address.ip(), role).behind(front);
                self.run(stream, address, start, backend, kept);
            }
            Some(Behind::Gate((gate, pool))) => {
                let backend = SmtpGate::new(gate, pool, client).behind(front);
                self.run(stream, address, start, backend, kept);
            }
            None => {}
        }
    }

    /// [XCL-02] not for devices: theirs is a network of clients.
    fn introduces(&self, current: &Current, address: IpAddr) -> bool {
        let egress = egress_of(self.service, current).is_some();
        let settings = &self.shared.settings;
        !egress && settings.introducers.iter().any(|it| it.contains(address))
    }

    fn spawn_imap(
        self: Arc<Self>,
        stream: TcpStream,
        (client, current): (Client, &Current),
        kept: Kept,
        config: Arc<imap::server::Config>,
    ) {
        let address = client.address;
        let start = if self.service.implicit_tls {
            Start::Implicit(imap::server::Fresh::implicit(config))
        } else {
            let exception = self.clear_login(current, address.ip());
            Start::Clear(imap::server::Server::clear(
                config,
                exception,
                Instant::now(),
            ))
        };
        match self.behind(current) {
            Some(Behind::Mailbox(backends)) => {
                let backend = ImapBackend::new(backends, address.ip());
                self.run(stream, address, start, backend, kept);
            }
            Some(Behind::Gate((gate, pool))) => {
                let backend = ImapGate::new(gate, pool, client);
                self.run(stream, address, start, backend, kept);
            }
            None => {}
        }
    }

    fn spawn_pop3(
        self: Arc<Self>,
        stream: TcpStream,
        (client, current): (Client, &Current),
        kept: Kept,
        config: Arc<pop3::server::Config>,
    ) {
        let address = client.address;
        let start = if self.service.implicit_tls {
            Start::Implicit(pop3::server::Fresh::implicit(config))
        } else {
            let exception = self.clear_login(current, address.ip());
            Start::Clear(pop3::server::Server::clear(
                config,
                exception,
                Instant::now(),
            ))
        };
        match self.behind(current) {
            Some(Behind::Mailbox(backends)) => {
                let backend = Pop3Backend::new(backends, address.ip());
                self.run(stream, address, start, backend, kept);
            }
            Some(Behind::Gate((gate, pool))) => {
                let backend = Pop3Gate::new(gate, pool, client);
                self.run(stream, address, start, backend, kept);
            }
            None => {}
        }
    }

    /// What stands behind this service. At a gate a service is opened only if there is an upstream for it.
    fn behind(&self, current: &Current) -> Option<Backing> {
        Some(match &current.behind {
            Behind::Mailbox(backends) => Behind::Mailbox(Arc::clone(backends)),
            Behind::Gate(gate) => {
                let pool = gate.pool(self.service.protocol)?;
                Behind::Gate((Arc::clone(gate), Arc::clone(pool)))
            }
        })
    }

    /// The configuration for the next session: made anew when the settings have changed, and at a gate when the upstreams offer
    /// something else [GW-01].
    fn config(&self, current: &Current) -> ProtocolConfig {
        let state = (current.number, changes(self.service, current));
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if config.0 != state {
            *config = (state, ProtocolConfig::new(self.service, current, &self.tls));
        }
        config.1.clone()
    }

    /// Runs a session in a task of its own; what is `kept` is given back at its end.
    fn run<M, B>(
        self: Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
        start: Start<M>,
        mut backend: B,
        kept: Kept,
    ) where
        M: Machine + Send + 'static,
        M::Fresh: Send,
        B: Backend<M> + Recorded + 'static,
    {
        // What an async block is given stays in its future for ever: so what is used up at once is on the heap until then.
        let begin = Box::new((stream, start, client, Arc::clone(&self.tls)));
        tokio::spawn(async move {
            let (stream, start, client, tls) = taken_out(begin);
            let open = self.open(client);
            let context = &open.listener.context;
            let ended = driver::run(stream, start, tls, &mut backend, context).await;
            open.end(ended, backend.summary());
            drop(kept);
        });
    }

    /// The configuration's exception, for clients in its networks.
    fn clear_login(&self, current: &Current, client: IpAddr) -> Option<ClearLogin> {
        // Port 25 has no logins: there the exception would only lift the demand for TLS.
        if self.service.protocol == Protocol::Smtp {
            return None;
        }
        let listed = current
            .settings
            .clear_login
            .iter()
            .any(|network| network.contains(client));
        listed.then(ClearLogin::danger_allowed_by_configuration)
    }

    fn open(self: Arc<Self>, client: SocketAddr) -> OpenSession {
        self.shared.metrics.opened(self.service.name);
        OpenSession {
            listener: self,
            client,
            since: Instant::now(),
        }
    }
}

impl ProtocolConfig {
    fn new(service: Service, current: &Current, tls: &ServiceTls) -> Self {
        let own = Self::own(service, &current.settings, tls);
        if let Some(egress) = egress_of(service, current) {
            return own.before(&egress.gate, Protocol::Submission);
        }
        match &current.behind {
            Behind::Mailbox(_) => own,
            Behind::Gate(gate) => own.before(gate, service.protocol),
        }
    }

    /// The same for sessions of a gate: what the upstreams offer too, and only logins that can be passed on [GW-01].
    fn before(self, gate: &Gate, protocol: Protocol) -> Self {
        match self {
            Self::Smtp(mut config, role) => {
                let own = Arc::make_mut(&mut config);
                own.mechanisms = gate.mechanisms(protocol, &own.mechanisms);
                gate.limit_smtp(protocol, own);
                Self::Smtp(config, role)
            }
            Self::Imap(mut config) => {
                let own = Arc::make_mut(&mut config);
                own.mechanisms = gate.mechanisms(protocol, &own.mechanisms);
                own.offer = Some(gate.imap_offer().into());
                Self::Imap(config)
            }
            Self::Pop3(mut config) => {
                let own = Arc::make_mut(&mut config);
                own.mechanisms = gate.mechanisms(protocol, &own.mechanisms);
                own.offer = Some(gate.pop3_offer());
                Self::Pop3(config)
            }
        }
    }

    fn own(service: Service, settings: &Settings, tls: &ServiceTls) -> Self {
        // [SMTP-STARTTLS-03] nothing is offered that cannot be kept.
        let offered = tls.is_ready();
        match service.protocol {
            Protocol::Smtp => {
                let mut config = smtp::server::Config::mx(settings.host.clone());
                config.tls.offered = offered;
                // [CONF-01] [TLS-VER-06]
                config.tls.required = settings.mx_requires_tls;
                config.tls.least = settings.least_tls(service);
                config.limits.message_octets = settings.message_size;
                Self::Smtp(Arc::new(config), Role::Mx)
            }
            Protocol::Submission => {
                let mut config = smtp::server::Config::submission(settings.host.clone());
                config.tls.offered = offered;
                config.tls.least = settings.least_tls(service);
                config.hide_client = settings.hide_client;
                config.mechanisms = settings.login_mechanisms();
                config.limits.message_octets = settings.message_size;
                Self::Smtp(Arc::new(config), Role::Submission)
            }
            Protocol::Imap => Self::Imap(Arc::new(imap::server::Config {
                host: settings.host.as_str().into(),
                starttls: offered,
                least: settings.least_tls(service),
                append_limit: settings.message_size,
                offer: None,
                mechanisms: settings.login_mechanisms(),
                limits: imap::server::Limits::default(),
            })),
            Protocol::Pop3 => Self::Pop3(Arc::new(pop3::server::Config {
                host: settings.host.as_str().into(),
                greeting: "Gatepost ready".into(),
                offer: None,
                mechanisms: settings.login_mechanisms(),
                starttls: offered,
                least: settings.least_tls(service),
                limits: pop3::server::Limits::default(),
            })),
        }
    }
}

/// A session that is counted as open.
struct OpenSession {
    listener: Arc<Listener>,
    client: SocketAddr,
    since: Instant,
}

/// Frees the box too, which a move out of it in place would keep to the end of the scope.
#[expect(
    clippy::boxed_local,
    reason = "taking it out of its box is what this is for"
)]
fn taken_out<T>(boxed: Box<T>) -> T {
    *boxed
}

impl OpenSession {
    /// Counts and logs the end.
    fn end(&self, ended: Ended, summary: &Summary) {
        let (metrics, service) = (&self.listener.shared.metrics, self.listener.service.name);
        // Whatever the client made of the answer: the line says that there was nothing to be had.
        let too_weak = summary.events().contains(&Event::TlsTooWeak);
        let too_weak = too_weak.then_some(TLS_TOO_WEAK);
        let line = SessionLine {
            service,
            client: summary
                .introduced
                .as_deref()
                .copied()
                .unwrap_or(self.client),
            tls: ended.facts.map(|facts| *facts),
            login: summary
                .login
                .as_ref()
                .map(|login| (login.address.clone(), login.mechanism.name()))
                .or_else(|| summary.passed_login.clone()),
            upstream: summary.upstream.clone(),
            login_failures: summary.login_failures,
            messages: (
                u64::from(summary.messages_in),
                u64::from(summary.messages_out),
            ),
            octets: (ended.bytes_in, ended.bytes_out),
            lasted: self.since.elapsed(),
            why: ended.why,
            detail: ended.tls_failure.map(TlsFailure::label).or(too_weak),
        };
        metrics.session_ended(&line);
        metrics.login_failures(service, summary.login_failures);
        for limit in summary.limits() {
            metrics.event(service, limit);
        }
        for event in summary.events() {
            metrics.event(service, label(*event));
        }
        self.listener.shared.log.session(&line);
    }
}

/// The word of log and metrics for TLS below the floor.
const TLS_TOO_WEAK: &str = "tls_too_weak";

/// The metric's word for an event.
fn label(event: Event) -> &'static str {
    match event {
        Event::StartTlsInjection { .. } => "starttls_injection",
        // A login in clear is the event that calls for a new password [IMPL-03].
        Event::PlaintextOnTlsPort { verb } => match verb {
            VerbClass::Login => "plaintext_login_on_tls_port",
            VerbClass::Smtp => "plaintext_smtp_on_tls_port",
            VerbClass::Imap => "plaintext_imap_on_tls_port",
            VerbClass::Pop3 => "plaintext_pop3_on_tls_port",
            VerbClass::Http => "plaintext_http_on_tls_port",
            VerbClass::Other => "plaintext_on_tls_port",
        },
        Event::HandshakeFailed(failure) => failure.label(),
        Event::TlsTooWeak => TLS_TOO_WEAK,
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.listener
            .shared
            .metrics
            .closed(self.listener.service.name);
    }
}
