//! What is said in clear, and what is made of it.

use gatepost_audit::watch::honey::Honey;
use gatepost_audit::watch::privacy::Privacy;
use gatepost_testkit::capture::{Capture, Speaker};

use super::support::{connection, play, watch, watch_dialogue, watch_file, watcher};

const GREETED: &str = "
    S: 220 mx.example.org ESMTP
    C: EHLO client.example.net
    S: 250-mx.example.org
    + 250-PIPELINING
    + 250-STARTTLS
    + 250 8BITMIME";
const GREETED_WITH_AUTH: &str = "
    S: 220 mx.example.org ESMTP
    C: EHLO client.example.net
    S: 250-mx.example.org
    + 250-STARTTLS
    + 250 AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2";
const GREETED_WITHOUT: &str = "
    S: 220 mx.example.org ESMTP
    C: EHLO client.example.net
    S: 250-mx.example.org
    + 250 8BITMIME";
const MAIL: &str = "
    C: MAIL FROM:<a@example.net>
    S: 250 ok
    C: RCPT TO:<b@example.org>
    S: 250 ok
    C: DATA
    S: 354 go on
    C: Subject: x
    +
    + a word. another
    + .
    S: 250 queued
    C: QUIT
    S: 221 bye";

/// A dialogue on a port, put together from parts: the rules it breaks, in order, and the outcome.
fn expect(port: u16, parts: &[&str], ids: &[&str], outcome: &str) {
    let dialogue = parts.join("\n");
    let told = watch_dialogue(port, &dialogue);
    assert_eq!(told.ids(), ids, "{dialogue}\n{:?}", told.findings);
    assert_eq!(told.outcome(), outcome, "{dialogue}");
}

#[test]
fn mail_in_clear() {
    expect(25, &[GREETED, MAIL], &["W201"], "Clear");
    expect(25, &[GREETED_WITHOUT, MAIL], &["W202"], "Clear");
    expect(25, &[GREETED, "C: QUIT\nS: 221 bye"], &[], "Clear");
    // Protocol by content, not by port.
    expect(10025, &[GREETED, MAIL], &["W201"], "Clear");
    let chunks = "
        C: MAIL FROM:<a@example.net>
        S: 250 ok
        C: RCPT TO:<b@example.org>
        S: 250 ok
        C: BDAT 12 LAST
        + QUIT\\r\\n\\r\\n4\\r\\n\\
        S: 250 queued
        C: QUIT
        S: 221 bye";
    expect(25, &[GREETED, chunks], &["W201"], "Clear");
}

#[test]
fn a_refused_sender_is_no_mail_but_was_said() {
    let refused = "C: MAIL FROM:<a@example.net>\nS: 530 Must issue a STARTTLS command first\nC: QUIT\nS: 221 bye";
    expect(25, &[GREETED, refused], &["W201"], "Clear");
    expect(25, &[GREETED_WITHOUT, refused], &[], "Clear");
}

#[test]
fn passwords_of_smtp() {
    for (dialogue, id, ending) in [
        (
            "C: AUTH PLAIN AGFubmEAcGVuY2ls\nS: 235 ok",
            "W101",
            "accepted",
        ),
        (
            "C: AUTH PLAIN\nS: 334\nC: AGFubmEAcGVuY2ls\nS: 535 no",
            "W101",
            "rejected",
        ),
        (
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5uYQ==\nS: 334 UGFzc3dvcmQ6\nC: cGVuY2ls\nS: 235 ok",
            "W101",
            "accepted",
        ),
        (
            "C: AUTH LOGIN YW5uYQ==\nS: 334 UGFzc3dvcmQ6\nC: cGVuY2ls\nS: 535 no",
            "W101",
            "rejected",
        ),
        (
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5uYQ==\nS: 334 UGFzc3dvcmQ6\nC: *\nS: 501 gone",
            "W107",
            "aborted",
        ),
        (
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5uYQ==\nS: 334 UGFzc3dvcmQ6\nC: cGVuY2ls",
            "W101",
            "unknown",
        ),
        (
            "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: YW5uYSAwMTIzNDU2Nzg5YWJjZGVm\nS: 235 ok",
            "W105",
            "accepted",
        ),
        (
            "C: AUTH XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHRva2VuAQE=\nS: 235 ok",
            "W104",
            "accepted",
        ),
    ] {
        let told = watch_dialogue(587, &[GREETED_WITH_AUTH, dialogue].join("\n"));
        assert_eq!(
            told.ids(),
            [id, "W312"].map(str::to_owned).to_vec(),
            "{dialogue}"
        );
        let login = told.find(id).login.as_ref().unwrap();
        assert_eq!(login.ending.word(), ending, "{dialogue}");
        assert!(login.user.is_some(), "{dialogue}");
    }
    // Refused before anything was said.
    let nothing = "C: AUTH LOGIN\nS: 503 not now\nC: QUIT\nS: 221 bye";
    expect(587, &[GREETED_WITH_AUTH, nothing], &["W312"], "Clear");
}

const POP3: &str = "S: +OK ready";

#[test]
fn passwords_of_pop3() {
    for (dialogue, id, ending) in [
        (
            "C: USER anna\nS: +OK\nC: PASS pencil\nS: +OK logged in",
            "W103",
            "accepted",
        ),
        (
            "C: USER anna\nS: +OK\nC: PASS pen cil\nS: -ERR no",
            "W103",
            "rejected",
        ),
        ("C: USER anna\nS: -ERR no", "W107", "rejected"),
        ("C: AUTH PLAIN AGFubmEAcGVuY2ls\nS: +OK", "W103", "accepted"),
        (
            "C: AUTH PLAIN\nS: +\nC: AGFubmEAcGVuY2ls\nS: +OK",
            "W103",
            "accepted",
        ),
        (
            "C: AUTH LOGIN\nS: + VXNlcm5hbWU6\nC: YW5uYQ==\nS: + UGFzc3dvcmQ6\nC: cGVuY2ls\nS: -ERR no",
            "W103",
            "rejected",
        ),
        (
            "C: APOP anna c4c9334bac560ecc979e58001b3e22fb\nS: +OK",
            "W105",
            "accepted",
        ),
        (
            "C: AUTH XOAUTH2\nS: +\nC: dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHRva2VuAQE=\nS: +OK",
            "W104",
            "accepted",
        ),
    ] {
        let told = watch_dialogue(110, &[POP3, dialogue].join("\n"));
        assert_eq!(told.ids(), [id], "{dialogue}");
        assert_eq!(
            told.find(id).login.as_ref().unwrap().ending.word(),
            ending,
            "{dialogue}"
        );
    }
}

#[test]
fn mail_read_by_pop3() {
    let login = "C: USER anna\nS: +OK\nC: PASS pencil\nS: +OK";
    let read = "C: RETR 1\nS: +OK\n+ Subject: x\n+\n+ PASS is a word\n+ .\nC: QUIT\nS: +OK";
    expect(110, &[POP3, login, read], &["W103", "W203"], "Clear");
    let refused = "C: RETR 1\nS: -ERR no such message\nC: QUIT\nS: +OK";
    expect(110, &[POP3, login, refused], &["W103"], "Clear");
}

const IMAP: &str = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready";
const IMAP_OPEN: &str = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] ready";

#[test]
fn passwords_of_imap() {
    for (dialogue, id, ending) in [
        ("C: a LOGIN anna pencil\nS: a OK done", "W102", "accepted"),
        (
            "C: a LOGIN \"an\\\\na\" \"pen\\\"cil\"\nS: a NO no",
            "W102",
            "rejected",
        ),
        (
            "C: a LOGIN {4}\nS: + go\nC: anna {6}\nS: + go\nC: pencil\nS: a OK done",
            "W102",
            "accepted",
        ),
        (
            "C: a login {4+}\n+ anna {6+}\n+ pencil\nS: a OK done",
            "W102",
            "accepted",
        ),
        (
            "C: a LOGIN anna {6}\nS: + go\nC: pencil\nS: a BAD no",
            "W102",
            "rejected",
        ),
        (
            "C: a AUTHENTICATE PLAIN\nS: +\nC: AGFubmEAcGVuY2ls\nS: a OK done",
            "W102",
            "accepted",
        ),
        (
            "C: a AUTHENTICATE PLAIN AGFubmEAcGVuY2ls\nS: a NO no",
            "W102",
            "rejected",
        ),
        (
            "C: a AUTHENTICATE LOGIN\nS: + VXNlcm5hbWU6\nC: YW5uYQ==\nS: + UGFzc3dvcmQ6\nC: cGVuY2ls\nS: a OK done",
            "W102",
            "accepted",
        ),
        (
            "C: a AUTHENTICATE XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHRva2VuAQE=\nS: a OK done",
            "W104",
            "accepted",
        ),
        (
            "C: a AUTHENTICATE OAUTHBEARER\nS: +\nC: bixhPWFubmEsAWhvc3Q9eAFhdXRoPUJlYXJlciB0b2tlbgEB\nS: a OK done",
            "W104",
            "accepted",
        ),
        (
            "C: a AUTHENTICATE SCRAM-SHA-256\nS: +\nC: biwsbj1hbm5hLHI9YWJj\nS: + cj1hYmNkZWY=\nC: Yz1iaXdzLHI9YWJjZGVmLHA9eHl6\nS: a OK done",
            "W105",
            "accepted",
        ),
    ] {
        let told = watch_dialogue(143, &[IMAP_OPEN, dialogue].join("\n"));
        assert_eq!(
            told.ids(),
            [id, "W312"].map(str::to_owned).to_vec(),
            "{dialogue}"
        );
        let login = told.find(id).login.as_ref().unwrap();
        assert_eq!(login.ending.word(), ending, "{dialogue}");
        assert!(login.user.is_some(), "{dialogue}");
    }
}

#[test]
fn scram_is_a_low_one() {
    let scram = "C: a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbm5hLHI9YWJj\nS: + cj1hYmNkZWY=\nC: Yz1iaXdzLHI9YWJjZGVmLHA9eHl6\nS: a OK done";
    let told = watch_dialogue(143, &[IMAP, scram].join("\n"));
    assert_eq!(told.find("W105").severity.word(), "low");
    assert_eq!(told.ids(), ["W105", "W313"]);
}

#[test]
fn mail_read_by_imap() {
    let login =
        "C: a LOGIN anna pencil\nS: a OK done\nC: b SELECT INBOX\nS: * 1 EXISTS\n+ b OK done";
    let read = "C: c FETCH 1 BODY[]\nS: * 1 FETCH (BODY[] {14}\n+ Subject: LOGIN\n+ )\n+ c OK done\nC: d LOGOUT\nS: * BYE\n+ d OK";
    expect(
        143,
        &[IMAP_OPEN, login, read],
        &["W102", "W203", "W312"],
        "Clear",
    );
    let facts = "C: c FETCH 1 (FLAGS UID)\nS: * 1 FETCH (FLAGS () UID 3)\n+ c OK done";
    expect(143, &[IMAP_OPEN, login, facts], &["W102", "W312"], "Clear");
}

#[test]
fn upgrades_that_fail() {
    expect(
        25,
        &[GREETED, "C: STARTTLS\nS: 454 not now\nC: QUIT\nS: 221 bye"],
        &["W301"],
        "failed",
    );
    expect(
        25,
        &[GREETED, "C: STARTTLS\nS: 500 what\nC: QUIT\nS: 221 bye"],
        &["W301", "W307"],
        "stripped",
    );
    expect(
        25,
        &[
            GREETED_WITHOUT,
            "C: STARTTLS\nS: 502 what\nC: QUIT\nS: 221 bye",
        ],
        &["W301"],
        "failed",
    );
    expect(
        25,
        &[GREETED, "C: STARTTLS\nS: 454 not now", MAIL],
        &["W201", "W301"],
        "Clear",
    );
    expect(
        25,
        &[
            GREETED,
            "C: STARTTLS\nS: 220 go\nC: EHLO client\nS: 250 mx",
            MAIL,
        ],
        &["W201", "W302"],
        "Clear",
    );
    expect(
        25,
        &[GREETED, "C: STARTTLS\nS: 220 go"],
        &["W303"],
        "failed",
    );
    expect(
        110,
        &[POP3, "C: STLS\nS: -ERR no\nC: QUIT\nS: +OK"],
        &["W301"],
        "failed",
    );
    expect(
        143,
        &[
            IMAP,
            "C: a STARTTLS\nS: a BAD no\nC: b LOGOUT\nS: * BYE\n+ b OK",
        ],
        &["W301", "W307"],
        "stripped",
    );
    expect(
        143,
        &[
            IMAP,
            "C: a STARTTLS\nS: a OK go\nC: b LOGOUT\nS: * BYE\n+ b OK",
        ],
        &["W302"],
        "failed",
    );
}

#[test]
fn words_put_in() {
    expect(
        25,
        &[GREETED, "C: STARTTLS\n+ RSET\nS: 220 go\n+ 250 ok"],
        &["W302", "W304", "W305"],
        "failed",
    );
    expect(
        25,
        &[GREETED, "C: STARTTLS\nC: RSET\nS: 454 no\n+ 250 ok"],
        &["W301", "W304"],
        "failed",
    );
    expect(
        25,
        &[GREETED, "C: STARTTLS\nC: STARTTLS\nS: 454 no\n+ 454 no"],
        &["W301", "W301", "W306"],
        "failed",
    );
    expect(
        110,
        &[POP3, "C: STLS\n+ CAPA\nS: -ERR no\n+ -ERR no"],
        &["W301", "W304"],
        "failed",
    );
    expect(
        143,
        &[IMAP, "C: a STARTTLS\n+ b NOOP\nS: a NO no\n+ b OK"],
        &["W301", "W304"],
        "failed",
    );
    expect(
        110,
        &[POP3, "C: STLS\nS: +OK go\n+ +OK logged in"],
        &["W302", "W305"],
        "failed",
    );
    expect(
        143,
        &[IMAP, "C: a STARTTLS\nS: a OK go\n+ * PREAUTH ready"],
        &["W302", "W305"],
        "failed",
    );
}

#[test]
fn offers_that_were_overwritten() {
    let masked = "S: 220 mx\nC: EHLO c\nS: 250-mx.example.org\n+ 250-XXXXXXXA\n+ 250 8BITMIME\nC: QUIT\nS: 221 bye";
    expect(25, &[masked], &["W307"], "stripped");
    let named =
        "S: 220 mx\nC: EHLO c\nS: 250-XXXXXXXX.example.org\n+ 250 8BITMIME\nC: QUIT\nS: 221 bye";
    expect(25, &[named], &[], "Clear");
}

#[test]
fn imap_before_tls() {
    expect(
        143,
        &["S: * PREAUTH ready\nC: a LOGOUT\nS: * BYE\n+ a OK"],
        &["W308"],
        "Clear",
    );
    expect(
        143,
        &[IMAP, "C: a STARTTLS\nS: * 3 EXISTS\n+ a NO no"],
        &["W301", "W310"],
        "failed",
    );
    expect(
        143,
        &[
            IMAP,
            "C: a CAPABILITY\nS: * CAPABILITY IMAP4rev1 LOGINDISABLED\n+ a OK\nC: b LOGOUT\nS: b OK",
        ],
        &[],
        "Clear",
    );
    let referral = "C: a LOGIN anna pencil\nS: a NO [REFERRAL imap://other.example/] there";
    expect(143, &[IMAP, referral], &["W102", "W311", "W313"], "Clear");
}

#[test]
fn wrong_protocols_on_ports() {
    expect(465, &[GREETED, "C: QUIT\nS: 221 bye"], &["W401"], "Clear");
    expect(993, &[IMAP, "C: a LOGOUT\nS: a OK"], &["W401"], "Clear");
    expect(995, &[POP3, "C: QUIT\nS: +OK"], &["W401"], "Clear");
    expect(
        25,
        &["C: GET / HTTP/1.1\n+ Host: x\n+\nS: HTTP/1.1 400 no"],
        &["W402"],
        "unknown",
    );
    expect(
        8080,
        &["C: GET / HTTP/1.1\n+ Host: x\n+\nS: HTTP/1.1 400 no"],
        &[],
        "none",
    );
    // FTP has the banner of SMTP and the words of POP3.
    expect(
        21,
        &["S: 220 FTP ready\nC: USER anna\nS: 331 password\nC: PASS pencil\nS: 230 ok"],
        &[],
        "none",
    );
    // Redis says +OK too.
    expect(
        6379,
        &["C: AUTH pencil\nS: +OK\nC: SET a b\nS: +OK"],
        &[],
        "none",
    );
}

#[test]
fn endings_that_servers_read_differently() {
    for ending in ["a\\n.\\n\\", "a\\n.\\r\\n\\", "a\\r.\\r\\r\\n\\"] {
        let content = format!(
            "C: MAIL FROM:<a@b.example>\nS: 250 ok\nC: DATA\nS: 354 go\nC: {ending}\n+ .\nS: 250 ok"
        );
        expect(25, &[GREETED, &content], &["W201", "W601"], "Clear");
    }
    expect(
        25,
        &[
            GREETED,
            "C: MAIL FROM:<a@b.example>\nS: 250 ok\nC: DATA\nS: 354 go\nC: a\n+ ..\n+ .b\n+ .\nS: 250 ok",
        ],
        &["W201"],
        "Clear",
    );
}

#[test]
fn commands_where_none_may_stand() {
    expect(
        25,
        &["S: 220 mx\nC: EHLO c\n+ NOOP\nS: 250 mx\n+ 250 ok"],
        &["W602"],
        "Clear",
    );
    let long = format!("S: 220 mx\nC: NOOP {}\nS: 500 no", "x".repeat(3000));
    expect(25, &[&long], &["W602"], "Clear");
    expect(
        25,
        &[
            GREETED,
            "C: MAIL FROM:<a@b.example>\n+ RCPT TO:<b@b.example>\nS: 250 ok\n+ 250 ok\nC: RSET\nS: 250 ok",
        ],
        &["W201"],
        "Clear",
    );
}

#[test]
fn clear_text_after_a_failure() {
    let mut capture = Capture::new();
    let mut first = capture.call(25);
    play(
        &mut capture,
        &mut first,
        &[GREETED, "C: STARTTLS\nS: 454 not now\nC: QUIT\nS: 221 bye"].join("\n"),
    );
    capture.close(&mut first);
    capture.wait(1_000_000);
    let mut second = capture.call(25);
    play(&mut capture, &mut second, &[GREETED, MAIL].join("\n"));
    capture.close(&mut second);
    assert_eq!(watch(&capture).ids(), ["W201", "W301", "W309"]);
    // Later than five minutes it is another story.
    capture.wait(301_000_000);
    let mut third = capture.call(25);
    play(&mut capture, &mut third, &[GREETED, MAIL].join("\n"));
    capture.close(&mut third);
    assert_eq!(watch(&capture).ids(), ["W201", "W201", "W301", "W309"]);
}

#[test]
fn logins_of_which_only_the_consent_was_seen() {
    let mut capture = Capture::new();
    let mut call = capture.call_unseen(587);
    for reply in [
        "220 mx ESMTP\r\n",
        "250 mx\r\n",
        "334 \r\n",
        "235 ok\r\n",
        "221 bye\r\n",
    ] {
        capture.say(&mut call, Speaker::Server, reply.as_bytes());
    }
    assert_eq!(watch(&capture).ids(), ["W106", "W903", "W904"]);
}

#[test]
fn tunnels() {
    let mut capture = Capture::new();
    let mut call = capture.call(3128);
    play(
        &mut capture,
        &mut call,
        "C: CONNECT mx.example.org:25 HTTP/1.1\n+ Host: mx.example.org\n+\nS: HTTP/1.1 200 ok\n+",
    );
    play(&mut capture, &mut call, &[GREETED, MAIL].join("\n"));
    let told = watch(&capture);
    assert_eq!(told.ids(), ["W201"]);
    assert_eq!(told.sessions[0].tunnel, Some("HTTP CONNECT"));
    let mut capture = Capture::new();
    let mut call = capture.call(1080);
    capture.say(
        &mut call,
        Speaker::Client,
        &[4, 1, 0, 25, 10, 0, 0, 1, b'u', 0],
    );
    capture.say(&mut call, Speaker::Server, &[0, 0x5a, 0, 0, 0, 0, 0, 0]);
    play(&mut capture, &mut call, &[GREETED, MAIL].join("\n"));
    assert_eq!(watch(&capture).sessions[0].tunnel, Some("SOCKS 4"));
}

#[test]
fn evidence_is_a_packet_and_an_offset() {
    let told = watch_dialogue(25, &[GREETED, MAIL].join("\n"));
    let found = told.find("W201");
    assert_eq!((found.packet, found.offset, found.side), (7, 25, "client"));
}

#[test]
fn a_decoy_that_is_used_in_clear() {
    let login =
        "S: * OK [CAPABILITY IMAP4rev1] ready\nC: a LOGIN decoy77@example.org pencil\nS: a NO no";
    let seek = |name: &str, own: &[&str]| {
        let own: Vec<_> = own.iter().map(|it| it.parse().unwrap()).collect();
        let mut watcher = watcher();
        watcher.seek(Honey::new(name, &own, &Privacy::new([3; 32], false)).unwrap());
        watch_file(&connection(143, login).to_pcap(), watcher).ids()
    };
    assert!(seek("decoy77@example.org", &[]).contains(&"W109"));
    assert!(seek("decoy77@example.org", &["192.0.2.200"]).contains(&"W109"));
    // Shown by ourselves; and another one.
    let told = seek("decoy77@example.org", &["192.0.2.1"]);
    assert!(
        told.contains(&"W102") && !told.contains(&"W109"),
        "{told:?}"
    );
    assert!(!seek("decoy78@example.org", &[]).contains(&"W109"));
}

const SIEVE: &str = "
    S: \"IMPLEMENTATION\" \"Dovecot Pigeonhole\"
    + \"SIEVE\" \"fileinto reject\"
    + \"SASL\" \"\"
    + \"STARTTLS\"
    + \"VERSION\" \"1.0\"
    + OK \"ready.\"";
const SIEVE_OPEN: &str = "
    S: \"IMPLEMENTATION\" {18}
    + Dovecot Pigeonhole
    + \"SASL\" \"PLAIN LOGIN\"
    + OK";

#[test]
fn passwords_of_managesieve() {
    for (dialogue, id, ending) in [
        (
            "C: AUTHENTICATE \"PLAIN\" \"AGFubmEAcGVuY2ls\"\nS: OK \"Logged in.\"",
            "W108",
            "accepted",
        ),
        (
            "C: Authenticate \"plain\" {16+}\n+ AGFubmEAcGVuY2ls\nS: NO {4}\n+ OK x",
            "W108",
            "rejected",
        ),
        (
            "C: AUTHENTICATE {5+}\n+ PLAIN\nS: \"\"\nC: \"AGFubmEAcGVuY2ls\"\nS: OK",
            "W108",
            "accepted",
        ),
        (
            "C: AUTHENTICATE \"PLAIN\"\nS: {0}\n+\nC: {16}\n+ AGFubmEAcGVuY2ls\nS: BYE \"no\"",
            "W108",
            "rejected",
        ),
        (
            "C: AUTHENTICATE \"LOGIN\"\nS: \"VXNlcm5hbWU6\"\nC: \"YW5uYQ==\"\nS: \"UGFzc3dvcmQ6\"\nC: \"cGVuY2ls\"\nS: OK",
            "W108",
            "accepted",
        ),
        (
            "C: AUTHENTICATE \"LOGIN\"\nS: \"VXNlcm5hbWU6\"\nC: \"YW5uYQ==\"\nS: \"UGFzc3dvcmQ6\"\nC: \"*\"\nS: NO",
            "W107",
            "aborted",
        ),
        (
            "C: AUTHENTICATE \"XOAUTH2\" \"dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHRva2VuAQE=\"\nS: OK",
            "W104",
            "accepted",
        ),
        (
            "C: AUTHENTICATE \"SCRAM-SHA-256\" \"biwsbj1hbm5hLHI9YWJj\"\nS: \"cj1hYmNkZWY=\"\nC: \"Yz1iaXdzLHI9YWJjZGVmLHA9eHl6\"\nS: OK (SASL \"dj14\")",
            "W105",
            "accepted",
        ),
        (
            "C: AUTHENTICATE \"PLAIN\" \"AGFubmEAcGVuY2ls\"",
            "W108",
            "unknown",
        ),
        (
            "C: AUTHENTICATE \"PLAIN\" \"AGFubmEAcGVuY2ls",
            "W108",
            "unknown",
        ),
    ] {
        let text = [SIEVE, dialogue].join("\n");
        let told = watch_dialogue(4190, &text);
        assert_eq!(told.ids(), [id], "{dialogue}");
        let login = told.find(id).login.as_ref().unwrap();
        assert_eq!(login.ending.word(), ending, "{dialogue}");
        assert!(login.user.is_some(), "{dialogue}");
        assert_eq!(told.sessions[0].protocol.word(), "managesieve");
        // In any segments, and on any port.
        for (port, most) in [(4190, 1), (4190, 3), (2000, usize::MAX)] {
            let mut capture = Capture::new();
            let mut call = capture.call(port);
            capture.play(&mut call, &text, most);
            capture.close(&mut call);
            assert_eq!(watch(&capture).ids(), [id], "{port} {most} {dialogue}");
        }
    }
}

#[test]
fn managesieve_without_faults() {
    expect(4190, &[SIEVE, "C: LOGOUT\nS: OK \"Bye.\""], &[], "Clear");
    // Names of scripts are no capabilities, and what a script says is no response.
    let list = "C: LISTSCRIPTS\nS: \"SASL\" ACTIVE\n+ \"PLAIN\"\n+ {2}\n+ OK\n+ OK \"done\"\nC: NOOP {2+}\n+ \\r\\n\\\n+\nS: OK\nC: STARTTLS\nS: NO";
    expect(4190, &[SIEVE, list], &["W301"], "failed");
    expect(4190, &[SIEVE_OPEN, "C: LOGOUT\nS: OK"], &["W312"], "Clear");
    // Greetings that are none, and others' words on its port.
    for text in [
        "S: BYE (TRYLATER) \"too many\"",
        "S: NO \"closed\"",
        "S: \"SASL\" \"\"\n+ OK",
    ] {
        expect(4190, &[text], &[], "Clear");
    }
    expect(4190, &[GREETED, "C: QUIT\nS: 221 bye"], &[], "Clear");
    assert_eq!(
        watch_dialogue(8080, "S: \"SASL\" \"PLAIN\"\n+ OK")
            .sessions
            .len(),
        0
    );
}

#[test]
fn scripts_in_clear() {
    let login = "C: AUTHENTICATE \"PLAIN\" \"AGFubmEAcGVuY2ls\"\nS: OK";
    let put = "C: PUTSCRIPT \"x\" {22+}\n+ AUTHENTICATE \"PLAIN\"; \nS: OK (WARNINGS) \"x\"";
    expect(4190, &[SIEVE, login, put], &["W108", "W204"], "Clear");
    let get = "C: GETSCRIPT \"x\"\nS: {9}\n+ OK\n+ keep;\n+ OK\nC: STARTTLS\nS: OK";
    let told = watch_dialogue(4190, &[SIEVE, login, get].join("\n"));
    assert_eq!(told.ids(), ["W108", "W204", "W303"]);
}

#[test]
fn half_a_managesieve_session() {
    // The server alone, and the client alone.
    let mut capture = Capture::new();
    let mut call = capture.call_unseen(4190);
    for text in [
        "\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK\r\n",
        "OK \"Logged in.\"\r\n",
    ] {
        capture.say(&mut call, Speaker::Server, text.as_bytes());
    }
    assert_eq!(watch(&capture).ids(), ["W106", "W903", "W904"]);
    let mut capture = Capture::new();
    let mut call = capture.call_unseen(4190);
    for text in [
        "AUTHENTICATE \"PLAIN\" \"AGFubmEAcGVuY2ls\"\r\n",
        "GETSCRIPT \"x\"\r\n",
    ] {
        capture.say(&mut call, Speaker::Client, text.as_bytes());
    }
    assert_eq!(watch(&capture).ids(), ["W108", "W204", "W903", "W904"]);
}
