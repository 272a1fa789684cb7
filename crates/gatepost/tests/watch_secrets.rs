//! `gatepost watch` over sessions and logs with a password planted wherever one can stand: no output of any mode holds it.

use std::path::Path;
use std::process::{Command, Stdio};

use gatepost_testkit::capture::Capture;
use gatepost_testkit::planted::{NAME, SECRET, dialogues, forms, log};

/// The reports that are files.
const FILES: [&str; 4] = ["page.html", "metrics.txt", "evidence.pcap", "state.json"];

/// All sessions, with or without those in which the password stands where a name belongs.
fn capture(with_names: bool) -> Vec<u8> {
    let mut capture = Capture::new();
    for it in dialogues() {
        if it.is_name && !with_names {
            continue;
        }
        let mut call = capture.call(it.port);
        capture.play(&mut call, &it.text, usize::MAX);
        capture.close(&mut call);
    }
    capture.to_pcap()
}

/// Everything a run says and writes, one after the other.
fn told(folder: &Path, flags: &[&str]) -> Vec<(String, Vec<u8>)> {
    for file in FILES {
        let _ = std::fs::remove_file(folder.join(file));
    }
    let [page, metrics, evidence, state] = FILES;
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["watch", "all.pcap", "--log", "mail.log"])
        .args(["--html", page, "--metrics", metrics])
        .args(["--evidence", evidence, "--state", state])
        .args(flags)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut all = vec![
        ("standard output".to_owned(), output.stdout),
        ("standard error".to_owned(), output.stderr),
    ];
    for file in FILES {
        all.push((file.to_owned(), std::fs::read(folder.join(file)).unwrap()));
    }
    all
}

fn assert_holds_none(all: &[(String, Vec<u8>)], forms: &[String], flags: &[&str]) {
    for (what, octets) in all {
        let octets = octets.to_ascii_lowercase();
        for form in forms {
            let form = form.to_ascii_lowercase();
            let at = octets
                .windows(form.len())
                .position(|it| it == form.as_bytes());
            assert!(at.is_none(), "{form} in {what} of {flags:?} at {at:?}");
        }
    }
}

#[test]
fn no_output_of_any_mode_holds_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("mail.log"), log()).unwrap();
    let hidden: Vec<String> = forms(SECRET).into_iter().chain(forms(NAME)).collect();
    std::fs::write(path.join("all.pcap"), capture(true)).unwrap();
    for flags in [
        &[][..],
        &["--json"],
        &["--json", "--compare", "all.pcap"],
        &["--fail-on", "info", "--ignore-vlan"],
    ] {
        let all = told(path, flags);
        assert!(
            all.iter()
                .all(|it| it.0 == "standard error" || !it.1.is_empty())
        );
        assert_holds_none(&all, &hidden, flags);
    }
    std::fs::write(path.join("all.pcap"), capture(false)).unwrap();
    for flags in [&["--reveal-users"][..], &["--reveal-users", "--json"]] {
        let all = told(path, flags);
        assert!(String::from_utf8_lossy(&all[0].1).contains(NAME));
        assert_holds_none(&all, &forms(SECRET), flags);
    }
}
