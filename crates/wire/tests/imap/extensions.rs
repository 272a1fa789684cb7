//! Extensions between two sessions on one mailbox, and COMPRESS, whose octets no dialogue can show.

use std::time::Instant;

use gatepost_testkit::imap::{Access, Maildrop};
use gatepost_wire::imap::server::Server;
use gatepost_wire::session::{Machine, Next, Why};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush};

use super::{clear_session, implicit_session, maildrop};

/// A client with its session and its access to the mailbox.
struct Client {
    session: Server,
    access: Access,
}

impl Client {
    fn new(maildrop: &Maildrop, enable: &str) -> Self {
        let mut client = Self {
            session: implicit_session(),
            access: maildrop.access(),
        };
        client.say("a LOGIN me sesame");
        client.say(&format!("b ENABLE {enable}"));
        client.say("c SELECT INBOX");
        client
    }

    fn run(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            match self.session.next(Instant::now()) {
                Next::Ask(ask) => self.session.answer(self.access.handle(ask)),
                Next::Write => said.append(self.session.output()),
                Next::Read { .. } => return said,
                Next::Close(_) => {
                    said.append(self.session.output());
                    return said;
                }
                other @ Next::Upgrade => panic!("{other:?}"),
            }
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.session.receive(format!("{line}\r\n").as_bytes());
        String::from_utf8(self.run()).unwrap()
    }

    fn news(&mut self) -> String {
        self.session.news();
        String::from_utf8(self.run()).unwrap()
    }
}

/// RFC 7162 3.2.10, RFC 9586 3: VANISHED takes the place of EXPUNGE, also when others expunge and while idle.
#[test]
fn what_others_expunge_vanishes() {
    for extension in ["QRESYNC", "UIDONLY"] {
        let maildrop = maildrop();
        let mut one = Client::new(&maildrop, "CONDSTORE");
        let mut other = Client::new(&maildrop, extension);
        one.say("d STORE 1 +FLAGS.SILENT (\\Deleted)");
        let expunged = one.say("e EXPUNGE");
        assert!(expunged.ends_with("* 1 EXPUNGE\r\ne OK [HIGHESTMODSEQ 6] EXPUNGE completed\r\n"));
        other.session.news();
        // Not while UIDs may be looked up by number.
        if extension == "QRESYNC" {
            let fetched = other.say("d FETCH 2 UID");
            assert_eq!(fetched, "* 2 FETCH (UID 2)\r\nd OK FETCH completed\r\n");
        }
        assert_eq!(
            other.say("e NOOP"),
            "* VANISHED 1\r\ne OK NOOP completed\r\n"
        );
        other.say("f IDLE");
        one.say("f STORE 1 +FLAGS.SILENT (\\Deleted)");
        one.say("g EXPUNGE");
        assert_eq!(other.news(), "* VANISHED 2\r\n", "{extension}");
        one.say("h STORE 1 +FLAGS.SILENT (\\Flagged)");
        let flags = if extension == "QRESYNC" {
            "* 1 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (9))\r\n"
        } else {
            "* 3 UIDFETCH (FLAGS (\\Flagged))\r\n"
        };
        assert_eq!(other.news(), flags);
    }
}

/// RFC 5465 3.1: SELECTED tells at once that messages are gone, SELECTED-DELAYED where a command ends.
#[test]
fn changes_are_told_between_commands() {
    for (selector, at_once, later) in [
        ("selected", "* 1 EXPUNGE\r\n", ""),
        ("selected-delayed", "", "* 1 EXPUNGE\r\n"),
    ] {
        let maildrop = maildrop();
        let mut one = Client::new(&maildrop, "X");
        let mut other = Client::new(&maildrop, "X");
        let notify = format!("d NOTIFY SET ({selector} (MessageNew MessageExpunge FlagChange))");
        assert!(other.say(&notify).ends_with("d OK NOTIFY completed\r\n"));
        one.say("d STORE 1 +FLAGS (\\Deleted)");
        assert_eq!(other.news(), "* 1 FETCH (UID 1 FLAGS (\\Deleted))\r\n");
        one.say("e EXPUNGE");
        assert_eq!(other.news(), at_once, "{selector}");
        maildrop.deliver(b"x");
        let count = if at_once.is_empty() { 4 } else { 3 };
        assert_eq!(other.news(), format!("* {count} EXISTS\r\n* 0 RECENT\r\n"));
        assert_eq!(
            other.say("e NOOP"),
            format!("{later}e OK NOOP completed\r\n")
        );
    }
}

/// Nothing is told in the middle of a command, whose numbers would no longer be right.
#[test]
fn nothing_is_told_inside_a_command() {
    let maildrop = maildrop();
    let mut one = Client::new(&maildrop, "X");
    let mut other = Client::new(&maildrop, "X");
    other.say("d NOTIFY SET (selected (MessageNew MessageExpunge))");
    other.session.receive(b"e FETCH 3");
    one.say("d STORE 1 +FLAGS (\\Deleted)");
    one.say("e EXPUNGE");
    assert_eq!(other.news(), "");
    let rest = other.say(" UID");
    assert_eq!(
        rest,
        "* 3 FETCH (UID 3)\r\ne OK FETCH completed\r\n* 1 EXPUNGE\r\n"
    );
}

/// RFC 5465 5.4: names that come, go and change, told to others.
#[test]
fn names_are_told_to_those_who_watch() {
    let maildrop = maildrop();
    let mut one = Client::new(&maildrop, "X");
    let mut other = Client::new(&maildrop, "X");
    other.say("d NOTIFY SET (personal (MailboxName SubscriptionChange))");
    one.say("d CREATE New");
    assert_eq!(other.news(), "* LIST () \"/\" \"New\"\r\n");
    one.say("e RENAME New Old");
    assert_eq!(
        other.news(),
        "* LIST () \"/\" \"Old\" (\"OLDNAME\" (\"New\"))\r\n"
    );
    one.say("f SUBSCRIBE Old");
    assert_eq!(other.news(), "* LIST (\\Subscribed) \"/\" \"Old\"\r\n");
    other.say("e IDLE");
    one.say("g DELETE Old");
    assert_eq!(other.news(), "* LIST (\\NonExistent) \"/\" \"Old\"\r\n");
    maildrop.deliver_to("Sent", b"x");
    assert_eq!(other.news(), "", "messages were not asked for");
}

fn unpack(state: &mut InflateState, packed: &[u8]) -> String {
    let mut out = vec![0; 1 << 20];
    let result = inflate(state, packed, &mut out, MZFlush::Partial);
    assert_eq!(result.bytes_consumed, packed.len());
    out.truncate(result.bytes_written);
    String::from_utf8(out).unwrap()
}

/// [IMAP-COMP-01] RFC 4978: both directions, after the tagged OK and not before.
#[test]
fn a_compressed_session_says_the_same() {
    let mut client = Client::new(&maildrop(), "X");
    assert_eq!(client.say("d COMPRESS DEFLATE"), "d OK DEFLATE active\r\n");
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    // A stream without end: each command is flushed, none finishes it.
    let commands = "e FETCH 1:3 BODY.PEEK[]\r\nf COMPRESS DEFLATE\r\ng CAPABILITY\r\n";
    let mut packed = compress_to_vec(commands.as_bytes(), 6);
    // The final bit is the first of the block.
    packed[0] &= !1;
    client.session.receive(&packed);
    let said = client.run();
    let text = unpack(&mut state, &said);
    assert!(text.starts_with("* 1 FETCH (BODY[] {"), "{text}");
    assert!(text.contains("f NO [COMPRESSIONACTIVE] "));
    assert!(text.ends_with("g OK CAPABILITY completed\r\n"));
    assert!(!text.contains("COMPRESS=DEFLATE"));
}

#[test]
fn what_is_no_deflate_ends_the_session() {
    let mut client = Client::new(&maildrop(), "X");
    // What stands behind the command is taken as compressed already.
    client.session.receive(b"d COMPRESS DEFLATE\r\ne NOOP\r\n");
    client.run();
    assert_eq!(
        client.session.next(Instant::now()),
        Next::Close(Why::OutOfSync)
    );
}

/// [IMAP-COMP-01] neither before login nor without TLS.
#[test]
fn compression_needs_login_and_tls() {
    let run = |mut session: Server, input: &str| {
        let mut access = maildrop().access();
        let mut said = Vec::new();
        let mut given = false;
        loop {
            match session.next(Instant::now()) {
                Next::Ask(ask) => session.answer(access.handle(ask)),
                Next::Write => said.append(session.output()),
                Next::Read { .. } if !given => {
                    session.receive(input.as_bytes());
                    given = true;
                }
                _ => return String::from_utf8(said).unwrap(),
            }
        }
    };
    assert!(run(implicit_session(), "a COMPRESS DEFLATE\r\n").contains("a BAD Not in this state"));
    let clear = run(clear_session(), "a COMPRESS DEFLATE\r\n");
    assert!(clear.contains("a NO [PRIVACYREQUIRED] "), "{clear}");
    assert!(!clear.contains("COMPRESS=DEFLATE"));
    let exception = run(
        super::excepted_session(),
        "a LOGIN me sesame\r\nb COMPRESS DEFLATE\r\nc COMPRESS LZW\r\n",
    );
    assert!(
        exception.contains("b NO [CANNOT] Not without TLS"),
        "{exception}"
    );
    assert!(exception.contains("c BAD Only DEFLATE is known"));
    assert!(!exception.contains("COMPRESS=DEFLATE"));
}
