//! From what the user wrote to what is examined: services at addresses.

use std::net::IpAddr;

use gatepost_audit::check::target::{Protocol, Role, Start, Target};

use crate::client::network;
use crate::client::settings::{Settings, Tls};
use crate::client::url::{self, Host, Url};
use crate::exit::Failure;

/// The ports of a mail host.
const PORTS: [(u16, Protocol, Start, Role); 8] = [
    (25, Protocol::Smtp, Start::StartTls, Role::Mx),
    (587, Protocol::Smtp, Start::StartTls, Role::Submission),
    (465, Protocol::Smtp, Start::Implicit, Role::Submission),
    (143, Protocol::Imap, Start::StartTls, Role::Access),
    (993, Protocol::Imap, Start::Implicit, Role::Access),
    (110, Protocol::Pop3, Start::StartTls, Role::Access),
    (995, Protocol::Pop3, Start::Implicit, Role::Access),
    (4190, Protocol::Sieve, Start::StartTls, Role::Access),
];

/// Reads a target and finds its addresses.
pub(super) async fn read(
    text: &str,
    role: Option<Role>,
    settings: &Settings,
) -> Result<Vec<Target>, Failure> {
    let services = services(text, role, settings)?;
    let mut targets = Vec::new();
    for service in services {
        let name = settings.tls_name.as_ref().unwrap_or(&service.host);
        let name = network::bare(name);
        for address in addresses(&service, settings).await? {
            targets.push(Target {
                host: name.clone(),
                address,
                port: service.port,
                protocol: service.protocol,
                start: service.start,
                role: service.role,
            });
        }
    }
    Ok(targets)
}

/// A service at a host.
struct Service {
    host: Host,
    port: u16,
    protocol: Protocol,
    start: Start,
    role: Role,
}

fn services(text: &str, role: Option<Role>, settings: &Settings) -> Result<Vec<Service>, Failure> {
    if !is_host_alone(text) {
        let url = crate::client::place(text, "smtp")?;
        return of_url(&url, role, settings);
    }
    let host = Host::parse(text).map_err(Failure::usage)?;
    let all = PORTS
        .into_iter()
        .map(|(port, protocol, start, usual)| Service {
            host: host.clone(),
            port,
            protocol,
            start,
            role: role.unwrap_or(usual),
        });
    Ok(all.collect())
}

/// Whether neither a scheme nor a port says which service is meant.
pub(super) fn is_host_alone(text: &str) -> bool {
    !text.contains("://") && !has_port(text)
}

fn has_port(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((host, port)) => {
            port.bytes().all(|it| it.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']'))
        }
        None => false,
    }
}

fn of_url(url: &Url, role: Option<Role>, settings: &Settings) -> Result<Vec<Service>, Failure> {
    let (protocol, usual) = match url.protocol {
        url::Protocol::Smtp => (Protocol::Smtp, Role::Mx),
        url::Protocol::Submission => (Protocol::Smtp, Role::Submission),
        url::Protocol::Lmtp => (Protocol::Lmtp, Role::Access),
        url::Protocol::Imap => (Protocol::Imap, Role::Access),
        url::Protocol::Pop3 => (Protocol::Pop3, Role::Access),
        url::Protocol::Sieve => (Protocol::Sieve, Role::Access),
    };
    let doors = settings.doors(url)?;
    let services = doors.into_iter().map(|door| Service {
        host: url.host.clone(),
        port: door.port,
        protocol,
        start: match door.tls {
            Tls::Implicit => Start::Implicit,
            _ => Start::StartTls,
        },
        role: role.unwrap_or(usual),
    });
    Ok(services.collect())
}

/// All addresses: a client takes any of them.
async fn addresses(service: &Service, settings: &Settings) -> Result<Vec<IpAddr>, Failure> {
    let host = network::bare(&service.host);
    let said = settings
        .resolve
        .iter()
        .filter(|it| it.host.eq_ignore_ascii_case(&host) && it.port == service.port);
    let said: Vec<IpAddr> = said.map(|it| it.address).collect();
    if !said.is_empty() {
        return Ok(said);
    }
    if let Host::Ip(address) = service.host {
        return Ok(vec![address]);
    }
    let dialer = network::dialer(settings)?;
    let found = dialer.resolver.resolve(&host).await.unwrap_or_default();
    if found.is_empty() {
        return Err(Failure::local(format!(
            "{host} has no address that could be found; nothing was examined"
        )));
    }
    Ok(found)
}
