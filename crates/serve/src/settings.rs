//! What a server is told: the meaning of the configuration, with every choice made.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gatepost_net::network::Network;
use gatepost_wire::sasl::{Mechanism, ScramHash};
use gatepost_wire::seam::TlsVersion;

use crate::services::{Protocol, Service};
use crate::upstream::egress;
use crate::upstream::route::Route;
use crate::upstream::url::Spec;

/// Where a client that asks for a name without a certificate here is refused [CONF-02].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrictNames {
    /// On the ports for implicit TLS.
    #[default]
    Implicit,
    /// On every port but 25.
    Always,
    /// Nowhere: the default certificate answers.
    Never,
}

/// Everything a server needs to know to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that holds everything.
    pub data: PathBuf,
    /// The server's own name.
    pub host: String,
    /// Mail domains served besides those of the accounts, in lower case.
    pub domains: Vec<String>,
    /// Addresses to listen on.
    pub bind: Vec<IpAddr>,
    /// Added to every standard port.
    pub port_offset: u16,
    /// The account that gets mail for postmaster.
    pub postmaster: Option<String>,
    /// Certificate chain and key files; none: the local CA's.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Where an unknown server name is refused [CONF-02]; port 25 never does.
    pub strict_names: StrictNames,
    /// The oldest version of TLS that is worked with [SMTP-STARTTLS-12].
    pub floor: TlsVersion,
    /// The services that hold for, by name; none: those for users.
    pub floor_services: Vec<String>,
    /// Whether the From field of submitted mail must be the login's own address [SUBM-04].
    pub own_from_only: bool,
    /// Where the web page listens; a loopback address.
    pub web: Option<SocketAddr>,
    /// Whether port 25 refuses MAIL without TLS [CONF-01]; the default is no.
    pub mx_requires_tls: bool,
    /// Whether `Received:` fields of submitted mail leave out the client [RECV-05].
    pub hide_client: bool,
    /// The largest message, in octets.
    pub message_size: u64,
    /// The most one account may keep, in octets.
    pub quota: u64,
    /// New mail is refused when less than this is free, in octets.
    pub disk_floor: u64,
    /// Connections at the same time, in all.
    pub connections: usize,
    /// Connections at the same time from one address (IPv6: one /64).
    pub connections_per_address: usize,
    /// Networks whose clients are not counted per address.
    pub unlimited: Vec<Network>,
    /// TLS handshakes at the same time.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake_time: Duration,
    /// Networks whose clients may log in without TLS.
    pub clear_login: Vec<Network>,
    /// Authorities that vouch for clients' certificates; none: nobody is asked for one.
    pub client_ca: Option<PathBuf>,
    /// What those authorities have revoked; none: nothing is looked at.
    pub client_crl: Option<PathBuf>,
    /// The mechanisms allowed for logins.
    pub mechanisms: Vec<Mechanism>,
    /// How session lines look.
    pub log: LogFormat,
    /// Where OpenMetrics are served.
    pub metrics: Option<SocketAddr>,
    /// Servers to pass sessions on to; none: the mailboxes are here.
    pub upstreams: Vec<Spec>,
    /// How one of them is chosen.
    pub route: Route,
    /// The way out for devices, if there is one.
    pub egress: Option<egress::Settings>,
    /// Networks of proxies, whose connections begin with a PROXY header.
    pub proxies: Vec<Network>,
    /// The services they reach, by name; none: all.
    pub proxied_services: Vec<String>,
    /// Networks of servers in front, which may name their clients by XCLIENT.
    pub introducers: Vec<Network>,
    /// The file to write when every listener accepts.
    pub ready_file: Option<PathBuf>,
}

impl Settings {
    /// The mechanisms for logins, with that of certificates where clients are asked for one [SASL-EXT-01] [SVC-08].
    pub fn login_mechanisms(&self) -> Vec<Mechanism> {
        let external = self.client_ca.is_some().then_some(Mechanism::External);
        self.mechanisms.iter().copied().chain(external).collect()
    }

    /// Whether new passwords get keys of SHA-1, too: where somebody can use them [CONF-07]. A gate offers no mechanism with them.
    pub fn keeps_sha1(&self) -> bool {
        let named = |it: &Mechanism| it.hash() == Some(ScramHash::Sha1);
        self.upstreams.is_empty() && self.mechanisms.iter().any(named)
    }

    /// The oldest version of TLS that a service works with. Older ones it still lets come in, to say so [REPLY-07].
    pub fn least_tls(&self, service: Service) -> TlsVersion {
        let holds = if self.floor_services.is_empty() {
            // [CONF-01] between servers old TLS is better than none.
            service.protocol != Protocol::Smtp
        } else {
            self.floor_services.iter().any(|it| it == service.name)
        };
        if holds { self.floor } else { TlsVersion::Tls12 }
    }

    /// Whether a service is opened: at a gate, if there is an upstream for it.
    pub fn serves(&self, protocol: Protocol) -> bool {
        let fits = |spec: &Spec| {
            spec.protocol == protocol
                || (protocol == Protocol::Submission && spec.protocol == Protocol::Smtp)
        };
        self.upstreams.is_empty() || self.upstreams.iter().any(fits)
    }
}

/// How session lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}
