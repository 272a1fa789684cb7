//! Nothing said in clear survives the upgrade, however it is sent; and what else comes first on a connection.

use std::time::Instant;

use gatepost_testkit::facts;
use gatepost_testkit::talk::{End, outcome};
use gatepost_wire::imap::server::Server;
use gatepost_wire::seam::ClearLogin;
use gatepost_wire::session::{Fresh, Machine, Next, Why};

use super::{backend, clear_session, config, implicit_session};

/// Drives a clear session through the greeting, hands it the segments, and gives it back when it asks for the upgrade.
fn upgraded(segments: &[&[u8]]) -> (Server, Vec<u8>) {
    let mut session = clear_session();
    let mut said = Vec::new();
    let mut segments = segments.iter();
    loop {
        match session.next(Instant::now()) {
            Next::Write => said.append(session.output()),
            Next::Read { .. } => {
                session.receive(segments.next().expect("the upgrade was asked for"));
            }
            Next::Upgrade => {
                said.append(session.output());
                // What is still on its way belongs to TLS.
                segments.for_each(|segment| session.receive(segment));
                return (session, said);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// [IMAP-TLS-05] one segment, two, fragments, bare LF, a whole login: the connection ends, and nothing was answered.
#[test]
fn commands_behind_starttls_are_never_executed() {
    let cases: &[&[&[u8]]] = &[
        &[b"a STARTTLS\r\nb NOOP\r\n"],
        &[b"a STARTTLS\r\n", b"b NOOP\r\n"],
        &[b"a STARTT", b"LS\r\nb NO", b"OP\r\n"],
        &[b"a STARTTLS\r\nb NOOP\n"],
        &[b"a STARTTLS\r\n\n"],
        &[b"a STARTTLS\r\nb LOGIN me sesame\r\n"],
        &[b"a STARTTLS\r\nb"],
        &[b"a STARTTLS\r\n \x16\x03\x01"],
    ];
    for segments in cases {
        let (session, said) = upgraded(segments);
        assert!(said.ends_with(b"a OK Begin TLS\r\n"), "{segments:?}");
        let (_, leftover) = session.upgrade();
        assert!(leftover.into_handshake().is_err(), "{segments:?}");
    }
}

/// [IMAP-TLS-05] a ClientHello directly behind STARTTLS goes to the TLS engine, and the session inside starts afresh.
#[test]
fn a_client_hello_directly_behind_works() {
    for segments in [
        &[&b"a STARTTLS\r\n\x16\x03\x01\x02\x00"[..]][..],
        &[b"a STARTTLS\r\n\x16\x03", b"\x01\x02\x00"],
    ] {
        let (session, _) = upgraded(segments);
        let (fresh, leftover) = session.upgrade();
        assert_eq!(leftover.into_handshake().unwrap(), b"\x16\x03\x01\x02\x00");
        let inside = outcome(fresh.secured(facts()), &[b"c NOOP\r\n"], backend());
        assert_eq!(
            inside.output, b"c OK NOOP completed\r\n",
            "no greeting, and only what was said inside"
        );
    }
}

/// A bare LF ends no line: the command goes on to the next CRLF, so it is no STARTTLS at all.
#[test]
fn bare_line_feeds_do_not_upgrade() {
    let it = outcome(clear_session(), &[b"a STARTTLS\nb NOOP\r\n"], backend());
    assert!(
        it.output.ends_with(b"a BAD Unknown command\r\n")
            || it
                .output
                .ends_with(b"a BAD STARTTLS takes no arguments\r\n")
    );
    assert!(!it.output.windows(4).any(|it| it == b"b OK"));
}

/// Counters cross the upgrade: TLS does not make a flood shorter.
#[test]
fn bad_commands_are_counted_across_the_upgrade() {
    let flood = "x FROB\r\n".repeat(9);
    let (session, _) = upgraded(&[flood.as_bytes(), b"a STARTTLS\r\n"]);
    let (fresh, leftover) = session.upgrade();
    assert!(leftover.into_handshake().unwrap().is_empty());
    let it = outcome(fresh.secured(facts()), &[b"x FROB\r\n"], backend());
    assert_eq!(it.end, End::Closed(Why::TooManyErrors));
}

/// [IMPL-04] TLS on the clear port is left without a word, before and after the greeting.
#[test]
fn a_client_hello_on_the_clear_port() {
    let greeting = outcome(clear_session(), &[], backend()).output;
    for segments in [
        &[&b"\x16\x03\x01\x02\x00\x01"[..]][..],
        &[b"\x16", b"\x03\x01"],
    ] {
        let it = outcome(clear_session(), segments, backend());
        assert_eq!(it.end, End::Closed(Why::TlsOnPlaintextPort));
        assert_eq!(it.output, greeting, "nothing but the greeting is said");
    }
    let mut eager = clear_session();
    eager.receive(b"\x16\x03\x01");
    assert_eq!(
        eager.next(Instant::now()),
        Next::Close(Why::TlsOnPlaintextPort)
    );
    assert!(eager.output().is_empty());
}

#[test]
fn http_is_left_without_a_word() {
    let greeting = outcome(clear_session(), &[], backend()).output;
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.0\r\n\r\na LOGIN x y\r\n",
    ] {
        let it = outcome(clear_session(), &[request.as_bytes()], backend());
        assert_eq!(it.end, End::Closed(Why::HttpRequest));
        assert_eq!(it.output, greeting);
    }
    // A tag may look like a method.
    let it = outcome(clear_session(), &[b"GET NOOP\r\n"], backend());
    assert!(it.output.ends_with(b"GET OK NOOP completed\r\n"));
}

/// A client that speaks before the greeting in clear does not listen: out of sync [REPLY-09].
#[test]
fn who_speaks_before_the_greeting_is_sent_away() {
    let mut session = clear_session();
    session.receive(b"a NOOP\r\n");
    assert_eq!(session.next(Instant::now()), Next::Close(Why::OutOfSync));
    assert_eq!(session.output(), b"* BYE Wait for the greeting\r\n");
}

/// [IMAP-TLS-09] the configuration's exception, and nothing else, lets a login happen in clear.
#[test]
fn the_named_exception_allows_logins_in_clear() {
    let exception = Some(ClearLogin::danger_allowed_by_configuration());
    let session = Server::clear(config(true), exception, Instant::now());
    let it = outcome(session, &[b"a LOGIN me sesame\r\n"], backend());
    let text = String::from_utf8(it.output).unwrap();
    assert!(
        text.contains(" STARTTLS AUTH=")
            && !text.contains("LOGINDISABLED")
            && !text.contains("-PLUS")
    );
    assert!(text.contains("a OK [CAPABILITY "));
    // What is not listed is not taken either: there is nothing to bind to.
    let session = Server::clear(config(true), exception, Instant::now());
    let it = outcome(
        session,
        &[b"a AUTHENTICATE SCRAM-SHA-256-PLUS\r\n"],
        backend(),
    );
    assert!(
        it.output
            .ends_with(b"a NO [CANNOT] Mechanism not offered\r\n")
    );
    let refused = outcome(clear_session(), &[b"a LOGIN me sesame\r\n"], |ask| {
        panic!("asked {ask:?}")
    });
    assert!(
        refused
            .output
            .ends_with(b"a NO [PRIVACYREQUIRED] Begin TLS first\r\n")
    );
}

/// Where no TLS can be had STARTTLS is neither listed nor accepted [IMAP-TLS-03] [REPLY-03].
#[test]
fn no_tls_to_be_had() {
    let session = Server::clear(config(false), None, Instant::now());
    let it = outcome(session, &[b"a STARTTLS\r\n"], backend());
    let text = String::from_utf8(it.output).unwrap();
    assert!(text.contains("LOGINDISABLED") && !text.contains(" STARTTLS"));
    assert!(text.ends_with("a NO TLS is not available\r\n"));
}

/// [IMPL-02] [IMAP-TLS-04] [IMAP-TLS-11]: TLS, with or without a client certificate, logs nobody in.
#[test]
fn tls_alone_logs_nobody_in() {
    let it = outcome(implicit_session(), &[b"a SELECT INBOX\r\n"], backend());
    let text = String::from_utf8(it.output).unwrap();
    assert!(text.starts_with("* OK "), "never PREAUTH");
    assert!(text.ends_with("a BAD Not in this state\r\n"));
}
