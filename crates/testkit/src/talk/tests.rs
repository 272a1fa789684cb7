//! The runner, run over a session of three commands.

use std::time::{Duration, Instant};

use gatepost_wire::inbox::{Inbox, Line};
use gatepost_wire::seam::{Leftover, TlsFacts};
use gatepost_wire::session::{Fresh, Machine, Next, Why};

use super::*;

/// Answers a line with what the backend makes of it; knows TLS and QUIT; leaves after a minute.
struct Echo {
    inbox: Inbox,
    output: Vec<u8>,
    end: Option<Next<String>>,
    until: Option<Instant>,
    asked: bool,
    /// A bug to be found by cutting: answers the length of the first segment.
    counts_segments: Option<usize>,
}

struct Begin;

impl Echo {
    fn greeting(text: &str) -> Self {
        let output = text.as_bytes().to_vec();
        Self {
            inbox: Inbox::default(),
            output,
            end: None,
            until: None,
            asked: false,
            counts_segments: None,
        }
    }
}

impl Fresh for Begin {
    type Session = Echo;
    fn secured(self, facts: TlsFacts) -> Echo {
        Echo::greeting(&format!("tls {}\r\n", facts.suite))
    }
}

impl Machine for Echo {
    type Ask = String;
    type Answer = String;
    type Fresh = Begin;

    fn receive(&mut self, bytes: &[u8]) {
        if let Some(count) = self.counts_segments.as_mut() {
            *count += 1;
        }
        self.inbox.push(bytes);
    }

    fn next(&mut self, now: Instant) -> Next<String> {
        let until = *self.until.get_or_insert(now + Duration::from_secs(60));
        if now >= until {
            self.end = Some(Next::Close(Why::Timeout));
        }
        if !self.output.is_empty() {
            return Next::Write;
        }
        if let Some(end) = self.end.take() {
            return end;
        }
        match self.inbox.line(100) {
            Line::Complete(line) => match line.as_slice() {
                b"TLS" => Next::Upgrade,
                b"QUIT" => Next::Close(Why::Quit),
                b"COUNT" => {
                    self.output = format!("{:?}\r\n", self.counts_segments).into_bytes();
                    Next::Write
                }
                _ => {
                    self.asked = true;
                    Next::Ask(String::from_utf8(line).unwrap())
                }
            },
            _ => Next::Read { until },
        }
    }

    fn answer(&mut self, answer: String) {
        assert!(
            std::mem::take(&mut self.asked),
            "answers only what was asked"
        );
        self.output
            .extend_from_slice(format!("{answer}\r\n").as_bytes());
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn news(&mut self) {
        self.output.extend_from_slice(b"news\r\n");
    }

    fn shutdown(&mut self) {
        self.end = Some(Next::Close(Why::Shutdown));
    }

    fn peer_closed(&mut self, clean: bool) {
        self.end = Some(Next::Close(if clean {
            Why::PeerClosed
        } else {
            Why::Broken
        }));
    }

    fn upgrade(mut self) -> (Begin, Leftover) {
        (Begin, Leftover::new(self.inbox.take()))
    }
}

fn backend() -> impl FnMut(String) -> String {
    |text| format!("<{text}>")
}

fn check(dialogue: &str) -> Result<(), Mismatch> {
    try_run_cut(dialogue, || Echo::greeting("hello\r\n"), backend)
}

#[test]
fn a_dialogue_that_holds() {
    let dialogue = "# comment\n\nS: hello\nC: a\nC: b\nS: <a>\nS~ <*>\nC< c\\x41\\r\\n\nS< <cA>\\r\\n\nC: TLS\n<tls>\n\
                    S~ tls TLS_*_SHA256\n<news>\nS: news\n<wait 59s>\nC: QUIT\n<close quit>\n";
    assert_eq!(check(dialogue), Ok(()));
    run_cut(dialogue, || Echo::greeting("hello\r\n"), backend);
}

#[test]
fn endings() {
    for (directive, label) in [
        ("eof", "peer_closed"),
        ("broken", "broken"),
        ("shutdown", "shutdown"),
        ("wait 1m", "timeout"),
    ] {
        assert_eq!(
            check(&format!("S: hello\n<{directive}>\n<close {label}>\n")),
            Ok(())
        );
        assert!(check(&format!("S: hello\n<{directive}>\n<close quit>\n")).is_err());
        assert!(
            check(&format!("S: hello\n<{directive}>\n")).is_err(),
            "an end that was not expected"
        );
    }
}

#[test]
fn leftovers_are_told_apart() {
    let hello = "S: hello\nC< TLS\\r\\n\\x16\\x03\n";
    assert_eq!(
        check(&format!("{hello}<tls \\x16\\x03>\nS~ tls*\n")),
        Ok(())
    );
    assert!(check(&format!("{hello}<tls>\nS~ tls*\n")).is_err());
    assert!(check(&format!("{hello}<upgrade-refused>\n")).is_err());
    let injected = "S: hello\nC: TLS\nC: a\n";
    assert_eq!(check(&format!("{injected}<upgrade-refused>\n")), Ok(()));
    assert!(check(&format!("{injected}<tls>\nS~ tls*\n")).is_err());
    assert!(
        check("S: hello\nC: a\nS: <a>\n<tls>\n").is_err(),
        "no upgrade asked for"
    );
}

#[test]
fn a_mismatch_names_the_place() {
    let mismatch = check("S: hello\nC: a\nS: b\n").unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "dialogue:3 (whole)\nexpected \"b\\r\\n\"\n     got \"<a>\\r\\n\""
    );
    let mismatch = check("S: hello\nC: a\n").unwrap_err();
    assert_eq!((mismatch.line, mismatch.got.as_str()), (2, "\"<a>\\r\\n\""));
    assert_eq!(check("S: hello\nwhat\n").unwrap_err().line, 2);
    assert!(try_run("no/such/file", || Echo::greeting(""), backend()).is_err());
}

#[test]
fn output_must_be_complete_and_expected() {
    assert!(check("S: hello\nS: more\n").is_err());
    assert!(check("C: a\nS: hello\n").is_err());
    assert!(
        check("S: hello\nC: a\nC: QUIT\nS: <a>\n").is_err(),
        "the close is not in the dialogue"
    );
    assert!(
        check("S: hello\nC: QUIT\n<close quit>\nC: a\n").is_err(),
        "nobody is there any more"
    );
}

#[test]
fn cutting_finds_what_depends_on_segments() {
    let dialogue = "S: hello\nC: COUNT\nS: Some(1)\n";
    let make = || Echo {
        counts_segments: Some(0),
        ..Echo::greeting("hello\r\n")
    };
    assert_eq!(try_run(dialogue, make, backend()), Ok(()));
    assert_eq!(
        try_run_cut(dialogue, make, backend).unwrap_err().cut,
        "byte by byte"
    );
}

#[test]
fn outcomes() {
    let run = |segments: &[&[u8]]| outcome(Echo::greeting("hi\r\n"), segments, backend());
    assert_eq!(
        run(&[b"a\r", b"\n"]),
        Outcome {
            output: b"hi\r\n<a>\r\n".to_vec(),
            end: End::Reading
        }
    );
    assert_eq!(run(&[b"QUIT\r\n", b"a\r\n"]).end, End::Closed(Why::Quit));
    assert_eq!(
        run(&[b"TLS\r\n\x16", b"\x03"]).end,
        End::Upgrade(Ok(vec![0x16, 3]))
    );
    assert!(matches!(run(&[b"TLS\r\n", b"a"]).end, End::Upgrade(Err(_))));
    assert_eq!(
        transcript(Echo::greeting("hi\r\n"), &[b"a\r\n"], backend()),
        b"hi\r\n<a>\r\n"
    );
}

#[test]
fn patterns() {
    for (pattern, text, expected) in [
        ("+OK *", "+OK ready", true),
        ("+OK *", "+OK", false),
        ("*", "", true),
        ("a*b*c", "a1b2b3c", true),
        ("a*b*c", "a1c2b", false),
        ("\\* 3 EXISTS", "* 3 EXISTS", true),
        ("\\* 3 EXISTS", "x* 3 EXISTS", false),
        ("\\* OK *", "* OK [A] b", true),
    ] {
        assert_eq!(
            super::script::like(pattern, text),
            expected,
            "{pattern} {text}"
        );
    }
}
