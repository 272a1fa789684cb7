//! DANE against a live server, beside Postfix's `posttls-finger`: the same zones, the same certificates, the same verdict.
//!
//! `posttls-finger` asks whom `/etc/resolv.conf` names, on port 53. So this needs root: it runs in a mount namespace of its own
//! with another `resolv.conf`. Without root, Postfix or the name servers the test says so and passes over it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_net::dns::Network;
use gatepost_testkit::dns_lab::{DnsLab, Fault, NoLab, Zone};
use gatepost_testkit::pki::{Authority, Issued};
use gatepost_trust::dane::{Route, find_host, find_route};
use gatepost_trust::dns::{Anchors, Name, Resolver, Status, Validation};
use gatepost_trust::policy::{Asked, DaneFact, Decision, Facts, Role, StsFact, decide_for};
use gatepost_trust::verify::{ClientTls, Roots, Shares, VerifiedBy};
use rcgen::PublicKeyData;
use rustls::{ClientConnection, ServerConfig, ServerConnection, Stream};

/// Where the resolver stands that `posttls-finger` asks.
const RESOLVER: &str = "127.77.53.1:53";

/// Domain, what is expected of us, whether `posttls-finger` calls it verified.
const CASES: &[(&str, &str, bool)] = &[
    ("key.live", "verified by DANE", true),
    ("certificate.live", "verified by DANE", true),
    ("rollover.live", "verified by DANE", true),
    ("strongest.live", "refused", false),
    ("otherkey.live", "refused", false),
    ("authority.live", "verified by DANE", true),
    ("othername.live", "refused", false),
    ("nexthop.live", "verified by DANE", true),
    ("unusable.live", "encrypted", false),
    ("pkix.live", "encrypted", false),
    ("absent.live", "encrypted", false),
    ("plain", "encrypted", false),
    ("changed", "later", false),
];

fn expiring_late(params: &mut rcgen::CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
}

fn hexadecimal(octets: &[u8]) -> String {
    octets
        .iter()
        .fold(String::new(), |text, octet| text + &format!("{octet:02x}"))
}

/// The records of the cases, all at one port.
fn zones(root: &Authority, leaf: &Issued, port: u16) -> Vec<Zone> {
    let sha256 = |octets: &[u8]| hexadecimal(rustls_hash(octets).as_ref());
    let key = sha256(&leaf.key.subject_public_key_info());
    let certificate = sha256(&leaf.certificate);
    let authority = sha256(&root.certificate);
    let other = "ab".repeat(32);
    let hosts = [
        ("key", vec![format!("3 1 1 {key}")]),
        ("certificate", vec![format!("3 0 1 {certificate}")]),
        (
            "rollover",
            vec![format!("3 1 1 {other}"), format!("3 1 1 {key}")],
        ),
        (
            "strongest",
            vec![format!("3 1 1 {key}"), format!("3 1 2 {other}{other}")],
        ),
        ("otherkey", vec![format!("3 1 1 {other}")]),
        ("authority", vec![format!("2 0 1 {authority}")]),
        ("othername", vec![format!("2 0 1 {authority}")]),
        ("nexthop", vec![format!("2 0 1 {authority}")]),
        ("unusable", vec!["3 1 1 00".into()]),
        ("pkix", vec![format!("1 1 1 {other}")]),
        ("absent", Vec::new()),
    ];
    let mut live = String::new();
    for (host, records) in hosts {
        live += &format!("{host} MX 10 mx.{host}\nmx.{host} A 127.0.0.1\n");
        for record in records {
            live += &format!("_{port}._tcp.mx.{host} TLSA {record}\n");
        }
    }
    let alone = format!(
        "@ MX 10 mx\nmx A 127.0.0.1\n_{port}._tcp.mx TLSA 3 1 1 000102{}\n",
        "00".repeat(29)
    );
    let changed = Zone {
        fault: Fault::Changed,
        ..Zone::signed("changed.", alone.clone())
    };
    vec![
        Zone::root(),
        Zone::signed("live.", live),
        Zone::unsigned("plain.", alone),
        changed,
    ]
}

fn rustls_hash(octets: &[u8]) -> rustls::crypto::hash::Output {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().unwrap().common.hash_provider;
    hash.hash(octets)
}

/// A mail server that speaks EHLO, STARTTLS and QUIT.
fn serve(listener: TcpListener, root: &Authority, leaf: &Issued) {
    let chain = vec![leaf.certificate.clone(), root.certificate.clone()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, leaf.private_key())
        .unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || session(stream, config));
        }
    });
}

fn session(mut stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    stream.write_all(b"220 mx.live ESMTP\r\n").ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|length| *length > 0)?;
        if line.starts_with("EHLO") {
            stream.write_all(b"250-mx.live\r\n250 STARTTLS\r\n").ok()?;
        } else if line.starts_with("STARTTLS") {
            stream.write_all(b"220 2.0.0 go on\r\n").ok()?;
            break;
        } else {
            return stream.write_all(b"221 2.0.0 bye\r\n").ok();
        }
    }
    let mut tls = ServerConnection::new(config).ok()?;
    let mut reader = BufReader::new(Stream::new(&mut tls, &mut stream));
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|length| *length > 0)?;
        let reply: &[u8] = if line.starts_with("EHLO") {
            b"250 mx.live\r\n"
        } else {
            b"221 2.0.0 bye\r\n"
        };
        reader.get_mut().write_all(reply).ok()?;
        reader.get_mut().flush().ok()?;
    }
}

/// Our verdict about a domain.
async fn ours(lab: &DnsLab, domain: &str, port: u16) -> &'static str {
    let anchors = Anchors::parse(&lab.anchor).unwrap();
    let resolver = Resolver::new(
        Network::new(vec![lab.plain]),
        Validation::Own(anchors),
        1000,
    );
    let now = SystemTime::now();
    let domain: Name = domain.parse().unwrap();
    let Route::Hosts(route) = find_route(&resolver, &domain, now, 0).await else {
        return "later";
    };
    let host = find_host(&resolver, &route, &route.hosts[0].exchange, port, now).await;
    if !host.is_reachable() {
        return "later";
    }
    let facts = Facts {
        role: Role::Relay,
        asked: Asked::Default,
        dane: DaneFact::Absent,
        sts: StsFact::Absent,
        name_is_trusted: route.status == Status::Secure,
        pinned: false,
        did_tls: false,
    };
    let Decision::Connect(connect) = decide_for(&host, facts) else {
        return "later";
    };
    let terms = connect
        .terms(&host, Arc::new(Roots::none()))
        .unwrap()
        .unwrap();
    let attempt = ClientTls::new(terms).attempt(now, Shares::Hybrid).unwrap();
    let address = SocketAddr::new(host.addresses[0], port);
    let shaken = shake(
        address,
        ClientConnection::new(attempt.config.clone(), attempt.name.clone()).unwrap(),
    );
    match attempt.verdict().and_then(|verdict| verdict.verified()) {
        Some(VerifiedBy::Dane) if shaken => "verified by DANE",
        Some(_) => "verified by something else",
        None if shaken => "encrypted",
        None => "refused",
    }
}

fn shake(address: SocketAddr, mut tls: ClientConnection) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut reply = || {
        let mut line = String::new();
        while !line.starts_with('2') || line.as_bytes()[3] != b' ' {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0);
        }
    };
    reply();
    stream.write_all(b"EHLO client.test\r\n").unwrap();
    reply();
    stream.write_all(b"STARTTLS\r\n").unwrap();
    reply();
    while tls.is_handshaking() {
        if tls.complete_io(&mut stream).is_err() {
            return false;
        }
    }
    true
}

/// What `posttls-finger` says about a domain: the first word of its line about the connection.
fn theirs(folder: &Path, domain: &str, port: u16) -> String {
    let script = format!(
        "mount --bind '{0}/resolv.conf' /etc/resolv.conf && MAIL_CONFIG='{0}' exec posttls-finger -c -l dane -t 10 -T 10 '{domain}:{port}'",
        folder.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find(|line| line.contains("TLS connection established"));
    let word = line.and_then(|line| line.strip_prefix("posttls-finger: "));
    word.and_then(|line| line.split(' ').next())
        .map_or_else(|| format!("no connection: {text}"), String::from)
}

fn missing(program: &str) -> bool {
    !Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|it| it.status.success())
}

// [DANE-04] [DANE-07] [DANE-09] [DANE-10] our verdict is Postfix's
#[tokio::test(flavor = "multi_thread")]
async fn verdicts_agree_with_posttls_finger() {
    let root_user = std::fs::metadata("/proc/self")
        .is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    if !root_user || missing("posttls-finger") || missing("unshare") {
        eprintln!("skipped: needs root and posttls-finger (Debian: postfix)");
        return;
    }
    if std::net::UdpSocket::bind(RESOLVER).is_err() {
        eprintln!("skipped: {RESOLVER} is taken");
        return;
    }
    let root = Authority::root_with("Live Root", expiring_late);
    let names = ["mx.key.live", "mx.authority.live", "nexthop.live"];
    let leaf = root.issue_with(&names, expiring_late);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lab = match DnsLab::start_at(&zones(&root, &leaf, port), RESOLVER.parse().unwrap()) {
        Ok(lab) => lab,
        Err(NoLab::Missing { program, .. }) => {
            eprintln!("skipped: {program} is not installed");
            return;
        }
        Err(NoLab::Failed(why)) => panic!("{why}"),
    };
    serve(listener, &root, &leaf);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("resolv.conf"),
        "nameserver 127.77.53.1\noptions trust-ad\n",
    )
    .unwrap();
    std::fs::write(
        folder.path().join("main.cf"),
        "compatibility_level = 3.6\nsmtp_host_lookup = dns\n",
    )
    .unwrap();
    let mut wrong = Vec::new();
    for (domain, expected, verified) in CASES {
        let (our, their) = (
            ours(&lab, domain, port).await,
            theirs(folder.path(), domain, port),
        );
        println!("{domain:18} {our:18} {their}");
        if our != *expected || (their == "Verified") != *verified {
            wrong.push(domain);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
