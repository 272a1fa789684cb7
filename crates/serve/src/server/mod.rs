//! A server from its settings to its end: open, start, run, stop.
//!
//! 1. [`Server::open`] opens the store and the certificates: everything that can be wrong with data and configuration shows
//!    here, before a port is taken.
//! 2. [`Server::start`] binds all ports and accepts.
//! 3. [`Running::announce_ready`] tells the ready file and the service manager.
//! 4. [`Running::change`] takes other settings over, for the sessions to come.
//! 5. [`Running::start_successor`] starts the program anew with the ports of this one, and [`Running::hand_over`] leaves them to it.
//! 6. [`Running::stop`] says farewell to all sessions and waits for them.

mod certificates;
mod current;
mod doors;
mod error;
pub mod front;
mod proxied;
mod session;
pub mod successor;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost_net::driver::{Context, Limits};
use gatepost_net::listen::{Door, DoorLimits};
use gatepost_store::{Accounts, Store};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::log::Log;
use crate::mailbox::{self, account::AccountKeeper};
use crate::metrics::{self, Metrics};
use crate::services::Service;
use crate::settings::Settings;
use crate::upstream::Gate;
use crate::upstream::egress::Egress;
use crate::upstream::oauth::Bridge;
use crate::upstream::url::Spec;
use crate::web::{Token, Web};

use certificates::Certificates;
pub(crate) use current::Shared;
use doors::Sockets;
pub use error::StartError;
use session::Listener;
use successor::Successor;

/// A server whose data and certificates are good, and that does not listen yet.
#[derive(Debug)]
pub struct Server {
    settings: Arc<Settings>,
    behind: Behind<Store>,
    egress: Option<Arc<Egress>>,
    certificates: Certificates,
    log: Log,
    metrics: Arc<Metrics>,
    /// Bound, and not yet accepted from.
    sockets: Option<Sockets>,
}

/// What stands behind the sessions.
#[derive(Debug, Clone)]
pub(crate) enum Behind<M = Arc<mailbox::Shared>, G = Arc<Gate>> {
    /// The mailboxes here.
    Mailbox(M),
    /// Other servers.
    Gate(G),
}

/// A server that listens.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    services: Vec<Listening>,
    addresses: Vec<IpAddr>,
    web_url: Option<String>,
    certificates: Arc<Certificates>,
    shutdown: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
    doors: Doors,
    /// Every session holds the sending half; it is closed when the last one has ended.
    sessions: mpsc::Receiver<()>,
    reload: mpsc::Sender<()>,
    /// Another process has the ports.
    handed_over: bool,
}

/// Where connections come in.
#[derive(Debug)]
struct Doors {
    shut: watch::Sender<bool>,
    /// Copies of the listening sockets, for a process that takes over.
    sockets: Vec<OwnedFd>,
}

impl Doors {
    /// Takes no more connections; the ports are free when nobody else has them.
    fn shut(&mut self) {
        let _ = self.shut.send(true);
        self.sockets.clear();
    }
}

/// A service that is listened for.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// Its name.
    pub name: &'static str,
    /// The port, on every address.
    pub port: u16,
    /// The TLS mode and policy in a few words.
    pub tls: &'static str,
}

impl Server {
    /// Opens the store and the certificates.
    ///
    /// # Errors
    /// What is wrong with them, in words for the operator.
    pub fn open(settings: Settings) -> Result<Self, StartError> {
        let log = Log::to_stderr(settings.log);
        let metrics = Arc::new(Metrics::new());
        let behind = if settings.upstreams.is_empty() {
            Behind::Mailbox(open_store(&settings)?)
        } else {
            let gate = Gate::new(
                settings.host.clone(),
                &settings.upstreams,
                &settings.route,
                (log.clone(), Arc::clone(&metrics)),
                open_bridge(&settings)?,
            );
            Behind::Gate(gate.map_err(StartError::Upstream)?)
        };
        let open = |it| {
            let (log, metrics) = (log.clone(), Arc::clone(&metrics));
            Egress::new(settings.host.clone(), it, log, metrics)
        };
        let egress = settings.egress.as_ref().map(open).transpose();
        let egress = egress.map_err(StartError::Upstream)?;
        let certificates = Certificates::open(&settings, log.clone(), Arc::clone(&metrics))?;
        Ok(Self {
            settings: Arc::new(settings),
            behind,
            egress,
            certificates,
            log,
            metrics,
            sockets: None,
        })
    }

    /// The accounts; none at a gate whose upstreams judge logins.
    pub fn accounts(&self) -> Option<&Accounts> {
        match &self.behind {
            Behind::Mailbox(store) => Some(store.accounts()),
            Behind::Gate(gate) => gate.accounts(),
        }
    }

    /// Whether other servers stand behind the sessions.
    pub fn is_gate(&self) -> bool {
        matches!(self.behind, Behind::Gate(_))
    }

    /// Asks the upstreams what they offer, so that the first client is told. Waits some seconds at the longest.
    pub async fn look(&self) {
        if let Behind::Gate(gate) = &self.behind {
            gate.look().await;
        }
        if let Some(egress) = &self.egress {
            egress.gate.look().await;
        }
    }

    /// The quota of new accounts, in octets.
    pub fn quota(&self) -> u64 {
        self.settings.quota
    }

    /// Binds every port, so that what is said to the operator after this is true. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port that cannot be had.
    pub fn bind(&mut self) -> Result<(), StartError> {
        self.sockets = Some(Sockets::bind(&self.settings)?);
        Ok(())
    }

    /// Begins to accept; binds first if [`Server::bind`] was not called. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port that cannot be had.
    pub fn start(mut self) -> Result<Running, StartError> {
        let sockets = match self.sockets.take() {
            Some(bound) => bound,
            None => Sockets::bind(&self.settings)?,
        };
        let addresses = sockets.addresses();
        let (shut, watch_doors) = watch::channel(false);
        let doors = Doors {
            shut,
            sockets: sockets.copies().map_err(StartError::Inherited)?,
        };
        let mut web_url = None;
        let behind = match self.behind {
            Behind::Gate(gate) => Behind::Gate(gate),
            Behind::Mailbox(store) => {
                web_url = sockets.web.and_then(|web| serve_web(web, &store));
                let keeper = Arc::new(AccountKeeper::new(store.clone()));
                let config = backend_config(&self.settings);
                Behind::Mailbox(mailbox::Shared::new(store, keeper, config))
            }
        };
        let shared = Arc::new(Shared::new(
            self.settings,
            behind,
            self.egress,
            self.log,
            self.metrics,
        ));
        let certificates = Arc::new(self.certificates);
        let (shutdown, stopping) = watch::channel(false);
        let (alive, sessions) = mpsc::channel(1);
        report_faults(&shared);
        let current = shared.current();
        current.keep_looking(&stopping);
        current.warn(&shared.log);
        if let Some(listener) = sockets.metrics {
            let metrics = Arc::clone(&shared.metrics);
            let mut shut = watch_doors.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = metrics::serve(listener, metrics) => {}
                    _ = shut.wait_for(|it| *it) => {}
                }
            });
        }
        let watches = (stopping.clone(), watch_doors);
        let services = accept_all(&shared, &certificates, sockets.services, watches, &alive);
        let (reload, orders) = mpsc::channel(1);
        tokio::spawn(Arc::clone(&certificates).keep_fresh(orders, stopping.clone()));
        Ok(Running {
            shared,
            services,
            addresses,
            web_url,
            certificates,
            shutdown,
            stopping,
            doors,
            sessions,
            reload,
            handed_over: false,
        })
    }
}

/// Serves the web page; gives its address, whose port the system may have chosen.
fn serve_web((listener, token): (TcpListener, Token), store: &Store) -> Option<String> {
    let web = Web::new(store.clone(), token, listener.local_addr().ok()?);
    let url = web.url();
    tokio::spawn(web.serve(listener));
    Some(url)
}

fn open_store(settings: &Settings) -> Result<Store, StartError> {
    let options = gatepost_store::Options {
        min_free: settings.disk_floor,
        max_message: settings.message_size + mailbox::smtp::ADDED_LIMIT,
        ..Default::default()
    };
    let of_folder = |error| StartError::Store(settings.data.clone(), error);
    let store = Store::open(&settings.data, options).map_err(of_folder)?;
    let accounts = store.accounts();
    accounts
        .set_keeps_sha1(settings.keeps_sha1())
        .map_err(of_folder)?;
    Ok(store)
}

/// For upstreams that are logged in to with tokens: the accounts here, and what they have consented to.
fn open_bridge(settings: &Settings) -> Result<Option<Arc<Bridge>>, StartError> {
    if !settings.upstreams.iter().any(|it| it.oauth) {
        return Ok(None);
    }
    let bridge = Bridge::open(open_store(settings)?, &settings.data);
    let bridge = bridge.map_err(|error| StartError::Upstream(error.to_string()))?;
    Ok(Some(Arc::new(bridge)))
}

fn backend_config(settings: &Settings) -> mailbox::Config {
    mailbox::Config {
        host: settings.host.clone(),
        domains: settings.domains.clone(),
        postmaster: settings.postmaster.clone(),
        message_size: settings.message_size,
        own_from_only: settings.own_from_only,
    }
}

/// The same fault is logged once in this time; the metric counts every one.
const REPEATED_FAULT: Duration = Duration::from_secs(10);

/// Faults of the disk and the database go to the log, with their cause, and are counted.
fn report_faults(shared: &Shared) {
    let current = shared.current();
    let Behind::Mailbox(backends) = &current.behind else {
        return;
    };
    let (log, metrics) = (shared.log.clone(), Arc::clone(&shared.metrics));
    let last = Mutex::new(None);
    backends.observe_faults(move |error| {
        metrics.event("store", "fault");
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = last.is_some_and(|(before, at): (_, Instant)| {
            before == error && at.elapsed() < REPEATED_FAULT
        });
        if !repeated {
            *last = Some((error, Instant::now()));
            log.notice("store_fault", &error.to_string());
        }
    });
}

fn accept_all(
    shared: &Arc<Shared>,
    certificates: &Certificates,
    sockets: Vec<(Service, Vec<TcpListener>)>,
    (stopping, shut): (watch::Receiver<bool>, watch::Receiver<bool>),
    alive: &mpsc::Sender<()>,
) -> Vec<Listening> {
    let settings = &shared.settings;
    let door = Door::new(DoorLimits {
        total: doors::affordable_connections(settings, &shared.log),
        per_address: settings.connections_per_address,
        exempt: [
            &settings.unlimited[..],
            &settings.proxies[..],
            &settings.introducers[..],
        ]
        .concat(),
    });
    let context = Context {
        shutdown: stopping,
        limits: Limits {
            implicit_handshake: settings.handshake_time,
            starttls_handshake: settings.handshake_time,
            ..Limits::default()
        },
        handshakes: Arc::new(Semaphore::new(settings.handshakes)),
    };
    let mut services = Vec::new();
    for (service, sockets) in sockets {
        let port = sockets
            .first()
            .and_then(|socket| socket.local_addr().ok())
            .map_or(service.port, |address| address.port());
        services.push(Listening {
            name: service.name,
            port,
            tls: service.tls_words(settings.mx_requires_tls, !settings.clear_login.is_empty()),
        });
        let listener = Arc::new(Listener::new(
            service,
            Arc::clone(shared),
            certificates.service(service),
            context.clone(),
        ));
        for socket in sockets {
            let listener = Arc::clone(&listener);
            tokio::spawn(listener.accept(socket, Arc::clone(&door), alive.clone(), shut.clone()));
        }
    }
    services
}

impl Running {
    /// The services and their ports.
    pub fn services(&self) -> &[Listening] {
        &self.services
    }

    /// The addresses listened on.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The web page's address with its token, if there is one.
    pub fn web_url(&self) -> Option<&str> {
        self.web_url.as_deref()
    }

    /// The upstreams, and how words travel to them; none where the mailboxes are here.
    pub fn upstreams(&self) -> &[Spec] {
        &self.shared.settings.upstreams
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.shared.settings.data
    }

    /// The local CA's certificate, if it is used.
    pub fn ca(&self) -> Option<&Path> {
        self.certificates.local_ca()
    }

    /// A name a client on this machine can use that the certificate covers.
    pub fn client_host(&self) -> &str {
        if self.ca().is_some() {
            "localhost"
        } else {
            &self.shared.settings.host
        }
    }

    /// Writes the ready file and tells the service manager.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce_ready(&self) -> Result<(), StartError> {
        if let Some(path) = &self.shared.settings.ready_file {
            write_whole(path, &self.ready_json())
                .map_err(|error| StartError::ReadyFile(path.clone(), error))?;
        }
        if let Err(error) = gatepost_net::systemd::notify("READY=1") {
            self.shared.log.notice(
                "notify_failed",
                &format!("the service manager could not be told: {error}"),
            );
        }
        if let Err(error) = successor::tell_predecessor() {
            let text = format!("the process before this one could not be told: {error}");
            self.shared.log.notice("notify_failed", &text);
        }
        Ok(())
    }

    /// Starts `program` with the arguments of this process and its ports, to take over from it. What is wrong is said in the log.
    pub fn start_successor(&self, program: &Path) -> Option<Successor> {
        let log = &self.shared.log;
        // Two processes would write to the same mailboxes.
        let has_store = match &self.shared.current().behind {
            Behind::Mailbox(_) => true,
            Behind::Gate(gate) => gate.accounts().is_some(),
        };
        if has_store {
            log.notice(
                "upgrade_refused",
                "accounts and mailboxes here have one process at a time; restart it, with ports that the service manager holds",
            );
            return None;
        }
        match Successor::start(program, &self.doors.sockets) {
            Ok(successor) => {
                let text = format!("process {} is to take over", successor.id());
                log.notice("upgrade_begun", &text);
                Some(successor)
            }
            Err(error) => {
                self.keep_ports(&format!("{} cannot be started: {error}", program.display()));
                None
            }
        }
    }

    /// Says in the log why no other process takes over: this one goes on.
    pub fn keep_ports(&self, why: &str) {
        let text = format!("this process goes on: {why}");
        self.shared.log.notice("upgrade_failed", &text);
    }

    /// Leaves the ports to a process that is ready, and lets sessions go on until they end by themselves, or `told` does.
    pub async fn hand_over(&mut self, successor: &Successor, told: impl Future<Output = ()>) {
        self.doors.shut();
        let log = &self.shared.log;
        let text = format!("process {} has taken over", successor.id());
        log.notice("upgrade_done", &text);
        self.handed_over = true;
        // A service manager follows the process that was there first, unless it is told.
        let _ = gatepost_net::systemd::notify(&format!("MAINPID={}", successor.id()));
        tokio::select! {
            _ = self.sessions.recv() => {}
            () = told => {}
        }
    }

    fn ready_json(&self) -> String {
        let ports: serde_json::Map<String, serde_json::Value> = self
            .services
            .iter()
            .map(|service| (service.name.to_owned(), service.port.into()))
            .collect();
        let ca = self
            .ca()
            .map(|ca| std::path::absolute(ca).unwrap_or_else(|_| ca.to_path_buf()));
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "ports": ports,
            "ca": ca.map(|ca| ca.display().to_string()),
        })
        .to_string()
    }

    /// Reads the certificates again, without touching a session.
    pub fn reload(&self) {
        // One order waiting is enough: it reads everything.
        let _ = self.reload.try_send(());
    }

    /// Puts other settings in force for the sessions to come; the others go on as they began. What cannot be followed without a
    /// restart, and why settings are not taken, is said in the log.
    pub fn change(&self, settings: Settings) {
        let (shared, stopping) = (Arc::clone(&self.shared), self.stopping.clone());
        // The upstreams are asked first, and some may be slow.
        tokio::spawn(async move { shared.change(settings, &stopping).await });
    }

    /// Says in the log that settings could not be read, and why: those before stay in force.
    pub fn refuse_change(&self, why: &str) {
        self.shared.refuse_change(why);
    }

    /// Says farewell (421, BYE) to every session, lets what is being stored be finished, and waits for the sessions at the
    /// longest for `patience`.
    pub async fn stop(mut self, patience: Duration) {
        if !self.handed_over {
            let _ = gatepost_net::systemd::notify("STOPPING=1");
        }
        self.doors.shut();
        let _ = self.shutdown.send(true);
        if tokio::time::timeout(patience, self.sessions.recv())
            .await
            .is_err()
        {
            self.shared.log.notice(
                "stopped_early",
                "some sessions did not end in time and were cut off",
            );
        }
        // It is the other process' now.
        let ready_file = self.shared.settings.ready_file.as_ref();
        if let Some(path) = ready_file.filter(|_| !self.handed_over) {
            let _ = std::fs::remove_file(path);
        }
        self.shared.log.flush();
    }
}

/// Writes a file so that a reader sees all of it or nothing.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = PathBuf::from(path).into_os_string();
    beside.push(".new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}
