//! What people get wrong, and what the machine does not have: told in words, with the right code, and before anything was done in vain.

use std::path::Path;
use std::process::{Command, Output};

fn gatepost(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .env_clear()
        .env("XDG_CONFIG_HOME", folder.join("home"))
        .current_dir(folder)
        .args(words)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_monitor_gets_its_line_when_nothing_could_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let output = gatepost(
        folder.path(),
        &[
            "check",
            "imap://nosuch.invalid:1",
            "--nagios",
            "--dns",
            "127.0.0.1:1",
        ],
    );
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        told(&output).starts_with("CHECK UNKNOWN - "),
        "{}",
        told(&output)
    );
    assert_eq!(told(&output).lines().count(), 1);
}

#[test]
fn a_state_that_cannot_be_written_is_told_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list"), "smtp://127.0.0.1:1\n").unwrap();
    let words = ["check", "--list", "list", "--tier", "light", "--state"];
    let output = gatepost(folder.path(), &[&words[..], &["none/state"]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("none/state"), "{}", said(&output));
    assert_eq!(told(&output), "", "a line was looked at");
    let output = gatepost(folder.path(), &[&words[..], &["state"]].concat());
    assert_eq!(told(&output).lines().count(), 1, "{}", said(&output));
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["check", "smtp://127.0.0.1:1", "--html"];
    for (file, told_of) in [("none/page.html", "none/page.html"), (".", "a folder")] {
        let output = gatepost(folder.path(), &[&words[..], &[file]].concat());
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(told_of), "{}", said(&output));
        assert_eq!(told(&output), "", "it was looked at");
    }
    let output = gatepost(folder.path(), &[&words[..], &["page.html"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn with_few_open_files_a_list_goes_on_with_fewer_connections() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list"), "smtp://127.0.0.1:1\n").unwrap();
    let run = |files: &str| {
        Command::new("sh")
            .arg("-c")
            .arg(format!(
                "ulimit -n {files}; exec \"$0\" check --list list --tier light"
            ))
            .arg(env!("CARGO_BIN_EXE_gatepost"))
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let few = run("700");
    assert!(
        said(&few).contains("30 lines are under way, and 30 connections"),
        "{}",
        said(&few)
    );
    assert_eq!(told(&few).lines().count(), 1);
}

#[test]
fn a_file_without_an_end_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["cert", "show", "/dev/zero"][..],
        &["connect", "imaps://127.0.0.1:1", "--ca", "/dev/zero"],
        &["serve", "--config", "/dev/zero"],
    ] {
        let output = gatepost(folder.path(), words);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains("/dev/zero"),
            "{words:?}: {}",
            said(&output)
        );
    }
}

#[test]
fn a_backup_into_a_file_is_the_files_fault() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("gatepost-data");
    std::fs::create_dir(&data).unwrap();
    let mut private = std::fs::metadata(&data).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut private, 0o700);
    std::fs::set_permissions(&data, private).unwrap();
    std::fs::write(folder.path().join("password"), "correct-horse-9").unwrap();
    let account = [
        "account",
        "add",
        "a@gatepost.test",
        "--password-file",
        "password",
    ];
    assert!(gatepost(folder.path(), &account).status.success());
    let output = gatepost(folder.path(), &["backup", "password"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("password is no folder"),
        "{}",
        said(&output)
    );
    let output = gatepost(folder.path(), &["backup", "/proc/nobody/writes/here"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let blamed = "cannot write into /proc/nobody/writes/here";
    assert!(said(&output).contains(blamed), "{}", said(&output));
}

/// Who "can log in now" can log in, and gets mail.
#[test]
fn an_account_has_an_address_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("gatepost-data");
    std::fs::create_dir(&data).unwrap();
    let mut private = std::fs::metadata(&data).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut private, 0o700);
    std::fs::set_permissions(&data, private).unwrap();
    std::fs::write(folder.path().join("password"), "correct-horse-9").unwrap();
    let add = |address: &str| {
        let words = ["account", "add", address, "--password-file", "password"];
        gatepost(folder.path(), &words)
    };
    let long = format!("{}@x.test", "l".repeat(65));
    for bad in [
        &long,
        "a@x..test",
        "a@../x",
        "a@x.test.",
        "../../etc@x.test",
        "a\\b@x.test",
        "c@x_y.test",
        "an\u{200b}na@x.test",
    ] {
        let output = add(bad);
        assert_eq!(output.status.code(), Some(2), "{bad}");
        assert!(
            said(&output).contains("is no mail address"),
            "{}",
            said(&output)
        );
    }
    for changed in ["\u{ff41}nna@x.test", "an\u{ad}na@x.test"] {
        let output = add(changed);
        assert_eq!(output.status.code(), Some(2), "{changed}");
        assert!(
            said(&output).contains("is \"anna@x.test\" to a login"),
            "{}",
            said(&output)
        );
    }
    let output = add("v@XN--Bcher-kva.test");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        told(&output).contains("v@b\u{fc}cher.test can log in now."),
        "{}",
        said(&output)
    );
    let output = add("v@b\u{fc}cher.test");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("exists already"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_line_that_is_too_long_is_one_bad_line_of_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let list = format!(
        "smtp://127.0.0.1:1\n{}\nsmtp://127.0.0.2:1\n",
        "x".repeat(1 << 20)
    );
    std::fs::write(folder.path().join("list"), list).unwrap();
    let output = gatepost(
        folder.path(),
        &["check", "--list", "list", "--tier", "light"],
    );
    let lines: Vec<String> = told(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{}", said(&output));
    let long = lines.iter().find(|it| it.contains("xxxx")).unwrap();
    assert!(long.contains("\"trouble\""), "{}", &long[..200]);
    assert!(long.len() < 64 * 1024, "{} octets", long.len());
}

#[test]
fn a_list_whose_line_has_no_end_ends() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["check", "--list", "/dev/zero", "--tier", "light"];
    let output = gatepost(folder.path(), &words);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("does not end"), "{}", said(&output));
}
