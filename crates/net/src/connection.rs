//! A socket with or without TLS on it: reading into a machine, writing a machine's output, closing.
//!
//! Nothing here waits with a buffer in hand: the socket is read into the thread's scratch at the moment it has something, and
//! output is encrypted into the scratch and written from there; only what the socket does not take is kept.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::{Engine, MAX_PLAINTEXT, Received, SCRATCH, with_scratch};
use crate::failure::TlsFailure;

/// Read at once: beside what is left of a record it fits the scratch.
const READ: usize = MAX_PLAINTEXT;
/// How much a slow peer must take within the write deadline.
const PORTION: u64 = 64 * 1024;
/// The most that is read while a peer does not take its output.
const HEARD_WRITING: u64 = 1024 * 1024;
/// The most that is read, and thrown away, after our farewell.
const LINGER_OCTETS: usize = 64 * 1024;

/// A connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) link: Link,
    /// What is ready for the network (encrypted, inside TLS) and has not been written yet.
    pending: Vec<u8>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// What is pending may wait for words to travel with: a ticket is no use to the peer before its next connection.
    patient: bool,
    /// The peer has said that nothing more will come; whether cleanly.
    end: Option<bool>,
    /// The session has been told so.
    told: bool,
    /// The network has said so.
    gone: bool,
}

/// What is on the socket.
pub(crate) enum Link {
    /// Words in clear.
    Clear,
    /// TLS.
    Encrypted(Box<Engine>),
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes; they may be TLS only, without a word for the session.
    Some,
    /// The end; `clean` when the peer said so, or there is nobody to say so (in clear).
    End { clean: bool },
}

/// Why a connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The network.
    Network,
    /// The peer does not take its output.
    TooSlow,
    /// TLS.
    Tls(TlsFailure),
}

impl From<TlsFailure> for Broken {
    fn from(failure: TlsFailure) -> Self {
        Self::Tls(failure)
    }
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Network
    }
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // A reply must not wait for more words to travel with. A socket that cannot do it is dead; the first read says so.
        let _ = stream.set_nodelay(true);
        let (bytes_in, bytes_out) = (0, 0);
        let (link, pending) = (Link::Clear, Vec::new());
        let (end, told, gone) = (None, false, false);
        Self {
            stream,
            link,
            pending,
            patient: false,
            bytes_in,
            bytes_out,
            end,
            told,
            gone,
        }
    }

    /// The peer has closed TLS already behind the handshake.
    pub(crate) fn note_clean_end(&mut self) {
        self.end = Some(true);
    }

    /// Whether the session had been told that the peer says nothing more. It has now.
    pub(crate) fn told_of_end(&mut self) -> bool {
        std::mem::replace(&mut self.told, true)
    }

    /// Whether something must be written before the peer can go on.
    fn has_urgent(&self) -> bool {
        !self.pending.is_empty() && !self.patient
    }

    /// What is pending now may wait for the session's next words.
    pub(crate) fn let_pending_wait(&mut self) {
        self.patient = !self.pending.is_empty();
    }

    /// What has come already, before a word of ours: only a client that is out of order, or lured here, has spoken.
    pub(crate) fn read_early(&mut self, sink: &mut dyn FnMut(&[u8])) {
        with_scratch(|scratch| {
            let socket = SockRef::from(&self.stream);
            // Nothing there, or an error that the next read meets again.
            if let Ok(count) = io::Read::read(&mut &*socket, scratch) {
                self.bytes_in += count as u64;
                sink(scratch.get(..count).unwrap_or_default());
            }
        });
    }

    /// Acknowledges at once what was received. A peer whose socket holds small writes back until the last one is acknowledged
    /// (Nagle) would wait for our kernel's delayed acknowledgement, 40 ms: the client behind STARTTLS, which speaks next, and
    /// a server that writes its replies one by one.
    pub(crate) fn acknowledge(&self) {
        // Only a matter of speed: where it cannot be had, the session is the same.
        let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
    }

    /// Puts bytes made by the TLS engine in line for the network.
    pub(crate) fn enqueue(&mut self, bytes: Vec<u8>) {
        if self.pending.is_empty() {
            self.pending = bytes;
        } else {
            self.pending.extend_from_slice(&bytes);
        }
    }

    /// Reads what is there; plaintext goes to `sink`. While it waits it holds no buffer.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        self.read_by(|stream, room| poll_socket(stream, cx, room), sink)
    }

    fn read_by(
        &mut self,
        read: impl FnOnce(&mut TcpStream, &mut [u8]) -> Poll<io::Result<usize>>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        if let Some(clean) = self.end {
            return Poll::Ready(Ok(Read::End { clean }));
        }
        with_scratch(|scratch| {
            let kept = match &self.link {
                Link::Clear => 0,
                Link::Encrypted(engine) => engine.prepare(scratch),
            };
            let room = scratch.get_mut(kept..kept + READ).unwrap_or_default();
            let count = ready!(read(&mut self.stream, room))?;
            let input = scratch.get_mut(..kept + count).unwrap_or_default();
            Poll::Ready(self.take_in(input, count, sink))
        })
    }

    /// The same for a session that waits: what TLS itself has to say is written when there is nothing to read, for the peer
    /// waits for it (our Finished). None when the socket does not take it.
    pub(crate) fn poll_hear(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Option<Read>, Broken>> {
        let poll = self.poll_read(cx, sink);
        if poll.is_pending() && self.has_urgent() {
            return match self.flush() {
                Ok(true) => Poll::Pending,
                Ok(false) => Poll::Ready(Ok(None)),
                Err(broken) => Poll::Ready(Err(broken)),
            };
        }
        poll.map_ok(Some)
    }

    fn take_in(
        &mut self,
        input: &mut [u8],
        count: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Read, Broken> {
        self.bytes_in += count as u64;
        let encrypted = match &mut self.link {
            _ if count == 0 => Received::Closed,
            Link::Clear => {
                sink(input);
                Received::Open
            }
            Link::Encrypted(engine) => engine.receive(input, &mut self.pending, sink)?,
        };
        if encrypted == Received::Open {
            return Ok(Read::Some);
        }
        // [TLS-CLOSE-01] Inside TLS only the closing alert is a clean end; what comes after it is not looked at. In clear
        // there is nobody to say more than the network.
        let clean = count > 0 || matches!(self.link, Link::Clear);
        self.gone |= count == 0;
        self.end = Some(clean);
        Ok(Read::End { clean })
    }

    /// Waits for bytes.
    pub(crate) async fn read(
        &mut self,
        sink: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Read, Broken> {
        poll_fn(|cx| self.poll_read(cx, sink)).await
    }

    /// Writes all of `output`, and what was in line before it. The peer has `limit` to take each [`PORTION`] of it (or the
    /// rest): one that reads a little now and then cannot keep the connection for ever.
    pub(crate) async fn write(
        &mut self,
        output: &mut Vec<u8>,
        limit: Duration,
    ) -> Result<(), Broken> {
        if self.push(output)? {
            return Ok(());
        }
        // Rare, and boxed, so that every session's future is smaller.
        Box::pin(self.write_slowly(output, limit)).await
    }

    async fn write_slowly(&mut self, output: &mut Vec<u8>, limit: Duration) -> Result<(), Broken> {
        let mut deadline = Instant::now() + limit;
        let mut goal = self.bytes_out + PORTION;
        loop {
            let ready = timeout_at(deadline, self.stream.writable()).await;
            ready.map_err(|_| Broken::TooSlow)??;
            if self.flush_ready()? && self.push(output)? {
                return Ok(());
            }
            if self.bytes_out >= goal {
                deadline = Instant::now() + limit;
                goal = self.bytes_out + PORTION;
            }
        }
    }

    /// [`Self::write`], and hears the peer while it takes nothing: one that waits for its own words to be read would wait for
    /// ever. What it says meanwhile is bounded. Can be dropped and called again: what was not written is in `output`.
    pub(crate) async fn write_hearing(
        &mut self,
        output: &mut Vec<u8>,
        limit: Duration,
        sink: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), Broken> {
        if self.push(output)? {
            return Ok(());
        }
        let mut deadline = Instant::now() + limit;
        let mut goal = self.bytes_out + PORTION;
        let most = self.bytes_in + HEARD_WRITING;
        loop {
            let ready = poll_fn(|cx| self.poll_writable(cx, most, sink));
            if !timeout_at(deadline, ready)
                .await
                .map_err(|_| Broken::TooSlow)??
            {
                continue;
            }
            if self.flush_ready()? && self.push(output)? {
                return Ok(());
            }
            if self.bytes_out >= goal {
                deadline = Instant::now() + limit;
                goal = self.bytes_out + PORTION;
            }
        }
    }

    /// True when the socket takes something, false when something was heard.
    fn poll_writable(
        &mut self,
        cx: &mut Context<'_>,
        most: u64,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<bool, Broken>> {
        if self.stream.poll_write_ready(cx)?.is_ready() {
            return Poll::Ready(Ok(true));
        }
        if self.end.is_none() && self.bytes_in < most {
            return self.poll_read(cx, sink).map_ok(|_| false);
        }
        Poll::Pending
    }

    /// After the connection broke: what had come before it did. Straight from the socket, for the runtime may not know yet that
    /// there is something.
    pub(crate) fn read_rest(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let read = |stream: &mut TcpStream, room: &mut [u8]| {
            Poll::Ready(io::Read::read(&mut &*SockRef::from(&*stream), room))
        };
        while let Poll::Ready(Ok(Read::Some)) = self.read_by(read, sink) {}
    }

    /// Whether the socket may take something; else asks to be woken.
    pub(crate) fn poll_can_write(&self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.stream.poll_write_ready(cx).map_err(Broken::from)
    }

    /// Says that nothing more will be said: with the closing alert inside TLS, and to the network. The peer is still heard. What
    /// the socket does not take at once is lost with the connection, which then looks cut off.
    pub(crate) fn end_speech(&mut self) {
        if self.seal_farewell(&[]).is_ok() && matches!(self.flush(), Ok(true)) {
            let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        }
    }

    /// Writes what the socket takes now. True when all is written. Frees `output` when it is used up.
    pub(crate) fn push(&mut self, output: &mut Vec<u8>) -> Result<bool, Broken> {
        let mut taken = 0;
        let mut flushed = true;
        while flushed && taken < output.len() {
            let rest = output.get(taken..).unwrap_or_default();
            taken += self.push_some(rest)?;
            flushed = self.pending.is_empty();
        }
        if taken >= output.len() {
            *output = Vec::new();
        } else {
            output.drain(..taken);
        }
        Ok(output.is_empty() && self.flush()?)
    }

    /// Takes a piece of plaintext, and writes it behind what is pending, in one write. What the socket does not take is
    /// pending then.
    fn push_some(&mut self, plaintext: &[u8]) -> Result<usize, Broken> {
        if self.pending.len() > SCRATCH - 2 * MAX_PLAINTEXT && !self.flush()? {
            return Ok(0);
        }
        with_scratch(|scratch| {
            let before = self.pending.len();
            let (front, room) = scratch
                .split_at_mut_checked(before)
                .ok_or(Broken::Tls(TlsFailure::Internal))?;
            front.copy_from_slice(&self.pending);
            let (taken, written) = match &mut self.link {
                Link::Encrypted(engine) => engine.seal(plaintext, room)?,
                Link::Clear => {
                    let count = plaintext.len().min(MAX_PLAINTEXT);
                    let (Some(to), Some(from)) = (room.get_mut(..count), plaintext.get(..count))
                    else {
                        return Err(Broken::Tls(TlsFailure::Internal));
                    };
                    to.copy_from_slice(from);
                    (count, count)
                }
            };
            let ready = scratch.get(..before + written).unwrap_or_default();
            let sent = try_write(&self.stream, ready)?;
            self.bytes_out += sent as u64;
            self.pending.clear();
            self.pending
                .extend_from_slice(ready.get(sent..).unwrap_or_default());
            self.shrink();
            Ok(taken)
        })
    }

    /// Writes what is pending as far as the socket takes it. True when nothing is left.
    pub(crate) fn flush(&mut self) -> Result<bool, Broken> {
        while !self.pending.is_empty() {
            let sent = try_write(&self.stream, &self.pending)?;
            if sent == 0 {
                return Ok(false);
            }
            self.bytes_out += sent as u64;
            self.pending.drain(..sent);
        }
        self.shrink();
        Ok(true)
    }

    /// The same when the runtime has said that the socket takes something; through the runtime, so that it learns when it does
    /// not any more.
    pub(crate) fn flush_ready(&mut self) -> Result<bool, Broken> {
        while !self.pending.is_empty() {
            match self.stream.try_write(&self.pending) {
                Ok(sent) => {
                    self.bytes_out += sent as u64;
                    self.pending.drain(..sent);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.shrink();
        Ok(true)
    }

    /// Writes all that is pending; the caller sets the deadline.
    pub(crate) async fn flush_all(&mut self) -> Result<(), Broken> {
        let mut flushed = self.flush()?;
        while !flushed {
            self.stream.writable().await?;
            flushed = self.flush_ready()?;
        }
        Ok(())
    }

    fn shrink(&mut self) {
        if self.pending.is_empty() {
            self.pending = Vec::new();
            self.patient = false;
        }
    }

    /// The last words: `output`, the closing alert where there is TLS, the end of our side; then waits for the peer's end for
    /// `linger` at the longest, so that the last words are not lost to a reset.
    pub(crate) async fn finish(
        mut self,
        mut output: Vec<u8>,
        limits: (Duration, Duration),
    ) -> (u64, u64) {
        let (write, linger) = limits;
        // Small farewells leave in one write together with the closing alert.
        if output.len() > MAX_PLAINTEXT && self.write(&mut output, write).await.is_err() {
            return (self.bytes_in, self.bytes_out);
        }
        if self.seal_farewell(&output).is_err() || self.write(&mut Vec::new(), write).await.is_err()
        {
            return (self.bytes_in, self.bytes_out);
        }
        if !self.gone
            && SockRef::from(&self.stream)
                .shutdown(std::net::Shutdown::Write)
                .is_ok()
        {
            // Whether the peer's end comes or not, the connection is closed after this.
            let _ = timeout(linger, self.drain()).await;
        }
        (self.bytes_in, self.bytes_out)
    }

    fn seal_farewell(&mut self, output: &[u8]) -> Result<(), Broken> {
        let Link::Encrypted(engine) = &mut self.link else {
            self.pending.extend_from_slice(output);
            return Ok(());
        };
        with_scratch(|scratch| {
            let mut length = 0;
            if !output.is_empty() {
                length = engine.seal(output, scratch)?.1;
            }
            let room = scratch.get_mut(length..).unwrap_or_default();
            length += engine.close(room)?;
            self.pending
                .extend_from_slice(scratch.get(..length).unwrap_or_default());
            Ok(())
        })
    }

    async fn drain(&mut self) {
        let mut drained = 0;
        while drained < LINGER_OCTETS {
            let stream = &mut self.stream;
            let read = poll_fn(|cx| with_scratch(|scratch| poll_socket(stream, cx, scratch))).await;
            match read {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    drained += count;
                    self.bytes_in += count as u64;
                }
            }
        }
    }
}

/// Through the runtime's own read, which saves the attempt that only learns that there is nothing more.
fn poll_socket(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(room);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Straight to the socket: the runtime knows that a fresh one can be written to only after a turn through its poller. Zero
/// when the socket takes nothing.
fn try_write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match SockRef::from(stream).send(bytes) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
