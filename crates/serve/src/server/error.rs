//! Why a server does not start: what is wrong, who is at fault, what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use gatepost_trust::identity::IdentityError;
use gatepost_trust::local_ca::LocalCaError;

use crate::web::TokenError;

/// Why a server does not start.
#[derive(Debug)]
pub enum StartError {
    /// The data folder's store cannot be opened.
    Store(PathBuf, gatepost_store::Error),
    /// An upstream cannot be used as it is described.
    Upstream(String),
    /// The certificate in this chain file, with its key, cannot be used.
    Certificate(PathBuf, IdentityError),
    /// The authorities for clients' certificates, or what they have revoked, cannot be used.
    ClientCa(String),
    /// The local CA cannot be made or read.
    LocalCa(LocalCaError),
    /// The TLS library lacks what the profile needs.
    Tls,
    /// A port cannot be had.
    Bind(&'static str, SocketAddr, io::Error),
    /// A port cannot be had because another of the configured addresses covers it.
    Overlap(&'static str, SocketAddr),
    /// The web page would be reachable from other machines, in clear.
    WebNotLoopback(SocketAddr),
    /// The web page has no token.
    WebToken(TokenError),
    /// A standard port plus the offset is beyond 65535.
    PortOffset(u16),
    /// The sockets handed over by the service manager cannot be used.
    Inherited(io::Error),
    /// The service manager has handed over a socket on this port, which no service has with this offset.
    Unwanted(u16, u16),
    /// The ready file cannot be written.
    ReadyFile(PathBuf, io::Error),
}

impl StartError {
    /// Whether the operator's configuration is at fault (exit code 2) rather than the machine (3).
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Upstream(_)
                | Self::ClientCa(_)
                | Self::Certificate(..)
                | Self::WebNotLoopback(_)
                | Self::Overlap(..)
                | Self::PortOffset(_)
                | Self::Unwanted(..)
        )
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(folder, error) => write!(
                f,
                "cannot open the mail store in {}: {error}",
                folder.display()
            ),
            Self::Upstream(text) => f.write_str(text),
            Self::Certificate(chain, error) => write!(f, "{}: {error}", chain.display()),
            Self::ClientCa(text) => write!(f, "login.client_ca, login.client_crl: {text}"),
            Self::LocalCa(error) => {
                write!(f, "the local certificate authority cannot be used: {error}")
            }
            Self::Tls => f.write_str(
                "the TLS library cannot be set up with the required suites; this build is damaged",
            ),
            Self::Bind(service, address, error) => {
                write!(f, "cannot listen on {address} for {service}: {error}")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse if *service == "metrics" => {
                        f.write_str("; another program has this port: choose another one with --metrics")
                    }
                    io::ErrorKind::AddrInUse if *service == "web" => {
                        f.write_str("; another program has this port: choose another one with --web")
                    }
                    io::ErrorKind::AddrInUse => f.write_str("; another program has this port: stop it, or choose another --port-offset"),
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; ports under 1024 need a right (see contrib/systemd), or choose another --port-offset")
                    }
                    io::ErrorKind::AddrNotAvailable => f.write_str("; this machine does not have that address"),
                    _ => Ok(()),
                }
            }
            Self::Overlap(service, address) => write!(
                f,
                "cannot listen on {address} for {service}: another --bind covers that address; leave one of them out"
            ),
            Self::WebNotLoopback(address) => write!(
                f,
                "the web page shows mail in clear and listens on loopback only, not on {address}; take 127.0.0.1, and reach it \
                 from elsewhere through ssh -L"
            ),
            Self::WebToken(error) => error.fmt(f),
            Self::PortOffset(offset) => write!(
                f,
                "with --port-offset {offset} a port is beyond 65535; the greatest offset is 64540"
            ),
            Self::Inherited(error) => write!(
                f,
                "the sockets handed over by the service manager cannot be used: {error}"
            ),
            Self::Unwanted(port, offset) => write!(
                f,
                "the service manager handed over a socket on port {port}, which is no service's with server.port_offset = {offset}; \
                 for the real ports set it to 0"
            ),
            Self::ReadyFile(path, error) => {
                write!(f, "cannot write the ready file {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for StartError {}
