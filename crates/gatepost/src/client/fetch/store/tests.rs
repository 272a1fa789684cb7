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
            &Unfinished {
                mbox: "INBOX.mbox".into(),
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

#[test]
fn half_a_message_is_taken_out_of_its_own_mbox_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("Work.mbox"), "From x\nwhole\n\nFrom y\nha").unwrap();
    fs::write(path("INBOX.mbox"), "From z\nanother letter\n\n").unwrap();
    let mut state = State::open(folder.path()).unwrap();
    let write = Unfinished {
        mbox: "Work.mbox".into(),
        offset: 14,
        length: 100,
    };
    state.announce("s", "1", &write).unwrap();
    drop(state);
    let open = |stem: &str| {
        let origin = Origin {
            source: stem.into(),
            stem: stem.into(),
        };
        drop(Store::open(Format::Mbox, folder.path(), origin).unwrap());
    };
    open("INBOX.7");
    let kept = fs::read_to_string(path("INBOX.mbox")).unwrap();
    assert_eq!(kept, "From z\nanother letter\n\n");
    open("Work.7");
    let mended = fs::read_to_string(path("Work.mbox")).unwrap();
    assert_eq!(mended, "From x\nwhole\n\n");
    // What comes into it afterwards stays.
    fs::write(path("Work.mbox"), format!("{mended}From y\nnews\n\n")).unwrap();
    open("Work.7");
    let news = fs::read_to_string(path("Work.mbox")).unwrap();
    assert!(news.ends_with("news\n\n"), "{news}");
}

#[test]
fn a_message_never_takes_the_place_of_another() {
    for format in [Format::Maildir, Format::Eml, Format::Json] {
        let folder = tempfile::tempdir().unwrap();
        let contents: [&[u8]; 4] = [b"one\r\n", b"two\r\n", b"three\r\n", b"one\r\n"];
        // Two accounts, whose servers gave the same numbers; and a server that gives one twice.
        for (content, host) in contents
            .into_iter()
            .zip(["a.test", "b.test", "b.test", "a.test"])
        {
            let origin = Origin {
                source: format!("anna@{host}/INBOX;7"),
                ..origin()
            };
            let mut store = Store::open(format, folder.path(), origin).unwrap();
            put(&mut store, facts("1", &[]), &[content]);
            store.flush().unwrap();
        }
        let place = match format {
            Format::Maildir => folder.path().join("new"),
            _ => folder.path().to_owned(),
        };
        // The same message again is not another.
        assert_eq!(names(&place).len(), 3, "{format:?} {:?}", names(&place));
    }
}

#[test]
fn a_link_in_the_folder_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let inbox = folder.path().join("mail");
    fs::create_dir(&inbox).unwrap();
    for name in [
        format!(".gatepost-{}-1", std::process::id()),
        "INBOX.7.1.eml".into(),
    ] {
        std::os::unix::fs::symlink(&victim, inbox.join(name)).unwrap();
    }
    let mut store = Store::open(Format::Eml, &inbox, origin()).unwrap();
    put(&mut store, facts("1", &[]), &[b"x\r\n"]);
    store.flush().unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::read(inbox.join("INBOX.7.1~1.eml")).unwrap(), b"x\r\n");
}

#[test]
fn what_is_put_together_in_memory_is_bounded() {
    let block = vec![b'x'; 1 << 20];
    let mut incoming = Incoming::in_memory();
    let ended = (0..=MOST_IN_MEMORY >> 20).find_map(|_| incoming.write(&block).err());
    assert!(ended.unwrap().to_string().contains("--output maildir"));
}

#[test]
fn a_message_without_an_end_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(Format::Eml, folder.path(), origin()).unwrap();
    let mut incoming = store.begin().unwrap();
    incoming.octets = MOST_OCTETS - 1;
    incoming.write(b"x").unwrap();
    let ended = incoming.write(b"x").unwrap_err().to_string();
    assert!(ended.contains("does not end"), "{ended}");
}
