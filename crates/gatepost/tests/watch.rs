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
