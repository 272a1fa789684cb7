//! One message never becomes two.

use super::support::{MAIL, Pause, RCPT, Talk, at_content, codes, mx};

/// The sequences of SMTP-Smuggling-Tools (`smtp_smuggling_scanner.py`) [SMTP-SMUG-01].
const SEQUENCES: [&[u8]; 9] = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
];

fn smuggled(sequence: &[u8]) -> Vec<u8> {
    let second = [MAIL, RCPT, "DATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"].concat();
    [b"Subject: first\r\n\r\nx", sequence, second.as_bytes()].concat()
}

fn expect_nothing_kept(talk: &mut Talk, sequence: &[u8]) {
    assert_eq!(talk.pause, Pause::Reading, "{sequence:?}");
    assert!(talk.mailbox.stored.is_empty(), "{sequence:?}");
    let count = |word: &str| {
        talk.mailbox
            .asked
            .iter()
            .filter(|asked| asked.starts_with(word))
            .count()
    };
    assert_eq!(
        (
            count("Mail"),
            count("Begin"),
            count("Commit"),
            count("Abort")
        ),
        (1, 1, 0, 1),
        "{sequence:?}"
    );
    assert_eq!(codes(&talk.say("NOOP\r\n")), [250], "{sequence:?}");
}

// [SMTP-SMUG-01] [SMTP-SMUG-02] [CONF-14] by DATA: one reply, nothing kept, and no second MAIL.
#[test]
fn none_of_the_sequences_ends_the_data() {
    for sequence in SEQUENCES {
        let mut talk = at_content(mx());
        let output = talk.say(smuggled(sequence));
        let expected = if sequence.contains(&0) { 554 } else { 550 };
        assert_eq!(codes(&output), [expected], "{sequence:?}");
        expect_nothing_kept(&mut talk, sequence);
    }
}

#[test]
fn nor_does_any_when_cut_anywhere() {
    for sequence in SEQUENCES {
        let content = smuggled(sequence);
        for cut in 0..content.len() {
            let mut talk = at_content(mx());
            let output = talk.say_in(&[&content[..cut], &content[cut..]]);
            assert_eq!(codes(&output).len(), 1, "{sequence:?} cut at {cut}");
            expect_nothing_kept(&mut talk, sequence);
        }
    }
}

// [SMTP-CHUNK-04] by BDAT: octets are counted, not parsed, and refused all the same.
#[test]
fn none_of_the_sequences_ends_a_chunk() {
    for sequence in SEQUENCES {
        let mut talk = Talk::new(super::support::clear(mx()));
        talk.say(super::support::EHLO);
        talk.say([MAIL, RCPT].concat());
        let content = smuggled(sequence);
        let output = talk.say(
            [
                format!("BDAT {} LAST\r\n", content.len()).as_bytes(),
                &content,
            ]
            .concat(),
        );
        assert_eq!(codes(&output).len(), 1, "{sequence:?}");
        expect_nothing_kept(&mut talk, sequence);
    }
}

/// The true end still works: two messages said as two are two.
#[test]
fn the_true_end_makes_two() {
    let mut talk = at_content(mx());
    let output = talk.say(
        [
            b"Subject: a\r\n.\r\n",
            [MAIL, RCPT, "DATA\r\n"].concat().as_bytes(),
        ]
        .concat(),
    );
    assert_eq!(codes(&output), [250, 250, 250, 354]);
    assert_eq!(codes(&talk.say("Subject: b\r\n\r\n..\r\n.\r\n")), [250]);
    let contents: Vec<&[u8]> = talk
        .mailbox
        .stored
        .iter()
        .map(|message| message.content.as_slice())
        .collect();
    assert_eq!(
        contents,
        [&b"Subject: a\r\n"[..], b"Subject: b\r\n\r\n.\r\n"]
    );
}
