//! The buffer of received bytes: lines must not depend on the cut, and nothing may be lost.

use gatepost_wire::inbox::{Inbox, Line};

use crate::Target;
use crate::behaviour;
use crate::input::Input;

/// Lines in clear text cut into segments.
pub const LINES: Target = Target {
    name: "inbox",
    run: lines,
    seeds,
    words: &["\r\n", "\r", "\n", "\r\r\n"],
};

/// The greatest length of a line.
const LIMIT: usize = 40;

/// Takes lines out of the buffer, cut and whole.
///
/// # Panics
/// When the cut changes the lines.
pub fn lines(data: &[u8]) {
    let input = Input::parse(data);
    let whole = collect(&[input.clear]);
    assert_eq!(
        whole,
        collect(&input.segments(input.clear)),
        "the cut changes the lines"
    );
    behaviour::note((
        whole.len().min(20),
        whole.iter().filter(|line| line.is_none()).count().min(5),
    ));
}

/// The lines, `None` for one that is too long.
fn collect(segments: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let mut inbox = Inbox::default();
    let mut lines = Vec::new();
    let mut skipping = false;
    for segment in segments {
        inbox.push(segment);
        loop {
            if skipping {
                if !inbox.skip_line() {
                    break;
                }
                skipping = false;
            }
            match inbox.line(LIMIT) {
                Line::Complete(line) => {
                    assert!(
                        !line.windows(2).any(|pair| pair == b"\r\n") && line.len() <= LIMIT,
                        "not one line: {line:?}"
                    );
                    lines.push(Some(line));
                }
                Line::TooLong => {
                    lines.push(None);
                    skipping = true;
                }
                Line::Incomplete => break,
            }
        }
        assert!(
            inbox.len() <= LIMIT + 2,
            "the buffer keeps {} octets",
            inbox.len()
        );
    }
    lines
}

fn seeds() -> Vec<Vec<u8>> {
    let long = [b"x".repeat(LIMIT + 3), b"\r\nshort\r\n".to_vec()].concat();
    vec![
        Input::build(0, &[1], b"NOOP\r\nQUIT\r\n"),
        Input::build(0, &[3, 1], b"a\nb\rc\r\r\n\r\n"),
        Input::build(0, &[41, 1], &long),
    ]
}
