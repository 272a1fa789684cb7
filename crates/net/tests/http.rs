//! The HTTP client, against servers that are good, odd, cut and foreign.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gatepost_net::client::dial::{Dialer, Override};
use gatepost_net::client::{CrlSource as _, Options};
use gatepost_net::http::{Access, HttpFailure, Limits, Response, Url, get, terms};
use gatepost_trust::verify::{ClientTls, Demand, Roots, Terms};
use support::pki;
use support::scripted::{self, close, reset, start, tls};

/// Reads a request and gives its first line, and whether it names the host.
fn request(stream: &mut impl std::io::Read) -> (String, String) {
    let first = scripted::hear(stream);
    let mut host = String::new();
    loop {
        let line = scripted::hear(stream);
        if line == "\r\n" {
            return (first, host);
        }
        if let Some(value) = line.strip_prefix("Host: ") {
            value.trim_end().clone_into(&mut host);
        }
    }
}

/// An https server that answers every request so.
fn https(answer: impl Fn(scripted::Tls) + Send + 'static) -> SocketAddr {
    start(move |stream, _| {
        if let Some(mut tls) = tls(stream) {
            let (first, host) = request(&mut tls);
            assert!(
                first.starts_with("GET /") && host.starts_with("mail.example:"),
                "{host}"
            );
            answer(tls);
        }
    })
}

fn dialer() -> Dialer {
    let mut dialer = Dialer::default();
    dialer.overrides.push(Override {
        host: "mail.example".to_owned(),
        port: None,
        addresses: vec![IpAddr::from([127, 0, 0, 1])],
    });
    dialer
}

fn url(scheme: &str, address: SocketAddr) -> Url {
    let port = address.port();
    format!("{scheme}://mail.example:{port}/.well-known/x?y=z")
        .parse()
        .unwrap()
}

async fn fetch(address: SocketAddr, limits: Limits) -> Result<Response, HttpFailure> {
    let url = url("https", address);
    let tls = ClientTls::new(terms(&url, Arc::clone(&pki::shared().trusted)).unwrap());
    let options = Arc::new(Options::default());
    get(&url, Access::Verified(&tls), &dialer(), &options, limits).await
}

/// Answers with these octets and a clean end.
async fn answered(octets: &'static [u8]) -> Result<Response, HttpFailure> {
    let server = https(move |mut tls| {
        let _ = tls.write_all(octets);
        close(tls);
    });
    let limits = Limits {
        body: 20,
        ..Limits::default()
    };
    fetch(server, limits).await
}

#[tokio::test]
async fn bodies_of_every_kind_arrive_whole() {
    for octets in [
        &b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello",
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let response = answered(octets).await.unwrap();
        assert_eq!(response.body, b"hello");
        assert_eq!(response.head.media_type().as_deref(), Some("text/plain"));
    }
}

#[tokio::test]
async fn what_is_not_clear_or_too_much_is_refused() {
    for (octets, label) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n"[..],
            "E-TOO-MUCH",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n123456789012345678901",
            "E-TOO-MUCH",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n",
            "E-TOO-MUCH",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "E-PROTOCOL",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "E-PROTOCOL",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
            "E-PROTOCOL",
        ),
        (b"HTTP/2 200\r\n\r\n", "E-PROTOCOL"),
        (b"220 mx ESMTP\r\n\r\n\r\n", "E-PROTOCOL"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "E-CLOSED",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-", "E-CLOSED"),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://mail.example/\r\nContent-Length: 0\r\n\r\n",
            "E-HTTP-STATUS",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "E-HTTP-STATUS",
        ),
    ] {
        let failure = answered(octets).await.unwrap_err();
        assert_eq!(
            failure.label(),
            label,
            "{:?}",
            String::from_utf8_lossy(octets)
        );
    }
    let endless = https(|mut tls| {
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\n");
        while tls
            .write_all(&[b"X: ", &[b'y'; 1000][..], b"\r\n"].concat())
            .is_ok()
        {}
    });
    assert_eq!(
        fetch(endless, Limits::default()).await.unwrap_err().label(),
        "E-TOO-MUCH"
    );
}

#[tokio::test]
async fn a_body_that_is_cut_off_does_not_count() {
    // [TLS-CLOSE-01] The length is not told, and neither is the end.
    for end in [(|tls| drop(tls)) as fn(scripted::Tls), |tls| {
        reset(tls.sock);
    }] {
        let server = https(move |mut tls| {
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nversion: STSv1");
            let _ = tls.flush();
            end(tls);
        });
        let failure = fetch(server, Limits::default()).await.unwrap_err();
        assert_eq!(failure.label(), "E-TRUNCATED");
    }
}

#[tokio::test]
async fn a_slow_server_meets_the_limit() {
    let server = https(|mut tls| {
        for octet in b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
            .iter()
            .cycle()
        {
            if tls.write_all(&[*octet]).and_then(|()| tls.flush()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let limits = Limits {
        time: Duration::from_millis(500),
        ..Limits::default()
    };
    let failure = fetch(server, limits).await.unwrap_err();
    assert!(
        matches!(failure.label(), "E-HTTP-TIMEOUT" | "E-TIMEOUT"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn https_is_verified_and_http_is_asked_for() {
    let server = https(|mut tls| {
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let url_of = |scheme| url(scheme, server);
    let options = Arc::new(Options::default());
    let nobody = terms(&url_of("https"), Arc::new(Roots::none())).unwrap();
    let (dialer, limits) = (dialer(), Limits::default());
    let strict = ClientTls::new(nobody.clone());
    let failure = get(
        &url_of("https"),
        Access::Verified(&strict),
        &dialer,
        &options,
        limits,
    )
    .await;
    assert!(failure.unwrap_err().label().starts_with("E-CERT-"));
    // Terms that are content with encryption are not enough.
    let lax = ClientTls::new(Terms {
        demand: Demand::Encrypted,
        ..nobody
    });
    let failure = get(
        &url_of("https"),
        Access::Verified(&lax),
        &dialer,
        &options,
        limits,
    )
    .await;
    assert_eq!(failure, Err(HttpFailure::NotVerified));
    for (scheme, access) in [
        ("http", Access::Verified(&strict)),
        ("https", Access::Plain),
    ] {
        let failure = get(&url_of(scheme), access, &dialer, &options, limits).await;
        assert_eq!(failure, Err(HttpFailure::Scheme));
    }
}

#[tokio::test]
async fn lists_of_revoked_certificates_are_fetched_once() {
    let asked = Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = Arc::clone(&asked);
    let server = start(move |mut stream, _| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        request(&mut stream);
        let list = &pki::shared().crl;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(list).unwrap();
        let _ = stream.read(&mut [0; 10]);
    });
    // [REV-02] the second is another run of a program that shares the folder
    let folder = tempfile::tempdir().unwrap();
    let fetcher =
        || gatepost_net::http::CrlFetcher::new(dialer()).with_folder(folder.path().join("crls"));
    let fetchers = [fetcher(), fetcher()];
    let urls = [
        url("http", server).to_string(),
        "ldap://mail.example/".to_owned(),
        "http://127.0.0.1:1/".to_owned(),
    ]
    .map(|url| gatepost_trust::verify::CrlUrl { url, position: 0 });
    for fetcher in [&fetchers[0], &fetchers[0], &fetchers[1]] {
        assert_eq!(fetcher.fetch(&urls).await.len(), 1);
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn python_serves_us() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("both.pem");
    std::fs::write(&key, &pki::shared().pem).unwrap();
    std::fs::write(folder.path().join("policy.txt"), "version: STSv1\n").unwrap();
    let script = "import http.server,ssl,sys,os\nos.chdir(sys.argv[1])\n\
        s=http.server.HTTPServer(('127.0.0.1',0),http.server.SimpleHTTPRequestHandler)\n\
        c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\nc.load_cert_chain('both.pem')\n\
        s.socket=c.wrap_socket(s.socket,server_side=True)\nprint(s.server_port,flush=True)\ns.serve_forever()\n";
    let child = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: there is no python3");
        return;
    };
    let mut port = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut port).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let fetched = runtime.block_on(async {
        let url: Url = format!("https://mail.example:{}/policy.txt", port.trim())
            .parse()
            .unwrap();
        let tls = ClientTls::new(terms(&url, Arc::clone(&pki::shared().trusted)).unwrap());
        let options = Arc::new(Options::default());
        get(
            &url,
            Access::Verified(&tls),
            &dialer(),
            &options,
            Limits::default(),
        )
        .await
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let response = fetched.unwrap();
    assert_eq!(response.body, b"version: STSv1\n");
    assert_eq!(response.head.media_type().as_deref(), Some("text/plain"));
}
