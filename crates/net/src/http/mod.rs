//! A small HTTP client: one GET, for the policies of MTA-STS, autoconfiguration files and lists of revoked certificates; one POST of a
//! form, for token servers.
//!
//! - `https` is verified by the caller's terms; a response that came over a channel that is not verified is thrown away. `http`
//!   only where the caller says so ([`Access::Plain`]): for content that is signed itself.
//! - No redirects, no proxies of its own, no cookies, no compression, no connection kept. HTTP/1.1 alone (RFC 9112).
//! - Strict: a head by the grammar, one clear length of the body. A body that ends with the connection needs the end to be
//!   clean: inside TLS that is `close_notify` [TLS-CLOSE-01].
//! - Limits: 64 KiB of body and 60 s in all, unless the caller says otherwise; 16 KiB of head.
//!
//! The dialogue is a session like any other ([`crate::client::Session`] drives it).

mod body;
mod crl;
mod folder;
mod head;
mod machine;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gatepost_trust::verify::{Alpn, BadName, ClientTls, Reference, Roots, Terms};
use gatepost_wire::client::{Blame, ExitClass};
use gatepost_wire::secret::Secret;
use tokio::time::timeout;

use crate::client::dial::{Dialer, Target};
use crate::client::{Channel, Failure, Options, Start, open};
pub use crl::CrlFetcher;
pub use head::Head;
use machine::{Get, GetFresh};
pub use url::{BadUrl, Url};

/// How a URL may be fetched.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    /// By `https`, under these terms.
    Verified(&'a ClientTls),
    /// By `http`: anyone on the path can change what comes.
    Plain,
}

/// Limits of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For everything, from the name to the last octet.
    pub time: Duration,
    /// The most octets of body.
    pub body: usize,
}

impl Default for Limits {
    /// 60 s, 64 KiB.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            body: 64 * 1024,
        }
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status and header fields.
    pub head: Head,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFailure {
    /// The URL's scheme is not the one allowed.
    Scheme,
    /// The connection, TLS or the dialogue failed.
    Connection(Failure),
    /// It took too long.
    Timeout,
    /// The server's status is not 200; a redirect is none either.
    Status(u16),
    /// The channel is not verified.
    NotVerified,
}

impl HttpFailure {
    /// A stable label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Scheme => "E-HTTP-SCHEME",
            Self::Connection(it) => it.label(),
            Self::Timeout => "E-HTTP-TIMEOUT",
            Self::Status(_) => "E-HTTP-STATUS",
            Self::NotVerified => "E-NOT-VERIFIED",
        }
    }

    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Scheme => Blame::Misuse,
            Self::Connection(it) => it.blame(),
            Self::Timeout => Blame::Network,
            Self::Status(_) => Blame::Peer,
            Self::NotVerified => Blame::Policy,
        }
    }

    /// The class of the exit code.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Connection(it) => it.exit_class(),
            Self::Status(500..=599) | Self::Timeout => ExitClass::Undecided,
            Self::Status(_) | Self::NotVerified => ExitClass::Finding,
            Self::Scheme => ExitClass::Usage,
        }
    }
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("the URL has another scheme than is allowed here"),
            Self::Connection(it) => it.fmt(f),
            Self::Timeout => f.write_str("the server did not send it in time"),
            Self::Status(status @ 300..=399) => {
                write!(
                    f,
                    "the server redirects (status {status}), which is not followed"
                )
            }
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::NotVerified => f.write_str("it is not known who the server is"),
        }
    }
}

impl std::error::Error for HttpFailure {}

/// The usual terms for a URL: the host, verified by these authorities [TLS-SNI-01].
pub fn terms(url: &Url, roots: Arc<Roots>) -> Result<Terms, BadName> {
    Ok(Terms {
        alpn: Alpn::Http,
        ..Terms::for_host(Reference::host(&url.host)?, roots)
    })
}

/// Fetches a URL.
pub async fn get(
    url: &Url,
    access: Access<'_>,
    dialer: &Dialer,
    options: &Arc<Options>,
    limits: Limits,
) -> Result<Response, HttpFailure> {
    let fetching = fetch(url, access, dialer, options, (limits, None));
    let fetched = timeout(limits.time, Box::pin(fetching)).await;
    let response = fetched.unwrap_or(Err(HttpFailure::Timeout))?;
    match response.head.status {
        200 => Ok(response),
        status => Err(HttpFailure::Status(status)),
    }
}

/// Posts a form by `https`. What comes is the answer, whatever its status: token servers say in the body what is wrong.
pub async fn post(
    url: &Url,
    tls: &ClientTls,
    dialer: &Dialer,
    options: &Arc<Options>,
    (limits, form): (Limits, &Secret<String>),
) -> Result<Response, HttpFailure> {
    let access = Access::Verified(tls);
    let fetching = fetch(url, access, dialer, options, (limits, Some(form)));
    let fetched = timeout(limits.time, Box::pin(fetching)).await;
    fetched.unwrap_or(Err(HttpFailure::Timeout))
}

async fn fetch(
    url: &Url,
    access: Access<'_>,
    dialer: &Dialer,
    options: &Arc<Options>,
    (limits, form): (Limits, Option<&Secret<String>>),
) -> Result<Response, HttpFailure> {
    let fresh = || match form {
        Some(form) => GetFresh::form(url, limits, form.expose()),
        None => GetFresh::new(url, limits),
    };
    let target = Target::new(url.host.clone(), url.port);
    // In clear no terms are ever asked; there have to be some.
    let nobody;
    let (tls, start): (&ClientTls, &(dyn Fn() -> Start<Get> + Sync)) = match access {
        Access::Verified(tls) if url.tls => (tls, &|| Start::Implicit(fresh())),
        Access::Plain if !url.tls => {
            let terms = terms(url, Arc::new(Roots::none())).map_err(|_| HttpFailure::Scheme)?;
            nobody = ClientTls::new(terms);
            (&nobody, &|| Start::Clear(fresh().begin()))
        }
        _ => return Err(HttpFailure::Scheme),
    };
    let session = open(dialer, &target, tls, options, start).await;
    let mut session = session.map_err(HttpFailure::Connection)?;
    if url.tls && !matches!(session.channel(), Channel::Verified(_)) {
        return Err(HttpFailure::NotVerified);
    }
    let response = session.next().await.map_err(HttpFailure::Connection)?;
    session.finish().await;
    // A session that ends in order has given its answer before.
    response.map(|it| *it).ok_or(HttpFailure::Timeout)
}
