//! The way out for devices: printers, scanners and old programs that speak no TLS, or an old one, hand in mail here, and it leaves
//! through a verified connection, with a login that the devices do not know.
//!
//! What is weak about it is bounded by name: addresses to listen on, networks to listen to, senders that may be used. A listener
//! without one of these does not start.

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_net::network::Network;
use gatepost_wire::client::Credentials;
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::secret::Secret;
use gatepost_wire::smtp::path::ReversePath;

use super::pool::Pool;
use super::route::Route;
use super::url::Spec;
use super::{Gate, Log, Metrics};
use crate::services::Protocol;

/// What the operator says about it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses to listen on.
    pub listen: Vec<std::net::SocketAddr>,
    /// Who may hand in mail.
    pub networks: Vec<Network>,
    /// Where it goes.
    pub upstream: Spec,
    /// With what login.
    pub login: Option<(String, Secret<String>)>,
    /// As whom it may be sent: addresses, or `@domain`.
    pub senders: Vec<String>,
}

/// The way out.
#[derive(Debug)]
pub struct Egress {
    pub(crate) gate: Arc<Gate>,
    pub(crate) pool: Arc<Pool>,
    pub(super) credentials: Option<Credentials>,
    networks: Vec<Network>,
    senders: Vec<String>,
}

impl Egress {
    /// Makes it.
    ///
    /// # Errors
    /// What is wrong with the upstream's description, in words for the operator.
    pub fn new(
        host: String,
        settings: &Settings,
        log: Log,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, String> {
        let spec = settings.upstream.clone();
        let spec = std::slice::from_ref(&spec);
        let gate = Gate::new(host, spec, &Route::Any, (log, metrics), None)?;
        Self::with(gate, settings)
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// As of [`Egress::new`].
    pub fn successor(&self, settings: &Settings) -> Result<Arc<Self>, String> {
        let spec = std::slice::from_ref(&settings.upstream);
        Self::with(self.gate.successor(spec, &Route::Any)?, settings)
    }

    fn with(gate: Arc<Gate>, settings: &Settings) -> Result<Arc<Self>, String> {
        let pool = gate
            .pool(Protocol::Submission)
            .map(Arc::clone)
            .ok_or("egress.upstream must be one for mail: smtp or submission")?;
        let credentials = settings.login.as_ref().map(|(user, password)| {
            Credentials::password(user.clone(), password.expose().clone())
                .allow(Mechanism::FOR_CLIENTS.to_vec())
        });
        Ok(Arc::new(Self {
            gate,
            pool,
            credentials,
            networks: settings.networks.clone(),
            senders: settings
                .senders
                .iter()
                .map(|it| it.to_lowercase())
                .collect(),
        }))
    }

    /// Whether mail is taken from this address.
    pub(crate) fn listens_to(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|it| it.contains(address))
    }

    /// Whether mail may be sent as this. The null path is nobody's: devices have no bounces to send.
    pub(super) fn may_send_as(&self, path: &ReversePath) -> bool {
        let ReversePath::Mailbox(mailbox) = path else {
            return false;
        };
        let domain = format!("@{}", mailbox.domain.to_lowercase());
        let address = format!("{}{domain}", mailbox.local.to_lowercase());
        self.senders
            .iter()
            .any(|it| *it == domain || *it == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogFormat;

    #[tokio::test]
    async fn only_listed_senders_and_networks() {
        let settings = Settings {
            listen: Vec::new(),
            networks: vec![Network::parse("192.0.2.0/24").unwrap()],
            upstream: Spec::parse("submissions://mail.example?pin=sha256-spki:abababababababababababababababababababababababababababababababab").unwrap(),
            login: None,
            senders: vec!["printer@example.org".into(), "@Scan.example.org".into()],
        };
        let log = Log::to(LogFormat::Json, std::io::sink());
        let egress = Egress::new("h".into(), &settings, log, Arc::new(Metrics::new())).unwrap();
        assert!(egress.listens_to("192.0.2.9".parse().unwrap()));
        assert!(!egress.listens_to("192.0.3.9".parse().unwrap()));
        for (sender, good) in [
            ("<Printer@example.org>", true),
            ("<any@scan.example.org>", true),
            ("<boss@example.org>", false),
            ("<printer@example.org.evil.test>", false),
            ("<>", false),
        ] {
            let path = ReversePath::parse(sender).unwrap();
            assert_eq!(egress.may_send_as(&path), good, "{sender}");
        }
    }
}
