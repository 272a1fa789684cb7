//! No secret leaves the parser: planted in every position of every mechanism, found in nothing that is told.

use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::log::LogWatcher;
use gatepost_audit::watch::privacy::Privacy;
use gatepost_audit::watch::summary::Summary;
use gatepost_testkit::capture::Capture;
use gatepost_testkit::planted::{Dialogue, NAME, SECRET, dialogues, forms, log};

use super::support::watch_file;

/// Everything told of a dialogue whose segments are no longer than `most`.
fn told(it: &Dialogue, most: usize, reveal: bool) -> String {
    let mut capture = Capture::new();
    let mut call = capture.call(it.port);
    capture.play(&mut call, &it.text, most);
    capture.close(&mut call);
    let watcher = Watcher::new(Privacy::new([9; 32], reveal), Judge::new(None));
    let told = watch_file(&capture.to_pcap(), watcher);
    let mut summary = Summary::default();
    told.findings.iter().for_each(|it| summary.add_finding(it));
    told.sessions.iter().for_each(|it| summary.add_session(it));
    let counters = gatepost_audit::watch::Counters::default();
    format!(
        "{}\n{}\n{}\n{:?}",
        told.printed(),
        summary.as_json(&counters),
        summary.text(&counters),
        told
    )
}

#[test]
fn no_secret_is_told() {
    let forms: Vec<String> = forms(SECRET).into_iter().chain(forms(NAME)).collect();
    for it in dialogues() {
        for most in [usize::MAX, 7, 1] {
            let text = told(&it, most, false).to_ascii_lowercase();
            for form in &forms {
                assert!(
                    !text.contains(&form.to_ascii_lowercase()),
                    "{form} of\n{}\nin\n{text}",
                    it.text
                );
            }
        }
    }
}

#[test]
fn names_are_told_where_asked_for_and_passwords_never() {
    let mut named = 0;
    for it in dialogues() {
        let text = told(&it, usize::MAX, true);
        named += usize::from(text.contains(NAME));
        for form in forms(SECRET) {
            // A password given where the name belongs is a name to whoever looks.
            assert!(
                it.is_name || !text.contains(&form),
                "{form} of\n{}\nin\n{text}",
                it.text
            );
        }
    }
    assert!(named > 10, "{named}");
}

#[test]
fn no_secret_of_a_log_is_told() {
    for reveal in [false, true] {
        let mut watcher = LogWatcher::new(Privacy::new([9; 32], reveal));
        watcher.push(log().as_bytes());
        watcher.finish();
        let text = format!("{:?}", watcher.take_events()).to_ascii_lowercase();
        assert!(text.contains("w101") && text.contains("w102"), "{text}");
        let names = forms(NAME).into_iter().filter(|_| !reveal);
        for form in forms(SECRET).into_iter().chain(names) {
            assert!(
                !text.contains(&form.to_ascii_lowercase()),
                "{form} in\n{text}"
            );
        }
    }
}
