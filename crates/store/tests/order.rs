//! The order in which an answered write reached the disk, as the kernel saw it: octets, their sync, the database's log, its
//! sync, and only then the answer [SMTP-BASE-15]. A kill cannot show a missing sync (the page cache survives it), so this
//! looks at the system calls; where `strace` cannot run, the test says so and is skipped.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::{deliver, with_account};

/// Set in the child: the data folder.
const CHILD: &str = "GATEPOST_ORDER_CHILD";
const ANSWERED: &str = "answered";

/// Not a test of its own: what is traced. One small message, and one large enough to be spooled.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let (store, account) = with_account(Path::new(&dir));
    for size in [1_000, 400_000] {
        deliver(&store, account, "INBOX", &vec![b'x'; size]).unwrap();
        let mut out = std::io::stdout().lock();
        out.write_all(format!("{ANSWERED} {size}\n").as_bytes())
            .unwrap();
        out.flush().unwrap();
    }
}

/// The traced calls, or none when there is no tracing here.
fn trace() -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("trace");
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-e",
            "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2",
            "-o",
        ])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir.path().join("data"))
        .output();
    let traced = traced.ok()?;
    traced
        .status
        .success()
        .then(|| std::fs::read_to_string(&log).unwrap())
}

/// Each wanted call after the one before it; the last of its kind before the answer.
fn assert_order(calls: &[&str], wanted: &[(&[&str], &str)]) {
    let mut end = calls.len();
    for (names, file) in wanted.iter().rev() {
        let fits = |call: &&str| {
            names.iter().any(|name| call.contains(&format!(" {name}("))) && call.contains(file)
        };
        let at = calls[..end].iter().rposition(fits);
        end = at.unwrap_or_else(|| {
            panic!(
                "no {names:?} of {file} in its place:\n{}",
                calls[..end].join("\n")
            )
        });
    }
}

#[test]
fn nothing_is_answered_before_it_is_synced() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let Some(log) = trace() else {
        eprintln!("skipped: strace cannot run here");
        return;
    };
    let calls: Vec<&str> = log.lines().collect();
    let answer = |size: &str| {
        let text = format!("\"{ANSWERED} {size}");
        calls
            .iter()
            .position(|call| call.contains(&text))
            .expect("the answer is in the trace")
    };
    let (small, large) = (answer("1000"), answer("400000"));
    let sync: &[&str] = &["fsync", "fdatasync"];
    assert_order(
        &calls[..small],
        &[
            (&["pwrite64"], ".seg>"),
            (sync, ".seg>"),
            (&["pwrite64"], "store.db-wal>"),
            (sync, "store.db-wal>"),
        ],
    );
    // Nothing may follow the last sync of either file but the answer.
    let last_write = calls[..small]
        .iter()
        .rposition(|call| call.contains(" pwrite64("))
        .unwrap();
    let last_sync = calls[..small]
        .iter()
        .rposition(|call| call.contains("sync("))
        .unwrap();
    assert!(last_write < last_sync);
    assert_order(
        &calls[small..large],
        &[
            (&["write"], "/spool/"),
            (sync, "/spool/"),
            (&["rename", "renameat", "renameat2"], "/spool/"),
            (sync, "/segments>"),
            (sync, "store.db-wal>"),
        ],
    );
}
