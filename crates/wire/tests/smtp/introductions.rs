//! XCLIENT: a server in front says who the client is [XCL-02].

use gatepost_wire::session::{Fresh as _, Why};
use gatepost_wire::smtp::server::{Fresh, Peer};

use super::support::{
    EHLO, LOGIN, MAIL, Pause, RCPT, Talk, clear, codes, introducing, mx, peer, submission,
};

const XCLIENT: &str = "XCLIENT ADDR=192.0.2.8 PORT=4711 NAME=[UNAVAILABLE]\r\n";

/// From whom the one message kept came.
fn client_of(talk: &Talk) -> String {
    talk.mailbox.stored[0].envelope.trace.client.to_string()
}

const LETTER: &str = "Subject: x\r\n\r\n.\r\n";

#[test]
fn the_session_begins_anew_with_the_client_named() {
    let mut talk = Talk::new(introducing(mx()));
    assert!(
        talk.say(EHLO)
            .contains("XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT\r\n")
    );
    let output = talk.say(XCLIENT);
    assert!(output.starts_with("220 mx.gatepost.test "), "{output}");
    // EHLO anew.
    assert_eq!(codes(&talk.say(MAIL)), [503]);
    talk.say([EHLO, MAIL, RCPT, "DATA\r\n"].concat());
    talk.say(LETTER);
    assert_eq!(client_of(&talk), "192.0.2.8");
    // Several commands complete each other, and an unknown client is the server in front itself.
    assert_eq!(codes(&talk.say("XCLIENT PORT=1\r\n")), [220]);
    talk.say("XCLIENT ADDR=[UNAVAILABLE]\r\n");
    talk.mailbox.stored.clear();
    talk.say([EHLO, MAIL, RCPT, "DATA\r\n"].concat());
    talk.say(LETTER);
    assert_eq!(client_of(&talk), "192.0.2.7");
}

#[test]
fn to_others_it_is_no_command() {
    let mut talk = Talk::new(clear(mx()));
    assert!(!talk.say(EHLO).contains("XCLIENT"));
    assert_eq!(codes(&talk.say(XCLIENT)), codes(&talk.say("XYZZY A=B\r\n")));
    assert!(
        !talk
            .mailbox
            .asked
            .iter()
            .any(|it| it.starts_with("Introduced"))
    );
}

#[test]
fn not_in_a_transaction_and_not_half() {
    let mut talk = Talk::new(introducing(mx()));
    talk.say([EHLO, MAIL].concat());
    assert_eq!(codes(&talk.say(XCLIENT)), [503]);
    talk.say(RCPT);
    assert_eq!(codes(&talk.say(XCLIENT)), [503]);
    talk.say("RSET\r\n");
    for bad in [
        "XCLIENT\r\n",
        "XCLIENT ADDR=x\r\n",
        "XCLIENT LOGIN=anna\r\n",
        "XCLIENT ADDR=192.0.2.8 X=1\r\n",
    ] {
        assert_eq!(codes(&talk.say(bad)), [501], "{bad}");
    }
    assert!(
        !talk
            .mailbox
            .asked
            .iter()
            .any(|it| it.starts_with("Introduced"))
    );
    // A client with too many connections is refused as itself.
    let output = talk.say("XCLIENT ADDR=192.0.2.99\r\n");
    assert_eq!(
        (codes(&output), talk.pause),
        (vec![421], Pause::Closed(Why::LimitExceeded))
    );
}

// [SMTP-STARTTLS-05] what was said in clear is gone, this too; [SMTP-STARTTLS-11] not before TLS where TLS is required.
#[test]
fn nothing_of_it_outlives_the_upgrade() {
    let mut talk = Talk::new(introducing(mx()));
    talk.say([EHLO, XCLIENT, EHLO].concat());
    talk.say("STARTTLS\r\n");
    let mut talk = talk.upgrade();
    talk.say([EHLO, MAIL, RCPT, "DATA\r\n"].concat());
    talk.say(LETTER);
    assert_eq!(client_of(&talk), "192.0.2.7");
    // But TLS outlives it.
    talk.mailbox.stored.clear();
    assert_eq!(codes(&talk.say(XCLIENT)), [220]);
    assert!(!talk.say(EHLO).contains("STARTTLS"));
    talk.say([MAIL, RCPT, "DATA\r\n"].concat());
    talk.say(LETTER);
    assert_eq!(client_of(&talk), "192.0.2.8");
    assert!(talk.mailbox.stored[0].envelope.trace.tls.is_some());

    let required = Peer {
        introduces: true,
        ..peer()
    };
    let server = gatepost_wire::smtp::server::Server::clear(
        std::sync::Arc::new(submission()),
        required,
        std::time::Instant::now(),
    );
    let mut talk = Talk::new(server);
    assert!(!talk.say(EHLO).contains("XCLIENT"));
    assert_eq!(codes(&talk.say(XCLIENT)), [530]);
}

// A login is the former client's, and so is the leave to log in in clear.
#[test]
fn logins_are_not_handed_on() {
    let inside = Peer {
        introduces: true,
        ..peer()
    };
    let server = Fresh::implicit(std::sync::Arc::new(submission()), inside)
        .secured(gatepost_testkit::facts());
    let mut talk = Talk::new(server);
    assert_eq!(
        codes(&talk.say([EHLO, LOGIN, MAIL, "RSET\r\n"].concat())).last(),
        Some(&250)
    );
    assert_eq!(codes(&talk.say(XCLIENT)), [220]);
    assert_eq!(codes(&talk.say([EHLO, MAIL].concat())).last(), Some(&530));

    let mut talk = Talk::new(introducing(submission()));
    assert!(talk.say(EHLO).contains("AUTH "));
    talk.say(XCLIENT);
    assert!(!talk.say(EHLO).contains("AUTH "));
    assert_eq!(codes(&talk.say(LOGIN)), [530]);
}
