//! For any cut of the input the output is the same; for any input there is no panic and an end.

use gatepost_testkit::talk::{outcome, transcript};
use gatepost_wire::session::Machine as _;
use proptest::prelude::*;

use super::{backend, clear_session, implicit_session};

const CONVERSATION: &[u8] = b"a LOGIN {2}\r\nme sesame\r\nb SELECT INBOX\r\nc FETCH 1:* (FLAGS BODY[])\r\n\
    d APPEND INBOX (\\Seen) {5+}\r\nHello\r\ne UID SEARCH RETURN (SAVE ALL) OR SUBJECT {5}\r\nfirst UNSEEN\r\n\
    f UID FETCH $ ENVELOPE\r\ng IDLE\r\nDONE\r\nh FROB {3+}\r\nabc\r\ni UID STORE 1:2 +FLAGS (\\Deleted)\r\nj EXPUNGE\r\n\
    k LIST (SUBSCRIBED) \"\" (% *) RETURN (STATUS (SIZE))\r\nl AUTHENTICATE PLAIN\r\nm CLOSE\r\nn LOGOUT\r\n";

fn cut(text: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.sort_unstable();
    let mut segments = Vec::new();
    let mut from = 0;
    for to in cuts
        .into_iter()
        .map(|at| at % (text.len() + 1))
        .chain([text.len()])
    {
        if to > from {
            segments.push(&text[from..to]);
            from = to;
        }
    }
    segments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn segments_do_not_matter(mut cuts in proptest::collection::vec(0..CONVERSATION.len(), 0..20)) {
        cuts.sort_unstable();
        let whole = transcript(implicit_session(), &[CONVERSATION], backend());
        prop_assert!(whole.ends_with(b"n OK LOGOUT completed\r\n"), "{}", String::from_utf8_lossy(&whole));
        let parts = transcript(implicit_session(), &cut(CONVERSATION, cuts), backend());
        prop_assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&parts));
    }

    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = outcome(clear_session(), &[&bytes], backend());
        let mut after_login = b"a LOGIN me sesame\r\nb SELECT INBOX\r\n".to_vec();
        after_login.extend_from_slice(&bytes);
        let _ = outcome(implicit_session(), &[&after_login], backend());
    }

    #[test]
    fn nearly_right_commands_do_no_harm(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "a", "UID", "FETCH", "STORE", "SEARCH", "LIST", "APPEND", "COPY", "SELECT", "STATUS", "CREATE", "IDLE", "DONE", "1:*",
                "$", "*", "(", ")", "()", "FLAGS", "BODY[", "]", "<0.1>", "HEADER.FIELDS", "\"", "\"x\"", "{1}\r\n", "{2+}\r\n",
                "~{3+}\r\n", "\r\n", "\r", "\n", "RETURN", "SAVE", "NOT", "OR", "INBOX", "&", "\\Seen", "+FLAGS", "EMAILID",
                "(CHANGEDSINCE", "0", "4294967295", "99999999999999999999", "USE", "MODSEQ", "LOGOUT", "EXPUNGE", "MOVE",
            ]),
            0..40,
        ),
        glue in any::<bool>(),
    ) {
        let text = words.join(if glue { " " } else { "" });
        let input = format!("a LOGIN me sesame\r\nb SELECT INBOX\r\nc {text}\r\nd NOOP\r\n");
        let whole = outcome(implicit_session(), &[input.as_bytes()], backend());
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        let parts = outcome(implicit_session(), &bytes, backend());
        prop_assert_eq!(String::from_utf8_lossy(&whole.output), String::from_utf8_lossy(&parts.output));
    }
}

#[test]
fn a_session_that_is_closed_while_waiting_says_nothing_more() {
    let mut session = implicit_session();
    session.peer_closed(true);
    let it = outcome(session, &[], backend());
    assert!(it.output.starts_with(b"* OK ") && !it.output.windows(5).any(|it| it == b"* BYE"));
}
