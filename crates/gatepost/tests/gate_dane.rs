//! `tls=dane` to an upstream, end to end: signed zones on real name servers, and `gatepost serve` as the upstream. Without the name
//! servers the test says so and passes over it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatepost_testkit::dns_lab::{DnsLab, Fault, NoLab, Zone};
use serde_json::Value;
use tempfile::TempDir;

const HOST: &str = "mx.good.example";

struct Upstream {
    folder: TempDir,
    server: Child,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn gatepost(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("XDG_CONFIG_HOME", folder.join("home"))
        .env("GATEPOST_TRUST_ANCHORS", folder.join("anchor"))
        .stdin(Stdio::null())
        .current_dir(folder);
    command
}

impl Upstream {
    /// Ports nobody has now; another one is tried if somebody takes them meanwhile.
    fn start() -> Self {
        for offset in [21_000, 23_000, 27_000, 29_000, 31_000] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("password"), "correct-horse-9").unwrap();
            let server = gatepost(folder.path())
                .args(["serve", "--ready-file", "ready", "--host", HOST])
                .args(["--account", "a@good.example", "--password-file", "password"])
                .args(["--port-offset", &offset.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut upstream = Self { folder, server };
            if upstream.is_ready() {
                return upstream;
            }
        }
        panic!("the upstream does not start");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ready(&self) -> Option<String> {
        let text = fs::read_to_string(self.path().join("ready")).ok()?;
        text.ends_with('}').then_some(text)
    }

    fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.ready().is_none() {
            if self.server.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "the upstream is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn port(&self, service: &str) -> u16 {
        let ready: Value = serde_json::from_str(&self.ready().unwrap()).unwrap();
        u16::try_from(ready["ports"][service].as_u64().unwrap()).unwrap()
    }

    /// The TLSA record of its key.
    fn key(&self) -> String {
        let made = gatepost(self.path())
            .args(["tlsa", "make", "gatepost-data/cert.pem", "--host", HOST])
            .output()
            .unwrap();
        let made = String::from_utf8_lossy(&made.stdout).into_owned();
        let mut lines = made.lines();
        let (_, key) = lines.find_map(|it| it.split_once("TLSA ")).unwrap();
        key.to_owned()
    }

    fn lab(&self) -> Option<DnsLab> {
        let (imap, imaps, key) = (self.port("imap"), self.port("imaps"), self.key());
        let other = "ab".repeat(32);
        let signed = format!(
            "mx.good A 127.0.0.1\n_{imap}._tcp.mx.good TLSA {key}\n_{imaps}._tcp.mx.good TLSA {key}\n\
             mx.stale A 127.0.0.1\n_{imap}._tcp.mx.stale TLSA 3 1 1 {other}\n\
             mx.elsewhere A 127.0.0.1\n_993._tcp.mx.elsewhere TLSA {key}\n\
             mx.unusable A 127.0.0.1\n_{imap}._tcp.mx.unusable TLSA 3 1 1 00\n"
        );
        let alone = format!("mx A 127.0.0.1\n_{imap}._tcp.mx TLSA {key}\n");
        let changed = Zone {
            fault: Fault::Changed,
            ..Zone::signed("changed.", alone.clone())
        };
        let zones = [
            Zone::root(),
            Zone::signed("example.", signed),
            Zone::unsigned("plain.", alone),
            changed,
        ];
        match DnsLab::start(&zones) {
            Ok(lab) => {
                fs::write(self.path().join("anchor"), &lab.anchor).unwrap();
                Some(lab)
            }
            Err(NoLab::Missing { program, package }) => {
                eprintln!("skipped: {program} is not installed (Debian: {package})");
                None
            }
            Err(NoLab::Failed(why)) => panic!("{why}"),
        }
    }
}

/// What the gate learns of the upstream at this URL: whether it is used, and its words about it.
fn asked(folder: &Path, url: &str) -> (bool, String) {
    let output = gatepost(folder)
        .args(["config", "explain", "caps", "--upstream", url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => (true, text),
        Some(3) => (false, text),
        code => panic!("{url}: {code:?}: {text}{errors}"),
    }
}

// [GW-02] [DANE-01] [DANE-04] an upstream that records do not speak for is not used
#[test]
fn an_upstream_is_who_its_records_say_or_nobody() {
    let upstream = Upstream::start();
    fs::write(upstream.path().join("anchor"), "").unwrap();
    let Some(lab) = upstream.lab() else { return };
    let (imap, imaps, dns) = (upstream.port("imap"), upstream.port("imaps"), lab.plain);
    for url in [
        format!("imap://{HOST}:{imap}?tls=dane&dns={dns}"),
        format!("imaps://{HOST}:{imaps}?tls=dane&dns={dns}"),
    ] {
        let (used, text) = asked(upstream.path(), &url);
        assert!(used && text.contains("verified by DANE"), "{url}: {text}");
        assert!(text.contains("passed     IDLE"), "{url}: {text}");
    }
    for (host, why) in [
        ("mx.stale.example", "TLSA"),
        ("mx.elsewhere.example", "no TLSA records"),
        ("mx.plain", "no TLSA records"),
        (
            "mx.unusable.example",
            "none of its TLSA records can be used",
        ),
        ("mx.changed", "could not be found out"),
        ("nobody.example", "no address"),
    ] {
        let url = format!("imap://{host}:{imap}?tls=dane&dns={dns}");
        let (used, text) = asked(upstream.path(), &url);
        assert!(!used && text.contains("not known:"), "{url}: {text}");
        assert!(text.contains(why), "{url}: {text}");
    }
    // Nobody to ask: a closed port.
    let silent = format!("imap://{HOST}:{imap}?tls=dane&dns=127.0.0.1:9&timeout=5s");
    let (used, text) = asked(upstream.path(), &silent);
    assert!(!used && text.contains("could not be found out"), "{text}");
}
