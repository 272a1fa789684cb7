//! What a server needs of the machine before it can accept: sockets and file descriptors.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use gatepost_net::{descriptors, listen};
use tokio::net::TcpListener;

use super::error::StartError;
use super::successor;
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
    /// Takes what the service manager, or the process before this one, has handed over, and binds the rest. Sockets of services are
    /// told apart by port, the others by address. To be called inside a tokio runtime.
    pub(super) fn bind(settings: &Settings) -> Result<Self, StartError> {
        let mut inherited = Inherited::take()?;
        let egress = bind_egress(settings, &mut inherited)?;
        let mut take_or_bind = |name, address| match inherited.at(address) {
            Some(socket) => Ok(socket),
            None => listen::bind(address).map_err(|error| StartError::Bind(name, address, error)),
        };
        let metrics = settings.metrics.map(|it| take_or_bind("metrics", it));
        let metrics = metrics.transpose()?;
        let bind_web = |address: SocketAddr| {
            // Mail in clear text stays on this machine.
            if !address.ip().is_loopback() {
                return Err(StartError::WebNotLoopback(address));
            }
            let socket = take_or_bind("web", address)?;
            let token = Token::ensure(&settings.data).map_err(StartError::WebToken)?;
            Ok((socket, token))
        };
        let web = settings.web.map(bind_web).transpose()?;
        let mut services = Vec::new();
        for service in SERVICES {
            if !settings.serves(service.protocol) {
                continue;
            }
            let port = service
                .port
                .checked_add(settings.port_offset)
                .ok_or(StartError::PortOffset(settings.port_offset))?;
            let sockets = inherited.on(port);
            let sockets = if sockets.is_empty() {
                bind_addresses(service, settings, port)?
            } else {
                sockets
            };
            services.push((service, sockets));
        }
        services.extend(egress);
        // A socket nobody accepts from would let clients connect and wait for ever. Where another configuration takes over, what it
        // does not serve any more is closed.
        match inherited.0.first() {
            Some((address, _)) if !successor::takes_over() => {
                return Err(StartError::Unwanted(address.port(), settings.port_offset));
            }
            _ => {}
        }
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

    /// Copies of all of them, for a process that takes over.
    pub(super) fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let services = self.services.iter().flat_map(|(_, sockets)| sockets);
        let web = self.web.iter().map(|(socket, _)| socket);
        let all = services.chain(&self.metrics).chain(web);
        all.map(|it| it.as_fd().try_clone_to_owned()).collect()
    }
}

/// Sockets that were open before this process began, with their addresses.
struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    fn take() -> Result<Self, StartError> {
        let sockets = listen::inherited().map_err(StartError::Inherited)?;
        let with_address = |it: TcpListener| Ok((it.local_addr()?, it));
        let sockets: io::Result<_> = sockets.into_iter().map(with_address).collect();
        Ok(Self(sockets.map_err(StartError::Inherited)?))
    }

    /// The one on this address.
    fn at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.0.iter().position(|(it, _)| *it == address)?;
        Some(self.0.swap_remove(place).1)
    }

    /// All on this port.
    fn on(&mut self, port: u16) -> Vec<TcpListener> {
        let taken = self.0.extract_if(.., |(address, _)| address.port() == port);
        taken.map(|(_, socket)| socket).collect()
    }
}

fn bind_egress(
    settings: &Settings,
    inherited: &mut Inherited,
) -> Result<Option<(Service, Vec<TcpListener>)>, StartError> {
    let Some(egress) = &settings.egress else {
        return Ok(None);
    };
    let mut bind = |address: &SocketAddr| match inherited.at(*address) {
        Some(socket) => Ok(socket),
        None => {
            listen::bind(*address).map_err(|error| StartError::Bind(EGRESS.name, *address, error))
        }
    };
    let sockets: Result<_, _> = egress.listen.iter().map(&mut bind).collect();
    Ok(Some((EGRESS, sockets?)))
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
    let granted = descriptors::raise_limit();
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
