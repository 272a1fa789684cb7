//! Any cut of any input gives the same session.

use gatepost_testkit::talk::{Outcome, outcome};
use proptest::prelude::*;

use super::mailbox::Mailbox;
use super::{clear, implicit};

/// Lines that reach every state, and some that should not.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "USER mrose",
        "PASS tanstaaf",
        "PASS wrong",
        "AUTH PLAIN AG1yb3NlAHRhbnN0YWFm",
        "AUTH PLAIN",
        "AG1yb3NlAHRhbnN0YWFm",
        "AUTH LOGIN",
        "bXJvc2U=",
        "*",
        "CAPA",
        "STLS",
        "STAT",
        "LIST",
        "LIST 1",
        "UIDL",
        "UIDL 2",
        "RETR 1",
        "RETR 2",
        "TOP 1 1",
        "DELE 1",
        "RSET",
        "NOOP",
        "QUIT",
        "GET / HTTP/1.1",
        "",
        "\x16\x03\x01",
    ]);
    prop_oneof![9 => known.prop_map(|it| it.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..20)]
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_session(
        lines in prop::collection::vec(lines(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        login in any::<bool>(),
        in_clear in any::<bool>(),
    ) {
        // [POP-PIPE-01]
        let mut input = if login { b"USER mrose\r\nPASS tanstaaf\r\n".to_vec() } else { Vec::new() };
        for line in &lines {
            input.extend_from_slice(line);
            input.extend_from_slice(b"\r\n");
        }
        let mut at: Vec<usize> = cuts.iter().map(|it| it.index(input.len() + 1)).collect();
        at.extend([0, input.len()]);
        at.sort_unstable();
        let segments: Vec<&[u8]> = at.windows(2).map(|it| &input[it[0]..it[1]]).collect();
        let make = if in_clear { clear } else { implicit };
        let (whole, cut) = (Mailbox::new(), Mailbox::new());
        let said = outcome(make(), &[&input], whole.backend());
        prop_assert_eq!(&said, &outcome(make(), &segments, cut.backend()));
        // [POP-TLS-06] no line of a reply is longer than 512 octets
        prop_assert!(said.output.split_inclusive(|it| *it == b'\n').all(|line| line.len() <= 512 && line.ends_with(b"\r\n")));
        prop_assert_eq!(&*whole.asked.borrow(), &*cut.asked.borrow());
    }

    #[test]
    fn garbage_is_survived(segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8), in_clear in any::<bool>()) {
        let mailbox = Mailbox::new();
        let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        let Outcome { output, .. } = outcome(if in_clear { clear() } else { implicit() }, &segments, mailbox.backend());
        prop_assert!(output.starts_with(b"+OK "));
        prop_assert_eq!(mailbox.asked.borrow().len(), 0);
    }
}
