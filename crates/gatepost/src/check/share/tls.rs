//! TLS to the database: our engine's profile and our judge of certificates, under the name in the URL.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use gatepost_trust::verify::{Attempt, ClientTls, Reference, Roots, Shares, Terms};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

/// Makes connections under the terms of a host.
#[derive(Clone)]
pub(super) struct Verified(pub(super) Arc<Roots>);

/// TLS came to an end because of what the server is or cannot.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

impl MakeTlsConnect<Socket> for Verified {
    type Stream = Channel;
    type TlsConnect = Handshake;
    type Error = Refused;

    /// Asked for before it is known whether there will be TLS at all, for a socket file too, whose host has no name: what stands in the way
    /// is told when the handshake is to begin.
    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Refused> {
        Ok(Handshake(self.attempt(host)))
    }
}

impl Verified {
    fn attempt(&self, host: &str) -> Result<Attempt, Refused> {
        let refused = |error: &dyn fmt::Display| Refused(error.to_string());
        let reference = Reference::host(host).map_err(|error| refused(&error))?;
        let tls = ClientTls::new(Terms::for_host(reference, Arc::clone(&self.0)));
        tls.attempt(SystemTime::now(), Shares::Hybrid)
            .map_err(|error| refused(&error))
    }
}

/// A handshake to come, or why there can be none.
pub(super) struct Handshake(Result<Attempt, Refused>);

impl TlsConnect<Socket> for Handshake {
    type Stream = Channel;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Channel, Trouble>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let Self(attempt) = self;
        Box::pin(async move {
            let attempt = attempt?;
            let connector = TlsConnector::from(Arc::clone(&attempt.config));
            match connector.connect(attempt.name.clone(), socket).await {
                Ok(stream) => Ok(Channel {
                    stream,
                    end_point: attempt.end_point_hash(),
                }),
                Err(error) => Err(reason(&attempt, error)),
            }
        })
    }
}

/// The judge's reason says more than the engine's.
fn reason(attempt: &Attempt, error: io::Error) -> Trouble {
    let verdict = attempt.verdict();
    if let Some(reason) = verdict.as_ref().and_then(|it| it.reason()) {
        return Box::new(Refused(reason.to_string()));
    }
    match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => Box::new(Refused(error.to_string())),
        _ => Box::new(error),
    }
}

/// The encrypted connection.
pub(super) struct Channel {
    stream: Encrypted<Socket>,
    end_point: Option<Box<[u8]>>,
}

impl TlsStream for Channel {
    /// A password proof is bound to the server's certificate (RFC 5929 4, RFC 5802 6).
    fn channel_binding(&self) -> ChannelBinding {
        match &self.end_point {
            Some(hash) => ChannelBinding::tls_server_end_point(hash.to_vec()),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
