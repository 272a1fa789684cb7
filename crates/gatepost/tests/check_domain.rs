//! `gatepost check DOMAIN`, end to end: signed zones on real name servers, and `gatepost serve` as the mail host, on port 25 as MX records
//! want it. That port needs root; without it, or without the name servers, the test says so and passes over it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use gatepost_testkit::dns_lab::{DnsLab, NoLab, Zone, without_signatures};
use serde_json::Value;
use tempfile::TempDir;

/// Where the mail host is, and nobody else.
const ADDRESS: &str = "127.53.25.1";
const HOST: &str = "mx.good.example";

struct World {
    folder: TempDir,
    server: Child,
    lab: DnsLab,
}

impl Drop for World {
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

fn start(folder: &Path) -> Child {
    fs::write(folder.join("password"), "correct-horse-9").unwrap();
    let mut server = gatepost(folder)
        .args(["serve", "--ready-file", "ready", "--host", HOST])
        .args([
            "--account",
            "anna@good.example",
            "--password-file",
            "password",
        ])
        .args(["--bind", ADDRESS, "--port-offset", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(folder.join("ready")).is_ok_and(|text| text.ends_with('}')) {
        let ended = server.try_wait().unwrap();
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "the server is not ready: {ended:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// One domain as it should be, one whose records are for another key, one whose host is said to be elsewhere.
fn zones(key: &str) -> Vec<Zone> {
    let other = "ab".repeat(32);
    let text = format!(
        "good MX 10 mx.good\n\
         mx.good A {ADDRESS}\n\
         _25._tcp.mx.good TLSA {key}\n\
         _submissions._tcp.good SRV 0 1 465 mx.good\n\
         _imaps._tcp.good SRV 0 1 993 mx.good\n\
         stale MX 10 mx.stale\n\
         mx.stale A {ADDRESS}\n\
         _25._tcp.mx.stale TLSA 3 1 1 {other}\n\
         moved MX 10 mx.moved\n\
         mx.moved A 192.0.2.1\n"
    );
    vec![Zone::root(), Zone::signed("example.", text)]
}

impl World {
    fn new() -> Option<Self> {
        if let Err(error) = TcpListener::bind((ADDRESS, 25)) {
            eprintln!("skipped: port 25 cannot be bound here: {error}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("anchor"), "").unwrap();
        let mut server = start(folder.path());
        let made = gatepost(folder.path())
            .args(["tlsa", "make", "gatepost-data/cert.pem", "--host", HOST])
            .output()
            .unwrap();
        let made = String::from_utf8_lossy(&made.stdout).into_owned();
        let (_, key) = made
            .lines()
            .find_map(|line| line.split_once("TLSA "))
            .unwrap();
        match DnsLab::start(&zones(key)) {
            Ok(lab) => {
                fs::write(folder.path().join("anchor"), &lab.anchor).unwrap();
                Some(Self {
                    folder,
                    server,
                    lab,
                })
            }
            Err(why) => {
                let _ = server.kill();
                let _ = server.wait();
                match why {
                    NoLab::Missing { program, package } => {
                        eprintln!("skipped: {program} is not installed (Debian: {package})");
                        None
                    }
                    NoLab::Failed(why) => panic!("{why}"),
                }
            }
        }
    }

    fn check(&self, words: &[&str]) -> (Output, Value) {
        let output = gatepost(self.folder.path())
            .args(["check", "--json", "--tier", "light", "--timeout", "20"])
            .args(["--no-system-ca", "--ca", "gatepost-data/ca.pem"])
            .args(["--dns", &self.lab.plain.to_string()])
            .args(words)
            .output()
            .unwrap();
        let document = serde_json::from_slice(&output.stdout);
        let document = document
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output, document)
    }
}

fn status<'a>(document: &'a Value, id: &str) -> (&'a str, String) {
    let checks = document["domains"][0]["checks"].as_array().unwrap();
    let check = checks.iter().find(|it| it["id"] == id).unwrap();
    (
        check["status"].as_str().unwrap(),
        check["evidence"].to_string(),
    )
}

fn places(document: &Value) -> Vec<String> {
    let targets = document["targets"].as_array().unwrap();
    targets
        .iter()
        .map(|it| {
            format!(
                "{}:{} {}",
                it["host"].as_str().unwrap(),
                it["port"],
                it["address"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn a_domain_is_judged_with_its_servers() {
    let Some(world) = World::new() else { return };
    let (_, good) = world.check(&["good.example"]);
    assert_eq!(good["domains"][0]["domain"], "good.example");
    for id in [
        "MX-001",
        "DNSSEC-001",
        "DNSSEC-002",
        "DANE-001",
        "DANE-002",
        "DANE-003",
        "DANE-005",
        "STRIP-002",
        "SRV-001",
    ] {
        let (status, evidence) = status(&good, id);
        assert_eq!(status, "pass", "{id}: {evidence}");
    }
    assert_eq!(
        places(&good),
        [
            format!("{HOST}:25 {ADDRESS}"),
            format!("{HOST}:465 {ADDRESS}"),
            format!("{HOST}:993 {ADDRESS}")
        ]
    );
    // The domain of an address is a domain, too; records of another key keep mail from coming.
    let (output, stale) = world.check(&["anna@stale.example", "--fail-on", "critical"]);
    assert_eq!(status(&stale, "DANE-002").0, "fail");
    assert_eq!(output.status.code(), Some(1));
    let fix = stale["domains"][0]["checks"].as_array().unwrap();
    let fix = fix.iter().find(|it| it["id"] == "DANE-002").unwrap()["fix"].to_string();
    assert!(
        fix.contains("_25._tcp.mx.stale.example. TLSA 3 1 1 "),
        "{fix}"
    );
    // What the user says about an address comes before what DNS says.
    let said = format!("mx.moved.example:25:{ADDRESS}");
    let (_, moved) = world.check(&["moved.example", "--resolve", &said]);
    assert_eq!(places(&moved), [format!("mx.moved.example:25 {ADDRESS}")]);
    // A name with an address and no mail exchange is a host. It has no ManageSieve, which is no fault.
    let (_, host) = world.check(&[HOST, "--connections", "1"]);
    assert_eq!(host["domains"].as_array().unwrap().len(), 0);
    let places = places(&host);
    assert_eq!(places.len(), 7, "{places:?}");
    assert!(!places.iter().any(|it| it.contains(":4190")), "{places:?}");
    stripped(&world);
}

/// A resolver that takes DNSSEC out is at fault itself, and no zone is.
fn stripped(world: &World) {
    let resolver = without_signatures(world.lab.plain).to_string();
    let url = format!("smtp://{HOST}");
    for words in [
        &["tlsa", "check", url.as_str()][..],
        &["connect", url.as_str(), "--verify", "dane", "--quit"],
        &["connect", url.as_str(), "--quit"],
    ] {
        let output = gatepost(world.folder.path())
            .args(words)
            .args(["--dns", &resolver, "--ca", "gatepost-data/ca.pem"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{words:?}: {said}");
        assert!(said.contains("E-DNSSEC-STRIPPED"), "{words:?}: {said}");
    }
}
