//! A search with the index finds exactly what one without it finds.

use std::fmt::Write as _;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use gatepost_serve::mailbox::search::search;
use gatepost_serve::mailbox::texts;
use gatepost_store::{AccountId, Credential, Delivery, MailboxId, Options, Store};
use gatepost_wire::imap::ask::{Criterion, Flags, InternalDate, Uid};
use gatepost_wire::sasl::{ScramHash, ScramRecord};
use gatepost_wire::secret::Secret;
use proptest::prelude::*;

/// Pieces that texts and needles are made of: such that needles match now and then, also across pieces, in other case and encoded.
fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("ab"),
        Just("Abc"),
        Just("the "),
        Just("Grüße"),
        Just("GRÜSSE "),
        Just("ΣΑΣ"),
        Just("σας "),
        Just("İi"),
        Just("日本語"),
        Just("=3D"),
        Just(" "),
        Just("x-id: "),
        Just("ſt"),
        Just("\u{1F600}"),
    ]
}

fn text(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), 0..most).prop_map(|words| words.concat())
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let octets = [
            chunk[0],
            *chunk.get(1).unwrap_or(&0),
            *chunk.get(2).unwrap_or(&0),
        ];
        let bits = u32::from_be_bytes([0, octets[0], octets[1], octets[2]]);
        for digit in 0..4 {
            let used = digit <= chunk.len();
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            out.push(if used { DIGITS[value].into() } else { '=' });
        }
    }
    out
}

fn quoted(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, octet| {
        write!(out, "={octet:02X}").unwrap();
        out
    })
}

/// A part of a message: its content fields and its body.
fn part() -> impl Strategy<Value = String> {
    (text(8), 0..7_u8).prop_map(|(text, kind)| match kind {
        0 => format!("\r\n{text}\r\n"),
        1 => format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n", base64(&text)),
        2 => format!("Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n", quoted(&text)),
        3 => format!("Content-Type: application/octet-stream\r\n\r\n{text}\r\n"),
        4 => format!("Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?b?{}?=\r\n\r\n{text}\r\n", base64(&text)),
        5 => format!("Content-Type: text/plain; charset=iso-8859-1\r\n\r\n{text}\r\n"),
        _ => format!("Content-Transfer-Encoding: x-unknown\r\n\r\n{text}\r\n"),
    })
}

fn message() -> impl Strategy<Value = String> {
    let subject = (text(4), any::<bool>()).prop_map(|(text, encoded)| {
        if encoded {
            format!(
                "Subject: =?UTF-8?B?{}?= =?utf-8?q?{}?=\r\n",
                base64(&text),
                quoted(&text)
            )
        } else {
            format!("Subject: {text}\r\n")
        }
    });
    let id = prop_oneof![
        Just(String::new()),
        text(3).prop_map(|text| format!("X-Id: {text}\r\n\t{text}\r\n"))
    ];
    (subject, id, proptest::collection::vec(part(), 1..3)).prop_map(|(subject, id, parts)| {
        if let [only] = &parts[..] {
            return format!("{subject}{id}{only}");
        }
        let parts = format!("--b\r\n{}\r\n", parts.join("\r\n--b\r\n"));
        format!("{subject}{id}Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n")
    })
}

fn criterion() -> impl Strategy<Value = Criterion> {
    let name = prop_oneof![
        Just("Subject"),
        Just("x-ID"),
        Just("Content-Type"),
        Just("absent")
    ];
    let leaf = prop_oneof![
        text(4).prop_map(|text| Criterion::Text(text.into())),
        text(3).prop_map(|text| Criterion::Body(text.into())),
        (name, text(3)).prop_map(|(name, text)| Criterion::Header(name.into(), text.into())),
        Just(Criterion::All),
        Just(Criterion::Uids([(2, 4)].into())),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(Criterion::And),
            (inner.clone(), inner.clone())
                .prop_map(|(one, other)| Criterion::Or(Box::new(one), Box::new(other))),
            inner.prop_map(|inner| Criterion::Not(Box::new(inner))),
        ]
    })
}

fn with_account(dir: &std::path::Path) -> (Store, AccountId) {
    let store = Store::open(
        dir,
        Options {
            min_free: 0,
            ..Options::default()
        },
    )
    .unwrap();
    let credential = Credential {
        record: ScramRecord {
            hash: ScramHash::Sha256,
            salt: vec![7; 16],
            iterations: 4096,
            stored_key: Secret::new(vec![1; 32]),
            server_key: Secret::new(vec![2; 32]),
        },
        sha1: None,
    };
    let account = store
        .accounts()
        .add("me@gatepost.test", &credential, None)
        .unwrap();
    (store, account)
}

fn deliver(store: &Store, account: AccountId, messages: &[String]) {
    let date = InternalDate {
        unix: 1_700_000_000,
        offset_minutes: 0,
    };
    let all = messages.iter().map(|message| {
        let mut incoming = store.incoming().unwrap();
        incoming.write(message.as_bytes()).unwrap();
        let to = Delivery {
            account,
            mailbox: "INBOX".into(),
            flags: Flags::default(),
            date,
        };
        (incoming, to)
    });
    let (sender, answer) = channel();
    store.deliver_all(all.collect(), move |result| sender.send(result).unwrap());
    answer.recv().unwrap().unwrap();
}

fn find(store: &Store, mailbox: MailboxId, criterion: &Criterion, last: Uid) -> Vec<Uid> {
    let among: Vec<Uid> = (1..=last).collect();
    let until = Instant::now() + Duration::from_secs(60);
    search(store, mailbox, criterion.clone(), &among, until)
        .unwrap()
        .uids
}

fn mark_all(store: &Store) {
    store.keep_index(texts::index).unwrap();
    let begin = Instant::now();
    while store.unmarked().unwrap() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(120), "not marked");
        std::thread::sleep(Duration::from_millis(5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_changes_no_result(
        messages in proptest::collection::vec(message(), 1..40),
        criteria in proptest::collection::vec(criterion(), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (store, account) = with_account(folder.path());
        deliver(&store, account, &messages);
        let (mailbox, _) = store.select(account, "INBOX").unwrap();
        let last = u32::try_from(messages.len()).unwrap();
        let scanned: Vec<_> = criteria.iter().map(|one| find(&store, mailbox, one, last)).collect();
        mark_all(&store);
        for (criterion, expected) in criteria.iter().zip(&scanned) {
            prop_assert_eq!(&find(&store, mailbox, criterion, last), expected, "{:?} in {:?}", criterion, messages);
        }
    }
}

#[test]
fn large_texts_are_found_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    // Above what is read at once; the first with few grams, the second with nearly all of them.
    let plain = format!(
        "Subject: large\r\n\r\n{}the last Word\r\n",
        "the same line again\r\n".repeat(30_000)
    );
    let random: String = (0..400_000_u32)
        .map(|number| char::from(33 + (number.wrapping_mul(0x9E37_79B1) >> 24) as u8 % 94))
        .collect();
    let dense = format!("Subject: dense\r\n\r\n{random}\r\nthe last Word\r\n");
    deliver(
        &store,
        account,
        &[plain, dense, "Subject: small\r\n\r\nword\r\n".into()],
    );
    mark_all(&store);
    let (mailbox, _) = store.select(account, "INBOX").unwrap();
    for (text, found) in [
        ("LAST WORD", vec![1, 2]),
        ("word", vec![1, 2, 3]),
        ("nowhere", vec![]),
    ] {
        assert_eq!(
            find(&store, mailbox, &Criterion::Body(text.into()), 3),
            found,
            "{text}"
        );
    }
}
