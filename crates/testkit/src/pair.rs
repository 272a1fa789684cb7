//! Our client's session against our server's, in memory: no socket, no TLS engine, a clock that goes forward when both wait.

use std::time::Instant;

use gatepost_wire::session::{Fresh, Machine, Next, Why};

use crate::{facts, verified_facts};

/// Steps after which two sessions are held to be going round in circles.
const MOST_STEPS: usize = 4_000_000;

/// How two sessions ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why the client's closed.
    pub client: Why,
    /// What the client wrote in clear.
    pub clear: Vec<u8>,
    /// What the client wrote inside TLS.
    pub inside: Vec<u8>,
    /// Whether there was an upgrade.
    pub upgraded: bool,
    /// How many times the client had to wait for the server: round trips, the greeting counted.
    pub waits: usize,
}

/// How a pair of sessions begins.
pub enum Begin<C: Machine, S: Machine> {
    /// In clear.
    Clear(C, S),
    /// Inside TLS.
    Implicit(C::Fresh, S::Fresh),
}

/// Runs both sessions until the client closes. What one writes reaches the other in segments of at most `segment` octets.
/// Also returns the client, for what can be read off it.
///
/// # Panics
/// If a session breaks a rule of [`gatepost_wire::session`], if only one wants TLS, if something is left over at the upgrade, or
/// if both wait for each other.
pub fn run<C, S>(
    begin: Begin<C, S>,
    mut owner: impl FnMut(C::Ask) -> C::Answer,
    mut backend: impl FnMut(S::Ask) -> S::Answer,
    segment: usize,
) -> (Ended, C)
where
    C: Machine,
    S: Machine,
{
    let now = Instant::now();
    let mut ended = Ended {
        client: Why::Fault,
        clear: Vec::new(),
        inside: Vec::new(),
        upgraded: false,
        waits: 0,
    };
    let mut encrypted = matches!(begin, Begin::Implicit(..));
    let (mut client, mut server) = match begin {
        Begin::Clear(client, server) => (client, server),
        Begin::Implicit(client, server) => {
            (client.secured(verified_facts()), server.secured(facts()))
        }
    };
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut server_closed = false;
    for _ in 0..MOST_STEPS {
        match client.next(now) {
            Next::Ask(ask) => client.answer(owner(ask)),
            Next::Write => {
                assert!(!client.output().is_empty(), "asks to write nothing");
                let log = if encrypted {
                    &mut ended.inside
                } else {
                    &mut ended.clear
                };
                log.extend_from_slice(client.output());
                to_server.append(client.output());
            }
            Next::Upgrade => {
                assert!(client.output().is_empty(), "words behind STARTTLS");
                serve(
                    &mut server,
                    &mut backend,
                    now,
                    &mut to_server,
                    &mut to_client,
                    segment,
                );
                let (fresh, leftover) = client.upgrade();
                assert_eq!(leftover.into_client_handshake(), Ok(()));
                let (fresh_server, leftover) = server.upgrade();
                assert_eq!(leftover.into_handshake(), Ok(Vec::new()));
                client = fresh.secured(verified_facts());
                server = fresh_server.secured(facts());
                (encrypted, ended.upgraded) = (true, true);
            }
            Next::Read { until } => {
                assert!(until > now, "waits for what has passed");
                ended.waits += 1;
                let closed = serve(
                    &mut server,
                    &mut backend,
                    now,
                    &mut to_server,
                    &mut to_client,
                    segment,
                );
                assert!(
                    !to_client.is_empty() || (closed && !server_closed),
                    "both wait for each other"
                );
                for piece in std::mem::take(&mut to_client).chunks(segment) {
                    client.receive(piece);
                }
                if closed {
                    server_closed = true;
                    client.peer_closed(true);
                }
            }
            Next::Close(why) => {
                ended.client = why;
                return (ended, client);
            }
        }
    }
    panic!("the sessions take steps without an end");
}

/// Hands the server what was said to it and lets it run until it waits. True when it has closed or wants TLS.
fn serve<S: Machine>(
    server: &mut S,
    backend: &mut impl FnMut(S::Ask) -> S::Answer,
    now: Instant,
    to_server: &mut Vec<u8>,
    to_client: &mut Vec<u8>,
    segment: usize,
) -> bool {
    let said = std::mem::take(to_server);
    let mut pieces = said.chunks(segment);
    loop {
        match server.next(now) {
            Next::Ask(ask) => server.answer(backend(ask)),
            Next::Write => to_client.append(server.output()),
            Next::Read { .. } => match pieces.next() {
                Some(piece) => server.receive(piece),
                None => return false,
            },
            Next::Upgrade => {
                to_client.append(server.output());
                pieces.for_each(|piece| server.receive(piece));
                return false;
            }
            Next::Close(_) => {
                to_client.append(server.output());
                return true;
            }
        }
    }
}
