//! What users notice of mailboxes, flags, copies and accounts.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{
    content, credential, deliver, deliver_with, delivery, flags, options, wait, with_account,
    with_sha1,
};
use gatepost_store::{AccountId, Accounts, Error, Options, Store};
use gatepost_wire::imap::ask::{FlagChange, Flags, Mailbox, SpecialUse};

fn names(store: &Store, account: AccountId) -> Vec<String> {
    store
        .list(account)
        .unwrap()
        .into_iter()
        .map(|mailbox| mailbox.name)
        .collect()
}

fn create(store: &Store, account: AccountId, name: &str) -> Result<(), Error> {
    wait(|done| store.create(account, name, None, done))
}

#[test]
fn an_account_begins_with_mailboxes_for_special_uses() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let entry = |name: &str, special_use| Mailbox {
        name: name.into(),
        subscribed: true,
        exists: true,
        special_use,
    };
    assert_eq!(
        store.list(account).unwrap(),
        [
            entry("Archive", Some(SpecialUse::Archive)),
            entry("Drafts", Some(SpecialUse::Drafts)),
            entry("INBOX", None),
            entry("Junk", Some(SpecialUse::Junk)),
            entry("Sent", Some(SpecialUse::Sent)),
            entry("Trash", Some(SpecialUse::Trash)),
        ]
    );
}

/// RFC 5890 2.3.2.4: A-labels and U-labels are two ways to write one domain.
#[test]
fn an_international_domain_is_one_in_both_its_forms() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = with_account(dir.path());
    let accounts = store.accounts();
    let ways = [
        "v@b\u{fc}cher.test",
        "V@B\u{dc}CHER.test",
        "v@xn--bcher-kva.test",
        "v@XN--BCHER-KVA.test",
    ];
    for (first, second) in [(0, 2), (2, 0)] {
        let id = accounts.add(ways[first], &credential(), None).unwrap();
        assert_eq!(
            accounts.add(ways[second], &credential(), None),
            Err(Error::AlreadyExists)
        );
        for way in ways {
            assert_eq!(accounts.find(way).unwrap().unwrap().id, id, "{way}");
            accounts.set_quota(way, Some(9)).unwrap();
            accounts.set_credential(way, &credential()).unwrap();
        }
        accounts.remove(ways[second]).unwrap();
        assert_eq!(accounts.find(ways[first]).unwrap(), None);
    }
}

/// What older versions kept as it was typed is found all the same, and two accounts stay two.
#[test]
fn addresses_that_older_versions_kept_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = with_account(dir.path());
    let accounts = store.accounts();
    let keep_as = |address: &str, kept: &str| {
        let id = accounts.add(address, &credential(), None).unwrap();
        let db = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
        let changed = db
            .execute(
                "UPDATE accounts SET address = ?2 WHERE address = ?1",
                (address, kept),
            )
            .unwrap();
        assert_eq!(changed, 1);
        id
    };
    let old = keep_as("one@x.test", "v@xn--bcher-kva.test");
    for way in ["v@xn--bcher-kva.test", "v@b\u{fc}cher.test"] {
        assert_eq!(accounts.find(way).unwrap().unwrap().id, old);
    }
    let other = keep_as("two@x.test", "v@b\u{fc}cher.test");
    assert_eq!(
        accounts.find("v@b\u{fc}cher.test").unwrap().unwrap().id,
        other
    );
    assert_eq!(
        accounts.find("v@xn--bcher-kva.test").unwrap().unwrap().id,
        old
    );
    let unusable = keep_as("three@x.test", "c@x_y.test");
    assert_eq!(accounts.find("c@x_y.test").unwrap().unwrap().id, unusable);
    accounts.remove("c@x_y.test").unwrap();
}

#[test]
fn accounts_by_address_in_any_case() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let accounts = store.accounts();
    assert_eq!(
        accounts.find("ME@GatePost.Test").unwrap().unwrap().id,
        account
    );
    assert_eq!(accounts.find("you@gatepost.test").unwrap(), None);
    assert_eq!(
        accounts.add("Me@gatepost.test", &credential(), None),
        Err(Error::AlreadyExists)
    );
    let long = format!("{}@x.test", "l".repeat(65));
    let longest = format!("l@{}.test", ["d".repeat(63).as_str(); 4].join("."));
    for bad in [
        "",
        "me",
        "@x",
        "me@",
        "a b@x",
        "a\n@x",
        "<a@x>",
        // RCPT would not take them,
        &long,
        "a@x..test",
        "a@../x",
        "a@x.test.",
        "../../etc@x.test",
        "a\\b@x.test",
        "c@x_y.test",
        "\"a\"@x.test",
        // or a login would bring another name, or none.
        "\u{ff41}nna@x.test",
        "an\u{200b}na@x.test",
        "e\u{301}@x.test",
        "\u{1f600}@x.test",
        &longest,
    ] {
        assert_eq!(
            accounts.add(bad, &credential(), None),
            Err(Error::Cannot),
            "{bad:?}"
        );
    }
    for (given, kept) in [
        ("Me@Gatepost.test", "me@gatepost.test"),
        ("v@xn--bcher-kva.test", "v@b\u{fc}cher.test"),
        // No login brings U-labels that Unicode 3.2 does not know.
        ("v@xn--ls8h.test", "v@xn--ls8h.test"),
    ] {
        assert_eq!(gatepost_store::Accounts::check(given).as_deref(), Ok(kept));
    }
    let mut other = credential();
    other.record.iterations = 20_000;
    other.record.salt = vec![9; 20];
    accounts.set_credential("me@GATEPOST.test", &other).unwrap();
    assert_eq!(
        accounts
            .find("me@gatepost.test")
            .unwrap()
            .unwrap()
            .credential,
        other
    );
    assert_eq!(
        accounts.set_credential("you@gatepost.test", &other),
        Err(Error::NoSuchAccount)
    );
    assert_eq!(
        accounts.remove("you@gatepost.test"),
        Err(Error::NoSuchAccount)
    );
    accounts.remove("me@gatepost.test").unwrap();
    assert_eq!(accounts.find("me@gatepost.test").unwrap(), None);
    // A new account of the same address is another one.
    assert_ne!(
        accounts
            .add("me@gatepost.test", &credential(), None)
            .unwrap(),
        account
    );
    assert_eq!(
        deliver(&store, account, "INBOX", b"x").unwrap_err(),
        Error::NoSuchMailbox
    );
}

/// [CONF-07] keys of SHA-1 go with the password they were made of
#[test]
fn keys_of_sha_1_are_kept_while_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = with_account(dir.path());
    let accounts = store.accounts();
    assert!(!accounts.keeps_sha1().unwrap(), "nobody has asked");
    for keeps in [true, true, false, true] {
        accounts.set_keeps_sha1(keeps).unwrap();
        let beside = Accounts::open(dir.path()).unwrap();
        assert_eq!(beside.keeps_sha1(), Ok(keeps), "commands beside it know");
    }
    let kept = |address: &str| accounts.find(address).unwrap().unwrap().credential;
    let with_both = with_sha1();
    accounts
        .add("both@gatepost.test", &with_both, None)
        .unwrap();
    assert_eq!(kept("both@gatepost.test"), with_both);
    assert_eq!(kept("me@gatepost.test"), credential());
    assert_eq!(accounts.without_sha1(), Ok(1));
    accounts
        .set_credential("ME@gatepost.test", &with_both)
        .unwrap();
    assert_eq!(kept("me@gatepost.test"), with_both);
    assert_eq!(accounts.without_sha1(), Ok(0));
    // A password set without them takes the old ones away.
    accounts
        .set_credential("me@gatepost.test", &credential())
        .unwrap();
    assert_eq!(kept("me@gatepost.test"), credential());
    accounts.remove("both@gatepost.test").unwrap();
    accounts
        .add("both@gatepost.test", &credential(), None)
        .unwrap();
    assert_eq!(kept("both@gatepost.test").sha1, None);
    assert_eq!(accounts.without_sha1(), Ok(2));
}

#[test]
fn the_quota_holds_and_moving_within_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    store
        .accounts()
        .set_quota("me@gatepost.test", Some(10_000))
        .unwrap();
    let other = store
        .accounts()
        .add("other@gatepost.test", &credential(), None)
        .unwrap();
    let placed = deliver(&store, account, "INBOX", &[b'x'; 6_000]).unwrap();
    assert_eq!(
        deliver(&store, account, "INBOX", &[b'x'; 4_001]).unwrap_err(),
        Error::OverQuota
    );
    // All or none: the other account, which has no quota, gets nothing either.
    let mut incoming = store.incoming().unwrap();
    incoming.write(&[b'x'; 4_001]).unwrap();
    let to = [other, account]
        .map(|account| delivery(account, "INBOX", Flags::default()))
        .to_vec();
    assert_eq!(
        wait(|done| store.deliver(incoming, to, done)),
        Err(Error::OverQuota)
    );
    assert_eq!(store.status(other, "INBOX").unwrap().messages, 0);
    let to = |name: &str| (account, name.to_owned());
    assert_eq!(
        wait(|done| store.copy(placed.mailbox, vec![1], to("Trash"), false, done)),
        Err(Error::OverQuota)
    );
    wait(|done| store.copy(placed.mailbox, vec![1], to("Trash"), true, done)).unwrap();
    deliver(&store, account, "INBOX", &[b'x'; 4_000]).unwrap();
    wait(|done| store.delete(account, "Trash", done)).unwrap();
    assert_eq!(store.accounts().list().unwrap()[0].used, 4_000);
    deliver(&store, account, "INBOX", &[b'x'; 6_000]).unwrap();
}

#[test]
fn a_small_message_counts_for_its_rows_too() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let accounts = store.accounts();
    let used = || accounts.list().unwrap()[0].used;
    accounts
        .set_quota("me@gatepost.test", Some(3 * 1_024))
        .unwrap();
    let placed = deliver(&store, account, "INBOX", b"tiny").unwrap();
    assert_eq!(used(), 1_024);
    let to = || (account, "Trash".to_owned());
    wait(|done| store.copy(placed.mailbox, vec![1], to(), false, done)).unwrap();
    deliver(&store, account, "INBOX", b"tiny").unwrap();
    assert_eq!(used(), 3 * 1_024);
    assert_eq!(
        deliver(&store, account, "INBOX", b"tiny").unwrap_err(),
        Error::OverQuota
    );
    assert_eq!(
        wait(|done| store.copy(placed.mailbox, vec![1], to(), false, done)),
        Err(Error::OverQuota)
    );
    // Moving is free; everything is given back, each way a message can go.
    wait(|done| store.copy(placed.mailbox, vec![1], to(), true, done)).unwrap();
    assert_eq!(used(), 3 * 1_024);
    wait(|done| store.remove(placed.mailbox, vec![2], done)).unwrap();
    assert_eq!(used(), 2 * 1_024);
    assert_eq!(store.status(account, "Trash").unwrap().size, 8);
    wait(|done| store.delete(account, "Trash", done)).unwrap();
    assert_eq!(used(), 0);
}

#[test]
fn keywords_keep_their_first_spelling_and_have_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_account(dir.path()));
    let store = Store::open(
        dir.path(),
        Options {
            max_keywords: 3,
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
    let inbox = deliver_with(
        &store,
        account,
        "INBOX",
        b"1",
        flags(false, false, &["$Junk"]),
    )
    .unwrap()
    .mailbox;
    let add = |keyword: &str, store: &Store| {
        let change = FlagChange::Add(flags(false, false, &[keyword]));
        wait(|done| store.store_flags(inbox, vec![1], change, None, done))
            .map(|outcome| outcome.changed[0].clone())
    };
    let before = store.select(account, "INBOX").unwrap().1.highest_modseq;
    // Already set, in another case: nothing changes, so there is nothing to tell.
    assert_eq!(add("$JUNK", &store).unwrap().modseq, before);
    assert_eq!(
        store.select(account, "INBOX").unwrap().1.keywords,
        flags(false, false, &["$Junk"]).keywords
    );
    assert_eq!(add("not an atom", &store), Err(Error::Cannot));
    add("b", &store).unwrap();
    add("c", &store).unwrap();
    assert_eq!(add("d", &store), Err(Error::Limit));
    let less = FlagChange::Remove(flags(false, false, &["B"]));
    let outcome = wait(|done| store.store_flags(inbox, vec![1], less, None, done)).unwrap();
    assert_eq!(
        outcome.changed[0].flags,
        flags(false, false, &["$Junk", "c"])
    );
    // One that no message has makes room.
    assert_eq!(
        add("d", &store).unwrap().flags,
        flags(false, false, &["$Junk", "c", "d"])
    );
    // A copy takes the spelling of the mailbox it goes to.
    deliver_with(
        &store,
        account,
        "Archive",
        b"2",
        flags(false, false, &["$jUNK"]),
    )
    .unwrap();
    let copied =
        wait(|done| store.copy(inbox, vec![1], (account, "Archive".into()), false, done)).unwrap();
    let (archive, _) = store.select(account, "Archive").unwrap();
    let there = store.messages(archive, &[copied.uids[0].1]).unwrap();
    assert_eq!(there[0].flags, flags(false, false, &["$jUNK", "c", "d"]));
}

#[test]
fn names_that_cannot_be_are_refused_and_inbox_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    for bad in ["", "/x", "x//y", "a*b", "a%", "a\r\nb", &"x".repeat(300)] {
        assert_eq!(create(&store, account, bad), Err(Error::Cannot), "{bad:?}");
        assert_eq!(
            wait(|done| store.rename(account, "Trash", bad, done)),
            Err(Error::Cannot),
            "{bad:?}"
        );
        assert_eq!(
            wait(|done| store.set_subscribed(account, bad, true, done)),
            Err(Error::Cannot),
            "{bad:?}"
        );
    }
    assert_eq!(create(&store, account, "inbox"), Err(Error::AlreadyExists));
    assert_eq!(
        wait(|done| store.delete(account, "InBox", done)),
        Err(Error::Cannot)
    );
    // A name that grows too deep by the renaming of what is above it.
    create(&store, account, &vec!["d"; 20].join("/")).unwrap();
    assert_eq!(
        wait(|done| store.rename(account, "d", "e/d", done)),
        Err(Error::Cannot)
    );
    assert!(
        !names(&store, account).contains(&"e".to_owned()),
        "a refused rename leaves nothing"
    );
}

#[test]
fn the_number_of_mailboxes_and_subscriptions_is_limited() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_account(dir.path()));
    let store = Store::open(
        dir.path(),
        Options {
            max_mailboxes: 8,
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
    create(&store, account, "a/b").unwrap();
    assert_eq!(create(&store, account, "c"), Err(Error::Limit));
    assert_eq!(
        wait(|done| store.rename(account, "a", "x/y", done)),
        Err(Error::Limit)
    );
    assert_eq!(
        wait(|done| store.rename(account, "INBOX", "old", done)),
        Err(Error::Limit)
    );
    assert_eq!(names(&store, account).len(), 8);
    for name in ["1", "2"] {
        wait(|done| store.set_subscribed(account, name, true, done)).unwrap();
    }
    assert_eq!(
        wait(|done| store.set_subscribed(account, "3", true, done)),
        Err(Error::Limit)
    );
}

#[test]
fn a_special_use_is_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let create = |name| wait(|done| store.create(account, name, Some(SpecialUse::Sent), done));
    assert_eq!(create("Sent2"), Err(Error::UseAttr));
    wait(|done| store.delete(account, "Sent", done)).unwrap();
    create("Sent2").unwrap();
    let listed = store.list(account).unwrap();
    assert_eq!(
        listed
            .iter()
            .find(|mailbox| mailbox.name == "Sent2")
            .unwrap()
            .special_use,
        Some(SpecialUse::Sent)
    );
    // Its subscription outlives the mailbox (RFC 9051 6.3.7).
    let old = listed
        .iter()
        .find(|mailbox| mailbox.name == "Sent")
        .unwrap();
    assert!(old.subscribed && !old.exists);
    wait(|done| store.set_subscribed(account, "Sent", false, done)).unwrap();
    assert!(!names(&store, account).contains(&"Sent".to_owned()));
}

#[test]
fn a_copy_is_the_same_email_and_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let inbox = deliver(&store, account, "INBOX", b"content")
        .unwrap()
        .mailbox;
    deliver(&store, account, "INBOX", b"content").unwrap();
    wait(|done| store.copy(inbox, vec![1], (account, "Archive".into()), false, done)).unwrap();
    let (archive, selected) = store.select(account, "Archive").unwrap();
    let original = &store.all(inbox).unwrap();
    let copy = store.all(archive).unwrap().remove(0);
    assert_eq!(copy.email_id, original[0].email_id);
    assert_ne!(original[1].email_id, original[0].email_id);
    let id = copy.email_id.to_string();
    assert!(id.len() == 17 && id.starts_with('E') && id.bytes().all(|c| c.is_ascii_alphanumeric()));
    assert_ne!(
        selected.mailbox_id,
        store.select(account, "INBOX").unwrap().1.mailbox_id
    );
    assert_eq!((copy.date, copy.size), (original[0].date, 7));
    wait(|done| store.remove(inbox, vec![1, 2], done)).unwrap();
    drop(store);
    let store = common::open(dir.path());
    assert_eq!(content(&store, archive, 1).unwrap(), b"content");
    assert_eq!(content(&store, inbox, 1), Err(Error::Gone));
}

#[test]
fn what_nobody_keeps_leaves_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_account(dir.path()));
    let store = Store::open(
        dir.path(),
        Options {
            segment_size: 10_000,
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
    for _ in 0..10 {
        deliver(&store, account, "INBOX", &[b'x'; 6_000]).unwrap();
    }
    let last = deliver(&store, account, "INBOX", &vec![b'x'; 600_000]).unwrap();
    let octets = || -> u64 {
        let files = fs::read_dir(dir.path().join("segments")).unwrap();
        files
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum()
    };
    assert!(octets() > 650_000);
    let body = store.messages(last.mailbox, &[last.uid]).unwrap()[0].body;
    assert_eq!(store.read(&body, 599_990, 100).unwrap(), [b'x'; 10]);
    // Everything but one small message, whose segment stays.
    wait(|done| store.remove(last.mailbox, (2..=11).collect(), done)).unwrap();
    drop(store);
    assert!(octets() < 20_000, "{} octets left", octets());
    let store = common::open(dir.path());
    assert_eq!(content(&store, last.mailbox, 1).unwrap(), [b'x'; 6_000]);
    assert_eq!(store.read(&body, 0, 10), Err(Error::Gone));
    wait(|done| store.remove(last.mailbox, vec![1], done)).unwrap();
    drop(store);
    assert_eq!(octets(), 0);
}

#[test]
fn messages_by_uid_dense_and_sparse() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let (sender, answers) = std::sync::mpsc::channel();
    for n in 0..300_u32 {
        let mut incoming = store.incoming().unwrap();
        incoming.write(&n.to_be_bytes()).unwrap();
        let sender = sender.clone();
        let to = vec![delivery(account, "INBOX", Flags::default())];
        store.deliver(incoming, to, move |result| {
            sender.send(result.unwrap()).unwrap();
        });
    }
    let placed: Vec<_> = (0..300).map(|_| answers.recv().unwrap()[0]).collect();
    let inbox = placed[0].mailbox;
    let found = |uids: &[u32]| -> Vec<u32> {
        store
            .messages(inbox, uids)
            .unwrap()
            .iter()
            .map(|message| message.uid)
            .collect()
    };
    assert_eq!(found(&[]), [0; 0]);
    assert_eq!(found(&[300, 1, 150, 1, 301, 0]), [1, 150, 300]);
    assert_eq!(found(&[13, 11, 12]), [11, 12, 13]);
    assert_eq!(found(&[5, 7, 9]), [5, 7, 9]);
    assert_eq!(
        found(&(0..400).collect::<Vec<_>>()),
        (1..=300).collect::<Vec<_>>()
    );
    let page: Vec<u32> = store
        .messages_after(inbox, 100, 3)
        .unwrap()
        .iter()
        .map(|message| message.uid)
        .collect();
    assert_eq!(page, [101, 102, 103]);
    assert_eq!(content(&store, inbox, 42).unwrap(), 41_u32.to_be_bytes());
}

#[test]
fn listeners_hear_of_every_change_after_it_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    let (archive, _) = store.select(account, "Archive").unwrap();
    let calls = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let subscriptions = [inbox, archive].map(|mailbox| {
        let (calls, index) = (Arc::clone(&calls), usize::from(mailbox == archive));
        store.subscribe(
            mailbox,
            Arc::new(move || {
                calls[index].fetch_add(1, Ordering::SeqCst);
            }),
        )
    });
    // A listener is called after the answer: the answer to a later write proves that it was.
    let settle = || wait(|done| store.set_subscribed(account, "x", true, done)).unwrap();
    let heard = || {
        settle();
        [0, 1].map(|index| calls[index].swap(0, Ordering::SeqCst))
    };
    deliver(&store, account, "INBOX", b"1").unwrap();
    assert_eq!(heard(), [1, 0]);
    let seen = FlagChange::Add(flags(true, true, &[]));
    for expected in [[1, 0], [0, 0]] {
        wait(|done| store.store_flags(inbox, vec![1], seen.clone(), None, done)).unwrap();
        assert_eq!(heard(), expected);
    }
    wait(|done| store.copy(inbox, vec![1], (account, "Archive".into()), true, done)).unwrap();
    assert_eq!(heard(), [1, 1]);
    wait(|done| store.expunge(archive, None, done)).unwrap();
    assert_eq!(heard(), [0, 1]);
    // A refused write is no news.
    assert_eq!(
        deliver(&store, account, "Nowhere", b"1").unwrap_err(),
        Error::NoSuchMailbox
    );
    wait(|done| store.delete(account, "Archive", done)).unwrap();
    assert_eq!(heard(), [0, 1]);
    drop(subscriptions);
    deliver(&store, account, "INBOX", b"2").unwrap();
    assert_eq!(heard(), [0, 0]);
}

#[test]
fn an_answer_that_panics_or_closes_the_store_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (store, account) = with_account(dir.path());
    store.set_subscribed(account, "x", true, |_| {
        panic!("a fault of the caller, on purpose")
    });
    deliver(&store, account, "INBOX", b"after").unwrap();
    let (sender, closed) = std::sync::mpsc::channel();
    let last = store.clone();
    store.set_subscribed(account, "y", true, move |result| {
        drop(last);
        sender.send(result).unwrap();
    });
    drop(store);
    closed.recv().unwrap().unwrap();
    // The thread may still be at its end: it holds the lock until then.
    let reopened = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        Store::open(dir.path(), options()).ok()
    });
    assert_eq!(
        reopened.unwrap().status(account, "INBOX").unwrap().messages,
        1
    );
}

#[test]
fn a_mailbox_takes_so_many_messages_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_messages: 3,
        ..options()
    };
    drop(with_account(dir.path()));
    let store = Store::open(dir.path(), options).unwrap();
    let found = store.accounts().find("me@gatepost.test").unwrap();
    let account = found.unwrap().id;
    let to = |name: &str| (account, name.to_owned());
    let count = |name: &str| store.status(account, name).unwrap().messages;
    for _ in 0..3 {
        deliver(&store, account, "INBOX", b"x").unwrap();
    }
    let full = deliver(&store, account, "INBOX", b"x");
    assert_eq!(full.unwrap_err(), Error::Limit);
    let (inbox, _) = store.select(account, "INBOX").unwrap();
    wait(|done| store.copy(inbox, vec![1, 2], to("Trash"), false, done)).unwrap();
    for remove in [false, true] {
        assert_eq!(
            wait(|done| store.copy(inbox, vec![1, 2], to("Trash"), remove, done)),
            Err(Error::Limit)
        );
        assert_eq!((count("INBOX"), count("Trash")), (3, 2));
    }
    wait(|done| store.remove(inbox, vec![1], done)).unwrap();
    deliver(&store, account, "INBOX", b"x").unwrap();
    drop(store);
    // The limit was lowered since: what INBOX holds does not fit a new mailbox.
    let store = Store::open(
        dir.path(),
        Options {
            max_messages: 2,
            ..options
        },
    )
    .unwrap();
    assert_eq!(
        wait(|done| store.rename(account, "INBOX", "Old", done)),
        Err(Error::Limit)
    );
    assert_eq!(store.status(account, "INBOX").unwrap().messages, 3);
}
