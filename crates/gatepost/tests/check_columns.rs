//! `gatepost check --parquet`: documents of a list to a file of columns.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

fn columns(folder: &Path, documents: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["check", "--parquet", "-", "hosts.parquet"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(documents.as_bytes()).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

#[test]
fn documents_become_columns_or_nothing_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts.parquet");
    let document = |trouble: &str| {
        json!({
            "schema": "gatepost-check-1", "at": 1, "profile": "strict", "tier": "light",
            "domains": [], "targets": [], "line": 1, "input": "nobody", "trouble": trouble,
        })
        .to_string()
    };
    let good = format!("{}\n\n{}\n", document("one"), document("two"));
    let output = columns(folder.path(), &good);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let file = std::fs::read(&path).unwrap();
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    // What is no document ends with the line it stands in, and the file that was there stays.
    for bad in ["{}\n", "no JSON\n"] {
        let output = columns(folder.path(), &format!("{good}{bad}"));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("line 4"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), file);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
