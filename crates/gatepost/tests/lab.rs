//! `gatepost serve --lab` against our own client: it sends mail to the right server and to no wrong one. And `gatepost canary received`.

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
