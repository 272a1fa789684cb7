//! The way to servers: addresses, proxies, the PROXY header.

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_net::client::dial::{Announce, Dialer, Override, Socks, Target};
use gatepost_net::client::{CrlSource, Options};
use gatepost_net::dns::Names;
use gatepost_net::http::{self, Access, CrlFetcher, HttpFailure, Limits, Response};
use gatepost_net::policy_host::PolicyHosts;
use gatepost_trust::verify::{ClientTls, Roots};

use super::home;
use super::lookup;
use super::settings::{ProxyHeader, Settings};
use super::url::Host;

/// How connections are made under these settings.
pub(crate) fn dialer(settings: &Settings) -> Result<Dialer, crate::exit::Failure> {
    let mut dialer = Dialer {
        overrides: settings
            .resolve
            .iter()
            .map(|it| Override {
                host: it.host.clone(),
                port: Some(it.port),
                addresses: vec![it.address],
            })
            .collect(),
        sources: settings.source.into_iter().collect::<Vec<IpAddr>>(),
        socks: settings.socks5.as_ref().map(|(host, port)| Socks {
            host: bare(host),
            port: *port,
            login: None,
        }),
        announce: settings.proxy_header.map(|version| Announce {
            text: version == ProxyHeader::V1,
            header: None,
        }),
        ..Dialer::default()
    };
    if let Some(timeout) = settings.timeout {
        dialer.limit = timeout;
    }
    if settings.dns.is_some() {
        dialer.resolver = Arc::new(Names(Arc::new(lookup::resolver(settings)?)));
    }
    Ok(dialer)
}

/// Where to connect.
pub(crate) fn target(host: &Host, port: u16) -> Target {
    Target::new(bare(host), port)
}

/// The host without brackets.
pub(crate) fn bare(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Ip(address) => address.to_string(),
    }
}

/// Where lists of revoked certificates come from.
pub(crate) fn crl_source(settings: &Settings) -> Result<Arc<dyn CrlSource>, crate::exit::Failure> {
    // [REV-02] lists are fetched directly: the PROXY header is for mail servers.
    let dialer = Dialer {
        announce: None,
        ..dialer(settings)?
    };
    let fetcher = CrlFetcher::new(dialer);
    Ok(Arc::new(match home::cache("crls") {
        Some(folder) => fetcher.with_folder(folder),
        None => fetcher,
    }))
}

/// A small file by HTTPS from a host whose certificate the system's authorities, or those given, vouch for.
pub(crate) async fn get(
    settings: &Settings,
    host: &str,
    path: &str,
    limits: Limits,
) -> Result<Response, HttpFailure> {
    let url: http::Url = format!("https://{host}{path}")
        .parse()
        .map_err(|_| HttpFailure::Scheme)?;
    let terms = http::terms(&url, Arc::new(roots(settings))).map_err(|_| HttpFailure::Scheme)?;
    let tls = ClientTls::new(terms);
    let dialer = Dialer {
        announce: None,
        ..dialer(settings).map_err(|_| HttpFailure::Scheme)?
    };
    let access = Access::Verified(&tls);
    http::get(&url, access, &dialer, &Arc::new(Options::default()), limits).await
}

/// Fetches policies of MTA-STS by the way the settings name.
pub(crate) fn policy_hosts(settings: &Settings) -> Result<PolicyHosts, crate::exit::Failure> {
    let dialer = Dialer {
        announce: None,
        ..dialer(settings)?
    };
    Ok(PolicyHosts::new(dialer, Arc::new(roots(settings))))
}

/// Who vouches for web servers: the system's authorities and those given.
fn roots(settings: &Settings) -> Roots {
    let mut roots = Roots::system().unwrap_or_default();
    for file in &settings.ca {
        // A file that cannot be read was told when the terms of the connection were made, or will be.
        let _ = roots.add_file(file);
    }
    roots
}
