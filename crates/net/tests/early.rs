//! Words before the greeting, on a real socket: the driver must show them to the session before it greets.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::driver::{Answering, Backend, Context, Ended, Event, Limits, Start, run};
use gatepost_trust::certificates::{Options, ServiceTls};
use gatepost_trust::profile::{Mode, Service};
use gatepost_wire::session::{Machine, Why};
use gatepost_wire::{pop3, smtp};
use tokio::sync::{Semaphore, watch};

/// Nothing may be asked: the session ends before that.
struct NobodyAsks;

impl<M: Machine> Backend<M> for NobodyAsks {
    fn handle(&mut self, _: M::Ask) -> Answering<'_, M::Answer> {
        panic!("the session went on")
    }
    fn upgraded(&mut self) {}
    fn event(&mut self, _: Event) {}
}

/// What a client hears that sends `words` before the session begins, and how the session ends.
fn answer_to<M>(words: &[u8], session: impl FnOnce() -> M) -> (String, Ended)
where
    M: Machine + Send,
    M::Fresh: Send,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(words).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // The words are here before the session is.
        let mut seen = vec![0; words.len()];
        while stream.peek(&mut seen).await.unwrap() < words.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (_stop, shutdown) = watch::channel(false);
        let limits = Limits {
            linger: Duration::from_millis(100),
            ..Limits::default()
        };
        let context = Context {
            shutdown,
            limits,
            handshakes: Arc::new(Semaphore::new(1)),
        };
        let tls =
            ServiceTls::new(Options::default_for(Service::Smtp, Mode::StartTls), &[]).unwrap();
        let ended = run(
            stream,
            Start::Clear(session()),
            Arc::new(tls),
            &mut NobodyAsks,
            &context,
        )
        .await;
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        (heard, ended)
    })
}

fn smtp_session() -> smtp::server::Server {
    let config = Arc::new(smtp::server::Config::mx("mail.example".into()));
    let peer = smtp::server::Peer {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        introduces: false,
        clear_login: None,
    };
    smtp::server::Server::clear(config, peer, Instant::now())
}

fn pop3_session() -> pop3::server::Server {
    let config = pop3::server::Config {
        host: "mail.example".into(),
        greeting: "ready".into(),
        offer: None,
        starttls: true,
        least: gatepost_wire::seam::TlsVersion::Tls12,
        mechanisms: Vec::new(),
        limits: pop3::server::Limits::default(),
    };
    pop3::server::Server::clear(Arc::new(config), None, Instant::now())
}

#[test]
fn who_speaks_before_the_greeting_is_turned_away() {
    // [SMTP-SMUG-04] [REPLY-09]
    let (heard, ended) = answer_to(b"EHLO early\r\n", smtp_session);
    assert!(
        heard.ends_with("\r\n") && heard.contains("554 5.5.0"),
        "{heard:?}"
    );
    assert_eq!(ended.why, Why::OutOfSync);
    let (heard, ended) = answer_to(b"CAPA\r\nNOOP\r\n", pop3_session);
    assert_eq!(heard, "");
    assert_eq!(ended.why, Why::OutOfSync);
}

#[test]
fn tls_before_the_greeting_is_answered_with_nothing() {
    // [IMPL-04]
    let (heard, ended) = answer_to(&[0x16, 3, 1, 2, 0, 1], pop3_session);
    assert_eq!((heard.as_str(), ended.why), ("", Why::TlsOnPlaintextPort));
}
