//! What `Received:` is told.

use gatepost_wire::smtp::received::Trace;
use gatepost_wire::smtp::server::Server;

use super::support::{
    EHLO, LOGIN, MAIL, RCPT, Talk, clear, implicit, mx, submission, with_clear_login,
};

fn trace(server: Server, before: &str) -> Trace {
    trace_of(
        Talk::new(server),
        before,
        "MAIL FROM:<me@gatepost.test>\r\n",
        RCPT,
    )
}

fn trace_of(mut talk: Talk, before: &str, mail: &str, recipients: &str) -> Trace {
    talk.say([before, mail, recipients, "DATA\r\n"].concat());
    talk.say(".\r\n");
    talk.mailbox.stored.pop().expect("a message").envelope.trace
}

// [RECV-01] [SMTP-AUTH-09] the matrix of TLS and login, as sessions make it; implicit TLS counts as S.
#[test]
fn with_says_how_it_came() {
    let login = [EHLO, LOGIN].concat();
    let words = [
        (trace(clear(mx()), "HELO client.example\r\n"), "SMTP"),
        (trace(clear(mx()), EHLO), "ESMTP"),
        (trace(implicit(mx()), EHLO), "ESMTPS"),
        (trace(with_clear_login(submission()), &login), "ESMTPA"),
        (trace(implicit(submission()), &login), "ESMTPSA"),
    ];
    for (trace, word) in words {
        assert_eq!(trace.protocol.word(), word);
    }
    // [SMTP-UTF8-04]
    let mail = "MAIL FROM:<me@gatepost.test> SMTPUTF8\r\n";
    assert_eq!(
        trace_of(Talk::new(implicit(mx())), EHLO, mail, RCPT)
            .protocol
            .word(),
        "UTF8SMTPS"
    );
}

// [RECV-02] [SVC-04]
#[test]
fn tls_is_told_by_its_names() {
    let clause = trace(implicit(submission()), &[EHLO, LOGIN].concat())
        .tls
        .expect("TLS");
    assert_eq!(
        (&*clause.suite, clause.group),
        ("TLS_AES_128_GCM_SHA256", Some("X25519"))
    );
    assert_eq!(trace(clear(mx()), EHLO).tls, None);
}

// [SMTP-STARTTLS-05] the name of the second EHLO.
#[test]
fn the_name_is_the_one_said_inside_tls() {
    let mut talk = Talk::new(clear(mx()));
    talk.say("EHLO before.example\r\nSTARTTLS\r\n");
    let trace = trace_of(talk.upgrade(), "EHLO after.example\r\n", MAIL, RCPT);
    assert_eq!(
        (trace.helo.as_str(), trace.client),
        ("after.example", [192, 0, 2, 7].into())
    );
}

// [RECV-03] one recipient or none; [RECV-05] the switch.
#[test]
fn only_one_recipient_is_told() {
    let one = trace(clear(mx()), EHLO);
    assert_eq!(
        one.only_recipient.map(|path| path.0.local),
        Some("me".to_owned())
    );
    let two = trace_of(Talk::new(clear(mx())), EHLO, MAIL, &RCPT.repeat(2));
    assert_eq!(two.only_recipient, None);
    let mut config = mx();
    config.hide_client = true;
    assert!(trace(clear(config), EHLO).hide_client);
}
