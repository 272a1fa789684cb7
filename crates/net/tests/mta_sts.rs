//! MTA-STS with a real HTTPS policy host on loopback, made wrong in every way that counts.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_net::client::dial::{Dialer, Override};
use gatepost_net::policy_host::PolicyHosts;
use gatepost_testkit::pki::{Authority, Issued};
use gatepost_trust::dns::{Answer, Data, Lookup, Name, Rtype, Status};
use gatepost_trust::mta_sts::{Cache, FetchError, Found, Problem, find};
use gatepost_trust::policy::StsFact;
use gatepost_trust::verify::Roots;
use rustls::{ServerConfig, ServerConnection, Stream};

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.example\r\nmax_age: 604800\r\n";

fn good_until_2040(params: &mut rcgen::CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
}

fn serve(leaf: &Issued, answer: String) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![leaf.certificate.clone()], leaf.private_key())
    .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            session(stream, Arc::clone(&config), &answer);
        }
    });
    address
}

fn session(mut stream: TcpStream, config: Arc<ServerConfig>, answer: &str) -> Option<()> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    let mut tls = ServerConnection::new(config).ok()?;
    let mut reader = BufReader::new(Stream::new(&mut tls, &mut stream));
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    assert!(
        first.starts_with("GET /.well-known/mta-sts.txt "),
        "{first}"
    );
    let mut line = String::from("-");
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    reader.get_mut().write_all(answer.as_bytes()).ok()?;
    tls.send_close_notify();
    tls.complete_io(&mut stream).ok().map(|_| ())
}

/// The record of the domain, and nothing else.
struct Zone;

impl Lookup for Zone {
    async fn lookup(&self, _: &Name, rtype: Rtype, _: SystemTime) -> Answer<Data> {
        assert_eq!(rtype, Rtype::TXT);
        Answer {
            status: Status::Insecure,
            records: vec![Data::Txt(vec![b"v=STSv1; ".to_vec(), b"id=1;".to_vec()])],
            denial: None,
            aliases: Vec::new(),
            ttl: Duration::from_secs(60),
        }
    }
}

async fn found(root: &Authority, leaf: &Issued, answer: String) -> Found {
    let address = serve(leaf, answer);
    let mut dialer = Dialer::default();
    dialer.overrides.push(Override {
        host: "mta-sts.mail.example".to_owned(),
        port: None,
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
    });
    let mut roots = Roots::none();
    roots.add(root.certificate.clone()).unwrap();
    let hosts = PolicyHosts::new(dialer, Arc::new(roots)).with_port(address.port());
    let domain: Name = "mail.example".parse().unwrap();
    find(&Zone, &hosts, &Cache::new(10), &domain, SystemTime::now()).await
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

// [STS-02] a policy counts from its own host, verified, with status 200, in time and in size
#[tokio::test(flavor = "multi_thread")]
async fn policies_come_from_a_verified_host_or_not_at_all() {
    let root = Authority::root_with("Root", good_until_2040);
    let leaf = root.issue_with(&["mta-sts.mail.example"], good_until_2040);
    let good = found(&root, &leaf, ok(POLICY)).await;
    assert_eq!(good.problem, None);
    assert_eq!(
        good.fact(&"mx.example".parse().unwrap()),
        StsFact::Enforce { listed: true }
    );
    let wildcard = root.issue_with(&["*.mail.example"], good_until_2040);
    assert_eq!(
        found(&root, &wildcard, ok(POLICY)).await,
        good,
        "a wildcard will do"
    );

    let certificate = Problem::Fetch(FetchError::Certificate);
    let expired = root.issue_with(&["mta-sts.mail.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let other = root.issue_with(&["mail.example"], good_until_2040);
    let stranger = Authority::root_with("Stranger", good_until_2040);
    let strange = stranger.issue_with(&["mta-sts.mail.example"], good_until_2040);
    for leaf in [&expired, &other, &strange] {
        let found = found(&root, leaf, ok(POLICY)).await;
        assert_eq!((found.policy, found.problem), (None, Some(certificate)));
    }
    let redirect =
        "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.example/x\r\nContent-Length: 0\r\n\r\n";
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let large = ok(&format!("{POLICY}x: {}\r\n", "y".repeat(64 * 1024)));
    for (answer, error) in [
        (redirect.to_owned(), FetchError::Status(301)),
        (missing.to_owned(), FetchError::Status(404)),
        (large, FetchError::TooLarge),
        ("220 mx ESMTP\r\n\r\n".to_owned(), FetchError::NotText),
    ] {
        let found = found(&root, &leaf, answer).await;
        assert_eq!(
            (found.policy, found.problem),
            (None, Some(Problem::Fetch(error)))
        );
    }
}
