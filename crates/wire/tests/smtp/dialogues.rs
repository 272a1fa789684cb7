//! The dialogue files, each cut at every byte.

use std::cell::RefCell;
use std::path::PathBuf;

use gatepost_testkit::talk;
use gatepost_wire::smtp::ask::{Answer, Ask};
use gatepost_wire::smtp::server::Server;

use super::support::{Mailbox, clear, implicit, lint, mx, patient, submission};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/talk/smtp")
}

fn backend() -> impl FnMut(Ask) -> Answer {
    let mailbox = RefCell::new(Mailbox::default());
    move |ask| mailbox.borrow_mut().handle(ask)
}

fn file(name: &str) -> String {
    folder().join(name).to_str().expect("a path").to_owned()
}

fn cut(name: &str, make: impl Fn() -> Server) {
    talk::run_cut(&file(name), make, backend);
}

/// For dialogues in which it matters that bytes come together.
fn whole(name: &str, make: impl Fn() -> Server) {
    talk::run(&file(name), make, backend());
}

#[test]
fn commands_of_an_mx() {
    cut("mx.talk", || clear(patient(mx())));
}

#[test]
fn starttls_on_an_mx() {
    cut("starttls.talk", || clear(patient(mx())));
}

#[test]
fn starttls_that_is_not_offered() {
    cut("starttls-none.talk", || {
        let mut config = patient(mx());
        config.tls.offered = false;
        clear(config)
    });
}

#[test]
fn submission_over_starttls() {
    cut("submission.talk", || clear(patient(submission())));
}

#[test]
fn submission_over_implicit_tls() {
    cut("submissions.talk", || implicit(patient(submission())));
}

#[test]
fn logins() {
    cut("auth.talk", || implicit(patient(submission())));
    cut("scram.talk", || implicit(patient(submission())));
}

#[test]
fn chunks() {
    cut("bdat.talk", || clear(patient(mx())));
}

#[test]
fn content() {
    cut("content.talk", || clear(patient(mx())));
}

#[test]
fn international_addresses() {
    cut("utf8.talk", || clear(patient(mx())));
}

#[test]
fn refusals_of_the_backend() {
    cut("refusals.talk", || clear(patient(mx())));
}

#[test]
fn early_talkers() {
    whole("early.talk", || clear(patient(mx())));
    whole("early-data.talk", || clear(patient(mx())));
}

/// [SMTP-ESC-01] in every dialogue.
#[test]
fn replies_carry_enhanced_status_codes() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).expect("the folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a dialogue");
        let replies: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("S: "))
            .collect();
        seen += replies.len();
        lint(replies);
    }
    assert!(seen > 100, "{seen} replies");
}
