use super::*;

const DAY: &str = "26-Nov-2026 13:05:07 +0000";

fn origin() -> Origin {
    Origin {
        source: "anna@h.test/INBOX;7".into(),
        stem: "INBOX.7".into(),
    }
}

fn facts(id: &str, flags: &[&str]) -> Facts {
    Facts {
        id: id.into(),
        flags: flags.iter().map(|it| (*it).to_owned()).collect(),
        date: date::from_imap(DAY),
    }
}

fn put(store: &mut Store, facts: Facts, pieces: &[&[u8]]) {
    let mut incoming = store.begin().unwrap();
    for piece in pieces {
        incoming.write(piece).unwrap();
    }
    store.keep(incoming, facts).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != super::super::state::NAME)
        .collect();
    names.sort();
    names
}

#[test]
fn what_breaks_off_is_never_stored() {
    // [TLS-CLOSE-01]
    for format in [Format::Maildir, Format::Mbox, Format::Eml, Format::Json] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(format, folder.path(), origin()).unwrap();
        let mut incoming = store.begin().unwrap();
        incoming.write(b"Subject: half a mess").unwrap();
        drop(incoming);
        assert!(store.flush().unwrap().is_empty());
        assert!(!store.knows("1"));
        let parts = if format == Format::Maildir {
            vec!["new", "cur", "tmp"]
        } else {
            vec![""]
        };
        for part in parts {
            let left = names(&folder.path().join(part));
            assert!(left.is_empty(), "{format:?} {part} {left:?}");
        }
    }
}

#[test]
fn nothing_is_stored_twice() {
    for format in [Format::Maildir, Format::Mbox, Format::Eml, Format::Json] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(format, folder.path(), origin()).unwrap();
        put(
            &mut store,
            facts("12", &[]),
            &[b"Subject: x\r\n\r\n", b"Hello.\r\n"],
        );
        assert!(store.knows("12"));
        assert_eq!(store.flush().unwrap(), ["12"]);
        drop(store);
        let store = Store::open(format, folder.path(), origin()).unwrap();
        assert!(store.knows("12") && !store.knows("13"), "{format:?}");
    }
}

#[test]
fn a_run_that_died_before_its_note_does_not_store_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(Format::Maildir, folder.path(), origin()).unwrap();
    put(&mut store, facts("1", &[]), &[b"a\r\n"]);
    store.flush().unwrap();
    drop(store);
    // The note is lost, and a mail program has moved the message.
    fs::remove_file(folder.path().join(super::super::state::NAME)).unwrap();
    let name = "1795698307.INBOX.7.1.gatepost";
    let moved = format!("{name}:2,FS");
    fs::rename(
        folder.path().join("new").join(name),
        folder.path().join("cur").join(&moved),
    )
    .unwrap();
    let mut store = Store::open(Format::Maildir, folder.path(), origin()).unwrap();
    put(&mut store, facts("1", &[]), &[b"a\r\n"]);
    store.flush().unwrap();
    assert_eq!(names(&folder.path().join("cur")), [moved]);
    assert!(names(&folder.path().join("new")).is_empty());
}

#[test]
fn one_file_a_message_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(Format::Eml, folder.path(), origin()).unwrap();
    let content = b"Subject: x\r\n\r\nbare\rcr \0 and\nlf\r\n";
    put(
        &mut store,
        facts("12", &[]),
        &[&content[..5], &content[5..]],
    );
    store.flush().unwrap();
    let path = folder.path().join("INBOX.7.12.eml");
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(
        fs::metadata(&path).unwrap().modified().ok(),
        date::from_imap(DAY)
    );
}

#[test]
fn maildir_keeps_flags_and_dates() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(Format::Maildir, folder.path(), origin()).unwrap();
    put(&mut store, facts("1", &[]), &[b"a\r", b"\nb\r\n"]);
    put(
        &mut store,
        facts("2", &["\\Seen", "\\answered", "\\Recent"]),
        &[b"a\rb\r"],
    );
    store.flush().unwrap();
    assert_eq!(
        names(&folder.path().join("new")),
        ["1795698307.INBOX.7.1.gatepost"]
    );
    assert_eq!(
        names(&folder.path().join("cur")),
        ["1795698307.INBOX.7.2.gatepost:2,RS"]
    );
    assert!(names(&folder.path().join("tmp")).is_empty());
    let new = folder.path().join("new/1795698307.INBOX.7.1.gatepost");
    assert_eq!(fs::read(&new).unwrap(), b"a\nb\n");
    assert_eq!(
        fs::metadata(&new).unwrap().modified().ok(),
        date::from_imap(DAY)
    );
    let cur = folder.path().join("cur/1795698307.INBOX.7.2.gatepost:2,RS");
    assert_eq!(fs::read(cur).unwrap(), b"a\rb\r");
}

#[test]
fn an_mbox_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(Format::Mbox, folder.path(), origin()).unwrap();
    put(
        &mut store,
        facts("1", &[]),
        &[b"Subject: x\r\n\r\nFrom here\r\n>From there\r\nend"],
    );
    put(
        &mut store,
        facts("2", &["\\Seen"]),
        &[b"Subject: y\r\n\r\n"],
    );
    store.flush().unwrap();
    let expected = "From MAILER-DAEMON Thu Nov 26 13:05:07 2026\nSubject: x\n\n>From here\n>>From there\nend\n\n\
                    From MAILER-DAEMON Thu Nov 26 13:05:07 2026\nStatus: RO\nSubject: y\n\n\n";
    assert_eq!(
        fs::read_to_string(folder.path().join("INBOX.mbox")).unwrap(),
        expected
    );
}

#[test]
fn half_a_message_in_an_mbox_is_taken_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let mbox = folder.path().join("INBOX.mbox");
    fs::write(&mbox, "From x\nwhole\n\nFrom y\nha").unwrap();
    let mut state = State::open(folder.path()).unwrap();
    state
        .announce(
            "s",
            "1",
            Unfinished {
                offset: 14,
                length: 100,
            },
        )
        .unwrap();
    drop(state);
    drop(Store::open(Format::Mbox, folder.path(), origin()).unwrap());
    assert_eq!(fs::read_to_string(&mbox).unwrap(), "From x\nwhole\n\n");
}

#[test]
fn names_of_the_server_do_not_leave_the_folder() {
    assert_eq!(plain("../../etc/passwd"), "%2e%2e%2f%2e%2e%2fetc%2fpasswd");
    assert_eq!(plain("a\0b"), "a%00b");
    let (long, other) = ("x".repeat(300), "x".repeat(301));
    assert!(plain(&long).len() < 110 && plain(&long) != plain(&other));
}
