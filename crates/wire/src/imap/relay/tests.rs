//! What passes, what does not, and that no cut of the words changes it.

use super::forth::NOT_CARRIED;
use super::*;

fn forth(bytes: &[u8]) -> Result<String, Why> {
    let mut whole = Vec::new();
    let result = Relay::default().forth(bytes, &mut whole);
    // Any cut gives the same.
    for cut in 0..=bytes.len() {
        let (mut relay, mut out) = (Relay::default(), Vec::new());
        let parts = relay
            .forth(&bytes[..cut], &mut out)
            .and_then(|()| relay.forth(&bytes[cut..], &mut out));
        assert_eq!(parts, result, "cut at {cut}");
        if result.is_ok() {
            assert_eq!(out, whole, "cut at {cut}");
        }
    }
    result.map(|()| String::from_utf8(whole).unwrap())
}

fn back(bytes: &[u8]) -> String {
    let mut whole = Vec::new();
    Relay::default().back(bytes, &mut whole).unwrap();
    for cut in 0..=bytes.len() {
        let (mut relay, mut out) = (Relay::default(), Vec::new());
        relay.back(&bytes[..cut], &mut out).unwrap();
        relay.back(&bytes[cut..], &mut out).unwrap();
        assert_eq!(out, whole, "cut at {cut}");
    }
    String::from_utf8(whole).unwrap()
}

#[test]
fn commands_pass_as_they_are() {
    for text in [
        "a SELECT INBOX\r\nb FETCH 1:* (FLAGS)\r\n",
        "a IDLE\r\nDONE\r\n",
        "a LOGOUT\r\n",
        "a APPEND INBOX {3+}\r\nabc\r\nb NOOP\r\n",
        "a APPEND INBOX (\\Seen) ~{4+}\r\na\n\rb\r\nb NOOP\r\n",
        "\r\n",
    ] {
        assert_eq!(forth(text.as_bytes()).as_deref(), Ok(text), "{text:?}");
    }
}

// [GW-01]
#[test]
fn commands_that_change_the_connection_do_not_get_through() {
    assert_eq!(
        forth(b"a COMPRESS DEFLATE\r\nb NOOP\r\n").as_deref(),
        Ok("a XREFUSED\r\nb NOOP\r\n")
    );
    for command in NOT_CARRIED {
        let verb = String::from_utf8_lossy(command).to_lowercase();
        let text = format!("t1 {verb} x {{3+}}\r\na b{{1+}}\r\nc\r\nt2 noop\r\n");
        assert_eq!(
            forth(text.as_bytes()).as_deref(),
            Ok("t1 XREFUSED\r\nt2 noop\r\n"),
            "{verb}"
        );
    }
    // A literal that waits for leave gets none, and the next line is a command.
    assert_eq!(
        forth(b"a LOGIN {3}\r\nb NOOP\r\n").as_deref(),
        Ok("a XREFUSED\r\nb NOOP\r\n")
    );
}

#[test]
fn a_second_command_cannot_hide_in_a_line() {
    for text in [
        &b"a NOOP\nb COMPRESS DEFLATE\r\n"[..],
        b"a NOOP\rb COMPRESS DEFLATE\r\n",
        b"a NOOP\r\r\n",
        b"a\nb COMPRESS DEFLATE\r\n",
        b"a NOOP \r \n",
    ] {
        assert_eq!(forth(text), Err(Why::OutOfSync), "{text:?}");
    }
}

#[test]
fn a_literal_in_a_message_is_no_command() {
    let mut relay = Relay::default();
    let mut out = Vec::new();
    relay.forth(b"a APPEND INBOX {22}\r\n", &mut out).unwrap();
    relay.back(b"+ go\r\n", &mut Vec::new()).unwrap();
    relay
        .forth(b"b COMPRESS DEFLATE\r\nxx\r\nc NOOP\r\n", &mut out)
        .unwrap();
    assert_eq!(
        out,
        b"a APPEND INBOX {22}\r\nb COMPRESS DEFLATE\r\nxx\r\nc NOOP\r\n"
    );
}

#[test]
fn after_a_refused_literal_comes_a_command() {
    let mut relay = Relay::default();
    let mut out = Vec::new();
    relay
        .forth(b"a APPEND INBOX {999999}\r\n", &mut out)
        .unwrap();
    // Another command's answer is not this one's.
    relay
        .back(b"* 3 EXISTS\r\nz OK done\r\n", &mut Vec::new())
        .unwrap();
    relay
        .back(b"a NO [TOOBIG] no\r\n", &mut Vec::new())
        .unwrap();
    out.clear();
    relay.forth(b"b COMPRESS DEFLATE\r\n", &mut out).unwrap();
    assert_eq!(out, b"b XREFUSED\r\n");
}

#[test]
fn a_client_that_does_not_wait_for_leave_is_cut_off() {
    assert_eq!(forth(b"a APPEND INBOX {3}\r\nabc\r\n"), Err(Why::OutOfSync));
}

// [GW-01] [SASL-CB-03]
#[test]
fn capabilities_lose_what_is_not_for_this_connection() {
    assert_eq!(
        back(b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN AUTH=SCRAM-SHA-256-PLUS SASL-IR COMPRESS=DEFLATE IDLE\r\nb OK done\r\n"),
        "* CAPABILITY IMAP4rev1 IDLE\r\nb OK done\r\n"
    );
    assert_eq!(
        back(b"a OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE XCLIENT MOVE] in\r\n"),
        "a OK [CAPABILITY IMAP4rev1 MOVE] in\r\n"
    );
    let long = format!(
        "* CAPABILITY {} COMPRESS=DEFLATE\r\n",
        "XLONG ".repeat(300).trim()
    );
    assert!(!back(long.as_bytes()).contains("COMPRESS"));
}

#[test]
fn messages_pass_as_they_are() {
    for text in [
        "* 1 FETCH (BODY[] {34}\r\n* CAPABILITY COMPRESS=DEFLATE\r\nabc)\r\na OK done\r\n",
        "* 1 FETCH (BINARY[1] ~{34}\r\n* CAPABILITY COMPRESS=DEFLATE\r\nabc)\r\na OK done\r\n",
        "* OK a text that ends in {5}\r\n* 1 EXISTS\r\n",
        "+ idling\r\n* 2 EXISTS\r\n",
        "* SEARCH 1 2 3\r\n",
    ] {
        assert_eq!(back(text.as_bytes()), text);
    }
    let long = format!("* SEARCH{}\r\na OK done\r\n", " 12345".repeat(200));
    assert_eq!(back(long.as_bytes()), long);
    // A status text announces nothing, so what follows is a line of its own.
    assert_eq!(
        back(b"a OK {30}\r\n* CAPABILITY IDLE STARTTLS\r\n"),
        "a OK {30}\r\n* CAPABILITY IDLE\r\n"
    );
}

#[test]
fn a_farewell_never_stands_inside_something() {
    let mut relay = Relay::default();
    assert!(!relay.farewell().is_empty());
    relay
        .back(b"* 1 FETCH (BODY[] {10}\r\nabc", &mut Vec::new())
        .unwrap();
    assert!(relay.farewell().is_empty());
}
