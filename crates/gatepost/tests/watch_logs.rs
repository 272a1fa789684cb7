//! `gatepost watch --log` over time: logs that are rotated, emptied, compressed, read in more than one run; the journal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn login(name: &str) -> String {
    format!(
        "Nov 26 18:00:00 mx dovecot: imap-login: Login: user=<{name}@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=5, session=<abc>\n"
    )
}

fn command(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command
        .args(["watch", "--json", "--reveal-users"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn watch(arguments: &[&str], folder: &Path) -> Output {
    command(arguments, folder).output().unwrap()
}

/// Whose logins were told, and from which file.
fn told(output: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let objects = text
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap());
    objects.filter_map(|it| named(&it)).collect()
}

fn named(it: &Value) -> Option<(String, String)> {
    let name = it["login"]["user"]["name"].as_str()?;
    let name = name.strip_suffix("@example.org")?;
    Some((name.to_owned(), it["file"].as_str()?.to_owned()))
}

fn names(output: &Output) -> Vec<String> {
    told(output).into_iter().map(|it| it.0).collect()
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_a_log_was_rotated_into_is_read_first() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("mail.log.2.gz"), compressed(&login("first"))).unwrap();
    std::fs::write(at("mail.log.1"), login("second")).unwrap();
    std::fs::write(at("mail.log"), login("third")).unwrap();
    let output = watch(&["--log", "mail.log", "--rotated"], folder.path());
    let expected = [
        ("first", "./mail.log.2.gz"),
        ("second", "./mail.log.1"),
        ("third", "mail.log"),
    ];
    let expected = expected.map(|(name, file)| (name.to_owned(), file.to_owned()));
    assert_eq!(told(&output), expected);
    let output = watch(&["--log", "mail.log"], folder.path());
    assert_eq!(names(&output), ["third"]);
    // One that is compressed can be named itself.
    let output = watch(&["--log", "mail.log.2.gz"], folder.path());
    assert_eq!(names(&output), ["first"]);
}

#[test]
fn the_next_run_goes_on_where_the_last_one_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("mail.log");
    let moved = folder.path().join("mail.log.1");
    let run = || watch(&["--log", "mail.log", "--resume", "places"], folder.path());
    append(&log, &login("a"));
    assert_eq!(names(&run()), ["a"]);
    assert_eq!(names(&run()), [""; 0]);
    append(&log, &login("b"));
    assert_eq!(names(&run()), ["b"]);
    // A line that is half written is told once it is whole.
    let line = login("c");
    let (begun, rest) = line.split_at(70);
    append(&log, begun);
    assert_eq!(names(&run()), [""; 0]);
    append(&log, rest);
    assert_eq!(names(&run()), ["c"]);
    // Moved away: its rest, then the new one.
    append(&log, &login("d"));
    std::fs::rename(&log, &moved).unwrap();
    append(&log, &login("e"));
    assert_eq!(names(&run()), ["d", "e"]);
    // Twice.
    append(&log, &login("f"));
    std::fs::rename(&moved, folder.path().join("mail.log.2")).unwrap();
    std::fs::rename(&log, &moved).unwrap();
    append(&log, &login("g"));
    assert_eq!(names(&run()), ["f", "g"]);
    // Emptied.
    std::fs::write(&log, "").unwrap();
    assert_eq!(names(&run()), [""; 0]);
    append(&log, &login("h"));
    assert_eq!(names(&run()), ["h"]);
    // Not to be found any more.
    for path in [&moved, &log] {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(folder.path().join("other"), "").unwrap();
    append(&log, &login("i"));
    assert_eq!(names(&run()), ["i"]);
    std::fs::write(folder.path().join("places"), "{}").unwrap();
    assert_eq!(run().status.code(), Some(2));
}

/// A run that goes on, and what it tells.
struct Following {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Following {
    fn start(arguments: &[&str], folder: &Path) -> Self {
        let mut child = command(arguments, folder)
            .args(["--follow", "--seconds", "120"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        let mut objects = self
            .lines
            .by_ref()
            .map(|it| serde_json::from_str::<Value>(&it.unwrap()).unwrap());
        objects.find_map(|it| named(&it)).unwrap().0
    }

    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(
            self.lines
                .any(|it| it.is_ok_and(|it| it.contains("\"summary\"")))
        );
        assert_eq!(self.child.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn logs_are_followed_while_they_are_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let (log, other) = (folder.path().join("mail.log"), folder.path().join("other"));
    append(&log, &login("a"));
    append(&other, "");
    let mut run = Following::start(&["--log", "mail.log", "--log", "other"], folder.path());
    assert_eq!(run.next(), "a");
    append(&other, &login("b"));
    assert_eq!(run.next(), "b");
    // Moved away, with something written to it after that by who had it open.
    let moved = folder.path().join("mail.log.1");
    std::fs::rename(&log, &moved).unwrap();
    append(&moved, &login("c"));
    assert_eq!(run.next(), "c");
    append(&log, &login("d"));
    assert_eq!(run.next(), "d");
    // Emptied.
    std::fs::write(&log, "").unwrap();
    append(&other, &login("e"));
    assert_eq!(run.next(), "e");
    append(&log, &login("f"));
    assert_eq!(run.next(), "f");
    run.stop();
}

#[test]
fn captures_and_logs_are_not_followed_in_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let output = watch(&["x.pcap", "--log", "mail.log", "--follow"], folder.path());
    assert_eq!(output.status.code(), Some(2));
}

/// Needs journalctl and systemd-journal-remote, which makes a journal from text; says so and is skipped where they are missing.
#[test]
fn a_journal_is_read_on_from_its_cursor() {
    const MAKER: &str = "/lib/systemd/systemd-journal-remote";
    let has = |program: &str| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|it| it.status.success())
    };
    if !has(MAKER) || !has("journalctl") {
        eprintln!("skipped: needs journalctl and systemd-journal-remote");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("made")).unwrap();
    let mut time = 1_793_491_200_000_000_u64;
    let mut add = |name: &str| {
        time += 1_000_000;
        let line = login(name);
        let (_, message) = line.trim_end().split_once("dovecot: ").unwrap();
        let entry = format!(
            "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={time}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=mx\nSYSLOG_FACILITY=2\nSYSLOG_IDENTIFIER=dovecot\nMESSAGE={message}\n\n"
        );
        let path = folder.path().join(format!("made/{name}.journal"));
        let mut child = Command::new(MAKER)
            .arg("--output")
            .arg(path)
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(entry.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
    };
    let run = || {
        watch(
            &["--log", "journal:made", "--resume", "places"],
            folder.path(),
        )
    };
    add("a");
    let output = run();
    assert_eq!(names(&output), ["a"], "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(" 1 lines read, 0 of them not"), "{text}");
    assert_eq!(names(&run()), [""; 0]);
    add("b");
    assert_eq!(names(&run()), ["b"]);
    assert_eq!(
        names(&watch(&["--log", "journal:made"], folder.path())),
        ["a", "b"]
    );
    let mut following = Following::start(&["--log", "journal:made"], folder.path());
    assert_eq!(
        (following.next(), following.next()),
        ("a".into(), "b".into())
    );
    add("c");
    assert_eq!(following.next(), "c");
    following.stop();
}

#[test]
fn who_uses_the_decoy() {
    let folder = tempfile::tempdir().unwrap();
    let make = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["canary", "honey", "make", "--domain", "example.org"])
        .args(["--from", "192.0.2.7", "--to", "honey"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(make.status.success(), "{make:?}");
    let facts = std::fs::read(folder.path().join("honey/honey.json")).unwrap();
    let facts: Value = serde_json::from_slice(&facts).unwrap();
    let name = facts["name"].as_str().unwrap();
    let tried = |from: &str| {
        format!(
            "Nov 26 18:00:00 mx dovecot: imap-login: Disconnected: (auth failed, 1 attempts in 2 secs): user=<{name}>, method=PLAIN, rip={from}, lip=198.51.100.1, TLS, session=<abc>\n"
        )
    };
    let log = folder.path().join("log");
    let watch_for = |lines: &str| {
        std::fs::write(&log, lines).unwrap();
        let output = watch(&["--honey", "honey", "--log", "log"], folder.path());
        let text = String::from_utf8(output.stdout).unwrap();
        let found = text.lines().any(|it| it.contains("\"W109\""));
        (output.status.code().unwrap(), found)
    };
    // Shown by ourselves, and then used by somebody.
    assert_eq!(watch_for(&tried("192.0.2.7")), (0, false));
    let both = tried("192.0.2.7") + &tried("203.0.113.9");
    assert_eq!(watch_for(&both), (1, true));
    // A folder that is none.
    let output = watch(&["--honey", ".", "--log", "log"], folder.path());
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn a_log_that_is_not_understood_at_all_is_told_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let watch_for = |lines: &str| {
        std::fs::write(&log, lines).unwrap();
        watch(&["--log", "log"], folder.path()).status.code()
    };
    assert_eq!(watch_for("what\nis this?\n"), Some(3));
    assert_eq!(watch_for(""), Some(0));
    // The log of `gatepost serve` as it is without a word of its format.
    let session =
        "2026-11-26T18:00:00Z smtp 192.0.2.7:4711 Clear messages=1/0 octets=1/2 1.500s quit\n";
    assert_eq!(watch_for(&format!("what\n{session}")), Some(1));
    assert_eq!(watch_for(&session.replace("=1/0", "=0/0")), Some(0));
}
