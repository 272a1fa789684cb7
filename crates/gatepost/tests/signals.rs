//! A server that says it is ready listens for signals: a script may send one at that very moment.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PORTS: [u16; 7] = [25, 110, 143, 465, 587, 993, 995];

fn free_offset() -> String {
    (20..32)
        .map(|it| it * 1000 + 500)
        .find(|offset| {
            PORTS
                .iter()
                .all(|port| TcpListener::bind(("127.0.0.1", offset + port)).is_ok())
        })
        .expect("no free ports")
        .to_string()
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
