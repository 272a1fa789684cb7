//! One accepted connection: which session, which backend, and the line about its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use gatepost_net::driver::{self, Backend, Context, Ended, Event, Start};
use gatepost_net::listen::{self, Door, Farewell, Place, Refused};
use gatepost_trust::certificates::ServiceTls;
use gatepost_wire::seam::ClearLogin;
use gatepost_wire::session::Machine;
use gatepost_wire::{imap, pop3, smtp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::Shared;
use crate::log::SessionLine;
use crate::mailbox::Summary;
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
    Smtp(Arc<smtp::server::Config>),
    Imap(Arc<imap::server::Config>),
    Pop3(Arc<pop3::server::Config>),
}

impl Listener {
    pub(super) fn new(service: Service, shared: Arc<Shared>, tls: Arc<ServiceTls>, context: Context) -> Self {
        let config = ProtocolConfig::new(service, &shared, &tls);
        Self { service, shared, tls, context, config }
    }

    /// Accepts until the server stops. `_alive` is held by every session too.
    pub(super) async fn accept(self: Arc<Self>, socket: TcpListener, door: Arc<Door>, alive: mpsc::Sender<()>) {
        let stopping = self.context.shutdown.clone();
        let refused_at = Arc::clone(&self);
        let serve = |stream, client, place| Arc::clone(&self).spawn(stream, client, place, alive.clone());
        let refused = |_client: SocketAddr, why: Refused| {
            refused_at.shared.metrics.event(refused_at.service.name, why.label());
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
    fn spawn(self: Arc<Self>, stream: TcpStream, client: SocketAddr, place: Place, alive: mpsc::Sender<()>) {
        match &self.config {
            ProtocolConfig::Smtp(config) => {
                let config = Arc::clone(config);
                tokio::spawn(async move { self.smtp(stream, client, config).await; drop((place, alive)); });
            }
            ProtocolConfig::Imap(config) => {
                let config = Arc::clone(config);
                tokio::spawn(async move { self.imap(stream, client, config).await; drop((place, alive)); });
            }
            ProtocolConfig::Pop3(config) => {
                let config = Arc::clone(config);
                tokio::spawn(async move { self.pop3(stream, client, config).await; drop((place, alive)); });
            }
        }
    }
}
