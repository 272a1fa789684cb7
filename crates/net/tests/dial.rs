//! Dialling: families, stagger, overrides, sources, SOCKS, the PROXY header.

mod support;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::client::ExitClass;
use gatepost_net::client::dial::{
    Announce, DialFailure, Dialed, Dialer, Override, Resolve, ResolveFailure, Resolving, Socks,
    Target,
};
use gatepost_wire::proxy::{Header, Progress, Tlv, parse};
use gatepost_wire::secret::Secret;
use socket2::{Domain, Socket, Type};
use support::scripted::{start, wait_for_end};

/// Names of a test.
struct Names(HashMap<&'static str, Vec<IpAddr>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        let found = self.0.get(host).cloned();
        Box::pin(async move { found.ok_or(ResolveFailure::NoName) })
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names(addresses: &[&str]) -> Arc<Names> {
    let addresses = addresses.iter().map(|it| ip(it)).collect();
    Arc::new(Names(HashMap::from([("mx.example", addresses)])))
}

fn target(address: SocketAddr) -> Target {
    Target::new("mx.example", address.port())
}

/// A socket on which nobody answers any more: its queue is full.
fn silent(address: &str, port: u16) -> (Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = SocketAddr::new(ip(address), port);
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let fill = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        socket
    };
    let filled = (0..4).map(fill).collect();
    (listener, filled)
}

#[tokio::test]
async fn one_that_is_silent_does_not_hold_up_the_next() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let _silent = silent("127.0.0.2", address.port());
    let dialer = Dialer {
        resolver: names(&["127.0.0.2", "127.0.0.1"]),
        ..Dialer::default()
    };
    let begun = Instant::now();
    let connection = dialer.dial(&target(address)).await.unwrap();
    assert_eq!(connection.address, address);
    assert_eq!(connection.server, address.to_string());
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[tokio::test]
async fn one_that_refuses_leads_to_the_next_at_once() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let dialer = Dialer {
        resolver: names(&["127.0.0.2", "127.0.0.3", "127.0.0.1"]),
        stagger: Duration::from_secs(60),
        ..Dialer::default()
    };
    let begun = Instant::now();
    assert_eq!(
        dialer.dial(&target(address)).await.unwrap().address,
        address
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn ipv6_goes_first() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let Ok(_six) = TcpListener::bind(("::1", address.port())) else {
        println!("skipped: there is no IPv6 here");
        return;
    };
    let dialer = Dialer {
        resolver: names(&["127.0.0.1", "::1"]),
        stagger: Duration::from_secs(60),
        ..Dialer::default()
    };
    let connection = dialer.dial(&target(address)).await.unwrap();
    assert!(connection.address.is_ipv6());
    // Addresses that are known already are not asked for.
    let known = Target {
        addresses: vec![ip("127.0.0.1")],
        ..Target::new("unknown.example", address.port())
    };
    assert!(dialer.dial(&known).await.unwrap().address.is_ipv4());
}

#[tokio::test]
async fn failures_say_what_was_tried() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let dialer = Dialer {
        resolver: names(&["127.0.0.1", "127.0.0.2"]),
        ..Dialer::default()
    };
    let failure = dialer.dial(&target(address)).await.unwrap_err();
    assert_eq!(failure.label(), "E-REFUSED");
    assert_eq!(failure.exit_class(), ExitClass::Undecided);
    let text = failure.to_string();
    assert!(
        text.contains("127.0.0.1:") && text.contains("127.0.0.2:"),
        "{text}"
    );
    let failure = dialer
        .dial(&Target::new("no.example", 25))
        .await
        .unwrap_err();
    assert_eq!(failure.label(), "E-NO-NAME");
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _silent = silent("127.0.0.4", port);
    let dialer = Dialer {
        resolver: names(&["127.0.0.4"]),
        limit: Duration::from_millis(300),
        ..Dialer::default()
    };
    let failure = dialer
        .dial(&Target::new("mx.example", port))
        .await
        .unwrap_err();
    assert_eq!(failure.label(), "E-CONNECT-TIMEOUT");
}

#[tokio::test]
async fn the_users_word_on_a_name_comes_first() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let said = |port| Override {
        host: "MX.example".to_owned(),
        port,
        addresses: vec![ip("127.0.0.1")],
    };
    let dialer = Dialer {
        resolver: names(&["127.0.0.9"]),
        overrides: vec![said(Some(1)), said(None)],
        ..Dialer::default()
    };
    assert_eq!(
        dialer.dial(&target(address)).await.unwrap().address,
        address
    );
    let dialer = Dialer {
        overrides: vec![said(Some(1))],
        ..dialer
    };
    assert_eq!(
        dialer.dial(&target(address)).await.unwrap_err().label(),
        "E-REFUSED"
    );
}

#[tokio::test]
async fn connections_come_from_the_source_given() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let dialer = Dialer {
        resolver: names(&["::1", "127.0.0.1"]),
        sources: vec![ip("127.0.0.7")],
        ..Dialer::default()
    };
    dialer.dial(&target(address)).await.unwrap();
    assert_eq!(server.accept().unwrap().1.ip(), ip("127.0.0.7"));
    let dialer = Dialer {
        sources: vec![ip("::1")],
        ..dialer
    };
    let failure = dialer.dial(&Target::from(address)).await.unwrap_err();
    assert_eq!(failure, DialFailure::NoSource);
    assert_eq!(failure.exit_class(), ExitClass::Usage);
    let dialer = Dialer {
        sources: vec![ip("192.0.2.1")],
        ..dialer
    };
    let failure = dialer.dial(&Target::from(address)).await.unwrap_err();
    assert_eq!(failure.label(), "E-NO-SOURCE");
}

fn expect(stream: &mut TcpStream, octets: &[u8]) {
    let mut came = vec![0; octets.len()];
    stream.read_exact(&mut came).unwrap();
    assert_eq!(came, octets);
}

async fn through(
    proxy: SocketAddr,
    host: &str,
    password: Option<&str>,
) -> Result<Dialed, DialFailure> {
    let login = password.map(|it| ("user".to_owned(), Secret::new(it.to_owned())));
    let dialer = Dialer {
        // Nobody is asked for the server's name here.
        resolver: Arc::new(Names(HashMap::new())),
        socks: Some(Socks {
            host: proxy.ip().to_string(),
            port: proxy.port(),
            login,
        }),
        limit: Duration::from_secs(5),
        ..Dialer::default()
    };
    dialer.dial(&Target::new(host, 25)).await
}

#[tokio::test]
async fn a_socks_proxy_resolves_and_connects() {
    let proxy = start(|mut stream, _| {
        expect(&mut stream, &[5, 1, 0]);
        stream.write_all(&[5, 0]).unwrap();
        expect(&mut stream, b"\x05\x01\0\x03\x0amx.example\0\x19");
        // A name, and the server's first words in the same segment.
        stream
            .write_all(b"\x05\0\0\x03\x05proxy\x12\x34220 mx\r\n")
            .unwrap();
        wait_for_end(stream);
    });
    let mut connection = through(proxy, "mx.example", None).await.unwrap();
    assert_eq!(connection.server, format!("mx.example:25 through {proxy}"));
    let mut words = [0; 8];
    tokio::io::AsyncReadExt::read_exact(&mut connection.stream, &mut words)
        .await
        .unwrap();
    assert_eq!(&words, b"220 mx\r\n");
    for (host, request, reply) in [
        (
            "192.0.2.1",
            &b"\x05\x01\0\x01\xc0\0\x02\x01\0\x19"[..],
            &b"\x05\0\0\x01\0\0\0\0\0\0"[..],
        ),
        (
            "2001:db8::1",
            b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x19",
            b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
    ] {
        let proxy = start(move |mut stream, _| {
            expect(&mut stream, &[5, 2, 0, 2]);
            stream.write_all(&[5, 2]).unwrap();
            expect(&mut stream, b"\x01\x04user\x06secret");
            stream.write_all(&[1, 0]).unwrap();
            expect(&mut stream, request);
            stream.write_all(reply).unwrap();
            wait_for_end(stream);
        });
        through(proxy, host, Some("secret")).await.unwrap();
    }
}

#[tokio::test]
async fn a_socks_proxy_that_does_not_lead_on_is_told_from_the_server() {
    const REFUSED: &[u8] = &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0];
    let cases: Vec<(Vec<&'static [u8]>, &str)> = vec![
        (vec![&[5, 0xff]], "E-SOCKS-AUTH"),
        (vec![&[5, 2], &[1, 1]], "E-SOCKS-AUTH"),
        (vec![&[5, 2], &[1, 0], REFUSED], "E-SOCKS-REFUSED"),
        (vec![&[5, 0], &[5, 0, 0, 9]], "E-SOCKS-PROTOCOL"),
        (vec![&[5, 0], &[4, 0, 0, 1]], "E-SOCKS-PROTOCOL"),
        (vec![&[4, 90]], "E-SOCKS-PROTOCOL"),
        (vec![b"220 mx\r\n"], "E-SOCKS-PROTOCOL"),
        (vec![], "E-SOCKS-PROTOCOL"),
    ];
    for (answers, label) in cases {
        let shown = format!("{answers:?}");
        let proxy = start(move |mut stream, _| {
            for answer in &answers {
                assert!(stream.read(&mut [0; 100]).unwrap() > 0);
                stream.write_all(answer).unwrap();
            }
            let _ = stream.read(&mut [0; 100]);
        });
        let failure = through(proxy, "mx.example", Some("secret"))
            .await
            .unwrap_err();
        assert_eq!(failure.label(), label, "{shown}");
    }
    // A password is only said when it is asked for, and a method that was not offered is not taken.
    let proxy = start(|mut stream, _| {
        expect(&mut stream, &[5, 1, 0]);
        stream.write_all(&[5, 2]).unwrap();
        assert_eq!(stream.read(&mut [0; 100]).unwrap(), 0);
    });
    let failure = through(proxy, "mx.example", None).await.unwrap_err();
    assert_eq!(failure.label(), "E-SOCKS-PROTOCOL");
    let proxy = start(|stream, _| drop(stream));
    let long = "x".repeat(256);
    assert_eq!(
        through(proxy, &long, None).await.unwrap_err().label(),
        "E-SOCKS-TOO-LONG"
    );
}

#[tokio::test]
async fn the_proxy_header_goes_first() {
    // [PROXY-05]
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let told = Header {
        tlvs: vec![Tlv::new(Tlv::AUTHORITY, *b"mx.example")],
        ..Header::of(
            "192.0.2.7:4000".parse().unwrap(),
            "198.51.100.1:25".parse().unwrap(),
        )
    };
    for (text, header) in [(true, None), (false, None), (false, Some(told))] {
        let announce = Some(Announce {
            text,
            header: header.clone(),
        });
        let dialer = Dialer {
            announce,
            ..Dialer::default()
        };
        let connection = dialer.dial(&Target::from(address)).await.unwrap();
        let (mut stream, client) = server.accept().unwrap();
        drop(connection);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let expected = header.unwrap_or_else(|| Header::of(client, address));
        assert_eq!(parse(&bytes), Progress::Complete(expected, bytes.len()));
        assert_eq!(bytes.starts_with(b"PROXY TCP4 "), text);
    }
}
