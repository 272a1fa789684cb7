//! Our client's session against our server's driver, over loopback.

mod support;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use gatepost_net::client::{Channel, Failure, Options, Session, Start};
use gatepost_trust::profile::{Mode, Service};
use gatepost_trust::verify::{Alpn, ClientTls, Terms, Versions};
use gatepost_wire::seam::{TlsVersion, VerifiedBy};
use gatepost_wire::session::Why;
use support::Setup;
use support::caller::{
    self, Caller, Say, ask, failure, session, session_with, terms, terms_for, unverified,
};
use tokio::time::timeout;

fn tls() -> ClientTls {
    ClientTls::new(terms())
}

#[tokio::test]
async fn starttls_and_implicit_tls_end_verified() {
    for mode in [Mode::StartTls, Mode::Implicit] {
        let server = Setup::new(Service::Imap, mode).start();
        let start = match mode {
            Mode::StartTls => Start::Clear(Caller::clear(true)),
            Mode::Implicit => caller::implicit(),
        };
        let terms = Terms {
            alpn: Alpn::Imap,
            ..terms()
        };
        let mut session = session(server.address, start, ClientTls::new(terms)).await;
        assert_eq!(session.channel(), Channel::Clear);
        if mode == Mode::Implicit {
            assert_eq!(session.next().await.unwrap().unwrap(), "220 inside");
        } else {
            // After STARTTLS nobody greets.
            assert_eq!(session.next().await.unwrap().unwrap(), "news");
        }
        assert_eq!(session.channel(), Channel::Verified(VerifiedBy::Pkix));
        let facts = session.facts().unwrap();
        assert_eq!(facts.version, TlsVersion::Tls13);
        assert_eq!(facts.group, Some("X25519MLKEM768"));
        assert_eq!(facts.sni.as_deref(), Some("mail.example"));
        assert_eq!(facts.alpn.as_deref(), Some("imap"));
        assert!(facts.bindings.is_none());
        assert_eq!(session.chain().len(), 1);
        assert_eq!(ask(&mut session, "one").await, "250 one");
        session.answer(Say::Quit);
        assert_eq!(session.next().await, Ok(None));
        assert_eq!(session.next().await, Ok(None));
        let ended = server.end();
        assert_eq!(ended.why, Why::Quit);
        let traffic = session.traffic();
        assert!(traffic.received > 500 && traffic.sent > 500, "{traffic:?}");
        assert!(traffic.handshake.is_some());
    }
}

#[tokio::test]
async fn channel_bindings_are_the_servers() {
    // [SASL-CB-01]
    for versions in [Versions::Only12, Versions::Only13] {
        let mut setup = Setup::new(Service::Submission, Mode::Implicit);
        setup.options.bindings = true;
        let server = setup.start();
        let terms = Terms {
            versions,
            ..terms()
        };
        let tls = ClientTls::new(terms);
        let mut session = session(server.address, caller::implicit(), tls).await;
        session.next().await.unwrap();
        ask(&mut session, "FACTS").await;
        session.answer(Say::Nothing);
        let told = session.next().await.unwrap().unwrap();
        let facts = session.machine().unwrap().facts.as_ref().unwrap();
        let bindings = facts.bindings.as_ref().unwrap();
        let mut hex = String::new();
        for octet in bindings.exporter.iter().chain(&bindings.server_end_point) {
            write!(hex, "{octet:02x}").unwrap();
        }
        assert_eq!(hex, told, "{versions:?}");
        assert_eq!(hex.len(), 128);
    }
}

#[tokio::test]
async fn a_certificate_for_others_ends_the_handshake_unless_encryption_was_enough() {
    let server = support::implicit();
    let tls = ClientTls::new(terms_for("mail.elsewhere.example"));
    let mut refused = session(server.address, caller::implicit(), tls).await;
    let error = refused.next().await.unwrap_err();
    // Alert unrecognized_name: the port is strict.
    assert_eq!(error.label(), "E-TLS-ALERT");
    let server = Setup::new(Service::Smtp, Mode::Implicit).start();
    let tls = ClientTls::new(terms_for("mail.elsewhere.example"));
    let mut refused = session(server.address, caller::implicit(), tls).await;
    let error = refused.next().await.unwrap_err();
    assert_eq!(error.label(), "E-CERT-NAME");
    assert!(refused.verdict().is_some() && refused.chain().len() == 1);
    assert_eq!(refused.channel(), Channel::Clear);
    assert_eq!(refused.next().await, Err(error));
    assert!(server.end().tls_failure.is_some());
    let mut taken = session(server.address, caller::implicit(), unverified()).await;
    taken.next().await.unwrap();
    assert_eq!(taken.channel(), Channel::Encrypted);
    assert_eq!(
        taken.verdict().unwrap().reason().unwrap().label(),
        "E-CERT-NAME"
    );
    taken.forget_evidence();
    assert!(taken.verdict().is_none());
    assert_eq!(ask(&mut taken, "on").await, "250 on");
}

#[tokio::test]
async fn an_old_certificate_is_judged_by_the_clock_given() {
    let server = support::implicit();
    let options = Options {
        clock: || std::time::SystemTime::now() + Duration::from_secs(40 * 24 * 3600),
        ..Options::default()
    };
    let mut session = session_with(server.address, caller::implicit(), tls(), options).await;
    assert_eq!(session.next().await.unwrap_err().label(), "E-CERT-EXPIRED");
}

#[tokio::test]
async fn an_idle_session_is_woken_by_its_owner_and_loses_nothing() {
    let server = support::implicit();
    let mut session = session(server.address, caller::implicit(), tls()).await;
    session.next().await.unwrap();
    session.answer(Say::Nothing);
    for _ in 0..3 {
        let waited = timeout(Duration::from_millis(20), session.next()).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    session.news();
    assert_eq!(session.next().await.unwrap().unwrap(), "news");
    // Calls dropped in the middle of anything.
    let line = "w".repeat(900);
    session.answer(Say::Line(line.clone()));
    let heard = loop {
        if let Ok(heard) = timeout(Duration::from_micros(300), session.next()).await {
            break heard.unwrap().unwrap();
        }
    };
    assert!(heard == format!("250 {line}"), "{} octets", heard.len());
    server.news.notify_one();
    session.answer(Say::Nothing);
    assert_eq!(session.next().await.unwrap().unwrap(), "* news");
}

/// A server that reads 64 octets and says them back before it reads on, with small buffers.
fn echo_in_small_steps() -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = socket2::SockRef::from(&listener);
    socket.set_send_buffer_size(4096).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut line = [0; 64];
        stream.write_all(b"220 hello\r\n").unwrap();
        while stream.read_exact(&mut line).is_ok() && stream.write_all(&line).is_ok() {}
    });
    address
}

#[tokio::test]
async fn a_server_that_answers_while_we_write_is_heard() {
    let address = echo_in_small_steps();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let mut options = Options::default();
    options.limits.write = Duration::from_secs(10);
    let start = Start::Clear(Caller::clear(false));
    let mut session = Session::new(stream, start, tls(), Arc::new(options));
    session.next().await.unwrap();
    let line = format!("{}\r\n", "p".repeat(62));
    session.answer(Say::Raw(line.repeat(8000).into_bytes()));
    for _ in 0..8000 {
        assert_eq!(session.next().await.unwrap().unwrap(), line.trim_end());
        session.answer(Say::Nothing);
    }
}

#[tokio::test]
async fn a_handshake_given_up_ends_the_session() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut session = session(address, caller::implicit(), tls()).await;
    assert!(
        timeout(Duration::from_millis(50), session.next())
            .await
            .is_err()
    );
    assert_eq!(session.next().await, Err(Failure::Cancelled));
}

#[tokio::test]
async fn the_end_of_tls_is_told_from_its_being_cut() {
    // [TLS-CLOSE-01] [SMTP-STARTTLS-25]
    let server = support::implicit();
    let mut session = session(server.address, caller::implicit(), tls()).await;
    session.next().await.unwrap();
    session.answer(Say::Nothing);
    server.stop();
    assert_eq!(session.next().await.unwrap().unwrap(), "421 stopping");
    session.answer(Say::Nothing);
    assert_eq!(failure(&mut session).await.label(), "E-CLOSED");
}

#[tokio::test]
async fn finishing_says_close_notify() {
    // [SMTP-STARTTLS-24] [TLS-CLOSE-01]
    let server = support::implicit();
    let mut session = session(server.address, caller::implicit(), tls()).await;
    session.next().await.unwrap();
    session.finish().await;
    assert_eq!(server.end().why, Why::PeerClosed);
}

#[tokio::test]
async fn words_that_came_before_our_hello_are_an_injection_wherever_they_lie() {
    // [SMTP-STARTTLS-20] In the kernel's buffer, not in the session's; even if they look like TLS.
    use std::io::{Read as _, Write as _};
    for injected in [&b"250 evil\r\n"[..], b"\x16\x03\x03\0\x04"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (go, wait) = std::sync::mpsc::channel();
        let (sent, told) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(b"220 go ahead\r\n").unwrap();
            wait.recv().unwrap();
            stream.write_all(injected).unwrap();
            sent.send(()).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            rest
        });
        let mut session = session(address, Start::Clear(Caller::clear(false)), tls()).await;
        assert_eq!(session.next().await.unwrap().unwrap(), "220 go ahead");
        go.send(()).unwrap();
        told.recv().unwrap();
        session.answer(Say::Upgrade);
        let error = session.next().await.unwrap_err();
        assert_eq!(error.label(), "E-INJECT");
        assert_eq!(server.join().unwrap(), b"", "not a byte after it");
    }
}

/// A server in clear that greets, and then does as told.
fn after_greeting(then: fn(std::net::TcpStream)) -> std::net::SocketAddr {
    support::scripted::start(move |mut stream, _| {
        support::scripted::say(&mut stream, "220 hello\r\n");
        then(stream);
    })
}

async fn write_much(address: std::net::SocketAddr) -> Session<Caller> {
    let mut options = Options::default();
    options.limits.write = Duration::from_millis(500);
    let start = Start::Clear(Caller::clear(false));
    let mut session = session_with(address, start, tls(), options).await;
    session.next().await.unwrap();
    session.answer(Say::Raw(vec![b'x'; 50_000_000]));
    session
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_given_up() {
    let address = after_greeting(|stream| {
        std::thread::sleep(Duration::from_secs(8));
        drop(stream);
    });
    let mut session = write_much(address).await;
    assert_eq!(session.next().await.unwrap_err().label(), "E-WRITE-TIMEOUT");
}

#[tokio::test]
async fn the_last_words_of_a_server_that_resets_are_heard() {
    let address = after_greeting(|mut stream| {
        support::scripted::say(&mut stream, "421 I must go\r\n");
        // Unread octets make the end a reset.
        drop(stream);
    });
    let mut session = write_much(address).await;
    assert_eq!(session.next().await.unwrap().unwrap(), "421 I must go");
    session.answer(Say::Nothing);
    assert_eq!(failure(&mut session).await.label(), "E-TRUNCATED");
}
