//! Against the engine's own server, and scripted ends. Servers that take second handshakes are among the real ones of the interoperability tests.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use gatepost_net::client::dial::Dialer;
use gatepost_testkit::pki::Authority;
use gatepost_trust::verify::Roots;
use rustls::server::{NoServerSessionStorage, ServerConfig, ServerConnection};
use rustls::version::{TLS12, TLS13};

use super::again::{self, Bond};
use super::{Why, tickets};
use crate::check::budget::{Budget, Crowd};
use crate::check::examine::Tier;
use crate::check::facts::{Provocation, Seen};
use crate::check::probes::Errand;
use crate::check::target::{Protocol, Role, Start, Target};

const PATIENCE: Duration = Duration::from_secs(5);

fn errand(port: u16) -> Errand {
    Errand {
        target: Target {
            host: "mail.example.test".to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port,
            protocol: Protocol::Smtp,
            start: Start::Implicit,
            role: Role::Submission,
        },
        tier: Tier::Deep,
        dialer: Arc::new(Dialer::default()),
        roots: Arc::new(Roots::none()),
        name: "examiner.example.test".to_owned(),
        patience: PATIENCE,
        budget: Budget::new(100),
        crowd: Crowd::new(8),
        nonce: "gp0123456789abcdef".to_owned(),
        mailbox: None,
    }
}

fn config(
    versions: &[&'static rustls::SupportedProtocolVersion],
    change: impl FnOnce(&mut ServerConfig),
) -> Arc<ServerConfig> {
    let issued = Authority::root("Root").issue(&["mail.example.test"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate.clone()], issued.private_key())
        .unwrap();
    change(&mut config);
    Arc::new(config)
}

/// Greets inside TLS and answers every line; its thread ends with the test program.
fn serve(config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || talk(stream, config));
        }
    });
    port
}

fn talk(mut stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    let mut tls = ServerConnection::new(config).ok()?;
    tls.complete_io(&mut stream).ok()?;
    let mut session = rustls::Stream::new(&mut tls, &mut stream);
    session.write_all(b"220 mail.example.test ESMTP\r\n").ok()?;
    let mut octet = [0];
    while session.read(&mut octet).ok()? > 0 {
        if octet == *b"\n" {
            session.write_all(b"250 2.0.0 ok\r\n").ok()?;
        }
    }
    Some(())
}

#[tokio::test]
async fn tickets_of_tls13_tell_their_lifetime_and_early_data() {
    let port = serve(config(&[&TLS13], |it| {
        it.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    }));
    let ticket = tickets::of_tls13(&errand(port)).await.unwrap().unwrap();
    assert!((3600..=604_800).contains(&ticket.lifetime), "{ticket:?}");
    assert_eq!(ticket.early_data.unwrap_or_default(), 0);
    let early = serve(config(&[&TLS13], |it| it.max_early_data_size = 16_384));
    let ticket = tickets::of_tls13(&errand(early)).await.unwrap().unwrap();
    assert_eq!(ticket.early_data, Some(16_384));
}

#[tokio::test]
async fn a_server_without_tickets_or_without_tls13_is_told_apart_from_one_that_is_gone() {
    let without = serve(config(&[&TLS13], |it| it.send_tls13_tickets = 0));
    assert_eq!(tickets::of_tls13(&errand(without)).await, Ok(None));
    let older = serve(config(&[&TLS12], |_| {}));
    let told = tickets::of_tls13(&errand(older)).await;
    assert!(matches!(told, Err(Why::NotSpoken(_))), "{told:?}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let told = tickets::of_tls13(&errand(port)).await;
    assert!(matches!(told, Err(Why::Unknown(_))), "{told:?}");
    let seen = tickets::resumed(&errand(port)).await;
    assert!(matches!(seen, Seen::Unknown { missing: 1, .. }), "{seen:?}");
}

#[tokio::test]
async fn sessions_are_taken_up_again_or_not() {
    for versions in [&[&TLS12], &[&TLS13]] {
        let keeps = serve(config(versions, |_| {}));
        assert_eq!(tickets::resumed(&errand(keeps)).await, Seen::Known(true));
        let forgets = serve(config(versions, |it| {
            it.session_storage = Arc::new(NoServerSessionStorage {});
        }));
        assert_eq!(tickets::resumed(&errand(forgets)).await, Seen::Known(false));
    }
}

#[tokio::test]
async fn a_second_handshake_is_refused_and_the_ticket_of_tls12_is_seen() {
    let port = serve(config(&[&TLS12, &TLS13], |it| {
        it.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    }));
    for bond in [Bond::Proved, Bond::None] {
        let found = again::run(&errand(port), bond).await;
        let Seen::Known(Provocation::Refused { how }) = &found.begun else {
            panic!("{found:?}");
        };
        assert_eq!(how, "alert 100");
        let ticket = found.ticket.unwrap().unwrap();
        assert!((3600..=604_800).contains(&ticket.lifetime), "{ticket:?}");
    }
}

#[tokio::test]
async fn where_tls12_is_not_spoken_there_is_no_second_handshake() {
    let port = serve(config(&[&TLS13], |_| {}));
    let found = again::run(&errand(port), Bond::Proved).await;
    assert!(
        matches!(found.begun, Seen::Known(Provocation::Absent { .. })),
        "{found:?}"
    );
    assert!(matches!(found.ticket, Err(Why::NotSpoken(_))));
}
