//! `gatepost check --tier intrusive`: nobody is provoked without consent, and nobody who was not named.

use std::process::Command;

#[test]
fn what_provokes_wants_consent_and_a_name() {
    // Should one of them not be refused, it is a connection that nobody takes.
    let here = "smtp://127.0.0.1:1";
    let runs: [(&[&str], &str); 6] = [
        (&[here], "add --consent"),
        (&["--list", "-"], "add --consent"),
        (&["--list", "-", "--consent"], "not for --list"),
        (
            &[here, "--every", "1h", "--state", "none.json", "--consent"],
            "not for --every",
        ),
        (&[here, "--smuggling", "me@example.org"], "add --consent"),
        (
            &[here, "--consent", "--smuggling", "me@x> SIZE=1"],
            "the address of a mailbox",
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

#[test]
fn a_mailbox_is_for_the_tier_that_asks_for_consent() {
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["check", "smtp://127.0.0.1:1", "--tier", "deep", "--consent"])
        .args(["--smuggling", "me@example.org"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("it wants --tier intrusive --consent"),
        "{said}"
    );
}
