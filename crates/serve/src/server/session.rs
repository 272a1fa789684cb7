//! One accepted connection: which session, which backend, and the line about its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use gatepost_net::driver::{self, Backend, Context, Ended, Event, Start, TlsFailure, VerbClass};
use gatepost_net::listen::{self, Door, Farewell, Place, Refused};
use gatepost_trust::certificates::ServiceTls;
use gatepost_wire::seam::ClearLogin;
use gatepost_wire::session::Machine;
use gatepost_wire::{imap, pop3, smtp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::Shared;
use crate::log::SessionLine;
use crate::mailbox::imap::ImapBackend;
use crate::mailbox::pop3::Pop3Backend;
use crate::mailbox::smtp::{Role, SmtpBackend};
use crate::mailbox::{Recorded, Summary};
use crate::services::{Protocol, Service};

/// What all connections of one service share.
#[derive(Debug)]
pub(super) struct Listener {
    service: Service,
    shared: Arc<Shared>,
    tls: Arc<ServiceTls>,
    context: Context,
    config: ProtocolConfig,
}

#[derive(Debug)]
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
        let config = ProtocolConfig::new(service, &shared, &tls);
        Self {
            service,
            shared,
            tls,
            context,
            config,
        }
    }

    /// Accepts until the server stops. Every session holds a clone of `alive`.
    pub(super) async fn accept(
        self: Arc<Self>,
        socket: TcpListener,
        door: Arc<Door>,
        alive: mpsc::Sender<()>,
    ) {
        let stopping = self.context.shutdown.clone();
        let refused_at = Arc::clone(&self);
        let serve =
            |stream, client, place| Arc::clone(&self).spawn(stream, client, place, alive.clone());
        let refused = |_client: SocketAddr, why: Refused| {
            refused_at
                .shared
                .metrics
                .event(refused_at.service.name, why.label());
        };
        listen::accept(socket, door, self.farewell(), stopping, serve, refused).await;
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

    /// One task a session, each only as large as its own protocol's.
    fn spawn(
        self: Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
        place: Place,
        alive: mpsc::Sender<()>,
    ) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let kept = (place, alive);
        let backends = Arc::clone(&self.shared.backends);
        let clear_login = self.clear_login(client.ip());
        match &self.config {
            ProtocolConfig::Smtp(config, role) => {
                let peer = smtp::server::Peer {
                    address: client.ip(),
                    clear_login,
                };
                let start = if self.service.implicit_tls {
                    Start::Implicit(smtp::server::Fresh::implicit(Arc::clone(config), peer))
                } else {
                    Start::Clear(smtp::server::Server::clear(
                        Arc::clone(config),
                        peer,
                        Instant::now(),
                    ))
                };
                let backend = SmtpBackend::new(backends, client.ip(), *role);
                self.run(stream, client, start, backend, kept);
            }
            ProtocolConfig::Imap(config) => {
                let start = if self.service.implicit_tls {
                    Start::Implicit(imap::server::Fresh::implicit(Arc::clone(config)))
                } else {
                    Start::Clear(imap::server::Server::clear(
                        Arc::clone(config),
                        clear_login,
                        Instant::now(),
                    ))
                };
                let backend = ImapBackend::new(backends, client.ip());
                self.run(stream, client, start, backend, kept);
            }
            ProtocolConfig::Pop3(config) => {
                let start = if self.service.implicit_tls {
                    Start::Implicit(pop3::server::Fresh::implicit(Arc::clone(config)))
                } else {
                    Start::Clear(pop3::server::Server::clear(
                        Arc::clone(config),
                        clear_login,
                        Instant::now(),
                    ))
                };
                let backend = Pop3Backend::new(backends, client.ip());
                self.run(stream, client, start, backend, kept);
            }
        }
    }

    /// Runs a session in a task of its own; what is `kept` is given back at its end.
    fn run<M, B>(
        self: Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
        start: Start<M>,
        mut backend: B,
        kept: (Place, mpsc::Sender<()>),
    ) where
        M: Machine + Send + 'static,
        M::Fresh: Send,
        B: Backend<M> + Recorded + 'static,
    {
        let tls = Arc::clone(&self.tls);
        tokio::spawn(async move {
            let open = self.open(client);
            let ended = driver::run(stream, start, tls, &mut backend, &self.context).await;
            open.end(ended, backend.summary());
            drop(kept);
        });
    }

    /// The configuration's exception, for clients in its networks.
    fn clear_login(&self, client: IpAddr) -> Option<ClearLogin> {
        // Port 25 has no logins: there the exception would only lift the demand for TLS.
        if self.service.protocol == Protocol::Smtp {
            return None;
        }
        let listed = self
            .shared
            .settings
            .clear_login
            .iter()
            .any(|network| network.contains(client));
        listed.then(ClearLogin::danger_allowed_by_configuration)
    }

    fn open(&self, client: SocketAddr) -> OpenSession<'_> {
        self.shared.metrics.opened(self.service.name);
        OpenSession {
            listener: self,
            client,
            since: Instant::now(),
        }
    }
}

impl ProtocolConfig {
    fn new(service: Service, shared: &Shared, tls: &ServiceTls) -> Self {
        let settings = &shared.settings;
        // [SMTP-STARTTLS-03] nothing is offered that cannot be kept.
        let offered = tls.is_ready();
        match service.protocol {
            Protocol::Smtp => {
                let mut config = smtp::server::Config::mx(settings.host.clone());
                config.tls.offered = offered;
                // [CONF-01] [TLS-VER-06]
                config.tls.required = settings.mx_requires_tls;
                config.limits.message_octets = settings.message_size;
                Self::Smtp(Arc::new(config), Role::Mx)
            }
            Protocol::Submission => {
                let mut config = smtp::server::Config::submission(settings.host.clone());
                config.tls.offered = offered;
                config.hide_client = settings.hide_client;
                config.mechanisms.clone_from(&settings.mechanisms);
                config.limits.message_octets = settings.message_size;
                Self::Smtp(Arc::new(config), Role::Submission)
            }
            Protocol::Imap => Self::Imap(Arc::new(imap::server::Config {
                host: settings.host.as_str().into(),
                starttls: offered,
                append_limit: settings.message_size,
                mechanisms: settings.mechanisms.clone(),
                limits: imap::server::Limits::default(),
            })),
            Protocol::Pop3 => Self::Pop3(Arc::new(pop3::server::Config {
                host: settings.host.as_str().into(),
                greeting: "Gatepost ready".into(),
                mechanisms: settings.mechanisms.clone(),
                starttls: offered,
                limits: pop3::server::Limits::default(),
            })),
        }
    }
}

/// A session that is counted as open.
struct OpenSession<'a> {
    listener: &'a Listener,
    client: SocketAddr,
    since: Instant,
}

impl OpenSession<'_> {
    /// Counts and logs the end.
    fn end(&self, ended: Ended, summary: &Summary) {
        let (metrics, service) = (&self.listener.shared.metrics, self.listener.service.name);
        let line = SessionLine {
            service,
            client: self.client,
            tls: ended.facts.map(|facts| *facts),
            login: summary
                .login
                .as_ref()
                .map(|login| (login.address.clone(), login.mechanism.name())),
            login_failures: summary.login_failures,
            messages: (
                u64::from(summary.messages_in),
                u64::from(summary.messages_out),
            ),
            octets: (ended.bytes_in, ended.bytes_out),
            lasted: self.since.elapsed(),
            why: ended.why,
            detail: ended.tls_failure.map(TlsFailure::label),
        };
        metrics.session_ended(&line);
        metrics.login_failures(service, summary.login_failures);
        for limit in &summary.limits {
            metrics.event(service, limit);
        }
        for event in &summary.events {
            metrics.event(service, label(*event));
        }
        self.listener.shared.log.session(&line);
    }
}

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
    }
}

impl Drop for OpenSession<'_> {
    fn drop(&mut self) {
        self.listener
            .shared
            .metrics
            .closed(self.listener.service.name);
    }
}
