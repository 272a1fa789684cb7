//! The program against itself: `send` and `fetch` over loopback to `serve`, byte for byte, and what must fail with which exit code.
//! The wider circle (servers of others, servers that lie) is in `tests/interop`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const USER: &str = "anna@gatepost.test";
const PASSWORD: &str = "correct-horse-9";

struct Server {
    folder: TempDir,
    process: Child,
    ports: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gatepost(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("XDG_CONFIG_HOME", folder.join("home"))
        .stdin(Stdio::null())
        .current_dir(folder);
    command
}

/// An offset at which the server's ports are free; the tests of this file never look at the same ones.
fn free_offset() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let free = |offset: &u16| {
        [25, 110, 143, 465, 587, 993, 995]
            .iter()
            .all(|port| TcpListener::bind(("127.0.0.1", offset + port)).is_ok())
    };
    let first = u16::try_from(std::process::id() % 20).unwrap();
    let next = || 11_000 + (first + TAKEN.fetch_add(1, Ordering::Relaxed)) % 20 * 1000;
    std::iter::repeat_with(next)
        .take(20)
        .find(free)
        .expect("no free ports")
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let process = gatepost(folder.path())
            .args([
                "serve",
                "--ready-file",
                "ready",
                "--account",
                USER,
                "--password-file",
                "password",
            ])
            .args(["--port-offset", &free_offset().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            folder,
            process,
            ports: Value::Null,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.ports.is_null() {
            assert!(Instant::now() < deadline, "the server is not ready");
            std::thread::sleep(Duration::from_millis(20));
            let text = fs::read_to_string(server.path("ready")).unwrap_or_default();
            if let Ok(facts) = serde_json::from_str::<Value>(&text) {
                server.ports = facts["ports"].clone();
            }
        }
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, scheme: &str, service: &str) -> String {
        format!("{scheme}://localhost:{}", self.ports[service])
    }

    fn run(&self, words: &[&str]) -> Output {
        gatepost(self.folder.path()).args(words).output().unwrap()
    }

    fn send(&self, url: &str, more: &[&str]) -> Output {
        let words = [
            "send", "--server", url, "--from", USER, "--to", USER, "message",
        ];
        self.run(&[words.as_slice(), more].concat())
    }
}

/// The port of a server that speaks first and in clear.
fn speaks_first() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mx.test ESMTP\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    port
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

const TRUSTED: [&str; 6] = [
    "--ca",
    "gatepost-data/ca.pem",
    "--user",
    USER,
    "--password-file",
    "password",
];

fn message(folder: &Path, number: usize) -> Vec<u8> {
    let content = format!(
        "From: {USER}\r\nTo: {USER}\r\nSubject: {number}\r\nMessage-ID: <{number}@client.test>\r\n\r\n.\r\n..dot\r\nGr\u{fc}\u{df}e {number}\r\n"
    );
    fs::write(folder.join("message"), &content).unwrap();
    content.into_bytes()
}

#[test]
fn what_is_sent_is_fetched_byte_for_byte_and_once() {
    let server = Server::start();
    let ways = [
        ("submission", "submission", "starttls"),
        ("submissions", "submissions", "implicit"),
    ];
    let sent: Vec<Vec<u8>> = ways
        .iter()
        .enumerate()
        .map(|(number, (scheme, service, tls))| {
            let content = message(server.folder.path(), number);
            let url = server.url(scheme, service);
            let output = server.send(&url, &[TRUSTED.as_slice(), &["--tls", tls]].concat());
            assert_eq!(output.status.code(), Some(0), "{}", text(&output));
            assert!(
                text(&output).contains("Verified(PKIX)"),
                "{}",
                text(&output)
            );
            content
        })
        .collect();
    for (scheme, service) in [
        ("imap", "imap"),
        ("imaps", "imaps"),
        ("pop3", "pop3"),
        ("pop3s", "pop3s"),
    ] {
        let url = server.url(scheme, service);
        for _ in 0..2 {
            let words = ["fetch", &url, "--output", "eml", "--to", scheme];
            let output = server.run(&[words.as_slice(), &TRUSTED].concat());
            assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        }
        let files = fs::read_dir(server.path(scheme))
            .unwrap()
            .map(|it| it.unwrap().path());
        let copies: Vec<Vec<u8>> = files
            .filter(|path| path.extension().is_some_and(|it| it == "eml"))
            .map(|path| fs::read(path).unwrap())
            .collect();
        assert_eq!(copies.len(), sent.len(), "{scheme}");
        for content in &sent {
            // The server puts its trace fields before it.
            assert!(
                copies.iter().any(|copy| copy.ends_with(content)),
                "{scheme}"
            );
        }
    }
}

#[test]
fn what_must_fail_fails_and_says_why_without_the_password() {
    let server = Server::start();
    message(server.folder.path(), 0);
    fs::write(server.path("wrong"), "Tr0ub4dor-and-3").unwrap();
    let (starttls, implicit) = (
        server.url("submission", "submission"),
        server.url("submissions", "submissions"),
    );
    let wrong = [
        "--ca",
        "gatepost-data/ca.pem",
        "--user",
        USER,
        "--password-file",
        "wrong",
    ];
    let none = format!("sha256-spki:{}", "0".repeat(64));
    let crossed = format!("submissions://localhost:{}", speaks_first());
    let table: [(&str, Vec<&str>, i32, &str); 8] = [
        (
            &starttls,
            vec!["--user", USER, "--password-file", "wrong"],
            1,
            "E-CERT-UNKNOWN-ISSUER",
        ),
        (
            &starttls,
            [wrong.as_slice(), &["--tls-name", "other.example"]].concat(),
            1,
            "E-CERT-NAME",
        ),
        (
            &implicit,
            [wrong.as_slice(), &["--pin", &none]].concat(),
            1,
            "E-PIN-MISMATCH",
        ),
        (&crossed, wrong.to_vec(), 1, "E-TLS-PLAINTEXT"),
        (&implicit, wrong.to_vec(), 1, "E-LOGIN-REFUSED"),
        ("submission://localhost:1", wrong.to_vec(), 3, "at fault"),
        (
            &implicit,
            vec!["--subject", "x\r\nBcc: e@evil.test", "--body"],
            2,
            "nothing was sent",
        ),
        (
            "smtp://a:Tr0ub4dor-and-3@localhost",
            vec![],
            2,
            "--password-file",
        ),
    ];
    for (url, flags, code, words) in table {
        let output = server.send(url, &flags);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{url} {flags:?}: {said}");
        assert!(said.contains(words), "{url} {flags:?}: {said}");
        assert!(!said.contains("Tr0ub4dor"), "{said}");
    }
}

#[test]
fn json_names_its_schema_and_the_channel_also_when_it_fails() {
    let server = Server::start();
    message(server.folder.path(), 0);
    let url = server.url("submissions", "submissions");
    for (flags, code) in [
        ([TRUSTED.as_slice(), &["--json"]].concat(), 0),
        (vec!["--json"], 1),
    ] {
        let output = server.send(&url, &flags);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["schema"], "gatepost-send-1");
        // [REV-01]
        assert_eq!(document["revocation"], "soft");
        if code == 0 {
            assert_eq!(document["channel"], "Verified(PKIX)");
            assert_eq!(document["recipients"][0]["outcome"], "taken");
        } else {
            assert_eq!(document["error"]["label"], "E-CERT-UNKNOWN-ISSUER");
            assert!(
                document["checks"]
                    .as_array()
                    .is_some_and(|checks| !checks.is_empty())
            );
        }
    }
}

/// What a person types at `connect`, and what is shown.
fn typed(server: &Server, url: &str, more: &[&str], lines: &str) -> String {
    let mut child = gatepost(server.folder.path())
        .args(["connect", url])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    text(&child.wait_with_output().unwrap())
}

#[test]
fn a_mail_is_typed_line_by_line_and_read_again() {
    let server = Server::start();
    let smtp = typed(
        &server,
        &server.url("smtp", "smtp"),
        &["--ca", "gatepost-data/ca.pem"],
        &format!(
            "STARTTLS\nMAIL FROM:<b@b.example>\nRCPT TO:<{USER}>\nDATA\nSubject: typed\n\none\ntwo\n.\nNOOP\n"
        ),
    );
    assert!(smtp.contains("STARTTLS cannot be typed"), "{smtp}");
    assert!(smtp.contains("S: 250 2.0.0 Stored"), "{smtp}");
    assert!(smtp.contains("C: NOOP"), "{smtp}");
    let pop3 = typed(
        &server,
        &server.url("pop3s", "pop3s"),
        &TRUSTED,
        "LIST\nRETR 1\n",
    );
    for shown in ["S: 1 ", "S: Subject: typed", "S: two"] {
        assert!(pop3.contains(shown), "{shown}: {pop3}");
    }
    let imap = typed(
        &server,
        &server.url("imaps", "imaps"),
        &TRUSTED,
        "APPEND INBOX {3}\nSELECT INBOX\nFETCH 1 BODY[TEXT]\n",
    );
    for shown in ["a literal cannot be typed", "S: one", "S: two", "C: ", "OK"] {
        assert!(imap.contains(shown), "{shown}: {imap}");
    }
}

#[test]
fn a_chain_alone_is_no_fault_before_an_authority_of_ones_own() {
    let server = Server::start();
    let lint = |more: &[&str]| {
        let words = [
            "cert",
            "lint",
            "gatepost-data/cert.pem",
            "--severity",
            "warn",
        ];
        let output = server.run(&[&words[..], more].concat());
        (output.status.code(), text(&output))
    };
    let (code, alone) = lint(&[]);
    assert_eq!(code, Some(1), "{alone}");
    assert!(alone.contains("CERT-CHAIN-MISSING"), "{alone}");
    let (code, known) = lint(&["--ca", "gatepost-data/ca.pem"]);
    assert_eq!(code, Some(0), "{known}");
    // Another one vouches for nothing here.
    let another = Server::start();
    let other = another.path("gatepost-data/ca.pem").display().to_string();
    assert_eq!(lint(&["--ca", &other]).0, Some(1));
}
