use std::sync::Arc;
use std::time::Duration;

use gatepost_net::driver::Backend;
use gatepost_serve::mailbox::Recorded as _;
use gatepost_serve::mailbox::fetch::rows;
use gatepost_serve::mailbox::imap::ImapBackend;
use gatepost_testkit::{facts, talk};
use gatepost_wire::imap::ask::{
    Answer, Append, Ask, Criterion, Datum, FlagChange, Flags, Found, InternalDate, Item, Refusal,
    Row, Rows, Section, SectionText, SystemFlag,
};
use gatepost_wire::imap::server::{Config, Fresh, Limits, Server};
use gatepost_wire::session::Fresh as _;
use tokio::runtime::Runtime;

use crate::world::{ANN, BOB, CLIENT, PASSWORD, Wish, World};

async fn select(backend: &mut ImapBackend, mailbox: &str) -> Result<Vec<u32>, Refusal> {
    match backend
        .answer(Ask::Select {
            mailbox: mailbox.into(),
            read_only: false,
        })
        .await
    {
        Answer::Selected(selected) => selected.map(|selected| selected.uids),
        other => panic!("{other:?}"),
    }
}

async fn fetch(backend: &mut ImapBackend, uids: &[u32], items: &[Item], mark_seen: bool) -> Rows {
    match backend
        .answer(Ask::Fetch {
            uids: uids.to_vec(),
            items: items.into(),
            mark_seen,
        })
        .await
    {
        Answer::Rows(Ok(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

async fn search(backend: &mut ImapBackend, criteria: Criterion) -> Vec<u32> {
    match backend
        .answer(Ask::Search {
            criteria,
            among: (1..100).collect(),
        })
        .await
    {
        Answer::Found(Ok(found)) => found.uids,
        other => panic!("{other:?}"),
    }
}

fn seen() -> Flags {
    Flags {
        seen: true,
        ..Flags::default()
    }
}

fn whole() -> Item {
    Item::Section(Section {
        part: vec![],
        text: SectionText::All,
        partial: None,
    })
}

#[tokio::test]
async fn nothing_without_a_login() {
    let world = World::new();
    let mut backend = ImapBackend::new(Arc::clone(&world.shared), CLIENT);
    assert_eq!(select(&mut backend, "INBOX").await, Err(Refusal::Gone));
    assert_eq!(
        backend.answer(Ask::List).await,
        Answer::Mailboxes(Err(Refusal::Gone))
    );
    let create = Ask::Create {
        mailbox: "x".into(),
        special_use: None,
    };
    assert_eq!(
        backend.answer(create).await,
        Answer::Checked(Err(Refusal::Gone))
    );
    let fetch = Ask::Fetch {
        uids: vec![1],
        items: [Item::Flags].into(),
        mark_seen: false,
    };
    assert_eq!(
        backend.answer(fetch).await,
        Answer::Rows(Err(Refusal::Gone))
    );
}

#[tokio::test]
async fn a_failed_select_deselects() {
    let world = World::new();
    world.append(ANN, "INBOX", "x").await;
    let mut backend = world.imap(ANN).await;
    assert_eq!(select(&mut backend, "INBOX").await, Ok(vec![1]));
    assert_eq!(
        select(&mut backend, "Nothing").await,
        Err(Refusal::NoSuchMailbox)
    );
    assert_eq!(
        backend.answer(Ask::Changes { since: 0 }).await,
        Answer::Changes(Err(Refusal::Gone))
    );
    assert_eq!(select(&mut backend, "INBOX").await, Ok(vec![1]));
    assert_eq!(backend.answer(Ask::Unselect).await, Answer::Done);
    assert_eq!(
        backend.answer(Ask::Expunge { only: None }).await,
        Answer::Expunged(Err(Refusal::Gone))
    );
}

/// Sessions on one mailbox see each other's changes at once.
#[tokio::test]
async fn news_comes_to_the_other_session() {
    let world = World::new();
    let mut watcher = world.imap(ANN).await;
    select(&mut watcher, "INBOX").await.unwrap();
    let news = Backend::<Server>::news(&watcher).unwrap();
    // The one that makes up for changes while the mailbox was being opened.
    tokio::time::timeout(Duration::from_secs(1), news.notified())
        .await
        .unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), news.notified())
            .await
            .is_err()
    );
    world.append(ANN, "INBOX", "x").await;
    tokio::time::timeout(Duration::from_secs(5), news.notified())
        .await
        .unwrap();
    let Answer::Changes(Ok(changes)) = watcher.answer(Ask::Changes { since: 0 }).await else {
        panic!("no changes")
    };
    assert_eq!(
        changes
            .changed
            .iter()
            .map(|changed| changed.uid)
            .collect::<Vec<_>>(),
        [1]
    );
    watcher.answer(Ask::Unselect).await;
    world.append(ANN, "INBOX", "y").await;
    assert!(
        tokio::time::timeout(Duration::from_millis(50), news.notified())
            .await
            .is_err(),
        "not selected any more"
    );
}

#[tokio::test]
async fn fetch_answers_in_the_order_asked_and_counts_the_vanished() {
    let world = World::new();
    for text in ["1", "22", "333"] {
        world.append(ANN, "INBOX", text).await;
    }
    let mut backend = world.imap(ANN).await;
    select(&mut backend, "INBOX").await.unwrap();
    let rows = fetch(&mut backend, &[3, 9, 1], &[Item::Size, Item::Flags], false).await;
    assert_eq!(rows.answered, 3);
    let data = |row: &Row| (row.uid, format!("{:?}", row.data));
    let expected = [
        (3, "[Number(3), InRow]".to_owned()),
        (1, "[Number(1), InRow]".to_owned()),
    ];
    assert_eq!(rows.rows.iter().map(data).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn large_answers_come_in_parts() {
    let world = World::new();
    let text = format!("A: b\r\n\r\n{}", "x".repeat(60_000));
    for _ in 0..8 {
        world.append(ANN, "INBOX", &text).await;
    }
    let mut backend = world.imap(ANN).await;
    let uids = select(&mut backend, "INBOX").await.unwrap();
    let first = fetch(&mut backend, &uids, &[whole()], true).await;
    assert!(
        first.answered < uids.len() && first.rows.len() == first.answered,
        "{}",
        first.answered
    );
    assert!(
        first
            .rows
            .iter()
            .all(|row| row.newly_seen && row.flags.seen)
    );
    let rest = fetch(&mut backend, &uids[first.answered..], &[Item::Flags], false).await;
    assert!(
        rest.rows.iter().all(|row| !row.flags.seen),
        "only what was answered is seen"
    );
    assert_eq!(
        search(&mut backend, Criterion::Flag(SystemFlag::Seen))
            .await
            .len(),
        first.answered
    );
    let again = fetch(&mut backend, &uids[..1], &[whole()], true).await;
    assert!(!again.rows[0].newly_seen);
    assert_eq!(backend.summary().messages_out as usize, first.answered + 1);
}

#[tokio::test]
async fn long_content_is_left_to_be_read() {
    let world = World::new();
    let text = format!("A: b\r\n\r\n{}", "0123456789".repeat(30_000));
    world.append(ANN, "INBOX", &text).await;
    let mut backend = world.imap(ANN).await;
    select(&mut backend, "INBOX").await.unwrap();
    let rows = fetch(&mut backend, &[1], &[whole()], false).await;
    let size = text.len() as u64;
    assert_eq!(
        rows.rows[0].data,
        [Datum::Stored {
            offset: 0,
            length: size
        }]
    );
    let mut read = Vec::new();
    while read.len() < text.len() {
        let ask = Ask::Read {
            uid: 1,
            offset: read.len() as u64,
            length: 65_536,
        };
        let Answer::Octets(Ok(octets)) = backend.answer(ask).await else {
            panic!("not read")
        };
        read.extend(octets);
    }
    assert_eq!(String::from_utf8(read).unwrap(), text);
    let gone = backend
        .answer(Ask::Read {
            uid: 2,
            offset: 0,
            length: 1,
        })
        .await;
    assert_eq!(gone, Answer::Octets(Err(Refusal::Unavailable)));
}

#[tokio::test]
async fn append_refusals() {
    let world = World::with(Wish {
        message_size: 10,
        quota: Some(1_500),
        ..Wish::default()
    });
    let mut backend = world.imap(ANN).await;
    let append = |mailbox: &str, size| {
        Ask::AppendBegin(Append {
            mailbox: mailbox.into(),
            flags: Flags::default(),
            date: None,
            size,
            replaces: None,
        })
    };
    assert_eq!(
        backend.answer(append("INBOX", 11)).await,
        Answer::Checked(Err(Refusal::TooBig))
    );
    assert_eq!(
        backend.answer(append("Nothing", 1)).await,
        Answer::Checked(Err(Refusal::NoSuchMailbox))
    );
    assert_eq!(
        backend.answer(append("INBOX", 5)).await,
        Answer::Checked(Ok(()))
    );
    assert_eq!(
        backend.answer(Ask::AppendContent(vec![b'x'; 11])).await,
        Answer::Checked(Err(Refusal::TooBig))
    );
    assert_eq!(
        backend.answer(Ask::AppendCommit).await,
        Answer::Appended(Err(Refusal::Unavailable))
    );
    for expected in [true, false] {
        assert_eq!(
            backend.answer(append("INBOX", 10)).await,
            Answer::Checked(Ok(()))
        );
        assert_eq!(
            backend.answer(Ask::AppendContent(vec![b'x'; 10])).await,
            Answer::Checked(Ok(()))
        );
        match backend.answer(Ask::AppendCommit).await {
            Answer::Appended(Ok(_)) if expected => {}
            Answer::Appended(Err(Refusal::OverQuota)) if !expected => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        backend.answer(append("INBOX", 1)).await,
        Answer::Checked(Ok(()))
    );
    assert_eq!(backend.answer(Ask::AppendAbort).await, Answer::Done);
    assert_eq!(
        backend.answer(Ask::AppendCommit).await,
        Answer::Appended(Err(Refusal::Unavailable))
    );
}

#[tokio::test]
async fn messages_are_copied_moved_and_expunged() {
    let world = World::new();
    for text in ["1", "2", "3"] {
        world.append(ANN, "INBOX", text).await;
    }
    let mut backend = world.imap(ANN).await;
    select(&mut backend, "INBOX").await.unwrap();
    let copy = |to: &str, remove| Ask::Copy {
        uids: vec![1, 2],
        to: to.into(),
        remove,
    };
    assert_eq!(
        backend.answer(copy("Nothing", false)).await,
        Answer::Copied(Err(Refusal::NoSuchMailbox))
    );
    let Answer::Copied(Ok(copied)) = backend.answer(copy("Archive", false)).await else {
        panic!("not copied")
    };
    assert_eq!(copied.uids, [(1, 1), (2, 2)]);
    let Answer::Copied(Ok(moved)) = backend.answer(copy("Trash", true)).await else {
        panic!("not moved")
    };
    assert_eq!(moved.uids, [(1, 1), (2, 2)]);
    assert_eq!(
        (world.texts(ANN, "INBOX"), world.texts(ANN, "Archive").len()),
        (vec!["3".to_owned()], 2)
    );
    let change = FlagChange::Add(Flags {
        deleted: true,
        ..Flags::default()
    });
    let store = Ask::Store {
        uids: vec![3],
        change,
        unchanged_since: None,
    };
    assert!(
        matches!(backend.answer(store).await, Answer::Stored(Ok(outcome)) if outcome.changed.len() == 1)
    );
    assert_eq!(
        backend
            .answer(Ask::Expunge {
                only: Some(vec![1])
            })
            .await,
        Answer::Expunged(Ok(vec![]))
    );
    assert_eq!(
        backend.answer(Ask::Expunge { only: None }).await,
        Answer::Expunged(Ok(vec![3]))
    );
    assert!(world.texts(ANN, "INBOX").is_empty());
}

#[tokio::test]
async fn mailboxes_are_administered_for_one_account_only() {
    let world = World::new();
    let (mut ann, mut bob) = (world.imap(ANN).await, world.imap(BOB).await);
    let create = || Ask::Create {
        mailbox: "Work".into(),
        special_use: None,
    };
    assert_eq!(ann.answer(create()).await, Answer::Checked(Ok(())));
    assert_eq!(
        ann.answer(create()).await,
        Answer::Checked(Err(Refusal::AlreadyExists))
    );
    let rename = Ask::Rename {
        from: "Work".into(),
        to: "Play".into(),
    };
    assert_eq!(ann.answer(rename).await, Answer::Checked(Ok(())));
    let subscribe = Ask::Subscribe {
        mailbox: "Play".into(),
        subscribed: true,
    };
    assert_eq!(ann.answer(subscribe).await, Answer::Checked(Ok(())));
    let Answer::Mailboxes(Ok(list)) = ann.answer(Ask::List).await else {
        panic!("no list")
    };
    assert!(
        list.iter()
            .any(|mailbox| mailbox.name == "Play" && mailbox.subscribed)
    );
    assert_eq!(select(&mut bob, "Play").await, Err(Refusal::NoSuchMailbox));
    let delete = |mailbox: &str| Ask::Delete {
        mailbox: mailbox.into(),
    };
    assert_eq!(
        bob.answer(delete("Play")).await,
        Answer::Checked(Err(Refusal::NoSuchMailbox))
    );
    assert_eq!(
        ann.answer(delete("INBOX")).await,
        Answer::Checked(Err(Refusal::Cannot))
    );
    assert_eq!(ann.answer(delete("Play")).await, Answer::Checked(Ok(())));
    let status = |mailbox: &str| Ask::Status {
        mailbox: mailbox.into(),
        deleted_size: false,
    };
    assert_eq!(
        ann.answer(status("Play")).await,
        Answer::Status(Err(Refusal::NoSuchMailbox))
    );
    assert!(
        matches!(ann.answer(status("INBOX")).await, Answer::Status(Ok(status)) if status.messages == 0)
    );
}

/// 1996-07-17 23:30 UTC.
const LATE: i64 = 837_646_200;
const SEARCHED: [&str; 3] = [
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: a@b\r\nDate: Wed, 17 Jul 1996 02:23:25 -0700\r\n\r\nplain body\r\n",
    "Subject: other\r\nX-Odd:\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVuIHdvcmQ=\r\n",
    "Subject: third\r\nContent-Type: application/pdf\r\n\r\nhidden word\r\n",
];

/// Has [`SEARCHED`] in its INBOX: the first seen, the second on the next day, as its offset from UTC says.
async fn searcher(world: &World) -> ImapBackend {
    let mut backend = world.imap(ANN).await;
    for (number, text) in SEARCHED.into_iter().enumerate() {
        let date = InternalDate {
            unix: LATE,
            offset_minutes: if number == 1 { 120 } else { 0 },
        };
        let flags = if number == 0 {
            seen()
        } else {
            Flags::default()
        };
        let append = Append {
            mailbox: "INBOX".into(),
            flags,
            date: Some(date),
            size: text.len() as u64,
            replaces: None,
        };
        assert_eq!(
            backend.answer(Ask::AppendBegin(append)).await,
            Answer::Checked(Ok(()))
        );
        assert_eq!(
            backend.answer(Ask::AppendContent(text.into())).await,
            Answer::Checked(Ok(()))
        );
        assert!(matches!(
            backend.answer(Ask::AppendCommit).await,
            Answer::Appended(Ok(_))
        ));
    }
    select(&mut backend, "INBOX").await.unwrap();
    backend
}

async fn search_all(cases: Vec<(Criterion, &[u32])>) {
    let world = World::new();
    let mut backend = searcher(&world).await;
    for (criterion, expected) in cases {
        assert_eq!(
            search(&mut backend, criterion.clone()).await,
            expected,
            "{criterion:?}"
        );
    }
}

#[tokio::test]
async fn searches_in_text() {
    let header = |name: &str, text: &str| Criterion::Header(name.into(), text.into());
    let body = |text: &str| Criterion::Body(text.into());
    search_all(vec![
        (header("subject", "GRÜSSE"), &[]),
        (header("SUBJECT", "GRÜßE"), &[1]),
        (header("x-odd", ""), &[2]),
        (header("x-odd", "y"), &[]),
        (body("PLAIN"), &[1]),
        (body("hidden word"), &[2]),
        (body("grüße"), &[]),
        (Criterion::Text("grüße".into()), &[1]),
        (Criterion::Text("Hidden Word".into()), &[2]),
        (
            Criterion::Or(
                Box::new(body("plain")),
                Box::new(Criterion::Uids([(3, 3)].into())),
            ),
            &[1, 3],
        ),
        (
            Criterion::And(vec![body("o"), Criterion::Flag(SystemFlag::Seen)]),
            &[1],
        ),
    ])
    .await;
}

#[tokio::test]
async fn searches_in_rows_and_dates() {
    let day = LATE / 86_400;
    let size = SEARCHED[1].len() as u64;
    search_all(vec![
        (Criterion::All, &[1, 2, 3]),
        (Criterion::Flag(SystemFlag::Seen), &[1]),
        (
            Criterion::Not(Box::new(Criterion::Flag(SystemFlag::Seen))),
            &[2, 3],
        ),
        (Criterion::On(day), &[1, 3]),
        (Criterion::Since(day + 1), &[2]),
        (Criterion::Before(day + 1), &[1, 3]),
        (Criterion::SentOn(day), &[1]),
        (Criterion::SentBefore(day), &[]),
        (Criterion::SentSince(day), &[1]),
        (Criterion::Larger(size), &[1]),
        (Criterion::Smaller(size), &[3]),
        (Criterion::Uids([(2, 2), (9, 20)].into()), &[2]),
    ])
    .await;
}

#[tokio::test]
async fn searches_among_what_the_session_knows() {
    let world = World::new();
    let mut backend = searcher(&world).await;
    let among = Ask::Search {
        criteria: Criterion::All,
        among: [2].into(),
    };
    assert_eq!(
        backend.answer(among).await,
        Answer::Found(Ok(Found {
            uids: vec![2],
            modseq: None
        }))
    );
    let modseq = Ask::Search {
        criteria: Criterion::ModSeq(1),
        among: [1, 2].into(),
    };
    assert!(matches!(
        backend.answer(modseq).await,
        Answer::Found(Ok(Found {
            modseq: Some(_),
            ..
        }))
    ));
}

/// Where a thousand messages with long address lists are asked for, the answer stays small.
#[tokio::test]
async fn envelopes_weigh_what_they_take() {
    let world = World::new();
    let text = format!("To: {}\r\n\r\n", "a@b,".repeat(2_000));
    for _ in 0..4 {
        world.append(ANN, "INBOX", &text).await;
    }
    let mut backend = world.imap(ANN).await;
    let uids = select(&mut backend, "INBOX").await.unwrap();
    let rows = fetch(&mut backend, &uids, &[Item::Envelope], false).await;
    assert!(rows.answered < uids.len(), "{}", rows.answered);
}

/// Headers longer than any that programs write: what stands at their end is told, too.
#[test]
fn a_long_header_is_told_to_its_end() {
    let runtime = Runtime::new().unwrap();
    let world = World::new();
    let to = "reader@far.test,\r\n ".repeat(1_000);
    let text = format!(
        "{}To: {to}last@far.test\r\nFrom: ann@example.org\r\nSubject: late word\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        format!("X-Long: {}\r\n", "y".repeat(900)).repeat(300)
    );
    runtime.block_on(world.append(ANN, "INBOX", "From: bob@example.org\r\n\r\nshort"));
    runtime.block_on(world.append(ANN, "INBOX", &text));
    let transcript = talk(
        &runtime,
        &world,
        "b SELECT INBOX\r\nc FETCH 1:2 ENVELOPE\r\nd FETCH 2 BODYSTRUCTURE\r\n\
         e FETCH 1:2 BODY.PEEK[HEADER.FIELDS (Subject From)]\r\nf SEARCH SUBJECT \"late word\"\r\n",
    );
    let address = |local: &str, domain: &str| format!("((NIL NIL \"{local}\" \"{domain}\"))");
    for expected in [
        &address("bob", "example.org"),
        "* 2 FETCH (ENVELOPE (NIL \"late word\" ((NIL NIL \"ann\" \"example.org\"))",
        "(NIL NIL \"reader\" \"far.test\")(NIL NIL \"last\" \"far.test\")) NIL NIL NIL NIL))\r\n",
        "* 2 FETCH (BODYSTRUCTURE ((\"TEXT\" \"PLAIN\"",
        "{25}\r\nFrom: bob@example.org\r\n\r\n",
        "{45}\r\nFrom: ann@example.org\r\nSubject: late word\r\n\r\n",
        "* SEARCH 2\r\n",
    ] {
        assert!(
            transcript.contains(expected),
            "{expected}\n---\n{transcript}"
        );
    }
}

/// A session of those that may be many reads no such header; an answer goes on in a long read.
#[tokio::test]
async fn a_long_header_is_a_long_read() {
    let world = World::new();
    let long = format!("To: {}\r\n\r\n", "a@b,\r\n ".repeat(10_000));
    for text in ["To: a@b\r\n\r\n", &long, "To: a@b\r\n\r\n"] {
        world.append(ANN, "INBOX", text).await;
    }
    let (mailbox, _) = world.store.select(world.account(ANN), "INBOX").unwrap();
    for (uids, long, answered) in [
        (&[1, 2, 3][..], false, 1),
        (&[2, 3], false, 0),
        (&[2, 3], true, 2),
        (&[1, 2, 3], true, 3),
    ] {
        let items = [Item::Envelope];
        let rows = rows(&world.store, mailbox, uids, &items, long).unwrap();
        // An answer of many addresses ends early.
        assert_eq!(
            rows.answered.min(answered),
            rows.answered,
            "{uids:?} {long}"
        );
        assert_eq!(rows.answered == 0, answered == 0, "{uids:?} {long}");
        assert_eq!(rows.rows.len(), rows.answered);
    }
    let mut backend = world.imap(ANN).await;
    select(&mut backend, "INBOX").await.unwrap();
    let rows = fetch(&mut backend, &[2, 3], &[Item::Envelope], false).await;
    assert!(rows.answered > 0);
}

/// Ten thousand sessions wait in IDLE: the backend of each is small.
#[test]
fn an_idle_backend_is_small() {
    assert!(
        size_of::<ImapBackend>() <= 160,
        "{}",
        size_of::<ImapBackend>()
    );
}

/// Runs a whole session, its commands sent at once, and gives what it wrote.
fn talk(runtime: &Runtime, world: &World, commands: &str) -> String {
    let config = Config {
        host: "mail.example.org".into(),
        starttls: true,
        least: gatepost_wire::seam::TlsVersion::Tls12,
        append_limit: 1_000_000,
        offer: None,
        mechanisms: gatepost_wire::sasl::Mechanism::FOR_ACCOUNTS.to_vec(),
        limits: Limits::default(),
    };
    let session = Fresh::implicit(Arc::new(config)).secured(facts());
    let mut backend = ImapBackend::new(Arc::clone(&world.shared), CLIENT);
    let input = format!("a LOGIN {ANN} \"{PASSWORD}\"\r\n{commands}z LOGOUT\r\n");
    let output = talk::transcript(session, &[input.as_bytes()], |ask| {
        runtime.block_on(backend.answer(ask))
    });
    String::from_utf8(output).unwrap()
}

/// The lines of a transcript that hold this.
fn lines<'a>(transcript: &'a str, part: &str) -> Vec<&'a str> {
    transcript
        .lines()
        .filter(|line| line.contains(part))
        .collect()
}

/// From delivery to FETCH through the real session: every item.
#[test]
fn a_session_reads_a_message_from_end_to_end() {
    let runtime = Runtime::new().unwrap();
    let world = World::new();
    let text = "From: Ann <ann@example.org>\r\nSubject: hello\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nfirst\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        c2Vjb25k\r\n--b--\r\n";
    runtime.block_on(world.append(ANN, "INBOX", text));
    let commands = "b SELECT INBOX\r\nc FETCH 1 (UID FLAGS RFC822.SIZE)\r\nd FETCH 1 (ENVELOPE BODYSTRUCTURE)\r\n\
        e FETCH 1 BODY.PEEK[2]\r\nf FETCH 1 BINARY.PEEK[2]\r\ng FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject)]\r\n\
        h FETCH 1 BODY[]\r\ni SEARCH TEXT HELLO SEEN\r\nj UID STORE 1 +FLAGS.SILENT (\\Deleted)\r\nk EXPUNGE\r\n";
    let transcript = talk(&runtime, &world, commands);
    for expected in [
        "* 1 EXISTS\r\n".to_owned(),
        format!("* 1 FETCH (UID 1 FLAGS () RFC822.SIZE {})\r\n", text.len()),
        "((NIL NIL \"ann\" \"example.org\"))".replace("(NIL NIL", "(\"Ann\" NIL"),
        "BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 0 NIL NIL NIL NIL)\
         (\"TEXT\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"base64\" 8 0 NIL NIL NIL NIL) \
         \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
            .to_owned(),
        "BODY[2] {8}\r\nc2Vjb25k".to_owned(),
        "BINARY[2] {6}\r\nsecond".to_owned(),
        "{18}\r\nSubject: hello\r\n\r\n".to_owned(),
        format!("BODY[] {{{}}}\r\n{text}", text.len()),
        "* SEARCH 1\r\n".to_owned(),
        "* 1 EXPUNGE\r\n".to_owned(),
    ] {
        assert!(transcript.contains(&expected), "{expected}\n---\n{transcript}");
    }
    for tag in 'a'..='k' {
        assert_eq!(
            lines(&transcript, &format!("{tag} OK")).len(),
            1,
            "{tag}\n{transcript}"
        );
    }
    assert!(world.texts(ANN, "INBOX").is_empty());
}

#[test]
fn a_session_appends_and_moves_from_end_to_end() {
    let runtime = Runtime::new().unwrap();
    let world = World::new();
    let large = "0123456789".repeat(50_000);
    let commands = format!(
        "b APPEND Drafts (\\Draft) \"17-Jul-1996 02:44:25 -0700\" {{{}}}\r\n{large}\r\nc SELECT Drafts\r\n\
         d FETCH 1 (FLAGS INTERNALDATE)\r\ne MOVE 1 Archive\r\nf STATUS Archive (MESSAGES)\r\ng APPEND Nothing {{1}}\r\nx\r\n",
        large.len()
    );
    let transcript = talk(&runtime, &world, &commands);
    for expected in [
        "[APPENDUID ",
        "INTERNALDATE \"17-Jul-1996 02:44:25 -0700\"",
        "[COPYUID ",
        "(MESSAGES 1)",
        "g NO [TRYCREATE]",
    ] {
        assert_eq!(
            lines(&transcript, expected).len(),
            1,
            "{expected}\n---\n{transcript}"
        );
    }
    assert!(transcript.contains("FLAGS (\\Draft)"), "{transcript}");
    assert_eq!(world.texts(ANN, "Archive"), [large]);
}

/// A search is not carried out by the runtime's own thread: asked once, it is still on its way. Asked several times, since
/// on a busy machine this thread may be held up for longer than the search takes.
#[tokio::test]
async fn a_long_search_does_not_hold_up_others() {
    let world = World::new();
    let text = format!("A: b\r\n\r\n{}", "0123456789 words\r\n".repeat(40_000));
    world.append(ANN, "INBOX", &text).await;
    let mut backend = world.imap(ANN).await;
    select(&mut backend, "INBOX").await.unwrap();
    let mut on_its_way = 0;
    for _ in 0..20 {
        let long = search(&mut backend, Criterion::Body("absent".into()));
        tokio::select! {
            biased;
            _ = long => {}
            () = std::future::ready(()) => on_its_way += 1,
        }
    }
    assert!(on_its_way > 0);
}

#[tokio::test]
async fn a_search_ends_when_its_time_has_come() {
    let world = World::new();
    world.append(ANN, "INBOX", "A: b\r\n\r\ntext\r\n").await;
    let account = world.store.accounts().find(ANN).unwrap().unwrap().id;
    let (mailbox, selected) = world.store.select(account, "INBOX").unwrap();
    let run = |until| {
        gatepost_serve::mailbox::search::search(
            &world.store,
            mailbox,
            Criterion::All,
            &selected.uids,
            until,
        )
    };
    let now = std::time::Instant::now();
    assert_eq!(run(now), Err(gatepost_store::Error::Limit));
    let later = now + std::time::Duration::from_secs(60);
    assert_eq!(run(later).unwrap().uids, selected.uids);
}

/// MULTIAPPEND, REPLACE, SORT, THREAD, PREVIEW, QUOTA and QRESYNC from the session to the disk and back.
#[test]
fn extensions_work_on_a_real_store() {
    let runtime = Runtime::new().unwrap();
    let world = World::with(Wish {
        quota: Some(8 * 1024),
        ..Wish::default()
    });
    let first =
        "Subject: b\r\nMessage-ID: <1@x>\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\n\r\nfirst\r\n";
    let reply = "Subject: Re: b\r\nMessage-ID: <2@x>\r\nReferences: <1@x>\r\nDate: Tue, 3 Feb 2026 10:00:00 +0000\r\n\r\nreply\r\n";
    let other =
        "Subject: a\r\nMessage-ID: <3@x>\r\nDate: Sun, 1 Feb 2026 10:00:00 +0000\r\n\r\nother\r\n";
    let literal = |text: &str| format!("{{{}+}}\r\n{text}", text.len());
    let (first, reply, other) = (literal(first), literal(reply), literal(other));
    let commands = format!(
        "b ENABLE QRESYNC\r\nc APPEND INBOX {first} {reply} (\\Seen) {other}\r\nd SELECT INBOX\r\n\
         e SORT (SUBJECT DATE) UTF-8 ALL\r\nf SORT (REVERSE DATE) UTF-8 ALL\r\ng THREAD REFERENCES UTF-8 ALL\r\n\
         h UID FETCH 2 (PREVIEW)\r\ni UID REPLACE 3 INBOX {other}\r\nj GETQUOTA \"\"\r\n\
         k UID FETCH 1:* (UID) (CHANGEDSINCE 2 VANISHED)\r\nl UID SEARCH YOUNGER 60 SAVEDSINCE 1-Jan-2026\r\n"
    );
    let said = talk(&runtime, &world, &commands);
    for wanted in [
        "c OK [APPENDUID ",
        " 1:3] APPEND completed",
        "* SORT 3 1 2\r\ne OK",
        "* SORT 2 1 3\r\nf OK",
        "* THREAD (3)(1 2)\r\ng OK",
        "PREVIEW \"reply\"",
        "Replaced\r\n",
        "* VANISHED 3\r\n",
        "i OK [HIGHESTMODSEQ ",
        "* QUOTA \"\" (STORAGE 3 8)\r\n",
        "* VANISHED (EARLIER) 3\r\n",
        "* SEARCH 1 2 4\r\nl OK",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

/// None of several messages is kept when one cannot be.
#[test]
fn several_messages_are_kept_together_or_not_at_all() {
    let runtime = Runtime::new().unwrap();
    let world = World::with(Wish {
        quota: Some(2 * 1024),
        ..Wish::default()
    });
    let commands = "b APPEND INBOX {1+}\r\n1 {1+}\r\n2 {1+}\r\n3\r\nc STATUS INBOX (MESSAGES)\r\n";
    let said = talk(&runtime, &world, commands);
    assert!(said.contains("b NO [OVERQUOTA] "), "{said}");
    assert!(said.contains("* STATUS \"INBOX\" (MESSAGES 0)"), "{said}");
}
