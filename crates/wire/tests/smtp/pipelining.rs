//! Many commands at once.

use gatepost_wire::session::{Machine as _, Next, Why};
use gatepost_wire::smtp::ask::Ask;

use super::support::{EHLO, MAIL, Pause, RCPT, Talk, clear, codes, mx};

// [SMTP-PIPE-03] answers in order, nothing dropped; [SMTP-LIM-01] [SMTP-BASE-09] 452 over the limit announced.
#[test]
fn a_thousand_recipients_in_one_go() {
    let mut talk = Talk::new(clear(mx()));
    assert!(talk.say(EHLO).contains("250-LIMITS RCPTMAX=100\r\n"));
    let recipients = (0..1000)
        .map(|number| format!("RCPT TO:<u{number}@gatepost.test>\r\n"))
        .collect::<Vec<_>>()
        .concat();
    let output = codes(&talk.say(format!("{MAIL}{recipients}DATA\r\n")));
    let expected = [vec![250; 101], vec![452; 900], vec![354]].concat();
    assert_eq!(output, expected);
    talk.say("Subject: x\r\n\r\n.\r\n");
    let kept = &talk.mailbox.stored[0].envelope.recipients;
    let names: Vec<&str> = kept.iter().map(|path| path.0.local.as_str()).collect();
    let expected: Vec<String> = (0..100).map(|number| format!("u{number}")).collect();
    assert_eq!(names, expected);
}

// [SMTP-PIPE-03] replies do not gather without bound.
#[test]
fn replies_are_handed_out_in_portions() {
    let mut talk = Talk::new(clear(mx()));
    let output = talk.say("NOOP\r\n".repeat(10_000));
    assert_eq!(codes(&output), vec![250; 10_000]);
    assert!(
        talk.greatest_write <= 33 * 1024,
        "{} octets at once",
        talk.greatest_write
    );
}

// [SMTP-PIPE-04]
#[test]
fn no_354_when_every_recipient_is_refused() {
    let mut talk = Talk::new(clear(mx()));
    talk.say(EHLO);
    let output = talk.say(format!(
        "{MAIL}RCPT TO:<nobody@gatepost.test>\r\nRCPT TO:<a@elsewhere.example>\r\nDATA\r\n"
    ));
    assert_eq!(codes(&output), [250, 550, 550, 554]);
    assert_eq!(codes(&talk.say("RSET\r\nQUIT\r\n")), [250, 221]);
}

// [SMTP-SMUG-04] [SMTP-PIPE-02] bytes before 354, whatever DATA itself would get.
#[test]
fn content_before_354_ends_the_session() {
    for mail in [
        "",
        "MAIL FROM:<you@example.org>\r\nRCPT TO:<me@gatepost.test>\r\n",
    ] {
        let mut talk = Talk::new(clear(mx()));
        talk.say(EHLO);
        let output = talk.say(format!("{mail}DATA\r\nMAIL FROM:<a@b.example>\r\n"));
        assert!(
            output.ends_with("554 5.5.0 Spoke out of turn\r\n"),
            "{output}"
        );
        assert_eq!(talk.pause, Pause::Closed(Why::OutOfSync));
        assert!(talk.mailbox.stored.is_empty());
    }
}

// [SMTP-SMUG-04] also when it comes while the backend thinks about the beginning.
#[test]
fn content_before_354_while_the_backend_thinks() {
    let mut talk = Talk::new(clear(mx()));
    talk.say([EHLO, MAIL, super::support::RCPT].concat());
    talk.server.receive(b"DATA\r\n");
    let Next::Ask(ask @ Ask::Begin(_)) = talk.server.next(talk.now) else {
        panic!("content is not asked about");
    };
    talk.server.receive(b"Subject: x\r\n.\r\n");
    let answer = talk.mailbox.handle(ask);
    talk.server.answer(answer);
    talk.run();
    assert!(talk.written.ends_with(b"554 5.5.0 Spoke out of turn\r\n"));
    assert_eq!(talk.pause, Pause::Closed(Why::OutOfSync));
}

// [SMTP-PIPE-03] one round trip to a far backend for what came in one go, and the same replies.
#[test]
fn a_group_is_one_question() {
    let mut talk = Talk::far(mx());
    talk.say(EHLO);
    talk.server.receive(
        [MAIL, RCPT, "RCPT TO:<nobody@gatepost.test>\r\nDATA\r\n"]
            .concat()
            .as_bytes(),
    );
    let Next::Ask(ask) = talk.server.next(talk.now) else {
        panic!("nothing is asked");
    };
    let Ask::Group(group) = &ask else {
        panic!("one by one: {ask:?}");
    };
    assert_eq!((group.mail.is_some(), group.recipients.len()), (true, 2));
    let answer = talk.mailbox.handle(ask);
    talk.server.answer(answer);
    talk.run();
    let said = String::from_utf8(std::mem::take(&mut talk.written)).unwrap();
    assert!(codes(&said).ends_with(&[250, 250, 550, 354]), "{said}");
    talk.say("Subject: x\r\n\r\n.\r\n");
    assert_eq!(talk.mailbox.stored[0].envelope.recipients.len(), 1);
}

// [SMTP-PIPE-03] whom this session refuses, nobody is asked about.
#[test]
fn a_group_ends_before_what_is_answered_here() {
    let mut config = mx();
    config.limits.recipients = 2;
    let mut talk = Talk::far(config);
    talk.say(EHLO);
    let one = "RCPT TO:<one@gatepost.test>\r\n";
    let output = talk.say([MAIL, "RCPT TO:<@>\r\n", one, one, one, "NOOP\r\n"].concat());
    assert_eq!(codes(&output), [250, 501, 250, 250, 452, 250]);
    let asked: Vec<&str> = talk.mailbox.asked.iter().map(String::as_str).collect();
    assert_eq!(asked, ["Mail you", "Recipient one", "Recipient one"]);
}

// A backend that takes its time for each recipient must be through with a group before the client gives up.
#[test]
fn a_group_is_bounded() {
    let mut talk = Talk::far(mx());
    talk.say(EHLO);
    talk.server
        .receive([MAIL, &RCPT.repeat(50)].concat().as_bytes());
    let mut sizes = Vec::new();
    while let Next::Ask(ask) = talk.server.next(talk.now) {
        if let Ask::Group(group) = &ask {
            sizes.push(group.recipients.len());
        }
        let answer = talk.mailbox.handle(ask);
        talk.server.answer(answer);
    }
    assert_eq!(sizes, [20, 20, 10]);
}

// RFC 2920 3.1: behind a refused MAIL stands what the client sent along with it. It is refused, but it is no misbehaviour.
#[test]
fn what_stands_behind_a_refused_mail_is_not_held_against_the_client() {
    for mut talk in [Talk::new(clear(mx())), Talk::far(mx())] {
        talk.say(EHLO);
        for (refused, code) in [
            ("MAIL FROM:<hasty@example.org>\r\n", 450),
            ("MAIL FROM:<a@b.example> SIZE=99999999999\r\n", 552),
            ("MAIL FROM:<a@b.example> X=1\r\n", 555),
        ] {
            let output = talk.say([refused, &RCPT.repeat(90), "DATA\r\n"].concat());
            assert_eq!(codes(&output), [vec![code], vec![503; 91]].concat());
            let chunks = "BDAT 4\r\nab\r\n".repeat(90);
            let output = talk.say([refused, RCPT, &chunks].concat());
            assert_eq!(codes(&output), [vec![code], vec![503; 91]].concat());
        }
        assert_eq!(codes(&talk.say([MAIL, RCPT].concat())), [250, 250]);
        // Where no MAIL was refused it counts.
        let output = codes(&talk.say(["RSET\r\n", &RCPT.repeat(90)].concat()));
        assert_eq!(output.last(), Some(&421));
        assert!(output.len() < 30, "{}", output.len());
    }
}
