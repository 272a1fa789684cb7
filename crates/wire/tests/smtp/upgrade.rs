//! STARTTLS and what somebody on the path might put around it.

use gatepost_testkit::{facts, old_facts, talk};
use gatepost_wire::seam::{Injection, TlsVersion};
use gatepost_wire::session::Machine as _;
use gatepost_wire::smtp::server::Config;

use super::support::{
    EHLO, LOGIN, MAIL, Pause, RCPT, Talk, clear, codes, implicit_with, mx, patient, submission,
};

/// What the driver would do with what is left over.
fn leftover(talk: Talk, later: &[u8]) -> Result<Vec<u8>, Injection> {
    assert_eq!(talk.pause, Pause::Upgrade);
    let mut server = talk.server;
    server.receive(later);
    server.upgrade().1.into_handshake()
}

// [SMTP-STARTTLS-19] a whole command, a fragment, a bare LF, in one segment or in two.
#[test]
fn injected_commands_never_reach_the_session() {
    for injected in [
        &b"NOOP\r\n"[..],
        b"NO",
        b"\n",
        b"\r\n",
        b"RSET\nMAIL FROM:<evil@example.org>\r\n",
        b"\0",
        b" ",
    ] {
        let expected = Err(Injection {
            octets: injected.len(),
            sha256: None,
        });
        let mut together = Talk::new(clear(submission()));
        assert_eq!(
            codes(&together.say([b"STARTTLS\r\n", injected].concat())),
            [220]
        );
        assert_eq!(leftover(together, b""), expected, "{injected:?}");

        let mut apart = Talk::new(clear(submission()));
        apart.say("STARTTLS\r\n");
        assert_eq!(leftover(apart, injected), expected, "{injected:?}");
    }
}

// [SMTP-STARTTLS-19] a ClientHello directly behind STARTTLS goes into the handshake.
#[test]
fn an_eager_client_hello_is_handed_on() {
    let hello = b"\x16\x03\x01\x00\x05hello";
    for cut in 0..=hello.len() {
        let mut talk = Talk::new(clear(mx()));
        talk.say([b"STARTTLS\r\n", &hello[..cut]].concat());
        assert_eq!(leftover(talk, &hello[cut..]), Ok(hello.to_vec()));
    }
}

// [SMTP-STARTTLS-19] a bare LF does not end STARTTLS, so nothing can hide behind it.
#[test]
fn starttls_ends_with_crlf() {
    let mut talk = Talk::new(clear(mx()));
    assert_eq!(codes(&talk.say("STARTTLS\nNOOP\r\n")), [500]);
    assert_eq!(talk.pause, Pause::Reading);
}

// [SMTP-STARTTLS-05] the transaction is gone here and with the backend; the login too.
#[test]
fn nothing_said_in_clear_survives() {
    let mut talk = Talk::new(super::support::with_clear_login(submission()));
    talk.say([EHLO, LOGIN, "MAIL FROM:<me@gatepost.test>\r\n", RCPT].concat());
    assert_eq!(talk.server.account(), Some("me@gatepost.test"));
    talk.say("STARTTLS\r\n");
    assert_eq!(talk.mailbox.asked.last().map(String::as_str), Some("Abort"));
    let mut talk = talk.upgrade();
    assert_eq!(talk.server.account(), None);
    assert_eq!(codes(&talk.say(RCPT)), [530]);
    assert_eq!(codes(&talk.say([EHLO, MAIL].concat())), [250, 530]);
}

fn strict(mut config: Config) -> Config {
    config.tls.least = TlsVersion::Tls13;
    config
}

// [REPLY-07] [SMTP-STARTTLS-14] [SMTP-STARTTLS-12] below the floor: 554 to all but QUIT, and nobody behind the session is asked.
#[test]
fn tls_below_the_floor_is_not_enough() {
    for config in [mx(), submission()] {
        let make = || clear(patient(strict(config.clone())));
        talk::run_cut("tests/talk/smtp/floor.talk", make, || {
            |ask| panic!("asked for {ask:?}")
        });
    }
    let mut talk = Talk::new(implicit_with(strict(patient(mx())), old_facts()));
    for command in [
        EHLO,
        "HELO x\r\n",
        MAIL,
        "NOOP\r\n",
        "RSET\r\n",
        "STARTTLS\r\n",
        "AUTH PLAIN AG1lAHNlc2FtZQ==\r\n",
        "BDAT 4 LAST\r\nQUIT",
        "HELP\r\n",
        "NONSENSE\r\n",
    ] {
        assert_eq!(
            talk.say(command),
            "554 5.7.0 TLS 1.3 is required here\r\n",
            "{command}"
        );
    }
    assert_eq!(codes(&talk.say("QUIT\r\n")), [221]);
    assert_eq!(
        codes(&Talk::new(implicit_with(strict(mx()), facts())).say(EHLO)),
        [250]
    );
    assert_eq!(
        codes(&Talk::new(implicit_with(mx(), old_facts())).say(EHLO)),
        [250]
    );
}

// [REPLY-07] on a port for implicit TLS the greeting says it, in the words of RFC 5321 3.1 and without an enhanced code (RFC 2034 4).
#[test]
fn the_greeting_of_implicit_tls_refuses_below_the_floor() {
    let make = || implicit_with(patient(strict(submission())), old_facts());
    talk::run_cut(
        "S: 554 mx.gatepost.test TLS 1.3 is required here\nC: EHLO x\nC: AUTH PLAIN AG1lAHNlc2FtZQ==\n\
         S: 554 5.7.0 TLS 1.3 is required here\nS: 554 5.7.0 TLS 1.3 is required here\nC: QUIT\nS: 221 2.0.0 Bye\n<close quit>\n",
        make,
        || |ask| panic!("asked for {ask:?}"),
    );
}

// A client that does not take the answer does not stay for ever.
#[test]
fn refusals_below_the_floor_are_counted() {
    let mut talk = Talk::new(implicit_with(strict(mx()), old_facts()));
    let many = "NOOP\r\n".repeat(200);
    assert!(
        talk.say(&many)
            .ends_with("421 4.7.0 Too many bad commands\r\n")
    );
}

// [SMTP-STARTTLS-15] [SMTP-STARTTLS-16] [TLS-VER-06] [CONF-01] each listener has its policy; [SUBM-01] and needs a login or not.
#[test]
fn tls_may_be_required_of_an_mx_too() {
    let mut config = mx();
    config.tls.required = true;
    let mut talk = Talk::new(clear(config));
    assert_eq!(codes(&talk.say([EHLO, MAIL].concat())), [250, 530]);
    let mut talk = Talk::new(clear(mx()));
    assert_eq!(codes(&talk.say([EHLO, MAIL].concat())), [250, 250]);
}
