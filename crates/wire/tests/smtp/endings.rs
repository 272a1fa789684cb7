//! How sessions end: timeouts, farewells, strangers.

use std::time::Duration;

use gatepost_wire::session::{Machine as _, Next, Why};
use gatepost_wire::smtp::ask::Answer;

use super::support::{
    EHLO, LOGIN, MAIL, Pause, RCPT, Talk, at_content, clear, codes, implicit, mx, submission,
};

fn wait(talk: &mut Talk, seconds: u64) -> String {
    let before = talk.written.len();
    talk.now += Duration::from_secs(seconds);
    talk.run();
    String::from_utf8_lossy(&talk.written[before..]).into_owned()
}

// [SMTP-BASE-11] five minutes for a command, not prolonged by octets that trickle in.
#[test]
fn a_silent_client_is_told_to_leave() {
    let mut talk = Talk::new(clear(mx()));
    assert_eq!(wait(&mut talk, 290), "");
    assert_eq!(codes(&talk.say(EHLO)), [250]);
    assert_eq!(wait(&mut talk, 290), "");
    talk.say("NO");
    assert_eq!(wait(&mut talk, 10), "421 4.4.2 Timed out\r\n");
    assert_eq!(talk.pause, Pause::Closed(Why::Timeout));
}

#[test]
fn content_may_take_its_time_but_not_forever() {
    let mut talk = at_content(mx());
    for _ in 0..12 {
        talk.say("x\r\n");
        assert_eq!(wait(&mut talk, 299), "");
    }
    talk.say("x\r\n");
    assert_eq!(wait(&mut talk, 299), "421 4.4.2 Timed out\r\n");
    let mut talk = at_content(mx());
    assert_eq!(wait(&mut talk, 300), "421 4.4.2 Timed out\r\n");
    assert!(talk.mailbox.stored.is_empty());
}

#[test]
fn a_login_has_its_time() {
    let mut talk = Talk::new(implicit(submission()));
    talk.say(EHLO);
    assert_eq!(wait(&mut talk, 200), "");
    talk.say("NOOP\r\n");
    assert_eq!(wait(&mut talk, 100), "421 4.4.2 Timed out\r\n");
    let mut talk = Talk::new(implicit(submission()));
    talk.say([EHLO, LOGIN].concat());
    assert_eq!(wait(&mut talk, 290), "");
    assert_eq!(codes(&talk.say("NOOP\r\n")), [250]);
    assert_eq!(wait(&mut talk, 290), "");
}

// A place is for mail: NOOP does not keep it for ever, a message does.
#[test]
fn a_session_without_a_message_has_its_time() {
    let mut talk = Talk::new(clear(mx()));
    talk.say(EHLO);
    for _ in 0..6 {
        assert_eq!(wait(&mut talk, 290), "");
        talk.say("NOOP\r\n");
    }
    let output = talk.say([MAIL, RCPT, "DATA\r\n"].concat());
    assert_eq!(codes(&output), [250, 250, 354]);
    for _ in 0..6 {
        assert_eq!(wait(&mut talk, 290), "");
        talk.say("x\r\n");
    }
    assert_eq!(codes(&talk.say(".\r\n")), [250]);
    for _ in 0..6 {
        assert_eq!(wait(&mut talk, 290), "");
        assert_eq!(codes(&talk.say("RSET\r\n")), [250]);
    }
    assert_eq!(wait(&mut talk, 60), "421 4.4.2 Timed out\r\n");
    assert_eq!(talk.pause, Pause::Closed(Why::Timeout));
}

/// The upgrade does not give a stranger more time, nor more tries.
#[test]
fn patience_is_not_renewed_by_tls() {
    let mut talk = Talk::new(clear(submission()));
    talk.say("X\r\n".repeat(18));
    assert_eq!(wait(&mut talk, 290), "");
    talk.say("STARTTLS\r\n");
    let mut talk = talk.upgrade();
    assert_eq!(codes(&talk.say("X\r\n")), [500]);
    assert_eq!(wait(&mut talk, 10), "421 4.4.2 Timed out\r\n");
}

#[test]
fn tries_are_not_renewed_by_tls() {
    let mut talk = Talk::new(clear(submission()));
    talk.say("X\r\n".repeat(18));
    talk.say("STARTTLS\r\n");
    let mut talk = talk.upgrade();
    assert_eq!(codes(&talk.say("X\r\n")), [500]);
    assert_eq!(codes(&talk.say("X\r\n")), [421]);
}

#[test]
fn many_bad_commands_end_the_session() {
    let mut talk = Talk::new(clear(mx()));
    assert_eq!(codes(&talk.say("X\r\n".repeat(19))), vec![500; 19]);
    assert_eq!(
        talk.say("X\r\nNOOP\r\n"),
        "421 4.7.0 Too many bad commands\r\n"
    );
    assert_eq!(talk.pause, Pause::Closed(Why::TooManyErrors));
}

#[test]
fn looking_for_addresses_ends_the_session() {
    let mut talk = Talk::new(clear(mx()));
    talk.say([EHLO, MAIL].concat());
    let guess = "RCPT TO:<nobody@gatepost.test>\r\n";
    assert_eq!(codes(&talk.say(guess.repeat(100))), vec![550; 100]);
    assert_eq!(codes(&talk.say("RCPT TO:<full@gatepost.test>\r\n")), [452]);
    assert_eq!(
        codes(&talk.say([RCPT, "RSET\r\n", MAIL].concat())),
        [250; 3]
    );
    assert_eq!(talk.say(guess), "421 4.7.0 Too many unknown recipients\r\n");
    assert_eq!(talk.pause, Pause::Closed(Why::TooManyErrors));
}

// [SMTP-AUTH-10] two failures stay, the third is told, then the session ends.
#[test]
fn three_failed_logins_end_the_session() {
    let mut talk = Talk::new(implicit(submission()));
    talk.say(EHLO);
    let wrong = "AUTH PLAIN AG1lQGdhdGVwb3N0LnRlc3QAcGVuY2lm\r\n";
    assert_eq!(codes(&talk.say(wrong)), [535]);
    assert_eq!(codes(&talk.say(wrong)), [535]);
    assert_eq!(codes(&talk.say(wrong)), [535, 421]);
    assert_eq!(talk.pause, Pause::Closed(Why::TooManyLoginFailures));
}

fn shutdown(talk: &mut Talk) -> String {
    let before = talk.written.len();
    talk.server.shutdown();
    talk.run();
    String::from_utf8_lossy(&talk.written[before..]).into_owned()
}

// [SMTP-BASE-12]
#[test]
fn a_server_that_stops_says_so() {
    let mut talk = Talk::new(clear(mx()));
    talk.say([EHLO, MAIL, RCPT].concat());
    assert_eq!(
        shutdown(&mut talk),
        "421 4.3.2 Stopping, try again later\r\n"
    );
    assert_eq!(talk.pause, Pause::Closed(Why::Shutdown));

    let mut talk = Talk::new(implicit(submission()));
    talk.say([EHLO, "AUTH PLAIN\r\n"].concat());
    assert_eq!(codes(&shutdown(&mut talk)), [421]);
}

// [SMTP-BASE-12] content that is coming in may be finished, for a while.
#[test]
fn a_message_coming_in_has_a_grace() {
    let mut talk = at_content(mx());
    assert_eq!(shutdown(&mut talk), "");
    assert_eq!(
        codes(&talk.say("Subject: x\r\n\r\n.\r\nNOOP\r\n")),
        [250, 421]
    );
    assert_eq!(talk.mailbox.stored.len(), 1);
    let mut talk = at_content(mx());
    assert_eq!(shutdown(&mut talk), "");
    assert_eq!(
        wait(&mut talk, 5),
        "421 4.3.2 Stopping, try again later\r\n"
    );
}

// [SMTP-BASE-12] [SMTP-BASE-15] what is being kept gets its 250 first, and no 250 comes before it is kept.
#[test]
fn a_commit_under_way_is_told() {
    let mut talk = at_content(mx());
    talk.server.receive(b"Subject: x\r\n\r\n.\r\n");
    loop {
        match talk.server.next(talk.now) {
            Next::Ask(gatepost_wire::smtp::ask::Ask::Commit) => break,
            Next::Ask(ask) => {
                let answer = talk.mailbox.handle(ask);
                talk.server.answer(answer);
            }
            _ => panic!("no commit asked"),
        }
    }
    assert!(
        talk.server.output().is_empty(),
        "an answer before the commit"
    );
    talk.server.shutdown();
    talk.server.answer(Answer::Stored(Ok("M1".into())));
    let before = talk.written.len();
    talk.run();
    let output = String::from_utf8_lossy(&talk.written[before..]).into_owned();
    assert_eq!(
        output,
        "250 2.0.0 Stored as M1\r\n421 4.3.2 Stopping, try again later\r\n"
    );
}

#[test]
fn half_a_message_is_no_message() {
    for clean in [true, false] {
        let mut talk = at_content(mx());
        talk.say("Subject: x\r\n\r\ntext\r\n.\r");
        talk.server.peer_closed(clean);
        talk.run();
        let why = if clean { Why::PeerClosed } else { Why::Broken };
        assert_eq!(talk.pause, Pause::Closed(why));
        assert!(talk.mailbox.stored.is_empty());
        assert!(!talk.mailbox.asked.contains(&"Commit".to_owned()));
    }
}

// [IMPL-04] a ClientHello on a clear port: not a word.
#[test]
fn a_client_hello_on_a_clear_port_is_not_answered() {
    let mut talk = Talk::new(clear(mx()));
    assert_eq!(talk.say(b"\x16\x03\x01\x02\x00\x01\x00"), "");
    assert_eq!(talk.pause, Pause::Closed(Why::TlsOnPlaintextPort));

    let mut server = clear(mx());
    server.receive(b"\x16");
    let talk = Talk::new(server);
    assert_eq!(
        (talk.written.len(), talk.pause),
        (0, Pause::Closed(Why::TlsOnPlaintextPort))
    );

    let mut talk = Talk::new(clear(mx()));
    talk.say(EHLO);
    assert_eq!(codes(&talk.say("\x16\r\n")), [500]);
}

#[test]
fn browsers_are_sent_away() {
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /MAIL HTTP/1.0\r\n\r\nMAIL FROM:<>\r\n",
    ] {
        let mut talk = Talk::new(clear(mx()));
        assert_eq!(talk.say(request), "421 4.7.0 This is not HTTP\r\n");
        assert_eq!(talk.pause, Pause::Closed(Why::HttpRequest));

        let mut talk = Talk::new(clear(mx()));
        talk.say(EHLO);
        assert_eq!(codes(&talk.say("GET / HTTP/1.1\r\n")), [500]);

        let mut server = clear(mx());
        server.receive(request.as_bytes());
        assert_eq!(Talk::new(server).pause, Pause::Closed(Why::HttpRequest));
    }
}

// [SMTP-SMUG-04] the greeting goes out whole at the first step; bytes that come before the next one came too early.
#[test]
fn the_greeting_is_one_write() {
    let mut server = clear(mx());
    let now = std::time::Instant::now();
    assert_eq!(server.next(now), Next::Write);
    assert_eq!(
        std::mem::take(server.output()),
        b"220 mx.gatepost.test ESMTP\r\n"
    );
    server.receive(EHLO.as_bytes());
    let talk = Talk::new(server);
    assert_eq!(talk.written, b"554 5.5.0 Spoke out of turn\r\n");
    assert_eq!(talk.pause, Pause::Closed(Why::OutOfSync));
}

#[test]
fn misuse_fails_closed() {
    let mut talk = Talk::new(clear(mx()));
    talk.server.answer(Answer::Stored(Ok("M1".into())));
    talk.run();
    assert_eq!(talk.pause, Pause::Closed(Why::Fault));
}
