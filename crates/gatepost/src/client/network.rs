//! The way to servers: addresses, proxies, the PROXY header.

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_net::client::dial::{Announce, Dialer, Override, Socks, Target};
use gatepost_net::client::{CrlSource, Failure, Options};
use gatepost_net::http::{self, Access, CrlFetcher, HttpFailure, Limits, Response};
use gatepost_trust::dns::Name;
use gatepost_trust::mta_sts::{self, FetchError};
use gatepost_trust::verify::{ClientTls, Roots};
use gatepost_wire::client as session;

use super::settings::{ProxyHeader, Settings};
use super::url::Host;

/// How connections are made under these settings.
pub(crate) fn dialer(settings: &Settings) -> Dialer {
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
    dialer
}

/// Where to connect.
pub(crate) fn target(host: &Host, port: u16) -> Target {
    Target::new(bare(host), port)
}

/// The host without brackets.
fn bare(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Ip(address) => address.to_string(),
    }
}

/// Where lists of revoked certificates come from.
pub(crate) fn crl_source(settings: &Settings) -> Arc<dyn CrlSource> {
    // [REV-02] lists are fetched directly: the PROXY header is for mail servers.
    let dialer = Dialer {
        announce: None,
        ..dialer(settings)
    };
    Arc::new(CrlFetcher::new(dialer))
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
    let mut roots = Roots::system().unwrap_or_default();
    for file in &settings.ca {
        // A file that cannot be read was told when the terms of the connection were made, or will be.
        let _ = roots.add_file(file);
    }
    let terms = http::terms(&url, Arc::new(roots)).map_err(|_| HttpFailure::Scheme)?;
    let tls = ClientTls::new(terms);
    let dialer = Dialer {
        announce: None,
        ..dialer(settings)
    };
    let access = Access::Verified(&tls);
    http::get(&url, access, &dialer, &Arc::new(Options::default()), limits).await
}

/// Fetches policies of MTA-STS. [STS-02]
pub(crate) struct PolicyFetch<'a> {
    settings: &'a Settings,
}

impl<'a> PolicyFetch<'a> {
    /// Fetches by the way the settings name.
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings }
    }
}

impl mta_sts::Fetch for PolicyFetch<'_> {
    async fn fetch(&self, host: &Name) -> Result<Vec<u8>, FetchError> {
        let host = host.to_string();
        let limits = Limits {
            time: mta_sts::FETCH_TIME,
            body: mta_sts::MAX_POLICY,
        };
        let got = get(
            self.settings,
            host.trim_end_matches('.'),
            mta_sts::PATH,
            limits,
        );
        match got.await {
            Ok(response) if response.head.media_type().as_deref() == Some("text/plain") => {
                Ok(response.body)
            }
            Ok(_) => Err(FetchError::NotText),
            Err(HttpFailure::Status(status)) => Err(FetchError::Status(status)),
            Err(HttpFailure::Timeout) => Err(FetchError::TimedOut),
            Err(HttpFailure::NotVerified | HttpFailure::Connection(Failure::Unverified(_))) => {
                Err(FetchError::Certificate)
            }
            Err(HttpFailure::Connection(Failure::Session(session::Failure::TooMuch(_)))) => {
                Err(FetchError::TooLarge)
            }
            Err(_) => Err(FetchError::Unreachable),
        }
    }
}
