//! The certificates of all services: read at the start, again on SIGHUP and when their files change [CERT-02], and judged
//! anew every day; the local CA renews its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gatepost_trust::certificates::{Options, ServiceTls, UnknownName};
use gatepost_trust::client_ca::ClientCa;
use gatepost_trust::identity::Identity;
use gatepost_trust::local_ca;
use gatepost_trust::profile::{self, Mode};
use tokio::sync::{mpsc, watch};

use super::error::StartError;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::services::{EGRESS, Protocol, SERVICES, Service};
use crate::settings::{Settings, StrictNames};

/// How often the files are looked at. A renewed certificate is in use this soon.
const LOOK: Duration = Duration::from_secs(10);

/// How often certificates are judged anew while nothing changes: they age. The local CA renews its own then.
const JUDGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificates of all services.
#[derive(Debug)]
pub(super) struct Certificates {
    source: Source,
    services: BTreeMap<&'static str, Arc<ServiceTls>>,
    /// Who vouches for clients, and what they have revoked.
    clients: Option<ClientCa>,
    log: Log,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Source {
    Local {
        folder: PathBuf,
        ca: PathBuf,
        names: Vec<String>,
    },
    Files {
        files: Vec<(PathBuf, PathBuf)>,
        host: String,
    },
}

type Stamps = Vec<Option<SystemTime>>;

impl Certificates {
    pub(super) fn open(
        settings: &Settings,
        log: Log,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let source = if settings.certificates.is_empty() {
            let names = vec![settings.host.clone()];
            let files = local_ca::ensure(&settings.data, &names, SystemTime::now())
                .map_err(StartError::LocalCa)?;
            Source::Local {
                folder: settings.data.clone(),
                ca: files.ca,
                names,
            }
        } else {
            Source::Files {
                files: settings.certificates.clone(),
                host: settings.host.clone(),
            }
        };
        let identities = source.load(&log, &metrics)?;
        let plus = settings.mechanisms.iter().any(|it| it.is_bound());
        let mut services = BTreeMap::new();
        let revoked = settings.client_crl.as_deref();
        let read = |authorities| ClientCa::read(authorities, revoked);
        let clients = settings.client_ca.as_deref().map(read);
        let clients = clients.transpose().map_err(StartError::ClientCa)?;
        for service in SERVICES.into_iter().chain([EGRESS]) {
            // [SVC-07] only where users log in
            let logs_in = service.protocol != Protocol::Smtp && service != EGRESS;
            let asked_by = clients.clone().filter(|_| logs_in);
            let options = options(service, plus, settings.strict_names);
            let tls = ServiceTls::asking(options, &identities, asked_by);
            let tls = tls.map_err(|_| StartError::Tls)?;
            services.insert(service.name, Arc::new(tls));
        }
        Ok(Self {
            source,
            services,
            clients,
            log,
            metrics,
        })
    }

    /// The TLS of a service.
    pub(super) fn service(&self, service: Service) -> Arc<ServiceTls> {
        Arc::clone(&self.services[service.name])
    }

    /// The local CA's certificate, if it is used.
    pub(super) fn local_ca(&self) -> Option<&Path> {
        match &self.source {
            Source::Local { ca, .. } => Some(ca),
            Source::Files { .. } => None,
        }
    }

    /// Reads the certificates again when told to, and when a file changed, until the server stops.
    pub(super) async fn keep_fresh(
        self: Arc<Self>,
        mut orders: mpsc::Receiver<()>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut stamps = self.stamps();
        let mut judged = Judged::now();
        loop {
            let ordered = tokio::select! {
                order = orders.recv() => order.is_some(),
                () = tokio::time::sleep(LOOK) => false,
                _ = stopping.changed() => return,
            };
            let due = judged.is_stale(Instant::now(), SystemTime::now());
            if due {
                judged = Judged::now();
                self.renew();
            }
            let now = self.stamps();
            if ordered || due || now != stamps {
                stamps = now;
                self.reload();
            }
        }
    }

    /// When the files were last changed.
    fn stamps(&self) -> Stamps {
        let own = self.source.files().into_iter();
        let own = own.flat_map(|(chain, key)| [chain, key]);
        let clients = self.clients.iter().flat_map(ClientCa::files);
        own.chain(clients.map(Path::to_owned))
            .map(|path| {
                std::fs::metadata(path)
                    .and_then(|facts| facts.modified())
                    .ok()
            })
            .collect()
    }

    fn renew(&self) {
        if let Source::Local { folder, names, .. } = &self.source
            && let Err(error) = local_ca::ensure(folder, names, SystemTime::now())
        {
            self.log.notice(
                "certificate_not_renewed",
                &format!("the local certificate authority cannot be used: {error}"),
            );
        }
    }

    /// What is good is taken over by all services; files that are not good leave everything as it is. A certificate that ends
    /// soon or has ended is named in the log each time [CERT-02].
    fn reload(&self) {
        // Connections that begin after this are judged by the new lists; files that are not good leave the old ones in force.
        if let Some(Err(error)) = self.clients.as_ref().map(ClientCa::renew) {
            let text = format!("{error}; the previous authorities and lists stay in force");
            self.log.notice("client_ca_not_loaded", &text);
        }
        match self.source.load(&self.log, &self.metrics) {
            Ok(identities) => {
                for tls in self.services.values() {
                    if tls.replace(&identities).is_err() {
                        self.log
                            .notice("certificate_not_loaded", &StartError::Tls.to_string());
                        return;
                    }
                }
                self.log.notice(
                    "certificate_loaded",
                    "certificates were read again; sessions go on",
                );
            }
            Err(error) => self.log.notice(
                "certificate_not_loaded",
                &format!("{error}; the previous one stays in use"),
            ),
        }
    }
}

/// When the certificates were last judged, by both clocks: the steady one stands still while a machine sleeps, and the other
/// jumps when it is set.
#[derive(Debug, Clone, Copy)]
struct Judged {
    steady: Instant,
    clock: SystemTime,
}

impl Judged {
    fn now() -> Self {
        Self {
            steady: Instant::now(),
            clock: SystemTime::now(),
        }
    }

    fn is_stale(self, steady: Instant, clock: SystemTime) -> bool {
        let forwards = clock.duration_since(self.clock).unwrap_or_default();
        let backwards = self.clock.duration_since(clock).unwrap_or_default();
        let passed = steady.saturating_duration_since(self.steady);
        passed >= JUDGE || forwards.max(backwards) >= JUDGE
    }
}

impl Source {
    fn files(&self) -> Vec<(PathBuf, PathBuf)> {
        match self {
            Self::Local { folder, .. } => vec![(folder.join("cert.pem"), folder.join("key.pem"))],
            Self::Files { files, .. } => files.clone(),
        }
    }

    fn load(&self, log: &Log, metrics: &Metrics) -> Result<Vec<Arc<Identity>>, StartError> {
        let host = match self {
            Self::Local { .. } => None,
            Self::Files { host, .. } => Some(host.as_str()),
        };
        let mut identities = Vec::new();
        for (index, (chain, key)) in self.files().iter().enumerate() {
            // Only the default certificate has to cover the server's own name; others are chosen by theirs.
            let host = host.filter(|_| index == 0);
            let (identity, warnings) = Identity::load(chain, key, host, SystemTime::now())
                .map_err(|error| StartError::Certificate(chain.clone(), error))?;
            let file = chain.display();
            // [CERT-02] an alarm can be set on the end long before the log begins to warn
            metrics.certificate_ends(&file.to_string(), identity.not_after());
            for warning in warnings {
                log.notice("certificate_warning", &format!("{file}: {warning}"));
            }
            identities.push(Arc::new(identity));
        }
        Ok(identities)
    }
}

/// `plus`: whether logins may be bound to the TLS connection.
fn options(service: Service, plus: bool, strict: StrictNames) -> Options {
    let tls_service = match service.protocol {
        Protocol::Smtp => profile::Service::Smtp,
        Protocol::Submission => profile::Service::Submission,
        Protocol::Imap => profile::Service::Imap,
        Protocol::Pop3 => profile::Service::Pop3,
    };
    let mode = if service.implicit_tls {
        Mode::Implicit
    } else {
        Mode::StartTls
    };
    let usual = Options::default_for(tls_service, mode);
    let unknown_name = match strict {
        StrictNames::Implicit => usual.unknown_name,
        StrictNames::Always => UnknownName::Refuse,
        StrictNames::Never => UnknownName::FallBack,
    };
    Options {
        bindings: plus && usual.bindings,
        unknown_name,
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that slept over the end of a certificate, and a clock that was set
    #[test]
    fn certificates_are_judged_anew_when_either_clock_has_moved_on() {
        let judged = Judged::now();
        let (steady, clock) = (judged.steady, judged.clock);
        assert!(!judged.is_stale(steady + JUDGE / 2, clock + JUDGE / 2));
        assert!(judged.is_stale(steady + JUDGE, clock));
        assert!(judged.is_stale(steady, clock + JUDGE));
        assert!(judged.is_stale(steady, clock - JUDGE));
    }

    /// [CONF-02] the switch, which port 25 does not follow (`trust::certificates`)
    #[test]
    fn strict_names_are_a_choice() {
        let refuses = |strict| {
            SERVICES
                .into_iter()
                .filter(|service| {
                    options(*service, true, strict).unknown_name == UnknownName::Refuse
                })
                .map(|service| service.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            refuses(StrictNames::Implicit),
            ["submissions", "imaps", "pop3s"]
        );
        assert_eq!(refuses(StrictNames::Always).len(), SERVICES.len());
        assert!(refuses(StrictNames::Never).is_empty());
    }
}
