//! Credentials in clear: never read, never asked about, and right or wrong they get the same answer.

use super::support::{EHLO, Pause, Talk, clear, codes, mx, submission, with_clear_login};

/// `\0me@gatepost.test\0` with the right password, with a wrong one, and no base64 at all.
const ARGUMENTS: [&str; 4] = [
    "PLAIN AG1lQGdhdGVwb3N0LnRlc3QAcGVuY2ls",
    "PLAIN AG1lQGdhdGVwb3N0LnRlc3QAcGVuY2lm",
    "PLAIN !",
    "LOGIN",
];

// [SMTP-AUTH-01] [SMTP-AUTH-13] [SASL-PLAIN-01]
#[test]
fn in_clear_right_and_wrong_get_one_answer() {
    let not_required = || {
        let mut config = submission();
        config.tls.required = false;
        config
    };
    for (config, answer) in [
        (
            submission as fn() -> _,
            "530 5.7.0 Must issue a STARTTLS command first\r\n",
        ),
        (
            not_required,
            "504 5.5.4 Authentication mechanism not available\r\n",
        ),
        (mx, "502 5.5.1 Command not implemented\r\n"),
    ] {
        for argument in ARGUMENTS {
            let mut talk = Talk::new(clear(config()));
            assert!(!talk.say(EHLO).contains("AUTH"));
            assert_eq!(
                talk.say(format!("AUTH {argument}\r\n")),
                answer,
                "{argument}"
            );
            assert!(talk.mailbox.asked.is_empty());
            assert_eq!(talk.pause, Pause::Reading);
        }
    }
}

// [SMTP-AUTH-01] the exception has a name and is the configuration's.
#[test]
fn the_named_exception_allows_it() {
    let mut talk = Talk::new(with_clear_login(submission()));
    let keywords = talk.say(EHLO);
    assert!(
        keywords.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        "{keywords}"
    );
    assert_eq!(
        codes(&talk.say(format!("AUTH {}\r\n", ARGUMENTS[0]))),
        [235]
    );
    assert_eq!(talk.server.account(), Some("me@gatepost.test"));
}

// An MX has no logins, not even inside TLS.
#[test]
fn an_mx_has_no_logins() {
    let mut talk = Talk::new(super::support::implicit(mx()));
    assert!(!talk.say(EHLO).contains("AUTH"));
    assert_eq!(
        codes(&talk.say(format!("AUTH {}\r\n", ARGUMENTS[0]))),
        [502]
    );
    assert!(talk.mailbox.asked.is_empty());
}
