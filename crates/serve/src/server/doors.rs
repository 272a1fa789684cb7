//! What a server needs of the machine before it can accept: sockets and file descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use gatepost_net::listen;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use super::error::StartError;
use crate::log::Log;
use crate::services::{EGRESS, SERVICES, Service};
use crate::settings::Settings;
use crate::web::Token;

/// The sockets of a server, bound and not yet accepted from.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) services: Vec<(Service, Vec<TcpListener>)>,
    pub(super) metrics: Option<TcpListener>,
    /// The web page's socket, and its token: found out before anything is promised.
    pub(super) web: Option<(TcpListener, Token)>,
}

impl Sockets {
    /// Takes what the service manager has handed over, by port, and binds the rest. To be called inside a tokio runtime.
    pub(super) fn bind(settings: &Settings) -> Result<Self, StartError> {
        let mut inherited = inherited()?;
        let mut services = Vec::new();
        for service in SERVICES {
            if !settings.serves(service.protocol) {
                continue;
            }
            let port = service
                .port
                .checked_add(settings.port_offset)
                .ok_or(StartError::PortOffset(settings.port_offset))?;
            let sockets = match inherited.remove(&port) {
                Some(handed_over) => handed_over,
                None => bind_addresses(service, settings, port)?,
            };
            services.push((service, sockets));
        }
        if let Some(egress) = &settings.egress {
            let bind = |address: &SocketAddr| {
                listen::bind(*address)
                    .map_err(|error| StartError::Bind(EGRESS.name, *address, error))
            };
            let sockets: Result<_, _> = egress.listen.iter().map(bind).collect();
            services.push((EGRESS, sockets?));
        }
        // A socket nobody accepts from would let clients connect and wait for ever.
        if let Some((port, _)) = inherited.pop_first() {
            return Err(StartError::Unwanted(port, settings.port_offset));
        }
        let bind_metrics = |address| {
            listen::bind(address).map_err(|error| StartError::Bind("metrics", address, error))
        };
        let metrics = settings.metrics.map(bind_metrics).transpose()?;
        let bind_web = |address| {
            Ok((
                bind_web(address)?,
                Token::ensure(&settings.data).map_err(StartError::WebToken)?,
            ))
        };
        let web = settings.web.map(bind_web).transpose()?;
        Ok(Self {
            services,
            metrics,
            web,
        })
    }

    /// The addresses listened on.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let sockets = self.services.iter().flat_map(|(_, sockets)| sockets);
        let addresses = sockets.filter_map(|socket| socket.local_addr().ok());
        let distinct: BTreeSet<IpAddr> = addresses.map(|address| address.ip()).collect();
        distinct.into_iter().collect()
    }
}

/// Mail in clear text stays on this machine.
fn bind_web(address: SocketAddr) -> Result<TcpListener, StartError> {
    if !address.ip().is_loopback() {
        return Err(StartError::WebNotLoopback(address));
    }
    listen::bind(address).map_err(|error| StartError::Bind("web", address, error))
}

fn inherited() -> Result<BTreeMap<u16, Vec<TcpListener>>, StartError> {
    let mut by_port: BTreeMap<u16, Vec<TcpListener>> = BTreeMap::new();
    for socket in listen::inherited().map_err(StartError::Inherited)? {
        let port = socket.local_addr().map_err(StartError::Inherited)?.port();
        by_port.entry(port).or_default().push(socket);
    }
    Ok(by_port)
}

fn bind_addresses(
    service: Service,
    settings: &Settings,
    port: u16,
) -> Result<Vec<TcpListener>, StartError> {
    let distinct: BTreeSet<&IpAddr> = settings.bind.iter().collect();
    let mut sockets = Vec::new();
    // The wildcards first: whoever they cover is then named as covered.
    let (wide, narrow): (Vec<&IpAddr>, Vec<&IpAddr>) =
        distinct.into_iter().partition(|it| it.is_unspecified());
    for address in wide.iter().chain(&narrow) {
        let covered = wide
            .iter()
            .any(|it| it != address && it.is_ipv4() == address.is_ipv4());
        let address = SocketAddr::new(**address, port);
        match listen::bind(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if covered && error.kind() == io::ErrorKind::AddrInUse => {
                return Err(StartError::Overlap(service.name, address));
            }
            Err(error) => return Err(StartError::Bind(service.name, address, error)),
        }
    }
    Ok(sockets)
}

/// File descriptors that are not connections: database, segments, spool, listeners, log.
const OTHER_FILES: u64 = 256;

/// Raises the process's limit on file descriptors to what the system allows, and returns how many connections may be taken:
/// strangers never get the descriptors that mail is stored with.
pub(super) fn affordable_connections(settings: &Settings, log: &Log) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let granted = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    let affordable = granted.map_or(u64::MAX, |files| {
        files.saturating_sub(OTHER_FILES.min(files / 2)).max(1)
    });
    let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
    if affordable < settings.connections {
        log.notice(
            "few_files",
            &format!(
                "the system allows {} open files: only {affordable} connections are taken at the same time, not {}; raise the \
                 limit (LimitNOFILE), or lower limits.connections",
                granted.unwrap_or(0),
                settings.connections,
            ),
        );
    }
    affordable.min(settings.connections)
}
