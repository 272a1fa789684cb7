//! A client's connection whose session has done its part: TLS is up, the login is over, and bytes go to and fro.
//!
//! Made by [`super::Session::hand_over`]. A gate speaks a transaction on it word by word ([`Leg::write`], [`Leg::read`]), or ties it
//! to its client's connection ([`crate::driver::HandOver`]).

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::session::Channel;
use crate::connection::{Broken, Connection, Read};

/// A connection without a session.
pub struct Leg {
    pub(crate) connection: Connection,
    /// What was received and is nobody's yet.
    pub(crate) unread: Vec<u8>,
    channel: Channel,
}

/// Why a leg cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegFailure {
    /// The connection broke, or TLS was cut off or damaged.
    Broken,
    /// The server has closed, in an orderly way.
    Closed,
    /// It took too long: to take what we said, or to answer.
    TooSlow,
}

impl LegFailure {
    /// A stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Broken => "upstream_broken",
            Self::Closed => "upstream_closed",
            Self::TooSlow => "upstream_too_slow",
        }
    }
}

impl From<Broken> for LegFailure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::TooSlow => Self::TooSlow,
            Broken::Network | Broken::Tls(_) => Self::Broken,
        }
    }
}

impl Leg {
    pub(crate) fn new(connection: Connection, unread: Vec<u8>, channel: Channel) -> Self {
        Self {
            connection,
            unread,
            channel,
        }
    }

    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// How its words travel.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The server's address.
    pub fn server(&self) -> Option<SocketAddr> {
        self.connection.stream.peer_addr().ok()
    }

    /// What was received and not taken yet. Whoever understands a part of it takes that out.
    pub fn received(&mut self) -> &mut Vec<u8> {
        &mut self.unread
    }

    /// Writes all of `output`. The server is heard meanwhile, within bounds. Dropping the call loses nothing.
    ///
    /// # Errors
    /// The leg is of no use any more.
    pub async fn write(&mut self, output: &mut Vec<u8>, limit: Duration) -> Result<(), LegFailure> {
        let unread = &mut self.unread;
        let sink = &mut |bytes: &[u8]| unread.extend_from_slice(bytes);
        Ok(self.connection.write_hearing(output, limit, sink).await?)
    }

    /// Waits for more, at the longest until `until`; it is in [`Leg::received`] then.
    ///
    /// # Errors
    /// Nothing more will come.
    pub async fn read(&mut self, until: Instant) -> Result<(), LegFailure> {
        let unread = &mut self.unread;
        let sink = &mut |bytes: &[u8]| unread.extend_from_slice(bytes);
        let read = timeout_at(until.into(), self.connection.read(sink)).await;
        match read.map_err(|_| LegFailure::TooSlow)?? {
            Read::Some => Ok(()),
            Read::End { clean: true } => Err(LegFailure::Closed),
            Read::End { clean: false } => Err(LegFailure::Broken),
        }
    }

    /// Ends it: the last words, `close_notify` where there is TLS, the end.
    pub async fn finish(self, farewell: &[u8]) {
        let limits = (Duration::from_secs(5), Duration::ZERO);
        Box::pin(self.connection.finish(farewell.to_vec(), limits)).await;
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
