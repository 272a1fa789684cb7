//! Sizes: what must be received is received, what is over a limit is refused and does no harm.

use gatepost_wire::session::{Machine as _, Why};

use super::support::{
    EHLO, MAIL, Pause, RCPT, Talk, at_content, clear, codes, implicit, mx, submission,
};

fn greeted() -> Talk {
    let mut talk = Talk::new(clear(mx()));
    talk.say(EHLO);
    talk
}

// [SMTP-BASE-09] local part 64, domain 255, and both at once.
#[test]
fn long_addresses_are_received() {
    let label = "d".repeat(63);
    let domain = format!("{label}.{label}.{label}.{label}");
    assert_eq!(domain.len(), 255);
    let local = "l".repeat(64);
    let mut talk = greeted();
    assert_eq!(
        codes(&talk.say(format!("MAIL FROM:<{local}@{domain}>\r\n"))),
        [250]
    );
    assert_eq!(
        codes(&talk.say(format!("RCPT TO:<{local}@gatepost.test>\r\n"))),
        [250]
    );
    assert_eq!(
        codes(&talk.say(format!("RCPT TO:<l{local}@gatepost.test>\r\n"))),
        [501]
    );
    assert_eq!(codes(&talk.say("RSET\r\n")), [250]);
    assert_eq!(
        codes(&talk.say(format!("MAIL FROM:<a@{domain}d>\r\n"))),
        [501]
    );
}

// [SMTP-BASE-09] 512 octets with CRLF and far more; the limit counts the line without its CRLF.
#[test]
fn long_command_lines() {
    let noop = |octets: usize| format!("NOOP {}\r\n", "x".repeat(octets - 5));
    let mut talk = greeted();
    assert_eq!(codes(&talk.say(noop(510))), [250]);
    assert_eq!(codes(&talk.say(noop(2048))), [250]);
    assert_eq!(talk.say(noop(2049)), "500 5.5.2 Line too long\r\n");
    assert_eq!(codes(&talk.say(noop(60_000) + "NOOP\r\n")), [500, 250]);
    assert_eq!(codes(&talk.say("x".repeat(70_000))), [421]);
    assert_eq!(talk.pause, Pause::Closed(Why::LimitExceeded));
}

// [SMTP-BASE-09] a text line of 1,000 octets, stuffing not counted; a message of 64 KiB; ours are far larger.
#[test]
fn long_lines_and_messages() {
    let line = format!("{}\r\n", "x".repeat(998));
    let mut talk = at_content(mx());
    let content = format!("Subject: x\r\n\r\n{}", line.repeat(70));
    assert_eq!(
        codes(&talk.say(format!("{content}..{}\r\n.\r\n", "x".repeat(997)))),
        [250]
    );
    let kept = &talk.mailbox.stored[0].content;
    assert_eq!(kept.len(), content.len() + 1000);
    // [SMTP-BASE-13] as it came.
    assert!(kept.starts_with(content.as_bytes()));
    let pieces: Vec<&String> = talk
        .mailbox
        .asked
        .iter()
        .filter(|asked| asked.starts_with("Content"))
        .collect();
    assert_eq!(
        pieces,
        ["Content 65536", &format!("Content {}", kept.len() - 65536)]
    );
}

// [SMTP-8BIT-01] offered and meant: octets over 127 are kept as they came, with BODY=8BITMIME and without.
#[test]
fn eight_bits_are_kept() {
    let content = b"Subject: \xc3\xa4\r\n\r\n\xff\x80\r\n";
    for mail in [MAIL, "MAIL FROM:<you@example.org> BODY=8BITMIME\r\n"] {
        let mut talk = greeted();
        assert_eq!(
            codes(&talk.say([mail, RCPT, "DATA\r\n"].concat())),
            [250, 250, 354]
        );
        assert_eq!(codes(&talk.say([&content[..], b".\r\n"].concat())), [250]);
        assert_eq!(talk.mailbox.stored[0].content, content);
    }
}

#[test]
fn a_line_over_the_bound_is_refused() {
    let mut talk = at_content(mx());
    assert_eq!(
        talk.say(format!("{}\r\n.\r\n", "x".repeat(65_535))),
        "554 5.6.0 Line too long in the message\r\n"
    );
    assert!(talk.mailbox.stored.is_empty());
}

// [SMTP-BASE-14]
#[test]
fn a_loop_is_refused() {
    let hops = "Received: from a by b; c\r\n";
    let mut talk = at_content(mx());
    let output = talk.say(hops.repeat(101) + "\r\n.\r\n");
    assert_eq!(
        output,
        "554 5.4.6 Too many Received fields, mail is looping\r\n"
    );
    assert_eq!(talk.mailbox.asked.last().map(String::as_str), Some("Abort"));
    let mut talk = at_content(mx());
    assert_eq!(codes(&talk.say(hops.repeat(100) + "\r\n.\r\n")), [250]);
}

fn small() -> gatepost_wire::smtp::server::Config {
    let mut config = mx();
    config.limits.message_octets = 1000;
    config
}

// [SMTP-SIZE-01] what comes is counted, whatever was announced.
#[test]
fn a_message_over_the_limit_is_read_and_refused() {
    let fits = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(984));
    assert_eq!(fits.len(), 1000);
    assert_eq!(
        codes(&at_content(small()).say(format!("{fits}.\r\n"))),
        [250]
    );
    let mut talk = at_content(small());
    assert_eq!(
        talk.say(format!("x{fits}.\r\n")),
        "552 5.3.4 Message larger than the limit\r\n"
    );
    assert!(talk.mailbox.stored.is_empty());
    assert_eq!(codes(&talk.say("NOOP\r\n")), [250]);
}

#[test]
fn but_not_without_end() {
    let line = format!("{}\r\n", "x".repeat(98));
    let mut talk = at_content(small());
    assert_eq!(codes(&talk.say(line.repeat(21))), [421]);
    assert_eq!(talk.pause, Pause::Closed(Why::LimitExceeded));
}

#[test]
fn chunks_over_the_limit() {
    let chunk = |octets: usize| format!("BDAT {octets}\r\n{}", "x".repeat(octets));
    let ready = || {
        let mut talk = Talk::new(clear(small()));
        talk.say([EHLO, MAIL, RCPT].concat());
        talk
    };
    let mut talk = ready();
    assert_eq!(codes(&talk.say(chunk(1000))), [250]);
    assert_eq!(
        talk.say(chunk(1)),
        "552 5.3.4 Message larger than the limit\r\n"
    );
    assert_eq!(codes(&talk.say("BDAT 0 LAST\r\nRSET\r\n")), [503, 250]);
    assert_eq!(talk.mailbox.asked.last().map(String::as_str), Some("Abort"));
    let mut talk = ready();
    assert_eq!(codes(&talk.say(chunk(1000) + "BDAT 1001\r\n")), [250, 421]);
    let mut talk = ready();
    assert_eq!(
        codes(&talk.say("BDAT 18446744073709551615 LAST\r\n")),
        [421]
    );
    assert_eq!(talk.pause, Pause::Closed(Why::LimitExceeded));
}

// [SMTP-AUTH-05] 12,288 octets in an authentication exchange; [SMTP-AUTH-04] over it 500 5.5.6.
#[test]
fn long_authentication_responses() {
    let mut talk = Talk::new(implicit(submission()));
    talk.say(EHLO);
    talk.say("AUTH PLAIN\r\n");
    let output = talk.say("A".repeat(12_288) + "\r\n");
    assert!(!output.starts_with("500"), "{output}");
    talk.say("AUTH PLAIN\r\n");
    let output = talk.say("A".repeat(12_289) + "\r\n");
    assert_eq!(
        output,
        "500 5.5.6 Authentication exchange line is too long\r\n"
    );
    assert_eq!(codes(&talk.say("NOOP\r\n")), [250]);
}

#[test]
fn an_idle_session_is_small() {
    let size = std::mem::size_of::<gatepost_wire::smtp::server::Server>();
    assert!(size < 1024, "{size} octets");
    let mut talk = greeted();
    assert_eq!(talk.server.output().capacity(), 0);
}
