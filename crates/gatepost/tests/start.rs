//! How a server begins: what it says, and that it listens for signals once it says that it is ready, for a script may send one at that very moment.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PORTS: [u16; 7] = [25, 110, 143, 465, 587, 993, 995];

/// The tests of this file never look at the same ones.
fn free_offset() -> String {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    (0..12)
        .map(|_| 20_500 + TAKEN.fetch_add(1, Ordering::Relaxed) % 12 * 1000)
        .find(|offset| {
            PORTS
                .iter()
                .all(|port| TcpListener::bind(("127.0.0.1", offset + port)).is_ok())
        })
        .expect("no free ports")
        .to_string()
}

/// What it says when it starts, up to the lines to copy.
fn introduction(folder: &std::path::Path) -> String {
    use std::io::{BufRead as _, BufReader};
    let mut server = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["serve", "--bind", "127.0.0.1", "--data", "a folder"])
        .args(["--port-offset", &free_offset()])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let lines = lines.map_while(Result::ok);
    let told: Vec<String> = lines
        .take_while(|it| !it.starts_with("Thunderbird"))
        .collect();
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    told.join("\n")
}

#[test]
fn the_password_is_shown_once_and_the_account_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (introduction(folder.path()), introduction(folder.path()));
    for told in [&first, &second] {
        assert!(told.contains("Account   me@gatepost.test"), "{told}");
        assert!(told.contains("--user me@gatepost.test"), "{told}");
        assert!(told.contains("--cacert 'a folder/ca.pem'"), "{told}");
    }
    assert!(first.contains("\nPassword  "), "{first}");
    assert!(!second.contains("\nPassword  "), "{second}");
    assert!(second.contains("gatepost account list"), "{second}");
}

#[test]
fn at_the_moment_of_readiness_signals_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    for round in 0..5 {
        let mut server = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(["serve", "--bind", "127.0.0.1", "--ready-file", "ready"])
            .args(["--port-offset", &free_offset()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ready.exists() {
            assert!(Instant::now() < deadline, "the server is not ready");
            std::hint::spin_loop();
        }
        let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
        // The one that is not heard would end it by itself, and with no exit code.
        kill(pid, Signal::SIGHUP).unwrap();
        kill(pid, Signal::SIGTERM).unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "round {round}");
        // A later start takes it away itself; this one must not see it.
        let _ = std::fs::remove_file(&ready);
    }
}
