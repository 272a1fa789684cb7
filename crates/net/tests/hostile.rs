//! Servers that are broken, silent, slow or hostile, and what the client says of them.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::client::dial::{Dialer, Target};
use gatepost_net::client::{Channel, ExitClass, Failure, Options, Session, Start, open};
use gatepost_trust::verify::{ClientTls, Roots, Terms};
use gatepost_wire::client::{Deadlines, Mode, Seed};
use gatepost_wire::smtp::client::{Answer, Ask, Client, Config, Fresh, Transaction};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
use gatepost_wire::tls::{ClientHello, HelloReader, Progress, TLS12, TLS13};
use support::caller::terms;
use support::scripted::{self, close, hear, hybrid_tls, reset, say, start, tls, wait_for_end};

const SHORT: Duration = Duration::from_millis(400);

fn config(mode: Mode) -> Arc<Config> {
    let mut config = Config::new(mode, "client.example");
    config.deadlines = Deadlines {
        greeting: SHORT,
        hello: SHORT,
        ..Deadlines::INTERACTIVE
    };
    Arc::new(config)
}

fn begin(mode: Mode) -> Start<Client> {
    let seed = Seed::new([7; 32]);
    match mode {
        Mode::Implicit => Start::Implicit(Fresh::implicit(config(mode), seed)),
        _ => Start::Clear(Client::clear(config(mode), seed)),
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.limits.handshake = SHORT;
    options
}

async fn session(address: SocketAddr, mode: Mode, terms: Terms) -> Session<Client> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let tls = ClientTls::new(terms);
    Session::new(stream, begin(mode), tls, Arc::new(options()))
}

/// The failure a session with this server ends in, before its first question.
async fn failure(address: SocketAddr, mode: Mode) -> Failure {
    let begun = Instant::now();
    let mut session = session(address, mode, terms()).await;
    let failure = session.next().await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{failure}");
    assert_eq!(session.channel(), Channel::Clear);
    failure
}

fn hello(stream: &mut TcpStream) -> Vec<u8> {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record).unwrap();
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..]).unwrap();
    record
}

/// What a server does instead of a handshake, and the label.
type Case = (&'static str, fn(TcpStream));

const HANDSHAKES: &[Case] = &[
    ("E-TLS-TIMEOUT", wait_for_end),
    ("E-TLS-TIMEOUT", |mut stream| {
        // Half a ServerHello.
        hello(&mut stream);
        stream
            .write_all(&[22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3])
            .unwrap();
        wait_for_end(stream);
    }),
    ("E-TLS-TIMEOUT", |mut stream| {
        // An octet now and then.
        hello(&mut stream);
        for octet in [22, 3, 3, 0, 90, 2].into_iter().chain([0; 84]) {
            if stream.write_all(&[octet]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }),
    ("E-TLS-CLOSED", |mut stream| drop(hello(&mut stream))),
    ("E-TLS-CLOSED", |mut stream| {
        hello(&mut stream);
        reset(stream);
    }),
    ("E-TLS-PROTOCOL", |mut stream| {
        hello(&mut stream);
        stream.write_all(&[22, 3, 3, 0, 4, 99, 0, 0, 0]).unwrap();
        wait_for_end(stream);
    }),
    ("E-TLS-PROTOCOL", |mut stream| {
        // A record longer than records are.
        hello(&mut stream);
        stream.write_all(&[22, 3, 3, 0xff, 0xff]).unwrap();
        let _ = stream.write_all(&[0; 70_000]);
        wait_for_end(stream);
    }),
    ("E-TLS-ALERT", |mut stream| {
        hello(&mut stream);
        stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).unwrap();
        wait_for_end(stream);
    }),
];

#[tokio::test]
async fn handshakes_that_fail_have_a_reason() {
    // [SMTP-STARTTLS-23]
    for (number, (label, script)) in HANDSHAKES.iter().enumerate() {
        let script = *script;
        let implicit = start(move |stream, _| script(stream));
        let told = failure(implicit, Mode::Implicit).await;
        assert_eq!(told.label(), *label, "case {number}: {told}");
        let upgraded = start(move |mut stream, _| {
            agree(&mut stream);
            script(stream);
        });
        let told = failure(upgraded, Mode::StartTls).await;
        assert_eq!(told.label(), *label, "case {number} after STARTTLS: {told}");
    }
}

/// Greeting, EHLO, STARTTLS.
fn agree(stream: &mut TcpStream) {
    say(stream, "220 mx ESMTP\r\n");
    hear(stream);
    say(stream, "250-mx\r\n250 STARTTLS\r\n");
    assert_eq!(hear(stream), "STARTTLS\r\n");
    say(stream, "220 go\r\n");
}

#[tokio::test]
async fn clear_text_on_the_tls_port_is_told_in_words() {
    // [IMPL-03]
    for (words, shown) in [
        ("220 mx.example ESMTP\r\n", "220 mx.example ESMTP"),
        ("* OK ready\r\n", "* OK ready"),
        ("+OK\r\n", "+OK"),
        ("2", "2"),
    ] {
        let server = start(move |mut stream, _| {
            say(&mut stream, words);
            wait_for_end(stream);
        });
        let told = failure(server, Mode::Implicit).await;
        assert_eq!(told.label(), "E-TLS-PLAINTEXT");
        assert!(told.to_string().contains(shown), "{told}");
        assert_eq!(told.exit_class(), ExitClass::Finding);
    }
}

#[tokio::test]
async fn whatever_follows_starttls_must_be_tls() {
    // [SMTP-STARTTLS-20] In the same segment: left over. Later: not TLS.
    let together = start(|mut stream, _| {
        say(&mut stream, "220 mx ESMTP\r\n");
        hear(&mut stream);
        say(&mut stream, "250-mx\r\n250 STARTTLS\r\n");
        hear(&mut stream);
        say(&mut stream, "220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "not a byte after it");
    });
    let told = failure(together, Mode::StartTls).await;
    assert_eq!(told.label(), "E-INJECT");
    assert_eq!(
        told.to_string(),
        "26 octets arrived before TLS started; connection closed"
    );
    let later = start(|mut stream, _| {
        agree(&mut stream);
        hello(&mut stream);
        say(&mut stream, "250 evil\r\n");
        wait_for_end(stream);
    });
    assert_eq!(failure(later, Mode::StartTls).await.label(), "E-NOT-TLS");
}

#[tokio::test]
async fn silence_and_slowness_in_clear_meet_their_deadlines() {
    let silent = start(|stream, _| wait_for_end(stream));
    assert_eq!(
        failure(silent, Mode::StartTls).await.label(),
        "E-NO-GREETING"
    );
    let slow = start(|mut stream, _| {
        for octet in "220 mx.example ESMTP and many words more\r\n".bytes() {
            if stream.write_all(&[octet]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    assert_eq!(failure(slow, Mode::StartTls).await.label(), "E-NO-GREETING");
    let tls = start(|mut stream, _| {
        stream.write_all(&[22, 3, 3]).unwrap();
        wait_for_end(stream);
    });
    assert_eq!(
        failure(tls, Mode::StartTls).await.label(),
        "E-TLS-ON-CLEAR-PORT"
    );
    let gone = start(|stream, _| drop(stream));
    assert_eq!(failure(gone, Mode::StartTls).await.label(), "E-CLOSED");
    let cut = start(|stream, _| reset(stream));
    assert_eq!(failure(cut, Mode::StartTls).await.label(), "E-TRUNCATED");
}

#[tokio::test]
async fn a_certificate_nobody_trusted_issued_is_refused() {
    // [SMTP-STARTTLS-13] sooner than by QUIT: the handshake itself is refused, and nothing is said inside
    for mode in [Mode::Implicit, Mode::StartTls] {
        let server = start(move |mut stream, _| {
            if mode == Mode::StartTls {
                agree(&mut stream);
            }
            assert!(tls(stream).is_none(), "the client must not go on");
        });
        let terms = Terms {
            roots: Arc::new(Roots::none()),
            ..terms()
        };
        let mut session = session(server, mode, terms).await;
        let told = session.next().await.unwrap_err();
        assert!(told.label().starts_with("E-CERT-"), "{told}");
        assert!(matches!(told, Failure::Unverified(_)));
        assert_eq!(told.exit_class(), ExitClass::Finding);
    }
}

/// A server that takes a message up to its last octet and then ends as told.
fn ends_after_the_message(end: fn(scripted::Tls)) -> SocketAddr {
    start(move |stream, _| {
        let mut tls = tls(stream).unwrap();
        say(&mut tls, "220 mx ESMTP\r\n");
        hear(&mut tls);
        say(&mut tls, "250 mx\r\n");
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            hear(&mut tls);
            say(&mut tls, reply);
        }
        while hear(&mut tls) != ".\r\n" {}
        end(tls);
    })
}

async fn send(session: &mut Session<Client>) -> Result<bool, Failure> {
    let recipient = ForwardPath::parse("<b@mx.example>").unwrap();
    let sender = ReversePath::parse("<a@client.example>").unwrap();
    let mut delivered = false;
    while let Some(ask) = session.next().await? {
        session.answer(match ask {
            Ask::Ready(_) => {
                let recipients = vec![recipient.clone()];
                Answer::Transaction(Box::new(Transaction::new(1, sender.clone(), recipients)))
            }
            Ask::Content(_) => Answer::Content {
                portion: b"Subject: x\r\n\r\nwords\r\n".to_vec(),
                last: true,
            },
            Ask::Sent(outcome) => {
                delivered = outcome.is_delivered();
                Answer::Quit
            }
            _ => Answer::Wait,
        });
    }
    Ok(delivered)
}

#[tokio::test]
async fn a_message_counts_only_when_the_server_says_so_inside_tls() {
    // [SMTP-STARTTLS-25] [TLS-CLOSE-01]
    for (end, label) in [
        ((|tls| drop(tls.sock)) as fn(scripted::Tls), "E-TRUNCATED"),
        (|tls| reset(tls.sock), "E-TRUNCATED"),
        (close, "E-CLOSED"),
        (
            |mut tls| {
                // The beginning of the reply.
                say(&mut tls, "250 2.0");
                drop(tls.sock);
            },
            "E-TRUNCATED",
        ),
    ] {
        let server = ends_after_the_message(end);
        let mut session = session(server, Mode::Implicit, terms()).await;
        assert_eq!(send(&mut session).await.unwrap_err().label(), label);
    }
    let good = ends_after_the_message(|mut tls| {
        say(&mut tls, "250 taken\r\n");
        assert_eq!(hear(&mut tls), "QUIT\r\n");
        say(&mut tls, "221 bye\r\n");
        close(tls);
    });
    let mut session = session(good, Mode::Implicit, terms()).await;
    assert_eq!(send(&mut session).await, Ok(true));
}

/// A server that minds a hello of more than one segment, and otherwise greets inside TLS.
fn minds_large_hellos(mind: fn(TcpStream)) -> (SocketAddr, Arc<std::sync::Mutex<Vec<usize>>>) {
    let sizes = Arc::<std::sync::Mutex<Vec<usize>>>::default();
    let seen = Arc::clone(&sizes);
    let address = start(move |mut stream, _| {
        let mut record = [0; 5];
        let mut peeked = 0;
        while peeked < 5 {
            peeked = stream.peek(&mut record).unwrap();
        }
        let size = usize::from(u16::from_be_bytes([record[3], record[4]]));
        seen.lock().unwrap().push(size);
        if size > 1400 {
            hello(&mut stream);
            return mind(stream);
        }
        let mut tls = hybrid_tls(stream).unwrap();
        say(&mut tls, "220 mx ESMTP\r\n");
        hear(&mut tls);
        say(&mut tls, "250 mx\r\n");
        let _ = tls.sock.read(&mut [0; 100]);
    });
    (address, sizes)
}

async fn open_at(address: SocketAddr, options: &Arc<Options>) -> Result<Session<Client>, Failure> {
    let tls = ClientTls::new(terms());
    let target = Target::from(address);
    let dialer = Dialer::default();
    open(&dialer, &target, &tls, options, || begin(Mode::Implicit)).await
}

#[tokio::test]
async fn a_large_hello_is_made_smaller_once_and_that_is_remembered() {
    // [PQ-01]
    for mind in [reset as fn(TcpStream), |stream| drop(stream), wait_for_end] {
        let mut options = Options::default();
        options.limits.first_answer = SHORT;
        let options = Arc::new(options);
        let (address, sizes) = minds_large_hellos(mind);
        let session = open_at(address, &options).await.unwrap();
        // The hybrid was still listed, and the server asked for it.
        assert_eq!(session.facts().unwrap().group, Some("X25519MLKEM768"));
        drop(session);
        let sizes_now = sizes.lock().unwrap().clone();
        assert!(
            sizes_now.len() == 2 && sizes_now[0] > 1400 && sizes_now[1] < 800,
            "{sizes_now:?}"
        );
        open_at(address, &options).await.unwrap();
        assert_eq!(sizes.lock().unwrap().len(), 3, "no large hello again");
    }
}

#[tokio::test]
async fn nothing_else_is_tried_again() {
    // [PQ-01] An answer of any kind is an answer; and silence to the small hello too is silence.
    let options = Arc::new(Options::default());
    let (address, sizes) = minds_large_hellos(|mut stream| {
        stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).unwrap();
        wait_for_end(stream);
    });
    assert_eq!(
        open_at(address, &options).await.unwrap_err().label(),
        "E-TLS-ALERT"
    );
    assert_eq!(sizes.lock().unwrap().len(), 1);
    let connections = Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = Arc::clone(&connections);
    let address = start(move |mut stream, _| {
        hello(&mut stream);
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        reset(stream);
    });
    assert_eq!(
        open_at(address, &options).await.unwrap_err().label(),
        "E-TLS-CLOSED"
    );
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 2);
    let shares = options.hellos.shares(&address.to_string(), Instant::now());
    assert_eq!(shares, gatepost_trust::verify::Shares::Hybrid);
}

/// Ends the connection after an alert.
fn alert(mut stream: TcpStream, description: u8) {
    stream.write_all(&[21, 3, 1, 0, 2, 2, description]).unwrap();
    wait_for_end(stream);
}

/// All hellos a server gets that does this to each.
async fn hellos(mind: fn(TcpStream)) -> Vec<ClientHello> {
    let (tell, told) = std::sync::mpsc::channel();
    let address = start(move |mut stream, _| {
        let Progress::Hello(read) = HelloReader::default().push(&hello(&mut stream)) else {
            panic!()
        };
        tell.send(*read).unwrap();
        mind(stream);
    });
    let mut options = Options::default();
    options.limits.first_answer = SHORT;
    options.limits.handshake = 2 * SHORT;
    assert!(open_at(address, &Arc::new(options)).await.is_err());
    told.try_iter().collect()
}

#[tokio::test]
async fn a_second_try_never_offers_an_older_version() {
    // [TLS-VER-04] Whoever is on the way can make a handshake fail; what follows must not be worse than what went before.
    const CASES: [(usize, fn(TcpStream)); 8] = [
        (2, reset),
        (2, drop),
        (2, wait_for_end),
        // protocol_version, handshake_failure, inappropriate_fallback
        (1, |stream| alert(stream, 70)),
        (1, |stream| alert(stream, 40)),
        (1, |stream| alert(stream, 86)),
        (1, |mut stream| {
            // A ServerHello of TLS 1.0.
            let hello = [&[2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
            stream.write_all(&[22, 3, 1, 0, 42]).unwrap();
            stream.write_all(&hello).unwrap();
            wait_for_end(stream);
        }),
        (1, |mut stream| {
            stream.write_all(b"500 what?\r\n").unwrap();
            wait_for_end(stream);
        }),
    ];
    for (index, (times, mind)) in CASES.into_iter().enumerate() {
        let seen = hellos(mind).await;
        assert_eq!(seen.len(), times, "case {index}");
        for hello in seen {
            assert_eq!(hello.legacy_version, TLS12);
            assert_eq!(hello.supported_versions, [TLS13, TLS12], "case {index}");
            // Nothing that a client says who tries less than before (RFC 7507).
            assert!(!hello.cipher_suites.contains(&0x5600));
        }
    }
}
