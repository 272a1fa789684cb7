//! Opening a large mailbox again: what is kept of its list must not differ from what its rows say, whatever changed meanwhile.

mod common;

use common::{delivery, flags, open, wait, with_account};
use gatepost_store::{AccountId, MailboxId, Store};
use gatepost_wire::imap::ask::{FlagChange, Flags, Uid};

/// Above the size from which lists are kept.
const MESSAGES: usize = 1_600;

fn deliver_many(store: &Store, account: AccountId, mailbox: &str, count: usize, seen: bool) {
    let messages = (0..count).map(|number| {
        let mut incoming = store.incoming().unwrap();
        incoming.write(&number.to_be_bytes()).unwrap();
        (
            incoming,
            delivery(account, mailbox, flags(seen, false, &[])),
        )
    });
    let messages = messages.collect();
    wait(|done| store.deliver_all(messages, done)).unwrap();
}

/// Opens the mailbox and holds what is told against the rows.
fn check(store: &Store, account: AccountId, name: &str) -> Vec<Uid> {
    let (mailbox, selected) = store.select(account, name).unwrap();
    let rows = store.all(mailbox).unwrap();
    let uids: Vec<Uid> = rows.iter().map(|row| row.uid).collect();
    assert!(
        selected.uids == uids,
        "{name}: {} of {}",
        selected.uids.len(),
        uids.len()
    );
    let unseen = rows.iter().find(|row| !row.flags.seen).map(|row| row.uid);
    assert_eq!(selected.first_unseen, unseen);
    assert_eq!(
        selected.highest_modseq,
        store.status(account, name).unwrap().highest_modseq
    );
    uids
}

fn see(store: &Store, mailbox: MailboxId, uids: &[Uid], seen: bool) {
    let flag = Flags {
        seen: true,
        ..Flags::default()
    };
    let change = if seen {
        FlagChange::Add(flag)
    } else {
        FlagChange::Remove(flag)
    };
    wait(|done| store.store_flags(mailbox, uids.to_vec(), change, None, done)).unwrap();
}

#[test]
fn a_kept_list_is_what_the_rows_say_after_every_kind_of_change() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    deliver_many(&store, account, "INBOX", MESSAGES, true);
    let all = check(&store, account, "INBOX");
    assert_eq!(all.len(), MESSAGES);
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    // The first unseen one comes, goes, and moves.
    see(&store, inbox, &[700, 900], false);
    check(&store, account, "INBOX");
    see(&store, inbox, &[700], true);
    check(&store, account, "INBOX");
    see(&store, inbox, &[20], false);
    check(&store, account, "INBOX");
    wait(|done| store.remove(inbox, vec![20, 1, 1_600], done)).unwrap();
    check(&store, account, "INBOX");
    see(&store, inbox, &[900], true);
    check(&store, account, "INBOX");
    // New ones at the end, one of them gone again before anybody looks.
    deliver_many(&store, account, "INBOX", 30, false);
    wait(|done| store.remove(inbox, vec![1_601], done)).unwrap();
    check(&store, account, "INBOX");
    // Moved away, copied back: other UIDs.
    let to = (account, "Archive".to_owned());
    wait(|done| store.copy(inbox, (2..100).collect(), to, true, done)).unwrap();
    check(&store, account, "INBOX");
    check(&store, account, "Archive");
    let (archive, _) = store.select(account, "Archive").unwrap();
    let to = (account, "INBOX".to_owned());
    wait(|done| store.copy(archive, (1..50).collect(), to, false, done)).unwrap();
    check(&store, account, "INBOX");
    // More at once than is looked up, and all of it.
    see(&store, inbox, &(100..1_500).collect::<Vec<_>>(), false);
    check(&store, account, "INBOX");
    wait(|done| store.remove(inbox, (1..5_000).collect(), done)).unwrap();
    assert_eq!(check(&store, account, "INBOX"), Vec::<Uid>::new());
}

#[test]
fn a_mailbox_of_the_same_name_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    wait(|done| store.create(account, "Large", None, done)).unwrap();
    deliver_many(&store, account, "Large", MESSAGES, true);
    check(&store, account, "Large");
    wait(|done| store.delete(account, "Large", done)).unwrap();
    wait(|done| store.create(account, "Large", None, done)).unwrap();
    assert_eq!(check(&store, account, "Large"), Vec::<Uid>::new());
    deliver_many(&store, account, "Large", MESSAGES - 1, true);
    assert_eq!(check(&store, account, "Large").len(), MESSAGES - 1);
    drop(store);
    assert_eq!(
        check(&open(dir.path()), account, "Large").len(),
        MESSAGES - 1
    );
}

#[test]
fn the_list_in_the_database_is_used_after_a_start_and_not_when_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    deliver_many(&store, account, "INBOX", MESSAGES, true);
    check(&store, account, "INBOX");
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    // After the write that the first opening has asked for.
    wait(|done| store.remove(inbox, (5..10).collect(), done)).unwrap();
    drop(store);
    let database = || rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    let ranges: Vec<u8> = database()
        .query_row("SELECT ranges FROM lists", [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        ranges,
        [1_u32.to_le_bytes(), 1_600_u32.to_le_bytes()].concat()
    );
    let store = open(dir.path());
    assert_eq!(check(&store, account, "INBOX").len(), MESSAGES - 5);
    see(&store, inbox, &[1_000], false);
    drop(store);
    for damage in [
        "UPDATE lists SET ranges = x'0100000007000000'",
        "UPDATE lists SET ranges = x'01', sum = -1",
        "UPDATE lists SET modseq = 9000000000",
        "UPDATE lists SET uidvalidity = uidvalidity + 1",
        "DELETE FROM lists",
    ] {
        database().execute_batch(damage).unwrap();
        let store = open(dir.path());
        assert_eq!(
            check(&store, account, "INBOX").len(),
            MESSAGES - 5,
            "{damage}"
        );
        drop(store);
        let made_anew: i64 = database()
            .query_row(
                "SELECT count(*) FROM lists WHERE modseq < 100000 AND length(ranges) = 16",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(made_anew, 1, "{damage}");
    }
    let store = open(dir.path());
    wait(|done| store.create(account, "Other", None, done)).unwrap();
    deliver_many(&store, account, "Other", MESSAGES, true);
    check(&store, account, "Other");
    wait(|done| store.delete(account, "Other", done)).unwrap();
    drop(store);
    let left: i64 = database()
        .query_row("SELECT count(*) FROM lists", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 1, "that of the mailbox that is gone");
}

/// Waits until the list in the database has so many ranges and ends with this UID.
fn written(dir: &std::path::Path, ranges: usize, last: Uid) {
    let database = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    let begun = std::time::Instant::now();
    loop {
        let found = database.query_row("SELECT ranges FROM lists", [], |row| {
            row.get::<_, Vec<u8>>(0)
        });
        let found = found.unwrap_or_default();
        if found.len() == ranges * 8 && (ranges == 0 || found.ends_with(&last.to_le_bytes())) {
            return;
        }
        assert!(begun.elapsed().as_secs() < 30, "{found:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn the_list_is_written_before_anybody_opens_the_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    store.keep_index(|_, _, _| Ok(())).unwrap();
    deliver_many(&store, account, "INBOX", MESSAGES, true);
    written(dir.path(), 1, 1_600);
    // A few more are looked up; a sixteenth of them is not, though they came as one change.
    deliver_many(&store, account, "INBOX", 200, true);
    written(dir.path(), 1, 1_800);
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    wait(|done| store.remove(inbox, (500..700).collect(), done)).unwrap();
    written(dir.path(), 2, 1_800);
    drop(store);
    assert_eq!(check(&open(dir.path()), account, "INBOX").len(), 1_600);
}

#[test]
fn readers_and_the_writer_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    deliver_many(&store, account, "INBOX", MESSAGES, false);
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..60_u32 {
                wait(|done| store.remove(inbox, vec![1 + round * 7, 2 + round * 7], done)).unwrap();
                deliver_many(&store, account, "INBOX", 3, round % 2 == 0);
                see(&store, inbox, &[3 + round * 7], true);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..60 {
                    let (_, selected) = store.select(account, "INBOX").unwrap();
                    assert!(selected.uids.is_sorted());
                    assert!(selected.uids.last() < Some(&selected.uidnext));
                }
            });
        }
    });
    assert_eq!(check(&store, account, "INBOX").len(), MESSAGES + 60);
}
