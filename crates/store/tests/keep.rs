//! Backup and restore under load, damage found and repaired, mail brought in beside a running store.

mod common;

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{
    content, credential, deliver, deliver_with, delivery, flags, open, options, wait, with_account,
    with_sha1,
};
use gatepost_store::{
    AccountId, Arrival, Beside, Error, Finding, Harm, Options, Reading, Report, Store, backup,
    check, restore,
};
use gatepost_wire::imap::ask::Flags;

fn quiet() -> impl FnMut(u64, u64) {
    |_, _| {}
}

fn examine(dir: &Path) -> Report {
    check(dir, false, &mut quiet()).unwrap()
}

fn mend(dir: &Path) -> Report {
    check(dir, true, &mut quiet()).unwrap()
}

/// A folder with a closed store that holds `count` messages of some 3 KB in INBOX.
fn filled(count: usize) -> (tempfile::TempDir, AccountId) {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    for number in 0..count {
        deliver(&store, account, "INBOX", &message(number)).unwrap();
    }
    (folder, account)
}

fn message(number: usize) -> Vec<u8> {
    format!("Subject: {number}\r\n\r\n{}", "some text\r\n".repeat(280)).into_bytes()
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("segments/0000000001.seg")
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut octet = [0];
    file.read_exact_at(&mut octet, at).unwrap();
    file.write_all_at(&[octet[0] ^ 0x10], at).unwrap();
}

fn uids(store: &Store, account: AccountId, name: &str) -> Vec<u32> {
    let (mailbox, _) = store.select(account, name).unwrap();
    store
        .all(mailbox)
        .unwrap()
        .iter()
        .map(|it| it.uid)
        .collect()
}

#[test]
fn a_backup_under_load_is_whole_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let small = Options {
        segment_size: 64 << 10,
        spool_above: 8 << 10,
        ..options()
    };
    let store = Store::open(folder.path(), small).unwrap();
    let account = store
        .accounts()
        .add("me@gatepost.test", &credential(), None)
        .unwrap();
    let before: Vec<u32> = (0..60)
        .map(|number| {
            deliver(&store, account, "Archive", &message(number))
                .unwrap()
                .uid
        })
        .collect();
    let target = tempfile::tempdir().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3_usize {
            let (store, over) = (&store, &over);
            scope.spawn(move || {
                // Most of it is removed again, so that segments die while they are copied.
                for number in 0.. {
                    let octets = message(thread).repeat(1 + number % 7);
                    let placed = deliver(store, account, "INBOX", &octets).unwrap();
                    if number % 5 > 0 {
                        wait(|done| store.remove(placed.mailbox, vec![placed.uid], done)).unwrap();
                    }
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        for _ in 0..4 {
            backup(folder.path(), target.path(), &mut quiet()).unwrap();
            let report = examine(target.path());
            assert!(report.is_good(), "{report:?}");
        }
        over.store(true, Ordering::Relaxed);
    });
    let (mailbox, old) = store.select(account, "Archive").unwrap();
    let first = content(&store, mailbox, 1).unwrap();
    drop(store);
    let back = tempfile::tempdir().unwrap();
    restore(target.path(), back.path(), false, &mut quiet()).unwrap();
    assert!(examine(back.path()).is_good());
    let store = open(back.path());
    assert_eq!(uids(&store, account, "Archive"), before);
    let (mailbox, new) = store.select(account, "Archive").unwrap();
    assert_eq!(content(&store, mailbox, 1).unwrap(), first);
    assert!(
        new.uidvalidity > old.uidvalidity,
        "clients must forget the UIDs they know"
    );
    deliver(&store, account, "INBOX", b"it lives").unwrap();
}

#[test]
fn a_second_backup_copies_only_what_is_new() {
    let (folder, account) = filled(40);
    let target = tempfile::tempdir().unwrap();
    let first = backup(folder.path(), target.path(), &mut quiet()).unwrap();
    let big = Options {
        segment_size: 1,
        ..options()
    };
    let store = Store::open(folder.path(), big).unwrap();
    deliver(&store, account, "INBOX", b"one more").unwrap();
    drop(store);
    let second = backup(folder.path(), target.path(), &mut quiet()).unwrap();
    assert_eq!((first.messages, second.messages), (40, 41));
    assert!(
        second.written + 100_000 < first.written,
        "{first:?} {second:?}"
    );
    assert!(examine(target.path()).is_good());
}

#[test]
fn uids_stay_when_the_caller_knows_that_nothing_came_since() {
    let (folder, account) = filled(2);
    let target = tempfile::tempdir().unwrap();
    backup(folder.path(), target.path(), &mut quiet()).unwrap();
    let back = tempfile::tempdir().unwrap();
    restore(target.path(), back.path(), true, &mut quiet()).unwrap();
    let validity = |dir: &Path| open(dir).select(account, "INBOX").unwrap().1.uidvalidity;
    assert_eq!(validity(folder.path()), validity(back.path()));
}

#[test]
fn nothing_is_overwritten() {
    let (folder, _) = filled(1);
    let (other, _) = filled(1);
    let target = tempfile::tempdir().unwrap();
    let run = |from: &Path, to: &Path| backup(from, to, &mut quiet()).map(drop);
    fs::write(target.path().join("letter.txt"), "mine").unwrap();
    assert_eq!(
        run(folder.path(), target.path()),
        Err(Error::Cannot),
        "somebody's folder"
    );
    assert_eq!(
        run(folder.path(), folder.path()),
        Err(Error::Cannot),
        "itself"
    );
    assert_eq!(
        run(folder.path(), other.path()),
        Err(Error::Cannot),
        "a store"
    );
    fs::remove_file(target.path().join("letter.txt")).unwrap();
    run(other.path(), target.path()).unwrap();
    assert_eq!(
        run(folder.path(), target.path()),
        Err(Error::Cannot),
        "another store's backup"
    );
    let back = |from: &Path, to: &Path| restore(from, to, false, &mut quiet()).map(drop);
    assert_eq!(
        back(target.path(), folder.path()),
        Err(Error::AlreadyExists)
    );
    assert_eq!(
        back(other.path(), &target.path().join("new")),
        Err(Error::Cannot),
        "no backup"
    );
    let _running = open(other.path());
    assert_eq!(back(target.path(), other.path()), Err(Error::Locked));
}

#[test]
fn a_good_store_has_no_findings_while_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    let placed = deliver(&store, account, "INBOX", &message(1)).unwrap();
    deliver(&store, account, "INBOX", &vec![b'x'; 400 << 10]).unwrap();
    wait(|done| {
        store.copy(
            placed.mailbox,
            vec![1],
            (account, "Archive".into()),
            false,
            done,
        );
    })
    .unwrap();
    let report = examine(folder.path());
    assert_eq!(
        (report.messages, report.bodies, report.in_use),
        (3, 2, true)
    );
    assert_eq!(report.findings, []);
    assert_eq!(check(folder.path(), true, &mut quiet()), Err(Error::Locked));
}

#[test]
fn flipped_bits_and_a_short_segment_are_named_and_put_aside() {
    let (folder, account) = filled(10);
    let path = segment(folder.path());
    let whole = fs::metadata(&path).unwrap().len();
    let one = whole / 10;
    flip(&path, 3 * one + 500);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(whole - 40)
        .unwrap();
    let report = examine(folder.path());
    let named: Vec<String> = report
        .findings
        .iter()
        .map(|it| it.finding.to_string())
        .collect();
    assert_eq!(
        named,
        [
            "me@gatepost.test INBOX UID 4: its octets do not fit their checksum",
            "me@gatepost.test INBOX UID 10: the segment file ends too early",
        ]
    );
    let report = mend(folder.path());
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.messages, 8);
    let kept: Vec<_> = fs::read_dir(folder.path().join("damaged"))
        .unwrap()
        .collect();
    assert_eq!(kept.len(), 2, "what is left is kept");
    assert_eq!(examine(folder.path()).findings, []);
    let store = open(folder.path());
    assert_eq!(uids(&store, account, "INBOX"), [1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(deliver(&store, account, "INBOX", b"new").unwrap().uid, 11);
}

#[test]
fn a_large_body_is_verified_to_its_last_octet() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    deliver(&store, account, "INBOX", &vec![b'y'; 3 << 20]).unwrap();
    drop(store);
    let file = fs::read_dir(folder.path().join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::metadata(path).unwrap().len() > 1 << 20)
        .unwrap();
    flip(&file, (3 << 20) + 23);
    let report = examine(folder.path());
    assert!(
        matches!(
            report.findings[0].finding,
            Finding::Message(_, Harm::Changed)
        ),
        "{report:?}"
    );
}

#[test]
fn a_missing_segment_no_longer_keeps_the_store_from_opening() {
    let (folder, account) = filled(3);
    fs::remove_file(segment(folder.path())).unwrap();
    assert_eq!(
        Store::open(folder.path(), options()).map(drop),
        Err(Error::Damaged)
    );
    let report = mend(folder.path());
    assert_eq!(report.findings.len(), 3);
    assert!(report.is_good() && report.findings.iter().all(|it| it.finding.is_loss()));
    let store = open(folder.path());
    assert_eq!(uids(&store, account, "INBOX"), [0_u32; 0]);
}

#[test]
fn wrong_sums_and_unknown_files_are_put_right() {
    let (folder, account) = filled(3);
    fs::write(folder.path().join("segments/0000000099.seg"), "left over").unwrap();
    let db = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    db.execute_batch("UPDATE mailboxes SET messages = 7, uidnext = 1 WHERE name = 'INBOX'; UPDATE accounts SET used = 5;
        UPDATE bodies SET refs = 9 WHERE id = 1; UPDATE segments SET live = 8; INSERT INTO bodies (segment, position, size) VALUES (1, 0, 3);
        INSERT INTO messages SELECT 4711, uid, modseq, flags, keywords, date, zone, saved, size, body FROM messages WHERE uid = 1").unwrap();
    drop(db);
    let report = examine(folder.path());
    assert_eq!(report.findings.len(), 6, "{report:?}");
    let report = mend(folder.path());
    assert!(report.is_good(), "{report:?}");
    assert_eq!(examine(folder.path()).findings, []);
    let store = open(folder.path());
    assert_eq!(store.status(account, "INBOX").unwrap().messages, 3);
    assert_eq!(deliver(&store, account, "INBOX", b"new").unwrap().uid, 4);
}

/// The pages of the database that hold rows of a table or index.
fn pages(dir: &Path, name: &str) -> Vec<u64> {
    let db = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    let of = |what| -> u64 {
        db.pragma_query_value(None, what, |row| row.get::<_, i64>(0))
            .unwrap()
            .unsigned_abs()
    };
    let (size, count) = (of("page_size"), of("page_count"));
    let root: i64 = db
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?1",
            [name],
            |row| row.get(0),
        )
        .unwrap();
    drop(db);
    let octets = fs::read(dir.join("store.db")).unwrap();
    let page = |number: u64| {
        &octets[usize::try_from((number - 1) * size).unwrap()..][..usize::try_from(size).unwrap()]
    };
    let root = page(root.unsigned_abs());
    // An interior page: cells of four octets with a child's number in front.
    assert!(
        matches!(root[0], 2 | 5),
        "the table is not large enough for this test"
    );
    let cells = usize::from(u16::from_be_bytes([root[3], root[4]]));
    let children = (0..cells).map(|cell| {
        let at = usize::from(u16::from_be_bytes([
            root[12 + 2 * cell],
            root[13 + 2 * cell],
        ]));
        u64::from(u32::from_be_bytes(root[at..at + 4].try_into().unwrap()))
    });
    let children: Vec<u64> = children.collect();
    assert!(children.iter().all(|child| *child <= count));
    children
        .into_iter()
        .map(|child| (child - 1) * size)
        .collect()
}

fn wreck(dir: &Path, page: u64) {
    let file = OpenOptions::new()
        .write(true)
        .open(dir.join("store.db"))
        .unwrap();
    file.write_all_at(&[0xA5; 4096], page).unwrap();
}

#[test]
fn a_damaged_page_of_messages_loses_no_octets() {
    let (folder, account) = filled(600);
    let pages = pages(folder.path(), "messages");
    wreck(folder.path(), pages[pages.len() / 2]);
    let report = examine(folder.path());
    assert!(
        report
            .findings
            .iter()
            .any(|it| matches!(it.finding, Finding::Database(_))),
        "{report:?}"
    );
    let report = mend(folder.path());
    assert!(report.is_good(), "{report:?}");
    let lost: Vec<u32> = report
        .findings
        .iter()
        .filter_map(|it| match &it.finding {
            Finding::RowLost(place) => Some(place.uid),
            _ => None,
        })
        .collect();
    assert!(!lost.is_empty() && lost.len() < 200, "{lost:?}");
    assert_eq!(examine(folder.path()).findings, []);
    let store = open(folder.path());
    let left = uids(&store, account, "INBOX");
    let recovered = uids(&store, account, "Recovered");
    assert_eq!(left.len() + lost.len(), 600);
    assert_eq!(
        recovered.len(),
        lost.len(),
        "every body of a lost row is found"
    );
    let (mailbox, _) = store.select(account, "Recovered").unwrap();
    let found: HashSet<Vec<u8>> = recovered
        .iter()
        .map(|uid| content(&store, mailbox, *uid).unwrap())
        .collect();
    let wanted: HashSet<Vec<u8>> = lost.iter().map(|uid| message(*uid as usize - 1)).collect();
    assert_eq!(found, wanted);
    assert_eq!(deliver(&store, account, "INBOX", b"new").unwrap().uid, 601);
}

/// A database as it was before there were keys of SHA-1.
fn as_the_third_schema(dir: &Path) {
    rusqlite::Connection::open(dir.join("store.db"))
        .unwrap()
        .execute_batch("DROP TABLE sha1_keys; PRAGMA user_version = 3;")
        .unwrap();
}

#[test]
fn salvage_keeps_the_keys_of_both_hash_functions() {
    // [CONF-07]
    for third_schema in [false, true] {
        let (folder, _) = filled(600);
        let store = open(folder.path());
        store.accounts().set_keeps_sha1(true).unwrap();
        let address = "me@gatepost.test";
        store
            .accounts()
            .set_credential(address, &with_sha1())
            .unwrap();
        drop(store);
        if third_schema {
            as_the_third_schema(folder.path());
        }
        let pages = pages(folder.path(), "messages");
        wreck(folder.path(), pages[pages.len() / 2]);
        assert!(mend(folder.path()).is_good());
        let store = open(folder.path());
        let kept = store.accounts().find(address).unwrap().unwrap().credential;
        let expected = if third_schema {
            credential()
        } else {
            with_sha1()
        };
        assert_eq!(kept, expected);
        assert!(store.accounts().keeps_sha1().unwrap());
    }
}

#[test]
fn a_folder_of_the_third_schema_is_read_and_brought_up_to_date() {
    // [CONF-07]
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    deliver(&store, account, "INBOX", b"stays").unwrap();
    drop(store);
    as_the_third_schema(folder.path());
    // A backup is read as it is.
    let reading = Reading::open(folder.path()).unwrap();
    assert_eq!(reading.account("me@gatepost.test"), Ok(Some(account)));
    drop(reading);
    assert_eq!(examine(folder.path()).findings, []);
    let store = open(folder.path());
    let accounts = store.accounts();
    let known = accounts.find("me@gatepost.test").unwrap().unwrap();
    assert_eq!((known.id, known.credential), (account, credential()));
    accounts
        .set_credential("me@gatepost.test", &with_sha1())
        .unwrap();
    let known = accounts.find("me@gatepost.test").unwrap().unwrap();
    assert_eq!(known.credential, with_sha1());
    assert_eq!(uids(&store, account, "INBOX"), [1]);
}

#[test]
fn a_damaged_index_is_made_anew() {
    let (folder, account) = filled(600);
    let pages = pages(folder.path(), "messages_by_modseq");
    wreck(folder.path(), pages[0]);
    assert!(!examine(folder.path()).findings.is_empty());
    let report = mend(folder.path());
    assert!(report.is_good(), "{report:?}");
    let store = open(folder.path());
    assert_eq!(uids(&store, account, "INBOX").len(), 600);
}

fn arrival(beside: &Beside, account: AccountId, octets: &[u8], mark: u8) -> Arrival {
    let mut incoming = beside.incoming().unwrap();
    incoming.write(octets).unwrap();
    Arrival {
        incoming,
        to: delivery(account, "Lists/rust", flags(true, false, &["Kept"])),
        mark: [mark; 16],
    }
}

#[test]
fn mail_is_brought_in_beside_a_store_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    let over = AtomicBool::new(false);
    let mut beside = Beside::open(folder.path(), options()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let placed = deliver(&store, account, "INBOX", &message(7)).unwrap();
                wait(|done| store.remove(placed.mailbox, vec![placed.uid], done)).unwrap();
            }
        });
        beside.ensure_mailbox(account, "Lists/rust").unwrap();
        for round in 0..20_u8 {
            let batch =
                (0..10).map(|_| arrival(&beside, account, &message(usize::from(round)), round));
            let batch: Vec<Arrival> = batch.collect();
            assert_eq!(beside.deliver(account, batch).unwrap().len(), 10);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(beside.marks(account).unwrap().len(), 20);
    assert_eq!(beside.marks(AccountId::clone(&account)).unwrap().len(), 20);
    let (mailbox, _) = store.select(account, "Lists/rust").unwrap();
    let all = store.all(mailbox).unwrap();
    assert_eq!(all.len(), 200);
    assert!(
        all.iter()
            .all(|it| it.flags.seen && it.flags.keywords.contains("Kept"))
    );
    assert_eq!(content(&store, mailbox, 200).unwrap(), message(19));
    drop((store, beside));
    assert_eq!(examine(folder.path()).findings, []);
    let store = open(folder.path());
    assert_eq!(uids(&store, account, "Lists/rust").len(), 200);
}

#[test]
fn a_segment_that_died_under_an_import_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    let mut beside = Beside::open(folder.path(), options()).unwrap();
    beside.ensure_mailbox(account, "Lists/rust").unwrap();
    let first = arrival(&beside, account, b"first", 1);
    let placed = beside.deliver(account, vec![first]).unwrap()[0];
    wait(|done| store.remove(placed.mailbox, vec![placed.uid], done)).unwrap();
    // Closing tidies up: the file is gone.
    drop(store);
    let second = arrival(&beside, account, b"second", 2);
    let placed = beside.deliver(account, vec![second]).unwrap()[0];
    let store = open(folder.path());
    assert_eq!(
        content(&store, placed.mailbox, placed.uid).unwrap(),
        b"second"
    );
    assert_eq!(beside.marks(account).unwrap().len(), 2);
    beside.forget_marks(account).unwrap();
    assert!(beside.marks(account).unwrap().is_empty());
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    store
        .accounts()
        .set_quota("me@gatepost.test", Some(3_000))
        .unwrap();
    let mut beside = Beside::open(folder.path(), options()).unwrap();
    beside.ensure_mailbox(account, "Lists/rust").unwrap();
    let batch: Vec<Arrival> = (0..4)
        .map(|mark| arrival(&beside, account, b"x", mark))
        .collect();
    assert_eq!(beside.deliver(account, batch), Err(Error::OverQuota));
    assert!(beside.marks(account).unwrap().is_empty());
    assert_eq!(uids(&store, account, "Lists/rust"), [0_u32; 0]);
    let one = arrival(&beside, account, b"x", 9);
    beside.deliver(account, vec![one]).unwrap();
    assert_eq!(
        beside.ensure_mailbox(account, "../x\u{1}"),
        Err(Error::Cannot)
    );
}

#[test]
fn reading_keeps_segments_from_going() {
    let folder = tempfile::tempdir().unwrap();
    let (store, account) = with_account(folder.path());
    let placed = deliver_with(&store, account, "INBOX", b"stays", Flags::default()).unwrap();
    let reading = Reading::open(folder.path()).unwrap();
    let account_found = reading.account("me@gatepost.test").unwrap();
    assert_eq!(account_found, Some(account));
    let (mailbox, _, size) = reading.mailbox(account, "inbox").unwrap().unwrap();
    assert_eq!(size, 5);
    let message = reading
        .messages_after(mailbox, 0, 10)
        .unwrap()
        .pop()
        .unwrap();
    wait(|done| store.remove(placed.mailbox, vec![placed.uid], done)).unwrap();
    drop(store);
    assert_eq!(reading.read(&message.body, 0, 100).unwrap(), b"stays");
    assert!(segment(folder.path()).exists());
    drop(reading);
    drop(open(folder.path()));
    assert!(!segment(folder.path()).exists());
}
