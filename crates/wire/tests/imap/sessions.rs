//! Several sessions on one mailbox, streaming, and what happens when the backend fails.

use std::time::Instant;

use gatepost_testkit::imap::{Access, Maildrop};
use gatepost_testkit::talk::{End, outcome};
use gatepost_wire::imap::ask::{Answer, Ask, Refusal, Rows};
use gatepost_wire::imap::server::Server;
use gatepost_wire::session::{Fresh as _, Machine, Next, Why};

use super::{backend, implicit_session, maildrop};

/// A client with its session and its access to the mailbox.
struct Client {
    session: Server,
    access: Access,
}

impl Client {
    fn new(maildrop: &Maildrop) -> Self {
        let mut client = Self {
            session: implicit_session(),
            access: maildrop.access(),
        };
        client.run();
        client.say("a LOGIN me sesame");
        let selected = client.say("b SELECT INBOX");
        assert!(
            selected.ends_with("b OK [READ-WRITE] Selected\r\n"),
            "{selected}"
        );
        client
    }

    fn run(&mut self) -> String {
        let mut said = Vec::new();
        loop {
            match self.session.next(Instant::now()) {
                Next::Ask(ask) => self.session.answer(self.access.handle(ask)),
                Next::Write => said.append(self.session.output()),
                Next::Read { .. } => return String::from_utf8(said).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.session.receive(format!("{line}\r\n").as_bytes());
        self.run()
    }

    fn news(&mut self) -> String {
        self.session.news();
        self.run()
    }
}

/// RFC 9051 7.5.1: numbers stay what they were until EXPUNGE is told, and it is not told by FETCH, STORE or SEARCH.
#[test]
fn two_sessions_one_expunges() {
    let maildrop = maildrop();
    let (mut one, mut other) = (Client::new(&maildrop), Client::new(&maildrop));
    one.say("c STORE 1 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(
        one.say("d EXPUNGE"),
        "* 1 EXPUNGE\r\nd OK EXPUNGE completed\r\n"
    );
    maildrop.deliver(b"Subject: new\r\n\r\nNew\r\n");

    assert_eq!(
        other.news(),
        "",
        "nothing is told while no command is under way"
    );
    let fetched = other.say("c FETCH 1:3 (UID)");
    assert_eq!(
        fetched,
        "* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\n* 4 EXISTS\r\n* 0 RECENT\r\nc NO [EXPUNGEISSUED] Some of the messages are gone\r\n"
    );
    assert_eq!(
        other.say("d SEARCH ALL"),
        "* SEARCH 2 3 4\r\nd OK SEARCH completed\r\n"
    );
    assert_eq!(
        other.say("e UID SEARCH ALL"),
        "* SEARCH 2 3 4\r\n* 1 EXPUNGE\r\ne OK UID SEARCH completed\r\n"
    );
    assert_eq!(
        other.say("f FETCH 1 UID"),
        "* 1 FETCH (UID 2)\r\nf OK FETCH completed\r\n"
    );
    assert_eq!(other.say("g NOOP"), "g OK NOOP completed\r\n");
}

/// Not even by a FETCH or STORE that turns out to be about nothing.
#[test]
fn nothing_fetched_tells_no_expunge() {
    let maildrop = maildrop();
    let (mut one, mut other) = (Client::new(&maildrop), Client::new(&maildrop));
    other.say("c SEARCH RETURN (SAVE) KEYWORD nothing");
    one.say("c STORE 1 +FLAGS.SILENT (\\Deleted)");
    one.say("d EXPUNGE");
    other.news();
    assert_eq!(other.say("d FETCH $ FLAGS"), "d OK FETCH completed\r\n");
    assert_eq!(other.say("e STORE $ FLAGS ()"), "e OK STORE completed\r\n");
    assert_eq!(
        other.say("f UID FETCH $ FLAGS"),
        "* 1 EXPUNGE\r\nf OK UID FETCH completed\r\n"
    );
}

#[test]
fn flags_and_new_messages_are_told_while_idle() {
    let maildrop = maildrop();
    let (mut one, mut other) = (Client::new(&maildrop), Client::new(&maildrop));
    assert_eq!(other.say("c IDLE"), "+ idling\r\n");
    one.say("c STORE 2 +FLAGS (\\Flagged)");
    assert_eq!(other.news(), "* 2 FETCH (UID 2 FLAGS (\\Flagged))\r\n");
    maildrop.deliver(b"x");
    assert_eq!(other.news(), "* 4 EXISTS\r\n* 0 RECENT\r\n");
    one.say("d STORE 1:2 +FLAGS.SILENT (\\Deleted)");
    one.say("e EXPUNGE");
    assert_eq!(other.news(), "* 2 EXPUNGE\r\n* 1 EXPUNGE\r\n");
    assert_eq!(other.say("DONE"), "c OK IDLE completed\r\n");
    assert_eq!(
        other.say("d FETCH * UID"),
        "* 2 FETCH (UID 4)\r\nd OK FETCH completed\r\n"
    );
}

/// A message that came and went between two looks is never told of.
#[test]
fn a_message_that_came_and_went_is_not_told() {
    let maildrop = maildrop();
    let (mut one, mut other) = (Client::new(&maildrop), Client::new(&maildrop));
    maildrop.deliver(b"x");
    one.say("c NOOP");
    one.say("d STORE 4 +FLAGS.SILENT (\\Deleted)");
    one.say("e EXPUNGE");
    assert_eq!(other.say("f NOOP"), "f OK NOOP completed\r\n");
}

/// An own change is not told a second time.
#[test]
fn own_changes_are_told_once() {
    let mut one = Client::new(&maildrop());
    one.say("c STORE 1 +FLAGS.SILENT (\\Seen)");
    assert_eq!(one.say("d NOOP"), "d OK NOOP completed\r\n");
    one.say("e FETCH 2 BODY[]");
    assert_eq!(one.say("f NOOP"), "f OK NOOP completed\r\n");
}

/// A STORE that finds the flags as it wants them made no change, so the change of another session that made them so is still told,
/// with all messages of it.
#[test]
fn a_store_that_changes_nothing_hides_no_change_of_another() {
    let maildrop = maildrop();
    let (mut one, mut other) = (Client::new(&maildrop), Client::new(&maildrop));
    one.say("c STORE 1:2 +FLAGS.SILENT (\\Flagged)");
    assert_eq!(
        other.say("d STORE 1 +FLAGS.SILENT (\\Flagged)"),
        "d OK STORE completed\r\n"
    );
    assert_eq!(
        other.say("e NOOP"),
        "* 1 FETCH (UID 1 FLAGS (\\Flagged))\r\n* 2 FETCH (UID 2 FLAGS (\\Flagged))\r\ne OK NOOP completed\r\n"
    );
}

/// Output is written before more is read: memory does not grow with the message.
#[test]
fn a_large_message_is_streamed_with_back_pressure() {
    let maildrop = Maildrop::default();
    let large = vec![b'x'; 1_000_003];
    maildrop.deliver(&large);
    maildrop.deliver(&large);
    let mut client = Client::new(&maildrop);
    client.session.receive(b"c FETCH 1:2 BODY.PEEK[]\r\n");
    let (mut told, mut most) = (0, 0);
    loop {
        match client.session.next(Instant::now()) {
            Next::Ask(ask) => client.session.answer(client.access.handle(ask)),
            Next::Write => {
                most = most.max(client.session.output().len());
                told += std::mem::take(client.session.output()).len();
            }
            Next::Read { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(told > 2 * large.len());
    assert!(most <= 2 * 64 * 1024 + 100, "{most} octets waited at once");
}

/// In the middle of a literal nothing may be said: whatever it is, it would be taken for the message.
#[test]
fn a_torn_message_closes_the_connection_without_a_word() {
    let maildrop = maildrop();
    let mut client = Client::new(&maildrop);
    maildrop.tear();
    client.session.receive(b"c FETCH 1 BODY.PEEK[]\r\n");
    loop {
        match client.session.next(Instant::now()) {
            Next::Ask(ask) => client.session.answer(client.access.handle(ask)),
            Next::Close(why) => {
                assert_eq!(why, Why::Fault);
                let output = String::from_utf8(std::mem::take(client.session.output())).unwrap();
                assert_eq!(output, "* 1 FETCH (BODY[] {34}\r\n");
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// APPEND hands over pieces of one size, whatever the segments, and its message is never held whole.
#[test]
fn an_append_is_streamed_in_even_pieces() {
    let message = vec![b'm'; 150_000];
    let mut input = b"a LOGIN me sesame\r\nb APPEND INBOX {150000}\r\n".to_vec();
    input.extend_from_slice(&message);
    input.extend_from_slice(b"\r\nc NOOP\r\n");
    for size in [150_100, 70_000, 1_000] {
        let maildrop = Maildrop::default();
        let mut access = maildrop.access();
        let segments: Vec<&[u8]> = input.chunks(size).collect();
        let it = outcome(implicit_session(), &segments, |ask| access.handle(ask));
        assert!(
            it.output
                .ends_with(b"b OK [APPENDUID 1 1] APPEND completed\r\nc OK NOOP completed\r\n")
        );
        assert_eq!(maildrop.contents("INBOX"), std::slice::from_ref(&message));
        let pieces = maildrop
            .asked()
            .iter()
            .filter(|name| *name == "AppendContent")
            .count();
        assert_eq!(pieces, 3, "64 KiB each, cut into segments of {size}");
    }
}

/// A client that vanishes in the middle of APPEND leaves nothing behind.
#[test]
fn a_broken_append_keeps_nothing() {
    let maildrop = Maildrop::default();
    let mut access = maildrop.access();
    let mut session = implicit_session();
    session.receive(b"a LOGIN me sesame\r\nb APPEND INBOX {100}\r\nhalf of it");
    session.peer_closed(false);
    let end = loop {
        match session.next(Instant::now()) {
            Next::Ask(ask) => session.answer(access.handle(ask)),
            Next::Write => session.output().clear(),
            Next::Close(why) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end, Why::Broken);
    assert!(maildrop.contents("INBOX").is_empty());
}

#[test]
fn a_mailbox_that_vanishes_ends_the_session() {
    let mut access = maildrop().access();
    let it = outcome(
        implicit_session(),
        &[b"a LOGIN me sesame\r\nb SELECT INBOX\r\nc NOOP\r\nd NOOP\r\n"],
        |ask| match ask {
            Ask::Changes { .. } => Answer::Changes(Err(Refusal::Gone)),
            other => access.handle(other),
        },
    );
    assert_eq!(it.end, End::Closed(Why::Gone));
    // The command was done; only then comes the end.
    assert!(
        it.output
            .ends_with(b"c OK NOOP completed\r\n* BYE The mailbox or the account is gone\r\n")
    );
}

/// RFC 9051 2.2.2: a command that cannot be done any more is answered before the end.
#[test]
fn a_command_in_a_mailbox_that_vanished_is_answered() {
    for command in ["FETCH 1 FLAGS", "SEARCH ALL", "STORE 1 FLAGS ()", "EXPUNGE"] {
        let mut access = maildrop().access();
        let input = format!("a LOGIN me sesame\r\nb SELECT INBOX\r\nc {command}\r\n");
        let it = outcome(implicit_session(), &[input.as_bytes()], |ask| match ask {
            Ask::Fetch { .. } => Answer::Rows(Err(Refusal::Gone)),
            Ask::Search { .. } => Answer::Found(Err(Refusal::Gone)),
            Ask::Store { .. } => Answer::Stored(Err(Refusal::Gone)),
            Ask::Expunge { .. } => Answer::Expunged(Err(Refusal::Gone)),
            other => access.handle(other),
        });
        assert_eq!(it.end, End::Closed(Why::Gone), "{command}");
        assert!(
            it.output.ends_with(
                b"c NO [NONEXISTENT] The mailbox or the account is gone\r\n\
                * BYE The mailbox or the account is gone\r\n"
            ),
            "{command}"
        );
    }
}

/// RFC 9051 6.3.5: whoever deletes the mailbox it has selected gets OK, and goes on without one.
#[test]
fn deleting_the_selected_mailbox_leaves_it() {
    let maildrop = maildrop();
    let (mut one, mut other) = (Client::new(&maildrop), Client::new(&maildrop));
    one.say("c CREATE old");
    one.say("d CREATE kept");
    for (name, notify) in [("old", ""), ("kept", "NOTIFY SET (personal (MailboxName))")] {
        one.say(&format!("e SELECT {name}"));
        one.say("f RENAME old new");
        if !notify.is_empty() {
            assert_eq!(one.say(&format!("g {notify}")), "g OK NOTIFY completed\r\n");
        }
        let name = name.replace("old", "new");
        assert_eq!(
            one.say(&format!("h DELETE {name}")),
            "* OK [CLOSED] The mailbox that was selected is deleted\r\nh OK DELETE completed\r\n"
        );
        assert_eq!(one.say("i CHECK"), "i BAD Not in this state\r\n");
        assert_eq!(one.say("j NOOP"), "j OK NOOP completed\r\n");
    }
    // Another mailbox than the selected one leaves it open, and news is told.
    other.say("c CREATE third");
    maildrop.deliver(b"x");
    assert_eq!(
        other.say("d DELETE third"),
        "* 4 EXISTS\r\n* 0 RECENT\r\nd OK DELETE completed\r\n"
    );
    assert_eq!(other.say("e CHECK"), "e OK CHECK completed\r\n");
}

#[test]
fn an_answer_that_does_not_fit_ends_the_session() {
    let it = outcome(
        implicit_session(),
        &[b"a LOGIN me sesame\r\nb NOOP\r\n"],
        |_| Answer::Done,
    );
    assert_eq!(it.end, End::Closed(Why::Fault));
    assert!(
        !it.output
            .windows(6)
            .any(|it| it == b"a OK [" || it == b"b OK N")
    );
}

/// A line without end, before and after login.
#[test]
fn an_endless_line_ends_the_session() {
    for before in ["", "a LOGIN me sesame\r\n"] {
        let endless = format!("{before}b {}", "x".repeat(70_000));
        let it = outcome(implicit_session(), &[endless.as_bytes()], backend());
        assert_eq!(it.end, End::Closed(Why::LimitExceeded));
        assert!(it.output.ends_with(b"* BYE The command is too long\r\n"));
    }
}

/// [IMAP-AUTH-03] the line buffer holds 12 KiB of initial response: it is judged, not cut.
#[test]
fn a_large_initial_response_is_read() {
    let line = format!("a AUTHENTICATE PLAIN {}\r\n", "QUFB".repeat(3072));
    let it = outcome(implicit_session(), &[line.as_bytes()], backend());
    assert!(!matches!(it.end, End::Closed(Why::LimitExceeded)));
    assert!(String::from_utf8(it.output).unwrap().contains("\r\na "));
}

/// An idle session holds nothing but its list of messages.
#[test]
fn an_idle_session_holds_no_output() {
    let mut client = Client::new(&maildrop());
    client.say("c IDLE");
    assert_eq!(client.session.output().capacity(), 0);
}

/// LITERAL- (RFC 7888 5): what comes unasked is at most 4096 octets; more is dropped, and refused.
#[test]
fn a_literal_that_does_not_wait_is_short() {
    let say = |length: usize| {
        let name = "x".repeat(length);
        let input = format!("a LOGIN me sesame\r\nb SELECT {{{length}+}}\r\n{name}\r\nc NOOP\r\n");
        let it = outcome(implicit_session(), &[input.as_bytes()], backend());
        String::from_utf8(it.output).unwrap()
    };
    assert!(say(4096).ends_with("b NO [NONEXISTENT] No such mailbox\r\nc OK NOOP completed\r\n"));
    assert!(say(4097).ends_with(
        "b BAD A literal over 4096 octets must wait (LITERAL-)\r\nc OK NOOP completed\r\n"
    ));
    let append = format!(
        "a LOGIN me sesame\r\nb APPEND INBOX {{4097+}}\r\n{}\r\nc NOOP\r\n",
        "x".repeat(4097)
    );
    let it = outcome(implicit_session(), &[append.as_bytes()], backend());
    assert!(it.output.ends_with(
        b"b BAD A literal over 4096 octets must wait (LITERAL-)\r\nc OK NOOP completed\r\n"
    ));
}

/// All literals of a command together are at most 64 KiB.
#[test]
fn literals_are_limited_together() {
    let first = "x".repeat(60_000);
    let input =
        format!("a LOGIN me sesame\r\nb RENAME {{60000}}\r\n{first} {{5537}}\r\nc NOOP\r\n");
    let it = outcome(implicit_session(), &[input.as_bytes()], backend());
    assert!(
        it.output
            .ends_with(b"b BAD [TOOBIG] The literals are too long\r\nc OK NOOP completed\r\n")
    );
}

#[test]
fn twenty_bad_commands_after_login_are_enough() {
    let input = format!("a LOGIN me sesame\r\n{}", "x FROB\r\n".repeat(20));
    let it = outcome(implicit_session(), &[input.as_bytes()], backend());
    assert_eq!(it.end, End::Closed(Why::TooManyErrors));
    let fewer = format!("a LOGIN me sesame\r\n{}b NOOP\r\n", "x FROB\r\n".repeat(19));
    let it = outcome(implicit_session(), &[fewer.as_bytes()], backend());
    assert!(it.output.ends_with(b"b OK NOOP completed\r\n"));
}

/// Rows that answer for nothing would be asked for for ever.
#[test]
fn rows_that_answer_nothing_end_the_session() {
    let mut access = maildrop().access();
    let input = b"a LOGIN me sesame\r\nb SELECT INBOX\r\nc FETCH 1:3 UID\r\n";
    let it = outcome(implicit_session(), &[input], |ask| match ask {
        Ask::Fetch { .. } => Answer::Rows(Ok(Rows::default())),
        other => access.handle(other),
    });
    assert_eq!(it.end, End::Closed(Why::Fault));
}

/// What a command may ask for is limited: items, depth of parts, patterns.
#[test]
fn greedy_commands_are_refused() {
    let deep = vec!["1"; 101].join(".");
    let items: Vec<String> = (0..257).map(|start| format!("BODY[]<{start}.1>")).collect();
    for (command, reply) in [
        (format!("c FETCH 1 BODY[{deep}]"), "c BAD "),
        (format!("c FETCH 1 ({})", items.join(" ")), "c BAD "),
        (format!("c LIST \"\" {}", "*%".repeat(501)), "c NO [LIMIT] "),
        (format!("c LSUB \"\" {}", "*%".repeat(501)), "c NO [LIMIT] "),
        (format!("c SEARCH{}", " TEXT x".repeat(33)), "c NO [LIMIT] "),
    ] {
        let input = format!("a LOGIN me sesame\r\nb SELECT INBOX\r\n{command}\r\n");
        let it = outcome(implicit_session(), &[input.as_bytes()], backend());
        let text = String::from_utf8(it.output).unwrap();
        assert!(
            text.lines()
                .last()
                .is_some_and(|line| line.starts_with(reply)),
            "{command}"
        );
    }
}

/// A search refused with NO empties `$` (RFC 5182 2.1), whatever the reason.
#[test]
fn a_search_over_the_limit_empties_the_saved_result() {
    let mut client = Client::new(&maildrop());
    client.say("c SEARCH RETURN (SAVE) ALL");
    assert!(client.say("d FETCH $ UID").contains("* 1 FETCH"));
    let keys = " TEXT x".repeat(33);
    let refused = client.say(&format!("e SEARCH RETURN (SAVE){keys}"));
    assert!(refused.starts_with("e NO [LIMIT] "), "{refused}");
    assert_eq!(client.say("f FETCH $ UID"), "f OK FETCH completed\r\n");
}

/// The names of a great many mailboxes are not matched with a pattern made to be slow.
#[test]
fn a_list_that_costs_too_much_is_refused() {
    let mut access = maildrop().access();
    let pattern = "*a".repeat(400);
    let input = format!("a LOGIN me sesame\r\nb LIST \"\" {pattern}\r\nc LIST \"\" *\r\n");
    let it = outcome(implicit_session(), &[input.as_bytes()], |ask| {
        let many = matches!(ask, Ask::List);
        match access.handle(ask) {
            Answer::Mailboxes(Ok(mut mailboxes)) if many => {
                let mut other = mailboxes.pop().unwrap();
                other.name = "a".repeat(200);
                Answer::Mailboxes(Ok(vec![other; 500]))
            }
            answer => answer,
        }
    });
    let text = String::from_utf8(it.output).unwrap();
    assert!(text.contains("b NO [LIMIT] "));
    assert_eq!(text.matches("* LIST ").count(), 500);
    assert!(text.ends_with("c OK LIST completed\r\n"));
}

/// At each literal the command is looked at again, so they are counted; before login too.
#[test]
fn the_literals_of_a_command_are_counted() {
    let say = |before: &str, command: &str, literal: &str, count: usize| {
        let literals = literal.repeat(count);
        let input = format!("{before}b {command} {literals}ALL\r\nc NOOP\r\n");
        let it = outcome(implicit_session(), &[input.as_bytes()], backend());
        String::from_utf8(it.output).unwrap()
    };
    let selected = "a LOGIN me sesame\r\na SELECT INBOX\r\n";
    for (before, command, literal) in [
        ("", "LOGIN", "{0+}\r\n "),
        (selected, "SEARCH", "SUBJECT {1+}\r\nx "),
    ] {
        assert!(!say(before, command, literal, 100).contains("Too many literals"));
        let refused = "b BAD Too many literals\r\nc OK NOOP completed\r\n";
        let said = say(before, command, literal, 101);
        assert!(said.ends_with(refused), "{said}");
    }
}

/// COPY and MOVE are done as one, so they are not done for any number of messages.
#[test]
fn too_many_messages_are_not_copied_at_once() {
    let mut access = maildrop().access();
    let mut asked = Vec::new();
    let input = b"a LOGIN me sesame\r\nb SELECT INBOX\r\nc COPY 1:100001 Sent\r\nd UID MOVE 1:* Sent\r\ne COPY 1:100000 Sent\r\n";
    let it = outcome(implicit_session(), &[input], |ask| {
        if let Ask::Copy { uids, .. } = &ask {
            asked.push(uids.len());
            return Answer::Copied(Err(Refusal::Unavailable));
        }
        match access.handle(ask) {
            Answer::Selected(Ok(mut selected)) => {
                selected.uids = (1..=100_001).collect();
                selected.uidnext = 100_002;
                Answer::Selected(Ok(selected))
            }
            answer => answer,
        }
    });
    let text = String::from_utf8(it.output).unwrap();
    assert!(text.contains("\r\nc NO [LIMIT] ") && text.contains("\r\nd NO [LIMIT] "));
    assert_eq!(asked, [100_000]);
}

/// What is bad is counted up to the next command that is understood, and a number without message not at all.
#[test]
fn a_long_session_does_not_end_by_mistakes_now_and_then() {
    let mut client = Client::new(&maildrop());
    for _ in 0..100 {
        client.say("c FETCH 99 FLAGS");
        client.say("d FROB");
        assert_eq!(client.say("e NOOP"), "e OK NOOP completed\r\n");
    }
    for _ in 0..30 {
        assert_eq!(
            client.say("f FETCH 99 FLAGS"),
            "f BAD No such message number\r\n"
        );
    }
    let garbage = "g FROB\r\n".repeat(20);
    client.session.receive(garbage.as_bytes());
    let mut said = Vec::new();
    let why = loop {
        match client.session.next(Instant::now()) {
            Next::Write => said.append(client.session.output()),
            Next::Close(why) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why, Why::TooManyErrors);
}

/// A header that SMTP would not take is not taken here either: its end would not be told (`docs/limits.md`).
#[test]
fn a_header_that_is_too_long_is_not_kept() {
    let field = format!("X: {}\r\n", "x".repeat(1019));
    let say = |header: String| {
        let maildrop = Maildrop::default();
        let mut access = maildrop.access();
        let config = super::Config {
            append_limit: 4_000_000,
            ..super::configuration(false)
        };
        let session = super::Fresh::implicit(std::sync::Arc::new(config)).secured(super::facts());
        let message = format!("{header}\r\nbody");
        let length = message.len();
        let input =
            format!("a LOGIN me sesame\r\nb APPEND INBOX {{{length}}}\r\n{message}\r\nc NOOP\r\n");
        let it = outcome(session, &[input.as_bytes()], |ask| access.handle(ask));
        let output = String::from_utf8(it.output).unwrap();
        let lines = output.lines().filter(|line| line.starts_with("b "));
        assert!(output.ends_with("c OK NOOP completed\r\n"));
        (lines.collect::<String>(), maildrop.contents("INBOX").len())
    };
    let kept = "b OK [APPENDUID 1 1] APPEND completed".to_owned();
    assert_eq!(say(field.repeat(1023)), (kept, 1));
    let refused = "b NO [TOOBIG] The header is too long".to_owned();
    assert_eq!(say(field.repeat(1024)), (refused, 0));
}
