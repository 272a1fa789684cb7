//! A path that takes its time: forwards a TCP port with a delay in each direction, so that round trips can be counted.
//!
//! ```text
//!   client ──▶ [Delay] ── every chunk is held for `one_way` ──▶ server, and the same back
//! ```
//!
//! A chunk is held for the delay from when it came, not from when the one before it left: bandwidth is not limited. The
//! connection itself is made at once; count its round trip beside what is measured.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A forwarded port. It ends when dropped; connections that are up go on to their own end.
pub struct Delay {
    /// Where clients connect.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Delay {
    /// Forwards a new port on loopback to `server`, each direction late by `one_way`.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(server: SocketAddr, one_way: Duration) -> Self {
        Self::on(
            TcpListener::bind("127.0.0.1:0").expect("a port"),
            server,
            one_way,
        )
    }

    /// The same for a port that is there, such as one of every loopback address.
    ///
    /// # Panics
    /// When the port has no address.
    pub fn on(listener: TcpListener, server: SocketAddr, one_way: Duration) -> Self {
        let address = listener.local_addr().expect("its address");
        let (connections, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, stopped) = (Arc::clone(&connections), Arc::clone(&stop));
        thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { return };
                count.fetch_add(1, Ordering::Relaxed);
                forward(&client, server, one_way);
            }
        });
        Self {
            address,
            connections,
            stop,
        }
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept loop.
        let _ = TcpStream::connect(self.address);
    }
}

fn forward(client: &TcpStream, server: SocketAddr, one_way: Duration) {
    let Ok(server) = TcpStream::connect(server) else {
        return;
    };
    let clones = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
    let (Some((from_client, to_server)), Some((to_client, from_server))) = (clones(), clones())
    else {
        return;
    };
    pump(from_client, to_server, one_way);
    pump(from_server, to_client, one_way);
}

/// A thread that reads, and one that writes when the time has come.
fn pump(mut from: TcpStream, to: TcpStream, one_way: Duration) {
    let (sender, receiver) = channel();
    thread::spawn(move || late(to, &receiver));
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count) = from.read(&mut buffer) {
            let due = Instant::now() + one_way;
            let chunk = buffer.get(..count).unwrap_or_default().to_vec();
            if sender.send((due, chunk)).is_err() || count == 0 {
                return;
            }
        }
    });
}

fn late(mut to: TcpStream, chunks: &Receiver<(Instant, Vec<u8>)>) {
    let _ = to.set_nodelay(true);
    while let Ok((due, chunk)) = chunks.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if chunk.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if to.write_all(&chunk).is_err() {
            return;
        }
    }
    // The other side was reset.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_takes_two_delays() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let delay = Delay::start(listener.local_addr().unwrap(), Duration::from_millis(30));
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut word = [0; 4];
            while stream.read_exact(&mut word).is_ok() {
                stream.write_all(&word).unwrap();
            }
        });
        let mut stream = TcpStream::connect(delay.address).unwrap();
        let begun = Instant::now();
        let mut word = [0; 4];
        for _ in 0..3 {
            stream.write_all(b"ping").unwrap();
            stream.read_exact(&mut word).unwrap();
        }
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_millis(180), "{elapsed:?}");
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut word).unwrap(), 0);
        assert_eq!(delay.connections(), 1);
    }
}
