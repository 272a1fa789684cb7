//! What an idle session of the client costs. One test in this file: the allocator counts everything in the process.

mod support;

use std::alloc::System;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use cap::Cap;
use gatepost_net::client::{Options, Session};
use gatepost_trust::verify::ClientTls;
use support::caller::{self, Caller, Say, terms};
use support::scripted::{start, tls};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const SESSIONS: usize = 300;
/// Octets per idle session, everything in it: TLS, session, task, timer.
const LIMIT: usize = 6 * 1024;

/// Connects, hears the greeting, and waits in a task of its own.
async fn idle(
    address: std::net::SocketAddr,
    tls: &ClientTls,
    options: &Arc<Options>,
    up: &mpsc::Sender<()>,
) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let session: Session<Caller> =
        Session::new(stream, caller::implicit(), tls.clone(), Arc::clone(options));
    let up = up.clone();
    tokio::spawn(wait(session, up));
}

async fn wait(mut session: Session<Caller>, up: mpsc::Sender<()>) {
    assert_eq!(session.next().await.unwrap().unwrap(), "220 inside");
    session.forget_evidence();
    session.answer(Say::Nothing);
    up.send(()).await.unwrap();
    drop(up);
    let _ = session.next().await;
}

#[tokio::test]
async fn an_idle_session_is_small() {
    // A server that shakes hands, greets, and forgets everything but the socket.
    let sockets = Arc::<Mutex<Vec<TcpStream>>>::default();
    let kept = Arc::clone(&sockets);
    kept.lock().unwrap().reserve(2 * SESSIONS);
    let address = start(move |stream, _| {
        let mut tls = tls(stream).unwrap();
        tls.write_all(b"220 inside\r\n").unwrap();
        kept.lock().unwrap().push(tls.sock);
    });
    let tls = ClientTls::new(terms());
    let options = Arc::new(Options::default());
    let (up, mut told) = mpsc::channel(1);
    // Scratch, thread locals and pools are there after the first few.
    for _ in 0..20 {
        idle(address, &tls, &options, &up).await;
        told.recv().await.unwrap();
    }
    let before = ALLOCATED.allocated();
    for _ in 0..SESSIONS {
        idle(address, &tls, &options, &up).await;
        told.recv().await.unwrap();
    }
    let each = (ALLOCATED.allocated() - before) / SESSIONS;
    println!("{each} octets per idle session");
    assert!(
        each <= LIMIT,
        "{each} octets per idle session, {LIMIT} allowed"
    );
    assert!(each > 1000, "{each}: nothing was measured");
}
