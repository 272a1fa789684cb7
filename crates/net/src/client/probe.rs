//! A connection for looking at a server, not for using it: no session, no credential, no mail.
//!
//! A session obeys the rules and ends where the server breaks them. An examiner wants to see what happens then, octet by octet: what stands
//! behind the answer to STARTTLS, what comes unasked after the handshake, what an odd hello is answered with. So this is the wire
//! alone. The seam holds here too: a handshake begins with nothing in hand, for what was read in clear is the examiner's, to be told
//! and never to be given to TLS [SMTP-STARTTLS-20].

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatepost_trust::verify::{ClientTls, Evidence, HostName, Shares, Verdict};
use gatepost_wire::seam::TlsFacts;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::time::{timeout, timeout_at};

use super::dial::{DialFailure, Dialer, Target};
use super::leg::LegFailure;
use crate::connection::{Connection, Link, Read};
use crate::failure::TlsFailure;
use crate::handshake::client::{Failed, Insist, connect};

/// The most that is kept of what a server says without being asked to stop.
const MOST: usize = 1024 * 1024;

/// A connection without a session.
pub struct Probe {
    connection: Connection,
    unread: Vec<u8>,
    address: SocketAddr,
    asked: Arc<Asked>,
}

/// Shows no certificate, and remembers that one was asked for.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// A handshake that came to an end.
#[derive(Debug, Clone)]
pub struct Shaken {
    /// What was negotiated.
    pub facts: TlsFacts,
    /// What the server showed of itself.
    pub evidence: Evidence,
    /// What the judge made of it.
    pub verdict: Option<Verdict>,
}

/// Why there is no TLS.
#[derive(Debug, Clone)]
pub enum ShakeFailure {
    /// There were words in clear in hand: the examiner's to tell.
    Words,
    /// The first octets that came are not TLS: their beginning.
    NotTls(Vec<u8>),
    /// TLS failed; with the chain, if it came as far.
    Tls(TlsFailure, Option<Box<Evidence>>),
}

impl Probe {
    /// Connects.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn dial(dialer: &Dialer, target: &Target) -> Result<Self, DialFailure> {
        let reached = dialer.dial(target).await?;
        Ok(Self {
            connection: Connection::new(reached.stream),
            unread: Vec::new(),
            address: reached.address,
            asked: Arc::default(),
        })
    }

    /// Whom it goes to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether TLS is up.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.connection.link, Link::Encrypted(_))
    }

    /// Whether a handshake, finished or not, came as far as the server asking for a certificate of ours (RFC 9846 4.3.2, RFC 5246 7.4.4). It is
    /// shown none, unless the terms have one; then this tells nothing.
    pub fn asks_certificate(&self) -> bool {
        self.asked.0.load(Ordering::Relaxed)
    }

    /// What was received and not taken yet. Whoever understands a part of it takes that out.
    pub fn received(&mut self) -> &mut Vec<u8> {
        &mut self.unread
    }

    /// Writes all of `output` in one call to the network, if it takes it.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn write(&mut self, output: &[u8], limit: Duration) -> Result<(), LegFailure> {
        let unread = &mut self.unread;
        let sink = &mut |bytes: &[u8]| unread.extend_from_slice(bytes);
        let mut output = output.to_vec();
        Ok(self
            .connection
            .write_hearing(&mut output, limit, sink)
            .await?)
    }

    /// Waits for more, at the longest until `until`; it is in [`Probe::received`] then.
    ///
    /// # Errors
    /// Nothing more will come, or nothing came in time.
    pub async fn read(&mut self, until: Instant) -> Result<(), LegFailure> {
        if self.unread.len() > MOST {
            return Err(LegFailure::Broken);
        }
        // Who never pauses is ready to be read at every deadline.
        if Instant::now() >= until {
            return Err(LegFailure::TooSlow);
        }
        let unread = &mut self.unread;
        let sink = &mut |bytes: &[u8]| unread.extend_from_slice(bytes);
        let read = timeout_at(until.into(), self.connection.read(sink)).await;
        self.connection.acknowledge();
        match read.map_err(|_| LegFailure::TooSlow)?? {
            Read::Some => Ok(()),
            Read::End { clean: true } => Err(LegFailure::Closed),
            Read::End { clean: false } => Err(LegFailure::Broken),
        }
    }

    /// A full handshake. What the server says inside TLS at once is in [`Probe::received`] then.
    ///
    /// # Errors
    /// There is no TLS; the connection is of no use any more.
    pub async fn handshake(
        &mut self,
        tls: &ClientTls,
        shares: Shares,
        limit: Duration,
    ) -> Result<Shaken, ShakeFailure> {
        if !self.unread.is_empty() {
            return Err(ShakeFailure::Words);
        }
        let broken = |failure| ShakeFailure::Tls(failure, None);
        let mut attempt = tls
            .attempt(std::time::SystemTime::now(), shares)
            .map_err(|_| broken(TlsFailure::Internal))?;
        if tls.terms().client.is_none() {
            let config = Arc::make_mut(&mut attempt.config);
            config.client_auth_cert_resolver =
                Arc::clone(&self.asked) as Arc<dyn ResolvesClientCert>;
        }
        let sni = tls.terms().sni.as_ref().map(HostName::as_str);
        let shaking = connect(&mut self.connection, &attempt, sni, limit, Insist::Nothing);
        let result = timeout(limit, shaking).await;
        let secured = match result.unwrap_or(Err(Failed::Tls(TlsFailure::Timeout))) {
            Ok(secured) => secured,
            Err(Failed::NotTls(words)) => return Err(ShakeFailure::NotTls(words)),
            Err(Failed::Tls(failure)) => {
                let evidence = attempt.evidence().map(Box::new);
                return Err(ShakeFailure::Tls(failure, evidence));
            }
        };
        self.unread = secured.early;
        // Our last words of the handshake would travel with the first command; here nobody may say one for a while.
        if self.connection.flush_all().await.is_err() {
            return Err(broken(TlsFailure::PeerGone));
        }
        Ok(Shaken {
            facts: secured.facts,
            evidence: attempt.evidence().unwrap_or_default(),
            verdict: attempt.verdict(),
        })
    }

    /// Says the last words, and ends in an orderly way.
    pub async fn finish(self, farewell: &[u8]) {
        let limits = (Duration::from_secs(2), Duration::ZERO);
        Box::pin(self.connection.finish(farewell.to_vec(), limits)).await;
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// There are always octets to be read; the deadline counts all the same.
    #[tokio::test]
    async fn a_deadline_is_one_for_those_who_never_pause_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        let door = Target {
            host: "localhost".to_owned(),
            port: address.port(),
            addresses: vec![address.ip()],
        };
        let mut probe = Probe::dial(&Dialer::default(), &door).await.unwrap();
        let later = Instant::now() + Duration::from_secs(20);
        probe.read(later).await.unwrap();
        // Over already, and there is more to be read.
        for _ in 0..20 {
            let over = probe.read(Instant::now()).await;
            assert_eq!(over, Err(LegFailure::TooSlow));
        }
    }
}
