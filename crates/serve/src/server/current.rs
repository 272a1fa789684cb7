//! What new sessions are served with, and how it changes while the server runs.
//!
//! ```text
//!   settings read again ──▶ compare ──▶ open what they name ──▶ look at the upstreams ──▶ put in force
//!                              │              │ wrong: refused, nothing has changed
//!                              └─ what needs a restart is named, and stays as it was
//! ```
//!
//! A session holds what it began with: its gate, its pool, its upstream. So what is put in force counts for the sessions after
//! it, and those before go on to their end. Upstreams that are there before and after keep what is known of them, and logins
//! are slowed down as before: a reload forgives nobody.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::Behind;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::services::{Protocol, SERVICES};
use crate::settings::Settings;
use crate::upstream::egress::Egress;

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// As at the start. What of it can change stands in [`Current`].
    pub(crate) settings: Arc<Settings>,
    pub(crate) log: Log,
    pub(crate) metrics: Arc<Metrics>,
    current: RwLock<Arc<Current>>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

/// What the next session is served with.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) settings: Arc<Settings>,
    pub(crate) behind: Behind,
    pub(crate) egress: Option<Arc<Egress>>,
    /// How often it has changed.
    pub(crate) number: u64,
}

impl Shared {
    pub(super) fn new(
        settings: Arc<Settings>,
        behind: Behind,
        egress: Option<Arc<Egress>>,
        log: Log,
        metrics: Arc<Metrics>,
    ) -> Self {
        let current = Current {
            settings: Arc::clone(&settings),
            behind,
            egress,
            number: 0,
        };
        Self {
            settings,
            log,
            metrics,
            current: RwLock::new(Arc::new(current)),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// What the next session is served with.
    pub(crate) fn current(&self) -> Arc<Current> {
        // It is replaced as a whole: whatever happened to a writer, it is good.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Puts other settings in force for the sessions to come, as far as that can be done without a restart. Settings that cannot
    /// be used change nothing.
    pub(super) async fn change(&self, wanted: Settings, stopping: &watch::Receiver<bool>) {
        let _turn = self.turn.lock().await;
        let before = self.current();
        let fixed = needing_restart(&before.settings, &wanted);
        if !fixed.is_empty() {
            let text = format!(
                "what is new about {} counts from the next start",
                fixed.join(", ")
            );
            self.log.notice("settings_need_restart", &text);
        }
        let settings = Arc::new(taken_over(&before.settings, wanted, &fixed));
        let next = match before.successor(settings) {
            Ok(next) => next,
            Err(text) => {
                self.refuse_change(&text);
                return;
            }
        };
        next.look().await;
        next.keep_looking(stopping);
        next.warn(&self.log);
        let count = next.settings.upstreams.len();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        before.retire();
        let text = if count == 0 {
            "settings were read again; sessions go on as they began".to_owned()
        } else {
            format!(
                "settings were read again; new sessions go to {count} upstreams, the others go on as they began"
            )
        };
        self.log.notice("settings_loaded", &text);
    }

    /// Says why settings are not taken.
    pub(super) fn refuse_change(&self, why: &str) {
        self.metrics.event("settings", "settings_not_loaded");
        let text = format!("{why}; the previous settings stay in force");
        self.log.notice("settings_not_loaded", &text);
    }
}

impl Current {
    /// The same with other settings; nothing of it is in force yet.
    fn successor(&self, settings: Arc<Settings>) -> Result<Self, String> {
        let behind = match &self.behind {
            Behind::Mailbox(mailboxes) => Behind::Mailbox(Arc::clone(mailboxes)),
            Behind::Gate(gate) => {
                Behind::Gate(gate.successor(&settings.upstreams, &settings.route)?)
            }
        };
        let egress = match (&self.egress, &settings.egress) {
            (Some(egress), Some(settings)) => Some(egress.successor(settings)?),
            _ => None,
        };
        Ok(Self {
            settings,
            behind,
            egress,
            number: self.number + 1,
        })
    }

    pub(super) async fn look(&self) {
        if let Behind::Gate(gate) = &self.behind {
            gate.look().await;
        }
        if let Some(egress) = &self.egress {
            egress.gate.look().await;
        }
    }

    pub(super) fn keep_looking(&self, stopping: &watch::Receiver<bool>) {
        if let Behind::Gate(gate) = &self.behind {
            gate.keep_looking(stopping);
        }
        if let Some(egress) = &self.egress {
            egress.gate.keep_looking(stopping);
        }
    }

    /// A weakened configuration says so every time it is used [POP-TLS-07]: what it lets in is named.
    pub(super) fn warn(&self, log: &Log) {
        if let Some(egress) = &self.settings.egress {
            let text = format!(
                "egress.networks may hand in mail without TLS and without a login, as {}; it leaves through {} ({})",
                egress.senders.join(", "),
                egress.upstream.place(),
                egress.upstream.tls_words()
            );
            log.notice("egress_open", &text);
        }
        if !self.settings.clear_login.is_empty() {
            let text = "login.clear_networks lets clients of those networks log in without TLS; everyone on the path can read their passwords";
            log.notice("clear_login_allowed", text);
        }
    }

    /// Asks its upstreams nothing any more; sessions that use them go on.
    fn retire(&self) {
        if let Behind::Gate(gate) = &self.behind {
            gate.retire();
        }
        if let Some(egress) = &self.egress {
            egress.gate.retire();
        }
    }
}

/// The protocols that have ports open.
fn served(settings: &Settings) -> BTreeSet<&'static str> {
    let services = SERVICES.iter();
    let open = services.filter(|it| settings.serves(it.protocol));
    open.map(|it| it.name).collect()
}

/// The directives that have changed and cannot be followed while the server runs.
fn needing_restart(before: &Settings, wanted: &Settings) -> Vec<&'static str> {
    let listens = |it: &Settings| it.egress.as_ref().map(|it| it.listen.clone());
    let is_gate = |it: &Settings| !it.upstreams.is_empty();
    let tests = [
        ("server.data", before.data != wanted.data),
        ("server.host", before.host != wanted.host),
        ("server.domains", before.domains != wanted.domains),
        ("server.bind", before.bind != wanted.bind),
        (
            "server.port_offset",
            before.port_offset != wanted.port_offset,
        ),
        ("server.postmaster", before.postmaster != wanted.postmaster),
        (
            "tls.chains and tls.keys",
            before.certificates != wanted.certificates,
        ),
        (
            "tls.strict_names",
            before.strict_names != wanted.strict_names,
        ),
        (
            "smtp.message_size",
            before.message_size != wanted.message_size,
        ),
        (
            "submission.from",
            before.own_from_only != wanted.own_from_only,
        ),
        ("mailbox.quota", before.quota != wanted.quota),
        ("mailbox.disk_floor", before.disk_floor != wanted.disk_floor),
        (
            "limits.connections",
            before.connections != wanted.connections,
        ),
        (
            "limits.connections_per_address",
            before.connections_per_address != wanted.connections_per_address,
        ),
        ("limits.handshakes", before.handshakes != wanted.handshakes),
        (
            "limits.handshake_time",
            before.handshake_time != wanted.handshake_time,
        ),
        (
            "limits.unlimited_networks",
            before.unlimited != wanted.unlimited,
        ),
        ("login.client_ca", before.client_ca != wanted.client_ca),
        ("login.client_crl", before.client_crl != wanted.client_crl),
        ("login.mechanisms", before.mechanisms != wanted.mechanisms),
        // Ports are opened at the start, and what stands behind an open one cannot go away.
        (
            "gate.upstreams and gate.route",
            is_gate(before) != is_gate(wanted) || served(before) != served(wanted),
        ),
        ("egress.listen", listens(before) != listens(wanted)),
        ("proxy.networks", before.proxies != wanted.proxies),
        (
            "proxy.services",
            before.proxied_services != wanted.proxied_services,
        ),
        (
            "proxy.xclient_networks",
            before.introducers != wanted.introducers,
        ),
        ("log.format", before.log != wanted.log),
        ("web.listen", before.web != wanted.web),
        ("metrics.listen", before.metrics != wanted.metrics),
    ];
    let changed = tests.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(name, _)| name).collect()
}

/// The settings that will be in force: what can be followed, and the rest as before.
fn taken_over(before: &Settings, wanted: Settings, fixed: &[&str]) -> Settings {
    let mut settings = before.clone();
    if !fixed.contains(&"gate.upstreams and gate.route") {
        settings.upstreams = wanted.upstreams;
        settings.route = wanted.route;
    }
    if !fixed.contains(&"egress.listen") {
        settings.egress = wanted.egress;
    }
    settings.mx_requires_tls = wanted.mx_requires_tls;
    settings.floor = wanted.floor;
    settings.floor_services = wanted.floor_services;
    settings.hide_client = wanted.hide_client;
    settings.clear_login = wanted.clear_login;
    settings
}

/// The way out, if this is its service.
pub(super) fn egress_of(
    service: crate::services::Service,
    current: &Current,
) -> Option<&Arc<Egress>> {
    let egress = current.egress.as_ref();
    egress.filter(|_| service == crate::services::EGRESS)
}

/// How often the upstreams' offer has changed.
pub(super) fn changes(service: crate::services::Service, current: &Current) -> u64 {
    if let Some(egress) = egress_of(service, current) {
        return egress.pool.changes();
    }
    match &current.behind {
        Behind::Mailbox(_) => 0,
        Behind::Gate(gate) => {
            let protocol: Protocol = service.protocol;
            gate.pool(protocol).map_or(0, |it| it.changes())
        }
    }
}
