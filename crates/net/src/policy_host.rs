//! Policies of MTA-STS over HTTPS, for [`gatepost_trust::mta_sts`] [STS-02].
//!
//! The policy host is verified by PKIX for exactly its name, expired certificates are refused, only status 200 counts, and no
//! redirect is followed: all this is [`crate::http`]'s. The time and the size are those of RFC 8461 3.3.

use std::sync::Arc;

use gatepost_trust::dns::Name;
use gatepost_trust::mta_sts::{FETCH_TIME, Fetch, FetchError, MAX_POLICY, PATH};
use gatepost_trust::verify::{ClientTls, Roots};

use crate::client::dial::Dialer;
use crate::client::{Failure, Options};
use crate::http::{Access, HttpFailure, Limits, Url, get, terms};

/// The port of HTTPS.
const PORT: u16 = 443;

/// Fetches policies.
pub struct PolicyHosts {
    dialer: Dialer,
    roots: Arc<Roots>,
    options: Arc<Options>,
    port: u16,
}

impl PolicyHosts {
    /// Fetches with this dialer, and trusts these authorities.
    pub fn new(dialer: Dialer, roots: Arc<Roots>) -> Self {
        Self {
            dialer,
            roots,
            options: Arc::new(Options::default()),
            port: PORT,
        }
    }

    /// Another port than 443: for tests, and for those who forward it.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

impl Fetch for PolicyHosts {
    async fn fetch(&self, host: &Name) -> Result<Vec<u8>, FetchError> {
        let url = Url {
            tls: true,
            host: host.to_string(),
            port: self.port,
            target: PATH.to_owned(),
        };
        let terms = terms(&url, Arc::clone(&self.roots)).map_err(|_| FetchError::Unreachable)?;
        let limits = Limits {
            time: FETCH_TIME,
            body: MAX_POLICY,
        };
        let tls = ClientTls::new(terms);
        let fetching = get(
            &url,
            Access::Verified(&tls),
            &self.dialer,
            &self.options,
            limits,
        );
        match Box::pin(fetching).await {
            Ok(response) => Ok(response.body),
            Err(failure) => Err(told(&failure)),
        }
    }
}

fn told(failure: &HttpFailure) -> FetchError {
    match failure {
        HttpFailure::Timeout => FetchError::TimedOut,
        HttpFailure::Status(status) => FetchError::Status(*status),
        HttpFailure::NotVerified | HttpFailure::Connection(Failure::Unverified(_)) => {
            FetchError::Certificate
        }
        HttpFailure::Connection(failure) if failure.label() == "E-TOO-MUCH" => FetchError::TooLarge,
        HttpFailure::Connection(Failure::Session(_)) => FetchError::NotText,
        HttpFailure::Connection(_) | HttpFailure::Scheme => FetchError::Unreachable,
    }
}
