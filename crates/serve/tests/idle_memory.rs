//! What an idle IMAP session of the whole server costs. One test in this file: the allocator counts everything in the process.

use std::alloc::System;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap::Cap;
use gatepost_serve::mailbox::account::record;
use gatepost_serve::server::{Running, Server};
use gatepost_serve::settings::{LogFormat, Settings};
use gatepost_wire::sasl::Mechanism;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const SESSIONS: usize = 200;
/// Octets per session in IDLE: TLS, session, backend, task, timer, and the mailbox's listener.
const LIMIT: usize = 8 * 1024;
const ACCOUNT: &str = "idle@example.org";
const PASSWORD: &str = "correct horse";

fn settings(data: &Path, port_offset: u16) -> Settings {
    Settings {
        data: data.to_path_buf(),
        host: "mail.gatepost.test".into(),
        domains: Vec::new(),
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        port_offset,
        postmaster: None,
        certificates: Vec::new(),
        strict_names: gatepost_serve::settings::StrictNames::Implicit,
        floor: gatepost_wire::seam::TlsVersion::Tls12,
        floor_services: Vec::new(),
        own_from_only: false,
        web: None,
        mx_requires_tls: false,
        hide_client: false,
        upstreams: Vec::new(),
        route: gatepost_serve::upstream::route::Route::Any,
        egress: None,
        proxies: Vec::new(),
        proxied_services: Vec::new(),
        introducers: Vec::new(),
        message_size: 50 << 20,
        quota: 1 << 30,
        disk_floor: 0,
        connections: 10_000,
        connections_per_address: 10_000,
        unlimited: Vec::new(),
        handshakes: 64,
        handshake_time: Duration::from_secs(30),
        clear_login: Vec::new(),
        client_ca: None,
        client_crl: None,
        mechanisms: Mechanism::FOR_ACCOUNTS.to_vec(),
        log: LogFormat::Human,
        metrics: None,
        ready_file: None,
    }
}

/// Starts on the first port offset that is free.
fn start(data: &Path) -> Running {
    for port_offset in (20_000..60_000).step_by(1_009) {
        let server = Server::open(settings(data, port_offset)).unwrap();
        if server.accounts().unwrap().find(ACCOUNT).unwrap().is_none() {
            server
                .accounts()
                .unwrap()
                .add(ACCOUNT, &record(PASSWORD, false).unwrap(), None)
                .unwrap();
        }
        if let Ok(running) = server.start() {
            return running;
        }
    }
    panic!("no port is free");
}

fn trusting(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(
        builder
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Logs in, goes into IDLE, and forgets everything but the socket.
fn idle(port: u16, config: &Arc<ClientConfig>) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let kept = stream.try_clone().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut session = BufReader::new(StreamOwned::new(session, stream));
    let mut say = |words: &str, until: &str| {
        session.get_mut().write_all(words.as_bytes()).unwrap();
        let mut line = String::new();
        while !line.starts_with(until) {
            line.clear();
            assert!(
                session.read_line(&mut line).unwrap() > 0,
                "closed after {words:?}"
            );
        }
    };
    say("", "* OK");
    say(&format!("a LOGIN {ACCOUNT} \"{PASSWORD}\"\r\n"), "a OK");
    say("b SELECT INBOX\r\n", "b OK");
    say("c IDLE\r\n", "+");
    kept
}

#[test]
fn a_session_in_idle_is_small() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let running = runtime.block_on(async { start(folder.path()) });
    let port = running
        .services()
        .iter()
        .find(|it| it.name == "imaps")
        .unwrap()
        .port;
    let config = trusting(running.ca().unwrap());
    // Caches, pools and thread locals are there after the first few.
    let mut streams: Vec<TcpStream> = (0..20).map(|_| idle(port, &config)).collect();
    streams.reserve(SESSIONS);
    std::thread::sleep(Duration::from_millis(200));
    let before = ALLOCATED.allocated();
    streams.extend((0..SESSIONS).map(|_| idle(port, &config)));
    std::thread::sleep(Duration::from_millis(200));
    let each = (ALLOCATED.allocated() - before) / SESSIONS;
    println!("{each} octets per session in IDLE");
    assert!(
        each <= LIMIT,
        "{each} octets per session in IDLE, {LIMIT} allowed"
    );
    assert!(each > 1000, "{each}: nothing was measured");
}
