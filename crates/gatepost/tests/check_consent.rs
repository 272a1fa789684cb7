//! `gatepost check --tier intrusive`: nobody is provoked without consent, and nobody who was not named.

use std::process::Command;

#[test]
fn what_provokes_wants_consent_and_a_name() {
    // Should one of them not be refused, it is a connection that nobody takes.
    let here = "smtp://127.0.0.1:1";
    let runs: [(&[&str], &str); 4] = [
        (&[here], "add --consent"),
        (&["--list", "-"], "add --consent"),
        (&["--list", "-", "--consent"], "not for --list"),
        (
            &[here, "--every", "1h", "--state", "none.json", "--consent"],
            "not for --every",
        ),
    ];
    for (words, why) in runs {
        let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(["check", "--tier", "intrusive"])
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(why), "{words:?}: {said}");
    }
}
