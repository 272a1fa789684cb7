//! What a real TLS client sees of the driver.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::driver::{Event, TlsFailure, VerbClass};
use gatepost_trust::certificates::UnknownName;
use gatepost_trust::profile::{Mode, Service};
use gatepost_wire::session::Why;
use gatepost_wire::tls::{Offer, Piece, TLS12, TLS13, TlsStream};
use rustls::AlertDescription;
use support::client::{
    alert_of, ask, config, config_for, connect, hear, implicit, line, raw_rest, rest, say, session,
    upgrade,
};
use support::{Setup, pki};

fn bindings(tls: &support::client::Tls) -> String {
    use std::fmt::Write;
    let exporter = tls
        .get_ref()
        .conn
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
        .unwrap();
    let end_point = pki::shared().identity.end_point_hash();
    let mut hex = String::new();
    for octet in exporter.iter().chain(end_point) {
        write!(hex, "{octet:02x}").unwrap();
    }
    hex
}

#[test]
fn starttls_ends_in_tls_with_facts_and_bindings() {
    // [SASL-CB-01] [TLS-VER-02] [PQ-01] both ends compute the same values.
    let server = support::starttls();
    for (version, words) in [
        (
            &rustls::version::TLS13,
            ["Tls13", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768"],
        ),
        (
            &rustls::version::TLS12,
            ["Tls12", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "x25519"],
        ),
    ] {
        let config = Arc::new(config_for(&[version]));
        let mut tls = upgrade(&server, &config).unwrap();
        let facts = ask(&mut tls, "FACTS");
        for word in words {
            assert!(facts.contains(word), "{word} in {facts}");
        }
        assert!(facts.contains("sni: Some(\"mail.example\")"), "{facts}");
        assert_eq!(hear(&mut tls).trim(), bindings(&tls));
        assert_eq!(ask(&mut tls, "QUIT"), "221 bye\r\n");
        // [SMTP-STARTTLS-24] [TLS-CLOSE-01] a clean end, not a cut.
        assert_eq!(rest(&mut tls).unwrap(), "");
        drop(tls);
        let ended = server.end();
        assert_eq!(ended.why, Why::Quit);
        assert!(ended.handshake.is_some() && ended.bytes_in > 250 && ended.bytes_out > 500);
        assert!(ended.facts.unwrap().bindings.is_none());
    }
}

#[test]
fn a_resumed_connection_has_bindings_of_its_own() {
    // [SASL-CB-01] [SASL-CB-02]
    let server = support::starttls();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = Arc::new(config_for(&[version]));
        let mut seen = Vec::new();
        for resumed in ["resumed: false", "resumed: true"] {
            let mut tls = upgrade(&server, &config).unwrap();
            let facts = ask(&mut tls, "FACTS");
            assert!(facts.contains(resumed), "{facts}");
            let theirs = hear(&mut tls).trim().to_owned();
            assert_eq!(theirs, bindings(&tls));
            seen.push(theirs);
        }
        assert_ne!(seen[0], seen[1]);
    }
}

#[test]
fn an_implicit_port_says_nothing_before_the_handshake() {
    // [IMPL-01] [IMPL-05]
    let server = support::implicit();
    let mut stream = connect(&server);
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(
        stream.read(&mut [0; 10]).is_err(),
        "not an octet, and not the end"
    );
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    assert_eq!(hear(&mut tls), "220 inside\r\n");
    assert_eq!(ask(&mut tls, "QUIT"), "221 bye\r\n");
    assert_eq!(rest(&mut tls).unwrap(), "");
}

#[test]
fn the_ticket_travels_with_the_greeting() {
    // One write by the server is one read by the client: nobody waits for a second segment.
    let server = support::implicit();
    let mut stream = connect(&server);
    let mut session = session(&Arc::new(config()), "mail.example");
    while session.is_handshaking() {
        session.write_tls(&mut stream).unwrap();
        session.read_tls(&mut stream).unwrap();
        session.process_new_packets().unwrap();
    }
    session.write_tls(&mut stream).unwrap();
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).unwrap();
    session.read_tls(&mut &buffer[..count]).unwrap();
    let state = session.process_new_packets().unwrap();
    assert_eq!(state.plaintext_bytes_to_read(), "220 inside\r\n".len());
    assert_eq!(session.tls13_tickets_received(), 1);
}

#[test]
fn without_a_greeting_the_ticket_travels_with_the_first_reply() {
    let server = support::starttls();
    let config = Arc::new(config_for(&[&rustls::version::TLS13]));
    let mut tls = upgrade(&server, &config).unwrap();
    let brief = Some(Duration::from_millis(200));
    tls.get_ref().sock.set_read_timeout(brief).unwrap();
    assert!(
        tls.get_mut().sock.read(&mut [0; 1]).is_err(),
        "nothing comes unasked"
    );
    assert_eq!(ask(&mut tls, "hello"), "250 hello\r\n");
    assert_eq!(tls.get_ref().conn.tls13_tickets_received(), 1);
}

#[test]
fn clear_text_on_an_implicit_port_is_counted_and_not_answered() {
    // [IMPL-03]
    let server = support::implicit();
    let mut stream = connect(&server);
    stream.write_all(b"a LOGIN me hunter2\r\n").unwrap();
    assert_eq!(raw_rest(&mut stream), b"");
    assert_eq!(server.end().why, Why::PlaintextOnTlsPort);
    assert_eq!(
        server.events(),
        [Event::PlaintextOnTlsPort {
            verb: VerbClass::Login
        }]
    );
}

#[test]
fn commands_injected_before_the_handshake_end_the_connection() {
    // [SMTP-STARTTLS-19] [IMAP-TLS-05] [POP-TLS-05] [CONF-03] in one segment, and in a later one.
    let server = support::starttls();
    let mut stream = connect(&server);
    line(&mut stream);
    stream.write_all(b"STARTTLS\r\nNOOP\r\n").unwrap();
    assert_eq!(raw_rest(&mut stream), b"220 go\r\n");
    assert_eq!(server.end().why, Why::StartTlsInjection);
    let mut stream = connect(&server);
    line(&mut stream);
    stream.write_all(b"STARTTLS\r\n").unwrap();
    assert_eq!(line(&mut stream), "220 go\r\n");
    stream.write_all(b"NOOP\r\n").unwrap();
    assert_eq!(raw_rest(&mut stream), b"");
    assert_eq!(server.end().why, Why::StartTlsInjection);
    assert_eq!(server.events(), [Event::StartTlsInjection { octets: 6 }; 2]);
}

#[test]
fn a_hello_directly_behind_starttls_works_and_nothing_in_clear_survives() {
    // [SMTP-STARTTLS-19] [CONF-03]
    let server = support::starttls();
    let mut stream = connect(&server);
    line(&mut stream);
    let mut session = session(&Arc::new(config()), "mail.example");
    let mut eager = b"STARTTLS\r\n".to_vec();
    session.write_tls(&mut eager).unwrap();
    stream.write_all(&eager).unwrap();
    assert_eq!(line(&mut stream), "220 go\r\n");
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
    let mut tls = std::io::BufReader::new(rustls::StreamOwned::new(session, stream));
    assert_eq!(ask(&mut tls, "hello"), "250 hello\r\n");
}

#[test]
fn a_hello_in_segments_of_one_octet_works() {
    // [PQ-02]
    let server = support::implicit();
    let mut stream = connect(&server);
    let mut session = session(&Arc::new(config()), "mail.example");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    for octet in hello.chunks(1) {
        stream.write_all(octet).unwrap();
        if octet[0] % 16 == 0 {
            // Let some of them arrive alone.
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
    let mut tls = std::io::BufReader::new(rustls::StreamOwned::new(session, stream));
    assert_eq!(hear(&mut tls), "220 inside\r\n");
}

/// A ClientHello by hand: its version, and extensions.
fn hello(version: u16, suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([9; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(body.len() + 4).unwrap().to_be_bytes());
    record.extend([1, 0]);
    record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record
}

/// Groups x25519 and P-256, point formats, signature schemes.
const TLS12_EXTENSIONS: &[u8] = &[
    0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4,
];

fn answer_to(hello: &[u8]) -> (Vec<u8>, TlsFailure) {
    let server = support::implicit();
    let mut stream = connect(&server);
    stream.write_all(hello).unwrap();
    let answer = raw_rest(&mut stream);
    let ended = server.end();
    assert_eq!(ended.why, Why::HandshakeFailed);
    let failure = ended.tls_failure.unwrap();
    assert_eq!(server.events(), [Event::HandshakeFailed(failure)]);
    (answer, failure)
}

fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

#[test]
fn old_versions_are_refused() {
    // [TLS-VER-01] SSL 3.0, TLS 1.0, TLS 1.1: protocol_version.
    for version in [0x0300, 0x0301, 0x0302] {
        let (answer, failure) = answer_to(&hello(version, &[0xc02b, 0xc009], TLS12_EXTENSIONS));
        assert_eq!(
            (answer, failure),
            (alert(70), TlsFailure::NoCommonVersion),
            "{version:#x}"
        );
    }
}

#[test]
fn a_client_without_extended_master_secret_is_refused() {
    // [TLS-EMS-01]
    let (answer, failure) = answer_to(&hello(0x0303, &[0xc02b], TLS12_EXTENSIONS));
    assert_eq!(
        (answer, failure),
        (alert(40), TlsFailure::NoExtendedMasterSecret)
    );
    // With it the same hello gets an answer: it is the extension that was missing.
    let server = support::implicit();
    let mut stream = connect(&server);
    let extensions = [TLS12_EXTENSIONS, &[0, 23, 0, 0]].concat();
    stream
        .write_all(&hello(0x0303, &[0xc02b], &extensions))
        .unwrap();
    let mut first = [0; 6];
    stream.read_exact(&mut first).unwrap();
    assert_eq!((first[0], first[5]), (22, 2), "a ServerHello");
}

#[test]
fn weak_suites_find_nothing_in_common() {
    // [TLS-CIPH-01] [TLS-CIPH-02] [TLS-CIPH-04] NULL, RC4, anonymous, static RSA, finite-field DH, CBC.
    let extensions = [TLS12_EXTENSIONS, &[0, 23, 0, 0]].concat();
    for suite in [0x0002, 0xc011, 0xc018, 0x009c, 0x009e, 0xc009, 0xc023] {
        let (answer, failure) = answer_to(&hello(0x0303, &[suite], &extensions));
        assert_eq!(
            (answer, failure),
            (alert(40), TlsFailure::NoCommonSuite),
            "{suite:#x}"
        );
    }
}

#[test]
fn a_damaged_hello_gets_an_alert() {
    let (answer, failure) = answer_to(&[22, 3, 1, 0, 4, 2, 0, 0, 0]);
    assert_eq!((answer, failure), (alert(50), TlsFailure::PeerMisbehaved));
}

#[test]
fn a_foreign_application_protocol_is_refused_on_every_service() {
    // [TLS-ALPN-01] [TLS-ALPN-02]
    for service in [
        Service::Smtp,
        Service::Submission,
        Service::Imap,
        Service::Pop3,
    ] {
        let server = Setup::new(service, Mode::Implicit).start();
        for foreign in ["h2", "http/1.1", "ftp", "managesieve"] {
            let mut config = config();
            config.alpn_protocols = vec![foreign.into()];
            let error = implicit(&server, &Arc::new(config), "mail.example").unwrap_err();
            assert_eq!(
                alert_of(&error),
                Some(AlertDescription::NoApplicationProtocol),
                "{error:?}"
            );
            assert_eq!(
                server.end().tls_failure,
                Some(TlsFailure::NoApplicationProtocol)
            );
        }
        for ours in service.alpn() {
            let mut config = config();
            config.alpn_protocols = vec!["h2".into(), ours.as_bytes().into()];
            let mut tls = implicit(&server, &Arc::new(config), "mail.example").unwrap();
            hear(&mut tls);
            assert!(ask(&mut tls, "FACTS").contains(&format!("alpn: Some({ours:?})")));
        }
    }
}

#[test]
fn an_unknown_name_is_refused_where_the_port_is_strict() {
    // [CONF-02] [TLS-SNI-02]
    let strict = support::implicit();
    let config = Arc::new(config());
    let error = implicit(&strict, &config, "unknown.example").unwrap_err();
    assert_eq!(alert_of(&error), Some(AlertDescription::UnrecognisedName));
    assert_eq!(strict.end().tls_failure, Some(TlsFailure::UnrecognizedName));
    // Elsewhere the default certificate answers, and the client judges it.
    let mut setup = Setup::new(Service::Imap, Mode::Implicit);
    setup.options.unknown_name = UnknownName::FallBack;
    let lax = setup.start();
    let error = implicit(&lax, &config, "unknown.example").unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let told = lax.end().tls_failure;
    assert!(matches!(told, Some(TlsFailure::PeerAlert(_))), "{told:?}");
}

#[test]
fn without_a_certificate_the_handshake_ends_in_an_alert() {
    let mut setup = Setup::new(Service::Imap, Mode::Implicit);
    setup.identities.clear();
    let server = setup.start();
    assert!(!server.tls.is_ready());
    let error = implicit(&server, &Arc::new(config()), "mail.example").unwrap_err();
    assert_eq!(alert_of(&error), Some(AlertDescription::InternalError));
    assert_eq!(server.end().tls_failure, Some(TlsFailure::NoCertificate));
}

#[test]
fn new_certificates_do_not_touch_sessions() {
    let server = support::implicit();
    let config = Arc::new(config());
    let mut before = implicit(&server, &config, "mail.example").unwrap();
    hear(&mut before);
    server.tls.replace(&[]).unwrap();
    assert!(implicit(&server, &config, "mail.example").is_err());
    assert_eq!(ask(&mut before, "still here"), "250 still here\r\n");
    server
        .tls
        .replace(&[pki::shared().identity.clone()])
        .unwrap();
    assert!(implicit(&server, &config, "mail.example").is_ok());
}

#[test]
fn a_half_closed_client_hears_everything() {
    // [TLS-CLOSE-01]
    let server = support::implicit();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    say(&mut tls, "one\r\nBIG 300000\r\ntwo\r\n");
    tls.get_mut().conn.send_close_notify();
    tls.get_mut().flush().unwrap();
    tls.get_ref().sock.shutdown(Shutdown::Write).unwrap();
    let all = rest(&mut tls).unwrap();
    assert!(all.contains("250 one\r\n") && all.contains("250 two\r\n"));
    assert_eq!(all.matches('x').count(), 300_000);
    assert_eq!(server.end().why, Why::PeerClosed);
}

#[test]
fn a_client_that_closes_behind_its_last_words_hears_the_answer() {
    // [TLS-CLOSE-01]
    let server = support::implicit();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    tls.get_mut()
        .conn
        .writer()
        .write_all(b"one\r\nQUIT\r\n")
        .unwrap();
    tls.get_mut().conn.send_close_notify();
    let mut all = Vec::new();
    while tls.get_ref().conn.wants_write() {
        tls.get_mut().conn.write_tls(&mut all).unwrap();
    }
    tls.get_mut().sock.write_all(&all).unwrap();
    tls.get_ref().sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        rest(&mut tls).unwrap(),
        "220 inside\r\n250 one\r\n221 bye\r\n"
    );
    assert_eq!(server.end().why, Why::Quit);
}

#[test]
fn tls_cut_off_without_its_closing_alert_is_not_a_clean_end() {
    // [TLS-CLOSE-01] [SMTP-STARTTLS-25] (the server's side of it)
    let server = support::implicit();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    hear(&mut tls);
    tls.get_ref().sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.end().why, Why::Broken);
}

#[test]
fn a_record_that_was_tampered_with_ends_the_session() {
    let server = support::implicit();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    hear(&mut tls);
    let mut record = vec![23, 3, 3, 0, 40];
    record.extend([1; 40]);
    tls.get_mut().sock.write_all(&record).unwrap();
    let error = rest(&mut tls).unwrap_err();
    assert_eq!(alert_of(&error), Some(AlertDescription::BadRecordMac));
    let ended = server.end();
    assert_eq!(
        (ended.why, ended.tls_failure),
        (Why::Broken, Some(TlsFailure::BadRecord))
    );
}

#[test]
fn a_stalled_handshake_meets_its_deadline() {
    // [SMTP-STARTTLS-23]
    let limits = |setup: &mut Setup| {
        setup.limits.implicit_handshake = Duration::from_millis(200);
        setup.limits.starttls_handshake = Duration::from_millis(200);
    };
    let mut setup = Setup::new(Service::Imap, Mode::Implicit);
    limits(&mut setup);
    let server = setup.start();
    for beginning in [&[][..], &[22, 3, 1][..]] {
        let mut stream = connect(&server);
        stream.write_all(beginning).unwrap();
        let begun = Instant::now();
        assert_eq!(raw_rest(&mut stream), b"");
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(server.end().tls_failure, Some(TlsFailure::Timeout));
    }
    let mut setup = Setup::new(Service::Submission, Mode::StartTls);
    limits(&mut setup);
    let server = setup.start();
    let mut stream = connect(&server);
    line(&mut stream);
    stream.write_all(b"STARTTLS\r\n").unwrap();
    assert_eq!(raw_rest(&mut stream), b"220 go\r\n");
    assert_eq!(server.end().tls_failure, Some(TlsFailure::Timeout));
}

#[test]
fn a_stalled_handshake_keeps_nobody_out() {
    // One permit only; two clients who have sent their hello and wait hold none.
    let server = support::implicit();
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&server);
        let mut hello = Vec::new();
        session(&Arc::new(config()), "mail.example")
            .write_tls(&mut hello)
            .unwrap();
        stream.write_all(&hello).unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        stalled.push(stream);
    }
    assert!(implicit(&server, &Arc::new(config()), "mail.example").is_ok());
}

#[test]
fn a_reader_that_does_not_read_is_cut_off() {
    let mut setup = Setup::new(Service::Imap, Mode::Implicit);
    setup.limits.write = Duration::from_millis(300);
    let server = setup.start();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    hear(&mut tls);
    say(&mut tls, "BIG 50000000\r\n");
    assert_eq!(server.end().why, Why::Timeout);
}

#[test]
fn large_output_arrives_whole() {
    let server = support::implicit();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    hear(&mut tls);
    say(&mut tls, "BIG 20000000\r\nQUIT\r\n");
    let all = rest(&mut tls).unwrap();
    assert_eq!(all.len(), 20_000_000 + "221 bye\r\n".len());
    assert!(all.ends_with("x221 bye\r\n"));
}

#[test]
fn fresh_keys_in_the_middle_of_a_session_are_followed() {
    // [TLS-LIM-01] KeyUpdate by the client.
    let server = support::implicit();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    hear(&mut tls);
    for round in ["a", "b", "c"] {
        tls.get_mut().conn.refresh_traffic_keys().unwrap();
        assert_eq!(ask(&mut tls, round), format!("250 {round}\r\n"));
    }
}

#[test]
fn a_record_in_pieces_is_put_together() {
    let server = support::implicit();
    let mut tls = implicit(&server, &Arc::new(config()), "mail.example").unwrap();
    hear(&mut tls);
    let words = format!("{}\r\n", "w".repeat(900));
    tls.get_mut()
        .conn
        .writer()
        .write_all(words.as_bytes())
        .unwrap();
    let mut record = Vec::new();
    tls.get_mut().conn.write_tls(&mut record).unwrap();
    for piece in record.chunks(100) {
        tls.get_mut().sock.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(hear(&mut tls), format!("250 {words}"));
}

#[test]
fn asks_news_deadlines_and_shutdown_reach_the_session() {
    let mut setup = Setup::new(Service::Imap, Mode::Implicit);
    setup.patience = Duration::from_millis(400);
    let server = setup.start();
    let config = Arc::new(config());
    let mut tls = implicit(&server, &config, "mail.example").unwrap();
    hear(&mut tls);
    assert_eq!(ask(&mut tls, "ASK quietly"), "250 answer QUIETLY\r\n");
    server.news.notify_one();
    assert_eq!(hear(&mut tls), "* news\r\n");
    assert_eq!(rest(&mut tls).unwrap(), "421 too slow\r\n");
    assert_eq!(server.end().why, Why::Timeout);
    let mut tls = implicit(&server, &config, "mail.example").unwrap();
    hear(&mut tls);
    server.stop();
    assert_eq!(rest(&mut tls).unwrap(), "421 stopping\r\n");
    drop(tls);
    assert_eq!(server.end().why, Why::Shutdown);
    // One that comes later is told too.
    let mut late = implicit(&server, &config, "mail.example").unwrap();
    assert_eq!(rest(&mut late).unwrap(), "220 inside\r\n421 stopping\r\n");
}

/// Everything the server says to a hello before it waits for more, piece by piece, and how long it was.
fn first_flight(version: u16, change: impl FnOnce(&mut Offer)) -> (Vec<Piece>, usize) {
    let mut offer = Offer::new(version, [7; 32]);
    offer.suites = vec![0x1301, 0xc02b];
    offer.server_name = Some("mail.example".to_owned());
    if version == TLS13 {
        offer.key_shares = Some(vec![(0x001d, vec![9; 32])]);
    }
    change(&mut offer);
    let server = support::implicit();
    let mut stream = connect(&server);
    stream.write_all(&offer.record()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let answer = raw_rest(&mut stream);
    let mut pieces = TlsStream::default();
    pieces.push(&answer);
    (std::iter::from_fn(|| pieces.next()).collect(), answer.len())
}

#[test]
fn status_request_v2_is_nothing_to_us() {
    // [REV-05] A list of one request for OCSP with nothing in it (RFC 6961 2.2).
    let second = |offer: &mut Offer| offer.others.push((17, vec![0, 7, 2, 0, 4, 0, 0, 0, 0]));
    let (pieces, _) = first_flight(TLS12, second);
    let Some(Piece::ServerHello(hello)) = pieces.first() else {
        panic!("{pieces:?}");
    };
    assert!(!hello.extensions.contains(&17), "{hello:?}");
    assert!(matches!(pieces.last(), Some(Piece::ServerHelloDone)));
    let has_status = pieces.iter().any(|it| matches!(it, Piece::Status(_)));
    assert!(!has_status, "{pieces:?}");
    // TLS 1.3 encrypts it: the same length, but for what a signature's may differ in.
    let (pieces, plain) = first_flight(TLS13, |_| {});
    assert!(
        matches!(pieces.first(), Some(Piece::ServerHello(_))),
        "{pieces:?}"
    );
    let (_, asked) = first_flight(TLS13, second);
    assert!(plain > 500 && plain.abs_diff(asked) < 9, "{plain} {asked}");
}
