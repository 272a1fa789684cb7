//! The search index: what it names, what it may leave out, and how it stays in step with the mail.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{deliver, delivery, flags, open, wait, with_account};
use gatepost_store::{AccountId, Error, Finding, Grams, Hint, MailboxId, Octets, Store, check};
use gatepost_wire::imap::ask::{FlagChange, Flags};
use rusqlite::Connection;

/// The whole message is its text.
fn read(size: u64, octets: &Octets<'_>, grams: &mut Grams) -> Result<(), Error> {
    let octets = octets(0, u32::try_from(size).unwrap())?;
    if octets.starts_with(b"unreadable") {
        return Err(Error::Damaged);
    }
    assert!(!octets.starts_with(b"panic"), "a reader that fails");
    grams.begin();
    grams.push(&String::from_utf8_lossy(&octets));
    Ok(())
}

/// Waits until nothing waits any more.
fn marked(store: &Store) {
    let begin = Instant::now();
    while store.unmarked().unwrap() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(120), "not marked");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn inbox(store: &Store, account: AccountId) -> MailboxId {
    store.select(account, "INBOX").unwrap().0
}

fn named(store: &Store, mailbox: MailboxId, text: &str) -> Option<Vec<u32>> {
    store.candidates(mailbox, &Hint::text(text)).unwrap()
}

/// A word that only this message has.
fn own(number: u32) -> String {
    let (one, other) = (
        number.wrapping_mul(0x85EB_CA6B),
        (number ^ 0xFFFF).wrapping_mul(0xC2B2_AE35),
    );
    format!("{one:08x}{other:08x}")
}

/// A message of many different words, among them one of its own.
fn message(number: u32) -> Vec<u8> {
    let mut text = format!("{} common\r\n", own(number));
    for word in 0..20_u32 {
        text.push_str(&format!(
            "{:08x} ",
            (number * 20 + word).wrapping_mul(0x9E37_79B1)
        ));
    }
    text.into_bytes()
}

fn fill(store: &Store, account: AccountId, numbers: std::ops::Range<u32>) {
    let messages = numbers.map(|number| {
        let mut incoming = store.incoming().unwrap();
        incoming.write(&message(number)).unwrap();
        (incoming, delivery(account, "INBOX", Flags::default()))
    });
    let messages = messages.collect();
    wait(|done| store.deliver_all(messages, done)).unwrap();
}

fn expunge(store: &Store, mailbox: MailboxId, uids: Vec<u32>) {
    let delete = FlagChange::Add(flags(false, true, &[]));
    wait(|done| store.store_flags(mailbox, uids.clone(), delete, None, done)).unwrap();
    wait(|done| store.expunge(mailbox, Some(uids), done)).unwrap();
}

fn findings(dir: &Path, repair: bool) -> Vec<Finding> {
    let report = check(dir, repair, &mut |_, _| {}).unwrap();
    assert!(!repair || report.is_good());
    report.findings.into_iter().map(|it| it.finding).collect()
}

#[test]
fn what_is_not_marked_is_always_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    deliver(&store, account, "INBOX", b"one text").unwrap();
    let mailbox = inbox(&store, account);
    assert_eq!(named(&store, mailbox, "absent"), Some(vec![1]));
    assert_eq!(named(&store, mailbox, "ab"), None, "too short to tell");
    store.keep_index(read).unwrap();
    marked(&store);
    assert_eq!(named(&store, mailbox, "absent"), Some(vec![]));
    assert_eq!(named(&store, mailbox, "ne te"), Some(vec![1]));
}

#[test]
fn what_cannot_be_read_is_always_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    store.keep_index(read).unwrap();
    for text in ["unreadable", "panic", "good"] {
        deliver(&store, account, "INBOX", text.as_bytes()).unwrap();
    }
    marked(&store);
    assert_eq!(
        named(&store, inbox(&store, account), "absent"),
        Some(vec![1, 2])
    );
}

#[test]
fn full_blocks_thinned_ones_and_used_ids() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    store.keep_index(read).unwrap();
    let mailbox = inbox(&store, account);
    // Two full blocks and a beginning.
    for hundred in 0..42 {
        fill(&store, account, hundred * 100..hundred * 100 + 100);
    }
    marked(&store);
    for number in [0, 1, 63, 64, 2_047, 2_048, 4_095, 4_096, 4_199] {
        let found = named(&store, mailbox, &own(number)).unwrap();
        assert!(found.contains(&(number + 1)), "{number}");
        assert!(found.len() < 40, "{} of 4,200 for one", found.len());
    }
    assert_eq!(named(&store, mailbox, "common").unwrap().len(), 4_200);
    let both = Hint::one([Hint::text(&own(7)), Hint::text(&own(4150))]);
    let found = store.candidates(mailbox, &both).unwrap().unwrap();
    assert!(found.contains(&8) && found.contains(&4_151) && found.len() < 80);
    // Most of the first block goes: what is left is marked anew. The last ids are used again.
    expunge(&store, mailbox, (1..=1_800).collect());
    expunge(&store, mailbox, (4_101..=4_200).collect());
    fill(&store, account, 5_000..5_200);
    marked(&store);
    for (number, uid) in [
        (1_900, 1_901),
        (4_000, 4_001),
        (5_000, 4_201),
        (5_199, 4_400),
    ] {
        let found = named(&store, mailbox, &own(number)).unwrap();
        assert!(found.contains(&uid), "{number}");
    }
    assert!(!named(&store, mailbox, &own(100)).unwrap().contains(&101));
    drop(store);
    assert_eq!(findings(folder.path(), false), []);
}

#[test]
fn copies_and_moves_need_no_new_marks_but_for_another_account() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    let other = store
        .accounts()
        .add("you@gatepost.test", &common::credential(), None)
        .unwrap();
    deliver(&store, account, "INBOX", b"first text").unwrap();
    deliver(&store, account, "INBOX", b"second words").unwrap();
    store.keep_index(read).unwrap();
    marked(&store);
    let mailbox = inbox(&store, account);
    wait(|done| store.copy(mailbox, vec![1, 2], (account, "Trash".into()), true, done)).unwrap();
    let (trash, _) = store.select(account, "Trash").unwrap();
    assert_eq!(named(&store, trash, "second"), Some(vec![2]));
    assert_eq!(named(&store, mailbox, "second"), Some(vec![]));
    wait(|done| store.copy(trash, vec![1, 2], (other, "INBOX".into()), false, done)).unwrap();
    let theirs = inbox(&store, other);
    assert!(named(&store, theirs, "second").unwrap().contains(&2));
    marked(&store);
    assert_eq!(named(&store, theirs, "second"), Some(vec![2]));
    assert_eq!(named(&store, trash, "first"), Some(vec![1]));
    // One message for both, at once.
    let mut incoming = store.incoming().unwrap();
    incoming.write(b"third one").unwrap();
    let to = [account, other].map(|id| delivery(id, "INBOX", Flags::default()));
    wait(|done| store.deliver(incoming, to.to_vec(), done)).unwrap();
    marked(&store);
    assert_eq!(named(&store, theirs, "third"), Some(vec![3]));
    assert_eq!(named(&store, mailbox, "third"), Some(vec![3]));
    drop(store);
    assert_eq!(findings(folder.path(), false), []);
}

/// A data folder as the first schema had it.
fn made_by_the_first_schema(dir: &Path) {
    let (store, account) = with_account(dir);
    fill(&store, account, 0..10);
    drop(store);
    let db = Connection::open(dir.join("store.db")).unwrap();
    db.execute_batch(
        "DROP TABLE sha1_keys; DROP TRIGGER list_forgotten; DROP TABLE lists; DROP TRIGGER body_unmarked; DROP TRIGGER body_forgotten; DROP TRIGGER mark_gone; DROP INDEX messages_by_body;
         DROP TABLE unmarked; DROP TABLE shelves; DROP TABLE marks; DROP TABLE loose; DROP TABLE blocks; DROP TABLE slices;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    let left: Vec<String> = db
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let first = Connection::open_in_memory().unwrap();
    first
        .execute_batch(include_str!("../src/schema/1.sql"))
        .unwrap();
    let known: Vec<String> = first
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(left, known, "this is the first schema");
}

#[test]
fn a_folder_of_the_first_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    made_by_the_first_schema(folder.path());
    assert_eq!(findings(folder.path(), false), [], "checked as it is");
    let store = open(folder.path());
    let account = store
        .accounts()
        .find("me@gatepost.test")
        .unwrap()
        .unwrap()
        .id;
    let mailbox = inbox(&store, account);
    assert_eq!(store.unmarked().unwrap(), 10);
    assert_eq!(named(&store, mailbox, "absent").unwrap().len(), 10);
    store.keep_index(read).unwrap();
    marked(&store);
    assert_eq!(named(&store, mailbox, &own(4)), Some(vec![5]));
    fill(&store, account, 10..11);
    marked(&store);
    assert_eq!(named(&store, mailbox, &own(10)), Some(vec![11]));
    drop(store);
    assert_eq!(findings(folder.path(), false), []);
}

#[test]
fn an_index_that_does_not_fit_the_mail_is_found_and_made_anew() {
    for damage in [
        "DELETE FROM marks WHERE body = 3",
        "UPDATE marks SET body = 900 WHERE body = 4",
        "DELETE FROM loose WHERE slot = 2",
        "UPDATE slices SET bits = zeroblob(256) WHERE id = (SELECT id FROM slices WHERE bits <> zeroblob(256) LIMIT 1)",
        "DELETE FROM slices WHERE id = 7",
        "DELETE FROM shelves",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (store, account) = with_account(folder.path());
        fill(&store, account, 0..2_100);
        store.keep_index(read).unwrap();
        marked(&store);
        drop(store);
        assert_eq!(findings(folder.path(), false), []);
        let db = Connection::open(folder.path().join("store.db")).unwrap();
        db.execute_batch("DROP TRIGGER mark_gone").unwrap();
        let loose = damage.contains("loose");
        let changed = db
            .execute(
                &if loose {
                    damage.replace('2', "2060")
                } else {
                    damage.to_owned()
                },
                [],
            )
            .unwrap();
        assert!(changed > 0, "{damage}");
        drop(db);
        let found = findings(folder.path(), false);
        assert!(
            matches!(found[..], [Finding::Index(_)]),
            "{damage}: {found:?}"
        );
        assert!(matches!(
            findings(folder.path(), true)[..],
            [Finding::Index(_)]
        ));
        assert_eq!(findings(folder.path(), false), []);
        let store = open(folder.path());
        store.keep_index(read).unwrap();
        marked(&store);
        for number in [2, 3, 2_060] {
            let found = named(&store, inbox(&store, account), &own(number)).unwrap();
            assert!(
                found.contains(&(number + 1)) && found.len() < 40,
                "{damage}"
            );
        }
    }
}
