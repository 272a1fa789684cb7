//! What the disk, a crash, or another process can do to the store.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{content, credential, deliver, delivery, open, options, try_open, wait, with_account};
use gatepost_store::{Accounts, Error, Options, Store};
use gatepost_wire::imap::ask::{FlagChange, Flags};

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

#[test]
fn a_damaged_body_is_noticed_and_the_others_are_not_harmed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    for word in ["first", "second"] {
        deliver(&store, account, "INBOX", word.repeat(100).as_bytes()).unwrap();
    }
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&segments(dir.path())[0])
        .unwrap();
    file.write_all_at(b"X", 100).unwrap();
    assert_eq!(content(&store, inbox, 1), Err(Error::Damaged));
    assert_eq!(content(&store, inbox, 2).unwrap(), b"second".repeat(100));
    // A segment that lost its end, and one that is gone.
    file.set_len(700).unwrap();
    assert_eq!(content(&store, inbox, 2), Err(Error::Damaged));
    drop(store);
    fs::remove_file(&segments(dir.path())[0]).unwrap();
    assert_eq!(try_open(dir.path()).unwrap_err(), Error::Damaged);
}

#[test]
fn a_segment_that_is_missing_is_damage_while_bodies_are_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    // One of its own, and the shared one.
    deliver(&store, account, "INBOX", &vec![b'x'; 600_000]).unwrap();
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    let body = store.messages(inbox, &[1]).unwrap()[0].body;
    let large = segments(dir.path())
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let aside = dir.path().join("aside");
    fs::rename(&large, &aside).unwrap();
    assert_eq!(store.read(&body, 0, 10), Err(Error::Damaged));
    drop(store);
    assert_eq!(try_open(dir.path()).unwrap_err(), Error::Damaged);
    fs::rename(&aside, &large).unwrap();
    let store = open(dir.path());
    assert_eq!(store.read(&body, 0, 2).unwrap(), b"xx");
    wait(|done| store.remove(inbox, vec![1], done)).unwrap();
    drop(store);
    // Closing removed the file of what was removed: that is no damage.
    assert!(!large.exists());
    let store = open(dir.path());
    assert_eq!(store.read(&body, 0, 10), Err(Error::Gone));
}

#[test]
fn a_torn_tail_is_cut_off_and_a_file_nobody_knows_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    deliver(&store, account, "INBOX", b"whole").unwrap();
    drop(store);
    let segment = segments(dir.path())[0].clone();
    let length = fs::metadata(&segment).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(b"GPm1 torn", length).unwrap();
    fs::write(
        dir.path().join("segments/0000000099.seg"),
        b"renamed, never committed",
    )
    .unwrap();
    let store = open(dir.path());
    assert_eq!(
        segments(dir.path()).as_slice(),
        std::slice::from_ref(&segment)
    );
    assert_eq!(fs::metadata(&segment).unwrap().len(), length);
    deliver(&store, account, "INBOX", b"next").unwrap();
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    assert_eq!(content(&store, inbox, 1).unwrap(), b"whole");
    assert_eq!(content(&store, inbox, 2).unwrap(), b"next");
}

#[test]
fn a_segment_that_lost_its_end_is_not_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    deliver(&store, account, "INBOX", b"to be lost").unwrap();
    drop(store);
    fs::OpenOptions::new()
        .write(true)
        .open(&segments(dir.path())[0])
        .unwrap()
        .set_len(10)
        .unwrap();
    let store = open(dir.path());
    deliver(&store, account, "INBOX", b"good").unwrap();
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    assert_eq!(content(&store, inbox, 1), Err(Error::Damaged));
    assert_eq!(content(&store, inbox, 2).unwrap(), b"good");
    assert_eq!(segments(dir.path()).len(), 2);
}

#[test]
fn damaged_rows_are_errors_and_not_panics() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    deliver(&store, account, "INBOX", b"x").unwrap();
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    db.execute_batch("UPDATE messages SET size = -1").unwrap();
    assert_eq!(store.all(inbox), Err(Error::Damaged));
    db.execute_batch("UPDATE messages SET size = 9223372036854775807")
        .unwrap();
    assert_eq!(content(&store, inbox, 1), Err(Error::Damaged));
    db.execute_batch("UPDATE messages SET size = 1; DELETE FROM bodies")
        .unwrap();
    assert_eq!(content(&store, inbox, 1), Err(Error::Damaged));
    db.execute_batch("UPDATE mailboxes SET modseq = -5, messages = -1")
        .unwrap();
    assert_eq!(store.changes(inbox, 0), Err(Error::Damaged));
    assert_eq!(store.select(account, "INBOX"), Err(Error::Damaged));
    let result = wait(|done| {
        store.store_flags(
            inbox,
            vec![1],
            FlagChange::Add(Flags::default()),
            None,
            done,
        );
    });
    assert_eq!(result, Err(Error::Damaged));
}

#[test]
fn a_second_server_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    assert_eq!(
        Store::open(dir.path(), options()).unwrap_err(),
        Error::Locked
    );
    deliver(&store, account, "INBOX", b"still here").unwrap();
    drop(store);
    open(dir.path());
}

#[test]
fn the_folder_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    drop(open(&data));
    assert_eq!(
        fs::metadata(&data).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

/// Not a test of its own: the other process of the next one.
#[test]
fn other_process() {
    let Some(dir) = std::env::var_os("GATEPOST_STORE_OTHER") else {
        return;
    };
    let dir = Path::new(&dir);
    assert_eq!(Store::open(dir, options()).unwrap_err(), Error::Locked);
    let accounts = Accounts::open(dir).unwrap();
    for n in 0..20 {
        accounts
            .add(&format!("new{n}@gatepost.test"), &credential(), Some(2000))
            .unwrap();
    }
    accounts.remove("old@gatepost.test").unwrap();
}

#[test]
fn accounts_are_administered_beside_a_busy_server() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let old = store
        .accounts()
        .add("old@gatepost.test", &credential(), None)
        .unwrap();
    deliver(&store, old, "INBOX", &vec![b'x'; 400_000]).unwrap();
    let (old_inbox, _) = store.select(old, "INBOX").unwrap();
    let (sender, told) = channel();
    let listener = store.subscribe(
        old_inbox,
        Arc::new(move || sender.send(()).unwrap_or_default()),
    );
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_process", "--test-threads=1"])
        .env("GATEPOST_STORE_OTHER", dir.path())
        .spawn()
        .unwrap();
    let mut delivered = 0;
    let status = loop {
        deliver(&store, account, "INBOX", b"load").unwrap();
        delivered += 1;
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success());
    assert_eq!(store.accounts().list().unwrap().len(), 21);
    let new = store
        .accounts()
        .find("NEW7@Gatepost.TEST")
        .unwrap()
        .unwrap();
    assert_eq!(new.quota, Some(2000));
    deliver(&store, new.id, "INBOX", b"hello").unwrap();
    assert_eq!(store.status(account, "INBOX").unwrap().messages, delivered);
    // Who was in the removed account's mailbox hears of it, and its large message is gone from the disk.
    told.recv_timeout(Duration::from_secs(20))
        .expect("the listener is told");
    drop(listener);
    assert_eq!(store.changes(old_inbox, 0), Err(Error::Gone));
    assert_eq!(store.list(old), Err(Error::Gone));
    let large = || {
        segments(dir.path())
            .iter()
            .filter(|path| fs::metadata(path).unwrap().len() > 300_000)
            .count()
    };
    let freed = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        large() == 0
    });
    assert!(freed);
}

#[test]
fn the_floor_of_free_space_refuses_what_is_new_and_lets_delete() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    deliver(&store, account, "INBOX", b"kept").unwrap();
    drop(store);
    let store = Store::open(
        dir.path(),
        Options {
            min_free: u64::MAX,
            ..Options::default()
        },
    )
    .unwrap();
    assert_eq!(store.incoming().unwrap_err(), Error::DiskFull);
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    let to = (account, "Archive".to_owned());
    assert_eq!(
        wait(|done| store.copy(inbox, vec![1], to.clone(), false, done)),
        Err(Error::DiskFull)
    );
    assert_eq!(
        wait(|done| store.create(account, "new", None, done)),
        Err(Error::DiskFull)
    );
    wait(|done| store.copy(inbox, vec![1], to, true, done)).unwrap();
    let (archive, _) = store.select(account, "Archive").unwrap();
    assert_eq!(
        wait(|done| store.remove(archive, vec![1], done)),
        Ok(vec![1])
    );
}

/// A file system of its own that is quickly full; none when this is not root's machine.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(dir.path())
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then(|| Self(dir))
    }
}

impl Small {
    fn enlarge(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=12m"]).arg(self.0.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_message_that_would_pass_the_floor_is_refused_when_it_is_complete() {
    let Some(small) = Small::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    drop(with_account(small.0.path()));
    let store = Store::open(
        small.0.path(),
        Options {
            min_free: 4 << 20,
            spool_above: 8 << 20,
            ..options()
        },
    )
    .unwrap();
    let account = store
        .accounts()
        .find("me@gatepost.test")
        .unwrap()
        .unwrap()
        .id;
    assert_eq!(
        deliver(&store, account, "INBOX", &vec![b'x'; 3 << 20]),
        Err(Error::DiskFull)
    );
    deliver(&store, account, "INBOX", b"small").unwrap();
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let Some(small) = Small::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let (store, account) = with_account(small.0.path());
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    let mut kept = Vec::new();
    let mut refused = 0;
    for n in 0..2000_u32 {
        // Now and then one that is spooled.
        let size = if n % 50 == 49 { 300_000 } else { 9_000 };
        let octets = [&n.to_be_bytes()[..], &vec![b'm'; size]].concat();
        match deliver(&store, account, "INBOX", &octets) {
            Ok(placed) => kept.push((placed.uid, octets)),
            Err(error) => {
                assert_eq!(error, Error::DiskFull);
                refused += 1;
            }
        }
        if refused > 100 {
            break;
        }
    }
    assert!(
        refused > 100 && kept.len() > 50,
        "{refused} refused, {} kept",
        kept.len()
    );
    for (uid, octets) in &kept {
        assert!(content(&store, inbox, *uid).unwrap() == *octets);
    }
    // Once there is space again, it goes on, without a restart and after one.
    small.enlarge();
    let placed = deliver(&store, account, "INBOX", b"again").unwrap();
    kept.push((placed.uid, b"again".to_vec()));
    for (uid, octets) in &kept {
        assert!(content(&store, inbox, *uid).unwrap() == *octets);
    }
    let (_, selected) = store.select(account, "INBOX").unwrap();
    assert_eq!(selected.uids.len(), kept.len());
    drop(store);
    let store = open(small.0.path());
    for (uid, octets) in &kept {
        assert!(content(&store, inbox, *uid).unwrap() == *octets);
    }
}

#[test]
fn a_batch_with_a_refused_job_keeps_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let poor = store
        .accounts()
        .add("poor@gatepost.test", &credential(), Some(199))
        .unwrap();
    let (sender, answers) = channel();
    for n in 0..200_u32 {
        let mut incoming = store.incoming().unwrap();
        incoming.write(&n.to_be_bytes().repeat(50)).unwrap();
        // Every third fails only at its second mailbox, after its body was appended and its first row written.
        let other = if n % 3 == 0 { poor } else { account };
        let to = [(account, "INBOX"), (other, "Archive")];
        let to = to
            .map(|(account, name)| delivery(account, name, Flags::default()))
            .to_vec();
        let sender = sender.clone();
        store.deliver(incoming, to, move |result| {
            sender.send((n, result)).unwrap();
        });
    }
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    for _ in 0..200 {
        let (n, result) = answers.recv().unwrap();
        if n % 3 == 0 {
            assert_eq!(result, Err(Error::OverQuota));
        } else {
            assert_eq!(
                content(&store, inbox, result.unwrap()[0].uid).unwrap(),
                n.to_be_bytes().repeat(50)
            );
        }
    }
    assert_eq!(store.status(account, "INBOX").unwrap().messages, 133);
    // What refused ones appended was written over: 24 octets of header, 200 of content, 4 of checksum each.
    assert_eq!(
        fs::metadata(&segments(dir.path())[0]).unwrap().len(),
        133 * 228
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    for name in ["lock", "turn"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(name)).unwrap();
        let error = try_open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    let what_to_do = "another gatepost uses this folder: stop it, or give another data folder";
    assert_eq!(Error::Locked.to_string(), what_to_do);
}

#[test]
fn what_root_makes_in_a_users_folder_is_the_users() {
    let dir = tempfile::tempdir().unwrap();
    if std::os::unix::fs::chown(dir.path(), Some(12_345), Some(12_346)).is_err() {
        eprintln!("skipped: only root can give a folder away");
        return;
    }
    let accounts = Accounts::open(dir.path()).unwrap();
    accounts
        .add("me@gatepost.test", &credential(), None)
        .unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let found = entry.metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (12_345, 12_346), "{entry:?}");
    }
}
