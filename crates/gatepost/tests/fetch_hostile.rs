//! `fetch` and `send` against a scripted server that hands out what was not asked for: no letter is lost, doubled or invented, and
//! nothing is said that the user's pins forbid.
//!
//! The server is in clear on loopback: what it does here, a verified one could do as well.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A server for one connection. `answer` gives what is said to a line, `{tag}` being its first word.
fn server(greeting: &'static str, answer: fn(&str) -> String) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (said, heard) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        let _ = stream.write_all(greeting.as_bytes());
        let lines = BufReader::new(TcpStream::try_clone(&stream).unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let tag = line.split(' ').next().unwrap_or_default();
            let reply = answer(&line).replace("{tag}", tag);
            if said.send(line).is_err() || stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    });
    (port, heard)
}

fn gatepost(folder: &Path, words: &[&str]) -> Output {
    fs::write(folder.join("password"), "correct-horse-9").unwrap();
    Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .env_clear()
        .env("XDG_CONFIG_HOME", folder.join("home"))
        .stdin(Stdio::null())
        .current_dir(folder)
        .args(words)
        .output()
        .unwrap()
}

fn fetch(folder: &TempDir, scheme: &str, port: u16, more: &[&str]) -> Output {
    let url = format!("{scheme}://localhost:{port}");
    let words = [
        "fetch",
        &url,
        "--tls",
        "off",
        "--user",
        "anna",
        "--password-file",
        "password",
        "--output",
        "eml",
        "--to",
        "out",
    ];
    gatepost(folder.path(), &[&words[..], more].concat())
}

fn stored(folder: &TempDir) -> Vec<(String, String)> {
    let files = fs::read_dir(folder.path().join("out")).unwrap();
    let paths = files.map(|it| it.unwrap().path());
    let mut stored: Vec<(String, String)> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "eml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    stored.sort();
    stored
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// An IMAP server with two messages, of which `fetched` is what it hands out.
fn imap(line: &str, fetched: &str) -> String {
    let has = |word: &str| line.contains(word);
    let data = if has("CAPABILITY") {
        "* CAPABILITY IMAP4rev1 UIDPLUS\r\n"
    } else if has("EXAMINE") || has("SELECT") {
        "* 1 FETCH (UID 5 BODY[] {6}\r\nsneaky)\r\n* OK [UIDVALIDITY 7] x\r\n"
    } else if has("UID SEARCH") {
        "* SEARCH 1 2\r\n"
    } else if has("UID FETCH") {
        fetched
    } else {
        ""
    };
    format!("{data}{{tag}} OK done\r\n")
}

#[test]
fn only_what_was_asked_for_is_stored_and_once() {
    let answer = |line: &str| {
        imap(
            line,
            "* 1 FETCH (UID 99 BODY[] {7}\r\nunasked)\r\n* 1 FETCH (UID 1 BODY[HEADER] {4}\r\nhead BODY[] {5}\r\nwhole BODY[TEXT] {4}\r\ntext)\r\n\
             * 1 FETCH (UID 1 BODY[] {5}\r\nagain)\r\n* 2 FETCH (UID 2 BODY[TEXT] {4}\r\npart)\r\n",
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let (port, _heard) = server("* OK x\r\n", answer);
    let output = fetch(&folder, "imap", port, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let whole = ("INBOX.7.1.eml".to_owned(), "whole".to_owned());
    assert_eq!(stored(&folder), [whole]);
    // One document, and no message that came unasked among it.
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["stored"], 1);
}

#[test]
fn a_message_without_content_is_neither_stored_nor_removed() {
    let answer = |line: &str| {
        imap(
            line,
            "* 1 FETCH (UID 1 FLAGS () BODY[] NIL)\r\n* 2 FETCH (UID 2 BODY[] {3}\r\ntwo)\r\n",
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let (port, heard) = server("* OK x\r\n", answer);
    let output = fetch(&folder, "imap", port, &["--delete"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(stored(&folder), [("INBOX.7.2.eml".into(), "two".into())]);
    let said: Vec<String> = heard.into_iter().collect();
    let expunged = said.iter().find(|line| line.contains("UID EXPUNGE"));
    assert!(expunged.unwrap().ends_with(" EXPUNGE 2"), "{said:?}");
}

#[test]
fn a_login_that_is_put_off_is_not_the_passwords_fault() {
    let answer = |line: &str| {
        if line.contains("LOGIN") {
            return "{tag} NO [UNAVAILABLE] later\r\n".to_owned();
        }
        imap(line, "")
    };
    let folder = tempfile::tempdir().unwrap();
    let (port, _heard) = server("* OK x\r\n", answer);
    let output = fetch(&folder, "imap", port, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(
        text(&output).contains("cannot judge logins now"),
        "{}",
        text(&output)
    );
    assert!(
        text(&output).contains("next: try again later"),
        "{}",
        text(&output)
    );
}

#[test]
fn words_without_an_end_end() {
    let answer = |line: &str| {
        let tagged = imap(line, "");
        if line.contains("EXAMINE") || line.contains("SELECT") {
            "* 1 EXISTS\r\n".repeat(200_000)
        } else {
            tagged
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let (port, _heard) = server("* OK x\r\n", answer);
    let output = fetch(&folder, "imap", port, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("without an end"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_search_that_finds_too_much_is_refused() {
    let answer = |line: &str| {
        if line.contains("UID SEARCH") {
            return "* ESEARCH (TAG \"x\") UID ALL 1:1500000\r\n".repeat(2) + "{tag} OK\r\n";
        }
        imap(line, "")
    };
    let folder = tempfile::tempdir().unwrap();
    let (port, _heard) = server("* OK x\r\n", answer);
    let output = fetch(&folder, "imap", port, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("E-TOO-MUCH"), "{}", text(&output));
}

#[test]
fn two_messages_of_one_unique_id_are_two_messages() {
    let answer = |line: &str| {
        let reply = match line {
            "CAPA" => "+OK\r\nUIDL\r\nUSER\r\n.\r\n",
            "UIDL" => "+OK\r\n1 a\r\n2 a\r\n.\r\n",
            "RETR 1" => "+OK\r\none\r\n.\r\n",
            "RETR 2" => "+OK\r\ntwo\r\n.\r\n",
            _ => "+OK\r\n",
        };
        reply.to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    let (port, _heard) = server("+OK x\r\n", answer);
    let output = fetch(&folder, "pop3", port, &["--delete"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let one = ("anna.pop3.a.eml".to_owned(), "one\r\n".to_owned());
    let two = ("anna.pop3.a~1.eml".to_owned(), "two\r\n".to_owned());
    assert_eq!(stored(&folder), [one, two]);
}

#[test]
fn nothing_goes_on_without_the_pins() {
    // [CONF-12] [PIN-02]
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("message"), "Hello.").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pin = format!("sha256-spki:{}", "00".repeat(32));
    let url = format!("smtp://localhost:{port}");
    let envelope = ["--from", "a@b.test", "--to", "c@d.test", "message"];
    let send = ["send", "--server", &url];
    let refused = |words: &[&str]| {
        let output = gatepost(folder.path(), words);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            text(&output)
        );
        assert!(text(&output).contains("without them"), "{}", text(&output));
    };
    let given = ["--tls", "opportunistic", "--pin", &pin];
    refused(&[&send[..], &envelope, &given].concat());
    let home = folder.path().join("home/gatepost");
    fs::create_dir_all(&home).unwrap();
    fs::write(
        home.join("pins"),
        format!("localhost:{port} {pin} no-backup\n"),
    )
    .unwrap();
    for more in [
        ["--tls", "off"],
        ["--tls", "opportunistic"],
        ["--verify", "none"],
    ] {
        let more = [&more[..], &["--tls", "starttls"]].concat();
        let more = if more[0] == "--tls" {
            &more[..2]
        } else {
            &more
        };
        refused(&[&send[..], &envelope, more].concat());
        refused(&[&["connect", &url, "--quit"], more].concat());
    }
    // Nobody was even connected to.
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn a_verdict_that_does_not_come_is_told_as_one() {
    let answer = |line: &str| {
        let reply = match line.split(' ').next() {
            Some("EHLO") => "250 mx\r\n",
            Some("MAIL" | "RCPT") => "250 ok\r\n",
            Some("DATA") => "354 go\r\n",
            // Cut in the middle of the verdict: the thread ends.
            Some(".") => panic!("the server stops"),
            _ => "",
        };
        reply.to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("message"), "Hello.").unwrap();
    let (port, _heard) = server("220 mx\r\n", answer);
    let url = format!("smtp://localhost:{port}");
    let words = [
        "send", "--server", &url, "--tls", "off", "--from", "a@b.test", "--to", "c@d.test",
        "message",
    ];
    let output = gatepost(folder.path(), &words);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(
        text(&output).contains("delivered twice"),
        "{}",
        text(&output)
    );
}

#[test]
fn results_that_nobody_takes_are_a_failure_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["pin", "show", "--json"][..],
        &["config", "sample"],
        &["config", "explain", "starttls"],
        &["check", "--explain", "STLS-001"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .env_clear()
            .env("XDG_CONFIG_HOME", folder.path())
            .args(words)
            .stdout(full.unwrap())
            .output()
            .unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{words:?}: {said}");
        assert!(said.contains("could not be written"), "{words:?}: {said}");
        assert!(!said.contains("panic"), "{words:?}: {said}");
    }
}
