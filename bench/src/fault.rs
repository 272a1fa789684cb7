//! What can go wrong while measuring, by blame. A fault in one peer skips that peer and nothing else.

use std::{fmt, io};

use gatepost_trust::identity::IdentityError;
use gatepost_trust::profile::ProfileError;

/// Why a measurement did not happen.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The machine lacks this program.
    Missing(String),
    /// This peer only starts as root.
    NeedsRoot(&'static str),
    /// The operating system refused: what was being done, and its answer.
    Local(&'static str, io::Error),
    /// A program ended before it was ready; its log's last lines.
    Died(&'static str, String),
    /// A server was not ready in time.
    Late(&'static str),
    /// The server answered something else than the dialogue needs.
    Reply {
        /// What should have come.
        wanted: &'static str,
        /// What came.
        got: String,
    },
    /// The server sent bytes in clear behind its answer to STARTTLS.
    Injected,
    /// The TLS engine refused.
    Tls(rustls::Error),
    /// A certificate or key file could not be read.
    Pem(rustls_pki_types::pem::Error),
    /// gatepost would not load the certificate.
    Identity(IdentityError),
    /// gatepost's TLS profile cannot be built.
    Profile(ProfileError),
    /// gatepost's TLS profile has no certificate for this client.
    NoCertificate,
    /// Making a certificate failed.
    Certificate(rcgen::Error),
    /// The server negotiated something else than the figure is about.
    Negotiated(String),
    /// A JSON file does not say what it should.
    Json(serde_json::Error),
    /// Acknowledged messages are not all there.
    Lost {
        /// Messages answered with 250.
        acknowledged: u64,
        /// Messages found.
        found: u64,
    },
    /// The limit on open files is lower than the sessions asked for.
    Files {
        /// Needed by each end.
        needed: u64,
        /// Allowed.
        allowed: u64,
    },
}

impl Fault {
    /// Wraps an operating system error with what was being done.
    pub(crate) fn at(doing: &'static str) -> impl Fn(io::Error) -> Fault {
        move |error| Fault::Local(doing, error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing(program) => write!(f, "{program} is not installed or not built"),
            Fault::NeedsRoot(peer) => write!(f, "{peer} starts only as root"),
            Fault::Local(doing, error) => write!(f, "{doing}: {error}"),
            Fault::Died(who, log) => write!(f, "{who} ended before it was ready: {log}"),
            Fault::Late(who) => write!(f, "{who} was not ready in time"),
            Fault::Reply { wanted, got } => write!(f, "wanted {wanted}, got {got:?}"),
            Fault::Injected => write!(f, "bytes in clear behind the answer to STARTTLS"),
            Fault::Tls(error) => write!(f, "TLS: {error}"),
            Fault::Pem(error) => write!(f, "PEM: {error}"),
            Fault::Identity(error) => write!(f, "gatepost's certificate check: {error}"),
            Fault::Profile(error) => write!(f, "{error}"),
            Fault::NoCertificate => write!(f, "no certificate fits this client"),
            Fault::Certificate(error) => write!(f, "certificate: {error}"),
            Fault::Negotiated(what) => write!(f, "negotiated {what}"),
            Fault::Json(error) => write!(f, "JSON: {error}"),
            Fault::Lost {
                acknowledged,
                found,
            } => {
                write!(f, "{acknowledged} messages acknowledged, {found} found")
            }
            Fault::Files { needed, allowed } => {
                write!(f, "needs {needed} open files, {allowed} are allowed")
            }
        }
    }
}

impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        Fault::Tls(error)
    }
}

impl From<rustls_pki_types::pem::Error> for Fault {
    fn from(error: rustls_pki_types::pem::Error) -> Self {
        Fault::Pem(error)
    }
}

impl From<IdentityError> for Fault {
    fn from(error: IdentityError) -> Self {
        Fault::Identity(error)
    }
}

impl From<ProfileError> for Fault {
    fn from(error: ProfileError) -> Self {
        Fault::Profile(error)
    }
}

impl From<rcgen::Error> for Fault {
    fn from(error: rcgen::Error) -> Self {
        Fault::Certificate(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Fault::Json(error)
    }
}
