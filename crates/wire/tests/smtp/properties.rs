//! For any cut of the input the questions and the output are the same; and no input makes the session panic.

use proptest::prelude::*;

use super::support::{Talk, clear, implicit, mx, patient, submission};

/// Pieces of which dialogues are made. DATA stands only at the end of a turn: what comes behind it in the same turn is out of
/// sync or not, depending on when it arrives.
const WORDS: &[&str] = &[
    "EHLO a.example\r\n",
    "HELO a\r\n",
    "MAIL FROM:<me@gatepost.test>\r\n",
    "MAIL FROM:<> SIZE=10\r\n",
    "RCPT TO:<me@gatepost.test>\r\n",
    "RCPT TO:<nobody@gatepost.test>\r\n",
    "RCPT TO:<full@gatepost.test>\r\n",
    "MAIL FROM:<spoofed@gatepost.test>\r\n",
    "BDAT 4\r\nab\r\n",
    "BDAT 3 LAST\r\nx\r\n",
    "BDAT 5\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "AUTH PLAIN AG1lQGdhdGVwb3N0LnRlc3QAcGVuY2ls\r\n",
    "AUTH LOGIN\r\n",
    "bWVAZ2F0ZXBvc3QudGVzdA==\r\n",
    "cGVuY2ls\r\n",
    "*\r\n",
    "Subject: x\r\n\r\n",
    "Received: x\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "..\r\n",
    ".",
    "\r",
    "\n",
    "\r\n",
    "\n.\n",
    "\0",
    "x",
];

/// How far a dialogue has got before chance takes over.
const OPENINGS: &[&str] = &[
    "EHLO a.example\r\n",
    "EHLO a.example\r\nAUTH PLAIN AG1lQGdhdGVwb3N0LnRlc3QAcGVuY2ls\r\n",
    "EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<me@gatepost.test>\r\n",
    "EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<me@gatepost.test>\r\nDATA\r\n",
    "EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<me@gatepost.test>\r\nBDAT 2\r\n\r\n",
];

fn opening() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(OPENINGS).prop_map(|words| words.as_bytes().to_vec())
}

fn turn() -> impl Strategy<Value = Vec<u8>> {
    let words = proptest::collection::vec(proptest::sample::select(WORDS), 0..8);
    (words, any::<bool>()).prop_map(|(words, data)| {
        (words.concat() + if data { "DATA\r\n" } else { "" }).into_bytes()
    })
}

/// Cuts a turn at the places given.
fn segments<'a>(turn: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(turn.len() + 1)).collect();
    places.extend([0, turn.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &turn[pair[0]..pair[1]])
        .collect()
}

fn run(make: fn() -> Talk, turns: &[Vec<&[u8]>]) -> (Vec<u8>, Vec<String>, String) {
    let mut talk = make();
    for turn in turns {
        talk.say_in(turn);
    }
    (
        talk.written,
        talk.mailbox.asked,
        format!("{:?}", talk.pause),
    )
}

const MAKERS: [fn() -> Talk; 5] = [
    || Talk::new(clear(patient(mx()))),
    || Talk::new(implicit(patient(submission()))),
    || {
        let mut config = mx();
        config.limits.message_octets = 20;
        Talk::new(clear(config))
    },
    // [SMTP-PIPE-03] octet by octet nothing is grouped, so groups must make no difference.
    || Talk::far(patient(mx())),
    || {
        let mut config = mx();
        config.limits.recipients = 2;
        config.limits.unknown_recipients = 2;
        config.limits.bad_commands = 4;
        Talk::far(config)
    },
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_cut_gives_the_same(
        opening in opening(),
        turns in proptest::collection::vec(turn(), 1..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        maker in 0..MAKERS.len(),
    ) {
        let turns = [vec![opening], turns].concat();
        let whole: Vec<Vec<&[u8]>> = turns.iter().map(|turn| vec![turn.as_slice()]).collect();
        let cut: Vec<Vec<&[u8]>> = turns.iter().map(|turn| segments(turn, &cuts)).collect();
        let bytes: Vec<Vec<&[u8]>> = turns.iter().map(|turn| turn.chunks(1).collect()).collect();
        let expected = run(MAKERS[maker], &whole);
        prop_assert_eq!(&run(MAKERS[maker], &cut), &expected);
        prop_assert_eq!(&run(MAKERS[maker], &bytes), &expected);
    }

    #[test]
    fn garbage_does_no_harm(
        garbage in proptest::collection::vec(any::<u8>(), 0..600),
        opening in opening(),
        words in turn(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        maker in 0..MAKERS.len(),
    ) {
        let mut talk = MAKERS[maker]();
        talk.say(opening);
        for segment in segments(&[words, garbage].concat(), &cuts) {
            talk.say(segment);
        }
        prop_assert!(talk.mailbox.stored.len() < 3);
    }
}
