//! Killed at random points under load, the store opens again and holds every acknowledged message once and intact
//! [SMTP-BASE-15].
//!
//! The test runs itself as a child process which delivers, copies, moves, flags and expunges from several threads and prints each
//! change once it is acknowledged; the parent kills it (SIGKILL) and checks. What was under way must be done or not done: a message
//! being moved is in one of the two mailboxes. Meanwhile the search index is made: it must fit what is there, whenever the kill came.
//! `GATEPOST_CRASH_ROUNDS` says how often.

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::{content, credential, delivery, flags, wait};
use gatepost_store::{AccountId, Error, Grams, Hint, MailboxId, Octets, Options, Store};
use gatepost_wire::imap::ask::{FlagChange, Flags};

/// Set in the child: the data folder.
const CHILD: &str = "GATEPOST_CRASH_CHILD";
const THREADS: u64 = 4;
/// Where messages are moved and copied to.
const OTHER: &str = "Trash";

/// Small files, so that rounds also fall on a change of segments and on spooled messages.
fn options() -> Options {
    Options {
        min_free: 0,
        segment_size: 256 << 10,
        spool_above: 32 << 10,
        ..Options::default()
    }
}

/// A message that says which it is, and whose every octet follows from that.
fn message(id: u64) -> Vec<u8> {
    let size = match id % 23 {
        0 => 40_000,
        n => 200 + usize::try_from(n).unwrap() * 300,
    };
    let mut octets = format!("{id:016x}\r\n").into_bytes();
    let mut state = id;
    while octets.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        octets.extend_from_slice(&state.to_le_bytes());
    }
    octets
}

/// Which message this is, if it is whole.
fn identify(octets: &[u8]) -> Option<u64> {
    let id = u64::from_str_radix(std::str::from_utf8(octets.get(..16)?).ok()?, 16).ok()?;
    (message(id) == octets).then_some(id)
}

/// For the search index: a message's text is which it is.
fn texts(_: u64, octets: &Octets<'_>, grams: &mut Grams) -> Result<(), Error> {
    grams.begin();
    grams.push(&String::from_utf8_lossy(&octets(0, 16)?));
    Ok(())
}

/// Not a test of its own: what the child does. In the ordinary run of tests it ends at once.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let store = Store::open(Path::new(&dir), options()).unwrap();
    store.keep_index(texts).unwrap();
    let account = store
        .accounts()
        .find("me@gatepost.test")
        .unwrap()
        .unwrap()
        .id;
    let seed = u64::from(std::process::id()) << 32;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || work(store, account, seed | thread << 24));
        }
    });
}

/// Delivers until killed; says what was acknowledged. Of every eight messages one is removed again, one marked and expunged, one
/// moved, one copied; every ninth of the others is flagged.
fn work(store: &Store, account: AccountId, first: u64) {
    for id in first.. {
        let mut incoming = store.incoming().unwrap();
        incoming.write(&message(id)).unwrap();
        let to = vec![
            delivery(account, "INBOX", Flags::default()),
            delivery(account, "Archive", Flags::default()),
        ];
        let placed = wait(|done| store.deliver(incoming, to, done)).unwrap();
        say(&format!("kept {id} {} {}", placed[0].uid, placed[1].uid));
        change(store, account, id, (placed[0].mailbox, placed[0].uid));
    }
}

/// What is done to a message in INBOX.
fn change(store: &Store, account: AccountId, id: u64, (inbox, uid): (MailboxId, u32)) {
    let other = || (account, OTHER.to_owned());
    match id % 8 {
        0 => {
            say(&format!("removing {id}"));
            wait(|done| store.remove(inbox, vec![uid], done)).unwrap();
            say(&format!("removed {id}"));
        }
        1 => {
            say(&format!("removing {id}"));
            let mark = FlagChange::Add(Flags {
                deleted: true,
                ..Flags::default()
            });
            wait(|done| store.store_flags(inbox, vec![uid], mark, None, done)).unwrap();
            let gone = wait(|done| store.expunge(inbox, Some(vec![uid]), done)).unwrap();
            assert_eq!(gone, [uid]);
            say(&format!("removed {id}"));
        }
        2 => {
            say(&format!("moving {id}"));
            let moved = wait(|done| store.copy(inbox, vec![uid], other(), true, done)).unwrap();
            say(&format!("moved {id} {}", moved.uids[0].1));
        }
        3 => {
            say(&format!("copying {id}"));
            let copied = wait(|done| store.copy(inbox, vec![uid], other(), false, done)).unwrap();
            say(&format!("copied {id} {}", copied.uids[0].1));
        }
        _ if id.is_multiple_of(9) => {
            let change = FlagChange::Add(flags(true, false, &["Crash"]));
            wait(|done| store.store_flags(inbox, vec![uid], change, None, done)).unwrap();
            say(&format!("flagged {id}"));
        }
        _ => {}
    }
}

/// One line, in one write.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n#{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the store must hold of a message.
#[derive(Debug, Default, Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a line the child said or did not say"
)]
struct Promise {
    inbox: u32,
    archive: u32,
    removing: bool,
    removed: bool,
    flagged: bool,
    /// A MOVE was begun.
    moving: bool,
    /// A COPY was begun.
    copying: bool,
    /// The UID the copy was acknowledged with, or the message that was moved.
    other: Option<u32>,
}

#[test]
fn nothing_acknowledged_is_lost() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let rounds = std::env::var("GATEPOST_CRASH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(40);
    let mut promises = 0;
    let mut folder = tempfile::tempdir().unwrap();
    let mut made: HashMap<u64, Promise> = HashMap::new();
    for round in 0_u64..rounds {
        // Anew now and then: the check reads everything, and the first start is to be killed too.
        if round % 20 == 0 {
            folder = tempfile::tempdir().unwrap();
            made.clear();
            let store = Store::open(folder.path(), options()).unwrap();
            store
                .accounts()
                .add("me@gatepost.test", &credential(), None)
                .unwrap();
        }
        // Unevenly over a twelfth of a second, beginning while the child opens the store.
        run_and_kill(
            folder.path(),
            Duration::from_micros(round * 7_919 % 80_000),
            &mut made,
        );
        check(folder.path(), &made).unwrap_or_else(|error| panic!("round {round}: {error}"));
        promises = promises.max(made.len());
    }
    assert!(promises > 10, "the load was no load: {promises} messages");
}

fn run_and_kill(dir: &Path, after: Duration, made: &mut HashMap<u64, Promise>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = channel();
    let reader = std::thread::spawn(move || {
        for line in out.split(b'\n') {
            let Ok(line) = line else { break };
            let _ = sender.send(String::from_utf8(line).unwrap());
        }
    });
    kill_after(&mut child, after);
    reader.join().unwrap();
    for line in receiver {
        note(&line, made);
    }
}

fn kill_after(child: &mut Child, after: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < after {
        std::thread::sleep(Duration::from_micros(200));
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child ended by itself"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn note(line: &str, made: &mut HashMap<u64, Promise>) {
    let mut words = line.split(' ');
    let (Some(word), Some(id)) = (
        words.next(),
        words.next().and_then(|word| word.parse().ok()),
    ) else {
        return;
    };
    let mut number = || words.next().and_then(|word| word.parse().ok());
    match word {
        "#kept" => {
            // A line torn by the kill has no second number: it was not acknowledged to anybody.
            if let (Some(inbox), Some(archive)) = (number(), number()) {
                let promise = Promise {
                    inbox,
                    archive,
                    ..Promise::default()
                };
                assert!(
                    made.insert(id, promise).is_none(),
                    "message {id} acknowledged twice"
                );
            }
        }
        "#removing" => made.get_mut(&id).unwrap().removing = true,
        "#removed" => made.get_mut(&id).unwrap().removed = true,
        "#flagged" => made.get_mut(&id).unwrap().flagged = true,
        "#moving" => made.get_mut(&id).unwrap().moving = true,
        "#copying" => made.get_mut(&id).unwrap().copying = true,
        "#moved" | "#copied" => made.get_mut(&id).unwrap().other = number(),
        _ => {}
    }
}

fn check(dir: &Path, made: &HashMap<u64, Promise>) -> Result<(), String> {
    let store = Store::open(dir, options()).map_err(|error| format!("does not open: {error}"))?;
    let account = store
        .accounts()
        .find("me@gatepost.test")
        .unwrap()
        .unwrap()
        .id;
    let (inbox, archive, other) = (
        contents(&store, account, "INBOX")?,
        contents(&store, account, "Archive")?,
        contents(&store, account, OTHER)?,
    );
    for (id, promise) in made {
        if archive.get(id).map(|found| found.0) != Some(promise.archive) {
            return Err(format!("message {id} is not in Archive"));
        }
        match inbox.get(id) {
            Some(_) if promise.removed => return Err(format!("message {id} came back")),
            Some((uid, _)) if *uid != promise.inbox => {
                return Err(format!("message {id} has another UID"));
            }
            Some((_, seen)) if promise.flagged && !seen => {
                return Err(format!("message {id} lost its flag"));
            }
            None if !promise.removing && !promise.moving => {
                return Err(format!("message {id} is lost"));
            }
            _ => {}
        }
        let (here, there) = (inbox.contains_key(id), other.get(id).map(|found| found.0));
        check_other(promise, here, there).map_err(|fault| format!("message {id} {fault}"))?;
    }
    check_index(&store, account, &archive)?;
    check_sums(&store, account)?;
    drop(store);
    let report = gatepost_store::check(dir, false, &mut |_, _| {})
        .map_err(|error| format!("no check: {error}"))?;
    match report.findings.iter().find(|it| !it.finding.is_harmless()) {
        Some(found) => Err(found.finding.to_string()),
        None => Ok(()),
    }
}

/// The search index names every message by what it says it is.
fn check_index(
    store: &Store,
    account: AccountId,
    archive: &HashMap<u64, (u32, bool)>,
) -> Result<(), String> {
    let (mailbox, _) = store.select(account, "Archive").unwrap();
    for (id, (uid, _)) in archive.iter().take(50) {
        let hint = Hint::text(&format!("{id:016x}"));
        let named = store.candidates(mailbox, &hint).unwrap();
        if named.is_some_and(|named| !named.contains(uid)) {
            return Err(format!("a search would not find message {id}"));
        }
    }
    Ok(())
}

/// A move or a copy was made or was not, and was made when it was acknowledged.
fn check_other(promise: &Promise, here: bool, there: Option<u32>) -> Result<(), &'static str> {
    if promise.other.is_some() && there != promise.other {
        return Err("is not where it was put");
    }
    if there.is_some() && !promise.moving && !promise.copying {
        return Err("is where nobody put it");
    }
    if promise.moving && here == there.is_some() {
        return Err("is in both places, or in none");
    }
    Ok(())
}

/// All messages of a mailbox by what they say they are, with UID and `\Seen`; each once and whole.
fn contents(
    store: &Store,
    account: AccountId,
    name: &str,
) -> Result<HashMap<u64, (u32, bool)>, String> {
    let (mailbox, _) = store.select(account, name).unwrap();
    let mut found = HashMap::new();
    for message in store.all(mailbox).unwrap() {
        let octets = read(store, mailbox, message.uid)
            .map_err(|error| format!("UID {}: {error}", message.uid))?;
        let id = identify(&octets)
            .ok_or_else(|| format!("UID {} of {name} is not whole", message.uid))?;
        if found
            .insert(id, (message.uid, message.flags.seen))
            .is_some()
        {
            return Err(format!("message {id} is in {name} twice"));
        }
    }
    Ok(found)
}

fn read(store: &Store, mailbox: MailboxId, uid: u32) -> Result<Vec<u8>, Error> {
    content(store, mailbox, uid)
}

/// The sums kept beside the messages fit the messages.
fn check_sums(store: &Store, account: AccountId) -> Result<(), String> {
    for name in ["INBOX", "Archive", OTHER] {
        let (mailbox, _) = store.select(account, name).unwrap();
        let all = store.all(mailbox).unwrap();
        let status = store.status(account, name).unwrap();
        let size: u64 = all.iter().map(|message| message.size).sum();
        let unseen = all.iter().filter(|message| !message.flags.seen).count();
        let last = all.last().map_or(0, |message| message.uid);
        if (
            status.messages as usize,
            status.unseen as usize,
            status.size,
        ) != (all.len(), unseen, size)
            || status.uidnext <= last
        {
            return Err(format!("the sums of {name} are wrong: {status:?}"));
        }
    }
    Ok(())
}
