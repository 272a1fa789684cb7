//! Changes of very many messages: nobody else waits for the whole of one.

mod common;

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use common::{deliver, delivery, flags, open, wait, with_account};
use gatepost_store::{AccountId, Error, MailboxId, Store};
use gatepost_wire::imap::ask::{FlagChange, Flags, Uid};

const MANY: u32 = 20_000;

/// Fills a mailbox by copying it into itself.
fn fill(store: &Store, account: AccountId, name: &str, count: u32) -> MailboxId {
    let mailbox = deliver(store, account, name, b"tiny").unwrap().mailbox;
    let mut there = 1;
    while there < count {
        let more = there.min(count - there);
        let uids = (1..=more).collect();
        let to = (account, name.to_owned());
        wait(|done| store.copy(mailbox, uids, to, false, done)).unwrap();
        there += more;
    }
    mailbox
}

/// Notes the word when the change is answered.
fn note<T: Send + 'static>(
    order: &Sender<&'static str>,
    word: &'static str,
) -> impl FnOnce(Result<T, Error>) + Send + 'static {
    let order = order.clone();
    move |result| {
        assert!(result.is_ok(), "{word}");
        order.send(word).unwrap();
    }
}

/// A change of `MANY` messages and a delivery queued behind it, in the order in which they were answered.
fn first_answered(
    store: &Store,
    account: AccountId,
    change: impl FnOnce(Sender<&'static str>),
) -> Vec<&'static str> {
    let mut incoming = store.incoming().unwrap();
    incoming.write(b"someone else's").unwrap();
    let to = vec![delivery(account, "Drafts", Flags::default())];
    let (order, answers) = channel();
    // The store's thread waits until both are queued.
    let (go, gate) = channel();
    store.set_subscribed(account, "INBOX", true, move |_| gate.recv().unwrap());
    change(order.clone());
    store.deliver(incoming, to, note(&order, "delivery"));
    go.send(()).unwrap();
    drop(order);
    answers.into_iter().collect()
}

#[test]
fn a_delivery_goes_between_the_pieces_of_a_large_change() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let inbox = fill(&store, account, "INBOX", MANY);
    let all = || (1..=MANY).collect::<Vec<Uid>>();
    let fair = ["delivery", "change"];

    let deleted = FlagChange::Add(flags(false, true, &["Gone"]));
    let answers = first_answered(&store, account, |order| {
        store.store_flags(inbox, all(), deleted, None, note(&order, "change"));
    });
    assert_eq!(answers, fair, "STORE");
    assert_eq!(store.status(account, "INBOX").unwrap().deleted, MANY);

    let answers = first_answered(&store, account, |order| {
        let to = (account, "Trash".to_owned());
        store.copy(inbox, all(), to, true, note(&order, "change"));
    });
    assert_eq!(answers, fair, "MOVE");
    let (trash, selected) = store.select(account, "Trash").unwrap();
    assert_eq!(selected.uids, all());

    let answers = first_answered(&store, account, |order| {
        store.expunge(trash, None, note(&order, "change"));
    });
    assert_eq!(answers, fair, "EXPUNGE");
    assert_eq!(store.status(account, "Trash").unwrap().messages, 0);

    let junk = fill(&store, account, "Junk", MANY);
    let answers = first_answered(&store, account, |order| {
        store.remove(junk, all(), note(&order, "change"));
    });
    assert_eq!(answers, fair, "remove");
    assert_eq!(store.status(account, "Junk").unwrap().messages, 0);
}

#[test]
fn the_pieces_of_a_change_are_answered_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let inbox = fill(&store, account, "INBOX", MANY);
    let backwards: Vec<Uid> = (1..=MANY).rev().collect();
    let change = FlagChange::Add(flags(false, true, &[]));
    let outcome =
        wait(|done| store.store_flags(inbox, backwards.clone(), change, None, done)).unwrap();
    let uids: Vec<Uid> = outcome.changed.iter().map(|changed| changed.uid).collect();
    assert_eq!(uids, (1..=MANY).collect::<Vec<_>>());
    let only = Some(backwards[..12_000].to_vec());
    let removed = wait(|done| store.expunge(inbox, only, done)).unwrap();
    assert_eq!(removed, (8_001..=MANY).collect::<Vec<_>>());
    let to = (account, "Trash".to_owned());
    let moved = wait(|done| store.copy(inbox, backwards, to, true, done)).unwrap();
    let pairs: Vec<(Uid, Uid)> = (1..=8_000).map(|uid| (uid, uid)).collect();
    assert_eq!(moved.uids, pairs);
    assert_eq!(store.changes(inbox, 0).unwrap().vanished.len(), 20_000);
}

#[test]
fn a_copy_of_too_many_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let placed = deliver(&store, account, "INBOX", b"x").unwrap();
    let copy = |uids| {
        let to = (account, "Trash".to_owned());
        wait(|done| store.copy(placed.mailbox, uids, to, false, done))
    };
    assert_eq!(copy((1..=100_001).collect()), Err(Error::Limit));
    assert_eq!(copy((1..=100_000).collect()).unwrap().uids, [(1, 1)]);
}

/// Rows of messages that the database still has.
fn rows(dir: &std::path::Path) -> i64 {
    let db = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    let sum = "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM expunged)
        + (SELECT count(*) FROM bodies) + (SELECT count(*) FROM doomed)";
    db.query_row(sum, [], |row| row.get(0)).unwrap()
}

fn wait_until_empty(dir: &std::path::Path) {
    let begin = Instant::now();
    while rows(dir) != 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "rows stay");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_deleted_mailbox_is_gone_at_once_and_its_rows_piece_by_piece() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let trash = fill(&store, account, "Trash", MANY);
    wait(|done| store.remove(trash, (1..=6_000).collect(), done)).unwrap();
    let (answer, left) = channel();
    let path = dir.path().to_owned();
    store.delete(account, "Trash", move |result| {
        assert_eq!(result, Ok(()));
        answer.send(rows(&path)).unwrap();
    });
    // On the writer's own thread, in the answer: nothing else was removed yet.
    assert!(left.recv().unwrap() >= i64::from(MANY), "all in one go");
    assert_eq!(store.accounts().list().unwrap()[0].used, 0);
    assert_eq!(store.all(trash), Err(Error::Gone));
    wait_until_empty(dir.path());
}

#[test]
fn what_a_removed_account_leaves_is_removed_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let inbox = fill(&store, account, "INBOX", 12_000);
    drop(store);
    let accounts = gatepost_store::Accounts::open(dir.path()).unwrap();
    accounts.remove("me@gatepost.test").unwrap();
    assert!(
        rows(dir.path()) >= 12_000,
        "the command removed them itself"
    );
    let store = open(dir.path());
    assert_eq!(store.all(inbox), Err(Error::Gone));
    wait_until_empty(dir.path());
}
