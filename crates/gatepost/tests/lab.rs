//! `gatepost serve --lab` against our own client: it sends mail to the right server and to no wrong one. And the canaries.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Lab {
    folder: tempfile::TempDir,
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    ready: Value,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gatepost(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command
        .env("XDG_CONFIG_HOME", folder.join("home"))
        .stdin(Stdio::null())
        .current_dir(folder);
    command
}

impl Lab {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("letter.eml"),
            "Subject: x\r\n\r\nhello\r\n",
        )
        .unwrap();
        let mut process = gatepost(folder.path())
            .args(["serve", "--lab", "--lab-port", "0", "--ready-file", "ready"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = loop {
            let text = std::fs::read_to_string(folder.path().join("ready")).unwrap_or_default();
            if let Ok(ready) = serde_json::from_str(&text) {
                break ready;
            }
            assert!(Instant::now() < deadline, "the laboratory is not ready");
            std::thread::sleep(Duration::from_millis(20));
        };
        Self {
            folder,
            process,
            lines,
            ready,
        }
    }

    /// Sends to a server: the exit code.
    fn send(&self, server: &str) -> i32 {
        let host = format!("{server}.lab.gatepost.test");
        let port = &self.ready["ports"][server];
        let output = gatepost(self.folder.path())
            .args(["send", "--server", &format!("smtp://{host}:{port}")])
            .args([
                "--resolve",
                &format!("{host}:{port}:127.0.0.1"),
                "--tls",
                "starttls",
            ])
            .args([
                "--ca",
                "gatepost-lab/ca.pem",
                "--no-system-ca",
                "--timeout",
                "60",
            ])
            .args([
                "--from",
                "a@example.org",
                "--to",
                "b@example.org",
                "letter.eml",
            ])
            .output()
            .unwrap();
        output.status.code().unwrap()
    }

    /// What the laboratory says of the next connection.
    fn report(&mut self) -> Value {
        let line = self.lines.find(|it| it.as_ref().unwrap().starts_with('{'));
        serde_json::from_str(&line.unwrap().unwrap()).unwrap()
    }
}

#[test]
fn our_client_goes_on_with_the_right_server_only() {
    let mut lab = Lab::start();
    // Nothing is taken in: recipients get 451.
    assert_eq!(lab.send("right"), 3);
    let report = lab.report();
    assert_eq!(
        (&report["server"], &report["result"]),
        (&"right".into(), &"continued".into())
    );
    assert_eq!(
        (&report["detail"], &report["finding"]),
        (&"MAIL over TLS".into(), &false.into())
    );
    for server in [
        "expired",
        "wrong-name",
        "stranger",
        "no-starttls",
        "refuses",
        "masked",
        "clear-after-220",
        "injects",
    ] {
        assert_ne!(lab.send(server), 0, "{server}");
        let report = lab.report();
        assert_eq!(report["server"], server);
        assert_ne!(report["result"], "continued", "{report}");
        assert_eq!(report["finding"], false, "{report}");
    }
}

#[test]
fn who_goes_on_is_told() {
    let mut lab = Lab::start();
    let port = u16::try_from(lab.ready["ports"]["no-starttls"].as_u64().unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .write_all(b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n")
        .unwrap();
    let report = lab.report();
    assert_eq!(
        (&report["result"], &report["finding"]),
        (&"continued".into(), &true.into())
    );
    assert_eq!(report["detail"], "MAIL in clear");
}

#[test]
fn hops_in_clear_end_in_1() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, with: &str| {
        let text =
            format!("Received: from a.example by b.example with {with} id 1; x\r\n\r\nhello\r\n");
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    write("good.eml", "ESMTPS");
    write("bad.eml", "ESMTP");
    std::fs::write(folder.path().join("none.eml"), "Subject: x\r\n\r\n").unwrap();
    for (name, code) in [("good.eml", 0), ("bad.eml", 1), ("none.eml", 3)] {
        let output = gatepost(folder.path())
            .args(["canary", "received", name])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}");
    }
}

/// Somebody on the path who writes over what the server says, octet for octet.
fn somebody_between(port: u16, from: &'static [u8], to: &'static [u8]) -> u16 {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    assert_eq!(from.len(), to.len());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut up_from, mut up_to) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut up_from, &mut up_to);
                let _ = up_to.shutdown(std::net::Shutdown::Write);
            });
            let (mut server, mut client) = (server, client);
            std::thread::spawn(move || {
                let mut octets = [0; 4096];
                while let Ok(count @ 1..) = server.read(&mut octets) {
                    let said = &mut octets[..count];
                    if let Some(at) = said.windows(from.len()).position(|it| it == from) {
                        said[at..at + from.len()].copy_from_slice(to);
                    }
                    if client.write_all(said).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    own
}

impl Lab {
    fn port(&self, server: &str) -> u16 {
        u16::try_from(self.ready["ports"][server].as_u64().unwrap()).unwrap()
    }

    /// A canary against the right server at this port: exit code and what it prints.
    fn canary(&self, words: &[&str], url: &str, port: u16) -> (i32, String) {
        let output = gatepost(self.folder.path())
            .arg("canary")
            .args(words)
            .arg(url)
            .args([
                "--resolve",
                &format!("right.lab.gatepost.test:{port}:127.0.0.1"),
            ])
            .args([
                "--ca",
                "gatepost-lab/ca.pem",
                "--no-system-ca",
                "--timeout",
                "60",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), text)
    }

    fn compare(&self, port: u16) -> (i32, String) {
        let url = format!("smtp://right.lab.gatepost.test:{port}");
        self.canary(&["compare"], &url, port)
    }
}

#[test]
fn both_ends_views_are_compared() {
    let lab = Lab::start();
    let port = lab.port("right");
    let (code, text) = lab.compare(port);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("both ends see the same"), "{text}");
    // A word is changed, and TLS comes up all the same.
    let (code, text) = lab.compare(somebody_between(port, b"laboratory", b"laboratori"));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("W307") && text.contains("a line was changed"),
        "{text}"
    );
    // The offer is taken away.
    let (code, text) = lab.compare(somebody_between(port, b"250-STARTTLS", b"250-XXXXXXXX"));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("W307") && text.contains("overwritten"),
        "{text}"
    );
    // One who cannot show that it is the other end is not believed.
    let (code, text) = lab.compare(lab.port("stranger"));
    assert_eq!(code, 1, "{text}");
    assert!(!text.contains("see the same"), "{text}");
}

#[test]
fn what_a_server_offered_is_kept_and_compared() {
    let lab = Lab::start();
    let port = lab.port("right");
    let look = |more: &[&str], port: u16| {
        let words = [&["baseline", "--state", "seen.json"], more].concat();
        let url = format!("smtp://right.lab.gatepost.test:{port}");
        lab.canary(&words, &url, port)
    };
    let (code, text) = look(&[], port);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("seen for the first time"), "{text}");
    let (code, text) = look(&[], port);
    assert_eq!((code, text.contains("as before")), (0, true), "{text}");
    // The same name and port, and somebody between: what was seen is moved to that port.
    let between = somebody_between(port, b"250-STARTTLS", b"250-XXXXXXXX");
    let path = lab.folder.path().join("seen.json");
    let seen = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, seen.replace(&port.to_string(), &between.to_string())).unwrap();
    let (code, text) = look(&[], between);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("W307") && text.contains("XXXXXXXX is offered in clear"),
        "{text}"
    );
    // A finding does not become what is known, until somebody says so.
    assert_eq!(look(&[], between).0, 1);
    assert_eq!(look(&["--accept"], between).0, 1);
    let (code, text) = look(&["--json"], between);
    assert_eq!(code, 0, "{text}");
    // Nobody there: nothing can be told.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = free.local_addr().unwrap().port();
    drop(free);
    assert_eq!(look(&[], closed).0, 3);
}

/// POP3 knows no search, so what would be removed is the whole mailbox. Refused before anything is sent: nobody listens there.
#[test]
fn a_mail_to_oneself_never_costs_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let output = gatepost(folder.path())
        .args(["canary", "loop", "--address", "a@example.org", "--delete"])
        .args([
            "--send",
            "smtp://127.0.0.1:1",
            "--fetch",
            "pop3s://127.0.0.1:1",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("every mail"), "{said}");
}
