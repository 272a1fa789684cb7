//! `gatepost config lint` as it is run: reports, exit codes, what it refuses to read.

use std::process::{Command, Output};

fn lint(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["config", "lint"])
        .args(words)
        .output()
        .unwrap()
}

#[test]
fn findings_are_told_and_end_in_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.cf"), "imap_tls_cert_file = /c\n").unwrap();
    let name = folder.path().to_str().unwrap();
    let output = lint(&[name]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("write: ssl_server_cert_file = /c"), "{text}");
    let output = lint(&["postfix", name, "--json", "--fail-on", "critical"]);
    assert_eq!(output.status.code(), Some(0));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["findings"][0]["id"], "PF-NO-MAILBOX");
}

#[test]
fn what_is_no_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let name = file.to_str().unwrap();
    assert_eq!(lint(&[name]).status.code(), Some(3), "not there");
    let mut big = b"smtpd_x = 1\n".to_vec();
    big.resize(4 * 1024 * 1024 + 1, b'\n');
    for octets in [&b"smtpd_x = \0"[..], b"smtpd_x = \xff", b"hello\n", &big] {
        std::fs::write(&file, octets).unwrap();
        let output = lint(&[name]);
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty());
    }
    assert_eq!(lint(&["exim", name]).status.code(), Some(2));
}
