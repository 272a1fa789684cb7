//! What a gate offers beyond a mailbox: DSN and BINARYMIME, where the servers behind have them, and nowhere else.

use gatepost_wire::smtp::ask::Body;
use gatepost_wire::smtp::dsn::{Notify, Returned};
use gatepost_wire::smtp::server::Config;

use super::support::{EHLO, Talk, clear, codes, mx};

const MAIL: &str = "MAIL FROM:<me@gatepost.test> RET=HDRS ENVID=a+20b BODY=BINARYMIME\r\n";
const RCPT: &str = "RCPT TO:<me@gatepost.test> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;you@x.test\r\n";

fn gate() -> Config {
    let mut config = mx();
    config.offers.dsn = true;
    config.offers.binary = true;
    config
}

// [SMTP-DSN-01] [SMTP-CHUNK-03]
#[test]
fn binary_content_goes_through_whole_with_what_was_asked_for_it() {
    let mut talk = Talk::new(clear(gate()));
    let hello = talk.say(EHLO);
    assert!(hello.contains("250-DSN\r\n") && hello.contains("250-BINARYMIME\r\n"));
    assert_eq!(codes(&talk.say(MAIL)), [250]);
    assert_eq!(codes(&talk.say(RCPT)), [250]);
    // What has no lines cannot come by DATA; the transaction goes on.
    assert_eq!(codes(&talk.say("DATA\r\n")), [503]);
    assert_eq!(codes(&talk.say(b"BDAT 13\r\nA: b\r\n\r\n\0\n\r.\n")), [250]);
    assert_eq!(codes(&talk.say("BDAT 3 LAST\r\n\r\n\0")), [250]);
    let stored = &talk.mailbox.stored[0];
    assert_eq!(stored.content, b"A: b\r\n\r\n\0\n\r.\n\r\n\0");
    assert_eq!(stored.envelope.mail.body, Body::BinaryMime);
    let dsn = &stored.envelope.mail.dsn;
    assert_eq!(dsn.returned, Some(Returned::Headers));
    assert_eq!(dsn.envelope_id.as_deref(), Some("a+20b"));
}

// [SMTP-DSN-01]
#[test]
fn what_is_asked_for_a_recipient_is_handed_on() {
    let mut talk = Talk::new(clear(gate()));
    talk.say(format!("{EHLO}{MAIL}{RCPT}"));
    let asked = talk.mailbox.recipients.last().expect("a recipient");
    let notify = Notify::When {
        success: true,
        failure: false,
        delay: true,
    };
    assert_eq!(asked.dsn.notify, Some(notify));
    assert_eq!(asked.dsn.original.as_deref(), Some("rfc822;you@x.test"));
}

// [SMTP-DSN-01] each refusal with its code, and the session goes on.
#[test]
fn what_breaks_the_grammar_or_is_not_offered_is_refused() {
    let mut talk = Talk::new(clear(gate()));
    talk.say(EHLO);
    let rcpt = "RCPT TO:<me@gatepost.test> ";
    for (line, code) in [
        ("MAIL FROM:<a@b.test> RET=BODY", 501),
        ("MAIL FROM:<a@b.test> ENVID=a+0A", 501),
        ("MAIL FROM:<a@b.test>", 250),
        (&format!("{rcpt}NOTIFY=NEVER,DELAY"), 501),
        // RFC 6533 3: an address as it is needs SMTPUTF8.
        (&format!("{rcpt}ORCPT=utf-8;ä@b.test"), 553),
    ] {
        assert_eq!(codes(&talk.say(format!("{line}\r\n"))), [code], "{line}");
    }
    let mut talk = Talk::new(clear(mx()));
    let hello = talk.say(EHLO);
    assert!(!hello.contains("DSN") && !hello.contains("BINARYMIME"));
    for (line, code) in [
        (MAIL, 555),
        ("MAIL FROM:<me@gatepost.test> BODY=BINARYMIME\r\n", 555),
        ("MAIL FROM:<me@gatepost.test>\r\n", 250),
        (RCPT, 555),
    ] {
        assert_eq!(codes(&talk.say(line)), [code], "{line}");
    }
}
