//! `gatepost watch` as a user runs it: files in, words and exit codes out.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use gatepost_testkit::capture::{Capture, Speaker};
use serde_json::Value;

/// A submission in clear with a password.
fn leaking() -> Vec<u8> {
    let mut capture = Capture::new();
    let mut call = capture.call(587);
    for (speaker, text) in [
        (Speaker::Server, "220 mx.example.org ESMTP\r\n"),
        (Speaker::Client, "EHLO client.example.net\r\n"),
        (
            Speaker::Server,
            "250-mx.example.org\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
        ),
        (
            Speaker::Client,
            "AUTH PLAIN AGFubmFAZXhhbXBsZS5vcmcAcGVuY2ls\r\n",
        ),
        (Speaker::Server, "235 ok\r\n"),
    ] {
        capture.say(&mut call, speaker, text.as_bytes());
    }
    capture.close(&mut call);
    capture.to_pcap()
}

fn quiet() -> Vec<u8> {
    let mut capture = Capture::new();
    let mut call = capture.call(80);
    capture.say(&mut call, Speaker::Client, b"GET / HTTP/1.1\r\n\r\n");
    capture.say(&mut call, Speaker::Server, b"HTTP/1.1 200 ok\r\n\r\n");
    capture.close(&mut call);
    capture.to_pcap()
}

fn watch(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .arg("watch")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("leak.pcap"), leaking()).unwrap();
    std::fs::write(folder.path().join("quiet.pcap"), quiet()).unwrap();
    folder
}

#[test]
fn objects_of_three_kinds_and_exit_code_1() {
    let folder = folder();
    let output = watch(&["leak.pcap", "--json"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let objects = objects(&output);
    let kinds: Vec<&str> = objects
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["finding", "finding", "session", "summary"]);
    let login = objects.iter().find(|it| it["id"] == "W101").unwrap();
    assert_eq!(login["severity"], "critical");
    assert_eq!(
        (&login["session"], &login["packet"], &login["offset"]),
        (&0.into(), &7.into(), &25.into())
    );
    assert_eq!(login["login"]["result"], "accepted");
    assert_eq!(login["login"]["user"]["domain"], "example.org");
    assert_eq!(objects[2]["protocol"], "smtp");
    assert_eq!(objects[2]["outcome"], "Clear");
    assert_eq!(objects[2]["tls"], Value::Null);
    // [SUBM-07] who still uses clear text
    assert_eq!(objects[3]["clear_clients"][0]["client"], "192.0.2.1");
}

#[test]
fn nothing_found_is_exit_code_0() {
    let folder = folder();
    let output = watch(&["quiet.pcap"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = watch(&["quiet.pcap", "leak.pcap"], folder.path());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_cannot_be_read_is_exit_code_3() {
    let folder = folder();
    std::fs::write(folder.path().join("text.pcap"), b"no capture at all").unwrap();
    let output = watch(&["text.pcap"], folder.path());
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a capture file"));
    assert_eq!(
        watch(&["absent.pcap"], folder.path()).status.code(),
        Some(3)
    );
    assert_eq!(watch(&[], folder.path()).status.code(), Some(2));
}

#[test]
fn compressed_captures_standard_input_and_folders() {
    let folder = folder();
    let path = folder.path();
    std::fs::create_dir(path.join("more")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&leaking()).unwrap();
    std::fs::write(path.join("more/a.pcap.gz"), packed.finish().unwrap()).unwrap();
    let packed = ruzstd::encoding::compress_to_vec(
        &leaking()[..],
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    std::fs::write(path.join("more/b.pcap.zst"), packed).unwrap();
    std::fs::write(path.join("more/notes.txt"), b"not looked at").unwrap();
    let output = watch(&["more", "--json"], path);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let logins = objects(&output)
        .iter()
        .filter(|it| it["id"] == "W101")
        .count();
    assert_eq!(logins, 2);
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["watch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&leaking()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("W101") && text.contains("Clear"), "{text}");
}

#[test]
fn names_are_hashed_the_same_with_a_kept_key() {
    let folder = folder();
    let hash = |output: &Output| {
        let objects = objects(output);
        let login = objects
            .iter()
            .find(|it| it["id"] == "W101")
            .unwrap()
            .clone();
        login["login"]["user"]["hash"].as_str().unwrap().to_owned()
    };
    let kept = ["leak.pcap", "--json", "--key-file", "key"];
    let first = hash(&watch(&kept, folder.path()));
    assert_eq!(first, hash(&watch(&kept, folder.path())));
    assert_ne!(first, hash(&watch(&["leak.pcap", "--json"], folder.path())));
    let output = watch(&["leak.pcap", "--json", "--reveal-users"], folder.path());
    assert!(String::from_utf8_lossy(&output.stdout).contains("anna@example.org"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("pencil"));
}

#[test]
fn logs_and_captures_together() {
    let folder = folder();
    let log = "Nov 26 18:00:00 mx dovecot: imap-login: Login: user=<anna@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=5, session=<abc>\n";
    std::fs::write(folder.path().join("mail.log"), log).unwrap();
    let output = watch(
        &["--json", "--log", "mail.log", "quiet.pcap"],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let objects = objects(&output);
    let login = objects.iter().find(|it| it["id"] == "W102").unwrap();
    assert_eq!(
        (&login["line"], &login["file"]),
        (&1.into(), &"mail.log".into())
    );
    assert!(login.get("packet").is_none());
    assert_eq!(objects.last().unwrap()["sessions"]["imap"]["Clear"], 1);
}

#[test]
fn reports_in_files() {
    let folder = folder();
    let output = watch(
        &[
            "leak.pcap",
            "--metrics",
            "m.txt",
            "--html",
            "p.html",
            "--evidence",
            "e.pcap",
            "--state",
            "s.json",
        ],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let metrics = String::from_utf8(read("m.txt")).unwrap();
    assert!(metrics.contains("gatepost_watch_findings_total{id=\"W101\",severity=\"critical\"} 1"));
    assert!(metrics.ends_with("# EOF\n"));
    let page = String::from_utf8(read("p.html")).unwrap();
    assert!(page.contains("W101") && page.contains("<svg"), "{page}");
    let state: Value = serde_json::from_slice(&read("s.json")).unwrap();
    assert_eq!(state["servers"][0]["offered"], 1);
    // The evidence has the same packets without what was said.
    let evidence = read("e.pcap");
    assert_eq!(evidence.len(), leaking().len());
    assert!(!evidence.windows(20).any(|it| it == b"AGFubmFAZXhhbXBsZS5v"));
    assert!(evidence.windows(10).any(|it| it == b"AUTH PLAIN"));
    let output = watch(
        &["--json", "--compare", "e.pcap", "leak.pcap"],
        folder.path(),
    );
    let told = objects(&output);
    assert!(told.iter().any(|it| it["id"] == "W307"), "{told:?}");
    let output = watch(
        &["--json", "--compare", "leak.pcap", "leak.pcap"],
        folder.path(),
    );
    assert!(objects(&output).iter().all(|it| it["id"] != "W307"));
}

#[test]
fn a_file_that_grows_is_read_as_it_grows() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let folder = folder();
    let file = leaking();
    let path = folder.path().join("grows.pcap");
    std::fs::write(&path, &file[..file.len() / 2]).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["watch", "--json", "--follow", "--seconds", "120"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut it| it.write_all(&file[file.len() / 2..]))
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.find(|it| it.as_ref().is_ok_and(|it| it.contains("\"W101\"")));
    assert!(told.is_some());
    let pid = i32::try_from(child.id()).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(lines.any(|it| it.is_ok_and(|it| it.contains("\"summary\""))));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// Needs `CAP_NET_RAW`; says so and is skipped where that is missing.
#[test]
fn an_interface_is_watched_live() {
    use std::io::{BufRead as _, BufReader};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args([
            "watch",
            "-i",
            "lo",
            "--json",
            "--seconds",
            "120",
            "--port",
            &port.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = told.find(|it| it.as_ref().is_ok_and(|it| it.starts_with("gatepost: ")));
    let first = first.unwrap().unwrap();
    if first.contains("CAP_NET_RAW") {
        eprintln!("skipped: {first}");
        assert_eq!(child.wait().unwrap().code(), Some(3));
        return;
    }
    assert_eq!(first, "gatepost: watching lo");
    // One who listens on the loopback of a busy machine hears only this port.
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mx ESMTP\r\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for reply in ["250-mx\r\n250 AUTH PLAIN\r\n", "235 ok\r\n"] {
            lines.next().unwrap().unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut replies = BufReader::new(client.try_clone().unwrap()).lines();
    replies.next();
    client.write_all(b"EHLO c\r\n").unwrap();
    replies.next();
    replies.next();
    client
        .write_all(b"AUTH PLAIN AGFubmEAcGVuY2ls\r\n")
        .unwrap();
    replies.next();
    drop((client, replies));
    server.join().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.find(|it| it.as_ref().is_ok_and(|it| it.contains("\"W101\"")));
    assert!(found.unwrap().unwrap().contains("accepted"));
    let pid = i32::try_from(child.id()).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(lines.any(|it| it.is_ok_and(|it| it.contains("\"summary\""))));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
