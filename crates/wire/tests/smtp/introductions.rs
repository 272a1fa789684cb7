//! XCLIENT: a server in front says who the client is [XCL-02].

use gatepost_wire::sasl::Mechanism;
use gatepost_wire::seam::{ClientCertificate, TlsFacts, VerifiedBy};
use gatepost_wire::session::{Fresh as _, Why};
use gatepost_wire::smtp::server::{Fresh, Peer};

use super::support::{
    EHLO, LOGIN, MAIL, Pause, RCPT, Talk, clear, codes, introducing, mx, peer, submission,
};

const XCLIENT: &str = "XCLIENT ADDR=192.0.2.8 PORT=4711 NAME=[UNAVAILABLE]\r\n";

/// Sends a letter; from whom it is taken to come.
fn client_of_a_letter(talk: &mut Talk) -> String {
    talk.say([EHLO, MAIL, RCPT, "DATA\r\n"].concat());
    talk.say("Subject: x\r\n\r\n.\r\n");
    let letter = talk.mailbox.stored.pop().expect("a letter");
    letter.envelope.trace.client.to_string()
}

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
    assert_eq!(client_of_a_letter(&mut talk), "192.0.2.8");
    // Several commands complete each other, and an unknown client is the server in front itself.
    assert_eq!(codes(&talk.say("XCLIENT PORT=1\r\n")), [220]);
    talk.say("XCLIENT ADDR=[UNAVAILABLE]\r\n");
    assert_eq!(client_of_a_letter(&mut talk), "192.0.2.7");
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
    assert_eq!(client_of_a_letter(&mut talk), "192.0.2.7");
    // But TLS outlives it.
    assert_eq!(codes(&talk.say(XCLIENT)), [220]);
    assert!(!talk.say(EHLO).contains("STARTTLS"));
    assert_eq!(client_of_a_letter(&mut talk), "192.0.2.8");

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

// What stands in TLS of the server in front is nobody else's: its certificate logs nobody in, nothing can be bound to its end, and the name
// it asked for says nothing of the one a token is meant for.
#[test]
fn what_was_the_servers_in_front_is_not_handed_on() {
    let mut config = submission();
    config.mechanisms = Mechanism::SPOKEN.to_vec();
    let facts = TlsFacts {
        client: Some(Box::new(ClientCertificate {
            user: Some("me@gatepost.test".into()),
            ..ClientCertificate::default()
        })),
        verified: Some(VerifiedBy::Pkix),
        ..gatepost_testkit::facts()
    };
    let front = Peer {
        introduces: true,
        ..peer()
    };
    let server = Fresh::implicit(std::sync::Arc::new(config), front).secured(facts);
    let mut talk = Talk::new(server);
    let before = talk.say(EHLO);
    assert!(
        before.contains(" EXTERNAL ") && before.contains("-PLUS "),
        "{before}"
    );
    talk.say(XCLIENT);
    let after = talk.say(EHLO);
    assert!(
        !after.contains("EXTERNAL") && !after.contains("-PLUS"),
        "{after}"
    );
    assert!(
        after.contains(" SCRAM-SHA-256 ") && after.contains(" OAUTHBEARER "),
        "{after}"
    );
    assert_eq!(codes(&talk.say("AUTH EXTERNAL =\r\n")), [504]);
    let facts = talk.server.tls().expect("TLS");
    assert_eq!(
        (&facts.client, facts.verified, &facts.sni),
        (&None, None, &None)
    );
    assert!(facts.bindings.is_none() && facts.group.is_some());
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
